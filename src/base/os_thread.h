/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the process: signals are the main thread's business, so all others block them. */
#ifndef BASE_OS_THREAD_H
#define BASE_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Starts run(arg) on a new thread, all signals blocked there; name is at most 15 bytes, for ps and
 * gdb. False: the system gives no thread. */
bool os_thread_start(pthread_t *id, const char *name, void *(*run)(void *arg), void *arg)
    __attribute__((warn_unused_result));

#endif
