"""What whoever owns the databases can do to them, and what `govern log fsck` says of it."""

from __future__ import annotations

from dataclasses import dataclass

OF = "WHERE log_id = :log AND seq ="
OPEN = "(SELECT id FROM suspension WHERE ended_at IS NULL)"


@dataclass(frozen=True)
class Kind:
    """One kind of damage: `statements` do it; it is found as `finds`, in a sentence of `words`."""

    name: str
    statements: tuple[str, ...]
    finds: str
    words: str


def _kind(name: str, *statements: str, finds: str, words: str) -> Kind:
    return Kind(name, statements, finds, words)


def _entry(change: str, place: str) -> str:
    return f"UPDATE log_entry SET {change} {OF} :{place}"


def _copied(table: str, columns: str, where: str, **changed: str) -> str:
    """A statement that copies a row with some columns changed."""
    names = columns.split()
    chosen = ", ".join(changed.get(name, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table} {where}"


_ENTRY = "log_id seq at type actor subject_id project_id suspension_id leaf hash"
_GRANT = (
    "id subject_id entitlement_id client_id project_id dataset_id starts_at ends_at recorded_at "
    "ended_at"
)
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
          _copied("log_entry", _ENTRY, f"{OF} :last", seq="seq + 1"),
          finds="place", words="Entry {end} says it is entry {last}"),
    _kind("an entry is given another place", _entry("seq = :end", "early"),
          finds="missing", words="Entries {early} to {early} are missing"),
    _kind("an entry is put far behind", _copied("log_entry", _ENTRY, f"{OF} :early", seq=":far"),
          finds="place", words="Entry {far} says it is entry {early}"),
    _kind("an entry goes to another log", _copied("log_entry", _ENTRY, f"{OF} :early",
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
          _copied("log_tile", "log_id level number hashes", "WHERE log_id = :log", number="7"),
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
          _copied("access_seal", "writer first size salt marks until recorded_at",
                  "WHERE writer = :writer AND first = 0", first="7000"),
          finds="seal", words="1 seals are of no entry"),
    _kind("an expiry that nobody recorded",
          "INSERT INTO access_expiry (before) SELECT min(at) FROM access_row",
          finds="horizon", words="the log records no such expiry"),
)  # fmt: skip

STATE = (
    _kind("a grant's window is prolonged",
          "UPDATE access_grant SET starts_at = ends_at WHERE id = :grant",
          finds="state", words="The row of grant {grant} is not what was issued"),
    _kind("a grant's entitlement is changed",
          "UPDATE access_grant SET entitlement_id = :rook WHERE id = :grant",
          finds="state", words="The row of grant {grant} is not what was issued"),
    _kind("a grant goes to somebody else",
          "UPDATE access_grant SET subject_id = :stranger WHERE id = :grant",
          finds="state", words="The row of grant {grant} is not what was issued"),
    _kind("a grant over one dataset covers the project",
          "UPDATE access_grant SET dataset_id = NULL WHERE id = :on_data",
          finds="state", words="The row of grant {on_data} is not what was issued"),
    _kind("a grant goes to another client's project",
          "UPDATE access_grant SET client_id = :rival, project_id = :rook WHERE id = :grant",
          finds="state", words="The row of grant {grant} is not what was issued"),
    _kind("a grant that nobody issued",
          _copied("access_grant", _GRANT, "WHERE id = :grant", id="'grt_x'"),
          finds="state", words="Grant grt_x has a row, and no entry issued it"),
    _kind("a grant is removed", "DELETE FROM access_grant WHERE id = :grant",
          finds="state", words="Grant {grant} was issued, and has no row"),
    _kind("a revocation is undone",
          "UPDATE access_grant SET ended_at = NULL WHERE id = :revoked",
          finds="state", words="Grant {revoked} was revoked at"),
    _kind("a grant is ended without an entry",
          "UPDATE access_grant SET ended_at = ends_at WHERE id = :grant",
          finds="state", words="Grant {grant} is ended by its row, and by no entry"),
    _kind("one grant revived, another ended",
          "UPDATE access_grant SET ended_at = ends_at WHERE id = :grant",
          "UPDATE access_grant SET ended_at = NULL WHERE id = :revoked",
          finds="state", words="Grant {revoked} was revoked at"),
    _kind("a suspension is lifted without an entry",
          "UPDATE suspension SET ended_at = review_by WHERE id = :open",
          finds="state", words="by the log: never"),
    _kind("a suspension is revived", "UPDATE suspension SET ended_at = NULL WHERE id = :lifted",
          finds="state", words="Suspension {lifted} ended by its row: never"),
    _kind("a suspension is removed", "DELETE FROM suspension WHERE id = :open",
          finds="state", words="Suspension {open} was recorded, and has no row"),
    _kind("a suspension's reason is changed",
          "UPDATE suspension SET reason = 'legal' WHERE id = :open",
          finds="state", words="The row of suspension {open} is not what was recorded"),
    _kind("a mode is weakened",
          "UPDATE suspension_mode SET mode = 'read_only' WHERE suspension_id = :open",
          finds="state", words="The mode read_only of {open} is in no entry"),
    _kind("a mode is removed", "DELETE FROM suspension_mode WHERE suspension_id = :lifted",
          finds="state", words="The mode paused of {lifted} was recorded, and has no row"),
    _kind("a suspension covers somebody else",
          "UPDATE suspension_target SET target_id = :stranger WHERE suspension_id = :open",
          finds="state", words="What {open} covers by its rows is not what its entries say"),
    _kind("a suspension covers nothing any more",
          "DELETE FROM suspension_target WHERE suspension_id = :open",
          finds="state", words="What {open} covers by its rows is not what its entries say"),
    _kind("a person is taken off a list",
          "DELETE FROM people_list_item WHERE subject_id = :listed",
          finds="state", words="The people of the list {list} are not those of its digest"),
    _kind("a person on a list is exchanged",
          "UPDATE people_list_item SET subject_id = :stranger WHERE subject_id = :listed",
          finds="state", words="The people of the list {list} are not those of its digest"),
    _kind("a list has another digest", "UPDATE people_list SET digest = 'x' WHERE id = :list",
          finds="state", words="The list {list} is not the one that the log names"),
    _kind("a role is raised", "UPDATE role_assignment SET role = 'admin' WHERE id = :role",
          finds="state", words="The row of role {role} is not what was recorded"),
    _kind("a role that nobody gave",
          _copied("role_assignment", "id subject_id role client_id ends_at assigned_by recorded_at "
                  "ended_at", "WHERE id = :role", id="'rol_x'"),
          finds="state", words="Role rol_x has a row, and no entry made it"),
    _kind("a demand is ended without an entry",
          "UPDATE factor_demand SET ended_at = recorded_at WHERE id = :demand",
          finds="state", words="by the log: never"),
    _kind("a demand is removed", "DELETE FROM factor_demand WHERE id = :demand",
          finds="state", words="Demand {demand} was recorded, and has no row"),
    _kind("a role over one client is over all",
          "UPDATE role_assignment SET client_id = NULL WHERE id = :role",
          finds="state", words="A role, id {role}, subject_id"),
    _kind("a role outlasts its end",
          "UPDATE role_assignment SET ends_at = recorded_at WHERE id = :role",
          finds="state", words="A role, id {role}, subject_id"),
    _kind("a role goes to somebody else",
          "UPDATE role_assignment SET subject_id = :stranger WHERE id = :role",
          finds="state", words="A role, id {role}, subject_id {stranger}"),
    _kind("a demand begins later",
          "UPDATE factor_demand SET starts_at = recorded_at WHERE id = :demand",
          finds="state", words="A demand, id {demand}"),
    _kind("a mode counts for longer", "UPDATE suspension_mode SET recorded_at = "
          "(SELECT min(recorded_at) FROM client) WHERE suspension_id = :lifted",
          finds="state", words="A mode, suspension_id {lifted}, mode paused"),
    _kind("a second mode stands beside one",
          _copied("suspension_mode", "id suspension_id mode recorded_at ended_at",
                  "WHERE suspension_id = :open", id="'mod_x'"),
          finds="state", words="A mode, suspension_id {open}, mode paused"),
    _kind("a part of a suspension is narrowed out without an entry",
          "UPDATE suspension_target SET ended_at = recorded_at WHERE suspension_id = :open",
          finds="state", words="A target, suspension_id {open}, kind"),
    _kind("somebody is let out without an entry",
          "UPDATE suspension_release SET target_id = :stranger WHERE suspension_id = :open",
          finds="state",
          words="A release, suspension_id {open}, kind subject, target_id {stranger}"),
    _kind("a release is removed", "DELETE FROM suspension_release WHERE suspension_id = :open",
          finds="state", words="so it was recorded, and no row says so"),
    _kind("a review is put off without an entry",
          "UPDATE suspension SET review_by = recorded_at WHERE id = :open",
          finds="state", words="A suspension, id {open}, review_by"),
    _kind("a cut-off of hours is put in",
          "UPDATE suspension SET hours_until = recorded_at WHERE id = :lifted",
          finds="state", words="A suspension, id {lifted}, hours_until"),
    _kind("a notice promises another time",
          "UPDATE suspension_notice SET next_update_by = recorded_at WHERE id = :notice",
          finds="state", words="A notice, id {notice}"),
    _kind("a notice is removed", "DELETE FROM suspension_notice WHERE id = :notice",
          finds="state", words="A notice, id {notice}"),
    _kind("a person belongs elsewhere",
          "UPDATE membership SET organisation_id = 'org_x' WHERE subject_id = :stranger",
          finds="state", words="A membership, subject_id {stranger}, organisation_id org_x"),
    _kind("a move is undone", "UPDATE membership SET ended_at = NULL WHERE subject_id = :moved",
          finds="state", words="A membership, subject_id {moved}"),
    _kind("a person whom nobody registered",
          _copied("subject", "id external_id email full_name kind country expertise created_by "
                  "recorded_at ended_at", "WHERE id = :stranger", id="'sub_y'",
                  external_id="'Y'", email="'y@y.example'"),
          finds="state", words="people stand, and"),
    _kind("an entitlement means more than was said",
          "UPDATE entitlement_action SET action = 'own' "
          "WHERE entitlement_id = :annotator AND action = 'read'",
          finds="state", words="An action, entitlement_id {annotator}, action own"),
    _kind("an entitlement's past is changed",
          "UPDATE entitlement_action SET ended_at = NULL WHERE action = 'log_hours'",
          finds="state", words="An action, entitlement_id {annotator}, action log_hours"),
    _kind("a project that ended goes on", "UPDATE project SET ended_at = NULL WHERE id = :over",
          finds="state", words="A project, id {over}"),
    _kind("a client is ended without an entry",
          "UPDATE client SET ended_at = recorded_at WHERE id = :log",
          finds="state", words="A client, id {log}"),
    _kind("a project goes to another client",
          "UPDATE project SET client_id = :rival WHERE id = :over",
          finds="state", words="A project, id {over}, client_id {rival}"),
    _kind("a dataset goes to another project",
          "UPDATE dataset SET project_id = :rook WHERE code = 'kingfisher-audio'",
          finds="state", words="A dataset, id"),
)  # fmt: skip

KINDS = (*LOGS, *ROWS, *STATE)
