/* SPDX-License-Identifier: Apache-2.0 */
/* Compares the whole text: its times tick too slowly, and it is some lines long. */
#include "upstream/resolv_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

/* More than that is none. */
enum { TEXT_MAX = 1 << 16, READ = 4096 };

static bool read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0) {
        char *room = buf_room(out, READ);
        n = room ? read(fd, room, READ) : -1;
        if (n > 0)
            out->n += (size_t)n;
        else if (n < 0 && room && errno == EINTR)
            n = 1;
    }
    if (fd >= 0)
        close(fd);
    return n == 0;
}

void resolv_conf_init(struct resolv_conf *r, struct str path)
{
    r->path = str_dup(path.p ? path : STR(RESOLV_CONF));
    buf_init(&r->text, TEXT_MAX);
    resolv_conf_changed(r);
}

void resolv_conf_fini(struct resolv_conf *r)
{
    free(r->path);
    buf_fini(&r->text);
}

bool resolv_conf_changed(struct resolv_conf *r)
{
    struct buf now;
    bool changed;

    buf_init(&now, TEXT_MAX);
    changed = read_all(r->path, &now) && now.n > 0 && !str_eq(buf_str(&now), buf_str(&r->text));
    if (changed) {
        buf_fini(&r->text);
        r->text = now;
    } else {
        buf_fini(&now);
    }
    return changed;
}
