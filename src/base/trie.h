/* SPDX-License-Identifier: Apache-2.0 */
/* A persistent radix tree: byte strings to pointers. A tree is its root, NULL is the empty one. A
 * change copies the nodes on the way to its key and leaves the old root as it was, so readers need
 * no locks; what it replaces goes to a garbage list. Each node has room for two values, one that
 * stands for the key itself and one for all strings that begin with it. */
#ifndef BASE_TRIE_H
#define BASE_TRIE_H

#include <stdbool.h>

#include "base/garbage.h"
#include "base/slab.h"
#include "base/str.h"

struct trie;

enum trie_slot {
    TRIE_EXACT,  /* the value of the key */
    TRIE_PREFIX, /* the value of the strings that begin with the key, itself included */
};

enum { TRIE_INLINE = 32 };

/* A writer. Nodes made under the same version are its own: they are changed in place, and freed at
 * once. A published tree must not be changed under the version it was made in. */
struct trie_edit {
    uint64_t version;        /* 1 … 2^36; grows with each publication */
    struct garbage *garbage; /* may be NULL when the version never changes */
    struct slabs *slabs;     /* where small nodes come from; must outlive them; NULL: the heap */
    bool inlined;            /* values are not pointers but TRIE_INLINE bytes, copied into the node:
                                what trie_get and walks return then points into the tree, and lives
                                as long as its version; the same for all edits of a tree */
};

/* Sets one value of a key, NULL removes it; *root becomes the new tree. Returns the value that was
 * there, or NULL; an inlined one only in that it is not NULL. Keys may have any length and any
 * bytes; the cost is in proportion to the key. */
void *trie_set(struct trie **root, const struct trie_edit *e, struct str key, enum trie_slot slot,
               void *value);

/* NULL: nothing is set there. */
void *trie_get(const struct trie *root, struct str key, enum trie_slot slot);

enum { TRIE_WALK_HITS = 16 };

/* The values that apply to a string: the exact one, then the prefixes', longest first. Lives on the
 * reader's stack, allocates nothing; one pass over the string serves TRIE_WALK_HITS prefixes. */
struct trie_walk {
    void *exact; /* NULL: none */
    /* private */
    const struct trie *root;
    struct str key;
    unsigned next, left; /* place behind the next hit, hits not yet given out */
    size_t below;        /* what is shorter than this is still to collect; 0: nothing */
    struct {
        void *value;
        size_t length;
    } hits[TRIE_WALK_HITS];
};

void trie_walk_start(struct trie_walk *w, const struct trie *root, struct str key);
/* NULL: no more. */
void *trie_walk_next(struct trie_walk *w);

/* Calls `each` for every value, by key ascending, EXACT before PREFIX; `each` must not change the
 * tree. May allocate. */
typedef void trie_each_fn(void *arg, struct str key, enum trie_slot slot, void *value);
void trie_each(const struct trie *root, trie_each_fn *each, void *arg);

/* Frees all nodes of a tree of which no other version is left; the values are the caller's. */
void trie_free(struct trie *root);

#endif
