/* SPDX-License-Identifier: Apache-2.0 */
/* One probe: a connection of its own, a request on it, the head of the response, and no more. */
#include <errno.h>

#include "http/uri.h"
#include "upstream/prober_int.h"

enum { STARVED_LOG_MS = 10000 };

static struct target *target_of(struct leg *l)
{
    return CONTAINER(l, struct target, leg);
}

static const struct checks *checks_of(const struct target *t)
{
    return t->node->upstream->checks;
}

static int64_t now_of(const struct target *t)
{
    return prober_loop(target_prober(t))->now_ms;
}

/* ---- The end ---- */

void probe_abandon(struct target *t)
{
    timer_clear(&prober_loop(target_prober(t))->timers, &t->deadline);
    if (t->leg.client)
        client_abandon(t->leg.client, REASON_NOT_KEPT);
}

static void end(struct target *t)
{
    probe_abandon(t);
    target_done(t);
}

static void failed(struct target *t, enum reason why, const char *detail)
{
    health_failed(t->peer, &checks_of(t)->active, HEALTH_PROBE, why, detail, now_of(t));
    end(t);
}

void probe_on_deadline(struct timer *timer)
{
    struct target *t = CONTAINER(timer, struct target, deadline);

    failed(t, t->connected ? REASON_READ_TIMEOUT : REASON_CONNECT_TIMEOUT, "timed out");
}

/* ---- What is sent ---- */

/* The Host: as the checks say, else as the upstream does, else the node (APISIX:
 * healthcheck_manager.lua, but that `host` counts first). */
static struct str host_of(const struct target *t)
{
    const struct checked *up = t->node->upstream;

    if (up->checks->host.p)
        return up->checks->host;
    return up->upstream_host.p ? up->upstream_host : t->node->host;
}

static struct str server_name(const struct target *t)
{
    struct str host = host_of(t), name;
    uint16_t port;

    /* A bare IPv6 address is no authority. */
    if (host.p == t->node->host.p || !uri_host_split(host, &name, &port))
        return host;
    return name;
}

static void send_request(struct target *t)
{
    const struct checks *c = checks_of(t);
    struct header lines[CHECK_HEADERS_MAX + 1];
    struct head head;
    struct str host = host_of(t);
    struct h1_out_body body = {.framing = c->body.n ? H1_LENGTH : H1_NO_BODY, .length = c->body.n};
    char bracketed[64];

    head_init(&head, lines, CHECK_HEADERS_MAX + 1);
    for (unsigned i = 0; i < c->nheaders; i++)
        head_add(&head, NULL, header_id(c->headers[i].key), c->headers[i].key, c->headers[i].value);
    if (t->peer->addr.sa.sa_family == AF_INET6 && !t->node->name && host.p == t->node->host.p)
        host = str_make(bracketed,
                        (size_t)snprintf(bracketed, sizeof(bracketed), "[%.*s]", STR_ARG(host)));
    if (!head_find(&head, HEADER_HOST))
        head_add(&head, NULL, HEADER_HOST, STR("Host"), host);
    client_last(t->leg.client);
    client_send_head(t->leg.client, c->method, c->path, &head, &body, c->timeout_ms, c->timeout_ms);
    if (c->body.n)
        client_send_body(t->leg.client, c->body, true, NULL);
}

/* ---- The leg's events ---- */

static void on_ready(struct leg *l)
{
    struct target *t = target_of(l);
    const struct checks *c = checks_of(t);

    t->connected = true;
    if (c->type != CHECK_TCP) {
        send_request(t);
        return;
    }
    health_connected(t->peer, &c->active, HEALTH_PROBE, now_of(t));
    end(t);
}

static void on_response(struct leg *l, const struct h1_response *res)
{
    struct target *t = target_of(l);

    if (res->status < 200)
        return;
    health_answered(t->peer, &checks_of(t)->active, HEALTH_PROBE, res->status, now_of(t));
    end(t);
}

/* The head ended the probe. */
static void on_body(struct leg *l, struct str data, bool last)
{
    (void)l;
    (void)data;
    (void)last;
}

static void on_drained(struct leg *l)
{
    (void)l;
}

static void on_fail(struct leg *l, enum reason why, const char *detail)
{
    failed(target_of(l), why, detail);
}

static const struct leg_handler handler = {
    .on_ready = on_ready,
    .on_response = on_response,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_fail = on_fail,
};

/* Nobody keeps the connections of probes. */
static void on_idle(struct client *c)
{
    client_close(c, REASON_NOT_KEPT);
}

static void on_closed(struct client *c)
{
    (void)c;
}

static const struct client_owner owner = {.on_idle = on_idle, .on_closed = on_closed};

/* ---- The start ---- */

static struct addr address_of(const struct target *t)
{
    struct addr a = t->peer->addr;
    uint16_t port = checks_of(t)->port;

    if (port && a.sa.sa_family == AF_INET6)
        a.in6.sin6_port = htons(port);
    else if (port)
        a.in.sin_port = htons(port);
    return a;
}

static void refused(struct target *t, int error)
{
    struct prober *p = target_prober(t);

    if (sock_connect_reason(error) == REASON_CONNECT_FAILED) {
        failed(t, REASON_CONNECT_FAILED, strerrordesc_np(error));
        return;
    }
    if (!p->starved_ms || now_of(t) - p->starved_ms > STARVED_LOG_MS) {
        p->starved_ms = now_of(t);
        log_error("health checks cannot be made: %s", strerrordesc_np(error));
    }
    end(t);
}

void probe_start(struct target *t)
{
    struct prober *p = target_prober(t);
    const struct checks *c = checks_of(t);
    struct client_target to = {.addr = address_of(t)};

    if (c->type == CHECK_HTTPS) {
        to.tls = c->verify ? p->config.tls_verified : p->config.tls_unverified;
        to.server_name = server_name(t);
    }
    t->leg = (struct leg){.handler = &handler};
    t->connected = false;
    loop_timer(prober_loop(p), &t->deadline, c->timeout_ms);
    /* The deadline is of the whole probe, and comes first. */
    if (!client_connect(&p->thread, &to, &owner, NULL, &t->leg, c->timeout_ms * 2))
        refused(t, errno);
}
