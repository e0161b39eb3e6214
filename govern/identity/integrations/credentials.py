"""Who an integration is, by its id and secret, and what it may then do.

The secret has 256 random bits, so its SHA-256 is stored, not a slow hash: it is checked on every
question. One who was suspended or revoked is refused on the next request: what is remembered of
one (`Known`) counts only while the house's log is as long as it was.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import String, and_, or_, select, update

from govern import clock, errors
from govern.audit import log
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED
from govern.identity.integrations.tables import (
    Integration,
    IntegrationLimit,
    IntegrationSecret,
    LimitKind,
)
from govern.prepared import Prepared
from govern.principal import Kind, Principal, RoleHeld

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, FromClause, Select, SQLColumnExpression
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Database, Session

_TOUCH = timedelta(minutes=1)
_UNKNOWN = "These credentials are not known."


def find_active(session: OrmSession, client_id: str) -> Integration | None:
    """The integration of this id, unless it is suspended or revoked."""
    if not client_id.isprintable():
        return None  # PostgreSQL would choke on a NUL, which no id holds
    return session.execute(
        select(Integration).where(
            Integration.id == client_id,
            Integration.suspended_at.is_(None),
            Integration.ended_at.is_(None),
        )
    ).scalar_one_or_none()


def check_secret(session: OrmSession, integration: Integration, secret: str) -> bool:
    """Whether this is one of its secrets, and still counts."""
    found = select(IntegrationSecret.hash).where(
        IntegrationSecret.integration_id == integration.id, _counts(hashed(secret))
    )
    return session.execute(found).first() is not None


def principal_of(session: OrmSession, integration: Integration) -> Principal:
    """The integration as a caller: a role for each scope, over what it is limited to."""
    limits = select(
        IntegrationLimit.kind, IntegrationLimit.target_id, IntegrationLimit.client_id
    ).where(IntegrationLimit.integration_id == integration.id)
    return _principal(integration.id, integration.scope, session.execute(limits).all())


def authenticate(session: OrmSession, client_id: str, client_secret: str) -> Principal:
    """The principal behind an id and a secret; `Unauthenticated` otherwise."""
    (found,) = authenticate_many(session.connection(), [(client_id, client_secret)])
    if isinstance(found, errors.Unauthenticated):
        raise found
    return found


class Known:
    """Who was found behind an id and a secret while the house's log was as long as `as_of`.

    Whatever changes an integration is an entry of that log, so they still count for an answer whose
    own snapshot saw it as long as that, and for no other.
    """

    def __init__(self) -> None:
        self.as_of: int | None = None
        self._found: dict[tuple[str, str], Principal] = {}

    def find(self, shown: tuple[str, str]) -> Principal | None:
        """The principal of an id and a secret, as of `as_of`."""
        return self._found.get(shown)

    def keep(self, shown: tuple[str, str], found: Principal, as_of: int) -> None:
        """Remember one; those of another length of the log are forgotten."""
        if as_of != self.as_of:
            self.forget()
            self.as_of = as_of
        self._found[shown] = found

    def forget(self) -> None:
        """Remember nobody."""
        self.as_of = None
        self._found.clear()


def authenticate_many(
    connection: Connection, shown: Sequence[tuple[str, str]], known: Known | None = None
) -> list[Principal | errors.Unauthenticated]:
    """The principals behind ids and secrets, by one statement; an error for who is none.

    With `known` whoever is found is kept there, but for those whose secret ends by itself.
    """
    if not shown:
        return []
    found: dict[int, list[tuple[Any, ...]]] = {}
    # PostgreSQL would choke on a NUL, which no id holds.
    given = [(who if who.isprintable() else "", hashed(secret)) for who, secret in shown]
    for row in _BY_SECRET.rows(connection, given):
        found.setdefault(row[0], []).append(row[1:])
    answers: list[Principal | errors.Unauthenticated] = []
    for number, (client_id, _) in enumerate(shown, 1):
        rows = found.get(number)
        if rows is None:
            answers.append(errors.Unauthenticated(_UNKNOWN))
        elif rows[0][1] is not None:
            # Told to who shows the right secret: their operator should not look for a wrong one.
            answers.append(errors.Unauthenticated("This integration is suspended."))
        else:
            limits = [row[4:] for row in rows if row[4]]
            principal = _principal(client_id, rows[0][0], limits)
            answers.append(principal)
            if known is not None and rows[0][2] is None:
                known.keep(shown[number - 1], principal, rows[0][3])
    return answers


def _by_secret(asked: FromClause) -> Select[Any]:
    return (
        select(
            asked.c.n,
            Integration.scope,
            Integration.suspended_at,
            IntegrationSecret.ends_at,
            log.position(HOUSE),
            IntegrationLimit.kind,
            IntegrationLimit.target_id,
            IntegrationLimit.client_id,
        )
        .select_from(asked)
        .join(Integration, Integration.id == asked.c.id)
        .join(
            IntegrationSecret,
            and_(IntegrationSecret.integration_id == Integration.id, _counts(asked.c.hash)),
        )
        .outerjoin(IntegrationLimit, IntegrationLimit.integration_id == Integration.id)
        .where(Integration.ended_at.is_(None))
    )


_BY_SECRET = Prepared({"id": String(), "hash": String()}, _by_secret)


def _principal(id: str, scope: str, limits: Sequence[Any]) -> Principal:
    clients = sorted({client for _, _, client in limits}) or [None]
    projects = None
    if any(kind == LimitKind.PROJECT for kind, _, _ in limits):
        projects = frozenset(target for _, target, _ in limits)
    return Principal(
        kind=Kind.INTEGRATION,
        id=id,
        roles=tuple(RoleHeld(role, client) for role in scope.split(" ") for client in clients),
        projects=projects,
    )


def _counts(hash: SQLColumnExpression[str] | str) -> ColumnElement[bool]:
    """The row of a secret that still counts.

    The hash is looked up, not compared: whoever could learn from the time that takes would learn
    of a digest that they cannot choose.
    """
    return and_(
        IntegrationSecret.hash == hash,
        or_(IntegrationSecret.ends_at.is_(None), clock.instant() < IntegrationSecret.ends_at),
    )


def hashed(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


# --- last seen ---------------------------------------------------------------------------------

_seen: weakref.WeakKeyDictionary[Database, dict[str, datetime]] = weakref.WeakKeyDictionary()
_seen_lock = threading.Lock()


def touch(database: Database, integration_id: str) -> None:
    """Note that an integration asked, at most once a minute; a note that fails is let go.

    Most calls cost a look into memory: this process tries once a minute for each integration, does
    not wait for the database, and writes only if no other process has.
    """
    now = clock.utcnow()
    with _seen_lock:
        noted = _seen.setdefault(database, {})
        if now - noted.get(integration_id, now - 2 * _TOUCH) < _TOUCH:
            return
        noted[integration_id] = now

    def work(session: Session) -> None:
        now = clock.now(session)
        session.execute(
            update(Integration)
            .where(
                Integration.id == integration_id,
                or_(Integration.last_seen_at.is_(None), Integration.last_seen_at <= now - _TOUCH),
            )
            .values(last_seen_at=now),
            execution_options=RECORDED,
        )

    database.note(work)
