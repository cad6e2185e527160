/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of an exchange: our replies, the upstream's responses, filters, the relay. */
#include <stdio.h>

#include "base/panic.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"

/* ---- Error pages
 * ----------------------------------------------------------------------------------- */

/* nginx's layout, which APISIX's users see for bare statuses (inventory §5.5). */
struct str standard_page(struct exchange *ex, int status)
{
    const char *phrase = h1_phrase(status);

    return arena_printf(&ex->arena,
                        "<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d "
                        "%s</h1></center>\r\n<hr><center>eclusa</center>\r\n</body>\r\n</html>\r\n",
                        status, phrase, status, phrase);
}

void exchange_fail(struct exchange *ex, enum reason why)
{
    const struct reason_info *r = &reasons[why];

    /* A failed try was logged when it failed. */
    if (ex->reason != why)
        ex_log(ex, r->level, "%s", r->text);
    ex->reason = why;
    ops_cancel(ex);
    proxy_abandon(ex, why);
    ex->filtering = false;
    if (!ex->down) {
        exchange_go(ex, STEP_LOG);
        return;
    }
    if (ex->responded) {
        stream_fail(ex->down, why);
        ex->sent_bytes = ex->down->sent;
        ex->request_bytes = ex->down->received;
        ex->down = NULL;
        exchange_go(ex, STEP_LOG);
        return;
    }
    int status = why == REASON_ROUTE_BROKEN ? ex->route->broken : r->status;
    reply_status(ex, status ? status : 500);
    exchange_go(ex, STEP_RESPONSE);
}

/* ---- Making the head
 * --------------------------------------------------------------------------------- */

void response_take(struct exchange *ex, const struct h1_response *res)
{
    ex->status = ex->upstream_status = res->status;
    ex->ours = false;
    head_copy(&ex->res, &res->head, &ex->arena, 6);
    ex->res_received = ex->res.n;
    ex->res_to_end = res->framing == H1_TO_END;
    switch (res->framing) {
    case H1_LENGTH:
        ex->res_length = (int64_t)res->length;
        break;
    case H1_NO_BODY: {
        /* The answer to a HEAD says what the length would be (RFC 9110 §9.3.2). */
        uint64_t length;
        struct str text = head_value(&res->head, HEADER_CONTENT_LENGTH);
        if (request_is_head(ex) && str_to_u64(text, INT64_MAX, &length))
            ex->res_length = (int64_t)length;
        else
            ex->res_length = request_is_head(ex) ? LENGTH_UNKNOWN : 0;
        break;
    }
    case H1_CHUNKED:
    case H1_TO_END:
        ex->res_length = LENGTH_UNKNOWN;
        break;
    }
}

/* X-APISIX-Upstream-Status: for failures of the upstream, or always when so configured. */
static void add_upstream_status(struct exchange *ex)
{
    struct str value = ex->upstream_statuses;

    if (!ex->tries)
        return;
    if (!ex->ours)
        value = arena_printf(&ex->arena, "%.*s%s%d", STR_ARG(value), value.n ? ", " : "",
                             ex->status);
    bool failed = ex->status >= 500 && ex->status < 600;
    if (value.n && (failed || ex->worker->config->show_upstream_status))
        head_set(&ex->res, &ex->arena, STR("X-APISIX-Upstream-Status"), value);
}

static void apply_early(struct exchange *ex)
{
    for (unsigned i = 0; i < ex->early.n; i++) {
        const struct header *h = &ex->early.list[i];
        struct str name = header_str_name(h), value = header_str_value(h);
        if (!h->name_n)
            continue;
        if (h->spare == EARLY_ADD)
            head_add(&ex->res, &ex->arena, (enum header_id)h->id, name, value);
        else if (h->spare == EARLY_SET)
            head_set(&ex->res, &ex->arena, name, value);
        else
            head_remove_name(&ex->res, name);
    }
}

static void make_head(struct exchange *ex)
{
    struct thread *t = &ex->worker->thread;

    ex->filtering = true;
    if (!ex->ours && ex->res.first[HEADER_CONNECTION])
        h1_drop_connection_named(&ex->res);
    if (ex->res.first[HEADER_SERVER])
        head_remove(&ex->res, HEADER_SERVER);
    if (ex->worker->config->server_header.p)
        head_add(&ex->res, &ex->arena, HEADER_SERVER, STR("Server"),
                 ex->worker->config->server_header);
    if (!ex->res.first[HEADER_DATE])
        head_add(&ex->res, &ex->arena, HEADER_DATE, STR("Date"), thread_date(t));
    if (ex->early.n)
        apply_early(ex);
    if (ex->tries && (ex->status >= 500 || ex->worker->config->show_upstream_status))
        add_upstream_status(ex);
}

/* ---- Sending
 * ------------------------------------------------------------------------------------------- */

static void count_sent(struct exchange *ex)
{
    ex->sent_bytes = ex->down->sent;
    ex->request_bytes = ex->down->received;
}

/* The stream is over: nothing more goes to the client. */
static void down_ended(struct exchange *ex)
{
    count_sent(ex);
    ex->down = NULL;
}

static void write_down(struct exchange *ex, struct str data, bool last, const struct head *trailers)
{
    if (!ex->down)
        return;
    ex->body_sent += data.n;
    if (last) {
        struct stream *down = ex->down;
        /* The stream may be the next request's as soon as it has ended. */
        ex->request_bytes = down->received;
        ex->down = NULL;
        stream_write(down, data, true, trailers);
        ex->sent_bytes = down->sent;
        return;
    }
    if (data.n)
        stream_write(ex->down, data, false, NULL);
}

/* The body that a plugin shares, if the filters left it as it was, is not copied. */
static void write_reply(struct exchange *ex, struct str data)
{
    struct stream *down = ex->down;

    if (!ex->reply_owner || data.p != ex->reply_body.p || data.n != ex->reply_body.n) {
        write_down(ex, data, true, NULL);
        return;
    }
    ex->body_sent += data.n;
    ex->request_bytes = down->received;
    ex->down = NULL;
    stream_write_shared(down, data, ex->reply_owner);
    ex->sent_bytes = down->sent;
}

/* Our own reply, whole: filters see it in one last piece. */
static bool send_reply(struct exchange *ex)
{
    struct chunk chunk = {.data = ex->reply_body, .last = true};

    if (has_body_filters(ex) && !body_filters_run(ex, &chunk)) {
        ex->unfiltered = true;
        ex->reason = REASON_PLUGIN_FAULT;
        reply_status(ex, 500);
        ex->filtering = false;
        return true;
    }
    ex->responded = true;
    if (stream_respond(ex->down, ex->status, &ex->res, (int64_t)chunk.data.n))
        down_ended(ex);
    else
        write_reply(ex, chunk.data);
    exchange_go(ex, STEP_LOG);
    return true;
}

/* The client has all that it gets (HEAD, 204, 304), so nothing is left to relay. The exchange ends
 * here and now: what it knows of its client goes with the stream. */
static void end_without_body(struct exchange *ex)
{
    struct chunk end = {.data = STR(""), .last = true};
    bool whole = ex->leg.client && client_release(ex->leg.client, REASON_NOT_KEPT);

    down_ended(ex);
    ex->upstream_end_us = ex->worker->thread.loop.now_us;
    ex->response_done = whole;
    /* A filter's last piece says that the response is whole. */
    if (whole && has_body_filters(ex))
        body_filters_run(ex, &end);
    exchange_go(ex, STEP_LOG);
}

/* A response whose body comes from the upstream. */
static bool send_upstream_head(struct exchange *ex)
{
    int64_t length = ex->body_changes && ex->res_length ? LENGTH_UNKNOWN : ex->res_length;

    if (ex->body_changes && !request_is_head(ex))
        length = LENGTH_UNKNOWN;
    ex->responded = true;
    exchange_go(ex, STEP_RELAY);
    if (stream_respond(ex->down, ex->status, &ex->res, length)) {
        end_without_body(ex);
        return true;
    }
    if (ex->leg.client)
        client_resume(ex->leg.client);
    return false;
}

/* The response cannot be sent as it should be: in its place a bare page goes out. */
static bool fail_response(struct exchange *ex, enum reason why)
{
    ex->unfiltered = true;
    ex->early = (struct head){0};
    exchange_fail(ex, why);
    return true;
}

/* Nothing goes out without a header that somebody set: it may be what protects the client. */
static bool send_response(struct exchange *ex)
{
    if (ex->res.lost || ex->early.lost)
        return fail_response(ex, REASON_RESPONSE_HEADERS);
    return ex->ours ? send_reply(ex) : send_upstream_head(ex);
}

bool step_response(struct exchange *ex)
{
    if (!ex->filtering)
        make_head(ex);
    switch (phase_run(ex, PHASE_HEADER_FILTER)) {
    case NEXT:
        return send_response(ex);
    case WAIT:
        if (ex->leg.client)
            client_pause(ex->leg.client);
        return false;
    case REPLY:
        /* The reply takes the response's place; its own filters have run. */
        proxy_abandon(ex, REASON_PLUGIN_REPLY);
        make_head(ex);
        return send_response(ex);
    case DROP:
    case FAULT:
        ex->unfiltered = true;
        exchange_fail(ex, REASON_PLUGIN_FAULT);
        return true;
    }
    return false;
}

/* ---- The relay
 * ------------------------------------------------------------------------------------------ */

/* Filters and sends one piece. False: a filter failed, and the exchange is at its end. */
static bool pass_on(struct exchange *ex, struct str data, bool last, const struct head *trailers)
{
    struct chunk chunk = {.data = data, .last = last};

    if (has_body_filters(ex) && !body_filters_run(ex, &chunk)) {
        exchange_fail(ex, REASON_PLUGIN_FAULT);
        return false;
    }
    write_down(ex, chunk.data, last, trailers);
    return true;
}

/* Keeps a piece for a plugin that wants the body whole; a body that grows too long goes on in
 * pieces. */
static bool hold(struct exchange *ex, struct str data, bool last, const struct head *trailers)
{
    if (ex->held.n + data.n <= ex->hold_max && buf_add(&ex->held, data))
        return !last || pass_on(ex, buf_str(&ex->held), true, trailers);
    struct buf held = ex->held;
    buf_init(&ex->held, held.max);
    ex->hold_max = 0;
    bool ok = pass_on(ex, buf_str(&held), false, NULL) && pass_on(ex, data, last, trailers);
    buf_fini(&held);
    return ok;
}

void relay_body(struct exchange *ex, struct str data, bool last, const struct head *trailers)
{
    bool ok;

    ex->upstream_bytes += data.n;
    if (last) {
        ex->upstream_end_us = ex->worker->thread.loop.now_us;
        ex->response_done = true;
    }
    ok = ex->hold_max ? hold(ex, data, last, trailers) : pass_on(ex, data, last, trailers);
    if (!ok) {
        exchange_run(ex);
        return;
    }
    if (last) {
        exchange_go(ex, STEP_LOG);
        exchange_run(ex);
        return;
    }
    if (stream_full(ex->down) && ex->leg.client)
        client_pause(ex->leg.client);
}
