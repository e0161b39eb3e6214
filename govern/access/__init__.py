"""What may be done: projects, entitlements, grants, suspensions, requests, and the decision."""

from govern.access import (
    clients,
    entitlements,
    evaluation,
    grants,
    modes,
    offboarding,
    requests,
    suspensions,
)

__all__ = [
    "clients",
    "entitlements",
    "evaluation",
    "grants",
    "modes",
    "offboarding",
    "requests",
    "suspensions",
]
