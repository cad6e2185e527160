/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the `checks` of upstreams, with the defaults of lua-resty-healthcheck as APISIX 3.18
 * fills them in. */
#include "base/encode.h"
#include "base/panic.h"
#include "config/build_private.h"
#include "config/checks.h"
#include "config/fields.h"
#include "http/h1_write.h"

enum { CONCURRENCY_MAX = 256, TIMEOUT_DEFAULT_MS = 1000 };

/* What is configured, or the defaults of the table. */
static const struct check_side_doc *
side_or_default(struct compile *c, const struct check_side_doc *side, const struct fields *fields)
{
    if (side)
        return side;
    struct check_side_doc *made = arena_zero(&c->scratch, sizeof(*made));
    json_t *nothing = json_object();
    bool ok = fields_parse(fields, nothing, made, &c->scratch, &c->err);
    json_decref(nothing);
    ASSERT(ok);
    return made;
}

static struct status_set statuses_compile(struct field_list list)
{
    const int64_t *status = list.items;
    struct status_set set = {0};

    for (size_t i = 0; i < list.n; i++) {
        unsigned at = (unsigned)status[i] - STATUS_FIRST;
        set.bits[at / 64] |= 1ull << (at % 64);
    }
    return set;
}

static struct check_rules rules_compile(const struct check_side_doc *healthy,
                                        const struct check_side_doc *unhealthy)
{
    return (struct check_rules){
        .healthy = statuses_compile(healthy->statuses),
        .unhealthy = statuses_compile(unhealthy->statuses),
        .successes = (uint8_t)healthy->successes,
        .http_failures = (uint8_t)unhealthy->http_failures,
        .tcp_failures = (uint8_t)unhealthy->tcp_failures,
        .timeouts = (uint8_t)unhealthy->timeouts,
    };
}

/* ---- Headers ---- */

/* "Name: value", fit to be sent. */
static bool header_split(struct str line, struct field_pair *out)
{
    struct str value;

    if (!str_cut(line, ':', &out->key, &value) || !h1_token_ok(out->key))
        return false;
    out->value = str_trim(value);
    return h1_value_ok(out->value) && !h1_hop_by_hop(header_id(out->key));
}

/* A write is refused for a line that cannot be sent; where it is stored already the probe goes
 * without. */
static bool headers_compile(struct compile *c, const struct active_doc *d, struct checks *out)
{
    const struct str *lines = d->headers.items;
    struct arena *a = &c->arena;
    struct field_pair *made = arena_zero(a, d->headers.n * sizeof(*made)), pair;

    for (size_t i = 0; i < d->headers.n; i++) {
        if (out->nheaders < CHECK_HEADERS_MAX && header_split(lines[i], &pair))
            made[out->nheaders++] = (struct field_pair){arena_str(a, pair.key),
                                                        arena_str(a, pair.value)};
        else if (c->strict)
            return compile_fail(c, "checks.active.req_headers: \"%.*s\" cannot be sent as a header",
                                STR_ARG(lines[i]));
        else
            log_warn("%.*s: checks.active.req_headers: \"%.*s\" is left out", STR_ARG(c->key),
                     STR_ARG(lines[i]));
    }
    out->headers = made;
    return true;
}

/* ---- The whole ---- */

static void active_compile(struct compile *c, const struct checks_doc *d, struct checks *out)
{
    const struct active_doc *active = d->active;
    struct arena *a = &c->arena;
    const struct check_side_doc *healthy = side_or_default(c, active->healthy,
                                                           &model_active_healthy_fields);
    const struct check_side_doc *unhealthy = side_or_default(c, active->unhealthy,
                                                             &model_active_unhealthy_fields);

    out->type = (enum check_type)active->type;
    out->verify = active->verify;
    out->port = (uint16_t)active->port;
    out->concurrency = active->concurrency < 1                 ? 1
                       : active->concurrency > CONCURRENCY_MAX ? CONCURRENCY_MAX
                                                               : (unsigned)active->concurrency;
    out->timeout_ms = active->timeout > 0 ? compile_ms(active->timeout) : TIMEOUT_DEFAULT_MS;
    /* Without `healthy`, and with passive checks, probes only bring nodes back: nodes are found
     * unhealthy by requests alone. */
    out->healthy_ms = !active->healthy && d->passive ? 0 : compile_ms((double)healthy->interval);
    out->unhealthy_ms = compile_ms((double)unhealthy->interval);
    out->host = active->host.p ? arena_str(a, active->host) : STR_NONE;
    out->method = str_of(model_methods[active->method]);
    struct str path = encode_target(&c->scratch, active->path);
    out->path = str_starts(path, STR("/")) ? arena_str(a, path) : arena_join(a, STR("/"), path);
    out->body = arena_str(a, active->body);
    out->active = rules_compile(healthy, unhealthy);
}

bool compile_checks(struct compile *c, const struct checks_doc *d, struct upstream *u)
{
    struct checks *out = arena_zero(&c->arena, sizeof(*out));

    active_compile(c, d, out);
    if (d->passive) {
        out->has_passive = true;
        out->passive = rules_compile(
            side_or_default(c, d->passive->healthy, &model_passive_healthy_fields),
            side_or_default(c, d->passive->unhealthy, &model_passive_unhealthy_fields));
    }
    if (!headers_compile(c, d->active, out))
        return false;
    if (c->b->env.no_checks)
        return true;
    u->checks = out;
    u->peers = true;
    return true;
}

/* ---- Copies ---- */

static struct str str_copy(struct arena *a, struct str s)
{
    return s.p ? arena_str(a, s) : STR_NONE;
}

struct checks *checks_copy(struct arena *a, const struct checks *c)
{
    struct checks *to = arena_alloc(a, sizeof(*to));
    struct field_pair *headers = arena_alloc(a, c->nheaders * sizeof(*headers));

    *to = *c;
    to->host = str_copy(a, c->host);
    to->path = str_copy(a, c->path);
    to->body = str_copy(a, c->body);
    for (unsigned i = 0; i < c->nheaders; i++)
        headers[i] = (struct field_pair){str_copy(a, c->headers[i].key),
                                         str_copy(a, c->headers[i].value)};
    to->headers = headers;
    return to;
}
