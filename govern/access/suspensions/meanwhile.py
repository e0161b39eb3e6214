"""For whom anything changed since a pause began: of all others what was counted then still holds.

What an opening touched is written down once its particulars are: how many grants of how many
people, and the digest of which. Of these only the people need be asked about again whose grants
ended since, or whose windows turned, who left, were let out, or are held by something else: they
are found along indexes, and are few whatever the pause covers. Nobody is given anything there
meanwhile, for a pause refuses that. Where more than people changed, all is to be counted anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.orm import aliased

from govern import clock
from govern.access import grants, modes
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant, Moment
from govern.access.modes import Effect
from govern.access.suspension_tables import (
    Particulars,
    PeopleListItem,
    Scope,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions.previewing import digest_of
from govern.access.suspensions.targets import affected
from govern.clock import Utc
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspension_tables import Suspension
    from govern.access.suspensions.targets import Target

MOST = 2000  # people who are asked about one by one
# What is asked about an opening is made once, and bound to the suspension's id and instant.
OF, OPENED_AT = bindparam("of", type_=String()), bindparam("opened_at", type_=Utc())
OPENING = Moment(at=OPENED_AT)
# Under anything else lie people, who come and go by themselves.
_PLACES = frozenset({Scope.CLIENT, Scope.PROJECT, Scope.DATASET})


@dataclass(frozen=True, kw_only=True)
class Meanwhile:
    """What the opening touched, as it was written down; and for whom anything changed since.

    `digest` is that of `Standing`. Of whoever is not `changed` all that was touched stands still.
    """

    grants: int
    people: int
    digest: str
    changed: tuple[str, ...]


def bound(suspension: Suspension) -> dict[str, Any]:
    """What the clauses about an opening are to be told of one."""
    return {OF.key: suspension.id, OPENED_AT.key: suspension.recorded_at}


@cache
def stood() -> ColumnElement[bool]:
    """Which grants an opening touched."""
    return and_(
        OPENING.known(Grant),
        grants.all_of(grants.standing(OPENING)),
        affected(OF, OPENING),
    )


def since(
    session: OrmSession,
    suspension: Suspension,
    over: Sequence[Target],
    others: tuple[Scope, ...] = (),
) -> Meanwhile | None:
    """What changed since an opening; None where all that it is over is to be counted.

    `others` are the kinds of scope by which another suspension may hold; what such ones hold counts
    as changed. One statement, and none when it is asked again in the same snapshot.
    """
    seen: dict[Any, Meanwhile | None] = session.info.setdefault("govern_since", {})
    key = (suspension.id, *over, others)
    if key not in seen:
        seen[key] = _since(session, suspension, over, others)
    return seen[key]


def _since(
    session: OrmSession,
    suspension: Suspension,
    over: Sequence[Target],
    others: tuple[Scope, ...],
) -> Meanwhile | None:
    logs = {part.client for part in over}
    # How many people there are over several logs is no sum of theirs.
    if len(logs) != 1 or not all(part.kind in _PLACES for part in over):
        return None
    written: Any = None
    changed: list[str] = []
    for found in session.execute(_asked(others), bound(suspension)):
        if found.what == "loose":
            return None
        if found.what == "who":
            changed.append(found.id)
        elif found.id in logs:
            written = found
    if written is None or written.people is None or written.parts != len(over):
        return None
    if len(changed) > MOST:
        return None
    return Meanwhile(
        grants=written.grants, people=written.people,
        digest=digest_of({written.id: written.digest}), changed=tuple(sorted(changed)),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _asked(others: tuple[Scope, ...]) -> CompoundSelect[Any]:
    """What was written down of each log; who changed; and a row of whatever else did."""
    empty, none = cast(null(), Particulars.written.type), literal("", String())
    told = select(
        literal("log").label("what"), Particulars.log_id.label("id"),
        Particulars.written.label("grants"), Particulars.people.label("people"),
        Particulars.digest.label("digest"), _parts().label("parts"),
    ).where(
        Particulars.suspension_id == OF, Particulars.as_at == OPENED_AT,
        Particulars.finished_at.is_not(None),
    )  # fmt: skip
    who = union(*(select(one.limit(MOST + 1).subquery()) for one in _who(others))).subquery()
    who = select(who.c[0].label("id")).limit(MOST + 1).subquery()
    return union_all(
        told,
        select(literal("who"), who.c.id, empty, empty, none, empty),
        *(
            select(literal("loose"), none, empty, empty, none, empty).where(one)
            for one in _loose(others)
        ),
    )


def _parts() -> Any:
    """How many parts it has: who sees fewer is told of these, and they are not all."""
    own = select(func.count()).where(SuspensionTarget.suspension_id == OF)
    return own.scalar_subquery()


def _projects() -> Select[str]:
    """The projects that lie under what is suspended, or that its datasets are of."""
    target = SuspensionTarget
    within = select(Project.id).join(target, target.target_id == Project.client_id)
    part = select(Dataset.project_id).join(target, target.target_id == Dataset.id)
    own = target.suspension_id == OF
    whole: Select[str] = select(target.target_id).where(own, target.kind == Scope.PROJECT)
    every = union(
        within.where(own, target.kind == Scope.CLIENT), whole,
        part.where(own, target.kind == Scope.DATASET),
    ).subquery()  # fmt: skip
    return select(every.c[0])


def _who(others: tuple[Scope, ...]) -> list[Any]:
    """Of whom anything may have changed, each along an index of its own."""
    there, now = Grant.project_id.in_(_projects()), clock.instant()
    left = exists().where(Grant.subject_id == Subject.id, there).correlate(Subject)
    found: list[Any] = [
        select(Grant.subject_id).where(there, Grant.ended_at >= OPENED_AT),
        select(Grant.subject_id).where(there, Grant.ends_at >= OPENED_AT, Grant.ends_at <= now),
        select(Grant.subject_id).where(
            there, Grant.starts_at > Grant.recorded_at, Grant.starts_at >= OPENED_AT,
            Grant.starts_at <= now,
        ),
        select(Subject.id).where(Subject.ended_at >= OPENED_AT, left),
        select(SuspensionRelease.target_id).where(
            SuspensionRelease.suspension_id == OF, SuspensionRelease.kind == Scope.SUBJECT
        ),
    ]  # fmt: skip
    target = SuspensionTarget
    other = and_(target.ended_at.is_(None), target.suspension_id != OF)
    held: dict[Scope, Any] = {
        Scope.SUBJECT: select(target.target_id),
        Scope.PEOPLE: select(PeopleListItem.subject_id).join(
            target, target.target_id == PeopleListItem.list_id
        ),
        Scope.ORGANISATION: select(Membership.subject_id)
        .join(target, target.target_id == Membership.organisation_id)
        .where(Membership.ended_at.is_(None)),
    }
    found += [held[kind].where(other, target.kind == kind) for kind in held if kind in others]
    return found


def _loose(others: tuple[Scope, ...]) -> list[ColumnElement[bool]]:
    """What may have changed for more than some people."""
    target, mode, release = SuspensionTarget, SuspensionMode, SuspensionRelease
    stopping = modes.stopping(Effect.CHANGE)
    place = aliased(Project)
    found: list[ColumnElement[bool]] = [
        # Its scope or its mode is not what it was, or it stopped nothing, so that more was given.
        exists().where(
            target.suspension_id == OF,
            or_(target.recorded_at != OPENED_AT, target.ended_at.is_not(None),
                target.kind.not_in(sorted(_PLACES))),
        ),
        exists().where(
            mode.suspension_id == OF,
            or_(mode.recorded_at != OPENED_AT, mode.mode.not_in(stopping)),
        ),
        exists().where(release.suspension_id == OF, release.kind != Scope.SUBJECT),
        exists().where(
            place.id.in_(_projects()), place.client_id == Client.id,
            or_(place.ended_at >= OPENED_AT, Client.ended_at >= OPENED_AT),
        ),
    ]  # fmt: skip
    if _PLACES.intersection(others):
        among = _projects().subquery()
        over = union(
            select(among.c[0]),
            select(Project.client_id).where(Project.id.in_(select(among.c[0]))),
            select(Dataset.id).where(Dataset.project_id.in_(select(among.c[0]))),
        ).subquery()
        found.append(
            exists().where(
                target.suspension_id != OF, target.ended_at.is_(None),
                target.target_id.in_(select(over.c[0])),
            )
        )  # fmt: skip
    return found
