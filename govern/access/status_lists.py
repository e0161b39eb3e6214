"""Token status lists: two bits for each token, signed, so that anyone can check a token offline.

The lists are the states of the tokens as one statement finds them now; nothing is stored of them,
so a pause shows in the next ones made. They say nothing to whoever does not hold a token: places
are random, and those of no token read VALID.
"""

from __future__ import annotations

import base64
import zlib
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, not_, select

from govern import clock, errors
from govern.access import tokens
from govern.access.tokens import LIFE, LISTS, PLACES, State, Token
from govern.identity import keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Select

    from govern.db import Database

# Approved, and not yet an RFC: the numbers of sections below are this draft's.
TSL_DRAFT = "draft-ietf-oauth-status-list-20"
TYPE = "statuslist+jwt"
BITS = 2
# §7.1. A suspended token turns invalid when the suspension is lifted, and never valid again.
VALUES = {State.VALID: 0x00, State.INVALID: 0x01, State.SUSPENDED: 0x02}
TTL = 30  # seconds from `iat` after which a verifier asks for a newer one
# No token lives longer, so a list need not either: whoever cannot have a new one fails closed.
EXPIRES = int(LIFE.total_seconds())


def encode(values: Mapping[int, int], size: int, *, bits: int = BITS) -> bytes:
    """Values by index, packed from the least significant bit of each byte (§4.1)."""
    packed = bytearray((size * bits + 7) // 8)
    mask = (1 << bits) - 1
    for index, value in values.items():
        packed[index * bits // 8] |= (value & mask) << (index * bits % 8)
    return bytes(packed)


def compressed(packed: bytes) -> str:
    """The member `lst`: zlib's format (RFC 1950), base64url without padding."""
    return base64.urlsafe_b64encode(zlib.compress(packed, 9)).rstrip(b"=").decode()


def addresses(database: Database) -> list[str]:
    """Where each list is served."""
    return [address(database, number) for number in range(LISTS)]


def address(database: Database, number: int) -> str:
    """Where a list is served, which is also its subject."""
    return f"{database.settings.public_url}/status-lists/{number}"


def signed(database: Database, number: int) -> str:
    """A list as a signed JWT (§5.1), of this very moment; `Unknown` if there is none."""
    if not 0 <= number < LISTS:
        raise errors.Unknown("There is no such status list.")
    now, bad = find(database, number)
    issued = int(now.timestamp())
    claims = {
        "sub": address(database, number),
        "iat": issued,
        "exp": issued + EXPIRES,
        "ttl": TTL,
        "status_list": {
            "bits": BITS,
            "lst": compressed(encode(bad, PLACES)),
            "aggregation_uri": f"{database.settings.public_url}/status-lists",
        },
    }
    return keys.sign(database, claims, type=TYPE)


def find(database: Database, number: int) -> tuple[datetime, dict[int, int]]:
    """Now, and by place the value of every living token of a list that is not good."""
    with database.reading() as session:
        now = clock.now(session)
        rows = session.execute(_bad(), {"number": number})
        return now, {index: VALUES[State(state)] for index, state in rows}


@cache
def _bad() -> Select[int, str]:
    """The one statement, built once."""
    return select(Token.list_index, tokens.of_bad()).where(
        Token.list_number == bindparam("number"),
        Token.expires_at > clock.instant(),
        not_(tokens.good()),
    )
