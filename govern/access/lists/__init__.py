"""Lists: each sort of thing, narrowed, ordered, paged by its key and taken out whole, in one way.

`LISTS` is the table of them all. Whoever is admitted to some clients alone sees of each list what
belongs to these.
"""

from govern.access.lists.engine import LOOKED_AT, Asked, List, conditions, export, keys, page
from govern.access.lists.firms import ORGANISATIONS
from govern.access.lists.given import GRANTS
from govern.access.lists.held import INTEGRATIONS, REQUESTS, SUSPENSIONS
from govern.access.lists.keeping import SavedFilter, drop, save, saved
from govern.access.lists.people import PEOPLE, ROLES
from govern.access.lists.places import CLIENTS, DATASETS, PROJECTS

LISTS: dict[str, List] = {
    one.name: one
    for one in (
        PEOPLE, GRANTS, CLIENTS, PROJECTS, DATASETS, ORGANISATIONS, ROLES, SUSPENSIONS, REQUESTS,
        INTEGRATIONS,
    )
}  # fmt: skip

__all__ = [
    "LISTS", "LOOKED_AT", "Asked", "List", "SavedFilter", "conditions", "drop", "export", "keys",
    "page", "save", "saved",
]  # fmt: skip
