"""The file of a backup: a zip of the databases' own copies, with a manifest that seals them.

The manifest says of which version and schema the copy is, how long each log is in it with its
newest signed checkpoint, the SHA-256 of every other member, and by digests which keys belong to
it. `Archive` opens no file whose members are not what its manifest says.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from govern import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from govern.config import Settings

FORMAT = 1
_MANIFEST = "manifest.json"
_PIECE = 1 << 20
_MOST_TOLD = 8 << 20  # a manifest of 50,000 logs


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup says of itself.

    `logs`: of each log its `origin`, `size` and newest `checkpoint` (a signed note, or None).
    `files` and `keys`: name → SHA-256; `with_keys` says whether the keys themselves are in it.
    """

    format: int
    govern: str
    made_at: str
    database: str
    schema: dict[str, str]
    logs: dict[str, dict[str, Any]]
    files: dict[str, str]
    keys: dict[str, str]
    with_keys: bool


def key_files(settings: Settings) -> list[str]:
    """The keys of the data directory, by their names in it."""
    found = [*settings.keys_dir.glob("*.key"), settings.signer_dir / "log.key"]
    return sorted(str(each.relative_to(settings.data_dir)) for each in found if each.is_file())


def digest(value: bytes) -> str:
    """By what a key is known again; it is 256 random bits, so this tells nothing of it."""
    return sha256(value).hexdigest()


class Draft:
    """A backup while it is written: members first, the manifest last."""

    def __init__(self, out: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(out, "w", allowZip64=True)
        self.files: dict[str, str] = {}

    def add(self, name: str, source: BinaryIO, *, packed: bool) -> None:
        """One member; `packed` is what is compressed already."""
        member = zipfile.ZipInfo(name)
        member.external_attr = 0o600 << 16
        member.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        member._compresslevel = 1  # type: ignore[attr-defined]  # noqa: SLF001 - `open` takes none
        hashed = sha256()
        with self._zip.open(member, "w", force_zip64=True) as file:
            while piece := source.read(_PIECE):
                hashed.update(piece)
                file.write(piece)
        self.files[name] = hashed.hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and close."""
        self._zip.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True))
        self._zip.close()


class Archive:
    """A backup that was read through and is whole."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._zip = file
        try:
            if file.getinfo(_MANIFEST).file_size > _MOST_TOLD:
                raise errors.Invalid("This is no backup of govern.", field="file")
            told = json.loads(file.read(_MANIFEST))
            if told.get("format") != FORMAT:
                raise errors.Invalid("This backup is of another version of govern.", field="file")
            self.manifest = Manifest(**told)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise errors.Invalid("This is no backup of govern.", field="file") from error
        present = set(file.namelist()) - {_MANIFEST}
        for name, expected in self.manifest.files.items():
            if name not in present or self._hash(name) != expected:
                raise errors.Invalid(f"This backup is damaged: {name}.", field="file")
        if present != set(self.manifest.files):
            raise errors.Invalid("This backup holds what its manifest does not.", field="file")

    def _hash(self, name: str) -> str:
        hashed = sha256()
        with self._zip.open(name) as file:
            while piece := file.read(_PIECE):
                hashed.update(piece)
        return hashed.hexdigest()

    def read(self, name: str) -> bytes:
        """A small member."""
        return self._zip.read(name)

    def extract(self, name: str, target: Path) -> None:
        """Write a member to a new file, readable by its owner alone, and onto the disk.

        A file that claims to be larger than the room there is not begun: it may be a few bytes
        that unpack without end.
        """
        if name not in self.manifest.files:
            raise errors.Invalid(f"This backup is damaged: {name} is missing.", field="file")
        if self._zip.getinfo(name).file_size > shutil.disk_usage(target.parent).free:
            raise errors.Unavailable(f"There is no room for {name} in {target.parent}.")
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with self._zip.open(name) as source, os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(source, file, _PIECE)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a backup; `Invalid` when it is none, or not as it was written."""
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise errors.Invalid(f"This backup is damaged: {error}", field="file") from error
    except OSError as error:
        raise errors.Invalid(f"{path}: {error.strerror}", field="file") from error
