"""The public documents: where the endpoints are, and the keys by which tokens are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern.identity import keys
from govern.web import guard
from govern.web.oauth.base import blueprint, document

if TYPE_CHECKING:
    from flask import Response

KEEP = 60  # seconds; whoever meets a key that they do not know asks again at once


@blueprint.get("/oauth/jwks")
@guard.public
def jwks() -> Response:
    """Every key by which a token that still lives may be signed (RFC 7517)."""
    with guard.database().reading() as session:
        return document(keys.published(session), seconds=KEEP)
