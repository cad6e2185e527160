/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all plugins. */
#include "plugin/registry.h"

#define PLUGIN(name) extern const struct plugin plugin_##name;
#include "plugin/plugins.def"
#undef PLUGIN

const struct plugin *const plugin_registry[] = {
#define PLUGIN(name) &plugin_##name,
#include "plugin/plugins.def"
#undef PLUGIN
    NULL,
};
