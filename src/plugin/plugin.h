/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin contract: all that a plugin sees of the gateway. A plugin is one file with one const
 * record (struct plugin) and a line in plugins.def; the core implements what is declared here.
 *
 * Memory: a plugin has three places. `conf` is made once for each place where the plugin is
 * configured and is const afterwards, shared by all threads. `frame` is the plugin's own piece of
 * each exchange, zeroed, one for all phases. ex_alloc gives more of the exchange's memory. All
 * strings got from the exchange live until the exchange ends, unless said otherwise.
 *
 * Waiting: no function here blocks. Functions named *_start begin an operation; the phase then
 * returns WAIT and is called again when all its operations have ended. An operation never completes
 * inside its own start, and may be cancelled with its exchange at any time without telling the
 * plugin. */
#ifndef PLUGIN_PLUGIN_H
#define PLUGIN_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/field.h"
#include "base/log.h"
#include "base/str.h"

#define PLUGIN_ABI 1

struct build;
struct consumer;
struct exchange;
struct expr;
struct fetch_target;
struct plugin_env;
struct text;

enum verdict {
    NEXT,  /* go on with the next plugin                                            */
    REPLY, /* a reply is set (reply_*): skip to the response phases                 */
    WAIT,  /* operations are pending: call me again when they have ended            */
    DROP,  /* nothing more can be sent: reset the connection, then log              */
    FAULT, /* our own failure: the core logs it and answers 500                     */
};

typedef enum verdict phase_fn(struct exchange *ex, const void *conf, void *frame);

/* A piece of the response body on its way to the client. The filter may point data elsewhere
 * (memory of the exchange, or anything that lives until the filter's next call), or empty it to
 * hold it back. The last piece has last set, and may itself be empty. */
struct chunk {
    struct str data;
    bool last;
};
typedef enum verdict body_filter_fn(struct exchange *ex, const void *conf, void *frame,
                                    struct chunk *chunk);
typedef void log_fn(struct exchange *ex, const void *conf, void *frame);

struct plugin {
    unsigned abi;     /* PLUGIN_ABI */
    const char *name; /* config key == file name (with _) == doc page == test case */
    double version;
    int priority;    /* larger runs earlier; unique over all plugins; APISIX's number */
    bool auth;       /* identifies a consumer: its consumer table is looked up by consumer_key */
    bool guard;      /* decides who or what may pass, how much, or what the upstream may trust:
                        where it is stored and cannot run, its route is closed (503) instead of
                        served without it. What is auth guards too and need not say so. */
    const char *doc; /* a few sentences for the doc page */

    const struct fields *conf; /* as configured on route, service, … */
    const struct fields
        *consumer; /* as configured on a consumer or credential; NULL: same as conf */
    const struct fields *metadata; /* plugin_metadata; NULL: none */
    const char
        *consumer_key; /* auth: the string field of `consumer` that is unique over consumers */
    size_t frame_size;

    /* Cross-field checks and what can be computed once (templates, patterns). Runs on the builder's
     * thread, for each place configured; false after build_error. NULL: nothing to do. */
    bool (*compile)(void *conf, struct build *b);
    bool (*compile_consumer)(void *conf, struct build *b);
    /* Frees what compile made outside of the build's arena. NULL: nothing. Also called after a
     * compile that returned false, with what it had made by then: conf is zeroed where the table
     * stores nothing. What compile_consumer makes must be in the arena. */
    void (*release)(void *conf);
    /* Once in the process, before and after all threads; `attr` is plugin_attr.NAME of config.yaml
     * or NULL. start returns false with a message in err. */
    bool (*start)(const json_t *attr, const struct plugin_env *env, struct str *err);
    void (*stop)(void);

    phase_fn *rewrite;           /* request head is there; authentication and rewriting */
    phase_fn *access;            /* consumer is known; may the request pass */
    phase_fn *before_proxy;      /* upstream node picked; runs again for each retry */
    phase_fn *header_filter;     /* response head, ours or the upstream's, before it is sent */
    body_filter_fn *body_filter; /* must not return WAIT or REPLY */
    log_fn *log; /* after the last byte, once for each exchange, whatever happened */
};

/* What a plugin's start is told of the process. */
struct plugin_env {
    struct str data_dir;  /* where files that survive a restart go */
    unsigned threads;     /* number of worker threads */
    const json_t *apisix; /* the `apisix` section of config.yaml, or NULL */
    const json_t *eclusa; /* the `eclusa` section, or NULL */
};

/* ---- While compiling (builder's thread) -------------------------------------------------------
 */

/* Memory that lives as long as the compiled configuration. */
struct arena *build_arena(struct build *b);
/* Reports why the configuration is refused (one sentence, no newline); returns false. */
bool build_error(struct build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts words in front of the message that another build_ function has left; returns false. */
bool build_error_in(struct build *b, const char *where);
/* The key of the resource that holds this configuration, as APISIX writes it ("/routes/1"). */
struct str build_resource(struct build *b);
/* Hash of this configuration's JSON: equal before and after a restart when nothing was changed. */
uint64_t build_conf_hash(const struct build *b);
/* A text with variables: "$uri-x", "${http_host}", "${arg_a ?? b}". Never NULL: unknown variables
 * are empty, as in APISIX. The text lives in the build's arena. */
struct text *build_text(struct build *b, struct str source);
/* One variable by name without `$`. */
struct text *build_var(struct build *b, struct str name);
/* An expression in APISIX's form ([["arg_x","==","1"], …], lua-resty-expr); NULL after build_error.
 */
struct expr *build_expr(struct build *b, const json_t *source);
/* Where a plugin asks over HTTP (fetch_start), and how. Zeroed: the defaults. */
struct fetch_options {
    int64_t timeout_ms;   /* for the whole: name, connection, request, response; 0: 60 s */
    size_t body_max;      /* a longer response fails; 0: 1 MiB */
    unsigned keepalive;   /* idle connections kept by each thread; 0: none */
    int64_t keepalive_ms; /* for so long; 0: 60 s */
    bool verify_off;      /* https: any certificate will do */
};
/* url: "http://host:port/path?query", https too, IPv6 in brackets; the rest may be missing. NULL
 * after build_error. */
const struct fetch_target *build_fetch_target(struct build *b, struct str url,
                                              const struct fetch_options *options);

/* ---- Memory, time, log ------------------------------------------------------------------------
 */

/* Memory of the exchange; lives until it ends. */
struct arena *ex_arena(struct exchange *ex);
/* Wall clock and monotonic clock in milliseconds, as of this loop turn. */
int64_t ex_wall_ms(const struct exchange *ex);
int64_t ex_now_ms(const struct exchange *ex);
/* fn(arg) is called when the exchange ends, last registered first: for references and the like. */
void ex_on_end(struct exchange *ex, void (*fn)(void *arg), void *arg);
/* A line in the error log with the exchange's identity. Never pass secrets. */
void ex_log(struct exchange *ex, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Request, as the client sent it and as plugins changed it -----------------------------------
 */

struct str request_method(const struct exchange *ex);
/* Normalised path: decoded, dot segments and double slashes resolved (nginx's $uri). */
struct str request_path(const struct exchange *ex);
/* Query without `?`; absent when there is none. */
struct str request_args(const struct exchange *ex);
/* Target as received, path and query (nginx's $request_uri; APISIX's $real_request_uri). */
struct str request_target(const struct exchange *ex);
/* Host without port, lower case ($host). */
struct str request_host(const struct exchange *ex);
/* "http" or "https". */
struct str request_scheme(const struct exchange *ex);
/* Client's address as text, without port. */
struct str request_client(const struct exchange *ex);
/* Another address is the client's from here on: for later plugins, variables and X-Forwarded-For.
 * "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80"; false: it is none. */
bool request_client_set(struct exchange *ex, struct str address);
/* First header of that name, in any case; absent: p == NULL. */
struct str request_header(const struct exchange *ex, struct str name);
/* i-th header, with an empty name where one was removed; false past the end. */
bool request_header_at(const struct exchange *ex, size_t i, struct str *name, struct str *value);
/* All headers of that name, as one list with commas (RFC 9110 §5.3): what the upstream may make of
 * them. */
struct str request_header_all(struct exchange *ex, struct str name);
/* Replaces all headers of that name, adds one, removes all. Copies nothing: name and value must
 * live as long as the exchange (conf, ex_arena, literals). Seen by later plugins and by the
 * upstream. */
void request_header_set(struct exchange *ex, struct str name, struct str value);
void request_header_add(struct exchange *ex, struct str name, struct str value);
void request_header_remove(struct exchange *ex, struct str name);
/* First query argument of that name, percent-decoded; absent: p == NULL. */
struct str request_arg(struct exchange *ex, struct str name);
/* How many query arguments have that name. */
unsigned request_arg_count(struct exchange *ex, struct str name);
void request_arg_remove(struct exchange *ex, struct str name);
/* First cookie of that name. */
struct str request_cookie(struct exchange *ex, struct str name);

/* The request that goes upstream. The uri is path and query, already encoded; it must begin with
 * '/'. */
void upstream_uri_set(struct exchange *ex, struct str uri);
struct str upstream_uri(const struct exchange *ex);
void upstream_method_set(struct exchange *ex, struct str method);
void upstream_host_set(struct exchange *ex, struct str host);
/* "http" or "https"; false for another. */
bool upstream_scheme_set(struct exchange *ex, struct str scheme);

/* Collects the request's body, up to max bytes; the phase returns WAIT. Afterwards request_body
 * gives it whole. A longer body is answered with 413 by the core. */
void request_body_start(struct exchange *ex, size_t max);
/* The body collected so far; whole after request_body_start. */
struct str request_body(const struct exchange *ex);
/* Replaces the body that goes upstream (Content-Length follows). Lives as long as the exchange. */
void request_body_set(struct exchange *ex, struct str body);

/* ---- Variables --------------------------------------------------------------------------------
 */

/* The text with its variables filled in. */
struct str text_value(struct exchange *ex, const struct text *t);
/* The same, but each variable's value goes through `escape` first, whose result lives as long as
 * the exchange; the text around the variables is taken as it is. */
typedef struct str escape_fn(struct arena *a, struct str value);
struct str text_value_escaped(struct exchange *ex, const struct text *t, escape_fn *escape);
/* True when every variable in the text was absent or empty (limit-count falls back to the client).
 */
bool text_is_empty(struct exchange *ex, const struct text *t);
/* The text's source is constant: no variables. */
bool text_is_constant(const struct text *t);
bool expr_matches(struct exchange *ex, const struct expr *e);
/* A variable by name at run time, "$1" … "$9" not included; absent: p == NULL. */
struct str var_value(struct exchange *ex, struct str name);
/* Gives a variable of plugins ("apisix_request_id") its value for this exchange: texts,
 * expressions, later plugins and the access log see it. name and value live as long as the
 * exchange. */
void var_set(struct exchange *ex, struct str name, struct str value);
/* The same for a value that is made when somebody reads it, once: make(ex, arg) returns what lives
 * as long as the exchange, as arg must. */
typedef struct str var_make_fn(struct exchange *ex, const void *arg);
void var_set_made(struct exchange *ex, struct str name, var_make_fn *make, const void *arg);

/* ---- Response ---------------------------------------------------------------------------------
 */

/* Sets our own reply and returns REPLY. The body is not copied. content_type absent: text/plain; an
 * absent body gives the standard page of that status. */
enum verdict reply_text(struct exchange *ex, int status, struct str content_type, struct str body);
/* As reply_text, for a body that others share: it is not copied for a slow client, and release(arg)
 * is called when neither the exchange nor its client's connection needs it, on the same thread. */
enum verdict reply_shared(struct exchange *ex, int status, struct str body,
                          void (*release)(void *arg), void *arg);
/* {"KEY": "message"} and a newline, Content-Type application/json; APISIX's usual refusal. */
enum verdict reply_message(struct exchange *ex, int status, const char *key, struct str message);
/* The status's standard page. */
enum verdict reply_status(struct exchange *ex, int status);

int response_status(const struct exchange *ex);
void response_status_set(struct exchange *ex, int status);
/* True when the response was made here, false when it comes from the upstream. */
bool response_is_ours(const struct exchange *ex);
/* Headers of the response; before there is one, they are kept for whatever response will come. The
 * same lifetimes as for the request's. */
struct str response_header(const struct exchange *ex, struct str name);
void response_header_set(struct exchange *ex, struct str name, struct str value);
void response_header_add(struct exchange *ex, struct str name, struct str value);
void response_header_remove(struct exchange *ex, struct str name);
/* i-th header of the response, with an empty name where one was removed; false past the end. */
bool response_header_at(const struct exchange *ex, size_t i, struct str *name, struct str *value);
/* How many of these, counted from the first, are the upstream's own; those behind them were set by
 * plugins or the core. 0 when the response is ours. */
size_t response_headers_received(const struct exchange *ex);
/* The upstream tells where its body ends, by a length or a last chunk; false: by closing the
 * connection, which a cut looks like too. */
bool response_end_is_told(const struct exchange *ex);
/* In header_filter: the body's length will change (Content-Length goes, framing follows). */
void response_body_changes(struct exchange *ex);
/* In header_filter: holds the body, up to max bytes, and gives it to body_filter in one last piece.
 * A longer one is passed on unheld, in pieces. */
void response_body_hold(struct exchange *ex, size_t max);

/* ---- Metadata ---------------------------------------------------------------------------------
 */

/* What is stored under /plugin_metadata of that plugin, parsed by its `metadata` table with its
 * defaults; NULL: nothing is stored, or the plugin has no such table. Valid until the exchange
 * ends, and the same throughout it. A FIELD_JSON member must not be used: its JSON is gone. Costs a
 * look-up by name: ask when it is needed, not beforehand. */
const void *plugin_metadata(const struct exchange *ex, const char *plugin);

/* ---- Consumers --------------------------------------------------------------------------------
 */

/* The consumer whose configuration of this auth plugin has this key, in constant time; NULL: none.
 * *conf gets its configuration (of the plugin's `consumer` table). Valid until the exchange ends.
 */
const struct consumer *consumer_find(struct exchange *ex, const char *plugin, struct str key,
                                     const void **conf);
/* By username; NULL: there is none. */
const struct consumer *consumer_by_name(struct exchange *ex, struct str username);
/* For anonymous_consumer of an auth plugin: NULL after a line in the error log. */
const struct consumer *consumer_anonymous(struct exchange *ex, const char *plugin,
                                          struct str username);
struct str consumer_name(const struct consumer *c);
/* Makes c the exchange's consumer: its plugins join what follows, and the identity headers are set.
 */
void consumer_attach(struct exchange *ex, const struct consumer *c);
/* The exchange's consumer, or NULL. */
const struct consumer *ex_consumer(const struct exchange *ex);

/* ---- Operations (return WAIT afterwards) --------------------------------------------------------
 */

void sleep_start(struct exchange *ex, unsigned ms);
/* Runs work(arg) on the thread pool: files, heavy arithmetic. work must not touch the exchange.
 * When the exchange ends first, cancelled(arg) is called instead of the phase, after work has
 * ended, to free arg; it may be NULL. */
void job_start(struct exchange *ex, void (*work)(void *arg), void *arg,
               void (*cancelled)(void *arg));
/* An HTTP request of the plugin's own. The struct is copied; what it points to must live until the
 * fetch has ended (conf, ex_arena, literals). */
struct fetch_request {
    struct str method;                /* absent: GET */
    struct str uri;                   /* path and query, already encoded; absent: the URL's */
    const struct field_pair *headers; /* Host in place of the URL's; framing is left out */
    size_t nheaders;                  /* at most 200 */
    struct str body;                  /* absent: none */
};
enum fetch_end {
    FETCH_ANSWERED, /* status, headers and body are there, whatever the status */
    FETCH_FAILED,   /* no name, no connection, no valid response or one that is too long */
    FETCH_LATE,     /* the time was over */
};
/* What came of it. Lives as long as the exchange. */
struct fetch {
    enum fetch_end end;
    int status;
    struct str body;
    struct str error; /* unless it was answered: what happened, for the log */
};
/* The result may be looked at when the phase is called again. Another address of the host is tried
 * when one refuses; a request that is not idempotent is sent only once. Redirects are not followed.
 */
const struct fetch *fetch_start(struct exchange *ex, const struct fetch_target *to,
                                const struct fetch_request *request);
/* First header of the response with that name, in any case; absent: p == NULL. */
struct str fetch_header(const struct fetch *f, struct str name);
/* i-th header; false past the end. */
bool fetch_header_at(const struct fetch *f, size_t i, struct str *name, struct str *value);
/* Like job_start without waiting, for log phases: work(arg) also frees arg. */
void job_post(struct exchange *ex, void (*work)(void *arg), void *arg);

#endif
