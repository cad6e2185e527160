/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed between two readings of config.yaml, setting by setting. */
#include "config/settings.h"

struct comparison {
    settings_changed_fn *each;
    void *arg;
    struct arena *arena;
};

/* Taken over while the program runs. */
static const char *const followed[] = {"apisix.node_listen", "apisix.ssl.enable",
                                       "apisix.ssl.listen", NULL};

static bool is_followed(struct str path)
{
    for (const char *const *f = followed; *f; f++)
        if (str_eq(path, str_of(*f)))
            return true;
    return false;
}

static void compare(struct comparison *c, struct str path, const json_t *a, const json_t *b);

static void compare_member(struct comparison *c, struct str path, const char *key, const json_t *a,
                           const json_t *b)
{
    struct str name = str_of(key);

    compare(c, path.n ? arena_printf(c->arena, "%.*s.%s", STR_ARG(path), key) : name, a, b);
}

static void compare(struct comparison *c, struct str path, const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;

    if (is_followed(path) || json_equal(a, b))
        return;
    /* A section that is not there is an empty one. */
    if ((a && !json_is_object(a)) || (b && !json_is_object(b))) {
        c->each(c->arg, path);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        compare_member(c, path, key, value, json_object_get(b, key));
    json_object_foreach((json_t *)(uintptr_t)b, key, value) if (!json_object_get(a, key))
        compare_member(c, path, key, NULL, value);
}

void settings_compare(const struct settings *a, const struct settings *b, struct arena *scratch,
                      settings_changed_fn *each, void *arg)
{
    struct comparison c = {each, arg, scratch};

    compare(&c, STR(""), a->document, b->document);
}
