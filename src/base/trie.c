/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent radix tree. All walks are loops: keys come from outside, and so does the depth. */
#include "base/trie.h"

#include "base/mem.h"
#include "base/panic.h"

enum { LABEL_MAX = 16383 };

/* A node: header, label, the byte that leads to each child (ascending), values, children. The label
 * are the bytes that all keys below share, after the one that led here. What a walk reads stands in
 * front: with many keys each cache line costs. */
struct trie {
    uint64_t version : 37;
    uint64_t slab : 1;    /* from slabs, not from the heap */
    uint64_t inlined : 1; /* trie_edit.inlined */
    uint64_t nchildren : 9;
    uint64_t values : 2; /* bit 1 << slot: the value is there */
    uint64_t nlabel : 14;
};

static inline size_t value_size(const struct trie *n)
{
    return n->inlined ? TRIE_INLINE : sizeof(void *);
}

static inline size_t values_size(const struct trie *n)
{
    return ((n->values & 1u) + (n->values >> 1)) * value_size(n);
}

static inline char *label_of(const struct trie *n)
{
    return (char *)(uintptr_t)(n + 1);
}

static inline unsigned char *bytes_of(const struct trie *n)
{
    return (unsigned char *)label_of(n) + n->nlabel;
}

static inline char *values_of(const struct trie *n)
{
    return label_of(n) + (((size_t)n->nlabel + n->nchildren + 7) & ~(size_t)7);
}

static inline struct trie **children_of(const struct trie *n)
{
    return (struct trie **)(void *)(values_of(n) + values_size(n));
}

static size_t node_size(const struct trie *n)
{
    return (size_t)((char *)(children_of(n) + n->nchildren) - (const char *)n);
}

static struct trie *node_new(const struct trie_edit *e, unsigned values, size_t nchildren,
                             size_t nlabel)
{
    struct trie head = {.version = e->version,
                        .inlined = e->inlined,
                        .nchildren = nchildren,
                        .values = values,
                        .nlabel = nlabel};
    size_t size = node_size(&head);

    head.slab = e->slabs && size <= SLAB_MAX;
    struct trie *n = head.slab ? slab_take(e->slabs, size) : mem_alloc(size);
    *n = head;
    return n;
}

static void node_free(void *p)
{
    const struct trie *n = p;

    if (n->slab)
        slab_give(p);
    else
        free(p);
}

/* Takes a node out of the newest tree. */
static void node_drop(const struct trie_edit *e, struct trie *n)
{
    if (n->version == e->version)
        node_free(n);
    else
        garbage_add(e->garbage, n, node_free, n->version);
}

/* Makes the node at *at the writer's own. */
static struct trie *node_own(const struct trie_edit *e, struct trie **at)
{
    struct trie *n = *at;

    if (n->version != e->version) {
        struct trie *copy = node_new(e, n->values, n->nchildren, n->nlabel);
        memcpy(copy + 1, n + 1, node_size(n) - sizeof(*n));
        node_drop(e, n);
        *at = n = copy;
    }
    return n;
}

/* Where a value is, or would be. */
static inline char *value_place(const struct trie *n, enum trie_slot slot)
{
    return values_of(n) + (slot == TRIE_PREFIX && (n->values & 1) ? value_size(n) : 0);
}

static void *node_value(const struct trie *n, enum trie_slot slot)
{
    char *place = value_place(n, slot);

    if (!(n->values & (1u << slot)))
        return NULL;
    return n->inlined ? place : *(void **)(void *)place;
}

static void node_put(struct trie *n, enum trie_slot slot, const void *value)
{
    if (n->inlined)
        memcpy(value_place(n, slot), value, TRIE_INLINE);
    else
        memcpy(value_place(n, slot), &value, sizeof(value));
}

/* The place of the child that c leads to, or NULL. */
static struct trie **node_child(const struct trie *n, unsigned char c)
{
    const unsigned char *bytes = bytes_of(n);
    const unsigned char *at = n->nchildren ? memchr(bytes, c, n->nchildren) : NULL;

    return at ? children_of(n) + (at - bytes) : NULL;
}

static size_t common(const struct trie *n, struct str s)
{
    const char *label = label_of(n);
    size_t i = 0, max = n->nlabel < s.n ? n->nlabel : s.n;

    while (i < max && label[i] == s.p[i])
        i++;
    return i;
}

/* Goes over n's label; false when the string has something else there. */
static inline bool node_enter(const struct trie *n, struct str *rest)
{
    if (rest->n < n->nlabel || memcmp(rest->p, label_of(n), n->nlabel) != 0)
        return false;
    *rest = str_make(rest->p + n->nlabel, rest->n - n->nlabel);
    return true;
}

/* The child for the string's next byte, which it takes off; NULL: none. */
static inline struct trie *node_next(const struct trie *n, struct str *rest)
{
    struct trie **child = node_child(n, (unsigned char)rest->p[0]);

    *rest = str_make(rest->p + 1, rest->n - 1);
    return child ? *child : NULL;
}

void *trie_get(const struct trie *n, struct str key, enum trie_slot slot)
{
    key.p = key.p ? key.p : "";
    while (n && node_enter(n, &key)) {
        if (key.n == 0)
            return node_value(n, slot);
        n = node_next(n, &key);
    }
    return NULL;
}

/* ---- Changes ---- */

/* A node like n, with other values and another label; the children are n's. */
static struct trie *node_remake(const struct trie_edit *e, const struct trie *n, unsigned values,
                                size_t nlabel)
{
    struct trie *m = node_new(e, values, n->nchildren, nlabel);

    for (enum trie_slot slot = TRIE_EXACT; slot <= TRIE_PREFIX; slot++)
        if (values & n->values & (1u << slot))
            node_put(m, slot, node_value(n, slot));
    if (n->nchildren) {
        memcpy(children_of(m), children_of(n), n->nchildren * sizeof(struct trie *));
        memcpy(bytes_of(m), bytes_of(n), n->nchildren);
    }
    return m;
}

/* New nodes for what is left of a key: one, or a chain when it is longer than a label can be. */
static struct trie *tail_new(const struct trie_edit *e, struct str rest, enum trie_slot slot,
                             void *value)
{
    struct trie *first = NULL, **at = &first;

    while (rest.n > LABEL_MAX) {
        struct trie *n = node_new(e, 0, 1, LABEL_MAX);
        memcpy(label_of(n), rest.p, LABEL_MAX);
        bytes_of(n)[0] = (unsigned char)rest.p[LABEL_MAX];
        rest = str_from(rest, LABEL_MAX + 1);
        *at = n;
        at = children_of(n);
    }
    *at = node_new(e, 1u << slot, 0, rest.n);
    node_put(*at, slot, value);
    if (rest.n)
        memcpy(label_of(*at), rest.p, rest.n);
    return first;
}

/* Cuts the node at *at in two after `keep` bytes of its label. */
static void node_split(const struct trie_edit *e, struct trie **at, size_t keep)
{
    struct trie *n = *at;
    struct trie *upper = node_new(e, 0, 1, keep);
    struct trie *lower = node_remake(e, n, n->values, n->nlabel - keep - 1);

    memcpy(label_of(lower), label_of(n) + keep + 1, lower->nlabel);
    memcpy(label_of(upper), label_of(n), keep);
    bytes_of(upper)[0] = (unsigned char)label_of(n)[keep];
    children_of(upper)[0] = lower;
    *at = upper;
    node_drop(e, n);
}

static void node_add_child(const struct trie_edit *e, struct trie **at, unsigned char c,
                           struct trie *child)
{
    struct trie *n = *at;
    struct trie *m = node_new(e, n->values, n->nchildren + 1, n->nlabel);
    size_t i = 0;

    while (i < n->nchildren && bytes_of(n)[i] < c)
        i++;
    memcpy(values_of(m), values_of(n), values_size(n));
    memcpy(children_of(m), children_of(n), i * sizeof(struct trie *));
    children_of(m)[i] = child;
    memcpy(children_of(m) + i + 1, children_of(n) + i, (n->nchildren - i) * sizeof(struct trie *));
    memcpy(bytes_of(m), bytes_of(n), i);
    bytes_of(m)[i] = c;
    memcpy(bytes_of(m) + i + 1, bytes_of(n) + i, n->nchildren - i);
    memcpy(label_of(m), label_of(n), n->nlabel);
    *at = m;
    node_drop(e, n);
}

static void node_remove_child(const struct trie_edit *e, struct trie **at, unsigned char c)
{
    struct trie *n = *at;
    struct trie *m = node_new(e, n->values, n->nchildren - 1u, n->nlabel);
    size_t i = (size_t)(node_child(n, c) - children_of(n));

    memcpy(values_of(m), values_of(n), values_size(n));
    memcpy(children_of(m), children_of(n), i * sizeof(struct trie *));
    memcpy(children_of(m) + i, children_of(n) + i + 1, (m->nchildren - i) * sizeof(struct trie *));
    memcpy(bytes_of(m), bytes_of(n), i);
    memcpy(bytes_of(m) + i, bytes_of(n) + i + 1, m->nchildren - i);
    memcpy(label_of(m), label_of(n), n->nlabel);
    *at = m;
    node_drop(e, n);
}

/* Sets or, with NULL, clears a value of the node at *at; returns the old one. */
static void *node_set(const struct trie_edit *e, struct trie **at, enum trie_slot slot, void *value)
{
    struct trie *n = *at;
    void *old = node_value(n, slot);
    unsigned bit = 1u << slot;

    if (old && value) {
        n = node_own(e, at);
    } else {
        struct trie *m = node_remake(e, n, value ? n->values | bit : n->values & ~bit, n->nlabel);
        memcpy(label_of(m), label_of(n), n->nlabel);
        *at = m;
        node_drop(e, n);
        n = m;
    }
    if (value)
        node_put(n, slot, value);
    return old;
}

/* A node without values and with one child becomes one with it. */
static void node_merge(const struct trie_edit *e, struct trie **at)
{
    struct trie *n = *at;

    if (n->values || n->nchildren != 1)
        return;
    struct trie *child = children_of(n)[0];
    size_t nlabel = (size_t)n->nlabel + 1 + child->nlabel;
    if (nlabel > LABEL_MAX)
        return;
    struct trie *m = node_remake(e, child, child->values, nlabel);
    memcpy(label_of(m), label_of(n), n->nlabel);
    label_of(m)[n->nlabel] = (char)bytes_of(n)[0];
    memcpy(label_of(m) + n->nlabel + 1, label_of(child), child->nlabel);
    *at = m;
    node_drop(e, n);
    node_drop(e, child);
}

static void insert(struct trie **at, const struct trie_edit *e, struct str rest,
                   enum trie_slot slot, void *value, void **old)
{
    *old = NULL;
    if (!*at) {
        *at = tail_new(e, rest, slot, value);
        return;
    }
    for (;;) {
        size_t same = common(*at, rest);
        if (same < (*at)->nlabel)
            node_split(e, at, same);
        rest = str_from(rest, same);
        if (rest.n == 0) {
            *old = node_set(e, at, slot, value);
            return;
        }
        unsigned char c = (unsigned char)rest.p[0];
        rest = str_from(rest, 1);
        if (!node_child(*at, c)) {
            node_add_child(e, at, c, tail_new(e, rest, slot, value));
            return;
        }
        at = node_child(node_own(e, at), c);
    }
}

/* Drops a chain of nodes without values, down to its leaf. */
static void tail_drop(const struct trie_edit *e, struct trie *n)
{
    while (n) {
        struct trie *next = n->nchildren ? children_of(n)[0] : NULL;
        node_drop(e, n);
        n = next;
    }
}

static void *take_out(struct trie **root, const struct trie_edit *e, struct str key,
                      enum trie_slot slot)
{
    /* First without changes: is it there, and which node stays, above what only led to it. */
    const struct trie *n = *root, *stays = NULL;
    struct str rest = key;

    for (;;) {
        if (!n || !node_enter(n, &rest))
            return NULL;
        if (rest.n == 0)
            break;
        if (n->values || n->nchildren > 1)
            stays = n;
        n = node_next(n, &rest);
    }
    if (!node_value(n, slot))
        return NULL;
    void *old = node_value(n, slot);
    bool goes = n->nchildren == 0 && n->values == 1u << slot;
    const struct trie *last = goes ? stays : n;
    if (!last) {
        tail_drop(e, *root);
        *root = NULL;
        return old;
    }

    struct trie **at = root;
    rest = key;
    while (*at != last) {
        struct trie *own = node_own(e, at);
        at = node_child(own, (unsigned char)rest.p[own->nlabel]);
        rest = str_from(rest, (size_t)own->nlabel + 1);
    }
    if (goes) {
        unsigned char c = (unsigned char)rest.p[(*at)->nlabel];
        struct trie *tail = *node_child(*at, c);
        node_remove_child(e, at, c);
        tail_drop(e, tail);
    } else {
        node_set(e, at, slot, NULL);
    }
    node_merge(e, at);
    return old;
}

void *trie_set(struct trie **root, const struct trie_edit *e, struct str key, enum trie_slot slot,
               void *value)
{
    void *old;

    key.p = key.p ? key.p : "";
    if (!value)
        return take_out(root, e, key, slot);
    insert(root, e, key, slot, value, &old);
    return old;
}

/* ---- Walks ---- */

/* Collects the longest prefixes that are shorter than `below`, the last ones in a ring. */
static void walk_gather(struct trie_walk *w, size_t below)
{
    const struct trie *n = w->root;
    struct str rest = w->key;
    size_t count = 0, length;

    while (n && node_enter(n, &rest) && (length = w->key.n - rest.n) < below) {
        if (n->values & (1u << TRIE_PREFIX)) {
            w->hits[count % TRIE_WALK_HITS].value = node_value(n, TRIE_PREFIX);
            w->hits[count % TRIE_WALK_HITS].length = length;
            count++;
        }
        if (rest.n == 0) {
            w->exact = node_value(n, TRIE_EXACT);
            break;
        }
        n = node_next(n, &rest);
    }
    w->next = (unsigned)(count % TRIE_WALK_HITS);
    w->left = (unsigned)(count < TRIE_WALK_HITS ? count : TRIE_WALK_HITS);
    w->below = count > TRIE_WALK_HITS ? w->hits[w->next].length : 0;
}

void trie_walk_start(struct trie_walk *w, const struct trie *root, struct str key)
{
    w->exact = NULL;
    w->root = root;
    w->key = str_make(key.p ? key.p : "", key.n);
    walk_gather(w, SIZE_MAX);
}

void *trie_walk_next(struct trie_walk *w)
{
    if (w->left == 0) {
        if (w->below == 0)
            return NULL;
        walk_gather(w, w->below);
    }
    w->left--;
    w->next = (w->next + TRIE_WALK_HITS - 1) % TRIE_WALK_HITS;
    return w->hits[w->next].value;
}

/* A key as a walk over all nodes builds it. */
struct each_level {
    const struct trie *node;
    size_t length; /* of the key up to and with the node's label */
    unsigned child;
};

struct each_state {
    struct each_level *levels;
    size_t n, cap;
    char *key;
    size_t key_cap;
};

static void each_enter(struct each_state *st, const struct trie *n, size_t length)
{
    size_t end = length + n->nlabel;

    if (st->n == st->cap) {
        st->cap = st->cap ? st->cap * 2 : 32;
        st->levels = mem_resize(st->levels, st->cap * sizeof(*st->levels));
    }
    /* One byte more: the one that leads to a child. */
    if (end + 1 > st->key_cap) {
        st->key_cap = (end + 1) * 2;
        st->key = mem_resize(st->key, st->key_cap);
    }
    ASSERT(st->key);
    memcpy(st->key + length, label_of(n), n->nlabel);
    st->levels[st->n++] = (struct each_level){n, end, 0};
}

void trie_each(const struct trie *root, trie_each_fn *each, void *arg)
{
    struct each_state st = {0};

    if (!root)
        return;
    each_enter(&st, root, 0);
    while (st.n) {
        struct each_level *l = &st.levels[st.n - 1];
        const struct trie *n = l->node;
        if (l->child == 0)
            for (unsigned slot = 0; slot < 2; slot++)
                if (node_value(n, slot))
                    each(arg, str_make(st.key, l->length), slot, node_value(n, slot));
        if (l->child == n->nchildren) {
            st.n--;
            continue;
        }
        unsigned i = l->child++;
        st.key[l->length] = (char)bytes_of(n)[i];
        each_enter(&st, children_of(n)[i], l->length + 1);
    }
    free(st.levels);
    free(st.key);
}

void trie_free(struct trie *n)
{
    /* The place of the child at work holds the way back. */
    struct trie *up = NULL;
    unsigned left = n ? n->nchildren : 0;

    while (n) {
        if (left > 0) {
            struct trie **place = &children_of(n)[left - 1];
            struct trie *child = *place;
            *place = up;
            n->version = left - 1u;
            up = n;
            n = child;
            left = n->nchildren;
            continue;
        }
        node_free(n);
        n = up;
        if (n) {
            left = (unsigned)n->version;
            up = children_of(n)[left];
        }
    }
}
