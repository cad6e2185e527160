/* SPDX-License-Identifier: Apache-2.0 */
/* apisix.yaml and apisix.json as texts: whatever they hold, there are documents by key, each a JSON
 * value, or a message; and what is read of YAML and written again says the same. The first byte
 * chooses. */
#include "base/log.h"
#include "config/yaml.h"
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

static void check_written(struct str text, struct arena *a)
{
    struct str err = STR_NONE;
    json_t *v = yaml_parse(text, a, &err);
    struct buf out;

    if (!v)
        return;
    buf_init(&out, 1 << 24);
    MUST(yaml_write(v, &out));
    json_t *again = yaml_parse(buf_str(&out), a, &err);
    MUST(again && str_eq(document_text(a, v), document_text(a, again)));
    json_decref(again);
    json_decref(v);
    buf_fini(&out);
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
        json_t *value = json_loadb(b->items[i].value.p, b->items[i].value.n, JSON_DECODE_ANY, NULL);
        MUST(value);
        MUST(i == 0 || str_cmp(b->items[i - 1].key, b->items[i].key) < 0);
        json_decref(value);
    }
    if (b)
        store_batch_free(b);
    if (data[0] & 2)
        check_written(str_make((const char *)data + 1, size - 1), &a);
    arena_fini(&a);
    return 0;
}
