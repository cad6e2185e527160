/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and reads the few messages of protobuf that a range needs
 * (https://protobuf.dev/programming-guides/encoding). */
#include "store/etcd_grpc.h"

#include "base/mem.h"

enum { FRAME = 5, VARINT_MAX = 10 };
enum wire { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

/* Fields by number. */
enum range_request { REQUEST_KEY = 1, REQUEST_END, REQUEST_LIMIT, REQUEST_REVISION };
enum { REQUEST_KEYS_ONLY = 8 };
enum range_reply { REPLY_HEADER = 1, REPLY_KVS, REPLY_MORE };
enum reply_header { HEADER_REVISION = 3 };
enum key_value { KV_KEY = 1, KV_CREATED, KV_MODIFIED, KV_VERSION, KV_VALUE };

/* ---- Requests ----------------------------------------------------------------------------------
 */

static char *varint_put(char *p, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        *p++ = (char)(0x80 | (n & 0x7f));
    *p++ = (char)n;
    return p;
}

/* 0 is what a number is that is left out. */
static char *number_put(char *p, unsigned field, int64_t n)
{
    if (n == 0)
        return p;
    p = varint_put(p, field << 3 | WIRE_VARINT);
    return varint_put(p, (uint64_t)n);
}

static char *bytes_put(char *p, unsigned field, struct str s)
{
    p = varint_put(p, field << 3 | WIRE_BYTES);
    p = varint_put(p, s.n);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

struct str etcd_grpc_request(struct arena *a, const struct etcd_range *r)
{
    char *start = arena_bytes(a, FRAME + r->key.n + r->end.n + (size_t)5 * (1 + VARINT_MAX));
    char *p = bytes_put(start + FRAME, REQUEST_KEY, r->key);

    if (r->end.p)
        p = bytes_put(p, REQUEST_END, r->end);
    p = number_put(p, REQUEST_LIMIT, r->limit);
    p = number_put(p, REQUEST_REVISION, r->revision);
    p = number_put(p, REQUEST_KEYS_ONLY, r->keys_only);
    uint32_t n = (uint32_t)(p - start) - FRAME;
    memcpy(start, (char[]){0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n}, FRAME);
    return str_make(start, FRAME + n);
}

/* ---- Replies -----------------------------------------------------------------------------------
 */

struct field {
    unsigned number;
    enum wire wire;
    uint64_t n;   /* WIRE_VARINT */
    struct str s; /* WIRE_BYTES */
};

static bool varint_take(struct str *in, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < in->n && i < VARINT_MAX; i++) {
        unsigned char c = (unsigned char)in->p[i];
        *out |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *in = str_from(*in, i + 1);
            return true;
        }
    }
    return false;
}

static bool bytes_take(struct str *in, uint64_t n, struct str *out)
{
    if (n > in->n)
        return false;
    *out = str_head(*in, (size_t)n);
    *in = str_from(*in, (size_t)n);
    return true;
}

/* The next field of a message that has bytes left. False: it is none. */
static bool field_take(struct str *in, struct field *f)
{
    uint64_t tag, n;

    if (!varint_take(in, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
        return false;
    f->number = (unsigned)(tag >> 3);
    f->wire = (enum wire)(tag & 7);
    switch (f->wire) {
    case WIRE_VARINT:
        return varint_take(in, &f->n);
    case WIRE_BYTES:
        return varint_take(in, &n) && bytes_take(in, n, &f->s);
    case WIRE_64:
        return bytes_take(in, 8, &f->s);
    case WIRE_32:
        return bytes_take(in, 4, &f->s);
    }
    return false;
}

static bool header_read(struct str in, struct etcd_items *out)
{
    struct field f;

    while (in.n > 0) {
        if (!field_take(&in, &f))
            return false;
        if (f.number == HEADER_REVISION && f.wire == WIRE_VARINT)
            out->revision = (int64_t)f.n;
    }
    return true;
}

static bool item_read(struct str in, struct store_item *out)
{
    struct field f;

    *out = (struct store_item){.key = STR(""), .value = STR("")};
    while (in.n > 0) {
        if (!field_take(&in, &f))
            return false;
        if (f.number == KV_KEY && f.wire == WIRE_BYTES)
            out->key = f.s;
        else if (f.number == KV_VALUE && f.wire == WIRE_BYTES)
            out->value = f.s;
        else if (f.number == KV_CREATED && f.wire == WIRE_VARINT)
            out->created = (int64_t)f.n;
        else if (f.number == KV_MODIFIED && f.wire == WIRE_VARINT)
            out->modified = (int64_t)f.n;
    }
    return out->modified > 0;
}

/* How many items there are; false: the fields are none. */
static bool items_count(struct str in, size_t *n)
{
    struct field f;

    for (*n = 0; in.n > 0; *n += f.number == REPLY_KVS)
        if (!field_take(&in, &f))
            return false;
    return true;
}

bool etcd_grpc_read(struct str body, struct arena *a, struct etcd_items *out)
{
    struct field f;
    size_t n;

    *out = (struct etcd_items){0};
    if (body.n < FRAME || body.p[0] != 0)
        return false;
    for (size_t i = 1, length = 0; i < FRAME; i++) {
        length = length << 8 | (unsigned char)body.p[i];
        if (i == FRAME - 1 && length != body.n - FRAME)
            return false;
    }
    body = str_from(body, FRAME);
    if (!items_count(body, &n))
        return false;
    out->items = arena_alloc(a, n * sizeof(*out->items));
    while (body.n > 0) {
        bool good = field_take(&body, &f);
        if (f.number == REPLY_HEADER && f.wire == WIRE_BYTES)
            good = header_read(f.s, out);
        else if (f.number == REPLY_KVS)
            good = f.wire == WIRE_BYTES && item_read(f.s, &out->items[out->n++]);
        else if (f.number == REPLY_MORE && f.wire == WIRE_VARINT)
            out->more = f.n != 0;
        if (!good)
            return false;
    }
    return out->revision > 0;
}
