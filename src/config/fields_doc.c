/* SPDX-License-Identifier: Apache-2.0 */
/* Draws a Markdown table from a field table: one line for each field, nested ones with dotted
 * names. */
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/panic.h"
#include "config/fields.h"
#include "config/fields_int.h"

enum { DOC_MAX = 1 << 20, CELL_MAX = 1 << 16 };

/* Text for a table's cell: a bar or a newline would end it. */
static void add_cell(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|')
            buf_printf(out, "\\|");
        else
            buf_printf(out, "%c", s.p[i] == '\n' ? ' ' : s.p[i]);
    }
}

static void add_code(struct buf *out, struct str s)
{
    /* Two backticks hold text with one inside (CommonMark §6.1). */
    const char *tick = str_find(s, '`') < 0 ? "`" : "``";

    buf_printf(out, "%s", tick);
    add_cell(out, s);
    buf_printf(out, "%s", tick);
}

static void type_name(struct buf *out, const struct field *f);

static void alternative_names(struct buf *out, const struct field *of)
{
    for (const char *between = ""; of->name; of++, between = " or ") {
        buf_printf(out, "%s", between);
        type_name(out, of);
    }
}

static void type_name(struct buf *out, const struct field *f)
{
    static const char *const names[] = {
        [FIELD_BOOL] = "boolean",  [FIELD_INT] = "integer", [FIELD_NUM] = "number",
        [FIELD_STR] = "string",    [FIELD_ENUM] = "string", [FIELD_LIST] = "array",
        [FIELD_OBJECT] = "object", [FIELD_MAP] = "object",  [FIELD_JSON] = "any",
        [FIELD_ANY_OF] = NULL,     [FIELD_ONE_OF] = NULL,
    };

    if (f->type == FIELD_JSON && f->of) {
        type_name(out, f->of);
        return;
    }
    if (!names[f->type]) {
        alternative_names(out, f->of);
        return;
    }
    buf_printf(out, "%s", names[f->type]);
    if (f->type == FIELD_LIST && f->of) {
        buf_printf(out, "[");
        type_name(out, f->of);
        buf_printf(out, "]");
    }
}

/* Puts the separator before every part of a cell but its first. */
static void next_part(struct buf *out, const char *separator)
{
    if (out->n)
        buf_printf(out, "%s", separator);
}

static void number_range(struct buf *out, const struct field *f)
{
    bool low = (f->flags & (FIELD_ABOVE_MIN | FIELD_HAS_MIN)) || f->min != 0;

    if (!low && f->max == 0)
        return;
    next_part(out, ", ");
    if (low && f->max != 0 && !(f->flags & FIELD_ABOVE_MIN))
        buf_printf(out, "%.14g … %.14g", f->min, f->max);
    else if (low)
        buf_printf(out, "%s %.14g", f->flags & FIELD_ABOVE_MIN ? ">" : "≥", f->min);
    if (f->max != 0 && (!low || (f->flags & FIELD_ABOVE_MIN)))
        buf_printf(out, "%s≤ %.14g", low ? ", " : "", f->max);
}

static void length_range(struct buf *out, const struct field *f, const char *unit)
{
    if (f->min <= 0 && f->max <= 0)
        return;
    next_part(out, ", ");
    if (f->min > 0 && f->max > 0)
        buf_printf(out, "%.0f … %.0f %s", f->min, f->max, unit);
    else if (f->min > 0)
        buf_printf(out, "at least %.0f %s", f->min, unit);
    else
        buf_printf(out, "at most %.0f %s", f->max, unit);
}

static void value_names(struct buf *out, const struct field *f)
{
    for (const char *const *name = f->names; name && *name; name++) {
        next_part(out, ", ");
        add_code(out, str_of(*name));
    }
}

static void valid_values(struct buf *out, const struct field *f)
{
    switch (f->type) {
    case FIELD_INT:
    case FIELD_NUM:
        number_range(out, f);
        value_names(out, f);
        break;
    case FIELD_STR:
        length_range(out, f, "characters");
        if (f->format)
            buf_printf(out, "%s%s", out->n ? ", " : "", f->format);
        break;
    case FIELD_ENUM:
        value_names(out, f);
        break;
    case FIELD_LIST:
        length_range(out, f, "items");
        if (f->flags & FIELD_UNIQUE) {
            next_part(out, ", ");
            buf_printf(out, "no two equal");
        }
        if (f->of && f->of->type != FIELD_OBJECT)
            valid_values(out, f->of);
        return;
    case FIELD_MAP:
        length_range(out, f, "properties");
        break;
    case FIELD_JSON:
        if (f->of)
            valid_values(out, f->of);
        break;
    case FIELD_BOOL:
    case FIELD_OBJECT:
    case FIELD_ANY_OF:
    case FIELD_ONE_OF:
        break;
    }
    if (f->pattern) {
        buf_printf(out, "%s%smatches ", out->n ? ", " : "", f->type == FIELD_MAP ? "key " : "");
        add_code(out, str_of(f->pattern));
    }
}

static void add_rows(struct buf *out, const struct fields *fields, const char *prefix);

/* What is inside of a field comes below it, under a longer name. */
static void add_inner(struct buf *out, const struct field *f, const char *name)
{
    char inner[256];

    switch (f->type) {
    case FIELD_OBJECT:
        add_rows(out, f->fields, name);
        break;
    case FIELD_LIST:
        snprintf(inner, sizeof(inner), "%s[]", name);
        add_inner(out, field_of(f), inner);
        break;
    case FIELD_MAP:
        snprintf(inner, sizeof(inner), "%s.*", name);
        add_inner(out, field_of(f), inner);
        break;
    case FIELD_ANY_OF:
    case FIELD_ONE_OF:
        for (const struct field *of = f->of; of->name; of++)
            add_inner(out, of, name);
        break;
    case FIELD_JSON:
        if (f->of)
            add_inner(out, f->of, name);
        break;
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_NUM:
    case FIELD_STR:
    case FIELD_ENUM:
        break;
    }
}

static void add_row(struct buf *out, const struct field *f, const char *name)
{
    struct buf cell;

    buf_init(&cell, CELL_MAX);
    buf_printf(out, "| ");
    add_code(out, str_of(name));
    buf_printf(out, " | ");
    type_name(&cell, f);
    add_cell(out, buf_str(&cell));
    buf_fini(&cell);
    buf_printf(out, " | %s | ", f->flags & FIELD_REQUIRED ? "yes" : "");
    if (f->def)
        add_code(out, str_of(f->def));
    buf_printf(out, " | ");
    valid_values(&cell, f);
    /* Already escaped, piece by piece. */
    bool whole = buf_add(out, buf_str(&cell));
    ASSERT(whole);
    buf_fini(&cell);
    buf_printf(out, " | ");
    add_cell(out, str_of(f->doc));
    if (f->flags & FIELD_SECRET)
        buf_printf(out, "%sEncrypted at rest.", f->doc ? " " : "");
    buf_printf(out, " |\n");
    add_inner(out, f, name);
}

static void add_rows(struct buf *out, const struct fields *fields, const char *prefix)
{
    char name[256];

    for (const struct field *f = fields->rows; f->name; f++) {
        if (f->flags & FIELD_HIDDEN)
            continue;
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", f->name);
        add_row(out, f, name);
    }
}

char *fields_markdown(const struct fields *fields)
{
    struct buf out;

    buf_init(&out, DOC_MAX);
    buf_printf(&out, "| Name | Type | Required | Default | Valid values | Description |\n"
                     "| --- | --- | --- | --- | --- | --- |\n");
    add_rows(&out, fields, "");
    char *text = str_dup(buf_str(&out));
    buf_fini(&out);
    return text;
}
