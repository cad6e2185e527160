/* SPDX-License-Identifier: Apache-2.0 */
/* What health checks know, in the control API: as JSON and as a page. */
#include "admin/control_int.h"

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

/* What is known of the nodes of a document that has checks; NULL: it has none. */
static json_t *checker_json(const struct question *q, const struct store_item *item,
                            const json_t *value)
{
    const struct control_health *health = &q->control->health;
    const json_t *checks = checks_of(value), *side = json_object_get(checks, "active");
    json_t *info = NULL;

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
    return info;
}

/* What stands for the byte in HTML; NULL: itself. */
static const char *html_escape(char c)
{
    return c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : NULL;
}

static bool html_text(struct buf *out, const char *text)
{
    bool room = true;

    for (; *text && room; text++) {
        const char *escaped = html_escape(*text);
        room = buf_add(out, escaped ? str_of(escaped) : str_make(text, 1));
    }
    return room;
}

static bool html_row(struct buf *out, size_t number, const json_t *info, const json_t *node)
{
    const json_t *counter = json_object_get(node, "counter");
    const char *status = json_string_value(json_object_get(node, "status"));
    bool good = strcmp(status, "healthy") == 0 || strcmp(status, "mostly_healthy") == 0;
    static const char *const counts[] = {"success", "tcp_failure", "http_failure",
                                         "timeout_failure"};
    bool room =
        buf_printf(out, "<tr%s><td>%zu</td><td>", good ? "" : " bgcolor=\"#FF0000\"", number) &&
        html_text(out, json_string_value(json_object_get(info, "name"))) &&
        buf_printf(out, "</td><td>%s</td><td>", json_string_value(json_object_get(info, "type"))) &&
        html_text(out, json_string_value(json_object_get(node, "ip"))) &&
        buf_printf(out, ":%d</td><td>%s</td>",
                   (int)json_integer_value(json_object_get(node, "port")), status);

    for (size_t i = 0; room && i < COUNT(counts); i++)
        room = buf_printf(out, "<td>%d</td>",
                          (int)json_integer_value(json_object_get(counter, counts[i])));
    return room && buf_printf(out, "</tr>\n");
}

static bool add_rows(struct buf *out, size_t *n, const json_t *info)
{
    const json_t *node;
    size_t i;

    json_array_foreach(json_object_get(info, "nodes"), i, node)
    {
        if (!html_row(out, ++*n, info, node))
            return false;
    }
    return true;
}

#define HTML_BEGIN                                                                             \
    "<html xmlns=\"http://www.w3.org/1999/xhtml\">\n<head><title>APISIX upstream check status" \
    "</title></head>\n<body>\n<h1>APISIX upstream check status</h1>\n"                         \
    "<table border=\"1\" cellspacing=\"0\" "                                                   \
    "cellpadding=\"3\">\n<tr><th>Index</th><th>Upstream</th>"                                  \
    "<th>Check type</th><th>Host</th><th>Status</th><th>Success counts</th>"                   \
    "<th>TCP Failures</th><th>HTTP Failures</th><th>TIMEOUT Failures</th></tr>\n"
#define HTML_END "</table>\n</body>\n</html>\n"

static bool add_json(const struct question *q, struct buf *out, size_t *n, enum kind kind,
                     const struct store_item *item, json_t *value)
{
    json_t *info = checker_json(q, item, value);

    (void)kind;
    return !info || list_add_json(out, n, info);
}

static bool add_html(const struct question *q, struct buf *out, size_t *n, enum kind kind,
                     const struct store_item *item, json_t *value)
{
    json_t *info = checker_json(q, item, value);

    (void)kind;
    bool room = add_rows(out, n, info);
    json_decref(info);
    return room;
}

static bool wants_html(const struct question *q)
{
    return str_search(q->c->accept, STR("text/html")) >= 0;
}

static const enum kind checked[] = {KIND_ROUTE, KIND_SERVICE, KIND_UPSTREAM};

void control_healthcheck(struct question *q)
{
    static const struct list_form json = {"application/json", "[", "]\n", add_json};
    static const struct list_form html = {"text/html", HTML_BEGIN, HTML_END, add_html};

    control_list(q, checked, COUNT(checked), wants_html(q) ? &html : &json);
}

/* The page of one. */
static void reply_html(struct call *c, const json_t *info)
{
    struct buf out;
    size_t n = 0;

    buf_init(&out, 64 << 20);
    buf_printf(&out, "%s", HTML_BEGIN);
    add_rows(&out, &n, info);
    buf_printf(&out, "%s", HTML_END);
    reply_bare(c, 200, arena_str(c->a, buf_str(&out)));
    c->reply->content_type = STR("text/html");
    buf_fini(&out);
}

void control_healthcheck_one(struct question *q)
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
    if (!stored_find(q, kind, id, &item, &value)) {
        reply_error(q->c, 404, "%.*s[%.*s] not found", STR_ARG(type), STR_ARG(id));
        return;
    }
    json_t *info = checker_json(q, &item, value);
    json_decref(value);
    if (!info)
        reply_error(q->c, 404, "no checker for %.*s[%.*s]", STR_ARG(type), STR_ARG(id));
    else if (wants_html(q))
        reply_html(q->c, info);
    else
        reply_json(q->c, 200, json_incref(info));
    json_decref(info);
}
