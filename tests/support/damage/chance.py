"""Damage at random: any proven column of any row, any line of an export, any file of a pack.

What is not proven is never drawn, and stands in a list with the reason.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, select, update

from govern.audit import leaf, lines
from govern.clock import Utc
from tests.support.damage.files import opened, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import ColumnElement, Table

    from tests.support.damage.scene import Scene

# Table → the columns of which a change is found. Others are in UNPROVEN.
PROVEN: dict[str, str] = {
    "log": "id origin size last_at",
    "log_entry": "log_id seq at type actor subject_id project_id suspension_id leaf hash",
    "log_value": "log_id seq name salt value",
    "log_tile": "log_id level number hashes",
    "log_checkpoint": "log_id size note",
    "access_row": "writer number at kind principal session_id subject_id client_id resource_id "
    "action permit reason as_of house_as_of worked_at detail",
    "access_seal": "writer first size salt marks until recorded_at",
    "access_grant": "id subject_id entitlement_id client_id project_id dataset_id starts_at "
    "ends_at recorded_at ended_at",
    "suspension": "id reason hours_until review_by recorded_at ended_at",
    "suspension_mode": "suspension_id mode recorded_at ended_at",
    "suspension_target": "suspension_id kind target_id recorded_at ended_at",
    "suspension_release": "suspension_id kind target_id recorded_at ended_at",
    "particulars": "suspension_id log_id event as_at written people digest",
    "suspension_notice": "id suspension_id number next_update_by submit_by recorded_at",
    "membership": "subject_id organisation_id recorded_at ended_at",
    "entitlement_action": "entitlement_id action recorded_at ended_at",
    "client": "id recorded_at ended_at",
    "project": "id client_id recorded_at ended_at",
    "dataset": "id project_id type recorded_at",
    "people_list": "id number digest",
    "people_list_item": "subject_id list_id",
    "role_assignment": "id subject_id role client_id ends_at recorded_at ended_at",
    "question": "id subject_id client_id project_id suspension_id number recorded_at last_at "
    "waiting_since",
    "question_message": "question_id number written_by recorded_at",
    "preference": "subject_id time_zone",
    "notice_acknowledgement": "notice_id subject_id recorded_at",
    "scheduled_resume": "suspension_id at shown_at asked_by approved_by recorded_at confirmed_by "
    "confirmed_at outcome ended_at",
    "drill": "id log_id mode targets microseconds rate grants people digest held_by recorded_at",
    "legal_hold": "id client_id recorded_at released_at",
    "access_retention": "client_id days recorded_at",
    "factor_demand": "id kind target_id client_id factor starts_at recorded_at ended_at",
}
UNPROVEN: dict[str, str] = {
    "log_value.about": "whose value it is: what an erasure goes by, not what was recorded",
    "log_checkpoint.signed_at": "no part of what is signed; the entries have their own instants",
    "log_checkpoint removed": "the newest head proves all that those before it did",
    "id of a mode, target, release, membership, action, message and resume": "of no entry, and "
    "nothing else goes by it: rows that exchange all but this say what they said before",
    "access_row unsealed": "rows of the last seconds, which `fsck` lists as not proven",
}
# Rows that go unnoticed when they are gone.
_MAY_GO = {"log_checkpoint"}
# Rows of which a second one is refused or does no harm.
_ONCE = {"log", "people_list"}
_MOST_TRIES = 100
# What may stand where something else is expected.
_VALUES = (0, -1, 1.5, 10**30, True, None, "", "x", [], [1], {}, {"a": 1})


def damaged(scene: Scene, draw: random.Random) -> tuple[str, str, AbstractContextManager[None]]:
    """A random damage of a table, in words, and done while the context is open."""
    for _ in range(_MOST_TRIES):
        name = draw.choice(list(PROVEN))
        table = scene.owner.table(name)
        with scene.owner.at(name) as connection:
            rows = connection.execute(select(table)).mappings().all()
        rows = [dict(row) for row in rows if _counts(scene, name, row)]
        if not rows:
            continue
        row = draw.choice(rows)
        made = draw.choice([_changed, _changed, _changed, _swapped, _gone, _doubled])(
            table, row, rows, draw
        )
        if made is None:
            continue
        words, statements = made
        done = scene.owner.done(name, statements)
        if done is not None:
            return name, words, done
    raise AssertionError("nothing to damage was found")


def _counts(scene: Scene, table: str, row: Any) -> bool:
    """Whether a row is one that is proven: the last rows of the access log are not yet."""
    return table != "access_row" or row["number"] < scene.known["sealed"].get(row["writer"], 0)


def _is(table: Table, row: Any) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key))


def _column(table: Table, draw: random.Random) -> str:
    return draw.choice(PROVEN[table.name].split())


def _changed(table: Table, row: Any, rows: list[Any], draw: random.Random) -> Any:
    column = _column(table, draw)
    others = [each[column] for each in rows if each[column] != row[column]]
    value = (
        draw.choice(others)
        if others and draw.random() < 0.5  # a value that could be true
        else _other(row[column], table.c[column], draw)
    )
    words = f"{column} of {_words(table, row)} is {value!r}, was {row[column]!r}"
    return words, [update(table).where(_is(table, row)).values({column: value})]


def _swapped(table: Table, row: Any, rows: list[Any], draw: random.Random) -> Any:
    keys = {column.name for column in table.primary_key}
    column = _column(table, draw)
    # Where two rows are alike but for this and their own ids, that would say the same as before.
    told = [each for each in PROVEN[table.name].split() if each != column]
    others = [
        each
        for each in rows
        if each[column] != row[column] and any(each[name] != row[name] for name in told)
    ]
    if column in keys or not others:
        return None
    other = draw.choice(others)
    words = f"{column} of {_words(table, row)} and {_words(table, other)} change places"
    return words, [
        update(table).where(_is(table, one)).values({column: two[column]})
        for one, two in ((row, other), (other, row))
    ]


def _gone(table: Table, row: Any, _rows: list[Any], _draw: random.Random) -> Any:
    if table.name in _MAY_GO:
        return None
    return f"{_words(table, row)} is gone", [delete(table).where(_is(table, row))]


def _doubled(table: Table, row: Any, _rows: list[Any], draw: random.Random) -> Any:
    if table.name in _ONCE:
        return None
    key = list(table.primary_key)[-1]
    value = _other(row[key.name], key, draw)
    words = f"{_words(table, row)} is doubled as {value!r}"
    return words, [insert(table).values(row | {key.name: value})]


def _words(table: Table, row: Any) -> str:
    return "/".join(str(row[column.name]) for column in table.primary_key)


def _other(value: Any, column: Any, draw: random.Random) -> Any:
    """Some other value that the column can hold."""
    if value is None or (column.nullable and draw.random() < 0.2):
        return _any_of(column.type) if value is None else None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        # Below all others, or far behind them: what comes just behind may not be proven yet.
        return draw.choice([-1 - draw.randrange(9), value + 1_000_000])
    if isinstance(value, datetime):
        return value + timedelta(microseconds=draw.choice([-1, 1, 60_000_000]))
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1:] != "x" else "y")
    broken = bytearray(value)
    broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
    return bytes(broken)


def _any_of(kind: Any) -> Any:
    if isinstance(kind, Utc):
        return datetime(2026, 11, 21, 9, tzinfo=UTC)
    return {bool: True, int: 1, str: "x"}[kind.python_type]


# --- files ----------------------------------------------------------------------------------------


def bytes_changed(file: bytes, draw: random.Random) -> bytes:
    """Other bytes than these: a bit, a piece cut out, put in or put elsewhere, a line moved."""
    changed = file
    if not file:
        return draw.randbytes(8)
    while changed == file:
        begin = draw.randrange(len(file))
        end = min(len(file), begin + draw.choice([1, 1, 2, 40, 3000]))
        rows = file.splitlines(keepends=True)
        match draw.randrange(6):
            case 0:
                broken = bytearray(file)
                broken[begin] ^= 1 << draw.randrange(8)
                changed = bytes(broken)
            case 1:
                changed = file[:begin] + file[end:]
            case 2:
                changed = file[:begin] + draw.randbytes(draw.randrange(1, 20)) + file[begin:]
            case 3:
                changed = file[:begin] + file[end:] + file[begin:end]
            case 4:
                one, other = (draw.randrange(len(rows)) for _ in range(2))
                rows[one], rows[other] = rows[other], rows[one]
                changed = b"".join(rows)
            case 5:
                rows.insert(draw.randrange(len(rows) + 1), draw.choice(rows))
                changed = b"".join(rows)
    return changed


def rows_changed(written: list[bytes], draw: random.Random) -> None:
    """Change the lines behind an export's header, in place: for a file that is signed anew."""
    before = list(written)
    while written == before:
        one, other = (draw.randrange(1, len(written)) for _ in range(2))
        match draw.randrange(5):
            case 0:
                written[one], written[other] = written[other], written[one]
            case 1:
                del written[one]
            case 2:
                written.insert(other, written[one])
            case 3:
                line = bytearray(written[one])
                line[draw.randrange(len(line) - 1)] ^= 1 << draw.randrange(7)
                written[one] = bytes(line)
            case 4:
                written[one] = value_changed(written[one], draw)


def value_changed(file: bytes, draw: random.Random) -> bytes:
    """JSON, or a line of some, of which one value is of another kind, or gone; else other bytes."""
    rows = file.splitlines(keepends=True)
    at = draw.randrange(len(rows)) if rows else 0
    entry = lines.ENTRY.fullmatch(rows[at]) if rows else None
    told = entry[4] if entry and draw.random() < 0.7 else b"".join(rows[at : at + 1])
    try:
        value = json.loads(told)
    except ValueError:
        return bytes_changed(file, draw)
    # The whole, or what is at some place in it.
    *way, last = [0, *draw.choice([*_places(value)])]
    whole = inner = [value]
    for step in way:
        inner = inner[step]
    if way and draw.random() < 0.2:
        del inner[last]
    else:
        inner[last] = draw.choice([each for each in _VALUES if each != inner[last]])
    made = leaf.canonical(whole[0]) + told[len(told.rstrip(b"\n")) :]
    rows[at] = rows[at].replace(told, made)
    changed = b"".join(rows)
    return changed if changed != file else bytes_changed(file, draw)


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    for name, each in (
        value.items()
        if isinstance(value, dict)
        else (enumerate(value) if isinstance(value, list) else ())
    ):
        yield from ((name, *place) for place in _places(each))


def pack_changed(pack: bytes, draw: random.Random) -> tuple[str, bytes]:
    """A pack of which one file is another, and which."""
    parts = opened(pack)
    name = draw.choice(sorted(parts))
    change = draw.choice([bytes_changed, value_changed])
    return name, zipped(parts | {name: change(parts[name], draw)})
