"""What a request to a proxy means: the first rule that fits, and nothing that has two readings."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern import errors
from govern.access import forwarding
from govern.access.forwarding import Asked, Rules, Unclear
from govern.identity import integrations
from govern.principal import Kind, Principal, RoleHeld
from tests.factory import OPERATOR

if TYPE_CHECKING:
    from govern.db import Session
    from govern.identity.integrations import Integration
    from tests.factory import World

RULE = {
    "host": "data.example",
    "methods": ["GET", "HEAD"],
    "path": "/kingfisher/**",
    "action": "read",
    "resource": "project:Kingfisher",
}


def document(*rules: dict[str, Any], mode: str = "bound") -> str:
    return json.dumps({"mode": mode, "rules": [RULE | rule for rule in rules]})


RULES = Rules.model_validate_json(
    document(
        {"path": "/kingfisher/secret/**", "resource": "project:Vault"},
        {},
        {"methods": ["PUT"], "action": "annotate"},
        {"host": "store.example", "path": r"/(?P<bucket>[a-z0-9-]+)/v[0-9]+\.json",
         "resource": "dataset:{bucket}-{bucket}"},
        {"path": "/"},
        {"path": "/exact", "action": "look"},
        {"path": "/kurz/größe"},
    )
)  # fmt: skip


def means(uri: str, method: str = "GET", host: str = "data.example") -> str | None:
    try:
        found = forwarding.meaning(RULES, method=method, host=host, uri=uri)
    except Unclear:
        return "unclear"
    return f"{found.action} {found.kind}:{found.code}" if found else None


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/kingfisher/a", "read project:Kingfisher"),
        ("/kingfisher/", "read project:Kingfisher"),
        ("/kingfisher/a/b/?x=../../y&z=%2f%00", "read project:Kingfisher"),
        ("/kingfisher/%61%20b", "read project:Kingfisher"),
        ("/k%69ngfisher/a", "read project:Kingfisher"),
        ("/kingfisher/secret/a", "read project:Vault"),
        ("/kingfisher/%73ecret/a", "read project:Vault"),
        ("/kingfisher/secret", "read project:Kingfisher"),
        ("/kingfisher/...", "read project:Kingfisher"),
        ("/kurz/gr%C3%B6%C3%9Fe", "read project:Kingfisher"),
        ("/kurz/gr\xc3\xb6\xc3\x9fe", "read project:Kingfisher"),
        ("/", "read project:Kingfisher"),
        ("/?", "read project:Kingfisher"),
        ("/exact", "look project:Kingfisher"),
        ("/exact/", None),
        ("/exact/a", None),
        ("/Exact", None),
        ("/kingfisher", None),
        ("/other", None),
        # What has two readings has none.
        ("", "unclear"),
        ("kingfisher/a", "unclear"),
        ("http://data.example/kingfisher/a", "unclear"),
        ("//data.example/kingfisher/a", "unclear"),
        ("/kingfisher//a", "unclear"),
        ("/kingfisher/../exact", "unclear"),
        ("/kingfisher/./a", "unclear"),
        ("/kingfisher/..", "unclear"),
        ("/kingfisher/%2e%2E/exact", "unclear"),
        ("/kingfisher/.%2e/exact", "unclear"),
        ("/kingfisher/..;/exact", "unclear"),
        ("/kingfisher/..;a=b/exact", "unclear"),
        ("/kingfisher/;/exact", "unclear"),
        ("/kingfisher/a%2fsecret/b", "unclear"),
        ("/kingfisher%2Fa", "unclear"),
        ("/kingfisher/a%5c..%5cb", "unclear"),
        ("/kingfisher/a\\b", "unclear"),
        ("/kingfisher/a%00", "unclear"),
        ("/kingfisher/a%0d%0a", "unclear"),
        ("/kingfisher/a\t", "unclear"),
        ("/kingfisher/%252e%252e/exact", "unclear"),
        ("/kingfisher/100%25", "unclear"),
        ("/kingfisher/%", "unclear"),
        ("/kingfisher/%g0", "unclear"),
        ("/kingfisher/%u002e", "unclear"),
        ("/kingfisher/%ff", "unclear"),
        ("/kingfisher/%c0%ae%c0%ae/exact", "unclear"),
        ("/kingfisher/\xff", "unclear"),
        ("/kingfisher/ö", "unclear"),
        ("/kingfisher/\u20ac", "unclear"),
        ("/kingfisher/a#b", "unclear"),
        ("/kingfisher/" + "a" * 256, "unclear"),
        ("/kingfisher/" + "a/" * 2100, "unclear"),
    ],
)  # fmt: skip
def test_a_path_is_read_as_whoever_stands_behind_could_read_it(
    uri: str, expected: str | None
) -> None:
    assert means(uri) == expected


@pytest.mark.parametrize(
    ("method", "host", "expected"),
    [
        ("HEAD", "data.example", "read project:Kingfisher"),
        ("PUT", "data.example", "annotate project:Kingfisher"),
        ("DELETE", "data.example", None),
        ("get", "data.example", "unclear"),
        ("", "data.example", "unclear"),
        ("GET\0", "data.example", "unclear"),
        ("GET", "DATA.example", "read project:Kingfisher"),
        ("GET", "data.example.", "read project:Kingfisher"),
        ("GET", "data.example:8443", "read project:Kingfisher"),
        ("GET", "data.example:x", None),
        ("GET", "data.example,evil.example", None),
        ("GET", "evil.example", None),
        ("GET", "sub.data.example", None),
        ("GET", "data.example@evil.example", None),
        ("GET", "[::1]:80", None),
        ("GET", "", None),
    ],
)
def test_method_and_host_are_part_of_the_rule(method: str, host: str, expected: str | None) -> None:
    assert means("/kingfisher/a", method, host) == expected


def test_a_named_group_of_the_path_names_the_resource() -> None:
    found = forwarding.meaning(RULES, method="GET", host="store.example", uri="/audio-1/v12.json")
    assert found == Asked(action="read", kind="dataset", code="audio-1-audio-1")
    for uri in ("/audio-1/v12xjson", "/Audio/v1.json", "/audio-1/v.json", "/audio-1/x/v1.json"):
        assert means(uri, host="store.example") is None


@given(st.text(st.characters(max_codepoint=255)))
def test_no_text_of_a_path_breaks_the_reading(text: str) -> None:
    assert means("/" + text) in {None, "unclear", "read project:Kingfisher",
                                 "look project:Kingfisher", "read project:Vault"}  # fmt: skip


def test_no_accepted_pattern_is_slow_for_any_path() -> None:
    slow = Rules.model_validate_json(document({"path": "/[a-z]*[a-z]*!"}))
    began = time.monotonic()
    for _ in range(20):
        forwarding.meaning(slow, method="GET", host="data.example", uri="/" + "a" * 255)
    assert time.monotonic() - began < 2


# --- setting -----------------------------------------------------------------------------------


def set_rules(world: World, row: Integration, text: str, by: Principal = OPERATOR) -> Rules:
    def work(session: Session) -> Rules:
        return forwarding.set_rules(session, integrations.find(session, row.id), text, by=by)

    made: Rules = world.do(work)
    return made


def test_rules_are_kept_whole_replaced_whole_and_on_record(world: World) -> None:
    client = world.client()
    world.project("Kingfisher", client=client)
    row, _ = world.integration(clients=[client.id])
    with world.store.reading() as session:
        assert forwarding.rules_of(session, row.id) is None
    for text in (document({}, {"methods": ["PUT"]}), document({"path": "/"}, mode="forwarded")):
        rules = set_rules(world, row, text)
        with world.store.reading() as session:
            assert forwarding.rules_of(session, row.id) == rules
    for log in ("house", client.id):
        found = world.entries(log, "integration.rules_set")
        assert [leaf["data"]["rules"] for leaf in found] == [2, 1]
        assert "data.example" not in str(found)
    with pytest.raises(errors.Forbidden):
        set_rules(world, row, text, Principal(kind=Kind.INTEGRATION, id="x",
                                              roles=(RoleHeld("api"),)))  # fmt: skip


def test_rules_that_cannot_be_meant_are_refused_by_their_place(world: World) -> None:
    world.project("Kingfisher")
    row, _ = world.integration()
    for field, text in (
        ("rules", "["),
        ("rules", "[]"),
        ("rules", json.dumps({"mode": "bound", "rules": []})),
        ("mode", document({}, mode="guess")),
        ("rules.0.extra", document({"extra": 1})),
        ("rules.0.methods", document({"methods": []})),
        ("rules.0.methods", document({"methods": ["get"]})),
        ("rules.0.methods", document({"methods": ["*"]})),
        ("rules.0.host", document({"host": "DATA.example"})),
        ("rules.0.host", document({"host": "data.example:80"})),
        ("rules.0.host", document({"host": "*.example"})),
        ("rules.0.host", document({"host": ""})),
        ("rules.0.action", document({"action": "Read all"})),
        ("rules.1.resource", document({}, {"resource": "project:Nowhere"})),
        ("rules.0.resource", document({"resource": "client:ASTER"})),
        ("rules.0.resource", document({"resource": "project:"})),
        ("rules.0.resource", document({"resource": "dataset:{bucket}"})),
        *(
            ("rules.0.path", document({"path": path}))
            for path in (
                "kingfisher", "/**/a", "/(a", "/a)", "/[a", "/a**", "/(a+)+", "/(?:a|a)*",
                "/a*b*c*", "/a*?", "/a++", "/+", "/(?=a)", "/(?i)a", "/(?P<a>.)(?P<a>.)",
                "/(?P<a>.)/(?P<a>.)", r"/(?P<a>.)\1", r"/\Z", "/a$", "/^a", "/[^/]+", "/{",
                "/a{1000}", "/x\u0000",
            )
        ),
    ):  # fmt: skip
        with pytest.raises(errors.Invalid) as refusal:
            set_rules(world, row, text)
        assert (refusal.value.field or "").startswith(field), (text, refusal.value.field)
    without, _ = world.integration("without", scopes=("introspect",))
    with pytest.raises(errors.Invalid):
        set_rules(world, without, document({}))
