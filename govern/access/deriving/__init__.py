"""The present state, derived from the logs: what the tables say that no entry says is named."""

from govern.access.deriving.checking import check, differences

__all__ = ["check", "differences"]
