/* SPDX-License-Identifier: Apache-2.0 */
/* What is computed once from the texts in field tables: compiled patterns, parsed defaults. Tables
 * are static, so nothing here is ever freed, and its size is bounded by the program's. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/panic.h"
#include "config/fields_int.h"

enum { BUCKETS = 256, MATCH_LIMIT = 200000 };

struct memo {
    struct memo *next;
    const char *text;
    json_t *json;
    pcre2_code *code;
};

static struct memo *patterns[BUCKETS], *defaults[BUCKETS];
static pcre2_match_context *limits;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Under the lock. The text is copied: a test may build its tables at run time. */
static struct memo *memo_find(struct memo **table, const char *text, bool *found)
{
    struct memo **bucket = &table[hash_stable(str_of(text)) % BUCKETS];

    for (struct memo *m = *bucket; m; m = m->next)
        if (strcmp(m->text, text) == 0) {
            *found = true;
            return m;
        }
    struct memo *m = mem_zero(sizeof(*m));
    m->text = str_dup(str_of(text));
    m->next = *bucket;
    *bucket = m;
    *found = false;
    return m;
}

static pcre2_code *pattern_compile(const char *pattern)
{
    int code;
    size_t at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);

    if (!re)
        panic_at(__FILE__, __LINE__, pattern, "a field table's pattern does not compile");
    if (!limits) {
        limits = pcre2_match_context_create(NULL);
        ASSERT(limits);
        pcre2_set_match_limit(limits, MATCH_LIMIT);
    }
    return re;
}

bool memo_matches(const char *pattern, struct str s)
{
    bool found;

    pthread_mutex_lock(&lock);
    struct memo *m = memo_find(patterns, pattern, &found);
    if (!found)
        m->code = pattern_compile(pattern);
    pthread_mutex_unlock(&lock);

    pcre2_match_data *data = pcre2_match_data_create_from_pattern(m->code, NULL);
    ASSERT(data);
    int n = pcre2_match(m->code, (PCRE2_SPTR)(s.p ? s.p : ""), s.n, 0, 0, data, limits);
    pcre2_match_data_free(data);
    /* An error (the match limit) counts as no match, as ngx.re.find has it. */
    return n >= 0;
}

json_t *memo_json(const char *text)
{
    bool found;

    pthread_mutex_lock(&lock);
    struct memo *m = memo_find(defaults, text, &found);
    if (!found)
        m->json = json_loads(text, JSON_DECODE_ANY, NULL);
    pthread_mutex_unlock(&lock);
    if (!m->json)
        panic_at(__FILE__, __LINE__, text, "a field table's default is not JSON");
    return m->json;
}
