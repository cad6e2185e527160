/* SPDX-License-Identifier: Apache-2.0 */
/* The upstream side of an exchange: choosing an endpoint, sending the request, trying again. */
#include <errno.h>

#include "base/hash.h"
#include "base/panic.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "http/uri.h"
#include "upstream/ewma.h"
#include "upstream/health.h"

static const struct leg_handler leg_handler;
static void try_failed(struct exchange *ex, enum reason why, const char *detail);

bool method_is_idempotent(struct str m)
{
    return !(str_eq(m, STR("POST")) || str_eq(m, STR("PATCH")) || str_eq(m, STR("LOCK")));
}

static struct str sent_method(const struct exchange *ex)
{
    return ex->up_method.p ? ex->up_method : ex->req.method;
}

/* Whether the upstream may get the request twice: acting on it twice does no harm, or the operator
 * says so. */
static bool may_repeat(const struct exchange *ex)
{
    const struct retry_on *r = ex->upstream->retry_on;

    if (r && r->methods)
        return r->methods >> method_parse(sent_method(ex)) & 1;
    return method_is_idempotent(sent_method(ex));
}

static const struct timeouts *timeouts_of(const struct exchange *ex)
{
    return ex->route->timeouts ? ex->route->about->timeouts : &ex->upstream->timeouts;
}

/* ---- Choosing
 * ------------------------------------------------------------------------------------ */

void proxy_let_go(struct exchange *ex)
{
    int64_t end_us = ex->upstream_end_us ? ex->upstream_end_us : ex->worker->thread.loop.now_us;

    live_done(ex->worker->live, ex->upstream, &ex->pick, ex->header_us ? end_us - ex->try_us : -1);
}

/* A failure is slow, however soon it came: else ewma would send all to whoever refuses. */
static void let_go_failed(struct exchange *ex)
{
    int64_t took_us = ex->worker->thread.loop.now_us - ex->try_us;

    if (ex->pick.peer)
        live_done(ex->worker->live, ex->upstream, &ex->pick,
                  took_us < EWMA_FAILED_US ? EWMA_FAILED_US : took_us);
}

/* What chash knows the request by; without a value, its client. APISIX: chash.lua. */
static uint64_t hash_key(struct exchange *ex, const struct text *hash_on)
{
    struct str value = text_is_empty(ex, hash_on) ? request_client(ex) : text_value(ex, hash_on);

    return hash_stable(value);
}

static void on_name(struct dns_wait *w)
{
    struct exchange *ex = CONTAINER(w, struct exchange, dns_wait);

    ex->dns_waiting = false;
    exchange_run(ex);
}

static void wait_for_name(struct exchange *ex, struct dns_name *name)
{
    ex->dns_wait.done = on_name;
    list_init(&ex->dns_wait.link);
    dns_wait_start(name, &ex->dns_wait);
    ex->dns_waiting = true;
}

/* A service's node may go while the exchange goes on. */
static void keep_node(struct exchange *ex, struct pick *pick)
{
    struct arena *a = &ex->arena;
    struct node *copy = arena_alloc(a, sizeof(*copy));

    *copy = *pick->node;
    copy->host = arena_str(a, copy->host);
    copy->address = arena_str(a, copy->address);
    pick->node = copy;
}

static enum pick_result pick_next(struct exchange *ex, struct pick *pick, struct dns_name **wait)
{
    enum pick_result r = live_pick(ex->worker->live, ex->upstream, &ex->tried, pick, wait);

    if (r == PICK_OK && ex->upstream->discovered)
        keep_node(ex, pick);
    return r;
}

bool step_pick(struct exchange *ex)
{
    const struct snapshot *snap = ex->hold->snapshot;
    struct dns_name *name = NULL;

    if (ex->dns_waiting)
        return false;
    ex->upstream = snap->upstreams[ex->route->upstream];
    if (!ex->upstream) {
        exchange_fail(ex, REASON_NO_UPSTREAM);
        return true;
    }
    /* The same endpoint again, on a connection of its own; or one that was chosen already. */
    if (ex->fresh || ex->picked) {
        ex->picked = false;
        exchange_go(ex, STEP_BEFORE);
        return true;
    }
    if (ex->upstream->hash_on)
        ex->tried.key = hash_key(ex, ex->upstream->hash_on);
    switch (pick_next(ex, &ex->pick, &name)) {
    case PICK_OK:
        exchange_go(ex, STEP_BEFORE);
        return true;
    case PICK_WAIT:
        wait_for_name(ex, name);
        return false;
    case PICK_UNRESOLVED:
        /* APISIX: of a service, "no valid upstream node". */
        exchange_fail(ex, ex->upstream->discovered ? REASON_NO_UPSTREAM : REASON_DNS_FAILED);
        return true;
    case PICK_NONE:
        exchange_fail(ex, ex->tries ? ex->reason : REASON_NO_UPSTREAM);
        return true;
    }
    return false;
}

/* The Host that goes upstream (pass_host; inventory §3.1). */
static struct str host_to_send(struct exchange *ex)
{
    const struct node *node = ex->pick.node;

    if (ex->up_host.p)
        return ex->up_host;
    switch (ex->upstream->pass_host) {
    case PASS_HOST_NODE:
        if (node->default_port && str_find(node->host, ':') >= 0)
            return arena_printf(&ex->arena, "[%.*s]", STR_ARG(node->host));
        return node->default_port ? node->host : node->address;
    case PASS_HOST_REWRITE:
        return ex->upstream->upstream_host;
    case PASS_HOST_PASS:
        break;
    }
    return ex->req.host.n ? ex->req.host : node->address;
}

/* The name to present and to verify in TLS: what the operator configured, and only for want of it
 * what the client sent. */
static struct str server_name(struct exchange *ex)
{
    struct str authority = ex->up_host, host;
    uint16_t port;

    if (!authority.p && ex->upstream->pass_host == PASS_HOST_REWRITE)
        authority = ex->upstream->upstream_host;
    if (!authority.p && !ex->pick.node->is_ip)
        return ex->pick.node->host;
    if (!authority.p && ex->upstream->pass_host == PASS_HOST_NODE)
        return ex->pick.node->host;
    if (!authority.p)
        authority = ex->req.host;
    return authority.n && uri_host_split(authority, &host, &port) ? host : ex->pick.node->host;
}

/* What is shown to the upstream; NULL: nothing. False: what should be cannot. */
static bool find_identity(struct exchange *ex, struct tls_identity **out)
{
    const struct upstream *u = ex->upstream;

    *out = u->identity_id.p ? snapshot_identity(ex->hold->snapshot, u->identity_id) : u->identity;
    if (!*out)
        return !u->identity_id.p;
    return tls_identity_is_good(*out);
}

static void not_connected(struct exchange *ex, int error)
{
    enum reason why = sock_connect_reason(error);

    ex->worker->thread.count.upstream_by_reason[why]++;
    try_failed(ex, why, strerrordesc_np(error));
}

static void start_try(struct exchange *ex)
{
    struct worker *w = ex->worker;
    const struct upstream *u = ex->upstream;
    struct pool_limits limits = {.size = u->keepalive_size,
                                 .requests = u->keepalive_requests,
                                 .idle_ms = u->keepalive_idle_ms};
    bool tls = ex->up_tls_set ? ex->up_tls : u->tls;
    struct str name = tls ? server_name(ex) : STR_NONE;
    struct tls_identity *identity = NULL;

    if (tls && !find_identity(ex, &identity)) {
        exchange_fail(ex, REASON_TLS_NO_IDENTITY);
        return;
    }
    ex->tries++;
    ex->try_us = w->thread.loop.now_us;
    if (!ex->first_try_us)
        ex->first_try_us = ex->try_us;
    ex->connect_us = ex->header_us = 0;
    ex->request_sent = false;
    ex->leg = (struct leg){.handler = &leg_handler};
    if (ex->pool)
        pool_drop(ex->pool);
    ex->pool = live_pool(w->live, &ex->pick.addr, tls,
                         w->config->verify_upstreams && !u->verify_off, name, identity);
    pool_hold(ex->pool);
    /* What must not be sent twice is not sent on a connection that may be closing. */
    bool careful = !may_repeat(ex);
    switch (
        pool_take(ex->pool, &ex->leg, &limits, timeouts_of(ex)->connect_ms, ex->fresh, careful)) {
    case POOL_READY:
        exchange_go(ex, STEP_SEND);
        return;
    case POOL_WAIT:
        exchange_go(ex, STEP_CONNECT);
        return;
    case POOL_FAILED:
        not_connected(ex, errno);
        return;
    }
}

/* Lines that make_head puts before the client's. */
enum { OWN_LINES = 7, LINES_MAX = 254 };

bool step_before(struct exchange *ex)
{
    switch (phase_run(ex, PHASE_BEFORE_PROXY)) {
    case NEXT:
        if (ex->req.head.n + OWN_LINES > LINES_MAX)
            exchange_fail(ex, REASON_TOO_MANY_HEADERS);
        else
            start_try(ex);
        return true;
    case WAIT:
        return false;
    case REPLY:
        ex->reason = REASON_PLUGIN_REPLY;
        exchange_go(ex, STEP_RESPONSE);
        return true;
    case DROP:
    case FAULT:
        exchange_fail(ex, request_fault(ex));
        return true;
    }
    return false;
}

/* ---- Sending
 * ------------------------------------------------------------------------------------- */

/* Headers that are written anew for the upstream, or end here. */
static const bool replaced[HEADER_COUNT] = {
    [HEADER_HOST] = true,
    [HEADER_X_REAL_IP] = true,
    [HEADER_X_FORWARDED_FOR] = true,
    [HEADER_X_FORWARDED_HOST] = true,
    [HEADER_X_FORWARDED_PORT] = true,
    [HEADER_X_FORWARDED_PROTO] = true,
    [HEADER_FORWARDED] = true,
    [HEADER_PROXY_AUTHORIZATION] = true,
};

static void add(struct head *head, enum header_id id, struct str name, struct str value)
{
    bool ok = head_add(head, NULL, id, name, value);

    ASSERT(ok);
}

/* The next X-Forwarded-For line of the client from *at on; NULL: none. */
static const struct header *next_forwarded_for(const struct exchange *ex, unsigned *at)
{
    const struct head *head = &ex->req.head;

    while (*at < head->n) {
        const struct header *h = &head->list[(*at)++];
        if (h->id == HEADER_X_FORWARDED_FOR && h->name_n)
            return h;
    }
    return NULL;
}

/* The client's chain of addresses with its own added; several lines become one (RFC 9110 §5.3). */
static struct str forwarded_for(struct exchange *ex)
{
    unsigned first = ex->req.head.first[HEADER_X_FORWARDED_FOR], at = first - 1u;
    size_t size = ex->client_text.n, n = 0;
    const struct header *h;

    if (!first)
        return ex->client_text;
    while ((h = next_forwarded_for(ex, &at)))
        size += h->value_n + 2u;
    char *p = arena_bytes(&ex->arena, size);
    for (at = first - 1u; (h = next_forwarded_for(ex, &at)); n += h->value_n + 2u) {
        memcpy(p + n, h->value, h->value_n);
        memcpy(p + n + h->value_n, ", ", 2);
    }
    memcpy(p + n, ex->client_text.p, ex->client_text.n);
    return str_make(p, size);
}

/* The one that the client names, else the listener's: in front of it another may be mapped. */
static struct str port_seen(struct exchange *ex)
{
    char digits[8];
    struct str host;
    uint16_t port = 0;

    if (!uri_host_split(ex->req.host, &host, &port) || port == 0)
        port = sock_addr_port(&ex->from->local->sa);
    size_t n = u64_write(digits, port);
    return arena_str(&ex->arena, str_make(digits, n));
}

static struct str scheme_seen(struct exchange *ex)
{
    return request_scheme(ex);
}

/* With the port, as the client wrote it. */
static struct str host_seen(struct exchange *ex)
{
    return ex->req.host.n ? ex->req.host : ex->host;
}

/* What the gateway says of the client's side, unless a trusted peer or a plugin has said it (what
 * others say was dropped; inventory §2.6), or a plugin wants it unsaid. */
static const struct {
    enum header_id id;
    struct str name, variable; /* the latter without its http_ */
    struct str (*seen)(struct exchange *ex);
} observed[] = {
    {HEADER_X_FORWARDED_PROTO, {"X-Forwarded-Proto", 17}, {"x_forwarded_proto", 17}, scheme_seen},
    {HEADER_X_FORWARDED_HOST, {"X-Forwarded-Host", 16}, {"x_forwarded_host", 16}, host_seen},
    {HEADER_X_FORWARDED_PORT, {"X-Forwarded-Port", 16}, {"x_forwarded_port", 16}, port_seen},
};

struct str forwarded_seen(struct exchange *ex, struct str variable)
{
    for (size_t i = 0; i < sizeof(observed) / sizeof(*observed); i++)
        if (str_eq(variable, observed[i].variable) && !(ex->unsaid >> observed[i].id & 1))
            return observed[i].seen(ex);
    return STR_NONE;
}

static void add_observed(struct exchange *ex, struct head *head)
{
    for (size_t i = 0; i < sizeof(observed) / sizeof(*observed); i++) {
        struct str value = head_value(&ex->req.head, observed[i].id);
        if (!value.p && !(ex->unsaid >> observed[i].id & 1))
            value = observed[i].seen(ex);
        if (value.n)
            add(head, observed[i].id, observed[i].name, value);
    }
    struct str forwarded = head_value(&ex->req.head, HEADER_FORWARDED);
    if (forwarded.p)
        add(head, HEADER_FORWARDED, STR("Forwarded"), forwarded);
}

/* The head for the upstream: the client's lines, with our own view of the client in front. */
static void make_head(struct exchange *ex, struct head *head, struct header *lines)
{
    head_init(head, lines, LINES_MAX);
    ex->up_host_sent = host_to_send(ex);
    add(head, HEADER_HOST, STR("Host"), ex->up_host_sent);
    add(head, HEADER_X_REAL_IP, STR("X-Real-IP"), ex->client_text);
    add(head, HEADER_X_FORWARDED_FOR, STR("X-Forwarded-For"), forwarded_for(ex));
    add_observed(ex, head);
    for (unsigned i = 0; i < ex->req.head.n; i++) {
        const struct header *h = &ex->req.head.list[i];
        if (h->name_n && !replaced[h->id] && !h1_hop_by_hop(h->id))
            head->list[head->n++] = *h;
    }
}

static struct h1_out_body body_framing(const struct exchange *ex)
{
    struct h1_out_body body = {.framing = ex->req.framing, .length = ex->req.length};

    if (ex->body_replaced)
        return (struct h1_out_body){.framing = ex->new_body.n ? H1_LENGTH : H1_NO_BODY,
                                    .length = ex->new_body.n,
                                    .zero = true};
    body.zero = body.framing == H1_NO_BODY && ex->req.head.first[HEADER_CONTENT_LENGTH];
    return body;
}

static struct str uri_to_send(struct exchange *ex)
{
    if (ex->up_uri.p)
        return ex->up_uri;
    if (ex->req.target.p[0] == '/' || !ex->req.path.n)
        return ex->req.target;
    /* An absolute target is sent in origin form (RFC 9112 §3.2.1). */
    return ex->req.query.p ? arena_printf(&ex->arena, "%.*s?%.*s", STR_ARG(ex->req.path),
                                          STR_ARG(ex->req.query))
                           : ex->req.path;
}

/* Whether this try may be followed by another one that sends the body again. */
static bool may_need_body(const struct exchange *ex)
{
    return may_repeat(ex) || ex->body_replaced;
}

/* Servers that take trailers for headers (CVE-2013-5704) must not find there what the head says
 * otherwise, what it was kept from saying, or who the consumer is. */
static const struct head *trailers_to_send(struct exchange *ex)
{
    static const struct str ours[] = {
        {"X-Consumer-Username", 19}, {"X-Credential-Identifier", 23}, {"X-Consumer-Custom-ID", 20}};
    struct head *t = ex->req_trailers;

    if (!t || ex->req_hidden)
        return NULL;
    for (unsigned i = 0; i < t->n; i++) {
        struct str name = header_str_name(&t->list[i]);
        bool bad = head_find_name(&ex->req.head, name);
        for (size_t j = 0; j < sizeof(ours) / sizeof(*ours); j++)
            bad |= str_eq_nocase(name, ours[j]);
        if (bad)
            t->list[i].name_n = 0;
    }
    return t;
}

bool step_send(struct exchange *ex)
{
    struct client *c = ex->leg.client;
    struct header lines[LINES_MAX];
    struct head head;
    struct h1_out_body body = body_framing(ex);

    if (!ex->connect_us)
        ex->connect_us = ex->worker->thread.loop.now_us;
    make_head(ex, &head, lines);
    client_send_head(c, sent_method(ex), uri_to_send(ex), &head, &body, timeouts_of(ex)->send_ms,
                     timeouts_of(ex)->read_ms);
    ex->request_sent = true;
    exchange_go(ex, STEP_AWAIT);
    if (body.framing == H1_NO_BODY)
        return false;
    if (ex->body_replaced)
        client_send_body(c, ex->new_body, true, NULL);
    else if (ex->body.n || ex->body_done)
        client_send_body(c, buf_str(&ex->body), ex->body_done, trailers_to_send(ex));
    if (!may_need_body(ex) && !ex->body_limit && !ex->body_replaced) {
        ex->body_kept = false;
        buf_fini(&ex->body);
    }
    if (ex->body_paused && !client_full(c)) {
        ex->body_paused = false;
        stream_resume(ex->down);
    }
    return false;
}

void proxy_body(struct exchange *ex, struct str data, bool last)
{
    struct client *c = ex->leg.client;

    /* The upstream has answered and let go before the body's end, or has got another body: the rest
     * is not wanted. */
    if (!c || ex->body_replaced)
        return;
    if (ex->body_kept) {
        if (ex->header_us || ex->body.n + data.n > ex->worker->config->replay_bytes ||
            !buf_add(&ex->body, data)) {
            ex->body_kept = false;
            buf_fini(&ex->body);
        }
    }
    client_send_body(c, data, last, last ? trailers_to_send(ex) : NULL);
    if (!last && client_full(c)) {
        ex->body_paused = true;
        stream_pause(ex->down);
    }
}

void proxy_abandon(struct exchange *ex, enum reason why)
{
    if (ex->dns_waiting) {
        dns_wait_cancel(&ex->dns_wait);
        ex->dns_waiting = false;
    }
    if (ex->leg.client)
        client_abandon(ex->leg.client, why);
}

/* ---- The leg's events
 * ----------------------------------------------------------------------------- */

/* What requests tell of the peer's health; NULL: they do not count. */
static const struct check_rules *passive_rules(const struct exchange *ex)
{
    const struct checks *c = ex->pick.peer ? ex->upstream->checks : NULL;

    return c && c->has_passive ? &c->passive : NULL;
}

static void report_answer(struct exchange *ex, int status)
{
    const struct check_rules *rules = passive_rules(ex);

    if (rules)
        health_answered(ex->pick.peer, rules, HEALTH_REQUEST, status,
                        ex->worker->thread.loop.now_ms);
}

static void report_failure(struct exchange *ex, enum reason why, const char *detail)
{
    const struct check_rules *rules = passive_rules(ex);

    /* Once there was a status, that is what counts. */
    if (rules && !ex->header_us)
        health_failed(ex->pick.peer, rules, HEALTH_REQUEST, why, detail,
                      ex->worker->thread.loop.now_ms);
}

static struct exchange *exchange_of(struct leg *l)
{
    return CONTAINER(l, struct exchange, leg);
}

static void on_ready(struct leg *l)
{
    struct exchange *ex = exchange_of(l);

    exchange_go(ex, STEP_SEND);
    exchange_run(ex);
}

static void on_body(struct leg *l, struct str data, bool last)
{
    struct exchange *ex = exchange_of(l);

    relay_body(ex, data, last, l->trailers);
}

static void on_drained(struct leg *l)
{
    struct exchange *ex = exchange_of(l);

    if (ex->body_paused && ex->down) {
        ex->body_paused = false;
        stream_resume(ex->down);
    }
}

/* What the access log shows of a try that failed ("addr, addr"; nginx's form of several tries). */
static void note_try(struct exchange *ex, int status)
{
    struct arena *a = &ex->arena;
    int64_t us = ex->worker->thread.loop.now_us - ex->try_us;
    const char *sep = ex->upstream_addrs.n ? ", " : "";

    ex->upstream_addrs = arena_printf(a, "%.*s%s%.*s", STR_ARG(ex->upstream_addrs), sep,
                                      STR_ARG(pool_addr_text(ex->pool)));
    ex->upstream_statuses = arena_printf(a, "%.*s%s%d", STR_ARG(ex->upstream_statuses), sep,
                                         status);
    ex->upstream_times = arena_printf(a, "%.*s%s%d.%03d", STR_ARG(ex->upstream_times), sep,
                                      (int)(us / 1000000), (int)(us / 1000 % 1000));
}

/* Whether the request can be sent again: nothing of the body is lost, and the upstream cannot have
 * acted on it, or may do so twice (nginx: proxy_next_upstream error timeout). */
static bool can_resend(const struct exchange *ex)
{
    if (ex->responded || ex->header_us || !ex->body_kept)
        return false;
    return !ex->request_sent || may_repeat(ex);
}

static bool tries_left(struct exchange *ex)
{
    int allowed = ex->upstream->retries;

    if (allowed < 0)
        allowed = (int)live_endpoints(ex->worker->live, ex->upstream) - 1;
    return ex->tries <= allowed;
}

static bool is_late(const struct exchange *ex)
{
    int64_t limit = ex->upstream->retry_timeout_ms;

    return limit && (ex->worker->thread.loop.now_us - ex->first_try_us) / 1000 > limit;
}

/* Gives up a response for its status, where there is another endpoint to ask, which becomes the
 * pick. */
static bool retry_on_status(struct exchange *ex, int status)
{
    const struct retry_on *r = ex->upstream->retry_on;
    unsigned bit = (unsigned)status - 400;
    struct pick next = {.peer = NULL};
    struct dns_name *name;

    if (bit >= 200 || !(r->statuses[bit / 64] >> (bit % 64) & 1))
        return false;
    if (!can_resend(ex) || !tries_left(ex) || is_late(ex) || pick_next(ex, &next, &name) != PICK_OK)
        return false;
    ex_log(ex, LOG_INFO, "status %d, another node is tried, upstream %.*s", status,
           STR_ARG(pool_addr_text(ex->pool)));
    note_try(ex, status);
    if (ex->pick.peer)
        let_go_failed(ex);
    ex->pick = next;
    ex->picked = true;
    ex->fresh = false;
    pool_drain(ex->leg.client);
    exchange_go(ex, STEP_PICK);
    return true;
}

/* Goes to the next try, or to the reply that says that there is none. */
static void try_failed(struct exchange *ex, enum reason why, const char *detail)
{
    bool resend = can_resend(ex);

    ex_log(ex, reasons[why].level, "%s (%s), upstream %.*s", reasons[why].text, detail,
           STR_ARG(pool_addr_text(ex->pool)));
    ex->reason = why;
    report_failure(ex, why, detail);
    if (!ex->header_us)
        note_try(ex, reasons[why].status);
    if (resend && why == REASON_UPSTREAM_KEPT_CLOSED && !ex->fresh) {
        /* It had been idle: not a try that counts (nginx: cached connections do not). */
        ex->fresh = true;
        ex->tries--;
        exchange_go(ex, STEP_PICK);
        return;
    }
    let_go_failed(ex);
    if (resend && is_late(ex)) {
        exchange_fail(ex, REASON_RETRY_TIMEOUT);
    } else if (resend && tries_left(ex)) {
        ex->fresh = false;
        exchange_go(ex, STEP_PICK);
    } else {
        exchange_fail(ex, why);
    }
}

static void on_response(struct leg *l, const struct h1_response *res)
{
    struct exchange *ex = exchange_of(l);

    if (res->status < 200) {
        /* 100 was for us: the client has got ours, or did not ask. */
        if (res->status != 100 && ex->down)
            stream_inform(ex->down, res->status, &res->head);
        return;
    }
    report_answer(ex, res->status);
    if (ex->upstream->retry_on && retry_on_status(ex, res->status)) {
        exchange_run(ex);
        return;
    }
    ex->header_us = ex->worker->thread.loop.now_us;
    ex->reason = REASON_NONE;
    if (!ex->body_limit)
        buf_fini(&ex->body);
    response_take(ex, res);
    exchange_go(ex, STEP_RESPONSE);
    exchange_run(ex);
}

static void on_fail(struct leg *l, enum reason why, const char *detail)
{
    struct exchange *ex = exchange_of(l);

    try_failed(ex, why, detail);
    exchange_run(ex);
}

static const struct leg_handler leg_handler = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_fail = on_fail,
};
