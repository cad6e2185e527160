/* SPDX-License-Identifier: Apache-2.0 */
/* What of .proto files is good, and where what is not is bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/proto.h"

static void check(const char *text, const char *expected)
{
    struct str err = STR_NONE;
    struct arena a;

    arena_init(&a, NULL);
    bool good = proto_check(str_of(text), &a, &err);
    if (good != !expected || (expected && !str_eq(err, str_of(expected))))
        fail_msg("%s\n  got      %.*s\n  expected %s", text, STR_ARG(good ? STR("good") : err),
                 expected ? expected : "good");
    arena_fini(&a);
}

static void test_good(void **state)
{
    static const char *const texts[] = {
        "",
        ";;",
        "syntax = 'proto3';",
        "edition = \"2023\"; package a.b.c; import weak \"x.proto\"; import 'y.proto';",
        "option java_package = \"a\" \"b\"; option (a.b).c.(d) = 1; option (x) = { a: [1, 2] b { } "
        "};",
        "message A {}",
        "message A { string b = 1; .a.B c = 2 [deprecated = true, json_name = 'x']; }",
        "message A { repeated group B = 1 { optional int32 c = 0x2; } }",
        "message A { map<string, .a.B> c = 017; oneof d { option x = 1; A e = 1; } }",
        "message A { reserved 1, 3 to 5, 9 to max; reserved 'a', 'b'; extensions 100 to max; }",
        "message A { enum B { C = 0; D = -1 [(x) = +1.5e-3]; reserved -2; } message E { } extend F "
        "{ int32 g = 1; } }",
        "service S { option x = 1; rpc A (stream B) returns (.c.D); rpc E (F) returns (G) { option "
        "h = inf; ; } }",
        "// one\n/* two\n * three */ message A { /**/ string rpc = 1; int32 message = 2; }",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check(texts[i], NULL);
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *err;
    } texts[] = {
        {"x", "1:1: message, enum, service, syntax, import, package or option expected near 'x'"},
        {"message", "1:8: <name> expected, but the text ends"},
        {"message a.b {}", "1:9: <name> expected near 'a.b'"},
        {"message A {", "1:12: <typename> expected, but the text ends"},
        {"message A {\n  string b = 1\n}", "3:1: ';' expected near '}'"},
        {"message A { string b = c; }", "1:24: <number> expected near 'c'"},
        {"message A { map<string> b = 1; }", "1:23: ',' expected near '>'"},
        {"syntax = proto3;", "1:10: <string> expected near 'proto3'"},
        {"option a = ;", "1:12: <constant> expected near ';'"},
        {"option a = { b: 1", "1:18: '}' expected, but the text ends"},
        {"service S { rpc A (B) returns C; }", "1:31: '(' expected near 'C'"},
        {"service S { message A {} }", "1:13: 'rpc' expected near 'message'"},
        {"enum A { B = 0 }", "1:16: ';' expected near '}'"},
        {"import 'x\n';", "1:8: <string> expected near ''"},
        {"message A { /* ", "1:13: <typename> expected near '/*'"},
        {"message A {} }",
         "1:14: message, enum, service, syntax, import, package or option expected near '}'"},
        {"\x01",
         "1:1: message, enum, service, syntax, import, package or option expected near '\x01'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check(texts[i].text, texts[i].err);
}

static void test_deep(void **state)
{
    char text[4096];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "message A{");
    for (int i = 0; i < 64; i++)
        text[n++] = '}';
    text[n] = 0;
    check(text, NULL);
    snprintf(text, sizeof(text), "message A{");
    for (int i = 0; i < 70; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "message A{");
    struct arena a;
    struct str err = STR_NONE;
    arena_init(&a, NULL);
    assert_false(proto_check(str_of(text), &a, &err));
    assert_true(str_search(err, STR("fewer levels")) > 0);
    arena_fini(&a);
}

/* FileDescriptorSet: field 1, length-delimited, once or more. */
static void test_sets(void **state)
{
    (void)state;
    check("CgkKB2EucHJvdG8=", NULL); /* {file {name "a.proto"}} */
    check("CgkKB2EucHJvdG8", NULL);  /* without its padding */
    check("\n  CgkKB2EucHJvdG8=\n", NULL);
    check("CgkKB2EucHJvdG8KAA==", NULL); /* and an empty one */
    check("CggKB2EucHJvdG8=", "1:1: message, enum, service, syntax, import, package or option "
                              "expected near 'CggKB2EucHJvdG8'");
    check("CgIIAQ==",
          "1:1: message, enum, service, syntax, import, package or option expected near 'CgIIAQ'");
    check("EAE=",
          "1:1: message, enum, service, syntax, import, package or option expected near 'EAE'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
