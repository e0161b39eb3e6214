"""Pages of a search: found by the last key of the one before; a token belongs to its question."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from govern import errors
from govern.audit import leaf

if TYPE_CHECKING:
    from govern.principal import Principal

MOST = 1000
USUAL = 100
_DIGEST = 16


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which page is wanted: the token that the one before gave (none: the first), and how long."""

    token: str = ""
    limit: int = USUAL


@dataclass(frozen=True, kw_only=True)
class Found:
    """Names in the order of their keys, and the token of the next page, empty at the end."""

    names: list[str]
    next_token: str


class Keys:
    """Reads what a page asks for, and writes the token of the next one.

    The token is the last key with a digest of the question and of who asks it. It is no secret and
    opens nothing: what is listed behind a key is decided anew.
    """

    def __init__(self, page: Page, by: Principal, *asked: str | None) -> None:
        self.limit = min(page.limit, MOST)
        if self.limit < 1:
            raise errors.Invalid("page.limit is 1 at least.", field="page.limit")
        self._question = hashlib.sha256(leaf.canonical([by.id, *asked])).digest()[:_DIGEST]
        self.after = self._read(page.token) if page.token else ""

    def _read(self, token: str) -> str:
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            question, after = raw[:_DIGEST], raw[_DIGEST:].decode()
        except (binascii.Error, UnicodeError):
            question, after = b"", ""
        if question != self._question or not after.isprintable():
            raise errors.Invalid(
                "page.token was not given for this question: ask for the first page without one.",
                field="page.token",
            )
        return after

    def found(self, rows: list[tuple[str, str]]) -> Found:
        """The page of these rows (key, name), of which there may be one too many."""
        names = [name for _, name in rows[: self.limit]]
        if len(rows) <= self.limit:
            return Found(names=names, next_token="")
        token = self._question + rows[self.limit - 1][0].encode()
        return Found(names=names, next_token=base64.urlsafe_b64encode(token).decode())
