/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the request log. */
#include "reqlog.h"

#include <ctype.h>
#include <openssl/ssl.h>
#include <strings.h>
#include <unistd.h>

static bool same_name(struct slice a, struct slice b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static bool seen_before(const struct request *r, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (same_name(r->headers[k].name, r->headers[i].name))
            return true;
    return false;
}

void reqlog_headers(struct buf *out, const struct request *r)
{
    buf_str(out, "{");
    for (size_t i = 0; i < r->nheaders; i++) {
        struct slice name = r->headers[i].name;
        if (seen_before(r, i))
            continue;
        buf_str(out, i ? ",\"" : "\"");
        for (size_t k = 0; k < name.n; k++) {
            char ch = (char)tolower((unsigned char)name.p[k]);
            buf_add(out, &ch, 1);
        }
        buf_str(out, "\":\"");
        buf_escape(out, r->headers[i].value.p, r->headers[i].value.n);
        for (size_t k = i + 1; k < r->nheaders; k++) {
            if (!same_name(name, r->headers[k].name))
                continue;
            buf_str(out, ", ");
            buf_escape(out, r->headers[k].value.p, r->headers[k].value.n);
        }
        buf_str(out, "\"");
    }
    buf_str(out, "}");
}

void reqlog_begin(struct conn *c, const struct request *r, struct slice body)
{
    if (sim.log_fd < 0)
        return;
    struct buf *b = &c->log;
    const char *sni = c->ssl ? SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name) : NULL;
    b->n = 0;
    buf_str(b, "{\"method\":");
    buf_json(b, r->method.p, r->method.n);
    buf_str(b, ",\"uri\":");
    buf_json(b, r->target.p, r->target.n);
    buf_str(b, ",\"path\":");
    buf_json(b, r->path.p, r->path.n);
    buf_str(b, ",\"host\":");
    buf_json(b, r->host.p, r->host.n);
    buf_str(b, ",\"headers\":");
    reqlog_headers(b, r);
    buf_fmt(b, ",\"body_size\":%llu", (unsigned long long)c->body_size);
    if (body.n && body.n <= REQLOG_BODY) {
        buf_str(b, ",\"body\":");
        buf_json(b, body.p, body.n);
    }
    buf_fmt(b, ",\"tls\":%s,\"sni\":", c->ssl ? "true" : "false");
    if (sni)
        buf_json(b, sni, strlen(sni));
    else
        buf_str(b, "null");
    buf_fmt(b, ",\"connection\":%llu", (unsigned long long)c->id);
}

void reqlog_end(struct conn *c, bool aborted)
{
    struct buf *b = &c->log;
    if (b->n == 0)
        return;
    buf_fmt(b, ",\"status\":%d,\"events\":%u,\"aborted\":%s}\n", c->status, c->events,
            aborted ? "true" : "false");
    size_t at = 0;
    while (at < b->n) {
        ssize_t n = write(sim.log_fd, b->p + at, b->n - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    buf_free(b);
}
