/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, loaded only when something needs it: with all that it links it costs 4 MiB of memory,
 * which a gateway on the embedded store does not owe. Include this instead of <curl/curl.h>, and
 * call curl.easy_init() for curl_easy_init(). */
#ifndef STORE_CURL_H
#define STORE_CURL_H

/* The checking macros would name the functions themselves. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo

#include "base/arena.h"

/* X(member, function) */
#define CURL_FUNCTIONS(X)                            \
    X(global_init, curl_global_init)                 \
    X(easy_init, curl_easy_init)                     \
    X(easy_cleanup, curl_easy_cleanup)               \
    X(easy_reset, curl_easy_reset)                   \
    X(easy_perform, curl_easy_perform)               \
    X(easy_setopt, curl_easy_setopt)                 \
    X(easy_getinfo, curl_easy_getinfo)               \
    X(easy_strerror, curl_easy_strerror)             \
    X(multi_init, curl_multi_init)                   \
    X(multi_cleanup, curl_multi_cleanup)             \
    X(multi_add_handle, curl_multi_add_handle)       \
    X(multi_remove_handle, curl_multi_remove_handle) \
    X(multi_perform, curl_multi_perform)             \
    X(multi_poll, curl_multi_poll)                   \
    X(multi_wakeup, curl_multi_wakeup)               \
    X(multi_info_read, curl_multi_info_read)         \
    X(slist_append, curl_slist_append)               \
    X(slist_free_all, curl_slist_free_all)

struct curl_functions {
#define CURL_MEMBER(member, function) __typeof__(function) *member;
    CURL_FUNCTIONS(CURL_MEMBER)
#undef CURL_MEMBER
};

/* Filled by curl_load. */
extern struct curl_functions curl;

/* Loads and sets up libcurl once in the process; from one thread at a time, before those that use
 * it. False with a message in the arena when it is not installed. */
bool curl_load(struct arena *a, struct str *err);

#endif
