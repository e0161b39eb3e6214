"""Statements that are compiled once and sent by the driver.

`Prepared` takes many rows of parameters at once, for what is asked thousands of times a second;
`Kept` is for what is sent while others wait for a lock. SQLAlchemy builds them and keeps the pool,
and neither stands between a question and the database any more.
"""

from govern.prepared.asked import Prepared
from govern.prepared.kept import Keeping, Kept
from govern.prepared.sending import stream, walk

__all__ = ["Keeping", "Kept", "Prepared", "stream", "walk"]
