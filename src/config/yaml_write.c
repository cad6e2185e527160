/* SPDX-License-Identifier: Apache-2.0 */
/* YAML from JSON values, by libyaml's emitter. */
#include <stdio.h>
#include <yaml.h>

#include "base/mem.h"
#include "base/panic.h"
#include "config/yaml.h"

struct writer {
    yaml_emitter_t emitter;
    struct buf *out;
    bool full;
};

static int on_bytes(void *arg, unsigned char *bytes, size_t n)
{
    struct writer *w = arg;

    w->full |= !buf_add(w->out, str_make((const char *)bytes, n));
    return !w->full;
}

static void emit(struct writer *w, yaml_event_t *event, int made)
{
    ASSERT(made);
    if (!yaml_emitter_emit(&w->emitter, event))
        w->full = true;
}

/* Read back as this string, whatever the reader's version of YAML. */
static bool is_plain(struct str s)
{
    static const char *const words[] = {"y",   "n",    "yes",   "no",   "on",
                                        "off", "true", "false", "null", NULL};
    bool plain = s.n > 0 && s.n < 200;

    for (size_t i = 0; plain && i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool word = (c >= 'a' && c <= 'z') || c == '_' || c == '/';
        plain = word || (i > 0 && (ascii_digit(c) || c == '-' || c == '.'));
    }
    for (size_t i = 0; plain && words[i]; i++)
        plain = !str_eq_nocase(s, str_of(words[i]));
    return plain;
}

static void write_scalar(struct writer *w, struct str s, yaml_scalar_style_t style)
{
    yaml_event_t event;
    static yaml_char_t none[1];

    emit(w, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL,
                                      s.n ? (yaml_char_t *)(uintptr_t)s.p : none, (int)s.n, 1, 1,
                                      style));
}

static void write_string(struct writer *w, struct str s)
{
    write_scalar(w, s, is_plain(s) ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static void write_value(struct writer *w, json_t *v);

static void write_map(struct writer *w, json_t *v)
{
    yaml_event_t event;
    const char *key;
    json_t *value;

    emit(w, &event,
         yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    json_object_foreach(v, key, value)
    {
        write_string(w, str_of(key));
        write_value(w, value);
    }
    emit(w, &event, yaml_mapping_end_event_initialize(&event));
}

static void write_list(struct writer *w, json_t *v)
{
    yaml_event_t event;
    json_t *value;
    size_t i;

    emit(w, &event,
         yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
    json_array_foreach(v, i, value) write_value(w, value);
    emit(w, &event, yaml_sequence_end_event_initialize(&event));
}

static void write_value(struct writer *w, json_t *v)
{
    if (w->full)
        return;
    if (json_is_object(v)) {
        write_map(w, v);
    } else if (json_is_array(v)) {
        write_list(w, v);
    } else if (json_is_string(v)) {
        write_string(w, str_make(json_string_value(v), json_string_length(v)));
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        write_scalar(w, str_of(text), YAML_PLAIN_SCALAR_STYLE);
        free(text);
    }
}

bool yaml_write(const json_t *v, struct buf *out)
{
    struct writer w = {.out = out};
    yaml_event_t event;

    if (!yaml_emitter_initialize(&w.emitter))
        PANIC("libyaml has no memory");
    yaml_emitter_set_output(&w.emitter, on_bytes, &w);
    yaml_emitter_set_unicode(&w.emitter, 1);
    yaml_emitter_set_width(&w.emitter, -1);
    emit(&w, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&w, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    write_value(&w, (json_t *)(uintptr_t)v);
    if (!w.full) {
        emit(&w, &event, yaml_document_end_event_initialize(&event, 1));
        emit(&w, &event, yaml_stream_end_event_initialize(&event));
        yaml_emitter_flush(&w.emitter);
    }
    yaml_emitter_delete(&w.emitter);
    return !w.full;
}
