"""What the house does that concerns every client is told in each client's own log, by a follower.

A role over everything, what an entitlement permits, a system or a stream without limits: each has
one entry in the house's log, and soon after, in its order, a `house.told` entry in every client's.
So a client's auditor has all of it complete to their own log's signed root, and learns nothing of
how much else the house's log holds. An entry that names a client is told by the act itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, and_, exists, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from govern.access.clients import Client
from govern.audit import EventType, follower, leaf
from govern.audit.follower import FollowerCursor
from govern.audit.log import HOUSE, Entry, position
from govern.audit.record import Line, append_many
from govern.db import Base
from govern.identity.integrations import LimitKind
from govern.identity.roles import RoleAssignment
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

FOLLOWER = "house"
# Types of entries → what of their data is told; never a reason, a name or an address, in which
# another client's could stand.
_TOLD: dict[str, tuple[str, ...]] = {
    EventType.ROLE_ASSIGNED: ("role", "until"),
    EventType.ROLE_WITHDRAWN: (),
    EventType.SUBJECT_OFFBOARDED: (),
    EventType.ENTITLEMENT_DEFINED: ("actions",),
    EventType.DEMAND_SET: ("over", "role", "factor", "starts_at"),
    EventType.DEMAND_ENDED: (),
    EventType.REQUEST_POLICY_SET: ("roles", "people", "needed", "pausing", "days", "open_to"),
    EventType.REQUEST_POLICY_ENDED: (),
    EventType.INTEGRATION_CREATED: ("scope",),
    EventType.INTEGRATION_SUSPENDED: (),
    EventType.INTEGRATION_RESUMED: (),
    EventType.INTEGRATION_REVOKED: (),
    EventType.STREAM_ADDED: ("stream", "format"),
    EventType.STREAM_ENDED: ("stream",),
    EventType.WITNESS_ADDED: ("witness",),
    EventType.WITNESS_ENDED: ("witness",),
}
_STRIDE = 2000
# Entries of one transaction, clients of one look.
_MOST, _CLIENTS = 250, 100


class HouseAct(Base):
    """That an entry of the house's log concerns every client, by its place there."""

    __tablename__ = "house_act"
    __table_args__ = ({"sqlite_with_rowid": False},)

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


def follow(database: Database, *, progress: Callable[[int], None] | None = None) -> int:
    """Tell every client's log what the house's gained; returns how many entries that took.

    Each is told once, whatever crashes and however many do this. `progress` is called between
    commits, and may raise to stop.
    """
    while _gather(database):
        if progress is not None:
            progress(0)
    told = 0
    while behind := _behind(database):
        texts: dict[int, tuple[int, list[Line]]] = {}
        for client, begin in behind:
            if begin not in texts:
                with database.reading() as session:
                    texts[begin] = _lines(session, begin)
            told += database.transaction(partial(_tell, client, begin, *texts[begin]))
            if progress is not None:
                progress(told)
    return told


class Rounds:
    """The same, round after round: one small question where the house did nothing meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Any = None

    def follow(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Tell what there is to be told."""
        clients = select(func.count(Client.id)).scalar_subquery()
        with self._database.reading() as session:
            news = session.execute(select(position(HOUSE), clients)).one()
        if news != self._known:
            follow(self._database, progress=progress)
            self._known = news


def _gather(database: Database) -> bool:
    """Note which of the next entries of the house concern all; whether there may be more of them.

    The cursor stays where nothing was found within its stride, for else every sign-in would be
    followed by a write.
    """
    with database.reading() as session:
        begin = session.execute(_cursor(HOUSE)).scalar() or 0
        size = int(session.execute(select(position(HOUSE))).scalar_one())
        end = min(size, begin + _STRIDE)
        found = [seq for seq, _ in _acts(session, Entry.seq >= begin, Entry.seq < end)]
    if not found and end - begin < _STRIDE:
        return False

    def note(session: Session) -> None:
        if follower.advance(session, FOLLOWER, HOUSE, was=begin, to=end):
            session.add_all(HouseAct(seq=seq) for seq in found)

    database.transaction(note)
    return end < size


def _cursor(log_id: str) -> Any:
    return select(FollowerCursor.position).where(
        FollowerCursor.follower == FOLLOWER, FollowerCursor.log_id == log_id
    )


def _behind(database: Database) -> list[tuple[str, int]]:
    """Some clients whose logs were not told all, and up to where each was."""
    told = func.coalesce(FollowerCursor.position, 0)
    mine = and_(FollowerCursor.log_id == Client.id, FollowerCursor.follower == FOLLOWER)
    query = (
        select(Client.id, told)
        .outerjoin(FollowerCursor, mine)
        .where(
            Client.ended_at.is_(None),
            told <= select(func.max(HouseAct.seq)).scalar_subquery(),
        )
        .order_by(Client.id)
        .limit(_CLIENTS)
    )
    with database.reading() as session:
        return [(client, begin) for client, begin in session.execute(query)]


def _lines(session: OrmSession, begin: int) -> tuple[int, list[Line]]:
    """What is to be told next of the house's log from a place on, and up to where that goes."""
    acts = session.execute(
        select(Entry.seq, Entry.leaf)
        .join(HouseAct, and_(Entry.log_id == HOUSE, Entry.seq == HouseAct.seq))
        .where(HouseAct.seq >= begin)
        .order_by(HouseAct.seq)
        .limit(_MOST)
    ).all()
    return acts[-1].seq + 1, [_line(leaf.parse(body) or {}) for _, body in acts]


def _line(fields: dict[str, Any]) -> Line:
    kind, data = fields["type"], fields.get("data", {})
    return Line(
        type=EventType.HOUSE_TOLD,
        refs=fields.get("refs", {}),
        data={"event": kind, "at": fields["time"], "by": fields["actor"]}
        | {name: data[name] for name in _TOLD[kind] if name in data},
    )


def _tell(client: str, begin: int, end: int, lines: Sequence[Line], session: Session) -> int:
    if not follower.advance(session, FOLLOWER, client, was=begin, to=end):
        return 0
    append_many(session, client, lines, by=SYSTEM)
    return len(lines)


def _acts(
    session: OrmSession, *within: ColumnElement[bool]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of the house's log that concern every client, each with its place."""
    with_it = exists().where(
        RoleAssignment.subject_id == Entry.subject_id,
        RoleAssignment.client_id.is_(None),
        RoleAssignment.ended_at == Entry.at,
    )
    rows = session.execute(
        select(Entry.seq, Entry.leaf)
        .where(Entry.log_id == HOUSE, Entry.type.in_(_TOLD), *within)
        # Of those who left, who held a role over everything until then.
        .where(or_(Entry.type != EventType.SUBJECT_OFFBOARDED, with_it))
        .order_by(Entry.seq)
    ).all()
    for seq, body in rows:
        fields = leaf.parse(body) or {}
        refs, data = fields.get("refs", {}), fields.get("data", {})
        limited = refs.get("client") or any(data.get(f"{kind}s") for kind in LimitKind)
        if fields.get("type") in _TOLD and not limited:
            yield seq, fields


# --- that it was told as it is


def differences(session: OrmSession) -> Iterator[str]:
    """Where a client's log was told otherwise than the house's log has it, in words."""
    acts = list(_acts(session))
    gathered = session.execute(_cursor(HOUSE)).scalar() or 0
    noted = set(session.execute(select(HouseAct.seq)).scalars())
    if noted != {seq for seq, _ in acts if seq < gathered}:
        yield "What of the house concerns every client is not noted as its log has it."
    wanted = [(seq, _told(_line(fields))) for seq, fields in acts]
    for client, end in session.execute(
        select(Client.id, FollowerCursor.position)
        .outerjoin(FollowerCursor, and_(
            FollowerCursor.log_id == Client.id, FollowerCursor.follower == FOLLOWER,
        ))
        .order_by(Client.id)
    ).all():  # fmt: skip
        rows = session.execute(
            select(Entry.leaf)
            .where(Entry.log_id == client, Entry.type == EventType.HOUSE_TOLD)
            .order_by(Entry.seq)
        ).scalars()
        found = [fields for body in rows if (fields := leaf.parse(body))]
        told = [(each.get("refs", {}), each.get("data", {})) for each in found]
        if told != [each for seq, each in wanted if seq < (end or 0)]:
            yield f"The log of {client} was not told what the house's log holds for every client."


def _told(line: Line) -> tuple[dict[str, str], dict[str, Any]]:
    return line.refs, line.data
