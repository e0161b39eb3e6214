"""Demands: which factor a role, a client or a project asks of people, and who does not meet it."""

from govern.access.demand_table import Factor, FactorDemand, Kind
from govern.access.demands.acts import Over, begun, end, find, impose, over
from govern.access.demands.meeting import (
    COUNTED,
    SENTENCES,
    Coming,
    Demand,
    Numbers,
    Person,
    coming,
    listed,
    measured,
    numbers,
    unmet,
)
from govern.access.demands.owing import Owed, binding, of_roles, owed

__all__ = [
    "COUNTED",
    "SENTENCES",
    "Coming",
    "Demand",
    "Factor",
    "FactorDemand",
    "Kind",
    "Numbers",
    "Over",
    "Owed",
    "Person",
    "begun",
    "binding",
    "coming",
    "end",
    "find",
    "impose",
    "listed",
    "measured",
    "numbers",
    "of_roles",
    "over",
    "owed",
    "unmet",
]
