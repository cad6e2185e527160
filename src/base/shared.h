/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that several owners on one thread look at: the last one that lets go releases it. */
#ifndef BASE_SHARED_H
#define BASE_SHARED_H

#include "base/mem.h"

struct shared {
    unsigned users; /* counted plainly: all are on one thread */
    void (*release)(void *arg);
    void *arg;
};

/* With one user, the caller. */
static inline struct shared *shared_new(void (*release)(void *arg), void *arg)
{
    struct shared *s = mem_alloc(sizeof(*s));

    *s = (struct shared){.users = 1, .release = release, .arg = arg};
    return s;
}

static inline struct shared *shared_get(struct shared *s)
{
    s->users++;
    return s;
}

/* The last one calls release(arg). */
static inline void shared_put(struct shared *s)
{
    if (--s->users)
        return;
    s->release(s->arg);
    free(s);
}

#endif
