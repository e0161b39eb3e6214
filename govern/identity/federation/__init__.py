"""Single sign-on: people come by their company's OpenID provider, whose word counts as proved.

Providers and links are data; identity is (issuer, sub) alone, never an address.
"""

from govern.identity.federation.flow import (
    LIFE,
    Arrival,
    Departure,
    arrive,
    depart,
    log_out,
    redirect_uri,
    renews,
)
from govern.identity.federation.links import (
    accept,
    changed_at,
    link,
    linked,
    number_linked,
    of_subject,
    offered_at,
    open_offer,
    renewing,
    unlink,
)
from govern.identity.federation.providers import (
    checked_issuer,
    create,
    end,
    find,
    in_use,
    listing,
    offered,
)
from govern.identity.federation.tables import (
    Assurance,
    IdentityLink,
    IdentityProvider,
    LinkOffer,
    Spent,
)
from govern.identity.federation.wire import metadata

__all__ = [
    "LIFE",
    "Arrival",
    "Assurance",
    "Departure",
    "IdentityLink",
    "IdentityProvider",
    "LinkOffer",
    "Spent",
    "accept",
    "arrive",
    "changed_at",
    "checked_issuer",
    "create",
    "depart",
    "end",
    "find",
    "in_use",
    "link",
    "linked",
    "listing",
    "log_out",
    "metadata",
    "number_linked",
    "of_subject",
    "offered",
    "offered_at",
    "open_offer",
    "redirect_uri",
    "renewing",
    "renews",
    "unlink",
]
