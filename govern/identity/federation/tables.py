"""The tables of single sign-on: providers, who is linked to them, and what was used up."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Code, Id, Instant, references, text_column
from govern.sealing import SEALED

_IN_USE = text("ended_at IS NULL")


class Assurance(StrEnum):
    """How much a provider's word is worth, when its token proves it; else our own factor is asked.

    Who may prove a phishing-resistant factor proves a second factor with it.
    """

    NONE = "none"
    MFA = "mfa"
    PHISHING_RESISTANT = "phishing_resistant"


class IdentityProvider(Audited, Base):
    """An OpenID provider that people may come by.

    `secret` is our client secret there, sealed. `assures` counts for a token whose `acr` is one of
    `acr_values`, or whose `amr` holds one of `amr_values` (texts separated by spaces). `inside`
    says that its host may have a private address.
    """

    __tablename__ = "identity_provider"
    __table_args__ = (
        Index(
            "uq_identity_provider_issuer",
            "issuer",
            unique=True,
            sqlite_where=_IN_USE,
            postgresql_where=_IN_USE,
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(text_column(80))
    issuer: Mapped[str] = mapped_column(text_column(500))
    client_id: Mapped[str] = mapped_column(text_column(255))
    secret: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED)
    assures: Mapped[Code]
    acr_values: Mapped[str] = mapped_column(text_column(1000))
    amr_values: Mapped[str] = mapped_column(text_column(200))
    inside: Mapped[bool]
    recorded_at: Mapped[Instant]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class IdentityLink(Audited, Base):
    """That a provider's `sub` is a subject of ours. `linked_by` is themselves, or the admin."""

    __tablename__ = "identity_link"
    __table_args__ = (
        Index(
            "uq_identity_link_sub",
            "provider_id",
            "sub",
            unique=True,
            sqlite_where=_IN_USE,
            postgresql_where=_IN_USE,
        ),
        Index("ix_identity_link_subject", "subject_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    provider_id: Mapped[Id] = mapped_column(references("identity_provider.id"))
    sub: Mapped[str] = mapped_column(text_column(255), info=PERSONAL)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    linked_by: Mapped[str] = mapped_column(text_column(200))
    recorded_at: Mapped[Instant]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class LinkOffer(Audited, Base):
    """A link that is mailed to an address which a provider confirmed; it works once.

    `sealed` is its token, for the mail alone.
    """

    __tablename__ = "identity_link_offer"
    __table_args__ = (Index("ix_identity_link_offer_subject", "subject_id", "recorded_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(text_column(64), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED | PERSONAL)
    provider_id: Mapped[Id] = mapped_column(references("identity_provider.id"))
    sub: Mapped[str] = mapped_column(text_column(255), info=PERSONAL)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    expires_at: Mapped[Instant]
    recorded_at: Mapped[Instant]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class Spent(Base):
    """The digest of what counts once (a sign-in's state, a logout token), while it could count."""

    __tablename__ = "spent"
    __table_args__ = (Index("ix_spent_until", "until"),)

    digest: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    until: Mapped[Instant]
