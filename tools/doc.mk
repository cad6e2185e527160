# The pages of the plugins, made from their tables (tools/doc_plugins.c).

.PHONY: doc doc-check

# Writes doc/plugin/NAME.md and doc/plugin/README.md.
doc: $(O)/doc-plugins
	@$< doc/plugin

# Fails when a committed page is not what `make doc` would write.
doc-check: $(O)/doc-plugins
	@$< --check doc/plugin

$(O)/doc-plugins: $(O)/tools/doc_plugins.o $(O)/libeclusa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(O)/tools/doc_plugins.d
