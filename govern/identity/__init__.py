"""Who they are: subjects, their authenticators and sessions, roles, and integrations."""

from govern.identity import (
    account,
    activation,
    authenticators,
    integrations,
    passwords,
    roles,
    sessions,
    subjects,
)

__all__ = [
    "account",
    "activation",
    "authenticators",
    "integrations",
    "passwords",
    "roles",
    "sessions",
    "subjects",
]
