"""Asking for access: what one may ask for, who approves it, and how a request ends by itself."""

from govern.access.asking.acts import (
    MOST_AT_ONCE,
    ask,
    ask_for,
    find_people,
    find_place,
    known_places,
    own,
    take_back,
)
from govern.access.asking.approving import Given, Tally, obstacle, shown, tally
from govern.access.asking.deriving import differences
from govern.access.asking.ends import Cause, tend
from govern.access.asking.policies import (
    DEFAULT,
    MOST_DAYS,
    MOST_NEEDED,
    ROLES,
    Over,
    Policy,
    end,
    inherited,
    listed,
    names_of,
    of_place,
    over,
    set_,
    waiting_under,
)
from govern.access.asking.policies import own as own_policy
from govern.access.asking.reading import NEWS, Asked, Wish, calling, held_there, mine, wishes
from govern.access.asking.tables import Kind, Pausing, RequestApproval, RequestPolicy

__all__ = [
    "DEFAULT",
    "MOST_AT_ONCE",
    "MOST_DAYS",
    "MOST_NEEDED",
    "NEWS",
    "ROLES",
    "Asked",
    "Cause",
    "Given",
    "Kind",
    "Over",
    "Pausing",
    "Policy",
    "RequestApproval",
    "RequestPolicy",
    "Tally",
    "Wish",
    "ask",
    "ask_for",
    "calling",
    "differences",
    "end",
    "find_people",
    "find_place",
    "held_there",
    "inherited",
    "known_places",
    "listed",
    "mine",
    "names_of",
    "obstacle",
    "of_place",
    "over",
    "own",
    "own_policy",
    "set_",
    "shown",
    "take_back",
    "tally",
    "tend",
    "waiting_under",
    "wishes",
]
