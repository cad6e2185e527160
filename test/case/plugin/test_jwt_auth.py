# SPDX-License-Identifier: Apache-2.0
"""jwt-auth: every algorithm, where tokens are looked for, their times, and tokens that lie."""
import base64
import hmac
import json
import subprocess
import time

import pytest

pytestmark = [pytest.mark.asan]
SECRET = "secret-of-jack-0123456789"


def b64(data):
    data = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(payload=None, secret=SECRET, digest="sha256", **header):
    """Signed with HMAC."""
    payload = {"key": "jack"} if payload is None else payload
    said = f"{b64({'typ': 'JWT', 'alg': 'HS256', **header})}.{b64(payload)}"
    secret = secret.encode() if isinstance(secret, str) else secret
    return f"{said}.{b64(hmac.new(secret, said.encode(), digest).digest())}"


@pytest.fixture
def users(bench):
    bench.gw.put("consumers", {"username": "jack", "plugins": {"jwt-auth": {"key": "jack", "secret": SECRET}}})
    bench.gw.put("consumers", {"username": "nobody"})
    return bench


def refused(r, why):
    return (r.status, r.json, r.headers.all("WWW-Authenticate")) == (401, {"message": why}, ['Bearer realm="jwt"'])


@pytest.mark.quick
def test_header_query_cookie(users):
    base = users.route({"jwt-auth": {}})
    for target, headers in (("/a", {"Authorization": token()}), ("/a", {"Authorization": "Bearer " + token()}),
                            ("/a", {"authorization": "bearer " + token()}), ("/a?x=1&jwt=" + token(), {}),
                            ("/a", {"Cookie": f"a=b; jwt={token()}; c=d"})):
        assert users.get(base + target, {**headers, "X-Consumer-Username": "root"}).status == 200
        seen = users.up.requests[-1]
        assert seen.headers.all("X-Consumer-Username") == ["jack"] and seen.target == base + target
        assert all(seen.headers.get(k) == v for k, v in headers.items()), "not hidden"
    base = users.route({"jwt-auth": {"header": "X-Token", "query": "t", "cookie": "c", "key_claim_name": "iss", "realm": "r"}})
    mine = token({"iss": "jack"})
    for target, headers in (("/a", {"X-Token": mine}), ("/a?t=" + mine, {}), ("/a", {"Cookie": "c=" + mine})):
        assert users.get(base + target, headers).status == 200
    r = users.get(base + "/a", {"Authorization": mine})
    assert r.status == 401 and r.headers.get("WWW-Authenticate") == 'Bearer realm="r"'


@pytest.mark.quick
def test_hide_credentials(users):
    base = users.route({"jwt-auth": {"hide_credentials": True}})
    for target, headers, left, cookies in (("/a", {"Authorization": "Bearer " + token()}, "/a", []), ("/a?x=1&jwt=" + token(), {}, "/a?x=1", []),
                                           ("/a", {"Cookie": f"a=b;jwt={token()}; c=d%20e"}, "/a", ["a=b; c=d%20e"]),
                                           ("/a", {"Cookie": "jwt=" + token()}, "/a", [])):
        assert users.get(base + target, headers).status == 200
        seen = users.up.requests[-1]
        assert (seen.target, seen.headers.all("Cookie")) == (base + left, cookies) and "Authorization" not in seen.headers


@pytest.mark.quick
@pytest.mark.parametrize("bad, why", [
    (None, "Missing JWT token in request"),
    ("", "JWT token invalid"),
    ("Basic Zm9vOmJhcg==", "JWT token invalid"),
    ("a.b", "JWT token invalid"),
    ("a.b.c", "JWT token invalid"),
    (token() + ".x", "JWT token invalid"),
    (token() + "=", "JWT token invalid"),
    (token({"key": "jack"}, crit=["b64"], b64=False), "JWT token invalid"),
    (f"{b64(b'[]')}.{b64({})}.x", "JWT token invalid"),
    (f"{b64({'alg': 'HS256'})}.{b64(b'{')}.x", "JWT token invalid"),
    (f"{b64({'alg': 'HS256'})}.{b64(b'{' + b'[' * 5000)}.x", "JWT token invalid"),
    (token({}), "missing user key in JWT token"),
    (token({"key": "jill"}), "Invalid user key in JWT token"),
    (token({"key": 1}), "Invalid user key in JWT token"),
    (token({"key": None}), "Invalid user key in JWT token"),
    (token({"key": ["jack"]}), "Invalid user key in JWT token"),
    (token(secret="other"), "failed to verify jwt"),
    (token(alg="HS384"), "failed to verify jwt"),
    (token(alg="HS384", digest="sha384"), "failed to verify jwt"),
    (token(alg="hs256"), "failed to verify jwt"),
    (token(alg=["HS256"]), "failed to verify jwt"),
    (f"{b64({'alg': 'none'})}.{b64({'key': 'jack'})}.", "failed to verify jwt"),
    (f"{b64({})}.{b64({'key': 'jack'})}.", "failed to verify jwt"),
    (token()[:-1], "failed to verify jwt"),
    (".".join(token().split(".")[:2]) + ".", "failed to verify jwt"),
    (token({"key": "jack", "role": "user"}).split(".")[0] + "." + b64({"key": "jack", "role": "admin"}) + "." +
     token({"key": "jack", "role": "user"}).split(".")[2], "failed to verify jwt"),
])
def test_refusals(users, bad, why):
    r = users.get(users.route({"jwt-auth": {}}) + "/a", {} if bad is None else {"Authorization": bad})
    assert refused(r, why), r
    assert users.up.requests == [] and SECRET not in users.gw.log


def test_repeated_members_and_two_tokens(users):
    payload = b64(b'{"key": "jill", "key": "jack"}')
    said = f"{b64({'alg': 'HS256'})}.{payload}"
    twice = f"{said}.{b64(hmac.new(SECRET.encode(), said.encode(), 'sha256').digest())}"
    base = users.route({"jwt-auth": {}})
    assert refused(users.get(base + "/a", {"Authorization": twice}), "JWT token invalid")
    assert refused(users.get(f"{base}/a?jwt={token()}&jwt={token()}"), "JWT token invalid")
    assert refused(users.get(base + "/a", [("Authorization", token()), ("Authorization", "other")]), "JWT token invalid")


@pytest.mark.quick
@pytest.mark.parametrize("conf, grace, claims, good", [
    ({}, 0, {"exp": 60}, True), ({}, 0, {"exp": -60}, False), ({}, 90, {"exp": -60}, True),
    ({}, 0, {"nbf": -60}, True), ({}, 0, {"nbf": 60}, False), ({}, 90, {"nbf": 60}, True),
    ({}, 0, {}, True), ({"claims_to_verify": []}, 0, {"exp": -60}, False),
    ({"claims_to_verify": ["exp"]}, 0, {}, False), ({"claims_to_verify": ["exp"]}, 0, {"exp": 60, "nbf": 60}, True),
    ({"claims_to_verify": ["exp", "nbf"]}, 0, {"exp": 60, "nbf": 60}, False),
    ({"claims_to_verify": ["nbf"]}, 0, {"nbf": -60, "exp": -60}, True),
])
def test_times(bench, conf, grace, claims, good):
    bench.gw.put("consumers", {"username": "tim", "plugins": {"jwt-auth": {"key": "tim", "secret": SECRET, "lifetime_grace_period": grace}}})
    now = int(time.time())
    mine = token({"key": "tim", **{k: now + v for k, v in claims.items()}})
    r = bench.get(bench.route({"jwt-auth": conf}) + "/a", {"Authorization": mine})
    assert r.status == 200 if good else refused(r, "failed to verify jwt")


@pytest.mark.parametrize("exp", ["4102444800", None, True, []])
def test_times_that_are_no_numbers(users, exp):
    r = users.get(users.route({"jwt-auth": {}}) + "/a", {"Authorization": token({"key": "jack", "exp": exp})})
    assert refused(r, "failed to verify jwt")


# Node's own crypto makes the keys and signs: what we verify we have not signed.
SIGN = r"""
const c = require('crypto'), out = {};
const b = (x) => Buffer.from(JSON.stringify(x)).toString('base64url');
const rsa = c.generateKeyPairSync('rsa', {modulusLength: 2048});
const kinds = {};
for (const n of ['256', '384', '512']) {
  kinds['RS' + n] = [rsa, 'sha' + n, {}];
  kinds['PS' + n] = [rsa, 'sha' + n, {padding: c.constants.RSA_PKCS1_PSS_PADDING, saltLength: c.constants.RSA_PSS_SALTLEN_DIGEST}];
  const curve = {256: 'P-256', 384: 'P-384', 512: 'P-521'}[n];
  kinds['ES' + n] = [c.generateKeyPairSync('ec', {namedCurve: curve}), 'sha' + n, {dsaEncoding: 'ieee-p1363'}];
}
kinds.EdDSA = [c.generateKeyPairSync('ed25519'), null, {}];
for (const [alg, [pair, digest, options]] of Object.entries(kinds)) {
  const said = b({typ: 'JWT', alg}) + '.' + b({key: 'of-' + alg});
  const signature = c.sign(digest, Buffer.from(said), {key: pair.privateKey, ...options});
  out[alg] = {public: pair.publicKey.export({type: 'spki', format: 'pem'}), token: said + '.' + signature.toString('base64url')};
}
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def signed():
    return json.loads(subprocess.run(["node", "-e", SIGN], check=True, capture_output=True, timeout=20).stdout)


def test_public_keys(bench, signed):
    base = bench.route({"jwt-auth": {}})
    for alg, one in signed.items():
        bench.gw.put("consumers", {"username": "user" + alg, "plugins": {"jwt-auth": {
            "key": "of-" + alg, "algorithm": alg, "public_key": one["public"]}}})
    assert len(signed) == 10
    for alg, one in signed.items():
        assert bench.get(base + "/a", {"Authorization": one["token"]}).status == 200, alg
        assert bench.up.requests[-1].headers.get("X-Consumer-Username") == "user" + alg
        head, payload, signature = one["token"].split(".")
        for forged in (f"{head}.{payload}.{signature[:-6]}{'A' * 6 if signature[-6:] != 'A' * 6 else 'B' * 6}", f"{head}.{payload}.",
                       f"{head}.{b64({'key': 'of-' + alg, 'more': 1})}.{signature}", f"{head}.{payload}.{signature}AAAA",
                       # The public key is no secret: who has it must not be able to sign with it.
                       token({"key": "of-" + alg}, secret=one["public"]), token({"key": "of-" + alg}, secret=one["public"], alg=alg)):
            assert refused(bench.get(base + "/a", {"Authorization": forged}), "failed to verify jwt"), (alg, forged)


@pytest.mark.quick
def test_hmac(bench):
    base = bench.route({"jwt-auth": {}})
    for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        bench.gw.put("consumers", {"username": "hmac", "plugins": {"jwt-auth": {"key": "hmac", "algorithm": alg, "base64_secret": True,
                                                                              "secret": base64.b64encode(b"\0\xff secret").decode()}}})
        mine = token({"key": "hmac"}, b"\0\xff secret", digest, alg=alg)
        assert bench.get(base + "/a", {"Authorization": mine}).status == 200, alg


def test_anonymous_consumer(users):
    base = users.route({"jwt-auth": {"anonymous_consumer": "nobody", "hide_credentials": True}})
    for headers in ({}, {"Authorization": token(secret="other")}):
        assert users.get(base + "/a", headers).status == 200
        seen = users.up.requests[-1]
        assert seen.headers.all("X-Consumer-Username") == ["nobody"] and "Authorization" not in seen.headers
    assert refused(users.get(users.route({"jwt-auth": {"anonymous_consumer": "gone"}}) + "/a"), "Invalid user authorization")


def test_a_reference_is_no_secret(bench):
    bench.gw.put("consumers", {"username": "ref", "plugins": {"jwt-auth": {"key": "ref", "secret": "$env://NOT_THERE_AT_ALL"}}})
    forged = token({"key": "ref"}, "$env://NOT_THERE_AT_ALL")
    assert bench.get(bench.route({"jwt-auth": {}}) + "/a", {"Authorization": forged}).status == 401


@pytest.mark.quick
@pytest.mark.parametrize("conf, why", [
    ({}, 'property "key" is required'),
    ({"key": "k"}, 'property "secret" is required when using HS based algorithms'),
    ({"key": "k", "algorithm": "none", "secret": "s"}, 'property "algorithm" validation failed: matches none of the enum values'),
    ({"key": "k", "secret": "a b", "base64_secret": True}, "base64_secret required but the secret is not in base64 format"),
    ({"key": "k", "algorithm": "RS256"},
     'failed to validate dependent schema for "algorithm": value should match only one schema, but matches none'),
    ({"key": "k", "algorithm": "RS256", "public_key": "PEM"}, "missing valid public key: it is no public key in PEM"),
])
def test_refused_consumers(bench, conf, why):
    assert bench.refusal("jwt-auth", conf, consumer=True) == why


def test_a_key_of_another_kind(bench, signed):
    why = "missing valid public key: its type is not the algorithm's"
    for alg, of in (("RS256", "ES256"), ("ES256", "ES384"), ("ES256", "EdDSA"), ("EdDSA", "RS256"), ("PS256", "ES256")):
        conf = {"key": "k", "algorithm": alg, "public_key": signed[of]["public"]}
        assert bench.refusal("jwt-auth", conf, consumer=True) == why
