/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.h: replies of our own, and the response as plugins see and change it. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "exchange/exchange.h"
#include "exchange/worker.h"

void ex_log(struct exchange *ex, enum log_level level, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct str route = ex->route ? ex->route->about->id : STR("-");
    /* nginx's form. The query may hold secrets and stays out. */
    log_write(level, "*%llu %s, client: %.*s, request: \"%.*s %.*s\", host: \"%.*s\", route: %.*s",
              (unsigned long long)ex->from->connection, text, STR_ARG(ex->client_text),
              STR_ARG(ex->req.method), STR_ARG(ex->req.path), STR_ARG(ex->req.host),
              STR_ARG(route));
}

/* ---- Replies
 * ---------------------------------------------------------------------------------------- */

static enum verdict reply(struct exchange *ex, int status, struct str content_type, struct str body)
{
    struct header *lines = arena_alloc(&ex->arena, 12 * sizeof(*lines));

    ex->ours = true;
    ex->status = status;
    ex->reply_body = body;
    ex->reply_owner = NULL;
    head_init(&ex->res, lines, 12);
    if (content_type.n)
        head_add(&ex->res, NULL, HEADER_CONTENT_TYPE, STR("Content-Type"), content_type);
    return REPLY;
}

enum verdict reply_text(struct exchange *ex, int status, struct str content_type, struct str body)
{
    if (!body.p)
        return reply_status(ex, status);
    return reply(ex, status, content_type.p ? content_type : STR("text/plain; charset=utf-8"),
                 body);
}

enum verdict reply_status(struct exchange *ex, int status)
{
    if (status < 300 || status == 304)
        return reply(ex, status, STR_NONE, STR(""));
    return reply(ex, status, STR("text/html; charset=utf-8"), standard_page(ex, status));
}

enum verdict reply_message(struct exchange *ex, int status, const char *key, struct str message)
{
    json_t *text = json_stringn_nocheck(message.p ? message.p : "", message.n);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    struct str body = arena_printf(&ex->arena, "{\"%s\":%s}\n", key, quoted ? quoted : "\"\"");

    free(quoted);
    json_decref(text);
    return reply(ex, status, STR("application/json"), body);
}

static void owner_put(void *owner)
{
    shared_put(owner);
}

/* The exchange is a user to its end: headers may lie in the same memory, and the log reads them. */
enum verdict reply_shared(struct exchange *ex, int status, struct str body,
                          void (*release)(void *arg), void *arg)
{
    struct shared *owner = shared_new(release, arg);

    ex_on_end(ex, owner_put, owner);
    reply(ex, status, STR_NONE, body);
    ex->reply_owner = owner;
    return REPLY;
}

/* ---- The response
 * ------------------------------------------------------------------------------------ */

int response_status(const struct exchange *ex)
{
    return ex->status;
}

void response_status_set(struct exchange *ex, int status)
{
    ex->status = status;
}

bool response_is_ours(const struct exchange *ex)
{
    return ex->ours;
}

/* Before there is a response, what is set is kept for it. */
static void early(struct exchange *ex, uint8_t what, struct str name, struct str value)
{
    if (what != EARLY_ADD)
        head_remove_name(&ex->early, name);
    if (head_add(&ex->early, &ex->arena, header_id(name), name, value))
        ex->early.list[ex->early.n - 1].spare = what;
}

static bool header_ok(struct exchange *ex, struct str name, struct str value)
{
    if (h1_token_ok(name) && h1_value_ok(value))
        return true;
    ex_log(ex, LOG_WARN, "response header \"%.*s\" not set: its name or value is malformed",
           STR_ARG(name));
    return false;
}

struct str response_header(const struct exchange *ex, struct str name)
{
    const struct header *h = head_find_name(ex->filtering ? &ex->res : &ex->early, name);

    return h ? header_str_value(h) : STR_NONE;
}

void response_header_set(struct exchange *ex, struct str name, struct str value)
{
    if (!header_ok(ex, name, value))
        return;
    if (ex->filtering)
        head_set(&ex->res, &ex->arena, name, value);
    else
        early(ex, EARLY_SET, name, value);
}

void response_header_add(struct exchange *ex, struct str name, struct str value)
{
    if (!header_ok(ex, name, value))
        return;
    if (ex->filtering)
        head_add(&ex->res, &ex->arena, header_id(name), name, value);
    else
        early(ex, EARLY_ADD, name, value);
}

void response_header_remove(struct exchange *ex, struct str name)
{
    if (ex->filtering)
        head_remove_name(&ex->res, name);
    else
        early(ex, EARLY_REMOVE, name, STR_NONE);
}

bool response_header_at(const struct exchange *ex, size_t i, struct str *name, struct str *value)
{
    if (i >= ex->res.n)
        return false;
    *name = header_str_name(&ex->res.list[i]);
    *value = header_str_value(&ex->res.list[i]);
    return true;
}

size_t response_headers_received(const struct exchange *ex)
{
    return ex->ours ? 0 : ex->res_received;
}

bool response_end_is_told(const struct exchange *ex)
{
    return ex->ours || !ex->res_to_end;
}

void response_body_changes(struct exchange *ex)
{
    ex->body_changes = true;
}

void response_body_hold(struct exchange *ex, size_t max)
{
    if (max > ex->hold_max)
        ex->hold_max = max;
}
