"""The roster: people and their grants from a CSV file."""

from govern.access.roster.judge import COLUMNS, Outcome, Rejected
from govern.access.roster.load import load, people

__all__ = ["COLUMNS", "Outcome", "Rejected", "load", "people"]
