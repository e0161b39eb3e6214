"""What people belong to, wrote, read and chose is held against the entries that say so.

Memberships, questions with their messages, notices that someone said to have read, time zones and
languages; and the words that people are found by, against their names. There can be very many of
these, so they are read person by person, a few thousand entries at a time; in memory is kept who
moved, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import aliased

from govern.access.deriving import spanning
from govern.access.deriving.spanning import unlike
from govern.access.questions import Question, QuestionMessage
from govern.access.suspension_tables import NoticeAcknowledgement
from govern.audit import EventType
from govern.audit.log import Entry, Value
from govern.db import listed
from govern.identity.preferences import Preference
from govern.identity.subjects import Membership, Subject
from govern.identity.words import SubjectWord, beginnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from govern.access.deriving.spanning import Fields, Row

_BATCH = 4096
_QUESTIONS = (EventType.QUESTION_ASKED, EventType.QUESTION_ANSWERED)
_TYPES = (*_QUESTIONS, EventType.NOTICE_ACKNOWLEDGED, EventType.PREFERENCE_SET)
_CHOICES = ("time_zone", "language")
_MEMBERSHIP = ("subject_id", "organisation_id", "recorded_at", "ended_at")
_QUESTION = (
    "id", "subject_id", "client_id", "project_id", "suspension_id", "number", "recorded_at",
    "last_at", "waiting_since",
)  # fmt: skip
_MESSAGE = ("question_id", "number", "written_by", "recorded_at")
_READ = ("notice_id", "subject_id", "recorded_at")


def differences(session: Session) -> Iterator[str]:
    """Each of these rows that is not as the logs made it, in words."""
    yield from _memberships(session)
    for batch in _batches(session):
        told = _Told()
        for fields in batch:
            try:
                told.add(fields)
            except (KeyError, TypeError):
                yield f"Entry {fields.get('seq')} of {fields.get('log')} lacks what it tells of."
        yield from _compared(session, told)
    yield from _of_nobody(session)
    yield from _words(session)


def _memberships(session: Session) -> Iterator[str]:
    """To which organisation people belong, thousands at a time."""
    moved: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for batch in spanning.acts(session, (EventType.SUBJECT_MOVED,)):
        for fields in batch:
            move = (fields["time"], fields["refs"]["organisation"])
            if move not in moved[fields["refs"]["subject"]]:
                moved[fields["refs"]["subject"]].append(move)
    known = 0
    for batch in spanning.acts(session, (EventType.SUBJECT_REGISTERED,)):
        known += len(batch)
        told: dict[Row, Row] = {}
        for fields in batch:
            subject = fields["refs"]["subject"]
            steps = [(fields["time"], fields["refs"]["organisation"]), *moved[subject]]
            ends = [*(at for at, _ in steps[1:]), None]
            for (at, organisation), end in zip(steps, ends, strict=True):
                told[subject, at] = (subject, organisation, at, end)
        given = listed(session, sorted({str(subject) for subject, _ in told}))
        rows = session.execute(
            _rows(Membership, _MEMBERSHIP).join(given, given.c.value == Membership.subject_id)
        )
        yield from unlike("membership", _MEMBERSHIP, told.values(), rows)
    count = session.execute(select(func.count()).select_from(Subject)).scalar_one()
    if count != known:
        yield f"{count} people stand, and {known} were registered."


# --- what the entries of some people say


def _batches(session: Session) -> Iterator[list[Fields]]:
    """The entries of whole people, each in their order; what was chosen beside those that say so.

    A batch ends with a person, so it is as long as one person's entries at least.
    """
    chosen = aliased(Value)
    query = spanning.signed(select(Entry.subject_id, Entry.leaf, chosen.value)).outerjoin_from(
        Entry,
        chosen,
        and_(
            chosen.log_id == Entry.log_id, chosen.seq == Entry.seq, chosen.name.in_(_CHOICES)
        ),
    )  # fmt: skip
    rows = session.execute(
        query.where(Entry.type.in_(_TYPES))
        .order_by(Entry.subject_id, Entry.at, Entry.log_id, Entry.seq)
        .execution_options(yield_per=_BATCH)
    )
    batch: list[Fields] = []
    for _, own in groupby(rows, key=itemgetter(0)):
        for _, body, value, name in own:
            fields = spanning.said(body, name, _TYPES)
            if fields is not None:
                batch.append(fields | {"chosen": value})
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Told:
    """What the entries of some people say should stand."""

    def __init__(self) -> None:
        self.people: set[str] = set()
        self.questions: dict[str, Row] = {}
        self.messages: list[Row] = []
        # An act over several clients has an entry in each of their logs, of one instant.
        self.read: set[Row] = set()
        self.choices: dict[str, dict[str, str]] = {name: {} for name in _CHOICES}

    def add(self, fields: Fields) -> None:
        """Take in one entry, in the order of the person's."""
        refs, person = fields["refs"], fields["refs"]["subject"]
        self.people.add(person)
        if fields["type"] == EventType.NOTICE_ACKNOWLEDGED:
            self.read.add((refs["notice"], person, fields["time"]))
        elif fields["type"] == EventType.PREFERENCE_SET:
            # Entries of before said which by what they commit to.
            which = fields.get("data", {}).get("preference") or [*fields.get("commit", {}), ""][0]
            if which in self.choices:
                self.choices[which][person] = fields["chosen"] or ""
        else:
            self._written(fields, refs, person)

    def _written(self, fields: Fields, refs: dict[str, str], person: str) -> None:
        name, time, number = refs["question"], fields["time"], fields["data"]["number"]
        before = self.questions.get(name)
        waits = before[-1] if before else None
        waits = waits or time if fields["type"] == EventType.QUESTION_ASKED else None
        self.questions[name] = (
            name, person, refs.get("client"), refs.get("project"), refs.get("about"), number,
            before[6] if before else time, time, waits,
        )  # fmt: skip
        self.messages.append((name, number, fields["by"], time))


# --- what stands of them


def _compared(session: Session, told: _Told) -> Iterator[str]:
    people = listed(session, sorted(told.people))

    def of(query: Select[Any], person: Any) -> Iterable[Any]:
        return session.execute(query.join(people, people.c.value == person))

    rows = of(_rows(Question, _QUESTION), Question.subject_id)
    yield from unlike("question", _QUESTION, told.questions.values(), rows)
    written = _rows(QuestionMessage, _MESSAGE).join(
        Question, Question.id == QuestionMessage.question_id
    )
    rows = of(written, Question.subject_id)
    yield from unlike("message", _MESSAGE, told.messages, rows)
    rows = of(_rows(NoticeAcknowledgement, _READ), NoticeAcknowledgement.subject_id)
    yield from unlike("reading", _READ, told.read, rows)
    rows = of(_rows(Preference, ("subject_id", "time_zone")), Preference.subject_id)
    zones = told.choices["time_zone"].items()
    yield from unlike("time zone", ("of", "being"), zones, rows)
    spoken = _rows(Subject, ("id", "language")).where(Subject.language.is_not(None))
    languages = [(who, language) for who, language in told.choices["language"].items() if language]
    yield from unlike("language", ("of", "being"), languages, of(spoken, Subject.id))


def _of_nobody(session: Session) -> Iterator[str]:
    """Such rows of whom the logs tell nothing of the kind, and messages of no question."""
    heard = select(Entry.subject_id).where(
        Entry.type.in_(_TYPES), Entry.subject_id.is_not(None)
    )  # fmt: skip
    for word, person, standing in (
        ("question", Question.subject_id, None),
        ("reading", NoticeAcknowledgement.subject_id, None),
        ("time zone", Preference.subject_id, None),
        ("language", Subject.id, Subject.language.is_not(None)),
    ):
        query = select(person).where(person.not_in(heard)).distinct()
        if standing is not None:
            query = query.where(standing)
        for name in session.execute(query).scalars():
            yield f"A {word} of {name} stands, and no entry tells of any."
    threads = select(QuestionMessage.question_id).where(
        QuestionMessage.question_id.not_in(select(Question.id))
    )
    for name in session.execute(threads.distinct()).scalars():
        yield f"Messages stand in the question {name}, which there is not."


def _words(session: Session) -> Iterator[str]:
    """Who is found by other words than those of their name, thousands at a time."""
    names = select(Subject.id, Subject.full_name).order_by(Subject.id).limit(_BATCH)
    last = ""
    while people := session.execute(names.where(Subject.id > last)).all():
        kept = defaultdict(set)
        those = and_(SubjectWord.subject_id > last, SubjectWord.subject_id <= people[-1].id)
        for row in session.execute(select(SubjectWord.subject_id, SubjectWord.word).where(those)):
            kept[row.subject_id].add(row.word)
        last = people[-1].id
        for row in people:
            if kept.pop(row.id, set()) != beginnings(row.full_name):
                yield f"The words by which {row.id} is found are not those of their name."
        for name in kept:
            yield f"Words stand by which {name} would be found, whom there is not."


def _rows(table: Any, columns: Iterable[str]) -> Select[Any]:
    return select(*(getattr(table, each) for each in columns))
