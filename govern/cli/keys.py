"""`keys`: those that sign what leaves as a token, and those that seal secrets of the database."""

from __future__ import annotations

from govern.cli.frame import Desk, govern, json_option, number, pass_desk
from govern.identity import keys, sealing_keys


@govern.group("keys")
def keys_() -> None:
    """Change the keys that sign tokens and seal secrets."""


@keys_.command()
@json_option
@pass_desk
def prepare(desk: Desk) -> None:
    """Make the next sealing key, and use it for nothing yet.

    Where several nodes serve, each has to have it before `rotate`: copy GOVERN_DATA_DIR/keys to all
    of them in between.

    Example: govern keys prepare
    """
    key_id = sealing_keys.prepare(desk.database, by=desk.by)
    desk.tell(
        {"sealing_key": key_id},
        f"Sealing key {key_id} is there. Copy {desk.settings.keys_dir} to every node, then rotate.",
    )


@keys_.command()
@json_option
@pass_desk
def rotate(desk: Desk) -> None:
    """Sign and seal with new keys from now on, and seal anew what older ones sealed.

    Everybody goes on working meanwhile. Whatever the old key signed stays good until it expires,
    within minutes. If this is cut off, run it again.

    Example: govern keys rotate
    """
    done = sealing_keys.rotate(desk.database, by=desk.by)
    fresh = keys.generate()
    made = desk.database.transaction(lambda session: keys.rotate(session, fresh, by=desk.by))
    desk.tell(
        {"kid": made.id, "sealing_key": done.key, "was": done.was, "resealed": done.resealed},
        f"Secrets are sealed by key {done.key} from now on; "
        f"{number(done.resealed, 'value')} of key {done.was} sealed anew.",
        f"Only backups made before still need key {done.was}.",
        f"Tokens are signed by {made.id} from now on.",
    )
