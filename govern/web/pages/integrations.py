"""Integrations: which systems may ask, and one with its secrets, limits and registration."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flask import Blueprint, flash, redirect, render_template, request
from flask_babel import gettext as _

from govern import clock, errors
from govern.access import clients, forwarding, names
from govern.identity import integrations
from govern.identity.integrations import Integration, Registration, Shown
from govern.web import guard
from govern.web.pages import acting, base, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

    Act = Callable[[Session, Integration, Principal], Any]

blueprint = Blueprint("integrations", __name__)


@blueprint.get("/integrations")
def listing() -> ResponseReturnValue:
    """The list, and the form for one more."""
    return list_page({})


def list_page(wrong: Mapping[str, str]) -> str:
    """Draw the list; `wrong` belongs to the form."""
    by = guard.principal()
    with guard.database().reading() as session:
        found, after = integrations.listing(session, after=request.args.get("after", ""), by=by)
        codes = names.of(session, (limit.target_id for row in found for limit in row.limits))
    return render_template(
        "admin/integrations.html",
        rows=[_row(shown, codes) for shown in found],
        scopes=integrations.SCOPES,
        chosen=request.form.getlist("scope"),
        may_create=base.may("integration:create", None),
        see_providers=base.may("provider:read", None),
        next_url=base.next_url(after),
        first_url=base.first_url(),
        form=request.form,
        errors=wrong,
    )


def _row(shown: Shown, codes: Mapping[str, str]) -> SimpleNamespace:
    row = shown.integration
    return SimpleNamespace(
        id=row.id,
        url=f"/integrations/{row.id}",
        name=row.name,
        state=row.state,
        scopes=row.scopes,
        limits=[
            SimpleNamespace(kind=limit.kind, code=codes[limit.target_id]) for limit in shown.limits
        ],
        last_seen=row.last_seen_at,
        since=row.recorded_at,
        suspended_at=row.suspended_at,
        ended_at=row.ended_at,
        redirect_uris=row.redirect_uris,
        resources=row.resources,
        public_keys=row.public_keys,
    )


@blueprint.post("/integrations")
def create() -> ResponseReturnValue:
    """Give a system credentials; its secret is in this answer and in no other."""

    def work(session: Session, by: Principal) -> tuple[Integration, str]:
        own, projects = [], {}
        for code in base.typed("client").replace(",", " ").split():
            with words.typed("client", code):
                own.append(clients.client(session, code).id)
        for code in base.typed("project").replace(",", " ").split():
            with words.typed("project", code):
                project = clients.project(session, code)
                projects[project.id] = project.client_id
        return integrations.create(
            session,
            base.typed("name"),
            scopes=request.form.getlist("scope"),
            clients=own,
            projects=projects,
            by=by,
        )

    return acting.act(
        work,
        done=lambda made: page(made[0].id, {}, secret=made[1]),
        again=list_page,
        title=_("Create an integration"),
        cancel="/integrations",
    )


@blueprint.get("/integrations/<integration_id>")
def show(integration_id: str) -> ResponseReturnValue:
    """One integration."""
    return page(integration_id, {})


def page(integration_id: str, wrong: Mapping[str, str], secret: str | None = None) -> str:
    """Draw an integration's page; `secret` is shown this once."""
    by = guard.principal()
    with guard.database().reading() as session:
        found = integrations.shown(session, integration_id, by=by)
        codes = names.of(session, (limit.target_id for limit in found.limits))
        rules = forwarding.rules_of(session, integration_id)
    row = _row(found, codes)
    registered = {
        "redirect_uris": "\n".join(row.redirect_uris),
        "resources": "\n".join(row.resources),
        "public_keys": json.dumps(row.public_keys, indent=2) if row.public_keys else "",
    }
    return render_template(
        "admin/integration.html",
        integration=row,
        secrets=[SimpleNamespace(since=made, ends_at=ends) for made, ends in found.secrets],
        secret=secret,
        rules=rules,
        overlaps=[
            ("24", _("24 hours")), ("1", _("1 hour")), ("168", _("7 days")),
            ("0", _("Not at all: the old one ends now")),
        ],
        seen=integrations.version(found.integration),
        seen_secret=clock.text(found.secrets[0][0]) if found.secrets else "",
        may_act=row.ended_at is None and base.may("integration:create", None),
        registered=registered,
        form={**registered, **request.form},
        errors=wrong,
    )  # fmt: skip


@blueprint.post("/integrations/<integration_id>/rotate")
def rotate(integration_id: str) -> ResponseReturnValue:
    """Make a new secret, shown in this answer and in no other."""

    def act(session: Session, row: Integration, by: Principal) -> str:
        overlap = timedelta(hours=base.count("overlap"))
        return integrations.rotate(session, row, overlap=overlap, newest=base.seen(), by=by)

    return _act(
        integration_id,
        act,
        title=_("Make a new secret"),
        done=lambda secret: page(integration_id, {}, secret=secret),
    )


@blueprint.post("/integrations/<integration_id>/suspend")
def suspend(integration_id: str) -> ResponseReturnValue:
    """Refuse it from its next request."""
    return _act(
        integration_id,
        lambda session, row, by: integrations.suspend(session, row, by=by),
        title=_("Suspend an integration"),
        said=_("Suspended: it is refused from its next request."),
    )


@blueprint.post("/integrations/<integration_id>/resume")
def resume(integration_id: str) -> ResponseReturnValue:
    """Let it ask again."""
    return _act(
        integration_id,
        lambda session, row, by: integrations.resume(session, row, seen=base.seen(), by=by),
        title=_("Resume an integration"),
        said=_("Resumed: its credentials count again."),
    )


@blueprint.post("/integrations/<integration_id>/revoke")
def revoke(integration_id: str) -> ResponseReturnValue:
    """End it for good."""
    return _act(
        integration_id,
        lambda session, row, by: integrations.revoke(session, row, by=by),
        title=_("Revoke an integration"),
        said=_("Revoked for good."),
    )


@blueprint.post("/integrations/<integration_id>/registration")
def register(integration_id: str) -> ResponseReturnValue:
    """Register it anew for OAuth."""

    def act(session: Session, row: Integration, by: Principal) -> None:
        registration = Registration(
            redirect_uris=base.typed("redirect_uris").split(),
            resources=base.typed("resources").split(),
            public_keys=_keys(base.typed("public_keys")),
        )
        integrations.change(session, row, registration, seen=base.seen(), by=by)

    return _act(integration_id, act, title=_("Register an integration"), said=_("Registered."))


def _keys(value: str) -> dict[str, Any] | None:
    if not value:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.Invalid(_("This is no JSON object."), field="jwks")
    return found


# What the operation calls a field, and what the form does.
_FIELDS = {"redirect_uri": "redirect_uris", "resource": "resources", "jwks": "public_keys"}


def _act(
    integration_id: str,
    act: Act,
    *,
    title: str,
    said: str = "",
    done: Callable[[Any], ResponseReturnValue] | None = None,
) -> ResponseReturnValue:
    here = f"/integrations/{integration_id}"

    def work(session: Session, by: Principal) -> Any:
        return act(session, integrations.shown(session, integration_id, by=by).integration, by)

    def back(_result: Any) -> ResponseReturnValue:
        flash(said, "success")
        return redirect(here, 303)

    return acting.act(
        work,
        done=done or back,
        again=lambda wrong: page(
            integration_id, {_FIELDS.get(name, name): told for name, told in wrong.items()}
        ),
        title=title,
        cancel=here,
    )
