/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: each operator with texts, numbers, null and absent variables, groups, and what is
 * refused with which words (lua-resty-expr). */
#include "fake_exchange.h"

/* The request that all are asked about. */
#define REQUEST                                                                                    \
    "GET "                                                                                         \
    "/c?nul=5%00x&n=10&f=1.5&h=0x10&w=word&e=&neg=-3&ip=10.0.0.7&list=a,%20b,3&flag&query={owner+" \
    "repo} "                                                                                       \
    "HTTP/1.1\r\n"                                                                                 \
    "Host: h\r\nX-Client: 2001:db8::7\r\n\r\n"

static struct expr *build(const char *text)
{
    json_error_t error;
    json_t *source = json_loads(text, 0, &error);

    if (!source)
        fail_msg("%s: %s", text, error.text);
    fake.build.err = STR_NONE;
    struct expr *e = build_expr(&fake.build, source);
    json_decref(source);
    return e;
}

static bool matches(const char *text)
{
    struct expr *e = build(text);

    if (!e)
        fail_msg("%s: refused: %.*s", text, STR_ARG(fake.build.err));
    return expr_matches(fake.ex, e);
}

/* long: a table of rules */
static void test_operators(void **state)
{
    static const struct {
        const char *rule;
        bool matches;
    } rows[] = {
        /* texts */
        {"['arg_w','==','word']", true},
        {"['arg_w','==','Word']", false},
        {"['arg_w','~=','other']", true},
        {"['arg_w','~=','word']", false},
        {"['arg_e','==','']", true},
        {"['uri','==','/c']", true},
        {"['arg_n','==','10.0']", false},
        /* numbers: by value */
        {"['arg_n','==',10]", true},
        {"['arg_n','==',10.0]", true},
        {"['arg_h','==',16]", true},
        {"['arg_w','==',0]", false},
        {"['arg_w','~=',0]", true},
        {"['arg_n','~=',10]", false},
        {"['arg_n','~=',11]", true},
        /* order: numbers alone */
        {"['arg_n','>',9]", true},
        {"['arg_n','>',10]", false},
        {"['arg_n','>=',10]", true},
        {"['arg_n','<','11']", true},
        {"['arg_n','<',9]", false},
        {"['arg_n','<=','10']", true},
        {"['arg_f','>',1.4]", true},
        {"['arg_neg','<',0]", true},
        {"['arg_w','>','a']", false},
        {"['arg_w','<','z']", false},
        {"['arg_n','>','word']", false},
        {"['arg_e','<',1]", false},
        {"['arg_n','<',true]", false},
        /* absent, null, booleans */
        {"['arg_none','==','']", false},
        {"['arg_none','~=','x']", true},
        {"['arg_none','~=',1]", true},
        {"['arg_none','==',null]", true},
        {"['arg_none','~=',null]", false},
        {"['arg_e','==',null]", false},
        {"['arg_w','~=',null]", true},
        {"['arg_none','>',0]", false},
        {"['arg_none','<',1]", false},
        {"['arg_none','~~','.*']", false},
        {"['arg_none','in',['']]", false},
        {"['arg_none','has','']", false},
        {"['arg_none','ipmatch','0.0.0.0/0']", false},
        {"['arg_w','==',true]", false},
        {"['arg_w','~=',true]", true},
        /* patterns */
        {"['arg_w','~~','^w.rd$']", true},
        {"['arg_w','~~','or']", true},
        {"['arg_w','~~','^W']", false},
        {"['arg_w','~*','^W']", true},
        {"['arg_w','~*','x']", false},
        /* lists */
        {"['arg_w','in',['a','word']]", true},
        {"['arg_w','in',['a']]", false},
        {"['arg_w','in',[]]", false},
        {"['arg_w','in','word']", false},
        {"['arg_n','in',[10]]", false},
        {"['arg_n','in',['10']]", true},
        {"['arg_w','IN',['word']]", true},
        {"['arg_list','has','b']", false}, /* a text is no list */
        {"['arg_w','HAS','word']", false},
        {"['arg_w','!','has','word']", true},
        {"['graphql_root_fields','has','owner']", true},
        {"['graphql_root_fields','HAS','repo']", true},
        {"['graphql_root_fields','has','r']", false},
        {"['graphql_root_fields','==','repo']", false},
        {"['graphql_root_fields','~=','repo']", true},
        {"['graphql_root_fields','~~','repo']", false},
        {"['graphql_root_fields','in',['repo']]", false},
        {"['graphql_operation','==','query']", true},
        {"['graphql_name','==','']", true},
        {"['graphql_none','==',null]", true},
        /* an argument without a value is true */
        {"['arg_flag','==',true]", true},
        {"['arg_flag','==','']", false},
        {"['arg_flag','~=',false]", true},
        {"['arg_flag','in',[true]]", true},
        {"['arg_w','==',['word']]", false},
        {"['arg_w','~=',['word']]", true},
        {"['arg_n','>',[1]]", false},
        /* addresses */
        {"['arg_ip','ipmatch','10.0.0.0/8']", true},
        {"['arg_ip','ipmatch',['1.1.1.1','10.0.0.7']]", true},
        {"['arg_ip','IpMatch',['1.1.1.1']]", false},
        {"['arg_w','ipmatch',['0.0.0.0/0']]", false},
        {"['remote_addr','ipmatch',['10.1.2.3']]", true},
        {"['http_x_client','ipmatch',['2001:db8::/32']]", true},
        /* not */
        {"['arg_w','!','==','word']", false},
        {"['arg_nul','==',5]", false},
        {"['arg_w','!','==','x']", true},
        {"['arg_w','!','in',['word']]", false},
        {"['arg_none','!','==','x']", true},
        {"['arg_ip','!','ipmatch',['10.0.0.0/8']]", false},
        {"['arg_n','!','>',10]", true},
        /* the short form */
        {"['arg_w','word']", true},
        {"['arg_w','x']", false},
        {"['arg_none','==']", true},
    };
    char text[256];

    (void)state;
    fake_request(REQUEST);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        snprintf(text, sizeof(text), "[%s]", rows[i].rule);
        for (char *p = text; *p; p++)
            if (*p == '\'')
                *p = '"';
        if (matches(text) != rows[i].matches)
            fail_msg("%s %s", rows[i].rule, rows[i].matches ? "does not match" : "matches");
    }
}

#define T "[\"arg_w\",\"==\",\"word\"]"
#define F "[\"arg_w\",\"==\",\"x\"]"

static void test_groups(void **state)
{
    static const struct {
        const char *text;
        bool matches;
    } rows[] = {
        {"[]", true},
        {"[" T "]", true},
        {"[" F "]", false},
        {"[" T "," T "]", true},
        {"[" T "," F "]", false},
        {"[\"AND\"," T "," T "]", true},
        {"[\"AND\"," T "," F "]", false},
        {"[\"OR\"," F "," T "]", true},
        {"[\"OR\"," F "," F "]", false},
        {"[\"or\"," F "," T "]", true},
        {"[\"!AND\"," T "," T "]", false},
        {"[\"!AND\"," T "," F "]", true},
        {"[\"!OR\"," F "," F "]", true},
        {"[\"!or\"," F "," T "]", false},
        {"[" T ",[\"OR\"," F "," T "]]", true},
        {"[" T ",[\"OR\"," F ",[\"!AND\"," T "," T "]]]", false},
        {"[[" T "," T "],[" T "]]", true},
        {"[\"OR\"," F ",[" T "," T "]]", true},
    };

    (void)state;
    fake_request(REQUEST);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (matches(rows[i].text) != rows[i].matches)
            fail_msg("%s %s", rows[i].text, rows[i].matches ? "does not match" : "matches");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"[\"arg_w\",\"==\",\"x\"]", "rule should be wrapped inside brackets"},
        {"[1]", "rule should be wrapped inside brackets"},
        {"{}", "rule should be wrapped inside brackets"},
        {"[" T ",1]", "rule should be wrapped inside brackets"},
        {"[[\"a\",\"=\",\"b\"]]", "invalid operator '='"},
        {"[[\"a\",\"!=\",\"b\"]]", "invalid operator '!='"},
        {"[[\"a\",\"!\",\"=\",\"b\"]]", "invalid operator '='"},
        {"[[\"a\",\"==\",\"b\",\"c\"]]", "bad 'not' expression"},
        {"[[\"a\"]]", "invalid expression"},
        {"[[null,\"==\",1]]", "invalid expression"},
        {"[[\"a\",null,1]]", "invalid expression"},
        {"[[]]", "rule too short"},
        {"[\"AND\"]", "rule too short"},
        {"[\"OR\"," T "]", "rule too short"},
        {"[[\"a\",\"ipmatch\",\"\"]]", "invalid ip address"},
        {"[[\"a\",\"ipmatch\",[]]]", "invalid ip address"},
        {"[[\"a\",\"ipmatch\",[\"1.2.3\"]]]", "invalid ip address: 1.2.3"},
        {"[[\"a\",\"~~\",[\"x\"]]]", "a regular expression must be a string"},
        {"[[\"a\",\"~~\"]]", "a regular expression must be a string"},
        {"[[\"a\",\"==\",{}]]", "invalid operand in an expression"},
    };

    (void)state;
    fake_request(REQUEST);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (build(rows[i].text))
            fail_msg("%s is not refused", rows[i].text);
        assert_string_equal(text_of_str(fake.build.err), rows[i].error);
    }
    /* A pattern that is none: PCRE's words. */
    assert_null(build("[[\"a\",\"~~\",\"(\"]]"));
    assert_true(fake.build.err.n > 0);
    /* Depth is bounded. */
    char deep[256] = "";
    for (int i = 0; i < 40; i++)
        strncat(deep, "[", sizeof(deep) - strlen(deep) - 1);
    strncat(deep, "1", sizeof(deep) - strlen(deep) - 1);
    for (int i = 0; i < 40; i++)
        strncat(deep, "]", sizeof(deep) - strlen(deep) - 1);
    assert_null(build(deep));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_operators),
        TEST(test_groups),
        TEST(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
