"""The public documents: where the endpoints are, and by what tokens are checked offline."""

from __future__ import annotations

from flask import Response, abort, request

from govern.access import status_lists
from govern.identity import integrations, keys
from govern.web import guard
from govern.web.oauth import details
from govern.web.oauth.base import blueprint, document, kept
from govern.web.oauth.server import ALGORITHMS, METHODS

KEEP = 60  # seconds; whoever meets a key that they do not know asks again at once


@blueprint.get("/.well-known/oauth-authorization-server")
@guard.public
def metadata() -> Response:
    """Where to ask, and what is understood (RFC 8414 §2)."""
    base = guard.database().settings.public_url
    content = {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "jwks_uri": f"{base}/oauth/jwks",
        "scopes_supported": list(integrations.SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [details.TYPE],
        "status_list_aggregation_endpoint": f"{base}/status-lists",
    }
    for name, path in (
        ("token", "token"),
        ("introspection", "introspect"),
        ("revocation", "revoke"),
    ):
        content[f"{name}_endpoint"] = f"{base}/oauth/{path}"
        content[f"{name}_endpoint_auth_methods_supported"] = METHODS
        content[f"{name}_endpoint_auth_signing_alg_values_supported"] = ALGORITHMS
    return document(content, seconds=KEEP)


@blueprint.get("/oauth/jwks")
@guard.public
def jwks() -> Response:
    """Every key by which a token that still lives may be signed (RFC 7517)."""
    with guard.database().reading() as session:
        return document(keys.published(session), seconds=KEEP)


@blueprint.get("/status-lists")
@guard.public
def status_list_aggregation() -> Response:
    """Where all the status lists are (Token Status List §9)."""
    return document({"status_lists": status_lists.addresses(guard.database())}, seconds=KEEP)


@blueprint.get("/status-lists/<int:number>")
@guard.public
def status_list(number: int) -> Response:
    """A list as it is now (§8.1): whoever keeps it for its `ttl` does so on their own account."""
    if "time" in request.args:
        abort(501)  # §8.4: the past is not kept
    signed = status_lists.signed(guard.database(), number)
    return kept(Response(signed, content_type=f"application/{status_lists.TYPE}"), seconds=0)
