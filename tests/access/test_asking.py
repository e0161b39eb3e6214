"""Asked-for access: approved by whom the policy names, as many as it says, and dead in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, update

from govern import clock, errors
from govern.access import asking, clients, deriving, ending, offboarding, requests
from govern.access.asking import Openness, Pausing, RequestApproval, RequestPolicy
from govern.access.grants import Grant
from govern.access.modes import Mode
from govern.access.requests import Request
from govern.audit.record import RECORDED
from govern.db import Session
from govern.principal import Kind, Principal
from tests.factory import OPERATOR, person, together

if TYPE_CHECKING:
    from govern.access.clients import Client, Dataset, Project
    from govern.identity.subjects import Subject
    from tests.factory import World


class Place:
    """A project of ASTER, somebody who works on it, and who decides."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client: Client = world.client("ASTER")
        self.project: Project = world.project(client=self.client)
        self.audio: Dataset = world.dataset(self.project)
        self.bundle = world.entitlement("reviewer", "read", "review")
        self.ada: Subject = world.subject("ada")
        world.grant(self.ada, self.project)
        self.ann, self.bob = world.staff(name="ann"), world.staff("approver", name="bob")

    def ask(self, who: Subject | None = None, **more: Any) -> Request:
        asker = who or self.ada
        given = {"by": plain(asker), "people": [asker], "project": self.project} | more
        by, people, project = given.pop("by"), given.pop("people"), given.pop("project")
        (row,) = self.world.do(
            lambda s: asking.ask_for(
                s, people, project, self.bundle, until=clock.now(s) + timedelta(days=30),
                reason="a new batch", by=by, **given,
            )
        )  # fmt: skip
        return row

    def approve(self, row: Request, by: Subject, role: str = "admin") -> Request:
        return self.world.do(
            lambda s: requests.approve(s, row.id, by=person(by, role))
        )  # fmt: skip

    def policy(self, over: str = "project:Kingfisher", **more: Any) -> None:
        given = {
            "roles": ("admin", "approver"), "needed": 1, "pausing": Pausing.WAITS, "days": 14,
            "reason": "contract", "by": OPERATOR,
        } | more  # fmt: skip
        self.world.do(lambda s: asking.set_(s, asking.over(s, over, by=OPERATOR), **given))

    def state(self, row: Request) -> tuple[str | None, str]:
        asking.tend(self.world.store)
        with self.world.store.reading() as session:
            found = session.get_one(Request, row.id)
            return found.outcome, found.details.get("cause", "")

    def reviews(self) -> int:
        query = select(Grant.id).where(Grant.entitlement_id == self.bundle.id)
        with self.world.store.reading() as session:
            return len(session.execute(query).all())


def plain(subject: Subject) -> Principal:
    """Somebody signed in who holds no role."""
    return Principal(kind=Kind.SUBJECT, id=subject.id, amr=("pwd",))


@pytest.fixture
def place(world: World) -> Place:
    return Place(world)


def damage(world: World) -> list[str]:
    return [each.message for each in deriving.differences(world.store)]


def test_a_contractor_asks_for_what_they_know_of_and_one_approval_gives_it(place: Place) -> None:
    row = place.ask()
    with pytest.raises(errors.AlreadyExists):
        place.ask()
    assert place.reviews() == 0
    with pytest.raises(errors.Forbidden):
        place.world.do(lambda s: requests.approve(s, row.id, by=plain(place.ada)))
    done = place.approve(row, place.bob, "approver")
    assert (done.outcome, place.reviews()) == ("approved", 1)
    types = [entry["type"] for entry in place.world.entries(place.client.id)]
    assert types[-4:] == [
        "request.opened", "request.endorsed", "grant.issued", "request.approved",
    ]  # fmt: skip
    with place.world.store.reading() as session:
        (told,) = asking.mine(session, by=plain(place.ada))
        assert asking.mine(session, by=plain(place.ann)) == []
    assert (told.outcome, told.ended_at, told.approvals) == ("approved", done.ended_at, 1)
    assert damage(place.world) == []


def test_nobody_learns_by_asking_what_they_do_not_know_of(place: Place) -> None:
    world = place.world
    hidden = world.project("Heron", client=place.client)
    own = world.subject()
    world.grant(own, place.project, dataset=place.audio)
    video = world.dataset(place.project, "kingfisher-video")
    place.ask(own, dataset=place.audio)
    place.ask(own)  # its project they know of, whole
    for more in ({"project": hidden}, {"dataset": video}):
        with pytest.raises(errors.Unknown) as refusal:
            place.ask(own, **more)
        what = hidden if "project" in more else video
        assert str(refusal.value).endswith(f"“{what.code}”."), "as of a code that is nowhere"
    with world.store.reading() as session:
        for typed in ("kingfisher-video", "nowhere"):
            with pytest.raises(errors.Unknown) as refusal:
                asking.find_place(session, "Kingfisher", typed, by=plain(own))
            assert str(refusal.value) == f"There is no dataset “{typed}”."
    place.ask(dataset=video)  # who holds the project whole knows its datasets
    stranger = world.subject()
    with pytest.raises(errors.Unknown):
        place.ask(stranger)
    with world.store.reading() as session:
        assert asking.known_places(session, by=plain(stranger)) == []
        assert asking.known_places(session, by=plain(own)) == [
            ("Kingfisher", None), ("Kingfisher", "kingfisher-audio"),
        ]  # fmt: skip
        for each in session.execute(select(Request.id)).scalars():
            with pytest.raises(errors.Unknown):
                asking.own(session, each, by=plain(stranger))


def test_a_project_that_is_new_to_someone_is_shown_and_asked_for_where_a_policy_opens_it(
    place: Place,
) -> None:
    world = place.world
    heron = world.project("Heron", client=place.client)
    siskin = world.project("Siskin", client=world.client("BOREAL"))
    audio = world.dataset(heron, "heron-audio")
    stranger = world.subject()

    def shown(who: Subject) -> list[str]:
        with world.store.reading() as session:
            return asking.open_places(session, by=plain(who))

    assert (shown(place.ada), shown(stranger)) == ([], []), "nothing unless a policy says so"
    place.policy("client:ASTER", open_to=Openness.CLIENT)
    assert (shown(place.ada), shown(stranger)) == (["Heron"], [])
    for who, more in ((stranger, {"project": heron}), (place.ada, {"project": siskin})):
        with pytest.raises(errors.Unknown) as refusal:
            place.ask(who, **more)
        assert str(refusal.value) == f"There is no project “{more['project'].code}”."
    row = place.ask(project=heron)
    with pytest.raises(errors.Unknown):
        place.ask(project=heron, dataset=audio)
    assert place.approve(row, place.ann).outcome == "approved"
    assert shown(place.ada) == []  # it is no longer new
    # The nearest policy counts: a project's own closes it, and opens it further.
    place.policy("project:Heron")
    assert shown(place.bob) == []
    place.policy("project:Heron", open_to=Openness.EVERYBODY)
    assert (shown(stranger), shown(place.bob)) == (["Heron"], ["Heron"])
    place.ask(stranger, project=heron)
    with pytest.raises(errors.Invalid, match="not the house"):
        place.policy("house", open_to=Openness.EVERYBODY)
    world.do(
        lambda s: ending.end(
            s, s.get_one(type(heron), heron.id), number=1, reason="over", by=OPERATOR
        )
    )
    assert shown(world.subject()) == []
    assert damage(world) == []


def test_a_lead_asks_for_the_clients_own_people_and_an_admin_for_anybody(place: Place) -> None:
    world = place.world
    lead, colleague, stranger = world.subject("lead"), world.subject("col"), world.subject("str")
    world.grant(colleague, place.project)
    with pytest.raises(errors.Unknown):
        place.ask(by=plain(lead), people=[colleague])
    place.policy(leads=["lead"])
    with pytest.raises(errors.Unknown) as refusal:
        place.ask(by=plain(lead), people=[stranger])
    assert str(refusal.value) == "Nobody is known as “str”.", "as of a name that is nobody's"
    row = place.ask(by=plain(lead), people=[colleague])
    with pytest.raises(errors.AlreadyExists):
        place.ask(by=person(place.ann), people=[colleague])
    place.ask(by=person(place.ann), people=[stranger])
    for who in (lead, colleague):
        with world.store.reading() as session:
            (told,) = asking.mine(session, by=plain(who))
            assert (told.id, told.person) == (row.id, None if who is colleague else "col")
    world.do(lambda s: asking.take_back(s, row.id, by=plain(colleague)))
    assert place.state(row) == ("withdrawn", "")


def test_the_nearest_policy_says_who_and_how_many_and_holds_for_open_requests(
    place: Place,
) -> None:
    cid = place.world.staff(name="cid")
    place.policy("house", needed=2)
    row = place.ask()
    assert place.approve(row, place.ann).outcome is None
    with pytest.raises(errors.AlreadyExists):
        place.approve(row, place.ann)
    place.policy("client:ASTER", roles=("admin",), needed=3)
    with pytest.raises(errors.SamePerson):
        place.approve(row, place.bob, "approver")
    assert place.approve(row, cid).outcome is None
    place.policy(roles=(), people=["bob", "cid"], needed=2)
    with place.world.store.reading() as session:
        stands = asking.tally(session, session.get_one(Request, row.id))
        assert [one.counts for one in stands.given] == [False, True], "ann is named no longer"
        assert (stands.needed, stands.missing) == (2, 1)
        assert asking.calling(session, by=person(place.bob, "approver")) == 1
        assert asking.calling(session, by=person(place.ann)) == 0
    seen = stands.version
    assert place.reviews() == 0
    place.policy(roles=(), people=["bob", "cid"], needed=1)
    with pytest.raises(errors.Stale):
        place.world.do(
            lambda s: requests.approve(s, row.id, seen=seen, by=person(place.bob, "approver"))
        )
    assert place.approve(row, cid).outcome == "approved", "who gave theirs completes it"
    assert place.reviews() == 1
    assert damage(place.world) == []


def test_a_policy_names_the_field_at_fault_and_is_not_overwritten_unseen(place: Place) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("needed", {"needed": 0}), ("days", {"days": 0}), ("roles", {"roles": ("auditor",)}),
        ("people", {"roles": (), "people": ["bob"], "needed": 2}), ("people", {"people": ["no"]}),
        ("leads", {"leads": ["no"]}), ("reason", {"reason": " "}),
    ]  # fmt: skip
    for field, more in wrong:
        with pytest.raises(errors.Invalid) as refusal:
            place.policy(**more)
        assert refusal.value.field == field
    place.policy(seen="")
    with pytest.raises(errors.Stale):
        place.policy(needed=2, seen="")
    by = person(place.world.staff(client=place.client), client=place.client.id)
    place.policy("client:ASTER", by=by)
    with pytest.raises(errors.GovernError):
        place.policy("house", by=by)
    with pytest.raises(errors.Forbidden):
        place.policy(by=person(place.bob, "approver"))

    def off(session: Session) -> None:
        over = asking.over(session, "project:Kingfisher", by=OPERATOR)
        asking.end(session, over, reason="as elsewhere", by=OPERATOR)

    place.world.do(off)
    with pytest.raises(errors.AlreadyEnded):
        place.world.do(off)
    assert damage(place.world) == []


def test_a_review_takes_one_more_unless_who_asked_could_have_given_it(place: Place) -> None:
    other = place.world.subject()
    row, admins = place.ask(), place.ask(by=person(place.ann), people=[other])
    place.world.suspend("project:Kingfisher", mode=Mode.UNDER_REVIEW)
    assert place.approve(row, place.bob, "approver").outcome is None
    assert place.approve(row, place.ann).outcome == "approved"
    assert place.approve(admins, place.bob, "approver").outcome == "approved"


def test_nothing_is_granted_in_a_pause_and_a_request_waits_or_dies_as_the_policy_says(
    place: Place,
) -> None:
    row = place.ask()
    pause = place.world.suspend("project:Kingfisher")
    with pytest.raises(errors.Held):
        place.approve(row, place.ann)
    assert place.state(row) == (None, "")
    place.policy(pausing=Pausing.DIES)
    assert place.state(row) == ("died", "paused")
    with pytest.raises(errors.Held):
        place.ask()
    place.world.lift(pause)
    later = place.ask()
    assert place.state(later) == (None, ""), "that pause was over before it was asked"
    short = place.world.suspend("client:ASTER", mode=Mode.READ_ONLY)
    place.world.lift(short)
    assert place.state(later) == ("died", "paused"), "however short the pause"
    with pytest.raises(errors.AlreadyEnded):
        place.approve(later, place.ann)
    assert place.reviews() == 0
    assert damage(place.world) == []


def test_a_request_dies_with_its_end_and_says_of_what(place: Place) -> None:
    world = place.world
    lead, gone, kept = world.subject("lead"), world.subject(), world.subject()
    for each in (gone, kept):
        world.grant(each, place.project)
    place.policy(leads=["lead"])
    for_gone, for_kept = (place.ask(by=plain(lead), people=[one]) for one in (gone, kept))
    unanswered, own = place.ask(dataset=place.audio), place.ask()
    for who in (gone, lead):
        world.do(
            lambda s, who=who: offboarding.offboard(
                s, s.get_one(type(who), who.id), reason="left", by=OPERATOR
            )
        )
    assert place.state(for_gone) == ("died", "person_left")
    assert place.state(for_kept) == ("died", "asker_left")
    past = clock.utcnow() - timedelta(minutes=1)
    world.do(
        lambda s: s.execute(
            update(Request).where(Request.id == unanswered.id).values(expires_at=past),
            execution_options=RECORDED,
        )
    )
    with pytest.raises(errors.AlreadyEnded):
        place.approve(unanswered, place.ann)
    assert place.state(unanswered) == ("expired", "unanswered")

    def end(session: Session) -> None:
        row = clients.project(session, "Kingfisher")
        number = ending.open_grants(session, row)
        ending.end(session, row, number=number, reason="over", by=OPERATOR)

    world.do(end)
    with pytest.raises(errors.AlreadyEnded):
        place.approve(own, place.ann)
    assert place.state(own) == ("died", "project_ended")
    died = world.entries(place.client.id, "request.died")
    assert [entry["data"]["cause"] for entry in died] == [
        "person_left", "asker_left", "unanswered", "project_ended",
    ]  # fmt: skip


def test_who_refuses_says_why_and_the_asker_reads_it(place: Place) -> None:
    row = place.ask()
    with pytest.raises(errors.Invalid) as refusal:
        place.world.do(lambda s: requests.withdraw(s, row.id, by=person(place.ann)))
    assert refusal.value.field == "reason"
    place.world.do(
        lambda s: requests.withdraw(s, row.id, reason="not this month", by=person(place.ann))
    )
    with place.world.store.reading() as session:
        (told,) = asking.mine(session, by=plain(place.ada))
    assert (told.outcome, told.said) == ("refused", "not this month")
    assert told.ended_at is not None


def test_whatever_the_rows_say_that_no_entry_says_is_named(place: Place) -> None:
    place.policy(needed=2)
    row = place.ask()
    place.approve(row, place.ann)
    done = place.ask(dataset=place.audio)
    place.world.do(lambda s: asking.take_back(s, done.id, by=plain(place.ada)))
    now = clock.utcnow()
    policy, approval = RequestPolicy.__table__, RequestApproval.__table__
    request = Request.__table__
    lies: list[tuple[Any, str]] = [
        (update(policy).values(needed=1), "The row of the policy"),
        (update(policy).values(open_to="everybody"), "The row of the policy"),
        (update(policy).values(ended_at=now), "is ended by its row, and by no entry"),
        (update(approval).values(approved_by=place.bob.id), "The row of the approval"),
        (delete(approval), "was recorded, and has no row"),
        (update(request).where(request.c.id == row.id).values(outcome="approved", ended_at=now),
         f"The request {row.id} is ended by its row, and by no entry"),
        (update(request).where(request.c.id == done.id).values(outcome="approved"),
         f"The request {done.id} ended at"),
        (update(request).where(request.c.id == done.id).values(ended_at=None),
         f"The request {done.id} ended at"),
        (update(request).where(request.c.id == row.id).values(subject_id=place.bob.id),
         f"The row of the request {row.id} is not what was recorded"),
        (update(request).where(request.c.id == row.id).values(dataset_id=place.audio.id),
         f"The row of the request {row.id} is not what was recorded"),
    ]  # fmt: skip
    store = place.world.store
    for lie, words in lies:
        with Session(store.writer, store) as session:
            session.connection().execute(lie)
            found = list(asking.differences(session))
            session.rollback()
        assert any(words in each for each in found), (words, found)
    assert damage(place.world) == []


def approving(place: Place, row: Request, who: Subject, role: str = "admin") -> Any:
    return lambda s: requests.approve(s, row.id, by=person(who, role))


def test_two_approvals_at_once_reach_the_number_once(place: Place) -> None:
    place.policy(needed=2)
    row = place.ask()
    cid = place.world.staff(name="cid")
    results = together(
        place.world.store, approving(place, row, place.ann), approving(place, row, cid)
    )
    assert sorted(str(one.outcome) for one in results) == ["None", "approved"]
    assert place.reviews() == 1
    row = place.ask(dataset=place.audio)
    place.approve(row, place.ann)
    results = together(
        place.world.store, approving(place, row, place.bob, "approver"), approving(place, row, cid)
    )
    assert sum(isinstance(one, errors.AlreadyEnded) for one in results) == 1
    assert place.reviews() == 2
    assert damage(place.world) == []


def test_an_approval_races_what_would_stop_it_and_only_one_of_them_wins(place: Place) -> None:
    world = place.world

    def withdraw(row: Request) -> Any:
        return lambda s: asking.take_back(s, row.id, by=plain(place.ada))

    row = place.ask()
    results = together(world.store, approving(place, row, place.ann), withdraw(row))
    outcome, _ = place.state(row)
    assert outcome in {"approved", "withdrawn"}
    assert sum(isinstance(one, errors.AlreadyEnded) for one in results) == 1
    assert place.reviews() == (outcome == "approved")

    def raised(session: Session) -> None:
        over = asking.over(session, "project:Kingfisher", by=OPERATOR)
        asking.set_(
            session, over, roles=("admin",), needed=2, pausing=Pausing.WAITS, days=9,
            reason="more", by=OPERATOR,
        )  # fmt: skip

    had = place.reviews()
    row = place.ask(dataset=place.audio)
    together(world.store, approving(place, row, place.ann), raised)
    entries = world.entries(place.client.id, "request_policy.set", "request.endorsed")
    first_by_log = entries[-1]["type"] == "request_policy.set"
    assert (place.reviews() - had == 1) is first_by_log, "what was in force at its place counts"
    assert place.state(row)[0] == ("approved" if first_by_log else None)

    def pause(session: Session) -> Any:
        from govern.access import suspensions

        return suspensions.open(
            session, [suspensions.target(session, "client:ASTER")], mode=Mode.PAUSED,
            reason=suspensions.Reason.CLIENT_REQUEST, by=OPERATOR,
        )  # fmt: skip

    had = place.reviews()
    heron = world.project("Heron", client=place.client)
    world.grant(place.ada, heron)
    row = place.ask(project=heron)
    results = together(world.store, approving(place, row, place.bob, "approver"), pause)
    entries = world.entries(place.client.id, "suspension.opened", "request.approved")
    refused = isinstance(results[0], errors.Held)
    assert refused or entries[-1]["type"] == "suspension.opened"
    assert place.reviews() - had == (0 if refused else 1)
    assert damage(world) == []


def test_an_approval_at_the_end_of_its_project_gives_nothing_that_outlives_it(
    place: Place,
) -> None:
    row = place.ask()
    with place.world.store.reading() as session:
        told = ending.open_grants(session, clients.project(session, "Kingfisher"))

    def end(session: Session) -> int:
        project = clients.project(session, "Kingfisher")
        return ending.end(session, project, number=told, reason="over", by=OPERATOR)

    approved, ended = together(place.world.store, approving(place, row, place.ann), end)
    if isinstance(approved, Exception):
        assert isinstance(approved, errors.AlreadyEnded)
        assert place.reviews() == 0
        assert place.state(row) == ("died", "project_ended")
    else:
        assert isinstance(ended, errors.Brake), "one grant more than it was told of"
