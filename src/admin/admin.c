/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request: the door (addresses, keys), the table of collections and methods, the
 * body; then its handler on the keeper's thread. */
#include "admin/admin_int.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>

#include "admin/ui.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"

#define ROOT    "/apisix/admin"
#define CONFIGS "configs" /* only where the store is given whole */

static const char *const verb_names[VERB_COUNT] = {"GET", "PUT", "POST", "DELETE", "PATCH"};

static const struct {
    struct str collection;
    handler_fn *const *handlers; /* by verb */
} catalogs[] = {
    {{"schema", 6}, schema_handlers},
    {{"plugins", 7}, plugin_handlers},
};

/* Paths that are not collection/id, each for one method. They win over the tables. */
static const struct {
    enum verb verb;
    struct str path;
    bool prefix; /* the rest of the path is the id */
    handler_fn *run;
    bool raw; /* the handler reads the body itself */
} paths[] = {
    {VERB_GET, {"plugins/list", 12}, false, catalog_plugin_list, false},
    {VERB_POST, {"schema/validate/", 16}, true, catalog_validate, false},
    {VERB_POST, {"configs/validate", 16}, false, configs_validate, true},
    {VERB_GET, {CONFIGS, 7}, false, configs_get, true},
    {VERB_PUT, {CONFIGS, 7}, false, configs_put, true},
    /* Ours: no collection of APISIX's will ever be called so. */
    {VERB_GET, {"eclusa/history", 14}, false, history_list, false},
    {VERB_GET, {"eclusa/history/", 15}, true, history_get, false},
    {VERB_POST, {"eclusa/rollback", 15}, false, rollback_post, false},
    {VERB_POST, {"eclusa/transactions", 19}, false, transaction_post, false},
    {VERB_GET, {"plugins/reload", 14}, false, catalog_reload, false},
    {VERB_PUT, {"plugins/reload", 14}, false, catalog_reload, false},
    {VERB_POST, {"plugins/reload", 14}, false, catalog_reload, false},
    {VERB_DELETE, {"plugins/reload", 14}, false, catalog_reload, false},
    {VERB_PATCH, {"plugins/reload", 14}, false, catalog_reload, false},
};

static const struct admin_header cors_headers[] = {
    {{"Access-Control-Allow-Origin", 27}, {"*", 1}},
    {{"Access-Control-Allow-Credentials", 32}, {"true", 4}},
    {{"Access-Control-Expose-Headers", 29}, {"*", 1}},
    {{"Access-Control-Max-Age", 22}, {"3600", 4}},
};

static const struct admin_header options_headers[] = {
    {{"Access-Control-Allow-Origin", 27}, {"*", 1}},
    {{"Access-Control-Allow-Methods", 28}, {"POST, GET, PUT, OPTIONS, DELETE, PATCH", 38}},
    {{"Access-Control-Max-Age", 22}, {"3600", 4}},
    {{"Access-Control-Allow-Headers", 28}, {"*", 1}},
    {{"Access-Control-Allow-Credentials", 32}, {"true", 4}},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- The body ----------------------------------------------------------------------------------
 */

/* lua-cjson's words for jansson's faults, so that what clients match on stays. */
static const struct {
    struct str ours;
    const char *expected;
} json_words[] = {
    {{"string or '}' expected", 22}, "object key string"},
    {{"string expected", 15}, "object key string"},
    {{"':' expected", 12}, "colon"},
    {{"'}' expected", 12}, "comma or object end"},
    {{"']' expected", 12}, "comma or array end"},
    {{"end of file expected", 20}, "the end"},
};

/* Its names of tokens, by their first character. */
static const struct {
    const char *first, *name;
} json_tokens[] = {
    {"{", "T_OBJ_BEGIN"}, {"}", "T_OBJ_END"}, {"[", "T_ARR_BEGIN"}, {"]", "T_ARR_END"},
    {",", "T_COMMA"},     {":", "T_COLON"},   {"\"", "T_STRING"},   {"-0123456789", "T_INTEGER"},
};

/* The token that jansson stopped at, as its message quotes it; absent: it does not. */
static struct str json_near(const json_error_t *error)
{
    struct str text = str_of(error->text);
    ptrdiff_t at = str_search(text, STR(" near '"));

    return at < 0 || text.p[text.n - 1] != '\''
               ? STR_NONE
               : str_make(text.p + at + 7, text.n - (size_t)at - 8);
}

static const char *json_token(const json_error_t *error)
{
    struct str near = json_near(error);

    if (str_eq(near, STR("true")) || str_eq(near, STR("false")))
        return "T_BOOLEAN";
    if (str_eq(near, STR("null")))
        return "T_NULL";
    for (size_t i = 0; i < COUNT(json_tokens); i++)
        if (near.n > 0 && strchr(json_tokens[i].first, near.p[0]))
            return json_tokens[i].name;
    return "invalid token";
}

struct str json_fault(struct call *c, const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    const char *expected = "value";
    bool end = code == json_error_premature_end_of_input;

    for (size_t i = 0; i < COUNT(json_words); i++) {
        if (str_starts(str_of(error->text), json_words[i].ours))
            expected = json_words[i].expected;
    }
    if (!end && code != json_error_invalid_syntax && code != json_error_end_of_input_expected)
        return arena_printf(c->a, "%s at character %d", error->text, error->position);
    int at = end ? error->position + 1 : error->position - (int)json_near(error).n + 1;
    return arena_printf(c->a, "Expected %s but found %s at character %d", expected,
                        end ? "T_END" : json_token(error), at > 0 ? at : 1);
}

static void reply_bad_json(struct call *c, const json_error_t *error)
{
    json_t *said = json_any(arena_join(c->a, STR("invalid request body: "), json_fault(c, error)));

    reply_json(c, 400, json_pack("{soso}", "error_msg", said, "req_body", json_any(c->body)));
}

static bool body_parse(struct call *c)
{
    json_error_t error;

    if (c->body_size > c->body_max) {
        reply_error(c, 400,
                    "invalid request body: request size %zu is greater than the maximum size %zu "
                    "allowed",
                    c->body_size, c->body_max);
        return false;
    }
    if (c->body.n == 0 || c->raw)
        return true;
    c->json = json_loadb(c->body.p, c->body.n, JSON_DECODE_ANY, &error);
    if (!c->json)
        reply_bad_json(c, &error);
    return c->json != NULL;
}

/* ---- The tables --------------------------------------------------------------------------------
 */

/* consumers/NAME/credentials: the kind of documents that belong to another; KIND_COUNT: none is. */
static enum kind owned_kind(struct str collection, struct str below)
{
    enum kind k = 0;

    while (k < KIND_COUNT &&
           (kinds[k].owner == KIND_COUNT || !str_eq(collection, kinds[kinds[k].owner].collection) ||
            !str_eq(below, kinds[k].collection)))
        k++;
    return k;
}

/* collection[/id[/sub]] of the path below ROOT; schema/plugins/NAME is plugins/NAME, and
 * consumers/NAME/credentials[/id] and secrets/MANAGER[/id] are collections of their own. */
static void path_cut(struct call *c)
{
    struct str rest = str_from(c->path, sizeof(ROOT)), sub = STR_NONE, below;

    if (str_starts(rest, STR("schema/plugins/")))
        rest = str_from(rest, sizeof("schema/") - 1);
    str_cut(rest, '/', &c->collection, &rest);
    str_cut(rest, '/', &c->id, &sub);
    str_cut(sub, '/', &below, &rest);
    if (c->id.n > 0 && owned_kind(c->collection, below) != KIND_COUNT) {
        c->parent = c->id;
        c->collection = below;
        str_cut(rest, '/', &c->id, &sub);
    }
    if (str_eq(c->collection, kinds[KIND_SECRET].collection) && c->id.n > 0) {
        c->parent = c->id;
        str_cut(sub, '/', &c->id, &sub);
    }
    if (c->id.n == 0)
        c->id = STR_NONE;
    c->sub = sub.n > 0 ? sub : STR_NONE;
}

static handler_fn *const *handlers_find(struct call *c)
{
    for (size_t i = 0; i < COUNT(catalogs); i++) {
        if (str_eq(c->collection, catalogs[i].collection))
            return catalogs[i].handlers;
    }
    c->kind = kind_by_collection(c->collection);
    /* Credentials are found below their consumer alone; decorations say what is missing. */
    return c->kind == KIND_COUNT || (c->kind == KIND_CREDENTIAL && !c->parent.p)
               ? NULL
               : document_handlers;
}

static bool kind_has_method(enum kind kind, struct str method)
{
    struct str rest = str_of(kinds[kind].methods), name;

    while (rest.n > 0) {
        str_cut(rest, ' ', &name, &rest);
        if (str_eq(name, method))
            return true;
    }
    return false;
}

handler_fn *call_handler(struct call *c)
{
    struct str below = str_from(c->path, sizeof(ROOT));

    for (size_t i = 0; i < COUNT(paths); i++) {
        if (paths[i].verb != c->verb ||
            !(paths[i].prefix ? str_starts(below, paths[i].path) : str_eq(below, paths[i].path)))
            continue;
        if (str_eq(below, STR(CONFIGS)) && !c->admin->whole)
            continue;
        c->id = str_from(below, paths[i].path.n);
        c->raw = paths[i].raw;
        return paths[i].run;
    }
    path_cut(c);
    if (str_eq(c->collection, kinds[KIND_STREAM_ROUTE].collection) && !c->admin->stream) {
        reply_error(c, 400, "stream mode is disabled, can not add stream routes");
        return NULL;
    }
    handler_fn *const *handlers = handlers_find(c);
    if (!handlers) {
        reply_error(c, 404, "Unsupported resource type: %.*s", STR_ARG(c->collection));
        return NULL;
    }
    if (handlers == document_handlers && c->admin->whole && c->verb != VERB_GET) {
        reply_error(c, 400, "the configuration is written as a whole, by PUT " ROOT "/" CONFIGS);
        return NULL;
    }
    if (handlers == document_handlers && !kind_has_method(c->kind, c->method)) {
        reply_error(c, 405, "not supported `%.*s` method for %.*s", STR_ARG(c->method),
                    STR_ARG(kinds[c->kind].noun));
        return NULL;
    }
    /* A path below a document: PATCH alone goes there. */
    if (!handlers[c->verb] || (c->sub.p && c->verb != VERB_PATCH)) {
        reply_error(c, 404, "not found");
        return NULL;
    }
    return handlers[c->verb];
}

/* Seconds, as etcd's leases have them at most. */
#define TTL_MAX 9e9

static bool ttl_parse(struct call *c)
{
    struct str ttl = query_arg(c, STR("ttl"));
    double seconds;

    if (!ttl.p || c->verb == VERB_DELETE)
        return true;
    if (!query_number(ttl, &seconds))
        reply_error(c, 400, "invalid argument ttl: should be a number");
    else if (!(seconds > 0 && seconds <= TTL_MAX))
        reply_error(c, 400, "invalid argument ttl: should be greater than 0 and at most %.0f",
                    TTL_MAX);
    else
        c->ttl_s = (int64_t)ceil(seconds);
    return c->ttl_s > 0;
}

static bool wait_parse(struct call *c)
{
    struct str wait = query_arg(c, STR("wait"));

    if (wait.p && !str_eq(wait, STR("live"))) {
        reply_error(c, 400, "invalid argument wait: should be live");
        return false;
    }
    c->wait_live |= wait.p != NULL;
    return true;
}

static bool dry_parse(struct call *c)
{
    struct str dry = query_arg(c, STR("dry_run"));

    if (dry.p && !str_eq(dry, STR("true")) && !str_eq(dry, STR("false"))) {
        reply_error(c, 400, "invalid argument dry_run: should be true or false");
        return false;
    }
    c->dry |= str_eq(dry, STR("true"));
    return true;
}

bool call_arguments(struct call *c)
{
    return c->verb == VERB_GET || (ttl_parse(c) && wait_parse(c) && dry_parse(c));
}

static void call_run(struct call *c)
{
    handler_fn *run = call_handler(c);

    if (run && body_parse(c) && call_arguments(c))
        run(c);
    changes_free(c->changes, c->keeper);
    c->changes = NULL;
    reply_header(c, STR("X-API-VERSION"), c->admin->v3 ? STR("v3") : STR("v2"));
    if (c->revision)
        reply_header(c, STR("X-Eclusa-Revision"), arena_printf(c->a, "%" PRId64, c->revision));
    ASSERT(c->reply->status != 0);
    if (c->verb != VERB_GET)
        log_info("admin: %.*s %.*s by %.*s: %d", STR_ARG(c->method), STR_ARG(c->path),
                 STR_ARG(c->who), c->reply->status);
}

/* ---- The door ----------------------------------------------------------------------------------
 */

static void reply_refused(struct call *c, const char *why)
{
    log_warn("admin: failed to check token: %s", why);
    reply_json(c, 401,
               json_pack("{ssss}", "error_msg", "failed to check token", "description", why));
}

static void headers_add(struct call *c, const struct admin_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        reply_header(c, headers[i].name, headers[i].value);
}

/* HEAD is GET for what has it; the server leaves the body out. */
static bool is_head(const struct call *c)
{
    return c->admin->whole && str_eq(c->method, STR("HEAD")) &&
           str_eq(c->path, STR(ROOT "/" CONFIGS));
}

static bool verb_parse(struct str method, enum verb *verb)
{
    for (int i = 0; i < VERB_COUNT; i++) {
        if (str_eq(method, str_of(verb_names[i]))) {
            *verb = (enum verb)i;
            return true;
        }
    }
    return false;
}

bool call_address(struct call *c, struct str method, struct str target)
{
    struct str path;

    c->method = method;
    str_cut(target, '?', &path, &c->query);
    if (str_starts(path, STR(ROOT "/")))
        path = str_from(path, sizeof(ROOT));
    else if (str_starts(path, STR("/")))
        path = str_from(path, 1);
    c->path = arena_join(c->a, STR(ROOT "/"), path);
    return verb_parse(method, &c->verb);
}

static struct str header_of(const struct admin_request *r, struct str name)
{
    return r->header ? r->header(r->header_arg, name) : STR_NONE;
}

/* What can be said without the keeper. False: answered. */
static bool door_pass(struct call *c, const struct admin_request *r)
{
    const struct access *access = c->admin->access;

    if (!access_allows(access, r->client)) {
        log_warn("admin: access forbidden by allow_admin");
        reply_status_page(c, 403);
        return false;
    }
    if (!str_starts(c->path, STR(ROOT))) {
        reply_status_page(c, 404);
        return false;
    }
    if (c->admin->cors && str_eq(c->method, STR("OPTIONS"))) {
        headers_add(c, options_headers, COUNT(options_headers));
        reply_empty(c, 200);
        c->reply->content_type = STR("text/plain");
        return false;
    }
    if (c->admin->cors)
        headers_add(c, cors_headers, COUNT(cors_headers));
    if (str_eq(c->path, STR(ROOT)) && str_eq(c->method, STR("HEAD"))) {
        reply_empty(c, 200);
        return false;
    }
    if (!str_starts(c->path, STR(ROOT "/")) || !(is_head(c) || verb_parse(c->method, &c->verb))) {
        reply_status_page(c, 404);
        return false;
    }
    const char *why = access_check(access, c, header_of(r, STR("X-API-KEY")),
                                   header_of(r, STR("Cookie")), &c->who);
    if (why)
        reply_refused(c, why);
    return !why;
}

/* ---- In and out --------------------------------------------------------------------------------
 */

void call_end(struct call *c)
{
    admin_done_fn *done = c->done;
    void *arg = c->arg;
    struct admin_reply *reply = c->reply;

    json_decref(c->json);
    free(c);
    done(arg, reply);
}

/* How long the slowest worker may take to serve a change that somebody waits for. */
enum { LIVE_MS = 5000 };

static void on_live(void *arg, bool live)
{
    struct call *c = arg;

    if (!live) {
        c->reply->status = 0;
        reply_error(c, 504,
                    "the change is stored at revision %" PRId64
                    ", but not every worker serves it after %" PRId64 " ms",
                    c->revision, c->admin->live_ms);
    }
    call_end(c);
}

static void call_task(void *arg, struct keeper *keeper)
{
    struct call *c = arg;

    c->keeper = keeper;
    call_run(c);
    if (c->revision && c->wait_live)
        keeper_when_live(keeper, c->admin->live_ms, on_live, c);
    else
        call_end(c);
}

/* "127.0.0.1" or "::1"; absent: a local peer. */
static struct str address_text(struct arena *a, const struct sockaddr *client)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (!client)
        return STR_NONE;
    if (client->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)client)->sin_addr, text,
                  sizeof(text));
    else if (client->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr, text,
                  sizeof(text));
    return text[0] ? arena_str(a, str_of(text)) : STR_NONE;
}

static struct str header_copy(struct arena *a, const struct admin_request *r, struct str name)
{
    struct str value = header_of(r, name);

    return value.p ? arena_str(a, str_trim(value)) : STR_NONE;
}

struct call *call_new(struct admin *admin, const struct admin_request *r, admin_done_fn *done,
                      void *arg)
{
    struct call *c = mem_zero(sizeof(*c));

    c->reply = mem_zero(sizeof(*c->reply));
    c->a = &c->reply->arena;
    arena_init(c->a, NULL);
    c->admin = admin;
    c->done = done;
    c->arg = arg;
    c->method = arena_str(c->a, r->method);
    c->path = arena_str(c->a, r->path);
    c->query = arena_str(c->a, r->query);
    c->content_type = arena_str(c->a, header_of(r, STR("Content-Type")));
    c->accept = arena_str(c->a, header_of(r, STR("Accept")));
    struct str digest = header_of(r, STR("X-Digest"));
    c->digest = digest.p ? arena_str(c->a, digest) : STR_NONE;
    c->body_max = ADMIN_BODY_MAX;
    c->kind = KIND_COUNT;
    c->if_revision = -1;
    c->if_match = header_copy(c->a, r, STR("If-Match"));
    c->if_none_match = header_copy(c->a, r, STR("If-None-Match"));
    c->wait_live = str_eq(header_of(r, STR("X-Eclusa-Wait")), STR("live"));
    c->peer = address_text(c->a, r->client);
    c->body_size = r->body_size > r->body.n ? r->body_size : r->body.n;
    return c;
}

#define TRANSACTIONS "eclusa/transactions"
enum { TRANSACTION_BODY_MAX = 16 << 20 };

/* Bytes of a body to that path. */
static size_t path_body_max(const struct admin *admin, const struct admin_request *r)
{
    if (admin->whole && str_eq(r->method, STR("PUT")) && str_eq(r->path, STR(ROOT "/" CONFIGS)))
        return CONFIGS_BODY_MAX;
    if (str_eq(r->method, STR("POST")) && str_eq(r->path, STR(ROOT "/" TRANSACTIONS)))
        return TRANSACTION_BODY_MAX;
    return ADMIN_BODY_MAX;
}

/* Who may not come in gets nothing read: else anybody could fill the memory, from many
 * connections. */
static size_t admin_body_max(struct admin *admin, const struct admin_request *r)
{
    struct call c = {.admin = admin, .method = r->method, .path = r->path, .query = r->query};
    struct arena a;

    if (!access_allows(admin->access, r->client))
        return 0;
    arena_init(&a, NULL);
    c.a = &a;
    const char *why = access_check(admin->access, &c, header_of(r, STR("X-API-KEY")),
                                   header_of(r, STR("Cookie")), &c.who);
    arena_fini(&a);
    return why ? 0 : path_body_max(admin, r);
}

void admin_handle(struct admin *admin, const struct admin_request *r, admin_done_fn *done,
                  void *arg)
{
    if (admin->ui && ui_has(r->path) && access_allows(admin->access, r->client)) {
        ui_handle(admin->ui, r, done, arg);
        return;
    }
    struct call *c = call_new(admin, r, done, arg);

    /* Nor does the keeper's queue grow by who may not come in. */
    if (!door_pass(c, r)) {
        call_end(c);
        return;
    }
    c->body_max = path_body_max(admin, r);
    if (c->body_size <= c->body_max)
        c->body = arena_str(c->a, r->body);
    keeper_post(admin->keeper, call_task, c);
}

static void api_handle(void *owner, const struct admin_request *request, admin_done_fn *done,
                       void *arg)
{
    admin_handle(owner, request, done, arg);
}

static size_t api_body_max(void *owner, const struct admin_request *head)
{
    return admin_body_max(owner, head);
}

const struct admin_api admin_api = {.handle = api_handle, .body_max = api_body_max};

void admin_reply_free(struct admin_reply *reply)
{
    if (!reply)
        return;
    if (reply->held)
        atomic_fetch_sub(reply->held, reply->held_bytes);
    arena_fini(&reply->arena);
    free(reply);
}

static int by_priority(const void *a, const void *b)
{
    const struct plugin *const *one = a, *const *two = b;

    return ((*one)->priority < (*two)->priority) - ((*one)->priority > (*two)->priority);
}

struct admin *admin_new(const struct admin_config *config, struct keeper *keeper)
{
    struct admin *admin = mem_zero(sizeof(*admin));
    size_t n = 0;

    arena_init(&admin->arena, NULL);
    admin->keeper = keeper;
    admin->cors = config->cors;
    admin->v3 = config->v3;
    admin->stream = config->stream;
    admin->whole = config->whole;
    admin->prefix = arena_str(&admin->arena, config->prefix);
    admin->live_ms = config->live_ms ? config->live_ms : LIVE_MS;
    admin->access = access_new(config, &admin->arena);
    admin->ui = config->ui_dir.n > 0 ? ui_new(config->ui_dir, config->jobs) : NULL;
    while (config->plugins && config->plugins[n])
        n++;
    admin->plugins = arena_zero(&admin->arena, (n + 1) * sizeof(*admin->plugins));
    if (n > 0) {
        memcpy(admin->plugins, config->plugins, n * sizeof(*admin->plugins));
        qsort(admin->plugins, n, sizeof(*admin->plugins), by_priority);
    }
    return admin;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    ui_free(admin->ui);
    arena_fini(&admin->arena);
    free(admin);
}
