"""Holdings: who holds which grants, in lists to search and page; how each stands, the rule says.

Lists are paged by their keys. Whoever is admitted to some clients alone sees the people who hold or
held something there, and of those nothing that concerns other clients.
"""

from govern.access.holdings.exporting import export_grants, export_people
from govern.access.holdings.given import LOOKED_AT, SORTS, STATUSES, Holding, one, search
from govern.access.holdings.known import PAGE, PEOPLE_LOOKED_AT, Page
from govern.access.holdings.people import STATES, Person, organisations, people
from govern.access.holdings.profile import Profile, Role, person, profile

__all__ = [
    "LOOKED_AT", "PAGE", "PEOPLE_LOOKED_AT", "SORTS", "STATES", "STATUSES", "Holding", "Page",
    "Person", "Profile", "Role", "export_grants", "export_people", "one", "organisations",
    "people", "person", "profile", "search",
]  # fmt: skip
