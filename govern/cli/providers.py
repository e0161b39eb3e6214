"""`provider`: by whose word people sign in, and who is who there."""

from __future__ import annotations

import sys

import click

from govern import clock
from govern.cli.frame import Desk, day, govern, json_option, pass_desk
from govern.identity import federation, subjects
from govern.identity.federation import Assurance, IdentityProvider

_reason_option = click.option("--reason", default="", help="Why, for the record.")


@govern.group()
def provider() -> None:
    """Let people sign in by an OpenID provider."""


@provider.command()
@click.argument("name")
@click.option("--issuer", required=True, metavar="URL", help="As the provider writes it itself.")
@click.option("--client-id", required=True, metavar="ID", help="Ours, as registered there.")
@click.option(
    "--assures", type=click.Choice([each.value for each in Assurance]), default="none",
    show_default=True, help="What its token may prove; else our own second factor is asked for.",
)  # fmt: skip
@click.option("--acr", "acr_values", multiple=True, metavar="VALUE", help="An acr that proves it.")
@click.option("--amr", "amr_values", multiple=True, metavar="VALUE", help="An amr that proves it.")
@click.option("--inside", is_flag=True, help="Its host may have a private address.")
@_reason_option
@json_option
@pass_desk
def create(
    desk: Desk,
    /,
    *,
    name: str,
    issuer: str,
    client_id: str,
    assures: str,
    acr_values: tuple[str, ...],
    amr_values: tuple[str, ...],
    inside: bool,
    reason: str,
) -> None:
    """Let people come by a provider, and print the addresses to register there.

    Our client secret there is asked for, or read as a line of stdin. The provider is asked for its
    description first.

    Example: govern provider create "Company account" --issuer https://id.example.com --client-id
    govern --assures mfa --amr mfa
    """
    issuer = federation.checked_issuer(issuer)
    if sys.stdin.isatty():
        secret = click.prompt("Client secret", hide_input=True, err=True)
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    federation.metadata(issuer, inside=inside)
    row = desk.database.transaction(
        lambda session: federation.create(
            session, name, issuer=issuer, client_id=client_id, client_secret=secret,
            assures=Assurance(assures), acr_values=acr_values, amr_values=amr_values,
            inside=inside, reason=reason, by=desk.by,
        )
    )  # fmt: skip
    found = _described(desk, row)
    desk.tell(
        found,
        *(f"{name}\t{found[name]}" for name in ("id", "redirect_uri", "backchannel_logout_uri")),
    )


@provider.command("list")
@json_option
@pass_desk
def listing(desk: Desk) -> None:
    """List the providers: name, issuer, what each may assure, and whether it is in use."""
    with desk.database.reading() as session:
        rows = federation.listing(session, by=desk.by)
    desk.tell(
        {"providers": [_described(desk, row) for row in rows]},
        *(
            "\t".join((row.id, row.name, row.issuer, row.assures,
                       f"ended {day(row.ended_at)}" if row.ended_at else "in use"))
            for row in rows
        ),
    )  # fmt: skip


@provider.command()
@click.argument("provider_id", metavar="ID")
@_reason_option
@json_option
@pass_desk
def end(desk: Desk, /, *, provider_id: str, reason: str) -> None:
    """Let nobody come by a provider any more; who came by it is signed out at once."""
    row = desk.database.transaction(
        lambda session: federation.end(session, provider_id, reason=reason, by=desk.by)
    )
    desk.tell(_described(desk, row), f"{row.id}\tended")


@provider.command()
@click.argument("subject")
@click.argument("provider_id", metavar="PROVIDER")
@click.argument("sub")
@_reason_option
@json_option
@pass_desk
def link(desk: Desk, /, *, subject: str, provider_id: str, sub: str, reason: str) -> None:
    """Say whose account at a provider is whose here: SUB is what the provider calls them.

    Whoever links an account cannot pair with it in an act that takes two people.

    Example: govern provider link rosa@example.com idp_0c… 248289761001
    """
    row = desk.database.transaction(
        lambda session: federation.link(
            session,
            subjects.find(session, subject),
            provider_id,
            sub=sub,
            reason=reason,
            by=desk.by,
        )
    )
    desk.tell({"id": row.id, "subject": row.subject_id, "provider": row.provider_id}, row.id)


@provider.command()
@click.argument("subject")
@json_option
@pass_desk
def links(desk: Desk, /, *, subject: str) -> None:
    """List by which providers someone may sign in."""
    with desk.database.reading() as session:
        person = subjects.find(session, subject)
        found = federation.of_subject(session, person.id, by=desk.by)
    desk.tell(
        {
            "links": [
                {"id": row.id, "provider": each.id, "sub": row.sub,
                 "since": clock.text(row.recorded_at)}
                for row, each in found
            ]
        },
        *("\t".join((row.id, each.name, row.sub, day(row.recorded_at))) for row, each in found),
    )  # fmt: skip


@provider.command()
@click.argument("link_id", metavar="LINK")
@_reason_option
@json_option
@pass_desk
def unlink(desk: Desk, /, *, link_id: str, reason: str) -> None:
    """End a link, and every session that came by it."""
    row = desk.database.transaction(
        lambda session: federation.unlink(session, link_id, reason=reason, by=desk.by)
    )
    desk.tell({"id": row.id, "subject": row.subject_id}, f"{row.id}\tended")


def _described(desk: Desk, row: IdentityProvider) -> dict[str, object]:
    place = f"{desk.settings.public_url}/sign-in"
    return {
        "id": row.id,
        "name": row.name,
        "issuer": row.issuer,
        "client_id": row.client_id,
        "assures": row.assures,
        "acr_values": row.acr_values.split(),
        "amr_values": row.amr_values.split(),
        "redirect_uri": federation.redirect_uri(desk.database, row.id),
        "backchannel_logout_uri": f"{place}/log-out/{row.id}",
        "ended_at": clock.text(row.ended_at) if row.ended_at else None,
    }
