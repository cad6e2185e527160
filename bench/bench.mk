# The benchmarks: build/bench-load, build/bench-origin, and the harness that runs them beside nginx
# and HAProxy. BENCH holds options for bench/run.py, e.g. make bench BENCH='--cells get,post'.

BENCH_CFLAGS := -std=c17 -D_GNU_SOURCE $(WARN) -O2 -g -MMD -MP
BENCH_O      := $(B)/bench

.PHONY: bench bench-quick bench-bin
bench-bin: $(B)/bench-load $(B)/bench-origin $(B)/bench-floor

$(BENCH_O)/%.o: bench/%.c
	@mkdir -p $(@D)
	$(CC_release) $(BENCH_CFLAGS) -c -o $@ $<

$(B)/bench-load: $(BENCH_O)/load.o $(BENCH_O)/reply.o $(BENCH_O)/hist.o
	$(CC_release) -o $@ $^ -lssl -lcrypto

$(B)/bench-origin: $(BENCH_O)/origin.o
	$(CC_release) -o $@ $^ -lssl -lcrypto

$(B)/bench-floor: $(BENCH_O)/floor.o
	$(CC_release) -o $@ $^

-include $(wildcard $(BENCH_O)/*.d)

bench: bin bench-bin
	bench/run.py $(BENCH)

# Many routes and consumers: SCALE holds options for bench/scale.py.
.PHONY: scale
scale: bin bench-bin
	$(PYTHON) bench/scale.py $(SCALE)

bench-quick: bin bench-bin
	bench/run.py --quick $(BENCH)
