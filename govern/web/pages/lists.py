"""Every list, drawn in one way: narrowed, ordered, paged by key, and taken out as it is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import errors, permissions
from govern.access import bulk, lists
from govern.access.lists import LISTS, Asked
from govern.web import guard, sheets
from govern.web.pages import acting, base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from govern.access.lists import List, SavedFilter
    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("lists", __name__)

# The cells of a row: of each, what stands first and what stands beneath it.
CELLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "people": (
        ("person", "external_id", "email"), ("state",), ("kind",), ("organisation",), ("since",),
        ("ended",),
    ),
    "grants": (
        ("person", "external_id", "organisation"), ("project", "dataset", "client"),
        ("entitlement",), ("status",), ("starts",), ("ends",), ("ended",),
    ),
    "clients": (("client", "name"), ("state",), ("since",), ("ended",)),
    "projects": (("project",), ("client",), ("state",), ("contact",), ("since",), ("ended",)),
    "datasets": (
        ("dataset", "type"), ("project", "client"), ("sensitivity",), ("state",), ("since",),
    ),
    "organisations": (("organisation",), ("state",)),
    "roles": (
        ("person", "external_id"), ("role",), ("client",), ("state",), ("since",), ("ends",),
    ),
    "suspensions": (
        ("suspension",), ("state",), ("mode",), ("reason",), ("since",), ("review",), ("ended",),
    ),
    "requests": (
        ("request",), ("state",), ("client",), ("asked_by",), ("since",), ("decided_by", "ended"),
    ),
    "integrations": (("integration", "id"), ("state",), ("scopes",), ("seen",), ("since",)),
}  # fmt: skip
# Filters that an address alone sets: a page that tells of one thing leads to whom it concerns.
LED = {"demand", "suspension", "person"}
# Where a row leads: an address with what the row says in it.
LEADS = {
    "people": "/people/{key}", "grants": "/people/{subject_id}", "clients": "/clients/{client}",
    "projects": "/projects/{project}", "datasets": "/projects/{project}",
    "organisations": "/lists/people?organisation={organisation}", "roles": "/people/{subject_id}",
    "suspensions": "/suspensions/{key}", "requests": "/requests/{key}",
    "integrations": "/integrations/{key}",
}  # fmt: skip


def title(name: str) -> str:
    """What a list is called."""
    told = {
        "people": _("All people"),
        "grants": _("All grants"),
        "clients": _("All clients"),
        "projects": _("All projects"),
        "datasets": _("All datasets"),
        "organisations": _("All organisations"),
        "roles": _("All roles"),
        "suspensions": _("All suspensions"),
        "requests": _("All requests"),
        "integrations": _("All integrations"),
    }
    return str(told[name])


def name_of(act: str) -> str:
    """What an act over a list is called."""
    told = {
        "revoke": _("Revoke for good"),
        "change_end": _("Set another end"),
        "grant": _("Give a grant"),
        "end_sessions": _("End their sessions"),
        "offboard": _("Offboard for good"),
        "suspend": _("Pause them, or ask each for a factor"),
    }
    return str(told[act])


def offered(list_name: str) -> list[tuple[str, str]]:
    """The acts over a list that the caller may do, by name and in words."""
    by = guard.principal()
    return [
        (act.name, name_of(act.name))
        for act in bulk.acts_on(list_name)
        if permissions.covers(by, act.permission, None)
        or (list_name != "people" and base.may_anywhere(act.permission))
    ]


def _words() -> dict[str, str]:
    """What columns, filters and orders are called."""
    return {
        "person": _("Person"), "external_id": _("Id"), "email": _("E-mail"), "kind": _("Kind"),
        "organisation": _("Organisation"), "state": _("State"), "since": _("Since"),
        "ended": _("Ended"), "project": _("Project"), "dataset": _("Dataset"),
        "client": _("Client"), "entitlement": _("May"), "status": _("Status"),
        "starts": _("From"), "ends": _("Until"), "name": _("Name"), "contact": _("Contact"),
        "sensitivity": _("Sensitivity"), "type": _("Type"), "role": _("Role"),
        "suspension": _("Suspension"), "mode": _("Mode"), "reason": _("Reason"),
        "review": _("Review by"), "request": _("Request"), "asked_by": _("Asked by"),
        "decided_by": _("Decided by"), "integration": _("Integration"), "id": _("Id"),
        "scopes": _("Scopes"), "scope": _("Scope"), "seen": _("Last seen"),
        "lacks": _("Has none in use"), "ends_from": _("Ends from"), "ends_to": _("Ends until"),
        "demand": _("Does not meet a demand"), "q": _("Search"),
        "due": _("What is due"), "kept_as": _("Name of the filter"),
    }  # fmt: skip


def of(name: str) -> List:
    """A list by the name in its address."""
    found = LISTS.get(name)
    if found is None:
        raise errors.Unknown(_("There is no such list."))
    return found


@blueprint.get("/lists/<list_name>")
def show(list_name: str) -> ResponseReturnValue:
    """A list."""
    return page(list_name, {})


def page(list_name: str, wrong: Mapping[str, str]) -> str:
    """Draw a list, as the address or a form about it narrows it."""
    listed, by = of(list_name), guard.principal()
    asked = Asked.of(listed, request.values)
    with base.showing() as session:
        found = lists.page(
            session, listed, asked, after=request.args.get("after", ""),
            looked_at=lists.LOOKED_AT, by=by,
        )  # fmt: skip
        kept = lists.saved(session, listed=listed, by=by)
    filters = {**asked.filters, "sort": asked.sort}
    return render_template(
        "admin/list.html",
        name=listed.name,
        title=title(listed.name),
        words=_words(),
        cells=CELLS[listed.name],
        rows=[
            SimpleNamespace(url=_url(listed.name, row), values=row, key=row["key"])
            for row in found.rows
        ],
        filter=filters,
        fields=[name for name in listed.filters if name not in LED],
        led={name: value for name, value in asked.filters.items() if name in LED},
        choices=listed.choices,
        sorts=list(listed.sorts),
        acts=offered(listed.name),
        saved=[
            SimpleNamespace(
                id=row.id,
                name=row.name,
                url=address(row),
                shared=row.shared,
                mine=row.owner_id == by.id,
            )
            for row in kept
        ],
        form=request.form,
        errors=wrong,
        next_url=base.next_url(found.after),
        first_url=base.first_url(),
    )


def _url(name: str, row: dict[str, Any]) -> str:
    return LEADS[name].format_map({key: quote(str(value), safe="") for key, value in row.items()})


@blueprint.post("/lists/<list_name>/export")
def export(list_name: str) -> ResponseReturnValue:
    """A list as it is narrowed and ordered, whole, as CSV; on record."""
    listed = of(list_name)
    asked = Asked.of(listed, request.values)

    def work(session: Session, by: Principal) -> None:
        lists.conditions(listed, asked, by=by)
        acting.require_fresh(session, by)

    def done(_nothing: None) -> ResponseReturnValue:
        rows = lists.export(guard.database(), listed, asked, by=guard.principal())
        # By its id each is found in the log, where two of them read alike.
        names = [name for name in listed.shown if name != "id"]
        return sheets.answer(
            listed.name, ["id", *names], ([row["key"], *map(row.get, names)] for row in rows)
        )

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(list_name, wrong),
        title=_("Export a list"),
        cancel=f"/lists/{list_name}",
    )


# --- filters kept by name ----------------------------------------------------------------------


def address(row: SavedFilter) -> str:
    """Where a list is, narrowed as a filter that was kept says."""
    query = urlencode({**row.filters, **({"sort": row.sort} if row.sort else {})})
    return f"/lists/{row.list}" + (f"?{query}" if query else "")


@blueprint.post("/lists/<list_name>/filters")
def keep(list_name: str) -> ResponseReturnValue:
    """Keep what the list is narrowed to under a name, for oneself or for others as well."""
    listed = of(list_name)
    asked = Asked.of(listed, request.form)

    def work(session: Session, by: Principal) -> SavedFilter:
        return lists.save(
            session, listed, asked, name=base.typed("kept_as"),
            shared=bool(base.typed("shared")), replace=bool(base.typed("replace")), by=by,
        )  # fmt: skip

    def done(row: SavedFilter) -> ResponseReturnValue:
        flash(_("Kept."), "success")
        return redirect(address(row), 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(list_name, wrong),
        title=_("Keep a filter"),
        cancel=f"/lists/{list_name}",
    )


@blueprint.post("/lists/<list_name>/filters/<filter_id>/drop")
def drop(list_name: str, filter_id: str) -> ResponseReturnValue:
    """Keep a filter of one's own no longer."""
    of(list_name)

    def work(session: Session, by: Principal) -> None:
        lists.drop(session, filter_id, by=by)

    def done(_none: None) -> ResponseReturnValue:
        flash(_("Dropped."), "success")
        return redirect(f"/lists/{list_name}", 303)

    return acting.act(
        work,
        done=done,
        again=lambda wrong: page(list_name, wrong),
        title=_("Drop a filter"),
        cancel=f"/lists/{list_name}",
    )
