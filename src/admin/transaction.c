/* SPDX-License-Identifier: Apache-2.0 */
/* Several writes in one: each is checked as it would be alone, but with the others in mind, and
 * then all are made at one revision, or none. */
#include "admin/admin_int.h"
#include "base/mem.h"

enum { OPERATIONS_MAX = 10000 };

struct transaction {
    struct call *c;
    struct call *subs;
    size_t n;
};

/* ---- Operations --------------------------------------------------------------------------------
 */

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static bool members_check(struct call *sub, const json_t *operation)
{
    static const char *const names[] = {"method", "path", "body", "if_revision"};
    const json_t *revision = json_object_get(operation, "if_revision");
    const char *name;
    json_t *value;

    if (!json_is_object(operation)) {
        reply_error(sub, 400, "an operation should be an object with method, path and body");
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)operation, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            known |= strcmp(name, names[i]) == 0;
        if (!known) {
            reply_error(sub, 400, "additional properties forbidden, found %s", name);
            return false;
        }
    }
    if (revision && (!json_is_integer(revision) || json_integer_value(revision) < 0)) {
        reply_error(sub, 400, "invalid if_revision: should be a modifiedIndex, or 0");
        return false;
    }
    sub->if_revision = revision ? json_integer_value(revision) : -1;
    return true;
}

static bool is_document_write(const struct call *sub, handler_fn *run)
{
    return sub->verb != VERB_GET && sub->kind < KIND_COUNT && run == document_handlers[sub->verb];
}

/* Everything but the references. False: answered. */
static bool sub_prepare(struct call *sub, const json_t *operation)
{
    if (!members_check(sub, operation))
        return false;
    if (!call_address(sub, text_of(operation, "method"), text_of(operation, "path"))) {
        reply_error(sub, 400, "invalid method: should be PUT, POST, PATCH or DELETE");
        return false;
    }
    handler_fn *run = call_handler(sub);
    if (!run)
        return false;
    if (!is_document_write(sub, run)) {
        reply_error(sub, 400, "only documents can be written in a transaction");
        return false;
    }
    if (!call_arguments(sub))
        return false;
    sub->json = json_incref(json_object_get(operation, "body"));
    run(sub);
    return sub->reply->status == 0;
}

static void sub_init(struct transaction *t, struct call *sub)
{
    *sub = *t->c;
    sub->reply = arena_zero(t->c->a, sizeof(*sub->reply));
    sub->kind = KIND_COUNT;
    sub->json = NULL;
    sub->query = sub->if_match = sub->if_none_match = STR_NONE;
    sub->parent = sub->id = sub->sub = STR_NONE;
    sub->wait_live = false;
}

/* ---- Answers -----------------------------------------------------------------------------------
 */

/* The ordinary reply, with the operation named. */
static void refuse(struct transaction *t, size_t i)
{
    const struct admin_reply *reply = t->subs[i].reply;
    const json_t *operation = json_array_get(json_object_get(t->c->json, "operations"), i);
    json_t *body = json_loadb(reply->body.p, reply->body.n, 0, NULL);

    if (!json_is_object(body)) {
        json_decref(body);
        body = json_pack("{so}", "error_msg", json_any(str_trim(reply->body)));
    }
    json_object_set_new(body, "operation", json_integer((json_int_t)i));
    json_object_set(body, "method", json_object_get(operation, "method"));
    json_object_set(body, "path", json_object_get(operation, "path"));
    reply_json(t->c, reply->status, body);
}

static void answer(struct transaction *t)
{
    struct call *c = t->c;
    json_t *results = json_array(), *body;

    for (size_t i = 0; i < t->n; i++) {
        struct call *sub = &t->subs[i];
        change_answer(sub, t->c->dry);
        json_array_append_new(
            results, json_pack("{siso}", "status", sub->reply->status, "body",
                               json_loadb(sub->reply->body.p, sub->reply->body.n, 0, NULL)));
    }
    if (t->c->dry)
        body = json_pack("{sbsoso}", "dry_run", 1, "results", results, "changes",
                         past_show_changes(c, c->changes));
    else
        body = json_pack("{sIso}", "revision", (json_int_t)c->revision, "results", results);
    reply_json(c, 200, body);
}

/* The operation that a change belongs to. */
static size_t operation_of(const struct transaction *t, size_t change)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->subs[i].at == change)
            return i;
    /* A credential that goes with its consumer, whose own change comes behind it. */
    return change + 1 < t->c->changes->n ? operation_of(t, change + 1) : 0;
}

/* ---- The call ----------------------------------------------------------------------------------
 */

static bool prepare(struct transaction *t, bool deletions)
{
    const json_t *operations = json_object_get(t->c->json, "operations");

    for (size_t i = 0; i < t->n; i++) {
        const json_t *operation = json_array_get(operations, i);
        if (str_eq(text_of(operation, "method"), STR("DELETE")) != deletions)
            continue;
        if (!sub_prepare(&t->subs[i], operation)) {
            refuse(t, i);
            return false;
        }
    }
    return true;
}

static bool together_check(struct transaction *t)
{
    struct str err = STR_NONE;
    size_t failed;

    if (!changes_fit(t->c, &failed, &err)) {
        size_t i = operation_of(t, failed);
        reply_error(&t->subs[i], 400, "%.*s", STR_ARG(err));
        refuse(t, i);
        return false;
    }
    for (size_t i = 0; i < t->n; i++)
        if (!check_references(&t->subs[i])) {
            refuse(t, i);
            return false;
        }
    return true;
}

static bool write_all(struct transaction *t)
{
    struct str err = STR_NONE;
    size_t failed = 0;
    enum store_status status = changes_write(t->c, STR("transaction"), &failed, &err);

    if (status == STORE_OK)
        return true;
    if (status == STORE_FAILED) {
        reply_store_failed(t->c, "write", STR("a transaction"), err);
        return false;
    }
    size_t i = operation_of(t, failed);
    change_refuse(&t->subs[i], status, err);
    refuse(t, i);
    return false;
}

/* False: answered. */
static bool body_check(struct call *c)
{
    const json_t *operations = json_object_get(c->json, "operations");
    size_t most = keeper_store(c->keeper)->ops->changes_max, n = json_array_size(operations);

    if (!json_is_array(operations) || json_object_size(c->json) != 1) {
        reply_error(c, 400, "a transaction should be an object with operations, which is an array");
        return false;
    }
    if (most == 0 || most > OPERATIONS_MAX)
        most = OPERATIONS_MAX;
    if (n > 0 && n <= most)
        return true;
    reply_error(c, 400, n ? "%zu operations: the store %s takes %zu at once" : "no operations", n,
                keeper_store(c->keeper)->ops->name, most);
    return false;
}

void transaction_post(struct call *c)
{
    struct transaction t = {.c = c};

    if (!body_check(c))
        return;
    t.n = json_array_size(json_object_get(c->json, "operations"));
    c->changes = changes_new(c->a, true);
    builder_trial(keeper_builder(c->keeper), true);
    t.subs = mem_array(t.n, sizeof(*t.subs));
    for (size_t i = 0; i < t.n; i++)
        sub_init(&t, &t.subs[i]);
    /* Deletions first, so that what belongs to a document goes before something takes its place. */
    if (prepare(&t, true) && prepare(&t, false) && together_check(&t) && (c->dry || write_all(&t)))
        answer(&t);
    changes_free(c->changes, c->keeper);
    c->changes = NULL;
    for (size_t i = 0; i < t.n; i++)
        json_decref(t.subs[i].json);
    free(t.subs);
}
