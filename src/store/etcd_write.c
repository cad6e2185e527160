/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to etcd: what is there is read, then all changes are made in one transaction that happens
 * only if it is still so. */
#include "base/log.h"
#include "base/panic.h"
#include "store/etcd_int.h"
#include "store/etcd_wire.h"

/* Others may write the same keys in between; who does not mind tries again so often. */
enum { TRIES = 20 };

struct attempt {
    struct etcd *e;
    struct store_write *w;
    struct arena arena;
    struct store_item *before; /* of each change; without a value: it is not there */
    bool *known;
    int64_t *leases;
    bool raced; /* something changed between the reading and the writing */
    struct str *err;
};

static struct str full_key(struct attempt *t, size_t i)
{
    return arena_join(&t->arena, t->e->prefix, t->w->changes[i].key);
}

/* Reads what is not known, all at once. */
static enum store_status read_before(struct attempt *t)
{
    json_t *txn = etcd_txn_request();
    size_t n = 0, at = 0;
    bool good = true;

    for (size_t i = 0; i < t->w->n; i++)
        if (!t->known[i]) {
            etcd_txn_get(txn, full_key(t, i), 0);
            n++;
        }
    if (n == 0) {
        json_decref(txn);
        return STORE_OK;
    }
    json_t *reply = etcd_ask(t->e, false, "/v3/kv/txn", txn, t->err);
    if (!reply)
        return STORE_FAILED;
    for (size_t i = 0; i < t->w->n && good; i++)
        if (!t->known[i]) {
            good = etcd_txn_read(reply, at++, &t->arena, &t->before[i]);
            t->known[i] = true;
        }
    json_decref(reply);
    return good ? STORE_OK : etcd_garbled(t->err);
}

static enum store_status expectations(struct attempt *t)
{
    for (size_t i = 0; i < t->w->n; i++) {
        const struct store_change *change = &t->w->changes[i];
        t->w->failed = i;
        if (!change->value.p && !t->before[i].value.p)
            return STORE_NOT_FOUND;
        if (change->expect >= 0 && change->expect != t->before[i].modified)
            return STORE_CONFLICT;
    }
    return STORE_OK;
}

/* As APISIX does (apisix/core/etcd.lua, set): a document with a ttl hangs on a lease. Changes that
 * go at the same time share one. */
static enum store_status leases_take(struct attempt *t)
{
    const struct store_write *w = t->w;

    for (size_t i = 0; i < w->n; i++) {
        int64_t ttl_s = w->changes[i].ttl_s;
        if (ttl_s <= 0 || t->leases[i])
            continue;
        json_t *reply = etcd_ask(t->e, true, "/v3/lease/grant", etcd_grant_request(ttl_s), t->err);
        if (!reply)
            return STORE_FAILED;
        int64_t lease = etcd_number(reply, "ID");
        json_decref(reply);
        if (lease == 0)
            return etcd_garbled(t->err);
        for (size_t k = i; k < w->n; k++)
            if (w->changes[k].ttl_s == ttl_s)
                t->leases[k] = lease;
    }
    return STORE_OK;
}

static json_t *txn_make(struct attempt *t, bool past)
{
    const struct store_write *w = t->w;
    json_t *txn = etcd_txn_request();

    for (size_t i = 0; i < w->n; i++) {
        struct str key = full_key(t, i);
        etcd_txn_expect(txn, key, t->before[i].modified);
        if (w->changes[i].value.p)
            etcd_txn_put(txn, key, w->changes[i].value, t->leases[i]);
        else
            etcd_txn_delete(txn, key);
    }
    if (past)
        etcd_past_add(t->e, txn, w, t->before, &t->arena);
    return txn;
}

/* A user who may write APISIX's keys may not be allowed to write the history's. */
static json_t *txn_send(struct attempt *t)
{
    bool past = etcd_past_is_on(t->e);
    json_t *reply = etcd_ask(t->e, true, "/v3/kv/txn", txn_make(t, past), t->err);

    if (reply || !past || !str_eq(*t->err, STR(ETCD_FORBIDDEN)))
        return reply;
    reply = etcd_ask(t->e, true, "/v3/kv/txn", txn_make(t, false), t->err);
    if (reply) {
        log_warn("etcd: our user may not write %.*s: the history is not kept",
                 STR_ARG(t->e->past_prefix));
        t->e->past_denied = true;
    }
    return reply;
}

static enum store_status commit(struct attempt *t)
{
    struct store_write *w = t->w;
    json_t *reply = txn_send(t);

    if (!reply)
        return STORE_FAILED;
    bool done = json_is_true(json_object_get(reply, "succeeded"));
    w->revision = etcd_revision(reply);
    json_decref(reply);
    t->raced = !done;
    if (!done)
        return STORE_CONFLICT;
    for (size_t i = 0; i < w->n; i++)
        w->changes[i].created = t->before[i].value.p ? t->before[i].created : w->revision;
    return w->revision > 0 ? STORE_OK : etcd_garbled(t->err);
}

static enum store_status attempt(struct attempt *t)
{
    enum store_status status = read_before(t);

    if (status == STORE_OK)
        status = expectations(t);
    if (status == STORE_OK)
        status = leases_take(t);
    return status == STORE_OK ? commit(t) : status;
}

/* Everything is read anew. Who minds what others write gets STORE_CONFLICT from that. */
static bool may_repeat(struct attempt *t, unsigned tries)
{
    bool again = t->raced && tries < TRIES;

    t->raced = false;
    for (size_t i = 0; i < t->w->n; i++)
        t->known[i] = false;
    return again;
}

enum store_status etcd_write(struct store *store, struct store_write *w, struct str *err)
{
    struct attempt t = {.e = etcd_of(store), .w = w, .err = err};
    enum store_status status;
    unsigned tries = 0;

    ASSERT(w->n > 0);
    if (w->n > ETCD_CHANGES_MAX) {
        *err = STR("more changes than etcd takes at once");
        return STORE_FAILED;
    }
    arena_init(&t.arena, NULL);
    t.before = arena_zero(&t.arena, w->n * sizeof(*t.before));
    t.known = arena_zero(&t.arena, w->n * sizeof(*t.known));
    t.leases = arena_zero(&t.arena, w->n * sizeof(*t.leases));
    for (size_t i = 0; i < w->n; i++) {
        t.known[i] = w->changes[i].known != NULL;
        if (t.known[i])
            t.before[i] = *w->changes[i].known;
    }
    do
        status = attempt(&t);
    while (status == STORE_CONFLICT && may_repeat(&t, ++tries));
    arena_fini(&t.arena);
    if (status == STORE_OK)
        etcd_past_trim(t.e);
    return status;
}
