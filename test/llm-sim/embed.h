/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding vectors made from a text's words: equal texts give equal vectors, texts that share
 * words similar ones. */
#ifndef SIM_EMBED_H
#define SIM_EMBED_H

#include "buf.h"

#define EMBED_MAX 4096 /* dimensions */

/* Fills v[0..dims), of length 1. Letter case and the order of words do not matter. */
void embed_text(const char *p, size_t n, float *v, size_t dims);
void embed_json(struct buf *out, const float *v, size_t dims); /* an array of numbers */
void embed_base64(struct buf *out, const float *v,
                  size_t dims); /* little-endian floats, without quotes */

#endif
