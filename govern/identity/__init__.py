"""Who they are: subjects, their authenticators and sessions, roles, and integrations."""

from govern.identity import (
    activation,
    authenticators,
    integrations,
    passwords,
    roles,
    sessions,
    subjects,
)

__all__ = [
    "activation",
    "authenticators",
    "integrations",
    "passwords",
    "roles",
    "sessions",
    "subjects",
]
