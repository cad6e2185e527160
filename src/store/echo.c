/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of writes, and the newest of each key. */
#include "store/echo.h"

#include "base/mem.h"

struct own {
    struct list link;
    int64_t revision;
    struct str key; /* behind the struct */
};

static const struct trie_edit edit = {.version = 1};

void echo_init(struct echo *e)
{
    list_init(&e->waiting);
    e->by_key = NULL;
}

static void own_drop(struct echo *e, struct own *o)
{
    list_remove(&o->link);
    if (trie_get(e->by_key, o->key, TRIE_EXACT) == o)
        trie_set(&e->by_key, &edit, o->key, TRIE_EXACT, NULL);
    free(o);
}

void echo_fini(struct echo *e)
{
    echo_pass(e, INT64_MAX);
    trie_free(e->by_key);
    e->by_key = NULL;
}

void echo_add(struct echo *e, struct str key, int64_t revision)
{
    struct own *o = mem_alloc(sizeof(*o) + key.n);

    *o = (struct own){.revision = revision, .key = str_make((char *)(o + 1), key.n)};
    memcpy(o + 1, key.p, key.n);
    list_append(&e->waiting, &o->link);
    trie_set(&e->by_key, &edit, o->key, TRIE_EXACT, o);
}

bool echo_hides(const struct echo *e, struct str key, int64_t revision)
{
    const struct own *o = trie_get(e->by_key, key, TRIE_EXACT);

    return o && o->revision >= revision;
}

void echo_pass(struct echo *e, int64_t revision)
{
    while (!list_empty(&e->waiting)) {
        struct own *o = CONTAINER(e->waiting.next, struct own, link);
        if (o->revision > revision)
            return;
        own_drop(e, o);
    }
}

bool echo_take(struct echo *e, char **key)
{
    if (list_empty(&e->waiting))
        return false;
    struct own *o = CONTAINER(e->waiting.next, struct own, link);
    *key = str_dup(o->key);
    own_drop(e, o);
    return true;
}
