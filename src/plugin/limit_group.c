/* SPDX-License-Identifier: Apache-2.0 */
/* The list of groups. A compiled configuration is in its group until it is released, so a name is
 * free again when the last route that had it is gone from all threads. */
#include "plugin/limit_group.h"

#include "base/list.h"
#include "base/mem.h"

struct limit_group {
    struct list link;
    char *name, *conf;
    unsigned members;
};

static struct list groups = {&groups, &groups};

struct limit_group *limit_group_join(struct str name, struct str conf)
{
    struct limit_group *g;

    for (struct list *l = groups.next; l != &groups; l = l->next) {
        g = CONTAINER(l, struct limit_group, link);
        if (!str_eq(str_of(g->name), name))
            continue;
        if (!str_eq(str_of(g->conf), conf))
            return NULL;
        g->members++;
        return g;
    }
    g = mem_zero(sizeof(*g));
    g->name = str_dup(name);
    g->conf = str_dup(conf);
    g->members = 1;
    list_append(&groups, &g->link);
    return g;
}

void limit_group_leave(struct limit_group *g)
{
    if (!g || --g->members)
        return;
    list_remove(&g->link);
    free(g->name);
    free(g->conf);
    free(g);
}
