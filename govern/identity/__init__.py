"""Who they are: subjects, their authenticators and sessions, roles, integrations, keys."""

from govern.identity import (
    account,
    activation,
    authenticators,
    integrations,
    keys,
    passkeys,
    passwords,
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
    "integrations",
    "keys",
    "passkeys",
    "passwords",
    "roles",
    "sessions",
    "signed_in",
    "subjects",
    "throttle",
]
