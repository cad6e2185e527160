# SPDX-License-Identifier: Apache-2.0
"""What the plugins' cases share: a fresh route on the file's gateway for each set of plugins."""
import itertools

import pytest

numbers = itertools.count(1)


class Bench:
    """One gateway for the whole file, and an upstream that says "ok" unless told otherwise."""

    def __init__(self, gw, upstream):
        self.gw, self.up = gw, upstream

    def route(self, plugins, uri="/*", upstream=None, **fields):
        """A route with these plugins; returns what its paths begin with."""
        base = f"/case{next(numbers)}"
        self.gw.route(base + uri, upstream or self.up, plugins, **fields)
        return base

    def get(self, target, headers=()):
        return self.gw.get(target, headers)

    def seen(self, headers=(), method="GET", body=None, path="/a", **plugins):
        """The upstream's view of one request through a route with these plugins (a_b stands for a-b)."""
        base = self.route({name.replace("_", "-"): conf for name, conf in plugins.items()})
        self.up.requests.clear()
        reply = self.gw.request(method, base + path, headers, body)
        assert reply.status == 200, reply
        request = self.up.requests[-1]
        request.base = base
        return request

    def refusal(self, name, conf, consumer=False):
        """Why a configuration is refused, without what comes before the plugin's own words."""
        if consumer:
            reply = self.gw.admin("PUT", "consumers", {"username": "refused", "plugins": {name: conf}})
        else:
            reply = self.gw.admin("PUT", "routes/refused", {"uri": "/refused", "plugins": {name: conf},
                                                            "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}})
        assert reply.status == 400, reply
        before = f"failed to check the configuration of plugin {name} err: "
        assert before in reply.json["error_msg"], reply
        return reply.json["error_msg"].split(before, 1)[1]


@pytest.fixture
def bench(shared_gw, upstream):
    return Bench(shared_gw, upstream)
