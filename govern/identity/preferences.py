"""What a person likes their pages to be in: their time zone and language; neither opens a door."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors, languages
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import PERSONAL, Again, Audited, Base, Id, listed, references, text_column
from govern.identity.subjects import Subject
from govern.languages import Voice
from govern.principal import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal


class Preference(Audited, Base):
    """One person's preferences; `time_zone` is empty while they have chosen none."""

    __tablename__ = "preference"

    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    time_zone: Mapped[str] = mapped_column(text_column(80), info=PERSONAL)


@cache
def zones() -> tuple[str, ...]:
    """The time zones to choose from, by the names of the IANA database."""
    named = [name for name in available_timezones() if "/" in name]
    odd = ("Etc/", "SystemV/", "posix/", "right/")
    return ("UTC", *sorted(name for name in named if not name.startswith(odd)))


def zone(session: OrmSession, subject_id: str) -> ZoneInfo | None:
    """The zone that a person chose; None when they chose none, or this machine does not know it."""
    query = select(Preference.time_zone).where(Preference.subject_id == subject_id)
    name = session.execute(query).scalar_one_or_none()
    return ZoneInfo(name) if name in zones() else None


def voices(session: Session, people: Iterable[str]) -> dict[str, Voice]:
    """How some people like to be spoken to; who chose nothing is told in English and in UTC."""
    among = listed(session, sorted(people))
    rows = session.execute(
        select(Subject.id, Subject.language, Preference.time_zone)
        .join(among, among.c.value == Subject.id)
        .outerjoin(Preference, Preference.subject_id == Subject.id)
    )
    return {
        person: Voice(language or languages.DEFAULT, ZoneInfo(name) if name in zones() else None)
        for person, language, name in rows
    }


def set_time_zone(session: Session, name: str, *, seen: str | None = None, by: Principal) -> None:
    """Choose one's own time zone, or none (empty); the same again changes nothing.

    `seen` is the one that the caller looked at: any other is `Stale`.
    """
    if by.kind is not Kind.SUBJECT:
        raise errors.Forbidden("Only a person has preferences.")
    if name and name not in zones():
        raise errors.Invalid(f"“{name}” is no time zone that we know.", field="time_zone")
    row = session.get(Preference, by.id)
    present = row.time_zone if row is not None else ""
    if present == name:
        return
    if seen is not None and seen != present:
        raise errors.Stale(
            "It was set to %(now)s meanwhile.", field="time_zone", now=present or "UTC"
        )
    fresh = row is None
    if row is None:
        row = Preference(subject_id=by.id, time_zone=name)
        session.add(row)
    row.time_zone = name

    def recheck(session: OrmSession) -> None:
        there = select(Preference.subject_id).where(Preference.subject_id == by.id)
        if fresh and session.execute(there).first() is not None:
            raise Again

    _record(session, row, "time_zone", name, by=by, recheck=recheck)


def set_language(
    session: Session, language: str, *, seen: str | None = None, by: Principal
) -> None:
    """Choose what language one reads, or "" for what one's browser asks for.

    `seen` is the one that the caller looked at: any other is `Stale`.
    """
    if by.kind is not Kind.SUBJECT:
        raise errors.Forbidden("Only a person has preferences.")
    if language and language not in languages.NAMES:
        raise errors.Invalid("Choose one of the languages of the list.", field="language")
    person = session.get_one(Subject, by.id)
    present = person.language or ""
    if present == language:
        return
    if seen is not None and seen != present:
        raise errors.Stale(
            "It was set to %(now)s meanwhile.",
            field="language",
            now=languages.NAMES.get(present, "–"),
        )
    person.language = language or None
    _record(session, person, "language", language, by=by)


def _record(
    session: Session,
    row: Preference | Subject,
    which: str,
    value: str,
    *,
    by: Principal,
    recheck: Callable[[OrmSession], None] | None = None,
) -> None:
    record(
        session,
        EventType.PREFERENCE_SET,
        logs=[HOUSE],
        by=by,
        refs={"subject": by.id},
        data={"preference": which},  # told also where nothing was chosen
        private={which: value},
        about=by.id,
        covers=[row],
        recheck=recheck,
    )
