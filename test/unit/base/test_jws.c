/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Signatures: the examples of RFC 7515, and what becomes of each changed byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/jws.h"

/* RFC 7515, A.1. */
static const char hs256[] =
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0"
    "dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
static const unsigned char hs256_key[] = {
    0x03, 0x23, 0x35, 0x4b, 0x2b, 0x0f, 0xa5, 0xbc, 0x83, 0x7e, 0x06, 0x65, 0x77, 0x7b, 0xa6, 0x8f,
    0x5a, 0xb3, 0x28, 0xe6, 0xf0, 0x54, 0xc9, 0x28, 0xa9, 0x0f, 0x84, 0xb2, 0xd2, 0x50, 0x2e, 0xbf,
    0xd3, 0xfb, 0x5a, 0x92, 0xd2, 0x06, 0x47, 0xef, 0x96, 0x8a, 0xb4, 0xc3, 0x77, 0x62, 0x3d, 0x22,
    0x3d, 0x2e, 0x21, 0x72, 0x05, 0x2e, 0x4f, 0x08, 0xc0, 0xcd, 0x9a, 0xf5, 0x67, 0xd0, 0x80, 0xa3};

/* RFC 7515, A.3. */
static const char es256[] =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxf"
    "KTUJqPP3-Kg6NU1Q";
static const char es256_key[] =
    "-----BEGIN PUBLIC "
    "KEY-----"
    "\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfo"
    "cs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUBLIC KEY-----\n";

static const struct example {
    enum jws_algorithm algorithm;
    const char *token;
    struct str key;
} examples[] = {
    {JWS_HS256, hs256, {(const char *)hs256_key, sizeof(hs256_key)}},
    {JWS_ES256, es256, {es256_key, sizeof(es256_key) - 1}},
};

static bool verifies(struct arena *a, const struct jws_key *key, struct str token)
{
    const char *why;
    struct jws jws;

    return jws_parse(a, token, &jws, &why) && jws_verify(key, &jws);
}

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const struct example *one = &examples[i];
        const char *why;
        struct arena a;
        struct jws jws;
        arena_init(&a, NULL);
        const struct jws_key *key = jws_key_new(&a, one->algorithm, one->key, &why);
        assert_non_null(key);
        assert_true(jws_parse(&a, str_of(one->token), &jws, &why));
        assert_string_equal(json_string_value(json_object_get(jws.payload, "iss")), "joe");
        assert_true(jws_verify(key, &jws));
        arena_fini(&a);
    }
}

/* No byte may change, none may be missing, none may be added. */
static void test_changed_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const struct example *one = &examples[i];
        char text[400];
        size_t n = strlen(one->token);
        const char *why;
        struct arena keys, a;
        arena_init(&keys, NULL);
        const struct jws_key *key = jws_key_new(&keys, one->algorithm, one->key, &why);
        assert_true(n < sizeof(text));
        memcpy(text, one->token, n);
        for (size_t at = 0; at < n - 1; at++) { /* the last one has bits that mean nothing */
            arena_init(&a, NULL);
            text[at] = text[at] == 'A' ? 'B' : 'A';
            assert_false(verifies(&a, key, str_make(text, n)));
            text[at] = one->token[at];
            assert_false(verifies(&a, key, str_make(text, at)));
            arena_fini(&a);
        }
        arena_init(&a, NULL);
        text[n] = 'A';
        assert_false(verifies(&a, key, str_make(text, n + 1)));
        assert_true(verifies(&a, key, str_make(text, n)));
        arena_fini(&a);
        arena_fini(&keys);
    }
}

static void test_keys_of_other_kinds(void **state)
{
    const char *why = NULL;
    struct arena a;

    (void)state;
    arena_init(&a, NULL);
    assert_null(jws_key_new(&a, JWS_ES384, str_of(es256_key), &why));
    assert_string_equal(why, "its type is not the algorithm's");
    assert_null(jws_key_new(&a, JWS_RS256, str_of(es256_key), &why));
    assert_null(jws_key_new(&a, JWS_EDDSA, str_of(es256_key), &why));
    assert_null(jws_key_new(&a, JWS_RS256, STR(""), &why));
    assert_string_equal(why, "it is no public key in PEM");
    /* A public key that somebody takes for a secret verifies nothing that is signed with it. */
    const struct jws_key *key = jws_key_new(&a, JWS_ES256, str_of(es256_key), &why);
    assert_non_null(key);
    assert_false(verifies(&a, key, str_of(hs256)));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_keys_of_other_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
