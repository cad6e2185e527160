# SPDX-License-Identifier: Apache-2.0
"""The LLM simulator (test/llm-sim) keeps its contract: paths, shapes, streams, faults. Needs no gateway.

LLM_SIM names another binary, e.g. build/llm-sim-asan."""
import base64
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import time
import zlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / os.environ.get("LLM_SIM", "build/llm-sim")


class Sim:
    """A running simulator."""

    def __init__(self, dir, *options):
        self.dir = dir
        self.logfile = dir / "log"
        ready = dir / "ready"
        args = [str(BINARY), "-p", "0", "--ready-file", str(ready), "--log", str(self.logfile), *options]
        self.stderr = open(dir / "stderr", "w+")
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        self.line = self.process.stdout.readline().strip()
        assert self.line, (dir / "stderr").read_text()
        self.ports = dict(part.split("=") for part in self.line.split())
        self.port = int(self.ports["plain"])
        deadline = time.monotonic() + 5
        while not ready.exists():  # written right after the line
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert ready.read_text().strip() == self.line

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(5) == 0, (self.dir / "stderr").read_text()
        self.process.stdout.close()
        self.stderr.close()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def ask(self, method, path, body=None, headers={}):
        """-> status, headers, body"""
        conn = self.connect()
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        conn.request(method, path, body, headers)
        r = conn.getresponse()
        data = r.read()
        conn.close()
        return r.status, r.headers, data

    def json(self, method, path, body=None, headers={}, status=200):
        got, head, data = self.ask(method, path, body, headers)
        assert got == status, data
        assert head["content-type"] == "application/json"
        return json.loads(data)

    def raw(self, text):
        """Sends bytes, returns all that comes until the close."""
        with self.socket() as s:
            s.sendall(text if isinstance(text, bytes) else text.encode())
            return read_all(s)

    def stats(self):
        return self.json("GET", "/sim/stats")

    def log(self):
        return [json.loads(line) for line in self.logfile.read_text().splitlines()]

    def wait_log(self, want):
        """The first log line that `want` accepts."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for line in self.log():
                if want(line):
                    return line
            time.sleep(0.002)
        raise AssertionError(self.logfile.read_text())


def read_all(s):
    data = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            return data
        data += piece


def get(path, *headers, close=True):
    lines = [f"GET {path} HTTP/1.1", "Host: sim", *headers] + (["Connection: close"] if close else [])
    return "\r\n".join(lines) + "\r\n\r\n"


def words(prompt, n):
    return " ".join(itertools.islice(itertools.cycle(prompt.split()), n))


def sse(data):
    """[(event name or None, data)]"""
    events = []
    for block in data.decode().replace("\r\n", "\n").split("\n\n"):
        if block:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            events.append((fields.get("event"), fields["data"]))
    return events


@pytest.fixture(scope="module")
def built():
    if not BINARY.exists():
        subprocess.run(["make", str(BINARY.relative_to(ROOT))], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sim(built, tmp_path_factory):
    s = Sim(tmp_path_factory.mktemp("sim"), "--gap", "0", "--events", "8")
    yield s
    s.stop()


@pytest.fixture
def another(built, tmp_path_factory):
    """Starts simulators with options of the test's own."""
    started = []

    def start(*options):
        started.append(Sim(tmp_path_factory.mktemp("sim"), *options))
        return started[-1]

    yield start
    for s in started:
        s.stop()


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    dir = tmp_path_factory.mktemp("ca")
    subprocess.run([str(ROOT / "test/llm-sim/make-ca.sh"), str(dir)], check=True)
    return dir


# ---- plain tools ----


def test_bytes(sim):
    for n in (0, 1, 1024, 262144, 262145, 3000000):
        status, head, data = sim.ask("GET", f"/bytes/{n}")
        assert (status, len(data), head["content-length"]) == (200, n, str(n))
        assert data == (data[:64] * (n // 64 + 1))[:n]
    assert sim.ask("GET", "/bytes/x")[0] == 400
    status, head, data = sim.ask("HEAD", "/bytes/100")
    assert (status, head["content-length"], data) == (200, "100", b"")


def test_reply_reads_any_body(sim):
    for size in (0, 10, 70000, 5000000):
        assert len(sim.ask("POST", "/reply/7", b"x" * size)[2]) == 7
        assert sim.wait_log(lambda l: l["path"] == "/reply/7" and l["body_size"] == size)


def test_echo_and_headers(sim):
    got = sim.json("PUT", "/echo/deep?a=b%20c", b"caf\xc3\xa9 \xff\"", {"X-One": "1"})
    assert (got["method"], got["uri"], got["body"]) == ("PUT", "/echo/deep?a=b%20c", 'café \ufffd"')
    assert got["headers"]["x-one"] == "1"
    raw = sim.raw(get("/headers", "B: 2", "a: 1", "b: 3"))
    pairs = json.loads(raw.split(b"\r\n\r\n", 1)[1])
    assert pairs == [["Host", "sim"], ["B", "2"], ["a", "1"], ["b", "3"], ["Connection", "close"]]
    echo = json.loads(sim.raw(get("/echo", "b: 2", "B: 3")).split(b"\r\n\r\n", 1)[1])
    assert echo["headers"]["b"] == "2, 3"


def test_status_and_unknown(sim):
    assert sim.ask("GET", "/status/418")[0] == 418
    status, head, data = sim.ask("GET", "/status/204")
    assert (status, data, head["content-length"]) == (204, b"", None)
    assert sim.json("GET", "/nope", status=404)["error"]["type"] == "invalid_request_error"
    assert sim.ask("DELETE", "/v1/completions")[0] == 405


def test_chunked_and_trailers(sim):
    status, head, data = sim.ask("GET", "/chunked/100000?size=1000")
    assert (status, head["transfer-encoding"], len(data)) == (200, "chunked", 100000)
    raw = sim.raw(get("/trailers"))
    assert raw.endswith(b"\r\n0\r\nX-Sim-Checksum: 42\r\nX-Sim-Trailer: yes\r\n\r\n")


def test_pipelining(sim):
    raw = sim.raw(get("/bytes/10", close=False) * 50 + get("/bytes/11"))
    assert raw.count(b"HTTP/1.1 200 OK") == 51
    assert raw.endswith(b"Connection: close\r\n\r\nabcdefghijk")


def test_pipelined_behind_a_stream(sim):
    raw = sim.raw(get("/events?n=3&gap=5", close=False) + get("/bytes/10"))
    assert raw.index(b"0\r\n\r\nHTTP/1.1 200") < raw.index(b"abcdefghij", raw.index(b"0\r\n\r\n"))


def test_byte_by_byte(sim):
    body = json.dumps({"prompt": "a b", "max_tokens": 3}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunked = b"".join(b"%x;e=1\r\n%s\r\n" % (len(body[i:i + 5]), body[i:i + 5]) for i in range(0, len(body), 5))
    for text in (head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
                 head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\nT: 1\r\n\r\n"):
        with sim.socket() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(text)):
                s.send(text[i:i + 1])
            raw = read_all(s)
        assert json.loads(raw.split(b"\r\n\r\n", 1)[1])["choices"][0]["text"] == "a b a"


def test_expect_continue(sim):
    with sim.socket() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert s.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"hello")
        assert json.loads(read_all(s).split(b"\r\n\r\n", 1)[1])["body"] == "hello"


def test_keepalive_and_http10(sim):
    conn = sim.connect()
    ids = set()
    for _ in range(3):
        conn.request("GET", "/headers")
        r = conn.getresponse()
        r.read()
        ids.add(r.headers["x-sim-connection"])
    assert len(ids) == 1
    conn.close()
    raw = sim.raw("GET /bytes/3 HTTP/1.0\r\n\r\n")
    assert raw.endswith(b"\r\n\r\nabc") and b"Connection: close" in raw
    raw = sim.raw("GET /chunked/3 HTTP/1.0\r\n\r\n")
    assert raw.endswith(b"\r\n\r\nabc") and b"chunked" not in raw


@pytest.mark.parametrize("request_text,status", [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET /\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA : 1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: 1\0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n", 417),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: " + "a" * 70000, 431),
    ("GET / HTTP/1.1\r\nHost: x\r\n" + "A: 1\r\n" * 200 + "\r\n", 431),
])
def test_strict_parser(sim, request_text, status):
    assert sim.raw(request_text).startswith(b"HTTP/1.1 %d " % status)


# ---- OpenAI ----

CHAT = {"model": "gpt-4o", "messages": [{"role": "system", "content": "be kind"},
                                        {"role": "user", "content": 'say "hi" to zoë'}]}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {
    "type": "object", "properties": {"what": {"type": "string"}, "n": {"type": "integer"}}}}}]
TOOL_ASK = {**CHAT, "messages": [{"role": "user", "content": "use tool"}], "tools": TOOLS}


def test_chat(sim):
    status, head, data = sim.ask("POST", "/v1/chat/completions", CHAT)
    got = json.loads(data)
    assert got["object"] == "chat.completion" and got["model"] == "gpt-4o"
    assert got["choices"][0]["message"]["content"] == words('say "hi" to zoë', 8)
    assert got["choices"][0]["finish_reason"] == "stop"
    assert got["usage"]["prompt_tokens"] == 6 and got["usage"]["total_tokens"] == 14
    for name in ("x-request-id", "openai-processing-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens"):
        assert head[name]
    got = sim.json("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 3}, {"X-Sim-Cached": "2", "X-Sim-Reasoning": "5"})
    assert got["choices"][0]["finish_reason"] == "length"
    assert got["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert got["usage"]["completion_tokens"] == 8
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]}
    assert sim.json("POST", "/openai/deployments/x/chat/completions?api-version=1", parts)["choices"][0]["message"][
        "content"] == words("one two", 8)


def test_chat_stream(sim):
    status, head, data = sim.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True})
    assert head["content-type"].startswith("text/event-stream")
    events = [d for _, d in sse(data)]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(d) for d in events[:-1]]
    assert len(chunks) == 10 and len({c["id"] for c in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == words('say "hi" to zoë', 8)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop" and "usage" not in chunks[0]
    data = sim.ask("POST", "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}})[2]
    chunks = [json.loads(d) for _, d in sse(data)[:-1]]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 8
    assert all(c["usage"] is None for c in chunks[:-1])


def test_chat_tools(sim):
    choice = sim.json("POST", "/v1/chat/completions", TOOL_ASK)["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls" and call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"what": "use tool", "n": 42}
    chunks = [json.loads(d) for _, d in sse(sim.ask("POST", "/v1/chat/completions", {**TOOL_ASK, "stream": True})[2])[:-1]]
    calls = [c["choices"][0]["delta"]["tool_calls"][0] for c in chunks if "tool_calls" in c["choices"][0]["delta"]]
    assert calls[0]["id"] and all(c["index"] == 0 for c in calls)
    assert "".join(c["function"]["arguments"] for c in calls) == call["function"]["arguments"]
    no_tool = {**TOOL_ASK, "messages": CHAT["messages"]}
    assert sim.json("POST", "/v1/chat/completions", no_tool)["choices"][0]["message"]["content"]


def test_completions(sim):
    ask = {"model": "m", "prompt": "once upon a time"}
    got = sim.json("POST", "/v1/completions", ask)
    assert got["choices"][0]["text"] == words("once upon a time", 8) and got["object"] == "text_completion"
    events = [d for _, d in sse(sim.ask("POST", "/v1/completions", {**ask, "stream": True})[2])]
    assert "".join(json.loads(d)["choices"][0]["text"] for d in events[:-1]) == got["choices"][0]["text"]
    assert events[-1] == "[DONE]"


def test_embeddings(sim):
    ask = {"model": "e", "input": ["the blue sea", "sea the blue", "fast cars"], "dimensions": 64}
    got = sim.json("POST", "/v1/embeddings", ask)
    a, b, c = (row["embedding"] for row in got["data"])
    assert len(a) == 64 and abs(sum(x * x for x in a) - 1) < 1e-4
    assert a == b and sum(x * y for x, y in zip(a, c)) < 0.9
    assert got["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    coded = sim.json("POST", "/v1/embeddings", {**ask, "encoding_format": "base64"})["data"][0]["embedding"]
    assert max(abs(x - y) for x, y in zip(struct.unpack("<64f", base64.b64decode(coded)), a)) < 1e-6
    assert len(sim.json("POST", "/v1/embeddings", {"input": "x"})["data"][0]["embedding"]) == 1536
    assert sim.ask("POST", "/v1/embeddings", {"input": 5})[0] == 400


def test_responses(sim):
    got = sim.json("POST", "/v1/responses", {"model": "m", "input": "tell me"})
    assert got["status"] == "completed" and got["output"][0]["content"][0]["text"] == words("tell me", 8)
    assert got["usage"]["total_tokens"] == 10
    events = sse(sim.ask("POST", "/v1/responses", {"input": [{"role": "user", "content": "tell me"}], "stream": True})[2])
    bodies = [json.loads(d) for _, d in events]
    assert [b["type"] for b in bodies] == [n for n, _ in events]
    assert [b["sequence_number"] for b in bodies] == list(range(len(bodies)))
    names = [n.removeprefix("response.") for n, _ in events]
    assert names[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert names[4:12] == ["output_text.delta"] * 8
    assert names[12:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert "".join(b["delta"] for b in bodies[4:12]) == bodies[12]["text"] == words("tell me", 8)
    tool = {"input": "use tool", "tools": [{"type": "function", **TOOLS[0]["function"]}], "stream": True}
    bodies = [json.loads(d) for _, d in sse(sim.ask("POST", "/v1/responses", tool)[2])]
    args = "".join(b["delta"] for b in bodies if b["type"] == "response.function_call_arguments.delta")
    assert json.loads(args) == {"what": "use tool", "n": 42} and bodies[-1]["response"]["output"][0]["name"] == "look"


def test_models_and_bad_json(sim):
    assert "gpt-4o" in [m["id"] for m in sim.json("GET", "/v1/models")["data"]]
    assert sim.json("POST", "/v1/chat/completions", "{nope", status=400)["error"]["type"] == "invalid_request_error"
    assert sim.ask("POST", "/v1/chat/completions", "[]")[0] == 400
    assert sim.ask("POST", "/v1/chat/completions", {"messages": []})[0] == 400


def test_require_key(another):
    sim = another("--require-key", "sk-1", "--events", "2", "--gap", "0")
    error = sim.json("POST", "/v1/chat/completions", CHAT, status=401)["error"]
    assert error["code"] == "invalid_api_key"
    assert sim.ask("POST", "/v1/chat/completions", CHAT, {"Authorization": "Bearer sk-2"})[0] == 401
    assert sim.ask("POST", "/v1/chat/completions", CHAT, {"Authorization": "Bearer sk-1"})[0] == 200
    messages = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    version = {"anthropic-version": "2023-06-01"}
    assert sim.json("POST", "/v1/messages", messages, version, 401)["error"]["type"] == "authentication_error"
    assert sim.ask("POST", "/v1/messages", messages, {**version, "x-api-key": "sk-1"})[0] == 200
    contents = {"contents": [{"parts": [{"text": "x"}]}]}
    assert sim.ask("POST", "/v1beta/models/g:generateContent?key=sk-1", contents)[0] == 200
    assert sim.ask("POST", "/v1beta/models/g:generateContent", contents)[0] == 401
    assert sim.ask("GET", "/bytes/1")[0] == 200


# ---- Anthropic, Gemini, Bedrock ----

MESSAGES = {"model": "claude", "max_tokens": 100, "system": "be brief", "messages": [{"role": "user", "content": "good day"}]}
VERSION = {"anthropic-version": "2023-06-01", "x-api-key": "k"}


def test_anthropic(sim):
    got = sim.json("POST", "/v1/messages", MESSAGES, VERSION)
    assert got["content"] == [{"type": "text", "text": words("good day", 8)}] and got["stop_reason"] == "end_turn"
    assert (got["usage"]["input_tokens"], got["usage"]["output_tokens"]) == (4, 8)
    error = sim.json("POST", "/v1/messages", MESSAGES, status=400)
    assert error["type"] == "error" and error["error"]["type"] == "invalid_request_error"
    assert sim.ask("POST", "/v1/messages", {**MESSAGES, "max_tokens": None}, VERSION)[0] == 400
    assert sim.json("POST", "/v1/messages/count_tokens", MESSAGES, VERSION) == {"input_tokens": 4}
    assert sim.json("POST", "/v1/messages?fault=529", MESSAGES, VERSION, 529)["error"]["type"] == "overloaded_error"


def test_anthropic_stream(sim):
    events = sse(sim.ask("POST", "/v1/messages", {**MESSAGES, "stream": True}, VERSION)[2])
    bodies = [json.loads(d) for _, d in events]
    assert [b["type"] for b in bodies] == [n for n, _ in events]
    assert [n for n, _ in events] == ["message_start", "content_block_start", "ping"] + ["content_block_delta"] * 8 + [
        "content_block_stop", "message_delta", "message_stop"]
    assert "".join(b["delta"]["text"] for b in bodies[3:11]) == words("good day", 8)
    assert bodies[-2]["usage"]["output_tokens"] == 8
    tools = [{"name": "look", "input_schema": TOOLS[0]["function"]["parameters"]}]
    ask = {**MESSAGES, "tools": tools, "messages": [{"role": "user", "content": [{"type": "text", "text": "use tool"}]}]}
    got = sim.json("POST", "/v1/messages", ask, VERSION)
    assert got["content"][0]["input"] == {"what": "use tool", "n": 42} and got["stop_reason"] == "tool_use"
    bodies = [json.loads(d) for _, d in sse(sim.ask("POST", "/v1/messages", {**ask, "stream": True}, VERSION)[2])]
    pieces = "".join(b["delta"]["partial_json"] for b in bodies if b["type"] == "content_block_delta")
    assert json.loads(pieces) == got["content"][0]["input"]


def test_gemini(sim):
    ask = {"contents": [{"role": "user", "parts": [{"text": "good day"}]}]}
    path = "/v1beta/models/gemini-2.5-flash"
    got = sim.json("POST", path + ":generateContent", ask)
    assert got["candidates"][0]["content"]["parts"] == [{"text": words("good day", 8)}]
    assert got["candidates"][0]["finishReason"] == "STOP" and got["usageMetadata"]["totalTokenCount"] == 10
    assert got["modelVersion"] == "gemini-2.5-flash"
    array = sim.json("POST", path + ":streamGenerateContent", ask)
    events = [json.loads(d) for _, d in sse(sim.ask("POST", path + ":streamGenerateContent?alt=sse", ask)[2])]
    for chunks in (array, events):
        texts = [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks]
        assert len(texts) == 8 and "".join(texts) == words("good day", 8)
        assert [c["usageMetadata"]["candidatesTokenCount"] for c in chunks] == list(range(1, 9))
    assert sim.json("POST", path + ":countTokens", ask)["totalTokens"] == 2
    embed = {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 16}
    assert len(sim.json("POST", path + ":embedContent", embed)["embedding"]["values"]) == 16
    error = sim.json("POST", path + ":generateContent?fault=429:3", ask, status=429)["error"]
    assert error["status"] == "RESOURCE_EXHAUSTED" and error["details"][0]["retryDelay"] == "3s"
    assert sim.ask("POST", path + ":nope", ask)[0] == 404


def frames(data):
    """Event stream frames, their checksums checked: [(headers, payload)]"""
    out = []
    while data:
        total, head, crc = struct.unpack(">III", data[:12])
        assert crc == zlib.crc32(data[:8])
        assert struct.unpack(">I", data[total - 4:total])[0] == zlib.crc32(data[:total - 4])
        headers, at = {}, 12
        while at < 12 + head:
            n = data[at]
            name = data[at + 1:at + 1 + n].decode()
            kind, size = struct.unpack(">BH", data[at + 1 + n:at + 4 + n])
            assert kind == 7
            headers[name] = data[at + 4 + n:at + 4 + n + size].decode()
            at += 4 + n + size
        out.append((headers, json.loads(data[12 + head:total - 4])))
        data = data[total:]
    return out


def test_bedrock(sim):
    ask = {"messages": [{"role": "user", "content": [{"text": "good day"}]}], "inferenceConfig": {"maxTokens": 100}}
    path = "/model/anthropic.claude-v2%3A1"
    got = sim.json("POST", path + "/converse", ask)
    assert got["output"]["message"]["content"] == [{"text": words("good day", 8)}] and got["stopReason"] == "end_turn"
    assert got["usage"]["totalTokens"] == 10
    status, head, data = sim.ask("POST", path + "/converse-stream", ask)
    assert head["content-type"] == "application/vnd.amazon.eventstream"
    got = frames(data)
    assert all(h[":message-type"] == "event" for h, _ in got)
    assert [h[":event-type"] for h, _ in got] == ["messageStart"] + ["contentBlockDelta"] * 8 + [
        "contentBlockStop", "messageStop", "metadata"]
    assert "".join(p["delta"]["text"] for _, p in got[1:9]) == words("good day", 8)
    got = frames(sim.ask("POST", path + "/converse-stream?fault=error-event:2", ask)[2])
    assert len(got) == 3 and got[-1][0][":message-type"] == "exception"
    body = {**MESSAGES, "anthropic_version": "bedrock-2023-05-31"}
    assert sim.json("POST", path + "/invoke", body)["content"][0]["text"] == words("good day", 8)
    got = frames(sim.ask("POST", path + "/invoke-with-response-stream", body)[2])
    assert json.loads(base64.b64decode(got[-1][1]["bytes"])) == {"type": "message_stop"}
    titan = sim.json("POST", "/model/amazon.titan-embed-text-v2:0/invoke", {"inputText": "x", "dimensions": 256})
    assert len(titan["embedding"]) == 256
    status, head, data = sim.ask("POST", path + "/converse?fault=429", ask)
    assert (status, head["x-amzn-errortype"]) == (429, "ThrottlingException")


# ---- pace ----


def test_stream_is_paced(sim):
    with sim.socket() as s:
        s.sendall(get("/events?n=10&gap=30").encode())
        times, data = [], b""
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            times += [time.monotonic()] * piece.count(b"data: ")
            data += piece
    assert data.count(b"data: ") == 10
    assert 0.2 < times[-1] - times[0] < 5  # nine gaps of 30 ms, on a busy machine too
    assert len(set(times)) >= 3  # as they came, not in one piece


def test_delay_and_slow_head(sim):
    for path in ("/slow-head?ms=60", "/bytes/1?delay=60", "/bytes/1?fault=slow-head:60", "/events?n=1&delay=60"):
        start = time.monotonic()
        assert sim.ask("GET", path)[0] == 200
        assert time.monotonic() - start >= 0.055


def test_many_streams(another):
    sim = another()
    streams = [sim.socket() for _ in range(200)]
    for s in streams:
        s.sendall(get("/events?n=5&gap=10").encode())
    for s in streams:
        assert read_all(s).count(b"data: ") == 5
        s.close()
    stats = sim.stats()
    assert (stats["streams_done"], stats["streams_open"], stats["events"]) == (200, 0, 1000)


def test_client_leaves(another):
    sim = another("--gap", "10")
    with sim.socket() as s:
        s.sendall(get("/v1/models").encode())
        read_all(s)
    with sim.socket() as s:
        s.sendall(get("/events?n=1000").encode())
        data = b""
        while data.count(b"data: ") < 3:
            data += s.recv(65536)
    line = sim.wait_log(lambda l: l["path"] == "/events")
    assert line["aborted"] is True and 3 <= line["events"] < 1000 and line["connection"] == 2
    assert sim.log()[0]["aborted"] is False
    with sim.socket() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    assert sim.wait_log(lambda l: l["path"] == "/echo")["aborted"] is True
    stats = sim.stats()
    assert (stats["streams_aborted"], stats["streams_open"], stats["requests_aborted"]) == (1, 0, 2)
    sim.json("POST", "/sim/reset")
    stats = sim.stats()
    assert (stats["requests"], stats["streams_aborted"]) == (0, 0) and stats["connections_open"] >= 1


def test_hang(sim):
    with sim.socket() as s:
        s.sendall(get("/hang").encode())
        s.settimeout(0.1)
        with pytest.raises(TimeoutError):
            s.recv(1)
    assert sim.wait_log(lambda l: l["path"] == "/hang")["aborted"] is True
    with sim.socket() as s:  # a client that sends and half-closes in one go
        s.sendall(get("/hang?now").encode())
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b""
    with sim.socket() as s:
        s.sendall(get("/bytes/5", close=False).encode())
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).endswith(b"abcde")


# ---- faults ----


def fault(sim, spec, path="/events?n=5", close=True):
    return sim.raw(get(path, f"X-Sim-Fault: {spec}", close=close))


def test_fault_cut_and_stall(sim):
    raw = fault(sim, "cut:2", close=False)
    assert raw.count(b"data: ") == 2 and not raw.endswith(b"0\r\n\r\n")
    raw = fault(sim, "cut:10", "/bytes/100", close=False)
    assert raw.endswith(b"\r\n\r\nabcdefghij") and b"Content-Length: 100" in raw
    assert len(fault(sim, "cut:700000", "/bytes/1000000").split(b"\r\n\r\n", 1)[1]) == 700000
    for path, end in (("/events?n=5", b"}\n\n\r\n"), ("/bytes/100", b"\r\n\r\nab"), ("/bytes/1000000", b"\r\n\r\nab")):
        with sim.socket() as s:
            s.sendall(get(path, "X-Sim-Fault: stall:2").encode())
            s.settimeout(0.15)
            data = b""
            with pytest.raises(TimeoutError):
                while True:
                    piece = s.recv(65536)
                    assert piece
                    data += piece
        assert data.endswith(end)


def test_fault_resets(sim):
    for spec, got in (("rst", 0), ("rst-after:2", 2)):
        with sim.socket() as s:
            s.sendall(get("/events?n=5", f"X-Sim-Fault: {spec}").encode())
            data = b""
            with pytest.raises(ConnectionResetError):
                while True:
                    piece = s.recv(65536)
                    assert piece
                    data += piece
        assert data.count(b"data: ") == got


def test_fault_answers(sim):
    status, head, data = sim.ask("POST", "/v1/chat/completions?fault=429", CHAT)
    assert (status, head["retry-after"], json.loads(data)["error"]["code"]) == (429, "1", "rate_limit_exceeded")
    assert sim.ask("GET", "/bytes/1?fault=429:30")[1]["retry-after"] == "30"
    assert sim.json("POST", "/v1/chat/completions?fault=500", CHAT, status=500)["error"]["type"] == "server_error"
    assert sim.json("POST", "/v1/chat/completions?fault=529", CHAT, status=529)["error"]["type"] == "overloaded_error"
    assert sim.json("GET", "/bytes/1?fault=bogus", status=400)["error"]["code"] == "unknown_fault"


def test_fault_wire(sim):
    assert b"HTTP" not in fault(sim, "garbage")[:10] and fault(sim, "garbage")
    assert fault(sim, "close") == b""
    assert b"Content-Length: 110\r\n" in fault(sim, "bad-length", "/bytes/10", close=False)
    assert b"\r\nzz\r\n" in fault(sim, "bad-chunk") and b"\r\nzz\r\n" in fault(sim, "bad-chunk", "/bytes/10")
    assert len(fault(sim, "big-head", "/bytes/10").split(b"\r\n\r\n")[0]) > 64 * 1024
    assert b"Connection: close" in fault(sim, "no-keepalive", "/bytes/10", close=False)
    raw = fault(sim, "100", "/bytes/10")
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n") and b"\r\n\r\nHTTP/1.1 200 OK" in raw
    assert fault(sim, "dup-length", "/bytes/10").count(b"Content-Length") == 2
    with pytest.raises(ValueError):
        json.loads(sim.ask("GET", "/headers?fault=bad-json")[2])
    data = sim.ask("GET", "/events?n=5&fault=error-event:1")[2]
    assert [list(json.loads(d)) for _, d in sse(data)] == [["i", "t", "pad"], ["error"]]
    data = sse(sim.ask("GET", "/events?n=3&fault=bad-json")[2])
    assert len(data) == 3 and json.loads(data[0][1])
    with pytest.raises(ValueError):
        json.loads(data[1][1])


def test_fault_close_after(sim):
    with sim.socket() as s:
        s.sendall(get("/bytes/10", "X-Sim-Fault: close-after", close=False).encode())
        start = time.monotonic()
        raw = read_all(s)
        assert raw.endswith(b"abcdefghij") and b"\r\nConnection:" not in raw
        assert time.monotonic() - start >= 0.04


def test_fault_split(sim):
    with sim.socket() as s:
        s.sendall(get("/bytes/10", "X-Sim-Fault: split:20:2").encode())
        pieces = []
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            pieces.append(piece)
    whole = b"".join(pieces)
    assert whole.endswith(b"\r\n\r\nabcdefghij") and len(pieces) >= 3
    raw = sim.raw(get("/events?n=3", "X-Sim-Fault: split:7:0", close=False) + get("/bytes/3"))
    assert raw.count(b"data: ") == 3 and raw.endswith(b"abc")


def test_fault_fail_times(another):
    sim = another("--fault", "fail-times:2:503")
    assert [sim.ask("GET", "/bytes/1")[0] for _ in range(3)] == [503, 503, 200]
    assert [sim.ask("GET", "/bytes/2")[0] for _ in range(3)] == [503, 503, 200]
    assert sim.ask("GET", "/bytes/3?fault=none")[0] == 200
    sim.json("POST", "/sim/reset")
    assert sim.ask("GET", "/bytes/1")[0] == 503


# ---- TLS, workers, options ----


def tls_get(sim, ca, name, path="/headers"):
    context = ssl.create_default_context(cafile=str(ca / "ca.pem"))
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    with socket.create_connection(("127.0.0.1", int(sim.ports["tls"])), timeout=5) as s:
        with context.wrap_socket(s, server_hostname=name, suppress_ragged_eofs=False) as t:
            t.sendall(get(path).encode())
            return read_all(t)


def tls_options(ca, name):
    return "-s", "0", "--cert", str(ca / f"{name}.pem"), "--key", str(ca / f"{name}.key")


def test_tls(another, ca):
    sim = another(*tls_options(ca, "server"), "--gap", "1")
    for name in ("localhost", "api.openai.com", "api.anthropic.com", "a.example.com"):
        assert tls_get(sim, ca, name).startswith(b"HTTP/1.1 200 OK")
    assert [l["sni"] for l in sim.log()][1] == "api.openai.com" and sim.log()[0]["tls"] is True
    assert tls_get(sim, ca, "localhost", "/bytes/1000000").count(b"-\n") == 15625
    assert tls_get(sim, ca, "localhost", "/events?n=20").count(b"data: ") == 20
    assert tls_get(sim, ca, "localhost", "/events?n=20&fault=split:10:0").count(b"data: ") == 20
    with pytest.raises(ssl.SSLError, match="(?i)eof"):  # a cut sends no close_notify
        tls_get(sim, ca, "localhost", "/events?n=20&fault=cut:5")
    assert sim.stats()["tls_handshakes"] == 8


@pytest.mark.parametrize("name", ["expired", "wrongname", "selfsigned"])
def test_bad_certificates(another, ca, name):
    sim = another(*tls_options(ca, name))
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_get(sim, ca, "localhost")


def test_make_ca_keeps_what_is_there(ca):
    before = {p.name: p.stat().st_mtime_ns for p in ca.iterdir()}
    assert not [n for n in before if "tmp" in n]
    subprocess.run([str(ROOT / "test/llm-sim/make-ca.sh"), str(ca)], check=True)
    assert before == {p.name: p.stat().st_mtime_ns for p in ca.iterdir()}


def test_workers(another):
    sim = another("-w", "2")
    ids = set()
    for _ in range(64):
        ids.add(int(sim.ask("GET", "/headers")[1]["x-sim-connection"]) >> 32)
    assert ids == {0, 1}
    assert sim.stats()["requests"] == 64


@pytest.mark.parametrize("args,text", [
    ([], "nothing to listen on"),
    (["-p", "x"], "must be a number"),
    (["-s", "0"], "needs --cert"),
    (["-p", "0", "--fault", "nope"], "unknown fault 'nope'"),
    (["-p", "0", "-b", "nowhere"], "not an IPv4 address"),
    (["-s", "0", "--cert", "/none", "--key", "/none"], "cannot use the certificate"),
    (["-p", "0", "extra"], "unexpected argument"),
])
def test_option_errors(built, args, text):
    r = subprocess.run([str(BINARY), *args], capture_output=True, text=True, timeout=5)
    assert r.returncode != 0 and text in r.stderr and r.stdout == ""


def test_port_in_use(sim):
    r = subprocess.run([str(BINARY), "-p", str(sim.port)], capture_output=True, text=True, timeout=5)
    assert r.returncode == 1 and "cannot listen" in r.stderr
