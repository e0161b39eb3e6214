"""Sealing keys: one seals every secret of the database, and is replaced while all go on working.

Each sealed value says by which key it opens, so a node that has both reads either. A rotation lets
a new key seal from its commit on, seals every older value anew, chunk by chunk, and then retires
the key before: whatever stops it on the way, the next one goes on from there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal, select, update

from govern import config, errors, permissions, sealing
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.db import Again, Base
from govern.principal import SYSTEM
from govern.sealing import SealingKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session
    from govern.principal import Principal

CHUNK = 200


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The key that seals now, the one before, and how many values were sealed anew."""

    key: int
    was: int
    resealed: int


def ensure(database: Database) -> None:
    """Note which key seals, unless it is known; keys of an example world begin no database."""
    held = config.sealing_keys(database.settings)

    def first(session: Session) -> None:
        if session.execute(select(SealingKey.id).limit(1)).first() is not None:
            return
        # Whatever is sealed already was sealed by the first.
        key_id = min(held)
        if held[key_id].is_example:
            raise errors.Unavailable(
                f"Sealing key {key_id} is of an example world: give this database keys of its own."
            )
        _begin(session, key_id, held[key_id], example=False, was=None, by=SYSTEM)

    database.transaction(first)


def check(database: Database) -> None:
    """Refuse (`Unavailable`) to work without the keys that the database is sealed by.

    Keys that anyone but their owner can read are refused, and those of an example world anywhere
    else.
    """
    held = config.sealing_keys(database.settings)
    with database.reading() as session:
        rows = session.execute(select(SealingKey).where(SealingKey.retired_at.is_(None))).scalars()
        for row in rows:
            key = held.get(row.id)
            if key is None:
                raise errors.Unavailable(
                    f"Sealing key {row.id} is missing here: copy it from the node that made it."
                )
            if _digest(key) != row.digest:
                raise errors.Unavailable(
                    f"Sealing key {row.id} is not the one that this database is sealed by."
                )
            if key.is_example and not row.example:
                raise errors.Unavailable(
                    f"Sealing key {row.id} is of an example world, and this database is not."
                )


def mark_as_example(database: Database) -> None:
    """Let the keys of a fresh database say that they are of an example world, and it, too."""
    ensure(database)
    config.mark_as_examples(database.settings)
    database.transaction(
        lambda session: session.execute(
            update(SealingKey).values(example=True),
            execution_options=RECORDED | {"synchronize_session": False},
        )
    )


def prepare(database: Database, *, by: Principal) -> int:
    """Make the next key, which seals nothing yet, so that each node has it before the rotation."""
    permissions.require(by, "key:rotate")
    ensure(database)
    with database.reading() as session:
        active = _active(session)
    held = config.sealing_keys(database.settings)
    newest = max(held)
    if newest > active.id:
        return newest
    if database.settings.sealing_keys:
        raise errors.Conflict(
            f"Put a key {newest + 1} beside {newest} in GOVERN_SEALING_KEYS on every node first."
        )
    if newest + 1 not in config.SEALING_KEY_IDS:
        raise errors.Conflict("There is no number left for a key.")
    config.make_sealing_key(database.settings, newest + 1, is_example=active.example)
    return newest + 1


def rotate(database: Database, *, by: Principal) -> Rotation:
    """Seal with the next key, seal all older values anew, retire the key before.

    One that was cut off is finished instead of beginning another.
    """
    permissions.require(by, "key:rotate")
    if _outgoing(database) is None:
        key_id = prepare(database, by=by)
        fresh = config.sealing_keys(database.settings)[key_id]
        database.transaction(lambda session: _replace(session, key_id, fresh, by=by))
    with database.reading() as session:
        key_id = _active(session).id
    count = sum(_resealed(database, column, key_id) for column in sealed_columns())
    was = _outgoing(database)
    if was is None:  # another did the same at once, and was first
        return Rotation(key=key_id, was=key_id, resealed=count)
    database.transaction(lambda session: _retire(session, was, count, by=by))
    return Rotation(key=key_id, was=was, resealed=count)


def sealed_columns() -> Iterator[Column[bytes]]:
    """Every column of the database whose values are sealed."""
    for table in Base.metadata.sorted_tables:
        yield from (column for column in table.columns if column.info.get("sealed"))


def place(column: Column[bytes], key: str) -> str:
    """Where a value of a sealed column opens, by the primary key of its row."""
    return f"{column.table.name}.{column.name}:{key}"


def _resealed(database: Database, column: Column[bytes], key_id: int) -> int:
    """Seal each value of a column anew that another key sealed; returns how many."""
    table = column.table
    (name,) = table.primary_key.columns
    mark = literal(bytes([key_id]))
    settings, count, after = database.settings, 0, ""

    def work(session: Session) -> tuple[str, int]:
        rows = session.execute(
            select(name, column)
            .where(name > after, func.length(column) > 0, func.substr(column, 1, 1) != mark)
            .order_by(name)
            .limit(CHUNK)
            .with_for_update()
        ).all()
        for key, sealed in rows:
            where = place(column, key)
            value = sealing.unseal(settings, sealed, place=where)
            session.execute(
                update(table)
                .where(name == key)
                .values({column: sealing.seal_with(settings, key_id, value, place=where)}),
                execution_options=RECORDED,
            )
        return (rows[-1][0] if rows else "", len(rows))

    while True:
        after, done = database.transaction(work)
        if not done:
            return count
        count += done


def _replace(session: Session, key_id: int, fresh: config.SealingKey, *, by: Principal) -> None:
    old = _active(session)
    if old.id != key_id:  # else another did it
        _begin(session, key_id, fresh, example=old.example, was=old, by=by)


def _begin(
    session: Session,
    key_id: int,
    key: config.SealingKey,
    *,
    example: bool,
    was: SealingKey | None,
    by: Principal,
) -> None:
    row = SealingKey(id=key_id, digest=_digest(key), example=example)
    session.add(row)

    def recheck(session: OrmSession) -> None:
        active = select(SealingKey.id).where(SealingKey.ended_at.is_(None))
        if session.execute(active).scalar_one_or_none() != (was.id if was is not None else None):
            raise Again

    data: dict[str, Any] = {"key": key_id}
    if was is not None:
        data["was"] = was.id
    record(
        session,
        EventType.SEALING_KEY_ROTATED,
        logs=[HOUSE],
        by=by,
        data=data,
        stamps=[(row, "recorded_at"), *([(was, "ended_at")] if was is not None else [])],
        recheck=recheck,
    )


def _retire(session: Session, key_id: int, count: int, *, by: Principal) -> None:
    row = session.get_one(SealingKey, key_id, with_for_update=True, populate_existing=True)
    if row.retired_at is not None:
        return
    record(
        session,
        EventType.SEALING_KEY_RETIRED,
        logs=[HOUSE],
        by=by,
        data={"key": key_id, "resealed": count},
        stamps=[(row, "retired_at")],
    )


def _active(session: OrmSession) -> SealingKey:
    return session.execute(select(SealingKey).where(SealingKey.ended_at.is_(None))).scalar_one()


def _outgoing(database: Database) -> int | None:
    """The key that was replaced and is not retired yet."""
    with database.reading() as session:
        return session.execute(
            select(SealingKey.id).where(
                SealingKey.ended_at.is_not(None), SealingKey.retired_at.is_(None)
            )
        ).scalar_one_or_none()


def _digest(key: config.SealingKey) -> str:
    return hashlib.sha256(key.value).hexdigest()
