"""Coming by a provider, and being sent away by it: code + PKCE + state + nonce, each used once.

What lies between leaving and coming back (the transaction) is sealed, and kept by the browser that
left; so another browser's answer, a second use or a late one is refused. Whoever is refused learns
nothing of why: the record does.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from govern import clock, errors, permissions, sealing
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import insert_if_absent
from govern.identity import sessions
from govern.identity.federation import links, providers, tokens, wire
from govern.identity.federation.tables import Assurance, IdentityLink, IdentityProvider, Spent
from govern.identity.federation.tokens import BadToken
from govern.identity.sessions import CameBy
from govern.principal import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from govern.db import Database, Session
    from govern.identity.federation.tokens import Logout, Proved

LIFE = timedelta(minutes=10)
_PLACE = "federation.transaction"
_REFUSED = (
    "This sign-in was not completed. If your provider confirmed an address that is known here, a "
    "message to it says how to go on. Otherwise sign in anew, or ask the person who invited you."
)


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Where to send the browser, and what it has to bring back."""

    address: str
    transaction: str


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The token of the session that was opened or renewed, and where the person wanted to go."""

    token: str
    next: str


def redirect_uri(database: Database, provider_id: str) -> str:
    """Where a provider sends people back to: one address each, so that none answers for another."""
    return f"{database.settings.public_url}/sign-in/from/{provider_id}"


def depart(database: Database, provider_id: str, *, next: str, renews: bool = False) -> Departure:
    """Begin a sign-in by a provider. `SignInFailed` if it is not in use, `Unavailable` if down.

    One that `renews` a session has the provider ask for all that it takes again.
    """
    with database.reading() as session:
        provider = providers.in_use(session, provider_id)
    if provider is None:
        raise errors.SignInFailed(_REFUSED)
    kept: dict[str, Any] = {
        "provider": provider.id,
        "state": secrets.token_urlsafe(32),
        "nonce": secrets.token_urlsafe(32),
        "verifier": secrets.token_urlsafe(48),
        "next": next,
        "until": clock.micros(clock.utcnow() + LIFE),
    }
    more: dict[str, str] = {}
    if renews:
        kept["renews_since"] = clock.micros(clock.utcnow() - tokens.LEEWAY)
        more["prompt"] = "login"
    if provider.assures != Assurance.NONE:
        # An auth_time comes back only for who asks with max_age (OpenID Connect Core §2).
        recent = permissions.FRESH if renews else tokens.RECENT
        more["max_age"] = str(int(recent.total_seconds()))
        if provider.acr_values:
            more["acr_values"] = provider.acr_values
    address = wire.address(
        provider, redirect_uri=redirect_uri(database, provider.id), state=kept["state"],
        nonce=kept["nonce"], verifier=kept["verifier"], **more,
    )  # fmt: skip
    transaction = sealing.seal_form(database.settings, kept, place=_PLACE)
    return Departure(address=address, transaction=transaction)


def arrive(
    database: Database,
    provider_id: str,
    *,
    transaction: str,
    answer: Mapping[str, str],
    present: str = "",
    browser: str | None = None,
    device: str = "",
) -> Arrival:
    """Take a provider's answer, and open a session for the person whose `sub` it proves.

    Where it was to renew a session, that is the one of the token `present`. Every refusal is the
    same `SignInFailed`; `Unavailable` when the provider cannot be reached.
    """
    kept = _unsealed(database, transaction)
    if (
        kept is None
        or kept["provider"] != provider_id
        or kept["until"] < clock.micros(clock.utcnow())
        or not secrets.compare_digest(kept["state"].encode(), answer.get("state", "").encode())
    ):
        raise errors.SignInFailed(_REFUSED)
    until = clock.utcnow() + LIFE
    if not database.transaction(lambda s: _spend(s, f"state:{kept['state']}", until)):
        raise _recorded(database, provider_id, "replayed")
    with database.reading() as session:
        provider = providers.in_use(session, provider_id)
    if provider is None:
        raise _recorded(database, provider_id, "provider_ended")
    try:
        proved = _ask(database, provider, kept, answer)
    except BadToken as error:
        raise _recorded(database, provider_id, f"token:{error}") from None

    def work(session: Session) -> str:
        if "renews_since" in kept:
            since = clock.from_micros(kept["renews_since"])
            return _renew(session, provider_id, proved, present=present, since=since)
        return _open(session, provider_id, proved, browser=browser, device=device)

    return Arrival(token=database.transaction(work), next=kept["next"])


def _ask(
    database: Database, provider: IdentityProvider, kept: dict[str, Any], answer: Mapping[str, str]
) -> Proved:
    """Exchange the code of an answer, and verify what comes for it."""
    described = wire.metadata(provider.issuer, inside=provider.inside)
    named = described.get("authorization_response_iss_parameter_supported") is True
    if answer.get("iss", None if named else provider.issuer) != provider.issuer:
        raise BadToken("response_iss")  # RFC 9207 §2.4
    if "error" in answer or not answer.get("code"):
        raise BadToken("no_code")
    token = wire.exchange(
        database.settings, provider, code=answer["code"], verifier=kept["verifier"],
        redirect_uri=redirect_uri(database, provider.id),
    )  # fmt: skip
    if token is None:
        raise BadToken("refused")
    return tokens.verify_id_token(provider, token, nonce=kept["nonce"])


def _open(
    session: Session, provider_id: str, proved: Proved, *, browser: str | None, device: str
) -> str:
    provider = providers.in_use(session, provider_id)
    if provider is None:
        raise _refused(provider_id, "provider_ended")
    found = links.find(session, provider_id, proved.sub)
    if found is None:
        raise _refused(provider_id, "unlinked", proved=proved)
    link, subject = found
    return sessions.begin_federated(
        session, subject.id, CameBy(link.id, proved.sid), amr=proved.amr,
        factor_at=proved.factor_at, browser=browser, device=device,
    )  # fmt: skip


def _renew(
    session: Session, provider_id: str, proved: Proved, *, present: str, since: datetime
) -> str:
    """Renew a session by a sign-in at the provider that came after the question for it."""
    found = links.find(session, provider_id, proved.sub)
    if found is None or providers.in_use(session, provider_id) is None:
        raise _refused(provider_id, "unlinked")
    if proved.factor_at is None or proved.factor_at < since:
        raise _refused(provider_id, "not_renewed")
    came_by = CameBy(found[0].id, proved.sid)
    try:
        return sessions.renew_federated(
            session, present, came_by, amr=proved.amr, factor_at=proved.factor_at
        )
    except errors.SignInFailed:
        raise _refused(provider_id, "another_account") from None


def renews(database: Database, transaction: str) -> str | None:
    """Where a renewal that was begun leads back to, whatever comes of it; None for a sign-in."""
    kept = _unsealed(database, transaction)
    return kept["next"] if kept is not None and "renews_since" in kept else None


def _refused(provider_id: str, why: str, *, proved: Proved | None = None) -> errors.SignInFailed:
    """A refusal that records itself after the roll-back, and there has a link offered if it may."""

    def aftermath(session: Session) -> None:
        record(
            session,
            EventType.SIGN_IN_FAILED,
            logs=[HOUSE],
            by=SYSTEM,
            refs={"provider": provider_id},
            data={"factor": "provider", "why": why},
        )
        provider = providers.in_use(session, provider_id)
        if proved is not None and proved.email is not None and provider is not None:
            links.offer(session, provider, proved.sub, proved.email)

    refusal = errors.SignInFailed(_REFUSED)
    refusal.aftermath = aftermath
    return refusal


def _recorded(database: Database, provider_id: str, why: str) -> errors.SignInFailed:
    """A refusal outside of any transaction, recorded already."""
    refusal = _refused(provider_id, why)
    if refusal.aftermath is not None:
        database.transaction(refusal.aftermath)
        refusal.aftermath = None
    return refusal


def _unsealed(database: Database, transaction: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = sealing.open_form(database.settings, transaction, place=_PLACE)
    return found


def _spend(session: Session, what: str, until: datetime) -> bool:
    """Use something up; False when it was before. What is dead anyway is forgotten."""
    session.execute(delete(Spent).where(Spent.until < clock.instant()))
    digest = hashlib.sha256(what.encode()).hexdigest()
    return insert_if_absent(session, Spent, digest=digest, until=until)


# --- being sent away ---------------------------------------------------------------------------


def log_out(database: Database, provider_id: str, token: str) -> int:
    """End the sessions that a provider's logout token names; returns how many.

    `Invalid` when it is not the provider's, was used before, or names nothing (Back-Channel Logout
    1.0 §2.6); `Unavailable` when the provider's keys cannot be had.
    """
    with database.reading() as session:
        provider = providers.in_use(session, provider_id)
    if provider is None:
        raise errors.Invalid("There is no such provider.")
    try:
        asked = tokens.verify_logout_token(provider, token)
    except BadToken as error:
        raise errors.Invalid(f"The logout token is not good: {error}.") from None
    return database.transaction(lambda session: _log_out(session, provider_id, asked))


def _log_out(session: Session, provider_id: str, asked: Logout) -> int:
    if not _spend(session, f"logout:{provider_id}:{asked.jti}", asked.expires_at):
        raise errors.Invalid("The logout token was used before.")
    return sum(
        sessions.end_came_by(session, link.subject_id, link.id, sid=asked.sid, by=SYSTEM)
        for link in _named(session, provider_id, asked)
    )


def _named(session: Session, provider_id: str, asked: Logout) -> list[IdentityLink]:
    """Whose sessions a logout token is about, by `sub`, or by `sid` alone."""
    if asked.sub is not None:
        found = links.find(session, provider_id, asked.sub)
        return [found[0]] if found is not None else []
    return links.came_with(session, provider_id, asked.sid or "")
