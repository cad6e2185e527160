/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares's channel: which servers are asked, how often, how long. Private to the resolver. */
#ifndef UPSTREAM_DNS_CHANNEL_H
#define UPSTREAM_DNS_CHANNEL_H

#include <ares.h>

#include "upstream/dns.h"

enum { DNS_TRIES = 3 }; /* at each server, each try twice as long as the one before */

/* Opens a channel whose look-ups end within timeout_ms; on_sock(arg, …) tells of its descriptors.
 * False with a message in the arena: see dns_new; *channel is NULL or to be destroyed. */
bool dns_channel_open(ares_channel *channel, const struct dns_config *config, int64_t timeout_ms,
                      ares_sock_state_cb on_sock, void *arg, struct arena *a, struct str *err);

#endif
