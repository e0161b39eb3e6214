"""The words of people's names, by the beginnings of which people are found without reading of all.

A word is a run of letters and digits, without case and accents, so that “munoz” finds Muñoz. It is
derived from the name alone: whoever changes a name keeps its words (`keep`), and `log fsck` holds
them against it.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from sqlalchemy import Index, delete, insert
from sqlalchemy.orm import Mapped, mapped_column

from govern.db import Base, Id, references, text_column

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as OrmSession

# Letters of a word that count: nobody types more of one, and an index takes no more of it well.
LONGEST = 40


class SubjectWord(Base):
    """A word of the name of a person."""

    __tablename__ = "subject_word"
    __table_args__ = (
        Index("ix_subject_word_word", "word", "subject_id"),
        {"sqlite_with_rowid": False},
    )

    subject_id: Mapped[Id] = mapped_column(references("subject.id"), primary_key=True)
    word: Mapped[str] = mapped_column(text_column(LONGEST), primary_key=True)


def words(text: str) -> set[str]:
    """The words of a name, or of what is typed to find one."""
    bare = "".join(
        sign
        for sign in unicodedata.normalize("NFKD", text.casefold())
        if not unicodedata.combining(sign)
    )
    kept = (
        sign if unicodedata.category(sign)[0] in "LMN" else " "  # letters, their marks, digits
        for sign in unicodedata.normalize("NFC", bare)
    )
    return {word[:LONGEST] for word in "".join(kept).split()}


def beginnings(name: str) -> set[str]:
    """Where somebody of this name is found: at each of its words.

    Scripts without capitals write articles and parts of names together with what follows, so there
    each letter begins a word: both 王 and 小明 find 王小明.
    """
    found = words(name)
    for word in tuple(found):
        if unicodedata.category(word[0]) == "Lo":
            found.update(word[place:] for place in range(1, len(word)))
    return found


def keep(session: OrmSession, subject_id: str, name: str) -> None:
    """Take up the words of a new name; under the lock of the house's head, or another's may stay.

    What was there of an old name goes.
    """
    session.execute(delete(SubjectWord).where(SubjectWord.subject_id == subject_id))
    if rows := [{"subject_id": subject_id, "word": word} for word in sorted(beginnings(name))]:
        session.execute(insert(SubjectWord), rows)
