"""Each catalogue says all that the code says, and each reader is spoken to in theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from govern import languages
from govern.identity.subjects import Subject
from tests import words
from tests.web import desks
from tests.web.visitor import Visitor

if TYPE_CHECKING:
    from flask import Flask

    from tests.factory import World

OTHERS = [language for language in languages.NAMES if language != languages.DEFAULT]


def forms(said: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Each form of a sentence: one, or one for each number that a language tells apart."""
    return (said,) if isinstance(said, str) else tuple(said)


def places(sentence: str) -> set[str]:
    """What is filled in."""
    return set(re.findall(r"%\(\w+\)[a-z]|%%", sentence))


def test_whoever_works_here_is_told_everything_in_their_own_language() -> None:
    """`dev.py words` names what is not; each such sentence is to be written in each catalogue."""
    said = {sentence.id for sentence in words.gather(words.EVERYONES) if sentence.id}
    for language in OTHERS:
        catalogue = words.read(language)
        translated = {each.id for each in catalogue if each.id} - set(words.missing(catalogue))
        assert said - translated == set(), language


def test_admins_and_auditors_are_told_nearly_everything_in_their_own_language() -> None:
    """What a catalogue lacks is said in English, so that a new page may come before its words."""
    said = {sentence.id for sentence in words.gather() if sentence.id}
    for language in OTHERS:
        catalogue = words.read(language)
        translated = {each.id for each in catalogue if each.id} - set(words.missing(catalogue))
        assert len(said & translated) > 0.9 * len(said), language
        assert [each.id for each in catalogue if each.id and each.fuzzy] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_fills_in_the_same_and_holds_no_mark_of_html(language: str) -> None:
    for sentence in words.read(language):
        if not sentence.id:
            continue
        for form in forms(sentence.string):
            assert places(form) in [places(said) for said in forms(sentence.id)], form
            assert set('<>"&') & set(form) <= set("".join(forms(sentence.id))), form


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_tells_the_numbers_apart_that_its_language_does(language: str) -> None:
    sentence = ("%(num)s row on this page", "%(num)s rows on this page")
    found = languages.catalogue(language)
    assert found.ungettext(*sentence, 1) != found.ungettext(*sentence, 2)
    assert found.ungettext(*sentence, 0) == found.ungettext(*sentence, 2)


@pytest.mark.web_alone
def test_who_is_not_signed_in_is_spoken_to_as_their_browser_asks(app: Flask) -> None:
    for asked, language, button in (
        ("de-AT,de;q=0.9,en;q=0.5", "de", "Weiter"),
        ("es-MX", "es", "Continuar"),
        ("fr, es;q=0.4", "es", "Continuar"),
        ("fr", "en", "Continue"),
        ("", "en", "Continue"),
    ):
        page = Visitor.of(app).get("/sign-in", headers={"Accept-Language": asked}).text
        assert f'<html lang="{language}" dir="ltr">' in page
        assert f'type="submit">{button}</button>' in page


@pytest.mark.web_alone
def test_a_refusal_names_its_field_in_the_language_of_the_page(app: Flask) -> None:
    browser = Visitor.of(app)
    german = {"Accept-Language": "de"}
    answer = browser.post("/sign-in", {"email": "a@b.example", "password": "x"}, headers=german)
    assert answer.status_code == 401
    assert "Das hat nicht geklappt." in answer.text
    told = browser.get("/api/v1/clients", headers=german).json
    assert told is not None
    assert told["detail"].startswith("Please send")  # programs are told in English


def test_the_language_that_a_person_chose_goes_before_their_browsers(
    app: Flask, world: World
) -> None:
    person = world.subject()
    world.activate(person)
    browser = Visitor.of(app).seated(world, person)
    browser.get("/account")
    answer = browser.post("/account/language", {"language": "de"})
    assert answer.status_code == 303
    page = browser.get("/account", headers={"Accept-Language": "es"}).text
    assert '<html lang="de"' in page
    assert "Die Seiten sprechen jetzt Ihre Sprache." in page
    assert "Wie Sie sich anmelden" in page
    assert re.search(r"<time[^>]*>\d\d\.\d\d\.\d{4}, \d\d:\d\d&nbsp;UTC", page)
    assert "Sekunden" in page or "Minute" in page  # how long ago, by Babel

    refused = browser.post("/account/language", {"language": "xx"})
    assert refused.status_code == 422
    assert "Wählen Sie eine der Sprachen aus der Liste." in refused.text
    browser.post("/account/language", {"language": ""})
    assert '<html lang="es"' in browser.get("/account", headers={"Accept-Language": "es"}).text
    with world.store.reading() as session:
        assert session.get_one(Subject, person.id).language is None


@pytest.mark.web_alone
def test_every_page_of_an_admin_is_drawn_in_each_language(app: Flask, world: World) -> None:
    project = world.project("Heron")
    world.grant(world.subject(), project)
    browser = desks.desk(app, world)
    for path in ("/", "/people", "/pause", "/projects/Heron", "/integrations", "/demands"):
        for language in OTHERS:
            answer = browser.get(path, headers={"Accept-Language": language})
            assert answer.status_code == 200
            assert f'lang="{language}"' in answer.text
            assert "%(" not in answer.text
