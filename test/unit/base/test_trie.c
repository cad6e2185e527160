/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent trie against a plain sorted array: random changes, old versions, garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/trie.c"

/* ---- The model: an array of rows, copied for each version that is kept ---- */

enum { KEY_MAX = 8, ROWS_MAX = 600 };

struct row {
    char key[KEY_MAX];
    size_t n;
    void *value[2];
};

struct model {
    struct row rows[ROWS_MAX];
    size_t n;
};

static struct str row_key(const struct row *r)
{
    return str_make(r->key, r->n);
}

static struct row *model_find(struct model *m, struct str key)
{
    for (size_t i = 0; i < m->n; i++)
        if (str_eq(row_key(&m->rows[i]), key))
            return &m->rows[i];
    return NULL;
}

static void *model_set(struct model *m, struct str key, enum trie_slot slot, void *value)
{
    struct row *r = model_find(m, key);

    if (!r) {
        if (!value)
            return NULL;
        r = &m->rows[m->n++];
        *r = (struct row){.n = key.n};
        memcpy(r->key, key.p, key.n);
    }
    void *old = r->value[slot];
    r->value[slot] = value;
    if (!r->value[0] && !r->value[1])
        *r = m->rows[--m->n];
    return old;
}

static uint64_t seed = 88172645463325252ull;

static uint32_t next_random(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

/* Few letters, so that keys meet. */
static struct str random_key(char *to)
{
    size_t n = next_random(KEY_MAX + 1);

    for (size_t i = 0; i < n; i++)
        to[i] = (char)("ab\0\xff"[next_random(4)]);
    return str_make(to, n);
}

/* Where a tree's nodes come from, and what its values are: pointers, or blocks that hold one. */
struct kind {
    bool slabs, inlined;
};

static struct kind kind;

struct block {
    void *value;
    char rest[TRIE_INLINE - sizeof(void *)];
};

static struct block block_of(void *value)
{
    struct block b = {.value = value};

    memset(b.rest, (int)((uintptr_t)value & 0x7f), sizeof(b.rest));
    return b;
}

/* What the model has for what the tree gives. */
static void *value_of(void *got)
{
    if (!got || !kind.inlined)
        return got;
    const struct block *b = got, want = block_of(b->value);
    assert_memory_equal(b, &want, sizeof(want));
    return b->value;
}

static void check_walk(struct model *m, const struct trie *root, struct str key)
{
    struct row *exact = model_find(m, key);
    struct trie_walk w;

    trie_walk_start(&w, root, key);
    assert_ptr_equal(value_of(w.exact), exact ? exact->value[TRIE_EXACT] : NULL);
    assert_ptr_equal(trie_get(root, key, TRIE_EXACT), w.exact);
    for (size_t n = key.n + 1; n-- > 0;) {
        struct row *r = model_find(m, str_head(key, n));
        if (r && r->value[TRIE_PREFIX])
            assert_ptr_equal(value_of(trie_walk_next(&w)), r->value[TRIE_PREFIX]);
    }
    assert_null(trie_walk_next(&w));
    assert_null(trie_walk_next(&w));
}

struct count {
    struct model *m;
    size_t n;
    char last[KEY_MAX];
    struct str last_key;
    enum trie_slot last_slot;
};

static void count_one(void *arg, struct str key, enum trie_slot slot, void *value)
{
    struct count *c = arg;
    struct row *r = model_find(c->m, key);

    assert_non_null(r);
    assert_ptr_equal(r->value[slot], value_of(value));
    if (c->n) {
        int order = str_cmp(c->last_key, key);
        assert_true(order < 0 || (order == 0 && c->last_slot < slot));
    }
    memcpy(c->last, key.p, key.n);
    c->last_key = str_make(c->last, key.n);
    c->last_slot = slot;
    c->n++;
}

/* Every key, in order, and nothing else; and no node that need not be there. */
static void check_shape(const struct trie *n)
{
    if (!n)
        return;
    assert_true(n->values || n->nchildren > 1);
    for (unsigned i = 0; i < n->nchildren; i++)
        check_shape(children_of(n)[i]);
}

static void check_all(struct model *m, const struct trie *root)
{
    struct count c = {.m = m};
    size_t values = 0;

    for (size_t i = 0; i < m->n; i++) {
        check_walk(m, root, row_key(&m->rows[i]));
        values += (m->rows[i].value[0] != NULL) + (m->rows[i].value[1] != NULL);
    }
    trie_each(root, count_one, &c);
    assert_int_equal(c.n, values);
    check_shape(root);
}

enum { VERSIONS = 30, CHANGES = 25 };

static void set_both(struct trie **root, const struct trie_edit *e, struct model *m)
{
    char key[KEY_MAX];
    struct str k = random_key(key);
    enum trie_slot slot = next_random(2);
    void *value = next_random(3) ? (void *)(uintptr_t)(1 + next_random(1000)) : (void *)NULL;
    void *had = model_set(m, k, slot, value);

    if (e->inlined) {
        struct block b = block_of(value);
        assert_int_equal(trie_set(root, e, k, slot, value ? &b : NULL) != NULL, had != NULL);
    } else {
        assert_ptr_equal(trie_set(root, e, k, slot, value), had);
    }
}

/* Versions live side by side, each with its own garbage, and go in a random order. */
static void model_round(void)
{
    static struct model models[VERSIONS];
    static struct model now;
    struct trie *roots[VERSIONS], *root = NULL;
    struct garbage dead[VERSIONS];
    bool held[VERSIONS];
    struct slabs slabs;

    slabs_init(&slabs);
    now.n = 0;
    memset(dead, 0, sizeof(dead));
    for (int v = 0; v < VERSIONS; v++) {
        struct trie_edit e = {.version = (uint64_t)v + 1,
                              .garbage = v ? &dead[v - 1] : &dead[0],
                              .slabs = kind.slabs ? &slabs : NULL,
                              .inlined = kind.inlined};
        for (int i = 0; i < CHANGES; i++)
            set_both(&root, &e, &now);
        roots[v] = root;
        models[v] = now;
        held[v] = true;
        check_all(&models[v], root);
    }
    for (int left = VERSIONS; left > 1;) {
        int v = (int)next_random(VERSIONS - 1), before = v - 1;
        if (!held[v])
            continue;
        held[v] = false;
        left--;
        while (before >= 0 && !held[before])
            before--;
        if (before >= 0)
            garbage_sift(&dead[v], (uint64_t)before + 1, &dead[before]);
        else
            garbage_fini(&dead[v]);
        for (int i = (int)next_random(10); i < VERSIONS; i += 10)
            if (held[i])
                check_all(&models[i], roots[i]);
    }
    check_all(&models[VERSIONS - 1], root);
    trie_free(root);
    slabs_fini(&slabs);
}

static void test_model(void **state)
{
    static const struct kind kinds[] = {{false, false}, {true, false}, {true, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        kind = kinds[i];
        model_round();
    }
    kind = kinds[0];
}

static void test_empty_key(void **state)
{
    struct trie_edit e = {.version = 1};
    struct trie *root = NULL;
    int one, two;

    (void)state;
    assert_null(trie_get(root, STR_NONE, TRIE_EXACT));
    assert_null(trie_set(&root, &e, STR_NONE, TRIE_PREFIX, &one));
    assert_null(trie_set(&root, &e, STR("abc"), TRIE_EXACT, &two));
    assert_ptr_equal(trie_get(root, STR(""), TRIE_PREFIX), &one);
    assert_null(trie_get(root, STR("ab"), TRIE_EXACT));
    assert_null(trie_set(&root, &e, STR("ab"), TRIE_EXACT, NULL));
    assert_ptr_equal(trie_set(&root, &e, STR_NONE, TRIE_PREFIX, NULL), &one);
    assert_ptr_equal(trie_set(&root, &e, STR("abc"), TRIE_EXACT, NULL), &two);
    assert_null(root);
}

/* Keys longer than a label, prefixes deeper than a walk's ring, depth that recursion would feel. */
static void test_long(void **state)
{
    enum { LONG = 100000 };
    struct trie_edit e = {.version = 1};
    struct trie *root = NULL;
    char *key = mem_alloc(LONG);
    struct trie_walk w;
    static char marks[LONG + 1];

    (void)state;
    memset(key, 'k', LONG);
    assert_null(trie_set(&root, &e, str_make(key, LONG), TRIE_EXACT, &marks[LONG]));
    assert_ptr_equal(trie_get(root, str_make(key, LONG), TRIE_EXACT), &marks[LONG]);
    assert_null(trie_get(root, str_make(key, LONG - 1), TRIE_EXACT));
    for (size_t n = 1; n <= 2000; n++)
        trie_set(&root, &e, str_make(key, n), TRIE_PREFIX, &marks[n]);
    trie_walk_start(&w, root, str_make(key, LONG));
    assert_ptr_equal(w.exact, &marks[LONG]);
    for (size_t n = 2000; n >= 1; n--)
        assert_ptr_equal(trie_walk_next(&w), &marks[n]);
    assert_null(trie_walk_next(&w));
    for (size_t n = 1; n <= 2000; n++)
        assert_ptr_equal(trie_set(&root, &e, str_make(key, n), TRIE_PREFIX, NULL), &marks[n]);
    assert_ptr_equal(trie_set(&root, &e, str_make(key, LONG), TRIE_EXACT, NULL), &marks[LONG]);
    assert_null(root);
    for (size_t n = 1; n <= 5000; n++)
        trie_set(&root, &e, str_make(key, n), TRIE_EXACT, &marks[n]);
    trie_free(root);
    free(key);
}

/* A change of a published tree leaves it alone and costs its path. */
static void test_path_copy(void **state)
{
    enum { KEYS = 20000 };
    struct trie_edit e = {.version = 1};
    struct garbage dead = {0};
    struct trie *root = NULL, *old;
    static char values[KEYS];
    char key[32];

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        int n = snprintf(key, sizeof(key), "/api/v%d/item/%d", i % 7, i);
        trie_set(&root, &e, str_make(key, (size_t)n), TRIE_EXACT, &values[i]);
    }
    e = (struct trie_edit){.version = 2, .garbage = &dead};
    old = root;
    assert_ptr_equal(trie_set(&root, &e, STR("/api/v5/item/12"), TRIE_EXACT, &values[0]),
                     &values[12]);
    assert_true(dead.n > 1 && dead.n < 12);
    assert_ptr_equal(trie_get(old, STR("/api/v5/item/12"), TRIE_EXACT), &values[12]);
    size_t once = dead.n;
    trie_set(&root, &e, STR("/api/v5/item/12"), TRIE_EXACT, &values[1]);
    assert_int_equal(dead.n, once);
    garbage_fini(&dead);
    trie_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_empty_key),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_path_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
