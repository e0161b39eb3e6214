"""Who they are: subjects, how they sign in and by whom, sessions, roles, integrations, keys."""

from govern.identity import (
    account,
    activation,
    authenticators,
    federation,
    integrations,
    keys,
    passkeys,
    passwords,
    preferences,
    recovery,
    resets,
    roles,
    sessions,
    signed_in,
    subjects,
    throttle,
)

__all__ = [
    "account",
    "activation",
    "authenticators",
    "federation",
    "integrations",
    "keys",
    "passkeys",
    "passwords",
    "preferences",
    "recovery",
    "resets",
    "roles",
    "sessions",
    "signed_in",
    "subjects",
    "throttle",
]
