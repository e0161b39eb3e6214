"""Histories: one person's, one actor's, one suspension's, and all that changed since some place.

Each is read from the logs that the caller may read, newest first and a page at a time, with what
the intervals and the access log say of the same. Whoever shows one notes the reading first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from govern import clock, errors, permissions
from govern.access import names, suspensions, timeline
from govern.access.suspensions import TimeToEffect
from govern.audit import log, reading
from govern.audit.decisions import Access, AccessKind
from govern.audit.export import Filter
from govern.audit.log import Entry, Log
from govern.audit.signer import Signer
from govern.audit.verify import open_checkpoint, read_keys
from govern.db import together
from govern.identity.subjects import Subject
from govern.tlog.errors import TlogError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from govern.access.suspensions.notices import Version
    from govern.access.suspensions.reading import Found, Released
    from govern.access.timeline import Timeline
    from govern.audit.reading import Page, Shown
    from govern.db import Database, Session
    from govern.principal import Principal

# What is counted at most: beyond it the answer says “or more”.
MOST_DECISIONS = 1000
MOST_COUNTED = 10_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of a history: a range of instants, and a page of its entries behind a cursor."""

    begin: datetime | None = None
    end: datetime | None = None
    after: str = ""
    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided about a person: how often each way, and the first and last instant.

    `whole` is False where only the newest `MOST_DECISIONS` were counted.
    """

    permits: int
    denials: int
    first: datetime | None
    last: datetime | None
    whole: bool


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person: their grants with what paused them, the decisions, and the entries.

    `grants` is None where the caller may read entries and no grants, or nothing of the range has
    happened yet.
    """

    subject: Subject
    logs: tuple[str, ...]
    grants: Timeline | None
    decided: Decided
    page: Page


@dataclass(frozen=True, kw_only=True)
class Acts:
    """What one actor did: their name where it is known, and the entries."""

    actor: str
    name: str
    logs: tuple[str, ...]
    page: Page


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything about one suspension. `clients` are those who can be handed a receipt."""

    found: Found
    releases: list[Released]
    measured: TimeToEffect
    notices: list[Version]
    entries: list[Shown]
    clients: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What was written since some place of each log: from which entry, and how many there are now.

    `kept` is the size of the checkpoint that was shown, which this log was found to continue.
    `types` counts the entries by type, or is None where there are too many to count.
    """

    begins: dict[str, int]
    sizes: dict[str, int]
    kept: int | None
    types: dict[str, int] | None
    page: Page

    @property
    def number(self) -> int:
        """How many entries were written since."""
        return sum(max(size - self.begins[each], 0) for each, size in self.sizes.items())


def of_person(session: Session, reference: str, part: Part, *, by: Principal) -> Person:
    """One person's whole history, by id, external id or address; `Unknown` beyond the readable."""
    logs = reading.readable(session, by=by)
    subject = session.get_one(Subject, names.person_told_of(session, reference, by=by))
    return Person(
        subject=subject, logs=tuple(logs),
        page=_page(session, logs, part, subject=subject.id, by=by),
        grants=_grants(session, subject, part.begin, part.end, by=by),
        decided=decided(session, subject.id, begin=part.begin, end=part.end, by=by),
    )  # fmt: skip


def _page(
    session: Session, logs: Sequence[str], part: Part, *, subject: str | None = None,
    actor: str | None = None, by: Principal,
) -> Page:  # fmt: skip
    where = Filter(subject=subject, actor=actor, begin=part.begin, end=part.end)
    return reading.entries(
        session, logs[: reading.MOST], where=where, after=part.after, limit=part.limit, by=by
    )


def _grants(
    session: Session, subject: Subject, begin: datetime | None, end: datetime | None, *,
    by: Principal,
) -> Timeline | None:  # fmt: skip
    if permissions.scope(by, "grant:read") == frozenset():
        return None
    now = clock.now(session)
    begin = begin or subject.recorded_at
    if min(end or now, now) <= begin:
        return None
    return timeline.of(session, "subject", subject.id, begin=begin, end=end or now, by=by)


def decided(
    session: Session, subject_id: str, *, begin: datetime | None = None,
    end: datetime | None = None, by: Principal,
) -> Decided:  # fmt: skip
    """How often it was decided about a person each way, as far as the caller may read of it."""
    clients = permissions.require_some(by, "log:read")
    newest = select(Access.at, Access.permit).where(
        Access.subject_id == subject_id, Access.kind == AccessKind.DECISION
    )
    if clients is not None:
        # Of the person's decisions, and not of all of the client's, which its index has in order.
        newest = newest.where((Access.client_id + "").in_(clients))
    if begin is not None:
        newest = newest.where(Access.at >= begin)
    if end is not None:
        newest = newest.where(Access.at < end)
    with session.database.access_reading() as access:
        rows = access.execute(newest.order_by(Access.at.desc()).limit(MOST_DECISIONS)).all()
    permits = sum(bool(permit) for _at, permit in rows)
    return Decided(
        permits=permits, denials=len(rows) - permits, whole=len(rows) < MOST_DECISIONS,
        first=rows[-1][0] if rows else None, last=rows[0][0] if rows else None,
    )  # fmt: skip


def of_actor(session: Session, reference: str, part: Part, *, by: Principal) -> Acts:
    """What one actor did: a person by id, external id or address, else any actor by its id.

    Whom no readable log names did nothing, as far as the caller may know.
    """
    logs = reading.readable(session, by=by)
    actor = names.actor(session, reference, by=by)
    page = _page(session, logs, part, actor=actor, by=by)
    known = names.of(session, [actor]) if page.entries else {}
    return Acts(actor=actor, name=known.get(actor, actor), logs=tuple(logs), page=page)


def of_suspension(session: Session, suspension_id: str, *, by: Principal) -> Record:
    """Everything about one suspension, as far as the caller may see it; takes `log:read` too."""
    permissions.require_some(by, "log:read")
    found = suspensions.reading.find(session, suspension_id, by=by)
    suspensions.reading.measure(session, [found.standing], people=False, by=by)
    measured = TimeToEffect(
        found=found,
        effect=suspensions.effect(session, found),
        hearing=suspensions.hearing(session, found, by=by),
        seen_at=clock.utcnow(),
    )
    releases, notices = together(
        session,
        suspensions.reading.releases_of(suspension_id, by=by),
        suspensions.notices.versions_of(session, [suspension_id]),
    )
    return Record(
        found=found,
        releases=releases,
        measured=measured,
        notices=notices[suspension_id] if found.whole else [],
        entries=reading.of_suspension(session, suspension_id, by=by),
        clients=sorted(found.concerned.values()),
    )


def since(
    session: Session,
    *,
    code: str = "",
    size: int | None = None,
    checkpoint: str = "",
    begin: datetime | None = None,
    after: str = "",
    limit: int = 50,
    by: Principal,
) -> Changes:
    """What was written since a size of one log, a checkpoint that one kept, or an instant.

    `code` is a client's, or `house`. Of a checkpoint the signature is verified and the log is held
    against its root: `LogDamaged` where it is not what was signed then.
    """
    logs = reading.readable(session, by=by)[: reading.MOST]
    if code:
        logs = [names.log_of(session, code, by=by)]
    given = {"size": size is not None, "checkpoint": bool(checkpoint), "since": begin is not None}
    if list(given.values()).count(True) != 1:
        # Of several the last is one too many.
        last = [name for name, told in given.items() if told][-1:] or ["since"]
        raise errors.Invalid("Say one of a size, a checkpoint and an instant.", field=last[0])
    kept = None
    if checkpoint:
        only, kept = _continued(session, checkpoint, logs, by=by)
        logs, size = [only], kept
    elif size is not None and len(logs) != 1:
        raise errors.Invalid("A size is one of a log: say which.", field="log")
    sizes = {each: reading.size_at(session, each, None, by=by) for each in logs}
    if size is not None and size > sizes[logs[0]]:
        raise errors.Invalid(f"That log has {sizes[logs[0]]} entries.", field="size")
    begins = {each: _place(session, each, size, begin) for each in logs}
    number = sum(sizes[each] - begins[each] for each in logs)
    return Changes(
        begins=begins, sizes=sizes, kept=kept,
        types=_types(session, begins) if number <= MOST_COUNTED else None,
        page=reading.entries(
            session, logs, where=Filter(), first=begins, after=after, limit=limit, by=by
        ),
    )  # fmt: skip


def note(database: Database, found: Person | Acts | Record | Changes, *, by: Principal) -> None:
    """Leave rows in the access log, by client, of what was found, before it is shown."""
    if isinstance(found, Record):
        suspensions.reading.note(database, "suspension.record", found.found, by=by)
    elif isinstance(found, Changes):
        begins = {log_id: {"begin": begin} for log_id, begin in found.begins.items()}
        reading.note_each(database, "changes", begins, by=by)
    elif isinstance(found, Person):
        where = Filter(subject=found.subject.id)
        reading.note_page(database, "history", found.logs, found.page, where=where, by=by)
    else:
        where = Filter(actor=found.actor)
        reading.note_page(database, "acts", found.logs, found.page, where=where, by=by)


def _place(session: Session, log_id: str, size: int | None, begin: datetime | None) -> int:
    if size is not None or begin is None:
        return size or 0
    return log.place_of(session, log_id, begin)


def _continued(
    session: Session, checkpoint: str, logs: Sequence[str], *, by: Principal
) -> tuple[str, int]:
    """The one of these logs that a checkpoint is a beginning of, and its size then."""
    text = checkpoint.replace("\r\n", "\n").strip("\n") + "\n"
    keys = read_keys([Signer(session.database.settings).key])
    try:
        opened = open_checkpoint(text.encode(), keys)
    except TlogError as error:
        raise errors.Invalid(f"checkpoint: {error}", field="checkpoint") from error
    found = session.execute(select(Log.id).where(Log.origin == opened.origin)).scalar_one_or_none()
    if (
        found is None
        or found not in {*reading.readable(session, by=by)}
        or (len(logs) == 1 and found != logs[0])
    ):
        raise errors.Invalid("checkpoint: it is of no log that is asked about", field="checkpoint")
    try:
        root = log.Tree(session, found).range(0, opened.size).root()
    except TlogError:
        root = b""
    if root != opened.root:
        raise errors.LogDamaged(
            f"This log does not continue the checkpoint of {opened.size} entries that was shown: "
            "what was signed then was changed or cut off since."
        )
    return found, opened.size


def _types(session: Session, first: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for log_id, begin in first.items():
        rows = session.execute(
            select(Entry.type, func.count())
            .where(Entry.log_id == log_id, Entry.seq >= begin)
            .group_by(Entry.type)
        )
        for kind, number in rows:
            found[kind] = found.get(kind, 0) + number
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
