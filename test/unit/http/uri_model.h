/* SPDX-License-Identifier: Apache-2.0 */
/* What uri_normalise must do, written as plainly as can be; for paths that begin with a slash, hold
 * no NUL and are shorter than URI_MODEL_MAX. */
#ifndef TEST_HTTP_URI_MODEL_H
#define TEST_HTTP_URI_MODEL_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { URI_MODEL_MAX = 512 };

/* The naive way: decode all, cut into segments, resolve them on a stack, join. */
struct model {
    bool bad_encoding, traversal;
    char out[URI_MODEL_MAX * 2];
};

static inline int nibble(char c)
{
    const char *hex = "0123456789abcdef0123456789ABCDEF", *at = c ? strchr(hex, c) : NULL;

    return at ? (int)(at - hex) % 16 : -1;
}

static inline size_t model_decode(struct model *m, const char *raw, char *out)
{
    size_t n = 0;

    for (size_t i = 0; raw[i]; i++) {
        if (raw[i] != '%') {
            out[n++] = raw[i];
            continue;
        }
        int hi = nibble(raw[i + 1]), lo = hi < 0 ? -1 : nibble(raw[i + 2]);
        if (lo < 0 || hi * 16 + lo == 0) {
            m->bad_encoding = true;
            return 0;
        }
        out[n++] = (char)(hi * 16 + lo);
        i += 2;
    }
    out[n] = 0;
    return n;
}

static inline void model_run(struct model *m, const char *raw)
{
    char decoded[URI_MODEL_MAX], *segments[URI_MODEL_MAX];
    unsigned depth = 0;
    bool slash = false;

    memset(m, 0, sizeof(*m));
    model_decode(m, raw, decoded);
    if (m->bad_encoding)
        return;
    for (char *at = decoded + 1, *end; at; at = end) {
        end = strchr(at, '/');
        if (end)
            *end++ = 0;
        slash = true;
        if (strcmp(at, "..") == 0) {
            if (depth == 0) {
                m->traversal = true;
                return;
            }
            depth--;
        } else if (*at && strcmp(at, ".") != 0) {
            segments[depth++] = at;
            slash = end != NULL;
        }
    }
    size_t n = 0;
    for (unsigned i = 0; i < depth; i++)
        n += (size_t)snprintf(m->out + n, sizeof(m->out) - n, "/%s", segments[i]);
    if (slash || depth == 0)
        snprintf(m->out + n, sizeof(m->out) - n, "/");
}

#endif
