"""Evidence packs: what an auditor of one client takes away, and checks years later without us."""

from govern.access.evidence.making import Summary, write

__all__ = ["Summary", "write"]
