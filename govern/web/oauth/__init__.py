"""OAuth 2.0: how another system gets a token, has one checked, and takes one back."""

from govern.web.oauth.base import blueprint
from govern.web.oauth.documents import jwks

__all__ = ["blueprint", "jwks"]
