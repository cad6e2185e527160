/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the Admin API over a store in memory. Requests are split by a line "%%"; each
 * is a line "METHOD PATH?QUERY" and a body. Never a crash; what is refused changes nothing; what is
 * accepted is there, well-formed, and loads again. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../unit/admin/fake_auth.h"
#include "admin/admin.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"
#include "store/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS_MAX = 24, ENTRIES_MAX = 512 };

/* ---- A store in memory -------------------------------------------------------------------------
 */

struct entry {
    char *key, *value;
    int64_t created, modified;
};

struct memory {
    struct store store;
    struct entry entries[ENTRIES_MAX];
    size_t n;
    int64_t revision;
};

static struct memory *memory_of(struct store *s)
{
    return (struct memory *)(void *)s;
}

static struct entry *memory_find(struct memory *m, struct str key)
{
    for (size_t i = 0; i < m->n; i++) {
        if (str_eq(str_of(m->entries[i].key), key))
            return &m->entries[i];
    }
    return NULL;
}

static struct store_item item_of(const struct entry *e)
{
    return (struct store_item){str_of(e->key), str_of(e->value), e->created, e->modified};
}

static void memory_close(struct store *s)
{
    struct memory *m = memory_of(s);

    for (size_t i = 0; i < m->n; i++) {
        free(m->entries[i].key);
        free(m->entries[i].value);
    }
    free(m);
}

static enum store_status memory_get(struct store *s, struct str key, struct arena *a,
                                    struct store_item *out, struct str *err)
{
    const struct entry *e = memory_find(memory_of(s), key);

    (void)err;
    if (!e)
        return STORE_NOT_FOUND;
    *out = item_of(e);
    out->key = arena_str(a, out->key);
    out->value = arena_str(a, out->value);
    return STORE_OK;
}

static enum store_status memory_list(struct store *s, struct str prefix,
                                     bool (*each)(void *arg, const struct store_item *item),
                                     void *arg, struct str *err)
{
    struct memory *m = memory_of(s);

    (void)err;
    for (size_t i = 0; i < m->n; i++) {
        struct store_item item = item_of(&m->entries[i]);
        if (str_starts(item.key, prefix) && !each(arg, &item))
            break;
    }
    return STORE_OK;
}

static int key_compare(const void *a, const void *b)
{
    const struct store_item *x = a, *y = b;

    return str_cmp(x->key, y->key);
}

static enum store_status memory_pick(struct store *s, const struct store_pick *p, struct str *err)
{
    struct memory *m = memory_of(s);
    struct store_batch *all = store_batch_new();

    (void)err;
    for (size_t i = 0; i < m->n; i++) {
        struct store_item item = item_of(&m->entries[i]);
        store_batch_add(all, &item);
    }
    if (all->n)
        qsort(all->items, all->n, sizeof(*all->items), key_compare);
    store_batch_pick(all, p);
    store_batch_free(all);
    return STORE_OK;
}

static void memory_set(struct memory *m, const struct store_change *change, int64_t revision)
{
    struct entry *e = memory_find(m, change->key);

    if (!e) {
        ASSERT(m->n < ENTRIES_MAX);
        e = &m->entries[m->n++];
        *e = (struct entry){.key = str_dup(change->key), .created = revision};
    }
    free(e->value);
    e->value = str_dup(change->value);
    e->modified = revision;
}

static void memory_drop(struct memory *m, struct entry *e)
{
    size_t at = (size_t)(e - m->entries);

    free(e->key);
    free(e->value);
    memmove(e, e + 1, (m->n - at - 1) * sizeof(*e));
    m->n--;
}

static enum store_status memory_write(struct store *s, struct store_write *w, struct str *err)
{
    struct memory *m = memory_of(s);

    *err = STR("full");
    if (m->n + w->n > ENTRIES_MAX)
        return STORE_FAILED;
    for (w->failed = 0; w->failed < w->n; w->failed++) {
        const struct store_change *change = &w->changes[w->failed];
        const struct entry *e = memory_find(m, change->key);
        if (change->expect >= 0 && change->expect != (e ? e->modified : 0))
            return STORE_CONFLICT;
        if (!change->value.p && !e)
            return STORE_NOT_FOUND;
    }
    w->revision = ++m->revision;
    for (size_t i = 0; i < w->n; i++) {
        struct store_change *change = &w->changes[i];
        if (change->value.p)
            memory_set(m, change, w->revision);
        else
            memory_drop(m, memory_find(m, change->key));
        change->created = change->value.p ? memory_find(m, change->key)->created : 0;
    }
    return STORE_OK;
}

static enum store_status memory_next(struct store *s, int64_t *revision, struct str *err)
{
    (void)err;
    *revision = ++memory_of(s)->revision;
    return STORE_OK;
}

static int64_t memory_revision(struct store *s)
{
    return memory_of(s)->revision;
}

static const struct store_ops memory_ops = {
    .name = "memory",
    .close = memory_close,
    .get = memory_get,
    .list = memory_list,
    .write = memory_write,
    .next_revision = memory_next,
    .revision = memory_revision,
    .pick = memory_pick,
};

/* ---- The gateway's control side ----------------------------------------------------------------
 */

static const struct plugin *const plugins[] = {&key_auth, NULL};

static const struct builder_env env = {.plugins = plugins};
static const struct admin_config config = {
    .key_required = false, .cors = true, .v3 = true, .prefix = {"/apisix", 7}, .plugins = plugins};

static void quiet(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

static void on_publish(void *arg, const struct snapshot *s)
{
    (void)arg;
    snapshot_put(s);
}

struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t there;
    struct admin_reply *reply;
};

static void on_done(void *arg, struct admin_reply *reply)
{
    struct answer *answer = arg;

    pthread_mutex_lock(&answer->mutex);
    answer->reply = reply;
    pthread_cond_signal(&answer->there);
    pthread_mutex_unlock(&answer->mutex);
}

static struct admin_reply *ask(struct admin *admin, struct str text)
{
    struct answer answer = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};
    struct admin_request r = {0};
    struct str line, target;

    str_cut(text, '\n', &line, &r.body);
    str_cut(line, ' ', &r.method, &target);
    str_cut(target, '?', &r.path, &r.query);
    admin_handle(admin, &r, on_done, &answer);
    pthread_mutex_lock(&answer.mutex);
    while (!answer.reply)
        pthread_cond_wait(&answer.there, &answer.mutex);
    pthread_mutex_unlock(&answer.mutex);
    return answer.reply;
}

static bool dump_item(void *arg, const struct store_item *item)
{
    return buf_add(arg, item->key) && buf_add(arg, STR("=")) && buf_add(arg, item->value) &&
           buf_printf(arg, "@%" PRId64 "\n", item->modified);
}

static struct buf dump(struct memory *m)
{
    struct buf b;
    struct str err;

    buf_init(&b, 1 << 28);
    memory_list(&m->store, STR(""), dump_item, &b, &err);
    return b;
}

static bool item_is_sound(void *arg, const struct store_item *item)
{
    bool known = false;

    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct str id = document_id((enum kind)kind, item->key);
        if (!id.p)
            continue;
        json_t *value = document_decode(NULL, (enum kind)kind, item->value, NULL);
        ASSERT(value &&
               (!kinds[kind].times || json_is_number(json_object_get(value, "create_time"))));
        json_decref(value);
        known = true;
        for (size_t i = 0; i < id.n; i++)
            ASSERT(strchr(strcmp(kinds[kind].shape, "*") == 0 ? "-_." : "-_./", id.p[i]) ||
                   ascii_digit(id.p[i]) ||
                   (ascii_lower(id.p[i]) >= 'a' && ascii_lower(id.p[i]) <= 'z'));
    }
    ASSERT(known);
    return true;
}

static void reply_check(struct memory *m, struct str before, const struct admin_reply *reply)
{
    struct buf after = dump(m);
    struct str err;

    ASSERT(reply->status >= 200 && reply->status < 504 && reply->status != 503);
    if (reply->status >= 400)
        ASSERT(str_eq(before, buf_str(&after)));
    if (reply->body.n > 0 && reply->body.p[0] == '{') {
        json_t *json = json_loadb(reply->body.p, reply->body.n, JSON_ALLOW_NUL, NULL);
        ASSERT(json && reply->body.p[reply->body.n - 1] == '\n');
        json_decref(json);
    }
    if (reply->status == 201)
        ASSERT(after.n > 0 && !str_eq(before, buf_str(&after)));
    memory_list(&m->store, STR(""), item_is_sound, NULL, &err);
    buf_fini(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make((const char *)data, size);
    struct memory *m = mem_zero(sizeof(*m));

    log_setup(quiet, LOG_WARN);
    m->store.ops = &memory_ops;
    struct keeper *keeper = keeper_start(&m->store, NULL, builder_new(&env), NULL, on_publish,
                                         NULL);
    struct admin *admin = admin_new(&config, keeper);
    for (int i = 0; i < REQUESTS_MAX && rest.n > 0; i++) {
        ptrdiff_t end = str_search(rest, STR("\n%%\n"));
        struct str text = end < 0 ? rest : str_head(rest, (size_t)end);
        rest = end < 0 ? STR_NONE : str_from(rest, (size_t)end + 4);
        struct buf before = dump(m);
        struct admin_reply *reply = ask(admin, text);
        reply_check(m, buf_str(&before), reply);
        admin_reply_free(reply);
        buf_fini(&before);
    }
    admin_free(admin);
    keeper_stop(keeper);
    return 0;
}
