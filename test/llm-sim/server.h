/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and stops the workers: a thread each, with its own listeners and its own epoll. */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include <stdbool.h>

/* Binds by the options in `sim` (and writes the real ports there), then starts the threads. Prints
 * what failed. */
bool server_start(void);
void server_stop(void); /* ends the threads and closes everything */

#endif
