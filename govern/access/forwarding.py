"""Forward-auth rules: what a request to a proxy means, as an action on a project or dataset.

A proxy's rules are walked in order; the first that fits says what is asked, and where none fits
nothing is allowed. Host, method and path are judged as whoever stands behind the proxy could read
them: a path that has two readings (an encoded slash, dots, an empty part) has none here.

The parts of a rule's path are regular expressions of a kind that cannot be slow: repeats stand on
single characters, and there are few of them (else a user's path could hold the server up).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from govern import errors
from govern.access import clients
from govern.audit import EventType
from govern.clock import Utc
from govern.db import Audited, Base, Id, references
from govern.identity import integrations

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

    from govern.db import Session
    from govern.identity.integrations import Integration
    from govern.principal import Principal

MOST_RULES = 500
LONGEST_URI = 4096
LONGEST_PART = 255
MOST_REPEATS = 2  # in one part of a path
REST = "**"

_TOKEN = re.compile(
    r"(?P<atom>[^\\^$*+?{}\[\]()|]|\\[dDwWsS]|\\[^A-Za-z0-9]|\[\^?(?:[^\[\]\\]|\\[^A-Z0-9])+\])"
    r"|(?P<repeat>[*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})"
    r"|(?P<group>\(\?P<[a-z][a-z0-9_]*>|\(\?:|\)|\|)",
    re.ASCII,
)
_RESOURCE = re.compile(r"(project|dataset):(.+)")
_GROUP = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::[0-9]{1,5})?", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

Host = Annotated[str, StringConstraints(max_length=255)]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ForwardRules(Audited, Base):
    """A proxy's rules, as the one JSON text that was checked."""

    __tablename__ = "forward_rules"

    integration_id: Mapped[Id] = mapped_column(references("integration.id"), primary_key=True)
    document: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(Utc())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request means."""

    action: str
    kind: str
    code: str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Rule(_Strict):
    """Requests of these methods, to this host, under this path: that action on that resource.

    Between its slashes the path has a regular expression for each part; a last part `**` is any
    rest. `resource` is `project:CODE` or `dataset:CODE`, and `{name}` in the code stands for a
    named group of the path.
    """

    host: Host
    methods: list[Text] = Field(min_length=1, max_length=20)
    path: Text
    action: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.:-]{0,79}$")]
    resource: Text

    @cached_property
    def parts(self) -> list[re.Pattern[str]]:
        """The path's parts, without a last `**`."""
        return [_part(part) for part in self._split if part != REST]

    @property
    def _split(self) -> list[str]:
        return self.path.split("/")[1:]

    def fits(self, method: str, host: str, parts: list[str]) -> dict[str, str] | None:
        """The named groups of a path that this rule is about; None for any other request."""
        if host != self.host or method not in self.methods:
            return None
        rest = self._split[-1] == REST
        if len(parts) <= len(self.parts) if rest else len(parts) != len(self.parts):
            return None
        groups: dict[str, str] = {}
        for wanted, part in zip(self.parts, parts, strict=False):
            found = wanted.fullmatch(part)
            if found is None:
                return None
            groups |= {name: value or "" for name, value in found.groupdict().items()}
        return groups

    def asked(self, groups: dict[str, str]) -> Asked:
        """What a request asks for that fits, with these named groups."""
        kind, _, code = self.resource.partition(":")
        code = _GROUP.sub(lambda group: groups[group[1]], code)
        return Asked(action=self.action, kind=kind, code=code)


class Rules(_Strict):
    """What a proxy's requests mean, and how it tells what was asked of it.

    `bound`: method, host and path come in the header of the proxy's own credential. `forwarded`:
    they come in X-Forwarded-Method, -Host and -Uri, which the proxy must let nobody else set.
    """

    mode: Literal["bound", "forwarded"]
    rules: list[Rule] = Field(min_length=1, max_length=MOST_RULES)


class Unclear(Exception):
    """A request whose method, host or path can be read in two ways, or in none."""


# --- setting -----------------------------------------------------------------------------------


def set_rules(session: Session, integration: Integration, document: str, *, by: Principal) -> Rules:
    """Give a proxy its rules, in place of those before; `Invalid` names the first that is wrong."""
    limits = integrations.begin_act(session, integration, by=by)
    if "decision" not in integration.scopes:
        raise errors.Invalid("A proxy needs the scope decision.", field="rules")
    rules = _checked(document)
    for place, rule in enumerate(rules.rules):
        kind, _, code = rule.resource.partition(":")
        if not _GROUP.search(code):
            try:
                (clients.project if kind == "project" else clients.dataset)(session, code)
            except errors.Unknown as error:
                field = f"rules.{place}.resource"
                raise errors.Invalid(f"{field}: {error.message}", field=field) from None
    row = session.get(ForwardRules, integration.id) or ForwardRules(integration_id=integration.id)
    row.document = rules.model_dump_json()
    session.add(row)
    integrations.record_act(
        session,
        EventType.INTEGRATION_RULES_SET,
        integration,
        limits,
        data={"mode": rules.mode, "rules": len(rules.rules)},
        private={"rules": row.document},
        stamps=[(row, "recorded_at")],
        by=by,
    )
    return rules


def _checked(document: str) -> Rules:
    try:
        rules = Rules.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "rules"
        raise errors.Invalid(f"{place}: {first['msg']}", field=place) from None
    for number, rule in enumerate(rules.rules):
        for field, wrong in _wrong(rule):
            place = f"rules.{number}.{field}"
            raise errors.Invalid(f"{place}: {wrong}", field=place)
    return rules


def _wrong(rule: Rule) -> list[tuple[str, str]]:
    """What is wrong with a rule that has the right shape."""
    wrong = []
    if not rule.host or rule.host != _host(rule.host):
        wrong.append(("host", "a name in lower case, without a port"))
    wrong += [
        ("methods", f"“{method}” is no method in capital letters")
        for method in rule.methods
        if not _METHOD.fullmatch(method)
    ]
    if not rule.path.startswith("/"):
        return [*wrong, ("path", "it begins with a slash")]
    names: set[str] = set()
    for place, part in enumerate(rule.path.split("/")[1:]):
        if part == REST and place == rule.path.count("/") - 1:
            continue
        try:
            found = set(_part(part).groupindex)
        except errors.Invalid as error:
            return [*wrong, ("path", f"“{part}”: {error.message}")]
        if names & found:
            return [*wrong, ("path", "two groups have the same name")]
        names |= found
    resource = _RESOURCE.fullmatch(rule.resource)
    if resource is None:
        wrong.append(("resource", "project:CODE or dataset:CODE"))
    elif not names.issuperset(_GROUP.findall(resource[2])):
        wrong.append(("resource", "the path has no group of this name"))
    return wrong


@lru_cache(maxsize=4096)
def _part(pattern: str) -> re.Pattern[str]:
    """One part of a path as a regular expression; `Invalid` for one that could be slow."""
    place, repeats, may_repeat = 0, 0, False
    while place < len(pattern):
        token = _TOKEN.match(pattern, place)
        if token is None:
            raise errors.Invalid("characters, classes, groups and repeats only; no slash in one")
        if token["repeat"]:
            repeats += 1
            if not may_repeat or repeats > MOST_REPEATS:
                raise errors.Invalid(
                    f"at most {MOST_REPEATS} repeats, each of a single character or class"
                )
        may_repeat = token["atom"] is not None
        place = token.end()
    try:
        return re.compile(pattern, re.ASCII)
    except re.error as error:
        raise errors.Invalid(f"no regular expression ({error})") from None


# --- reading -----------------------------------------------------------------------------------


def rules_of(session: OrmSession, integration_id: str) -> Rules | None:
    """A proxy's rules as they are now; None when it was given none."""
    document = session.execute(
        select(ForwardRules.document).where(ForwardRules.integration_id == integration_id)
    ).scalar_one_or_none()
    return _read(document) if document is not None else None


@lru_cache(maxsize=256)
def _read(document: str) -> Rules:
    """The same text always reads alike, so what was read once may be kept."""
    return Rules.model_validate_json(document)


def meaning(rules: Rules, *, method: str, host: str, uri: str) -> Asked | None:
    """What a request asks for by the first rule that fits; None where none does.

    Raises `Unclear` for a request that can be read in two ways.
    """
    if not _METHOD.fullmatch(method):
        raise Unclear("method")
    name, parts = _host(host), _path(uri)
    for rule in rules.rules:
        groups = rule.fits(method, name, parts)
        if groups is not None:
            return rule.asked(groups)
    return None


def _host(value: str) -> str:
    found = _HOST.fullmatch(value.lower())
    if found is None:
        return ""
    return found[1]


def _path(uri: str) -> list[str]:
    """The parts of a request's path, decoded; the query is not looked at.

    What one server reads as a slash, a dot or an end and another does not is refused: `%2f`, `%25`,
    `%5c`, `%00`, `.`, `..`, `..;`, `//`.
    """
    raw, _, _ = uri.partition("?")
    if not raw.startswith("/") or len(uri) > LONGEST_URI or "#" in raw:
        raise Unclear("path")
    if _BROKEN_ESCAPE.search(raw):
        raise Unclear("escape")
    parts = []
    segments = raw[1:].split("/")
    for place, segment in enumerate(segments):
        try:
            # A server hands bytes over as Latin-1 (PEP 3333).
            part = unquote_to_bytes(segment.encode("latin-1")).decode()
        except UnicodeError:
            raise Unclear("encoding") from None
        bare = part.partition(";")[0]
        if bare in {".", ".."} or (not bare and (part or place < len(segments) - 1)):
            raise Unclear("dots")
        if len(part) > LONGEST_PART or not part.isprintable() or set(part) & set("/\\%"):
            raise Unclear("part")
        parts.append(part)
    return parts
