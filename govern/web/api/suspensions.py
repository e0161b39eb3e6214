"""Suspensions: what a pause would touch, opening and changing one, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from govern.access import suspensions
from govern.access.idempotency import Done
from govern.access.modes import Mode
from govern.access.suspensions import Reason, Scope
from govern.web.api.requests import Request
from govern.web.api.routes import ACCEPTED, CREATED, OK, Routes
from govern.web.api.shapes import (
    Asked,
    Count,
    Digest,
    Instant,
    Page,
    Paging,
    Prose,
    Reference,
    Told,
    Words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

routes = Routes("suspensions")


class Part(Told):
    """One thing that a suspension covers, or covered `until` an instant."""

    type: Scope
    code: str
    name: str
    since: Instant
    until: Instant | None


class Notice(Told):
    """One version of what the people affected are told."""

    number: int
    known: str
    not_known: str
    contact: str
    next_update_by: Instant | None
    submit_by: Instant | None = Field(description="Until when hours may be handed in.")
    posted_at: Instant


class SuspensionLine(Told):
    """A suspension. `mode` is the last one, once it is lifted."""

    id: str
    state: Literal["open", "lifted"]
    mode: Mode
    targets: list[Part] = Field(description="As far as the caller may know of them.")
    reason: Reason
    notice: Notice | None = Field(description="What the people affected are told now.")
    note: str = Field(description="What is known, of that notice.")
    hours_until: Instant | None
    review_by: Instant
    ordered_at: Instant
    opened_at: Instant
    lifted_at: Instant | None


class Progress(Told):
    """How far the entries of the latest act are written, one a grant."""

    recorded: int
    total: int
    done: bool
    finished_at: Instant | None
    left: int
    per_second: float | None = Field(description="Entries written a second since the act.")
    seconds_left: int | None = Field(description="About how long it takes yet, if that is known.")


class ModeHeld(Told):
    """A mode, from one instant to another."""

    mode: Mode
    since: Instant
    until: Instant | None


class Suspension(SuspensionLine):
    """All about one suspension. What only readers of all it covers may see is empty for others."""

    whole: bool = Field(description="Whether the caller sees all that it covers.")
    internal_reason: str
    ordered_by: str
    incident: str
    opened_by: str
    modes: list[ModeHeld]
    mode_version: str = Field(description="Names the mode seen, for changing it.")
    version: str = Field(description="Names the review date seen, for changing it.")
    notices: list[Notice] = Field(description="Every version, the newest first.")
    acknowledged: int | None = Field(
        description="How many said to have read the newest; null unless the caller sees the whole."
    )
    people: int = Field(description="How many it holds now.")
    progress: Progress
    digest: str | None = Field(description="Of the grants that its opening touched, once written.")
    preview_digest: str | None
    released: list[str] = Field(description="Opaque ids of people let out early.")
    lifts_at: Instant | None = Field(description="When it is set to end, if confirmed by then.")
    lift_confirmed_at: Instant | None
    released_parts: list[str] = Field(description="Projects and datasets let out, as TYPE:CODE.")
    waiting: list[str] = Field(description="Requests about it that await a second person.")
    take_back_until: Instant | None


class Targets(Asked):
    """What a suspension would be laid over."""

    targets: list[Reference] = Field(
        min_length=1, max_length=500, description="TYPE:CODE each, such as project:Kingfisher."
    )


class NewSuspension(Targets):
    """A suspension to open; only targets, mode and reason must be told."""

    mode: Mode
    reason: Reason
    note: Prose = Field(default="", description="What is known, of the first notice.")
    internal_reason: Prose = ""
    ordered_by: Prose = Field(default="", description="Who asked for it, and how.")
    ordered_at: Instant | None = None
    incident: Prose = ""
    hours_until: Instant | None = Field(default=None, description="Until when hours count.")
    review_by: Instant | None = Field(default=None, description="In 72 hours unless told.")
    preview_digest: Digest | None = None


class Share(Told):
    """What of it is in one project."""

    client: str
    project: str
    grants: int
    people: int
    already_held: int


class Preview(Told):
    """What a suspension would touch."""

    grants: int
    people: int
    datasets: int
    already_held: int
    losing_last_project: int = Field(description="People for whom nothing would be left.")
    sessions: int = Field(description="Their living sessions here, which stay open.")
    tokens: int = Field(description="Tools' living tokens, which die if it stops anything.")
    requests: int = Field(description="Grants asked for, refused while it stops anything.")
    projects: list[Share]
    clients: dict[str, int] = Field(description="Grants by client.")
    kinds: dict[str, int] = Field(description="Grants by kind of person.")
    countries: dict[str, int] = Field(description="Grants by people's country.")
    digest: str
    as_of: int | None = Field(description="The log's position seen, if all is one client's.")


class Suspensions(Paging):
    """Which suspensions."""

    state: Literal["open", "lifted"] | None = None


class Held(Told):
    """A grant that the opening touched; `seq` is its entry's place, null while unwritten."""

    grant: str
    subject: str
    external_id: str
    full_name: str
    project: str
    entitlement: str
    seq: int | None


class Change(Asked):
    """Another mode; `mode_version` is that of the mode seen."""

    mode: Mode
    mode_version: Reference | None = None
    reason: Words = ""


class NewNotice(Asked):
    """What the people affected are told from now on; it stands for itself, whatever was before."""

    known: Prose = ""
    not_known: Prose = ""
    contact: Words = ""
    next_update_by: Instant | None = Field(default=None, description="When they hear again.")
    submit_by: Instant | None = Field(
        default=None, description="Until when hours may be handed in."
    )
    seen: Count | None = Field(
        default=None, description="The number of the version seen; 0 if there was none."
    )


class Amendment(Asked):
    """Another review date; `version` is that of what was seen."""

    review_by: Instant
    version: Reference | None = None


# --- reading -----------------------------------------------------------------------------------


def _notice(one: suspensions.notices.Version) -> Notice:
    told = {name: getattr(one, name) for name in Notice.model_fields}
    return Notice(**told)


def _line(
    standing: suspensions.reading.Standing, told: Sequence[suspensions.notices.Version]
) -> SuspensionLine:
    row = standing.suspension
    return SuspensionLine(
        id=row.id,
        state="open" if standing.is_open else "lifted",
        mode=standing.mode,
        targets=[
            Part(
                type=part.kind, code=part.code, name=part.name, since=part.recorded_at,
                until=part.ended_at,
            )
            for part in standing.parts
        ],
        reason=Reason(row.reason),
        notice=_notice(told[0]) if told else None,
        note=told[0].known if told else "",
        hours_until=row.hours_until,
        review_by=row.review_by,
        ordered_at=row.ordered_at,
        opened_at=row.recorded_at,
        lifted_at=row.ended_at,
    )  # fmt: skip


@routes.get("/suspensions", Page[SuspensionLine], query=Suspensions)
def find(session: OrmSession, *, asked: Suspensions, by: Principal) -> Page[SuspensionLine]:
    """Suspensions, oldest first."""
    rows, after = suspensions.reading.page(
        session, state=asked.state or "", after=asked.after, limit=asked.limit, by=by
    )
    told = suspensions.notices.versions(session, (row.suspension.id for row in rows))
    items = [_line(row, told[row.suspension.id]) for row in rows]
    return Page[SuspensionLine](items=items, next=after)


@routes.get("/suspensions/<suspension>", Suspension)
def show(session: OrmSession, suspension: str, *, by: Principal) -> Suspension:
    """One suspension, with how far its record is."""
    found = suspensions.reading.find(session, suspension, by=by)
    standing, row = found.standing, found.standing.suspension
    suspensions.reading.measure(session, [standing], by=by)
    progress = standing.progress
    told = suspensions.notices.versions(session, [row.id], counted=found.whole)[row.id]
    released = suspensions.reading.releases(session, suspension, by=by)
    resume = found.resume
    if resume is not None and resume.ended_at is not None:
        resume = None
    return Suspension(
        **dict(_line(standing, told)),
        whole=found.whole,
        internal_reason=found.inner(row.internal_reason),
        ordered_by=found.inner(row.ordered_by),
        incident=found.inner(row.incident),
        opened_by=found.opened_by,
        modes=[
            ModeHeld(mode=Mode(one.mode), since=one.recorded_at, until=one.ended_at)
            for one in found.modes
        ],
        mode_version=standing.mode_id,
        version=suspensions.version(row),
        notices=[_notice(one) for one in told],
        acknowledged=(told[0].readers if told else 0) if found.whole else None,
        people=standing.people,
        progress=Progress(
            recorded=progress.recorded, total=progress.total, done=progress.done,
            finished_at=progress.finished_at, left=progress.left, per_second=progress.rate,
            seconds_left=progress.seconds_left,
        ),
        digest=standing.digest,
        preview_digest=row.preview_digest,
        lifts_at=resume.at if resume else None,
        lift_confirmed_at=resume.confirmed_at if resume else None,
        released=[one.target_id for one in released if one.kind is Scope.SUBJECT],
        released_parts=[
            f"{one.kind}:{one.code}" for one in released if one.kind is not Scope.SUBJECT
        ],
        waiting=[one.id for one in found.waiting],
        take_back_until=found.take_back_until,
    )  # fmt: skip


@routes.get("/suspensions/<suspension>/grants", Page[Held], query=Paging)
def held(session: OrmSession, suspension: str, *, asked: Paging, by: Principal) -> Page[Held]:
    """The grants that its opening touched."""
    standing = suspensions.reading.find(session, suspension, by=by).standing
    rows, after = suspensions.reading.held(
        session, standing, after=asked.after, limit=asked.limit, by=by
    )
    items = [
        Held(
            grant=row.grant_id, subject=row.subject_id, external_id=row.external_id,
            full_name=row.name, project=row.project, entitlement=row.entitlement, seq=row.seq,
        )
        for row in rows
    ]  # fmt: skip
    return Page[Held](items=items, next=after)


@routes.ask("/suspensions/preview", Preview, body=Targets)
def preview(session: OrmSession, *, asked: Targets, by: Principal) -> Preview:
    """What suspending some targets would touch; changes nothing."""
    parts = suspensions.reading.chosen(session, asked.targets, by=by, field="targets")
    found = suspensions.preview(session, [part.target for part in parts], by=by)
    return Preview(
        grants=found.grants, people=found.people, datasets=found.datasets,
        already_held=found.already_held, losing_last_project=found.losing_last_project,
        projects=[
            Share(
                client=share.names[1], project=share.names[0], grants=share.grants,
                people=share.people, already_held=share.already_held,
            )
            for share in found.projects
        ],
        sessions=found.sessions, tokens=found.tokens, requests=found.requests,
        clients=found.by_client, kinds=found.by_kind, countries=found.by_country,
        digest=found.digest, as_of=found.as_of,
    )  # fmt: skip


# --- acting ------------------------------------------------------------------------------------


@routes.post("/suspensions", {CREATED: Suspension}, body=NewSuspension)
def open_(session: Session, *, asked: NewSuspension, by: Principal) -> Done:
    """Stop access over some targets, from the answer's commit on."""
    parts = suspensions.reading.chosen(session, asked.targets, by=by, field="targets")
    told = {name: getattr(asked, name) for name in NewSuspension.model_fields}
    del told["targets"]
    row = suspensions.open(session, [part.target for part in parts], **told, by=by)
    return Done(CREATED, f"/suspensions/{row.id}")


@routes.patch("/suspensions/<suspension>", {OK: Suspension}, body=Amendment)
def amend(session: Session, suspension: str, *, asked: Amendment, by: Principal) -> Done:
    """Move the review date."""
    row = suspensions.find(session, suspension, by=by)
    suspensions.amend(session, row, review_by=asked.review_by, seen=asked.version, by=by)
    return Done(OK, f"/suspensions/{row.id}")


@routes.post("/suspensions/<suspension>/notices", {CREATED: Suspension}, body=NewNotice)
def notify(session: Session, suspension: str, *, asked: NewNotice, by: Principal) -> Done:
    """Tell the people affected something new."""
    row = suspensions.find(session, suspension, by=by)
    words = suspensions.notices.Words(
        known=asked.known, not_known=asked.not_known, contact=asked.contact,
        next_update_by=asked.next_update_by, submit_by=asked.submit_by,
    )  # fmt: skip
    suspensions.notices.post(session, row, words, seen=asked.seen, by=by)
    return Done(CREATED, f"/suspensions/{row.id}")


@routes.post("/suspensions/<suspension>/mode", {OK: Suspension, ACCEPTED: Request}, body=Change)
def mode(session: Session, suspension: str, *, asked: Change, by: Principal) -> Done:
    """Stop more at once; or ask to stop less, which awaits a second person (202)."""
    row = suspensions.find(session, suspension, by=by)
    waiting = suspensions.change_mode(
        session, row, asked.mode, seen=asked.mode_version, reason=asked.reason, by=by
    )
    if waiting is not None:
        return Done(ACCEPTED, f"/requests/{waiting.id}")
    return Done(OK, f"/suspensions/{row.id}")
