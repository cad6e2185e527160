/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver against a DNS server of our own: what is an answer, how long it holds, what happens
 * when there is none, and who is told when. Time passes only where a look-up is to time out; other
 * ends of answers are brought about by setting the entry's clock back. */
#include "dns_fixture.h"

/* ---- answers ------------------------------------------------------------------------------------
 */

static void test_first_answer(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){
                           .name = "a.test", A("10.0.0.2", "10.0.0.1", "10.0.0.2"), .ttl = 60});
    fake_set(&f->fake,
             (struct fake_record){.name = "a.test", AAAA("fd00::2", "fd00::1"), .ttl = 60});
    start(f, 0);
    struct dns_name *name = name_of(f, "a.test");
    assert_int_equal(name->generation, 0);
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(text_of(name), "10.0.0.1 10.0.0.2 fd00::1 fd00::2");
    assert_int_equal(name->generation, 1);
    assert_int_equal(fake_asked(&f->fake), 2); /* one A, one AAAA */
    /* Fresh: nobody is asked. */
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    assert_true(is_idle(name));
    assert_int_equal(logged.warnings, 0);
}

static void test_ipv4_only(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 60});
    fake_set(&f->fake, (struct fake_record){.name = "a.test", AAAA("fd00::1"), .ttl = 60});
    start_with(f, (struct dns_config){.timeout_ms = 2000}, NULL);
    assert_int_equal(resolve(f, name_of(f, "a.test")), DNS_READY);
    assert_string_equal(text_of(name_of(f, "a.test")), "10.0.0.1");
    assert_int_equal(fake_asked(&f->fake), 1);
}

static void test_ttl(void **state)
{
    static const struct {
        const char *name, *cname;
        uint32_t cname_ttl, ttl;
        int64_t ms;
    } rows[] = {
        {"plain.test", NULL, 0, 60, 60000},           {"alias.test", "to.test", 7, 60, 7000},
        {"alias2.test", "to.test", 60, 8, 8000},      {"zero.test", NULL, 0, 0, 1000},
        {"negative.test", NULL, 0, UINT32_MAX, 1000}, {"long.test", NULL, 0, 86400, 3600000},
    };
    struct fixture *f = *state;

    start(f, 0);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct dns_name *name = name_of(f, rows[i].name);
        fake_set(&f->fake, (struct fake_record){.name = rows[i].name,
                                                .cname = rows[i].cname,
                                                .cname_ttl = rows[i].cname_ttl,
                                                .ttl = rows[i].ttl,
                                                A("10.0.0.1")});
        assert_int_equal(resolve(f, name), DNS_READY);
        assert_string_equal(text_of(name), "10.0.0.1");
        assert_in_range(valid_for(f, name), rows[i].ms - 200, rows[i].ms);
    }
}

static void test_valid_ms(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 3000});
    start(f, 20000);
    assert_int_equal(resolve(f, name_of(f, "a.test")), DNS_READY);
    assert_in_range(valid_for(f, name_of(f, "a.test")), 19800, 20000);
}

static bool generation_is_2(void *arg)
{
    return ((struct dns_name *)arg)->generation == 2;
}

/* Asked every turn, as traffic does; never anything but READY. */
static void test_refresh_behind(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1", "10.0.0.2")});
    start(f, 5);
    struct dns_name *name = name_of(f, "a.test");
    assert_int_equal(resolve(f, name), DNS_READY);
    /* The same set in another order is no change. */
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.2", "10.0.0.1")});
    refresh(f, name);
    assert_int_equal(name->generation, 1);
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.3")});
    while (!generation_is_2(name)) {
        assert_int_equal(dns_status(f->d, name), DNS_READY);
        run_until(f, is_idle, name);
    }
    assert_string_equal(text_of(name), "10.0.0.3");
    assert_int_equal(logged.warnings, 0);
}

static void test_tcp(void **state)
{
    struct fixture *f = *state;
    struct fake_record r = {.name = "many.test", .type = FAKE_A, .ttl = 60, .truncated = true};
    char text[FAKE_ADDRS][24];

    for (int i = 0; i < FAKE_ADDRS; i++) {
        snprintf(text[i], sizeof(text[i]), "10.0.1.%d", i + 1);
        r.addrs[i] = text[i];
    }
    fake_set(&f->fake, r);
    start(f, 0);
    assert_int_equal(resolve(f, name_of(f, "many.test")), DNS_READY);
    assert_int_equal(name_of(f, "many.test")->naddrs, FAKE_ADDRS);
    assert_int_equal(fake_asked_tcp(&f->fake), 1);
}

static void test_search_domains(void **state)
{
    struct fixture *f = *state;

    setenv("LOCALDOMAIN", "one.test two.test", 1);
    fake_set(&f->fake, (struct fake_record){.name = "db.two.test", A("10.0.0.1"), .ttl = 60});
    start(f, 0);
    assert_int_equal(resolve(f, name_of(f, "db")), DNS_READY);
    assert_string_equal(text_of(name_of(f, "db")), "10.0.0.1");
    /* Not for a name with a final dot. */
    assert_int_equal(resolve(f, name_of(f, "db.")), DNS_FAILED);
}

/* ---- failures -----------------------------------------------------------------------------------
 */

static void test_no_name(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.wait.done = on_told};

    start(f, 0);
    struct dns_name *name = name_of(f, "none.test");
    assert_int_equal(resolve(f, name), DNS_FAILED);
    assert_int_equal(logged.warnings, 1);
    unsigned asked = fake_asked(&f->fake);
    /* Not again within a second, however often it is wanted. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(dns_status(f->d, name), DNS_FAILED);
    assert_true(is_idle(name));
    assert_in_range(valid_for(f, name), 800, 1000);
    /* Who waits without a look-up is told all the same, and not on the spot. */
    dns_wait_start(name, &w.wait);
    assert_false(w.told);
    run_until(f, is_told, &w);
    assert_int_equal(fake_asked(&f->fake), asked);
    /* Then it is, as often as it fails, with the same pause and without another line. */
    for (int i = 0; i < 3; i++) {
        entry_of(name)->next_at = f->t->loop.now_ms;
        assert_int_equal(resolve(f, name), DNS_FAILED);
        assert_in_range(valid_for(f, name), 800, 1000);
    }
    assert_true(fake_asked(&f->fake) > asked);
    assert_int_equal(logged.warnings, 1);
    /* It comes into being. */
    fake_set(&f->fake, (struct fake_record){.name = "none.test", A("10.0.0.1"), .ttl = 60});
    entry_of(name)->next_at = f->t->loop.now_ms;
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_int_equal(logged.warnings, 2);
}

static void fail_and_recover(struct fixture *f, const char *host, struct fake_record broken)
{
    static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct fake_record good = {.name = host, A("10.0.0.1"), .ttl = 60};
    struct dns_name *name = name_of(f, host);

    fake_set(&f->fake, good);
    assert_int_equal(resolve(f, name), DNS_READY);
    logged.warnings = 0;
    broken.name = host;
    broken.type = FAKE_A;
    fake_clear(&f->fake);
    if (broken.rcode != FAKE_NXDOMAIN)
        fake_set(&f->fake, broken);
    for (unsigned i = 0; i < sizeof(pauses) / sizeof(*pauses); i++) {
        refresh(f, name);
        assert_int_equal(dns_status(f->d, name), DNS_READY);
        assert_string_equal(text_of(name), "10.0.0.1");
        assert_in_range(valid_for(f, name), pauses[i] - 200, pauses[i]);
        assert_int_equal(logged.warnings, 1);
    }
    assert_non_null(strstr(logged.last, "its last answer stays in use"));
    good.addrs[0] = "10.0.0.9";
    fake_set(&f->fake, good);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.0.0.9");
    assert_int_equal(logged.warnings, 2);
    assert_non_null(strstr(logged.last, "can be resolved again"));
    refresh(f, name);
    assert_int_equal(logged.warnings, 2);
}

static void test_last_answer_kept(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    fail_and_recover(f, "nxdomain.test", (struct fake_record){.rcode = FAKE_NXDOMAIN});
    fail_and_recover(f, "servfail.test", (struct fake_record){.rcode = FAKE_SERVFAIL});
    fail_and_recover(f, "empty.test", (struct fake_record){.rcode = 0});
}

static void test_silence(void **state)
{
    struct fixture *f = *state;
    int64_t began = f->t->loop.now_ms;

    fake_set(&f->fake, (struct fake_record){.name = "mute.test", .type = FAKE_A, .silent = true});
    start_with(f, (struct dns_config){.timeout_ms = 150, .ipv6 = true}, NULL);
    struct dns_name *name = name_of(f, "mute.test");
    assert_int_equal(resolve(f, name), DNS_FAILED);
    assert_in_range(f->t->loop.now_ms - began, 150, 3000);
    assert_int_equal(logged.warnings, 1);
    run_until(f, is_idle, name);
    assert_int_equal(logged.warnings, 1);
    assert_int_equal(entry_of(name)->fails, 1);
    /* A stale answer is used all through a silent look-up. */
    fake_set(&f->fake, (struct fake_record){.name = "mute.test", A("10.0.0.1"), .ttl = 60});
    entry_of(name)->next_at = f->t->loop.now_ms;
    assert_int_equal(resolve(f, name), DNS_READY);
    fake_set(&f->fake, (struct fake_record){.name = "mute.test", .type = FAKE_A, .silent = true});
    refresh(f, name);
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    assert_int_equal(entry_of(name)->fails, 1);
}

/* Waiters are let go in time; what comes afterwards is an answer still. */
static void test_late_answer(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake,
             (struct fake_record){.name = "late.test", A("10.0.0.1"), .ttl = 60, .skip = 2});
    start_with(f, (struct dns_config){.timeout_ms = 70}, NULL);
    struct dns_name *name = name_of(f, "late.test");
    assert_int_equal(resolve(f, name), DNS_FAILED);
    assert_true(is_late(name));
    run_until(f, is_idle, name);
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    assert_string_equal(text_of(name), "10.0.0.1");
    assert_int_equal(logged.warnings, 2); /* that it failed, and that it is there */
}

static void test_second_server(void **state)
{
    struct fixture *f = *state;
    struct fake_dns mute;
    char first[32];

    assert_true(fake_start(&mute));
    fake_set(&mute, (struct fake_record){.name = "*", .type = FAKE_A, .silent = true});
    fake_set(&mute, (struct fake_record){.name = "*", .type = FAKE_AAAA, .silent = true});
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 60});
    snprintf(first, sizeof(first), "127.0.0.1:%u", mute.port);
    start_with(f, (struct dns_config){.timeout_ms = 2000, .ipv6 = true}, first);
    int64_t began = f->t->loop.now_ms;
    assert_int_equal(resolve(f, name_of(f, "a.test")), DNS_READY);
    assert_true(fake_asked(&mute) > 0);
    assert_true(f->t->loop.now_ms - began < 2000);
    assert_int_equal(logged.warnings, 0);
    fake_stop(&mute);
}

/* A port where nobody listens is found out at once, not by time. */
static void test_refused_server(void **state)
{
    struct fixture *f = *state;
    struct fake_dns gone;
    char first[32];

    assert_true(fake_start(&gone));
    snprintf(first, sizeof(first), "127.0.0.1:%u", gone.port);
    fake_stop(&gone);
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 60});
    start_with(f, (struct dns_config){.timeout_ms = 600000}, first);
    int64_t began = f->t->loop.now_ms;
    assert_int_equal(resolve(f, name_of(f, "a.test")), DNS_READY);
    assert_true(f->t->loop.now_ms - began < 5000);
}

/* An answer that nobody asked for in a long while may name somebody else's address by now. */
static void test_too_old(void **state)
{
    struct fixture *f = *state;

    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.1"), .ttl = 60});
    start_with(f, (struct dns_config){.timeout_ms = 100}, NULL);
    struct dns_name *name = name_of(f, "a.test");
    assert_int_equal(resolve(f, name), DNS_READY);
    fake_set(&f->fake, (struct fake_record){.name = "a.test", A("10.0.0.2"), .ttl = 60});
    entry_of(name)->next_at = f->t->loop.now_ms - STALE_MS - 1;
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(text_of(name), "10.0.0.2");
    /* Without a new answer it is used after all. */
    fake_set(&f->fake, (struct fake_record){.name = "a.test", .type = FAKE_A, .silent = true});
    entry_of(name)->next_at = f->t->loop.now_ms - STALE_MS - 1;
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(text_of(name), "10.0.0.2");
    assert_int_equal(logged.warnings, 1);
    run_until(f, is_idle, name);
    /* And in the retries nobody waits. */
    entry_of(name)->next_at = f->t->loop.now_ms - STALE_MS - 1;
    assert_int_equal(dns_status(f->d, name), DNS_READY);
    run_until(f, is_idle, name);
}

/* One family's server error must not take away that family's addresses. */
static void test_one_family_fails(void **state)
{
    struct fixture *f = *state;
    struct fake_record v4 = {.name = "a.test", A("10.0.0.1"), .ttl = 60};
    struct fake_record v6 = {.name = "a.test", AAAA("fd00::1"), .ttl = 60};
    struct fake_record broken = {.name = "a.test", .type = FAKE_A, .rcode = FAKE_SERVFAIL};

    fake_set(&f->fake, broken);
    fake_set(&f->fake, v6);
    start(f, 0);
    struct dns_name *name = name_of(f, "a.test");
    /* At first: what there is, at once, and another look soon. */
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(text_of(name), "fd00::1");
    run_until(f, is_idle, name);
    assert_in_range(valid_for(f, name), PARTIAL_MS - 200, PARTIAL_MS);
    fake_set(&f->fake, v4);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.0.0.1 fd00::1");
    assert_in_range(valid_for(f, name), 59800, 60000);
    /* Later: kept. */
    fake_set(&f->fake, broken);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.0.0.1 fd00::1");
    fake_set(&f->fake, v4);
    broken.type = FAKE_AAAA;
    fake_set(&f->fake, broken);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.0.0.1 fd00::1");
    assert_int_equal(name->generation, 2);
    /* A family that the server says is gone is gone. */
    fake_clear(&f->fake);
    fake_set(&f->fake, v4);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.0.0.1");
    fake_clear(&f->fake);
    fake_set(&f->fake, v6);
    refresh(f, name);
    assert_string_equal(text_of(name), "fd00::1");
}

static void test_second_question_succeeds(void **state)
{
    static const uint32_t ttls[][2] = {{7, 60}, {60, 7}};
    struct fixture *f = *state;

    start(f, 0);
    for (int i = 0; i < 2; i++) {
        const char *host = i ? "a.test" : "b.test";
        struct dns_name *name = name_of(f, host);
        fake_set(&f->fake,
                 (struct fake_record){
                     .name = host, A("10.0.0.1"), .ttl = ttls[i][0], .breaks = DNS_TRIES});
        fake_set(&f->fake, (struct fake_record){.name = host, AAAA("fd00::1"), .ttl = ttls[i][1]});
        assert_int_equal(resolve(f, name), DNS_READY);
        run_until(f, is_idle, name);
        assert_string_equal(text_of(name), "10.0.0.1 fd00::1");
        assert_in_range(valid_for(f, name), 6800, 7000);
    }
}

static void test_second_question_has_no_search(void **state)
{
    struct fixture *f = *state;

    setenv("LOCALDOMAIN", "one.test two.test", 1);
    fake_set(&f->fake, (struct fake_record){.name = "db.one.test", AAAA("fd00::1"), .ttl = 60});
    fake_set(&f->fake, (struct fake_record){.name = "*.two.test", A("10.6.6.6"), .ttl = 60});
    start(f, 0);
    assert_int_equal(resolve(f, name_of(f, "db")), DNS_READY);
    run_until(f, is_idle, name_of(f, "db"));
    assert_string_equal(text_of(name_of(f, "db")), "fd00::1");
}

static void test_bad_names(void **state)
{
    struct fixture *f = *state;
    char label[80], whole[300];
    struct str names[] = {STR(""), STR("a\0b.test"), STR("a..test"), {label, 70}, {whole, 290}};

    memset(label, 'a', sizeof(label));
    for (size_t i = 0; i < sizeof(whole); i++)
        whole[i] = i % 50 ? 'a' : '.';
    start(f, 0);
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct dns_name *name = dns_name(f->d, names[i]);
        assert_int_equal(dns_status(f->d, name), DNS_PENDING);
        assert_int_equal(resolve(f, name), DNS_FAILED);
    }
    assert_int_equal(fake_asked(&f->fake), 0);
}

/* ---- the hosts file -----------------------------------------------------------------------------
 */

static void test_hosts_file(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_dns_hosts_XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    fputs("10.1.0.2 both.test other\n10.1.0.1 both.test\nfd00::7 both.test\nfd00::8 six.test\n",
          file);
    fflush(file);
    setenv("CARES_HOSTS", path, 1);
    fake_set(&f->fake, (struct fake_record){.name = "both.test", A("10.9.9.9"), .ttl = 60});
    start(f, 50);
    struct dns_name *name = name_of(f, "both.test");
    /* c-ares has the answer at once; it is still not given inside the call. */
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    assert_int_equal(name->naddrs, 0);
    assert_int_equal(resolve(f, name), DNS_READY);
    assert_string_equal(text_of(name), "10.1.0.1 10.1.0.2 fd00::7");
    assert_in_range(valid_for(f, name), FILE_MS - 200, FILE_MS);
    assert_int_equal(resolve(f, name_of(f, "six.test")), DNS_READY);
    assert_string_equal(text_of(name_of(f, "six.test")), "fd00::8");
    assert_int_equal(fake_asked(&f->fake), 0);
    /* Changes of the file are seen. */
    fputs("10.1.0.3 both.test\n", file);
    fflush(file);
    refresh(f, name);
    assert_string_equal(text_of(name), "10.1.0.1 10.1.0.2 10.1.0.3 fd00::7");
    fclose(file);
    unlink(path);
    /* Without the file: the servers. */
    refresh(f, name);
    run_until(f, is_idle, name);
    assert_string_equal(text_of(name), "10.9.9.9");
}

static void test_localhost(void **state)
{
    static const char *const names[] = {"localhost", "localhost.", "LOCALHOST", "x.localhost"};
    struct fixture *f = *state;

    setenv("CARES_HOSTS", "/nonexistent/hosts", 1);
    start(f, 0);
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(resolve(f, name_of(f, names[i])), DNS_READY);
        assert_string_equal(text_of(name_of(f, names[i])), "127.0.0.1 ::1");
    }
    assert_int_equal(resolve(f, name_of(f, "notlocalhost")), DNS_FAILED);
    assert_int_equal(resolve(f, name_of(f, "localhost.test")), DNS_FAILED);
}

/* ---- waiters, bounds, ends ----------------------------------------------------------------------
 */

struct chain {
    struct waiter w;
    struct fixture *f;
    struct waiter *cancelled;
    struct waiter other;
};

static void on_chain(struct dns_wait *w)
{
    struct chain *c = CONTAINER(w, struct chain, w.wait);
    struct dns_name *b = dns_name(c->f->d, STR("b.test"));

    on_told(w);
    dns_wait_cancel(&c->cancelled->wait);
    assert_int_equal(dns_status(c->f->d, dns_name(c->f->d, STR("a.test"))), DNS_READY);
    assert_int_equal(dns_status(c->f->d, b), DNS_PENDING);
    dns_wait_start(b, &c->other.wait);
    dns_wait_cancel(w); /* harmless */
}

static void test_waiters(void **state)
{
    struct fixture *f = *state;
    struct waiter gone = {.wait.done = on_told}, first = gone, last = gone;
    struct chain c = {.w.wait.done = on_chain, .f = f, .cancelled = &gone, .other = gone};

    fake_set(&f->fake, (struct fake_record){.name = "*", A("10.0.0.1"), .ttl = 60});
    start(f, 0);
    struct dns_name *name = name_of(f, "a.test");
    assert_int_equal(dns_status(f->d, name), DNS_PENDING);
    dns_wait_start(name, &first.wait);
    dns_wait_start(name, &c.w.wait);
    dns_wait_start(name, &gone.wait);
    dns_wait_start(name, &last.wait);
    run_until(f, is_told, &c.other);
    assert_true(first.told && c.w.told && last.told);
    assert_false(gone.told);
    assert_int_equal(dns_status(f->d, name_of(f, "b.test")), DNS_READY);
}

enum { CROWD = ASKED_MAX + 200 };

static bool all_asked(void *arg)
{
    return ((struct dns *)arg)->asked == ASKED_MAX;
}

static bool all_ready(void *arg)
{
    struct dns *d = arg;

    assert_true(d->asked <= ASKED_MAX);
    for (unsigned i = 0; i < d->nbuckets; i++)
        for (struct entry *e = d->buckets[i]; e; e = e->next)
            if (e->phase != IDLE || dns_status(d, &e->name) != DNS_READY)
                return false;
    return true;
}

static void test_many_names(void **state)
{
    struct fixture *f = *state;
    char host[32];

    fake_set(&f->fake, (struct fake_record){.name = "*", .type = FAKE_A, .silent = true});
    start_with(f, (struct dns_config){.timeout_ms = 5000}, NULL);
    for (int i = 0; i < CROWD; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        assert_int_equal(dns_status(f->d, name_of(f, host)), DNS_PENDING);
    }
    assert_int_equal(f->d->asked, 0); /* never on the stack of the one who asks */
    run_until(f, all_asked, f->d);
    assert_false(list_empty(&f->d->queue));
    fake_set(&f->fake, (struct fake_record){.name = "*", A("10.0.0.1"), .ttl = 60});
    run_until(f, all_ready, f->d);
    assert_int_equal(f->d->asked, 0);
}

static void test_too_many_names(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.wait.done = on_told};
    char host[32];

    fake_set(&f->fake, (struct fake_record){.name = "*", A("10.0.0.1"), .ttl = 60});
    start(f, 0);
    for (int i = 0; i < NAMES_MAX; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        dns_name(f->d, str_of(host));
    }
    assert_int_equal(logged.warnings, 0);
    struct dns_name *beyond = dns_name(f->d, STR("one.more.test"));
    assert_ptr_equal(beyond, dns_name(f->d, STR("two.more.test")));
    assert_int_equal(dns_status(f->d, beyond), DNS_FAILED);
    assert_int_equal(logged.warnings, 1);
    dns_wait_start(beyond, &w.wait);
    run_until(f, is_told, &w);
    /* The others are not harmed. */
    assert_int_equal(resolve(f, name_of(f, "n7.test")), DNS_READY);
}

/* Names that nobody holds or waits for give way to others after a while. */
static void test_names_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.wait.done = on_told};
    struct dns_name *held = NULL, *known;
    char host[32];

    fake_set(&f->fake, (struct fake_record){.name = "*", A("10.0.0.1"), .ttl = 60});
    start(f, 0);
    for (int i = 0; i < NAMES_MAX; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        held = dns_name(f->d, str_of(host));
    }
    dns_name_hold(held);
    assert_int_equal(resolve(f, name_of(f, "n7.test")), DNS_READY);
    uint32_t generation = name_of(f, "n7.test")->generation;
    struct dns_name *waited = name_of(f, "n8.test");
    dns_wait_start(waited, &w.wait);
    f->t->loop.now_ms += UNUSED_MS + 1;
    known = name_of(f, "n9.test");
    struct dns_name *new = dns_name(f->d, STR("one.more.test"));
    assert_int_equal(f->d->nnames, 4);
    assert_ptr_equal(held, name_of(f, "n65535.test"));
    assert_ptr_equal(waited, name_of(f, "n8.test"));
    assert_ptr_equal(known, name_of(f, "n9.test"));
    assert_ptr_equal(new, name_of(f, "one.more.test"));
    assert_int_equal(f->d->nnames, 4);
    f->t->loop.now_ms -= UNUSED_MS + 1; /* timers are set by the true time again */
    /* One that comes again has not the generation that it had. */
    struct dns_name *again = name_of(f, "n7.test");
    assert_int_equal(again->generation, 0);
    assert_int_equal(resolve(f, again), DNS_READY);
    assert_int_not_equal(again->generation, generation);
    assert_int_equal(logged.warnings, 0);
    dns_name_drop(held);
    assert_true(w.told);
}

static void test_end_in_between(void **state)
{
    struct fixture *f = *state;
    struct waiter w = {.wait.done = on_told};

    fake_set(&f->fake, (struct fake_record){.name = "*", .type = FAKE_A, .silent = true});
    start(f, 0);
    struct dns_name *asked = name_of(f, "asked.test");
    assert_int_equal(dns_status(f->d, asked), DNS_PENDING);
    run_until(f, is_asked, asked);
    assert_int_equal(dns_status(f->d, name_of(f, "queued.test")), DNS_PENDING);
    dns_wait_start(asked, &w.wait);
    dns_wait_cancel(&w.wait);
    dns_free(f->d);
    f->d = NULL;
    assert_false(w.told);
    assert_true(list_empty(&f->t->loop.tasks));
    assert_int_equal(timers_next(&f->t->loop.timers), INT64_MAX);
}

static void test_servers(void **state)
{
    static const char *const good[] = {"1.1.1.1", " 1.1.1.1:5353", "::1", "[::1]", "[fd00::1]:53"};
    static const char *const bad[] = {
        "",          "dns.test", "1.1.1.1:", "1.1.1.1:0", "1.1.1.1:65536",
        "1.1.1.1:x", "[::1",     "[::1]53",  "[]:53",     "1.1.1"};
    struct fixture *f = *state;

    for (unsigned i = 0; i < sizeof(good) / sizeof(*good) + sizeof(bad) / sizeof(*bad); i++) {
        bool ok = i < sizeof(good) / sizeof(*good);
        struct str server = str_of(ok ? good[i] : bad[i - sizeof(good) / sizeof(*good)]);
        struct str err = STR_NONE;
        struct dns_config config = {.servers = &server, .nservers = 1};
        struct dns *d = dns_new(f->t, &config, &f->arena, &err);
        assert_int_equal(d != NULL, ok);
        if (d)
            dns_free(d);
        else
            assert_true(str_search(err, STR("dns_resolver")) >= 0);
    }
    /* resolv.conf's, whatever it has here. */
    struct str err = STR_NONE;
    f->d = dns_new(f->t, &(struct dns_config){.ipv6 = true}, &f->arena, &err);
    assert_non_null(f->d);
    assert_true(count_servers(f->d->channel) > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first_answer),
        TEST(test_ipv4_only),
        TEST(test_ttl),
        TEST(test_valid_ms),
        TEST(test_refresh_behind),
        TEST(test_tcp),
        TEST(test_search_domains),
        TEST(test_no_name),
        TEST(test_last_answer_kept),
        TEST(test_silence),
        TEST(test_late_answer),
        TEST(test_second_server),
        TEST(test_refused_server),
        TEST(test_too_old),
        TEST(test_one_family_fails),
        TEST(test_second_question_succeeds),
        TEST(test_second_question_has_no_search),
        TEST(test_bad_names),
        TEST(test_hosts_file),
        TEST(test_localhost),
        TEST(test_waiters),
        TEST(test_many_names),
        TEST(test_too_many_names),
        TEST(test_names_come_and_go),
        TEST(test_end_in_between),
        TEST(test_servers),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
