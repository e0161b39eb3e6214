"""The authorization server, on Authlib: who a client is, and how requests and answers look.

An OAuth client is an integration. It shows its secret (HTTP Basic) or an assertion that it signed
with a registered key (RFC 7523); whoever shows neither, or a wrong one, is told the same and is on
record. Parameters are read from the body alone, so that no secret stands in an address.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from authlib.oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import (
    ClientMixin,
    InvalidClientError,
    InvalidRequestError,
    OAuth2Payload,
    OAuth2Request,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Response, g, request
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from govern import clock, errors
from govern.access import tokens
from govern.identity import integrations
from govern.web import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from werkzeug.datastructures import MultiDict

    from govern.identity.integrations import Integration
    from govern.principal import Principal

METHODS = ["client_secret_basic", "private_key_jwt"]
ALGORITHMS = ["RS256", "ES256"]  # of assertions
_IN_THE_BODY = {"client_assertion", "client_secret"}
# An assertion that is good for longer would have to be remembered for longer.
LONGEST_ASSERTION = timedelta(hours=1)


class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """An integration as Authlib asks about it: its row, and what it may do."""

    def __init__(self, row: Integration, by: Principal) -> None:
        self.row = row
        self.by = by

    def get_client_id(self) -> str:
        """Its id."""
        return self.row.id

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether it is registered, letter for letter (RFC 9700 §2.1)."""
        return redirect_uri in self.row.redirect_uris

    def get_default_redirect_uri(self) -> None:
        """None: where to is always named."""

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - Authlib's own
        """Whichever of ours it is able to use."""
        return method in METHODS

    def check_response_type(self, response_type: str) -> bool:
        """A code, and nothing that would show a token to a browser."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """One's own token is for all; a person's, for whoever has a place to be sent back to."""
        return grant_type == "client_credentials" or bool(self.row.redirect_uris)

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """A person gives access to a project (RFC 9396), and none of ours."""
        return None if scope else ""


class _Assertion(JWTBearerClientAssertion):  # type: ignore[misc]  # Authlib has no types
    """A client that signs who it is, so that no secret travels (RFC 7523 §3)."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __call__(self, query_client: Any, asked: Request) -> Client | None:
        try:
            client: Client | None = super().__call__(query_client, asked)
        except (JoseError, ValueError, TypeError, KeyError):
            # Whatever else is wrong in a document that anyone may send.
            raise InvalidClientError from None
        if client is not None:
            g.integration = client.by  # for the record of a refusal
            integrations.touch(guard.database(), client.row.id)
        return client

    def get_audiences(self) -> list[str]:
        base = guard.database().settings.public_url
        return [base, f"{base}/oauth/token"]

    def resolve_client_public_key(self, client: Client) -> KeySet:
        if client.row.public_keys is None:
            raise InvalidClientError
        return KeySet.import_key_set(client.row.public_keys)  # type: ignore[arg-type]  # checked at registration

    def validate_jti(self, claims: dict[str, Any], jti: object) -> bool:
        """Whether it was not shown before, and need not be remembered for long."""
        latest = clock.utcnow() + LONGEST_ASSERTION
        if not isinstance(jti, str) or claims["exp"] > latest.timestamp():
            return False
        until = datetime.fromtimestamp(claims["exp"], UTC) + timedelta(seconds=self.leeway)
        return guard.database().transaction(
            lambda session: tokens.first_use(session, f"{claims['sub']} {jti}", until=until)
        )


class _Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    def __init__(self, values: MultiDict[str, str]) -> None:
        self._values = values

    @property
    def data(self) -> MultiDict[str, str]:
        return self._values

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._values.to_dict(flat=False)

    @property
    def response_type(self) -> str | None:
        # Authlib repeats it in an error, where not every character may stand; ours says its own.
        found = self._values.get("response_type")
        return found if found in {"code", None} else "other"


class Request(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """The present request, with parameters from one place alone.

    Each stands once (RFC 6749 §3.1, §3.2), but `resource` (RFC 8707 §2).
    """

    def __init__(self, values: MultiDict[str, str]) -> None:
        # Whether plain HTTP will do, as on this machine, is for the settings to say.
        super().__init__(request.method, f"https://host{request.path}", headers=request.headers)
        self.payload = _Payload(values)

    @property
    def form(self) -> MultiDict[str, str]:
        """The parameters."""
        found: MultiDict[str, str] = self.payload.data
        return found

    def once(self) -> Request:
        """The same, when no parameter stands twice."""
        if any(len(found) > 1 for name, found in self.form.lists() if name != "resource"):
            raise InvalidRequestError("A parameter stands twice.")
        return self


class Server(AuthorizationServer):  # type: ignore[misc]  # Authlib has no types
    """What Authlib leaves to the one who uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_client_auth_method("client_secret_basic", self._by_secret)
        self.register_client_auth_method("private_key_jwt", _Assertion())

    def query_client(self, client_id: str) -> Client | None:
        """The integration, unless it is suspended or revoked."""
        with guard.database().reading() as session:
            row = integrations.find_active(session, client_id)
            return None if row is None else Client(row, integrations.principal_of(session, row))

    def authenticate_client(
        self, asked: Request, methods: Sequence[str], endpoint: str = "token"
    ) -> Client:
        """Who calls; what is wrong with their credentials is not told.

        They show them in one way (RFC 6749 §2.3), and a `client_id` beside it is theirs (RFC 7521
        §4.2).
        """
        if "Authorization" in request.headers and not asked.form.keys().isdisjoint(_IN_THE_BODY):
            raise InvalidRequestError("Show your credentials in one way alone.")
        try:
            client: Client = super().authenticate_client(asked, methods, endpoint)
            if asked.form.get("client_id", client.row.id) != client.row.id:
                raise InvalidClientError
        except InvalidClientError:
            if "client_assertion" in asked.form:
                raise errors.SignInFailed("This assertion is not good, or was used.") from None
            raise errors.Unauthenticated(
                "Send your id and secret (HTTP Basic), or a signed assertion."
            ) from None
        return client

    def _by_secret(self, _query: Any, _asked: Request) -> Client | None:
        given = request.authorization
        if given is None or given.type != "basic":
            return None
        # Both are form-encoded before they are put together (RFC 6749 §2.3.1).
        name, secret = (unquote_plus(part or "") for part in (given.username, given.password))
        by = guard.known(name, secret)
        with guard.database().glancing() as session:
            row = integrations.find_active(session, by.id)
        return None if row is None else Client(row, by)

    def get_authorization_grant(self, asked: Request) -> Any:
        """What is asked of a person: a code, and nothing else."""
        try:
            return super().get_authorization_grant(asked)
        except UnsupportedResponseTypeError as error:
            error.description = "Send response_type=code: nothing else is supported."
            raise

    def get_token_grant(self, asked: Request) -> Any:
        """What kind of token is asked for; not to say so is another fault than a wrong word."""
        if not asked.payload.grant_type:
            raise InvalidRequestError("Send a grant_type.")
        return super().get_token_grant(asked)

    def create_oauth2_request(self, asked: Request) -> Request:
        """It is one already."""
        return asked

    def handle_response(
        self, status: int, body: dict[str, Any] | str, headers: list[tuple[str, str]]
    ) -> Response:
        """An answer as Flask sends it."""
        return Response(json.dumps(body) if isinstance(body, dict) else body, status, headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""
