/* SPDX-License-Identifier: Apache-2.0 */
/* Writes request and response heads, chunk framing and trailers. */
#include "http/h1_write.h"

static const bool hop_by_hop[HEADER_COUNT] = {
    [HEADER_CONNECTION] = true,        [HEADER_KEEP_ALIVE] = true,
    [HEADER_PROXY_CONNECTION] = true,  [HEADER_TE] = true,
    [HEADER_TRANSFER_ENCODING] = true, [HEADER_UPGRADE] = true,
    [HEADER_CONTENT_LENGTH] = true,    [HEADER_EXPECT] = true,
};

bool h1_hop_by_hop(enum header_id id)
{
    return hop_by_hop[id];
}

void h1_drop_connection_named(struct head *head)
{
    if (!head->first[HEADER_CONNECTION])
        return;
    for (unsigned i = head->first[HEADER_CONNECTION] - 1u; i < head->n; i++) {
        if (head->list[i].id != HEADER_CONNECTION)
            continue;
        struct str rest = header_str_value(&head->list[i]), token;
        while (list_next(&rest, &token)) {
            enum header_id id = header_id(token);
            /* The message's own routing and framing are not the sender's to drop. */
            if (id != HEADER_HOST && !hop_by_hop[id] && !str_eq_nocase(token, STR("close")))
                head_remove_name(head, token);
        }
    }
}

static char *put(char *p, struct str s)
{
    memcpy(p, s.p, s.n);
    return p + s.n;
}

static size_t lines_size(const struct head *head)
{
    size_t n = 0;

    for (unsigned i = 0; i < head->n; i++)
        n += head->list[i].name_n + head->list[i].value_n + 4u;
    return n;
}

static char *put_lines(char *p, const struct head *head)
{
    for (unsigned i = 0; i < head->n; i++) {
        const struct header *h = &head->list[i];
        if (!h->name_n || hop_by_hop[h->id])
            continue;
        memcpy(p, h->name, h->name_n);
        p += h->name_n;
        *p++ = ':';
        *p++ = ' ';
        memcpy(p, h->value, h->value_n);
        p += h->value_n;
        *p++ = '\r';
        *p++ = '\n';
    }
    return p;
}

static char *put_framing(char *p, const struct h1_out_body *body)
{
    switch (body->framing) {
    case H1_LENGTH:
        p = put(p, STR("Content-Length: "));
        p += u64_write(p, body->length);
        return put(p, STR("\r\n"));
    case H1_CHUNKED:
        return put(p, STR("Transfer-Encoding: chunked\r\n"));
    case H1_NO_BODY:
        return body->zero ? put(p, STR("Content-Length: 0\r\n")) : p;
    case H1_TO_END:
        return p;
    }
    return p;
}

enum { FIXED_BYTES = 160 }; /* framing, Connection, version, ends */

size_t h1_request_size(struct str method, struct str uri, const struct head *head)
{
    return method.n + uri.n + lines_size(head) + FIXED_BYTES;
}

size_t h1_response_size(const struct head *head)
{
    return lines_size(head) + FIXED_BYTES;
}

size_t h1_write_request(char *p, struct str method, struct str uri, const struct head *head,
                        const struct h1_out_body *body, bool close)
{
    char *start = p;

    p = put(p, method);
    *p++ = ' ';
    p = put(p, uri);
    p = put(p, STR(" HTTP/1.1\r\n"));
    p = put_lines(p, head);
    p = put_framing(p, body);
    if (close)
        p = put(p, STR("Connection: close\r\n"));
    p = put(p, STR("\r\n"));
    return (size_t)(p - start);
}

size_t h1_write_response(char *p, int status, const struct head *head,
                         const struct h1_out_body *body, bool close, bool old_client)
{
    char *start = p;

    p = put(p, STR("HTTP/1.1 "));
    p += u64_write(p, (uint64_t)status);
    *p++ = ' ';
    p = put(p, str_of(h1_phrase(status)));
    p = put(p, STR("\r\n"));
    p = put_lines(p, head);
    p = put_framing(p, body);
    if (status >= 200) {
        if (close)
            p = put(p, STR("Connection: close\r\n"));
        else if (old_client)
            p = put(p, STR("Connection: keep-alive\r\n"));
    }
    p = put(p, STR("\r\n"));
    return (size_t)(p - start);
}

size_t h1_write_chunk_size(char *p, uint64_t n)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16];
    size_t count = 0;
    char *start = p;

    do {
        digits[count++] = hex[n & 15];
        n >>= 4;
    } while (n);
    while (count)
        *p++ = digits[--count];
    *p++ = '\r';
    *p++ = '\n';
    return (size_t)(p - start);
}

size_t h1_trailers_size(const struct head *trailers)
{
    return 8 + (trailers ? lines_size(trailers) : 0);
}

size_t h1_write_last_chunk(char *p, const struct head *trailers)
{
    char *start = p;

    p = put(p, STR("0\r\n"));
    if (trailers)
        p = put_lines(p, trailers);
    p = put(p, STR("\r\n"));
    return (size_t)(p - start);
}
