/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of proxy-cache share: its configuration and its frame. */
#ifndef PLUGIN_PROXY_CACHE_INT_H
#define PLUGIN_PROXY_CACHE_INT_H

#include "plugin/plugin.h"
#include "plugin/proxy_cache_rules.h"
#include "plugin/proxy_cache_zones.h"

enum cache_strategy { STRATEGY_DISK, STRATEGY_MEMORY };
enum cache_method { CACHE_GET, CACHE_POST, CACHE_HEAD };
enum { CACHE_VARIANT_MAX = 8192 }; /* bytes of Vary's names, and of a request's values for them */
extern const char *const cache_methods[];

/* A list of variables and constants, one behind the other. */
struct part {
    struct str constant; /* when var is NULL */
    struct text *var;
};
struct parts {
    struct part *items;
    size_t n;
};

struct cache_conf {
    int strategy;
    struct str cache_zone;
    struct field_list cache_key, cache_bypass, no_cache; /* of struct str */
    struct field_list cache_http_status;                 /* of int64_t */
    struct field_list cache_method;                      /* of int: enum cache_method */
    int64_t cache_ttl, max_resp_body_size;
    bool hide_cache_headers, cache_control, cache_set_cookie, consumer_isolation;

    struct cache_zone *zone;
    struct parts key, bypass, no_store;
    bool isolate; /* consumer_isolation, and the key does not tell clients apart by itself */
    bool by_host; /* the key has $host */
    unsigned methods;
};

struct gather;
struct load;

struct cache_frame {
    enum { AT_START, AT_LOADED, AT_PURGED } at;
    bool storable; /* as far as the request tells */
    struct str authorization, key;
    struct hash128 plain;
    struct cache_id id;
    struct load *load;
    struct gather *gather; /* NULL: the response is not stored */
};

/* Together neither empty nor "0" (nginx: proxy_cache_bypass). */
bool cache_parts_say_so(struct exchange *ex, const struct parts *p);

/* ---- proxy_cache_request.c: the key, looking up, answering ---- */

phase_fn cache_rewrite, cache_access;
/* Cache-Control and Expires, for hide_cache_headers. */
bool cache_header_is_hidden(struct str name);
/* Which response to a key it is: the method, and the request's values for Vary's names. Absent: too
 * long. In the exchange's memory. */
struct str cache_variant_text(struct exchange *ex, struct str names);

/* ---- proxy_cache_response.c: what may be stored, and storing it ---- */

phase_fn cache_header_filter;
body_filter_fn cache_body_filter;

#endif
