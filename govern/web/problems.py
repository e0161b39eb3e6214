"""What the web calls the domain's errors: one table of statuses, one look for people, one for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import errors

if TYPE_CHECKING:
    from flask import Flask

STATUS: dict[type[errors.GovernError], int] = {
    errors.Invalid: 422,
    errors.WindowInvalid: 422,
    errors.Unknown: 404,
    errors.Unauthenticated: 401,
    errors.SignInFailed: 401,
    errors.TooManyAttempts: 429,
    errors.Forbidden: 403,
    errors.FactorRequired: 403,
    errors.FreshFactorRequired: 403,
    errors.SamePerson: 403,
    errors.Conflict: 409,
    errors.AlreadyExists: 409,
    errors.AlreadyEnded: 409,
    errors.Held: 409,
    errors.NeedsSecondPerson: 409,
    errors.ReturnsUnlisted: 409,
    errors.Stale: 409,
    errors.Brake: 409,
    errors.Unavailable: 503,
    errors.RecordFailed: 503,
    errors.LogDamaged: 503,
}


def install(app: Flask) -> None:
    """Answer every domain error in the shape that the caller reads."""
