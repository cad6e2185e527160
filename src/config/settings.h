/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml as the program uses it: APISIX's keys where they have a meaning here, our own under
 * `eclusa`, defaults filled in, checked once at start. */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include <jansson.h>

#include "base/arena.h"
#include "base/cidr.h"
#include "base/field.h"
#include "base/log.h"
#include "config/router.h"

struct settings_address {
    struct str ip; /* IPv4 or IPv6 address as text, without brackets */
    uint16_t port;
    bool tls;
    bool unasked; /* a default that another program may have taken: then it is left out */
};

/* apisix.ssl. */
struct settings_ssl {
    bool enabled;       /* listeners with TLS are in `listen` */
    unsigned versions;  /* enum tls_version (loop/tls_server.h) */
    struct str ciphers; /* OpenSSL's form */
    bool tickets;
    struct str fallback_sni; /* lower case; absent: none */
};

struct settings_admin_key {
    struct str name, key;
    bool viewer; /* may only GET */
};

struct settings_admin {
    bool enabled;
    struct settings_address listen;
    bool key_required; /* false: whoever reaches the Admin API may use it */
    const struct settings_admin_key *keys;
    unsigned nkeys;
    /* No key is set: settings_admin_key must be called before the Admin API is opened. */
    bool key_generated;
    bool cors;
    struct str ui_dir;      /* folder of the web interface, absolute; absent: there is none */
    bool v3;                /* admin_api_version; false: the older shape of replies */
    struct cidr_list allow; /* who may connect; empty: nobody */
    /* Of https_admin: PEM files, absolute; cert absent: no TLS; ca absent: clients need none. */
    struct str cert, key, ca;
};

/* A listener of the control side besides the Admin API's. */
struct settings_side {
    bool on;
    bool asked; /* its address was configured: when it is taken the start fails */
    struct settings_address listen;
};

struct settings_log {
    struct str error_file; /* absolute path; absent: stderr */
    enum log_level error_level;
    bool access;              /* write an access log */
    struct str access_file;   /* absolute path */
    size_t access_buffer;     /* bytes; 0: none */
    int64_t access_flush_ms;  /* no line waits longer */
    struct str access_format; /* nginx's log_format */
    enum { ESCAPE_DEFAULT, ESCAPE_JSON, ESCAPE_NONE } access_escape;
};

/* Limits and times of client connections. */
struct settings_http {
    int64_t keepalive_ms;    /* idle connection; 0: none is kept */
    int64_t header_ms;       /* for a request's head */
    int64_t body_ms;         /* between two reads of a body */
    int64_t send_ms;         /* between two writes of a response */
    int64_t max_body;        /* bytes of a request's body; 0: any */
    size_t max_header_bytes; /* of a head, request line included */
    unsigned max_headers;
    size_t max_uri_bytes;  /* of a request's target */
    size_t request_buffer; /* bytes of a request's body kept for a retry on another node */
    bool underscores;      /* header names may have them; false: such headers are dropped */
    /* The client's address is taken from this header when the peer is in real_ip_from. */
    struct str real_ip_header;
    struct cidr_list real_ip_from;
    bool real_ip_recursive;
};

/* Where the configuration is. */
enum settings_provider {
    PROVIDER_SQLITE, /* in data_dir */
    PROVIDER_ETCD,
    PROVIDER_YAML, /* apisix.yaml beside the file that was read; read-only */
    PROVIDER_JSON, /* apisix.json there */
    PROVIDER_API,  /* PUT /apisix/admin/configs; a copy in data_dir */
};

enum settings_role { ROLE_TRADITIONAL, ROLE_CONTROL_PLANE, ROLE_DATA_PLANE };

struct settings_etcd {
    const struct str *hosts; /* "http://127.0.0.1:2379", one at least */
    unsigned nhosts;
    struct str prefix, user, password; /* user empty: no login */
    struct str cert, key, sni;         /* absolute paths; absent: none */
    bool verify;
    int64_t timeout_ms, watch_ms, resync_ms, sick_ms;
    unsigned tries; /* at start */
};

/* Of secrets in the store. */
struct settings_encryption {
    bool on;                /* false: what is written is stored as it is */
    const struct str *keys; /* of 16 or 32 bytes each; none: a key of our own, in data_dir */
    unsigned nkeys;
};

/* How much of the store's history is kept, whichever is reached first. */
struct settings_history {
    int64_t changes; /* 0: none */
    int64_t age_ms;  /* 0: any */
};

struct settings_dns {
    const struct str *servers; /* "1.1.1.1" or with port; none: /etc/resolv.conf */
    unsigned nservers;
    int64_t valid_ms; /* instead of a record's TTL; 0: the TTL counts */
    int64_t timeout_ms;
    bool ipv6;
    bool search; /* resolv.conf's search domains count */
};

/* discovery.dns */
struct settings_discovery {
    bool on;
    const struct str *servers; /* none: resolv_conf says */
    unsigned nservers;
    struct str resolv_conf; /* absolute; absent: servers */
    enum discovery_order order;
    bool ipv6;
};

/* Strings and lists live in the arena of settings_load; json_t are borrowed from `document`. */
struct settings {
    struct str path; /* of the file that was read, absolute; absent: none */

    const struct settings_address *listen; /* of the data plane */
    unsigned nlisten;
    struct settings_ssl ssl;
    unsigned workers;
    int64_t shutdown_ms;     /* for requests under way after SIGTERM */
    unsigned max_open_files; /* RLIMIT_NOFILE */
    struct str data_dir;     /* absolute; may not exist yet */

    enum settings_role role; /* of a control plane: no requests are served */
    enum settings_provider provider;
    struct settings_etcd etcd; /* of PROVIDER_ETCD */

    struct settings_admin admin;
    struct settings_side control, status;
    struct settings_log log;
    struct settings_http http;
    struct settings_dns dns;
    struct settings_discovery discovery;
    struct settings_encryption encryption;
    struct settings_history history;
    int64_t secret_ttl_ms, secret_retry_ms; /* of what `$secret://` refers to */

    struct str server_header; /* of our responses; empty: none is sent */
    bool show_upstream_status;
    bool delete_uri_tail_slash;
    bool match_encoded_slash; /* match_uri_encoded_slash */
    bool strip_path_params;   /* normalize_uri_like_servlet */
    size_t post_arg_max;      /* bytes; SIZE_MAX: any */
    size_t graphql_max;
    bool disable_healthcheck; /* disable_upstream_healthcheck */
    enum router_kind router;
    bool stream;                 /* apisix.proxy_mode has stream; not served yet */
    const struct str *protocols; /* xrpc.protocols: names */
    unsigned nprotocols;
    bool verify_upstreams;
    struct str trusted_certificate;     /* PEM file besides the system's; absent: none */
    bool trusted_addresses_set;         /* false: X-Forwarded-* of any peer is kept (APISIX) */
    struct cidr_list trusted_addresses; /* whose X-Forwarded-* is believed */

    /* nginx_config.http.upstream: upstreams without keepalive_pool. */
    unsigned keepalive_size, keepalive_requests;
    int64_t keepalive_idle_ms;

    const struct str *plugins; /* names of those enabled */
    unsigned nplugins;
    bool plugins_set; /* false: all that are built in */

    const json_t *plugin_attr; /* by plugin name; NULL: none */
    const json_t *apisix;      /* the section, proxy_cache with its defaults inside */
    const json_t *eclusa;      /* the section; NULL: none */
    json_t *document;
};

/* The table behind config.yaml, for its doc page. */
extern const struct fields settings_fields;

/* Reads the file. path absent: `conf/config.yaml` in the working directory when it is there, else
 * the defaults; a path that is given must be there. Relative paths in the file are relative to the
 * working directory. Unknown keys warn in the log with their path. NULL with a message in the
 * arena. Reads the environment, which must not change meanwhile. */
struct settings *settings_load(struct str path, struct arena *a, struct str *err);
/* The same from a text. */
struct settings *settings_parse(struct str yaml, struct arena *a, struct str *err);
/* Frees the document; the rest goes with the arena. */
void settings_free(struct settings *s);

/* Replaces ${{VAR}} and ${{VAR:=default}} by environment variables in keys and strings, at any
 * depth. Returns v, or what has come in its place (v is given up), or NULL with a message. */
json_t *settings_substitute(json_t *v, struct arena *a, struct str *err);
/* The same in a text of at most max bytes afterwards; *out is the text itself or in the arena. */
bool settings_substitute_text(struct str text, size_t max, struct arena *a, struct str *out,
                              struct str *err);

/* When no admin key is configured, makes one: 32 random hex digits, kept in data_dir/admin.key
 * (mode 0600; the folder is made when missing) and read from there at the next start. Says in the
 * log where it is, never what it is. Does nothing when keys are configured. False with a message in
 * the arena. May wait for the disk. */
bool settings_admin_key(struct settings *s, struct arena *a, struct str *err);

/* Calls `each` with the path of every setting that differs between the files behind the two, but
 * for those that say where clients are served (node_listen, ssl.enable, ssl.listen). */
typedef void settings_changed_fn(void *arg, struct str path);
void settings_compare(const struct settings *a, const struct settings *b, struct arena *scratch,
                      settings_changed_fn *each, void *arg);

/* The plugin is enabled by `plugins`. */
bool settings_has_plugin(const struct settings *s, struct str name);

#endif
