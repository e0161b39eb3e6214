"""For other systems: ask govern before letting someone in, or check a token without asking.

Everything here fails closed: no answer, a late one or a strange one is a denial with the reason
`unavailable`, never an error that a caller could take for a permit. Only wrong use raises. It needs
`requests` and `joserfc`, and nothing else of govern.
"""

from govern.client.asgi import AsgiGuard
from govern.client.asking import UNAVAILABLE, Client, Decision, Question
from govern.client.tokens import Checked, Tokens
from govern.client.wsgi import WsgiGuard

__all__ = [
    "UNAVAILABLE",
    "AsgiGuard",
    "Checked",
    "Client",
    "Decision",
    "Question",
    "Tokens",
    "WsgiGuard",
]
