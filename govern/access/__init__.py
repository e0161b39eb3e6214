"""What may be done: projects, entitlements, grants, suspensions, requests, and the decision."""

from govern.access import (
    catalogue,
    clients,
    entitlements,
    evaluation,
    forwarding,
    grants,
    idempotency,
    modes,
    names,
    offboarding,
    paging,
    requests,
    roster,
    searching,
    standing,
    suspensions,
)

__all__ = [
    "catalogue",
    "clients",
    "entitlements",
    "evaluation",
    "forwarding",
    "grants",
    "idempotency",
    "modes",
    "names",
    "offboarding",
    "paging",
    "requests",
    "roster",
    "searching",
    "standing",
    "suspensions",
]
