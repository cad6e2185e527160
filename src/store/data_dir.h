/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of all that survives a restart: made, locked, with files that only we may read. */
#ifndef STORE_DATA_DIR_H
#define STORE_DATA_DIR_H

#include "base/arena.h"

/* Makes the folder when only its last part is missing (0700) and takes data_dir/lock, so that no
 * two gateways share it. The lock's descriptor: it is held until it is closed, or the process ends,
 * however it ends. -1 with a message in the arena. */
int data_dir_lock(struct str dir, struct arena *a, struct str *err);

/* A file for a database, with its mode (0600), before SQLite opens it: what that makes beside it
 * takes the same mode. path ends with a NUL. False with a message. */
bool data_dir_file(const char *path, struct arena *a, struct str *err);

#endif
