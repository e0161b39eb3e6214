"""The roster: people and their grants from a CSV file."""

from govern.access.roster.importing import load, people, preview, rejected
from govern.access.roster.judge import COLUMNS, Outcome, Rejected
from govern.access.roster.previewing import Changed, Granted, Preview

__all__ = [
    "COLUMNS", "Changed", "Granted", "Outcome", "Preview", "Rejected", "load", "people", "preview",
    "rejected",
]  # fmt: skip
