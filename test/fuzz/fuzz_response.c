/* SPDX-License-Identifier: Apache-2.0 */
/* A response as an upstream could send it. However it is cut the verdict is the same; what is taken
 * has one framing; and the head that a client would get, written anew, has the same. */
#include "fuzz.h"

#include "../unit/http/feed.h"
#include "base/mem.h"
#include "http/h1_write.h"

static unsigned count_of(const struct head *head, enum header_id id)
{
    unsigned n = 0;

    for (unsigned i = 0; i < head->n; i++)
        n += head->list[i].id == id;
    return n;
}

static void check_response(const struct h1_response *r, bool to_head)
{
    bool none = to_head || r->status < 200 || r->status == 204 || r->status == 304;
    unsigned lengths = count_of(&r->head, HEADER_CONTENT_LENGTH);
    unsigned codings = count_of(&r->head, HEADER_TRANSFER_ENCODING);

    MUST(r->status >= 100 && r->status <= 999 && h1_value_ok(r->phrase));
    MUST(lengths <= 1 && codings <= 1);
    for (unsigned i = 0; i < r->head.n; i++) {
        const struct header *h = &r->head.list[i];
        MUST(h1_token_ok(header_str_name(h)) && h1_value_ok(header_str_value(h)));
        MUST(h->id == header_id(header_str_name(h)));
    }
    switch (r->framing) {
    case H1_NO_BODY:
        MUST(none || (lengths && r->length == 0 && !codings));
        break;
    case H1_LENGTH:
        MUST(!none && lengths == 1 && codings == 0 && r->length > 0 && r->length <= INT64_MAX);
        break;
    case H1_CHUNKED:
        MUST(!none && codings == 1 && lengths == 0 && r->minor == 1);
        break;
    case H1_TO_END:
        MUST(!none && !lengths && !codings && !r->keep_alive);
        break;
    }
    MUST(r->keep_alive_s >= -1 && r->keep_alive_s <= 86400);
}

/* What goes to the client parses to what came from the upstream. */
static void check_written(struct h1_response *r)
{
    const struct h1_limits wide = {.head_bytes = 1 << 20, .headers = 254};
    struct h1_out_body body = {.framing = r->framing, .length = r->length};
    static struct header list[254];
    struct h1_response out;
    size_t used;
    enum reason why;

    if (r->framing == H1_NO_BODY)
        body.zero = r->status >= 200 && r->status != 204 && r->status != 304;
    h1_drop_connection_named(&r->head);
    size_t size = h1_response_size(&r->head);
    char *p = mem_alloc(size);
    size_t n = h1_write_response(p, r->status, &r->head, &body, !r->keep_alive, false);
    MUST(n <= size);
    MUST(h1_parse_response(str_make(p, n), &wide, list, false, &out, &used, &why) == H1_DONE);
    MUST(used == n && out.status == r->status && out.framing == r->framing);
    MUST(r->framing != H1_LENGTH || out.length == r->length);
    MUST(r->status < 200 || out.keep_alive == r->keep_alive);
    for (unsigned i = 0; i < out.head.n; i++)
        MUST(!h1_hop_by_hop((enum header_id)out.head.list[i].id) ||
             out.head.list[i].id == HEADER_CONTENT_LENGTH ||
             out.head.list[i].id == HEADER_TRANSFER_ENCODING ||
             out.head.list[i].id == HEADER_CONNECTION);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t head_sizes[] = {4096, 200, 64, 32768};
    static struct feed whole, split;
    struct h1_response one, two;

    if (size < 1)
        return 0;
    struct h1_limits limits = {.head_bytes = head_sizes[data[0] & 3],
                               .headers = data[0] & 8 ? 200 : 8};
    bool to_head = data[0] & 16;
    uint32_t seed = data[0];
    struct str in = fuzz_str(data + 1, size - 1);
    feed_response(&whole, &limits, in, false, to_head, &one);
    feed_response(&split, &limits, in, true, to_head, &two);
    /* Byte by byte, what is wrong is seen with the first byte or when the head ends. */
    MUST(whole.status == split.status ||
         (whole.status == H1_ERROR && split.status == H1_MORE && !feed_ends(&limits, in)));
    MUST(whole.status != H1_MORE || !feed_ends(&limits, in));
    if (split.status == H1_ERROR)
        MUST(whole.why == split.why && reasons[whole.why].status == 502);
    if (whole.status == H1_DONE)
        MUST(whole.used == split.used && same_response(&one, &two));
    enum h1_status last = H1_MORE;
    for (size_t n = 0; n < in.n && last == H1_MORE;) {
        n = str_head(in, n + fuzz_step(&seed, 40)).n;
        struct str part = feed_bytes(&split, in, n);
        last = h1_parse_response(part, &limits, split.list, to_head, &two, &split.used, &split.why);
    }
    MUST(last == whole.status || in.n == 0);
    if (whole.status == H1_DONE) {
        MUST(whole.used <= limits.head_bytes && whole.used <= in.n);
        check_response(&one, to_head);
        check_written(&one);
    }
    feed_fini(&whole);
    feed_fini(&split);
    return 0;
}
