/* SPDX-License-Identifier: Apache-2.0 */
/* DNS answers with SRV records: nothing is read outside of the message, and what is taken is in
 * order, bounded and made of characters that a host name has. */
#include "fuzz.h"

#include "base/mem.h"
#include "upstream/srv.h"

static void check(const struct srv_answer *a)
{
    MUST(a->n <= SRV_MAX);
    for (unsigned i = 0; i < a->n; i++) {
        const struct srv_record *r = &a->records[i];
        MUST(r->target.p[r->target.n] == 0);
        MUST(i == 0 || r[-1].priority <= r->priority);
        for (size_t k = 0; k < r->target.n; k++) {
            char c = r->target.p[k];
            MUST((c >= 'a' && c <= 'z') || ascii_digit(c) || c == '-' || c == '_' || c == '.');
        }
    }
    MUST(srv_equal(a->records, a->n, a->records, a->n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_dup(data, size);
    struct srv_answer answer;

    if (srv_parse(copy, size, &answer)) {
        check(&answer);
        srv_free(answer.records, answer.n);
    }
    free(copy);
    return 0;
}
