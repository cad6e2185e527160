/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all plugins, made from plugins.def. */
#ifndef PLUGIN_REGISTRY_H
#define PLUGIN_REGISTRY_H

#include "plugin/plugin.h"

/* Ended by NULL. */
extern const struct plugin *const plugin_registry[];

#endif
