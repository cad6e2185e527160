# The LLM simulator (test/llm-sim): a test tool of its own, with nothing of src/ in it.

SIM_SRC := $(sort $(wildcard test/llm-sim/*.c))
SIM_HDR := $(sort $(wildcard test/llm-sim/*.h))
SIM_CF  := -std=c17 -D_GNU_SOURCE -O2 -g $(WARN) -fstack-protector-strong
SIM_LIB := -ljansson -lssl -lcrypto -lpthread -lm

.PHONY: llm-sim llm-sim-asan
llm-sim: $(B)/llm-sim
llm-sim-asan: $(B)/llm-sim-asan

$(B)/llm-sim-obj/%.o: test/llm-sim/%.c $(SIM_HDR)
	@mkdir -p $(@D)
	gcc $(SIM_CF) -c -o $@ $<

$(B)/llm-sim: $(SIM_SRC:test/llm-sim/%.c=$(B)/llm-sim-obj/%.o)
	gcc -o $@.tmp $^ $(SIM_LIB) && mv $@.tmp $@

# For the self-test with the sanitizers on: LLM_SIM=build/llm-sim-asan pytest test/case/test_llm_sim.py
$(B)/llm-sim-asan: $(SIM_SRC) $(SIM_HDR)
	@mkdir -p $(@D)
	gcc $(SIM_CF) -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
	    -o $@.tmp $(SIM_SRC) $(SIM_LIB) && mv $@.tmp $@
