"""The promise that the database itself keeps: what is in a log stays as it is, whoever asks.

UPDATE, DELETE, TRUNCATE and an INSERT that would replace are refused, by triggers; a log's head
moves, and is never removed. Of a personal value salt and text may be emptied together, and nothing
else; of the access log those rows may go that are older than a horizon in `access_expiry`, which
itself only grows. On PostgreSQL the triggers fire for replication too (`ENABLE ALWAYS`); SQLite's
tables have no rowid that could be moved.

Whoever owns the database can drop triggers; that they are in place is checked by `missing`, and
what was done without them is found by `fsck` and by the auditor's copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Table → the columns of its key.
_KEPT: dict[str, dict[str, tuple[str, ...]]] = {
    "main": {
        "log_entry": ("log_id", "seq"),
        "log_checkpoint": ("log_id", "size"),
        "log_tile": ("log_id", "level", "number"),
    },
    "access": {"access_row": ("writer", "number"), "access_expiry": ("before",)},
}
_EXPIRED = "EXISTS (SELECT 1 FROM access_expiry WHERE before > OLD.at)"
_HEAD = "log"
_VALUE = "log_value"
_VALUE_KEY = ("log_id", "seq", "name")
_VALUE_KEPT = (*_VALUE_KEY, "about")

# pg_trigger.tgtype: for each row 1, before 2, on delete 8, on update 16, on truncate 32.
_ROW, _REMOVAL, _STATEMENT = 1 + 2 + 8 + 16, 1 + 2 + 8, 2 + 32
_WHEN = {
    _ROW: "UPDATE OR DELETE ON {} FOR EACH ROW",
    _REMOVAL: "DELETE ON {} FOR EACH ROW",
    _STATEMENT: "TRUNCATE ON {} FOR EACH STATEMENT",
}


def ddl(dialect: str, part: str) -> list[str]:
    """The statements that put the triggers of `part` (`main` or `access`) in place."""
    return list((_sqlite(part) if dialect == "sqlite" else _postgresql(part)).values())


def undo(dialect: str, part: str) -> list[str]:
    """The statements that take them away again, for a migration down."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER {name}" for name in _sqlite(part)]
    return [
        *(f"DROP TRIGGER {name} ON {table}" for name, (table, _, _) in _triggers(part).items()),
        *(f"DROP FUNCTION {name}()" for name in _functions(part)),
    ]


def missing(session: Session, part: str) -> list[str]:
    """Names of the triggers that are not in place exactly as `ddl` makes them, and firing."""
    if session.get_bind().dialect.name == "sqlite":
        found = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        present = {row.name: row.sql for row in found}
        return [name for name, sql in _sqlite(part).items() if present.get(name) != sql]
    found = session.execute(
        text(
            "SELECT t.tgname, c.relname, p.proname, p.prosrc, t.tgtype FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE pg_table_is_visible(c.oid) AND t.tgenabled = 'A' AND t.tgqual IS NULL "
            "AND t.tgattr = ''::int2vector"
        )
    )
    in_place = {row.tgname: tuple(row)[1:] for row in found}
    bodies = _functions(part)
    return [
        name
        for name, (table, function, kind) in _triggers(part).items()
        if in_place.get(name) != (table, function, bodies[function], kind)
    ]


# --- SQLite ------------------------------------------------------------------------------------


def _sqlite(part: str) -> dict[str, str]:
    made: dict[str, str] = {}
    for table, key in _KEPT[part].items():
        but = f"NOT {_EXPIRED}" if table == "access_row" else ""
        made |= _refuse(table, "UPDATE") | _refuse(table, "DELETE", but)
        made |= _refuse_replacing(table, key)
    if part == "main":
        kept = " AND ".join(f"NEW.{column} IS OLD.{column}" for column in _VALUE_KEPT)
        emptied = f"NEW.salt IS NULL AND NEW.value IS NULL AND {kept}"
        made |= _refuse(_VALUE, "UPDATE", f"NOT ({emptied})")
        made |= _refuse(_VALUE, "DELETE") | _refuse_replacing(_VALUE, _VALUE_KEY)
        made |= _refuse(_HEAD, "DELETE")
    return made


def _refuse(table: str, act: str, when: str = "") -> dict[str, str]:
    name = f"{table}_no_{act.lower()}"
    condition = f"WHEN {when} " if when else ""
    return {
        name: f"CREATE TRIGGER {name} BEFORE {act} ON {table} FOR EACH ROW {condition}"
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    }


def _refuse_replacing(table: str, key: tuple[str, ...]) -> dict[str, str]:
    # A replacing INSERT deletes without telling DELETE triggers, unless recursive_triggers is on.
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    taken = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - our own names
    return _refuse(table, "INSERT", taken)


# --- PostgreSQL --------------------------------------------------------------------------------

_RAISE = (
    "RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', "
    "MESSAGE = TG_TABLE_NAME || ' is append-only';"
)
_REFUSE = f"BEGIN {_RAISE} END"
_REFUSE_BUT_EMPTYING = (
    "BEGIN IF TG_OP = 'UPDATE' THEN "
    "IF NEW.salt IS NULL AND NEW.value IS NULL "
    "AND to_jsonb(NEW) - 'salt' - 'value' = to_jsonb(OLD) - 'salt' - 'value' "
    f"THEN RETURN NEW; END IF; END IF; {_RAISE} END"
)
_REFUSE_BUT_EXPIRED = (
    f"BEGIN IF TG_OP = 'DELETE' THEN IF {_EXPIRED} THEN RETURN OLD; END IF; END IF; {_RAISE} END"
)


def _functions(part: str) -> dict[str, str]:
    # Each part has its own, since both may live in one database and each migrates alone.
    if part == "main":
        return {"log_append_only": _REFUSE, "log_value_empty_only": _REFUSE_BUT_EMPTYING}
    return {"access_append_only": _REFUSE, "access_expired_only": _REFUSE_BUT_EXPIRED}


def _triggers(part: str) -> dict[str, tuple[str, str, int]]:
    """Trigger → its table, its function, and its kind as `pg_trigger.tgtype` has it."""
    refuse = next(iter(_functions(part)))
    tables = dict.fromkeys(_KEPT[part], refuse)
    if part == "main":
        tables[_VALUE] = "log_value_empty_only"
    else:
        tables["access_row"] = "access_expired_only"
    made = {
        f"{table}_no_{act}": (table, function, kind)
        for table, function in tables.items()
        for act, kind in (("change", _ROW), ("truncate", _STATEMENT))
    }
    if part == "main":
        made["log_no_delete"] = (_HEAD, refuse, _REMOVAL)
        made["log_no_truncate"] = (_HEAD, refuse, _STATEMENT)
    return made


def _postgresql(part: str) -> dict[str, str]:
    made = {
        name: f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $govern${body}$govern$"
        for name, body in _functions(part).items()
    }
    for name, (table, function, kind) in _triggers(part).items():
        when = _WHEN[kind].format(table)
        made[name] = f"CREATE TRIGGER {name} BEFORE {when} EXECUTE FUNCTION {function}()"
        made[f"{name} always"] = f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
    return made
