"""Random histories against a naive model: every reading of the one rule agrees, now and then.

The model is written from the design's words alone: plain rows, plain loops, one copy of the world
for each instant at which something happened.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from govern import clock
from govern.access import (
    demands,
    deriving,
    evaluation,
    grants,
    offboarding,
    paging,
    requests,
    searching,
    suspensions,
)
from govern.access.evaluation import Question
from govern.access.modes import Mode
from govern.audit.log import Entry
from govern.identity import account, authenticators, subjects
from govern.identity.passkeys import Answer
from tests.factory import OPERATOR, SECOND, T0, World
from tests.factory import person as signed_in
from tests.support.authenticator import Device
from tests.support.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

START = T0 + timedelta(days=400)  # after whatever the machine's clock says
MINUTE = timedelta(minutes=1)
PAST = timedelta(seconds=1)
ACTIONS = {"annotator": {"read", "annotate", "log_hours"}, "exporter": {"read", "export"}}
STOPPED = {
    "under_review": set(),
    "read_only": {"annotate", "export", "log_hours"},
    "paused": {"read", "annotate", "export", "log_hours"},
}
ASKED = ("read", "annotate", "export", "log_hours")
_runs = count(1)


@dataclass
class G:
    """A grant of the model."""

    subject: str
    project: str
    dataset: str | None
    entitlement: str
    start: datetime
    end: datetime
    revoked: bool = False


@dataclass
class S:
    """A suspension of the model; `targets` are (kind, name), `released` names alone."""

    targets: set[tuple[str, str]]
    mode: str
    released: set[str] = field(default_factory=set)
    lifted: bool = False


@dataclass
class Model:
    """The world in plain rows."""

    client_of: dict[str, str]
    project_of: dict[str, str]
    firm_of: dict[str, str]
    lists: dict[str, set[str]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    grants: dict[str, G] = field(default_factory=dict)
    suspensions: dict[str, S] = field(default_factory=dict)
    demands: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)
    enrolled: dict[str, dict[str, str]] = field(default_factory=dict)

    def stands(self, grant: G, at: datetime) -> bool:
        return (
            grant.subject not in self.left
            and not grant.revoked
            and grant.start <= at
            and at < grant.end
        )

    def modes_over(self, grant: G, dataset: str | None) -> list[str]:
        """The modes of all that covers a grant; `dataset` is the one asked about."""
        scopes = {
            ("client", self.client_of[grant.project]),
            ("project", grant.project),
            ("subject", grant.subject),
            ("organisation", self.firm_of[grant.subject]),
            ("dataset", dataset or grant.dataset or ""),
            *(("people", name) for name, named in self.lists.items() if grant.subject in named),
        }
        return [
            each.mode
            for each in self.suspensions.values()
            if not each.lifted
            and each.targets & scopes
            and not each.released & {grant.subject, grant.project, dataset or grant.dataset or ""}
        ]

    def permits(self, grant: G, action: str, dataset: str | None, at: datetime) -> bool:
        modes = self.modes_over(grant, dataset)
        return (
            self.stands(grant, at)
            and action in ACTIONS[grant.entitlement]
            and not any(action in STOPPED[mode] for mode in modes)
            # Nobody here ever shows a second factor; hours are no access, so none is asked for.
            and not ("under_review" in modes and action != "log_hours")
            and self.meets(grant, at)
        )

    def meets(self, grant: G, at: datetime) -> bool:
        """A passkey meets every demand, an authenticator app all but one for a passkey."""
        own = set(self.enrolled.get(grant.subject, {}).values())
        return not any(
            place in {grant.project, self.client_of[grant.project]}
            and start <= at
            and "passkey" not in own
            and (factor == "phishing_resistant" or not own)
            for place, factor, start in self.demands.values()
        )

    def answer(self, kind: str, name: str, action: str, at: datetime) -> set[str]:
        """The grants that permit an action on a project or a dataset."""
        project = name if kind == "project" else self.project_of[name]
        dataset = name if kind == "dataset" else None
        found = set()
        for grant_id, grant in self.grants.items():
            if grant.project != project:
                continue
            whole = grant.dataset is None or (dataset is None and action == "log_hours")
            if not whole and grant.dataset != dataset:
                continue
            if self.permits(grant, action, dataset, at):
                found.add(grant_id)
        return found

    def held(self, grant: G, action: str) -> bool:
        return any(action in STOPPED[mode] for mode in self.modes_over(grant, None))

    def covered(self, suspension: S, grant: G) -> bool:
        alone = copy.copy(self)
        alone.suspensions = {"": suspension}
        return bool(alone.modes_over(grant, None))


class _Died(BaseException):
    """The process ended here."""


@contextmanager
def dying(world: World) -> Iterator[None]:
    """Let the next commit of the block be cut off just before it, and every connection with it."""

    def die(_: object) -> None:
        raise _Died

    engine = world.store.writer
    event.listen(engine, "commit", die)
    try:
        with suppress(_Died):
            yield
    finally:
        event.remove(engine, "commit", die)
        world.store.dispose()


class History:
    """The same acts on the real thing and on the model."""

    def __init__(self, world: World, *, checked: bool = True) -> None:
        self.world = world
        self.checked = checked  # whether each state is compared with the log at once
        number = next(_runs)
        self.tag = f"h{number}"
        # The house's log is one for all histories, and its times only grow.
        self.now = START + timedelta(days=number)
        self.past: list[tuple[datetime, Model]] = []
        self.rows: dict[str, Any] = {}
        self.expected: dict[str, list[Counter[str]]] = {}
        t = self.tag
        firms = [f"{t}-firm{i}" for i in range(2)]
        self.model = Model(
            client_of={f"{t}-p0": f"{t}-c0", f"{t}-p1": f"{t}-c0", f"{t}-p2": f"{t}-c1"},
            project_of={f"{t}-d0": f"{t}-p0", f"{t}-d1": f"{t}-p0", f"{t}-d2": f"{t}-p2"},
            firm_of={f"{t}-s{i}": firms[i % 2] for i in range(3)},
        )
        with clock.at(self.now):
            self._build()

    def _build(self) -> None:
        world = self.world
        self.read: dict[str, int] = {}
        for name in sorted(set(self.model.client_of.values())):
            self.rows[name] = world.client(name)
        for name, client in self.model.client_of.items():
            self.rows[name] = world.project(name, client=self.rows[client])
        for name, project in self.model.project_of.items():
            self.rows[name] = world.dataset(self.rows[project], name)
        for name, firm in self.model.firm_of.items():
            self.rows[name] = world.subject(name, organisation=firm)
        for name, actions in ACTIONS.items():
            self.rows[name] = world.entitlement(name, *actions)
        self.people = sorted(self.model.firm_of)
        self.projects = sorted(self.model.client_of)
        named = self.people[:2]
        self.rows["list"] = world.people_list(*(self.rows[name] for name in named))
        self.model.lists[self.rows["list"].id] = set(named)
        self.scopes = [
            *(("client", name) for name in sorted(set(self.model.client_of.values()))),
            *(("project", name) for name in self.projects),
            *(("dataset", name) for name in sorted(self.model.project_of)),
            *(("subject", name) for name in self.people),
            *(("organisation", name) for name in sorted(set(self.model.firm_of.values()))),
            ("people", self.rows["list"].id),
        ]
        self.cut, self.compared = False, 0
        self.replay = Replay({self.rows["list"].id: {self.rows[name].id for name in named}})

    def live(self, acts: list[tuple[str, int, int, int]]) -> None:
        """Three grants to begin with, then these acts."""
        for number in range(3):
            self.step("issue", number, number, number)
        for act in acts:
            self.step(*act)

    # --- acts: each takes three small numbers and does what they make of it

    def step(self, act: str, a: int, b: int, c: int) -> None:
        self.now += MINUTE
        with clock.at(self.now):
            getattr(self, act)(a, b, c)
            if self.checked:
                self.agree_with_the_log()
        self.past.append((self.now, copy.deepcopy(self.model)))

    def issue(self, a: int, b: int, c: int) -> None:
        subject, project = self.people[a % 3], self.projects[b % 3]
        datasets = [None, *(d for d, p in self.model.project_of.items() if p == project)]
        dataset = datasets[c % len(datasets)]
        start = self.now + (a + b) % 4 * MINUTE
        made = G(subject, project, dataset, ("annotator", "exporter")[(a + c) % 2], start,
                 start + (2 + 3 * (b + c)) * MINUTE)  # fmt: skip
        # Refused, as `test_grants` states; a release lets people work, not be given more.
        if subject in self.model.left or any(
            self.model.covered(S(each.targets, each.mode), made)
            for each in self.model.suspensions.values()
            if not each.lifted
        ):
            return
        row = self.world.do(
            lambda s: grants.issue(
                s, self.rows[subject], self.rows[project], self.rows[made.entitlement],
                dataset=self.rows[dataset] if dataset else None, starts=start, until=made.end,
                reason="x", by=OPERATOR,
            )
        )  # fmt: skip
        self.model.grants[row.id] = made
        self.rows[row.id] = row

    def revoke(self, a: int, _b: int, _c: int) -> None:
        left = [name for name, g in self.model.grants.items()
                if not g.revoked and g.subject not in self.model.left]  # fmt: skip
        if left:
            name = left[a % len(left)]
            self.world.revoke(self.rows[name])
            self.model.grants[name].revoked = True

    def suspend(self, a: int, b: int, c: int) -> None:
        targets = {self.scopes[a % len(self.scopes)], self.scopes[b % len(self.scopes)]}
        mode = list(Mode)[c % 3]
        row = self.world.suspend(*(f"{kind}:{name}" for kind, name in sorted(targets)), mode=mode)
        self.rows[row.id] = row
        opened = self.model.suspensions[row.id] = S(targets, mode.value)
        self._told(row.id, "affected", {
            name for name, g in self.model.grants.items()
            if self.model.stands(g, self.now) and self.model.covered(opened, g)
        })  # fmt: skip

    def _open(self, a: int) -> str | None:
        found = [name for name, each in self.model.suspensions.items() if not each.lifted]
        return found[a % len(found)] if found else None

    def _act(self, name: str, act: Any, change: Any) -> None:
        """Ask for an act that admits, approve it, and expect the entries of who came back."""
        before = copy.deepcopy(self.model)
        request = self.world.do(lambda s: act(s, s.get_one(suspensions.Suspension, name)))
        self.world.approve(request, by=SECOND)
        change()
        self._told(name, "resumed", self._back(before))

    def _back(self, before: Model) -> set[str]:
        """The grants that were held before, and permit again."""
        return {
            grant_id for grant_id, g in self.model.grants.items()
            if self.model.stands(g, self.now)
            and any(before.held(g, x) and not self.model.held(g, x) for x in ("read", "annotate"))
        }  # fmt: skip

    def change_mode(self, a: int, b: int, _c: int) -> None:
        name = self._open(a)
        if name is None:
            return
        each, mode = self.model.suspensions[name], list(Mode)[b % 3]
        order = [mode.value for mode in Mode]
        if mode == each.mode:
            return

        def change(s: Any, row: Any) -> Any:
            return suspensions.change_mode(s, row, mode, by=OPERATOR)

        def follow() -> None:
            each.mode = mode.value

        if order.index(mode) < order.index(each.mode):
            self._act(name, change, follow)
            return
        self.world.do(lambda s: change(s, s.get_one(suspensions.Suspension, name)))
        follow()
        self._told(name, "affected", {
            grant_id for grant_id, g in self.model.grants.items()
            if self.model.stands(g, self.now) and self.model.covered(each, g)
        })  # fmt: skip

    def lift(self, a: int, _b: int, _c: int) -> None:
        name = self._open(a)
        if name is None:
            return

        def ask(s: Any, row: Any) -> Any:
            number = suspensions.returning(s, grants.Supposing(suspension=name))
            return suspensions.ask_lift(s, row, number=number, by=OPERATOR)

        self._act(name, ask, lambda: setattr(self.model.suspensions[name], "lifted", True))

    def release(self, a: int, b: int, _c: int) -> None:
        name = self._open(a)
        if name is None:
            return
        held = self.model.suspensions[name]
        inside = [
            ("project", project)
            for project, client in self.model.client_of.items()
            if ("client", client) in held.targets
        ] + [
            ("dataset", dataset)
            for dataset, project in self.model.project_of.items()
            if {("client", self.model.client_of[project]), ("project", project)} & held.targets
        ]
        among = [
            *(("subject", person) for person in self.people),
            *(part for part in inside if part not in held.targets),
        ]
        kind, out = among[b % len(among)]
        if out in held.released:
            return
        self._act(
            name,
            lambda s, row: suspensions.ask_release(
                s, row, targets=[suspensions.target(s, f"{kind}:{out}")], by=OPERATOR
            ),
            lambda: held.released.add(out),
        )

    def narrow(self, a: int, b: int, _c: int) -> None:
        name = self._open(a)
        if name is None or len(self.model.suspensions[name].targets) < 2:
            return
        kind, code = out = sorted(self.model.suspensions[name].targets)[b % 2]
        self._act(
            name,
            lambda s, row: suspensions.ask_narrow(
                s, row, [suspensions.target(s, f"{kind}:{code}")], by=OPERATOR
            ),
            lambda: self.model.suspensions[name].targets.remove(out),
        )

    def offboard(self, a: int, _b: int, _c: int) -> None:
        person = self.people[a % 3]
        if person not in self.model.left:
            self.world.do(
                lambda s: offboarding.offboard(
                    s, subjects.find(s, person), reason="left", by=OPERATOR
                )
            )
            self.model.left.add(person)

    def move(self, a: int, _b: int, _c: int) -> None:
        person = self.people[a % 3]
        if person in self.model.left:
            return
        firms = {f"{self.tag}-firm0", f"{self.tag}-firm1"}
        (other,) = firms - {self.model.firm_of[person]}
        request = self.world.do(
            lambda s: suspensions.move(
                s, subjects.find(s, person), subjects.organisation_named(s, other), by=OPERATOR
            )
        )
        present = ("organisation", self.model.firm_of[person])
        held = any(
            present in each.targets for each in self.model.suspensions.values() if not each.lifted
        )
        assert (request is not None) == held
        before = copy.deepcopy(self.model)
        self.model.firm_of[person] = other
        if request is not None:
            self.world.do(lambda s: requests.approve(s, request.id, by=SECOND))
            self._told(None, "resumed", self._back(before))

    def demand(self, a: int, b: int, c: int) -> None:
        """Of a client or a project, now or in some minutes; or the end of what is demanded."""
        kind, place = [one for one in self.scopes if one[0] in {"client", "project"}][a % 5]
        factor = demands.Factor(("second_factor", "phishing_resistant")[c % 4 == 0])
        open_ = [name for name, (over, asked, _) in self.model.demands.items()
                 if (over, asked) == (place, factor)]  # fmt: skip
        if open_:
            self.world.do(
                lambda s: demands.end(
                    s, demands.find(s, open_[0], by=OPERATOR), reason="x", by=OPERATOR
                )
            )
            del self.model.demands[open_[0]]
            return
        starts = self.now + b % 3 * MINUTE if b % 3 else None
        row = self.world.do(
            lambda s: demands.impose(
                s, demands.over(s, f"{kind}:{place}", by=OPERATOR), factor, starts=starts,
                reason="x", by=OPERATOR,
            )
        )  # fmt: skip
        self.model.demands[row.id] = (place, factor, starts or self.now)

    def enrol(self, a: int, _b: int, _c: int) -> None:
        """An authenticator app."""
        person = self.people[a % 3]
        own = self.model.enrolled.setdefault(person, {})
        if person not in self.model.left and len(own) < account.MOST:
            self.world.enrol(self.rows[person])
            self._enrolled(person, "app")

    def passkey(self, a: int, _b: int, _c: int) -> None:
        """A passkey, made by a device of one's own."""
        person = self.people[a % 3]
        own = self.model.enrolled.setdefault(person, {})
        if person in self.model.left or len(own) == account.MOST:
            return
        by = signed_in(self.rows[person])
        with self.world.store.reading() as session:
            asked = account.ask_for_passkey(session, browser="here", by=by)
        device = Device(self.world.store.settings.public_url)
        answer = Answer(device.make(asked), asked.sealed, "here")
        self.world.do(lambda s: account.add_passkey(s, answer, name="key", by=by))
        self._enrolled(person, "passkey")

    def drop(self, a: int, b: int, _c: int) -> None:
        """Remove an app or a passkey, but never the last."""
        person = self.people[a % 3]
        own = self.model.enrolled.get(person, {})
        if person not in self.model.left and len(own) > 1:
            gone = list(own)[b % len(own)]
            by = signed_in(self.rows[person])
            self.world.do(lambda s: account.remove(s, gone, by=by))
            del own[gone]

    def _enrolled(self, person: str, kind: str) -> None:
        own = self.model.enrolled[person]
        with self.world.store.reading() as session:
            now = authenticators.strong(session, self.rows[person].id)
        (new,) = {each.id for each in now} - own.keys()
        own[new] = kind

    def crash(self, a: int, b: int, c: int) -> None:
        """Another act that ends before its commit, and the next particulars half-way likewise."""
        self.cut = True
        act = ("issue", "suspend", "revoke", "offboard", "move")[a % 5]
        model, kept = copy.deepcopy(self.model), dict(self.rows)
        with dying(self.world):
            getattr(self, act)(b, c, a)
        self.model, self.rows = model, kept

    # --- what must agree

    def agree_with_the_log(self) -> None:
        """What is decided now is what the entries say, recomputed from them alone."""
        with self.world.store.reading() as session:
            logs = ["house", *(self.rows[name].id for name in {*self.model.client_of.values()})]
            new = []
            for log_id in logs:
                found = select(Entry.leaf).where(
                    Entry.log_id == log_id, Entry.seq >= self.read.setdefault(log_id, 0)
                )
                leaves = [json.loads(leaf) for leaf in session.execute(found).scalars()]
                self.read[log_id] += len(leaves)
                new += leaves
            self.replay.follow(new)
            asked = [
                (self.rows[person].id, action, kind, self.rows[name].id,
                 Question(subject=person, action=action, kind=kind, code=name))
                for kind, name in self.scopes if kind in {"project", "dataset"}
                for action in ASKED for person in self.people
            ]  # fmt: skip
            decided = evaluation.evaluate_many(session.connection(), [one[4] for one in asked])
        for (*names, question), decision in zip(asked, decided, strict=True):
            expected = self.replay.permits(*names, at=self.now)
            assert decision.permit == expected, (question, decision)
        self.compared += len(asked)

    def _told(self, suspension: str | None, how: str, touched: set[str]) -> None:
        """Particulars: an entry for each grant touched in its client's log, and no other.

        Of one suspension, or of whichever held who was moved out (None).
        """
        before = self._entries()
        if self.cut:
            with dying(self.world):
                self.world.write_particulars()
            self.cut = False
        self.world.write_particulars()
        new = [entry for entry in self._entries()[len(before):]
               if suspension in {None, entry["refs"]["suspension"]}]  # fmt: skip
        kinds = {"affected": {"grant.suspended", "grant.review_required"},
                 "resumed": {"grant.resumed"}}[how]  # fmt: skip
        assert {entry["type"] for entry in new} <= kinds
        assert Counter(entry["refs"]["grant"] for entry in new) == Counter(touched)

    def _entries(self) -> list[dict[str, Any]]:
        found = [
            entry
            for client in sorted(set(self.model.client_of.values()))
            for entry in self.world.entries(
                self.rows[client].id, "grant.suspended", "grant.review_required", "grant.resumed"
            )
        ]
        return sorted(found, key=lambda entry: entry["time"])

    def agree(self, model: Model, at: datetime, *, past: bool) -> None:
        resources = [(kind, name) for kind, name in self.scopes if kind in {"project", "dataset"}]
        with clock.at(self.now + MINUTE if past else at), self.world.store.reading() as session:
            for kind, name in resources:
                for action in ASKED:
                    expected = model.answer(kind, name, action, at)
                    found = evaluation.search(
                        session, action=action, kind=kind, code=name, by=OPERATOR,
                        at=at if past else None,
                    ).rows  # fmt: skip
                    assert {reach.grant_id for reach in found} == expected, (kind, name, action)
                    for person in self.people:
                        decision = evaluation.evaluate(
                            session,
                            Question(subject=person, action=action, kind=kind, code=name,
                                     at=at if past else None),
                        )  # fmt: skip
                        able = {g for g in expected if model.grants[g].subject == person}
                        assert decision.permit == bool(able), (kind, name, action, decision)
                        assert decision.grant_id in able or not able
        if not past:
            with clock.at(at):
                self._searches_agree(model, at)

    def _searches_agree(self, model: Model, at: datetime) -> None:
        """The three searches of people, places and actions, a page of one at a time where long."""
        able = {
            (person, kind, name, action)
            for kind, name in self.scopes if kind in {"project", "dataset"}
            for action in ASKED
            for person in {model.grants[g].subject for g in model.answer(kind, name, action, at)}
        }  # fmt: skip
        store, page = self.world.store, paging.Page()
        for kind, name in self.scopes:
            if kind not in {"project", "dataset"}:
                continue
            for action in ASKED:
                found = searching.subjects(
                    store, action=action, kind=kind, code=name, page=page, by=OPERATOR
                )
                assert {(p, kind, name, action) for p in found.names} == {
                    one for one in able if one[1:] == (kind, name, action)
                }
            person = self.people[len(name) % 3]
            does = searching.actions(store, person, kind=kind, code=name, page=page, by=OPERATOR)
            assert {(person, kind, name, a) for a in does.names} == {
                one for one in able if one[:3] == (person, kind, name)
            }
        for person in self.people:
            for kind, action in (("project", "read"), ("dataset", "annotate")):
                there = searching.resources(
                    store, person, action=action, kind=kind, page=page, by=OPERATOR
                )
                assert {(person, kind, name, action) for name in there.names} == {
                    one for one in able if (one[0], one[1], one[3]) == (person, kind, action)
                }


ACTS = ["issue", "issue", "issue", "suspend", "suspend", "lift", "release", "narrow",
        "change_mode", "revoke", "offboard", "move", "demand", "demand", "enrol", "passkey",
        "drop", "drop", "crash"]  # fmt: skip
NUMBER = st.integers(0, 11)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(ACTS), NUMBER, NUMBER, NUMBER), min_size=8, max_size=18
)


@settings(
    max_examples=4,  # `bench histories` runs 200
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=HISTORIES, then=st.integers(0, 30))
def test_every_reading_of_the_rule_agrees_with_the_naive_one_now_and_then(
    world: World, acts: list[tuple[str, int, int, int]], then: int
) -> None:
    history = History(world)
    history.live(acts)
    history.agree(history.model, history.now, past=False)
    for place in {then % len(history.past), len(history.past) // 2}:
        at, model = history.past[place]
        history.agree(model, at + PAST, past=True)
    assert deriving.differences(world.store) == []
