/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: the envelope of APISIX's Admin API (v3, and the older one), errors, bare pages. */
#include <inttypes.h>
#include <stdarg.h>

#include "admin/admin_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void reply_header(struct call *c, struct str name, struct str value)
{
    ASSERT(c->reply->nheaders < ADMIN_HEADERS_MAX);
    c->reply->headers[c->reply->nheaders++] = (struct admin_header){name, value};
}

static void reply_set(struct call *c, int status, struct str content_type, struct str body)
{
    ASSERT(c->reply->status == 0);
    c->reply->status = status;
    c->reply->content_type = content_type;
    c->reply->body = body;
}

void reply_empty(struct call *c, int status)
{
    reply_set(c, status, STR("application/json"), STR(""));
}

void reply_bare(struct call *c, int status, struct str text)
{
    reply_set(c, status, STR("application/json"), text);
}

void reply_status_page(struct call *c, int status)
{
    const char *title = status == 403 ? "403 Forbidden" : "404 Not Found";

    reply_set(c, status, STR("text/html"),
              arena_printf(c->a,
                           "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n"
                           "<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n",
                           title, title));
}

void reply_json(struct call *c, int status, json_t *value)
{
    struct str text = document_text(c->a, value);

    json_decref(value);
    reply_set(c, status, STR("application/json"), arena_join(c->a, text, STR("\n")));
}

/* Length of the UTF-8 sequence at the front (RFC 3629 §4), 0 when there is none. */
static size_t utf8_length(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (p[0] > 0xf4 || n == 0 || n > s.n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

json_t *json_any(struct str s)
{
    json_t *json = json_stringn(s.p ? s.p : "", s.n);

    if (json)
        return json;
    char *clean = mem_alloc(s.n * 3);
    size_t n = 0;

    while (s.n > 0) {
        size_t length = utf8_length(s);
        memcpy(clean + n, length ? s.p : "\xef\xbf\xbd", length ? length : 3);
        n += length ? length : 3;
        s = str_from(s, length ? length : 1);
    }
    json = json_stringn(clean, n);
    free(clean);
    return json;
}

void reply_error(struct call *c, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct str text = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    reply_json(c, status, json_pack("{so}", "error_msg", json_any(text)));
}

void reply_not_found(struct call *c)
{
    reply_json(c, 404, json_pack("{ss}", "message", "Key not found"));
}

void reply_store_failed(struct call *c, const char *doing, struct str key, struct str err)
{
    log_error("admin: failed to %s %.*s: %.*s", doing, STR_ARG(key), STR_ARG(err));
    reply_error(c, 503, "%.*s", STR_ARG(err));
}

/* v3 shows the node alone; the older form wraps it and names the action. */
static void reply_node(struct call *c, int status, const char *action, json_t *node)
{
    if (c->admin->v3)
        reply_json(c, status, node);
    else
        reply_json(c, status, json_pack("{ssso}", "action", action, "node", node));
}

static json_t *shown_key(struct call *c, struct str key)
{
    return json_any(arena_join(c->a, c->admin->prefix, key));
}

/* A hidden list stays as an empty one: tools walk `certs` and look up `keys` beside them. */
json_t *shown_value(struct call *c, json_t *value)
{
    const char *const *hidden = kinds[c->kind].hidden;

    if (!hidden[0])
        return json_incref(value);
    json_t *copy = json_copy(value);
    for (size_t i = 0; i < COUNT(kinds[c->kind].hidden) && hidden[i]; i++)
        if (json_is_array(json_object_get(copy, hidden[i])))
            json_object_set_new(copy, hidden[i], json_array());
        else
            json_object_del(copy, hidden[i]);
    return copy;
}

void reply_document(struct call *c, int status, const char *action, const struct store_item *item,
                    json_t *value, bool indexes)
{
    json_t *node = json_pack("{soso}", "key", shown_key(c, item->key), "value",
                             shown_value(c, value));

    /* The older form shows none for a single document. */
    if (indexes && c->admin->v3) {
        json_object_set_new(node, "createdIndex", json_integer(item->created));
        json_object_set_new(node, "modifiedIndex", json_integer(item->modified));
    }
    reply_node(c, status, action, node);
}

void reply_deleted(struct call *c, struct str key)
{
    json_t *body = json_pack("{soss}", "key", shown_key(c, key), "deleted", "1");

    if (!c->admin->v3) {
        json_object_set_new(body, "action", json_string("delete"));
        json_object_set_new(body, "node", json_object());
    }
    reply_json(c, 200, body);
}
