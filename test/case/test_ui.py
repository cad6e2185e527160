# SPDX-License-Identifier: Apache-2.0
"""/ui/ beside the Admin API: the files of eclusa.admin_ui_dir, as APISIX serves its dashboard's."""
import gzip
import os

import pytest
import wire

PAGE = "<!doctype html><script src='/ui/assets/app.js'></script>"
SCRIPT = "export const a = 1;\n" * 200000      # 4 MB: more than a socket takes at once


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ui/assets").mkdir(parents=True)
    (tmp_path / "ui/index.html").write_text(PAGE)
    (tmp_path / "ui/assets/app.js").write_text(SCRIPT)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "ui/link").symlink_to("../secret")
    return tmp_path / "ui"


def ui(gw, path, headers=(), method="GET"):
    return gw.admin(method, path, key=None, headers=headers)


@pytest.mark.quick
def test_files(make_gw, folder):
    gw = make_gw(eclusa={"admin_ui_dir": str(folder)})
    r = ui(gw, "/ui")
    assert r.status == 301 and r.headers.get("Location") == "/ui/"
    r = ui(gw, "/ui/")
    assert (r.status, r.text, r.headers.get("Cache-Control")) == (200, PAGE, "no-cache")
    assert r.headers.get("Content-Type") == "text/html; charset=utf-8"
    assert "Access-Control-Allow-Origin" not in r.headers
    assert ui(gw, "/ui/routes/detail/1").text == PAGE
    r = ui(gw, "/ui/assets/app.js?v=1")
    assert (r.text, r.headers.get("Content-Type")) == (SCRIPT, "text/javascript; charset=utf-8")
    assert r.headers.get("Cache-Control") == "private, max-age=7200"
    assert ui(gw, "/ui/assets/app.js", [("If-None-Match", r.headers.get("ETag"))]).status == 304
    packed = ui(gw, "/ui/assets/app.js", [("Accept-Encoding", "gzip, br")])
    assert packed.headers.get("Content-Encoding") == "gzip" and gzip.decompress(packed.body).decode() == SCRIPT
    r = ui(gw, "/ui/assets/app.js", method="HEAD")
    assert r.status == 200 and r.headers.get("Content-Length") == str(len(SCRIPT)) and r.body == b""
    assert ui(gw, "/ui/", method="PUT").status == 405
    # The Admin API beside it, with its key.
    assert gw.admin("GET", "routes", key=None).status == 401
    assert gw.admin("GET", "routes").status == 200
    # Neither where clients are served nor on the control API.
    assert gw.get("/ui/").status == 404 and gw.control("/ui/").status == 404


@pytest.mark.quick
def test_nothing_else(make_gw, folder):
    gw = make_gw(eclusa={"admin_ui_dir": str(folder)})
    for path in ("/ui/..%2fsecret", "/ui/%2e%2e/secret", "/ui/../secret", "/ui/assets/..%2f..%2fsecret",
                 "/ui/x/../../secret", "/ui/%5c..%5csecret", "/ui/link", "/ui/link/", "/ui/%00", "/ui/../../secret"):
        r = ui(gw, path)
        assert "secret" not in r.text and r.status in (200, 400, 404), path
    # A new page is shown at once; without one it is said what is missing.
    (folder / "index.html").write_text("new")
    assert ui(gw, "/ui/").text == "new"
    os.remove(folder / "index.html")
    r = ui(gw, "/ui/")
    assert r.status == 404 and "eclusa.admin_ui_dir" in r.text


def test_who_leaves(make_gw, folder):
    """A client that goes in the middle of a large file harms nobody."""
    gw = make_gw(eclusa={"admin_ui_dir": str(folder)})
    for _ in range(20):
        with wire.connect(gw.admin_port) as w:
            w.request("GET", "/ui/assets/app.js")
            w.reset()
    assert ui(gw, "/ui/").text == PAGE


def test_slow_clients(make_gw, folder):
    """Nobody needs a key here, and nobody fills the memory: files that are on their way have a bound."""
    gw = make_gw(eclusa={"admin_ui_dir": str(folder)})
    with open(folder / "large.bin", "wb") as f:
        f.truncate(30 << 20)
    clients = []
    for i in range(5):
        clients.append(wire.connect(gw.admin_port))
        clients[i].request("GET", "/ui/large.bin")
        assert clients[i].exactly(12) == (b"HTTP/1.1 200" if i < 4 else b"HTTP/1.1 503"), i
    for w in clients[:2]:
        w.close()
    wire.wait_until("another one is served", lambda: ui(gw, "/ui/large.bin").status == 200)
    for w in clients[2:]:
        w.close()


@pytest.mark.quick
@pytest.mark.parametrize("admin", [{"enable_admin_ui": False}, {"allow_admin": ["192.0.2.1"]}])
def test_closed(make_gw, folder, admin):
    gw = make_gw(deployment={"admin": admin}, eclusa={"admin_ui_dir": str(folder)})
    status = 404 if "enable_admin_ui" in admin else 403
    for path in ("/ui", "/ui/", "/ui/index.html"):
        r = ui(gw, path)
        assert r.status == status and "assets" not in r.text
