/* SPDX-License-Identifier: Apache-2.0 */
/* request-id: gives each request an id, in a header to the upstream and back to the client. */
#include "base/random.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

enum algorithm { UUID, NANOID, RANGE_ID, KSUID, UUIDV7 };
static const char *const algorithms[] = {"uuid", "nanoid", "range_id", "ksuid", "uuidv7", NULL};

/* APISIX sets no maximum; a header needs one. */
enum { RANGE_LENGTH_MAX = 1024 };

struct range_id {
    int64_t length;
    struct str char_set;
};

struct request_id {
    struct str header;
    bool in_response;
    int algorithm;
    struct range_id *range;
};

struct request_id_frame {
    struct str id;
};

/* APISIX's alphabet: the G in the place of the J is no slip of ours. */
#define CHAR_SET "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789"

#define AT(member) .at = offsetof(struct range_id, member)
static const struct field range_rows[] = {
    {"length", FIELD_INT, AT(length), .min = 6, .def = "16",
     .doc = "Number of characters, at most 1024."},
    {"char_set", FIELD_STR, AT(char_set), .min = 6, .def = "\"" CHAR_SET "\"",
     .doc = "Characters to draw from."},
    {0},
};
static const struct fields range_fields = {range_rows, .size = sizeof(struct range_id),
                                           .open = true};
#undef AT

#define AT(member) .at = offsetof(struct request_id, member)
static const struct field rows[] = {
    {"header_name", FIELD_STR, AT(header), .def = "\"X-Request-Id\"",
     .doc = "Header that carries the id. One that the client sent is kept."},
    {"include_in_response", FIELD_BOOL, AT(in_response), .def = "true",
     .doc = "Puts the header into the response too, unless the upstream did."},
    {"algorithm", FIELD_ENUM, AT(algorithm), .names = algorithms, .def = "\"uuid\"",
     .doc = "What an id looks like: `uuid` (RFC 9562 version 4), `uuidv7` (by time, ascending), "
            "`nanoid` (21 characters), `ksuid` (27 characters, by time), `range_id` (as said by "
            "`range_id`)."},
    {"range_id", FIELD_OBJECT, AT(range), .fields = &range_fields,
     .def = "{\"length\":16,\"char_set\":\"" CHAR_SET "\"}", .doc = "For `range_id` alone."},
    {0},
};
static const struct fields conf_fields = {rows, .size = sizeof(struct request_id), .open = true};

static bool request_id_compile(void *conf, struct build *b)
{
    struct request_id *c = conf;

    if (c->range->length > RANGE_LENGTH_MAX)
        return build_error(b, "range_id.length must be at most %d", RANGE_LENGTH_MAX);
    return true;
}

/* ---- The ids ----------------------------------------------------------------------------------
 */

enum { UUID_SIZE = 36 };

/* 16 bytes as RFC 9562 §4 writes them, with version and variant put in. */
static struct str uuid_text(struct arena *a, const uint8_t *bytes, unsigned version)
{
    static const char hex[] = "0123456789abcdef";
    char *p = arena_bytes(a, UUID_SIZE), *at = p;

    for (size_t i = 0; i < 16; i++) {
        uint8_t b = bytes[i];
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        if (i == 6)
            b = (uint8_t)((b & 15) | version << 4);
        else if (i == 8)
            b = (b & 0x3f) | 0x80;
        *at++ = hex[b >> 4];
        *at++ = hex[b & 15];
    }
    return str_make(p, UUID_SIZE);
}

static struct str uuid_new(struct arena *a)
{
    uint8_t b[16];

    random_bytes(b, sizeof(b));
    return uuid_text(a, b, 4);
}

/* RFC 9562 §5.7, with a counter behind the time (§6.2, method 1): ids of one thread ascend. */
static struct str uuidv7_new(struct arena *a, int64_t now_ms)
{
    static _Thread_local int64_t last_ms;
    static _Thread_local uint32_t count;
    uint8_t b[16];

    random_bytes(b, sizeof(b));
    if (now_ms > last_ms) {
        last_ms = now_ms;
        /* 18 bits, of which the top one starts at 0 so that there is room to count. */
        count = random_below(1 << 17);
    } else if (++count >= 1 << 18) {
        last_ms++;
        count = 0;
    }
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(last_ms >> (40 - 8 * i));
    b[6] = (uint8_t)(count >> 14);
    b[7] = (uint8_t)(count >> 6);
    b[8] = (uint8_t)(count & 0x3f);
    return uuid_text(a, b, 7);
}

static struct str nanoid_new(struct arena *a)
{
    enum { SIZE = 21 };
    static const char alphabet[] =
        "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t b[SIZE];
    char *p = arena_bytes(a, SIZE);

    random_bytes(b, sizeof(b));
    for (size_t i = 0; i < SIZE; i++)
        p[i] = alphabet[b[i] & 63];
    return str_make(p, SIZE);
}

static struct str range_new(struct arena *a, const struct range_id *r)
{
    size_t n = (size_t)r->length;
    char *p = arena_bytes(a, n);

    for (size_t i = 0; i < n; i++)
        p[i] = r->char_set.p[random_below((uint32_t)r->char_set.n)];
    return str_make(p, n);
}

enum { KSUID_WORDS = 5, KSUID_SIZE = 27 };

/* A number of 160 bits, most significant word first, in base 62. */
static struct str base62(struct arena *a, uint32_t n[KSUID_WORDS])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char *p = arena_bytes(a, KSUID_SIZE);

    for (size_t at = KSUID_SIZE; at-- > 0;) {
        uint64_t rest = 0;
        for (size_t i = 0; i < KSUID_WORDS; i++) {
            rest = rest << 32 | n[i];
            n[i] = (uint32_t)(rest / 62);
            rest %= 62;
        }
        p[at] = digits[rest];
    }
    return str_make(p, KSUID_SIZE);
}

/* Seconds since 1400000000 and 16 random bytes, as one number (segmentio/ksuid). */
static struct str ksuid_new(struct arena *a, int64_t now_ms)
{
    uint32_t n[KSUID_WORDS];

    random_bytes(n, sizeof(n));
    n[0] = (uint32_t)(now_ms / 1000 - 1400000000);
    return base62(a, n);
}

static struct str id_new(struct exchange *ex, const struct request_id *c)
{
    struct arena *a = ex_arena(ex);

    switch ((enum algorithm)c->algorithm) {
    case NANOID:
        return nanoid_new(a);
    case RANGE_ID:
        return range_new(a, c->range);
    case KSUID:
        return ksuid_new(a, ex_wall_ms(ex));
    case UUIDV7:
        return uuidv7_new(a, ex_wall_ms(ex));
    case UUID:
        break;
    }
    return uuid_new(a);
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict request_id_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct request_id *c = conf;
    struct request_id_frame *f = frame;

    f->id = request_header(ex, c->header);
    if (f->id.n == 0) {
        f->id = id_new(ex, c);
        request_header_set(ex, c->header, f->id);
    }
    var_set(ex, STR("apisix_request_id"), f->id);
    return NEXT;
}

static enum verdict request_id_header_filter(struct exchange *ex, const void *conf, void *frame)
{
    const struct request_id *c = conf;
    const struct request_id_frame *f = frame;

    if (c->in_response && f->id.n && response_header(ex, c->header).n == 0)
        response_header_set(ex, c->header, f->id);
    return NEXT;
}

const struct plugin plugin_request_id = {
    .abi = PLUGIN_ABI,
    .name = "request-id",
    .version = 0.1,
    .priority = 12015,
    .doc = "Gives each request an id of its own, in a header that the upstream gets and the client "
           "gets back, so that one request can be found in all logs. The access log shows it as "
           "`$apisix_request_id`.",
    .conf = &conf_fields,
    .frame_size = sizeof(struct request_id_frame),
    .compile = request_id_compile,
    .rewrite = request_id_rewrite,
    .header_filter = request_id_header_filter,
};
