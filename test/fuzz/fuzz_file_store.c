/* SPDX-License-Identifier: Apache-2.0 */
/* apisix.yaml and apisix.json as texts: whatever they hold, there are documents by key, each a JSON
 * object, or a message. The first byte chooses. */
#include "base/log.h"
#include "fuzz.h"
#include "store/document.h"
#include "store/file.h"

static void quiet(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_setup(quiet, LOG_WARN);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str err = STR_NONE;
    struct arena a;

    if (size == 0)
        return 0;
    arena_init(&a, NULL);
    struct store_batch *b = store_file_parse(str_make((const char *)data + 1, size - 1),
                                             data[0] & 1, &a, &err);
    MUST(b || err.n > 0);
    for (size_t i = 0; b && i < b->n; i++) {
        json_t *value = document_decode(NULL, KIND_ROUTE, b->items[i].value, NULL);
        MUST(value);
        MUST(i == 0 || str_cmp(b->items[i - 1].key, b->items[i].key) < 0);
        json_decref(value);
    }
    if (b)
        store_batch_free(b);
    arena_fini(&a);
    return 0;
}
