# What a newcomer types: make run, make demo, make install, make help.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
PORT       ?= 9080
ADMIN_PORT ?= 9180

# A build that says nothing unless there is something to build, and then only what fails.
build_quietly = $(MAKE) -q --no-print-directory bin llm-sim 2>/dev/null || { \
    echo "building, which takes a minute the first time"; \
    $(MAKE) -s -j"$$(nproc)" --no-print-directory bin llm-sim >/dev/null; }

.PHONY: run demo install uninstall deps-run

# Only what building and running need: tools/deps.txt.
deps-run:
	@tools/deps run

run: deps-run
	@$(build_quietly)
	@exec env PORT=$(PORT) ADMIN_PORT=$(ADMIN_PORT) $(PYTHON) tools/run

demo: deps
	@$(build_quietly)
	@exec $(PYTHON) tools/demo

install: bin
	install -D -m 0755 $(B)/eclusa $(DESTDIR)$(PREFIX)/bin/eclusa
	@if [ -e "$(DESTDIR)$(SYSCONFDIR)/eclusa/config.yaml" ]; then \
	    echo "$(DESTDIR)$(SYSCONFDIR)/eclusa/config.yaml is kept as it is"; \
	else \
	    echo "install -D -m 0644 conf/config.yaml $(DESTDIR)$(SYSCONFDIR)/eclusa/config.yaml"; \
	    install -D -m 0644 conf/config.yaml "$(DESTDIR)$(SYSCONFDIR)/eclusa/config.yaml"; \
	fi
	@mkdir -p "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' conf/eclusa.service \
	    >"$(DESTDIR)$(PREFIX)/lib/systemd/system/eclusa.service"

# Leaves the configuration and the data.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/eclusa $(DESTDIR)$(PREFIX)/lib/systemd/system/eclusa.service

help:
	@sed -n '/^#:/s/^#: \{0,1\}//p' tools/run.mk

#: Eclusa, an API gateway and AI gateway
#:
#:   make run          the gateway with a ready route to a simulated LLM provider; PORT=9080 ADMIN_PORT=9180
#:   make demo         plays the tutorial step by step, shows each request and response, checks each
#:
#:   make              build/eclusa; VARIANT=release, asan, tsan or clang
#:   make install      PREFIX=/usr/local SYSCONFDIR=/etc DESTDIR=; with a systemd unit; make uninstall
#:   make deps         installs what building and testing need (Debian 12; tools/deps.txt)
#:   make clean        removes build/
#:
#:   make check        before each commit: lint, unit tests, quick cases
#:   make test         everything: formats, both compilers, sanitizers, cases, fuzz targets
#:   make unit fuzz    builds the unit tests, the fuzz targets
#:   make lint tidy    the tree's own rules; clang-tidy
#:   make format       clang-format on all C files; make format-check
#:   make doc          the pages that are made from tables; make doc-check
#:   make llm-sim      build/llm-sim, the simulator of LLM providers (test/llm-sim/README.md)
#:   make bench        beside nginx and HAProxy (doc/benchmarks.md); make bench-quick
