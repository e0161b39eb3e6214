"""The roster: people and their grants from a CSV file."""

from govern.access.roster.importing import load, people
from govern.access.roster.judge import COLUMNS, Outcome, Rejected

__all__ = ["COLUMNS", "Outcome", "Rejected", "load", "people"]
