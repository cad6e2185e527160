/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the builder share. An item is a resource's name and what refers to it, whether
 * the resource is there or not; an object is one compiled version of its document, const, with an
 * arena of its own; a link is a route with its references followed, what the router points to. */
#ifndef CONFIG_BUILD_PRIVATE_H
#define CONFIG_BUILD_PRIVATE_H

#include "base/garbage.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/trie.h"
#include "config/build.h"
#include "config/model.h"
#include "config/router_edit.h"

/* ---- Plugins at one place ---- */

/* One name of a `plugins` object. */
struct plugin_entry {
    const char *name;
    struct plugin_use use; /* plugin NULL: closed, or disabled and unknown */
};

/* A closed entry guards what it is on and cannot run: nothing passes. One that is disabled hides
 * what it covers, whether the plugin is known or not. */
static inline bool entry_is_closed(const struct plugin_entry *e)
{
    return !e->use.plugin && !e->use.disabled;
}

/* What a set of plugins needs that outlives the objects which have it. */
struct set_share {
    struct arena arena; /* holds the set, and this */
    struct map *home;   /* where it is found; NULL: it is not shared after all */
    struct hash128 text;
    unsigned users; /* objects that have it */
};

/* The `plugins` of a document, compiled. Documents of one kind of use whose text there is the same
 * share it, unless a plugin asked for whom it is compiled. */
struct plugin_set {
    struct set_share *share; /* NULL: it is the object's, in its arena */
    const struct chain
        *chain; /* of these plugins alone, made when first asked for; NULL: none runs */
    struct plugin_entry *items;
    unsigned n;
    unsigned char kind; /* of the first object */
    bool chained;       /* chain is made */
};

/* ---- Objects ---- */

/* A reference to another item, in that item's list of dependants. */
struct edge {
    struct edge *next, **at; /* at: what points here; NULL: in no list */
    struct item *from, *to;
};

/* A credential as the trie finds it, and who waits for it to become free. */
struct claim {
    struct credential credential; /* first: the trie's value */
    const struct plugin *plugin;
    struct claim *next; /* the same key, later */
};

enum { SITE_NAME_MAX = 255 };

/* A server name as the trie finds it. Several ssls may have the same: the one with the smallest id
 * is served, the others wait behind it. */
struct site_name {
    const struct site *site;
    struct str key;      /* backwards, without the `*` */
    enum trie_slot slot; /* TRIE_PREFIX: it began with `*` */
    struct site_name *next;
};

/* A route as the router knows it. The first one of an object is part of it; when what the route
 * refers to changes, others take its place. */
struct link {
    uint64_t born;
    struct arena *arena; /* in itself; what the object's does not have; NULL: nothing */
    struct route_about about;
    struct route route; /* by its first URI */
};

enum edge_kind {
    EDGE_SERVICE,
    EDGE_PLUGIN_CONFIG,
    EDGE_UPSTREAM,
    EDGE_SSL, /* of an upstream, also one that is part of a route or service */
    EDGE_COUNT,
    EDGE_GROUP = EDGE_SERVICE, /* of a consumer */
};

struct object {
    struct arena_rest rest; /* holds the object itself */
    uint64_t born;
    struct item *item;          /* NULL: a trial */
    struct plugin_set *plugins; /* NULL: none */
    struct upstream *upstream;  /* its own or inline; NULL: none */
    struct edge *edges[EDGE_COUNT];
    struct str *hosts; /* lower case */
    unsigned nhosts;
    unsigned char kind;    /* the item's, which may be gone before its object */
    signed char websocket; /* -1: not said */
    bool off;              /* status: 0 */
    bool linked;           /* `link` has been given to the router */
    union {
        struct link *link;       /* route: without what its references give */
        struct service *service; /* service */
        struct consumer_group *group;
        void *metadata;        /* plugin metadata: of the plugin's table; NULL: it has none */
        struct {               /* ssl */
            struct site *site; /* type server */
            struct tls_identity *identity; /* type client */
            struct site_name *names;
            unsigned nnames;
        };
        struct {                       /* consumer, credential */
            struct consumer *consumer; /* NULL: a credential */
            struct claim *claims;
            unsigned nclaims;
        };
    };
};

static inline unsigned object_nplugins(const struct object *o)
{
    return o->plugins ? o->plugins->n : 0;
}

/* There is one for each document: it is small. */
struct item {
    struct object *object;   /* NULL: it does not exist, or never was good */
    struct link *link;       /* route: in the router */
    struct edge *dependants; /* edges that end here */
    struct item *next_dirty; /* route: behind it in the builder's list */
    uint32_t slot;           /* of its upstream in the snapshot's array; UPSTREAM_NONE */
    uint32_t id_length;
    unsigned char kind;
    bool dirty; /* route: to be linked anew */
    char id[];  /* objects have copies, since they may live longer */
};

static inline struct str item_id(const struct item *item)
{
    return str_make(item->id, item->id_length);
}

/* ---- The builder ---- */

/* A snapshot and what died with the next one. */
struct version {
    struct snapshot snapshot;
    struct router router;
    struct garbage dead;
    struct list link;
};

struct builder {
    struct builder_env env;
    struct trie *plugins;  /* by name */
    struct trie *built_in; /* also those that may not be used */
    struct arena_pool objects, scratch;
    struct slabs slabs;           /* nodes that requests go through: together, in few pages */
    struct slabs names;           /* items: in no gaps of the heap, which then could not go back */
    size_t sizes[KIND_COUNT];     /* what recent objects of a kind took */
    size_t set_size;              /* and sets of plugins */
    struct map sets;              /* of plugins that documents share, by their text */
    struct map items[KIND_COUNT]; /* by id */
    struct trie *waiting;         /* by credential key: first claim behind the owner's */
    struct trie *bad, *flawed;    /* by resource key: message, a C string */
    struct trie *references;      /* to secrets, by text: struct reference */
    struct trie *sources;         /* documents that have some, by resource key: struct source */
    struct item *dirty;
    bool changed, by_schema;
    bool trial; /* see builder_trial */

    uint64_t version; /* under construction */
    int64_t revision;
    struct garbage dead;
    struct router router;
    struct trie *credentials, *consumers, *groups, *metadata, *sites, *identities;
    unsigned nmutual;        /* sites that want certificates of their clients */
    struct globals *globals; /* NULL: no global rules */
    bool globals_changed;
    const struct upstream **slots; /* room for slots_max */
    uint64_t slots_born;
    uint32_t nslots, nslots_published, slots_max;
    uint32_t *free_slots, nfree_slots, free_slots_max;
    uint32_t *checked, nchecked, checked_max; /* slots for snapshot->checks */
    uint64_t checked_version;                 /* of the last one that had any */

    struct list versions; /* oldest first; the last one is the newest, held by the builder */
};

/* For tries that only the builder sees. */
extern const struct trie_edit builder_own;

static inline struct trie_edit builder_edit(struct builder *b)
{
    return (struct trie_edit){.version = b->version, .garbage = &b->dead, .slabs = &b->slabs};
}

/* ---- Compiling one document ---- */

struct compile {
    struct builder *b;
    enum kind kind;
    struct str id, key; /* "1", "/routes/1" */
    bool strict;        /* a write: all that is wrong is refused; else what is stored is served */
    bool by_schema;     /* the error came from the kind's table */
    const json_t *value;
    struct arena scratch; /* the parsed document, messages */
    struct object *o;
    struct arena arena;     /* the object's, closed when it is compiled */
    struct plugin_set *set; /* under way, and where its pieces come from */
    struct arena *set_arena;
    bool set_own; /* it is of no use to others */
    struct str err;
    bool refs_stay;  /* references in the document are let be, as APISIX checks a write */
    bool resolved;   /* some were replaced: err may quote what no log must have */
    bool missing;    /* err is about one that cannot be */
    bool on_its_way; /* and will be told soon, one way or the other */
    struct reference **secrets; /* that the document refers to */
    unsigned nsecrets;
    struct str flaws; /* what of it is left out; absent: nothing */
};

/* Set the message; return false. */
bool compile_fail(struct compile *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool compile_fail_schema(struct compile *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Each fills c->o from a parsed document; false after compile_fail. */
bool compile_plugins(struct compile *c, struct field_list plugins);
/* A consumer or credential is compiled: of its plugins it keeps what must be released. */
void plugin_set_settle(struct compile *c);
/* An object gives up its plugins; NULL is fine. */
void plugin_set_put(struct plugin_set *set);
/* The chain of these plugins alone; NULL: no plugins that run. */
const struct chain *plugin_set_chain(struct plugin_set *set);
/* The largest of what recent ones of a sort took, and a little less each time, so that little is
 * lost at the end of the next one's chunk. */
void arena_measure(size_t *size, const struct arena *a);
bool compile_upstream(struct compile *c, const struct upstream_doc *d);
bool compile_checks(struct compile *c, const struct checks_doc *d, struct upstream *u);
bool compile_route(struct compile *c, const struct route_doc *d);
bool compile_service(struct compile *c, const struct service_doc *d);
bool compile_consumer(struct compile *c, const struct consumer_doc *d);
bool compile_credential(struct compile *c, const struct credential_doc *d);
bool compile_group(struct compile *c, const struct plugin_config_doc *d);
bool compile_global_rule(struct compile *c, const struct plugin_config_doc *d);
bool compile_metadata(struct compile *c);
bool compile_ssl(struct compile *c, const struct ssl_doc *d);
/* Of c->value, which cannot be compiled: its server names, for which every handshake fails. False:
 * it is not one that wants certificates of clients. */
bool compile_ssl_closed(struct compile *c);
bool compile_stream_route(struct compile *c, const struct stream_route_doc *d);
bool compile_proto(struct compile *c, const struct proto_doc *d);
bool compile_secret(struct compile *c);
/* Both parse as PEM, or are references; key may be absent. `before` goes before the message. */
bool compile_pem(struct compile *c, const char *before, struct str cert, struct str key);
/* Of a stored certificate and its key, with a reference for the caller; NULL after compile_fail. */
struct tls_identity *compile_identity(struct compile *c, struct str cert, struct str key);
/* The object will refer to that document; nothing for a trial or an absent id. */
void compile_edge(struct compile *c, enum edge_kind edge, enum kind kind, struct str id);

/* Whether its plugin tells who the consumer is. */
bool entry_is_auth(const struct builder *b, const struct plugin_entry *e);
/* Whether its absence would open something (struct plugin's guard and auth). */
bool entry_is_guard(const struct builder *b, const struct plugin_entry *e);
/* Whole milliseconds, at least one. */
int64_t compile_ms(double seconds);
/* `$secret://…`, `$ENV://…`: stands for a value that is kept elsewhere. */
bool compile_is_reference(struct str s);

/* ---- References ---- */

/* The document with its references replaced, a new reference in *out in any case. False after
 * compile_fail: one cannot be, outside of `plugins`. */
bool refs_resolve(struct compile *c, const json_t *value, json_t **out);
/* compile_fail when a reference is left in it, which says which; c->missing tells. */
bool refs_gone(struct compile *c, const char *where, json_t *v);
/* At which level it is worth saying that something cannot be used. */
enum log_level refs_level(const struct compile *c, enum log_level level);
/* c->err as a log may have it: without what references stand for. */
struct str refs_message(const struct compile *c);
/* Keeps the document for when one of its secrets changes, instead of the one before it; forgets
 * that one when there are no secrets in the new one. */
void refs_keep(struct compile *c, int64_t revision, const json_t *value);
void refs_fini(struct builder *b);

/* What plugins and expressions see while they are compiled (plugin.h). */
struct build {
    struct arena *arena;   /* of the object */
    struct arena *scratch; /* for messages */
    struct str err;        /* the first one; absent: none */
    struct str resource;
    const json_t *conf;
    enum body_need body; /* of its texts and expressions */
    bool own;            /* the plugin asked for the resource: what is compiled is for it alone */
};

/* For what belongs to the object itself. */
static inline struct build compile_build(struct compile *c, const json_t *conf)
{
    return (struct build){
        .arena = &c->arena, .scratch = &c->scratch, .resource = c->key, .conf = conf};
}

/* ---- Items, objects, links ---- */

/* NULL: there is none. */
struct item *item_find(const struct builder *b, enum kind kind, struct str id);
/* The item of that name, made when it is not there. */
struct item *item_get(struct builder *b, enum kind kind, struct str id);
/* Frees the item when nothing needs it any more. */
void item_release(struct builder *b, struct item *item);
/* A route will be linked anew at the next publication. */
void item_touch(struct builder *b, struct item *route);
/* The slot of the item's upstream follows its object; NULL: none any more. */
void item_set_upstream(struct builder *b, struct item *item, struct upstream *u);

/* Gives up an object or a link: freed at once when no snapshot can reach it. */
void object_drop(struct builder *b, struct object *o);
void link_drop(struct builder *b, struct link *l);

/* Brings the router up to date for one route. */
void route_link(struct builder *b, struct item *item);

/* The consumer's entries in the tries change from one object to the other; either may be NULL. */
void consumer_replace(struct builder *b, struct item *item, struct object *old, struct object *new);
void group_replace(struct builder *b, struct item *item, struct object *new);
/* The ssl's names, or its identity, change from one object to the other; either may be NULL. */
void site_replace(struct builder *b, struct item *item, struct object *old, struct object *new);
/* Gives back what an ssl's object has outside of its arena. */
void site_release(struct object *o);
void metadata_replace(struct builder *b, struct item *item, struct object *new);

/* Merges the global rules anew; gives up the merged ones; puts them into a snapshot. */
void globals_renew(struct builder *b);
void globals_drop(struct builder *b);
void globals_show(const struct builder *b, struct snapshot *s);
/* The claim that has this credential now; NULL: free. */
const struct claim *claim_owner(const struct builder *b, const struct claim *c);

/* Frees it; what died with it is gone already. */
void version_free(struct version *v);

/* ---- Chains ---- */

/* The uses in running order, those disabled left out; NULL: none is left. */
const struct chain *chain_new(struct arena *a, const struct plugin_use *uses, unsigned n);

/* ---- Snapshots ---- */

enum { CREDENTIAL_KEY_MAX = 16 + 64 };
/* The key of a credential in its trie, in `to`. */
struct str credential_key(char to[CREDENTIAL_KEY_MAX], struct str plugin, struct str key);

#endif
