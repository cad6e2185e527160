/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: total length, headers length, prelude CRC, headers, payload, message CRC; all big-endian.
 */
#include "bedrock.h"

static uint32_t crc32_of(const char *p, size_t n)
{
    static _Thread_local uint32_t table[256];
    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t v = i;
            for (int k = 0; k < 8; k++)
                v = v >> 1 ^ (v & 1 ? 0xedb88320u : 0);
            table[i] = v;
        }
    }
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ (unsigned char)p[i]) & 255];
    return ~crc;
}

static void put_u32(char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(v >> (24 - 8 * i));
}

static void header_add(struct buf *out, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    char type[3] = {7, (char)(v >> 8), (char)v}; /* 7 = string */
    char len = (char)n;
    buf_add(out, &len, 1);
    buf_add(out, name, n);
    buf_add(out, type, 3);
    buf_add(out, value, v);
}

static void frame(struct buf *out, const char *message, const char *key, const char *type,
                  struct slice payload)
{
    size_t from = out->n;
    char crc[4];
    buf_add(out, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    header_add(out, key, type);
    header_add(out, ":content-type", "application/json");
    header_add(out, ":message-type", message);
    size_t headers = out->n - from - 12;
    buf_add(out, payload.p, payload.n);
    put_u32(out->p + from, (uint32_t)(out->n - from + 4));
    put_u32(out->p + from + 4, (uint32_t)headers);
    put_u32(out->p + from + 8, crc32_of(out->p + from, 8));
    put_u32(crc, crc32_of(out->p + from, out->n - from));
    buf_add(out, crc, 4);
}

void bedrock_frame(struct buf *out, const char *event_type, struct slice payload)
{
    frame(out, "event", ":event-type", event_type, payload);
}

void bedrock_exception(struct buf *out, const char *type, const char *message)
{
    struct buf b = {0};
    buf_str(&b, "{\"message\":");
    buf_json(&b, message, strlen(message));
    buf_str(&b, "}");
    frame(out, "exception", ":exception-type", type, (struct slice){b.p, b.n});
    buf_free(&b);
}
