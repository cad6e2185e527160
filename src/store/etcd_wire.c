/* SPDX-License-Identifier: Apache-2.0 */
/* Builds requests to etcd's JSON gateway and reads its replies. */
#include "store/etcd_wire.h"

#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/panic.h"

struct str etcd_prefix_end(struct arena *a, struct str prefix)
{
    while (prefix.n > 0 && prefix.p[prefix.n - 1] == (char)0xff)
        prefix.n--;
    if (prefix.n == 0)
        return str_make("", 1);
    char *p = arena_bytes(a, prefix.n);
    memcpy(p, prefix.p, prefix.n);
    p[prefix.n - 1]++;
    return str_make(p, prefix.n);
}

struct str etcd_key_next(struct arena *a, struct str key)
{
    char *p = arena_bytes(a, key.n + 1);

    memcpy(p, key.p, key.n);
    p[key.n] = 0;
    return str_make(p, key.n + 1);
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static json_t *bytes_json(struct str s)
{
    ASSERT(s.n < INT_MAX / 2);
    char *text = mem_alloc((s.n + 2) / 3 * 4 + 1);
    int n = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)(s.p ? s.p : ""),
                            (int)s.n);
    json_t *v = json_stringn_nocheck(text, (size_t)n);

    free(text);
    return v;
}

static json_t *number_json(int64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, n);
    return json_string(text);
}

json_t *etcd_range_request(const struct etcd_range *r)
{
    json_t *v = json_pack("{so}", "key", bytes_json(r->key));

    if (r->end.p)
        json_object_set_new(v, "range_end", bytes_json(r->end));
    if (r->limit)
        json_object_set_new(v, "limit", number_json(r->limit));
    if (r->revision)
        json_object_set_new(v, "revision", number_json(r->revision));
    if (r->keys_only)
        json_object_set_new(v, "keys_only", json_true());
    return v;
}

json_t *etcd_put_request(struct str key, struct str value)
{
    return json_pack("{soso}", "key", bytes_json(key), "value", bytes_json(value));
}

json_t *etcd_delete_request(struct str key, struct str end)
{
    return json_pack("{soso}", "key", bytes_json(key), "range_end", bytes_json(end));
}

json_t *etcd_watch_request(struct str key, struct str end, int64_t from_revision)
{
    return json_pack("{s{sososo}}", "create_request", "key", bytes_json(key), "range_end",
                     bytes_json(end), "start_revision", number_json(from_revision));
}

json_t *etcd_login_request(struct str user, struct str password)
{
    return json_pack("{ss%ss%}", "name", user.p, user.n, "password", password.p ? password.p : "",
                     password.n);
}

json_t *etcd_grant_request(int64_t ttl_s)
{
    return json_pack("{so}", "TTL", number_json(ttl_s));
}

json_t *etcd_txn_request(void)
{
    return json_pack("{s[]s[]}", "compare", "success");
}

void etcd_txn_expect(json_t *txn, struct str key, int64_t revision)
{
    json_array_append_new(json_object_get(txn, "compare"),
                          json_pack("{sossssso}", "key", bytes_json(key), "target", "MOD", "result",
                                    "EQUAL", "mod_revision", number_json(revision)));
}

static void txn_add(json_t *txn, const char *what, json_t *request)
{
    json_array_append_new(json_object_get(txn, "success"), json_pack("{so}", what, request));
}

void etcd_txn_put(json_t *txn, struct str key, struct str value, int64_t lease)
{
    json_t *put = etcd_put_request(key, value);

    if (lease)
        json_object_set_new(put, "lease", number_json(lease));
    txn_add(txn, "request_put", put);
}

void etcd_txn_delete(json_t *txn, struct str key)
{
    txn_add(txn, "request_delete_range", json_pack("{so}", "key", bytes_json(key)));
}

void etcd_txn_get(json_t *txn, struct str key, int64_t revision)
{
    txn_add(txn, "request_range",
            etcd_range_request(&(struct etcd_range){.key = key, .revision = revision}));
}

/* ---- Replies -----------------------------------------------------------------------------------
 */

int64_t etcd_number(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    uint64_t n = 0;

    if (json_is_integer(v))
        return json_integer_value(v);
    if (json_is_string(v) &&
        str_to_u64(str_make(json_string_value(v), json_string_length(v)), INT64_MAX, &n))
        return (int64_t)n;
    return 0;
}

int64_t etcd_revision(const json_t *reply)
{
    return etcd_number(json_object_get(reply, "header"), "revision");
}

/* A field that is left out is empty (protobuf's default). */
static bool bytes_read(const json_t *object, const char *name, struct arena *a, struct str *out)
{
    const json_t *v = json_object_get(object, name);

    *out = STR("");
    if (!v)
        return true;
    return json_is_string(v) &&
           base64_decode(a, str_make(json_string_value(v), json_string_length(v)), out);
}

static bool item_read(const json_t *kv, struct arena *a, struct store_item *out)
{
    out->created = etcd_number(kv, "create_revision");
    out->modified = etcd_number(kv, "mod_revision");
    return json_is_object(kv) && out->modified > 0 && bytes_read(kv, "key", a, &out->key) &&
           bytes_read(kv, "value", a, &out->value);
}

bool etcd_range_read(const json_t *reply, struct arena *a, struct etcd_items *out)
{
    const json_t *kvs = json_object_get(reply, "kvs");

    *out = (struct etcd_items){.revision = etcd_revision(reply),
                               .more = json_is_true(json_object_get(reply, "more")),
                               .items = arena_alloc(a, json_array_size(kvs) * sizeof(*out->items))};
    for (size_t i = 0; i < json_array_size(kvs); i++)
        if (!item_read(json_array_get(kvs, i), a, &out->items[out->n++]))
            return false;
    return out->revision > 0;
}

bool etcd_txn_read(const json_t *reply, size_t i, struct arena *a, struct store_item *out)
{
    const json_t *one = json_array_get(json_object_get(reply, "responses"), i);
    const json_t *range = json_object_get(one, "response_range");
    const json_t *kvs = json_object_get(range, "kvs");

    *out = (struct store_item){0};
    return json_is_object(range) &&
           (json_array_size(kvs) == 0 || item_read(json_array_get(kvs, 0), a, out));
}

static struct str text_of(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_string(v) ? str_make(json_string_value(v), json_string_length(v)) : STR_NONE;
}

bool etcd_event_read(const json_t *message, struct arena *a, struct etcd_event *out)
{
    const json_t *result = json_object_get(message, "result");
    const json_t *events = json_object_get(result, "events");
    bool good = json_is_object(result);

    *out = (struct etcd_event){
        .revision = etcd_revision(result),
        .canceled = json_is_true(json_object_get(result, "canceled")),
        .compacted = etcd_number(result, "compact_revision"),
        .reason = arena_str(a, text_of(result, "cancel_reason")),
        .created = json_is_true(json_object_get(result, "created")),
        .items = arena_alloc(a, json_array_size(events) * sizeof(*out->items)),
    };
    for (size_t i = 0; i < json_array_size(events) && good; i++) {
        const json_t *event = json_array_get(events, i);
        struct store_item *item = &out->items[out->n++];
        good = item_read(json_object_get(event, "kv"), a, item);
        if (str_eq(text_of(event, "type"), STR("DELETE")))
            item->value = STR_NONE;
    }
    if (!json_is_object(result))
        out->reason = arena_str(a, text_of(json_object_get(message, "error"), "message"));
    return good;
}

struct str etcd_error_read(const json_t *reply, int *code)
{
    struct str text = text_of(reply, "error");

    *code = (int)etcd_number(reply, "code");
    if (!text.p)
        return STR_NONE;
    if (str_eq(text, STR("etcdserver: user name is empty")))
        return STR("insufficient credentials code: 401");
    if (str_eq(text, STR("etcdserver: permission denied")))
        return STR(ETCD_FORBIDDEN);
    return text;
}
