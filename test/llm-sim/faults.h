/* SPDX-License-Identifier: Apache-2.0 */
/* The fault switches: `?fault=`, `X-Sim-Fault` and `--fault`, several joined by commas. README.md
 * lists them. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "buf.h"

enum fault_bit {
    FAULT_CUT = 1 << 0,
    FAULT_STALL = 1 << 1,
    FAULT_RST_AFTER = 1 << 2,
    FAULT_ERROR_EVENT = 1 << 3,
    FAULT_STATUS = 1 << 4,
    FAULT_RST = 1 << 5,
    FAULT_GARBAGE = 1 << 6,
    FAULT_CLOSE = 1 << 7,
    FAULT_BAD_LENGTH = 1 << 8,
    FAULT_BAD_CHUNK = 1 << 9,
    FAULT_BIG_HEAD = 1 << 10,
    FAULT_NO_KEEPALIVE = 1 << 11,
    FAULT_CLOSE_AFTER = 1 << 12,
    FAULT_INTERIM = 1 << 13,
    FAULT_SPLIT = 1 << 14,
    FAULT_FAIL_TIMES = 1 << 15,
    FAULT_SLOW_HEAD = 1 << 16,
    FAULT_DUP_LENGTH = 1 << 17,
    FAULT_BAD_JSON = 1 << 18,
};

/* The ones that stop a body at point n. */
#define FAULT_STOPS (FAULT_CUT | FAULT_STALL | FAULT_RST_AFTER | FAULT_ERROR_EVENT)

struct fault {
    uint32_t set;         /* of enum fault_bit */
    uint32_t n;           /* FAULT_STOPS: events of a stream, bytes of a plain body */
    uint32_t slow_ms;     /* slow-head */
    uint32_t split;       /* bytes a piece */
    uint32_t split_ms;    /* between two pieces */
    uint32_t times;       /* fail-times: how many */
    uint32_t retry_after; /* seconds, with 429 and 529 */
    uint16_t status;      /* the status to answer */
};

/* Adds the faults of a specification to *f. On false *bad is the part that was not understood. */
bool fault_parse(struct fault *f, struct slice spec, struct slice *bad);

/* Counts a request of this path; true for the first `times` of them since the start or the last
 * reset. */
bool fault_fails_now(struct slice path, uint32_t times);
void fault_reset(void);

#endif
