# SPDX-License-Identifier: Apache-2.0
"""Writes of all kinds with anything in them: each is answered, what is refused is not there, what is stored comes back."""
import copy
import json
import os
import random

import pytest

REQUESTS = int(os.environ.get("GARBAGE_REQUESTS", "1500"))
UP = {"nodes": {"127.0.0.1:1": 1}}
DOCUMENTS = {
    "routes": {"uri": "/a", "upstream": UP}, "upstreams": UP, "services": {}, "plugin_configs": {"plugins": {}},
    "consumers": {"username": "a", "plugins": {"key-auth": {"key": "k"}}}, "consumer_groups": {"plugins": {}},
    "consumers/a/credentials": {"plugins": {"key-auth": {"key": "z"}}}, "global_rules": {"plugins": {}},
    "services/1/graphql_cost_decorations": {"field_path": "A"}, "ssls": {}, "protos": {}, "plugin_metadata": {},
    "secrets/vault": {"uri": "http://127.0.0.1:1", "prefix": "p", "token": "t"},
}
LISTS = [c for c in DOCUMENTS if c != "plugin_metadata"]
NAMES = ("id uri uris host hosts upstream upstream_id service_id plugins plugin_config_id vars methods nodes type key tls client_cert_id "
         "checks active passive http_path cert keys certs snis sni client ca depth skip_mtls_uri_regex status ssl_protocols username "
         "group_id labels desc name priority timeout retries limit-count key-auth proxy-rewrite _meta filter content field_path regex token "
         "prefix create_time update_time remote_addrs filter_func hash_on scheme pass_host upstream_host count time_window").split()
VALUES = [None, True, False, 0, -1, 1, 2 ** 63 - 1, -2 ** 63, 1e308, 1e-9, "", "x", "$env://A", "$secret://vault/1/a", "a" * 300, "é",
          [], {}, [[]], {"a": {}}, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "127.0.0.1:80", "*.a.test", "/x/*",
          ["/a", "/a"], {"127.0.0.1:1": 1}, [{"host": "a", "port": 1, "weight": 1}], "1", "2", [1, 2], ["TLSv1.2"], "client", "server"]


class Garbage(random.Random):
    def value(self, depth=0):
        at = self.random()
        if depth < 4 and at < 0.25:
            return {self.choice(NAMES): self.value(depth + 1) for _ in range(self.randrange(5))}
        if depth < 4 and at < 0.35:
            return [self.value(depth + 1) for _ in range(self.randrange(4))]
        return copy.deepcopy(self.choice(VALUES))

    def document(self, collection):
        """A good one with something else in some places."""
        whole = copy.deepcopy(DOCUMENTS[collection])
        for _ in range(self.randrange(3)):
            at = whole
            while self.random() < 0.4 and (below := [v for v in at.values() if isinstance(v, dict)]):
                at = self.choice(below)
            at[self.choice(NAMES)] = self.value()
        return whole

    def write(self):
        collection, method = self.choice(list(DOCUMENTS)), self.choice(["PUT"] * 3 + ["POST", "PATCH", "PATCH", "DELETE"])
        path = collection if method == "POST" else f"{collection}/{self.choice(['1', '2', 'a', 'b', ''])}"
        if method == "PATCH" and self.random() < 0.4:
            path += "/" + "/".join(self.choices(NAMES, k=self.randrange(1, 4)))
        if self.random() < 0.1:
            path += self.choice(["?force=true", "?ttl=x", "?wait=live", "?dry_run=true", "?ttl=1000"])
        return method, path, None if method == "DELETE" else self.value() if method == "PATCH" else self.document(collection)

    def request(self, revision):
        at = self.random()
        if at < 0.5:
            return self.write()
        if at < 0.85:
            operations = [dict(zip(("method", "path", "body"), self.write())) for _ in range(self.randrange(1, 6))]
            return "POST", "eclusa/transactions" + self.choice(["", "", "?dry_run=true"]), {"operations": operations}
        if at < 0.93:
            one = {"kind": self.choice(LISTS), "id": self.value(9)} if self.random() < 0.4 else {}
            return "POST", "eclusa/rollback" + self.choice(["", "?dry_run=true"]), {"revision": self.randrange(revision + 2), **one}
        if at < 0.96:
            return "GET", self.choice(["eclusa/history?limit=500", f"eclusa/history/{self.randrange(revision + 2)}", *LISTS]), None
        return "POST", "configs/validate", {self.choice(LISTS): [self.document("routes"), self.value()]}


@pytest.mark.asan
@pytest.mark.seconds(max(60, REQUESTS // 20))
def test_anything(gw):
    seed = int(os.environ.get("GARBAGE_SEED", "1"))
    garbage, revision, seen = Garbage(seed), 0, set()

    def stored():
        return [gw.admin("GET", c).json for c in LISTS]
    for n in range(REQUESTS):
        method, path, body = garbage.request(revision)
        headers = {"If-Match": garbage.choice(["*", "1", '"2"', "x"])} if garbage.random() < 0.1 else {}
        before = stored() if n % 50 == 0 else None
        r = gw.admin(method, path, None if body is None else json.dumps(body), headers=headers)
        assert r.status < 500 or "secrets cannot be opened" in r.text, (seed, n, method, path, body, r)
        seen.add(r.status)
        revision = int(r.headers.get("X-Eclusa-Revision") or revision)
        if before and r.headers.get("X-Eclusa-Revision") is None:
            assert stored() == before, (seed, n, method, path, body, r)
    assert {200, 201, 400, 404, 405, 412} <= seen and revision > REQUESTS // 50
    before = stored()
    gw.kill()
    gw.start()
    assert stored() == before
