# SPDX-License-Identifier: Apache-2.0
"""The examples in doc/plugin: their commands are run, and the output that they show must come."""
import os
import re
import subprocess
from glob import glob

import pytest

from gw import KEY, ports
from peer import ROOT

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```", re.S | re.M)
PAGES = sorted(glob(os.path.join(ROOT, "doc/plugin/*.more.md")))


def echo(w, request):
    """What the examples' upstream does: it answers with the request that it got."""
    lines = [request.start, *(f"{k}: {v}" for k, v in request.headers)]
    body = "\n".join(lines).encode() + b"\n\n" + request.body
    w.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def run(gw, upstream, script):
    """Runs a block of shell with the pages' addresses replaced by ours; returns its output."""
    for said, ours in ((":9180", gw.admin_port), (":9080", gw.port), (":8000", upstream.port)):
        script = script.replace("127.0.0.1" + said, f"127.0.0.1:{ours}")
    gw.connect().close()                                # writes of the block before are live
    done = subprocess.run(["bash", "-ec", script], env={**os.environ, "admin_key": KEY}, capture_output=True, timeout=20,
                          check=False)
    assert done.returncode == 0, (script, done)
    if "/apisix/admin/" in script:
        gw.admin("GET", "routes")                       # from here on the writes count as just made
    return done.stdout.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: os.path.basename(page).removesuffix(".more.md"))
def test_example(make_gw, upstream, page):
    port = ports.take()
    gw = make_gw(apisix={"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}})
    upstream.on("*").replies.append(echo)
    with open(page, encoding="utf-8") as f:
        blocks = BLOCK.findall(f.read())
    assert any(kind == "text" for kind, _ in blocks), "an example shows what comes out"
    output = ""
    for kind, text in blocks:
        if kind == "sh":
            output = run(gw, upstream, text).replace(f":{port}", ":9443")
            continue
        for line in text.splitlines():
            assert line in output.splitlines(), f"{line!r} is not in the output:\n{output}"


QUOTE = re.compile(r"^<!-- (\S+) -->\n```\w+\n(.*?)^```", re.S | re.M)


def test_quotes_in_writing_a_plugin():
    """What the page quotes still stands in the files that it names."""
    with open(os.path.join(ROOT, "doc/writing-a-plugin.md"), encoding="utf-8") as f:
        quotes = QUOTE.findall(f.read())
    assert len(quotes) > 5
    for name, text in quotes:
        with open(os.path.join(ROOT, name), encoding="utf-8") as f:
            assert text in f.read(), f"{name} no longer has:\n{text}"
