/* SPDX-License-Identifier: Apache-2.0 */
/* Threads read snapshots while the builder publishes new ones and frees old ones. Every snapshot
 * must be of one piece: what was changed together is seen together. Run under TSan and ASan. */
#include "fake_plugins.h"

#include <pthread.h>
#include <stdio.h>

#include "base/hash.h"
#include "config/router.h"

enum { READERS = 3, ROUNDS = 400, THINGS = 40, AT_ONCE = 5 };

/* What the keeper does between the builder and the threads. */
static struct {
    pthread_mutex_t mutex;
    const struct snapshot *current;
    bool done;
} exchange_point = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void hand_out(const struct snapshot *s, bool done)
{
    pthread_mutex_lock(&exchange_point.mutex);
    const struct snapshot *old = exchange_point.current;
    exchange_point.current = s;
    exchange_point.done = done;
    pthread_mutex_unlock(&exchange_point.mutex);
    if (old)
        snapshot_put(old);
}

static const struct snapshot *take(bool *done)
{
    pthread_mutex_lock(&exchange_point.mutex);
    const struct snapshot *s = exchange_point.current;
    snapshot_get(s);
    *done = exchange_point.done;
    pthread_mutex_unlock(&exchange_point.mutex);
    return s;
}

static bool pass(void *arg, const struct route *route)
{
    (void)arg;
    (void)route;
    return true;
}

/* A thing is a route, its upstream and a consumer; all three carry the number of the round. False:
 * they do not agree. */
static bool thing_agrees(const struct snapshot *s, int i)
{
    char path[64], host[64], key[32];
    struct match m = {.method = METHOD_GET, .test = pass};

    m.path = str_make(path, (size_t)snprintf(path, sizeof(path), "/things/%d/more", i));
    m.host = str_make(host, (size_t)snprintf(host, sizeof(host), "h%d.example.com", i % 3));
    const struct route *r = router_match(s->router, &m);
    struct str name = str_make(key, (size_t)snprintf(key, sizeof(key), "user%d", i));
    const struct consumer *c = snapshot_consumer(s, name);
    if (!r || !c)
        return !r && !c;
    const struct upstream *u = s->upstreams[r->upstream];
    const struct fake_conf *conf = chain_step(r->chain, PHASE_ACCESS, 0)->use.conf;
    struct str secret = str_make(
        key, (size_t)snprintf(key, sizeof(key), "key-%d-%lld", i, (long long)conf->n));
    const struct credential *found = snapshot_credential(s, "key-auth", secret);
    return r->broken == 0 && conf->n == u->retries && found && found->consumer == c &&
           u->slot == r->upstream && u->nodes[0].port == 80 && *(char *)conf->heap == 'x';
}

static void *reader(void *arg)
{
    long *bad = arg;
    const struct snapshot *held = NULL;
    uint64_t last = 0;
    bool done = false;

    for (int turn = 0; !done; turn++) {
        const struct snapshot *s = take(&done);
        if (s->version < last)
            ++*bad;
        last = s->version;
        for (int i = 0; i < THINGS; i++)
            *bad += !thing_agrees(s, i);
        /* Every now and then one is held over many versions, as a long stream does. */
        if (turn % 50 == 0) {
            if (held)
                snapshot_put(held);
            held = s;
            continue;
        }
        for (int i = 0; i < THINGS; i += 7)
            *bad += !thing_agrees(held, i);
        snapshot_put(s);
    }
    if (held)
        snapshot_put(held);
    return NULL;
}

static void thing_put(struct builder *b, int i, int round, bool gone)
{
    char id[32], text[400], user[32];

    snprintf(id, sizeof(id), "%d", i);
    snprintf(user, sizeof(user), "user%d", i);
    if (gone) {
        put(b, KIND_ROUTE, id, NULL);
        put(b, KIND_UPSTREAM, id, NULL);
        put(b, KIND_CONSUMER, user, NULL);
        return;
    }
    snprintf(text, sizeof(text), "{\"nodes\":{\"a:80\":1},\"retries\":%d}", round);
    assert_true(put(b, KIND_UPSTREAM, id, text));
    snprintf(text, sizeof(text),
             "{\"username\":\"%s\",\"plugins\":{\"key-auth\":{\"key\":\"key-%d-%d\"}}}", user, i,
             round);
    assert_true(put(b, KIND_CONSUMER, user, text));
    snprintf(text, sizeof(text),
             "{\"uri\":\"/things/%d/*\",\"hosts\":[\"*.example.com\",\"h9.example.com\"],"
             "\"upstream_id\":\"%d\",\"plugins\":{\"b\":{\"n\":%d}}}",
             i, i, round);
    assert_true(put(b, KIND_ROUTE, id, text));
}

static bool mark_compile(void *conf, struct build *build)
{
    struct fake_conf *c = conf;

    if (!fake_compile(conf, build))
        return false;
    *(char *)c->heap = 'x';
    return true;
}

static void test_threads(void **state)
{
    struct plugin marked = fake_b;
    const struct plugin *plugins[] = {&fake_auth, &marked, NULL};
    struct builder_env env = {.plugins = plugins, .verify_upstreams = true};
    pthread_t threads[READERS];
    long bad[READERS] = {0};
    unsigned random = 12345;

    (void)state;
    marked.compile = mark_compile;
    struct builder *b = builder_new(&env);
    hand_out(builder_publish(b), false);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &bad[i]), 0);
    for (int round = 100; round < 100 + ROUNDS; round++) {
        for (int k = 0; k < AT_ONCE; k++) {
            random = random * 1103515245u + 12345u;
            thing_put(b, (int)(random >> 16) % THINGS, round, (random >> 8) % 8 == 0);
        }
        hand_out(builder_publish(b), round == 99 + ROUNDS);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(bad[i], 0);
    }
    hand_out(NULL, true);
    assert_false(builder_reclaim(b));
    builder_free(b);
    assert_int_equal(fake_alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
