"""The database: types, engines, and `transaction()`, the one place that commits.

Two databases share one code: SQLite (WAL, one writer, `BEGIN IMMEDIATE`) and PostgreSQL (READ
COMMITTED; the heads of the logs serialise what must be serial). The access log is a database of
its own on SQLite, so that decisions never make a pause wait; on PostgreSQL it is the same one.

`tables` is what tables are made of, `engines` how each kind of connection behaves, `work` the unit
of work and its commit, `many` the statements that carry many rows or several questions, `planning`
what SQLite is to know of how much there is.
"""

from govern.db.engines import is_transient, planned_once, written, written_at_once
from govern.db.many import (
    Inquiry,
    among_few,
    both,
    insert_if_absent,
    insert_many,
    insert_rows,
    listed,
    listing,
    together,
)
from govern.db.planning import Planning
from govern.db.tables import (
    PERSONAL,
    AccessBase,
    Audited,
    Base,
    Code,
    Id,
    Instant,
    id_at,
    new_id,
    references,
    text_column,
)
from govern.db.work import Again, Beforehand, Database, Session, hold

__all__ = [
    "PERSONAL",
    "AccessBase",
    "Again",
    "Audited",
    "Base",
    "Beforehand",
    "Code",
    "Database",
    "Id",
    "Inquiry",
    "Instant",
    "Planning",
    "Session",
    "among_few",
    "both",
    "hold",
    "id_at",
    "insert_if_absent",
    "insert_many",
    "insert_rows",
    "is_transient",
    "listed",
    "listing",
    "new_id",
    "planned_once",
    "references",
    "text_column",
    "together",
    "written",
    "written_at_once",
]
