/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as config.yaml: refused with a reason, or settings that hold together. */
#include "base/log.h"
#include "base/panic.h"
#include "config/settings.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void drop(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_setup(drop, LOG_DEBUG);
    return 0;
}

static void check(const struct settings *s)
{
    ASSERT(s->nlisten >= 1 && s->workers >= 1 && s->max_open_files >= 64);
    for (unsigned i = 0; i < s->nlisten; i++)
        ASSERT(s->listen[i].port && s->listen[i].ip.n);
    ASSERT(s->http.max_uri_bytes <= s->http.max_header_bytes);
    ASSERT(s->http.keepalive_ms >= 0 && s->http.header_ms >= 0 && s->http.max_body >= 0);
    ASSERT(s->data_dir.n && s->data_dir.p[0] == '/');
    for (unsigned i = 0; i < s->admin.nkeys; i++)
        ASSERT(s->admin.keys[i].key.n);
    /* Nobody gets in without a key unless the file says so. */
    ASSERT(!s->admin.enabled || !s->admin.key_required || s->admin.nkeys || s->admin.key_generated);
    ASSERT(json_is_object(json_object_get(s->apisix, "proxy_cache")));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct arena arena;
    struct str err = STR_NONE;

    arena_init(&arena, NULL);
    struct settings *s = settings_parse(str_make((const char *)data, size), &arena, &err);
    if (s) {
        check(s);
        settings_free(s);
    } else {
        ASSERT(err.n > 0);
    }
    arena_fini(&arena);
    return 0;
}
