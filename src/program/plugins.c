/* SPDX-License-Identifier: Apache-2.0 */
/* Which plugins there are in this process, and their start and stop. */
#include "plugin/registry.h"
#include "program/program.h"

void plugins_choose(struct program *p)
{
    size_t n = 0, kept = 0;

    while (plugin_registry[n])
        n++;
    p->plugins = arena_zero(&p->arena, (n + 1) * sizeof(*p->plugins));
    for (size_t i = 0; i < n; i++)
        if (settings_has_plugin(p->settings, str_of(plugin_registry[i]->name)))
            p->plugins[kept++] = plugin_registry[i];
}

bool plugins_start(struct program *p)
{
    const struct settings *s = p->settings;
    struct plugin_env env = {
        .data_dir = s->data_dir, .threads = s->workers, .apisix = s->apisix, .eclusa = s->eclusa};

    for (; p->plugins[p->started]; p->started++) {
        const struct plugin *plugin = p->plugins[p->started];
        const json_t *attr = s->plugin_attr ? json_object_get(s->plugin_attr, plugin->name) : NULL;
        if (plugin->start && !plugin->start(attr, &env, &p->err))
            return program_fail(p, plugin->name);
    }
    return true;
}

void plugins_stop(struct program *p)
{
    while (p->started--)
        if (p->plugins[p->started]->stop)
            p->plugins[p->started]->stop();
}
