/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API's key that is made when none is configured: in a file that only we can read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/settings.h"

enum { KEY_BYTES = 16, KEY_TEXT = 2 * KEY_BYTES, KEY_MIN = 16, KEY_FILE_MAX = 256 };

static bool fail(struct arena *a, struct str *err, const char *what, struct str path)
{
    *err = arena_printf(a, "%s %.*s: %s", what, STR_ARG(path), strerror(errno));
    return false;
}

/* The folder and those above it. */
static bool make_folder(struct arena *a, struct str path, struct str *err)
{
    char *z = arena_bytes(a, path.n + 1);

    memcpy(z, path.p, path.n);
    z[path.n] = 0;
    for (size_t i = 1; i <= path.n; i++) {
        if (i < path.n && z[i] != '/')
            continue;
        char saved = z[i];
        z[i] = 0;
        if (mkdir(z, 0750) < 0 && errno != EEXIST)
            return fail(a, err, "cannot make the folder", str_of(z));
        z[i] = saved;
    }
    return true;
}

static bool is_key(struct str key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return false;
    return key.n >= KEY_MIN;
}

/* False with errno ENOENT when there is no file. */
static bool read_key(struct arena *a, struct str path, struct str *key, struct str *err)
{
    char text[KEY_FILE_MAX];
    struct stat st;
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

    if (fd < 0)
        return fail(a, err, "cannot open", path);
    ssize_t n = read(fd, text, sizeof(text));
    int bad = n < 0 || fstat(fd, &st) < 0;
    int error = errno;
    close(fd);
    errno = error;
    if (bad)
        return fail(a, err, "cannot read", path);
    if (st.st_mode & 077)
        log_warn("%.*s can be read by others than its owner: make its mode 0600", STR_ARG(path));
    *key = arena_str(a, str_trim(str_make(text, (size_t)n)));
    errno = EINVAL;
    if (!is_key(*key) || (size_t)n == sizeof(text)) {
        *err = arena_printf(a, "%.*s does not hold a key (one line, at least %d characters)",
                            STR_ARG(path), KEY_MIN);
        return false;
    }
    return true;
}

static bool write_all(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = str_from(s, (size_t)n);
    }
    return fsync(fd) == 0;
}

/* Written beside its place and linked into it, so that no half a key is ever read, and of two
 * starts at once one wins: EEXIST for the other. */
static bool write_key(struct arena *a, struct str path, struct str key, struct str *err)
{
    struct str beside = arena_printf(a, "%.*s.%ld", STR_ARG(path), (long)getpid());
    int fd = open(beside.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail(a, err, "cannot write", beside);
    bool good = write_all(fd, arena_join(a, key, STR("\n")));
    int error = errno;
    close(fd);
    errno = error;
    good = good && link(beside.p, path.p) == 0;
    error = errno;
    unlink(beside.p);
    errno = error;
    return good ? true : fail(a, err, "cannot write", path);
}

static bool make_key(struct arena *a, struct str *key, struct str *err)
{
    unsigned char random[KEY_BYTES];
    char text[KEY_TEXT + 1];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return fail(a, err, "no randomness for", STR("a key"));
    for (size_t i = 0; i < KEY_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    *key = arena_str(a, str_make(text, KEY_TEXT));
    return true;
}

bool settings_admin_key(struct settings *s, struct arena *a, struct str *err)
{
    struct str path = arena_printf(a, "%.*s/admin.key", STR_ARG(s->data_dir)), key;
    struct settings_admin_key *keys;

    if (!s->admin.key_generated)
        return true;
    if (!make_folder(a, s->data_dir, err))
        return false;
    if (read_key(a, path, &key, err)) {
        log_notice("the Admin API's key is in %.*s", STR_ARG(path));
    } else {
        if (errno != ENOENT || !make_key(a, &key, err))
            return false;
        if (write_key(a, path, key, err))
            log_notice("made a key for the Admin API: it is in %.*s", STR_ARG(path));
        else if (errno != EEXIST || !read_key(a, path, &key, err))
            return false;
    }
    keys = arena_alloc(a, (s->admin.nkeys + 1) * sizeof(*keys));
    keys[0] = (struct settings_admin_key){.name = STR("admin"), .key = key};
    for (unsigned i = 0; i < s->admin.nkeys; i++)
        keys[i + 1] = s->admin.keys[i];
    s->admin.keys = keys;
    s->admin.nkeys++;
    s->admin.key_generated = false;
    return true;
}
