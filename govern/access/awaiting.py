"""What awaits a second person, in words: each request with all it speaks of, and who may decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select, union_all

from govern import permissions
from govern.access import asking, recovering, requests
from govern.access.clients import Dataset, Project
from govern.access.entitlements import Entitlement
from govern.access.requests import Request, RequestItem, RequestKind
from govern.access.suspensions import reading
from govern.access.suspensions.reading import Standing
from govern.db import Inquiry, listed, together
from govern.identity.subjects import Organisation, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A request, the names of all it speaks of, and why the caller may not approve it.

    `wish` tells who approved access that is asked for, and how many it takes; `reason` why one that
    is looked at by itself was asked for.
    """

    request: Request
    names: dict[str, str]
    named: list[str]
    titles: list[str]
    why_not: str
    may_approve: bool
    may_withdraw: bool
    mine: bool
    wish: asking.Wish | None = None
    reason: str = ""


def waiting(
    session: OrmSession, standings: Iterable[Standing] = (), *, by: Principal
) -> list[Waiting]:
    """What awaits a second person, oldest first; `standings` are suspensions known by now."""
    permissions.require_some(by, "request:read")
    known = {standing.suspension.id: standing.names for standing in standings}
    return _explained(session, requests.waiting(session, by=by), known, by=by)


def explained(
    session: OrmSession, request_id: str, *, by: Principal
) -> tuple[Waiting, Standing | None]:
    """One request, waiting or decided, and the suspension that it is about."""
    row = requests.find(session, request_id, by=by)
    known: dict[str, list[str]] = {}
    standing = None
    if row.suspension_id is not None:
        standing = reading.find(session, row.suspension_id, by=by).standing
        known[row.suspension_id] = standing.names
    found = _explained(session, [row], known, by=by, items_of=row.id)[0]
    if standing is not None:
        parts = {part.id: part.name for part in standing.parts}
        named = [parts.get(name, name) for name in found.named]
        found = replace(found, named=sorted(named))
    return found, standing


def _explained(
    session: OrmSession,
    rows: list[Request],
    known: dict[str, list[str]],
    *,
    by: Principal,
    items_of: str = "",
) -> list[Waiting]:
    if not rows:
        return []
    missing = {row.suspension_id for row in rows if row.suspension_id} - known.keys()
    titles = known | reading.titles(session, missing, by=by)
    access = [row for row in rows if row.kind == RequestKind.GRANT and row.project_id]
    (names, named), over, given, *reasons = together(
        session,
        _names(session, rows, items_of),
        asking.of_places({str(row.project_id): str(row.client_id) for row in access}),
        asking.approvals([row.id for row in access]),
        *([requests.reason_asked(rows[0])] if items_of else []),
    )
    approved = [one for each in given.values() for one in each]
    names |= {one.by: one.name for one in approved}
    concerned = {one.by for one in approved} | {row.asked_by for row in rows}
    concerned |= {str(row.subject_id) for row in rows if row.kind == RequestKind.RECOVER}
    making = requests.making(session, concerned, by=by)
    wishes = asking.wishes(access, over, given, making, by=by)
    approves = permissions.scope(by, "request:approve")
    found = []
    for row in rows:
        mine = row.asked_by == requests.signature(by)
        allowed = approves is None or row.client_id in approves
        wish = wishes.get(row.id)
        why_not = making.obstacle(row.asked_by, by) if wish is None else wish.why_not
        if not why_not and row.kind == RequestKind.RECOVER:
            why_not = recovering.obstacle(row, making, by=by)
        found.append(
            Waiting(
                request=row,
                names=names,
                named=named,
                titles=titles.get(row.suspension_id or "", []),
                why_not=why_not,
                may_approve=allowed and not why_not and not (wish and wish.settled_by_me),
                may_withdraw=mine or allowed,
                mine=mine,
                wish=wish,
                reason=reasons[0] if reasons else "",
            )
        )
    return found


def _names(
    session: OrmSession, rows: list[Request], items_of: str
) -> Inquiry[tuple[dict[str, str], list[str]]]:
    """What all that requests speak of is called, and whom or what one of them lists."""
    wanted = {row.asked_by for row in rows}
    wanted |= {row.decided_by for row in rows if row.decided_by}
    for row in rows:
        wanted.update(
            value
            for value in (row.subject_id, row.dataset_id, *row.details.values())
            if isinstance(value, str) and len(value) <= 32  # noqa: PLR2004 - as long as an id
        )
    among = listed(session, sorted(wanted))
    tables: tuple[tuple[Any, Any], ...] = (
        (Subject, Subject.full_name),
        (Project, Project.code),
        (Dataset, Dataset.code),
        (Entitlement, Entitlement.name),
        (Organisation, Organisation.name),
    )
    parts = [
        select(table.id, name, literal("")).join(among, among.c.value == table.id)
        for table, name in tables
    ]
    if items_of:
        # A name or a code, or the id of a part of the scope.
        item = func.coalesce(Subject.full_name, Project.code, Dataset.code, RequestItem.item_id)
        parts.append(
            select(RequestItem.item_id, item, RequestItem.request_id)
            .outerjoin(Subject, Subject.id == RequestItem.item_id)
            .outerjoin(Project, Project.id == RequestItem.item_id)
            .outerjoin(Dataset, Dataset.id == RequestItem.item_id)
            .where(RequestItem.request_id == items_of)
        )
    return Inquiry(
        union_all(*parts),
        lambda found: ({row[0]: row[1] for row in found}, [row[1] for row in found if row[2]]),
    )
