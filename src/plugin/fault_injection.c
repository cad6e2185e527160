/* SPDX-License-Identifier: Apache-2.0 */
/* fault-injection: answers that fail, and answers that are late, for tests of who waits for them.
 */
#include "base/encode.h"
#include "base/random.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

/* When a fault happens. */
struct when {
    json_t *percentage, *vars; /* as configured; NULL after compile */
    uint32_t percent;
    const struct expr **exprs; /* NULL: whatever the request is */
    size_t nexprs;
};

struct header {
    struct str name;
    const struct text *value;
};

struct abort {
    int64_t status;
    struct str body;
    struct field_list headers; /* of struct field_pair */
    struct when when;
    const struct text *body_text;
    struct header *header_texts;
};

struct delay {
    double duration; /* seconds */
    struct when when;
};

struct fault_injection {
    struct abort *abort; /* NULL: none; so for delay */
    struct delay *delay;
};

struct fault_injection_frame {
    bool judged, aborts;
};

static const struct field scalar_rows[] = {
    {"string", .type = FIELD_STR}, {"number", .type = FIELD_NUM}, {0}};
static const struct field scalar_row = {
    .type = FIELD_ONE_OF, .flags = FIELD_AS_TEXT, .of = scalar_rows};
static const struct field expr_row = {.type = FIELD_LIST};
static const struct field percentage_row = {
    .type = FIELD_INT, .flags = FIELD_HAS_MIN, .min = 0, .max = 100};
static const struct field vars_row = {.type = FIELD_LIST, .max = 20, .of = &expr_row};

/* The rows that both have. */
#define WHEN_ROWS(type)                                                                            \
    {"percentage", FIELD_JSON, .of = &percentage_row,                                              \
     .at = offsetof(struct type, when.percentage),                                                 \
     .doc = "Of a hundred requests that `vars` holds for, so many; left out: all."},               \
    {                                                                                              \
        "vars", FIELD_JSON,                                                                        \
            .of = &vars_row, .at = offsetof(struct type, when.vars),                               \
            .doc = "Expressions as in a route's `vars`; only requests that one of them holds for." \
    }

#define AT(member) .at = offsetof(struct abort, member)
static const struct field abort_rows[] = {
    {"http_status", FIELD_INT, .flags = FIELD_REQUIRED, AT(status), .min = 200, .max = 599,
     .doc = "Status of the answer."},
    {"body", FIELD_STR, AT(body), .doc = "Body of the answer, with variables."},
    {"headers", FIELD_MAP, AT(headers), .min = 1, .pattern = "^[^:]+$", .of = &scalar_row,
     .doc = "Headers of the answer, with variables."},
    WHEN_ROWS(abort),
    {0},
};
#undef AT
static const struct fields abort_fields = {abort_rows, .size = sizeof(struct abort), .open = true};

static const struct field delay_rows[] = {
    {"duration", FIELD_NUM, .flags = FIELD_REQUIRED | FIELD_HAS_MIN, .min = 0,
     .at = offsetof(struct delay, duration), .doc = "Seconds, also parts of them."},
    WHEN_ROWS(delay),
    {0},
};
static const struct fields delay_fields = {delay_rows, .size = sizeof(struct delay), .open = true};

#define AT(member) .at = offsetof(struct fault_injection, member)
static const struct field rows[] = {
    {"abort", FIELD_OBJECT, AT(abort), .fields = &abort_fields,
     .doc = "The request is answered here and goes nowhere."},
    {"delay", FIELD_OBJECT, AT(delay), .fields = &delay_fields, .doc = "The request waits first."},
    {0},
};
#undef AT
static const struct field_rule rules[] = {{RULE_MIN_FIELDS, NULL, 1}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct fault_injection),
                                          .open = true};

static bool when_compile(struct build *b, struct when *w)
{
    size_t i;
    json_t *one;

    w->percent = w->percentage ? (uint32_t)json_number_value(w->percentage) : 100;
    if (w->vars)
        w->exprs = arena_zero(build_arena(b), (json_array_size(w->vars) + 1) * sizeof(*w->exprs));
    json_array_foreach(w->vars, i, one)
    {
        w->exprs[i] = build_expr(b, one);
        if (!w->exprs[i])
            return false;
        w->nexprs++;
    }
    w->percentage = w->vars = NULL;
    return true;
}

static bool abort_compile(struct build *b, struct abort *a)
{
    const struct field_pair *pairs = a->headers.items;

    a->body_text = a->body.p ? build_text(b, a->body) : NULL;
    a->header_texts = arena_zero(build_arena(b), a->headers.n * sizeof(*a->header_texts));
    for (size_t i = 0; i < a->headers.n; i++)
        a->header_texts[i] = (struct header){pairs[i].key, build_text(b, pairs[i].value)};
    return when_compile(b, &a->when);
}

static bool fault_injection_compile(void *conf, struct build *b)
{
    struct fault_injection *c = conf;

    return (!c->abort || abort_compile(b, c->abort)) &&
           (!c->delay || when_compile(b, &c->delay->when));
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static bool happens(struct exchange *ex, const struct when *w)
{
    bool fits = !w->exprs;

    for (size_t i = 0; i < w->nexprs && !fits; i++)
        fits = expr_matches(ex, w->exprs[i]);
    return fits && random_below(100) < w->percent;
}

static enum verdict answer(struct exchange *ex, const struct abort *a)
{
    for (size_t i = 0; i < a->headers.n; i++)
        response_header_set(ex, a->header_texts[i].name,
                            encode_header(ex_arena(ex), text_value(ex, a->header_texts[i].value)));
    if (!a->body_text)
        return reply_status(ex, (int)a->status);
    struct str body = text_value(ex, a->body_text);
    return reply_text(ex, (int)a->status, STR_NONE, body.p ? body : STR(""));
}

/* Both are decided before the wait, as the request was then. */
static enum verdict fault_injection_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct fault_injection *c = conf;
    struct fault_injection_frame *f = frame;

    if (!f->judged) {
        f->judged = true;
        f->aborts = c->abort && happens(ex, &c->abort->when);
        if (c->delay && c->delay->duration > 0 && happens(ex, &c->delay->when)) {
            double ms = c->delay->duration * 1000;
            sleep_start(ex, ms < UINT32_MAX ? (unsigned)ms : UINT32_MAX);
            return WAIT;
        }
    }
    return f->aborts ? answer(ex, c->abort) : NEXT;
}

const struct plugin plugin_fault_injection = {
    .abi = PLUGIN_ABI,
    .name = "fault-injection",
    .version = 0.1,
    .priority = 11000,
    .doc = "Makes requests fail or wait, all or some of them: to see what clients do then.",
    .conf = &conf_fields,
    .frame_size = sizeof(struct fault_injection_frame),
    .compile = fault_injection_compile,
    .rewrite = fault_injection_rewrite,
};
