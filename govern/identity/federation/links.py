"""Links: which account at a provider is which person here, by (issuer, sub) and nothing else.

An admin makes one, or the person does, who proves the address that the provider confirmed by the
link that we mail to it. Nobody is linked by an address alone, and nobody is made by a sign-in.
"""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from govern import clock, errors, permissions
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import record
from govern.db import new_id
from govern.identity import one_time, sessions, subjects
from govern.identity.federation import providers
from govern.identity.federation.tables import (
    Assurance,
    IdentityLink,
    IdentityProvider,
    LinkOffer,
)
from govern.identity.sessions import WebSession
from govern.identity.sessions.tables import hash_of
from govern.identity.subjects import Subject, SubjectKind
from govern.principal import SYSTEM, Kind, Principal
from govern.sealing import seal_row, unseal

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session as OrmSession

    from govern.config import Settings
    from govern.db import Session

OFFER_LIFE = timedelta(hours=1)
PAGE = 25
_SUB = re.compile(r"[\x20-\x7e]{1,255}")  # OpenID Connect Core §2
_DEAD = "This link has been used or has expired. Sign in again to get another."


def link(
    session: Session,
    subject: Subject,
    provider_id: str,
    *,
    sub: str,
    reason: str = "",
    by: Principal,
) -> IdentityLink:
    """Say whose a provider's `sub` is; whoever says so cannot pair with them afterwards."""
    permissions.require(by, "identity:link", now=clock.now(session))
    if by.id == subject.id:
        raise errors.SamePerson("Your own account is linked by someone else, or by mail.")
    if subject.ended_at is not None:
        raise errors.AlreadyEnded("Who has left signs in no more.", field="subject")
    provider = providers.in_use(session, provider_id)
    if provider is None:
        raise errors.Unknown("There is no such provider.", field="provider")
    if not _SUB.fullmatch(sub):
        raise errors.Invalid("This is no sub: 1 to 255 ASCII characters.", field="sub")
    return _link(session, subject, provider, sub, reason=reason, by=by)


def _link(
    session: Session,
    subject: Subject,
    provider: IdentityProvider,
    sub: str,
    *,
    offer: LinkOffer | None = None,
    reason: str = "",
    by: Principal,
) -> IdentityLink:
    row = IdentityLink(
        id=new_id("lnk"),
        provider_id=provider.id,
        sub=sub,
        subject_id=subject.id,
        linked_by=by.name or by.id,
    )

    def free(session: OrmSession) -> None:
        if _linked(session, provider.id, sub) is not None:
            raise errors.AlreadyExists("This account there is someone's already.", field="sub")
        if offer is not None:
            ended = select(LinkOffer.ended_at).where(LinkOffer.id == offer.id)
            if session.execute(ended).scalar_one() is not None:
                raise errors.Unknown(_DEAD)

    free(session)
    session.add(row)
    record(
        session,
        EventType.IDENTITY_LINKED,
        logs=[HOUSE],
        by=by,
        refs={"subject": subject.id, "provider": provider.id, "link": row.id},
        private={"sub": sub, "reason": reason},
        about=subject.id,
        stamps=[(row, "recorded_at"), *([(offer, "ended_at")] if offer else [])],
        recheck=free,
    )
    return row


def unlink(
    session: Session, link_id: str, *, of: str | None = None, reason: str = "", by: Principal
) -> IdentityLink:
    """End a link (`of` a provider, where told), and every session that came by it."""
    permissions.require(by, "identity:link", now=clock.now(session))
    row = session.get(IdentityLink, link_id)
    if row is None or row.provider_id != (of or row.provider_id):
        raise errors.Unknown("There is no such link.", field="link")
    if row.ended_at is not None:
        raise errors.AlreadyEnded("This link was ended before.", field="link")
    record(
        session,
        EventType.IDENTITY_UNLINKED,
        logs=[HOUSE],
        by=by,
        refs={"subject": row.subject_id, "provider": row.provider_id, "link": row.id},
        private={"reason": reason},
        about=row.subject_id,
        stamps=[(row, "ended_at")],
    )
    sessions.end_came_by(session, row.subject_id, row.id, by=by)
    return row


def of_subject(
    session: OrmSession, subject_id: str, *, by: Principal
) -> list[tuple[IdentityLink, IdentityProvider]]:
    """A person's links in use: their own, or for who may link."""
    if by.id != subject_id:
        permissions.require(by, "identity:link")
    rows = session.execute(
        select(IdentityLink, IdentityProvider)
        .join(IdentityProvider, IdentityProvider.id == IdentityLink.provider_id)
        .where(IdentityLink.subject_id == subject_id, IdentityLink.ended_at.is_(None))
        .order_by(IdentityLink.recorded_at)
    ).all()
    return [(row, provider) for row, provider in rows]


def linked(
    session: OrmSession,
    provider: IdentityProvider,
    *,
    query: str = "",
    after: str = "",
    by: Principal,
) -> tuple[list[tuple[IdentityLink, Subject]], str | None]:
    """Who is linked to a provider, the first linked first, and after which key there are more.

    `query` is an external id or an address.
    """
    permissions.require(by, "provider:read")
    permissions.require(by, "subject:read")
    wanted = (
        select(IdentityLink, Subject)
        .join(Subject, Subject.id == IdentityLink.subject_id)
        .where(
            IdentityLink.provider_id == provider.id,
            IdentityLink.ended_at.is_(None),
            IdentityLink.id > after,
        )
        .order_by(IdentityLink.id)
        .limit(PAGE + 1)
    )
    if query:
        person = subjects.lookup(session, query) if query.isprintable() else None
        wanted = wanted.where(IdentityLink.subject_id == (person.id if person else ""))
    found = [(row, subject) for row, subject in session.execute(wanted)]
    return found[:PAGE], found[PAGE - 1][0].id if len(found) > PAGE else None


def number_linked(session: OrmSession, provider: IdentityProvider) -> int:
    """How many people sign in by a provider: what its end would take from them."""
    query = select(func.count()).where(
        IdentityLink.provider_id == provider.id, IdentityLink.ended_at.is_(None)
    )
    return int(session.execute(query).scalar_one())


def find(session: OrmSession, provider_id: str, sub: str) -> tuple[IdentityLink, Subject] | None:
    """Whose account a `sub` is, if it is linked and the person is still here."""
    row = _linked(session, provider_id, sub)
    subject = session.get(Subject, row.subject_id) if row is not None else None
    if row is None or subject is None or subject.ended_at is not None:
        return None
    return row, subject


def renewing(session: OrmSession, *, by: Principal) -> IdentityProvider | None:
    """The provider by which the caller's session came, if it may prove a factor anew."""
    if "fed" not in by.amr or by.session is None:
        return None
    return session.execute(
        select(IdentityProvider)
        .join(IdentityLink, IdentityLink.provider_id == IdentityProvider.id)
        .join(WebSession, WebSession.link_id == IdentityLink.id)
        .where(
            WebSession.id == by.session,
            WebSession.ended_at.is_(None),
            IdentityLink.ended_at.is_(None),
            IdentityProvider.ended_at.is_(None),
            IdentityProvider.assures != Assurance.NONE,
        )
    ).scalar_one_or_none()


def came_with(session: OrmSession, provider_id: str, sid: str) -> list[IdentityLink]:
    """The links by which sessions came that the provider names `sid`."""
    return list(
        session.execute(
            select(IdentityLink)
            .join(WebSession, WebSession.link_id == IdentityLink.id)
            .where(IdentityLink.provider_id == provider_id, WebSession.provider_sid == sid)
            .distinct()
        ).scalars()
    )


def _linked(session: OrmSession, provider_id: str, sub: str) -> IdentityLink | None:
    return session.execute(
        select(IdentityLink).where(
            IdentityLink.provider_id == provider_id,
            IdentityLink.sub == sub,
            IdentityLink.ended_at.is_(None),
        )
    ).scalar_one_or_none()


# --- by a proven address -----------------------------------------------------------------------


def offer(session: Session, provider: IdentityProvider, sub: str, email: str) -> None:
    """Have a link mailed to the person of an address that the provider confirmed, if there is one.

    At most one lives for the same two at a time, so that nobody is flooded; without a mail server
    there is none, and only an admin links.
    """
    now = clock.now(session)
    if not session.database.settings.smtp_url or _linked(session, provider.id, sub) is not None:
        return
    subject = session.execute(
        select(Subject).where(
            Subject.email == email.strip().lower(),
            Subject.kind != SubjectKind.SERVICE,
            Subject.ended_at.is_(None),
        )
    ).scalar_one_or_none()
    if subject is None:
        return
    alive = select(LinkOffer.id).where(
        LinkOffer.subject_id == subject.id,
        LinkOffer.provider_id == provider.id,
        LinkOffer.recorded_at > now - OFFER_LIFE,
    )
    if session.execute(alive.limit(1)).first():
        return
    token = secrets.token_urlsafe(24)
    offer_id = new_id("off")
    row = LinkOffer(
        id=offer_id,
        token_hash=hash_of(token),
        sealed=seal_row(session, token.encode(), place=_place(offer_id)),
        provider_id=provider.id,
        sub=sub,
        subject_id=subject.id,
        expires_at=now + OFFER_LIFE,
    )
    session.add(row)
    record(
        session,
        EventType.IDENTITY_OFFERED,
        logs=[HOUSE],
        by=SYSTEM,
        refs={"subject": subject.id, "provider": provider.id},
        stamps=[(row, "recorded_at")],
    )


def offered_at(
    session: OrmSession, settings: Settings, subject_id: str, at: datetime
) -> tuple[str, IdentityProvider] | None:
    """The token to mail to someone for the offer that was recorded at an instant, and its provider.

    None once it is used or expired.
    """
    found = session.execute(
        select(LinkOffer, IdentityProvider)
        .join(IdentityProvider, IdentityProvider.id == LinkOffer.provider_id)
        .where(
            LinkOffer.subject_id == subject_id,
            LinkOffer.recorded_at == at,
            LinkOffer.ended_at.is_(None),
            LinkOffer.expires_at > clock.instant(),
            IdentityProvider.ended_at.is_(None),
        )
    ).one_or_none()
    if found is None:
        return None
    row, provider = found
    return unseal(settings, row.sealed, place=_place(row.id)).decode(), provider


def changed_at(session: OrmSession, subject_id: str, at: datetime) -> str:
    """The name of the provider to which someone was linked at an instant, or no more."""
    return session.execute(
        select(IdentityProvider.name)
        .join(IdentityLink, IdentityLink.provider_id == IdentityProvider.id)
        .where(
            IdentityLink.subject_id == subject_id,
            or_(IdentityLink.recorded_at == at, IdentityLink.ended_at == at),
        )
    ).scalar_one()


def open_offer(session: OrmSession, token: str) -> tuple[LinkOffer, Subject, IdentityProvider]:
    """What a mailed link would link; `Unknown` when it is used, expired or never was."""
    theirs = LinkOffer.token_hash == hash_of(token)
    row, subject = one_time.find(session, LinkOffer, theirs, over=_DEAD)
    provider = session.get_one(IdentityProvider, row.provider_id)
    if provider.ended_at is not None:
        raise errors.Unknown(_DEAD)
    return row, subject, provider


def accept(session: Session, token: str) -> IdentityLink:
    """Use a mailed link. It opens no session: one still signs in, with all that this takes."""
    row, subject, provider = open_offer(session, token)
    by = Principal(kind=Kind.SUBJECT, id=subject.id)
    return _link(session, subject, provider, row.sub, offer=row, by=by)


def _place(offer_id: str) -> str:
    return f"identity_link_offer.sealed:{offer_id}"
