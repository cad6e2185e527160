/* SPDX-License-Identifier: Apache-2.0 */
/* Seals: what is sealed opens again, and only with its key and unchanged; APISIX's scheme is that
 * of `openssl enc`; and which strings of a document are sealed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/fields.h"
#include "store/document.h"
#include "store/seal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MARK         "{eclusa:1}"

struct place {
    struct arena a;
    char dir[64], key[80];
};

static char logged[8192];

static void remember(enum log_level level, struct str line)
{
    size_t n = strlen(logged);

    (void)level;
    snprintf(logged + n, sizeof(logged) - n, "%.*s\n", STR_ARG(line));
}

static int place_make(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    snprintf(p->dir, sizeof(p->dir), "/tmp/eclusa-seal-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->key, sizeof(p->key), "%s/secret.key", p->dir);
    arena_init(&p->a, NULL);
    logged[0] = 0;
    log_setup(remember, LOG_NOTICE);
    *state = p;
    return 0;
}

static int place_drop(void **state)
{
    struct place *p = *state;

    unlink(p->key);
    assert_int_equal(rmdir(p->dir), 0);
    arena_fini(&p->a);
    free(p);
    return 0;
}

static struct seal *seal_with(struct place *p, bool on, const struct str *ring, unsigned n)
{
    struct seal_config config = {on, ring, n, str_of(p->dir)};
    struct str err = STR_NONE;
    struct seal *s = seal_new(&config, &p->a, &err);

    if (!s)
        fail_msg("%.*s", STR_ARG(err));
    return s;
}

static void assert_text(struct str got, struct str want)
{
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.p, want.p, want.n);
}

/* The text stays as it is, with that status. */
static void assert_stays(struct place *p, struct seal *s, struct str text, enum seal_status status)
{
    struct str out;

    assert_int_equal(seal_open(s, &p->a, text, &out), status);
    assert_ptr_equal(out.p, text.p);
    assert_int_equal(out.n, text.n);
}

static const struct str texts[] = {
    {"", 0},
    {"a", 1},
    {"fifteen bytes..", 15},
    {"sixteen bytes ok", 16},
    {"p\xc3\xa4ssword: \"\\\n", 14},
    {"with\0nul", 8},
    {"$secret://vault/1/key", 21},
    {"{eclusa:1}AAAA", 14},
    {"{eclusa:0}text", 14},
    {"{eclusa:9}", 10},
    {"77+NmbYqNfN+oLm0aX5akg==", 24},
};

static void round_trips(struct place *p, struct seal *s, bool plain)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct str stored = seal_close(s, &p->a, texts[i]), out;
        enum seal_status status = seal_open(s, &p->a, stored, &out);
        assert_true(status == SEAL_OPENED || (plain && status == SEAL_PLAIN));
        assert_text(out, texts[i]);
        if (!plain && texts[i].n > 2)
            assert_true(str_search(stored, texts[i]) < 0);
    }
}

static const struct str ring[] = {
    {"edd1c9f0985e76a2", 16},
    {"0123456789abcdef0123456789ABCDEF", 32},
    {"qeddd145sfvddff3", 16},
};

static void test_round_trips(void **state)
{
    struct place *p = *state;
    struct seal *all[] = {
        seal_with(p, true, NULL, 0),     seal_with(p, true, ring, 1),
        seal_with(p, true, &ring[1], 1), seal_with(p, true, ring, COUNT(ring)),
        seal_with(p, false, NULL, 0),    seal_with(p, false, ring, 2),
    };

    for (size_t i = 0; i < COUNT(all); i++) {
        round_trips(p, all[i], i >= 4);
        seal_free(all[i]);
    }
}

static void test_long_text(void **state)
{
    struct place *p = *state;
    size_t n = 3 * 1024 * 1024 + 5;
    char *text = malloc(n);

    memset(text, 'k', n);
    for (unsigned keys = 0; keys < 2; keys++) {
        struct seal *s = seal_with(p, true, ring, keys);
        struct str out;
        assert_int_equal(seal_open(s, &p->a, seal_close(s, &p->a, str_make(text, n)), &out),
                         SEAL_OPENED);
        assert_text(out, str_make(text, n));
        seal_free(s);
    }
    free(text);
}

/* By `printf TEXT | openssl enc -aes-128-cbc -K HEX -iv HEX -base64 -A` (256: the IV is the first
 * 16 bytes of the key, all that the cipher takes of it). */
static const struct vector {
    unsigned key;
    const char *text, *sealed;
} vectors[] = {
    {0, "bar", "77+NmbYqNfN+oLm0aX5akg=="},
    {0, "", "vA4BfcVo+wewoRJDl1bmfA=="},
    {2, "sixteen bytes ok", "bCNXBPzbrTUi1SCwHcmm1Ks8u4jceEPcAgrQDN2FWYk="},
    {1, "p\xc3\xa4ssword: \"quoted\"", "j8T9YMOrPjN24TqBSsF/ZoPvuDTt8of3XVwQGmPcn8E="},
};

static void test_apisix(void **state)
{
    struct place *p = *state;
    struct stat st;
    struct str out;

    for (size_t i = 0; i < COUNT(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct seal *s = seal_with(p, true, &ring[v->key], 1);
        assert_text(seal_close(s, &p->a, str_of(v->text)), str_of(v->sealed));
        assert_int_equal(seal_open(s, &p->a, str_of(v->sealed), &out), SEAL_OPENED);
        assert_text(out, str_of(v->text));
        seal_free(s);
    }
    assert_int_equal(stat(p->key, &st), -1); /* no key of our own is made beside a keyring */
}

static void test_ring(void **state)
{
    struct place *p = *state;
    struct seal *all = seal_with(p, true, ring, COUNT(ring));
    struct str out;

    for (size_t i = 0; i < COUNT(ring); i++) {
        struct seal *one = seal_with(p, true, &ring[i], 1);
        struct str sealed = seal_close(one, &p->a, STR("the text"));
        assert_int_equal(seal_open(all, &p->a, sealed, &out), SEAL_OPENED);
        assert_text(out, STR("the text"));
        if (i == 0)
            assert_text(seal_close(all, &p->a, STR("the text")), sealed);
        seal_free(one);
    }
    seal_free(all);
}

static void test_ring_does_not_open(void **state)
{
    struct place *p = *state;
    struct seal *s = seal_with(p, true, &ring[2], 1), *off = seal_with(p, false, &ring[2], 1);
    static const char *const odd[] = {
        "",
        "plain",
        "not base64!",
        "QUFBQQ==",                 /* no whole block */
        "77+NmbYqNfN+oLm0aX5akg==", /* sealed with another key */
        "77+NmbYqNfN+oLm0aX5ak",    /* cut */
        "bCNXBPzbrTUi1SCwHcmm1A==", /* whole blocks, but without the last */
        "-----BEGIN PRIVATE KEY-----",
    };

    for (size_t i = 0; i < COUNT(odd); i++) {
        assert_stays(p, s, str_of(odd[i]), SEAL_ODD);
        /* What is written unsealed is no surprise. */
        assert_stays(p, off, str_of(odd[i]), SEAL_PLAIN);
    }
    seal_free(s);
    seal_free(off);
}

/* A wrong key gives some padding that is right, and bytes that are not text. */
static void test_ring_of_many_values(void **state)
{
    struct place *p = *state;
    struct seal *old = seal_with(p, true, &ring[2], 1);
    struct str both[] = {ring[0], ring[2]}, out;
    struct seal *s = seal_with(p, true, both, 2);

    for (int i = 0; i < 4000; i++) {
        struct str text = arena_printf(&p->a, "password number %d", i);
        assert_int_equal(seal_open(s, &p->a, seal_close(old, &p->a, text), &out), SEAL_OPENED);
        assert_text(out, text);
    }
    seal_free(old);
    seal_free(s);
}

/* ---- Our own scheme ----------------------------------------------------------------------------
 */

static void test_own_key(void **state)
{
    struct place *p = *state;
    struct stat st;
    struct str out;
    char text[80];

    struct seal *s = seal_with(p, true, NULL, 0);
    assert_int_equal(stat(p->key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 65);
    FILE *f = fopen(p->key, "r");
    assert_int_equal(fread(text, 1, 65, f), 65);
    fclose(f);
    assert_int_equal(strspn(text, "0123456789abcdef"), 64);
    text[64] = 0;
    assert_non_null(strstr(logged, "secret.key"));
    assert_null(strstr(logged, text));

    struct str one = seal_close(s, &p->a, STR("again")), two = seal_close(s, &p->a, STR("again"));
    assert_true(str_starts(one, STR(MARK)));
    assert_false(str_eq(one, two)); /* a nonce of its own */
    seal_free(s);
    /* Another start, with sealing on, off, and with a keyring besides. */
    for (int i = 0; i < 3; i++) {
        s = seal_with(p, i != 1, ring, i == 2);
        assert_int_equal(seal_open(s, &p->a, one, &out), SEAL_OPENED);
        assert_text(out, STR("again"));
        seal_free(s);
    }
}

static void test_own_plain(void **state)
{
    struct place *p = *state;
    struct seal *s = seal_with(p, true, NULL, 0);

    assert_stays(p, s, STR("from an older file"), SEAL_PLAIN);
    assert_stays(p, s, STR(""), SEAL_PLAIN);
    assert_stays(p, s, STR("77+NmbYqNfN+oLm0aX5akg=="), SEAL_PLAIN);
    assert_stays(p, s, STR("{eclusa"), SEAL_PLAIN);
    assert_stays(p, s, STR("{eclusa:2}of a later version"), SEAL_LOCKED);
    seal_free(s);
}

static void test_own_wrong_key(void **state)
{
    struct place *p = *state;
    struct seal *s = seal_with(p, true, NULL, 0);
    struct str sealed = seal_close(s, &p->a, STR("text"));

    seal_free(s);
    unlink(p->key);
    s = seal_with(p, true, NULL, 0);
    assert_stays(p, s, sealed, SEAL_LOCKED);
    seal_free(s);
    unlink(p->key);
    s = seal_with(p, false, NULL, 0); /* none is made */
    assert_stays(p, s, sealed, SEAL_LOCKED);
    assert_int_equal(access(p->key, F_OK), -1);
    seal_free(s);
}

static void test_own_changed(void **state)
{
    struct place *p = *state;
    struct seal *s = seal_with(p, true, NULL, 0);
    /* 12 + 2 + 16 bytes: base64 without padding, so that each character counts. */
    struct str sealed = seal_close(s, &p->a, STR("ab"));
    size_t mark = sizeof(MARK) - 1;

    assert_int_equal((sealed.n - mark) % 4, 0);
    assert_true(str_find(sealed, '=') < 0);
    for (size_t i = mark; i < sealed.n; i++) {
        assert_stays(p, s, str_head(sealed, i), SEAL_LOCKED);
        char *changed = mem_dup(sealed.p, sealed.n);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_stays(p, s, str_make(changed, sealed.n), SEAL_LOCKED);
        changed[i] = '*';
        assert_stays(p, s, str_make(changed, sealed.n), SEAL_LOCKED);
        free(changed);
    }
    assert_stays(p, s, arena_join(&p->a, sealed, STR("AAAA")), SEAL_LOCKED);
    seal_free(s);
}

static void test_own_file_is_bad(void **state)
{
    struct place *p = *state;
    static const char *const bad[] = {
        "", "short\n", "two words and more than that\n", "0123456789abcdef0123456789abcdef\n",
        "x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct seal_config config = {.on = true, .data_dir = str_of(p->dir)};
        struct str err = STR_NONE;
        FILE *f = fopen(p->key, "w");
        fputs(bad[i], f);
        fclose(f);
        chmod(p->key, 0600);
        assert_null(seal_new(&config, &p->a, &err));
        assert_true(str_search(err, STR("does not hold a key")) > 0);
        assert_true(strlen(bad[i]) < 5 || str_search(err, str_of(bad[i])) < 0);
    }
}

/* ---- Documents ---------------------------------------------------------------------------------
 */

static const struct field guard_rows[] = {
    {"header", .type = FIELD_STR}, {"token", FIELD_STR, .flags = FIELD_SECRET}, {0}};
static const struct field login_rows[] = {
    {"user", .type = FIELD_STR}, {"pass", FIELD_STR, .flags = FIELD_SECRET}, {0}};
static const struct fields guard_fields = {.rows = guard_rows}, login_fields = {.rows = login_rows};
static const struct plugin guard = {
    .abi = PLUGIN_ABI, .name = "guard", .conf = &guard_fields, .consumer = &login_fields};
static const struct plugin other = {.abi = PLUGIN_ABI, .name = "other", .conf = &guard_fields};
static const struct plugin bare = {.abi = PLUGIN_ABI, .name = "bare"};
static const struct plugin *const plugins[] = {&guard, &other, &bare, NULL};

#define UPSTREAM "{\"tls\":{\"client_cert\":\"c\",\"client_key\":\"S3CRET\"},\"desc\":\"open\"}"

static const struct sample {
    enum kind kind;
    const char *text;
    int secrets;
} samples[] = {
    {KIND_ROUTE,
     "{\"uri\":\"open\",\"plugins\":{\"guard\":{\"header\":\"open\",\"token\":\"S3CRET\"},"
     "\"other\":{\"token\":\"S3CRET\"},\"bare\":{\"token\":\"open\"},\"none\":{\"token\":\"open\"}}"
     "}",
     2},
    {KIND_CONSUMER,
     "{\"plugins\":{\"guard\":{\"user\":\"open\",\"pass\":\"S3CRET\",\"token\":\"open\"},"
     "\"other\":{\"token\":\"S3CRET\"}}}",
     2},
    {KIND_SERVICE, "{\"plugins\":{\"guard\":{\"token\":\"S3CRET\"}},\"upstream\":" UPSTREAM "}", 2},
    {KIND_PLUGIN_CONFIG, "{\"plugins\":{\"guard\":{\"token\":\"S3CRET\",\"pass\":\"open\"}}}", 1},
    {KIND_UPSTREAM, UPSTREAM, 1},
    {KIND_ROUTE, "{\"upstream\":" UPSTREAM "}", 1},
    /* No secret where one is looked for. */
    {KIND_ROUTE, "{\"plugins\":{\"guard\":{\"token\":7},\"other\":\"open\",\"bare\":[]}}", 0},
    {KIND_ROUTE, "{\"plugins\":\"open\",\"upstream\":[]}", 0},
    {KIND_ROUTE, "{}", 0},
};

static int count_of(struct str s, struct str what)
{
    int n = 0;
    ptrdiff_t at;

    while ((at = str_search(s, what)) >= 0) {
        s = str_from(s, (size_t)at + what.n);
        n++;
    }
    return n;
}

static void test_documents(void **state)
{
    struct place *p = *state;
    struct document_codec *codec = document_codec_new(seal_with(p, true, NULL, 0), false, plugins);

    for (size_t i = 0; i < COUNT(samples); i++) {
        const struct sample *sample = &samples[i];
        struct document_secrets found = {9, 9};
        json_t *before = json_loads(sample->text, 0, NULL), *same = json_deep_copy(before);
        struct str stored = document_encode(codec, &p->a, sample->kind, before);
        assert_true(json_equal(before, same)); /* the caller's is left alone */
        assert_int_equal(count_of(stored, STR(MARK)), sample->secrets);
        assert_int_equal(count_of(stored, STR("S3CRET")), 0);
        assert_int_equal(count_of(stored, STR("open")),
                         count_of(str_of(sample->text), STR("open")));
        json_t *after = document_decode(codec, sample->kind, stored, &found);
        assert_true(json_equal(before, after));
        assert_int_equal(found.odd + found.locked, 0);
        json_decref(before);
        json_decref(same);
        json_decref(after);
        /* An older file's, unsealed. */
        before = json_loads(sample->text, 0, NULL);
        after = document_decode(codec, sample->kind, str_of(sample->text), &found);
        assert_true(json_equal(before, after));
        assert_int_equal(found.odd + found.locked, 0);
        json_decref(before);
        json_decref(after);
    }
    document_codec_free(codec);
}

static void test_documents_not_opened(void **state)
{
    struct place *p = *state;
    struct document_codec *codec = document_codec_new(seal_with(p, true, NULL, 0), false, plugins);
    json_t *value = json_loads(samples[0].text, 0, NULL);
    struct str stored = document_encode(codec, &p->a, KIND_ROUTE, value);
    struct document_secrets found;

    document_codec_free(codec);
    unlink(p->key);
    codec = document_codec_new(seal_with(p, true, ring, 1), false, plugins);
    json_t *got = document_decode(codec, KIND_ROUTE, stored, &found);
    assert_int_equal(found.locked, 2);
    assert_int_equal(found.odd, 0);
    assert_text(document_text(&p->a, got), stored);
    json_decref(got);
    got = document_decode(codec, KIND_ROUTE, str_of(samples[0].text), &found);
    assert_int_equal(found.locked, 0);
    assert_int_equal(found.odd, 2);
    assert_true(json_equal(got, value));
    json_decref(got);
    assert_null(document_decode(codec, KIND_ROUTE, STR("[]"), &found));
    assert_null(document_decode(codec, KIND_ROUTE, STR_NONE, NULL));
    assert_int_equal(found.odd + found.locked, 0);
    document_codec_free(codec);
    /* Without a codec. */
    assert_text(document_encode(NULL, &p->a, KIND_ROUTE, value), document_text(&p->a, value));
    got = document_decode(NULL, KIND_ROUTE, stored, &found);
    assert_text(document_text(&p->a, got), stored);
    json_decref(got);
    json_decref(value);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trips),
        TEST(test_long_text),
        TEST(test_apisix),
        TEST(test_ring),
        TEST(test_ring_does_not_open),
        TEST(test_ring_of_many_values),
        TEST(test_own_key),
        TEST(test_own_plain),
        TEST(test_own_wrong_key),
        TEST(test_own_changed),
        TEST(test_own_file_is_bad),
        TEST(test_documents),
        TEST(test_documents_not_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
