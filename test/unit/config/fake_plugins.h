/* SPDX-License-Identifier: Apache-2.0 */
/* Plugins, and the parts of the contract that the core implements above config/, for tests of the
 * builder: enough to see what was compiled, from where, and when it was freed. */
#ifndef FAKE_PLUGINS_H
#define FAKE_PLUGINS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef FAKE_WITHOUT_CMOCKA
#include <cmocka.h>
#endif
#include <jansson.h>

#include "base/mem.h"
#include "config/build.h"

struct fake_conf {
    struct str tag;
    int64_t n;
    void *heap; /* compile makes it, release frees it */
};

struct fake_consumer {
    struct str key, secret;
};

static int fake_alive; /* what compile made and release has not freed */

static bool fake_compile(void *conf, struct build *b)
{
    struct fake_conf *c = conf;

    c->heap = mem_alloc(8);
    fake_alive++;
    /* What was made until here is released. */
    if (c->n == 13)
        return build_error(b, "thirteen at %.*s", STR_ARG(build_resource(b)));
    return true;
}

static void fake_release(void *conf)
{
    struct fake_conf *c = conf;

    free(c->heap);
    fake_alive--;
}

static enum verdict fake_phase(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    (void)conf;
    (void)frame;
    return NEXT;
}

static void fake_log(struct exchange *ex, const void *conf, void *frame)
{
    (void)ex;
    (void)conf;
    (void)frame;
}

static const struct field fake_rows[] = {
    {"tag", FIELD_STR, .at = offsetof(struct fake_conf, tag), .def = "\"\""},
    {"n", FIELD_INT, .flags = FIELD_HAS_MIN, .at = offsetof(struct fake_conf, n)},
    {0},
};
static const struct fields fake_fields = {fake_rows, .size = sizeof(struct fake_conf)};

static const struct field fake_consumer_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_REQUIRED, .at = offsetof(struct fake_consumer, key),
     .min = 1},
    {"secret", FIELD_STR, .flags = FIELD_SECRET, .at = offsetof(struct fake_consumer, secret)},
    {0},
};
static const struct fields fake_consumer_fields = {fake_consumer_rows,
                                                   .size = sizeof(struct fake_consumer)};

static const struct plugin fake_auth = {
    .abi = PLUGIN_ABI,
    .name = "key-auth",
    .priority = 2500,
    .auth = true,
    .conf = &fake_fields,
    .consumer = &fake_consumer_fields,
    .consumer_key = "key",
    .frame_size = 8,
    .rewrite = fake_phase,
};
static const struct plugin fake_a = {
    .abi = PLUGIN_ABI,
    .name = "a",
    .priority = 100,
    .conf = &fake_fields,
    .metadata = &fake_fields,
    .frame_size = 24,
    .rewrite = fake_phase,
    .access = fake_phase,
    .compile = fake_compile,
    .release = fake_release,
};
static const struct plugin fake_b = {
    .abi = PLUGIN_ABI,
    .name = "b",
    .priority = 50,
    .conf = &fake_fields,
    .access = fake_phase,
    .log = fake_log,
    .compile = fake_compile,
    .release = fake_release,
};
static const struct plugin fake_ip = {
    .abi = PLUGIN_ABI,
    .name = "ip-restriction",
    .priority = 3000,
    .guard = true,
    .conf = &fake_fields,
    .access = fake_phase,
    .compile = fake_compile,
    .release = fake_release,
};

static const struct plugin *const fake_plugins[] = {&fake_auth, &fake_a, &fake_b, &fake_ip, NULL};

/* ---- What src/exchange implements ---- */

struct expr {
    int rules;
};
struct text {
    int unused;
};

struct text *build_text(struct build *b, struct str source)
{
    (void)source;
    return arena_zero(build_arena(b), sizeof(struct text));
}

struct text *build_var(struct build *b, struct str name)
{
    return build_text(b, name);
}

struct expr *build_expr(struct build *b, const json_t *source)
{
    struct expr *e = arena_zero(build_arena(b), sizeof(*e));

    if (!json_is_array(json_array_get(source, 0))) {
        build_error(b, "rule should be wrapped inside brackets");
        return NULL;
    }
    e->rules = (int)json_array_size(source);
    return e;
}

/* ---- Helpers ---- */

#ifndef FAKE_WITHOUT_CMOCKA
static inline json_t *json_of(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);

    if (!j)
        fail_msg("%s: %s", text, e.text);
    return j;
}

/* NULL deletes. */
static inline bool put(struct builder *b, enum kind kind, const char *id, const char *text)
{
    static int64_t revision;
    json_t *value = text ? json_of(text) : NULL;
    bool good = builder_apply(b, kind, str_of(id), ++revision, value);

    /* Nothing of the document is used later. */
    json_decref(value);
    return good;
}

#endif

static inline struct builder *fake_builder(bool host_first)
{
    struct builder_env env = {.plugins = fake_plugins,
                              .router = host_first ? ROUTER_HOST_URI : ROUTER_URI,
                              .verify_upstreams = true};

    return builder_new(&env);
}

#endif
