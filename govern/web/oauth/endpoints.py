"""What programs call: to get a token, to ask whether one is good, to give one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import request

from govern import errors
from govern.access import tokens
from govern.web import guard
from govern.web.oauth.base import blueprint
from govern.web.oauth.granting import OwnToken, Proof, ToolToken
from govern.web.oauth.server import METHODS, Request, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response

    from govern.access.tokens import Usable
    from govern.web.oauth.server import Client


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # Authlib has no types
    """Whether a token is good for the one who asks (RFC 7662): the one rule says."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, asked: Request, client: Client) -> Usable | None:
        return tokens.check(guard.database(), _token(asked), by=client.by)

    def create_introspection_payload(self, token: Usable | None) -> dict[str, Any]:
        if token is None:
            return {"active": False}  # and no word of why (§2.2)
        return {
            "active": True,
            "token_type": "Bearer",
            **tokens.claims(guard.database(), token),
        }


class _Revocation(RevocationEndpoint):  # type: ignore[misc]  # Authlib has no types
    """Takes a token back from whoever it was issued to (RFC 7009); an unknown one is no error."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, asked: Request, client: Client) -> None:
        try:
            tokens.revoke(guard.database(), _token(asked), by=client.by)
        except errors.Forbidden:
            raise InvalidGrantError("The token was issued to another client.") from None


def _token(asked: Request) -> str:
    """The token that is asked about; what kind its bearer takes it for does not matter."""
    found: str | None = asked.form.get("token")
    if not found:
        raise InvalidRequestError("Send a token.")
    return found


server = Server()
server.register_grant(OwnToken)
server.register_grant(ToolToken, [Proof()])
server.register_endpoint(_Introspection)
server.register_endpoint(_Revocation)


@blueprint.post("/oauth/token")
@guard.credentials
def token() -> Response:
    """Get a token (RFC 6749 §3.2)."""
    return _answered(server.create_token_response)


@blueprint.post("/oauth/introspect")
@guard.credentials
def introspect() -> Response:
    """Ask whether a token is good (RFC 7662 §2)."""
    return _answered(lambda asked: server.create_endpoint_response("introspection", asked))


@blueprint.post("/oauth/revoke")
@guard.credentials
def revoke() -> Response:
    """Give a token back (RFC 7009 §2)."""
    return _answered(lambda asked: server.create_endpoint_response("revocation", asked))


def _answered(answer: Callable[[Request], Response]) -> Response:
    asked = Request(request.form)
    try:
        return answer(asked.once())
    except OAuth2Error as error:
        return server.handle_error_response(asked, error)  # type: ignore[no-any-return]  # no types
