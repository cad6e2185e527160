/* SPDX-License-Identifier: Apache-2.0 */
/* Where clients are served: the addresses that all workers listen on, and how they change while the
 * workers run. The main thread's. */
#ifndef EXCHANGE_LISTENERS_H
#define EXCHANGE_LISTENERS_H

#include "config/settings.h"
#include "exchange/worker.h"

struct listeners {
    struct listen_addr *list; /* on the heap */
    unsigned n;
};

/* The addresses of the settings, which nobody else may listen on yet; of those that nobody has
 * asked for what is taken is left out, with a warning. False with a message; *setting names the one
 * that asks for what cannot be. l is zeroed. */
bool listeners_init(struct listeners *l, const struct settings *s, struct arena *a,
                    const char **setting, struct str *err);
void listeners_fini(struct listeners *l);
/* The workers open what is new in these settings and drain what is gone. All or nothing: false with
 * a message. */
bool listeners_change(struct listeners *l, const struct settings *s, struct worker *const *workers,
                      unsigned nworkers, struct arena *a, struct str *err);

#endif
