"""Providers are data: an admin takes one in, and ends it with all sessions that came by it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock, errors, origins, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import new_id
from govern.identity import sessions, typed
from govern.identity.federation.tables import Assurance, IdentityLink, IdentityProvider
from govern.sealing import seal_row, unseal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Session
    from govern.principal import Principal

_VALUE = re.compile(r"[\x21-\x7e]{1,200}")
_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,255}")  # RFC 6749 appendix A.1
_SECRET = re.compile(r"[\x20-\x7e]{16,1000}")


def checked_issuer(value: str) -> str:
    """An issuer as OpenID Connect Discovery §3 has it: compared letter by letter ever after."""
    value = value.strip()
    base = origins.of(value, field="issuer")
    if (
        not (value == base or value.startswith(f"{base}/"))
        or not re.fullmatch(r"[\x21-\x7e]{1,500}", value)
        or {"?", "#", "\\"} & set(value)
    ):
        raise errors.Invalid(f"“{value}” is no issuer: no query, no fragment.", field="issuer")
    return value


def create(
    session: Session,
    name: str,
    *,
    issuer: str,
    client_id: str,
    client_secret: str,
    assures: Assurance = Assurance.NONE,
    acr_values: Sequence[str] = (),
    amr_values: Sequence[str] = (),
    inside: bool = False,
    reason: str = "",
    by: Principal,
) -> IdentityProvider:
    """Let people come by a provider; `AlreadyExists` while its issuer is in use."""
    permissions.require(by, "provider:write", now=clock.now(session))
    issuer = checked_issuer(issuer)
    if not inside and not issuer.startswith("https://"):
        raise errors.Invalid("Without https it can only lie inside; say so.", field="issuer")
    _check_proofs(assures, acr_values, amr_values)
    if not _CLIENT_ID.fullmatch(client_id):
        raise errors.Invalid("This is no client id.", field="client_id")
    if not _SECRET.fullmatch(client_secret):
        raise errors.Invalid(
            "A client secret has 16 printable characters or more.", field="client_secret"
        )
    provider_id = new_id("idp")
    row = IdentityProvider(
        id=provider_id,
        name=typed.text(name, field="name", length=80),
        issuer=issuer,
        client_id=client_id,
        secret=seal_row(session, client_secret.encode(), place=_place(provider_id)),
        assures=assures,
        acr_values=" ".join(acr_values),
        amr_values=" ".join(amr_values),
        inside=inside,
    )
    session.add(row)

    def free(session: OrmSession) -> None:
        taken = select(IdentityProvider.id).where(
            IdentityProvider.issuer == issuer, IdentityProvider.ended_at.is_(None)
        )
        if session.execute(taken).first():
            raise errors.AlreadyExists("This issuer is in use already.", field="issuer")

    free(session)
    record(
        session,
        EventType.PROVIDER_CREATED,
        logs=[HOUSE],
        by=by,
        refs={"provider": row.id},
        data={
            "issuer": issuer, "client_id": client_id, "assures": assures, "inside": inside,
            "acr_values": list(acr_values), "amr_values": list(amr_values),
        },
        private={"reason": reason},
        stamps=[(row, "recorded_at")],
        recheck=free,
    )  # fmt: skip
    return row


def _check_proofs(assures: Assurance, acr_values: Sequence[str], amr_values: Sequence[str]) -> None:
    """An assurance needs what proves it; without one nothing is looked for."""
    for field, values in (("acr_values", acr_values), ("amr_values", amr_values)):
        for value in values:
            if not _VALUE.fullmatch(value):
                raise errors.Invalid(f"“{value}” is no value of acr or amr.", field=field)
    if (assures is not Assurance.NONE) != bool(acr_values or amr_values):
        raise errors.Invalid(
            "Say by which acr or amr a token proves what the provider assures, or neither.",
            field="assures",
        )
    if len(" ".join(acr_values)) > 1000 or len(" ".join(amr_values)) > 200:  # noqa: PLR2004 - the columns
        raise errors.Invalid("These are too many values.", field="acr_values")


def end(session: Session, provider_id: str, *, reason: str = "", by: Principal) -> IdentityProvider:
    """Let nobody come by a provider any more; who came by it is out at once."""
    permissions.require(by, "provider:write", now=clock.now(session))
    row = find(session, provider_id, by=by)
    if row.ended_at is not None:
        raise errors.AlreadyEnded("This provider was ended before.", field="provider")
    links = (
        session.execute(
            select(IdentityLink).where(
                IdentityLink.provider_id == row.id, IdentityLink.ended_at.is_(None)
            )
        )
        .scalars()
        .all()
    )
    record(
        session,
        EventType.PROVIDER_ENDED,
        logs=[HOUSE],
        by=by,
        refs={"provider": row.id},
        data={"links": len(links)},
        private={"reason": reason},
        stamps=[(row, "ended_at"), *((link, "ended_at") for link in links)],
    )
    for link in links:
        sessions.end_came_by(session, link.subject_id, link.id, by=by)
    return row


def find(session: OrmSession, provider_id: str, *, by: Principal) -> IdentityProvider:
    """A provider, an ended one too, or `Unknown`."""
    permissions.require(by, "provider:read")
    row = session.get(IdentityProvider, provider_id)
    if row is None:
        raise errors.Unknown("There is no such provider.", field="provider")
    return row


def listing(session: OrmSession, *, by: Principal) -> list[IdentityProvider]:
    """Every provider, ended ones too, newest first."""
    permissions.require(by, "provider:read")
    return list(
        session.execute(
            select(IdentityProvider).order_by(IdentityProvider.recorded_at.desc()).limit(200)
        ).scalars()
    )


def offered(session: OrmSession) -> list[IdentityProvider]:
    """The providers by which anyone may try to sign in: what the sign-in page shows."""
    return list(
        session.execute(
            select(IdentityProvider)
            .where(IdentityProvider.ended_at.is_(None))
            .order_by(IdentityProvider.name)
            .limit(20)
        ).scalars()
    )


def in_use(session: OrmSession, provider_id: str) -> IdentityProvider | None:
    """A provider, unless it was ended or never was."""
    row = session.get(IdentityProvider, provider_id)
    return row if row is not None and row.ended_at is None else None


def secret(settings: Settings, provider: IdentityProvider) -> str:
    """Our client secret at a provider."""
    return unseal(settings, provider.secret, place=_place(provider.id)).decode()


def _place(provider_id: str) -> str:
    return f"identity_provider.secret:{provider_id}"
