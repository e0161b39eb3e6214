"""The two ways to a token: an integration's own, and a tool's on behalf of a person.

Which rows stand behind them, and what a token permits, is for `access.tokens` to say.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import (
    AccessDeniedError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    grants,
)
from authlib.oauth2.rfc7636 import CodeChallenge

from govern import errors
from govern.access import tokens
from govern.web import guard
from govern.web.oauth import details
from govern.web.oauth.server import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from govern.access.tokens import AuthorizationCode, Offer, Token, Wanted
    from govern.db import Session
    from govern.web.oauth.server import Client, Request

    Answer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class OwnToken(grants.ClientCredentialsGrant):  # type: ignore[misc]  # Authlib has no types
    """By its own credentials an integration gets a token with scopes of its own."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def create_token_response(self) -> Answer:
        """The token, for govern itself unless another resource is named."""
        client: Client = self.request.client
        if "authorization_details" in self.request.form:
            raise details.InvalidDetails("Only a person gives access to a project.")
        here = guard.database().settings.public_url
        audience = details.resource(self.request, {here, *client.row.resources}) or here
        scope = " ".join(dict.fromkeys((self.request.payload.scope or client.row.scope).split()))
        try:
            token = guard.database().transaction(
                lambda session: tokens.own(session, scope=scope, audience=audience, by=client.by)
            )
        except errors.Forbidden:
            raise InvalidScopeError from None
        return _issued(token)


@dataclass(frozen=True)
class _Code:
    """A code as Authlib asks about it, and the resource that its token is for."""

    row: AuthorizationCode
    audience: str

    def get_redirect_uri(self) -> str:
        return self.row.redirect_uri


class ToolToken(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib has no types
    """By a code, which a person's consent gave it, a tool gets a token for one project."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    request: Request
    audience: str
    wanted: Wanted

    # --- a person is asked (RFC 6749 §4.1.1)

    @staticmethod
    def validate_authorization_redirect_uri(asked: Request, client: Client) -> str:
        """Where the answer goes: nowhere but to a registered address, which is always named."""
        address = asked.payload.redirect_uri
        if not address or not client.check_redirect_uri(address):
            raise InvalidRequestError("The redirect_uri is not registered for the client.")
        return str(address)

    def validate_authorization_request(self) -> str:
        """The address to send the answer to; what is wrong beyond it is told there."""
        redirect_uri: str = super().validate_authorization_request()
        client: Client = self.request.client
        try:
            self.request.once()
            self.audience, self.wanted = details.wanted(self.request, client.row.resources)
        except OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise
        return redirect_uri

    def offer(self) -> Offer:
        """What of it the person could give now."""
        with self._refusals(), guard.database().reading() as session:
            return tokens.offer(session, self.request.client.row, self.wanted, by=guard.principal())

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What cannot be given is told to the tool; that a code is too old, to the person."""
        try:
            yield
        except errors.FreshFactorRequired:
            raise
        except errors.Forbidden:
            raise AccessDeniedError(redirect_uri=self.redirect_uri) from None
        except errors.Invalid:
            raise details.InvalidDetails(
                "There is no such project, dataset or action.", redirect_uri=self.redirect_uri
            ) from None

    def generate_authorization_code(self) -> str:
        """Give the tool access, and put that on record before the code leaves."""
        database, by = guard.database(), guard.principal()
        challenge = self.request.form["code_challenge"]

        def give(session: Session) -> tuple[str, Token]:
            return tokens.authorize(
                session, self.request.client.row, self.wanted, audience=self.audience,
                redirect_uri=self.redirect_uri, challenge=challenge, by=by,
            )  # fmt: skip

        with self._refusals():
            code, token = database.transaction(give)
        tokens.consented(database, token, by=by)
        return code

    def save_authorization_code(self, code: str, asked: Request) -> None:
        """It was kept when it was made."""

    # --- the tool fetches its token (RFC 6749 §4.1.3)

    def query_authorization_code(self, code: str, client: Client) -> _Code | None:
        """The code, if it is the client's; used or not."""
        with guard.database().reading() as session:
            row = tokens.find_code(session, code, client.row)
            if row is None:
                return None
            return _Code(row, session.get_one(tokens.Token, row.token_id).audience)

    def create_token_response(self) -> Answer:
        """The token, if the code still counts."""
        code: _Code = self.request.authorization_code
        if "authorization_details" in self.request.form:
            raise details.InvalidDetails("What the token permits was settled by the person.")
        details.resource(self.request, {code.audience})
        token = guard.database().transaction(lambda session: tokens.redeem(session, code.row))
        if token is None:
            raise InvalidGrantError("This code counts no more.")
        return _issued(token)


class Proof(CodeChallenge):  # type: ignore[misc]  # Authlib has no types
    """That who fetches a token is who asked for it (RFC 7636): always, and by S256 alone."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: ToolToken, redirect_uri: str) -> None:
        """Before a person is asked."""
        form = grant.request.form
        if form.get("code_challenge_method") != "S256" or not form.get("code_challenge"):
            raise InvalidRequestError("Send a code_challenge, with the method S256.")
        super().validate_code_challenge(grant, redirect_uri)

    def get_authorization_code_challenge(self, code: _Code) -> str:
        """What was sent then."""
        return code.row.challenge

    def get_authorization_code_challenge_method(self, code: _Code) -> str:  # noqa: ARG002 - Authlib's own
        """There is one."""
        return "S256"


def _issued(token: Token) -> Answer:
    """A token as it leaves (RFC 6749 §5.1), which is on record by then."""
    signed, found = tokens.written(guard.database(), token)
    body: dict[str, Any] = {
        "access_token": signed,
        "token_type": "Bearer",
        "expires_in": int(found.expires_at.timestamp()) - int(found.issued_at.timestamp()),
    }
    if found.scope is not None:
        body["scope"] = found.scope
    else:
        body["authorization_details"] = [tokens.details(found)]
    return 200, body, grants.BaseGrant.TOKEN_RESPONSE_HEADER
