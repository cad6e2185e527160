/* SPDX-License-Identifier: Apache-2.0 */
/* SRV records: what the parser takes and refuses, and how the resolver keeps and renews them. */
#include "dns_fixture.h"

#define SRV(...) .type = FAKE_SRV, .srv = {__VA_ARGS__}

static const char *records_of(const struct dns_name *name)
{
    static char text[512];
    size_t at = 0;

    text[0] = 0;
    for (unsigned i = 0; i < name->nrecords; i++) {
        const struct srv_record *r = &name->records[i];
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u %u %.*s:%u", i ? ", " : "",
                               r->priority, r->weight, STR_ARG(r->target), r->port);
    }
    return text;
}

static struct dns_name *service_of(struct fixture *f, const char *name)
{
    return dns_service(f->d, str_of(name));
}

static void test_records(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake,
             (struct fake_record){.name = "_http._tcp.a.test",
                                  SRV({20, 20, 1981, "B.a.test"}, {10, 60, 1980, "a.a.test"},
                                      {10, 5, 1979, "a.a.test"}),
                                  .ttl = 60});
    start(f, 0);
    struct dns_name *name = service_of(f, "_http._tcp.a.test");
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(records_of(name),
                        "10 5 a.a.test:1979, 10 60 a.a.test:1980, 20 20 b.a.test:1981");
    assert_int_equal(name->generation, 1);
    assert_int_equal(entry_of(name)->next_at - f->t->loop.now_ms > 50000, true);
    /* The name of the service and the host of that name are two. */
    assert_ptr_not_equal(name_of(f, "_http._tcp.a.test"), name);
    assert_ptr_equal(service_of(f, "_http._tcp.a.test"), name);
}

/* What stands for "no records": it is an answer, not a failure. */
static void test_none(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    fake_set(&f->fake, (struct fake_record){.name = "plain.test", A("10.0.0.1"), .ttl = 60});
    struct dns_name *name = service_of(f, "plain.test");
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_int_equal(name->nrecords, 0);
    assert_int_equal(name->generation, 1);
    assert_int_equal(resolve(f, service_of(f, "unknown.test")), DNS_READY);
    assert_int_equal(service_of(f, "unknown.test")->nrecords, 0);
    assert_int_equal(logged.warnings, 0);
}

static void test_changes(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    fake_set(&f->fake, (struct fake_record){.name = "s.test",
                                            SRV({1, 1, 80, "a.test"}, {1, 1, 80, "b.test"}),
                                            .ttl = 60});
    struct dns_name *name = service_of(f, "s.test");
    assert_int_equal(resolve(f, name), DNS_READY);
    /* Another order is the same set. */
    fake_set(&f->fake, (struct fake_record){.name = "s.test",
                                            SRV({1, 1, 80, "b.test"}, {1, 1, 80, "a.test"}),
                                            .ttl = 60});
    entry_of(name)->next_at = f->t->loop.now_ms - 1;
    assert_int_equal(dns_status(f->d, name), DNS_READY); /* the old answer, while it is renewed */
    run_until(f, is_idle, name);
    assert_int_equal(name->generation, 1);
    fake_set(&f->fake,
             (struct fake_record){.name = "s.test", SRV({1, 2, 80, "b.test"}), .ttl = 60});
    entry_of(name)->next_at = f->t->loop.now_ms - 1;
    dns_status(f->d, name);
    run_until(f, is_idle, name);
    assert_int_equal(name->generation, 2);
    assert_string_equal(records_of(name), "1 2 b.test:80");
    /* A server that fails changes nothing. */
    fake_set(&f->fake,
             (struct fake_record){.name = "s.test", .type = FAKE_SRV, .rcode = FAKE_SERVFAIL});
    entry_of(name)->next_at = f->t->loop.now_ms - 1;
    dns_status(f->d, name);
    run_until(f, is_idle, name);
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    assert_string_equal(records_of(name), "1 2 b.test:80");
    assert_true(str_search(str_of(logged.last), STR("its last answer stays in use")) >= 0);
}

static void test_failure(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    fake_set(&f->fake,
             (struct fake_record){.name = "s.test", .type = FAKE_SRV, .rcode = FAKE_SERVFAIL});
    assert_int_equal(resolve(f, service_of(f, "s.test")), DNS_FAILED);
}

/* ---- What resolv.conf says ---- */

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The text tells one server from the other. */
static void file_names(const char *path, const struct fake_dns *fake)
{
    char text[64];

    snprintf(text, sizeof(text), "# %u\nnameserver 127.0.0.1\n", fake->port);
    port_of_servers = fake->port;
    file_write(path, text);
}

/* The next look-up looks at the file. */
static void next_second(struct fixture *f)
{
    f->d->resolv_at = 0;
}

/* What says nothing changes nothing: the look-up that is under way stays where it is. */
static void nothing_changes(struct fixture *f, const char *path, struct dns_name *asked)
{
    static const char *const texts[] = {NULL, "", NULL};
    static const char *const hosts[] = {"0.test", "1.test", "2.test"};
    ares_channel channel = f->d->channel;

    for (size_t i = 0; i < 3; i++) {
        if (texts[i])
            file_write(path, texts[i]);
        else
            unlink(path);
        next_second(f);
        assert_int_equal(dns_status(f->d, name_of(f, hosts[i])), DNS_PENDING);
        run_until(f, is_asked, name_of(f, hosts[i]));
        assert_true(f->d->channel == channel && is_asked(asked));
    }
}

/* Two look-ups are under way at a server that is silent, one has failed, when the file changes. */
static void test_another_server(void **state)
{
    struct fixture *f = *state;
    struct fake_dns mute;
    struct str err;
    char path[] = "/tmp/eclusa-resolv-XXXXXX";

    close(mkstemp(path));
    assert_true(fake_start(&mute));
    fake_set(&mute, (struct fake_record){.name = "*", .type = FAKE_A, .silent = true});
    fake_set(&mute, (struct fake_record){.name = "*", .type = FAKE_AAAA, .silent = true});
    fake_set(&mute, (struct fake_record){.name = "*", .type = FAKE_SRV, .silent = true});
    fake_set(&mute, (struct fake_record){.name = "b.test", .type = FAKE_A, .rcode = FAKE_SERVFAIL});
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 60});
    fake_set(&f->fake, (struct fake_record){.name = "b.test", A("10.0.0.2"), .ttl = 60});
    fake_set(&f->fake, (struct fake_record){.name = "c.test", A("10.0.0.3"), .ttl = 60});
    fake_set(&f->fake,
             (struct fake_record){.name = "s.test", SRV({1, 1, 80, "a.test"}), .ttl = 60});
    file_names(path, &mute);
    struct dns_config config = {.timeout_ms = 600000, .resolv_conf = str_of(path)};
    f->d = dns_new(f->t, &config, &f->arena, &err);
    assert_non_null(f->d);

    struct dns_name *a = name_of(f, "a.test"), *b = name_of(f, "b.test"), *c = name_of(f, "c.test");
    struct dns_name *s = service_of(f, "s.test");
    assert_int_equal(resolve(f, b), DNS_FAILED);
    entry_of(b)->next_at = INT64_MAX; /* it was tried often */
    assert_int_equal(dns_status(f->d, a), DNS_PENDING);
    assert_int_equal(dns_status(f->d, s), DNS_PENDING);
    run_until(f, is_asked, a);
    run_until(f, is_asked, s);
    nothing_changes(f, path, a);
    file_names(path, &f->fake);
    next_second(f);
    assert_int_equal(resolve(f, c), DNS_READY);
    assert_int_equal(resolve(f, a), DNS_READY);
    assert_string_equal(text_of(a), "10.0.0.1");
    assert_int_equal(resolve(f, s), DNS_READY);
    assert_int_equal(s->nrecords, 1);
    assert_int_equal(resolve(f, b), DNS_READY);
    assert_string_equal(text_of(b), "10.0.0.2");
    /* The same text is no change: nothing is asked anew. */
    ares_channel channel = f->d->channel;
    file_names(path, &f->fake);
    next_second(f);
    refresh(f, a);
    assert_ptr_equal(f->d->channel, channel);
    fake_stop(&mute);
    unlink(path);
}

static void check_search(struct fixture *f, bool no_search, enum dns_status want)
{
    char path[] = "/tmp/eclusa-resolv-XXXXXX";
    static const char text[] = "search inner.test\nnameserver 127.0.0.1\n";
    int fd = mkstemp(path);

    assert_true(write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
    close(fd);
    start_with(f,
               (struct dns_config){
                   .timeout_ms = 2000, .no_search = no_search, .resolv_conf = str_of(path)},
               NULL);
    unlink(path);
    assert_int_equal(resolve(f, name_of(f, "web")), want);
    assert_int_equal(resolve(f, name_of(f, "web.inner.test")), DNS_READY);
    assert_int_equal(resolve(f, service_of(f, "web")), DNS_READY);
    assert_int_equal(service_of(f, "web")->nrecords, want == DNS_READY);
    /* With a final dot it is whole. */
    assert_int_equal(resolve(f, name_of(f, "web.")), DNS_FAILED);
}

static void test_search(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "web.inner.test", A("10.0.0.1"), .ttl = 60});
    fake_set(&f->fake,
             (struct fake_record){.name = "web.inner.test", SRV({1, 1, 80, "a.test"}), .ttl = 60});
    check_search(f, false, DNS_READY);
}

static void test_no_search(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "web.inner.test", A("10.0.0.1"), .ttl = 60});
    fake_set(&f->fake,
             (struct fake_record){.name = "web.inner.test", SRV({1, 1, 80, "a.test"}), .ttl = 60});
    check_search(f, true, DNS_FAILED);
}

/* ---- The parser ---- */

struct packet {
    uint8_t bytes[4096];
    uint8_t *at;
};

static void begin(struct packet *m, unsigned questions, unsigned answers)
{
    memset(m, 0, sizeof(*m));
    m->at = m->bytes;
    fake_put(&m->at, 1, 2);
    fake_put(&m->at, 0x8180, 2);
    fake_put(&m->at, questions, 2);
    fake_put(&m->at, answers, 2);
    fake_put(&m->at, 0, 4);
}

static void record(struct packet *m, unsigned type, unsigned ttl, const char *target)
{
    fake_put_name(&m->at, "s.test");
    fake_put(&m->at, type, 2);
    fake_put(&m->at, 1, 2);
    fake_put(&m->at, ttl, 4);
    uint8_t *length = m->at;
    m->at += 2;
    if (type == FAKE_SRV) {
        fake_put(&m->at, 1, 2);
        fake_put(&m->at, 2, 2);
        fake_put(&m->at, 3, 2);
    }
    fake_put_name(&m->at, target);
    fake_put(&length, (uint32_t)(m->at - length - 2), 2);
}

static int parse(const struct packet *m, size_t size, struct srv_answer *answer)
{
    /* On the heap, so that a sanitizer sees a read past the end. */
    uint8_t *copy = mem_dup(m->bytes, size);
    bool ok = srv_parse(copy, size, answer);

    free(copy);
    return ok ? (int)answer->n : -1;
}

static void test_parse(void **state)
{
    struct srv_answer answer;
    struct packet m;

    (void)state;
    begin(&m, 0, 5);
    record(&m, FAKE_CNAME, 7, "t.test");
    record(&m, FAKE_SRV, 60, "a.test");
    record(&m, 16, 1, "of no interest");
    record(&m, FAKE_SRV, 0x80000001, "");
    record(&m, FAKE_SRV, 60, "not a host\r\n");
    size_t size = (size_t)(m.at - m.bytes);
    assert_int_equal(parse(&m, size, &answer), 2);
    assert_true(str_eq(answer.records[0].target, STR("")));
    assert_true(str_eq(answer.records[1].target, STR("a.test")));
    assert_int_equal(answer.ttl, 0);
    srv_free(answer.records, answer.n);
    /* Cut anywhere, it is malformed. */
    for (size_t i = 0; i < size; i++)
        assert_int_equal(parse(&m, i, &answer), -1);
    begin(&m, 1, 0);
    assert_int_equal(parse(&m, 12, &answer), -1);
    begin(&m, 0, 0);
    assert_int_equal(parse(&m, 12, &answer), 0);
    srv_free(answer.records, answer.n);
}

static void test_parse_bad(void **state)
{
    struct srv_answer answer;
    struct packet m;

    (void)state;
    /* A name that is longer than its record, one that is shorter, one that points to itself. */
    begin(&m, 0, 1);
    record(&m, FAKE_SRV, 60, "a.test");
    size_t size = (size_t)(m.at - m.bytes);
    for (int change = -3; change <= 3; change++) {
        struct packet other = m;
        uint8_t *length = other.bytes + 12 + 8 + 8;
        uint8_t *low = length + 1;
        *low = (uint8_t)(*low + change);
        assert_int_equal(parse(&other, size, &answer), change ? -1 : 1);
        if (!change)
            srv_free(answer.records, answer.n);
    }
    uint8_t *target = m.bytes + 12 + 8 + 10 + 6;
    target[0] = 0xc0;
    target[1] = (uint8_t)(target - m.bytes);
    assert_int_equal(parse(&m, size, &answer), -1);
}

static void test_parse_many(void **state)
{
    static struct packet m;
    static uint8_t big[60000];
    struct srv_answer answer;
    uint8_t *at = big;

    (void)state;
    begin(&m, 0, 2000);
    memcpy(at, m.bytes, 12);
    at += 12;
    for (unsigned i = 0; i < 2000; i++) {
        *at++ = 0;
        fake_put(&at, FAKE_SRV, 2);
        fake_put(&at, 1, 2);
        fake_put(&at, 60, 4);
        fake_put(&at, 9, 2);
        fake_put(&at, i, 2);
        fake_put(&at, 0, 4);
        fake_put_name(&at, "a");
    }
    assert_true(srv_parse(big, (size_t)(at - big), &answer));
    assert_int_equal(answer.n, SRV_MAX);
    srv_free(answer.records, answer.n);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records),
        TEST(test_none),
        TEST(test_changes),
        TEST(test_failure),
        TEST(test_search),
        TEST(test_another_server),
        TEST(test_no_search),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
