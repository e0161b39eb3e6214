"""Integrations: other systems that ask; each has an id, a secret shown once, scopes and limits."""

from govern.identity.integrations.credentials import (
    authenticate,
    check_secret,
    find_active,
    principal_of,
    touch,
)
from govern.identity.integrations.operations import (
    MOST_OVERLAP,
    OVERLAP,
    change,
    create,
    find,
    resume,
    revoke,
    rotate,
    suspend,
)
from govern.identity.integrations.reading import Shown, listing, shown
from govern.identity.integrations.registration import Registration
from govern.identity.integrations.tables import (
    SCOPES,
    Integration,
    IntegrationLimit,
    IntegrationSecret,
    LimitKind,
)

__all__ = [
    "MOST_OVERLAP",
    "OVERLAP",
    "SCOPES",
    "Integration",
    "IntegrationLimit",
    "IntegrationSecret",
    "LimitKind",
    "Registration",
    "Shown",
    "authenticate",
    "change",
    "check_secret",
    "create",
    "find",
    "find_active",
    "listing",
    "principal_of",
    "resume",
    "revoke",
    "rotate",
    "shown",
    "suspend",
    "touch",
]
