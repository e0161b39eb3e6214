"""Asking a token: is it ours, is it good, and what does it permit? And taking one back.

The question is answered from one snapshot taken after it came in, and is on record before the
answer leaves; when that cannot be written, the token is good for nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import String, case, delete, select

from govern import clock, errors, permissions
from govern.access.clients import Dataset, Project
from govern.access.modes import Effect
from govern.access.tokens import issuing, state
from govern.access.tokens.state import State
from govern.access.tokens.tables import AuthorizationCode, Token, TokenAction, UsedAssertion
from govern.audit import decisions, log
from govern.audit.decisions import AccessKind
from govern.audit.log import HOUSE
from govern.db import insert_if_absent
from govern.identity import integrations, keys
from govern.identity.integrations import Integration
from govern.identity.subjects import Subject
from govern.prepared import Prepared
from govern.principal import Principal

if TYPE_CHECKING:
    from sqlalchemy import FromClause, Select, Table
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
    # What is said of the token is one statement's; what is looked up besides only ever refuses.
    with database.glancing() as session:
        seen, reason = _look(session, token)
        found = seen.token if seen else None
        caller = session.get(Integration, by.id)
        resources = caller.resources if caller is not None else []
        if found is not None and not (
            found.audience in resources and _may_know(by, clients, found)
        ):
            reason = "audience"
        now = seen.now if seen else clock.now(session)
        house_as_of = seen.house_as_of if seen else issuing.position(session, HOUSE).as_of
    good = found if reason == State.VALID else None
    row = _row(
        AccessKind.INTROSPECTION, found, at=now, by=by, permit=good is not None, reason=reason
    )
    row |= {"as_of": seen.as_of if seen else None, "house_as_of": house_as_of}
    try:
        decisions.write(database, [row])
    except errors.RecordFailed:
        return None
    return good


def bearer(database: Database, token: str) -> Principal | None:
    """The integration that calls govern itself with a token of its own; None when it is not good.

    What it is then asked to do is recorded as when it shows its secret.
    """
    with database.reading() as session:
        seen, reason = _look(session, token)
        found = seen.token if seen else None
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
        seen = _read(session, token.id)
        if seen is None:
            raise errors.Unavailable("The token is gone.")
        found = seen.token
        integration = session.get_one(Integration, found.integration_id)
        by = integrations.principal_of(session, integration)
    row = _row(AccessKind.TOKEN, found, at=seen.now, by=by, permit=True, reason="token_issued")
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
        seen = _read(session, token.id)
    if seen is None:
        raise errors.Unavailable("The code is gone.")
    decisions.write(
        database,
        [_row(AccessKind.TOKEN, seen.token, at=seen.now, by=by, permit=True, reason="code_issued")],
    )


def revoke(database: Database, token: str, *, by: Principal) -> None:
    """Take a token of one's own back (RFC 7009); one that is unknown or expired is none any more.

    `Forbidden` for another's.
    """
    with database.reading() as session:
        seen, _ = _look(session, token)
    if seen is None:
        return
    found = seen.token
    if found.integration_id != by.id:
        raise errors.Forbidden("This token was issued to another client.")
    end(database, found.id, by=by)


def end(database: Database, token_id: str, *, by: Principal) -> None:
    """Make a token worth nothing from now on, and put on record who took it back."""
    with database.reading() as session:
        seen = _read(session, token_id)
    database.transaction(lambda session: issuing.end(session, token_id, clock.now(session)))
    found = seen.token if seen else None
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


def _look(session: OrmSession, token: str) -> tuple[_Seen | None, str]:
    """The token as it stands now, if it is one of ours; its state, or what is wrong."""
    claimed = keys.verified(session, token, type=TYPE)
    base = session.database.settings.public_url  # type: ignore[attr-defined]  # as all of ours
    if claimed is None or claimed.get("iss") != base:
        return None, "unknown"
    seen = _read(session, str(claimed.get("jti", "")))
    if seen is None:
        return None, "unknown"
    found = seen.token
    same = {"aud": found.audience, "client_id": found.integration_id}
    if any(claimed.get(name) != value for name, value in same.items()):
        return None, "unknown"
    if found.expires_at <= seen.now:
        return seen, "expired"
    if seen.good:
        return seen, State.VALID
    # Whether something still holds it, or it is over: asked later, it only chooses the words.
    why = _BAD.rows(session.connection(), [[found.id]])
    return seen, why[0][0] if why else "unknown"


class _Seen(NamedTuple):
    """A token as one statement saw it: if it is good, how far the logs were, and when that was."""

    token: Usable
    good: bool
    as_of: int | None
    house_as_of: int
    now: datetime


def _read(session: OrmSession, token_id: str) -> _Seen | None:
    if not token_id.isprintable():
        return None
    connection = session.connection()
    permitted = _ACTIONS.rows(connection, [[token_id]])
    hours = any(effect == Effect.HOURS for _, effect in permitted)
    found = _STANDING[hours].rows(connection, [[token_id]])
    if not found:
        return None
    *own, good, as_of, house_as_of, now = found[0]
    names = (*(column.name for column in _OWN), "subject", "project", "dataset")
    token = Usable(
        **dict(zip(names, own, strict=True)), actions=tuple(action for action, _ in permitted)
    )
    return _Seen(token, bool(good), as_of, house_as_of, now)


# What a token is, which never changes.
_OWN = [
    cast("Table", Token.__table__).c[name]
    for name in (
        "id", "integration_id", "audience", "issued_at", "expires_at", "scope", "subject_id",
        "client_id", "project_id", "list_number", "list_index",
    )
]  # fmt: skip


def _standing(asked: FromClause, *, hours: bool) -> Select[Any]:
    """Whether each token is good, by the one rule, and all that is told of it but its actions."""
    return (
        select(
            *_OWN,
            Subject.external_id,
            Project.code,
            Dataset.code,
            state.good(hours=hours),
            case((Token.client_id.is_not(None), log.position(Token.client_id))),
            log.position(HOUSE),
            clock.instant(),
        )
        .select_from(asked)
        .join(Token, Token.id == asked.c.token)
        .outerjoin(Subject, Subject.id == Token.subject_id)
        .outerjoin(Project, Project.id == Token.project_id)
        .outerjoin(Dataset, Dataset.id == Token.dataset_id)
    )


def _actions(asked: FromClause) -> Select[str, str]:
    """What each token permits: known when it was given, and never changed."""
    return (
        select(TokenAction.action, TokenAction.effect)
        .join(asked, TokenAction.token_id == asked.c.token)
        .order_by(TokenAction.action)
    )


def _bad(asked: FromClause) -> Select[str]:
    return select(state.of_bad()).join(asked, Token.id == asked.c.token)


_ASKED = {"token": String()}
_ACTIONS = Prepared(_ASKED, _actions, once=True)
# What logs hours is held by more, which takes twice as long to ask.
_STANDING = {
    hours: Prepared(_ASKED, partial(_standing, hours=hours), once=True) for hours in (False, True)
}
_BAD = Prepared(_ASKED, _bad, once=True)


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
