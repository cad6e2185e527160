/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the response, of the time and of the process. */
#include <time.h>
#include <unistd.h>

#include "exchange/vars.h"
#include "exchange/worker.h"

static struct str v_status(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, (uint64_t)ex->status);
}

static struct str v_body_bytes_sent(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, ex->body_sent);
}

static struct str v_bytes_sent(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, ex->sent_bytes);
}

static struct str v_sent_http_(struct exchange *ex, struct str arg)
{
    return var_header(ex, &ex->res, arg);
}

static struct str v_request_completion(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->step == STEP_LOG && ex->responded && !ex->reason ? STR("OK") : STR("");
}

static struct str v_request_time(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_seconds(ex, ex->worker->thread.loop.now_us - ex->start_us);
}

static struct str v_reason(struct exchange *ex, struct str arg)
{
    (void)arg;
    return ex->reason ? str_of(reasons[ex->reason].name) : STR_NONE;
}

/* Formatted once a second and thread, since every line of an access log wants it. */
static struct str time_text(struct exchange *ex, struct time_cache *cache, const char *fmt,
                            bool colon)
{
    time_t now = (time_t)(ex->worker->thread.loop.wall_ms / 1000);
    struct tm tm;

    if (cache->second != now) {
        localtime_r(&now, &tm);
        size_t n = strftime(cache->text, sizeof(cache->text) - 1, fmt, &tm);
        if (colon && n > 2) {
            /* ISO 8601 wants +01:00 where strftime gives +0100. */
            memmove(cache->text + n - 1, cache->text + n - 2, 2);
            cache->text[n - 2] = ':';
            n++;
        }
        cache->second = now;
        cache->n = n;
    }
    return arena_str(&ex->arena, str_make(cache->text, cache->n));
}

static struct str v_time_local(struct exchange *ex, struct str arg)
{
    (void)arg;
    return time_text(ex, &ex->worker->time_local, "%d/%b/%Y:%H:%M:%S %z", false);
}

static struct str v_time_iso8601(struct exchange *ex, struct str arg)
{
    (void)arg;
    return time_text(ex, &ex->worker->time_iso8601, "%Y-%m-%dT%H:%M:%S%z", true);
}

static struct str v_msec(struct exchange *ex, struct str arg)
{
    int64_t ms = ex->worker->thread.loop.wall_ms;

    (void)arg;
    return arena_printf(&ex->arena, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

static struct str v_pid(struct exchange *ex, struct str arg)
{
    (void)arg;
    return var_number(ex, (uint64_t)getpid());
}

const struct var_row vars_response[] = {
    {"status", v_status},
    {"body_bytes_sent", v_body_bytes_sent},
    {"bytes_sent", v_bytes_sent},
    {"request_time", v_request_time},
    {"eclusa_reason", v_reason},
    {"time_local", v_time_local},
    {"time_iso8601", v_time_iso8601},
    {"msec", v_msec},
    {"pid", v_pid},
    {"request_completion", v_request_completion},
    {"sent_http_", v_sent_http_},
    {0},
};
