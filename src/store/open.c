/* SPDX-License-Identifier: Apache-2.0 */
/* From settings to a store. */
#include "store/open.h"

#include "base/panic.h"
#include "plugin/registry.h"
#include "store/etcd.h"
#include "store/file.h"
#include "store/whole.h"

static struct etcd_config etcd_config(const struct settings *s)
{
    return (struct etcd_config){.hosts = s->etcd.hosts,
                                .nhosts = s->etcd.nhosts,
                                .prefix = s->etcd.prefix,
                                .user = s->etcd.user,
                                .password = s->etcd.password,
                                .ca = s->trusted_certificate,
                                .cert = s->etcd.cert,
                                .key = s->etcd.key,
                                .sni = s->etcd.sni,
                                .verify = s->etcd.verify,
                                .timeout_ms = s->etcd.timeout_ms,
                                .watch_ms = s->etcd.watch_ms,
                                .resync_ms = s->etcd.resync_ms,
                                .sick_ms = s->etcd.sick_ms,
                                .tries = s->etcd.tries,
                                .data_dir = s->data_dir};
}

/* Beside config.yaml, as APISIX has it. */
static struct store *open_file(const struct settings *s, bool json, struct arena *a,
                               struct str *err)
{
    ptrdiff_t slash = str_rfind(s->path, '/');
    struct str folder = slash < 0 ? STR("conf/") : str_head(s->path, (size_t)slash + 1);
    struct str path = arena_join(a, folder, json ? STR("apisix.json") : STR("apisix.yaml"));

    return store_file_open(path, json, s->data_dir, a, err);
}

static struct seal *open_seal(const struct settings *s, struct arena *a, struct str *err)
{
    struct seal_config sealing = {.on = s->encryption.on,
                                  .ring = s->encryption.keys,
                                  .nring = s->encryption.nkeys,
                                  .data_dir = s->data_dir};

    return seal_new(&sealing, a, err);
}

static struct store *open_whole(const struct settings *s, struct arena *a, struct str *err)
{
    struct seal *seal = open_seal(s, a, err);

    return seal ? store_whole_open(s->data_dir, seal, a, err) : NULL;
}

struct store *store_open(const struct settings *s, struct arena *a, struct str *err)
{
    struct etcd_config config = etcd_config(s);

    switch (s->provider) {
    case PROVIDER_SQLITE:
        return store_sqlite_open(s->data_dir, a, err);
    case PROVIDER_ETCD:
        return store_etcd_open(&config, a, err);
    case PROVIDER_YAML:
        return open_file(s, false, a, err);
    case PROVIDER_JSON:
        return open_file(s, true, a, err);
    case PROVIDER_API:
        return open_whole(s, a, err);
    }
    PANIC("no such provider");
}

struct store *store_open_reading(const struct settings *s, struct arena *a, struct str *err)
{
    struct etcd_config config = etcd_config(s);

    if (s->provider == PROVIDER_SQLITE)
        return store_sqlite_open_reading(s->data_dir, a, err);
    if (s->provider == PROVIDER_ETCD)
        return store_etcd_connect(&config, a, err);
    *err = STR("the configuration is a file already, or is given whole over the Admin API");
    return NULL;
}

struct store *store_open_writing(const struct settings *s, struct arena *a, struct str *err)
{
    struct etcd_config config = etcd_config(s);

    if (s->provider == PROVIDER_SQLITE)
        return store_sqlite_open(s->data_dir, a, err);
    if (s->provider == PROVIDER_ETCD)
        return store_etcd_connect(&config, a, err);
    *err = STR("the configuration is in a file, or is given whole over the Admin API: there is no "
               "store to import into");
    return NULL;
}

bool document_codec_open(const struct settings *s, struct document_codec **codec, struct arena *a,
                         struct str *err)
{
    *codec = NULL;
    if (s->provider != PROVIDER_SQLITE && s->provider != PROVIDER_ETCD)
        return true;
    struct seal *seal = open_seal(s, a, err);
    if (seal)
        *codec = document_codec_new(seal, s->provider == PROVIDER_ETCD, plugin_registry);
    return seal != NULL;
}
