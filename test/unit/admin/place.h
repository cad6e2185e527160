/* SPDX-License-Identifier: Apache-2.0 */
/* A control side for tests of the Admin API: plugins, a store that can be told to fail, a keeper,
 * and conversations with it. */
#ifndef ADMIN_PLACE_H
#define ADMIN_PLACE_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "fake_auth.h"
#include "store/document.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Plugins of the test's own -----------------------------------------------------------------
 */

struct count_conf {
    int64_t count;
};

static const struct field count_rows[] = {
    {"count", FIELD_INT, .flags = FIELD_REQUIRED | FIELD_ABOVE_MIN | FIELD_HAS_MIN,
     .at = offsetof(struct count_conf, count)},
    {.name = NULL},
};
static const struct fields count_fields = {.rows = count_rows, .size = sizeof(struct count_conf)};

static const struct field counter_meta_rows[] = {{"header", FIELD_STR, .at = 0}, {.name = NULL}};
static const struct fields counter_meta = {
    .rows = counter_meta_rows, .size = sizeof(struct str), .open = true};

static const struct plugin counter = {
    .abi = PLUGIN_ABI,
    .name = "counter",
    .version = 0.2,
    .priority = 3000,
    .conf = &count_fields,
    .metadata = &counter_meta,
};
static const struct fields open_fields = {.rows = empty_rows, .size = 1, .open = true};
static const struct plugin split = {
    .abi = PLUGIN_ABI,
    .name = "traffic-split",
    .version = 0.1,
    .priority = 966,
    .conf = &open_fields,
};
static const struct plugin *const plugins[] = {&key_auth, &split, &counter, NULL};

/* ---- A store that can be told to fail ----------------------------------------------------------
 */

struct fragile {
    struct store store;
    struct store *real;
    bool reads_fail, writes_fail;
    bool raced; /* after each read of one item somebody else writes it */
};

static inline struct fragile *fragile_of(struct store *s)
{
    return (struct fragile *)(void *)s;
}

static inline void fragile_close(struct store *s)
{
    struct fragile *f = fragile_of(s);

    f->real->ops->close(f->real);
    free(f);
}

static inline enum store_status fragile_get(struct store *s, struct str key, struct arena *a,
                                            struct store_item *out, struct str *err)
{
    struct fragile *f = fragile_of(s);

    *err = STR("disk is gone");
    enum store_status status = f->reads_fail ? STORE_FAILED
                                             : f->real->ops->get(f->real, key, a, out, err);
    if (f->raced && status == STORE_OK)
        assert_int_equal(store_put(f->real, key, out->value, -1, NULL, err), STORE_OK);
    return status;
}

static inline enum store_status fragile_list(struct store *s, struct str prefix,
                                             bool (*each)(void *arg, const struct store_item *item),
                                             void *arg, struct str *err)
{
    struct fragile *f = fragile_of(s);

    *err = STR("disk is gone");
    return f->reads_fail ? STORE_FAILED : f->real->ops->list(f->real, prefix, each, arg, err);
}

static inline enum store_status fragile_pick(struct store *s, const struct store_pick *p,
                                             struct str *err)
{
    struct fragile *f = fragile_of(s);

    *err = STR("disk is gone");
    return f->reads_fail ? STORE_FAILED : f->real->ops->pick(f->real, p, err);
}

static inline enum store_status fragile_write(struct store *s, struct store_write *w,
                                              struct str *err)
{
    struct fragile *f = fragile_of(s);

    *err = STR("disk is full");
    return f->writes_fail ? STORE_FAILED : f->real->ops->write(f->real, w, err);
}

static inline enum store_status fragile_next(struct store *s, int64_t *revision, struct str *err)
{
    return fragile_of(s)->real->ops->next_revision(fragile_of(s)->real, revision, err);
}

static inline int64_t fragile_revision(struct store *s)
{
    return fragile_of(s)->real->ops->revision(fragile_of(s)->real);
}

static const struct store_ops fragile_ops = {
    .name = "fragile",
    .close = fragile_close,
    .get = fragile_get,
    .list = fragile_list,
    .pick = fragile_pick,
    .write = fragile_write,
    .next_revision = fragile_next,
    .revision = fragile_revision,
};

/* ---- One gateway's control side for each test --------------------------------------------------
 */

#define ADMIN_KEY  "0123456789abcdef0123456789abcdef"
#define VIEWER_KEY "viewer-key"

struct place {
    char dir[64];
    struct arena a;
    struct fragile *fragile;
    struct keeper *keeper;
    struct admin *admin;
};

static const struct settings_admin_key keys[] = {
    {{"admin", 5}, {ADMIN_KEY, sizeof(ADMIN_KEY) - 1}, false},
    {{"looker", 6}, {VIEWER_KEY, sizeof(VIEWER_KEY) - 1}, true},
    {{"none", 4}, {"", 0}, false},
};
static const struct cidr allow[] = {
    {{127, 0, 0, 0}, 24, false}, {{10, 1, 2, 3}, 32, false}, {{0xfd, 0, 0, 1}, 31, true}};

static const struct admin_config config = {
    .keys = keys,
    .nkeys = COUNT(keys),
    .key_required = true,
    .allow = {allow, COUNT(allow)},
    .cors = true,
    .v3 = true,
    .prefix = {"/apisix", 7},
    .plugins = plugins,
};

static inline void on_publish(void *arg, const struct snapshot *s)
{
    (void)arg;
    snapshot_put(s);
}

static inline void configure(struct place *p, const struct admin_config *with)
{
    admin_free(p->admin);
    p->admin = admin_new(with, p->keeper);
}

static inline int place_make(void **state)
{
    static const struct builder_env env = {.plugins = plugins};
    struct place *p = calloc(1, sizeof(*p));
    struct str err = STR_NONE;

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-admin-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    arena_init(&p->a, NULL);
    p->fragile = calloc(1, sizeof(*p->fragile));
    p->fragile->store.ops = &fragile_ops;
    p->fragile->real = store_sqlite_open(str_of(p->dir), &p->a, &err);
    assert_non_null(p->fragile->real);
    p->keeper = keeper_start(&p->fragile->store, NULL, builder_new(&env), NULL, on_publish, NULL);
    assert_non_null(p->keeper);
    configure(p, &config);
    *state = p;
    return 0;
}

static inline int place_drop(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"eclusa.db", "lock"};
    char path[128];

    admin_free(p->admin);
    keeper_stop(p->keeper);
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(p->dir), 0);
    arena_fini(&p->a);
    free(p);
    return 0;
}

/* ---- Asking ------------------------------------------------------------------------------------
 */

struct ask {
    const char *method, *target; /* path and query */
    struct str body;
    size_t body_size;
    const char *api_key, *cookie;
    const struct sockaddr *client;
};

struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t there;
    struct admin_reply *reply;
};

static inline void on_done(void *arg, struct admin_reply *reply)
{
    struct answer *answer = arg;

    pthread_mutex_lock(&answer->mutex);
    answer->reply = reply;
    pthread_cond_signal(&answer->there);
    pthread_mutex_unlock(&answer->mutex);
}

static inline struct str header_of(void *arg, struct str name)
{
    const struct ask *ask = arg;

    if (str_eq_nocase(name, STR("x-api-key")))
        return str_of(ask->api_key);
    return str_eq_nocase(name, STR("cookie")) ? str_of(ask->cookie) : STR_NONE;
}

static inline struct admin_reply *ask_raw(struct place *p, struct ask ask)
{
    struct answer answer = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};
    struct admin_request r = {
        .method = str_of(ask.method),
        .header = header_of,
        .header_arg = &ask,
        .body = ask.body,
        .body_size = ask.body_size,
        .client = ask.client,
    };

    str_cut(str_of(ask.target), '?', &r.path, &r.query);
    admin_handle(p->admin, &r, on_done, &answer);
    pthread_mutex_lock(&answer.mutex);
    while (!answer.reply)
        pthread_cond_wait(&answer.there, &answer.mutex);
    pthread_mutex_unlock(&answer.mutex);
    return answer.reply;
}

static inline struct admin_reply *ask(struct place *p, const char *method, const char *below,
                                      const char *body)
{
    char target[512];

    snprintf(target, sizeof(target), "/apisix/admin/%s", below);
    return ask_raw(
        p, (struct ask){
               .method = method, .target = target, .body = str_of(body), .api_key = ADMIN_KEY});
}

/* Times are what the clock says: they are looked at by one test, and taken out for the others. */
static inline void times_drop(json_t *json)
{
    json_t *one;
    const char *name;
    size_t i;

    if (json_is_array(json)) {
        json_array_foreach(json, i, one) times_drop(one);
        return;
    }
    json_object_del(json, "create_time");
    json_object_del(json, "update_time");
    json_object_foreach(json, name, one) times_drop(one);
}

static inline bool same(struct str got, const char *want)
{
    if (want[0] != '{' && want[0] != '[')
        return str_eq(got, str_of(want));
    json_t *a = json_loadb(got.p, got.n, 0, NULL), *b = json_loads(want, 0, NULL);
    assert_non_null(b);
    times_drop(a);
    bool equal = a && json_equal(a, b) && got.p[got.n - 1] == '\n';
    json_decref(a);
    json_decref(b);
    return equal;
}

static inline void expect(const char *what, const struct admin_reply *reply, int status,
                          const char *want)
{
    if (reply->status != status || (want && !same(reply->body, want)))
        fail_msg("%s\n  got  %d %.*s\n  want %d %s", what, reply->status, STR_ARG(reply->body),
                 status, want ? want : "(anything)");
}

static inline bool dump_item(void *arg, const struct store_item *item)
{
    return buf_printf(arg, "%.*s=%.*s@%" PRId64 "\n", STR_ARG(item->key), STR_ARG(item->value),
                      item->modified);
}

/* Everything in the store. The keeper has nothing to do meanwhile: all tasks have been answered. */
static inline struct buf dump(struct place *p)
{
    struct buf b;
    struct str err;

    buf_init(&b, 1 << 26);
    assert_int_equal(p->fragile->real->ops->list(p->fragile->real, STR("/"), dump_item, &b, &err),
                     STORE_OK);
    return b;
}

struct turn {
    const char *method, *below, *body;
    int status;
    const char *want; /* NULL: anything */
};

/* Runs a conversation; whatever is refused must leave the store as it was. */
static inline void play(struct place *p, const struct turn *turns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char what[256];
        struct buf before = dump(p);
        struct admin_reply *reply = ask(p, turns[i].method, turns[i].below, turns[i].body);
        struct buf after = dump(p);
        snprintf(what, sizeof(what), "turn %zu: %s %s", i, turns[i].method, turns[i].below);
        expect(what, reply, turns[i].status, turns[i].want);
        if (reply->status >= 400 && !str_eq(buf_str(&before), buf_str(&after)))
            fail_msg("%s was refused and changed the store", what);
        admin_reply_free(reply);
        buf_fini(&before);
        buf_fini(&after);
    }
}

#define NODES     "\"type\":\"roundrobin\",\"nodes\":{\"127.0.0.1:1980\":1}"
#define NOT_FOUND "{\"message\":\"Key not found\"}"

#define ERROR(text) "{\"error_msg\":\"" text "\"}"

static inline json_int_t time_of(struct place *p, const char *method, const char *body,
                                 const char *name)
{
    struct admin_reply *reply = ask(p, method, "upstreams/1", body);
    json_t *json = json_loadb(reply->body.p, reply->body.n, 0, NULL);
    json_int_t t = json_integer_value(json_object_get(json_object_get(json, "value"), name));

    json_decref(json);
    admin_reply_free(reply);
    return t;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

#endif
