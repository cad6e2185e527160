/* SPDX-License-Identifier: Apache-2.0 */
/* The data folder and its lock. */
#include "store/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* Makes the last part of the path when it is missing, so that it outlives a power loss. */
static bool directory_make(struct str dir, struct arena *a, struct str *err)
{
    struct str path = arena_str(a, dir);

    if (mkdir(path.p, 0700) == 0) {
        directory_sync(arena_printf(a, "%.*s/..", STR_ARG(dir)).p);
        return true;
    }
    if (errno == EEXIST)
        return true;
    *err = arena_printf(a, "data_dir \"%.*s\" cannot be made: %s", STR_ARG(dir), strerror(errno));
    return false;
}

/* Who holds the lock, from the file itself; 0: it does not say. */
static uint64_t lock_owner(int fd)
{
    char text[24];
    uint64_t pid = 0;
    ssize_t n = pread(fd, text, sizeof(text), 0);

    if (n > 0)
        str_to_u64(str_trim(str_make(text, (size_t)n)), INT_MAX, &pid);
    return pid;
}

/* The lock's descriptor, -1 with a message. flock ends with the process, however it ends. */
static int lock_take(struct str dir, struct arena *a, struct str *err)
{
    struct str path = arena_printf(a, "%.*s/lock", STR_ARG(dir));
    int fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        *err = arena_printf(a, "data_dir \"%.*s\" is not writable: %s", STR_ARG(dir),
                            strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *err = errno == EWOULDBLOCK
                   ? arena_printf(
                         a, "data_dir \"%.*s\" is in use by another gateway (process %" PRIu64 ")",
                         STR_ARG(dir), lock_owner(fd))
                   : arena_printf(a, "%s cannot be locked: %s", path.p, strerror(errno));
        close(fd);
        return -1;
    }
    /* Only for the message above: a failure here harms nothing. */
    char pid[24];
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)n, 0) != n)
        errno = 0;
    return fd;
}

bool data_dir_file(const char *path, struct arena *a, struct str *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && ((st.st_mode & 077) == 0 || fchmod(fd, 0600) == 0);

    if (!ok)
        *err = arena_printf(a, "%s cannot be opened for writing: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

int data_dir_lock(struct str dir, struct arena *a, struct str *err)
{
    if (dir.n == 0 || memchr(dir.p, 0, dir.n)) {
        *err = STR("data_dir is empty or no path");
        return -1;
    }
    return directory_make(dir, a, err) ? lock_take(dir, a, err) : -1;
}
