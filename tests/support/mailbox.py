"""A real SMTP server for tests, which takes mail, or refuses it as it is told to."""

from __future__ import annotations

import email
import email.policy
import ssl
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path


@dataclass
class Mailbox:
    """What arrived, and what the server answers: by recipient, or to whatever comes (`""`).

    Answers are used up one by one; then mail is taken.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, str]] = field(default_factory=list)
    at_recipient: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    at_data: deque[str] = field(default_factory=deque)
    signed_in: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0

    def to(self, address: str) -> list[EmailMessage]:
        """The mails to an address."""
        return [mail for mail in self.mails if mail["To"] == address]

    # --- what aiosmtpd calls

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        waiting = self.at_recipient[address]
        if waiting:
            return waiting.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd names it
        if self.at_data:
            answer = self.at_data.popleft()
            if answer == "drop":
                server.transport.abort()
            if answer != "take and drop":
                return answer
            server.transport.abort()
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.envelopes.append((envelope.mail_from, *envelope.rcpt_tos))
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    def sign_in(
        self, _server: Any, _session: Any, _envelope: Any, _how: str, data: Any
    ) -> AuthResult:
        if isinstance(data, LoginPassword):
            self.signed_in.append((data.login, data.password))
        return AuthResult(success=data.password == b"s:cr@t/", handled=False)


def certificate(folder: Path, address: str) -> ssl.SSLContext:
    """A server's certificate for an IP address, its own authority; it is in `certificate.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    return context


@contextmanager
def mailbox(port: int = 0, *, host: str = "127.0.0.1", **more: Any) -> Iterator[Mailbox]:
    """An SMTP server on a port of this machine, until the end of the block."""
    from tests.support.processes import free_port

    box = Mailbox(port=port or free_port())
    server = Controller(box, hostname=host, port=box.port, **more)
    server.start()
    try:
        yield box
    finally:
        server.stop()
