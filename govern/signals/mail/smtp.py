"""SMTP: one connection to the mail server, and what it means when it says no (RFC 5321).

A password or a word about anyone leaves this machine encrypted or not at all: STARTTLS is demanded
(RFC 3207), unless the server is this machine itself.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from govern.config import LOOPBACK

if TYPE_CHECKING:
    from email.message import EmailMessage

    from govern.config import Settings

# Seconds that the server may take for one reply.
_PATIENCE = 20
_CODE = re.compile(r"\d\.\d{1,3}\.\d{1,3}\b")


class Refused(Exception):
    """The server does not take this one mail: not now, or never (`for_good`)."""

    def __init__(self, words: str, *, for_good: bool) -> None:
        super().__init__(words)
        self.for_good = for_good


class Down(Exception):
    """The server takes no mail at all now."""


class Connection:
    """A signed-in connection; `Down` when it cannot be had."""

    def __init__(self, settings: Settings) -> None:
        server = urlsplit(settings.smtp_url)
        host = server.hostname or ""
        own_name = urlsplit(settings.public_url).hostname
        try:
            if server.scheme == "smtps":
                self._smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                    host, server.port or 465, own_name, timeout=_PATIENCE,
                    context=ssl.create_default_context(),
                )  # fmt: skip
            else:
                self._smtp = smtplib.SMTP(host, server.port or 25, own_name, timeout=_PATIENCE)
            self._begin(host, server.username, server.password, plain=server.scheme == "smtp")
        except (smtplib.SMTPException, OSError) as error:
            raise Down(_words(error)) from None

    def _begin(self, host: str, user: str | None, password: str | None, *, plain: bool) -> None:
        try:
            self._smtp.ehlo_or_helo_if_needed()
            if plain and host not in LOOPBACK:
                # Raises where the server does not offer it: nothing is sent in the clear.
                self._smtp.starttls(context=ssl.create_default_context())
            if user is not None and password is not None:
                self._smtp.login(unquote(user), unquote(password))
        except BaseException:
            self._smtp.close()
            raise

    def send(self, message: EmailMessage) -> None:
        """Hand one mail over: once this returns, the server answers for it.

        `Refused` for this mail alone; `Down` when the connection broke or nothing is taken.
        """
        try:
            self._smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            raise self._refusal(code, words) from None
        except smtplib.SMTPSenderRefused as error:
            raise Down(f"sender: {_reply(error.smtp_code, error.smtp_error)}") from None
        except smtplib.SMTPDataError as error:
            raise self._refusal(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError:
            raise Refused("the server takes no such address", for_good=True) from None
        except (smtplib.SMTPException, OSError) as error:
            raise Down(_words(error)) from None

    def close(self) -> None:
        """Take leave."""
        with suppress(smtplib.SMTPException, OSError):
            self._smtp.quit()

    def _refusal(self, code: int, words: bytes | str) -> Exception:
        reply = _reply(code, words)
        if code == 421:  # noqa: PLR2004 - RFC 5321: the service is closing the channel
            return Down(reply)
        return Refused(reply, for_good=code >= 500)  # noqa: PLR2004 - RFC 5321, section 4.2.1


def _words(error: Exception) -> str:
    """What is wrong with the server, without what it says, which may repeat what it was sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: {_reply(error.smtp_code, error.smtp_error)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:200]
    if isinstance(error, (smtplib.SMTPNotSupportedError, OSError)):
        return f"{type(error).__name__}: {error}"[:200]
    return type(error).__name__


def _reply(code: int, words: bytes | str) -> str:
    """A reply's code, and its enhanced one (RFC 3463): the rest may hold someone's address."""
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    enhanced = _CODE.match(text)
    return f"{code} {enhanced[0]}" if enhanced else str(code)
