"""Suspensions as people see them: what each covers by name, how it stands, how far its record is.

Every reading is a few statements whatever it shows. Whoever is admitted to some clients alone sees
of a suspension only what it does to those, and nothing of one that leaves them untouched.
"""

from govern.access.suspensions.reading.choosing import chosen, released
from govern.access.suspensions.reading.found import INSIDE, Found, find, note
from govern.access.suspensions.reading.measuring import glance, measure
from govern.access.suspensions.reading.single import (
    Detail,
    Happened,
    Held,
    Released,
    detail,
    held,
    progress,
    releases,
    releases_of,
)
from govern.access.suspensions.reading.standings import (
    Progress,
    Standing,
    may_see,
    newest,
    open_ones,
    page,
    seen_by,
    strictest,
    titles,
)

__all__ = [
    "INSIDE",
    "Detail",
    "Found",
    "Happened",
    "Held",
    "Progress",
    "Released",
    "Standing",
    "chosen",
    "detail",
    "find",
    "glance",
    "held",
    "may_see",
    "measure",
    "newest",
    "note",
    "open_ones",
    "page",
    "progress",
    "released",
    "releases",
    "releases_of",
    "seen_by",
    "strictest",
    "titles",
]
