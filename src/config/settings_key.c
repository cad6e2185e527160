/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin API's key that is made when none is configured. */
#include "config/key_file.h"
#include "config/settings.h"

enum { KEY_BYTES = 16 };

bool settings_admin_key(struct settings *s, struct arena *a, struct str *err)
{
    struct str path = arena_printf(a, "%.*s/admin.key", STR_ARG(s->data_dir));
    struct settings_admin_key *keys;
    struct key_text key;

    if (!s->admin.key_generated)
        return true;
    if (!key_file_folder(s->data_dir, a, err))
        return false;
    enum key_file_status status = key_file(path, KEY_BYTES, &key, a, err);
    if (status != KEY_FILE_READ && status != KEY_FILE_MADE)
        return false;
    if (status == KEY_FILE_MADE)
        log_notice("made a key for the Admin API: it is in %.*s", STR_ARG(path));
    else
        log_notice("the Admin API's key is in %.*s", STR_ARG(path));
    keys = arena_alloc(a, (s->admin.nkeys + 1) * sizeof(*keys));
    keys[0] = (struct settings_admin_key){.name = STR("admin"),
                                          .key = arena_str(a, str_make(key.p, key.n))};
    explicit_bzero(&key, sizeof(key));
    for (unsigned i = 0; i < s->admin.nkeys; i++)
        keys[i + 1] = s->admin.keys[i];
    s->admin.keys = keys;
    s->admin.nkeys++;
    s->admin.key_generated = false;
    return true;
}
