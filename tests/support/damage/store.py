"""What whoever owns the databases can do to the logs, and what `govern log fsck` says of it."""

from __future__ import annotations

from tests.support.damage.kinds import Kind, copied
from tests.support.damage.state import STATE

OF = "WHERE log_id = :log AND seq ="
OPEN = "(SELECT id FROM suspension WHERE ended_at IS NULL)"


def _kind(name: str, *statements: str, finds: str, words: str) -> Kind:
    return Kind(name, statements, finds, words)


def _entry(change: str, place: str) -> str:
    return f"UPDATE log_entry SET {change} {OF} :{place}"


_ENTRY = "log_id seq at type actor subject_id project_id suspension_id leaf hash"
_CUT = "DELETE FROM log_entry WHERE log_id = :log AND seq >= :tail"

LOGS = (
    _kind("an entry is changed", _entry("leaf = :other_early", "early"),
          finds="entry", words="Entry {early} is not what was signed"),
    _kind("an entry is changed and hashed anew",
          _entry("leaf = :other_early, hash = :hash_other_early", "early"),
          finds="entry", words="Entry {early} is not what was signed: its tile shows it"),
    _kind("an entry is changed with every copy of its hash",
          _entry("leaf = :other_early, hash = :hash_other_early", "early"),
          "UPDATE log_tile SET hashes = :tile_other_early WHERE log_id = :log",
          finds="root", words="one or more are not what was signed"),
    _kind("an entry behind the last tile is changed and hashed anew",
          _entry("leaf = :other_behind, hash = :hash_other_behind", "behind"),
          finds="root", words="Of entries {step} to {final} one or more are not what was signed"),
    _kind("an entry that nobody signed yet is changed", _entry("leaf = hash", "last"),
          finds="leaf", words="Entry {last} is not canonical JSON"),
    _kind("an entry's end is cut off", _entry("leaf = :cut_leaf", "early"),
          finds="leaf", words="Entry {early} is not canonical JSON"),
    _kind("two entries change places",
          _entry("leaf = :leaf_next, hash = :hash_next", "early"),
          _entry("leaf = :leaf_early, hash = :hash_early", "next"),
          finds="place", words="Entry {next} says it is entry {early}"),
    _kind("an entry is removed", f"DELETE FROM log_entry {OF} :early",
          finds="missing", words="Entries {early} to {early} are missing"),
    _kind("the tail is cut off", _CUT,
          finds="tail", words="A checkpoint was signed of {signed} entries, and there are {tail}"),
    _kind("the tail is cut off with head and checkpoints", _CUT,
          "DELETE FROM log_checkpoint WHERE log_id = :log AND size > :tail",
          "UPDATE log SET size = :tail WHERE id = :log",
          finds="tail", words="The signer remembers {signed} entries, and there are {tail}"),
    _kind("a whole log is removed", "DELETE FROM log_entry WHERE log_id = :log",
          "DELETE FROM log WHERE id = :log", "DELETE FROM log_checkpoint WHERE log_id = :log",
          "DELETE FROM log_tile WHERE log_id = :log",
          finds="head", words="The log {log} has no head: it was removed"),
    _kind("an entry is doubled",
          copied("log_entry", _ENTRY, f"{OF} :last", seq="seq + 1"),
          finds="place", words="Entry {end} says it is entry {last}"),
    _kind("an entry is given another place", _entry("seq = :end", "early"),
          finds="missing", words="Entries {early} to {early} are missing"),
    _kind("an entry is put far behind", copied("log_entry", _ENTRY, f"{OF} :early", seq=":far"),
          finds="place", words="Entry {far} says it is entry {early}"),
    _kind("an entry goes to another log", copied("log_entry", _ENTRY, f"{OF} :early",
                                                  log_id=":rival", seq=":far"),
          finds="place", words="Entry {far} says it is entry {early} of '{log}'"),
    _kind("a type to search by is changed", _entry("type = 'grant.revoked'", "behind"),
          finds="column", words="The column type of entry {behind} is not what the entry says"),
    _kind("a person to search by is taken off", _entry("subject_id = NULL", "last"),
          finds="column", words="The column subject_id of entry {last}"),
    _kind("an instant to search by is changed",
          "UPDATE log_entry SET at = (SELECT min(at) FROM log_entry) "
          "WHERE log_id = :log AND seq = :behind",
          finds="column", words="Entry {behind} is of"),
    _kind("a hash beside an entry is changed", _entry("hash = :zeros", "early"),
          finds="hash", words="Entry {early} is what was signed, but its column hash says"),
    _kind("a byte of a tile is changed", "UPDATE log_tile SET hashes = :wrong_tile "
          "WHERE log_id = :log", finds="hash", words="Entry 0 is what was signed, but its tile"),
    _kind("a tile is truncated", "UPDATE log_tile SET hashes = :cut_tile WHERE log_id = :log",
          finds="tile", words="The tile 0 of level 0 is no tile"),
    _kind("a tile is removed", "DELETE FROM log_tile WHERE log_id = :log",
          finds="tile", words="The tile 0 of level 0 is missing"),
    _kind("a tile is put where none belongs",
          copied("log_tile", "log_id level number hashes", "WHERE log_id = :log", number="7"),
          finds="tile", words="The tile 7 of level 0 stands where none belongs"),
    _kind("a personal value is changed",
          f"UPDATE log_value SET value = 'other words' {OF} :value AND name = 'reason'",
          finds="value", words="Entry {value} commits to another “reason”"),
    _kind("the salt of a value is changed",
          f"UPDATE log_value SET salt = salt || 'x' {OF} :value AND name = 'reason'",
          finds="value", words="Entry {value} commits to another “reason”"),
    _kind("a value is removed", f"DELETE FROM log_value {OF} :value AND name = 'reason'",
          finds="value_missing", words="Entry {value} commits to “reason”, which is not there"),
    _kind("two values change places",
          f"UPDATE log_value SET seq = :far {OF} :value AND name = 'reason'",
          f"UPDATE log_value SET seq = :value {OF} :value_next AND name = 'reason'",
          finds="value", words="Entry {value} commits to another “reason”"),
    _kind("a value is put beside an entry that commits to none",
          f"UPDATE log_value SET name = 'note' {OF} :value AND name = 'reason'",
          finds="value", words="Entry {value} has a value “note” that it does not commit to"),
    _kind("a head says more", "UPDATE log SET size = size + 1 WHERE id = :log",
          finds="head", words="there are {end}"),
    _kind("a head says another instant", "UPDATE log SET last_at = NULL WHERE id = :log",
          finds="head", words="until None"),
    _kind("a log's name is changed", "UPDATE log SET origin = origin || 'x' WHERE id = :log",
          finds="checkpoint", words="is that of"),
    *(
        _kind(f"{name} goes to a log that there is not",
              f"UPDATE {table} SET log_id = 'cli_x' WHERE log_id = :log {which}",
              finds="head", words="The log cli_x has no head")
        for name, table, which in (
            ("a checkpoint", "log_checkpoint", "AND size = :signed"),
            ("a tile", "log_tile", ""),
            ("a value", "log_value", "AND seq = :value"),
        )
    ),
    _kind("a checkpoint is edited",
          "UPDATE log_checkpoint SET note = replace(note, '/logs/', '/lags/') WHERE log_id = :log",
          finds="checkpoint", words="The checkpoint of {signed} entries"),
    _kind("a checkpoint is that of another log",
          "UPDATE log_checkpoint SET note = (SELECT max(note) FROM log_checkpoint "
          "WHERE log_id = :rival) WHERE log_id = :log",
          finds="checkpoint", words="The checkpoint of {signed} entries is that of"),
    _kind("a foreign checkpoint", "UPDATE log_checkpoint SET note = :foreign "
          "WHERE log_id = :log AND size = :signed",
          finds="checkpoint", words="The checkpoint of {signed} entries"),
)  # fmt: skip

ROWS = (
    _kind("a decision's outcome is turned",
          "UPDATE access_row SET permit = NOT permit WHERE writer = :writer AND number = 1",
          finds="row", words="Row 1 of {writer} is not what was sealed"),
    _kind("who asked is changed",
          "UPDATE access_row SET principal = 'int_x' WHERE writer = :writer AND number = 1",
          finds="row", words="Row 1 of {writer} is not what was sealed"),
    _kind("a decision is removed",
          "DELETE FROM access_row WHERE writer = :writer AND number = 2",
          finds="missing", words="Row 2 of {writer}: missing"),
    _kind("a batch of decisions is dropped",
          "DELETE FROM access_row WHERE writer = :writer AND number < :batch",
          finds="missing", words="Rows 0 to {batch_end} of {writer}: missing"),
    _kind("a batch of decisions is dropped with its seal",
          "DELETE FROM access_row WHERE writer = :writer AND number < :batch",
          "DELETE FROM access_seal WHERE writer = :writer AND first = 0",
          finds="seal", words="their seal's salt is gone"),
    _kind("a decision is given another number",
          "UPDATE access_row SET number = -1 WHERE writer = :writer AND number = 1",
          finds="added", words="no writer begins below 0"),
    _kind("a decision is put behind a gap",
          "UPDATE access_row SET number = 900 WHERE writer = :writer AND number = 1",
          finds="gap", words="to 899 of {writer}: missing"),
    _kind("a seal's salt is changed", "UPDATE access_seal SET salt = :mark "
          "WHERE writer = :writer AND first = 0", finds="root", words="are not what entry"),
    _kind("a seal's size is changed", "UPDATE access_seal SET size = size + 1 "
          "WHERE writer = :writer AND first = 0", finds="seal", words="their seal is not that of"),
    _kind("a mark of a seal is changed", "UPDATE access_seal SET marks = :marks "
          "WHERE writer = :writer AND first = 0",
          finds="seal", words="Row 0 of {writer} is as it was sealed, but its mark is not"),
    _kind("a seal that no entry made",
          copied("access_seal", "writer first size salt marks until recorded_at",
                  "WHERE writer = :writer AND first = 0", first="7000"),
          finds="seal", words="1 seals are of no entry"),
    _kind("an expiry that nobody recorded",
          "INSERT INTO access_expiry (before) SELECT min(at) FROM access_row",
          finds="horizon", words="the log records no such expiry"),
)  # fmt: skip

KINDS = (*LOGS, *ROWS, *STATE)
