/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of fault specifications and the per-path count behind fail-times. */
#include "faults.h"

#include <pthread.h>
#include <stdlib.h>

/* A fault's arguments: how many it must have and may have. */
static const struct fault_word {
    const char *name;
    uint32_t bit;
    unsigned min, max;
} words[] = {
    {"cut", FAULT_CUT, 1, 1},
    {"stall", FAULT_STALL, 1, 1},
    {"rst-after", FAULT_RST_AFTER, 1, 1},
    {"error-event", FAULT_ERROR_EVENT, 1, 1},
    {"slow-head", FAULT_SLOW_HEAD, 1, 1},
    {"split", FAULT_SPLIT, 1, 2},
    {"fail-times", FAULT_FAIL_TIMES, 2, 2},
    {"rst", FAULT_RST, 0, 0},
    {"garbage", FAULT_GARBAGE, 0, 0},
    {"close", FAULT_CLOSE, 0, 0},
    {"bad-length", FAULT_BAD_LENGTH, 0, 0},
    {"bad-chunk", FAULT_BAD_CHUNK, 0, 0},
    {"bad-json", FAULT_BAD_JSON, 0, 0},
    {"dup-length", FAULT_DUP_LENGTH, 0, 0},
    {"big-head", FAULT_BIG_HEAD, 0, 0},
    {"no-keepalive", FAULT_NO_KEEPALIVE, 0, 0},
    {"close-after", FAULT_CLOSE_AFTER, 0, 0},
};

static void set_args(struct fault *f, uint32_t bit, unsigned n, const uint64_t *v)
{
    if (bit & FAULT_STOPS)
        f->n = (uint32_t)v[0];
    if (bit == FAULT_SLOW_HEAD)
        f->slow_ms = (uint32_t)v[0];
    if (bit == FAULT_SPLIT) {
        f->split = v[0] ? (uint32_t)v[0] : 1;
        f->split_ms = n > 1 ? (uint32_t)v[1] : 1;
    }
    if (bit == FAULT_FAIL_TIMES) {
        f->times = (uint32_t)v[0];
        f->status = (uint16_t)v[1];
    }
    f->set |= bit;
}

/* A number as the name is a status to answer: 429, 429:SECONDS, 500, 529 … (100 stands for interim
 * heads). */
static bool status_word(struct fault *f, uint64_t status, unsigned n, const uint64_t *v)
{
    if (status == 100 && n == 0) {
        f->set |= FAULT_INTERIM;
        return true;
    }
    if (status < 400 || status > 599 || n > 1)
        return false;
    f->set |= FAULT_STATUS;
    f->status = (uint16_t)status;
    f->retry_after = n ? (uint32_t)v[0] : 1;
    return true;
}

static bool parse_word(struct fault *f, struct slice word)
{
    uint64_t v[2], status;
    unsigned n = 0;
    const char *end = word.p + word.n;
    const char *colon = memchr(word.p, ':', word.n);
    struct slice name = {word.p, colon ? (size_t)(colon - word.p) : word.n};
    while (colon) {
        const char *from = colon + 1;
        colon = memchr(from, ':', (size_t)(end - from));
        if (n == 2 || !slice_num((struct slice){from, (size_t)((colon ? colon : end) - from)},
                                 1u << 30, &v[n]))
            return false;
        n++;
    }
    if (slice_num(name, 999, &status))
        return status_word(f, status, n, v);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!slice_is(name, words[i].name))
            continue;
        if (n < words[i].min || n > words[i].max)
            return false;
        if (words[i].bit == FAULT_FAIL_TIMES && (v[1] < 400 || v[1] > 599))
            return false;
        set_args(f, words[i].bit, n, v);
        return true;
    }
    return false;
}

bool fault_parse(struct fault *f, struct slice spec, struct slice *bad)
{
    size_t i = 0;
    while (i < spec.n) {
        const char *comma = memchr(spec.p + i, ',', spec.n - i);
        size_t end = comma ? (size_t)(comma - spec.p) : spec.n;
        while (i < end && spec.p[i] == ' ')
            i++;
        *bad = (struct slice){spec.p + i, end - i};
        if (bad->n && !slice_is(*bad, "none") && !parse_word(f, *bad))
            return false;
        i = end + 1;
    }
    return true;
}

/* ---- fail-times ---- */

struct path_count {
    struct path_count *next;
    uint32_t count;
    size_t n;
    char path[];
};

#define BUCKETS   256
#define MAX_PATHS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct path_count *bucket[BUCKETS];
static size_t paths;

static struct path_count *path_get(struct slice path)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < path.n; i++)
        h = (h ^ (unsigned char)path.p[i]) * 16777619u;
    struct path_count **at = &bucket[h % BUCKETS];
    for (struct path_count *p = *at; p; p = p->next)
        if (p->n == path.n && memcmp(p->path, path.p, path.n) == 0)
            return p;
    if (paths == MAX_PATHS)
        return NULL;
    struct path_count *p = sim_alloc(sizeof *p + path.n);
    memcpy(p->path, path.p, path.n);
    p->n = path.n;
    p->next = *at;
    *at = p;
    paths++;
    return p;
}

bool fault_fails_now(struct slice path, uint32_t times)
{
    pthread_mutex_lock(&lock);
    struct path_count *p = path_get(path);
    bool fails = p && p->count < times;
    if (fails)
        p->count++;
    pthread_mutex_unlock(&lock);
    return fails;
}

void fault_reset(void)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (bucket[i]) {
            struct path_count *p = bucket[i];
            bucket[i] = p->next;
            free(p);
        }
    }
    paths = 0;
    pthread_mutex_unlock(&lock);
}
