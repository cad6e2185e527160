/* SPDX-License-Identifier: Apache-2.0 */
/* The managers' protocols: what is sent, and where the secret is in the answer. */
#include "store/secret_manager.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/mem.h"

enum { ANSWER_MAX = 1 << 20, TOKEN_SECONDS = 3600 };

static struct str member(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

/* ---- One request -------------------------------------------------------------------------------
 */

struct request {
    const struct secret_ask *ask;
    struct arena *a;
    struct str url;
    struct curl_slist *headers;
    const char *body; /* NULL: GET */
    const char *sign; /* CURLOPT_AWS_SIGV4; NULL: none */
    const char *user; /* for it */
    bool verify;
    struct str *err;
};

static size_t on_bytes(char *p, size_t size, size_t n, void *arg)
{
    return buf_add(arg, str_make(p, size * n)) ? size * n : 0;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    const struct secret_ask *ask = arg;

    (void)down_all;
    (void)down;
    (void)up_all;
    (void)up;
    return atomic_load(ask->stop);
}

static void request_set(const struct request *r, struct buf *in, char error[CURL_ERROR_SIZE])
{
    CURL *e = r->ask->easy;

    curl.easy_reset(e);
    curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    /* http_proxy and the like are not meant for this. */
    curl.easy_setopt(e, CURLOPT_PROXY, "");
    curl.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl.easy_setopt(e, CURLOPT_TIMEOUT_MS, r->ask->timeout_ms);
    curl.easy_setopt(e, CURLOPT_URL, r->url.p);
    curl.easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
    curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_bytes);
    curl.easy_setopt(e, CURLOPT_WRITEDATA, in);
    curl.easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl.easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl.easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.easy_setopt(e, CURLOPT_XFERINFODATA, r->ask);
    curl.easy_setopt(e, CURLOPT_SSL_VERIFYPEER, r->verify ? 1L : 0L);
    curl.easy_setopt(e, CURLOPT_SSL_VERIFYHOST, r->verify ? 2L : 0L);
    if (r->ask->ca.p)
        curl.easy_setopt(e, CURLOPT_CAINFO, r->ask->ca.p);
    if (r->body)
        curl.easy_setopt(e, CURLOPT_POSTFIELDS, r->body);
    if (r->sign) {
        curl.easy_setopt(e, CURLOPT_AWS_SIGV4, r->sign);
        curl.easy_setopt(e, CURLOPT_USERPWD, r->user);
    }
}

/* Sends it, and reads a JSON object with status 200; the headers are freed. What the manager says
 * of its refusal is not shown: it could quote. */
static enum secret_answer request_run(const struct request *r, json_t **out)
{
    enum secret_answer answer = SECRET_REFUSED;
    char error[CURL_ERROR_SIZE] = "";
    struct buf in;
    long status = 0;

    buf_init(&in, ANSWER_MAX);
    request_set(r, &in, error);
    CURLcode code = curl.easy_perform(r->ask->easy);
    curl.easy_getinfo(r->ask->easy, CURLINFO_RESPONSE_CODE, &status);
    curl.slist_free_all(r->headers);
    *out = NULL;
    if (code == CURLE_WRITE_ERROR) {
        *r->err = STR("its answer is too long");
    } else if (code != CURLE_OK) {
        answer = SECRET_AWAY;
        *r->err = arena_printf(r->a, "%s", error[0] ? error : curl.easy_strerror(code));
    } else if (status != 200) {
        answer = status == 404 ? SECRET_GONE : SECRET_REFUSED;
        *r->err = arena_printf(r->a, "it answers %ld", status);
    } else {
        *out = json_loadb(in.p ? in.p : "", in.n, 0, NULL);
        answer = json_is_object(*out) ? SECRET_READ : SECRET_REFUSED;
        *r->err = STR("its answer is no JSON object");
    }
    if (answer != SECRET_READ) {
        json_decref(*out);
        *out = NULL;
    }
    if (in.p)
        explicit_bzero(in.p, in.n);
    buf_fini(&in);
    return answer;
}

static void header_add(struct request *r, const char *name, struct str value)
{
    struct str safe = encode_header(r->a, value);
    struct str line = arena_printf(r->a, "%s: %.*s", name, STR_ARG(safe));

    r->headers = curl.slist_append(r->headers, line.p);
}

/* A secret that is JSON text. */
static enum secret_answer text_read(struct str text, json_t **out, struct str *err)
{
    *out = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    if (json_is_object(*out))
        return SECRET_READ;
    json_decref(*out);
    *out = NULL;
    *err = STR("the secret is no JSON object");
    return SECRET_REFUSED;
}

/* ---- Vault -------------------------------------------------------------------------------------
 */

static struct str slashes_off(struct str s)
{
    while (s.n && s.p[0] == '/')
        s = str_from(s, 1);
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static enum secret_answer vault_read(const struct secret_ask *ask, json_t **out, struct arena *a,
                                     struct str *err)
{
    struct str uri = slashes_off(member(ask->conf, "uri"));
    struct str prefix = slashes_off(member(ask->conf, "prefix"));
    struct str namespace = member(ask->conf, "namespace");
    struct request r = {.ask = ask, .a = a, .verify = true, .err = err};
    json_t *reply;

    r.url = arena_printf(a, "%.*s/v1/%.*s%s%.*s", STR_ARG(uri), STR_ARG(encode_path(a, prefix)),
                         prefix.n ? "/" : "", STR_ARG(encode_path(a, slashes_off(ask->path))));
    header_add(&r, "X-Vault-Token", member(ask->conf, "token"));
    if (namespace.n)
        header_add(&r, "X-Vault-Namespace", namespace);
    enum secret_answer answer = request_run(&r, &reply);
    if (answer != SECRET_READ)
        return answer;
    json_t *data = json_object_get(reply, "data");
    /* Version 2 of the KV engine wraps it once more, beside what it knows of the version. */
    if (json_is_object(json_object_get(data, "metadata")) &&
        (json_is_object(json_object_get(data, "data")) ||
         json_is_null(json_object_get(data, "data"))))
        data = json_object_get(data, "data");
    *out = json_is_object(data) ? json_incref(data) : NULL;
    json_decref(reply);
    *err = STR("there is no data in its answer");
    return *out ? SECRET_READ : SECRET_GONE;
}

/* ---- AWS ---------------------------------------------------------------------------------------
 */

static enum secret_answer aws_read(const struct secret_ask *ask, json_t **out, struct arena *a,
                                   struct str *err)
{
    struct str region = member(ask->conf, "region"), url = member(ask->conf, "endpoint_url");
    struct str token = member(ask->conf, "session_token");
    struct request r = {.ask = ask, .a = a, .verify = true, .err = err};
    json_t *reply, *body = json_pack("{ss%ss}", "SecretId", ask->path.p, ask->path.n,
                                     "VersionStage", "AWSCURRENT");

    if (!region.n)
        region = STR("us-east-1");
    r.url = url.n ? arena_printf(a, "%.*s/", STR_ARG(slashes_off(url)))
                  : arena_printf(a, "https://secretsmanager.%.*s.amazonaws.com/", STR_ARG(region));
    r.sign = arena_printf(a, "aws:amz:%.*s:secretsmanager", STR_ARG(region)).p;
    r.user = arena_printf(a, "%.*s:%.*s", STR_ARG(member(ask->conf, "access_key_id")),
                          STR_ARG(member(ask->conf, "secret_access_key")))
                 .p;
    header_add(&r, "X-Amz-Target", STR("secretsmanager.GetSecretValue"));
    header_add(&r, "Content-Type", STR("application/x-amz-json-1.1"));
    if (token.n)
        header_add(&r, "X-Amz-Security-Token", token);
    char *text = json_dumps(body, JSON_COMPACT);
    r.body = text;
    enum secret_answer answer = request_run(&r, &reply);
    json_decref(body);
    free(text);
    if (answer != SECRET_READ)
        return answer;
    answer = text_read(member(reply, "SecretString"), out, err);
    json_decref(reply);
    return answer;
}

/* ---- GCP ---------------------------------------------------------------------------------------
 */

static struct str base64url(struct arena *a, const unsigned char *p, size_t n)
{
    unsigned char *text = (unsigned char *)arena_bytes(a, (n + 2) / 3 * 4 + 1);
    int length = EVP_EncodeBlock(text, p, (int)n);

    while (length > 0 && text[length - 1] == '=')
        length--;
    for (int i = 0; i < length; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    return str_make((char *)text, (size_t)length);
}

static struct str base64url_str(struct arena *a, struct str s)
{
    return base64url(a, (const unsigned char *)s.p, s.n);
}

/* RS256 (RFC 7518 §3.3); absent: the key is none. */
static struct str sign(struct arena *a, struct str pem, struct str text)
{
    char none[] = ""; /* without a password OpenSSL would ask for one at the terminal */
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, none);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct str out = STR_NONE;
    size_t n = 0;

    if (key && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, NULL, &n, (const unsigned char *)text.p, text.n) == 1) {
        unsigned char *p = (unsigned char *)arena_bytes(a, n);
        if (EVP_DigestSign(ctx, p, &n, (const unsigned char *)text.p, text.n) == 1)
            out = base64url(a, p, n);
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return out;
}

/* Scopes are one text or a list of them. */
static struct str scopes(const json_t *account, struct arena *a)
{
    const json_t *list = json_object_get(account, "scope");
    struct str text = member(account, "scopes");
    size_t i;

    for (i = 0; i < json_array_size(list); i++)
        text = arena_printf(a, "%.*s%s%s", STR_ARG(text.p ? text : STR("")), i ? " " : "",
                            json_string_value(json_array_get(list, i)));
    return text.n ? text : STR("https://www.googleapis.com/auth/cloud-platform");
}

/* A token for the account (RFC 7523 §2.1). */
static enum secret_answer gcp_login(const struct secret_ask *ask, const json_t *account,
                                    bool verify, struct arena *a, struct str *token,
                                    struct str *err)
{
    struct str url = member(account, "token_uri");
    struct request r = {.ask = ask, .a = a, .verify = verify, .err = err};
    int64_t now = (int64_t)time(NULL);
    json_t *reply;

    if (!url.n)
        url = STR("https://oauth2.googleapis.com/token");
    struct str scope = scopes(account, a), email = member(account, "client_email");
    json_t *claims = json_pack("{ss%ss%ss%sIsI}", "iss", email.p, email.n, "aud", url.p, url.n,
                               "scope", scope.p, scope.n, "iat", (json_int_t)now, "exp",
                               (json_int_t)(now + TOKEN_SECONDS));
    char *text = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);
    struct str head = base64url_str(a, STR("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"));
    struct str body = base64url_str(a, str_of(text ? text : ""));
    free(text);
    body = arena_printf(a, "%.*s.%.*s", STR_ARG(head), STR_ARG(body));
    struct str signature = sign(a, member(account, "private_key"), body);
    if (!signature.p) {
        *err = STR("private_key is no PEM of a private key");
        return SECRET_REFUSED;
    }
    r.url = arena_str(a, url);
    r.body = arena_printf(a,
                          "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer"
                          "&assertion=%.*s.%.*s",
                          STR_ARG(body), STR_ARG(signature))
                 .p;
    enum secret_answer answer = request_run(&r, &reply);
    if (answer != SECRET_READ) {
        *err = arena_printf(a, "no token: %.*s", STR_ARG(*err));
        return answer == SECRET_GONE ? SECRET_REFUSED : answer;
    }
    *token = arena_str(a, member(reply, "access_token"));
    json_decref(reply);
    *err = STR("no token in the answer");
    return token->n ? SECRET_READ : SECRET_REFUSED;
}

/* The service account; a new reference. */
static json_t *gcp_account(const json_t *conf)
{
    const char *file = json_string_value(json_object_get(conf, "auth_file"));

    return file ? json_load_file(file, 0, NULL) : json_incref(json_object_get(conf, "auth_config"));
}

static enum secret_answer gcp_read(const struct secret_ask *ask, json_t **out, struct arena *a,
                                   struct str *err)
{
    json_t *account = gcp_account(ask->conf), *reply = NULL;
    bool verify = !json_is_false(json_object_get(ask->conf, "ssl_verify"));
    struct request r = {.ask = ask, .a = a, .verify = verify, .err = err};
    enum secret_answer answer = SECRET_REFUSED;
    struct str token, base = member(account, "entries_uri"), text = STR_NONE;

    *err = STR("there is no service account in auth_config or auth_file");
    if (json_is_object(account))
        answer = gcp_login(ask, account, verify, a, &token, err);
    if (answer == SECRET_READ) {
        if (!base.n)
            base = STR("https://secretmanager.googleapis.com/v1");
        r.url = arena_printf(a, "%.*s/projects/%.*s/secrets/%.*s/versions/latest:access",
                             STR_ARG(slashes_off(base)), STR_ARG(member(account, "project_id")),
                             STR_ARG(encode_path(a, ask->path)));
        header_add(&r, "Authorization", arena_printf(a, "Bearer %.*s", STR_ARG(token)));
        answer = request_run(&r, &reply);
    }
    if (answer == SECRET_READ) {
        bool good = base64_decode(a, member(json_object_get(reply, "payload"), "data"), &text);
        answer = text_read(good ? text : STR_NONE, out, err);
    }
    json_decref(reply);
    json_decref(account);
    return answer;
}

/* ---- All ---------------------------------------------------------------------------------------
 */

static const struct {
    struct str name;
    enum secret_answer (*read)(const struct secret_ask *ask, json_t **out, struct arena *a,
                               struct str *err);
} managers[] = {
    {{"vault", 5}, vault_read},
    {{"aws", 3}, aws_read},
    {{"gcp", 3}, gcp_read},
};
enum { MANAGERS = sizeof(managers) / sizeof(managers[0]) };

static unsigned manager_find(struct str name)
{
    unsigned i = 0;

    while (i < MANAGERS && !str_eq(managers[i].name, name))
        i++;
    return i;
}

bool secret_manager_known(struct str manager)
{
    return manager_find(manager) < MANAGERS;
}

enum secret_answer secret_manager_read(const struct secret_ask *ask, json_t **out, struct arena *a,
                                       struct str *err)
{
    unsigned i = manager_find(ask->manager);

    *out = NULL;
    *err = STR("there is no such secret manager");
    return i < MANAGERS ? managers[i].read(ask, out, a, err) : SECRET_REFUSED;
}
