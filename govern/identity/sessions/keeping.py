"""A half-filled form, kept while its sender proves themselves anew at their provider.

It lies sealed, for that person alone and for a quarter of an hour. It is no fact, and no act yet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Index, LargeBinary, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.clock import Utc
from govern.db import PERSONAL, Base, Id, new_id, references
from govern.sealing import SEALED, seal_row, unseal

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.principal import Principal

LIFE = timedelta(minutes=15)
MOST_KEPT = 5  # of one person; the oldest gives way


class KeptForm(Base):
    """What `keep` keeps: a `HalfFilled` in JSON, sealed."""

    __tablename__ = "kept_form"
    __table_args__ = (Index("ix_kept_form_subject", "subject_id", "expires_at"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary, info=SEALED | PERSONAL)
    expires_at: Mapped[datetime] = mapped_column(Utc())


@dataclass(frozen=True, kw_only=True)
class HalfFilled:
    """A form as it was sent: where to, what for, its fields in order, and the way back."""

    target: str
    title: str
    cancel: str
    fields: tuple[tuple[str, str], ...]


def keep(session: Session, form: HalfFilled, *, by: Principal) -> str:
    """Keep a form of the caller's; returns the name by which they, and nobody else, find it."""
    own = (
        select(KeptForm.id)
        .where(KeptForm.subject_id == by.id)
        .order_by(KeptForm.expires_at.desc())
        .offset(MOST_KEPT - 1)
    )
    for name in session.execute(own).scalars().all():
        session.execute(delete(KeptForm).where(KeptForm.id == name))
    form_id = new_id("frm")
    session.add(
        KeptForm(
            id=form_id,
            subject_id=by.id,
            sealed=seal_row(session, json.dumps(asdict(form)).encode(), place=_place(form_id)),
            expires_at=clock.now(session) + LIFE,
        )
    )
    return form_id


def kept(session: Session, form_id: str, *, by: Principal) -> HalfFilled:
    """The caller's form of this name; `Unknown` when its time is over, or it is someone else's."""
    row = session.get(KeptForm, form_id)
    if row is None or row.subject_id != by.id or clock.now(session) >= row.expires_at:
        raise errors.Unknown("This form was kept for a quarter of an hour. Please fill it anew.")
    found = json.loads(unseal(session.database.settings, row.sealed, place=_place(form_id)))
    return HalfFilled(**found | {"fields": tuple((name, value) for name, value in found["fields"])})


def forget_lapsed(session: OrmSession) -> None:
    """Drop what was kept for long enough."""
    session.execute(
        delete(KeptForm).where(KeptForm.expires_at <= clock.instant()),
        execution_options={"synchronize_session": False},
    )


def _place(form_id: str) -> str:
    return f"kept_form.sealed:{form_id}"
