"""A witness of someone's logs: it cosigns what only ever grew, and refuses a rewritten history.

Run by a client for the company that runs govern, say: it needs no database, only a folder with its
key and what it saw last of each log. What it saw is on the disk before its signature leaves.
"""

from __future__ import annotations

import base64
import fcntl
import json
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from govern import config, errors
from govern.audit.verify.keys import open_checkpoint, read_keys
from govern.tlog import checkpoint, cosignature, merkle, note, witness
from govern.tlog.errors import MalformedNoteError, ProofError, TlogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from govern.tlog.checkpoint import Checkpoint

_ABOUT = "witness.json"
_SEEN = "seen.json"


class Refused(Exception):
    """No cosignature; each kind is an answer of its own in C2SP tlog-witness."""


class Malformed(Refused):
    """The request is none, or its old size is beyond the checkpoint's."""


class UnknownLog(Refused):
    """The witness was not told of this log."""


class NotSigned(Refused):
    """The log's own key did not sign the checkpoint."""


class Rewritten(Refused):
    """The proof does not lead from what was seen to the checkpoint."""


class Stale(Refused):
    """The old size is not what was seen last, which is `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint seen has {size} entries")
        self.size = size


class Witness:
    """A witness with its folder; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            about = json.loads((folder / _ABOUT).read_text())
        except FileNotFoundError:
            raise errors.Unknown(f"{folder} holds no witness: begin with witness init.") from None
        self._name: str = about["name"]
        self._keys: list[note.Verifier] = read_keys(about["logs"])

    @classmethod
    def begin(cls, folder: Path, name: str, logs: Sequence[str]) -> Witness:
        """Make a witness of this name for the logs of these verifier keys, with a new key.

        `Invalid` at `name` or `key` where one cannot be; `AlreadyExists` where one is.
        """
        read_keys(logs)
        try:
            cosignature.Witness(name, bytes(32))
        except TlogError as error:
            raise errors.Invalid(f"name: {error}", field="name") from error
        if (folder / _ABOUT).exists():
            raise errors.AlreadyExists(f"{folder} holds a witness already.")
        config.make_secret(folder / "witness.key")
        config.keep(folder / _ABOUT, json.dumps({"name": name, "logs": list(logs)}))
        return cls(folder)

    @cached_property
    def _cosigner(self) -> cosignature.Cosigner:
        seed = config.secret(self._folder / "witness.key")
        return cosignature.Cosigner(self._name, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def key(self) -> str:
        """Its public key, to be given to whoever runs the logs and to whoever verifies exports."""
        return str(self._cosigner.witness)

    def cosign(self, body: bytes, *, at: int) -> str:
        """The line that vouches for the checkpoint of a request at an instant (Unix time, seconds).

        `Refused` says why not; then nothing is kept.
        """
        try:
            asked = witness.Request.parse(body)
            text, _ = note.parse(asked.checkpoint)
            new = checkpoint.parse(text)
        except TlogError as error:
            raise Malformed(str(error)) from error
        self._check_signed(asked.checkpoint, new)
        if asked.old > new.size:
            raise Malformed("the old size is beyond the checkpoint's")
        with self._alone():
            seen = self._seen()
            size, root = seen.get(new.origin, (0, merkle.EMPTY_ROOT))
            if asked.old != size or (new.size == size and new.root != root):
                raise Stale(size)
            try:
                merkle.verify_consistency(size, root, new.size, new.root, asked.proof)
            except ProofError as error:
                raise Rewritten(str(error)) from error
            if (size, root) != (new.size, new.root):
                seen[new.origin] = (new.size, new.root)
                self._keep(seen)
        return self._cosigner.line(text, at=at)

    def _check_signed(self, signed: bytes, new: Checkpoint) -> None:
        names = [key.name for key in self._keys]
        if not any(new.origin == each or new.origin.startswith(f"{each}/logs/") for each in names):
            raise UnknownLog(f"there is no log {new.origin} here")
        try:
            open_checkpoint(signed, self._keys)
        except MalformedNoteError as error:
            raise Malformed(str(error)) from error
        except TlogError as error:
            raise NotSigned(str(error)) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _seen(self) -> dict[str, tuple[int, bytes]]:
        try:
            raw: dict[str, Any] = json.loads((self._folder / _SEEN).read_text())
        except FileNotFoundError:
            return {}
        return {name: (head["size"], base64.b64decode(head["root"])) for name, head in raw.items()}

    def _keep(self, seen: dict[str, tuple[int, bytes]]) -> None:
        told = {
            name: {"size": size, "root": base64.b64encode(root).decode()}
            for name, (size, root) in seen.items()
        }
        config.keep(self._folder / _SEEN, json.dumps(told))
