"""The statuses of a Token Status List (draft-ietf-oauth-status-list-20 §4), unpacked."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass

from govern.client.transport import Unanswered

VALID, SUSPENDED = 0x00, 0x02  # §7.1; whatever else there is, is not good
MOST_UNPACKED = 16 * 1024 * 1024


@dataclass(frozen=True)
class StatusList:
    """Statuses of `bits` each, from the least significant bit of each byte (§4.1)."""

    bits: int
    packed: bytes

    @classmethod
    def read(cls, claim: object) -> StatusList:
        """Unpack the claim `status_list` (§4.2)."""
        bits = claim.get("bits") if isinstance(claim, dict) else None
        text = claim.get("lst") if isinstance(claim, dict) else None
        if type(bits) is not int or bits not in {1, 2, 4, 8} or not isinstance(text, str):
            raise Unanswered("the status list has no statuses")
        try:
            raw = base64.b64decode(
                text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
            )
            unpack = zlib.decompressobj()
            packed = unpack.decompress(raw, MOST_UNPACKED)
        except (binascii.Error, UnicodeError, zlib.error):
            raise Unanswered("the status list cannot be unpacked") from None
        if not unpack.eof:
            raise Unanswered("the status list is cut short, or too long")
        return cls(bits, packed)

    def value(self, index: int) -> int | None:
        """The status at an index; None outside the list."""
        if not 0 <= index < len(self.packed) * 8 // self.bits:
            return None
        at = index * self.bits
        return self.packed[at // 8] >> (at % 8) & ((1 << self.bits) - 1)
