/* SPDX-License-Identifier: Apache-2.0 */
/* The secrets that documents refer to (`$secret://vault/1/redis/password`): read by a thread of
 * their own, again and again, and told to the keeper when they change. No request waits for one,
 * and none is lost because its manager does not answer: the last good value stays. */
#ifndef STORE_SECRETS_H
#define STORE_SECRETS_H

#include "config/build.h"

struct secrets_config {
    int64_t ttl_ms;   /* a secret is read again after so long */
    int64_t retry_ms; /* and after so long when it could not be read */
    struct str ca;    /* PEM file besides the system's authorities; absent: none */
};

/* What became of a reference; on the heap, whoever gets it frees it. */
struct secret_news {
    struct secret_news *next; /* the receiver's */
    json_t *value;            /* NULL: there is none, for the reason in why */
    char *why;
    char *uri;
};
void secret_news_free(struct secret_news *news);

/* Called on the secrets' thread; takes the news over and must not wait. */
typedef void secrets_changed_fn(void *arg, struct secret_news *news);

struct secrets;

/* Nothing runs until a document refers to a secret. The config is copied. */
struct secrets *secrets_new(const struct secrets_config *config);
/* For builder_env; all calls from one thread. Lives as long as the secrets. */
const struct builder_secrets *secrets_hooks(struct secrets *s);
/* Who is told; before the first document comes. */
void secrets_tell(struct secrets *s, secrets_changed_fn *changed, void *arg);
/* Waits until each secret was asked for once, wait_ms at most. */
void secrets_wait(struct secrets *s, int64_t wait_ms);
/* Ends the thread, within about a second: from now on nobody is told anything. */
void secrets_stop(struct secrets *s);
/* Stops it too. NULL is let pass. */
void secrets_free(struct secrets *s);

#endif
