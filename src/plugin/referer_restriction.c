/* SPDX-License-Identifier: Apache-2.0 */
/* referer-restriction: requests by the host of the page that they come from, the Referer header. */
#include "plugin/plugin.h"

/* ---- Configuration ---------------------------------------------------------------------------
 */

struct referer_restriction {
    struct field_list whitelist, blacklist; /* of struct str */
    bool bypass_missing;
    struct str message;
};

/* APISIX: schema_def.lua, host_def. */
static const struct field host_row = {.type = FIELD_STR,
                                      .pattern = "^\\*$|^\\*?[0-9a-zA-Z-._\\[\\]:]+$"};

#define AT(member) .at = offsetof(struct referer_restriction, member)
static const struct field rows[] = {
    {"bypass_missing", FIELD_BOOL, AT(bypass_missing), .def = "false",
     .doc = "Lets requests pass whose `Referer` is missing or no URL."},
    {"whitelist", FIELD_LIST, AT(whitelist), .min = 1, .of = &host_row,
     .doc = "Hosts that may refer here, no others; `*.example.com` for all below one."},
    {"blacklist", FIELD_LIST, AT(blacklist), .min = 1, .of = &host_row,
     .doc = "Hosts that may not refer here."},
    {"message", FIELD_STR, AT(message), .min = 1, .max = 1024,
     .def = "\"Your referer host is not allowed\"", .doc = "Message of the refusal."},
    {0},
};
#undef AT
static const struct field_rule rules[] = {{RULE_ONE_OF, "whitelist|blacklist", 0}, {0}};
static const struct fields conf_fields = {rows, rules, .size = sizeof(struct referer_restriction),
                                          .open = true};

/* ---- Phases -----------------------------------------------------------------------------------
 */

static bool take(struct str *rest, struct str what)
{
    if (!str_starts(*rest, what))
        return false;
    *rest = str_from(*rest, what.n);
    return true;
}

/* The host of a URL with authority (RFC 3986 §3.2), an IPv6 address in its brackets. Absent: it is
 * none, or names a user, which no browser sends. */
static struct str url_host(struct str url)
{
    size_t n = 0;

    if (!take(&url, STR("https:")))
        (void)take(&url, STR("http:"));
    if (!take(&url, STR("//")))
        return STR_NONE;
    while (n < url.n && !strchr("/?#", url.p[n]))
        n++;
    struct str authority = str_head(url, n), host = authority;
    if (str_find(authority, '@') >= 0)
        return STR_NONE;
    ptrdiff_t end = str_find(authority, ']'), colon = str_find(authority, ':');
    if (authority.n && authority.p[0] == '[')
        host = end < 0 ? STR("") : str_head(authority, (size_t)end + 1);
    else if (colon >= 0)
        host = str_head(authority, (size_t)colon);
    return host.n ? host : STR_NONE;
}

static bool listed(const struct field_list *list, struct str host)
{
    const struct str *items = list->items;

    for (size_t i = 0; i < list->n; i++) {
        struct str one = items[i], end = host;
        if (one.p[0] == '*') {
            one = str_from(one, 1);
            end = host.n >= one.n ? str_from(host, host.n - one.n) : host;
        }
        if (str_eq_nocase(one, end))
            return true;
    }
    return false;
}

static enum verdict referer_restriction_access(struct exchange *ex, const void *conf, void *frame)
{
    const struct referer_restriction *c = conf;
    struct str referer = request_header(ex, STR("Referer"));
    struct str host = referer.p ? url_host(referer) : STR_NONE;

    (void)frame;
    bool passes = !host.p              ? c->bypass_missing
                  : c->whitelist.n > 0 ? listed(&c->whitelist, host)
                                       : !listed(&c->blacklist, host);
    return passes ? NEXT : reply_message(ex, 403, "message", c->message);
}

const struct plugin plugin_referer_restriction = {
    .abi = PLUGIN_ABI,
    .name = "referer-restriction",
    .version = 0.1,
    .priority = 2990,
    .guard = true,
    .doc = "Lets requests pass, or not, by the host in their `Referer` header: pages of other "
           "sites cannot embed what is here. Any client that is no browser can send any.",
    .conf = &conf_fields,
    .access = referer_restriction_access,
};
