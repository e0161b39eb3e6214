"""Counting what a suspension would touch, by the query that the act's own entries use.

The grants are looked at once: one scan counts them every way that is shown, and makes the digest
that the particulars of the same set end with.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, false, func, not_, or_, select

from govern import clock
from govern.access import grants, modes
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant
from govern.access.requests import Request, RequestKind
from govern.access.suspension_tables import Scope, SuspensionMode, listed_in
from govern.access.suspensions.targets import Target, allowed, covered
from govern.access.tokens.tables import Token, TokenAction
from govern.audit import log
from govern.db import Inquiry, listed, together
from govern.identity.sessions import WebSession
from govern.identity.subjects import Membership, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.principal import Principal

LOSING_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a suspension would touch of one part.

    `names` are of a project its code, its client's code and name, and its contact; else the one
    word of the part: a client's code, a kind, a country.
    """

    names: tuple[str, ...]
    grants: int
    people: int
    already_held: int


@dataclass(frozen=True)
class Losing:
    """One person for whom nothing in force would be left."""

    subject_id: str
    external_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a suspension over some targets would touch; `digest` names the set of grants.

    `sessions` are people's living sessions in govern itself, which stay open: there they read what
    it means for them. `tokens` are tools' living tokens, which die and stay dead unless it stops
    nothing. `requests` are grants asked for, refused while it stops anything. `as_of` is the
    client log's position that was seen, when all of it is one client's. `wholes` are the projects
    of the datasets among the targets, by the dataset's id.
    """

    grants: int
    people: int
    datasets: int
    already_held: int
    losing_last_project: int
    sessions: int
    tokens: int
    requests: int
    by_client: dict[str, int] = field(default_factory=dict)
    by_project: dict[str, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    by_country: dict[str, int] = field(default_factory=dict)
    projects: list[Share] = field(default_factory=list)
    clients: list[Share] = field(default_factory=list)
    kinds: list[Share] = field(default_factory=list)
    countries: list[Share] = field(default_factory=list)
    losing: list[Losing] = field(default_factory=list)
    wholes: dict[str, Target] = field(default_factory=dict)
    as_of: int | None = None
    digest: str = ""


@dataclass
class _Cell:
    """Grants of one project, and of people of one kind in one country."""

    grants: int = 0
    already: int = 0
    people: set[str] = field(default_factory=set)


@dataclass
class _Set:
    """The set of grants, walked: its cells, and what is asked for next."""

    cells: dict[tuple[str, str, str], _Cell] = field(default_factory=lambda: defaultdict(_Cell))
    whole: set[str] = field(default_factory=set)
    datasets: set[str] = field(default_factory=set)
    losing: set[str] = field(default_factory=set)
    chains: dict[str, str] = field(default_factory=dict)


def preview(session: OrmSession, targets: list[Target], *, by: Principal) -> Preview:
    """Count what suspending some targets would touch, by the query that the act's entries use."""
    allowed(by, targets, permission="suspension:read")
    already = _already(session)
    found = _walked(session, targets, already)
    people = {person for cell in found.cells.values() for person in cell.people}
    places, datasets, wholes = _places(session, found, targets)

    def split(part: Callable[[tuple[str, str, str]], tuple[str, ...]]) -> list[Share]:
        return _split(found, part)

    projects = split(lambda key: places[key[0]])
    by_client = split(lambda key: (places[key[0]][1],))
    kinds = split(lambda key: (key[1],))
    countries = split(lambda key: (key[2],))
    losing = _losing_last(session, targets, found.losing, already)
    sessions, tokens, requests, named, as_of = _beside(session, targets, people, losing, wholes)
    return Preview(
        grants=sum(cell.grants for cell in found.cells.values()),
        people=len(people),
        already_held=sum(cell.already for cell in found.cells.values()),
        datasets=datasets,
        as_of=as_of,
        losing_last_project=len(losing),
        losing=named,
        sessions=sessions,
        tokens=tokens,
        wholes=wholes,
        requests=requests,
        by_client={share.names[0]: share.grants for share in by_client},
        by_project={share.names[0]: share.grants for share in projects},
        by_kind={share.names[0]: share.grants for share in kinds},
        by_country={share.names[0]: share.grants for share in countries},
        projects=projects,
        clients=by_client,
        kinds=kinds,
        countries=countries,
        digest=digest_of(found.chains),
    )


def _walked(session: OrmSession, targets: list[Target], already: ColumnElement[bool]) -> _Set:
    """The set, in one scan; ids come as texts of many, for a row of each would cost the most."""
    each = (
        grants.facts(
            Grant.client_id, Grant.id, Grant.project_id, Grant.dataset_id, Grant.subject_id,
            Subject.kind, Subject.country, already.label("already"),
        )
        .where(grants.all_of(grants.standing()), covered(targets))
        .subquery()
    )  # fmt: skip
    parts = (
        each.c.client_id, each.c.project_id, each.c.dataset_id, each.c.kind, each.c.country,
        each.c.already,
    )  # fmt: skip
    ids, people = (func.aggregate_strings(column, " ") for column in (each.c.id, each.c.subject_id))
    found = _Set()
    of_log: dict[str, list[str]] = defaultdict(list)
    for *part, texts, names in session.execute(select(*parts, ids, people).group_by(*parts)):
        client, project, dataset, kind, country, held = part
        some, named = texts.split(), names.split()
        of_log[client] += some
        cell = found.cells[project, kind, country]
        cell.grants += len(some)
        cell.people.update(named)
        if held:
            cell.already += len(some)
        else:
            found.losing.update(named)
        if dataset is None:
            found.whole.add(project)
        else:
            found.datasets.add(dataset)
    for log_id, grant_ids in of_log.items():
        digest = ""
        for grant_id in sorted(grant_ids):
            digest = chain(digest, grant_id)
        found.chains[log_id] = digest
    return found


def _already(session: OrmSession) -> ColumnElement[bool]:
    """Whether a grant is held: not asked of each when nothing holds anything."""
    stopping = modes.stopping(modes.Effect.OBSERVE)
    held = select(SuspensionMode.id).where(
        SuspensionMode.mode.in_(stopping), SuspensionMode.ended_at.is_(None)
    )
    if session.execute(held.limit(1)).first() is None:
        return false()
    return grants.held(modes.Effect.OBSERVE)


def _split(found: _Set, part: Callable[[tuple[str, str, str]], tuple[str, ...]]) -> list[Share]:
    parts: dict[tuple[str, ...], _Cell] = defaultdict(_Cell)
    for key, cell in found.cells.items():
        whole = parts[part(key)]
        whole.grants += cell.grants
        whole.already += cell.already
        whole.people |= cell.people
    shares = [
        Share(names=names, grants=one.grants, people=len(one.people), already_held=one.already)
        for names, one in parts.items()
    ]
    return sorted(shares, key=lambda share: (-share.grants, share.names))


def _places(
    session: OrmSession, found: _Set, targets: list[Target]
) -> tuple[dict[str, tuple[str, ...]], int, dict[str, Target]]:
    """Code, client's code and name, and contact of each project, by its id.

    And how many datasets the grants reach, for a project's grant reaches all of the project's; and
    the projects of the datasets among the targets (see `whole_projects`).
    """
    named = {item.id for item in targets if item.kind is Scope.DATASET}
    among = select(listed(session, sorted({project for project, _, _ in found.cells})).c.value)
    owners = select(Dataset.project_id).where(
        Dataset.id.in_(select(listed(session, sorted(named)).c.value))
    )
    rows = session.execute(
        select(
            Project.id, Project.code, Client.code, Client.name, Project.contact, Client.id,
            Dataset.id,
        )
        .join(Client, Client.id == Project.client_id)
        .outerjoin(Dataset, Dataset.project_id == Project.id)
        .where(or_(Project.id.in_(among), Project.id.in_(owners)))
    ).all()  # fmt: skip
    inside = {row[6] for row in rows if row[0] in found.whole} - {None}
    return (
        {row[0]: tuple(row[1:5]) for row in rows},
        len(found.datasets | inside),
        {row[6]: Target(Scope.PROJECT, row[0], row[1], row[5]) for row in rows if row[6] in named},
    )


def _losing_last(
    session: OrmSession, targets: list[Target], people: set[str], already: ColumnElement[bool]
) -> set[str]:
    """Of those who would lose something, whoever has nothing else in force."""
    among = listed(session, list(people))
    keeping = (
        grants.facts(Grant.subject_id)
        .join(among, among.c.value == Grant.subject_id)
        .where(not_(covered(targets)), grants.all_of(grants.standing()), not_(already))
    )
    return people.difference(session.execute(keeping).scalars())


def _beside(
    session: OrmSession,
    targets: list[Target],
    people: set[str],
    losing: set[str],
    wholes: dict[str, Target],
) -> tuple[int, int, int, list[Losing], int | None]:
    """What stands beside the grants, asked in one statement.

    Living sessions of people, living tokens of tools, grants asked for that nobody may approve
    while it stops anything, some of those who lose their last, and the position of the one log.
    """
    owners = {item.client for item in targets}
    owner = owners.pop() if len(owners) == 1 else None
    sessions = select(WebSession.subject_id).where(
        WebSession.ended_at.is_(None), WebSession.expires_at > clock.instant()
    )
    among = listed(session, heapq.nsmallest(LOSING_SHOWN, losing))
    named = select(Subject.id, Subject.external_id, Subject.full_name).join(
        among, among.c.value == Subject.id
    )
    living, tokens, requests, names, position = together(
        session,
        Inquiry(sessions, lambda rows: sum(one in people for (one,) in rows)),
        Inquiry(_tokens(targets, wholes), _number),
        Inquiry(_requests(targets), _number),
        Inquiry(named, lambda rows: [Losing(*row) for row in sorted(rows)]),
        Inquiry(select(log.position(owner or "").label("position")), _number),
    )
    return living, tokens, requests, names, position if owner else None


def _number(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0])


def _tokens(targets: list[Target], wholes: dict[str, Target]) -> Select[Any]:
    """How many living tokens count on what would be held, or on a project of which a part would."""
    own = Token.dataset_id.in_(wholes)
    part = and_(
        Token.dataset_id.is_(None), Token.project_id.in_([item.id for item in wholes.values()])
    )
    held = (
        select(TokenAction.token_id)
        .join(Grant, Grant.id == TokenAction.grant_id)
        .where(TokenAction.token_id == Token.id, covered(targets))
        .exists()
    )
    return select(func.count(Token.id).label("tokens")).where(
        Token.expires_at > clock.instant(), Token.revoked_at.is_(None), or_(own, part, held)
    )


_ASKED: dict[Scope, Any] = {
    Scope.CLIENT: Request.client_id,
    Scope.PROJECT: Request.project_id,
    Scope.DATASET: Request.dataset_id,
    Scope.SUBJECT: Request.subject_id,
    Scope.ORGANISATION: Membership.organisation_id,
}


def _requests(targets: list[Target]) -> Select[Any]:
    """How many grants are asked for under some targets."""
    firm = and_(Membership.subject_id == Request.subject_id, Membership.ended_at.is_(None))
    under = or_(
        false(),
        *(
            listed_in(item.id, Request.subject_id)
            if item.kind is Scope.PEOPLE
            else _ASKED[item.kind] == item.id
            for item in targets
        ),
    )
    return (
        select(func.count(Request.id).label("requests"))
        .outerjoin(Membership, firm)
        .where(Request.kind == RequestKind.GRANT, Request.ended_at.is_(None), under)
    )


def chain(digest: str, grant_id: str) -> str:
    """One step of a set's digest: it can be taken up again where a crash left it."""
    return chained(digest, (grant_id,))


def chained(digest: str, grant_ids: Iterable[str]) -> str:
    """A step for each of many grants."""
    for after in chain_of(digest, grant_ids):
        digest = after
    return digest


def chain_of(digest: str, grant_ids: Iterable[str]) -> Iterator[str]:
    """The digests of a set after each of many more grants."""
    for grant_id in grant_ids:
        digest = hashlib.sha256(f"{digest}{grant_id}".encode()).hexdigest()
        yield digest


def digest_of(chains: dict[str, str]) -> str:
    """One digest for a set over several logs; a log without any of it leaves no mark."""
    lines = "".join(f"{log_id} {digest}\n" for log_id, digest in sorted(chains.items()) if digest)
    return hashlib.sha256(lines.encode()).hexdigest()
