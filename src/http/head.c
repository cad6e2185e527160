/* SPDX-License-Identifier: Apache-2.0 */
/* Heads: known names by a perfect hash, look-up, change. */
#include "http/head.h"

#include "base/panic.h"

#define KEY(n, one, two, three)                                   \
    ((uint32_t)(n) << 24 | (uint32_t)(unsigned char)(one) << 16 | \
     (uint32_t)(unsigned char)(two) << 8 | (unsigned char)(three))

static const char *const names[HEADER_COUNT] = {"",
#define HEADER_NAME(id, name, one, two, three) name,
                                                HEADERS(HEADER_NAME)
#undef HEADER_NAME
};

const char *header_name(enum header_id id)
{
    return names[id];
}

static enum header_id candidate(uint32_t key)
{
    switch (key) {
#define HEADER_CASE(id, name, one, two, three)   \
    case KEY(sizeof(name) - 1, one, two, three): \
        return HEADER_##id;
        HEADERS(HEADER_CASE)
#undef HEADER_CASE
    default:
        return HEADER_OTHER;
    }
}

/* Whether s is the lower-case name z, in any case. Names hold letters and '-' only, so setting the
 * case bit is exact enough: '-' | 0x20 stays '-', and what else becomes '-' (CR) is not in a name.
 */
static bool same_name(const char *s, const char *z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((s[i] | 0x20) != z[i])
            return false;
    return true;
}

enum header_id header_id(struct str name)
{
    enum header_id id;

    if (name.n < 2 || name.n > 32)
        return HEADER_OTHER;
    id = candidate(KEY(name.n, name.p[0] | 0x20, name.p[name.n >= 4 ? name.n - 4 : 0] | 0x20,
                       name.p[name.n - 1] | 0x20));
    return id && same_name(name.p, names[id], name.n) ? id : HEADER_OTHER;
}

void head_init(struct head *head, struct header *list, unsigned cap)
{
    ASSERT(cap <= 254);
    memset(head, 0, sizeof(*head));
    head->list = list;
    head->cap = (uint16_t)cap;
}

const struct header *head_find_name(const struct head *head, struct str name)
{
    enum header_id id = header_id(name);

    if (id)
        return head_find(head, id);
    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (h->id == HEADER_OTHER && h->name_n == name.n && name.n &&
            str_eq_nocase(header_str_name(h), name))
            return h;
    }
    return NULL;
}

static bool grow(struct head *head, struct arena *a)
{
    unsigned cap = head->cap + 16u;

    if (!a || head->cap >= 254)
        return false;
    if (cap > 254)
        cap = 254;
    struct header *list = arena_alloc(a, cap * sizeof(*list));
    if (head->n)
        memcpy(list, head->list, head->n * sizeof(*list));
    head->list = list;
    head->cap = (uint16_t)cap;
    return true;
}

bool head_add(struct head *head, struct arena *a, enum header_id id, struct str name,
              struct str value)
{
    if (name.n == 0 || name.n > UINT16_MAX || value.n > UINT32_MAX ||
        (head->n == head->cap && !grow(head, a))) {
        head->lost = true;
        return false;
    }
    head->list[head->n++] = (struct header){.name = name.p,
                                            .value = value.p ? value.p : "",
                                            .value_n = (uint32_t)value.n,
                                            .name_n = (uint16_t)name.n,
                                            .id = (uint8_t)id};
    if (id && !head->first[id])
        head->first[id] = (uint8_t)head->n;
    return true;
}

void head_remove(struct head *head, enum header_id id)
{
    if (!head->first[id])
        return;
    for (unsigned i = head->first[id] - 1u; i < head->n; i++)
        if (head->list[i].id == id)
            head->list[i].name_n = 0;
    head->first[id] = 0;
}

void head_remove_name(struct head *head, struct str name)
{
    enum header_id id = header_id(name);

    if (id) {
        head_remove(head, id);
        return;
    }
    for (unsigned i = 0; i < head->n; i++) {
        struct header *h = &head->list[i];
        if (h->id == HEADER_OTHER && h->name_n == name.n && str_eq_nocase(header_str_name(h), name))
            h->name_n = 0;
    }
}

void head_set(struct head *head, struct arena *a, struct str name, struct str value)
{
    enum header_id id = header_id(name);

    if (id)
        head_remove(head, id);
    else
        head_remove_name(head, name);
    head_add(head, a, id, name, value);
}

void head_copy(struct head *to, const struct head *from, struct arena *a, unsigned slack)
{
    unsigned cap = from->n + slack;

    if (cap > 254)
        cap = 254;
    *to = *from;
    to->cap = (uint16_t)cap;
    to->list = arena_alloc(a, cap * sizeof(*to->list));
    for (unsigned i = 0; i < from->n; i++) {
        to->list[i] = from->list[i];
        to->list[i].name = arena_str(a, header_str_name(&from->list[i])).p;
        to->list[i].value = arena_str(a, header_str_value(&from->list[i])).p;
    }
}

bool list_next(struct str *rest, struct str *element)
{
    while (rest->p && rest->n) {
        struct str part;
        struct str after;
        str_cut(*rest, ',', &part, &after);
        *rest = after;
        part = str_trim(part);
        if (part.n) {
            *element = part;
            return true;
        }
    }
    return false;
}

bool list_has_token(struct str value, struct str token)
{
    struct str element;

    while (list_next(&value, &element))
        if (str_eq_nocase(element, token))
            return true;
    return false;
}
