"""The rule, recomputed from the entries of the logs alone: plain rows, plain loops, no SQL.

It knows the events' layout and the design's words, and nothing of the tables or of govern's own
spelling of the rule. Whoever is on a list of people is not in the log, which holds the list's
digest: that much is told from outside.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Entry = dict[str, Any]

STOPPED = {
    "under_review": set[str](),
    "read_only": {"annotate", "export", "log_hours"},
    "paused": {"read", "annotate", "export", "log_hours"},
}
# What each kind of authenticator meets; a "key" is a passkey that may not know its owner.
MEETS = {"totp": {"second_factor"}, "key": {"second_factor"},
         "passkey": {"second_factor", "phishing_resistant"}}  # fmt: skip


@dataclass
class Held:
    """A suspension: (kind, id) of what it covers, of whom it covers no more, and its mode."""

    mode: str
    covers: set[tuple[str, str]] = field(default_factory=set)
    released: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Replay:
    """The world as the entries tell it; `lists` are the people of each list by its id."""

    lists: dict[str, set[str]] = field(default_factory=dict)
    client_of: dict[str, str] = field(default_factory=dict)
    project_of: dict[str, str] = field(default_factory=dict)
    firm_of: dict[str, str] = field(default_factory=dict)
    actions: dict[str, set[str]] = field(default_factory=dict)
    grants: dict[str, Entry] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    suspensions: dict[str, Held] = field(default_factory=dict)
    demands: dict[str, Entry] = field(default_factory=dict)
    enrolled: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def follow(self, entries: Iterable[Entry]) -> None:
        """Take in entries of all logs, in the order of their times."""
        for entry in sorted(entries, key=lambda one: (one["time"], one["log"], one["seq"])):
            handle = getattr(self, "_" + entry["type"].replace(".", "_"), None)
            if handle is not None:
                handle(entry["refs"], entry.get("data", {}))

    def permits(self, subject: str, action: str, kind: str, resource: str, at: datetime) -> bool:
        """Whether any grant allows this; for a project of no dataset, for a dataset of either."""
        return any(
            self.grants[name]["subject"] == subject
            for name in self.permitting(action, kind, resource, at)
        )

    def permitting(self, action: str, kind: str, resource: str, at: datetime) -> set[str]:
        """The grants that allow this, by id; for a client those of all its projects."""
        project = {"project": resource, "dataset": self.project_of.get(resource)}.get(kind)
        dataset = resource if kind == "dataset" else None
        return {
            name
            for name, grant in self.grants.items()
            if (
                self.client_of[grant["project"]] == resource
                if kind == "client"
                else grant["project"] == project and self._reaches(grant, action, dataset)
            )
            and self._stands(name, grant, at)
            and action in self.actions[grant["entitlement"]]
            and self._unheld(grant, action, dataset)
            and self._meets(grant, at)
        }

    def _reaches(self, grant: Entry, action: str, dataset: str | None) -> bool:
        own = grant.get("dataset")
        return own is None or own == dataset or (dataset is None and action == "log_hours")

    def _stands(self, name: str, grant: Entry, at: datetime) -> bool:
        gone = {name, grant["subject"], grant["project"], self.client_of[grant["project"]]}
        return gone.isdisjoint(self.ended) and grant["starts_at"] <= at < grant["ends_at"]

    def _unheld(self, grant: Entry, action: str, dataset: str | None) -> bool:
        subject, project = grant["subject"], grant["project"]
        scopes = {
            ("client", self.client_of[project]), ("project", project),
            ("dataset", dataset or grant.get("dataset") or ""), ("subject", subject),
            ("organisation", self.firm_of[subject]),
            *(("people", name) for name, named in self.lists.items() if subject in named),
        }  # fmt: skip
        modes = [
            held.mode
            for held in self.suspensions.values()
            if held.covers & scopes and not held.released & scopes
        ]
        if any(action in STOPPED[mode] for mode in modes):
            return False
        # Nobody here ever shows a second factor; hours are no access, so none is asked for.
        return action == "log_hours" or "under_review" not in modes

    def _meets(self, grant: Entry, at: datetime) -> bool:
        """Whether the person has enrolled what the client and the project demand by then."""
        places = {grant["project"], self.client_of[grant["project"]]}
        demanded = {
            each["factor"]
            for each in self.demands.values()
            if each["over"] in places and (each["starts_at"] is None or each["starts_at"] <= at)
        }
        own = self.enrolled[grant["subject"]]
        return demanded <= {factor for kind in own.values() for factor in MEETS[kind]}

    # --- what each entry says

    def _totp_enrolled(self, refs: Entry, _: Entry) -> None:
        self.enrolled[refs["subject"]][refs["authenticator"]] = "totp"

    def _passkey_enrolled(self, refs: Entry, data: Entry) -> None:
        kind = "passkey" if data.get("recognised") else "key"
        self.enrolled[refs["subject"]][refs["authenticator"]] = kind

    def _authenticator_removed(self, refs: Entry, _: Entry) -> None:
        del self.enrolled[refs["subject"]][refs["authenticator"]]

    def _demand_set(self, refs: Entry, data: Entry) -> None:
        starts = data.get("starts_at")
        self.demands[refs["demand"]] = {
            "over": refs.get("project") or refs.get("client"),
            "factor": data["factor"],
            "starts_at": datetime.fromisoformat(starts) if starts else None,
        }

    def _demand_ended(self, refs: Entry, _: Entry) -> None:
        self.demands.pop(refs["demand"])

    def _project_created(self, refs: Entry, _: Entry) -> None:
        self.client_of[refs["project"]] = refs["client"]

    def _dataset_created(self, refs: Entry, _: Entry) -> None:
        self.project_of[refs["dataset"]] = refs["project"]

    def _entitlement_defined(self, refs: Entry, data: Entry) -> None:
        self.actions[refs["entitlement"]] = set(data["actions"])

    def _subject_registered(self, refs: Entry, _: Entry) -> None:
        self.firm_of[refs["subject"]] = refs["organisation"]

    def _subject_moved(self, refs: Entry, _: Entry) -> None:
        self.firm_of[refs["subject"]] = refs["organisation"]

    def _subject_offboarded(self, refs: Entry, _: Entry) -> None:
        self.ended.add(refs["subject"])

    def _grant_issued(self, refs: Entry, data: Entry) -> None:
        window = {end: datetime.fromisoformat(data[end]) for end in ("starts_at", "ends_at")}
        self.grants[refs["grant"]] = refs | window

    def _grant_revoked(self, refs: Entry, _: Entry) -> None:
        self.ended.add(refs["grant"])

    def _suspension_opened(self, refs: Entry, data: Entry) -> None:
        held = self.suspensions.setdefault(refs["suspension"], Held(data["mode"]))
        held.covers |= {(each["kind"], each["id"]) for each in data["targets"]}

    def _suspension_mode_changed(self, refs: Entry, data: Entry) -> None:
        self.suspensions[refs["suspension"]].mode = data["mode"]

    def _suspension_released(self, refs: Entry, data: Entry) -> None:
        out = {("subject", person) for person in data.get("people", ())}
        out |= {(each["kind"], each["id"]) for each in data.get("targets", ())}
        self.suspensions[refs["suspension"]].released |= out

    def _suspension_narrowed(self, refs: Entry, data: Entry) -> None:
        out = {(each["kind"], each["id"]) for each in data.get("targets", ())}
        self.suspensions[refs["suspension"]].covers -= out

    def _suspension_lifted(self, refs: Entry, _: Entry) -> None:
        self.suspensions.pop(refs["suspension"], None)  # each log concerned says it


Asked = tuple[str, str, str]  # an action, a kind of thing and its id
Interval = tuple[datetime, datetime]


def exposures(
    entries: Iterable[Entry],
    lists: dict[str, set[str]],
    asked: Iterable[Asked],
    *,
    begin: datetime,
    end: datetime,
) -> dict[Asked, dict[str, list[Interval]]]:
    """When each grant allowed what is asked in `begin <= t < end`: a look at every instant."""
    told = sorted(entries, key=lambda one: (one["time"], one["log"], one["seq"]))
    times = [datetime.fromisoformat(one["time"]) for one in told]
    windows = [
        datetime.fromisoformat(one["data"][name])
        for one in told
        for name in ("starts_at", "ends_at")
        if one.get("data", {}).get(name)
    ]
    instants = sorted({begin, *(t for t in (*times, *windows) if begin < t < end)})
    replay, read = Replay(lists), 0
    found: dict[Asked, dict[str, list[Interval]]] = {each: {} for each in asked}
    for at, until in zip(instants, [*instants[1:], end], strict=True):
        upto = bisect_right(times, at)
        replay.follow(told[read:upto])
        read = upto
        for question, own in found.items():
            for name in replay.permitting(*question, at=at):
                before = own.setdefault(name, [])
                if before and before[-1][1] == at:
                    before[-1] = (before[-1][0], until)
                else:
                    before.append((at, until))
    return found
