/* SPDX-License-Identifier: Apache-2.0 */
/* A list of references and when each is to be read again, and the thread that reads. */
#include "store/secrets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os_thread.h"
#include "base/panic.h"
#include "config/references.h"
#include "store/secret_manager.h"

enum { TIMEOUT_MS = 5000 /* APISIX: vault.lua */ };

/* A document of kind secrets. */
struct manager {
    struct list link;
    char *id; /* "vault/1" */
    json_t *conf;
};

/* A reference that documents have. */
struct entry {
    struct list link;
    char *uri;
    struct str id, path, last; /* parts of uri; last absent: the key has none */
    int64_t due;               /* CLOCK_MONOTONIC, ms */
    bool asked;                /* once at least */
    bool has;                  /* the keeper was told a value */
    bool failing;              /* and it was said */
};

struct secrets {
    struct builder_secrets hooks;
    struct secrets_config config;
    char *ca;
    secrets_changed_fn *changed;
    void *arg;
    pthread_t thread;
    bool running;   /* the hooks' thread's */
    const char *no; /* why nothing can be read; NULL: it can */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake, rest;
    struct list managers, entries;
    atomic_bool stopping; /* written with it held */
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for the condition until then; 0: without an end. */
static void wait_until(struct secrets *s, pthread_cond_t *condition, int64_t until)
{
    struct timespec t = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};

    if (until)
        pthread_cond_timedwait(condition, &s->mutex, &t);
    else
        pthread_cond_wait(condition, &s->mutex);
}

void secret_news_free(struct secret_news *news)
{
    json_decref(news->value);
    free(news->why);
    free(news->uri);
    free(news);
}

static void entry_free(struct entry *e)
{
    list_remove(&e->link);
    free(e->uri);
    free(e);
}

static void manager_free(struct manager *m)
{
    list_remove(&m->link);
    json_decref(m->conf);
    free(m->id);
    free(m);
}

static struct manager *manager_find(struct secrets *s, struct str id)
{
    for (struct list *l = s->managers.next; l != &s->managers; l = l->next) {
        struct manager *m = CONTAINER(l, struct manager, link);
        if (str_eq(str_of(m->id), id))
            return m;
    }
    return NULL;
}

/* ---- What is told ------------------------------------------------------------------------------
 */

static void tell(struct secrets *s, const struct entry *e, json_t *value, struct str why)
{
    struct secret_news *news = mem_alloc(sizeof(*news));

    /* A copy: the thread that is told counts its own references. */
    *news = (struct secret_news){.value = json_deep_copy(value),
                                 .why = value ? NULL : str_dup(why),
                                 .uri = str_dup(str_of(e->uri))};
    s->changed(s->arg, news);
}

static void entry_has(struct secrets *s, struct entry *e, json_t *value)
{
    if (e->failing)
        log_warn("%s is read again", e->uri);
    e->failing = false;
    e->has = true;
    e->due = now_ms() + s->config.ttl_ms;
    tell(s, e, value, STR_NONE);
}

/* stays: what was read before is as good as ever. */
static void entry_fails(struct secrets *s, struct entry *e, struct str why, bool stays)
{
    if (!e->failing)
        log_error("%s cannot be read: %.*s%s", e->uri, STR_ARG(why),
                  e->has && stays ? ". Its last value stays in use" : "");
    e->failing = true;
    e->due = now_ms() + s->config.retry_ms;
    if (e->has && stays)
        return;
    e->has = false;
    tell(s, e, NULL, why);
}

/* ---- The thread --------------------------------------------------------------------------------
 */

/* What is asked for, copied: documents may change meanwhile. */
struct question {
    struct str id, path;
    json_t *conf; /* NULL: there is no such manager */
};

static struct entry *entry_due(struct secrets *s, int64_t *next)
{
    struct entry *first = NULL;

    for (struct list *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = CONTAINER(l, struct entry, link);
        if (!first || e->due < first->due)
            first = e;
    }
    *next = first ? first->due : 0;
    return first && first->due <= now_ms() ? first : NULL;
}

static enum secret_answer ask(struct secrets *s, CURL *easy, const struct question *q,
                              json_t **found, struct arena *a, struct str *why)
{
    struct str manager, rest;

    *found = NULL;
    str_cut(q->id, '/', &manager, &rest);
    *why = STR("its path has no part behind the last slash");
    if (!q->path.p)
        return SECRET_REFUSED;
    *why = arena_printf(a, "there is no secret manager %.*s", STR_ARG(q->id));
    if (!q->conf)
        return SECRET_GONE;
    struct secret_ask about = {.easy = easy,
                               .manager = arena_str(a, manager),
                               .conf = q->conf,
                               .path = q->path,
                               .ca = s->ca ? str_of(s->ca) : STR_NONE,
                               .timeout_ms = TIMEOUT_MS,
                               .stop = &s->stopping};
    return secret_manager_read(&about, found, a, why);
}

/* One answer is for all references to members of the same secret; that a manager is away, for all
 * that wait for it. */
static void answer_spread(struct secrets *s, const struct question *q, enum secret_answer answer,
                          json_t *found, struct str why)
{
    int64_t now = now_ms();

    for (struct list *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = CONTAINER(l, struct entry, link);
        bool same = str_eq(e->id, q->id) && e->path.p && q->path.p && str_eq(e->path, q->path);
        bool waits = str_eq(e->id, q->id) && e->due <= now &&
                     (answer == SECRET_AWAY || !q->conf || (!q->path.p && !e->path.p));
        if (!same && !waits)
            continue;
        char *name = str_dup(e->last);
        json_t *value = json_object_get(found, name);
        free(name);
        e->asked = true;
        if (value && !json_is_null(value))
            entry_has(s, e, value);
        else if (answer == SECRET_READ)
            entry_fails(s, e, STR("there is no such member in the secret"), false);
        else
            entry_fails(s, e, why, answer != SECRET_GONE);
    }
    pthread_cond_broadcast(&s->rest);
}

static void entry_read(struct secrets *s, CURL *easy, struct entry *e)
{
    struct manager *m = manager_find(s, e->id);
    struct arena a;

    arena_init(&a, NULL);
    struct question q = {.id = arena_str(&a, e->id),
                         .path = e->path.p ? arena_str(&a, e->path) : STR_NONE,
                         .conf = m ? json_deep_copy(m->conf) : NULL};
    json_t *found;
    struct str why = s->no ? str_of(s->no) : STR_NONE;
    enum secret_answer answer = SECRET_REFUSED;

    pthread_mutex_unlock(&s->mutex);
    if (!s->no)
        answer = ask(s, easy, &q, &found, &a, &why);
    else
        found = NULL;
    pthread_mutex_lock(&s->mutex);
    answer_spread(s, &q, answer, found, why);
    json_decref(found);
    json_decref(q.conf);
    arena_fini(&a);
}

static void *secrets_main(void *arg)
{
    struct secrets *s = arg;
    CURL *easy = s->no ? NULL : curl.easy_init();
    int64_t next;

    pthread_mutex_lock(&s->mutex);
    while (!atomic_load(&s->stopping)) {
        struct entry *e = entry_due(s, &next);
        if (e)
            entry_read(s, easy, e);
        else
            wait_until(s, &s->wake, next);
    }
    pthread_mutex_unlock(&s->mutex);
    if (easy)
        curl.easy_cleanup(easy);
    return NULL;
}

static void thread_start(struct secrets *s)
{
    struct arena a;
    struct str err;

    arena_init(&a, NULL);
    if (!curl_load(&a, &err)) {
        log_error("secrets cannot be read: %.*s", STR_ARG(err));
        s->no = "libcurl is not installed";
    }
    arena_fini(&a);
    if (!os_thread_start(&s->thread, "secrets", secrets_main, s))
        PANIC("the system gives no thread");
    s->running = true;
}

/* ---- What the builder asks for -----------------------------------------------------------------
 */

static void entry_new(struct secrets *s, struct str uri)
{
    struct entry *e = mem_zero(sizeof(*e));
    struct secret_uri parts;
    const char *why;

    e->uri = str_dup(uri);
    bool good = secret_uri_parse(str_of(e->uri), &parts, &why);
    ASSERT(good);
    ptrdiff_t slash = str_rfind(parts.key, '/');
    e->id = parts.id;
    /* APISIX: "error key format", "can't find main key", "can't find sub key". */
    if (slash > 0 && (size_t)slash + 1 < parts.key.n) {
        e->path = str_head(parts.key, (size_t)slash);
        e->last = str_from(parts.key, (size_t)slash + 1);
    }
    e->due = now_ms();
    list_append(&s->entries, &e->link);
}

static void on_want(void *arg, struct str uri, bool wanted)
{
    struct secrets *s = arg;

    pthread_mutex_lock(&s->mutex);
    if (wanted)
        entry_new(s, uri);
    for (struct list *l = s->entries.next, *next; l != &s->entries && !wanted; l = next) {
        next = l->next;
        if (str_eq(str_of(CONTAINER(l, struct entry, link)->uri), uri))
            entry_free(CONTAINER(l, struct entry, link));
    }
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    if (wanted && !s->running && !atomic_load(&s->stopping))
        thread_start(s);
}

static void on_manager(void *arg, struct str id, const json_t *conf)
{
    struct secrets *s = arg;

    pthread_mutex_lock(&s->mutex);
    struct manager *m = manager_find(s, id);
    if (m)
        manager_free(m);
    if (conf) {
        m = mem_alloc(sizeof(*m));
        *m = (struct manager){.id = str_dup(id), .conf = json_deep_copy(conf)};
        list_append(&s->managers, &m->link);
    }
    for (struct list *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = CONTAINER(l, struct entry, link);
        if (str_eq(e->id, id)) {
            e->due = now_ms();
            e->asked = false;
        }
    }
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- Begin and end -----------------------------------------------------------------------------
 */

struct secrets *secrets_new(const struct secrets_config *config)
{
    struct secrets *s = mem_zero(sizeof(*s));
    pthread_condattr_t monotonic;

    s->hooks = (struct builder_secrets){.arg = s, .want = on_want, .manager = on_manager};
    s->config = *config;
    s->ca = config->ca.p ? str_dup(config->ca) : NULL;
    list_init(&s->managers);
    list_init(&s->entries);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_cond_init(&s->rest, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

const struct builder_secrets *secrets_hooks(struct secrets *s)
{
    return &s->hooks;
}

void secrets_tell(struct secrets *s, secrets_changed_fn *changed, void *arg)
{
    s->changed = changed;
    s->arg = arg;
}

static bool all_asked(struct secrets *s)
{
    for (struct list *l = s->entries.next; l != &s->entries; l = l->next)
        if (!CONTAINER(l, struct entry, link)->asked)
            return false;
    return true;
}

void secrets_wait(struct secrets *s, int64_t wait_ms)
{
    int64_t until = now_ms() + wait_ms;

    pthread_mutex_lock(&s->mutex);
    while (!all_asked(s) && now_ms() < until)
        wait_until(s, &s->rest, until);
    pthread_mutex_unlock(&s->mutex);
}

void secrets_stop(struct secrets *s)
{
    pthread_mutex_lock(&s->mutex);
    atomic_store(&s->stopping, true);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    if (s->running)
        pthread_join(s->thread, NULL);
    s->running = false;
}

void secrets_free(struct secrets *s)
{
    if (!s)
        return;
    secrets_stop(s);
    while (!list_empty(&s->entries))
        entry_free(CONTAINER(s->entries.next, struct entry, link));
    while (!list_empty(&s->managers))
        manager_free(CONTAINER(s->managers.next, struct manager, link));
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->rest);
    pthread_mutex_destroy(&s->mutex);
    free(s->ca);
    free(s);
}
