"""What can go wrong, in the words of the domain; each surface has its own names for it.

    GovernError
    ├── Invalid                   what was asked makes no sense; `field` names the culprit
    │   ├── UnknownPeople         some of many names are nobody's: `names`, by their lines
    │   └── WindowInvalid         ends before it starts, or never
    ├── Unknown                   no such thing, or none that the caller may know of
    ├── Unauthenticated           nobody is signed in, or no longer
    │   ├── SignInFailed          the same words for every cause
    │   └── TooManyAttempts       wait `retry_after` seconds
    ├── Forbidden                 signed in, but not allowed
    │   ├── FactorRequired        a second factor must be enrolled first
    │   ├── FreshFactorRequired   the second factor was shown too long ago
    │   └── SamePerson            the act takes a second person, and this is the first
    └── Conflict                  it made sense once, but the world has moved
        ├── AlreadyExists
        ├── AlreadyEnded          revoked, lifted, decided, offboarded before
        ├── Held                  a suspension stands in the way
        ├── NeedsSecondPerson     one person alone may not admit who is held
        ├── ReturnsUnlisted       the lift would admit someone not on the list shown
        ├── Stale                 the form was filled against an older state
        └── Brake                 the number typed is not the number at stake
    Unavailable                   the service cannot answer truthfully, so it does not answer
    ├── Busy                      as many as may are at it already: wait `retry_after` seconds
    ├── RecordFailed              the record could not be written, so nothing was done
    └── LogDamaged                the database is behind its signed log, or contradicts it
    UnauditedChange               a bug: a change of an audited row without its record

No status codes here: see `web/problems.py` and `cli.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class GovernError(Exception):
    """Root of all that a user can meet. `code` is the stable name, `message` one plain sentence.

    A sentence that people meet in their own language is given with named places, `%(wait)d`, and
    what stands there (`values`): `template` is what its translation is looked up by.

    `aftermath` is what a refusal itself leaves behind (a counter, a record): it is committed in a
    transaction of its own, after the refused one was rolled back and before this is raised on.
    """

    aftermath: Callable[[Any], None] | None = None

    def __init__(self, message: str, *, field: str | None = None, **values: object) -> None:
        self.template, self.values = message, values
        self.message = message % values if values else message
        super().__init__(self.message)
        self.field = field

    @property
    def code(self) -> str:
        """The class's name in snake case: the stable code that every surface shows."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


class Invalid(GovernError):
    """What was asked makes no sense; `field` names the part at fault."""


class UnknownPeople(Invalid):
    """Some of many names are nobody's; `names` has each with its line."""

    SHOWN = 20

    def __init__(self, names: list[tuple[int, str]], *, of: int) -> None:
        shown = [f"line {line} “{_fit(name)}”" for line, name in names[: self.SHOWN]]
        if len(names) > self.SHOWN:
            shown.append(f"and {len(names) - self.SHOWN:,} more")
        verb = "name is" if len(names) == 1 else "names are"
        super().__init__(
            f"{len(names):,} of {of:,} {verb} nobody's: {', '.join(shown)}. Correct the list, or "
            "say that they are left out.",
            field="people",
        )
        self.names = names


def _fit(name: str) -> str:
    """A name as it may be repeated on a page or a terminal."""
    name = name if name.isprintable() else ascii(name)[1:-1]
    return name if len(name) <= 80 else f"{name[:80]}…"  # noqa: PLR2004 - a line's worth


class WindowInvalid(Invalid):
    """A window that ends before it starts, or never ends."""


class Unknown(GovernError):
    """No such thing, or none that the caller may know of: the two are not told apart."""


class Unauthenticated(GovernError):
    """Nobody is signed in, or no longer."""


class SignInFailed(Unauthenticated):
    """Sign-in was refused; the words do not tell why."""


class TooManyAttempts(Unauthenticated):
    """Too many wrong tries for this person; `retry_after` is in seconds."""

    def __init__(
        self, message: str, *, retry_after: int, field: str | None = None, **values: object
    ) -> None:
        super().__init__(message, field=field, **values)
        self.retry_after = retry_after


class Forbidden(GovernError):
    """Known, but not allowed; `permission` is what the caller holds nowhere, if it is that."""

    permission: str | None = None


class FactorRequired(Forbidden):
    """Nobody passes without a second factor: enrol one first."""


class FreshFactorRequired(Forbidden):
    """The act asks for a second factor shown within the last five minutes."""


class SamePerson(Forbidden):
    """The act takes two people who did not make one another."""


class Conflict(GovernError):
    """It made sense once, but the world has moved."""


class AlreadyExists(Conflict):
    """The code, address or id is taken."""


class AlreadyEnded(Conflict):
    """It was revoked, lifted, decided or offboarded before."""


class Held(Conflict):
    """A suspension stands in the way of this act."""


class NeedsSecondPerson(Conflict):
    """One person alone may not admit whom a suspension holds: ask, and let another approve."""


class ReturnsUnlisted(Conflict):
    """The lift would admit someone who was not on the list that was shown."""


class Stale(Conflict):
    """The form was filled against an older state; nothing was overwritten."""


class Brake(Conflict):
    """The number typed is not the number at stake."""


class Unavailable(GovernError):
    """The service cannot answer truthfully, so it does not answer."""


class Busy(Unavailable):
    """As many as may do this at once; `retry_after` is in seconds."""

    def __init__(
        self, message: str, *, retry_after: int, field: str | None = None, **values: object
    ) -> None:
        super().__init__(message, field=field, **values)
        self.retry_after = retry_after


class RecordFailed(Unavailable):
    """The record could not be written, so nothing was done."""


class LogDamaged(Unavailable):
    """The database is behind its signed log, or contradicts it."""


class UnauditedChange(RuntimeError):
    """A bug, never a user's mistake: an audited row changed without a record of it."""
