/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the program when something that must be true is not. */
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static _Thread_local void (*note_describe)(void *, char *, unsigned long);
static _Thread_local void *note_arg;

void panic_note(void (*describe)(void *arg, char *out, unsigned long size), void *arg)
{
    note_describe = describe;
    note_arg = arg;
}

void panic_at(const char *file, int line, const char *func, const char *text)
{
    char note[1024] = "";

    if (note_describe)
        note_describe(note_arg, note, sizeof(note));
    fprintf(stderr, "eclusa: ASSERT failed at %s:%d in %s: %s%s%s\n", file, line, func, text,
            note[0] ? "; " : "", note);
    fflush(stderr);
    abort();
}
