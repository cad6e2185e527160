/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the web interface: what is found, what is not shown, what is said with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/ui.h"
#include "base/buf.h"
#include "base/gunzip.h"
#include "base/log.h"

#define INDEX "<html>the page</html>"

enum { SCRIPT_BYTES = 5000 };

static struct {
    char folder[32];
    char ui[64];
    char script[SCRIPT_BYTES + 1];
} place;

struct get {
    const char *method, *path, *accept_encoding, *if_none_match;
};

static struct str get_header(void *arg, struct str name)
{
    const struct get *g = arg;

    if (str_eq(name, STR("Accept-Encoding")))
        return str_of(g->accept_encoding);
    return str_eq(name, STR("If-None-Match")) ? str_of(g->if_none_match) : STR_NONE;
}

static void on_reply(void *arg, struct admin_reply *reply)
{
    *(struct admin_reply **)arg = reply;
}

/* From the folder of that path; the caller frees. */
static struct admin_reply *get_from(const char *folder, struct get g)
{
    struct jobs *jobs = jobs_new(1);
    struct ui *ui = ui_new(str_of(folder), jobs);
    struct admin_reply *reply = NULL;
    struct admin_request r = {.method = str_of(g.method ? g.method : "GET"),
                              .path = str_of(g.path),
                              .header = get_header,
                              .header_arg = &g};

    assert_true(ui_has(r.path));
    ui_handle(ui, &r, on_reply, &reply);
    jobs_free(jobs);
    ui_free(ui);
    assert_non_null(reply);
    return reply;
}

static struct admin_reply *get(struct get g)
{
    return get_from(place.ui, g);
}

static struct str header(const struct admin_reply *r, const char *name)
{
    for (unsigned i = 0; i < r->nheaders; i++)
        if (str_eq(r->headers[i].name, str_of(name)))
            return r->headers[i].value;
    return STR_NONE;
}

#define assert_str(s, literal) assert_true(str_eq((s), STR(literal)))

/* ---- Which file ---- */

static void test_paths(void **state)
{
    static const struct {
        const char *path;
        const char *body; /* NULL: the script */
        const char *type;
    } rows[] = {
        {"/ui/", INDEX, "text/html; charset=utf-8"},
        {"/ui/index.html", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets/app.js", NULL, "text/javascript; charset=utf-8"},
        {"/ui/assets/logo.svg", "<svg/>", "image/svg+xml"},
        {"/ui/odd", "odd", "application/octet-stream"},
        /* Views of the one page. */
        {"/ui/routes", INDEX, "text/html; charset=utf-8"},
        {"/ui/routes/detail/a.b", INDEX, "text/html; charset=utf-8"},
        {"/ui/index.html/x", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets/", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets//app.js", INDEX, "text/html; charset=utf-8"},
        /* Not shown, though they are there. */
        {"/ui/.env", INDEX, "text/html; charset=utf-8"},
        {"/ui/.git/config", INDEX, "text/html; charset=utf-8"},
        {"/ui/../secret", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets/../../secret", INDEX, "text/html; charset=utf-8"},
        {"/ui/assets/./app.js", INDEX, "text/html; charset=utf-8"},
        {"/ui//etc/passwd", INDEX, "text/html; charset=utf-8"},
        {"/ui/link", INDEX, "text/html; charset=utf-8"},
        {"/ui/outside/secret", INDEX, "text/html; charset=utf-8"},
        {"/ui/pipe", INDEX, "text/html; charset=utf-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct admin_reply *r = get((struct get){.path = rows[i].path});
        assert_int_equal(r->status, 200);
        assert_true(str_eq(r->content_type, str_of(rows[i].type)));
        assert_true(str_eq(r->body, str_of(rows[i].body ? rows[i].body : place.script)));
        admin_reply_free(r);
    }
}

static void test_whose_path(void **state)
{
    (void)state;
    assert_true(ui_has(STR("/ui")));
    assert_true(ui_has(STR("/ui/")));
    assert_false(ui_has(STR("/uis")));
    assert_false(ui_has(STR("/")));
    assert_false(ui_has(STR("/apisix/admin/ui/")));
}

static void test_long_name(void **state)
{
    char path[600] = "/ui/";

    (void)state;
    memset(path + 4, 'x', 500);
    struct admin_reply *r = get((struct get){.path = path});
    assert_int_equal(r->status, 200);
    assert_str(r->body, INDEX);
    admin_reply_free(r);
}

static void silent(enum log_level level, struct str line)
{
    (void)level;
    (void)line;
}

static void test_nothing_there(void **state)
{
    char empty[64];

    (void)state;
    snprintf(empty, sizeof(empty), "%s/ui/assets", place.folder);
    const char *folders[] = {"/does/not/exist", empty};
    for (unsigned i = 0; i < 2; i++) {
        struct admin_reply *r = get_from(folders[i], (struct get){.path = "/ui/"});
        assert_int_equal(r->status, 404);
        assert_true(str_search(r->body, STR("eclusa.admin_ui_dir")) >= 0);
        admin_reply_free(r);
    }
    log_setup(silent, LOG_EMERG);
    struct admin_reply *r = get((struct get){.path = "/ui/huge"});
    assert_int_equal(r->status, 404);
    admin_reply_free(r);
}

static void test_folder_is_link(void **state)
{
    char link[64];

    (void)state;
    snprintf(link, sizeof(link), "%s/ui-now", place.folder);
    assert_int_equal(symlink("ui", link), 0);
    struct admin_reply *r = get_from(link, (struct get){.path = "/ui/odd"});
    assert_str(r->body, "odd");
    admin_reply_free(r);
    assert_int_equal(unlink(link), 0);
}

/* ---- What is said with it ---- */

static void test_methods(void **state)
{
    (void)state;
    struct admin_reply *r = get((struct get){.path = "/ui"});
    assert_int_equal(r->status, 301);
    assert_str(header(r, "Location"), "/ui/");
    admin_reply_free(r);
    r = get((struct get){.method = "HEAD", .path = "/ui/odd"});
    assert_int_equal(r->status, 200);
    assert_int_equal(r->body.n, 3); /* the server leaves it out */
    admin_reply_free(r);
    r = get((struct get){.method = "POST", .path = "/ui/odd"});
    assert_int_equal(r->status, 405);
    assert_str(header(r, "Allow"), "GET, HEAD");
    admin_reply_free(r);
}

static void test_cache(void **state)
{
    static const char *const paths[] = {"/ui/", "/ui/assets/app.js"};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        char tags[128];
        struct admin_reply *r = get((struct get){.path = paths[i]});
        assert_true(str_eq(header(r, "Cache-Control"),
                           i == 0 ? STR("no-cache") : STR("private, max-age=7200")));
        assert_str(header(r, "X-Content-Type-Options"), "nosniff");
        assert_str(header(r, "X-Frame-Options"), "SAMEORIGIN");
        snprintf(tags, sizeof(tags), "\"other\", %.*s", STR_ARG(header(r, "ETag")));
        admin_reply_free(r);
        r = get((struct get){.path = paths[i], .if_none_match = tags});
        assert_int_equal(r->status, 304);
        assert_int_equal(r->body.n, 0);
        assert_true(header(r, "ETag").n > 0);
        admin_reply_free(r);
        r = get((struct get){.path = paths[i], .if_none_match = "\"other\""});
        assert_int_equal(r->status, 200);
        admin_reply_free(r);
    }
}

static void test_gzip(void **state)
{
    static const struct {
        const char *path, *accept;
        bool packed;
    } rows[] = {
        {"/ui/assets/app.js", "gzip", true},
        {"/ui/assets/app.js", "br, GZIP;q=0.5", true},
        {"/ui/assets/app.js", "deflate;q=1, gzip ; q=0.001", true},
        {"/ui/assets/app.js", NULL, false},
        {"/ui/assets/app.js", "br", false},
        {"/ui/assets/app.js", "gzip;q=0", false},
        {"/ui/assets/app.js", "gzip; q=0.000", false},
        {"/ui/assets/app.js", "xgzip, ,;", false},
        {"/ui/", "gzip", false},            /* too small */
        {"/ui/noise.js", "gzip", false},    /* does not become smaller */
        {"/ui/picture.png", "gzip", false}, /* is packed already */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct admin_reply *r = get(
            (struct get){.path = rows[i].path, .accept_encoding = rows[i].accept});
        assert_int_equal(r->status, 200);
        assert_int_equal(str_eq(header(r, "Content-Encoding"), STR("gzip")), rows[i].packed);
        if (rows[i].packed) {
            struct buf plain;
            buf_init(&plain, 1 << 20);
            assert_true(r->body.n < SCRIPT_BYTES);
            assert_null(gunzip(r->body, &plain));
            assert_true(str_eq(buf_str(&plain), str_of(place.script)));
            buf_fini(&plain);
        }
        admin_reply_free(r);
    }
}

/* ---- The folder ---- */

static void write_file(const char *name, struct str text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", place.folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    fclose(f);
}

static void make_folder(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", place.folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static const char *const made[] = {"secret",
                                   "ui/index.html",
                                   "ui/odd",
                                   "ui/.env",
                                   "ui/.git/config",
                                   "ui/assets/app.js",
                                   "ui/assets/logo.svg",
                                   "ui/noise.js",
                                   "ui/picture.png",
                                   "ui/link",
                                   "ui/outside",
                                   "ui/pipe",
                                   "ui/huge",
                                   "ui/.git",
                                   "ui/assets",
                                   "ui",
                                   ""};

static int setup(void **state)
{
    char path[128], noise[2000];
    uint32_t random = 1;

    (void)state;
    snprintf(place.folder, sizeof(place.folder), "/tmp/eclusa-ui-XXXXXX");
    assert_non_null(mkdtemp(place.folder));
    snprintf(place.ui, sizeof(place.ui), "%s/ui", place.folder);
    for (size_t i = 0; i < SCRIPT_BYTES; i++)
        place.script[i] = "let a = 1;\n"[i % 11];
    for (size_t i = 0; i < sizeof(noise); i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (char)(random >> 24);
    }
    make_folder("ui");
    make_folder("ui/assets");
    make_folder("ui/.git");
    write_file("secret", STR("secret"));
    write_file("ui/index.html", STR(INDEX));
    write_file("ui/odd", STR("odd"));
    write_file("ui/.env", STR("secret"));
    write_file("ui/.git/config", STR("secret"));
    write_file("ui/assets/app.js", str_of(place.script));
    write_file("ui/assets/logo.svg", STR("<svg/>"));
    write_file("ui/noise.js", str_make(noise, sizeof(noise)));
    write_file("ui/picture.png", str_of(place.script));
    write_file("ui/huge", STR("x"));
    snprintf(path, sizeof(path), "%s/ui/huge", place.folder);
    assert_int_equal(truncate(path, (32 << 20) + 1), 0);
    snprintf(path, sizeof(path), "%s/ui/link", place.folder);
    assert_int_equal(symlink("../secret", path), 0);
    snprintf(path, sizeof(path), "%s/ui/outside", place.folder);
    assert_int_equal(symlink("..", path), 0);
    snprintf(path, sizeof(path), "%s/ui/pipe", place.folder);
    return mkfifo(path, 0600);
}

static int teardown(void **state)
{
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", place.folder, made[i]);
        assert_int_equal(remove(path), 0);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_whose_path),
        cmocka_unit_test(test_long_name),      cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_folder_is_link), cmocka_unit_test(test_methods),
        cmocka_unit_test(test_cache),          cmocka_unit_test(test_gzip),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
