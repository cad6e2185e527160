/* SPDX-License-Identifier: Apache-2.0 */
/* .proto files and descriptor sets: a verdict for any bytes, and a place in the text when it is
 * bad. */
#include "config/proto.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str err = STR_NONE;
    struct arena a;

    arena_init(&a, NULL);
    bool good = proto_check(str_make((const char *)data, size), &a, &err);
    MUST(good || (err.n > 0 && str_find(err, ':') > 0));
    arena_fini(&a);
    return 0;
}
