/* SPDX-License-Identifier: Apache-2.0 */
/* How a change is shown: its documents opened, compared, and their secrets masked. */
#include "admin/admin_int.h"
#include "admin/diff.h"
#include "config/fields_int.h"

/* A secret is shown as MASK. Until the documents have been compared it is a tag with a number, the
 * same for equal secrets: sealed twice, one text looks like two. */
#define MASK "***"
#define TAG  "\x01secret "

struct masking {
    struct call *c;
    json_t *numbers; /* by secret */
};

static void secret_tag(void *arg, json_t *string)
{
    struct masking *m = arg;
    size_t n = json_string_length(string);
    json_t *number;

    if (field_is_reference(string))
        return;
    number = json_object_getn(m->numbers, json_string_value(string), n);
    if (!number) {
        number = json_integer((json_int_t)json_object_size(m->numbers));
        json_object_setn_new(m->numbers, json_string_value(string), n, number);
    }
    struct str tag = arena_printf(m->c->a, TAG "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    json_string_setn(string, tag.p, tag.n);
}

static void mask(json_t *v)
{
    const char *name;
    json_t *value;
    size_t i;

    json_array_foreach(v, i, value) mask(value);
    json_object_foreach(v, name, value) mask(value);
    if (json_is_string(v) && str_starts(str_of(json_string_value(v)), STR(TAG)))
        json_string_set(v, MASK);
}

static void keep(json_t *into, const char *name, json_t *value)
{
    json_object_set_new(into, name, value ? value : json_null());
}

/* NULL: not there. What is no document is shown as a text. */
static json_t *document_open(struct masking *m, enum kind kind, struct str text)
{
    if (!text.p)
        return NULL;
    json_t *value = kind < KIND_COUNT ? keeper_decode(m->c->keeper, kind, text) : NULL;
    if (!value)
        return json_any(text);
    keeper_secrets(m->c->keeper, kind, value, secret_tag, m);
    return value;
}

static json_t *show(struct call *c, struct str key, json_t *before, json_t *after, bool whole)
{
    struct str id;
    enum kind kind = document_kind(key, &id);
    const char *action = !before ? "create" : !after ? "delete" : "update";
    json_t *one = json_pack("{soss}", "key", json_any(arena_join(c->a, c->admin->prefix, key)),
                            "action", action);

    if (kind < KIND_COUNT) {
        json_object_set_new(one, "kind", json_any(kinds[kind].collection));
        json_object_set_new(one, "id", json_any(id));
    }
    json_object_set_new(one, "diff", diff_make(before, after));
    if (whole) {
        keep(one, "before", before ? json_incref(before) : NULL);
        keep(one, "after", after ? json_incref(after) : NULL);
    }
    /* The diff may share its values with the documents: equal tags become equal masks. */
    mask(one);
    json_decref(before);
    json_decref(after);
    return one;
}

json_t *past_show(struct call *c, struct str key, struct str before, struct str after, bool whole)
{
    struct masking m = {c, json_object()};
    struct str id;
    enum kind kind = document_kind(key, &id);
    json_t *old = document_open(&m, kind, before), *new = document_open(&m, kind, after);

    json_decref(m.numbers);
    return show(c, key, old, new, whole);
}

json_t *past_show_changes(struct call *c, const struct changes *s)
{
    json_t *all = json_array();

    for (size_t i = 0; i < s->n; i++) {
        const struct keeper_change *change = &s->items[i];
        struct masking m = {c, json_object()};
        json_t *old = document_open(&m, change->kind, change->known->value);
        json_t *new = change->value ? json_deep_copy(change->value) : NULL;
        if (new)
            keeper_secrets(c->keeper, change->kind, new, secret_tag, &m);
        json_decref(m.numbers);
        json_array_append_new(
            all, show(c, document_key(c->a, change->kind, change->id), old, new, false));
    }
    return all;
}
