"""People are found by the beginnings of the words of their names, and by those of now alone."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern.access import bulk, deriving, holdings, lists
from govern.access.holdings import known
from govern.identity import subjects, words
from govern.identity.words import SubjectWord
from tests.factory import OPERATOR

if TYPE_CHECKING:
    import pytest

    from tests.factory import World

NAMES = {
    "p1": "Ada Muñoz-King", "p2": "VIKTOR O'Brien", "p3": "王小明", "p4": "فاطمة الزهراء",
    "p5": "कुमार सानू", "p6": "Straße Çelik", "p7": "King King", "p8": "% _",
}  # fmt: skip


FOUND = {
    "king": "p1 p7", "KING ada": "p1", "munoz": "p1", "MUÑ": "p1", "muñoz-k": "p1", "iktor": "",
    "o'brien": "p2", "brien v": "p2", "王": "p3", "小明": "p3", "明": "p3", "فاطِمة": "p4",
    "زهراء": "p4", "कुमार": "p5", "मार": "p5", "strasse": "p6", "celik": "p6",
    "king king": "p1 p7", "king p7": "", "P7": "p7", "p7@": "p7", "%": "", "_": "",
    "king %": "p1 p7", " ".join(map(str, range(99))): "", "x" * 2000: "",
    " ".join(f"k{n}" for n in range(999)): "",
}  # fmt: skip


def test_what_is_typed_finds_whose_names_have_words_that_begin_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for external_id, name in NAMES.items():
        world.subject(external_id, full_name=name)
    act = bulk.ACTS["suspend"]
    for few, (typed, found) in product((5000, 0), FOUND.items()):
        monkeypatch.setattr(known, "_FEW", few)
        asked = lists.Asked(filters={"q": typed})
        with world.store.reading() as session:
            people = holdings.people(session, query=typed, by=OPERATOR).rows
            rows = lists.page(session, lists.PEOPLE, asked, by=OPERATOR).rows
            acted = bulk.preview(session, act, asked, by=OPERATOR).people
        assert " ".join(one.external_id for one in people) == found, typed
        assert " ".join(row["external_id"] for row in rows) == found, typed
        assert acted == len(found.split()), typed


def test_words_are_those_of_the_name_of_now(world: World) -> None:
    person = world.subject("p1", full_name="Ada King")
    world.do(lambda s: subjects.change(s, s.merge(person), full_name="Ada Byron", by=OPERATOR))
    with world.store.reading() as session:
        told = session.execute(select(SubjectWord.word).order_by(SubjectWord.word)).scalars()
        assert list(told) == ["ada", "byron"]
    assert deriving.differences(world.store) == []


def test_a_word_is_never_longer_than_its_column() -> None:
    assert max(map(len, words.beginnings("x" * 200 + " " + "明" * 200))) == words.LONGEST
