# SPDX-License-Identifier: Apache-2.0
"""deployment.role: who serves requests, who has the Admin API, and which store each may have."""
import signal
import subprocess

import pytest

import wire
from gw import Gateway
from test_etcd import etcd, make_etcd  # noqa: F401  fixtures


def test_control_plane_and_data_plane(etcd, make_gw, upstream):
    control = make_gw(deployment={"role": "control_plane", "etcd": {"host": [etcd.url], "prefix": "/apisix"}})
    data = make_gw(deployment={"role": "data_plane", "etcd": {"host": [etcd.url], "prefix": "/apisix"}})
    with pytest.raises(OSError):
        wire.connect(control.port)
    with pytest.raises(OSError):
        wire.connect(data.admin_port)
    control.put("routes/1", {"uri": "/a", "upstream": {"nodes": {upstream.node: 1}, "checks": {"active": {"type": "tcp"}}}})
    wire.wait_until("the data plane to serve it", lambda: data.get("/a").status == 200)
    assert control.control("/v1/eclusa/config").json["workers"] == []
    assert len(data.control("/v1/eclusa/config").json["workers"]) == 2
    assert data.control("/v1/route/1").json["key"] == "/apisix/routes/1"
    wire.wait_until("the data plane to probe it", lambda: data.control("/v1/healthcheck/routes/1").json["nodes"])
    control.process.send_signal(signal.SIGHUP)
    assert control.admin("PUT", "routes/2", {"uri": "/b", "upstream": {"nodes": {upstream.node: 1}}}).status == 201
    control.restart()
    assert control.control("/v1/healthcheck/routes/1").json["nodes"] == [], "it is not the one that sends requests there"
    assert control.admin("GET", "routes/1").status == 200
    control.delete("routes/1")
    wire.wait_until("the data plane to forget it", lambda: data.get("/a").status == 404)


def test_etcd_that_is_named_is_used(etcd, make_gw, upstream):
    """As APISIX's own config.yaml has it: deployment.etcd, and no provider."""
    gw = make_gw(deployment={"etcd": {"host": [etcd.url], "prefix": "/apisix"}})
    gw.put("upstreams/1", {"nodes": {upstream.node: 1}})
    assert gw.control("/v1/eclusa/config").json["store"] == "etcd"
    assert upstream.node in etcd.get("/upstreams/1")[0]


@pytest.mark.quick
@pytest.mark.parametrize("deployment, why", [
    ({"role": "data_plane", "role_data_plane": {"config_provider": "sqlite"}},
     'deployment.role_data_plane.config_provider: "sqlite" is not to be had; only "etcd", "yaml" and "json" are'),
    ({"role": "control_plane", "role_control_plane": {"config_provider": "yaml"}},
     'deployment.role_control_plane.config_provider: "yaml" is not to be had; only "etcd" is'),
    ({"role": "nix"}, 'deployment.role: "nix" is not one of'),
])
def test_what_cannot_be(tmp_path, deployment, why):
    gw = Gateway(tmp_path).config(deployment=deployment)
    for words in (("run",), ("test",)):
        done = subprocess.run(gw.command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode != 0 and why in done.stderr, done.stderr
