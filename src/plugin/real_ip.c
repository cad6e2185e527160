/* SPDX-License-Identifier: Apache-2.0 */
/* real-ip: the client is whom a proxy in front of us says it is. */
#include "base/ip_set.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct real_ip {
    struct field_list trusted_addresses; /* of struct str */
    struct str source;
    bool recursive;
    struct ip_set *trusted;   /* NULL: all are */
    const struct text *value; /* of the source; NULL: it is X-Forwarded-For */
};

static const struct field address_row = {.type = FIELD_STR, .of = field_address_rows};

#define AT(member) .at = offsetof(struct real_ip, member)
static const struct field rows[] = {
    {"trusted_addresses", FIELD_LIST, AT(trusted_addresses), .min = 1, .of = &address_row,
     .doc = "Addresses and networks of proxies that are believed. Left out: every peer is, also "
            "one that is no proxy."},
    {"source", FIELD_STR, .flags = FIELD_REQUIRED, AT(source), .min = 1,
     .doc = "Variable that has the address, also with a port: `http_x_real_ip`, `arg_realip`. Of "
            "`http_x_forwarded_for` the last address counts."},
    {"recursive", FIELD_BOOL, AT(recursive), .def = "false",
     .doc = "In `http_x_forwarded_for` passes over addresses that are trusted themselves, from the "
            "last on."},
    {0},
};
#undef AT
static const struct fields conf_fields = {rows, .size = sizeof(struct real_ip), .open = true};

static bool real_ip_compile(void *conf, struct build *b)
{
    struct real_ip *c = conf;
    const struct str *texts = c->trusted_addresses.items;
    struct arena *a = build_arena(b);
    struct cidr *networks = arena_alloc(a, c->trusted_addresses.n * sizeof(*networks));

    for (size_t i = 0; i < c->trusted_addresses.n; i++)
        if (!cidr_parse(texts[i], &networks[i]))
            return build_error(b, "invalid ip address: %.*s", STR_ARG(texts[i]));
    if (c->trusted_addresses.n)
        c->trusted = ip_set_new(a, networks, c->trusted_addresses.n);
    if (!str_eq(c->source, STR("http_x_forwarded_for")))
        c->value = build_var(b, c->source);
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static bool is_trusted(const struct real_ip *c, struct str address)
{
    struct cidr ip;

    return cidr_parse(address, &ip) && ip_set_has(c->trusted, &ip);
}

/* The last one of a list, or the last that is not trusted, or the first. */
static struct str from_list(const struct real_ip *c, struct str list)
{
    for (;;) {
        ptrdiff_t comma = str_rfind(list, ',');
        struct str last = str_trim(comma < 0 ? list : str_from(list, (size_t)comma + 1));
        if (comma < 0 || !c->recursive || !c->trusted || !is_trusted(c, last))
            return last;
        list = str_head(list, (size_t)comma);
    }
}

static enum verdict real_ip_rewrite(struct exchange *ex, const void *conf, void *frame)
{
    const struct real_ip *c = conf;

    (void)frame;
    if (c->trusted && !is_trusted(c, request_client(ex)))
        return NEXT;
    struct str address = c->value ? text_value(ex, c->value)
                                  : from_list(c, request_header_all(ex, STR("X-Forwarded-For")));
    if (address.n == 0)
        ex_log(ex, LOG_WARN, "missing real address");
    else if (!request_client_set(ex, address))
        ex_log(ex, LOG_WARN, "bad address: %.*s", STR_ARG(address));
    return NEXT;
}

const struct plugin plugin_real_ip = {
    .abi = PLUGIN_ABI,
    .name = "real-ip",
    .version = 0.1,
    .priority = 23000,
    .guard = true,
    .doc = "Takes the client's address from what a proxy in front of the gateway says, for all "
           "that comes after: restrictions and limits by address, logs, X-Forwarded-For.",
    .conf = &conf_fields,
    .compile = real_ip_compile,
    .rewrite = real_ip_rewrite,
};
