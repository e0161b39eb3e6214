"""Settings: read once from GOVERN_* variables, frozen, and refused when they are not safe.

Everything secret that is ours lives in files of the data directory that `govern db upgrade` makes,
readable by their owner alone; a variable holds at most the password of the database or of the mail
server, inside its address.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from govern import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one installation is told from outside.

    `data_dir` holds the SQLite files, the keys and the signer's memory. `replica_url` is that of a
    streaming replica of the PostgreSQL at `database_url`, for what is only shown. `origin` is the
    C2SP name under which the logs are signed; it is taken at the first `db upgrade` and never
    changes. `access_log_days` is how long rows of the access log stay, 0 for ever. Mail goes out
    from `mail_from` by the server at `smtp_url` (`smtp://USER:PASSWORD@HOST:PORT`, or `smtps://`,
    each part encoded as in any address); without one nobody is mailed.
    """

    data_dir: Path
    database_url: str = ""
    replica_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    origin: str = "govern.localhost"
    followers: bool = True
    port: int = 8000
    access_log_days: int = 400
    smtp_url: str = field(default="", repr=False)
    mail_from: str = ""

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
        self._check_mail()

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
        "GOVERN_SMTP_URL",
        "GOVERN_MAIL_FROM",
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
    return Settings(
        data_dir=Path(env.get("GOVERN_DATA_DIR", "var")).resolve(),
        database_url=env.get("GOVERN_DATABASE_URL", ""),
        replica_url=env.get("GOVERN_REPLICA_URL", ""),
        public_url=env.get("GOVERN_PUBLIC_URL", f"http://127.0.0.1:{port}").rstrip("/"),
        origin=env.get("GOVERN_ORIGIN", "govern.localhost"),
        followers=followers == "1",
        port=int(port),
        access_log_days=int(days),
        smtp_url=env.get("GOVERN_SMTP_URL", ""),
        mail_from=env.get("GOVERN_MAIL_FROM", ""),
    )


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
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return secret(path)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32) if value is None else value)
        file.flush()
        os.fsync(file.fileno())
    return secret(path)
