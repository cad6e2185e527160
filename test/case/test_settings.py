# SPDX-License-Identifier: Apache-2.0
"""What config.yaml changes in what is served, where no other file shows it."""
import subprocess

import pytest

pytestmark = [pytest.mark.quick]


def test_underscores_off(make_gw, upstream):
    gw = make_gw(nginx_config={"http": {"underscores_in_headers": "off"}})
    gw.route("/*", upstream)
    assert gw.get("/", headers={"X_User": "mallory", "X-Other": "kept"}).status == 200
    names = [name.lower() for name, _ in upstream.requests[0].headers]
    assert "x-other" in names and "x_user" not in names


def test_upstream_keepalive_none(make_gw, upstream):
    """Where an upstream has no keepalive_pool, config.yaml's default counts."""
    gw = make_gw(nginx_config={"worker_processes": 1, "http": {"upstream": {"keepalive": 0}}})
    gw.route("/*", upstream)
    for _ in range(3):
        assert gw.get("/").status == 200
    assert upstream.connections == 3


def test_port_is_taken(gw, tmp_path):
    """Two gateways on one port would each answer some requests; the second says so and ends."""
    path = tmp_path / "config.yaml"
    path.write_text(f"""
apisix: {{node_listen: [{{ip: 127.0.0.1, port: {gw.port}}}], ssl: {{enable: false}}}}
deployment: {{admin: {{admin_listen: {{ip: 127.0.0.1, port: {gw.admin_port}}}}}}}
eclusa: {{data_dir: {tmp_path}/data}}
""")
    import gw as helper
    done = subprocess.run([helper.BINARY, "run", "-c", str(path)], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{gw.port}: Address already in use" in done.stderr
