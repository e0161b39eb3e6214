"""Entries and rows of the access log as OCSF 1.8.0 events, for a SIEM: one table says as which.

`metadata.uid` is the entry's log and place, or the id by which a row is known outside, the same in
every export and stream; `raw_data` is the exact leaf, so that each event leads to what was signed.
The last event of an export is its manifest, which is signed: by it nothing in the file was changed.
An event alone is no proof: exports as JSON Lines or CSV prove each entry's place.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any

from govern import clock
from govern.audit import leaf, lines
from govern.audit.events import SENTENCES, EventType
from govern.tlog import merkle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from govern.audit.searching import Row

VERSION = "1.8.0"
_ACCOUNT, _AUTHENTICATION, _ENTITY, _PRIVILEGES, _API = 3001, 3002, 3004, 3005, 6003
_OTHER = 99
_CREATE, _READ, _UPDATE, _DELETE, _SUSPEND, _RESUME = 1, 2, 3, 4, 12, 13

# (class, activity) of each type; of a type that is not here: some other change of an entity.
TABLE: dict[str, tuple[int, int]] = {
    EventType.SUBJECT_REGISTERED: (_ACCOUNT, 1),
    EventType.SUBJECT_CHANGED: (_ACCOUNT, _OTHER),
    EventType.SUBJECT_MOVED: (_ACCOUNT, _OTHER),
    EventType.SUBJECT_OFFBOARDED: (_ACCOUNT, 5),
    EventType.ACTIVATION_ISSUED: (_ACCOUNT, _OTHER),
    EventType.PASSWORD_SET: (_ACCOUNT, 3),
    EventType.TOTP_ENROLLED: (_ACCOUNT, 10),
    EventType.PASSKEY_ENROLLED: (_ACCOUNT, 10),
    EventType.RECOVERY_CODES_ISSUED: (_ACCOUNT, 10),
    EventType.AUTHENTICATOR_RENAMED: (_ACCOUNT, _OTHER),
    EventType.AUTHENTICATOR_REMOVED: (_ACCOUNT, 11),
    EventType.AUTHENTICATOR_DISABLED: (_ACCOUNT, 9),
    EventType.RECOVERY_CODES_REMOVED: (_ACCOUNT, 11),
    EventType.RECOVERY_CODE_USED: (_ACCOUNT, _OTHER),
    EventType.RESET_COMPLETED: (_ACCOUNT, 4),
    EventType.IDENTITY_OFFERED: (_ACCOUNT, _OTHER),
    EventType.IDENTITY_LINKED: (_ACCOUNT, 10),
    EventType.IDENTITY_UNLINKED: (_ACCOUNT, 11),
    EventType.SESSION_OPENED: (_AUTHENTICATION, 1),
    EventType.SIGN_IN_FAILED: (_AUTHENTICATION, 1),
    EventType.SESSION_ENDED: (_AUTHENTICATION, 2),
    EventType.ROLE_ASSIGNED: (_PRIVILEGES, 1),
    EventType.ROLE_WITHDRAWN: (_PRIVILEGES, 2),
    EventType.GRANT_ISSUED: (_PRIVILEGES, 1),
    EventType.GRANT_REVOKED: (_PRIVILEGES, 2),
    EventType.GRANT_SUSPENDED: (_ENTITY, _SUSPEND),
    EventType.GRANT_REVIEW_REQUIRED: (_ENTITY, _UPDATE),
    EventType.GRANT_RESUMED: (_ENTITY, _RESUME),
    EventType.SUSPENSION_OPENED: (_ENTITY, _SUSPEND),
    EventType.SUSPENSION_LIFTED: (_ENTITY, _RESUME),
    EventType.SUSPENSION_RELEASED: (_ENTITY, _RESUME),
    EventType.SUSPENSION_NARROWED: (_ENTITY, _RESUME),
    EventType.SUSPENSION_MODE_CHANGED: (_ENTITY, _UPDATE),
    EventType.SUSPENSION_AMENDED: (_ENTITY, _UPDATE),
    EventType.INTEGRATION_SUSPENDED: (_ENTITY, _SUSPEND),
    EventType.INTEGRATION_RESUMED: (_ENTITY, _RESUME),
    EventType.INTEGRATION_REVOKED: (_ENTITY, _DELETE),
    EventType.INTEGRATION_CHANGED: (_ENTITY, _UPDATE),
    EventType.INTEGRATION_ROTATED: (_ENTITY, _UPDATE),
    EventType.INTEGRATION_RULES_SET: (_ENTITY, _UPDATE),
    EventType.INTEGRATION_CREATED: (_ENTITY, _CREATE),
    EventType.CLIENT_CREATED: (_ENTITY, _CREATE),
    EventType.PROJECT_CREATED: (_ENTITY, _CREATE),
    EventType.DATASET_CREATED: (_ENTITY, _CREATE),
    EventType.PROVIDER_CREATED: (_ENTITY, _CREATE),
    EventType.WITNESS_ADDED: (_ENTITY, _CREATE),
    EventType.REQUEST_OPENED: (_ENTITY, _CREATE),
    EventType.ENTITLEMENT_DEFINED: (_ENTITY, _UPDATE),
    EventType.HOUSE_TOLD: (_ENTITY, _UPDATE),
    EventType.CLIENT_ENDED: (_ENTITY, _DELETE),
    EventType.PROJECT_ENDED: (_ENTITY, _DELETE),
    EventType.PROVIDER_ENDED: (_ENTITY, _DELETE),
    EventType.WITNESS_ENDED: (_ENTITY, _DELETE),
}
_SENTENCES = {str(event): sentence for event, sentence in SENTENCES.items()}
_FAILED = {EventType.SIGN_IN_FAILED, EventType.AUTHENTICATOR_DISABLED}
_KINDS = (
    "grant", "suspension", "request", "integration", "dataset", "project", "subject", "client",
)  # fmt: skip


def entry(seq: int, body: bytes, values: Mapping[str, Any] | None = None) -> bytes:
    """One entry, by its exact leaf, and its values as an export has them, as a line of JSON."""
    fields = leaf.parse(body) or {}
    log, told = str(fields.get("log", "")), str(fields.get("type", "unknown"))
    refs = fields["refs"] if isinstance(fields.get("refs"), dict) else {}
    data = fields["data"] if isinstance(fields.get("data"), dict) else {}
    kind, activity = TABLE.get(told, (_ENTITY, _OTHER))
    opened = {name: pair and pair[1] for name, pair in (values or {}).items()}
    event = {
        **_event(kind, activity, told, _millis(str(fields.get("time", "")))),
        "actor": _actor(str(fields.get("actor", "unknown")), fields.get("session")),
        "message": _SENTENCES.get(told, told),
        "metadata": _metadata(log, f"{log}/{seq}", told, tenant=refs.get("client"))
        | {"sequence": seq},
        "raw_data": body.decode(errors="replace"),
        "status_id": 2 if told in _FAILED else 1,
        "unmapped": {"data": data, "refs": refs, "values": opened, "leaf_hash": _hash(body)},
    }
    if kind == _ENTITY:
        event["entity"] = _entity(refs, data, log)
    else:
        event["user"] = _user(refs.get("subject"))
    if kind == _AUTHENTICATION:
        event["service"] = {"name": "govern"}
    if kind == _PRIVILEGES:
        event["privileges"] = [str(data.get("entitlement") or data.get("role") or "as granted")]
        event["resources"] = [
            {"type": name, "uid": str(refs[name])}
            for name in ("client", "project", "dataset")
            if refs.get(name)
        ]
    return leaf.canonical(event) + b"\n"


def access_row(row: Row, uid: str) -> bytes:
    """One row of the access log as a line of JSON, by the id that outsiders know it by."""
    told = {name: value for name, value in (
        ("action", row.action), ("reason", row.reason), ("as_of", row.as_of),
        ("subject", row.subject_id), ("detail", row.detail),
    ) if value}  # fmt: skip
    event: dict[str, Any] = {
        **_event(_API, _READ, str(row.kind), clock.micros(row.at) // 1000),
        "actor": _actor(row.principal, row.session_id),
        "api": {"operation": str(row.kind), "request": {"uid": uid}},
        "metadata": _metadata("access", uid, str(row.kind), tenant=row.client_id),
        "src_endpoint": {"uid": row.principal},
        "status_id": 2 if row.permit is False or row.kind == "refusal" else 1,
        "unmapped": told,
    }
    if row.reason:
        event["status_detail"] = row.reason
    if row.resource_id:
        event["resources"] = [{"uid": row.resource_id}]
    return leaf.canonical(event) + b"\n"


def _event(kind: int, activity: int, told: str, at: int) -> dict[str, Any]:
    return {
        "activity_id": activity, "activity_name": told, "category_uid": kind // 1000,
        "class_uid": kind, "type_uid": kind * 100 + activity, "severity_id": 1, "time": at,
    }  # fmt: skip


def _metadata(log: str, uid: str, code: str, *, tenant: object) -> dict[str, Any]:
    made = {
        "event_code": code, "log_name": log, "product": {"name": "govern"}, "uid": uid,
        "version": VERSION,
    }  # fmt: skip
    return made | ({"tenant_uid": str(tenant)} if tenant else {})


def _actor(actor: str, session: object) -> dict[str, Any]:
    if actor == "system" or actor.startswith("int_"):
        made: dict[str, Any] = {"app_uid": actor}
    else:
        made = {"user": {"uid": actor}}
    return made | ({"session": {"uid": str(session)}} if session else {})


def _user(subject: object) -> dict[str, Any]:
    return {"uid": str(subject)} if subject else {"name": "unknown", "type_id": 0}


def _entity(refs: dict[str, Any], data: dict[str, Any], log: str) -> dict[str, Any]:
    """What it is about: the one target of a suspension, else the nearest of what is referred to."""
    match data.get("targets"):
        case [{"kind": str(kind), "id": str(uid)}]:
            return _managed(kind, uid)
    for kind in (*_KINDS, *refs):
        if refs.get(kind):
            return _managed(kind, str(refs[kind]))
    return _managed("log", log)


def _managed(kind: str, uid: str) -> dict[str, Any]:
    if kind == "subject":
        return {"type": "User", "type_id": 2, "uid": uid, "user": {"uid": uid}}
    return {"type": kind.capitalize(), "type_id": _OTHER, "uid": uid}


def _millis(time: str) -> int:
    try:
        return clock.micros(datetime.fromisoformat(time)) // 1000
    except (ValueError, TypeError):
        return 0


def _hash(body: bytes) -> str:
    return b64encode(merkle.leaf_hash(body)).decode()


def to_line(line: bytes) -> bytes:
    """A line of an export as an event; nothing of what is no entry."""
    parts = lines.ENTRY.fullmatch(line)
    if parts is None:
        return b""
    seq, _digest, values, body = parts.groups()
    return entry(int(seq), body, json.loads(values) if values else None)
