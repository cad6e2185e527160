/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the process. */
#include "base/os_thread.h"

#include <signal.h>

bool os_thread_start(pthread_t *id, const char *name, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(id, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok)
        pthread_setname_np(*id, name);
    return ok;
}
