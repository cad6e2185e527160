/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over a DNS message. c-ares parses SRV records too, but says nothing of their TTL. */
#include "upstream/srv.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <string.h>

#include "base/mem.h"

struct reader {
    const uint8_t *message, *end, *at;
};

static uint32_t number(const uint8_t *p, unsigned bytes)
{
    uint32_t v = 0;

    while (bytes--)
        v = v << 8 | *p++;
    return v;
}

/* The name at p, in *name (heap); its length in the message, 0: malformed. */
static size_t name_at(const struct reader *r, const uint8_t *p, char **name)
{
    long used;

    /* An alias of the C interface, which takes no const and an int. */
    if (ares_expand_name(p, r->message, (int)(r->end - r->message), name, &used) != ARES_SUCCESS)
        return 0;
    return (size_t)used;
}

static bool skip_name(struct reader *r)
{
    char *name;
    size_t n = r->at < r->end ? name_at(r, r->at, &name) : 0;

    if (!n)
        return false;
    ares_free_string(name);
    r->at += n;
    return true;
}

/* It goes into Host headers and logs. */
static bool is_host(const char *name)
{
    for (; *name; name++) {
        char c = ascii_lower(*name);
        if (!(c >= 'a' && c <= 'z') && !ascii_digit(c) && c != '-' && c != '_' && c != '.')
            return false;
    }
    return true;
}

static bool take_record(const struct reader *r, const uint8_t *data, size_t n,
                        struct srv_answer *out)
{
    size_t used;
    char *name;

    if (n < 7 || !(used = name_at(r, data + 6, &name)))
        return false;
    if (used == n - 6 && out->n < SRV_MAX && is_host(name)) {
        struct str target = str_make(name, strlen(name));
        char *copy = str_dup(target);
        for (size_t i = 0; i < target.n; i++)
            copy[i] = ascii_lower(copy[i]);
        out->records[out->n++] = (struct srv_record){.target = str_make(copy, target.n),
                                                     .priority = (uint16_t)number(data, 2),
                                                     .weight = (uint16_t)number(data + 2, 2),
                                                     .port = (uint16_t)number(data + 4, 2)};
    }
    ares_free_string(name);
    return used == n - 6;
}

static bool take_resource(struct reader *r, struct srv_answer *out)
{
    if (!skip_name(r) || r->end - r->at < 10)
        return false;
    uint32_t type = number(r->at, 2), class = number(r->at + 2, 2), ttl = number(r->at + 4, 4);
    size_t n = number(r->at + 8, 2);
    const uint8_t *data = r->at + 10;
    if ((size_t)(r->end - data) < n)
        return false;
    r->at = data + n;
    if (class != ns_c_in || (type != ns_t_srv && type != ns_t_cname))
        return true;
    ttl = ttl >> 31 ? 0 : ttl; /* RFC 2181 §8 */
    out->ttl = ttl < out->ttl ? ttl : out->ttl;
    return type != ns_t_srv || take_record(r, data, n, out);
}

static int compare(const void *one, const void *two)
{
    const struct srv_record *a = one, *b = two;

    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    int by_name = strcmp(a->target.p, b->target.p);
    if (by_name)
        return by_name;
    if (a->port != b->port)
        return a->port < b->port ? -1 : 1;
    return (a->weight > b->weight) - (a->weight < b->weight);
}

bool srv_parse(const uint8_t *message, size_t size, struct srv_answer *out)
{
    struct reader r = {.message = message, .end = message + size};

    *out = (struct srv_answer){.ttl = UINT32_MAX};
    if (size < NS_HFIXEDSZ || size > UINT16_MAX)
        return false;
    unsigned questions = number(message + 4, 2), answers = number(message + 6, 2);
    r.at = message + NS_HFIXEDSZ;
    while (questions--) {
        if (!skip_name(&r) || r.end - r.at < NS_QFIXEDSZ)
            return false;
        r.at += NS_QFIXEDSZ;
    }
    /* A record takes 11 bytes at least. */
    size_t room = answers < SRV_MAX ? answers : SRV_MAX;
    out->records = mem_array(room, sizeof(*out->records));
    while (answers--) {
        if (!take_resource(&r, out)) {
            srv_free(out->records, out->n);
            *out = (struct srv_answer){.n = 0};
            return false;
        }
    }
    qsort(out->records, out->n, sizeof(*out->records), compare);
    return true;
}

void srv_free(struct srv_record *records, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free((void *)(uintptr_t)records[i].target.p);
    free(records);
}

bool srv_equal(const struct srv_record *a, unsigned na, const struct srv_record *b, unsigned nb)
{
    if (na != nb)
        return false;
    for (unsigned i = 0; i < na; i++)
        if (compare(&a[i], &b[i]) != 0)
            return false;
    return true;
}
