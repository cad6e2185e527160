# SPDX-License-Identifier: Apache-2.0
"""uri-blocker: patterns over path and query."""
import pytest

pytestmark = [pytest.mark.asan]


@pytest.mark.quick
@pytest.mark.parametrize("rules, target, blocked", [
    (["aa"], "/x?aa=1", True),
    (["aa"], "/x?a=1&b=2", False),
    (["^a", "/bin/sh$"], "/a/bin/sh", True),
    (["select.+(from|limit)", "(?:(union(.*?)select))"], "/x?name=%3Bselect%20from%20sys", True),
    (["select.+(from|limit)"], "/x?name=SELECT%20FROM", False),
    (["root\\.exe"], "/%72oot.exe", True),
    (["/\\.\\."], "/a/../b", False),
    ([], "/anything", False),
])
def test_rules(bench, rules, target, blocked):
    r = bench.get(bench.route({"uri-blocker": {"block_rules": rules}}) + target)
    assert r.status == (403 if blocked else 200)
    assert not blocked or b"403 Forbidden" in r.body, "the standard page"


@pytest.mark.quick
def test_status_message_and_case(bench):
    base = bench.route({"uri-blocker": {"block_rules": ["one", "two"], "case_insensitive": True, "rejected_code": 401, "rejected_msg": "no"}})
    for target, status in (("/ONE", 401), ("/x?Two", 401), ("/three", 200)):
        r = bench.get(base + target)
        assert r.status == status
        assert status == 200 or r.text == '{"error_msg":"no"}\n'


def test_a_pattern_that_would_cost_too_much(bench):
    base = bench.route({"uri-blocker": {"block_rules": ["/(a+)+$"]}})
    assert bench.get(base + "/" + "a" * 3000 + "b").status == 403, "undecided, so refused"


@pytest.mark.quick
@pytest.mark.parametrize("conf, why", [
    ({}, 'property "block_rules" is required'),
    ({"block_rules": ["a", "a"]}, 'property "block_rules" validation failed: expected unique items but items 1 and 2 are equal'),
    ({"block_rules": ["("]}, None),
    ({"block_rules": ["a"], "rejected_code": 199}, 'property "rejected_code" validation failed: expected 199 to be at least 200'),
])
def test_refused_configurations(bench, conf, why):
    said = bench.refusal("uri-blocker", conf)
    assert said == why if why else "compile() failed: missing" in said
