"""Settings: read once, refused when unsafe; keys for their owner alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from govern import config, errors
from govern.config import Settings, from_environment

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_word_it_is_sqlite_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = from_environment({})
    assert settings.data_dir == tmp_path / "var"
    assert settings.url == f"sqlite:///{tmp_path / 'var' / 'govern.db'}"
    assert settings.access_url != settings.url
    assert settings.public_url == "http://127.0.0.1:8000"
    assert not settings.secure
    assert settings.followers
    assert settings.access_log_days == 400


def test_postgresql_holds_both_logs_in_one_database() -> None:
    url = "postgresql+psycopg://govern@db/govern"
    settings = from_environment({"GOVERN_DATABASE_URL": url})
    assert settings.url == settings.access_url == url


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"GOVERN_PUBLIC_URL": "http://govern.example"}, "GOVERN_PUBLIC_URL"),
        ({"GOVERN_PUBLIC_URL": "http://127.0.0.1.evil.example"}, "GOVERN_PUBLIC_URL"),
        ({"GOVERN_PUBLIC_URL": "ftp://127.0.0.1"}, "GOVERN_PUBLIC_URL"),
        ({"GOVERN_PUBLIC_URL": "govern.example"}, "GOVERN_PUBLIC_URL"),
        ({"GOVERN_DATABSE_URL": "sqlite:///x"}, "GOVERN_DATABSE_URL"),
        ({"GOVERN_DEBUG": "1"}, "GOVERN_DEBUG"),
        ({"GOVERN_DATABASE_URL": "mysql://x"}, "GOVERN_DATABASE_URL"),
        ({"GOVERN_DATABASE_URL": "postgresql://x"}, "GOVERN_DATABASE_URL"),
        ({"GOVERN_PORT": "eighty"}, "GOVERN_PORT"),
        ({"GOVERN_PORT": "0"}, "GOVERN_PORT"),
        ({"GOVERN_PORT": "65536"}, "GOVERN_PORT"),
        ({"GOVERN_PORT": "-1"}, "GOVERN_PORT"),
        ({"GOVERN_FOLLOWERS": "yes"}, "GOVERN_FOLLOWERS"),
        ({"GOVERN_ACCESS_LOG_DAYS": "-1"}, "GOVERN_ACCESS_LOG_DAYS"),
        ({"GOVERN_REPLICA_URL": "postgresql+psycopg://replica/govern"}, "GOVERN_REPLICA_URL"),
        ({"GOVERN_SMTP_URL": "smtp://mail.example"}, "GOVERN_MAIL_FROM"),
        (
            {"GOVERN_SMTP_URL": "smtp://mail.example", "GOVERN_MAIL_FROM": "a@b\n"},
            "GOVERN_MAIL_FROM",
        ),
        ({"GOVERN_SMTP_URL": "http://mail.example"}, "GOVERN_SMTP_URL"),
        ({"GOVERN_SMTP_URL": "smtp://mail.example:99999"}, "GOVERN_SMTP_URL"),
        ({"GOVERN_SMTP_URL": "smtp://user@mail.example"}, "GOVERN_SMTP_URL"),
        ({"GOVERN_SMTP_URL": "smtp://user:pass/word@mail.example"}, "GOVERN_SMTP_URL"),
        ({"GOVERN_SMTP_URL": "mail.example"}, "GOVERN_SMTP_URL"),
        ({"GOVERN_SECURITY_CONTACT": "security@example.com"}, "GOVERN_SECURITY_CONTACT"),
        ({"GOVERN_SECURITY_CONTACT": "https://x.example/\nExpires: 1"}, "GOVERN_SECURITY_CONTACT"),
    ],
)
def test_what_is_unsafe_misspelt_or_senseless_is_refused_by_name(
    env: dict[str, str], field: str
) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        from_environment(env)
    assert refusal.value.field == field
    assert "pass/word" not in str(refusal.value)
    assert field in refusal.value.message


@pytest.mark.parametrize(
    "url", ["https://govern.example", "http://localhost:8000", "http://[::1]:8000"]
)
def test_https_or_this_machines_own_name_is_served(url: str) -> None:
    assert from_environment({"GOVERN_PUBLIC_URL": url + "/"}).public_url == url


def test_the_example_s_settings_are_frozen(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(AttributeError):
        settings.port = 1  # type: ignore[misc]  # it is frozen: the point


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sealing-1.key"
    made = config.make_secret(path)
    assert len(made) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert config.make_secret(path) == made == config.secret(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_could_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "web.key"
    config.make_secret(path)
    path.chmod(mode)
    for read in (config.secret, config.make_secret):
        with pytest.raises(errors.Unavailable, match="chmod"):
            read(path)


def test_a_key_that_is_missing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="db upgrade"):
        config.secret(tmp_path / "none.key")
