"""Integrations: other systems that ask; each has an id, a secret shown once, scopes and limits."""

from govern.identity.integrations.credentials import (
    Known,
    authenticate,
    authenticate_many,
    check_secret,
    find_active,
    principal_of,
    touch,
)
from govern.identity.integrations.guessing import wrong
from govern.identity.integrations.operations import (
    MOST_OVERLAP,
    OVERLAP,
    begin_act,
    change,
    create,
    find,
    record_act,
    resume,
    revoke,
    rotate,
    suspend,
    version,
)
from govern.identity.integrations.reading import Shown, listing, names, reaching, shown
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
    "Known",
    "LimitKind",
    "Registration",
    "Shown",
    "authenticate",
    "authenticate_many",
    "begin_act",
    "change",
    "check_secret",
    "create",
    "find",
    "find_active",
    "listing",
    "names",
    "principal_of",
    "reaching",
    "record_act",
    "resume",
    "revoke",
    "rotate",
    "shown",
    "suspend",
    "touch",
    "version",
    "wrong",
]
