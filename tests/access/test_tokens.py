"""Tokens: what a grant permits, for five minutes, and never again once any of it was taken."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select, update

from govern import clock, errors
from govern.access import offboarding, suspensions, tokens
from govern.access.grants import Supposing
from govern.access.modes import Mode
from govern.access.suspensions import Suspension
from govern.access.tokens import AuthorizationCode, Token, TokenAction, Wanted
from govern.audit.decisions import Access, AccessKind
from govern.audit.record import RECORDED
from govern.db import new_id
from govern.identity import integrations, keys, subjects
from govern.identity.integrations import Registration
from govern.identity.sessions import WebSession
from govern.identity.subjects import Subject
from tests.access.tooling import BACK, RESOURCE, Tool, claims, listed, signed_in
from tests.factory import OPERATOR, SECOND, World, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.access.clients import Dataset, Project
    from govern.access.grants import Grant
    from govern.db import Session

VALID, INVALID, SUSPENDED = 0, 1, 2


class Scene:
    """Ada, of a firm, works on Kingfisher; a tool asks on her behalf."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client("ASTER")
        self.project: Project = world.project("Kingfisher", client=self.client)
        self.dataset: Dataset = world.dataset(self.project, "kingfisher-audio")
        self.other: Project = world.project("Osprey", client=self.client)
        self.other_dataset: Dataset = world.dataset(self.project, "kingfisher-maps")
        self.ada: Subject = world.subject("ada", organisation="firm")
        self.grant: Grant = world.grant(self.ada, self.project)
        self.tool = Tool.of(world)

    def token(self, *actions: str, dataset: Dataset | None = None) -> str:
        return self.tool.token(self.ada, self.project, *actions, dataset=dataset)

    def state(self, token: str) -> int:
        """Its value in the status list, with which an introspection agrees."""
        value = listed(self.world.store, token)
        assert self.tool.good(token) is (value == VALID)
        return value

    def row(self, suspension: Suspension) -> Any:
        return lambda s: s.get_one(Suspension, suspension.id)

    def change(self, suspension: Suspension, mode: Mode) -> None:
        """Tighten at once, or weaken by two."""

        def work(s: Session) -> Any:
            row = s.get_one(Suspension, suspension.id)
            return suspensions.change_mode(s, row, mode, by=OPERATOR)

        request = self.world.do(work)
        if request is not None:
            self.world.approve(request, by=SECOND)

    def release(self, suspension: Suspension, *people: Subject) -> None:
        self.world.approve(
            self.world.do(
                lambda s: suspensions.ask_release(
                    s, s.get_one(Suspension, suspension.id), people, by=OPERATOR
                )
            ),
            by=SECOND,
        )

    def narrow(self, suspension: Suspension, reference: str) -> None:
        self.world.approve(
            self.world.do(
                lambda s: suspensions.ask_narrow(
                    s, s.get_one(Suspension, suspension.id), [suspensions.target(s, reference)],
                    by=OPERATOR,
                )
            ),
            by=SECOND,
        )  # fmt: skip

    def move(self, firm: str) -> None:
        def work(s: Session) -> Any:
            organisation = subjects.ensure_organisation(s, firm)
            return suspensions.move(s, s.get_one(Subject, self.ada.id), organisation, by=OPERATOR)

        request = self.world.do(work)
        if request is not None:
            self.world.approve(request, by=SECOND)

    def integration(self, act: Any) -> None:
        self.world.do(
            lambda s: act(s, s.get_one(type(self.tool.row), self.tool.row.id), by=OPERATOR)
        )


@pytest.fixture
def scene(world: World) -> Scene:
    return Scene(world)


def accesses(world: World, kind: AccessKind) -> list[Access]:
    with world.store.access_reading() as session:
        query = select(Access).where(Access.kind == kind).order_by(Access.writer, Access.number)
        return list(session.execute(query).scalars())


@pytest.mark.asvs("9.2.4")
def test_a_token_says_what_its_grants_permit_to_whom_it_is_meant_for_and_on_record(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = scene.token("read", "annotate", "export")  # the last one is not hers to give
    said = claims(token)
    with scene.world.store.reading() as session:
        assert keys.verified(session, token, type="at+jwt") == said
    assert said["exp"] - said["iat"] <= 300
    assert said["authorization_details"] == [
        {"type": "project_access", "identifier": "Kingfisher", "actions": ["annotate", "read"],
         "locations": [RESOURCE]}
    ]  # fmt: skip
    assert (said["sub"], said["aud"], said["client_id"]) == ("ada", RESOURCE, scene.tool.row.id)
    found = scene.tool.check(token)
    assert found is not None
    assert (found.subject, found.project, found.actions) == (
        "ada", "Kingfisher", ("annotate", "read"),
    )  # fmt: skip
    held = scene.world.suspend("project:Kingfisher")
    assert scene.tool.check(token) is None
    good, bad = accesses(scene.world, AccessKind.INTROSPECTION)
    assert (good.permit, good.reason, bad.permit, bad.reason) == (True, "valid", False, "suspended")
    assert good.subject_id == scene.ada.id
    assert good.resource_id == scene.project.id
    assert good.as_of is not None
    assert bad.as_of == good.as_of + 1
    issued = accesses(scene.world, AccessKind.TOKEN)
    assert [row.reason for row in issued] == ["token_issued"]
    assert token not in f"{good.detail}{bad.detail}{issued[0].detail}"
    scene.world.lift(held)
    token = scene.token()
    only_whom_it_is_meant_for_is_told_that_it_is_good(scene, token)
    an_answer_that_cannot_be_recorded_is_no(scene, token, monkeypatch)


def pause(*over: str, mode: Mode = Mode.PAUSED) -> Callable[[Scene], Suspension]:
    return lambda scene: scene.world.suspend(*over, mode=mode)


def withdraw(scene: Scene) -> None:
    scene.world.entitlement("annotator", "read", "log_hours")


def give_back(scene: Scene, _: Any) -> None:
    scene.world.entitlement("annotator", "read", "annotate", "log_hours")


def release_part(scene: Scene, done: Suspension) -> None:
    part = scene.world.do(lambda s: suspensions.target(s, "project:Kingfisher"))
    scene.world.approve(
        scene.world.do(
            lambda s: suspensions.ask_release(s, scene.row(done)(s), targets=[part], by=OPERATOR)
        ),
        by=SECOND,
    )


def resume_at_a_time(scene: Scene, done: Suspension) -> None:
    world, due = scene.world, clock.utcnow() + timedelta(minutes=1)

    def count(s: Session) -> int:
        return suspensions.returning(s, Supposing(suspension=done.id))

    request = world.do(
        lambda s: suspensions.ask_lift(s, scene.row(done)(s), number=count(s), at=due, by=OPERATOR)
    )
    world.approve(request, by=SECOND)
    world.do(lambda s: suspensions.confirm(s, scene.row(done)(s), number=count(s), by=SECOND))
    with clock.at(due):
        suspensions.resume_due(world.store)


# What takes something away, what gives it back, and what the list says in between.
TAKES: dict[str, tuple[Callable[[Scene], Any], Callable[[Scene, Any], Any], int]] = {
    "narrowed": (
        pause("project:Osprey", "project:Kingfisher"),
        lambda scene, done: scene.narrow(done, "project:Kingfisher"),
        SUSPENDED,
    ),
    "released": (
        pause("project:Kingfisher"),
        lambda scene, done: scene.release(done, scene.ada),
        SUSPENDED,
    ),
    "let out": (pause("client:ASTER"), release_part, SUSPENDED),
    "resumed at a time": (pause("project:Kingfisher"), resume_at_a_time, SUSPENDED),
    "tightened": (
        lambda scene: scene.change(scene.reviewed, Mode.PAUSED),  # type: ignore[attr-defined]  # set by its own scene
        lambda scene, _: scene.world.lift(scene.reviewed),  # type: ignore[attr-defined]  # set by its own scene
        SUSPENDED,
    ),
    "moved": (
        lambda scene: scene.move("held firm"),
        lambda scene, _: scene.move("firm"),
        SUSPENDED,
    ),
    "action withdrawn": (withdraw, give_back, INVALID),
    "integration": (
        lambda scene: scene.integration(integrations.suspend),
        lambda scene, _: scene.integration(integrations.resume),
        SUSPENDED,
    ),
}


def test_what_was_taken_away_and_given_back_stays_away_from_an_old_token(scene: Scene) -> None:
    world = scene.world
    reviewed = world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW)
    scene.reviewed = reviewed  # type: ignore[attr-defined]  # set by its own scene
    world.subject(organisation="held firm")
    held = world.suspend("organisation:held firm")
    show_factor(world, scene.ada)
    for name, (take, back, between) in TAKES.items():
        if name == "integration":
            show_factor(world, scene.ada)
        before = scene.token()
        assert scene.state(before) == VALID, name
        done = take(scene)
        assert listed(world.store, before) == between, name
        if name != "integration":  # else it may not even ask
            assert not scene.tool.good(before), name
        back(scene, done)
        assert scene.state(before) == INVALID, name
        after = scene.token()
        assert scene.state(after) == VALID, name
        for suspension in {done} - {None}:
            with suppress(errors.Conflict):
                world.lift(suspension)
        assert scene.state(after) == VALID, name  # an end takes nothing
    world.lift(held)


def show_factor(world: World, who: Subject) -> None:
    """A session with a second factor shown just now."""

    def work(session: Session) -> None:
        now = clock.now(session)
        session.execute(
            insert(WebSession).values(
                id=new_id("ses"), token_hash=new_id("x"), subject_id=who.id, amr="pwd otp mfa",
                factor_at=now, signed_in_at=now, expires_at=now + timedelta(hours=1), seen_at=now,
            ),
            execution_options=RECORDED,
        )  # fmt: skip

    world.do(work)


@pytest.mark.asvs("10.4.2", "10.4.3")
def test_a_token_ends_with_its_code_its_time_its_grant_and_its_person(scene: Scene) -> None:
    a_code_is_good_once_for_a_minute_for_its_tool_and_until_anything_is_taken(scene)
    what_expired_is_dropped_later_and_no_place_is_given_twice_before(scene)
    what_ends_for_good_ends_every_token(scene)
    a_token_of_its_own_is_an_integration_with_no_more_than_its_scopes(scene)


def what_ends_for_good_ends_every_token(scene: Scene) -> None:
    world = scene.world
    token = scene.token()
    with clock.at(clock.utcnow() + timedelta(seconds=301)):
        assert not scene.tool.good(token)
    taken_back, over = scene.token(), scene.token()
    tokens.revoke(world.store, taken_back, by=scene.tool.by)
    assert [scene.state(taken_back), scene.state(over)] == [INVALID, VALID]
    world.revoke(scene.grant)
    assert scene.state(over) == INVALID
    world.grant(scene.ada, scene.project)  # another grant is another token's
    assert scene.state(over) == INVALID
    last = scene.token()
    assert tokens.bearer(world.store, last) is None  # a person's is no integration's
    world.do(
        lambda s: offboarding.offboard(s, s.get_one(Subject, scene.ada.id), reason="x", by=OPERATOR)
    )
    assert scene.state(last) == INVALID


def test_what_stops_none_of_its_actions_leaves_a_token_alone(scene: Scene) -> None:
    world = scene.world
    show_factor(world, scene.ada)
    reading, on_maps = scene.token("read"), scene.token("read", dataset=scene.other_dataset)
    hours = scene.token("log_hours")
    stranger = world.subject("bob")
    quiet = [
        world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW),
        world.suspend("project:Osprey"),
        world.suspend("subject:bob"),
    ]
    scene.release(quiet[0], stranger)
    assert {scene.state(token) for token in (reading, on_maps, hours)} == {VALID}
    world.lift(quiet[0])
    world.suspend("project:Kingfisher", mode=Mode.READ_ONLY,
                  hours_until=clock.utcnow() + timedelta(minutes=2))  # fmt: skip
    assert {scene.state(token) for token in (reading, on_maps, hours)} == {VALID}
    # The cut-off of the hours comes.
    with clock.at(clock.utcnow() + timedelta(minutes=2, seconds=1)):
        assert [scene.state(token) for token in (reading, on_maps, hours)] == [
            VALID, VALID, SUSPENDED,
        ]  # fmt: skip
    world.suspend("dataset:kingfisher-audio")
    # A part of the project is a part of what the first may do.
    assert [scene.state(token) for token in (reading, on_maps)] == [SUSPENDED, VALID]


def what_was_given_under_a_milder_mode_or_by_a_release_ends_with_it(scene: Scene) -> None:
    world = scene.world
    suspension = world.suspend("project:Kingfisher", mode=Mode.READ_ONLY)
    with pytest.raises(errors.Forbidden):
        scene.token("annotate")
    token = scene.token("read", "annotate")
    assert claims(token)["authorization_details"][0]["actions"] == ["read"]
    scene.change(suspension, Mode.PAUSED)
    assert scene.state(token) == SUSPENDED
    scene.release(suspension, scene.ada)
    assert scene.state(token) == INVALID
    released = scene.token()
    assert scene.state(released) == VALID
    # No operation ends a release yet: the rule knows what it would mean.
    world.do(
        lambda s: s.execute(
            update(suspensions.SuspensionRelease).values(ended_at=clock.now(s)),
            execution_options=RECORDED,
        )
    )
    assert not world.permits(scene.ada, scene.project)
    assert not scene.tool.good(released)


class Chance:
    """Random acts upon a scene, and what the decisions say after each."""

    OVER = ("client:ASTER", "project:Kingfisher", "project:Osprey", "dataset:kingfisher-audio",
            "subject:ada", "organisation:firm", "organisation:other firm")  # fmt: skip

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene, self.dice = scene, random.Random(seed)
        self.open: list[Suspension] = []
        self.firms = ["other firm", "firm"]

    def act(self) -> None:
        what = self.dice.choice(["open", "open", "lift", "change", "move", "release"])
        if what == "open":
            over = self.dice.sample(self.OVER, self.dice.choice([1, 2]))
            self.open.append(self.scene.world.suspend(*over, mode=self.mode()))
        elif what == "move":
            self.scene.move(self.firms[0])
            self.firms.reverse()
        elif self.open:
            one = self.dice.choice(self.open)
            if what == "lift":
                self.open.remove(one)
                self.scene.world.lift(one)
            elif what == "change":
                with suppress(errors.GovernError):  # it may be so already
                    self.scene.change(one, self.mode())
            else:
                self.scene.release(one, self.scene.ada)

    def mode(self) -> Mode:
        return self.dice.choice(list(Mode))

    def permitted(self, actions: tuple[str, ...], dataset: Dataset | None) -> bool:
        """By single decisions; a project's token is about all of its datasets too."""
        scene = self.scene
        about: dict[str, list[Any]] = {
            action: [scene.project] if action == "log_hours"
            else [dataset] if dataset else [scene.project, scene.dataset, scene.other_dataset]
            for action in actions
        }  # fmt: skip
        return all(
            scene.world.permits(scene.ada, resource, action)
            for action, resources in about.items()
            for resource in resources
        )


def test_whatever_happens_a_token_is_good_while_all_of_it_was_permitted_ever_since(
    scene: Scene,
) -> None:
    show_factor(scene.world, scene.ada)
    scene.world.subject(organisation="other firm")
    wanted: list[tuple[tuple[str, ...], Dataset | None]] = [
        (("read",), None), (("read", "annotate"), None), (("annotate",), scene.dataset),
        (("read",), scene.other_dataset), (("log_hours",), None), (("read", "log_hours"), None),
    ]  # fmt: skip
    chance = Chance(scene, seed=7)
    alive: list[tuple[str, tuple[str, ...], Dataset | None]] = []
    died = 0
    for _ in range(8):
        chance.act()
        before, alive = alive, []
        for token, *about in before:
            good = chance.permitted(*about)
            assert (scene.state(token) == VALID) is good
            died += not good
            if good:
                alive.append((token, *about))
        for actions, dataset in chance.dice.sample(wanted, 2):
            if chance.permitted(actions, dataset):
                alive.append((scene.token(*actions, dataset=dataset), actions, dataset))
            else:
                with suppress(errors.Forbidden):
                    partly = claims(scene.token(*actions, dataset=dataset))
                    assert partly["authorization_details"][0]["actions"] != sorted(actions)
    assert died


def a_code_is_good_once_for_a_minute_for_its_tool_and_until_anything_is_taken(
    scene: Scene,
) -> None:
    world, tool = scene.world, scene.tool
    code = tool.code(scene.ada, scene.project)
    other = Tool.of(world, "other")
    assert other.fetch(code) is None
    token = tool.fetch(code)
    assert token is not None
    assert scene.state(token) == VALID
    assert tool.fetch(code) is None  # a second use takes the token with it
    assert scene.state(token) == INVALID
    late = tool.code(scene.ada, scene.project)
    with clock.at(clock.utcnow() + timedelta(seconds=61)):
        assert tool.fetch(late) is None
    paused = tool.code(scene.ada, scene.project)
    suspension = world.suspend("project:Kingfisher")
    assert tool.fetch(paused) is None
    world.lift(suspension)
    through = tool.code(scene.ada, scene.project)
    world.lift(world.suspend("project:Kingfisher"))
    assert tool.fetch(through) is None
    code = tool.code(scene.ada, scene.project)

    def redeem(session: Session) -> Any:
        found = tokens.find_code(session, code, tool.row)
        return None if found is None else tokens.redeem(session, found)

    # The second use waits for the row of the first, so they cannot wait for one another.
    with ThreadPoolExecutor(2) as at_once:
        got = list(at_once.map(lambda _: world.do(redeem), range(2)))
    assert [type(each) for each in got].count(Token) == 1
    with world.store.reading() as session:
        stored = session.execute(select(AuthorizationCode.hash)).scalars().all()
    assert code not in stored


def a_pause_that_commits_while_a_token_is_given_is_not_missed(scene: Scene) -> None:
    wanted = Wanted(project="Kingfisher", dataset=None, actions=("read",))

    def give(session: Session) -> Any:
        return tokens.authorize(
            session, scene.tool.row, wanted, audience=RESOURCE, redirect_uri=BACK,
            challenge="c" * 43, by=signed_in(scene.ada),
        )  # fmt: skip

    def stop(session: Session) -> Any:
        return suspensions.open(
            session, [suspensions.target(session, "project:Kingfisher")], mode=Mode.PAUSED,
            reason=suspensions.Reason.OTHER, by=OPERATOR,
        )  # fmt: skip

    given, suspension = together(scene.world.store, give, stop)
    assert isinstance(suspension, Suspension)
    if isinstance(given, tuple):  # it saw nothing of the pause
        assert scene.tool.fetch(given[0]) is None
        scene.world.lift(suspension)
        assert scene.tool.fetch(given[0]) is None


def test_nobody_gives_what_they_may_not_or_to_whom_they_may_not_or_for_longer(
    scene: Scene,
) -> None:
    a_token_ends_with_the_first_grant_or_factor_that_it_counts_on(scene)
    world = scene.world
    elsewhere = world.project("Heron")

    def ask(tool: Tool = scene.tool, project: str = "Kingfisher", dataset: str | None = None,
            actions: tuple[str, ...] = ("read",), by: Any = None) -> Any:  # fmt: skip
        wanted = Wanted(project=project, dataset=dataset, actions=actions)
        by = by or signed_in(scene.ada)
        with world.store.reading() as session:
            return tokens.offer(session, tool.row, wanted, by=by)

    assert ask(actions=("read", "export")).refused == ("export",)
    kept_from = Tool.of(world, "kept", clients=[elsewhere.client_id])
    allowed = Tool.of(world, "allowed", projects={scene.project.id: scene.client.id})
    assert ask(allowed).permitted == {"read": scene.grant.id}
    said = set()
    for more in ({"project": "Heron"}, {"project": "Nowhere"}, {"tool": kept_from}):
        with pytest.raises(errors.Invalid) as refusal:
            ask(**more)
        said.add(refusal.value.message)
    assert len(said) == 1
    for more in ({"dataset": "nothing"}, {"actions": ()}, {"actions": ("read", "fly")}):
        with pytest.raises(errors.Invalid):
            ask(**more)
    held = replace(signed_in(scene.ada), suspended=True)
    for by in (OPERATOR, scene.tool.by, held):
        with pytest.raises(errors.Forbidden):
            ask(by=by)
    with clock.at(clock.utcnow() - timedelta(hours=13)):
        long_ago = signed_in(scene.ada)
    wanted = Wanted(project="Kingfisher", dataset=None, actions=("read",))
    with pytest.raises(errors.FreshFactorRequired):
        world.do(
            lambda s: tokens.authorize(
                s, scene.tool.row, wanted, audience=RESOURCE, redirect_uri=BACK,
                challenge="c" * 43, by=long_ago,
            )
        )  # fmt: skip
    a_pause_that_commits_while_a_token_is_given_is_not_missed(scene)


def a_token_ends_with_the_first_grant_or_factor_that_it_counts_on(scene: Scene) -> None:
    world = scene.world
    soon = clock.utcnow() + timedelta(seconds=90)
    bob = world.subject("bob")
    world.grant(bob, scene.project, until=soon)
    assert claims(scene.tool.token(bob, scene.project))["exp"] == int(soon.timestamp())
    with clock.at(clock.utcnow() - timedelta(hours=11, minutes=58)):
        long_ago = signed_in(scene.ada)
    wanted = Wanted(project="Kingfisher", dataset=None, actions=("read",))
    code, _ = world.do(
        lambda s: tokens.authorize(
            s, scene.tool.row, wanted, audience=RESOURCE, redirect_uri=BACK,
            challenge="c" * 43, by=long_ago,
        )
    )  # fmt: skip
    token = scene.tool.fetch(code)
    assert token is not None
    said = claims(token)
    assert 0 < said["exp"] - said["iat"] <= 121


def only_whom_it_is_meant_for_is_told_that_it_is_good(scene: Scene, token: str) -> None:
    world = scene.world
    elsewhere = world.client("BORAGE")
    theirs = Registration(resources=("https://store.example",))
    mine = Registration(resources=(RESOURCE,))
    for name, options in {
        "another audience": {"registration": theirs},
        "another client": {"registration": mine, "clients": [elsewhere.id]},
        "another project": {"registration": mine, "projects": {scene.other.id: scene.client.id}},
    }.items():
        assert not Tool.of(world, name, **options).good(token), name
    project = {scene.project.id: scene.client.id}
    assert Tool.of(world, "its own", registration=mine, projects=project).good(token)
    with pytest.raises(errors.Forbidden):
        Tool.of(world, "no scope", scopes=("decision",)).check(token)
    with pytest.raises(errors.Forbidden):
        tokens.revoke(world.store, token, by=Tool.of(world, "thief").by)
    for nonsense in ("", "x", token[:-3], token + "x", "\x00"):
        assert not scene.tool.good(nonsense)
        tokens.revoke(world.store, nonsense, by=scene.tool.by)
    assert scene.tool.good(token)


def a_token_of_its_own_is_an_integration_with_no_more_than_its_scopes(scene: Scene) -> None:
    world, tool = scene.world, scene.tool
    here = world.store.settings.public_url

    def own(scope: str, audience: str = here) -> str:
        row = world.do(lambda s: tokens.own(s, scope=scope, audience=audience, by=tool.by))
        return tokens.written(world.store, row)[0]

    token = own("decision")
    by = tokens.bearer(world.store, token)
    assert by is not None
    assert (by.id, [role.role for role in by.roles]) == (tool.row.id, ["decision"])
    with pytest.raises(errors.Forbidden):
        own("decision api")
    assert tokens.bearer(world.store, own("decision", RESOURCE)) is None
    assert claims(token)["sub"] == tool.row.id
    scene.integration(integrations.suspend)
    assert tokens.bearer(world.store, token) is None
    scene.integration(integrations.resume)
    assert tokens.bearer(world.store, token) is None
    token = own("decision introspect")
    assert tokens.bearer(world.store, token) is not None
    scene.integration(integrations.revoke)
    assert tokens.bearer(world.store, token) is None
    assert listed(world.store, token) == INVALID


def what_expired_is_dropped_later_and_no_place_is_given_twice_before(scene: Scene) -> None:
    world = scene.world
    kept = [scene.token() for _ in range(3)]
    with clock.at(clock.utcnow() + timedelta(minutes=14)):
        tokens.clear(world.store)
        assert count(world, Token) >= len(kept)
    with clock.at(clock.utcnow() + timedelta(minutes=16)):
        tokens.clear(world.store)
    assert [count(world, table) for table in (Token, TokenAction, AuthorizationCode)] == [0, 0, 0]
    assert not any(scene.tool.good(token) for token in kept)
    later = clock.utcnow() + timedelta(seconds=60)
    uses = [world.do(lambda s: tokens.first_use(s, "one", until=later)) for _ in range(2)]
    assert uses == [True, False]


def count(world: World, table: Any) -> int:
    with world.store.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def an_answer_that_cannot_be_recorded_is_no(
    scene: Scene, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise errors.RecordFailed("no space left")

    monkeypatch.setattr("govern.audit.decisions.write", full)
    assert not scene.tool.good(token)
    with pytest.raises(errors.RecordFailed):
        scene.token()
