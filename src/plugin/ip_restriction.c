/* SPDX-License-Identifier: Apache-2.0 */
/* ip-restriction: only these client addresses, or all but these. */
#include "base/ip_set.h"
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct ip_restriction {
    struct field_list whitelist, blacklist; /* of struct str */
    struct str message;
    int64_t response_code;
    struct ip_set *set;
    bool wanted; /* addresses in the set pass; else all others do */
};

static const struct field address_row = {.type = FIELD_STR, .of = field_address_rows};

#define AT(member) .at = offsetof(struct ip_restriction, member)
static const struct field rows[] = {
    {"whitelist", FIELD_LIST, AT(whitelist), .min = 1, .of = &address_row,
     .doc = "Addresses and networks (`10.0.0.0/8`, `fe80::/10`) that may pass; no others may."},
    {"blacklist", FIELD_LIST, AT(blacklist), .min = 1, .of = &address_row,
     .doc = "Addresses and networks that may not pass; all others may."},
    {"message", FIELD_STR, AT(message), .min = 1, .max = 1024,
     .def = "\"Your IP address is not allowed\"", .doc = "Message of the refusal."},
    {"response_code", FIELD_INT, AT(response_code), .min = 403, .max = 404, .def = "403",
     .doc = "Status of the refusal."},
    {0},
};
static const struct field_rule rules[] = {{RULE_ONE_OF, "whitelist|blacklist", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct ip_restriction),
                                          .open = true};

static bool ip_restriction_compile(void *conf, struct build *b)
{
    struct ip_restriction *c = conf;
    const struct field_list *list = c->whitelist.n ? &c->whitelist : &c->blacklist;
    const struct str *texts = list->items;
    struct cidr *networks = arena_alloc(build_arena(b), list->n * sizeof(*networks));

    for (size_t i = 0; i < list->n; i++)
        if (!cidr_parse(texts[i], &networks[i]))
            return build_error(b, "invalid ip address: %.*s", STR_ARG(texts[i]));
    c->wanted = c->whitelist.n > 0;
    c->set = ip_set_new(build_arena(b), networks, list->n);
    return true;
}

/* ---- Phases -----------------------------------------------------------------------------------
 */

static enum verdict ip_restriction_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct ip_restriction *c = conf;
    struct cidr client;

    (void)frame;
    /* What is no address (a Unix socket's client) is in no list. */
    bool found = cidr_parse(request_client(ex), &client) && ip_set_has(c->set, &client);
    if (found == c->wanted)
        return NEXT;
    return reply_message(ex, (int)c->response_code, "message", c->message);
}

const struct plugin plugin_ip_restriction = {
    .abi = PLUGIN_ABI,
    .name = "ip-restriction",
    .version = 0.1,
    .priority = 3000,
    .guard = true,
    .doc = "Lets requests pass by the address of the client: only those in a list, or all but "
           "those in a list. One of `whitelist` and `blacklist` must be given, not both. A list "
           "of thousands of networks costs no more than a short one.",
    .conf = &conf_fields,
    .compile = ip_restriction_compile,
    .access = ip_restriction_access,
};
