"""One matrix drives every reading of the rule: evaluate(), search(), HTTP, and the past.

All cases share one database, each with names of its own and a T of its own, a hundred days apart:
a statement is then prepared once, and every case is asked amid the others' facts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy import insert, update

from govern import clock
from govern.access import (
    clients,
    demands,
    ending,
    entitlements,
    evaluation,
    grants,
    offboarding,
    requests,
    suspensions,
)
from govern.access.evaluation import REASONS, Question
from govern.access.grants import Supposing
from govern.access.modes import STOPS, Effect, Mode, effect_of
from govern.audit.record import RECORDED
from govern.db import new_id
from govern.identity import integrations, subjects
from govern.identity.passkeys import Passkey
from govern.identity.sessions import WebSession
from govern.principal import operator
from tests.factory import OPERATOR, T0, World

if TYPE_CHECKING:
    from flask import Flask

    from govern.db import Session

MATRIX = yaml.safe_load((Path(__file__).parent / "matrix.yaml").read_text())
SECOND = operator("second")
UNITS = {"us": "microseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Place:
    """Where a case takes place: its number marks its names and its time."""

    number: int

    def instant(self, text: str) -> datetime:
        """`T+1d-1us`."""
        assert re.fullmatch(r"T([+-]\d+(us|s|m|h|d))*", text), text
        when = T0 + self.number * timedelta(days=100)
        for sign, number, unit in re.findall(r"([+-])(\d+)(us|s|m|h|d)", text):
            step = timedelta(**{UNITS[unit]: int(number)})
            when = when + step if sign == "+" else when - step
        return when

    def name(self, written: str) -> str:
        """`Kingfisher` as it is called in this case; of an e-mail address the part before the @."""
        local, at, host = written.partition("@")
        return f"{local}-{self.number}{at}{host}"

    def reference(self, written: str) -> str:
        """`project:Kingfisher`."""
        kind, _, code = written.partition(":")
        return f"{kind}:{self.name(code)}"


@dataclass(frozen=True)
class Ask:
    """One row of `asks`, read."""

    when: datetime
    question: Question
    reason: str

    @classmethod
    def read(cls, place: Place, row: list[Any]) -> Ask:
        when, who, action, resource, reason, *more = row
        extra = {name: place.instant(text) for name, text in (more[0] if more else {}).items()}
        kind, _, code = place.reference(resource).partition(":")
        question = Question(
            subject=place.name(who), action=action, kind=kind, code=code,
            worked_at=extra.get("worked"), at=extra.get("about"),
        )  # fmt: skip
        return cls(place.instant(when), question, reason)


def by_mode() -> list[dict[str, Any]]:
    """The cases that the table of modes stands for: each mode over each scope."""
    table = MATRIX["modes"]
    found = []
    for target in table["over"]:
        for mode, answers in table["says"].items():
            scope = target.partition(":")[0]
            asks = []
            for action, answer in answers.items():
                told = "subject" if scope == "people" else scope
                held = answer.replace("held", f"{told}_{mode}")
                row = ["ben", action, table["resource"]]
                asks += [["T-1us", *row, "permitted"], ["T", *row, held],
                         ["T+1h-1us", *row, held], ["T+1h", *row, "permitted"]]  # fmt: skip
            acts = [
                ["T-1d", "grant", {"to": "ben", "in": "Kingfisher", "as": "everything"}],
                ["T", "suspend", {"over": [target], "mode": mode, "name": "s"}],
                ["T+1h", "lift", "s"],
            ]
            found.append({"case": f"{mode} over the {scope}", "acts": acts, "asks": asks})
    return found


CASES = [*by_mode(), *MATRIX["cases"]]


@dataclass
class Played:
    """The world of one case, and the names that its acts gave."""

    world: World
    place: Place
    named: dict[str, Any] = field(default_factory=dict)

    def build(self, described: dict[str, Any]) -> None:
        """What is there before any case begins."""
        self.world.at_once(lambda world: replace(self, world=world)._build(described))

    def _build(self, described: dict[str, Any]) -> None:
        for code, projects in described["clients"].items():
            client = self.world.client(self.place.name(code))
            for name, datasets in projects.items():
                project = self.world.project(self.place.name(name), client=client)
                for dataset in datasets:
                    self.world.dataset(project, self.place.name(dataset))
        for who, organisation in described["people"].items():
            self._register({"who": who, "of": organisation})
        self._define(described["entitlements"])

    def play(self, what: str, given: Any) -> None:
        """One act, as one transaction (or two, where it takes two people)."""
        getattr(self, f"_{what}")(given)

    def _person(self, session: Session, who: str) -> subjects.Subject:
        return subjects.find(session, self.place.name(who))

    def _grant(self, given: dict[str, Any]) -> None:
        project, _, dataset = given["in"].partition("/")

        def work(session: Session) -> grants.Grant:
            return grants.issue(
                session,
                self._person(session, given["to"]),
                clients.project(session, self.place.name(project)),
                entitlements.named(session, self.place.name(given.get("as", "annotator"))),
                dataset=clients.dataset(session, self.place.name(dataset)) if dataset else None,
                starts=self.place.instant(given["from"]) if "from" in given else None,
                until=self.place.instant(given.get("until", "T+30d")),
                reason="work",
                by=OPERATOR,
            )

        self.named[given.get("name", "")] = self.world.do(work)

    def _revoke(self, name: str) -> None:
        grant_id = self.named[name].id
        self.world.do(
            lambda s: grants.revoke(
                s, grants.find(s, grant_id, by=OPERATOR), reason="done", by=OPERATOR
            )
        )

    def _register(self, given: dict[str, str]) -> None:
        self.world.subject(self.place.name(given["who"]), organisation=self.place.name(given["of"]))

    def _define(self, given: dict[str, list[str]]) -> None:
        for name, actions in given.items():
            self.world.entitlement(self.place.name(name), *actions)

    def _dataset(self, path: str) -> None:
        project, _, code = path.partition("/")
        with self.world.store.reading() as session:
            found = clients.project(session, self.place.name(project))
        self.world.dataset(found, self.place.name(code))

    def _offboard(self, who: str) -> None:
        self.world.do(
            lambda s: offboarding.offboard(s, self._person(s, who), reason="left", by=OPERATOR)
        )

    def _end(self, reference: str) -> None:
        kind, _, code = self.place.reference(reference).partition(":")
        find = {"client": clients.client, "project": clients.project}[kind]

        def work(session: Session) -> None:
            row = find(session, code)
            number = ending.open_grants(session, row)
            ending.end(session, row, number=number, reason="over", by=OPERATOR)

        self.world.do(work)

    def _factor(self, who: str) -> None:
        def work(session: Session) -> None:
            now = clock.now(session)
            row = {
                "id": new_id("ses"), "token_hash": new_id("tok"), "amr": "pwd otp mfa",
                "subject_id": self._person(session, who).id, "factor_at": now,
                "signed_in_at": now, "expires_at": now + timedelta(days=1), "seen_at": now,
            }  # fmt: skip
            session.execute(insert(WebSession).values(row), execution_options=RECORDED)

        self.world.do(work)

    def _enrol(self, who: str) -> None:
        with self.world.store.reading() as session:
            person = self._person(session, who)
        self.world.enrol(person)

    def _passkey(self, who: str) -> None:
        def work(session: Session) -> None:
            row = {
                "id": new_id("pky"), "subject_id": self._person(session, who).id,
                "credential_id": new_id("x").encode(), "public_key": b"", "name": "key",
                "backed_up": False, "recognised": True, "recorded_at": clock.now(session),
            }  # fmt: skip
            session.execute(insert(Passkey).values(row), execution_options=RECORDED)

        self.world.do(work)

    def _lose(self, who: str) -> None:
        def work(session: Session) -> None:
            row = update(Passkey).where(Passkey.subject_id == self._person(session, who).id)
            session.execute(row.values(ended_at=clock.now(session)), execution_options=RECORDED)

        self.world.do(work)

    def _demand(self, given: dict[str, str]) -> None:
        starts = self.place.instant(given["from"]) if "from" in given else None
        self.named[given.get("name", "")] = self.world.demand(
            self.place.reference(given["over"]), demands.Factor(given["factor"]), starts=starts
        )

    def _undemand(self, name: str) -> None:
        self.world.do(
            lambda s: demands.end(
                s, demands.find(s, self.named[name].id, by=OPERATOR), reason="done", by=OPERATOR
            )
        )

    def _suspend(self, given: dict[str, Any]) -> None:
        def over(written: str) -> str:
            kind, _, who = written.partition(":")
            if kind != "people":
                return self.place.reference(written)
            with self.world.store.reading() as session:
                person = self._person(session, who)
            return f"people:{self.world.people_list(person).id}"

        until = given.get("hours_until")
        self.named[given.get("name", "")] = self.world.suspend(
            *map(over, given["over"]), mode=Mode(given.get("mode", "paused")),
            hours_until=self.place.instant(until) if until else None,
        )  # fmt: skip

    def _by_two(self, ask: Any) -> None:
        """What admits someone: asked for by one a minute ago, done when another approves now."""
        with clock.at(clock.utcnow() - timedelta(minutes=1)):
            request = self.world.do(ask)
        self.world.do(lambda s: requests.approve(s, request.id, number=request.number, by=SECOND))

    def _lift(self, name: str) -> None:
        def ask(session: Session) -> requests.Request:
            found = suspensions.find(session, self.named[name].id, by=OPERATOR)
            number = suspensions.returning(session, Supposing(suspension=found.id))
            return suspensions.ask_lift(session, found, number=number, by=OPERATOR)

        self._by_two(ask)

    def _mode(self, given: dict[str, str]) -> None:
        def ask(session: Session) -> requests.Request | None:
            found = suspensions.find(session, self.named[given["of"]].id, by=OPERATOR)
            return suspensions.change_mode(session, found, Mode(given["to"]), by=OPERATOR)

        self._by_two(ask) if given["by"] == "two" else self.world.do(ask)

    def _release(self, given: dict[str, Any]) -> None:
        def ask(session: Session) -> requests.Request:
            found = suspensions.find(session, self.named[given["of"]].id, by=OPERATOR)
            people = [self._person(session, who) for who in given.get("people", [])]
            parts = [
                suspensions.target(session, self.place.reference(reference))
                for reference in given.get("parts", [])
            ]
            return suspensions.ask_release(session, found, people, targets=parts, by=OPERATOR)

        self._by_two(ask)

    def _narrow(self, given: dict[str, Any]) -> None:
        def ask(session: Session) -> requests.Request:
            found = suspensions.find(session, self.named[given["of"]].id, by=OPERATOR)
            out = [
                suspensions.target(session, self.place.reference(reference))
                for reference in given["out"]
            ]
            return suspensions.ask_narrow(session, found, out, by=OPERATOR)

        self._by_two(ask)

    def _move(self, given: dict[str, str]) -> None:
        def ask(session: Session) -> requests.Request | None:
            to = subjects.organisation_named(session, self.place.name(given["to"]))
            return suspensions.move(session, self._person(session, given["who"]), to, by=OPERATOR)

        self._by_two(ask) if given["by"] == "two" else self.world.do(ask)


def may_search(ask: Ask) -> bool:
    """Lists do not ask when hours were worked, and refuse what there is not."""
    hours = effect_of(ask.question.action) is Effect.HOURS
    return not (ask.reason == "resource_unknown" or (hours and ask.question.worked_at is not None))


def listed(world: World, question: Question) -> bool:
    """Whether search() lists the person asked about."""
    with world.store.reading() as session:
        found = evaluation.search(
            session, action=question.action, kind=question.kind, code=question.code,
            at=question.at, by=OPERATOR,
        )  # fmt: skip
    names = {name for reach in found.rows for name in (reach.external_id, reach.email)}
    wanted = question.subject
    return (wanted.lower() if "@" in wanted else wanted) in names


def over_http(app: Flask, credentials: tuple[str, str], question: Question) -> dict[str, Any]:
    context = {} if question.worked_at is None else {"time": clock.text(question.worked_at)}
    answer = app.test_client().post(
        "/access/v1/evaluation",
        auth=credentials,
        json={
            "subject": {"type": "user", "id": question.subject},
            "action": {"name": question.action},
            "resource": {"type": question.kind, "id": question.code},
            "context": context,
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json


@dataclass
class Readings:
    """Puts questions to every reading of the rule, and keeps what was said wrongly."""

    world: World
    app: Flask
    credentials: tuple[str, str]
    case: str = ""
    wrong: list[str] = field(default_factory=list)

    def expect(self, reading: str, ask: Ask, said: object, wanted: object) -> None:
        if said != wanted:
            self.wrong.append(
                f"{self.case}: {reading}: {ask.when} {ask.question}: {said}, not {wanted}"
            )

    def now(self, ask: Ask) -> None:
        permit = ask.reason == "permitted"
        self._core("now", ask, ask.question)
        if ask.question.at is None:  # the standard has no question about the past
            told = over_http(self.app, self.credentials, ask.question)
            self.expect("HTTP", ask, told["decision"], permit)
            if not permit:
                self.expect("HTTP", ask, told["context"]["code"], ask.reason)

    def later(self, ask: Ask) -> None:
        """Asked about afterwards, the past says what the present said then."""
        if ask.question.at is None:
            self._core("later", ask, ask.question._replace(at=ask.when))

    def _core(self, when: str, ask: Ask, question: Question) -> None:
        permit = ask.reason == "permitted"
        with self.world.store.reading() as session:
            said = evaluation.evaluate(session, question)
        self.expect(f"evaluate {when}", ask, (said.permit, said.reason), (permit, ask.reason))
        if may_search(ask):
            self.expect(f"search {when}", ask, listed(self.world, question), permit)


def go_through(case: dict[str, Any], place: Place, readings: Readings) -> None:
    """Play a case's acts and put its questions, each at its instant; then all once more."""
    played = Played(readings.world, place)
    with clock.at(place.instant("T-30d")):
        played.build(MATRIX["world"])
    asks = [Ask.read(place, row) for row in case["asks"]]
    # Acts come first in the list, and sorting keeps that order at the same instant.
    steps: list[tuple[datetime, Any]] = [
        *((place.instant(when), (what, given)) for when, what, given in case["acts"]),
        *((ask.when, ask) for ask in asks),
    ]
    for when, step in sorted(steps, key=lambda step: step[0]):
        with clock.at(when):
            readings.now(step) if isinstance(step, Ask) else played.play(*step)
    with clock.at(place.instant("T+60d")):
        for ask in asks:
            readings.later(ask)


def test_every_reading_of_the_rule_says_what_the_matrix_says(world: World, app: Flask) -> None:
    with clock.at(T0 - timedelta(days=60)):
        tool, secret = world.do(
            lambda s: integrations.create(s, "tool", scopes=("decision",), by=OPERATOR)
        )
    readings = Readings(world, app, (tool.id, secret))
    for number, case in enumerate(CASES):
        readings.case = case["case"]
        go_through(case, Place(number), readings)
    assert not readings.wrong, "\n".join(readings.wrong)


def test_the_matrix_knows_every_reason() -> None:
    said = {row[4] for case in CASES for row in case["asks"]}
    # An access log that cannot be written is no matter of the rule: see tests/web/test_authzen.py.
    assert said == set(REASONS) - {"record_failed"}


def test_the_table_of_modes_is_whole() -> None:
    table = MATRIX["modes"]
    assert set(table["says"]) == set(Mode) == set(STOPS)
    assert {over.partition(":")[0] for over in table["over"]} == set(suspensions.Scope)
    for answers in table["says"].values():
        assert {effect_of(action) for action in answers} == set(Effect)
