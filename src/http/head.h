/* SPDX-License-Identifier: Apache-2.0 */
/* A message head in memory: header lines as views, the known ones found in one step by id. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/arena.h"
#include "base/str.h"

/* X(ID, "lower-case name", first letter, fourth from the end, last letter): with the length these
 * tell them apart; two that collide do not compile. */
#define HEADERS(X)                                             \
    X(HOST, "host", 'h', 'h', 't')                             \
    X(DATE, "date", 'd', 'd', 'e')                             \
    X(ETAG, "etag", 'e', 'e', 'g')                             \
    X(VARY, "vary", 'v', 'v', 'y')                             \
    X(AGE, "age", 'a', 'a', 'e')                               \
    X(TE, "te", 't', 't', 'e')                                 \
    X(ACCEPT, "accept", 'a', 'c', 't')                         \
    X(COOKIE, "cookie", 'c', 'o', 'e')                         \
    X(EXPECT, "expect", 'e', 'p', 't')                         \
    X(ORIGIN, "origin", 'o', 'i', 'n')                         \
    X(PRAGMA, "pragma", 'p', 'a', 'a')                         \
    X(SERVER, "server", 's', 'r', 'r')                         \
    X(EXPIRES, "expires", 'e', 'i', 's')                       \
    X(REFERER, "referer", 'r', 'e', 'r')                       \
    X(TRAILER, "trailer", 't', 'i', 'r')                       \
    X(UPGRADE, "upgrade", 'u', 'r', 'e')                       \
    X(LOCATION, "location", 'l', 't', 'n')                     \
    X(CONNECTION, "connection", 'c', 't', 'n')                 \
    X(KEEP_ALIVE, "keep-alive", 'k', 'l', 'e')                 \
    X(SET_COOKIE, "set-cookie", 's', 'o', 'e')                 \
    X(USER_AGENT, "user-agent", 'u', 'g', 't')                 \
    X(CONTENT_TYPE, "content-type", 'c', 't', 'e')             \
    X(AUTHORIZATION, "authorization", 'a', 't', 'n')           \
    X(CACHE_CONTROL, "cache-control", 'c', 't', 'l')           \
    X(LAST_MODIFIED, "last-modified", 'l', 'f', 'd')           \
    X(CONTENT_LENGTH, "content-length", 'c', 'n', 'h')         \
    X(ACCEPT_ENCODING, "accept-encoding", 'a', 'd', 'g')       \
    X(X_FORWARDED_FOR, "x-forwarded-for", 'x', '-', 'r')       \
    X(FORWARDED, "forwarded", 'f', 'r', 'd')                   \
    X(X_REAL_IP, "x-real-ip", 'x', 'l', 'p')                   \
    X(X_FORWARDED_HOST, "x-forwarded-host", 'x', 'h', 't')     \
    X(X_FORWARDED_PORT, "x-forwarded-port", 'x', 'p', 't')     \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", 'x', 'r', 'o')   \
    X(CONTENT_ENCODING, "content-encoding", 'c', 'd', 'g')     \
    X(PROXY_CONNECTION, "proxy-connection", 'p', 't', 'n')     \
    X(WWW_AUTHENTICATE, "www-authenticate", 'w', 'c', 'e')     \
    X(TRANSFER_ENCODING, "transfer-encoding", 't', 'd', 'g')   \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", 'p', 'c', 'e') \
    X(PROXY_AUTHORIZATION, "proxy-authorization", 'p', 't', 'n')

enum header_id {
    HEADER_OTHER,
#define HEADER_ENUM(id, name, one, two, three) HEADER_##id,
    HEADERS(HEADER_ENUM)
#undef HEADER_ENUM
        HEADER_COUNT
};

/* One header line; 24 bytes. The bytes belong to whoever made the head. */
struct header {
    const char *name;
    const char *value;
    uint32_t value_n;
    uint16_t name_n; /* 0: removed */
    uint8_t id;      /* enum header_id */
    uint8_t spare;
};

struct head {
    struct header *list;
    uint16_t n, cap;
    uint8_t first[HEADER_COUNT]; /* index + 1 of the first line with that id; 0: none */
    bool lost;                   /* a line found no room: what the head says is not whole */
};

enum header_id header_id(struct str name);
const char *header_name(enum header_id id);

static inline struct str header_str_name(const struct header *h)
{
    return str_make(h->name, h->name_n);
}
static inline struct str header_str_value(const struct header *h)
{
    return str_make(h->value, h->value_n);
}

/* The head is empty, with room for cap lines (at most 254) at list, owned by the caller. */
void head_init(struct head *head, struct header *list, unsigned cap);
/* First line with that id; NULL: none. Not for HEADER_OTHER. */
static inline const struct header *head_find(const struct head *head, enum header_id id)
{
    return head->first[id] ? &head->list[head->first[id] - 1] : NULL;
}
/* Value of the first line with that id; absent: p == NULL. */
static inline struct str head_value(const struct head *head, enum header_id id)
{
    const struct header *h = head_find(head, id);

    return h ? header_str_value(h) : STR_NONE;
}
/* First line of that name, whatever the case. */
const struct header *head_find_name(const struct head *head, struct str name);
/* Adds a line; nothing is copied. False, and head->lost is set: no room (254 lines, or cap when a
 * is NULL). */
bool head_add(struct head *head, struct arena *a, enum header_id id, struct str name,
              struct str value);
/* Removes all lines of that name, adds one; sets head->lost as head_add does. */
void head_set(struct head *head, struct arena *a, struct str name, struct str value);
void head_remove(struct head *head, enum header_id id);
void head_remove_name(struct head *head, struct str name);
/* Copies lines and bytes into the arena; `slack` lines of room to add. */
void head_copy(struct head *to, const struct head *from, struct arena *a, unsigned slack);

/* True when the comma-separated list in value has the token (RFC 9110 §5.6.1), whatever the case.
 */
bool list_has_token(struct str value, struct str token);
/* Next element of a comma-separated list, trimmed; false at the end. */
bool list_next(struct str *rest, struct str *element);

#endif
