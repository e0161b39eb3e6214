"""An export holds what the caller may see, proves itself, and leaves its row in the access log."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from govern import clock, errors
from govern.audit import export, holding, leaf, lines, log, record, retention, verify
from govern.audit.decisions import Access
from govern.audit.export import Filter
from govern.audit.signer import Signer
from govern.identity import roles
from govern.identity.roles import RoleAssignment
from govern.principal import SYSTEM, Kind, Principal, RoleHeld
from govern.tlog import merkle
from tests.audit.test_fsck import tamper
from tests.factory import OPERATOR, World
from tests.support.damage.filling import fill as everything

if TYPE_CHECKING:
    from govern.db import Database


PROVING = ("jsonl", "csv")


def fill(store: Database, log_id: str, count: int) -> None:
    """Entries in bulk: three people, a personal value in each fifth."""
    events = [
        record.Line(
            type="grant.issued" if seq % 2 else "grant.revoked",
            refs={"subject": f"sub_{seq % 3}", "project": f"prj_{seq % 7}"},
            private={"note": f"Zoë {seq}"} if seq % 5 == 0 else {},
        )
        for seq in range(count)
    ]
    store.transaction(lambda s: record.append_many(s, log_id, events, by=SYSTEM))


def auditor(client: str | None = None, *, fresh: bool = True) -> Principal:
    now = clock.utcnow()
    return Principal(
        kind=Kind.SUBJECT,
        id="sub_auditor",
        roles=(RoleHeld("auditor", client),),
        session="ses_1",
        factor_at=now if fresh else now - timedelta(minutes=6),
    )


def exported(
    store: Database,
    where: Filter | None = None,
    *,
    form: str = "jsonl",
    client: str | None = None,
    by: Principal = OPERATOR,
) -> tuple[bytes, export.Summary]:
    out = BytesIO()
    summary = export.run(store, out, form=form, client=client, where=where or Filter(), by=by)
    return out.getvalue(), summary


def checked(store: Database, file: bytes) -> verify.Report:
    return verify.check(BytesIO(file), keys=[Signer(store.settings).key])


def entries(file: bytes) -> list[dict[str, object]]:
    return [json.loads(line)["entry"] for line in file.splitlines() if line.startswith(b'{"seq":')]


def signed(store: Database) -> None:
    Signer(store.settings).sign(store)


@pytest.mark.parametrize("form", PROVING)
def test_an_export_of_everything_verifies(world: World, form: str) -> None:
    project = world.project()
    world.grant(world.subject(), project)
    fill(world.store, project.client_id, 700)
    signed(world.store)
    file, summary = exported(world.store, form=form)
    report = checked(world.store, file)
    assert report.ok, report.damage
    assert {each.log: each.size for each in report.logs} == summary.sizes
    assert report.rows == summary.rows == sum(summary.sizes.values())
    assert set(summary.logs) == {"house", project.client_id}


def test_the_exact_bytes_and_the_values_of_the_entries_are_in_it(world: World) -> None:
    world.client("ASTER")
    signed(world.store)
    file, _ = exported(world.store)
    with world.store.reading() as session:
        leaves = session.execute(select(log.Entry.leaf)).scalars().all()
    assert all(b',"entry":' + body + b"}\n" in file for body in leaves)
    assert b"operator:tester" in file
    assert b"Aster Labs" in file


def test_the_manifest_is_signed_and_says_up_to_when_each_log_is_complete(world: World) -> None:
    client = world.client("ASTER")
    fill(world.store, client.id, 20)
    signed(world.store)
    file, summary = exported(world.store, by=auditor(client.id))
    header, *_, last = map(json.loads, file.splitlines())
    [head] = header["logs"]
    assert head["through"] == entries(file)[-1]["time"]
    assert header["withheld"] == ["other_logs"]
    assert (last["rows"], last["erased"]) == (summary.rows, 0)
    report = checked(world.store, file)
    assert any("filter" in words for words in report.proves)
    whole, _ = exported(world.store)
    assert "withheld" not in json.loads(whole.splitlines()[0])


def test_a_machine_without_the_key_exports_what_is_signed_but_no_manifest(world: World) -> None:
    world.client("ASTER")
    signed(world.store)
    key = Signer(world.store.settings).key
    (world.store.settings.signer_dir / "log.key").unlink()
    file, _ = exported(world.store)
    report = verify.check(BytesIO(file), keys=[key])
    assert report.ok, report.damage
    assert any("filter" in words for words in report.does_not_prove)


def test_an_erased_value_leaves_its_place_in_the_file(world: World) -> None:
    client = world.client("ASTER")
    fill(world.store, client.id, 6)
    erase = f"UPDATE log_value SET salt = NULL, value = NULL WHERE log_id = '{client.id}' AND seq ="
    with world.store.reading() as session:
        seqs = session.execute(
            select(log.Value.seq).where(log.Value.log_id == client.id, log.Value.name == "note")
        ).scalars().all()  # fmt: skip
    whose = next(
        str(one["refs"]["subject"]) for one in world.entries(client.id) if one["seq"] == max(seqs)
    )
    world.do(lambda session: session.execute(text(f"{erase} {max(seqs)}")))
    signed(world.store)
    damaged, _ = exported(world.store)
    assert [(each.kind, each.seq) for each in checked(world.store, damaged).damage] == [
        ("erased", max(seqs)),
    ]  # fmt: skip
    account = record.Line(type="subject.erased", refs={"subject": whose})
    world.do(lambda s: record.append_many(s, client.id, [account], by=SYSTEM))
    with pytest.raises(errors.Unavailable, match="not signed"):
        exported(world.store)
    signed(world.store)
    for where in (None, Filter(types=("grant.issued",)), Filter(subject=whose)):
        file, _ = exported(world.store, where)
        assert b'"note":null' in file
        assert b'"erasures":1' in file.splitlines()[0]
        report = checked(world.store, file)
        assert report.ok, report.damage
        assert any("1 personal value said: erased" in words for words in report.does_not_prove)
        assert any("by 1 entry of type" in words for words in report.does_not_prove)
        events, _ = exported(world.store, where, form="ocsf")
        said = verify.check_events(BytesIO(events), keys=[Signer(world.store.settings).key])
        assert said.ok, said.damage
        told = " ".join(said.does_not_prove)
        for words in ("1 personal value said: erased", "still names who was erased",
                      "is the one that its entry committed to"):  # fmt: skip
            assert words in told


def test_what_the_house_does_about_a_client_is_in_its_own_log_and_names_no_other(
    world: World,
) -> None:
    client, other = world.client("ASTER"), world.client("BOREAL")
    colleague = world.staff("auditor", client=client)
    with world.store.reading() as session:
        role = session.execute(
            select(RoleAssignment.id).where(RoleAssignment.subject_id == colleague.id)
        ).scalar_one()
    world.do(lambda s: roles.withdraw(s, s.get_one(RoleAssignment, role), reason="x", by=OPERATOR))
    world.integration("both", clients=(client.id, other.id))
    world.demand("client:ASTER")
    world.do(lambda s: holding.place(s, client.id, reason="letter", by=OPERATOR))
    world.do(lambda s: retention.keep(s, client.id, 0, reason="contract", by=OPERATOR))
    signed(world.store)
    file, summary = exported(world.store, by=auditor(client.id))
    assert summary.logs == (client.id,)
    assert checked(world.store, file).ok
    assert {str(entry["type"]) for entry in entries(file)} == {
        "client.created", "role.assigned", "role.withdrawn", "integration.created", "demand.set",
        "hold.set", "retention.set",
    }  # fmt: skip
    assert other.id.encode() not in file


def test_each_entry_of_the_houses_that_names_a_client_stands_in_that_clients_log_too(
    world: World,
) -> None:
    """So its auditor has it proved without the size of the house's tree."""
    everything(world)
    with world.store.reading() as session:
        clients = session.execute(select(log.Log.id).where(log.Log.id != log.HOUSE)).scalars().all()
    logs = {log_id: world.entries(log_id) for log_id in (log.HOUSE, *clients)}
    told, theirs = set(), set()
    for client in clients:
        own = [(each["type"], each["time"]) for each in logs[client]]
        for entry in logs[log.HOUSE]:
            if client in entry.get("refs", {}).values():
                told.add(entry["type"])
                assert (entry["type"], entry["time"]) in own
        refs = [refs for each in logs[client] for refs in each.get("refs", {}).items()]
        theirs |= {it for kind, it in refs if kind in {"project", "dataset", "grant"}}
    assert len(told) > 3, told
    # Nothing else there leads to what is one client's.
    for entry in logs[log.HOUSE]:
        assert not theirs.intersection(entry.get("refs", {}).values()), entry


def test_every_line_is_what_the_format_says_whichever_way_it_was_written(world: World) -> None:
    """Entries that commit to nothing are written by the thousand, others one by one."""
    client = world.client("ASTER")
    for private in ({}, {"note": "Zoë"}, {}):
        plain = [record.Line(type="grant.issued", refs={}, private=private)] * 300
        world.do(lambda s, plain=plain: record.append_many(s, client.id, plain, by=SYSTEM))
    signed(world.store)
    file, _ = exported(world.store, client=client.id)
    with world.store.reading() as session:
        rows = session.execute(
            select(log.Entry.seq, log.Entry.leaf)
            .where(log.Entry.log_id == client.id)
            .order_by(log.Entry.seq)
        ).all()
        values: dict[int, dict[str, list[str] | None]] = {}
        for row in session.execute(
            select(log.Value).where(log.Value.log_id == client.id)
        ).scalars():
            values.setdefault(row.seq, {})[row.name] = [str(row.salt), str(row.value)]
    assert 0 < len(values) < len(rows)
    assert file.splitlines(keepends=True)[2:-1] == [
        lines.entry(seq, lines.encode(merkle.leaf_hash(body)), values.get(seq), body)
        for seq, body in rows
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_every_filter_leads_to_the_signed_root(world: World, data: st.DataObject) -> None:
    with world.store.reading() as session:
        size = log.known(session, "house").size
    if size < 600:
        fill(world.store, "house", 600)
        signed(world.store)
    with world.store.reading() as session:
        rows = session.execute(
            select(log.Entry).where(log.Entry.log_id == "house").order_by(log.Entry.seq)
        ).scalars().all()  # fmt: skip
    some = st.sampled_from(rows)
    where = Filter(
        subject=data.draw(st.sampled_from([None, "sub_0", "sub_1", "sub_nobody"])),
        project=data.draw(st.sampled_from([None, "prj_1"])),
        actor=data.draw(st.sampled_from([None, "system", "operator"])),
        types=tuple(data.draw(st.sets(st.sampled_from(["grant.issued", "grant.revoked", "x"])))),
        begin=data.draw(st.none() | some.map(lambda row: row.at)),
        end=data.draw(st.none() | some.map(lambda row: row.at)),
    )
    file, summary = exported(world.store, where, form=data.draw(st.sampled_from(PROVING)))
    assert checked(world.store, file).ok
    expected = [
        row
        for row in rows
        if where.subject in {None, row.subject_id}
        and where.project in {None, row.project_id}
        and where.actor in {None, row.actor}
        and (not where.types or row.type in where.types)
        and (where.begin is None or row.at >= where.begin)
        and (where.end is None or row.at < where.end)
    ]
    assert summary.rows == len(expected)


def test_what_came_after_the_newest_checkpoint_waits_for_the_next_export(world: World) -> None:
    fill(world.store, "house", 10)
    signed(world.store)
    fill(world.store, "house", 5)
    file, summary = exported(world.store)
    assert summary.sizes["house"] == summary.rows
    with world.store.reading() as session:
        assert log.known(session, "house").size == summary.rows + 5
    assert checked(world.store, file).ok


def test_a_log_that_nobody_signed_yet_is_named_and_nothing_at_all_is_refused(world: World) -> None:
    with pytest.raises(errors.Unavailable, match="signed"):
        exported(world.store)
    signed(world.store)
    client = world.client()
    file, summary = exported(world.store)
    assert summary.unsigned == (client.id,)
    report = checked(world.store, file)
    assert report.ok, report.damage
    assert any(client.id in words for words in report.does_not_prove)


def test_an_auditor_of_one_client_gets_that_clients_log_only(world: World) -> None:
    one, other = world.client("ASTER"), world.client("BIRCH")
    signed(world.store)
    for client in (None, one.id):
        file, summary = exported(world.store, client=client, by=auditor(one.id))
        assert summary.logs == (one.id,)
        assert other.id.encode() not in file
        assert {entry["log"] for entry in entries(file)} == {one.id}
    for hidden in (other.id, "house", "cli_none"):
        with pytest.raises(errors.Unknown):
            exported(world.store, client=hidden, by=auditor(one.id))
    _, summary = exported(world.store, by=auditor())
    assert set(summary.logs) == {"house", one.id, other.id}


def test_an_export_takes_the_permission_and_a_fresh_factor(world: World) -> None:
    signed(world.store)
    nobody = Principal(kind=Kind.SUBJECT, id="sub_1", roles=(RoleHeld("admin"),))
    with pytest.raises(errors.Forbidden):
        exported(world.store, by=nobody)
    with pytest.raises(errors.FreshFactorRequired):
        exported(world.store, by=auditor(fresh=False))


def test_an_unknown_format_is_refused_by_name(world: World) -> None:
    with pytest.raises(errors.Invalid) as refused:
        exported(world.store, form="xlsx")
    assert refused.value.field == "format"


def test_each_export_leaves_its_row_in_the_access_log(world: World) -> None:
    client = world.client()
    signed(world.store)
    exported(world.store, Filter(subject="sub_1"), client=client.id, by=auditor(client.id))
    with world.store.access_reading() as session:
        row = session.execute(select(Access).where(Access.kind == "export")).scalar_one()
    assert (row.principal, row.session_id, row.client_id) == ("sub_auditor", "ses_1", client.id)
    assert json.loads(row.detail or "") == {
        "filter": {"subject": "sub_1"}, "form": "jsonl", "logs": [client.id],
    }  # fmt: skip


def test_without_its_row_in_the_access_log_nothing_is_exported(world: World) -> None:
    signed(world.store)

    def break_it(session: object) -> None:
        session.execute(text("ALTER TABLE access_row RENAME TO elsewhere"))  # type: ignore[attr-defined]  # whichever the database is

    world.store.access_transaction(break_it)
    out = BytesIO()
    with pytest.raises(errors.RecordFailed):
        export.run(world.store, out, form="jsonl", where=Filter(), by=OPERATOR)
    assert out.getvalue() == b""


def test_what_is_left_out_takes_little_room(world: World) -> None:
    fill(world.store, "house", 2000)
    signed(world.store)
    file, summary = exported(world.store, Filter(project="prj_3", subject="sub_2"))
    assert checked(world.store, file).ok
    assert 0 < summary.rows < 120
    assert len(file) < 2000 * 200
    assert max(map(len, file.splitlines())) < lines.MAX_LINE


def test_progress_is_told(world: World) -> None:
    fill(world.store, "house", 10)
    signed(world.store)
    told: list[int] = []
    export.run(
        world.store, BytesIO(), form="jsonl", where=Filter(), by=OPERATOR, progress=told.append
    )
    assert told
    assert told[-1] >= 10


def damage(store: Database, *kept: bytes) -> list[tuple[str, int | None]]:
    file, _ = exported(store)
    report = verify.check(BytesIO(file), keys=[Signer(store.settings).key], kept=kept)
    return [(each.kind, each.seq) for each in report.damage if each.log == "house"]


def test_what_was_changed_in_the_database_is_named_by_the_verifier(world: World) -> None:
    store = world.store
    fill(store, "house", 600)
    signed(store)
    house = "WHERE log_id = 'house' AND seq ="
    forged = leaf.canonical({"log": "house", "seq": 40, "v": 1})
    tamper(store, f"UPDATE log_entry SET leaf = :leaf {house} 550", leaf=b"{}")
    assert damage(store)[0] == ("entry", 550)
    # Its hash changed as well: the tile tells.
    tamper(
        store, f"UPDATE log_entry SET leaf = :leaf, hash = :hash {house} 40",
        leaf=forged, hash=merkle.leaf_hash(forged),
    )  # fmt: skip
    assert damage(store)[0] == ("entry", 40)
    tamper(store, f"DELETE FROM log_entry {house} 300")
    assert ("missing", 300) in damage(store)
    fill(store, "house", 1)
    with pytest.raises(errors.LogDamaged):
        signed(store)


def test_a_tail_cut_off_in_the_database_is_found_by_a_checkpoint_that_was_kept(
    world: World,
) -> None:
    store = world.store
    fill(store, "house", 10)
    signed(store)
    fill(store, "house", 10)
    signed(store)
    with store.reading() as session:
        kept = log.latest_checkpoint(session, "house")
        assert kept
    tamper(store, "DELETE FROM log_checkpoint WHERE log_id = 'house' AND size = :s", s=kept.size)
    tamper(store, "DELETE FROM log_entry WHERE log_id = 'house' AND seq >= :s", s=kept.size - 10)
    assert damage(store) == []
    assert damage(store, kept.note.encode()) == [("tail", kept.size - 10)]


def test_a_spreadsheets_form_holds_the_same_entries(world: World) -> None:
    fill(world.store, "house", 30)
    signed(world.store)
    plain, _ = exported(world.store)
    table, _ = exported(world.store, form="csv")
    rows = list(csv.DictReader(StringIO(table.decode(), newline="")))
    shown = [row for row in rows if row["kind"] == "entry"]
    assert [json.loads(row["leaf"]) for row in shown] == entries(plain)
    assert all(row["type"] == json.loads(row["leaf"])["type"] for row in shown)


@given(
    st.lists(
        st.text("aZ09_.:/+=-@'\" ,;\t\r\n\uff1dé{}", max_size=6),
        min_size=len(lines.COLUMNS) - 2,
        max_size=len(lines.COLUMNS) - 2,
    ),
    st.sampled_from(["", '{"note":["x","=1"]}']),
)
@example([*[""] * (len(lines.COLUMNS) - 3), ","], "")
def test_a_row_is_written_as_the_standard_library_writes_it(read: list[str], values: str) -> None:
    exact = [values, '{"type":"x, y","v":1}']
    for cells in (read, [each if each.isalnum() else "" for each in read]):
        out = StringIO()
        made = [cells[0], *map(lines.safe, cells[1:]), *exact]
        csv.writer(out, lineterminator="\r\n").writerow(made)
        assert lines.row([*cells, *exact]) == out.getvalue().encode()
