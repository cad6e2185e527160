/* SPDX-License-Identifier: Apache-2.0 */
/* Any documents into the builder. A line is a document: a letter for the kind (u s p c r), a digit
 * for the id, `-` to delete or JSON. What a check accepts must be taken in; whatever comes, every
 * version can be matched against, and nothing is left at the end. */
#define FAKE_WITHOUT_CMOCKA
#include "../unit/config/fake_plugins.h"

#include "base/panic.h"
#include "config/checks.h"
#include "config/router.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HELD = 4 };

static void quiet(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

static bool pass(void *arg, const struct route *route)
{
    (void)arg;
    return route->about->vars != NULL;
}

/* What a probe is made of can be sent, and would come some time. */
static void look_at_checks(const struct snapshot *s)
{
    for (uint32_t i = 0; i < s->checks.n; i++)
        ASSERT(s->checks.slots[i] < s->nupstreams && s->checks.since < s->version);
    for (uint32_t slot = 0; slot < s->nupstreams; slot++) {
        const struct checks *c = s->upstreams[slot] ? s->upstreams[slot]->checks : NULL;
        if (!c)
            continue;
        ASSERT(s->upstreams[slot]->peers && c->concurrency > 0 && c->timeout_ms > 0);
        ASSERT(c->unhealthy_ms > 0 && (c->healthy_ms > 0 || c->has_passive));
        ASSERT(str_starts(c->path, STR("/")) && c->nheaders <= CHECK_HEADERS_MAX);
        for (size_t i = 0; i < c->path.n; i++)
            ASSERT((unsigned char)c->path.p[i] > ' ' && c->path.p[i] != 0x7f);
        for (unsigned i = 0; i < c->nheaders; i++)
            ASSERT(h1_token_ok(c->headers[i].key) && h1_value_ok(c->headers[i].value));
    }
}

/* Goes over what an exchange would touch. */
static void look(const struct snapshot *s)
{
    static const char *const paths[] = {"/", "/a", "/a/b/c", "/hello"};
    static const char *const hosts[] = {"a.com", "x.a.com", "foo.com", NULL};
    size_t bytes = 0;

    for (size_t i = 0; i < 16; i++) {
        struct match m = {.host = str_of(hosts[i / 4]), .path = str_of(paths[i % 4]), .test = pass};
        const struct route *r = router_match(s->router, &m);
        if (!r)
            continue;
        bytes += r->about->id.n + r->about->name.n +
                 (r->about->service ? r->about->service->id.n : 0);
        for (unsigned k = 0; r->chain && k < r->chain->n; k++)
            bytes += r->chain->steps[k].use.plugin->frame_size;
        if (r->upstream != UPSTREAM_NONE && !r->broken) {
            ASSERT(r->upstream < s->nupstreams);
            const struct upstream *u = s->upstreams[r->upstream];
            ASSERT(u->slot == r->upstream);
            for (unsigned k = 0; k < u->nnodes; k++)
                bytes += u->nodes[k].address.n;
        }
    }
    const struct credential *c = snapshot_credential(s, "key-auth", STR("k"));
    if (c)
        ASSERT(snapshot_consumer(s, c->consumer->username) == c->consumer);
    ASSERT(bytes < 1u << 30);
    look_at_checks(s);
}

static enum kind kind_of(char letter)
{
    static const char letters[] = "uspcr";
    const char *at = letter ? strchr(letters, letter) : NULL;

    return at ? (enum kind)(at - letters) : KIND_ROUTE;
}

static void document(struct builder *b, struct str line)
{
    char id[] = "0";
    struct arena a;
    struct str err;

    if (line.n < 3)
        return;
    enum kind kind = kind_of(line.p[0]);
    if (ascii_digit(line.p[1]))
        id[0] = line.p[1];
    if (line.p[2] == '-') {
        builder_apply(b, kind, STR(id), 1, NULL);
        return;
    }
    json_t *value = json_loadb(line.p + 2, line.n - 2, 0, NULL);
    if (!json_is_object(value)) {
        json_decref(value);
        return;
    }
    arena_init(&a, NULL);
    bool checked = builder_check(b, kind, STR(id), value, &a, &err);
    ASSERT(checked || err.n > 0);
    bool applied = builder_apply(b, kind, STR(id), 1, value);
    ASSERT(applied || !checked);
    arena_fini(&a);
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct builder *b = fake_builder(size % 2);
    struct str rest = str_make((const char *)data, size), line;
    const struct snapshot *held[HELD] = {0};

    log_setup(quiet, LOG_EMERG);
    for (unsigned i = 0; rest.n; i++) {
        str_cut(rest, '\n', &line, &rest);
        document(b, line);
        const struct snapshot **place = &held[i % HELD];
        if (*place)
            snapshot_put(*place);
        *place = builder_publish(b);
        for (unsigned k = 0; k < HELD; k++)
            if (held[k])
                look(held[k]);
    }
    for (unsigned k = 0; k < HELD; k++)
        if (held[k])
            snapshot_put(held[k]);
    builder_free(b);
    ASSERT(fake_alive == 0);
    return 0;
}
