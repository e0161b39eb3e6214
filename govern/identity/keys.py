"""Signing keys: one signs what leaves as a token, and older ones stay known until none can live.

RS256, because RFC 9068 §2.1 has every resource server know it, and CAEP's receivers ask for it; a
token is signed once and checked many times, and checking is what RSA is fast at. The private half
lies sealed in its row, so every node signs with the same key; which one is active is read anew
each time, so that no node goes on with a key that another one ended.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from sqlalchemy import Index, LargeBinary, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.clock import Utc
from govern.db import Again, Audited, Base, Code, Instant, text_column
from govern.principal import SYSTEM
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Database, Session
    from govern.principal import Principal

ALGORITHM = "RS256"
BITS = 2048
# What a key signs lives five minutes at most; the rest is for clocks that are late.
KNOWN_AFTER = timedelta(minutes=15)
LONGEST_TOKEN = 8192


class SigningKey(Audited, Base):
    """A key pair; `id` is its thumbprint (RFC 7638), `ended_at` when it signed for the last time.

    `public` is a JWK as text, `sealed` the private one (PKCS #8, DER).
    """

    __tablename__ = "signing_key"
    __table_args__ = (
        Index(
            "uq_signing_key_active",
            "algorithm",
            unique=True,  # one that signs, whatever anyone does at once
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    algorithm: Mapped[Code]
    public: Mapped[str]
    sealed: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED)
    recorded_at: Mapped[Instant]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


def generate() -> RSAKey:
    """A new key pair: 0.2 s of work, so outside of any transaction."""
    return RSAKey.generate_key(BITS, auto_kid=True)


def ensure(database: Database) -> None:
    """Make the first key, unless there is one; of several nodes that would, one does."""
    with database.reading() as session:
        if _active(session) is not None:
            return
    fresh = generate()

    def first(session: Session) -> None:
        if _active(session) is None:
            rotate(session, fresh, by=SYSTEM)

    database.transaction(first)


def rotate(session: Session, fresh: RSAKey, *, by: Principal) -> SigningKey:
    """Sign with a fresh key from now on; what the old one signed stays good until it expires."""
    permissions.require(by, "key:rotate")
    old = _active(session)
    kid = fresh.thumbprint()
    public = fresh.as_dict(private=False) | {"kid": kid, "use": "sig", "alg": ALGORITHM}
    row = SigningKey(
        id=kid,
        algorithm=ALGORITHM,
        public=json.dumps(public, sort_keys=True),
        sealed=seal_row(session, fresh.as_der(private=True), place=_place(kid)),
    )
    session.add(row)

    def recheck(session: OrmSession) -> None:
        if _active(session) != old:
            raise Again

    record(
        session,
        EventType.KEY_ROTATED,
        logs=[HOUSE],
        by=by,
        data={"kid": kid, "was": old},
        stamps=[
            (row, "recorded_at"),
            *([(session.get_one(SigningKey, old), "ended_at")] if old else []),
        ],
        recheck=recheck,
    )
    return row


def published(session: OrmSession) -> dict[str, Any]:
    """The JWK Set (RFC 7517 §5) of every key by which something may be signed that still lives."""
    rows = session.execute(
        select(SigningKey.public)
        .where(
            or_(
                SigningKey.ended_at.is_(None),
                SigningKey.ended_at > clock.before(clock.instant(), KNOWN_AFTER),
            )
        )
        .order_by(SigningKey.recorded_at.desc())
    ).scalars()
    return {"keys": [json.loads(row) for row in rows]}


def sign(database: Database, claims: dict[str, Any], *, type: str) -> str:
    """A compact JWT of these claims under the active key; `type` is its `typ` (RFC 7515 §4.1.9)."""
    row = _active_row(database)
    if row is None:  # before `govern serve` first made one
        ensure(database)
        row = _active_row(database)
    assert row is not None  # noqa: S101 - `ensure` made it
    key = _private(database.settings, row.id, row.sealed)
    header = {"alg": ALGORITHM, "typ": type, "kid": row.id}
    return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


def verified(session: OrmSession, token: str, *, type: str) -> dict[str, Any] | None:
    """The claims of a JWT that one of our keys signed as this type; None for anything else.

    Times are the caller's to judge. Nothing in the token says which algorithm or key is right: the
    `kid` only chooses among ours (RFC 8725 §3.1).
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        return None
    try:
        header = jws.extract_compact(token.encode()).headers()
        kid = header.get("kid")
        row = session.get(SigningKey, kid) if isinstance(kid, str) and kid.isprintable() else None
        if row is None or header.get("typ") != type:
            return None
        return dict(jwt.decode(token, _public(row.public), algorithms=[ALGORITHM]).claims)
    except (JoseError, ValueError, TypeError):
        return None


def _active_row(database: Database) -> SigningKey | None:
    with database.reading() as session:
        return session.execute(
            select(SigningKey).where(SigningKey.ended_at.is_(None))
        ).scalar_one_or_none()


def _active(session: OrmSession) -> str | None:
    return session.execute(
        select(SigningKey.id).where(SigningKey.ended_at.is_(None))
    ).scalar_one_or_none()


def _place(kid: str) -> str:
    return f"signing_key.sealed:{kid}"


@lru_cache(maxsize=8)
def _private(settings: Settings, kid: str, sealed: bytes) -> RSAKey:
    return RSAKey.import_key(unseal(settings, sealed, place=_place(kid)))


@lru_cache(maxsize=8)
def _public(jwk: str) -> RSAKey:
    return RSAKey.import_key(json.loads(jwk))
