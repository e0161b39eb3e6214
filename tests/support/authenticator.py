"""An authenticator in software: what a device and a browser answer to WebAuthn's questions.

It obeys its holder alone: `origin`, whether the person was recognised, and the counter are what a
test says, so that it can lie as no browser does.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

if TYPE_CHECKING:
    from govern.identity.passkeys import Asked

PRESENT, RECOGNISED, ATTESTED = 0x01, 0x04, 0x40


def text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def plain(value: str) -> bytes:
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


@dataclass
class Device:
    """One passkey of one person at one origin; `counts` as security keys do."""

    origin: str
    counts: bool = True
    recognises: bool = True
    counter: int = 0
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    owner: str = ""

    def make(self, asked: Asked, **lies: Any) -> str:
        """Make the passkey; returns what the page would put into its form."""
        options = json.loads(asked.options)
        self.owner = options["user"]["id"]
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps({
            1: 2, 3: -7, -1: 1,
            -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big"),
        })  # fmt: skip
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        data = self._data(options["rp"]["id"], ATTESTED, **lies) + attested + public
        return self._credential({
            "clientDataJSON": self._client_data("webauthn.create", options, **lies),
            "attestationObject": cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
        })  # fmt: skip

    def show(self, asked: Asked, **lies: Any) -> str:
        """Show the passkey; returns what the page would put into its form."""
        options = json.loads(asked.options)
        data = self._data(options["rpId"], 0, **lies)
        said = self._client_data("webauthn.get", options, **lies)
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(SHA256()))
        return self._credential({
            "clientDataJSON": said, "authenticatorData": data, "signature": signature,
            "userHandle": plain(self.owner),
        })  # fmt: skip

    def _data(self, rp_id: str, flags: int, **lies: Any) -> bytes:
        self.counter += self.counts
        recognised = RECOGNISED if lies.get("recognised", self.recognises) else 0
        counter = lies.get("counter", self.counter)
        return (
            hashlib.sha256(lies.get("host", rp_id).encode()).digest()
            + struct.pack(">BI", flags | PRESENT | recognised, counter)
        )  # fmt: skip

    def _client_data(self, kind: str, options: dict[str, Any], **lies: Any) -> bytes:
        return json.dumps({
            "type": lies.get("type", kind), "challenge": options["challenge"],
            "origin": lies.get("origin", self.origin), "crossOrigin": False,
        }).encode()  # fmt: skip

    def _credential(self, response: dict[str, bytes]) -> str:
        name = text(self.credential_id)
        return json.dumps({
            "id": name, "rawId": name, "type": "public-key", "clientExtensionResults": {},
            "response": {part: text(value) for part, value in response.items()},
        })  # fmt: skip
