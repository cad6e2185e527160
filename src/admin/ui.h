/* SPDX-License-Identifier: Apache-2.0 */
/* A web interface beside the Admin API: the files of a folder below /ui/, where APISIX serves its
 * dashboard (cli/ngx_tpl.lua). */
#ifndef ADMIN_UI_H
#define ADMIN_UI_H

#include "admin/admin.h"
#include "loop/jobs.h"

struct ui;

/* Serves the folder dir (an absolute path, copied), which may not be there yet: it is looked at
 * anew for each request. jobs read its files, and must live longer. */
struct ui *ui_new(struct str dir, struct jobs *jobs);
/* After the last `done`. NULL is fine. */
void ui_free(struct ui *ui);

/* Whether the path is one of the interface: /ui and what is below. */
bool ui_has(struct str path);
/* Answers a request for such a path, from whoever may come in: no key is asked for, since the
 * files hold no secret and it is they that ask for the key. A path that names no file gets
 * index.html, whose script knows the path. As struct admin_api's handle; done is called on a
 * thread of the jobs, or at once. */
void ui_handle(struct ui *ui, const struct admin_request *r, admin_done_fn *done, void *arg);

#endif
