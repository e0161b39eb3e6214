"""Acts over a whole list: seen in numbers, ordered once, and then done to each in turn.

What is done is done to those who were shown and to nobody else: the set is taken down by the very
query that the preview counted, and an order whose digest is not the preview's is refused. Then each
is done by itself, in short transactions, each with its own entry in the log; one that has changed
meanwhile is passed over and counted, never overwritten.
"""

from govern.access.bulk.ordering import (
    Preview,
    find,
    forget,
    named,
    order,
    preview,
    recent,
    suspended_as,
    take_down,
)
from govern.access.bulk.table import ACTS, Act, BulkAct, BulkItem, acts_on
from govern.access.bulk.working import write

__all__ = [
    "ACTS", "Act", "BulkAct", "BulkItem", "Preview", "acts_on", "find", "forget", "named",
    "order", "preview", "recent", "suspended_as", "take_down", "write",
]  # fmt: skip
