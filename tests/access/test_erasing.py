"""Erasure: nothing that names the person is left, every proof stays, and nothing else may go."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import LargeBinary, String, insert, select, text

from govern import clock, errors
from govern.access import deriving, erasing, lists, offboarding
from govern.access.bulk import BulkAct
from govern.access.lists import SavedFilter
from govern.audit import export, fsck, holding, verify
from govern.audit.export import Filter
from govern.audit.record import RECORDED
from govern.audit.signer import Signer
from govern.db import AccessBase, Base
from govern.identity import resets, sealing_keys, sessions, subjects
from govern.identity.passkeys import Passkey
from govern.identity.subjects import Subject
from govern.signals.mail.tables import MailAct, MailDelivery, State
from tests.factory import OPERATOR, PASSWORD, World, person

if TYPE_CHECKING:
    from govern.db import Database

WORD = "quetzal"


def erase(world: World, subject: Subject, **more: Any) -> erasing.Erased:
    given: dict[str, Any] = {"reason": "by law", "by": OPERATOR} | more
    done: erasing.Erased = world.do(
        lambda s: erasing.erase(s, s.get_one(Subject, subject.id), **given)
    )
    return done


def put(world: World, table: Any, values: dict[str, Any]) -> None:
    adding = insert(table).values(**values)
    world.do(lambda s: s.execute(adding, execution_options=RECORDED))


def left(store: Database) -> list[str]:
    """Where the word still stands, in any column of any row of either database."""
    found = []
    for base, reading in ((Base, store.reading), (AccessBase, store.access_reading)):
        with reading() as session:
            for table in base.metadata.sorted_tables:
                for row in session.execute(select(table)).mappings():
                    for name, value in row.items():
                        told = value.decode(errors="replace") if isinstance(value, bytes) else value
                        if WORD in str(told).lower():
                            found.append(f"{table.name}.{name}: {str(told)[:80]}")
    return found


def checked(store: Database, *, client: str | None = None, where: Filter | None = None) -> Any:
    out = BytesIO()
    export.run(store, out, form="jsonl", client=client, where=where or Filter(), by=OPERATOR)
    return verify.check(BytesIO(out.getvalue()), keys=[Signer(store.settings).key])


def known(world: World, name: str = "Quetzal") -> Subject:
    """Someone of whom every place that can tell something does."""
    given = subjects.Particulars.checked(
        external_id=f"{name}-7", email=f"{name}@people.example", full_name=f"{name} Person",
        kind="annotator", country="KE", expertise=f"{name} song",
    )  # fmt: skip
    found: Subject = world.do(lambda s: subjects.register(s, given, by=OPERATOR))
    return found


def typed_by_others(world: World, neighbour: Subject) -> None:
    """Filters kept to find them and another, and a reason that names them."""
    admin = person(world.staff())
    for words in ("QUETZAL-7", "quetzal@people.example", neighbour.external_id):
        asked = lists.Asked(filters={"q": words})
        world.do(
            lambda s, asked=asked, words=words: lists.save(
                s, lists.PEOPLE, asked, name=f"like {words}", shared=True, by=admin
            )
        )
    put(world, BulkAct, {"id": "blk_1", "act": "revoke", "details": {}, "number": 1,
                         "reason": "Told by quetzal ii (Quetzal-7), and P17", "digest": "",
                         "ordered_by": "operator:tester", "made_at": clock.utcnow()})  # fmt: skip


def test_nothing_that_names_them_is_left_and_every_proof_is(world: World) -> None:
    store, now = world.store, clock.utcnow()
    one, other = (world.project(code, client=world.client(f"{code}-c")) for code in ("P1", "P2"))
    subject, neighbour = known(world), world.subject()
    for project in (one, other):
        world.grant(subject, project)
    world.grant(neighbour, one)
    world.activate(subject)
    sessions.begin(store, subject.email, PASSWORD, device="Quetzal on Linux")
    world.do(lambda s: resets.ask(s, subject.email))
    world.do(lambda s: subjects.change(s, s.merge(subject), full_name="Quetzal II", by=OPERATOR))
    suspended = world.suspend(
        f"subject:{subject.external_id}", internal_reason="quetzal took data", note="Dear Quetzal"
    )
    world.suspend(f"subject:{neighbour.external_id}", internal_reason="another matter")
    rows = [
        (Passkey, {"id": "pky_1", "subject_id": subject.id, "credential_id": b"quetzal",
                   "public_key": b"quetzal", "sign_count": 0, "transports": "", "recorded_at": now,
                   "backed_up": False, "recognised": True, "name": "Quetzal's phone",
                   "ended_at": now}),
        (MailAct, {"id": "act", "type": "grants", "actor": "", "at": now, "cursor": ""}),
        (MailDelivery, {"act_id": "act", "subject_id": subject.id, "state": State.FAILED,
                        "attempts": 1, "error": "no such user: quetzal@people.example"}),
    ]  # fmt: skip
    for table, values in rows:
        put(world, table, values)
    typed_by_others(world, neighbour)
    assert len(left(store)) > 10
    world.do(
        lambda s: offboarding.offboard(
            s, s.get_one(Subject, subject.id), reason="Quetzal left", by=OPERATOR
        )
    )
    Signer(store.settings).sign(store)

    done = erase(world, subject)
    assert left(store) == []
    with store.reading() as session:
        (act, kept) = (
            session.execute(select(each)).scalar_one() for each in (BulkAct, SavedFilter)
        )
        assert (act.reason, kept.filters) == (
            "Told by erased (erased), and P17", {"q": neighbour.external_id},
        )  # fmt: skip
    assert done.values > 8
    logs = ["house", one.client_id, other.client_id]
    told = {log_id: world.entries(log_id, "subject.erased") for log_id in logs}
    assert all(entry["refs"] == {"subject": subject.id} for [entry] in told.values())
    assert sum(entry["data"]["values"] for [entry] in told.values()) == done.values
    assert told[one.client_id][0]["data"]["suspensions"] == [suspended.id]
    assert told["house"][0]["data"]["rows"] == done.rows
    # The reasons of others, and who acted, are as they were.
    with store.reading() as session:
        query = text("SELECT count(*) FROM log_value WHERE value = 'another matter'")
        assert session.execute(query).scalar_one() == 2
        query = text("SELECT count(*) FROM log_value WHERE name = 'actor' AND value IS NULL")
        assert session.execute(query).scalar_one() == 0

    signer = Signer(store.settings)
    signer.sign(store)
    assert fsck.run(store, signer).damage == ()
    differing = [each.message for each in deriving.differences(store)]
    assert [words for words in differing if "pky_1" not in words] == []  # that we put there
    for client in (None, one.client_id):
        for where in (None, Filter(types=("grant.issued",)), Filter(subject=subject.id)):
            report = checked(store, client=client, where=where)
            assert report.ok, report.damage
            assert any("erased before" in words for words in report.does_not_prove)
    assert sealing_keys.rotate(store, by=OPERATOR).resealed >= 0
    assert world.ask(subject, one).reason != "permitted"

    with pytest.raises(errors.AlreadyEnded):
        erase(world, subject)
    # They come back as somebody new, and are erased anew by themselves.
    again = known(world)
    assert again.id != subject.id
    erase(world, again)
    assert left(store) == []


def test_whoever_holds_access_or_is_under_a_hold_is_not_erased(world: World) -> None:
    store, project = world.store, world.project()
    subject, admin = known(world), replace(person(world.staff("admin")), factor_at=None)
    grant = world.grant(subject, project)
    for more, error in (
        ({}, errors.Conflict),
        ({"reason": " "}, errors.Invalid),
        ({"by": admin}, errors.FreshFactorRequired),
        ({"by": person(world.staff("auditor"), "auditor")}, errors.Forbidden),
    ):
        with pytest.raises(error):
            erase(world, subject, **more)
    world.revoke(grant)
    hold = world.do(lambda s: holding.place(s, project.client_id, reason="letter", by=OPERATOR))
    with pytest.raises(errors.Conflict, match="legal hold"):
        erase(world, subject)
    stranger, colleague = world.subject(), world.staff("auditor")
    erase(world, stranger)  # of whom that client's log knows nothing
    with pytest.raises(errors.Conflict, match="legal hold"):
        erase(world, colleague)  # whose role is over that client too
    assert hold.client_id == project.client_id
    assert len(left(store)) > 3
    world.do(lambda s: holding.release(s, project.client_id, reason="settled", by=OPERATOR))
    erase(world, subject)
    assert left(store) == []
    # Who had not left has left with it.
    assert len(world.entries("house", "subject.offboarded")) == 2
    with store.reading() as session:
        row = session.get_one(Subject, subject.id)
        assert row.ended_at is not None
        assert row.erased_at is not None
        assert (row.full_name, row.email) == ("erased", row.id)


def test_a_value_that_went_without_an_erasure_is_damage(world: World) -> None:
    store, subject, other = world.store, known(world), world.subject()
    seqs = {
        entry["refs"]["subject"]: entry["seq"]
        for entry in world.entries("house", "subject.registered")
    }
    erase(world, subject)
    signer = Signer(store.settings)
    signer.sign(store)
    assert fsck.run(store, signer).ok
    empty = "UPDATE log_value SET salt = NULL, value = NULL WHERE log_id = 'house' AND seq = :seq"
    world.do(lambda s: s.execute(text(f"{empty} AND name = 'email'"), {"seq": seqs[other.id]}))
    assert [(each.kind, each.seq) for each in fsck.run(store, signer).damage] == [
        ("erased", seqs[other.id]),
    ]  # fmt: skip
    assert [(each.kind, each.seq) for each in checked(store).damage] == [
        ("erased", seqs[other.id]),
    ]  # fmt: skip
    world.do(lambda s: s.execute(text(f"{empty} AND name = 'actor'"), {"seq": seqs[subject.id]}))
    assert {each.seq for each in fsck.run(store, signer).damage} == {*seqs.values()}
    world.do(
        lambda s: s.execute(text("UPDATE subject SET erased_at = NULL"), execution_options=RECORDED)
    )
    assert any(subject.id in each.message for each in deriving.differences(store))


# Columns of rows of a person that tell nothing of them: ids, random marks, words of ours.
OPAQUE = {
    "id", "subject_id", "token_hash", "cancel_hash", "handle", "state", "kind", "client_id",
    "role", "factor", "outcome", "assigned_by", "issued_by", "asked_by", "approved_by",
    "decided_by", "linked_by", "amr", "audience", "scope",
}  # fmt: skip


def test_every_column_of_a_persons_row_is_emptied_or_known_to_be_opaque() -> None:
    unknown = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        if "subject_id" in table.columns and not table.name.startswith("log_")
        for column in table.columns
        if isinstance(column.type, String | LargeBinary)
        and not (column.info.get("personal") or column.foreign_keys or column.primary_key)
        and column.name not in OPAQUE
    ]
    assert unknown == []
