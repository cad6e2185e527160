/* SPDX-License-Identifier: Apache-2.0 */
/* The control API: a table of paths, each answered on the keeper's thread. */
#include "admin/control.h"

#include <malloc.h>

#include "admin/admin_int.h"
#include "base/buf.h"
#include "base/cidr.h"
#include "config/fields.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A call with what it asks. */
struct question {
    struct call *c;
    const struct control *control;
    struct str rest; /* of the path, behind what the table has */
};

typedef void question_fn(struct question *q);

/* ---- Documents ---------------------------------------------------------------------------------
 */

/* As it is stored, without its secrets opened: there is no key here. */
static json_t *value_of(const struct store_item *item)
{
    return json_loadb(item->value.p ? item->value.p : "", item->value.n, 0, NULL);
}

static bool is_name(struct str host)
{
    struct cidr address;

    if (host.n > 2 && host.p[0] == '[')
        host = str_make(host.p + 1, host.n - 2);
    return host.n > 0 && !cidr_parse(host, &address);
}

/* Whether a node is named, and not an address. */
static bool has_domain(const json_t *value)
{
    json_t *nodes = json_object_get(value, "nodes"), *node;
    const char *key;
    size_t i;

    if (!nodes)
        nodes = json_object_get(json_object_get(value, "upstream"), "nodes");
    json_object_foreach(nodes, key, node)
    {
        struct str host = str_of(key);
        ptrdiff_t colon = str_rfind(host, ':');
        if (is_name(colon < 0 ? host : str_head(host, (size_t)colon)))
            return true;
    }
    json_array_foreach(nodes, i, node)
    {
        const char *host = json_string_value(json_object_get(node, "host"));
        if (host && is_name(str_of(host)))
            return true;
    }
    return false;
}

static json_t *document_json(struct call *c, const struct store_item *item, json_t *value)
{
    return json_pack("{sososIsIsIsb}", "key",
                     json_any(arena_join(c->a, c->admin->prefix, item->key)), "value", value,
                     "createdIndex", (json_int_t)item->created, "modifiedIndex",
                     (json_int_t)item->modified, "orig_modifiedIndex", (json_int_t)item->modified,
                     "has_domain", has_domain(value));
}

struct dump {
    struct question *q;
    enum kind kind;
    json_t *list;
    /* What of a document goes into the list; NULL: nothing. Takes the value over. */
    json_t *(*show)(struct question *q, enum kind kind, const struct store_item *item,
                    json_t *value);
};

static bool dump_item(void *arg, const struct store_item *item)
{
    struct dump *d = arg;
    struct str id = document_id(d->kind, item->key);

    /* What is skipped as bad is not part of what is served. */
    if (!id.p || !builder_has(keeper_builder(d->q->c->keeper), d->kind, id))
        return true;
    json_t *value = value_of(item), *shown = value ? d->show(d->q, d->kind, item, value) : NULL;
    if (shown)
        json_array_append_new(d->list, shown);
    return true;
}

/* False: answered. */
static bool dump_kind(struct question *q, enum kind kind, json_t *list,
                      json_t *(*show)(struct question *, enum kind, const struct store_item *,
                                      json_t *))
{
    struct store *store = keeper_store(q->c->keeper);
    struct dump d = {q, kind, list, show};
    struct str err = STR_NONE, prefix = document_prefix(q->c->a, kind);

    if (store->ops->list(store, prefix, dump_item, &d, &err) == STORE_OK)
        return true;
    json_decref(list);
    reply_store_failed(q->c, "read", prefix, err);
    return false;
}

static json_t *show_document(struct question *q, enum kind kind, const struct store_item *item,
                             json_t *value)
{
    (void)kind;
    return document_json(q->c, item, value);
}

static json_t *show_value(struct question *q, enum kind kind, const struct store_item *item,
                          json_t *value)
{
    (void)q, (void)kind, (void)item;
    return value;
}

static void dump_all(struct question *q, enum kind kind)
{
    json_t *list = json_array();

    if (dump_kind(q, kind, list, kind == KIND_PLUGIN_METADATA ? show_value : show_document))
        reply_json(q->c, 200, list);
}

static bool document_find(struct question *q, enum kind kind, struct str id,
                          struct store_item *item, json_t **value)
{
    struct store *store = keeper_store(q->c->keeper);
    struct str err, key = document_key(q->c->a, kind, id);

    *value = NULL;
    if (id.n > 0 && builder_has(keeper_builder(q->c->keeper), kind, id) &&
        store->ops->get(store, key, q->c->a, item, &err) == STORE_OK)
        *value = value_of(item);
    return *value != NULL;
}

static void dump_one(struct question *q, enum kind kind, const char *noun)
{
    struct store_item item;
    json_t *value;

    if (!document_find(q, kind, q->rest, &item, &value))
        reply_error(q->c, 404, "%s[%.*s] not found", noun, STR_ARG(q->rest));
    else
        reply_json(q->c, 200,
                   kind == KIND_PLUGIN_METADATA ? value : document_json(q->c, &item, value));
}

static void on_routes(struct question *q)
{
    dump_all(q, KIND_ROUTE);
}

static void on_route(struct question *q)
{
    dump_one(q, KIND_ROUTE, "route");
}

static void on_services(struct question *q)
{
    dump_all(q, KIND_SERVICE);
}

static void on_service(struct question *q)
{
    dump_one(q, KIND_SERVICE, "service");
}

static void on_upstreams(struct question *q)
{
    dump_all(q, KIND_UPSTREAM);
}

static void on_upstream(struct question *q)
{
    dump_one(q, KIND_UPSTREAM, "upstream");
}

static void on_metadatas(struct question *q)
{
    dump_all(q, KIND_PLUGIN_METADATA);
}

static void on_metadata(struct question *q)
{
    dump_one(q, KIND_PLUGIN_METADATA, "plugin metadata");
}

/* ---- Health ------------------------------------------------------------------------------------
 */

static void node_add(void *to, const struct control_node *n)
{
    json_t *node = json_pack("{sososisss{sisisisi}}", "hostname", json_any(n->host), "ip",
                             json_any(n->ip), "port", (int)n->port, "status", n->status, "counter",
                             "success", (int)n->success, "http_failure", (int)n->http_failure,
                             "tcp_failure", (int)n->tcp_failure, "timeout_failure",
                             (int)n->timeout_failure);

    if (n->host_header.p)
        json_object_set_new(node, "hostheader", json_any(n->host_header));
    json_array_append_new(to, node);
}

static const json_t *checks_of(const json_t *value)
{
    const json_t *checks = json_object_get(value, "checks");

    return checks ? checks : json_object_get(json_object_get(value, "upstream"), "checks");
}

/* What is known of the nodes of a document that has checks; takes the value over. */
static json_t *checker_json(struct question *q, enum kind kind, const struct store_item *item,
                            json_t *value)
{
    const struct control_health *health = &q->control->health;
    const json_t *checks = checks_of(value), *side = json_object_get(checks, "active");
    json_t *info = NULL;

    (void)kind;
    if (checks) {
        const json_t *type = json_object_get(side ? side : json_object_get(checks, "passive"),
                                             "type");
        json_t *nodes = json_array();
        if (health->nodes)
            health->nodes(health->arg, item->key, node_add, nodes);
        info = json_pack("{sosssO}", "name",
                         json_any(arena_join(q->c->a, q->c->admin->prefix, item->key)), "type",
                         json_is_string(type) ? json_string_value(type) : "http", "nodes", nodes);
        json_decref(nodes);
    }
    json_decref(value);
    return info;
}

static void html_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        const char *escaped = *text == '<'   ? "&lt;"
                              : *text == '>' ? "&gt;"
                              : *text == '&' ? "&amp;"
                              : *text == '"' ? "&quot;"
                                             : NULL;
        if (escaped)
            buf_printf(out, "%s", escaped);
        else
            buf_printf(out, "%c", *text);
    }
}

static void html_row(struct buf *out, int number, const json_t *info, const json_t *node)
{
    const json_t *counter = json_object_get(node, "counter");
    const char *status = json_string_value(json_object_get(node, "status"));
    bool good = strcmp(status, "healthy") == 0 || strcmp(status, "mostly_healthy") == 0;
    static const char *const counts[] = {"success", "tcp_failure", "http_failure",
                                         "timeout_failure"};

    buf_printf(out, "<tr%s><td>%d</td><td>", good ? "" : " bgcolor=\"#FF0000\"", number);
    html_text(out, json_string_value(json_object_get(info, "name")));
    buf_printf(out, "</td><td>%s</td><td>", json_string_value(json_object_get(info, "type")));
    html_text(out, json_string_value(json_object_get(node, "ip")));
    buf_printf(out, ":%d</td><td>%s</td>", (int)json_integer_value(json_object_get(node, "port")),
               status);
    for (size_t i = 0; i < COUNT(counts); i++)
        buf_printf(out, "<td>%d</td>",
                   (int)json_integer_value(json_object_get(counter, counts[i])));
    buf_printf(out, "</tr>\n");
}

static void reply_html(struct call *c, const json_t *infos)
{
    static const char *const columns[] = {"Index",        "Upstream",      "Check type",
                                          "Host",         "Status",        "Success counts",
                                          "TCP Failures", "HTTP Failures", "TIMEOUT Failures"};
    const json_t *info, *node;
    struct buf out;
    size_t i, j;
    int number = 0;

    buf_init(&out, 64 << 20);
    buf_printf(&out, "<html xmlns=\"http://www.w3.org/1999/xhtml\">\n<head><title>APISIX upstream "
                     "check status</title></head>\n<body>\n<h1>APISIX upstream check status</h1>\n"
                     "<table border=\"1\" cellspacing=\"0\" cellpadding=\"3\">\n<tr>");
    for (i = 0; i < COUNT(columns); i++)
        buf_printf(&out, "<th>%s</th>", columns[i]);
    buf_printf(&out, "</tr>\n");
    json_array_foreach(infos, i, info)
    {
        json_array_foreach(json_object_get(info, "nodes"), j, node)
        {
            html_row(&out, ++number, info, node);
        }
    }
    buf_printf(&out, "</table>\n</body>\n</html>\n");
    reply_bare(c, 200, arena_str(c->a, buf_str(&out)));
    c->reply->content_type = STR("text/html");
    buf_fini(&out);
}

static void reply_checkers(struct call *c, json_t *infos, bool one)
{
    if (str_search(c->accept, STR("text/html")) >= 0)
        reply_html(c, infos);
    else
        reply_json(c, 200, json_incref(one ? json_array_get(infos, 0) : infos));
    json_decref(infos);
}

static const enum kind checked[] = {KIND_ROUTE, KIND_SERVICE, KIND_UPSTREAM};

static void on_healthcheck(struct question *q)
{
    json_t *infos = json_array();

    for (size_t i = 0; i < COUNT(checked); i++)
        if (!dump_kind(q, checked[i], infos, checker_json))
            return;
    reply_checkers(q->c, infos, false);
}

static void on_healthcheck_one(struct question *q)
{
    struct str type, id;
    struct store_item item;
    enum kind kind = KIND_COUNT;
    json_t *value;

    str_cut(q->rest, '/', &type, &id);
    if (id.n == 0) {
        reply_error(q->c, 404, "missing src id for src type %.*s", STR_ARG(type));
        return;
    }
    for (size_t i = 0; i < COUNT(checked); i++)
        if (str_eq(type, kinds[checked[i]].collection))
            kind = checked[i];
    if (kind == KIND_COUNT) {
        reply_error(q->c, 400, "invalid src type %.*s", STR_ARG(type));
        return;
    }
    if (!document_find(q, kind, id, &item, &value)) {
        reply_error(q->c, 404, "%.*s[%.*s] not found", STR_ARG(type), STR_ARG(id));
        return;
    }
    json_t *info = checker_json(q, kind, &item, value);
    if (info)
        reply_checkers(q->c, json_pack("[o]", info), true);
    else
        reply_error(q->c, 404, "no checker for %.*s[%.*s]", STR_ARG(type), STR_ARG(id));
}

/* ---- The program -------------------------------------------------------------------------------
 */

static void on_schema(struct question *q)
{
    reply_json(q->c, 200, catalog_schemas(q->c));
}

/* Old configuration is freed as soon as no worker holds it; what is left to do is to give the
 * memory back to the system. */
static void on_gc(struct question *q)
{
    builder_reclaim(keeper_builder(q->c->keeper));
    malloc_trim(0);
    reply_empty(q->c, 200);
}

static void on_reload(struct question *q)
{
    reply_bare(q->c, 200, STR("done"));
}

struct faults {
    struct call *c;
    json_t *list;
};

static void fault_add(void *arg, struct str key, struct str why)
{
    struct faults *f = arg;

    json_array_append_new(
        f->list, json_pack("{soso}", "key", json_any(arena_join(f->c->a, f->c->admin->prefix, key)),
                           "reason", json_any(why)));
}

/* What is served, from where, how fresh it is, and what of the store is not served. */
static void on_config(struct question *q)
{
    struct keeper *k = q->c->keeper;
    struct store *store = keeper_store(k);
    const struct control_workers *w = &q->control->workers;
    struct faults skipped = {q->c, json_array()}, limited = {q->c, json_array()};
    json_t *workers = json_array();

    builder_bad(keeper_builder(k), fault_add, &skipped);
    builder_flaws(keeper_builder(k), fault_add, &limited);
    for (unsigned i = 0; i < w->n; i++)
        json_array_append_new(workers, json_pack("{sisI}", "id", (int)i, "version",
                                                 (json_int_t)w->serving(w->arg, i)));
    reply_json(q->c, 200,
               json_pack("{sssIsIsIsososo}", "store", store->ops->name, "revision",
                         (json_int_t)store->ops->revision(store), "version",
                         (json_int_t)keeper_current(k)->version, "stale_ms",
                         (json_int_t)keeper_stale_ms(k), "workers", workers, "skipped",
                         skipped.list, "limited", limited.list));
}

/* ---- The table ---------------------------------------------------------------------------------
 */

static const struct {
    const char *method;
    struct str path;
    bool prefix; /* there is more behind it */
    question_fn *run;
} questions[] = {
    {"GET", {"/v1/schema", 10}, false, on_schema},
    {"GET", {"/v1/healthcheck", 15}, false, on_healthcheck},
    {"GET", {"/v1/healthcheck/", 16}, true, on_healthcheck_one},
    {"POST", {"/v1/gc", 6}, false, on_gc},
    {"GET", {"/v1/routes", 10}, false, on_routes},
    {"GET", {"/v1/route/", 10}, true, on_route},
    {"GET", {"/v1/services", 12}, false, on_services},
    {"GET", {"/v1/service/", 12}, true, on_service},
    {"GET", {"/v1/upstreams", 13}, false, on_upstreams},
    {"GET", {"/v1/upstream/", 13}, true, on_upstream},
    {"GET", {"/v1/plugin_metadatas", 20}, false, on_metadatas},
    {"GET", {"/v1/plugin_metadata/", 20}, true, on_metadata},
    {"PUT", {"/v1/plugins/reload", 18}, false, on_reload},
    {"GET", {"/v1/eclusa/config", 17}, false, on_config},
};

struct asked {
    struct question q;
    question_fn *run;
};

static void answer(void *arg, struct keeper *keeper)
{
    struct asked *asked = arg;

    asked->q.c->keeper = keeper;
    asked->run(&asked->q);
    call_end(asked->q.c); /* asked is in its memory */
}

static void control_handle(void *owner, const struct admin_request *r, admin_done_fn *done,
                           void *arg)
{
    const struct control *control = owner;
    struct call *c = call_new(control->admin, r, done, arg);

    for (size_t i = 0; i < COUNT(questions); i++) {
        struct str path = questions[i].path;
        if (!str_eq(c->method, str_of(questions[i].method)) ||
            !(questions[i].prefix ? str_starts(c->path, path) : str_eq(c->path, path)))
            continue;
        struct asked *asked = arena_zero(c->a, sizeof(*asked));
        *asked = (struct asked){{c, control, str_from(c->path, path.n)}, questions[i].run};
        keeper_post(control->keeper, answer, asked);
        return;
    }
    reply_status_page(c, 404);
    call_end(c);
}

const struct admin_api control_api = {.handle = control_handle};
