/* SPDX-License-Identifier: Apache-2.0 */
/* Checks stream routes and protos. Neither is served by this version: they are compiled to find
 * what is wrong with them, and a stream route holds its references. */
#include "base/cidr.h"
#include "config/build_private.h"
#include "config/fields.h"
#include "config/proto.h"

/* ---- Stream routes ---- */

/* Of APISIX's stream plugins those whose fields are the same there as on routes. */
bool builder_plugin_streams(struct str name)
{
    return str_eq(name, STR("ip-restriction"));
}

static bool check_address(struct compile *c, const char *name, struct str text)
{
    struct cidr network;

    if (!text.p || cidr_parse(text, &network))
        return true;
    return compile_fail(c, "invalid %s: %.*s", name, STR_ARG(text));
}

static bool protocol_is_on(const struct builder_env *env, struct str name)
{
    for (unsigned i = 0; i < env->nprotocols; i++)
        if (str_eq(env->protocols[i], name))
            return true;
    return false;
}

static bool check_protocol(struct compile *c, const struct stream_protocol_doc *d)
{
    const struct model_protocol *m = model_protocols;
    struct str err;

    if (!d)
        return true;
    while (m->name.p && !str_eq(m->name, d->name))
        m++;
    if (!m->name.p || !protocol_is_on(&c->b->env, d->name))
        return compile_fail(c, "unknown protocol [%.*s]", STR_ARG(d->name));
    if (d->conf && m->fields && !fields_check(m->fields, d->conf, &c->scratch, &err))
        return compile_fail(c, "%.*s", STR_ARG(err));
    return true;
}

bool compile_stream_route(struct compile *c, const struct stream_route_doc *d)
{
    compile_edge(c, EDGE_UPSTREAM, KIND_UPSTREAM, d->upstream_id);
    compile_edge(c, EDGE_SERVICE, KIND_SERVICE, d->service_id);
    /* What others keep for gateways that proxy streams is nothing to complain about here. */
    if (!c->strict && !c->b->env.stream)
        return true;
    if (d->upstream && !compile_upstream(c, d->upstream))
        return false;
    c->o->upstream = NULL; /* requests do not go there */
    return compile_plugins(c, d->plugins) && check_address(c, "remote_addr", d->remote_addr) &&
           check_address(c, "server_addr", d->server_addr) && check_protocol(c, d->protocol);
}

/* ---- Protos ---- */

bool compile_proto(struct compile *c, const struct proto_doc *d)
{
    struct str err;

    return proto_check(d->content, &c->scratch, &err) ||
           compile_fail(c, "invalid content: %.*s", STR_ARG(err));
}
