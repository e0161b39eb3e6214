"""Languages: what govern speaks, and its sentences in each of them.

English is what the code and the templates say; each other language has one catalogue beside this
file, translations/LANGUAGE.po, which is read as it stands: nothing compiled can be older than it.
`python3 dev.py words` brings the catalogues up to the sentences of the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from babel.dates import format_date, get_timezone_gmt
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

# By the name that each goes by among its own speakers.
NAMES = {"en": "English", "de": "Deutsch", "es": "Español"}
DEFAULT = "en"
FOLDER = Path(__file__).parent / "translations"


@cache
def catalogue(language: str) -> NullTranslations:
    """The sentences of a language; those of English for one that is not spoken here."""
    if language == DEFAULT or language not in NAMES:
        return NullTranslations()
    with (FOLDER / f"{language}.po").open("rb") as file:
        written = read_po(file, locale=language)
    compiled = BytesIO()
    write_mo(compiled, written)
    compiled.seek(0)
    return Translations(compiled)


def later(sentence: str) -> str:
    """The sentence itself, which a `Voice` says in some language later; marks it to be gathered."""
    return sentence


@dataclass(frozen=True)
class Voice:
    """How one person is spoken to where no page is: in their language, on their own clock."""

    language: str = DEFAULT
    zone: ZoneInfo | None = None

    def __call__(self, sentence: str, **values: object) -> str:
        """A sentence in this language, with what stands in its places."""
        said = catalogue(self.language).gettext(sentence)
        return said % values if values else said

    def number(self, value: float) -> str:
        """A number with this language's own separators."""
        return str(format_decimal(value, locale=self.language))

    def when(self, at: datetime) -> str:
        """An instant to the minute, with what sets its clock apart from UTC."""
        here = at.astimezone(self.zone) if self.zone else at
        named = get_timezone_gmt(here, "long", locale=self.language) if self.zone else "UTC"
        if self.language == DEFAULT:
            return f"{here:%Y-%m-%d %H:%M} {named}"
        day = format_date(here, "medium", locale=self.language)
        return f"{day}, {here:%H:%M} {named}"
