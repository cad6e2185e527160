/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an exchange: made from a request head, driven through its steps, logged, freed. */
#include "exchange/exchange.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/panic.h"
#include "exchange/access_log.h"
#include "exchange/lua.h"
#include "exchange/vars.h"
#include "exchange/worker.h"
#include "http/uri.h"

const char *const step_names[STEP_COUNT] = {
#define STEP_NAME(s) #s,
    STEPS(STEP_NAME)
#undef STEP_NAME
};

#define TO(s) (1u << STEP_##s)
static const uint16_t may_go[STEP_COUNT] = {
    [STEP_ROUTE] = TO(REQUEST) | TO(PICK) | TO(RESPONSE) | TO(LOG),
    [STEP_REQUEST] = TO(PICK) | TO(RESPONSE) | TO(LOG),
    [STEP_PICK] = TO(BEFORE) | TO(RESPONSE) | TO(LOG),
    [STEP_BEFORE] = TO(CONNECT) | TO(SEND) | TO(PICK) | TO(RESPONSE) | TO(LOG),
    [STEP_CONNECT] = TO(SEND) | TO(PICK) | TO(RESPONSE) | TO(LOG),
    [STEP_SEND] = TO(AWAIT) | TO(PICK) | TO(RESPONSE) | TO(LOG),
    [STEP_AWAIT] = TO(RESPONSE) | TO(PICK) | TO(LOG),
    [STEP_RESPONSE] = TO(RESPONSE) | TO(RELAY) | TO(LOG),
    [STEP_RELAY] = TO(LOG),
    [STEP_LOG] = TO(GONE),
    [STEP_GONE] = 0,
};

void exchange_go(struct exchange *ex, enum step_name to)
{
    ASSERT(may_go[ex->step] & (1u << to));
    ex->trail[ex->ntrail++ % sizeof(ex->trail)] = (uint8_t)to;
    ex->step = (uint8_t)to;
    ex->at = ex->pass = 0;
    ex->resumed = false;
}

void exchange_describe(void *arg, char *out, unsigned long size)
{
    const struct exchange *ex = arg;
    size_t n = (size_t)snprintf(out, size, "exchange %.*s %.*s, trail", STR_ARG(ex->req.method),
                                STR_ARG(ex->req.target));

    for (unsigned i = ex->ntrail > sizeof(ex->trail) ? ex->ntrail - sizeof(ex->trail) : 0;
         i < ex->ntrail && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, " %s",
                              step_names[ex->trail[i % sizeof(ex->trail)]]);
}

/* ---- Birth
 * --------------------------------------------------------------------------------------- */

static const char *moved(const char *p, const char *base, size_t n, const char *copy)
{
    return p >= base && p <= base + n ? copy + (p - base) : p;
}

static void move_str(struct str *s, const char *base, size_t n, const char *copy)
{
    s->p = s->p ? moved(s->p, base, n, copy) : NULL;
}

/* Copies the head out of the connection's buffer in one piece; all views follow. */
static void copy_request(struct exchange *ex, const struct h1_request *req)
{
    struct h1_request *r = &ex->req;
    const char *base = req->line.p;
    size_t n = req->line.n;

    if (req->head.n) {
        const struct header *last = &req->head.list[req->head.n - 1];
        n = (size_t)(last->value + last->value_n - base);
    }
    unsigned cap = req->head.n + 4u;
    struct header *list = arena_alloc(&ex->arena, cap * sizeof(*list));
    char *copy = arena_bytes(&ex->arena, n);
    if (n) /* of a request that was refused there may be nothing */
        memcpy(copy, base, n);
    *r = *req;
    move_str(&r->line, base, n, copy);
    move_str(&r->method, base, n, copy);
    move_str(&r->target, base, n, copy);
    move_str(&r->host, base, n, copy);
    move_str(&r->path, base, n, copy);
    move_str(&r->query, base, n, copy);
    for (unsigned i = 0; i < req->head.n; i++) {
        list[i] = req->head.list[i];
        list[i].name = copy + (list[i].name - base);
        list[i].value = copy + (list[i].value - base);
    }
    r->head.list = list;
    r->head.cap = (uint16_t)cap;
}

/* A server behind us that takes '_' for '-' would read such a name as another header's. */
static void drop_underscores(struct head *head)
{
    for (unsigned i = 0; i < head->n; i++)
        if (str_find(header_str_name(&head->list[i]), '_') >= 0)
            head->list[i].name_n = 0;
}

static struct exchange *exchange_new(struct worker *w, struct stream *down,
                                     const struct h1_request *req)
{
    struct arena a;

    arena_init(&a, &w->thread.arenas);
    struct exchange *ex = arena_zero(&a, sizeof(*ex));
    ex->arena = a;
    ex->worker = w;
    ex->down = down;
    ex->from = down;
    ex->hold = worker_hold(w);
    ex->res_length = LENGTH_UNKNOWN;
    ex->start_us = w->thread.loop.now_us;
    ex->start_wall_ms = w->thread.loop.wall_ms;
    ex->body_kept = true;
    buf_init(&ex->body, SIZE_MAX / 2);
    buf_init(&ex->held, SIZE_MAX / 2);
    copy_request(ex, req);
    if (w->config->drop_underscores)
        drop_underscores(&ex->req.head);
    find_client(ex);
    w->exchanges++;
    return ex;
}

/* ---- Death
 * ---------------------------------------------------------------------------------------- */

static void exchange_free(struct exchange *ex)
{
    struct worker *w = ex->worker;
    struct arena a = ex->arena;

    buf_fini(&ex->body);
    buf_fini(&ex->held);
    if (ex->pool)
        pool_drop(ex->pool);
    worker_release(w, ex->hold);
    arena_fini(&a);
    w->exchanges--;
    worker_ended_one(w);
}

static bool step_log(struct exchange *ex)
{
    if (ex->leg.client)
        proxy_abandon(ex, REASON_NOT_KEPT);
    if (ex->pick.peer)
        proxy_let_go(ex);
    log_phase_run(ex);
    ex->worker->thread.count.request_by_reason[ex->reason]++;
    access_log_write(ex);
    exchange_go(ex, STEP_GONE);
    return false;
}

/* ---- Routing
 * ---------------------------------------------------------------------------------------- */

static struct str lower(struct exchange *ex, struct str s)
{
    size_t i = 0;

    while (i < s.n && (s.p[i] < 'A' || s.p[i] > 'Z'))
        i++;
    if (i == s.n)
        return s;
    char *p = arena_bytes(&ex->arena, s.n);
    for (i = 0; i < s.n; i++)
        p[i] = ascii_lower(s.p[i]);
    return str_make(p, s.n);
}

static void find_host(struct exchange *ex)
{
    uint16_t port;
    struct str host;

    if (!ex->req.host.n || !uri_host_split(ex->req.host, &host, &port))
        return;
    if (host.p > ex->req.host.p && host.p[-1] == '[')
        host = str_make(host.p - 1, host.n + 2);
    /* A final dot names the same host (RFC 1034 §3.1). */
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    ex->host = lower(ex, host);
}

static bool test_route(void *arg, const struct route *route)
{
    struct exchange *ex = arg;
    const struct route_about *a = route->about;

    return (!a->vars || expr_matches(ex, a->vars)) && (!a->filter || lua_filter(ex, route));
}

struct str exchange_match_path(struct exchange *ex)
{
    const struct worker_config *config = ex->worker->config;
    struct str path = ex->path;

    if (!config->path_rules)
        return path;
    if (config->delete_uri_tail_slash && path.n > 1 && path.p[path.n - 1] == '/')
        path = str_head(path, path.n - 1);
    return config->match_encoded_slash ? uri_keep_slashes(ex->req.path, path, &ex->arena) : path;
}

static void find_route(struct exchange *ex)
{
    struct match m = {.host = ex->host.p ? ex->host : STR("_"), /* APISIX: $server_name */
                      .authority = ex->req.host,
                      .path = exchange_match_path(ex),
                      .method = ex->method,
                      .client = &ex->client->sa,
                      .test = test_route,
                      .arg = ex};

    ex->route = router_match(ex->hold->snapshot->router, &m);
}

/* What routes are matched by. False: the request is refused. */
static bool read_target(struct exchange *ex)
{
    enum reason why = uri_normalise(ex->req.path, &ex->arena, &ex->path);

    if (!why && ex->worker->config->strip_path_params &&
        !uri_without_params(ex->path, &ex->arena, &ex->path))
        why = REASON_BAD_URI_TRAVERSAL;
    ex->method = method_parse(ex->req.method);
    if (why) {
        ex->path = ex->req.path;
        ex->down->close = true; /* as after any request that could not be read */
        exchange_fail(ex, why);
        return false;
    }
    find_host(ex);
    if (ex->down->tls && ex->hold->snapshot->mutual && (why = client_tls_check(ex))) {
        ex->down->close = true; /* the next one begins with a handshake */
        exchange_fail(ex, why);
        return false;
    }
    if (ex->req.head.first[HEADER_CONNECTION])
        h1_drop_connection_named(&ex->req.head);
    return true;
}

enum { ROUTE_SOUGHT = 1 };

/* When a route was asked about that looks into the body, the route is sought again with it. */
static bool step_route(struct exchange *ex)
{
    const struct snapshot *snap = ex->hold->snapshot;

    if (ex->npending)
        return false;
    if (ex->pass != ROUTE_SOUGHT && !read_target(ex))
        return true;
    ex->pass = ROUTE_SOUGHT;
    if (ex->reading)
        body_read_take(ex);
    find_route(ex);
    if (ex->body_wanted && request_body_hold(ex, false))
        return false;
    if (ex->body_asked && body_read_start(ex))
        return false;
    if (snap->global)
        runs_start(ex, SCOPE_GLOBAL, snap->global);
    if (ex->route && ex->route->chain)
        runs_start(ex, SCOPE_ROUTE, ex->route->chain);
    exchange_go(ex, STEP_REQUEST);
    return true;
}

/* Global rules have run even when no route matches (inventory §2.1). */
static bool after_request(struct exchange *ex)
{
    if (!ex->route) {
        ex->reason = REASON_NO_ROUTE;
        reply_message(ex, 404, "error_msg", STR("404 Route Not Found"));
        exchange_go(ex, STEP_RESPONSE);
        return true;
    }
    if (ex->route->upstream == UPSTREAM_NONE) {
        exchange_fail(ex, REASON_NO_UPSTREAM);
        return true;
    }
    exchange_go(ex, STEP_PICK);
    return true;
}

static bool step_request(struct exchange *ex)
{
    if (ex->body_wanted && request_body_hold(ex, true))
        return false;
    if (ex->reading)
        body_read_take(ex);
    if (ex->body_asked && body_read_start(ex))
        return false;
    if (ex->hold->snapshot->global_closed) {
        exchange_fail(ex, REASON_GLOBAL_BROKEN);
        return true;
    }
    if (ex->route && ex->route->broken) {
        exchange_fail(ex, REASON_ROUTE_BROKEN);
        return true;
    }
    switch (passes_run(ex)) {
    case NEXT:
        return after_request(ex);
    case WAIT:
        return false;
    case REPLY:
        if (!ex->reason)
            ex->reason = REASON_PLUGIN_REPLY;
        exchange_go(ex, STEP_RESPONSE);
        return true;
    case DROP:
        ex->reason = REASON_PLUGIN_DROP;
        if (ex->down)
            stream_fail(ex->down, REASON_PLUGIN_DROP);
        ex->down = NULL;
        exchange_go(ex, STEP_LOG);
        return true;
    case FAULT:
        exchange_fail(ex, request_fault(ex));
        return true;
    }
    return false;
}

/* ---- The driver
 * ------------------------------------------------------------------------------------- */

/* Its next move is an event's. */
static bool step_waits(struct exchange *ex)
{
    (void)ex;
    return false;
}

static bool (*const step_functions[STEP_COUNT])(struct exchange *) = {
    [STEP_ROUTE] = step_route,   [STEP_REQUEST] = step_request,   [STEP_PICK] = step_pick,
    [STEP_BEFORE] = step_before, [STEP_CONNECT] = step_waits,     [STEP_SEND] = step_send,
    [STEP_AWAIT] = step_waits,   [STEP_RESPONSE] = step_response, [STEP_RELAY] = step_waits,
    [STEP_LOG] = step_log,       [STEP_GONE] = step_waits,
};

void exchange_run(struct exchange *ex)
{
    if (ex->running) {
        ex->rerun = true;
        return;
    }
    ex->running = true;
    panic_note(exchange_describe, ex);
    do {
        ex->rerun = false;
        while (step_functions[ex->step](ex)) {
        }
    } while (ex->rerun);
    panic_note(NULL, NULL);
    ex->running = false;
    if (ex->step == STEP_GONE)
        exchange_free(ex);
}

void exchange_op_done(struct exchange *ex)
{
    ASSERT(ex->npending);
    if (--ex->npending == 0)
        exchange_run(ex);
}

/* ---- The stream's side
 * ------------------------------------------------------------------------------- */

static void on_request(struct stream *s, const struct h1_request *req)
{
    struct exchange *ex = exchange_new(stream_server_owner(s), s, req);

    s->data = ex;
    exchange_run(ex);
}

static void copy_trailers(struct exchange *ex, const struct head *trailers)
{
    if (!trailers)
        return;
    ex->req_trailers = arena_alloc(&ex->arena, sizeof(*ex->req_trailers));
    head_copy(ex->req_trailers, trailers, &ex->arena, 0);
}

/* Keeps a piece that cannot go upstream yet, and slows the client down when there is enough of it.
 */
static void gather(struct exchange *ex, struct str data)
{
    bool room = buf_add(&ex->body, data);

    ASSERT(room);
    if (!ex->body_limit && !ex->body_done && ex->body.n > ex->worker->config->replay_bytes) {
        ex->body_paused = true;
        stream_pause(ex->down);
    }
}

/* request_body_hold is over. */
static void hold_end(struct exchange *ex, bool keep)
{
    ex->body_gathering = ex->body_soft = false;
    if (!keep)
        ex->body_limit = 0;
}

static void on_body(struct stream *s, struct str data, bool last)
{
    struct exchange *ex = s->data;

    ex->body_received += data.n;
    if (last) {
        ex->body_done = true;
        copy_trailers(ex, s->trailers);
    }
    if (ex->step == STEP_AWAIT || ex->step == STEP_RELAY ||
        (ex->step == STEP_RESPONSE && ex->leg.client)) {
        proxy_body(ex, data, last);
        return;
    }
    if (ex->body_soft && ex->body.n + data.n > ex->body_limit) {
        hold_end(ex, false);
        gather(ex, data);
        exchange_op_done(ex);
        return;
    }
    if (ex->body_limit && ex->body.n + data.n > ex->body_limit) {
        ops_cancel(ex);
        exchange_fail(ex, REASON_BODY_TOO_LARGE);
        exchange_run(ex);
        return;
    }
    gather(ex, data);
    if (last && ex->body_gathering) {
        if (ex->body_soft)
            hold_end(ex, ex->body_keep);
        ex->body_gathering = false;
        exchange_op_done(ex);
    }
}

static void on_drained(struct stream *s)
{
    struct exchange *ex = s->data;

    if (ex->step == STEP_RELAY && ex->leg.client)
        client_resume(ex->leg.client);
}

static void on_abort(struct stream *s, enum reason why)
{
    struct exchange *ex = s->data;

    ex->request_bytes = s->received;
    ex->sent_bytes = s->sent;
    ex->body_sent += s->page;
    ex->down = NULL;
    ex->reason = why;
    if (!ex->responded)
        ex->status = reasons[why].status ? reasons[why].status : 499;
    ops_cancel(ex);
    proxy_abandon(ex, why);
    exchange_go(ex, STEP_LOG);
    exchange_run(ex);
}

/* There is no exchange, only its line in the access log. */
static void on_refused(struct stream *s, const struct h1_request *req, enum reason why)
{
    struct worker *w = stream_server_owner(s);

    if (!w->access)
        return;
    struct exchange *ex = exchange_new(w, s, req);
    if (ex->req.path.p && uri_normalise(ex->req.path, &ex->arena, &ex->path))
        ex->path = ex->req.path;
    find_host(ex);
    ex->reason = why;
    ex->status = reasons[why].status;
    ex->ours = true;
    ex->body_sent = s->page;
    ex->sent_bytes = s->sent;
    access_log_write(ex);
    exchange_free(ex);
}

const struct stream_handler exchange_stream_handler = {
    .on_request = on_request,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_abort = on_abort,
    .on_refused = on_refused,
};
