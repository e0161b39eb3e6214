"""Asking a token: is it ours, is it good, and what does it permit? And taking one back.

The question is answered from one snapshot taken after it came in, and is on record before the
answer leaves; when that cannot be written, the token is good for nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select

from govern import clock, errors, permissions
from govern.access.clients import Dataset, Project
from govern.access.modes import Effect
from govern.access.tokens import issuing, state
from govern.access.tokens.state import State
from govern.access.tokens.tables import AuthorizationCode, Token, TokenAction, UsedAssertion
from govern.audit import decisions
from govern.audit.decisions import AccessKind
from govern.audit.log import HOUSE
from govern.db import insert_if_absent, planned_once
from govern.identity import integrations, keys
from govern.identity.integrations import Integration
from govern.identity.subjects import Subject
from govern.principal import Principal

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

TYPE = "at+jwt"
# Rows outlive their tokens for so long: until no status list in which their place still stood for
# them is believed any more, so that a place is never taken for another token's.
KEPT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Usable:
    """A token that is good now, and what it permits."""

    id: str
    integration_id: str
    audience: str
    issued_at: datetime
    expires_at: datetime
    scope: str | None = None
    subject_id: str | None = None
    subject: str | None = None
    client_id: str | None = None
    project_id: str | None = None
    project: str | None = None
    dataset: str | None = None
    actions: tuple[str, ...] = ()
    list_number: int
    list_index: int


def check(database: Database, token: str, *, by: Principal) -> Usable | None:
    """The token, if it is good now and meant for `by`, durably recorded before it is told.

    Meant for `by` is a token whose audience is one of its registered resources, about a client and
    project that it may know of.
    """
    clients = permissions.require_some(by, "token:introspect")
    with database.reading() as session:
        found, reason = _look(session, token)
        caller = session.get(Integration, by.id)
        resources = caller.resources if caller is not None else []
        if found is not None and not (
            found.audience in resources and _may_know(by, clients, found)
        ):
            reason = "audience"
        house = issuing.position(session, HOUSE)
        own = issuing.position(session, found.client_id) if found and found.client_id else None
        now = clock.now(session)
    good = found if reason == State.VALID else None
    row = _row(
        AccessKind.INTROSPECTION, found, at=now, by=by, permit=good is not None, reason=reason
    )
    try:
        decisions.write(
            database, [row | {"as_of": own.as_of if own else None, "house_as_of": house.as_of}]
        )
    except errors.RecordFailed:
        return None
    return good


def bearer(database: Database, token: str) -> Principal | None:
    """The integration that calls govern itself with a token of its own; None when it is not good.

    What it is then asked to do is recorded as when it shows its secret.
    """
    with database.reading() as session:
        found, reason = _look(session, token)
        if found is None or reason != State.VALID or found.scope is None:
            return None
        if found.audience != database.settings.public_url:
            return None
        row = integrations.find_active(session, found.integration_id)
        if row is None:
            return None
        whole = integrations.principal_of(session, row)
    scopes = set(found.scope.split(" "))
    return Principal(
        kind=whole.kind,
        id=whole.id,
        roles=tuple(role for role in whole.roles if role.role in scopes),
        projects=whole.projects,
    )


def written(database: Database, token: Token) -> tuple[str, Usable]:
    """A token as it leaves, signed (RFC 9068), with its issuance on record; and what it permits."""
    with database.reading() as session:
        found, _, now = _read(session, token.id)
        if found is None:
            raise errors.Unavailable("The token is gone.")
        integration = session.get_one(Integration, found.integration_id)
        by = integrations.principal_of(session, integration)
    row = _row(AccessKind.TOKEN, found, at=now, by=by, permit=True, reason="token_issued")
    decisions.write(database, [row])
    return keys.sign(database, claims(database, found), type=TYPE), found


def claims(database: Database, token: Usable) -> dict[str, Any]:
    """What a token says (RFC 9068 §2.2), and an introspection of it (RFC 7662 §2.2) as well."""
    base = database.settings.public_url
    found: dict[str, Any] = {
        "iss": base,
        "sub": token.subject or token.integration_id,
        "aud": token.audience,
        "client_id": token.integration_id,
        "iat": int(token.issued_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
        "jti": token.id,
        "status": {
            "status_list": {
                "idx": token.list_index,
                "uri": f"{base}/status-lists/{token.list_number}",
            }
        },
    }
    if token.scope is not None:
        return found | {"scope": token.scope}
    return found | {"authorization_details": [details(token)]}


def details(token: Usable) -> dict[str, Any]:
    """What a tool's token permits (RFC 9396 §2)."""
    found: dict[str, Any] = {
        "type": "project_access",
        "identifier": token.project,
        "actions": list(token.actions),
        "locations": [token.audience],
    }
    return found | ({"dataset": token.dataset} if token.dataset else {})


def consented(database: Database, token: Token, *, by: Principal) -> None:
    """Put on record that someone gave a tool access, before its code leaves."""
    with database.reading() as session:
        found, _, now = _read(session, token.id)
    decisions.write(
        database,
        [_row(AccessKind.TOKEN, found, at=now, by=by, permit=True, reason="code_issued")],
    )


def revoke(database: Database, token: str, *, by: Principal) -> None:
    """Take a token of one's own back (RFC 7009); one that is unknown or expired is none any more.

    `Forbidden` for another's.
    """
    with database.reading() as session:
        found, _ = _look(session, token)
    if found is None:
        return
    if found.integration_id != by.id:
        raise errors.Forbidden("This token was issued to another client.")
    end(database, found.id, by=by)


def end(database: Database, token_id: str, *, by: Principal) -> None:
    """Make a token worth nothing from now on, and put on record who took it back."""
    with database.reading() as session:
        found, _, _ = _read(session, token_id)
    database.transaction(lambda session: issuing.end(session, token_id, clock.now(session)))
    row = _row(
        AccessKind.TOKEN, found, at=clock.utcnow(), by=by, permit=False, reason="token_revoked"
    )
    decisions.write(database, [row])


def first_use(session: Session, assertion: str, *, until: datetime) -> bool:
    """Whether this is the first time that an assertion is seen; remembered `until` it expires."""
    return insert_if_absent(
        session, UsedAssertion, hash=issuing.hashed(assertion), expires_at=until
    )


def clear(database: Database) -> None:
    """Drop what expired a while ago."""

    def work(session: Session) -> None:
        gone = clock.before(clock.instant(), KEPT)
        old = select(Token.id).where(Token.expires_at < gone)
        for table in (TokenAction, AuthorizationCode):
            session.execute(delete(table).where(table.token_id.in_(old)))
        session.execute(delete(Token).where(Token.expires_at < gone))
        session.execute(delete(UsedAssertion).where(UsedAssertion.expires_at < clock.instant()))

    database.transaction(work)


def _may_know(by: Principal, clients: frozenset[str] | None, token: Usable) -> bool:
    return token.client_id is None or permissions.knows(
        by, clients, client=token.client_id, project=token.project_id
    )


def _look(session: OrmSession, token: str) -> tuple[Usable | None, str]:
    """The token's row as it stands now, if it is one of ours, and its state or what is wrong."""
    claimed = keys.verified(session, token, type=TYPE)
    base = session.database.settings.public_url  # type: ignore[attr-defined]  # as all of ours
    if claimed is None or claimed.get("iss") != base:
        return None, "unknown"
    found, good, now = _read(session, str(claimed.get("jti", "")))
    if found is None:
        return None, "unknown"
    same = {"aud": found.audience, "client_id": found.integration_id}
    if any(claimed.get(name) != value for name, value in same.items()):
        return None, "unknown"
    if found.expires_at <= now:
        return found, "expired"
    return found, State.VALID if good else _why(session, found.id)


def _why(session: OrmSession, token_id: str) -> str:
    """Of a token that is not good: whether something still holds it, or it is over."""
    return str(session.execute(_reason(), {"token": token_id}).scalar_one())


@cache
def _reason() -> Select[Any]:
    return planned_once(select(state.of_bad()).where(Token.id == bindparam("token")))


def _read(session: OrmSession, token_id: str) -> tuple[Usable | None, bool, datetime]:
    """A token's row, whether it is good, and now: two statements of one snapshot."""
    if not token_id.isprintable():
        return None, False, clock.now(session)
    actions = session.execute(
        select(TokenAction.action, TokenAction.effect)
        .where(TokenAction.token_id == token_id)
        .order_by(TokenAction.action)
    ).all()
    hours = any(row.effect == Effect.HOURS for row in actions)
    row = session.execute(_statement(hours=hours), {"token": token_id}).one_or_none()
    if row is None:
        return None, False, clock.now(session)
    token: Token = row[0]
    return (
        Usable(
            id=token.id,
            integration_id=token.integration_id,
            audience=token.audience,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            scope=token.scope,
            subject_id=token.subject_id,
            subject=row.subject,
            client_id=token.client_id,
            project_id=token.project_id,
            project=row.project,
            dataset=row.dataset,
            actions=tuple(each.action for each in actions),
            list_number=token.list_number,
            list_index=token.list_index,
        ),
        row.good,
        row.now,
    )


@cache
def _statement(*, hours: bool) -> Select[Token, bool, str, str, str, datetime]:
    """The one statement for a token, whether it may log hours or not: built once."""
    return planned_once(
        select(
            Token,
            state.good(hours=hours).label("good"),
            Subject.external_id.label("subject"),
            Project.code.label("project"),
            Dataset.code.label("dataset"),
            clock.instant().label("now"),
        )
        .outerjoin(Subject, Subject.id == Token.subject_id)
        .outerjoin(Project, Project.id == Token.project_id)
        .outerjoin(Dataset, Dataset.id == Token.dataset_id)
        .where(Token.id == bindparam("token"))
    )


def _row(
    kind: AccessKind,
    token: Usable | None,
    *,
    at: datetime,
    by: Principal,
    permit: bool,
    reason: str,
) -> dict[str, Any]:
    """A row of the access log; it names the token by its id, which opens nothing."""
    return {
        "at": at,
        "kind": kind,
        "principal": by.id,
        "session_id": by.session,
        "subject_id": token.subject_id if token else None,
        "client_id": token.client_id if token else None,
        "resource_id": token.project_id if token else None,
        "action": " ".join(token.actions)[:80] or None if token else None,
        "permit": permit,
        "reason": reason,
        "as_of": None,
        "house_as_of": None,
        "worked_at": None,
        "detail": json.dumps({"token": token.id, "tool": token.integration_id}) if token else None,
    }
