/* SPDX-License-Identifier: Apache-2.0 */
/* forward-auth: another service says whether a request may pass. */
#include "base/encode.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

enum method { GET, POST };
static const char *const methods[] = {"GET", "POST", NULL};

struct extra_header {
    struct str name;
    const struct text *value;
};

struct forward_auth {
    struct str uri, consumer_header;
    int method;
    struct field_list extra;                                             /* of struct field_pair */
    struct field_list request_headers, upstream_headers, client_headers; /* of struct str */
    bool degrade, verify, keepalive;
    int64_t status_on_error, timeout, keepalive_timeout, keepalive_pool, body_max;
    const struct fetch_target *to;
    struct extra_header *extra_headers;
};

struct forward_auth_frame {
    const struct fetch *answer; /* NULL: not yet asked for */
    bool has_body;              /* it is here, or on its way */
};

/* Headers that we say ourselves: X-Forwarded-*, Content-Encoding. */
enum { OWN_HEADERS = 6, EXTRA_MAX = 40, HEADERS_MAX = 150 };

static const struct field name_row = {.type = FIELD_STR};
static const struct field value_row = {.type = FIELD_STR};

#define AT(member) .at = offsetof(struct forward_auth, member)
static const struct field rows[] = {
    {"uri", FIELD_STR, .flags = FIELD_REQUIRED, AT(uri),
     .doc = "Where the service is: `http://` or `https://`, with path and query."},
    {"allow_degradation", FIELD_BOOL, AT(degrade), .def = "false",
     .doc = "Lets requests pass while the service cannot be asked."},
    {"status_on_error", FIELD_INT, AT(status_on_error), .min = 200, .max = 599, .def = "403",
     .doc = "Status of the refusal when the service cannot be asked."},
    {"ssl_verify", FIELD_BOOL, AT(verify), .def = "true",
     .doc = "Checks the certificate of the service."},
    {"request_method", FIELD_ENUM, AT(method), .names = methods, .def = "\"GET\"",
     .doc = "How the service is asked. With `POST` it gets the body of the request too."},
    {"request_headers", FIELD_LIST, AT(request_headers), .of = &name_row, .def = "[]",
     .max = HEADERS_MAX, .doc = "Headers of the request that the service gets."},
    {"extra_headers", FIELD_MAP, AT(extra), .min = 1, .max = EXTRA_MAX, .of = &value_row,
     .pattern = "^[^:]+$", .doc = "Headers for the service; variables stand for their values."},
    {"upstream_headers", FIELD_LIST, AT(upstream_headers), .of = &name_row, .def = "[]",
     .doc = "Headers of the service's answer that the upstream gets, in place of what the client "
            "sent under these names; one that the answer lacks is removed."},
    {"client_headers", FIELD_LIST, AT(client_headers), .of = &name_row, .def = "[]",
     .doc = "Headers of the service's refusal that the client gets."},
    {"consumer_header", FIELD_STR, AT(consumer_header), .min = 1,
     .doc = "Header of the service's answer that names a consumer: the request becomes that "
            "consumer's. Then the service is asked before other plugins look who is there."},
    {"timeout", FIELD_INT, AT(timeout), .min = 1, .max = 60000, .def = "3000",
     .doc = "Milliseconds that an answer may take."},
    {"keepalive", FIELD_BOOL, AT(keepalive), .def = "true",
     .doc = "Keeps connections to the service."},
    {"keepalive_timeout", FIELD_INT, AT(keepalive_timeout), .min = 1000, .def = "60000",
     .doc = "Milliseconds that an idle one is kept."},
    {"keepalive_pool", FIELD_INT, AT(keepalive_pool), .min = 1, .def = "5",
     .doc = "Idle connections that each thread keeps."},
    {"max_req_body_size", FIELD_INT, AT(body_max), .min = 1, .def = "67108864",
     .doc = "Bytes; with `POST`, a request whose body is longer is refused with 413."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct forward_auth), .open = true};

static bool extra_compile(struct forward_auth *c, struct build *b)
{
    const struct field_pair *pairs = c->extra.items;

    c->extra_headers = arena_zero(build_arena(b), c->extra.n * sizeof(*c->extra_headers));
    for (size_t i = 0; i < c->extra.n; i++) {
        struct str name = pairs[i].key;
        for (size_t at = 0; at < name.n; at++)
            if (name.p[at] <= ' ' || name.p[at] >= 0x7f)
                return build_error(b, "invalid field character in header");
        c->extra_headers[i] = (struct extra_header){name, build_text(b, pairs[i].value)};
    }
    return true;
}

static bool forward_auth_compile(void *conf, struct build *b)
{
    struct forward_auth *c = conf;
    struct fetch_options options = {.timeout_ms = c->timeout,
                                    .keepalive = c->keepalive ? (unsigned)c->keepalive_pool : 0,
                                    .keepalive_ms = c->keepalive_timeout,
                                    .verify_off = !c->verify};

    c->to = build_fetch_target(b, c->uri, &options);
    return c->to ? extra_compile(c, b) : build_error_in(b, "uri: ");
}

/* ---- The question -----------------------------------------------------------------------------
 */

struct question {
    struct exchange *ex;
    struct field_pair *headers;
    size_t n;
};

static void say(struct question *q, struct str name, struct str value)
{
    if (value.p)
        q->headers[q->n++] = (struct field_pair){name, encode_header(ex_arena(q->ex), value)};
}

static bool is_said(const struct question *q, struct str name)
{
    for (size_t i = 0; i < q->n; i++)
        if (str_eq_nocase(q->headers[i].key, name))
            return true;
    return false;
}

/* The method and URI are those of the client: the service judges what was asked for. */
static void say_request(struct question *q, const struct forward_auth *c)
{
    struct exchange *ex = q->ex;

    say(q, STR("X-Forwarded-Proto"), request_scheme(ex));
    say(q, STR("X-Forwarded-Method"), request_method(ex));
    say(q, STR("X-Forwarded-Host"), request_host(ex));
    say(q, STR("X-Forwarded-Uri"), var_value(ex, STR("request_uri")));
    say(q, STR("X-Forwarded-For"), request_client(ex));
    if (c->method == POST)
        say(q, STR("Content-Encoding"), request_header(ex, STR("Content-Encoding")));
}

/* An extra header takes the place of one of ours. */
static void say_extra(struct question *q, const struct forward_auth *c)
{
    size_t own = q->n, kept = 0;

    for (size_t i = 0; i < own; i++) {
        bool replaced = false;
        for (size_t k = 0; k < c->extra.n; k++)
            replaced |= str_eq_nocase(c->extra_headers[k].name, q->headers[i].key);
        if (!replaced)
            q->headers[kept++] = q->headers[i];
    }
    q->n = kept;
    for (size_t i = 0; i < c->extra.n; i++)
        say(q, c->extra_headers[i].name, text_value(q->ex, c->extra_headers[i].value));
}

/* All of a name: the service must judge what the upstream will read. */
static void say_copied(struct question *q, const struct forward_auth *c)
{
    const struct str *names = c->request_headers.items;

    for (size_t i = 0; i < c->request_headers.n; i++)
        if (!is_said(q, names[i]))
            say(q, names[i], request_header_all(q->ex, names[i]));
}

static enum verdict ask(struct exchange *ex, const struct forward_auth *c,
                        struct forward_auth_frame *f)
{
    size_t most = OWN_HEADERS + c->extra.n + c->request_headers.n;
    struct question q = {ex, arena_alloc(ex_arena(ex), most * sizeof(*q.headers)), 0};

    say_request(&q, c);
    say_extra(&q, c);
    say_copied(&q, c);
    struct fetch_request request = {.method = str_of(methods[c->method]),
                                    .headers = q.headers,
                                    .nheaders = q.n,
                                    .body = c->method == POST ? request_body(ex) : STR_NONE};
    f->answer = fetch_start(ex, c->to, &request);
    return WAIT;
}

/* ---- The answer -------------------------------------------------------------------------------
 */

typedef void set_fn(struct exchange *ex, struct str name, struct str value);

/* All headers of the answer that have this name. False: there is none. */
static bool copy_header(struct exchange *ex, const struct fetch *answer, struct str wanted,
                        set_fn *set, set_fn *add)
{
    struct str name, value;
    bool any = false;

    for (size_t i = 0; fetch_header_at(answer, i, &name, &value); i++) {
        if (!str_eq_nocase(name, wanted))
            continue;
        if (any)
            add(ex, wanted, value);
        else
            set(ex, wanted, value);
        any = true;
    }
    return any;
}

static enum verdict refuse(struct exchange *ex, const struct forward_auth *c,
                           const struct fetch *answer)
{
    const struct str *names = c->client_headers.items;
    struct str type = STR_NONE;

    for (size_t i = 0; i < c->client_headers.n; i++) {
        if (str_eq_nocase(names[i], STR("Content-Type")))
            type = fetch_header(answer, names[i]);
        else
            copy_header(ex, answer, names[i], response_header_set, response_header_add);
    }
    return reply_text(ex, answer->status, type, answer->body.p ? answer->body : STR(""));
}

static enum verdict attach(struct exchange *ex, const struct forward_auth *c,
                           const struct fetch *answer)
{
    struct str name = fetch_header(answer, c->consumer_header);

    if (name.n == 0) {
        ex_log(ex, LOG_ERROR, "missing consumer header from auth response: %.*s",
               STR_ARG(c->consumer_header));
        return reply_text(ex, 403, STR_NONE, STR("consumer header missing in auth response"));
    }
    const struct consumer *who = consumer_by_name(ex, name);
    if (!who) {
        ex_log(ex, LOG_ERROR, "the consumer that the auth response names in %.*s does not exist",
               STR_ARG(c->consumer_header));
        return reply_text(ex, 403, STR_NONE, STR("consumer not found"));
    }
    consumer_attach(ex, who);
    return NEXT;
}

static enum verdict accept(struct exchange *ex, const struct forward_auth *c,
                           const struct fetch *answer)
{
    const struct str *names = c->upstream_headers.items;
    enum verdict v = c->consumer_header.p ? attach(ex, c, answer) : NEXT;

    for (size_t i = 0; i < c->upstream_headers.n && v == NEXT; i++)
        if (!copy_header(ex, answer, names[i], request_header_set, request_header_add))
            request_header_remove(ex, names[i]);
    return v;
}

static enum verdict judge(struct exchange *ex, const struct forward_auth *c,
                          const struct fetch *answer)
{
    if (answer->end == FETCH_ANSWERED)
        return answer->status >= 300 ? refuse(ex, c, answer) : accept(ex, c, answer);
    ex_log(ex, LOG_WARN, "failed to process forward auth, err: %.*s", STR_ARG(answer->error));
    return c->degrade ? NEXT : reply_status(ex, (int)c->status_on_error);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict forward_auth(struct exchange *ex, const struct forward_auth *c,
                                 struct forward_auth_frame *f)
{
    if (f->answer)
        return judge(ex, c, f->answer);
    if (c->method == POST && !f->has_body) {
        f->has_body = true;
        request_body_start(ex, (size_t)c->body_max);
        return WAIT;
    }
    return ask(ex, c, f);
}

static enum verdict forward_auth_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct forward_auth *c = conf;

    return c->consumer_header.p ? forward_auth(ex, c, frame) : NEXT;
}

static enum verdict forward_auth_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct forward_auth *c = conf;

    return c->consumer_header.p ? NEXT : forward_auth(ex, c, frame);
}

const struct plugin plugin_forward_auth = {
    .abi = PLUGIN_ABI,
    .name = "forward-auth",
    .version = 0.1,
    .priority = 2002,
    .guard = true,
    .doc = "Asks another service, over HTTP, whether a request may pass. An answer below 300 lets "
           "it pass; any other is the client's answer.",
    .conf = &conf_fields,
    .frame_size = sizeof(struct forward_auth_frame),
    .compile = forward_auth_compile,
    .rewrite = forward_auth_rewrite,
    .access = forward_auth_access,
};
