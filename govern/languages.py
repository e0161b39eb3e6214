"""Languages: what govern speaks, and its sentences in each of them.

English is what the code and the templates say; each other language has one catalogue beside this
file, translations/LANGUAGE.po, which is read as it stands: nothing compiled can be older than it.
`python3 dev.py words` brings the catalogues up to the sentences of the code.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

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
