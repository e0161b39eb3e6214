"""Sessions: rows on the server, named in the browser by a random token of which we keep the hash.

Every authentication, a fresh code included, makes a new session row and ends the one before; an
ended session never comes back. A session without a second factor may do nothing but show one. A
person has at most five sessions: a sixth sign-in ends the oldest.
"""

from govern.identity.sessions.ending import end, end_all, end_came_by, end_one
from govern.identity.sessions.keeping import HalfFilled, KeptForm, forget_lapsed, keep, kept
from govern.identity.sessions.opening import (
    authenticate,
    begin,
    begin_federated,
    begin_with_passkey,
    renew_federated,
    show_factor,
    show_passkey,
)
from govern.identity.sessions.resuming import Caller, living, resume, touch
from govern.identity.sessions.tables import (
    HALF_WAY,
    LIMITS,
    LONGEST,
    MOST,
    CameBy,
    WebSession,
)

__all__ = [
    "HALF_WAY",
    "LIMITS",
    "LONGEST",
    "MOST",
    "Caller",
    "CameBy",
    "HalfFilled",
    "KeptForm",
    "WebSession",
    "authenticate",
    "begin",
    "begin_federated",
    "begin_with_passkey",
    "end",
    "end_all",
    "end_came_by",
    "end_one",
    "forget_lapsed",
    "keep",
    "kept",
    "living",
    "renew_federated",
    "resume",
    "show_factor",
    "show_passkey",
    "touch",
]
