# Eclusa's build. `make help` lists what it can do.
#
#   VARIANT=release|asan|tsan|clang   which flavour; objects go to build/VARIANT, the release binary to build/eclusa

VERSION := 0.1.0
VARIANT ?= release
B       := build
O       := $(B)/$(VARIANT)

CC_release := gcc
CC_asan    := clang
CC_tsan    := gcc
CC_clang   := clang
CC         := $(CC_$(VARIANT))

WARN   := -Wall -Wextra -Wshadow -Wcast-qual -Wmissing-prototypes -Wstrict-prototypes -Wswitch-enum -Wvla -Werror
CFLAGS_release := -O2 -g -fno-plt -DNDEBUG_HOT=1
CFLAGS_clang   := -O1 -g
# The fuzz targets are linked of these objects too. A smaller -g keeps the builds with sanitizers quick: file and line
# for the reports, no types for a debugger.
CFLAGS_asan    := -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all \
                  -DARENA_MALLOC=1
CFLAGS_tsan    := -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread -DARENA_MALLOC=1
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread

CPPFLAGS := -D_GNU_SOURCE -DECLUSA_VERSION='"$(VERSION)"' -Isrc -MMD -MP
CFLAGS   := -std=c17 $(WARN) -fstack-protector-strong $(CFLAGS_$(VARIANT)) $(EXTRA_CFLAGS)
LDFLAGS  := $(LDFLAGS_$(VARIANT)) -rdynamic -Wl,-z,relro,-z,now
LDLIBS   := -ljansson -lsqlite3 -lyaml -lpcre2-8 -lz -lcares -lssl -lcrypto -lpthread -lm -ldl

SRC  := $(sort $(shell find src -name '*.c'))
LIB  := $(filter-out src/main.c,$(SRC))
OBJ  := $(SRC:%.c=$(O)/%.o)
LOBJ := $(LIB:%.c=$(O)/%.o)

UNIT     := $(sort $(shell find test/unit -name 'test_*.c' 2>/dev/null))
UNIT_BIN := $(UNIT:test/unit/%.c=$(O)/unit/%)
FUZZ     := $(sort $(wildcard test/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ:test/fuzz/%.c=$(B)/fuzz/%)

.PHONY: all bin tools deps help clean
all: bin

bin: $(O)/eclusa
ifeq ($(VARIANT),release)
bin: $(B)/eclusa
$(B)/eclusa: $(O)/eclusa
	@cp $< $@.tmp && mv $@.tmp $@
endif

# V=1 shows the whole commands.
ifndef V
say = @printf '  %-4s %s\n' $(1) $(2);
endif

$(O)/eclusa: $(OBJ)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# All modules but main.c, for the unit tests: a test that includes a module's .c wins over the archive's copy.
$(O)/libeclusa.a: $(LOBJ)
	@rm -f $@
	@ar rcs $@ $^

.SECONDARY:
-include $(OBJ:.o=.d)
-include tools/*.mk bench/bench.mk test/test.mk

clean:
	rm -rf $(B)
