# Tests: how they are built and called. tools/test runs them and counts; `make help` names the targets.
#
#   test/unit/**/test_*.c   cmocka; may include the .c that it tests, whose copy then wins over the archive's
#   test/fuzz/fuzz_*.c      libFuzzer; corpus in test/fuzz/corpus/NAME, dictionary in test/fuzz/NAME.dict
#   test/case/**/test_*.py  pytest against build/eclusa; test/clients are the npm clients they drive

PYTHON   ?= /usr/bin/python3
FUZZ_OBJ := $(B)/fuzzobj
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DARENA_MALLOC=1
# A smaller -g keeps these builds quick: file and line for the reports, no types for a debugger.
FUZZ_CFLAGS = -std=c17 $(WARN) -O1 -g1 $(FUZZ_SAN) -fsanitize=fuzzer-no-link

C_FILES = $(sort $(shell find src test $(wildcard bench) -name '*.[ch]' -not -path '*/node_modules/*'))

UNIT_OBJ := $(UNIT:%.c=$(O)/%.o)
FUZZ_LIB := $(FUZZ_OBJ)/libeclusa.a

.PHONY: unit fuzz test check lint format format-check tidy deps

# Installs what is missing on this machine: tools/deps.txt says what and why.
deps:
	@tools/deps

unit: $(UNIT_BIN)

$(O)/unit/%: $(O)/test/unit/%.o $(O)/libeclusa.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

fuzz: $(FUZZ_BIN)

$(FUZZ_OBJ)/%.o: %.c
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(FUZZ_CFLAGS) -c -o $@ $<

$(FUZZ_LIB): $(LIB:%.c=$(FUZZ_OBJ)/%.o)
	@rm -f $@
	@ar rcs $@ $^

$(B)/fuzz/%: $(FUZZ_OBJ)/test/fuzz/%.o $(FUZZ_LIB)
	@mkdir -p $(@D)
	clang $(FUZZ_SAN) -fsanitize=fuzzer -rdynamic -o $@ $^ $(LDLIBS)

-include $(UNIT_OBJ:.o=.d) $(LIB:%.c=$(FUZZ_OBJ)/%.d) $(FUZZ:%.c=$(FUZZ_OBJ)/%.d)

# Everything, in under ten minutes on two cores; ends with one line "N passed, N failed".
test: deps
	@$(PYTHON) tools/test all

# What to run before each commit, in under 90 seconds: lint, unit tests, the cases marked quick.
check:
	@$(PYTHON) tools/test check

# Changes of all kinds beneath load, with the thread sanitizer looking on.
.PHONY: storm
storm:
	@$(MAKE) --no-print-directory VARIANT=tsan
	STORM_SECONDS=20 ECLUSA_BIN=$(CURDIR)/$(B)/tsan/eclusa $(PYTHON) -m pytest -q test/case/test_changes_storm.py

lint:
	@$(PYTHON) tools/lint

format:
	@clang-format -i $(C_FILES)

format-check:
	@bad=0; for f in $(C_FILES); do \
	    clang-format $$f | cmp -s - $$f || { echo "$$f: not as clang-format has it, see make format"; bad=1; }; \
	done; exit $$bad

tidy:
	@printf '%s\n' $(SRC) | xargs -P 2 -I FILE clang-tidy --quiet FILE -- $(filter-out -M%,$(CPPFLAGS)) -std=c17 2>/dev/null
