/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a configuration's Lua (config/lua.h) for an exchange. A worker has one state, made when
 * it is first needed; each function is compiled once in it. Private to exchange/. */
#ifndef EXCHANGE_LUA_H
#define EXCHANGE_LUA_H

#include "exchange/exchange.h"

/* filter_func: whether it returned something true. Called with `vars`, the match's options and the
 * context, as lua-resty-radixtree does. An error, too many steps or bytes: false, and a line in the
 * log, of which there are a few a second at most. */
bool lua_filter(struct exchange *ex, const struct route *route);
/* _meta.pre_function: called with the plugin's configuration and the context. Errors are logged,
 * and that is all. */
void lua_pre_function(struct exchange *ex, const struct plugin_use *use);

#endif
