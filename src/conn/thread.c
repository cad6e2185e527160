/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's shared pieces. */
#include "conn/thread.h"

#include <time.h>

#include "base/mem.h"

/* An exchange begins in one chunk; this is the granularity of what a stream holds. */
enum { ARENA_CHUNK = 2048, ARENA_FREE_MAX = 4096 };

bool thread_init(struct thread *t, unsigned index)
{
    memset(t, 0, offsetof(struct thread, in));
    t->index = index;
    if (!loop_init(&t->loop))
        return false;
    t->loop.owner = t;
    t->out = outbox_new(&t->loop);
    arena_pool_init(&t->arenas, ARENA_CHUNK, ARENA_FREE_MAX);
    return true;
}

void thread_fini(struct thread *t)
{
    loop_fini(&t->loop);
    free(t->out);
    arena_pool_fini(&t->arenas);
}

bool thread_make_room(struct thread *t)
{
    return t->make_room && t->make_room(t);
}

struct str thread_date(struct thread *t)
{
    time_t now = (time_t)(t->loop.wall_ms / 1000);
    struct tm tm;

    if (now != t->date_s) {
        gmtime_r(&now, &tm);
        strftime(t->date, sizeof(t->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        t->date_s = now;
    }
    return str_make(t->date, 29);
}
