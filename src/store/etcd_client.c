/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and the watch, as transfers of one curl multi handle: while a call waits, the watch's bytes
 * are taken in too. */
#include "store/etcd_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/panic.h"
#include "store/curl.h"
#include "store/etcd_grpc.h"

/* An endpoint that takes longer to fail than SLOW_MS has hung. A peer that is gone without a word
 * is found out after about 20 s of silence. */
enum { CONNECT_MS = 5000, SLOW_MS = 500, ALIVE_IDLE = 5, ALIVE_EACH = 5, ALIVE_COUNT = 3 };

struct transfer {
    struct etcd_client *client;
    CURL *easy;
    struct curl_slist *headers, *route;
    char *body; /* the request's */
    struct buf in;
    size_t taken, seen; /* bytes of `in` that were given out as lines; that hold no further line */
    unsigned sent;
    bool writes, running, too_long;
    CURLcode result;
    int grpc_status; /* -1: none came */
    int64_t heard;
    char error[CURL_ERROR_SIZE];
};

struct etcd_client {
    const struct etcd_options *options;
    bool patient;
    CURLM *multi;
    struct transfer call, watch, range;
    unsigned at; /* the endpoint that answered last */
    char *token; /* its header line; NULL: not logged in */
    atomic_bool stopping;
    char message[512];
};

int64_t etcd_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct str keep_message(struct etcd_client *c, struct str text)
{
    int n = snprintf(c->message, sizeof(c->message), "%.*s", STR_ARG(text));

    return str_make(c->message,
                    (size_t)n < sizeof(c->message) ? (size_t)n : sizeof(c->message) - 1);
}

/* ---- Transfers ---------------------------------------------------------------------------------
 */

static size_t on_bytes(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    t->heard = etcd_clock_ms();
    if (buf_add(&t->in, str_make(p, size * n)))
        return size * n;
    t->too_long = true;
    return 0;
}

/* A line of the reply's head, or of the trailers behind its body, where gRPC has its status. */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    static const struct str name = STR("grpc-status:");
    struct transfer *t = arg;
    struct str line = str_make(p, size * n);
    uint64_t status;

    if (line.n > name.n && str_eq_nocase(str_head(line, name.n), name) &&
        str_to_u64(str_trim(str_from(line, name.n)), INT32_MAX, &status))
        t->grpc_status = (int)status;
    return size * n;
}

/* Right before a request goes out. curl sends anew by itself what a kept connection did not take; a
 * write must not be sent twice. */
static int on_send(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct transfer *t = arg;

    (void)peer;
    (void)own;
    (void)peer_port;
    (void)own_port;
    if (t->sent && t->writes)
        return CURL_PREREQFUNC_ABORT;
    t->sent++;
    return CURL_PREREQFUNC_OK;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    int on = 1, idle = ALIVE_IDLE, each = ALIVE_EACH, count = ALIVE_COUNT;

    (void)arg;
    (void)purpose;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each, sizeof(each));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    return CURL_SOCKOPT_OK;
}

static void transfer_tls(struct transfer *t, const struct etcd_options *o)
{
    curl.easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, o->verify ? 1L : 0L);
    curl.easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, o->verify ? 2L : 0L);
    if (o->ca.p)
        curl.easy_setopt(t->easy, CURLOPT_CAINFO, o->ca.p);
    if (o->cert.p)
        curl.easy_setopt(t->easy, CURLOPT_SSLCERT, o->cert.p);
    if (o->key.p)
        curl.easy_setopt(t->easy, CURLOPT_SSLKEY, o->key.p);
}

static void transfer_init(struct transfer *t, struct etcd_client *c)
{
    t->client = c;
    buf_init(&t->in, ETCD_REPLY_MAX);
    t->easy = curl.easy_init();
    if (!t->easy)
        PANIC("curl has no memory");
    curl.easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    /* http_proxy and the like are not meant for this. */
    curl.easy_setopt(t->easy, CURLOPT_PROXY, "");
    curl.easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl.easy_setopt(t->easy, CURLOPT_POST, 1L);
    curl.easy_setopt(t->easy, CURLOPT_BUFFERSIZE, 131072L);
    curl.easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl.easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl.easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, on_send);
    curl.easy_setopt(t->easy, CURLOPT_PREREQDATA, t);
    curl.easy_setopt(t->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl.easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl.easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    transfer_tls(t, c->options);
}

/* Replaces the host of the URL by the name that the certificate must have; transfer_start sends the
 * connection to the real one. */
static struct str named_url(struct transfer *t, struct arena *a, struct str url)
{
    struct str sni = t->client->options->sni, scheme = STR("https://");

    if (!sni.n || !str_starts(url, scheme))
        return url;
    struct str host = str_from(url, scheme.n), port = STR("");
    ptrdiff_t colon = str_rfind(host, ':');
    if (colon >= 0 && str_find(str_from(host, (size_t)colon), ']') < 0) {
        port = str_from(host, (size_t)colon);
        host = str_head(host, (size_t)colon);
    }
    t->route = curl.slist_append(NULL, arena_printf(a, "::%.*s:", STR_ARG(host)).p);
    return arena_printf(a, "https://%.*s%.*s", STR_ARG(sni), STR_ARG(port));
}

static void transfer_stop(struct transfer *t)
{
    if (t->running)
        curl.multi_remove_handle(t->client->multi, t->easy);
    t->running = false;
    buf_fini(&t->in);
    t->taken = t->seen = 0;
    free(t->body);
    t->body = NULL;
    curl.slist_free_all(t->headers);
    curl.slist_free_all(t->route);
    t->headers = t->route = NULL;
}

/* gRPC is HTTP/2 from the first byte on, with TLS as the server agrees to; each time on a
 * connection of its own: curl would take one of HTTP/1.1, and 7.88 cannot use one of its HTTP/2
 * again. */
static void transfer_grpc(struct transfer *t, struct str url)
{
    long version = str_starts(url, STR("https:")) ? CURL_HTTP_VERSION_2TLS
                                                  : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;

    t->grpc_status = -1;
    curl.easy_setopt(t->easy, CURLOPT_HTTP_VERSION, version);
    curl.easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl.easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    curl.easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl.easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    t->headers = curl.slist_append(t->headers, "Content-Type: application/grpc");
    t->headers = curl.slist_append(t->headers, "TE: trailers");
}

/* body: malloc'd, taken over. timeout_ms 0: none. */
static void transfer_start(struct transfer *t, const char *path, char *body, size_t size,
                           bool writes, int64_t timeout_ms)
{
    struct etcd_client *c = t->client;
    const struct etcd_options *o = c->options;
    struct arena a;

    transfer_stop(t);
    arena_init(&a, NULL);
    struct str base = o->endpoints[c->at].url;
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    base = named_url(t, &a, base);
    struct str url = arena_printf(&a, "%.*s%s", STR_ARG(base), path);
    t->body = body;
    t->writes = writes;
    t->sent = 0;
    t->too_long = false;
    t->error[0] = 0;
    t->heard = etcd_clock_ms();
    t->headers = curl.slist_append(NULL, "Expect:");
    if (t == &c->range)
        transfer_grpc(t, url);
    else
        t->headers = curl.slist_append(t->headers, "Content-Type: application/json");
    if (c->token)
        t->headers = curl.slist_append(t->headers, c->token);
    int64_t connect_ms = o->timeout_ms < CONNECT_MS ? o->timeout_ms : CONNECT_MS;
    curl.easy_setopt(t->easy, CURLOPT_URL, url.p);
    curl.easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->route);
    curl.easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl.easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body);
    curl.easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    curl.easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl.easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl.multi_add_handle(t->client->multi, t->easy);
    t->running = true;
    arena_fini(&a);
}

static void json_start(struct transfer *t, const char *path, const json_t *request, bool writes,
                       int64_t timeout_ms)
{
    char *text = json_dumps(request, JSON_COMPACT);

    transfer_start(t, path, text, strlen(text), writes, timeout_ms);
}

/* Lets all transfers go on, waiting for wait_ms at most when nothing can be done at once. */
static void turn(struct etcd_client *c, int64_t wait_ms)
{
    int running, left, before = c->call.running + c->watch.running + c->range.running;
    CURLMsg *m;
    size_t had = c->watch.in.n;

    curl.multi_perform(c->multi, &running);
    while ((m = curl.multi_info_read(c->multi, &left)) != NULL) {
        struct transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->result = m->data.result;
        curl.multi_remove_handle(c->multi, t->easy);
        t->running = false;
    }
    if (wait_ms > 0 && c->call.running + c->watch.running + c->range.running == before &&
        c->watch.in.n == had && !atomic_load(&c->stopping))
        curl.multi_poll(c->multi, NULL, 0, (int)(wait_ms < INT32_MAX ? wait_ms : INT32_MAX), NULL);
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

/* One request to the current endpoint. */
static enum etcd_status call_once(struct etcd_client *c, bool writes, const char *path,
                                  const json_t *request, json_t **reply, struct str *err)
{
    struct transfer *t = &c->call;
    enum etcd_status status = ETCD_OK;

    json_start(t, path, request, writes, c->options->timeout_ms);
    while (t->running && !atomic_load(&c->stopping))
        turn(c, 1000);
    if (atomic_load(&c->stopping)) {
        *err = STR("the gateway is stopping");
        status = t->sent && writes ? ETCD_DOUBT : ETCD_STOPPED;
    } else if (t->too_long) {
        *err = STR("etcd's reply is too long");
        status = ETCD_TOO_LONG;
    } else if (t->result != CURLE_OK) {
        *err = keep_message(c, str_of(t->error[0] ? t->error : curl.easy_strerror(t->result)));
        status = t->sent ? ETCD_DOUBT : ETCD_AWAY;
    } else {
        *reply = json_loadb(buf_str(&t->in).p, t->in.n, 0, NULL);
        if (!json_is_object(*reply)) {
            json_decref(*reply);
            *err = STR("what answers is no etcd with its gRPC gateway");
            status = ETCD_REFUSED;
        }
    }
    transfer_stop(t);
    return status;
}

static void logout(struct etcd_client *c)
{
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(c->token);
    c->token = NULL;
}

static enum etcd_status login(struct etcd_client *c, struct str *err)
{
    const struct etcd_options *o = c->options;
    json_t *request = etcd_login_request(o->user, o->password), *reply;
    enum etcd_status status = call_once(c, false, "/v3/auth/authenticate", request, &reply, err);
    int code;

    json_decref(request);
    if (status != ETCD_OK)
        return status;
    const char *token = json_string_value(json_object_get(reply, "token"));
    if (token) {
        size_t n = strlen(token) + 32;
        c->token = mem_alloc(n);
        snprintf(c->token, n, "Authorization: %s", token);
    } else {
        struct str text = etcd_error_read(reply, &code);
        *err = keep_message(c, text.p ? text : STR("etcd's login gives no token"));
        status = ETCD_REFUSED;
        /* An etcd without users knows nobody, and asks nobody. */
        if (str_eq(text, STR("etcdserver: authentication is not enabled")))
            status = ETCD_OK;
    }
    json_decref(reply);
    return status;
}

/* What etcd's answer means; ETCD_AWAY: this endpoint cannot do it now. */
static enum etcd_status judge(struct etcd_client *c, bool writes, json_t **reply, int *code,
                              struct str *err)
{
    struct str text = etcd_error_read(*reply, code);

    if (!text.p)
        return ETCD_OK;
    *err = keep_message(c, text);
    json_decref(*reply);
    *reply = NULL;
    if (*code != ETCD_CODE_UNAVAILABLE)
        return ETCD_REFUSED;
    /* "request timed out", "leader changed": the write may be on its way still. */
    return writes ? ETCD_DOUBT : ETCD_AWAY;
}

/* With a login when one is wanted, and another when etcd has forgotten the first. */
static enum etcd_status call_endpoint(struct etcd_client *c, bool writes, const char *path,
                                      const json_t *request, json_t **reply, struct str *err)
{
    enum etcd_status status = ETCD_OK;

    for (int turns = 0; turns < 2; turns++) {
        int code = 0;
        if (c->options->user.n && !c->token)
            status = login(c, err);
        if (status != ETCD_OK)
            return status == ETCD_DOUBT ? ETCD_AWAY : status;
        status = call_once(c, writes, path, request, reply, err);
        if (status == ETCD_OK)
            status = judge(c, writes, reply, &code, err);
        if (status != ETCD_REFUSED || code != ETCD_CODE_UNAUTHENTICATED)
            break;
        logout(c);
        status = ETCD_OK;
    }
    return status == ETCD_OK && !*reply ? ETCD_REFUSED : status;
}

/* The current one, in a call that began then. */
static void endpoint_failed(struct etcd_client *c, int64_t began)
{
    if (etcd_clock_ms() - began > SLOW_MS)
        atomic_store(&c->options->endpoints[c->at].sick_until,
                     etcd_clock_ms() + c->options->sick_ms);
}

/* The call at one endpoint, and what its health is now. */
static enum etcd_status call_timed(struct etcd_client *c, bool writes, const char *path,
                                   const json_t *request, json_t **reply, struct str *err)
{
    struct etcd_endpoint *e = &c->options->endpoints[c->at];
    int64_t began = etcd_clock_ms();
    enum etcd_status status = call_endpoint(c, writes, path, request, reply, err);

    switch (status) {
    case ETCD_OK:
    case ETCD_REFUSED:
    case ETCD_TOO_LONG:
        atomic_store(&e->sick_until, 0);
        break;
    case ETCD_AWAY:
    case ETCD_DOUBT:
        log_info("etcd: %.*s: %.*s", STR_ARG(e->url), STR_ARG(*err));
        endpoint_failed(c, began);
        if (!writes)
            status = ETCD_AWAY;
        break;
    case ETCD_STOPPED:
        break;
    }
    return status;
}

enum etcd_status etcd_call(struct etcd_client *c, bool writes, const char *path, json_t *request,
                           json_t **reply, struct str *err)
{
    unsigned n = c->options->nendpoints, first = c->at, tried = 0;
    enum etcd_status status = ETCD_AWAY;

    *reply = NULL;
    /* First those that are well; when there are none, the patient try the others. */
    for (int round = 0; round < 2 && (round == 0 || (c->patient && tried == 0)); round++) {
        for (unsigned i = 0; i < n && status == ETCD_AWAY; i++) {
            unsigned at = (first + i) % n;
            if (round == 0 && atomic_load(&c->options->endpoints[at].sick_until) > etcd_clock_ms())
                continue;
            tried++;
            c->at = at;
            status = call_timed(c, writes, path, request, reply, err);
        }
    }
    json_decref(request);
    if (status == ETCD_AWAY)
        *err = STR("has no healthy etcd endpoint available");
    return status;
}

/* ---- Ranges over gRPC --------------------------------------------------------------------------
 */

/* What came of a request that was answered in time; ETCD_AWAY: nothing. *foreign: but there is
 * somebody who speaks no gRPC. */
static enum etcd_status grpc_result(struct transfer *t, struct arena *a, struct etcd_items *out,
                                    bool *foreign)
{
    if (t->too_long)
        return ETCD_TOO_LONG;
    *foreign = t->sent && (t->grpc_status < 0 || t->grpc_status == ETCD_GRPC_UNIMPLEMENTED);
    if (t->result != CURLE_OK || t->grpc_status != ETCD_GRPC_OK)
        return ETCD_AWAY;
    return etcd_grpc_read(arena_str(a, buf_str(&t->in)), a, out) ? ETCD_OK : ETCD_AWAY;
}

/* At the current endpoint; ETCD_AWAY: the JSON gateway is to be asked, which says what is wrong. */
static enum etcd_status range_grpc(struct etcd_client *c, const struct etcd_range *range,
                                   struct arena *a, struct etcd_items *out, bool *foreign)
{
    struct etcd_endpoint *e = &c->options->endpoints[c->at];
    struct transfer *t = &c->range;
    int64_t began = etcd_clock_ms();
    enum etcd_status status;
    struct str err;

    *foreign = false;
    if (range->limit > 0 && range->limit <= ETCD_RANGE_SMALL)
        return ETCD_AWAY;
    if (atomic_load(&e->no_grpc) || atomic_load(&e->sick_until) > began)
        return ETCD_AWAY;
    if (c->options->user.n && !c->token && login(c, &err) != ETCD_OK)
        return ETCD_AWAY;
    struct str request = etcd_grpc_request(a, range);
    char *body = mem_alloc(request.n);
    memcpy(body, request.p, request.n);
    transfer_start(t, ETCD_GRPC_RANGE, body, request.n, false, c->options->timeout_ms);
    while (t->running && !atomic_load(&c->stopping))
        turn(c, 1000);
    status = atomic_load(&c->stopping) ? ETCD_STOPPED : grpc_result(t, a, out, foreign);
    if (status == ETCD_AWAY && t->result != CURLE_OK)
        endpoint_failed(c, began);
    transfer_stop(t);
    return status;
}

enum etcd_status etcd_range_call(struct etcd_client *c, const struct etcd_range *range,
                                 struct arena *a, struct etcd_items *out, struct str *err)
{
    struct etcd_endpoint *asked = &c->options->endpoints[c->at];
    bool foreign;
    json_t *reply;
    enum etcd_status status = range_grpc(c, range, a, out, &foreign);

    if (status == ETCD_STOPPED)
        *err = STR("the gateway is stopping");
    if (status != ETCD_AWAY)
        return status;
    status = etcd_call(c, false, "/v3/kv/range", etcd_range_request(range), &reply, err);
    if (status != ETCD_OK)
        return status;
    if (foreign && asked == &c->options->endpoints[c->at] &&
        !atomic_exchange(&asked->no_grpc, true))
        log_warn("etcd: %.*s speaks no gRPC: all goes through its JSON gateway, which is slower",
                 STR_ARG(asked->url));
    if (!etcd_range_read(reply, a, out)) {
        *err = STR("etcd's reply is not understood");
        status = ETCD_REFUSED;
    }
    json_decref(reply);
    return status;
}

/* ---- The watch ---------------------------------------------------------------------------------
 */

void etcd_watch_close(struct etcd_client *c)
{
    transfer_stop(&c->watch);
}

bool etcd_watch_open(struct etcd_client *c, json_t *request, struct str *err)
{
    if (c->options->user.n && !c->token && login(c, err) != ETCD_OK) {
        json_decref(request);
        return false;
    }
    json_start(&c->watch, "/v3/watch", request, false, 0);
    json_decref(request);
    return true;
}

int64_t etcd_watch_heard(const struct etcd_client *c)
{
    return c->watch.heard;
}

/* The next whole line of what came; NULL: there is none yet. */
static bool line_take(struct transfer *t, struct str *line)
{
    struct str all = buf_str(&t->in);
    ptrdiff_t end = str_find(str_from(all, t->seen), '\n');

    if (end < 0) {
        buf_eat(&t->in, t->taken);
        t->taken = 0;
        t->seen = t->in.n;
        return false;
    }
    *line = str_make(all.p + t->taken, t->seen - t->taken + (size_t)end);
    t->taken = t->seen = t->seen + (size_t)end + 1;
    return true;
}

enum etcd_watch etcd_watch_next(struct etcd_client *c, int64_t wait_ms, json_t **message,
                                struct str *err)
{
    struct transfer *t = &c->watch;
    int64_t until = etcd_clock_ms() + wait_ms;
    struct str line;

    for (;;) {
        if (line_take(t, &line)) {
            *message = json_loadb(line.p, line.n, 0, NULL);
            if (*message)
                return ETCD_WATCH_MESSAGE;
            *err = STR("a message of the watch is no JSON");
            return ETCD_WATCH_ENDED;
        }
        if (!t->running || atomic_load(&c->stopping)) {
            *err = keep_message(c, t->running    ? STR("the gateway is stopping")
                                   : t->error[0] ? str_of(t->error)
                                                 : STR("etcd closed the watch"));
            return ETCD_WATCH_ENDED;
        }
        int64_t left = until - etcd_clock_ms();
        if (left <= 0)
            return ETCD_WATCH_NOTHING;
        turn(c, left);
    }
}

bool etcd_client_sleep(struct etcd_client *c, int64_t ms)
{
    int64_t until = etcd_clock_ms() + ms, left;

    while (!atomic_load(&c->stopping) && (left = until - etcd_clock_ms()) > 0)
        curl.multi_poll(c->multi, NULL, 0, (int)left, NULL);
    return !atomic_load(&c->stopping);
}

/* ---- The client --------------------------------------------------------------------------------
 */

struct etcd_client *etcd_client_new(const struct etcd_options *options, bool patient)
{
    struct etcd_client *c = mem_zero(sizeof(*c));

    c->options = options;
    c->patient = patient;
    c->multi = curl.multi_init();
    if (!c->multi)
        PANIC("curl has no memory");
    transfer_init(&c->call, c);
    transfer_init(&c->watch, c);
    transfer_init(&c->range, c);
    return c;
}

void etcd_client_free(struct etcd_client *c)
{
    if (!c)
        return;
    transfer_stop(&c->call);
    transfer_stop(&c->watch);
    transfer_stop(&c->range);
    curl.easy_cleanup(c->call.easy);
    curl.easy_cleanup(c->watch.easy);
    curl.easy_cleanup(c->range.easy);
    curl.multi_cleanup(c->multi);
    logout(c);
    free(c);
}

void etcd_client_stop(struct etcd_client *c)
{
    atomic_store(&c->stopping, true);
    curl.multi_wakeup(c->multi);
}
