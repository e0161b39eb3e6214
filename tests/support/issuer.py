"""A small OpenID provider made by hand, which signs whatever a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from govern import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT_ID = "govern"
CLIENT_SECRET = "a secret between the two of us"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Issuer:
    """What it answers; a test changes it as it likes."""

    url: str = ""
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256", auto_kid=True))
    metadata: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, tuple[dict[str, str], Callable[[dict[str, str]], str]]] = field(
        default_factory=dict
    )
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """An ID token's claims; a change to None leaves one out."""
        now = int(clock.utcnow().timestamp())
        found = {"iss": self.url, "aud": CLIENT_ID, "sub": "ada-at-home", "iat": now,
                 "exp": now + 300, "auth_time": now, **changes}  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        head = {"alg": "ES256", "kid": self.key.kid, **header}
        return jwt.encode(head, claims, self.key, algorithms=[head["alg"]], default_type=None)

    def logout_token(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        own = {"auth_time": None, "jti": secrets.token_hex(8), "events": {LOGOUT: {}}}
        claims = self.claims(**own | changes)
        return self.sign(claims, **{"typ": "logout+jwt", **(header or {})})

    def answer(
        self, address: str, token: Callable[[dict[str, str]], str] | None = None, **changes: Any
    ) -> dict[str, str]:
        """What the browser brings back after someone signed in at the address.

        `token` makes the ID token from the question; `changes` change its claims.
        """
        asked = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_urlsafe(16)

        def signed(question: dict[str, str]) -> str:
            return self.sign(self.claims(**{"nonce": question["nonce"], **changes}))

        self.codes[code] = (asked, token or signed)
        return {"code": code, "state": asked["state"], "iss": self.url}

    def reply(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, self.describe()
        if path == "/jwks":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if path != "/token":
            return 404, {}
        asked, token = self.codes.pop(form.get("code", ""), ({}, None))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        shown = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if token is None or shown != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 400, {"error": "invalid_grant"}
        if asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token(asked)}


@contextmanager
def running() -> Iterator[Issuer]:
    """An issuer on a port of this machine, until the end of the block."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: value[0] for name, value in parse_qs(body).items()}
            issuer.asked.append(self.path)
            if self.path in issuer.answers:
                status, headers, sent = issuer.answers[self.path]
            else:
                authorization = self.headers.get("Authorization", "")
                status, found = issuer.reply(self.path, form, authorization)
                headers, sent = {"Content-Type": "application/json"}, json.dumps(found).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(sent)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["CLIENT_ID", "CLIENT_SECRET", "Issuer", "RSAKey", "running"]
