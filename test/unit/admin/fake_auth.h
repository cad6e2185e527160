/* SPDX-License-Identifier: Apache-2.0 */
/* An auth plugin for the control side's tests and fuzz targets: its consumers' key is a secret. */
#ifndef ADMIN_FAKE_AUTH_H
#define ADMIN_FAKE_AUTH_H

#include "plugin/plugin.h"

struct key_conf {
    struct str key;
};

static const struct field empty_rows[] = {{.name = NULL}};
static const struct fields empty_fields = {.rows = empty_rows, .size = 1};
static const struct field key_rows[] = {
    {"key", FIELD_STR, .flags = FIELD_REQUIRED | FIELD_SECRET,
     .at = offsetof(struct key_conf, key)},
    {.name = NULL},
};
static const struct fields key_fields = {.rows = key_rows, .size = sizeof(struct key_conf)};

static const struct plugin key_auth = {
    .abi = PLUGIN_ABI,
    .name = "key-auth",
    .version = 0.1,
    .priority = 2500,
    .auth = true,
    .conf = &empty_fields,
    .consumer = &key_fields,
    .consumer_key = "key",
};

#endif
