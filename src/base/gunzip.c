/* SPDX-License-Identifier: Apache-2.0 */
/* gzip by zlib. */
#include "base/gunzip.h"

#include <zlib.h>

enum { GZIP_ONLY = 16 + MAX_WBITS, STEP = 16 * 1024, INPUT_STEP = 1 << 30 };

/* Hands zlib up to a step of room; adds what it wrote to out. False: more than out may hold. */
static bool inflate_step(z_stream *z, struct buf *out, int *rc)
{
    size_t room = out->max - out->n < STEP ? out->max - out->n : STEP;
    char spare; /* where out is full, one byte more tells whether the data are at their end */

    z->next_out = (Bytef *)(room ? buf_room(out, room) : &spare);
    z->avail_out = room ? (uInt)room : 1;
    *rc = inflate(z, Z_NO_FLUSH);
    if (room)
        out->n += room - z->avail_out;
    return room || z->avail_out == 1;
}

const char *gunzip(struct str in, struct buf *out)
{
    const char *why = NULL;
    z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)in.p};
    size_t left = in.n;
    int rc = Z_OK;

    if (inflateInit2(&z, GZIP_ONLY) != Z_OK)
        return "zlib cannot start";
    while (rc == Z_OK) {
        if (z.avail_in == 0) {
            z.avail_in = (uInt)(left < INPUT_STEP ? left : INPUT_STEP);
            left -= z.avail_in;
        }
        if (!inflate_step(&z, out, &rc)) {
            why = "it is too long";
            break;
        }
        if (rc == Z_STREAM_END && (z.avail_in || left))
            rc = inflateReset(&z);
    }
    inflateEnd(&z);
    if (why || rc == Z_STREAM_END)
        return why;
    return rc == Z_BUF_ERROR ? "it is cut off" : "it is not gzip";
}
