# SPDX-License-Identifier: Apache-2.0
"""ua-restriction: lists of patterns for the User-Agent."""
import pytest

pytestmark = [pytest.mark.asan]
REFUSED = (403, {"message": "Not allowed"})


def ask(bench, conf, *agents):
    r = bench.get(bench.route({"ua-restriction": conf}) + "/a", [("User-Agent", a) for a in agents])
    return (200, None) if r.status == 200 else (r.status, r.json)


@pytest.mark.quick
@pytest.mark.parametrize("conf, agents, passes", [
    ({"allowlist": ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"]}, ["YisouSpider my-bot1 x"], True),
    ({"allowlist": ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"]}, ["Baiduspider/3.0"], True),
    ({"allowlist": ["my-bot1", "(Baiduspider)/(\\d+)\\.(\\d+)"]}, ["Baiduspider/3"], False),
    ({"allowlist": ["^curl"]}, ["libcurl"], False),
    ({"allowlist": ["^curl"]}, ["firefox", "curl/8"], True),
    ({"denylist": ["my-bot2", "^$"]}, ["foo my-bot2"], False),
    ({"denylist": ["my-bot2"]}, ["MY-BOT2"], True),
    ({"denylist": ["(?i)my-bot2"]}, ["MY-BOT2"], False),
    ({"denylist": ["my-bot2"]}, ["firefox", "my-bot2"], False),
    ({"denylist": ["my-bot2", "^$"]}, [""], False),
    ({"allowlist": ["a"]}, [], False),
    ({"denylist": ["a"]}, [], False),
    ({"denylist": ["a"], "bypass_missing": True}, [], True),
    ({"allowlist": ["a"], "bypass_missing": True}, [], True),
])
def test_lists(bench, conf, agents, passes):
    assert ask(bench, conf, *agents) == ((200, None) if passes else REFUSED)


def test_message(bench):
    assert ask(bench, {"denylist": ["x"], "message": "No bots"}, "x") == (403, {"message": "No bots"})


def test_a_pattern_that_would_cost_too_much(bench):
    agent = "a" * 5000 + "b"
    assert ask(bench, {"denylist": ["^(a+)+$"]}, agent) == REFUSED, "undecided, so refused"
    assert ask(bench, {"allowlist": ["^(a+)+$"]}, agent) == REFUSED


@pytest.mark.quick
@pytest.mark.parametrize("conf, why", [
    ({}, 'value should match only one schema, but matches none'),
    ({"allowlist": ["a"], "denylist": ["b"]}, 'value should match only one schema, but matches both schemas 1 and 2'),
    ({"allowlist": [""]}, 'property "allowlist" validation failed: failed to validate item 1: string too short, expected at least 1, got 0'),
    ({"denylist": ["(a"]}, None),
])
def test_refused_configurations(bench, conf, why):
    said = bench.refusal("ua-restriction", conf)
    assert said == why if why else "compile() failed: missing" in said
