/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons. */
#include "base/reason.h"

const struct reason_info reasons[REASON_COUNT] = {
#define REASON_ROW(name, level, status, text) {#name, LOG_##level, status, text},
    REASONS(REASON_ROW)
#undef REASON_ROW
};
