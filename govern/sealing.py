"""Sealed values: what must be read again, and is of no use to who has the database alone.

AES-256-GCM under a numbered key from outside the database, bound to the row and column it is for.
"""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from govern import config, errors
from govern.clock import Utc
from govern.db import Again, Audited, Base, Instant, text_column

if TYPE_CHECKING:
    from govern.config import Settings
    from govern.db import Session

# What a column is marked with whose values `seal_row` sealed, at `table.column:primary key`.
SEALED = {"sealed": True}
_OF_FORMS = 0  # the id of the key of what leaves us


class SealingKey(Audited, Base):
    """A key of sealed columns, known by the SHA-256 of its 256 random bits.

    One seals: that without an end. Rows sealed by one that ended are sealed anew, and then it is
    retired. `example` if the database is an example world, which alone such a world's keys serve.
    """

    __tablename__ = "sealing_key"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(text_column(64))
    example: Mapped[bool]
    recorded_at: Mapped[Instant]
    ended_at: Mapped[datetime | None] = mapped_column(Utc())
    retired_at: Mapped[datetime | None] = mapped_column(Utc())


def seal_row(session: Session, value: bytes, *, place: str) -> bytes:
    """Encrypt `value` (AES-256-GCM) for a sealed column, so that it opens only at `place`.

    Layout: key id (1 byte), nonce (12 bytes), ciphertext and tag. Until this transaction ends no
    other key begins to seal: so whoever seals rows anew afterwards finds this one.
    """
    active = session.execute(
        select(SealingKey.id).where(SealingKey.ended_at.is_(None)).with_for_update(read=True)
    ).scalar_one_or_none()
    if active is None and session.execute(select(SealingKey.id).limit(1)).first() is not None:
        raise Again  # it has just ended
    return seal_with(session.database.settings, active or 1, value, place=place)


def seal(settings: Settings, value: bytes, *, place: str) -> bytes:
    """The same for what leaves us and comes back soon, such as a form: no row to seal anew."""
    return seal_with(settings, _OF_FORMS, value, place=place)


def seal_form(settings: Settings, kept: object, *, place: str) -> str:
    """What a form or cookie carries, JSON, as a text that we alone can read again."""
    sealed = seal(settings, json.dumps(kept).encode(), place=place)
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def open_form(settings: Settings, text: str, *, place: str) -> Any:
    """The inverse; None where it was changed on its way, or was sealed for another place."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return json.loads(unseal(settings, sealed, place=place))
    except (ValueError, IndexError, errors.Unavailable):
        return None


def seal_with(settings: Settings, key_id: int, value: bytes, *, place: str) -> bytes:
    """Encrypt under a chosen key."""
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(_sealing_key(settings, key_id)).encrypt(nonce, value, place.encode())
    return bytes([key_id]) + nonce + sealed


def _sealing_key(settings: Settings, key_id: int) -> bytes:
    if key_id == _OF_FORMS:
        return hmac.digest(config.secret(settings.keys_dir / "web.key"), b"sealed forms", "sha256")
    found = config.sealing_keys(settings).get(key_id)
    if found is None:
        raise errors.Unavailable(
            f"Sealing key {key_id} is missing here: copy it from the node that made it."
        )
    return found.value


def unseal(settings: Settings, sealed: bytes, *, place: str) -> bytes:
    """The inverse of both; `Unavailable` when the value was moved or changed."""
    key = _sealing_key(settings, sealed[0])
    try:
        return AESGCM(key).decrypt(sealed[1:13], sealed[13:], place.encode())
    except InvalidTag:
        raise errors.Unavailable(f"A sealed value does not open at {place}.") from None
