/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches: name, connection, request, response; the next address when one refuses. */
#include "upstream/fetch.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/encode.h"
#include "base/panic.h"
#include "base/random.h"
#include "conn/server.h"
#include "http/uri.h"

enum {
    TIMEOUT_MS = 60000,
    BODY_MAX = 1 << 20,
    KEEPALIVE_MS = 60000,
    KEEPALIVE_REQUESTS = 1000,
    ADDRESSES_MAX = 8, /* tried, of those that a name has */
};

/* ---- URLs ---- */

static bool take_scheme(struct str *rest, bool *tls)
{
    static const struct {
        struct str text;
        bool tls;
    } schemes[] = {{{"http://", 7}, false}, {{"https://", 8}, true}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct str text = schemes[i].text;
        if (!str_eq_nocase(str_head(*rest, text.n), text))
            continue;
        *rest = str_from(*rest, text.n);
        *tls = schemes[i].tls;
        return true;
    }
    return false;
}

/* "" is "/", "?a" is "/?a"; a fragment is not sent. */
static struct str target_uri(struct arena *a, struct str rest)
{
    ptrdiff_t hash = str_find(rest, '#');
    struct str uri = encode_target(a, hash < 0 ? rest : str_head(rest, (size_t)hash));

    return str_starts(uri, STR("/")) ? arena_str(a, uri) : arena_join(a, STR("/"), uri);
}

struct fetch_target *fetch_target_new(struct arena *a, struct str url,
                                      const struct fetch_options *options)
{
    struct fetch_target *t = arena_zero(a, sizeof(*t));
    struct str rest = str_trim(url), host;
    size_t n = 0;

    if (!take_scheme(&rest, &t->tls))
        return NULL;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
        n++;
    struct str authority = str_head(rest, n);
    if (authority.n == 0 || !uri_host_split(authority, &host, &t->port) || host.n == 0)
        return NULL;
    t->host = arena_str(a, host);
    t->authority = arena_str(a, authority);
    t->uri = target_uri(a, str_from(rest, n));
    if (!t->port)
        t->port = t->tls ? 443 : 80;
    t->options = options ? *options : (struct fetch_options){0};
    if (t->options.timeout_ms <= 0)
        t->options.timeout_ms = TIMEOUT_MS;
    if (!t->options.body_max)
        t->options.body_max = BODY_MAX;
    if (t->options.keepalive_ms <= 0)
        t->options.keepalive_ms = KEEPALIVE_MS;
    return t;
}

/* ---- The end ---- */

static struct loop *loop_of(const struct fetching *f)
{
    return &f->env.thread->loop;
}

static void let_go(struct fetching *f)
{
    f->over = true;
    timer_clear(&loop_of(f)->timers, &f->deadline);
    task_cancel(&f->failed);
    if (f->waiting)
        dns_wait_cancel(&f->wait);
    f->waiting = false;
    if (f->leg.client)
        client_abandon(f->leg.client, REASON_NOT_KEPT);
}

void fetching_cancel(struct fetching *f)
{
    if (!f->over)
        let_go(f);
}

void fetching_fini(struct fetching *f)
{
    buf_fini(&f->body);
}

static void end(struct fetching *f, enum fetch_end how, struct str error)
{
    let_go(f);
    f->fetch.end = how;
    f->fetch.error = error;
    f->done(f);
}

static void on_deadline(struct timer *t)
{
    struct fetching *f = CONTAINER(t, struct fetching, deadline);
    const char *doing = f->waiting         ? "its name was looked up"
                        : !f->fetch.status ? "its answer was waited for"
                                           : "its answer was read";

    end(f, FETCH_LATE, arena_printf(f->arena, "timed out while %s", doing));
}

static void on_failed(struct task *t)
{
    struct fetching *f = CONTAINER(t, struct fetching, failed);

    end(f, FETCH_FAILED, f->fetch.error);
}

/* Not from within the caller's start. */
static void fail_later(struct fetching *f, struct str error)
{
    f->fetch.error = error;
    loop_defer(loop_of(f), &f->failed);
}

/* ---- The request ---- */

static struct str method_of(const struct fetching *f)
{
    return f->request.method.p ? f->request.method : STR("GET");
}

/* RFC 9110 §9.2.2. */
static bool is_idempotent(const struct fetching *f)
{
    struct str m = method_of(f);

    return !(str_eq(m, STR("POST")) || str_eq(m, STR("PATCH")) || str_eq(m, STR("LOCK")));
}

static void send_request(struct fetching *f)
{
    const struct fetch_request *r = &f->request;
    struct header lines[FETCH_HEADERS_MAX + 1];
    struct head head;
    struct h1_out_body body = {.framing = r->body.n ? H1_LENGTH : H1_NO_BODY,
                               .length = r->body.n,
                               .zero = r->body.p != NULL};
    int64_t ms = f->to->options.timeout_ms * 2; /* the deadline comes first */

    head_init(&head, lines, FETCH_HEADERS_MAX + 1);
    for (size_t i = 0; i < r->nheaders && i < FETCH_HEADERS_MAX; i++) {
        struct str name = r->headers[i].key;
        head_add(&head, NULL, header_id(name), name, r->headers[i].value);
    }
    if (!head_find(&head, HEADER_HOST))
        head_add(&head, NULL, HEADER_HOST, STR("Host"), f->to->authority);
    if (!f->to->options.keepalive)
        client_last(f->leg.client);
    client_send_head(f->leg.client, method_of(f), r->uri.p ? r->uri : f->to->uri, &head, &body, ms,
                     ms);
    if (r->body.n)
        client_send_body(f->leg.client, r->body, true, NULL);
}

/* A line that a plugin has not encoded must not become two. */
static bool can_be_sent(const struct fetching *f)
{
    const struct fetch_request *r = &f->request;
    struct str uri = r->uri.p ? r->uri : f->to->uri;

    if (!h1_token_ok(method_of(f)) || !str_starts(uri, STR("/")) || r->nheaders > FETCH_HEADERS_MAX)
        return false;
    for (size_t i = 0; i < uri.n; i++)
        if ((unsigned char)uri.p[i] <= ' ' || uri.p[i] == 0x7f)
            return false;
    for (size_t i = 0; i < r->nheaders; i++)
        if (!h1_token_ok(r->headers[i].key) || !h1_value_ok(r->headers[i].value))
            return false;
    return true;
}

/* ---- The connection ---- */

static const struct leg_handler handler;

/* False: none could be made. */
static bool connect_to(struct fetching *f, const struct addr *addr, bool fresh)
{
    const struct fetch_options *o = &f->to->options;
    struct pool_limits limits = {
        .size = o->keepalive, .requests = KEEPALIVE_REQUESTS, .idle_ms = o->keepalive_ms};
    SSL_CTX *tls = !f->to->tls ? NULL : o->verify_off ? f->env.tls_unverified : f->env.tls_verified;
    ASSERT(!f->to->tls || tls);
    struct pool *pool = pools_get(f->env.pools, addr, tls, f->to->host, NULL);
    /* One that does not answer leaves time for the others. */
    int64_t left = f->deadline.due - loop_of(f)->now_ms;
    int64_t connect_ms = left > f->naddrs ? left / (f->naddrs ? f->naddrs : 1) : 1;

    f->leg = (struct leg){.handler = &handler};
    switch (pool_take(pool, &f->leg, &limits, connect_ms, fresh, !is_idempotent(f))) {
    case POOL_READY:
        send_request(f);
        return true;
    case POOL_WAIT:
        return true;
    case POOL_FAILED:
        return false;
    }
    return false;
}

/* The next address, until one can be tried. */
static void try_next(struct fetching *f)
{
    while (f->naddrs) {
        if (connect_to(f, f->addrs, false))
            return;
        f->fetch.error = str_of(strerrordesc_np(errno));
        f->addrs++;
        f->naddrs--;
    }
    fail_later(f, f->fetch.error);
}

static void set_port(struct addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

/* From a random one on. */
static void take_addresses(struct fetching *f, const struct addr *addrs, unsigned n)
{
    unsigned first = random_below(n);

    f->naddrs = n < ADDRESSES_MAX ? n : ADDRESSES_MAX;
    f->addrs = arena_alloc(f->arena, f->naddrs * sizeof(*f->addrs));
    for (unsigned i = 0; i < f->naddrs; i++) {
        f->addrs[i] = addrs[(first + i) % n];
        set_port(&f->addrs[i], f->to->port);
    }
    try_next(f);
}

static void resolve(struct fetching *f);

static void on_name(struct dns_wait *w)
{
    struct fetching *f = CONTAINER(w, struct fetching, wait);

    f->waiting = false;
    resolve(f);
}

static void resolve(struct fetching *f)
{
    struct dns_name *name;
    struct addr addr;

    if (addr_parse(f->to->host, f->to->port, &addr)) {
        take_addresses(f, &addr, 1);
        return;
    }
    name = dns_name(f->env.dns, f->to->host);
    switch (dns_status(f->env.dns, name)) {
    case DNS_READY:
        take_addresses(f, name->addrs, name->naddrs);
        return;
    case DNS_PENDING:
        list_init(&f->wait.link);
        f->wait.done = on_name;
        f->waiting = true;
        dns_wait_start(name, &f->wait);
        return;
    case DNS_FAILED:
        fail_later(f, STR("its name could not be resolved"));
        return;
    }
}

/* ---- The leg's events ---- */

static struct fetching *fetching_of(struct leg *l)
{
    return CONTAINER(l, struct fetching, leg);
}

static void on_ready(struct leg *l)
{
    send_request(fetching_of(l));
}

static void too_long(struct fetching *f)
{
    end(f, FETCH_FAILED,
        arena_printf(f->arena, "the response is longer than %zu bytes", f->to->options.body_max));
}

static void on_response(struct leg *l, const struct h1_response *res)
{
    struct fetching *f = fetching_of(l);

    if (res->status < 200)
        return;
    f->fetch.status = res->status;
    head_copy(&f->head, &res->head, f->arena, 0);
    if (res->framing == H1_LENGTH && res->length > f->to->options.body_max)
        too_long(f);
}

static void on_body(struct leg *l, struct str data, bool last)
{
    struct fetching *f = fetching_of(l);

    if (!buf_add(&f->body, data)) {
        too_long(f);
        return;
    }
    if (!last)
        return;
    f->fetch.body = buf_str(&f->body);
    end(f, FETCH_ANSWERED, STR_NONE);
}

static void on_drained(struct leg *l)
{
    (void)l;
}

static void on_fail(struct leg *l, enum reason why, const char *detail)
{
    struct fetching *f = fetching_of(l);
    bool unsent = why == REASON_CONNECT_FAILED || why == REASON_CONNECT_TIMEOUT ||
                  why == REASON_TLS_FAILED || why == REASON_TLS_UNVERIFIED;

    f->fetch.error = arena_printf(f->arena, "%s (%s)", reasons[why].text, detail);
    if (why == REASON_UPSTREAM_KEPT_CLOSED && is_idempotent(f) && connect_to(f, f->addrs, true))
        return; /* the same once more, on a connection of its own */
    if (unsent && f->naddrs > 1) {
        f->addrs++;
        f->naddrs--;
        try_next(f);
        return;
    }
    end(f, FETCH_FAILED, f->fetch.error);
}

static const struct leg_handler handler = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_fail = on_fail,
};

void fetching_start(struct fetching *f, const struct fetch_env *env, const struct fetch_target *to,
                    const struct fetch_request *request, struct arena *a,
                    void (*done)(struct fetching *f))
{
    *f = (struct fetching){.env = *env, .to = to, .request = *request, .arena = a, .done = done};
    f->fetch.end = FETCH_FAILED;
    head_init(&f->head, NULL, 0);
    buf_init(&f->body, to->options.body_max);
    timer_init(&f->deadline, on_deadline);
    task_init(&f->failed, on_failed);
    loop_timer(loop_of(f), &f->deadline, to->options.timeout_ms);
    if (can_be_sent(f))
        resolve(f);
    else
        fail_later(f, STR("the request cannot be sent as it is"));
}
