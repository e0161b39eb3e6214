"""`integration`: systems that ask get credentials, and lose them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

import click

from govern import clock
from govern.access import clients, forwarding, names
from govern.cli.frame import Desk, day, govern, json_option, number, pass_desk
from govern.identity import integrations
from govern.identity.integrations import Integration, Registration

if TYPE_CHECKING:
    from collections.abc import Callable

    from govern.db import Session
    from govern.principal import Principal


_MOST_HOURS = integrations.MOST_OVERLAP / timedelta(hours=1)


@govern.group()
def integration() -> None:
    """Let other systems ask."""


def registration_options(command: Callable[..., None]) -> Callable[..., None]:
    """What an integration is registered with for OAuth."""
    for option in (
        click.option(
            "--jwks", type=click.File(encoding="utf-8"),
            help="Its public keys (a JWK Set), to show who it is by private_key_jwt.",
        ),
        click.option(
            "--resource", "resources", multiple=True, metavar="URI",
            help="An API that it may ask tokens for (RFC 8707).",
        ),
        click.option(
            "--redirect-uri", "redirect_uris", multiple=True, metavar="URI",
            help="Where people come back to from the sign-in; compared letter by letter.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _registration(
    redirect_uris: tuple[str, ...], resources: tuple[str, ...], jwks: TextIO | None
) -> Registration:
    keys: Any = None
    if jwks is not None:
        try:
            keys = json.load(jwks)
        except ValueError:
            keys = None
        if not isinstance(keys, dict):
            raise click.UsageError("--jwks: this is no JSON object.")
    return Registration(redirect_uris=redirect_uris, resources=resources, public_keys=keys)


@integration.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", required=True, multiple=True, type=click.Choice(integrations.SCOPES),
    help="What it may do.",
)  # fmt: skip
@click.option(
    "--client", "client_codes", multiple=True, metavar="CODE",
    help="About this client alone; else about all.",
)  # fmt: skip
@click.option(
    "--project", "project_codes", multiple=True, metavar="CODE",
    help="About this project alone (decision and introspect).",
)  # fmt: skip
@registration_options
@json_option
@pass_desk
def create(
    desk: Desk,
    /,
    *,
    name: str,
    scopes: tuple[str, ...],
    client_codes: tuple[str, ...],
    project_codes: tuple[str, ...],
    redirect_uris: tuple[str, ...],
    resources: tuple[str, ...],
    jwks: TextIO | None,
) -> None:
    """Give a system its client_id and client_secret.

    The secret is shown this once.

    Example: govern integration create labelling-tool --scope decision --client ASTER
    """
    registration = _registration(redirect_uris, resources, jwks)

    def work(session: Session) -> tuple[Integration, str]:
        projects = [clients.project(session, code) for code in project_codes]
        return integrations.create(
            session,
            name,
            scopes=scopes,
            clients=[clients.client(session, code).id for code in client_codes],
            projects={project.id: project.client_id for project in projects},
            registration=registration,
            by=desk.by,
        )

    row, secret = desk.database.transaction(work)
    _tell_secret(desk, row, secret)


@integration.command("list")
@json_option
@pass_desk
def listing(desk: Desk) -> None:
    """List the integrations: state, scopes, limits, and when each was last seen."""
    found: list[dict[str, Any]] = []
    with desk.database.reading() as session:
        after: str | None = ""
        while after is not None:
            rows, after = integrations.listing(session, after=after, by=desk.by)
            limits = {limit.target_id for row in rows for limit in row.limits}
            codes = names.of(session, limits)
            found += [_described(row, codes) for row in rows]
    desk.tell({"integrations": found}, *(_line(row) for row in found))


def _described(shown: integrations.Shown, codes: dict[str, str]) -> dict[str, Any]:
    row = shown.integration
    limits: dict[str, list[str]] = {"client": [], "project": []}
    for limit in shown.limits:
        limits[limit.kind].append(codes[limit.target_id])
    return {
        "client_id": row.id,
        "name": row.name,
        "state": row.state,
        "scope": row.scope,
        "clients": sorted(limits["client"]),
        "projects": sorted(limits["project"]),
        "last_seen_at": clock.text(row.last_seen_at) if row.last_seen_at else None,
    }


def _line(row: dict[str, Any]) -> str:
    seen = row["last_seen_at"]
    limits = ", ".join(row["clients"] + row["projects"]) or "everything"
    when = day(clock.parse(seen, field="last_seen_at")) if seen else "never"
    return "\t".join((row["client_id"], row["name"], row["state"], row["scope"], limits, when))


@integration.command()
@click.argument("name", metavar="ID")
@registration_options
@json_option
@pass_desk
def change(
    desk: Desk,
    /,
    *,
    name: str,
    redirect_uris: tuple[str, ...],
    resources: tuple[str, ...],
    jwks: TextIO | None,
) -> None:
    """Register an integration anew for OAuth; what is not said is taken away.

    Example: govern integration change labelling-tool --redirect-uri https://label.example/back
    """
    registration = _registration(redirect_uris, resources, jwks)

    def act(session: Session, row: Integration, by: Principal) -> None:
        integrations.change(session, row, registration, by=by)

    _act(desk, name, act)


@integration.command()
@click.argument("name", metavar="ID")
@click.argument("file", type=click.File(encoding="utf-8"))
@json_option
@pass_desk
def rules(desk: Desk, /, *, name: str, file: TextIO) -> None:
    """Say what requests to a proxy mean, in place of what was said before.

    FILE is JSON, as docs/forward-auth.md describes.

    Example: govern integration rules storage-proxy rules.json
    """
    document = file.read()

    def work(session: Session) -> forwarding.Rules:
        row = integrations.find(session, name)
        return forwarding.set_rules(session, row, document, by=desk.by)

    found = desk.database.transaction(work)
    desk.tell(
        {"mode": found.mode, "rules": len(found.rules)},
        f"{found.mode}\t{number(len(found.rules), 'rule')}",
    )


@integration.command()
@click.argument("name", metavar="ID")
@click.option(
    "--overlap", type=click.FloatRange(0, _MOST_HOURS), metavar="HOURS",
    default=integrations.OVERLAP / timedelta(hours=1), show_default=True,
    help="How long the old secret goes on; 0 ends it at once.",
)  # fmt: skip
@json_option
@pass_desk
def rotate(desk: Desk, /, *, name: str, overlap: float) -> None:
    """Give an integration a new secret, which is shown this once.

    Example: govern integration rotate labelling-tool --overlap 2
    """

    def work(session: Session) -> tuple[Integration, str]:
        row = integrations.find(session, name)
        return row, integrations.rotate(session, row, overlap=timedelta(hours=overlap), by=desk.by)

    row, secret = desk.database.transaction(work)
    _tell_secret(desk, row, secret)


@integration.command()
@click.argument("name", metavar="ID")
@json_option
@pass_desk
def suspend(desk: Desk, /, *, name: str) -> None:
    """Stop an integration: it is refused from its next request, until it is resumed."""
    _act(desk, name, lambda session, row, by: integrations.suspend(session, row, by=by))


@integration.command()
@click.argument("name", metavar="ID")
@json_option
@pass_desk
def resume(desk: Desk, /, *, name: str) -> None:
    """Let a suspended integration ask again."""
    _act(desk, name, lambda session, row, by: integrations.resume(session, row, by=by))


@integration.command()
@click.argument("name", metavar="ID")
@json_option
@pass_desk
def revoke(desk: Desk, /, *, name: str) -> None:
    """End an integration for good."""
    _act(desk, name, lambda session, row, by: integrations.revoke(session, row, by=by))


def _act(desk: Desk, name: str, act: Callable[[Session, Integration, Principal], None]) -> None:
    def work(session: Session) -> Integration:
        row = integrations.find(session, name)
        act(session, row, desk.by)
        return row

    row = desk.database.transaction(work)
    desk.tell(
        {"client_id": row.id, "name": row.name, "state": row.state}, f"{row.name}\t{row.state}"
    )


def _tell_secret(desk: Desk, row: Integration, secret: str) -> None:
    desk.tell(
        {"client_id": row.id, "client_secret": secret, "scope": row.scope},
        f"client_id\t{row.id}",
        f"client_secret\t{secret}",
    )
