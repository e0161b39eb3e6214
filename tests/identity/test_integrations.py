"""Integrations: a name, a secret shown once, and no more than their scopes and limits."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import select, text

from govern import clock, errors, permissions
from govern.access import evaluation
from govern.access.evaluation import Question
from govern.identity import integrations
from govern.identity.integrations import Integration, IntegrationSecret, Registration
from govern.principal import Kind, Principal
from tests.factory import OPERATOR, World, person

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Database, Session

HOUSE = "house"


def known(world: World, row: Integration, secret: str) -> Principal:
    with world.store.reading() as session:
        return integrations.authenticate(session, row.id, secret)


def opens(world: World, row: Integration, secret: str) -> bool:
    with world.store.reading() as session:
        found = integrations.find_active(session, row.id)
        told = found is not None and integrations.check_secret(session, found, secret)
    try:
        known(world, row, secret)
    except errors.Unauthenticated:
        assert not told
        return False
    assert told
    return True


def do(world: World, act: Callable[..., Any], row: Integration, *more: Any, **named: Any) -> Any:
    def work(session: Session) -> Any:
        found = integrations.find(session, row.id)
        return act(session, found, *more, **{"by": OPERATOR} | named)

    return world.do(work)


def test_the_secret_is_shown_once_and_opens_what_the_scope_says(world: World) -> None:
    client = world.client()
    row, secret = world.integration(clients=[client.id])
    by = known(world, row, secret)
    with world.store.reading() as session:
        assert secret not in str(session.execute(select(IntegrationSecret.hash)).all())
    assert (by.kind, by.id, by.projects) == (Kind.INTEGRATION, row.id, None)
    assert permissions.scope(by, "decision:ask") == {client.id}
    assert permissions.scope(by, "suspension:open") == frozenset()
    assert len(world.entries(client.id, "integration.created")) == 1


def test_wrong_unknown_and_empty_credentials_are_told_alike(world: World) -> None:
    row, secret = world.integration()
    said = set()
    with world.store.reading() as session:
        for client_id, given in (
            (row.id, secret + "x"), (row.id, ""), ("int_none", secret), ("", ""), ("int_none", ""),
            ("int\0", secret), (row.id, "\0"), (row.id, "\udcff"),
        ):  # fmt: skip
            with pytest.raises(errors.Unauthenticated) as refusal:
                integrations.authenticate(session, client_id, given)
            said.add(refusal.value.message)
        assert integrations.find_active(session, "int\0") is None
    assert len(said) == 1


def test_each_scope_is_a_role_and_several_add_up(world: World) -> None:
    for scope in integrations.SCOPES:
        assert scope in permissions.ROLES
    row, secret = world.integration(scopes=("api", "introspect"))
    by = known(world, row, secret)
    assert row.scope == "introspect api"
    for permission in ("token:introspect", "grant:issue"):
        assert permissions.scope(by, permission) is None
    with pytest.raises(errors.Forbidden):
        world.integration("another", by=by)


def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(world: World) -> None:
    world.integration()
    project = world.project()
    projects = {project.id: project.client_id}
    for field, wrong in (
        ("name", {"name": "tool"}),
        ("name", {"name": " "}),
        ("scope", {"scopes": ()}),
        ("scope", {"scopes": ("everything",)}),
        ("scope", {"scopes": ("decision", "admin")}),
        ("project", {"scopes": ("decision", "api"), "projects": projects}),
        ("redirect_uri", {"registration": Registration(redirect_uris=["http://label.example/x"])}),
    ):
        with pytest.raises((errors.Invalid, errors.AlreadyExists)) as refusal:
            world.integration(**{"name": "other"} | wrong)
        assert refusal.value.field == field


def test_only_who_is_admin_of_everything_may_act_and_a_scoped_one_sees_their_own(
    world: World,
) -> None:
    mine, other = world.client("MINE"), world.client("OTHER")
    row, _ = world.integration(clients=[mine.id])
    both, _ = world.integration("both", clients=[mine.id, other.id])
    everything, _ = world.integration("everything")
    limited = person(world.staff(client=mine), client=mine.id)
    for act in (integrations.suspend, integrations.revoke, integrations.rotate):
        with pytest.raises(errors.Forbidden):
            do(world, act, row, by=limited)
    with pytest.raises(errors.Forbidden):
        world.integration("new", by=limited)
    with world.store.reading() as session:
        seen, after = integrations.listing(session, by=limited)
        assert [shown.integration.id for shown in seen] == [row.id]
        assert after is None
        for hidden in (both, everything):
            with pytest.raises(errors.Unknown):
                integrations.shown(session, hidden.id, by=limited)
        page, after = integrations.listing(session, limit=2, by=OPERATOR)
        assert [shown.integration.name for shown in page] == ["both", "everything"]
        assert {limit.target_id for limit in page[0].limits} == {mine.id, other.id}
        rest, end = integrations.listing(session, limit=2, after=after or "", by=OPERATOR)
        assert ([shown.integration.name for shown in rest], end) == (["tool"], None)
        with pytest.raises(errors.Forbidden):
            integrations.listing(session, by=Principal(kind=Kind.SUBJECT, id="sub_x"))


# --- limits ------------------------------------------------------------------------------------


def test_outside_its_projects_and_clients_everything_is_as_if_it_were_not(world: World) -> None:
    one, two, three = (world.client(code) for code in ("ONE", "TWO", "THREE"))
    wide = world.project("Wide", client=one)
    inside, beside = (world.project(code, client=two) for code in ("Inside", "Beside"))
    far = world.project("Far", client=three)
    data = {project.id: world.dataset(project, f"{project.code}-data")
            for project in (wide, inside, beside, far)}  # fmt: skip
    ada = world.subject("ada")
    for project in (wide, inside, beside, far):
        world.grant(ada, project)
    row, secret = world.integration(clients=[one.id], projects={inside.id: two.id})
    by = known(world, row, secret)
    with world.store.reading() as session:
        found = integrations.find_active(session, row.id)
        assert found is not None
        assert integrations.principal_of(session, found) == by

    def ask(kind: str, code: str, who: str = "ada") -> evaluation.Decision:
        question = Question(subject=who, action="read", kind=kind, code=code)
        return evaluation.decide(world.store, question, by=by)

    for project in (wide, inside):
        assert ask("project", project.code).permit
        assert ask("dataset", data[project.id].code).permit
    nothing = ask("project", "Nowhere")
    for hidden in (
        ask("project", "Beside"), ask("dataset", "Beside-data"), ask("project", "Far"),
        ask("dataset", "Far-data"), ask("project", "Beside", who="nobody"),
    ):  # fmt: skip
        assert not hidden.permit
        assert hidden.id != nothing.id
        assert (hidden.reason, hidden.as_of, hidden.client_id, hidden.project_id) == (
            nothing.reason, nothing.as_of, None, None,
        )  # fmt: skip
    assert ask("project", "Inside", who="nobody").reason == "no_grant"


def test_each_client_reads_of_the_acts_and_nothing_of_the_others(world: World) -> None:
    one, two = world.client("ONE"), world.client("TWO")
    project = world.project("Inside", client=two)
    row, _ = world.integration(clients=[one.id], projects={project.id: two.id})
    do(world, integrations.rotate, row)
    do(world, integrations.change, row, Registration(resources=["https://label.example/api"]))
    do(world, integrations.suspend, row)
    do(world, integrations.resume, row)
    do(world, integrations.revoke, row)
    verbs = ("created", "rotated", "changed", "suspended", "resumed", "revoked")
    types = [f"integration.{verb}" for verb in verbs]
    for log in (HOUSE, one.id, two.id):
        assert [leaf["type"] for leaf in world.entries(log, *types)] == types
    for own, other in ((one, two), (two, one)):
        told = str(world.entries(own.id, *types))
        assert other.id not in told
        assert row.id in told
    assert project.id in str(world.entries(two.id, "integration.created"))
    assert "label.example" not in str(world.entries(HOUSE))


# --- the secret --------------------------------------------------------------------------------


def test_a_rotated_secret_goes_on_for_the_overlap_and_no_longer(world: World) -> None:
    row, first = world.integration()
    start = clock.utcnow()
    with clock.at(start):
        second = do(world, integrations.rotate, row, overlap=timedelta(hours=2))
        with world.store.reading() as session:
            ends = [ends for _, ends in integrations.shown(session, row.id, by=OPERATOR).secrets]
        assert sorted(ends, key=str) == sorted([None, start + timedelta(hours=2)], key=str)
    with clock.at(start + timedelta(hours=2) - clock.TICK):
        assert opens(world, row, first)
        assert opens(world, row, second)
    with clock.at(start + timedelta(hours=1)):
        # The one that was to end sooner still does.
        third = do(world, integrations.rotate, row)
    with clock.at(start + timedelta(hours=2)):
        assert not opens(world, row, first)
        assert opens(world, row, second)
        assert opens(world, row, third)
    fourth = do(world, integrations.rotate, row, overlap=timedelta(0))
    assert [opens(world, row, secret) for secret in (first, second, third, fourth)] == [
        False, False, False, True,
    ]  # fmt: skip
    for wrong in (timedelta(seconds=-1), timedelta(days=31)):
        with pytest.raises(errors.Invalid):
            do(world, integrations.rotate, row, overlap=wrong)


def test_two_rotations_at_once_leave_no_secret_without_an_end_but_one(world: World) -> None:
    row, first = world.integration()

    def rotate(session: Session) -> str:
        found = integrations.find(session, row.id)
        return integrations.rotate(session, found, by=OPERATOR)

    made = []
    threads = [threading.Thread(target=lambda: made.append(world.do(rotate))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.store.reading() as session:
        ends = list(session.execute(select(IntegrationSecret.ends_at)).scalars())
    assert ends.count(None) == 1
    assert all(opens(world, row, secret) for secret in (first, *made))


# --- suspended, resumed, revoked ---------------------------------------------------------------


def test_a_suspended_one_is_refused_on_the_next_request_and_comes_back(world: World) -> None:
    row, secret = world.integration()
    do(world, integrations.suspend, row)
    assert not opens(world, row, secret)
    with pytest.raises(errors.Unauthenticated, match="suspended"):
        known(world, row, secret)
    with pytest.raises(errors.Unauthenticated, match="not known"):
        known(world, row, "wrong")
    with pytest.raises(errors.Conflict):
        do(world, integrations.suspend, row)
    do(world, integrations.resume, row)
    assert opens(world, row, secret)
    with pytest.raises(errors.Conflict):
        do(world, integrations.resume, row)


def test_a_revoked_one_never_comes_back(world: World) -> None:
    row, secret = world.integration()
    do(world, integrations.suspend, row)
    do(world, integrations.revoke, row)
    assert not opens(world, row, secret)
    for act in (integrations.resume, integrations.rotate, integrations.suspend,
                integrations.revoke):  # fmt: skip
        with pytest.raises(errors.AlreadyEnded):
            do(world, act, row)
    with pytest.raises(errors.AlreadyEnded):
        do(world, integrations.change, row, Registration())
    with pytest.raises(errors.AlreadyExists):
        world.integration()


def test_of_a_revocation_and_a_resumption_at_once_the_end_stays(world: World) -> None:
    row, secret = world.integration()
    do(world, integrations.suspend, row)

    def act(verb: Callable[..., Any]) -> None:
        with suppress(errors.AlreadyEnded):
            do(world, verb, row)

    verbs = (integrations.resume, integrations.revoke)
    threads = [threading.Thread(target=act, args=(verb,)) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not opens(world, row, secret)
    with world.store.reading() as session:
        assert integrations.find(session, row.id).state == "revoked"


# --- registered for OAuth ----------------------------------------------------------------------


def test_what_is_registered_is_kept_and_only_the_public_half_of_keys(world: World) -> None:
    key = ECKey.generate_key("P-256")
    public = key.as_dict(private=False)
    registration = Registration(
        redirect_uris=["https://label.example/back", "http://127.0.0.1:4567/back"],
        resources=["https://label.example/api", "urn:example:bucket"],
        public_keys={"keys": [public | {"x5c": ["left out"]}]},
    )
    row, _ = world.integration(registration=registration)
    with world.store.reading() as session:
        found = integrations.find_active(session, row.id)
        assert found is not None
        assert found.redirect_uris == list(registration.redirect_uris)
        assert found.resources == list(registration.resources)
        assert found.public_keys is not None
        (kept,) = found.public_keys["keys"]
    assert {name: kept[name] for name in ("kty", "crv", "x", "y")} == {
        name: public[name] for name in ("kty", "crv", "x", "y")
    }
    assert set(kept) == {"kty", "crv", "x", "y", "kid"}
    do(world, integrations.change, row, Registration())
    with world.store.reading() as session:
        changed = integrations.find(session, row.id)
        assert (changed.redirect_uris, changed.resources, changed.public_keys) == ([], [], None)


def keys(*given: Any) -> Registration:
    return Registration(public_keys={"keys": list(given)})


@pytest.mark.filterwarnings("ignore:Key size")
def test_what_cannot_be_registered_is_refused() -> None:
    rsa, short = RSAKey.generate_key(2048), RSAKey.generate_key(1024)
    public = rsa.as_dict(private=False)
    for field, wrong in (
        *(
            ("redirect_uri", Registration(redirect_uris=[uri]))
            for uri in (
                "", "/back", "label.example/back", "http://label.example/back", "https://",
                "https://label.example/back#here", "https://label.example/back#",
                "https://u:p@label.example/", "javascript:alert(1)", "https://label.example/ x",
                "https://label.example/\n", "https://label.example:port/", "http://localhost.example/",
                "https://" + "x" * 500, "https://löbel.example/",
            )
        ),
        *(
            ("resource", Registration(resources=[uri]))
            for uri in ("api", "https:///api", "https://label.example/api#x", "urn:", "")
        ),
        ("resource", Registration(resources=[f"urn:x:{n}" for n in range(21)])),
        ("jwks", keys()),
        ("jwks", Registration(public_keys={})),
        ("jwks", Registration(public_keys={"keys": "x"})),
        ("jwks", keys(1)),
        ("jwks", keys(public, 1)),
        ("jwks", keys({"kty": "RSA", "n": "AQAB"})),
        ("jwks", keys({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})),
        ("jwks", keys(rsa.as_dict(private=True))),
        ("jwks", keys(OctKey.generate_key(256).as_dict(private=True))),
        ("jwks", keys(short.as_dict(private=False))),
        ("jwks", keys(public | {"use": "enc"})),
        ("jwks", keys(public, public)),
    ):  # fmt: skip
        with pytest.raises(errors.Invalid) as refusal:
            wrong.checked()
        assert refusal.value.field == field, wrong


# --- last seen ---------------------------------------------------------------------------------


def seen(store: Database, row: Integration) -> Any:
    with store.reading() as session:
        return session.execute(
            select(Integration.last_seen_at).where(Integration.id == row.id)
        ).scalar_one()


def test_last_seen_is_noted_at_most_once_a_minute(world: World) -> None:
    row, _ = world.integration()
    start = clock.utcnow()
    for seconds, expected in ((0, 0), (59, 0), (60, 60), (119, 60), (200, 200)):
        with clock.at(start + timedelta(seconds=seconds)):
            integrations.touch(world.store, row.id)
        assert seen(world.store, row) == start + timedelta(seconds=expected)


def test_a_note_that_cannot_be_written_holds_nobody_up_and_refuses_nothing(world: World) -> None:
    row, _ = world.integration()
    ready, done = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        session.execute(text("UPDATE integration SET name = name"))
        ready.set()
        assert done.wait(20)

    holder = threading.Thread(target=lambda: world.do(hold))
    holder.start()
    assert ready.wait(20)
    integrations.touch(world.store, row.id)  # returns although the row, or the database, is held
    assert holder.is_alive()
    done.set()
    holder.join()
    assert seen(world.store, row) is None
