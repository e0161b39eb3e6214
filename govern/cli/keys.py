"""`keys`: the keys that sign what leaves as a token."""

from __future__ import annotations

from govern.cli.frame import Desk, govern, json_option, pass_desk
from govern.identity import keys


@govern.group("keys")
def keys_() -> None:
    """Change the keys that sign tokens."""


@keys_.command()
@json_option
@pass_desk
def rotate(desk: Desk) -> None:
    """Sign tokens with a new key from now on.

    Whatever the old one signed stays good until it expires, within minutes.

    Example: govern keys rotate
    """
    fresh = keys.generate()
    made = desk.database.transaction(lambda session: keys.rotate(session, fresh, by=desk.by))
    desk.tell({"kid": made.id}, f"Tokens are signed by {made.id} from now on.")
