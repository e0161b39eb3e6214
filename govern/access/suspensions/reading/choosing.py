"""Choosing what to suspend: `TYPE:CODE`s read in one statement, the first unknown one named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, literal, select, union_all

from govern import clock, errors, permissions
from govern.access.clients import Client, Dataset, Project
from govern.access.grants import Grant
from govern.access.suspension_tables import PeopleList, Scope
from govern.access.suspensions.parts import Part, name_of, name_of_list
from govern.db import listed
from govern.identity.subjects import Organisation, Subject
from govern.identity.typed import is_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.access.suspensions.targets import Target
    from govern.principal import Principal


def released(
    session: OrmSession, references: Iterable[str], *, by: Principal, field: str = "people"
) -> list[Target]:
    """Read what to let out: people by external id or address, projects and datasets by TYPE:CODE.

    People belong to no client: whoever may let some of a client's out may name those who hold or
    held something there, and of nobody else are they told whether they are known.
    """
    typed = (reference.strip() for reference in references)
    whole = [
        reference if reference.partition(":")[0] in set(Scope) else f"{Scope.SUBJECT}:{reference}"
        for reference in typed
    ]
    found = chosen(session, whole, by=by, field=field, anyone=True)
    return [part.target for part in found]


def chosen(
    session: OrmSession,
    references: Iterable[str],
    *,
    by: Principal,
    field: str = "target",
    anyone: bool = False,
) -> list[Part]:
    """Read many `TYPE:CODE`s in one statement; `Invalid` at `field` names the first unknown one.

    What belongs to clients that the caller may not suspend is told from nothing as little as what
    is not there; people too, unless `anyone` of these clients' may be named.
    """
    clients = permissions.require_some(by, "suspension:open")
    wanted = list(dict.fromkeys(reference.strip() for reference in references))
    codes: dict[Scope, list[str]] = {scope: [] for scope in Scope}
    for reference in wanted:
        kind, _, code = reference.partition(":")
        if kind not in codes or not code or not is_line(code):
            raise errors.Invalid(f"“{reference}” is not TYPE:CODE.", field=field)
        codes[Scope(kind)].append(code)
    found: dict[str, Part] = {}
    rows = session.execute(_looked_up(session, codes)).all() if wanted else ()
    theirs: set[str] = set()
    if anyone and clients is not None:
        theirs = _theirs(session, [row.id for row in rows if row.kind == Scope.SUBJECT], clients)
    for row in rows:
        if clients is not None and row.client not in clients and row.id not in theirs:
            continue
        part = Part(
            id="", suspension_id="", kind=Scope(row.kind), target_id=row.id, code=row.code,
            name=name_of(row.kind, row.name), client=row.client, recorded_at=clock.utcnow(),
            ended_at=None,
        )  # fmt: skip
        found[f"{row.kind}:{row.typed}"] = part
    for reference in wanted:
        if reference not in found:
            kind, _, code = reference.partition(":")
            raise errors.Invalid(f"There is no {kind} “{code}”.", field=field)
    return [found[reference] for reference in wanted]


def _theirs(session: OrmSession, people: list[str], clients: frozenset[str]) -> set[str]:
    """Those of some people who hold or held a grant of some clients."""
    among = select(listed(session, people).c.value)
    query = select(Grant.subject_id).where(
        Grant.subject_id.in_(among), Grant.client_id.in_(clients)
    )
    return set(session.execute(query.distinct()).scalars())


def _looked_up(session: OrmSession, codes: dict[Scope, list[str]]) -> Any:
    def among(kind: Scope, table: Any, column: Any, name: Any, client: Any) -> Select[Any]:
        given = listed(session, codes[kind])
        return select(
            literal(kind.value).label("kind"), table.id.label("id"), column.label("code"),
            name.label("name"), client.label("client"), given.c.value.label("typed"),
        ).join_from(table, given, column == given.c.value)  # fmt: skip

    nobody = literal(None, Client.id.type)
    by_mail = [code for code in codes[Scope.SUBJECT] if "@" in code]
    mails = listed(session, by_mail)
    return union_all(
        among(Scope.CLIENT, Client, Client.code, Client.name, Client.id),
        among(Scope.PROJECT, Project, Project.code, Project.code, Project.client_id),
        among(Scope.DATASET, Dataset, Dataset.code, Dataset.code, Project.client_id).join(
            Project, Project.id == Dataset.project_id
        ),
        among(Scope.SUBJECT, Subject, Subject.external_id, Subject.full_name, nobody),
        among(Scope.ORGANISATION, Organisation, Organisation.name, Organisation.name, nobody),
        among(Scope.PEOPLE, PeopleList, PeopleList.id, name_of_list(), nobody),
        select(
            literal(Scope.SUBJECT.value), Subject.id, Subject.external_id, Subject.full_name,
            nobody, mails.c.value,
        ).join_from(Subject, mails, Subject.email == func.lower(mails.c.value)),
    )  # fmt: skip
