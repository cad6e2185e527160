/* SPDX-License-Identifier: Apache-2.0 */
/* A key that the program makes for itself and keeps in a file that only its owner can read. */
#ifndef CONFIG_KEY_FILE_H
#define CONFIG_KEY_FILE_H

#include "base/arena.h"

enum { KEY_FILE_TEXT_MAX = 256, KEY_FILE_BYTES_MAX = 64 };

/* One line of printable characters, at least 16. Whoever reads one wipes it (explicit_bzero). */
struct key_text {
    char p[KEY_FILE_TEXT_MAX];
    size_t n;
};

enum key_file_status {
    KEY_FILE_READ,
    KEY_FILE_MADE,
    KEY_FILE_NONE, /* not there */
    KEY_FILE_FAILED,
};

/* Reads the key at `path`. When there is none, makes one of `bytes` random bytes as hex digits
 * (mode 0600; it outlives a crash once this returns); bytes 0: none is made. Of two processes at
 * once both get the same. A mode that lets others read warns. KEY_FILE_NONE and KEY_FILE_FAILED
 * come with a message in the arena, never with a part of the key. Waits for the disk. */
enum key_file_status key_file(struct str path, unsigned bytes, struct key_text *out,
                              struct arena *a, struct str *err);

/* Makes the folder and those above it (mode 0750). False with a message. */
bool key_file_folder(struct str path, struct arena *a, struct str *err);

#endif
