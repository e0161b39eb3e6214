"""Passkeys: key pairs of which we hold the public half (Web Authentication, level 3).

A passkey counts while `ended_at` is empty. A challenge is given to one browser for one purpose,
sealed, and is spent by the first answer that is good: nothing is written for whoever only asks.
A passkey is taken only from a device that recognised its owner, so each is able to; of those that
were taken before that was asked it is not known, and they meet no demand for a passkey.
Our name and origin come from the settings alone. No guess is slowed down here, since a signature
cannot be guessed (SP 800-63B-4 §3.2.2): nobody can lock anyone out.

The library is imported when a passkey is asked for: no command at the machine waits for it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import BigInteger, Index, LargeBinary, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from govern import clock, errors
from govern.audit import EventType
from govern.audit.log import HOUSE
from govern.audit.record import RECORDED, record
from govern.clock import Utc
from govern.db import PERSONAL, Audited, Base, Id, insert_if_absent, new_id, references, text_column
from govern.identity import throttle
from govern.principal import SYSTEM
from govern.sealing import open_form, seal_form

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    from govern.config import Settings
    from govern.db import Session
    from govern.identity.subjects import Subject

LIFE = timedelta(minutes=15)
_CHALLENGE = 32  # bytes
_LONGEST = 16_384  # characters of an answer; the longest attestations take half of it
_LATE = "The page was open for too long. Please try once more."
# What the parsers below the library raise for an answer that no browser makes.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError)


class Passkey(Audited, Base):
    """A passkey of a person; `backed_up` if its owner's other devices may hold it too.

    `recognised` if it was made by a device that recognised its owner.
    """

    __tablename__ = "passkey"
    __table_args__ = (Index("ix_passkey_subject", "subject_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject_id: Mapped[Id] = mapped_column(references("subject.id"))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True, info=PERSONAL)
    public_key: Mapped[bytes] = mapped_column(LargeBinary, info=PERSONAL)
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)
    transports: Mapped[str] = mapped_column(text_column(80), default="", info=PERSONAL)
    backed_up: Mapped[bool]
    recognised: Mapped[bool]
    name: Mapped[str] = mapped_column(text_column(80), info=PERSONAL)
    recorded_at: Mapped[datetime] = mapped_column(Utc())
    used_at: Mapped[datetime | None] = mapped_column(Utc())
    ended_at: Mapped[datetime | None] = mapped_column(Utc())


class SpentChallenge(Base):
    """A challenge that was used, kept until it would have run out by itself."""

    __tablename__ = "spent_challenge"
    __table_args__ = (Index("ix_spent_challenge_expires_at", "expires_at"),)

    hash: Mapped[str] = mapped_column(text_column(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Utc())


class Purpose(StrEnum):
    """What a challenge was given for; it is good for nothing else."""

    ENROL = "enrol"
    SIGN_IN = "sign_in"
    FACTOR = "factor"


@dataclass(frozen=True)
class Asked:
    """A question for a browser: `options` in JSON for its own dialogue, `sealed` to come back."""

    options: str
    sealed: str


@dataclass(frozen=True)
class Answer:
    """What a browser answers: the credential in JSON, what was `sealed`, and which browser it is.

    `browser` is what our own cookie says of it: random, and no other browser's.
    """

    credential: str
    sealed: str
    browser: str


def available(settings: Settings) -> bool:
    """Whether we can be told from others: passkeys are bound to a host's name, never a number."""
    try:
        ipaddress.ip_address(_host(settings))
    except ValueError:
        return True
    return False


def in_use(session: OrmSession, subject_id: str) -> list[Passkey]:
    """The passkeys of a person that count, oldest first."""
    return list(
        session.execute(
            select(Passkey)
            .where(Passkey.subject_id == subject_id, Passkey.ended_at.is_(None))
            .order_by(Passkey.recorded_at)
        ).scalars()
    )


# --- asking ------------------------------------------------------------------------------------


def ask_for_new(session: OrmSession, subject: Subject, *, browser: str) -> Asked:
    """Ask a browser to make a passkey, on a device that holds none of this person's yet.

    One that is not known to have recognised them may be made anew on the same device.
    """
    import webauthn  # noqa: PLC0415 - see the head
    from webauthn.helpers import structs  # noqa: PLC0415 - see the head

    settings = session.database.settings  # type: ignore[attr-defined]  # ours has it
    challenge = secrets.token_bytes(_CHALLENGE)
    options = webauthn.generate_registration_options(
        rp_id=_host(settings),
        rp_name="govern",
        user_id=subject.id.encode(),
        user_name=subject.email or subject.external_id,
        user_display_name=subject.full_name,
        challenge=challenge,
        timeout=_milliseconds(),
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.PREFERRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[
            _described(each) for each in in_use(session, subject.id) if each.recognised
        ],
    )
    return Asked(
        webauthn.options_to_json(options),
        _sealed(settings, challenge, _place(Purpose.ENROL, browser, subject.id)),
    )


def ask_anyone(settings: Settings, *, browser: str) -> Asked:
    """Ask for whichever passkey the browser has for us: it tells nothing of who is known here."""
    return _asked(settings, _place(Purpose.SIGN_IN, browser, ""), [], verified=True)


def ask(
    session: OrmSession, subject_id: str, *, browser: str, verified: bool = False
) -> Asked | None:
    """Ask a person whom we know already for a passkey of theirs; None if they have none.

    `verified` asks that their device recognise them.
    """
    settings = session.database.settings  # type: ignore[attr-defined]  # ours has it
    own = in_use(session, subject_id) if available(settings) else []
    if not own:
        return None
    return _asked(settings, _place(Purpose.FACTOR, browser, subject_id), own, verified=verified)


def _asked(settings: Settings, place: str, own: list[Passkey], *, verified: bool) -> Asked:
    import webauthn  # noqa: PLC0415 - see the head
    from webauthn.helpers import structs  # noqa: PLC0415 - see the head

    challenge = secrets.token_bytes(_CHALLENGE)
    wish = structs.UserVerificationRequirement
    options = webauthn.generate_authentication_options(
        rp_id=_host(settings),
        challenge=challenge,
        timeout=_milliseconds(),
        allow_credentials=[_described(each) for each in own],
        user_verification=wish.REQUIRED if verified else wish.PREFERRED,
    )
    return Asked(webauthn.options_to_json(options), _sealed(settings, challenge, place))


def _described(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    from webauthn.helpers import structs  # noqa: PLC0415 - see the head

    known = {each.value: each for each in structs.AuthenticatorTransport}
    ways = [known[name] for name in passkey.transports.split() if name in known]
    return structs.PublicKeyCredentialDescriptor(id=passkey.credential_id, transports=ways or None)


# --- answers -----------------------------------------------------------------------------------


def made(session: Session, subject: Subject, answer: Answer, *, name: str) -> Passkey:
    """The passkey that a browser made for this person, yet to be recorded.

    `Invalid` where it does not answer our question, is registered already, or was made without its
    owner being recognised: whoever finds such a key could show it as well.
    """
    import webauthn  # noqa: PLC0415 - see the head
    from webauthn.helpers import exceptions, structs  # noqa: PLC0415 - see the head

    settings = session.database.settings
    try:
        place = _place(Purpose.ENROL, answer.browser, subject.id)
        challenge, fields = _answered(session, answer, place)
        if challenge is None or not _spend(session, challenge):
            raise ValueError
        verified = webauthn.verify_registration_response(
            credential=fields,
            expected_challenge=challenge,
            expected_rp_id=_host(settings),
            expected_origin=_origin(settings),
        )
        ways = [str(way) for way in fields["response"].get("transports", ())]
    except errors.SignInFailed as error:
        raise errors.Invalid(error.message, field="new_passkey") from None
    except (exceptions.WebAuthnException, *_MALFORMED):
        raise errors.Invalid(
            "Your browser's answer is not good here. Please try once more.", field="new_passkey"
        ) from None
    if not verified.user_verified:
        raise errors.Invalid(
            "This device did not recognise you. Set a PIN, a finger or a face on it first.",
            field="new_passkey",
        )
    known = select(Passkey.id).where(Passkey.credential_id == verified.credential_id)
    if session.execute(known).first() is not None:
        raise errors.Invalid("This passkey was added before.", field="new_passkey")
    allowed = {each.value for each in structs.AuthenticatorTransport}
    return Passkey(
        id=new_id("pky"),
        subject_id=subject.id,
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=" ".join(way for way in ways if way in allowed),
        backed_up=verified.credential_backed_up,
        recognised=True,
        name=name,
    )


def used(
    session: Session, answer: Answer, *, subject_id: str | None, verified: bool
) -> tuple[Passkey | None, bool]:
    """The passkey that this answer was made with, and whether the answer is good.

    Of `subject_id` alone, or of anyone: then it is a whole sign-in. `verified` demands that its
    owner was recognised by the device, by a PIN or a finger. A good answer is good once.
    """
    import webauthn  # noqa: PLC0415 - see the head
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415 - see the head

    purpose = Purpose.FACTOR if subject_id else Purpose.SIGN_IN
    place = _place(purpose, answer.browser, subject_id or "")
    challenge, fields = _answered(session, answer, place)
    passkey = _found(session, fields)
    if challenge is None or passkey is None or passkey.ended_at is not None:
        return passkey, False
    if passkey.subject_id != (subject_id or passkey.subject_id):
        return None, False
    settings = session.database.settings
    try:
        handle = fields["response"].get("userHandle")
        if handle and _bytes(handle) != passkey.subject_id.encode():
            return passkey, False
        found = webauthn.verify_authentication_response(
            credential=fields,
            expected_challenge=challenge,
            expected_rp_id=_host(settings),
            expected_origin=_origin(settings),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=verified,
        )
    except (WebAuthnException, *_MALFORMED):
        return passkey, False
    if not _spend(session, challenge):
        return passkey, False
    won = session.execute(
        update(Passkey)
        .where(
            Passkey.id == passkey.id,
            Passkey.ended_at.is_(None),
            Passkey.sign_count == passkey.sign_count,
        )
        .values(
            sign_count=found.new_sign_count,
            backed_up=found.credential_backed_up,
            used_at=clock.now(session),
        ),
        execution_options=RECORDED | {"synchronize_session": False},
    )
    return passkey, won.rowcount == 1  # type: ignore[attr-defined]  # a DML result has it


def unsigned(subject_id: str | None) -> errors.SignInFailed:
    """The refusal of an answer that is not good: it is recorded, and slows nobody down."""

    def aftermath(session: Session) -> None:
        record(
            session,
            EventType.SIGN_IN_FAILED,
            logs=[HOUSE],
            by=SYSTEM,
            refs={"subject": subject_id},
            data={"factor": "passkey"},
        )

    refusal = errors.SignInFailed(throttle.WRONG)
    refusal.aftermath = aftermath
    return refusal


def _answered(session: Session, answer: Answer, place: str) -> tuple[bytes | None, dict[str, Any]]:
    """The challenge that was answered, unless it is none of ours, and the answer's own fields."""
    opened = open_form(session.database.settings, answer.sealed, place=place)
    if opened is None:
        return None, {}
    challenge: bytes | None = _bytes(opened["challenge"])
    if clock.now(session) > clock.from_micros(opened["until"]):
        raise errors.SignInFailed(_LATE)
    if len(answer.credential) > _LONGEST:
        return None, {}
    try:
        fields = json.loads(answer.credential)
    except (ValueError, RecursionError):
        return None, {}
    return challenge, fields if isinstance(fields, dict) else {}


def _found(session: OrmSession, fields: dict[str, Any]) -> Passkey | None:
    name = fields.get("id")
    try:
        credential_id = _bytes(name) if isinstance(name, str) else b""
    except ValueError:
        return None
    return session.execute(
        select(Passkey).where(Passkey.credential_id == credential_id)
    ).scalar_one_or_none()


def _spend(session: Session, challenge: bytes) -> bool:
    """Use a challenge up; of two answers to one, the second finds it spent."""
    now = clock.now(session)
    session.execute(delete(SpentChallenge).where(SpentChallenge.expires_at < now))
    digest = hashlib.sha256(challenge).hexdigest()
    return insert_if_absent(session, SpentChallenge, hash=digest, expires_at=now + LIFE)


# --- ours --------------------------------------------------------------------------------------


def _host(settings: Settings) -> str:
    return urlsplit(settings.public_url).hostname or ""


def _origin(settings: Settings) -> str:
    """Our address as browsers spell it: without a port that goes without saying, or a path."""
    url = urlsplit(settings.public_url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = "" if url.port in {None, {"http": 80, "https": 443}[url.scheme]} else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


def _place(purpose: Purpose, browser: str, subject_id: str) -> str:
    return f"passkey.{purpose}:{browser}:{subject_id}"


def _sealed(settings: Settings, challenge: bytes, place: str) -> str:
    until = clock.micros(clock.utcnow() + LIFE)
    return seal_form(settings, {"challenge": _text(challenge), "until": until}, place=place)


def _milliseconds() -> int:
    return int(LIFE.total_seconds() * 1000)


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(value: str) -> bytes:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))
