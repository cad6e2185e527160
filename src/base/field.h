/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables: one row says everything about one field of a JSON object. From a table come the
 * validation with a path in its message, the defaults, the parsed C struct, the JSON schema that
 * the Admin API shows, the encryption of secrets and the doc page. config/fields.h does the work.
 */
#ifndef BASE_FIELD_H
#define BASE_FIELD_H

#include <jansson.h>

#include "base/str.h"

enum field_type {
    FIELD_BOOL, /* stored as bool */
    FIELD_INT,  /* int64_t; a number with a zero fraction is accepted, as the Lua validator does */
    FIELD_NUM,  /* double */
    FIELD_STR,  /* struct str, absent: p == NULL */
    FIELD_ENUM, /* int, index in names, absent without default: -1 */
    FIELD_LIST, /* struct field_list; `of` is the element's row (its name and at are not used) */
    FIELD_OBJECT, /* pointer to a struct made by `fields`, absent: NULL; as a list element: inline
                   */
    FIELD_MAP,    /* struct field_list of struct field_pair (of->type FIELD_STR) or field_member */
    FIELD_JSON,   /* json_t *: any value, checked by the row at `of` if given; absent: NULL */
    FIELD_ANY_OF, /* json_t *: a value that one of the rows at `of` (ended by a NULL name) accepts
                   */
    FIELD_ONE_OF, /* the same, but exactly one row may accept it */
};

enum field_flag {
    FIELD_REQUIRED = 1 << 0,
    FIELD_SECRET =
        1 << 1, /* encrypted at rest, never logged, shown decrypted by the Admin API only */
    FIELD_UNIQUE = 1 << 2,    /* list: no two elements equal */
    FIELD_ABOVE_MIN = 1 << 3, /* min is exclusive */
    FIELD_HIDDEN = 1 << 4,    /* accepted, but neither in the schema nor in the docs */
    FIELD_HAS_MIN = 1 << 5,   /* min counts even when it is 0 (numbers) */
    FIELD_AS_TEXT = 1 << 6,   /* FIELD_ANY_OF, FIELD_ONE_OF of strings and numbers: stored as struct
                                 str, a number as its decimal text */
    FIELD_CLOSED = 1 << 7,    /* map: keys that do not match `pattern` are refused; without it they
                                 are accepted unchecked and left out of the parsed list. A closed
                                 map without pattern is additionalProperties in the schema. */
};

struct fields;

struct field {
    const char *name;
    enum field_type type;
    unsigned flags;
    size_t at;                /* offsetof in the parsed struct */
    double min, max;          /* numbers: range (max 0: none; min needs FIELD_HAS_MIN or != 0);
                                 strings, lists, maps: length range (max 0: none) */
    const char *def;          /* default as JSON text, NULL: none */
    const char *pattern;      /* strings: PCRE; maps: pattern of the keys */
    const char *const *names; /* FIELD_ENUM: NULL-ended; FIELD_INT: the values allowed, as text */
    const struct field *of;   /* element row; FIELD_ANY_OF, FIELD_ONE_OF: rows ended by a NULL
                                 name; FIELD_STR: such rows, one of which must accept it too */
    const struct fields *fields; /* FIELD_OBJECT */
    const char *doc;             /* one sentence for the doc page and the schema's description */
    const char *format;          /* FIELD_STR: "ipv4" or "ipv6" */
};

/* A rule between fields of one object. */
enum field_rule_type {
    RULE_ONE_OF,     /* exactly one group of the list is present (JSON schema oneOf of required) */
    RULE_ANY_OF,     /* at least one group is present (anyOf of required) */
    RULE_NOT_BOTH,   /* not all fields of the group together */
    RULE_DEPENDS,    /* when the first field of a group is present, the others must be */
    RULE_MIN_FIELDS, /* at least `n` properties, defaults counted */
    RULE_MAX_FIELDS, /* at most `n` properties */
    /* As RULE_ONE_OF, and none or one, inside of an allOf: the messages count these rules. */
    RULE_ALL_ONE_OF,
    RULE_ALL_NONE_OR_ONE,
    RULE_DEPENDS_SCHEMA, /* as RULE_DEPENDS, in the words of a dependent schema */
    RULE_EXCLUDES, /* when the first field of a group is present, not all of the others may be */
    /* As RULE_ONE_OF, and no field of two groups; then the message names the groups: "a/b and c
     * cannot be specified at the same time". */
    RULE_ONE_OF_NAMED,
    /* "field=value|groups|else|groups": when an enum's field (or its default) has the value,
     * exactly one of the groups before `else` is present, otherwise one of those behind it. */
    RULE_WHEN,
};

struct field_rule {
    enum field_rule_type type;
    const char
        *groups; /* groups split by '|', fields in a group by ',': "count,time_window|rules" */
    int n;
};

struct fields {
    const struct field *rows;       /* ended by a NULL name */
    const struct field_rule *rules; /* ended by NULL groups and n == 0; may be NULL */
    size_t size;                    /* of the parsed struct */
    bool open;                      /* unknown properties are accepted and ignored */
    const char *doc;
};

/* The alternatives of a string that is an IP address or network, in APISIX's order and patterns. */
extern const struct field field_address_rows[];

/* A number as an integer: without what stands behind the point, and cut to what fits. */
int64_t field_int(const json_t *number);

struct field_list {
    void *items;
    size_t n;
};

struct field_pair {
    struct str key, value;
};

/* True for `$secret://…` and `$ENV://…` (the latter in any case): text that stands for a value kept
 * elsewhere, and must not be taken for the value itself. */
static inline bool field_text_refers(struct str s)
{
    return str_starts(s, STR("$secret://")) || str_eq_nocase(str_head(s, 7), STR("$ENV://"));
}

/* json is borrowed: valid while the document is compiled, not after. */
struct field_member {
    struct str key;
    json_t *value;
};

#endif
