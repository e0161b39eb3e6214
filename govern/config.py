"""Settings: read once from GOVERN_* variables, frozen, and refused when they are not safe.

Everything secret that is ours lives in files of the data directory that `govern db upgrade` makes,
readable by their owner alone; a variable holds the password of the database or of the mail server,
inside its address, and, where somebody keeps them elsewhere, the keys that open sealed columns.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from govern import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_CONTACT = re.compile(rf"mailto:{_ADDRESS.pattern}|https://[\x21-\x7e]+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one installation is told from outside.

    `data_dir` holds the SQLite files, the keys and the signer's memory. `replica_url` is that of a
    streaming replica of the PostgreSQL at `database_url`, for what is only shown. `origin` is the
    C2SP name under which the logs are signed; it is taken at the first `db upgrade` and never
    changes. `access_log_days` is how long rows of the access log stay, 0 for ever. Mail goes out
    from `mail_from` by the server at `smtp_url` (`smtp://USER:PASSWORD@HOST:PORT`, or `smtps://`,
    each part encoded as in any address); without one nobody is mailed. `sealing_keys` are the keys
    of sealed columns where they are no files: `1:BASE64 2:BASE64`, each of 32 bytes.
    Exports made in the background lie in `export_dir` (`data_dir`/exports unless told), which nodes
    share to hand out each other's, for `export_days`.
    Who finds a weakness is told to write to `security_contact`, a `mailto:` or `https:` address.
    """

    data_dir: Path
    database_url: str = ""
    replica_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    origin: str = "govern.localhost"
    followers: bool = True
    port: int = 8000
    access_log_days: int = 400
    export_dir: Path | None = None
    export_days: int = 7
    smtp_url: str = field(default="", repr=False)
    mail_from: str = ""
    sealing_keys: str = field(default="", repr=False)
    security_contact: str = ""

    def __post_init__(self) -> None:
        """Refuse to start unsafe: plain HTTP is for the machine itself alone."""
        url = urlsplit(self.public_url)
        if url.scheme != "https" and (url.scheme, url.hostname in LOOPBACK) != ("http", True):
            raise errors.Invalid(
                f"GOVERN_PUBLIC_URL: {self.public_url} is neither https nor this machine's own",
                field="GOVERN_PUBLIC_URL",
            )
        if not 0 < self.port < 65536:  # noqa: PLR2004 - TCP
            raise errors.Invalid(f"GOVERN_PORT: {self.port} is no port", field="GOVERN_PORT")
        if self.database_url and not self.database_url.startswith(
            ("sqlite:///", "postgresql+psycopg://")
        ):
            raise errors.Invalid(
                "GOVERN_DATABASE_URL: only sqlite:/// and postgresql+psycopg:// are served",
                field="GOVERN_DATABASE_URL",
            )
        if self.replica_url and not all(
            url.startswith("postgresql+psycopg://") for url in (self.replica_url, self.database_url)
        ):
            raise errors.Invalid(
                "GOVERN_REPLICA_URL: only a postgresql+psycopg:// has replicas",
                field="GOVERN_REPLICA_URL",
            )
        if not 0 < self.export_days < 1000:  # noqa: PLR2004 - three years are no while
            raise errors.Invalid(
                f"GOVERN_EXPORT_DAYS: {self.export_days} is not 1 to 999 days",
                field="GOVERN_EXPORT_DAYS",
            )
        self._check_mail()
        _sealing_keys_told(self.sealing_keys)
        if self.security_contact and not _CONTACT.fullmatch(self.security_contact):
            raise errors.Invalid(
                "GOVERN_SECURITY_CONTACT: a mailto: or https: address, such as "
                "mailto:security@example.com",
                field="GOVERN_SECURITY_CONTACT",
            )

    def _check_mail(self) -> None:
        """Refuse a mail server that cannot be meant; its address may be secret and is not told."""
        try:
            server = urlsplit(self.smtp_url)
            sensible = server.scheme in {"smtp", "smtps"} and bool(server.hostname)
            # The port is read when asked for, and raises when it is none.
            sensible &= server.port != 0 and (server.path, server.query) in {("", ""), ("/", "")}
            sensible &= (server.username is None) == (server.password is None)
        except ValueError:
            sensible = False
        if self.smtp_url and not sensible:
            raise errors.Invalid(
                "GOVERN_SMTP_URL is not smtp:// or smtps://, a user with a password, or none, "
                "a host and a port",
                field="GOVERN_SMTP_URL",
            )
        if self.smtp_url and not _ADDRESS.fullmatch(self.mail_from):
            raise errors.Invalid(
                "GOVERN_MAIL_FROM: mail takes an address that it comes from, such as "
                "access@example.com",
                field="GOVERN_MAIL_FROM",
            )

    @property
    def url(self) -> str:
        """The main database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'govern.db'}"

    @property
    def access_url(self) -> str:
        """The access log's database: a file of its own on SQLite, the same one on PostgreSQL."""
        if self.url.startswith("sqlite"):
            return f"{self.url}.access"
        return self.url

    @property
    def secure(self) -> bool:
        """Whether browsers reach us over HTTPS."""
        return self.public_url.startswith("https:")

    @property
    def example_accounts(self) -> Path:
        """Where the example world writes its accounts; that it is there marks the world as one."""
        return self.data_dir / "example-accounts.json"

    @property
    def keys_dir(self) -> Path:
        """Where the keys lie: never in the database that they protect."""
        return self.data_dir / "keys"

    @property
    def exports_dir(self) -> Path:
        """Where exports are written in the background."""
        return self.export_dir or self.data_dir / "exports"

    @property
    def signer_dir(self) -> Path:
        """The log signer's memory: its key and the heads that it signed last."""
        return self.data_dir / "signer"


def from_environment(env: Mapping[str, str] | None = None) -> Settings:
    """Read GOVERN_*; an unknown name is refused, since a misspelt setting is a silent default."""
    env = os.environ if env is None else env
    known = {
        "GOVERN_DATA_DIR",
        "GOVERN_DATABASE_URL",
        "GOVERN_REPLICA_URL",
        "GOVERN_PUBLIC_URL",
        "GOVERN_PORT",
        "GOVERN_ORIGIN",
        "GOVERN_FOLLOWERS",
        "GOVERN_ACCESS_LOG_DAYS",
        "GOVERN_EXPORT_DIR",
        "GOVERN_EXPORT_DAYS",
        "GOVERN_SMTP_URL",
        "GOVERN_MAIL_FROM",
        "GOVERN_SEALING_KEYS",
        "GOVERN_SEALING_KEYS_FILE",
        "GOVERN_SECURITY_CONTACT",
    }
    unknown = sorted(name for name in env if name.startswith("GOVERN_") and name not in known)
    if unknown:
        raise errors.Invalid(f"{unknown[0]} is no setting of govern", field=unknown[0])
    port = env.get("GOVERN_PORT", "8000")
    if not (port.isascii() and port.isdigit()):
        raise errors.Invalid(f"GOVERN_PORT: {port} is no port", field="GOVERN_PORT")
    followers = env.get("GOVERN_FOLLOWERS", "1")
    if followers not in {"0", "1"}:
        raise errors.Invalid("GOVERN_FOLLOWERS is 1 or 0", field="GOVERN_FOLLOWERS")
    days = env.get("GOVERN_ACCESS_LOG_DAYS", "400")
    if not (days.isascii() and days.isdigit() and len(days) <= 5):  # noqa: PLR2004 - 273 years
        raise errors.Invalid(
            f"GOVERN_ACCESS_LOG_DAYS: {days} is no number of days", field="GOVERN_ACCESS_LOG_DAYS"
        )
    kept = env.get("GOVERN_EXPORT_DAYS", "7")
    if not (kept.isascii() and kept.isdigit()):
        raise errors.Invalid(
            f"GOVERN_EXPORT_DAYS: {kept} is no number of days", field="GOVERN_EXPORT_DAYS"
        )
    folder = env.get("GOVERN_EXPORT_DIR", "")
    return Settings(
        data_dir=Path(env.get("GOVERN_DATA_DIR", "var")).resolve(),
        database_url=env.get("GOVERN_DATABASE_URL", ""),
        replica_url=env.get("GOVERN_REPLICA_URL", ""),
        public_url=env.get("GOVERN_PUBLIC_URL", f"http://127.0.0.1:{port}").rstrip("/"),
        origin=env.get("GOVERN_ORIGIN", "govern.localhost"),
        followers=followers == "1",
        port=int(port),
        access_log_days=int(days),
        export_dir=Path(folder).resolve() if folder else None,
        export_days=int(kept),
        smtp_url=env.get("GOVERN_SMTP_URL", ""),
        mail_from=env.get("GOVERN_MAIL_FROM", ""),
        sealing_keys=_sealing_keys_given(env),
        security_contact=env.get("GOVERN_SECURITY_CONTACT", ""),
    )


def _sealing_keys_given(env: Mapping[str, str]) -> str:
    told, name = env.get("GOVERN_SEALING_KEYS", ""), env.get("GOVERN_SEALING_KEYS_FILE", "")
    if told and name:
        raise errors.Invalid(
            "GOVERN_SEALING_KEYS and GOVERN_SEALING_KEYS_FILE: one of them",
            field="GOVERN_SEALING_KEYS",
        )
    return secret(Path(name)).decode("ascii", "replace") if name else told


# --- keys --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SealingKey:
    """A key of sealed columns; one of an example world says so, wherever it is carried."""

    value: bytes = field(repr=False)
    is_example: bool


SEALING_KEY_IDS = range(1, 256)  # one byte; 0 is for what is sealed by no such key
_EXAMPLE = b"example:"
_BYTES = 32


def sealing_keys(settings: Settings) -> dict[int, SealingKey]:
    """The keys of sealed columns that this node has, by their numbers."""
    if settings.sealing_keys:
        return _sealing_keys_told(settings.sealing_keys)
    found = {}
    for path in settings.keys_dir.glob("sealing-*.key"):
        number = path.stem.removeprefix("sealing-")
        if number.isascii() and number.isdigit() and int(number) in SEALING_KEY_IDS:
            found[int(number)] = _sealing_key(secret(path), path.name)
    return found


def _sealing_keys_told(told: str) -> dict[int, SealingKey]:
    found = {}
    for word in told.replace(",", " ").split():
        number, _, encoded = word.partition(":")
        try:
            value = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            value = b""
        sensible = number.isascii() and number.isdigit() and int(number) in SEALING_KEY_IDS
        if not sensible or int(number) in found:
            raise errors.Invalid(
                "GOVERN_SEALING_KEYS is not NUMBER:BASE64, with each number from 1 to 255 once",
                field="GOVERN_SEALING_KEYS",
            )
        found[int(number)] = _sealing_key(value, f"GOVERN_SEALING_KEYS, {int(number)}")
    return found


def _sealing_key(content: bytes, where: str) -> SealingKey:
    value = content.removeprefix(_EXAMPLE) if len(content) > _BYTES else content
    if len(value) != _BYTES:
        raise errors.Unavailable(f"{where}: this is no key of {_BYTES} bytes")
    return SealingKey(value=value, is_example=len(content) > _BYTES)


def make_sealing_key(settings: Settings, number: int, *, is_example: bool = False) -> None:
    """Make the file of a sealing key, once."""
    value = (_EXAMPLE if is_example else b"") + secrets.token_bytes(_BYTES)
    make_secret(settings.keys_dir / f"sealing-{number}.key", value)


def mark_as_examples(settings: Settings) -> None:
    """Let every file of a sealing key say that it is of an example world."""
    for number, key in ({} if settings.sealing_keys else sealing_keys(settings)).items():
        draft = settings.keys_dir / f"sealing-{number}.draft"
        draft.unlink(missing_ok=True)
        make_secret(draft, _EXAMPLE + key.value)
        draft.replace(settings.keys_dir / f"sealing-{number}.key")


def secret(path: Path) -> bytes:
    """Read a key file, and refuse it when anyone but its owner could."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise errors.Unavailable(f"{path.name} is missing: run `govern db upgrade`") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise errors.Unavailable(f"{path.name} can be read by others: chmod 600 it")
    return path.read_bytes()


def make_secret(path: Path, value: bytes | None = None) -> bytes:
    """Make a key file (32 random bytes unless told) readable by its owner alone, once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return secret(path)
    # Under its name it is whole: whoever looks for keys meanwhile finds it, or none.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32) if value is None else value)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    return secret(path)


def keep(path: Path, text: str) -> None:
    """Put a file in place of what was there, whole and on the disk when this returns."""
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut could bring the older file back
    finally:
        os.close(folder)
