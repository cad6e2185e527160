# The tables inside of hand-written pages that come from the code (tools/doc_tables.c).

DOC_TABLES := doc/architecture.md doc/configuration.md doc/operations.md

.PHONY: doc doc-check doc-tables doc-tables-check

doc: doc-tables
doc-check: doc-tables-check

doc-tables: $(O)/doc-tables
	@$< $(DOC_TABLES)

doc-tables-check: $(O)/doc-tables
	@$< --check $(DOC_TABLES)

$(O)/doc-tables: $(O)/tools/doc_tables.o $(O)/libeclusa.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(O)/tools/doc_tables.d
