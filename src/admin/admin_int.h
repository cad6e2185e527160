/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Admin API share. */
#ifndef ADMIN_ADMIN_INT_H
#define ADMIN_ADMIN_INT_H

#include <jansson.h>

#include "admin/admin.h"
#include "config/kind.h"
#include "store/document.h"

struct access; /* who may come in: access.c */
struct ui;     /* ui.h */

struct admin {
    struct keeper *keeper;
    struct arena arena;
    struct access *access;
    struct ui *ui; /* NULL: none */
    bool cors, v3, stream;
    bool whole; /* the store is given whole: documents are not written one by one */
    int64_t live_ms;
    struct str prefix;
    const struct plugin **plugins; /* by priority, largest first; NULL-ended */
};

/* The methods that the API knows, in the order of the columns of its tables. */
enum verb { VERB_GET, VERB_PUT, VERB_POST, VERB_DELETE, VERB_PATCH, VERB_COUNT };

/* One request under way. Its memory is the reply's. */
struct call {
    struct admin *admin;
    struct keeper *keeper; /* on the keeper's thread */
    struct admin_reply *reply;
    struct arena *a; /* &reply->arena */
    admin_done_fn *done;
    void *arg;

    struct str method, path, query, content_type, accept, digest, body;
    size_t body_size, body_max;
    struct str who, peer;               /* name of the key; address, absent: a local peer */
    struct str if_match, if_none_match; /* absent: not said */
    bool wait_live;                     /* answered when every worker serves the change */
    bool dry;                           /* everything but the writing */
    int64_t ttl_s;                      /* 0: none */
    enum verb verb;
    struct str collection;
    enum kind kind;    /* of a document's collection */
    struct str parent; /* the consumer of a credential, the manager of a secret; absent: documents
                          without */
    struct str id;     /* segment behind the collection; absent: none */
    struct str sub;    /* what follows, without the slash; absent: none */
    bool raw;          /* the handler reads the body itself */
    json_t *json;      /* the parsed body; NULL: there was none */

    /* What is written; change.c */
    struct changes *changes; /* NULL: nothing yet */
    size_t at;               /* which of them is the call's own */
    const char *action;      /* how the reply names it */
    json_int_t if_revision;  /* of an operation of a transaction; -1: not said */
    bool force;              /* a deletion does not ask who refers to it */
    int64_t revision;        /* at which it was written; 0: not */
};

typedef void handler_fn(struct call *c);

/* A request taken in, without its body; ended by call_end, which hands the reply over. admin.c */
struct call *call_new(struct admin *admin, const struct admin_request *r, admin_done_fn *done,
                      void *arg);
void call_end(struct call *c);

/* What the store and the builder call the document of that id, and the prefix of the keys of all
 * documents that the path names; in the call's arena. document.c */
struct str call_item(struct call *c, struct str id);
struct str call_prefix(struct call *c);

/* ---- reply.c: what goes back. All of these end the call's work: return afterwards. -------------
 */

void reply_status_page(struct call *c, int status);
/* An HTTP 200 and the like without a body. */
void reply_empty(struct call *c, int status);
void reply_header(struct call *c, struct str name, struct str value);
/* {"error_msg": …}; the text may hold any bytes. */
void reply_error(struct call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The value's text and a newline; takes the reference. */
void reply_json(struct call *c, int status, json_t *value);
/* Plain text as the body (APISIX does so in a few places), still called application/json. */
void reply_bare(struct call *c, int status, struct str text);
/* {"message":"Key not found"}, 404. */
void reply_not_found(struct call *c);
/* 503 with the store's reason, which is also logged. */
void reply_store_failed(struct call *c, const char *doing, struct str key, struct str err);
/* The envelope of one document; value is borrowed. */
void reply_document(struct call *c, int status, const char *action, const struct store_item *item,
                    json_t *value, bool indexes);
/* The value without what its kind hides; a new reference. */
json_t *shown_value(struct call *c, json_t *value);
void reply_deleted(struct call *c, struct str key);
/* A string from outside; bytes that are no UTF-8 are replaced. */
json_t *json_any(struct str s);

/* ---- query.c ----------------------------------------------------------------------------------
 */

/* The next `name=value` of *rest, decoded, in the call's arena (NUL behind each); false: none. */
bool query_pair(struct call *c, struct str *rest, struct str *name, struct str *value);
/* First argument of that name, decoded, in the call's arena; absent: p == NULL. */
struct str query_arg(struct call *c, struct str name);
/* As Lua's tonumber reads it; false when it is none. */
bool query_number(struct str s, double *out);

/* ---- access.c ---------------------------------------------------------------------------------
 */

struct access *access_new(const struct admin_config *config, struct arena *a);
bool access_allows(const struct access *access, const struct sockaddr *client);
/* Checks the token of the query, the header, the cookie, in that order; NULL when it is good (*who
 * gets the key's name), else what the 401 says. */
const char *access_check(const struct access *access, struct call *c, struct str header,
                         struct str cookie, struct str *who);

/* ---- check.c: may this document be written; answered when not. ----
 */

/* Everything about the body of a PUT (an id is wanted, from the URL or the body, and put into the
 * body) or POST (an id is refused): id, times (a PATCH may set them), the kind's fields,
 * references, plugins, credentials that others have. */
bool check_write(struct call *c, bool wanted, struct str *id);
/* What the body refers to exists; of a deletion: nobody refers to it. In a transaction this is
 * asked when all changes are known. */
bool check_references(struct call *c);
/* The schema alone, as schema/validate does; the fault in *err. */
bool check_schema(struct call *c, enum kind kind, const json_t *value, struct str *err);
/* As Lua calls it, since messages show it. NULL: nil. */
const char *json_type_name(const json_t *value);
/* "1" for "1" and for 1; absent for anything else. */
struct str id_of(struct arena *a, const json_t *value);

/* ---- refs.c: which documents refer to which ---------------------------------------------------
 */

/* All that the body refers to exists. */
bool refs_exist(struct call *c);
/* Nobody refers to this document. */
bool refs_unused(struct call *c);

/* ---- filter.c: what of a list is shown ---------------------------------------------------------
 */

struct filter;

/* From the query's name, label, uri and filter. */
struct filter *filter_new(struct call *c);
void filter_free(struct filter *f);
/* Whatever the document says, it matches. */
bool filter_is_open(const struct filter *f);
bool filter_matches(struct filter *f, struct call *c, const json_t *document);
/* Its patterns have taken so long that the list is given up. */
bool filter_is_spent(const struct filter *f);

/* ---- change.c: what is written at once, by one call or by the operations of a transaction. ----
 */

struct changes {
    struct arena *a;
    struct keeper_change *items;
    size_t n, max;
    bool many;           /* a transaction: each change is tried, and known by its key */
    struct trie *by_key; /* of a transaction */
};

struct changes *changes_new(struct arena *a, bool many);
/* All changes of a transaction are there (builder_trial was on until now): none is in the way of
 * another, or of what stays. False: *failed is, with the reason in the call's arena. */
bool changes_fit(struct call *c, size_t *failed, struct str *err);
/* Takes back what was tried and not written. NULL is let pass. */
void changes_free(struct changes *s, struct keeper *k);
/* Adds a change (value NULL: a deletion; borrowed, as the key's parts); `known` as in struct
 * keeper_change, wanted for a transaction. False: answered, the document is in it twice, or there
 * are too many. */
bool changes_add(struct call *c, enum kind kind, struct str id, const json_t *value,
                 const struct store_item *known, int64_t expect);
/* The change of that key; NULL: none. */
const struct keeper_change *changes_find(const struct changes *s, struct str key);
/* Writes them all; *failed (may be NULL) as in struct store_write. c->revision is set. */
enum store_status changes_write(struct call *c, struct str how, size_t *failed, struct str *err);
/* Writes those of a call that is alone, and answers. */
void changes_commit(struct call *c);
/* The answer to a call whose changes were written, or would be (dry). */
void change_answer(struct call *c, bool dry);
/* That to one whose change was not. */
void change_refuse(struct call *c, enum store_status status, struct str err);

/* Whether an item exists, with those that the transaction makes and without those that it deletes;
 * STORE_OK, STORE_NOT_FOUND, STORE_FAILED. */
enum store_status document_exists(struct call *c, enum kind kind, struct str id, struct str *err);
/* The same, and the document: a new reference, NULL when what is stored is none. */
enum store_status document_load(struct call *c, enum kind kind, struct str id, json_t **value,
                                struct str *err);

/* What the client wants to be there (If-Match and the like) is; *expect gets what the store is to
 * compare. `known` without a value: the document is not there. False: answered. */
bool precondition_holds(struct call *c, const struct store_item *known, int64_t *expect);

/* ---- past.c: how a change is shown, with its secrets masked ----
 */

/* {kind, id, key, action, diff} and, when asked, before and after; texts as they are stored,
 * absent: not there. */
json_t *past_show(struct call *c, struct str key, struct str before, struct str after, bool whole);
/* An array of all changes that are to be made; each must have `known`. */
json_t *past_show_changes(struct call *c, const struct changes *s);

/* ---- Handlers, by verb; NULL: not there -------------------------------------------------------
 */

extern handler_fn *const document_handlers[VERB_COUNT]; /* document.c */
/* The stored document of that id, and *value with its secrets opened (NULL: it is not there);
 * false: answered. */
bool document_read(struct call *c, struct str id, struct store_item *item, json_t **value);
/* Writes c->json, which has been checked, and answers; `known` is what was read. Of a transaction:
 * leaves both for later. */
void document_write(struct call *c, struct str id, const struct store_item *known, int64_t expect,
                    const char *action);
void document_patch(struct call *c); /* patch.c */

/* ---- decoration.c: what documents below a service must be besides; false: answered ------------
 */

/* The path names a service. */
bool decoration_path(struct call *c);
/* Of a PUT or POST: the service exists, and nothing else decorates the same place (in a transaction
 * that is for check_references to ask); the service's id is put into the body. */
bool decoration_bind(struct call *c);
bool decoration_fits(struct call *c);
/* Of a PATCH, before it is merged. */
bool decoration_patch(struct call *c);

extern handler_fn *const schema_handlers[VERB_COUNT]; /* catalog.c */
extern handler_fn *const plugin_handlers[VERB_COUNT];
/* All schemas there are, as the control API shows them; a new reference. */
json_t *catalog_schemas(struct call *c);
void catalog_plugin_list(struct call *c);
void catalog_validate(struct call *c);
void catalog_reload(struct call *c);
void configs_validate(struct call *c); /* validate.c */
/* The whole configuration in the body, JSON or YAML by its type; NULL: answered. */
json_t *configs_body(struct call *c);
/* All that is wrong with it, as {resource_type, resource_id, index, error}; a new reference. */
json_t *configs_errors(struct call *c, json_t *whole);
void configs_get(struct call *c); /* configs.c */
void configs_put(struct call *c);
void history_list(struct call *c); /* history.c */
void history_get(struct call *c);
void rollback_post(struct call *c);    /* rollback.c */
void transaction_post(struct call *c); /* transaction.c */
/* The handler that the path and the verb lead to, with the parts of the path set; NULL: answered.
 * admin.c */
handler_fn *call_handler(struct call *c);
/* The arguments that all writes may have. False: answered. admin.c */
bool call_arguments(struct call *c);
/* Fills in path and query from "routes/1?force=true", with or without "/apisix/admin/"; and the
 * verb. False: there is no such method. admin.c */
bool call_address(struct call *c, struct str method, struct str target);
/* What is wrong with a body that is no JSON, in lua-cjson's words. admin.c */
struct str json_fault(struct call *c, const json_error_t *error);
/* list.c */
void document_list(struct call *c);

#endif
