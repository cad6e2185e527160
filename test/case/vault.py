# SPDX-License-Identifier: Apache-2.0
"""Secret managers for cases: Vault's KV engine, AWS Secrets Manager and GCP Secret Manager, as far as they are asked."""
import base64
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "S3CRET-token-of-vault"
AWS = {"access_key_id": "AKIDOFTHECASES", "secret_access_key": "S3CRET-of-aws"}


def unpad64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self, body):
        manager = self.server.manager
        with manager.changed:
            manager.asked.append((self.command, self.path, dict(self.headers), body))
            manager.changed.notify_all()
        if manager.gate is not None:
            manager.gate.wait(20)
        if manager.status != 200:
            self.answer(manager.status, {"errors": ["S3CRET in an error"]})
        else:
            self.answer(*manager.reply(self.command, self.path, self.headers, body))

    def do_GET(self):
        self.handle_one(b"")

    def do_POST(self):
        self.handle_one(self.rfile.read(int(self.headers.get("Content-Length", 0))))


class Manager:
    """One server; `secrets` maps what is asked for to a JSON object."""

    def __init__(self, reply):
        self.secrets, self.asked, self.status, self.gate = {}, [], 200, None
        self.changed = threading.Condition()
        self.how = reply
        self.server, self.port = None, 0
        self.start()

    def start(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.server.manager = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def reply(self, *request):
        return self.how(self, *request)

    def wait_asked(self, count, seconds=10):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, seconds), self.asked


def vault(manager, method, path, headers, _):
    if headers.get("X-Vault-Token") != TOKEN or method != "GET":
        return 403, {"errors": ["permission denied"]}
    path = path.removeprefix("/v1/")
    if path not in manager.secrets:
        return 404, {"errors": []}
    data = manager.secrets[path]
    if path.startswith("kv2/data/"):
        data = {"data": data, "metadata": {"version": 3, "destroyed": False}}
    return 200, {"request_id": "1", "data": data, "lease_duration": 60}


def aws(manager, method, path, headers, body):
    signed = headers.get("Authorization", "")
    if method != "POST" or path != "/" or headers.get("X-Amz-Target") != "secretsmanager.GetSecretValue" or \
            not signed.startswith(f"AWS4-HMAC-SHA256 Credential={AWS['access_key_id']}/") or \
            "/eu-west-1/secretsmanager/aws4_request" not in signed:
        return 400, {"__type": "InvalidSignatureException"}
    asked = json.loads(body)
    if asked["VersionStage"] != "AWSCURRENT" or asked["SecretId"] not in manager.secrets:
        return 400, {"__type": "ResourceNotFoundException"}
    return 200, {"SecretString": json.dumps(manager.secrets[asked["SecretId"]])}


def gcp(public_key):
    def verified(jwt, folder):
        head, claims, signature = jwt.split(".")
        files = {"text": f"{head}.{claims}".encode(), "signature": unpad64(signature)}
        for name, data in files.items():
            with open(f"{folder}/{name}", "wb") as f:
                f.write(data)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public_key, "-signature", f"{folder}/signature",
                               f"{folder}/text"], capture_output=True, check=False)
        return done.returncode == 0 and json.loads(unpad64(head))["alg"] == "RS256" and json.loads(unpad64(claims))

    def reply(manager, method, path, headers, body):
        if path == "/token":
            form = dict(pair.split("=", 1) for pair in body.decode().split("&"))
            claims = verified(form["assertion"], manager.folder)
            good = claims and claims["iss"] == "gateway@cases" and claims["aud"] == f"{manager.uri}/token"
            return (200, {"access_token": "S3CRET-of-gcp", "expires_in": 3600}) if good else (401, {})
        if method != "GET" or headers.get("Authorization") != "Bearer S3CRET-of-gcp":
            return 401, {}
        name = path.removeprefix("/v1/projects/p/secrets/").removesuffix("/versions/latest:access")
        if name not in manager.secrets:
            return 404, {}
        return 200, {"payload": {"data": base64.b64encode(json.dumps(manager.secrets[name]).encode()).decode()}}
    return reply
