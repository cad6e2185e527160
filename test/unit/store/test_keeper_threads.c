/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper with a builder of our own beneath it: tasks of many threads run one at a time and in
 * order, what is stored is loaded in order, a write is published before it returns, and old
 * configuration is reclaimed without polling. Meant for the thread sanitizer too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* The keeper under test gets these instead of config/build. */
#define builder_apply    fake_apply
#define builder_skip     fake_skip
#define builder_publish  fake_publish
#define builder_reclaim  fake_reclaim
#define builder_free     fake_free
#define snapshot_get     fake_get
#define snapshot_put     fake_put
#define builder_revision fake_revision
#define builder_fault    fake_fault
#include "store/keeper.c"       /* NOLINT */
#include "store/keeper_live.c"  /* NOLINT */
#include "store/keeper_write.c" /* NOLINT */

enum { SNAPSHOTS = 64 };

struct builder {
    char applied[512]; /* "/routes/1@3 …", a deletion with a '-', a skip with a '?' */
    int64_t revision;
    bool changed;
    struct snapshot made[SNAPSHOTS];
    int count;

    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int reclaims, idle; /* calls; those that said that nothing is left */
};

static int freed;

bool fake_apply(struct builder *b, enum kind kind, struct str id, int64_t revision,
                const json_t *value)
{
    size_t n = strlen(b->applied);

    snprintf(b->applied + n, sizeof(b->applied) - n, "%s/%.*s/%.*s@%d ", value ? "" : "-",
             STR_ARG(kinds[kind].collection), STR_ARG(id), (int)revision);
    b->revision = revision > b->revision ? revision : b->revision;
    b->changed = true;
    return true;
}

void fake_skip(struct builder *b, enum kind kind, struct str id, const char *why)
{
    size_t n = strlen(b->applied);

    snprintf(b->applied + n, sizeof(b->applied) - n, "?/%.*s/%.*s %s ",
             STR_ARG(kinds[kind].collection), STR_ARG(id), why);
}

void fake_revision(struct builder *b, int64_t revision)
{
    b->revision = revision > b->revision ? revision : b->revision;
}

struct str fake_fault(const struct builder *b, enum kind kind, struct str id)
{
    (void)b, (void)kind;
    return str_eq(id, STR("bad")) ? STR("bad") : STR_NONE;
}

const struct snapshot *fake_publish(struct builder *b)
{
    if (b->changed || b->count == 0) {
        assert_true(b->count < SNAPSHOTS);
        b->made[b->count] = (struct snapshot){.version = (uint64_t)b->count + 1,
                                              .revision = b->revision};
        b->count++;
        b->changed = false;
    }
    atomic_fetch_add(&b->made[b->count - 1].refs, 1);
    return &b->made[b->count - 1];
}

bool fake_reclaim(struct builder *b)
{
    bool left = false;

    for (int i = 0; i < b->count - 1; i++)
        left |= atomic_load(&b->made[i].refs) > 0;
    pthread_mutex_lock(&b->mutex);
    b->reclaims++;
    b->idle += !left;
    pthread_cond_broadcast(&b->moved);
    pthread_mutex_unlock(&b->mutex);
    return left;
}

void fake_free(struct builder *b)
{
    for (int i = 0; i < b->count; i++)
        assert_int_equal(atomic_load(&b->made[i].refs), 0);
    freed++;
    free(b);
}

void fake_get(const struct snapshot *s)
{
    atomic_uint *refs = (atomic_uint *)(uintptr_t)&s->refs;
    atomic_fetch_add(refs, 1);
}

void fake_put(const struct snapshot *s)
{
    atomic_uint *refs = (atomic_uint *)(uintptr_t)&s->refs;
    assert_true(atomic_fetch_sub(refs, 1) > 0);
}

/* ---- One keeper for each test ------------------------------------------------------------------
 */

struct place {
    char dir[64];
    struct builder *builder;
    struct keeper *keeper;
    /* What publish saw; keeper's thread only. */
    const struct snapshot *held;
    int published;
    pthread_t publisher;
};

/* Plays one worker: lets go of the snapshot before and keeps the new one. */
static void on_publish(void *arg, const struct snapshot *s)
{
    struct place *p = arg;

    if (p->held)
        fake_put(p->held);
    p->held = s;
    p->published++;
    p->publisher = pthread_self();
}

static void start(struct place *p)
{
    struct arena a;
    struct str err = STR_NONE;

    arena_init(&a, NULL);
    struct store *store = store_sqlite_open(str_of(p->dir), &a, &err);
    assert_non_null(store);
    arena_fini(&a);
    p->builder = calloc(1, sizeof(*p->builder));
    pthread_mutex_init(&p->builder->mutex, NULL);
    pthread_cond_init(&p->builder->moved, NULL);
    p->keeper = keeper_start(store, NULL, p->builder, NULL, on_publish, p);
    assert_non_null(p->keeper);
}

static void stop(struct place *p)
{
    if (p->held)
        fake_put(p->held);
    p->held = NULL;
    keeper_stop(p->keeper);
    p->keeper = NULL;
}

static int place_make(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-keeper-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    start(p);
    *state = p;
    return 0;
}

static int place_drop(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"eclusa.db", "lock"};
    char path[128];
    int before = freed;

    if (p->keeper) {
        stop(p);
        assert_int_equal(freed, before + 1);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

/* Runs a task and waits for its end. */
struct call {
    void (*run)(struct place *p, struct keeper *k);
    struct place *p;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool done;
};

static void call_run(void *arg, struct keeper *k)
{
    struct call *c = arg;

    c->run(c->p, k);
    pthread_mutex_lock(&c->mutex);
    c->done = true;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->mutex);
}

static void call(struct place *p, void (*run)(struct place *p, struct keeper *k))
{
    struct call c = {run, p, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

    keeper_post(p->keeper, call_run, &c);
    pthread_mutex_lock(&c.mutex);
    while (!c.done)
        pthread_cond_wait(&c.ended, &c.mutex);
    pthread_mutex_unlock(&c.mutex);
}

static enum store_status write_one(struct keeper *k, enum kind kind, const char *id,
                                   const char *text, int64_t expect, struct store_item *out)
{
    struct arena a;
    struct str err = STR_NONE;
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;

    arena_init(&a, NULL);
    struct keeper_change change = {
        .kind = kind, .id = str_of(id), .value = value, .expect = expect};
    struct keeper_write w = {.changes = &change, .n = 1};
    enum store_status status = keeper_write(k, &w, &a, &err);
    *out = change.item;
    out->key = out->value = STR_NONE;
    arena_fini(&a);
    json_decref(value);
    return status;
}

/* ---- Tests -------------------------------------------------------------------------------------
 */

static void writes(struct place *p, struct keeper *k)
{
    struct store_item out;

    assert_int_equal(write_one(k, KIND_ROUTE, "1", "{\"uri\":\"/a\"}", -1, &out), STORE_OK);
    assert_int_equal(out.modified, 1);
    /* Published before the write returned, with the change in it, on this thread. */
    assert_int_equal(p->published, 1);
    assert_int_equal(p->held->revision, 1);
    assert_true(keeper_current(k) == p->held);
    assert_true(pthread_equal(p->publisher, pthread_self()));
    assert_int_equal(write_one(k, KIND_ROUTE, "1", "{}", 1, &out), STORE_OK);
    assert_int_equal(out.created, 1);
    assert_int_equal(out.modified, 2);
    assert_int_equal(write_one(k, KIND_ROUTE, "1", NULL, -1, &out), STORE_OK);
    assert_int_equal(out.modified, 3);
    assert_string_equal(p->builder->applied, "/routes/1@1 /routes/1@2 -/routes/1@3 ");
    /* What fails is neither applied nor published. */
    assert_int_equal(write_one(k, KIND_ROUTE, "1", NULL, -1, &out), STORE_NOT_FOUND);
    assert_int_equal(write_one(k, KIND_ROUTE, "2", "{}", 7, &out), STORE_CONFLICT);
    assert_int_equal(p->published, 3);
    assert_string_equal(p->builder->applied, "/routes/1@1 /routes/1@2 -/routes/1@3 ");
}

static void test_write_publishes(void **state)
{
    call(*state, writes);
}

static void writes_together(struct place *p, struct keeper *k)
{
    json_t *value = json_object();
    struct keeper_change changes[] = {
        {.kind = KIND_ROUTE, .id = STR("1"), .value = value, .expect = -1},
        {.kind = KIND_UPSTREAM, .id = STR("1"), .value = value, .expect = -1},
        {.kind = KIND_ROUTE, .id = STR("none"), .expect = -1},
    };
    struct keeper_write w = {.changes = changes, .n = 3};
    struct arena a;
    struct str err;

    arena_init(&a, NULL);
    assert_int_equal(keeper_write(k, &w, &a, &err), STORE_NOT_FOUND);
    assert_int_equal(w.failed, 2);
    assert_string_equal(p->builder->applied, "");
    w.n = 2;
    assert_int_equal(keeper_write(k, &w, &a, &err), STORE_OK);
    assert_true(changes[0].item.modified == 1 && changes[1].item.created == 1);
    /* One snapshot for both. */
    assert_string_equal(p->builder->applied, "/routes/1@1 /upstreams/1@1 ");
    assert_int_equal(p->published, 1);
    assert_int_equal(p->held->revision, 1);
    arena_fini(&a);
    json_decref(value);
}

static void test_writes_together(void **state)
{
    call(*state, writes_together);
}

/* What is tried is seen by the builder and by nobody else; taken back, the last first; what was
 * written once is not applied twice. */
static void tries(struct place *p, struct keeper *k)
{
    static const struct store_item none = {.modified = 0};
    const struct store_item old = {.key = STR("/routes/2"), .value = STR("{}"), .modified = 4};
    json_t *value = json_object();
    struct keeper_change changes[] = {
        {.kind = KIND_ROUTE, .id = STR("1"), .value = value, .expect = -1, .known = &none},
        {.kind = KIND_ROUTE, .id = STR("2"), .value = value, .expect = -1, .known = &old},
        {.kind = KIND_ROUTE, .id = STR("bad"), .value = value, .expect = -1, .known = &old},
    };
    struct keeper_write w = {.changes = changes, .n = 3};
    struct arena a;
    struct str err;

    for (int i = 0; i < 3; i++)
        keeper_try(k, &changes[i]);
    assert_string_equal(p->builder->applied, "/routes/1@0 /routes/2@0 ");
    keeper_untry(k, changes, 3);
    assert_string_equal(p->builder->applied, "/routes/1@0 /routes/2@0 /routes/2@0 -/routes/1@0 ");
    assert_int_equal(p->published, 0);
    p->builder->applied[0] = 0;
    for (int i = 0; i < 3; i++)
        keeper_try(k, &changes[i]);
    arena_init(&a, NULL);
    assert_int_equal(keeper_write(k, &w, &a, &err), STORE_OK);
    /* What is stored of a bad one could not be put back: it is applied when it is written. */
    assert_string_equal(p->builder->applied, "/routes/1@0 /routes/2@0 /routes/bad@1 ");
    assert_int_equal(p->held->revision, 1);
    keeper_untry(k, changes, 3);
    assert_string_equal(p->builder->applied, "/routes/1@0 /routes/2@0 /routes/bad@1 ");
    arena_fini(&a);
    json_decref(value);
}

static void test_tries(void **state)
{
    call(*state, tries);
}

/* ---- Who serves what ----
 */

enum { WORKERS = 3 };

struct wait {
    pthread_mutex_t mutex;
    pthread_cond_t told;
    int live, late;
};

static struct wait waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};

static void on_live(void *arg, bool live)
{
    struct wait *w = arg;

    pthread_mutex_lock(&w->mutex);
    w->live += live;
    w->late += !live;
    pthread_cond_signal(&w->told);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_told(struct wait *w, int live, int late)
{
    pthread_mutex_lock(&w->mutex);
    while (w->live + w->late < live + late)
        pthread_cond_wait(&w->told, &w->mutex);
    assert_true(w->live == live && w->late == late);
    pthread_mutex_unlock(&w->mutex);
}

static void workers_set(struct place *p, struct keeper *k)
{
    keeper_workers(k, WORKERS);
    assert_int_equal(p->published, 1);
}

static void write_and_wait(struct keeper *k, int64_t ms)
{
    struct store_item out;

    write_one(k, KIND_ROUTE, "1", "{}", -1, &out);
    keeper_when_live(k, ms, on_live, &waiting);
}

static void wait_long(struct place *p, struct keeper *k)
{
    (void)p;
    write_and_wait(k, 3600000);
}

static void wait_short(struct place *p, struct keeper *k)
{
    (void)p;
    write_and_wait(k, 20);
}

static void *taking(void *arg)
{
    struct place *p = arg;

    for (unsigned i = 0; i < WORKERS; i++) {
        const struct snapshot *s = keeper_snapshot(p->keeper);
        keeper_taken(p->keeper, i, s->version);
        fake_put(s);
    }
    return NULL;
}

static void test_live(void **state)
{
    struct place *p = *state;
    pthread_t thread;

    waiting.live = waiting.late = 0;
    call(p, workers_set);
    for (int turn = 0; turn < 20; turn++) {
        call(p, wait_long);
        assert_int_equal(pthread_create(&thread, NULL, taking, p), 0);
        wait_told(&waiting, turn + 1, 0);
        pthread_join(thread, NULL);
    }
    /* One that is behind keeps the others waiting, for so long. */
    keeper_taken(p->keeper, 0, UINT64_MAX);
    call(p, wait_short);
    wait_told(&waiting, 20, 1);
    /* Who still waits at the end is told. */
    call(p, wait_long);
    stop(p);
    wait_told(&waiting, 20, 2);
}

static void fill(struct place *p, struct keeper *k)
{
    struct store_item out;
    struct store *s = keeper_store(k);
    struct str err;

    (void)p;
    write_one(k, KIND_ROUTE, "1", "{}", -1, &out);
    write_one(k, KIND_CONSUMER, "jack", "{}", -1, &out);
    write_one(k, KIND_UPSTREAM, "b", "{}", -1, &out);
    write_one(k, KIND_UPSTREAM, "a", "{}", -1, &out);
    write_one(k, KIND_UPSTREAM, "b", "{}", -1, &out);
    store_put(s, STR("/consumers/jack/credentials/c"), STR("{}"), -1, NULL, &err);
    store_put(s, STR("/routes/bad"), STR("{\"uri\":"), -1, NULL, &err);
    store_put(s, STR("/routes/list"), STR("[]"), -1, NULL, &err);
    write_one(k, KIND_SERVICE, "1", "{}", -1, &out);
}

static int log_lines;
static void count_lines(enum log_level level, struct str line)
{
    (void)level;
    log_lines += str_search(line, STR("skipped")) >= 0;
}

/* What is referred to comes first; within a kind, older keys do. */
static void test_loads(void **state)
{
    struct place *p = *state;

    call(p, fill);
    stop(p);
    log_setup(count_lines, LOG_WARN);
    start(p);
    log_setup(NULL, LOG_WARN);
    assert_string_equal(p->builder->applied,
                        "/upstreams/b@5 /upstreams/a@4 /services/1@9 /consumers/jack@2 "
                        "/credentials/jack/credentials/c@6 /routes/1@1 ?/routes/bad it is no JSON "
                        "object ?/routes/list it is no JSON object ");

    assert_int_equal(log_lines, 2);
    assert_int_equal(p->published, 6);
    const struct snapshot *s = keeper_snapshot(p->keeper);
    assert_int_equal(s->revision, 9);
    fake_put(s);
}

enum { THREADS = 4, POSTS = 400 };

struct poster {
    pthread_t thread;
    struct place *p;
    int seen; /* keeper's thread only */
};

struct post {
    struct poster *poster;
    int n;
};

static int inside; /* not atomic on purpose: tasks must never run side by side */

static void count_post(void *arg, struct keeper *k)
{
    struct post *post = arg;

    (void)k;
    assert_int_equal(inside++, 0);
    assert_int_equal(post->n, post->poster->seen);
    post->poster->seen++;
    inside--;
    free(post);
}

static void *posting(void *arg)
{
    struct poster *poster = arg;

    for (int n = 0; n < POSTS; n++) {
        struct post *post = malloc(sizeof(*post));
        *post = (struct post){poster, n};
        keeper_post(poster->p->keeper, count_post, post);
        if (n % 50 == 0)
            fake_put(keeper_snapshot(poster->p->keeper));
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    struct place *p = *state;
    struct poster posters[THREADS] = {{0}};

    for (int i = 0; i < THREADS; i++) {
        posters[i].p = p;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, posting, &posters[i]), 0);
    }
    call(p, writes);
    for (int i = 0; i < THREADS; i++)
        pthread_join(posters[i].thread, NULL);
    /* Stopping runs what is still queued. */
    stop(p);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(posters[i].seen, POSTS);
}

static void wait_reclaims(struct builder *b, const int *which, int until)
{
    pthread_mutex_lock(&b->mutex);
    while (*which < until)
        pthread_cond_wait(&b->moved, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
}

/* As long as somebody holds an old snapshot the keeper comes back to it by itself; then it rests.
 */
static void test_reclaims(void **state)
{
    struct place *p = *state;
    struct builder *b = p->builder;
    const struct snapshot *old = keeper_snapshot(p->keeper);

    call(p, writes);
    pthread_mutex_lock(&b->mutex);
    int before = b->reclaims;
    pthread_mutex_unlock(&b->mutex);
    wait_reclaims(b, &b->reclaims, before + 3);
    pthread_mutex_lock(&b->mutex);
    int idle = b->idle;
    pthread_mutex_unlock(&b->mutex);
    fake_put(old);
    wait_reclaims(b, &b->idle, idle + 1);
    /* Each look is one call; none is made while nothing is left and nothing comes in. */
    pthread_mutex_lock(&b->mutex);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 60 * 1000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    assert_int_equal(pthread_cond_timedwait(&b->moved, &b->mutex, &soon), ETIMEDOUT);
    pthread_mutex_unlock(&b->mutex);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_write_publishes), TEST(test_writes_together),
        TEST(test_tries),           TEST(test_live),
        TEST(test_loads),           TEST(test_many_threads),
        TEST(test_reclaims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
