# Tests: how they are built and called. tools/test runs them and counts; `make help` names the targets.
#
#   test/unit/**/test_*.c   cmocka; may include the .c that it tests, whose copy then wins over the archive's
#   test/fuzz/fuzz_*.c      libFuzzer; corpus in test/fuzz/corpus/NAME, dictionary in test/fuzz/NAME.dict
#   test/case/**/test_*.py  pytest against build/eclusa; test/clients are the npm clients they drive

PYTHON   ?= /usr/bin/python3

C_FILES = $(sort $(shell find src test $(wildcard bench) -name '*.[ch]' -not -path '*/node_modules/*'))

UNIT_OBJ := $(UNIT:%.c=$(O)/%.o)

.PHONY: unit fuzz test check lint format format-check tidy deps

# Installs what is missing on this machine: tools/deps.txt says what and why.
deps:
	@tools/deps

unit: $(UNIT_BIN)

$(O)/unit/%: $(O)/test/unit/%.o $(O)/libeclusa.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# Of the objects that the build with sanitizers has made.
ifeq ($(VARIANT),asan)
fuzz: $(FUZZ_BIN)

$(B)/fuzz/%: $(O)/test/fuzz/%.o $(O)/libeclusa.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
else
fuzz:
	@$(MAKE) --no-print-directory VARIANT=asan fuzz
endif

-include $(UNIT_OBJ:.o=.d) $(FUZZ:%.c=$(O)/%.d)

# Everything, in under six minutes on two cores; ends with one line "N passed, N failed".
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
	@clang-format --dry-run -Werror $(C_FILES)

tidy:
	@printf '%s\n' $(SRC) | xargs -P 2 -I FILE clang-tidy --quiet FILE -- $(filter-out -M%,$(CPPFLAGS)) -std=c17 2>/dev/null
