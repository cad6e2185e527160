/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: documents in, snapshots out. It lives on one thread (the keeper's), keeps each
 * compiled resource, and makes a new snapshot from the last one and what changed; the cost is in
 * proportion to the change and what depends on it. */
#ifndef CONFIG_BUILD_H
#define CONFIG_BUILD_H

#include <jansson.h>

#include "config/router.h"
#include "config/snapshot.h"

struct builder;

/* How many idle connections are kept, for how many requests and how long. */
struct keepalive {
    unsigned size, requests;
    int64_t idle_ms;
};

/* Who reads the secrets that documents refer to (`$secret://…`). Called on the builder's thread,
 * inside of builder_apply; must not call the builder. */
struct builder_secrets {
    void *arg;
    /* Documents begin to refer to it, or none does any more. What it stands for is told by
     * builder_secret_set, at once or at any later time, and whenever it changes. */
    void (*want)(void *arg, struct str uri, bool wanted);
    /* A secret manager's document ("vault/1") with its references resolved; NULL: it is gone. */
    void (*manager)(void *arg, struct str id, const json_t *conf);
};

struct builder_env {
    const struct plugin *const *plugins;  /* NULL-ended: those that are enabled */
    const struct plugin *const *built_in; /* NULL-ended: all that the program has, to know what the
                                             others guarded; NULL: `plugins` are all */
    enum router_kind router;
    bool verify_upstreams;       /* default of tls.verify (eclusa.upstream_tls_verify) */
    bool stream;                 /* apisix.proxy_mode has stream: L4 upstreams are known */
    const struct str *protocols; /* of stream routes (xrpc.protocols); names */
    unsigned nprotocols;
    bool no_checks; /* apisix.disable_upstream_healthcheck: `checks` are validated, and no more */
    bool discovery_dns;                    /* discovery.dns is configured */
    const struct keepalive *keepalive;     /* of upstreams without keepalive_pool; NULL: APISIX's */
    const struct builder_secrets *secrets; /* NULL: nobody; such references stay unresolved */
};

struct builder *builder_new(const struct builder_env *env);
/* An empty one with the same plugins and settings, to try out documents that belong together. */
struct builder *builder_new_like(const struct builder *b);
/* All threads must have given back their snapshots. */
void builder_free(struct builder *b);

const struct plugin *builder_plugin(const struct builder *b, struct str name);
/* Stream routes may have the plugin of that name. */
bool builder_plugin_streams(struct str name);

/* Validates a document as the Admin API does for a write: the kind's field table, plugins by name
 * and by their tables, cross-field rules, a trial compile; not references to other resources.
 * `value` is not changed but for defaults that APISIX stores too (none). False with APISIX's
 * wording in *err (without the prefix "invalid configuration: "), allocated in `a`. */
bool builder_check(struct builder *b, enum kind kind, struct str id, const json_t *value,
                   struct arena *a, struct str *err);
/* Whether the last builder_check refused by a kind's field table; then APISIX puts "invalid
 * configuration: " in front of the message, and nothing in front of the others. */
bool builder_check_by_schema(const struct builder *b);

/* While it is on, documents that are applied may be in each other's way, since others of them are
 * still to come: builder_check lets pass what two documents may not have both (a credential's key,
 * a plugin of global rules). When all are there, ask builder_check of each of them again. */
void builder_trial(struct builder *b, bool on);

/* Takes a change in; value NULL: deleted. `$env://…` in it is replaced by what the environment says
 * now, `$secret://…` by what builder_secret_set told last; a plugin in which one cannot be replaced
 * does not run, and closes what it guards. A document that does not compile is kept out, logged,
 * and listed by builder_bad; the rest is not touched by it (design §2 #9). Returns whether it was
 * good.
 */
bool builder_apply(struct builder *b, enum kind kind, struct str id, int64_t revision,
                   const json_t *value);

/* What a secret is now, as a JSON value; NULL: it cannot be read, for that reason (which must not
 * tell any secret). The documents that refer to it are compiled anew: builder_publish shows them.
 * One that nobody refers to is let pass. */
void builder_secret_set(struct builder *b, struct str uri, const json_t *value, struct str why);

/* The next snapshot has everything up to this revision of the store; larger than those before. */
void builder_revision(struct builder *b, int64_t revision);

/* Why the document, as it was applied last, was refused: borrowed until the next change; absent: it
 * was not. */
struct str builder_fault(const struct builder *b, enum kind kind, struct str id);
/* Calls `each` for every document that was refused, by key ("/routes/1"), until it is good or
 * deleted. */
typedef void builder_bad_fn(void *arg, struct str key, struct str why);
void builder_bad(const struct builder *b, builder_bad_fn *each, void *arg);

/* The same for every document that is served in part: plugins of it are left out, or closed what
 * they guard. */
void builder_flaws(const struct builder *b, builder_bad_fn *each, void *arg);
/* A stored document that cannot even be given to builder_apply: it is listed by builder_bad, and
 * what was applied before stays. */
void builder_skip(struct builder *b, enum kind kind, struct str id, const char *why);
/* Whether there is a good version of that document. */
bool builder_has(const struct builder *b, enum kind kind, struct str id);

/* The id of a document of kind `from` that names this one (by upstream_id and the like), borrowed
 * until the next builder_apply; absent: there is none. Documents that do not compile are not seen.
 * The cost grows with the documents of other kinds alone that name it. */
struct str builder_user(const struct builder *b, enum kind kind, struct str id, enum kind from);

/* The snapshot of everything applied so far, with one reference for the caller. The same pointer as
 * before when nothing was applied. Also frees what no thread can reach any more. */
const struct snapshot *builder_publish(struct builder *b);

/* Frees what only released snapshots could reach; cheap when there is nothing. Returns whether
 * something is left that waits for a thread to give back its snapshot: then it is worth another
 * call later (the keeper's timed wait). */
bool builder_reclaim(struct builder *b);

/* A text or expression under way asks for the request's body: build_text and its like say so. */
void build_body_need(struct build *b, enum body_need need);

/* JSON schema of a kind, or of a plugin (`consumer`: of its consumer table); a new reference, NULL:
 * unknown. */
json_t *builder_kind_schema(enum kind kind);
json_t *builder_plugin_schema(const struct builder *b, struct str name, bool consumer);

#endif
