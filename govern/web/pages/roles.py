"""Roles on a person's page: given and taken back by someone else, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect
from flask_babel import gettext as _

from govern.access import holdings, places
from govern.identity import roles
from govern.web.pages import acting, base, people, words

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.db import Session
    from govern.principal import Principal

blueprint = Blueprint("roles", __name__)


@blueprint.post("/people/<subject_id>/roles")
def give(subject_id: str) -> ResponseReturnValue:
    """Give a role, over one client or (left empty) over everything."""

    def work(session: Session, by: Principal) -> None:
        subject = holdings.person(session, subject_id, by=by)
        client = None
        if base.typed("client"):
            with words.typed("client", base.typed("client")) as code:
                client = places.find_client(session, code, by=by).id
        roles.assign(
            session, subject, base.typed("role"), client=client, until=base.instant("until"),
            reason=words.reason(), by=by,
        )  # fmt: skip

    def done(_nothing: None) -> ResponseReturnValue:
        flash(_("Given. It counts from their next click."), "success")
        return redirect(f"/people/{subject_id}", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        return people.page(subject_id, words.at_reason(wrong, "role_reason"))

    return acting.act(
        work, done=done, again=again, title=_("Give a role"), cancel=f"/people/{subject_id}"
    )


@blueprint.post("/people/<subject_id>/roles/<role_id>/withdraw")
def withdraw(subject_id: str, role_id: str) -> ResponseReturnValue:
    """Take a role back."""

    def work(session: Session, by: Principal) -> None:
        subject = holdings.person(session, subject_id, by=by)
        row = roles.find(session, subject, role_id, by=by)
        roles.withdraw(session, row, reason=words.reason(), by=by)

    def done(_nothing: None) -> ResponseReturnValue:
        flash(_("Taken back. It counts for nothing from now on."), "success")
        return redirect(f"/people/{subject_id}", 303)

    def again(wrong: dict[str, str]) -> ResponseReturnValue:
        return people.page(subject_id, words.at_reason(wrong, f"reason-{role_id}"))

    return acting.act(
        work, done=done, again=again, title=_("Take a role back"), cancel=f"/people/{subject_id}"
    )
