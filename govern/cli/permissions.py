"""`docs/permissions.md`, from the table itself: `python -m govern.cli.permissions > that file`."""

from __future__ import annotations

import click

from govern.identity import roles
from govern.permissions import NEEDS_FRESH, ROLES

WORDS = {
    "catalogue:write": "Take in clients, and set up projects, datasets and entitlements.",
    "project:read": "Look at clients, projects and datasets, and how they stand.",
    "project:end": "End a project or a client for good.",
    "subject:read": "Look at people and at the roles that they hold.",
    "subject:write": "Make people known, change what is known of them, move them, let them in.",
    "subject:offboard": "End everything that a person holds, for good.",
    "subject:recover": "Ask that who lost a factor be let back in, and call that off.",
    "identity:link": "Link a person to their account at a provider of sign-in, and unlink it.",
    "provider:read": "Look at the providers of sign-in that are trusted.",
    "provider:write": "Trust a provider of sign-in, change it, and end that trust.",
    "role:assign": "Give roles and take them back, never one's own.",
    "demand:set": "Demand a second factor or a passkey of a role, a client or a project.",
    "grant:read": "Look at grants, and ask who can or could reach something.",
    "grant:issue": "Give access, or ask for it where that takes two.",
    "grant:revoke": "End a grant for good.",
    "suspension:read": "Look at suspensions, their effect, and whom they hold.",
    "suspension:open": "Suspend, tighten, rehearse a pause, tell those affected.",
    "suspension:lift": "Ask for a lift, a release, a weaker mode or a smaller scope.",
    "request:read": "Look at what awaits a second person.",
    "request:approve": "Be the second person for what somebody else asked for.",
    "policy:set": "Say who approves access, how many, and who may ask for others.",
    "question:answer": "Read what people on projects ask, and answer it.",
    "roster:import": "Load people and grants from a file.",
    "integration:create": "Give systems credentials, change, suspend and end them.",
    "integration:read": "Look at which systems may ask, and for what.",
    "decision:ask": "Ask whether someone may do something, each answer on record.",
    "token:introspect": "Ask whether a token is good.",
    "log:read": "Read the log and the access log; that is on record too.",
    "log:export": "Take the log away as a file that proves itself.",
    "log:expire": "Drop what its retention no longer covers, which leaves its proofs.",
    "subject:erase": "Erase what is personal of who has left, for good.",
    "hold:set": "Put a client under legal hold, release it, and say how long its rows stay.",
    "log:stream": "Have the log sent to a receiver as it grows.",
    "log:witness": "Have the log witnessed by others.",
    "key:rotate": "Replace the keys that sign.",
    "database:backup": "Make a backup.",
    "database:restore": "Restore a backup.",
}

_HEAD = """\
# Who may do what

Written from the table that the program itself asks (`govern/permissions.py`);
`python -m govern.cli.permissions > docs/permissions.md` writes it anew.

A role is held over everything or over one client, until it is taken back or until an instant, at
which it ends by itself. So an admin of one client is *admin* over that client, and a forensic
auditor is *auditor* over one client until a day. Who is limited to a client finds nothing of any
other, not that it exists, but for what all share: people are found by id or address where one
names whom to give something, and a code is taken once. Somebody else than the holder gives and
takes a role (`govern role`, or the person's page), with a reason; who is admin of one client gives
none that does more than their own or outlasts it. Contractors hold no role: they see the projects
that they hold or held. Who is suspended may do nothing but see that.

● may, ○ may after a second factor of the last five minutes.
"""


def render() -> str:
    """The page as Markdown."""
    people = [*roles.ASSIGNABLE, "operator"]
    programs = [name for name in ROLES if name not in {*people, "system"}]
    return "\n".join([
        _HEAD,
        "## People",
        "",
        "*operator* is whoever sits at the machine; they are asked for no factor.",
        "",
        *_table(people),
        "",
        "## Programs, by their scopes",
        "",
        "A program asks for what takes a second person and never is that person.",
        "",
        *_table(programs),
        "",
    ])  # fmt: skip


def _table(names: list[str]) -> list[str]:
    held = sorted(set().union(*(ROLES[name] for name in names)))
    lines = [
        f"| permission | what it allows | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for each in held:
        cells = [_mark(name, each) for name in names]
        lines.append(f"| `{each}` | {WORDS[each]} | {' | '.join(cells)} |")
    return lines


def _mark(name: str, permission: str) -> str:
    if permission not in ROLES[name]:
        return ""
    return "○" if permission in NEEDS_FRESH and name in roles.ASSIGNABLE else "●"


if __name__ == "__main__":
    click.echo(render(), nl=False)
