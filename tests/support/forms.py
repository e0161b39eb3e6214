"""The forms of a page as a browser without a script knows them: where each goes, and its controls.

`sent` gives what would be sent if a person pressed the button without touching anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_NAMED = {"input", "textarea", "select", "button"}
_VOID = {"input", "img", "meta", "link", "br"}
_ASIDE = {"submit", "button", "reset"}


@dataclass
class Control:
    """One named control; `kind` is an input's type, else the element's own name.

    `described` are the ids of the errors that it is described by, its group's among them.
    """

    name: str
    kind: str
    attributes: dict[str, str]
    value: str = ""
    chosen: bool = True
    options: list[str] = field(default_factory=list)
    described: str = ""


@dataclass
class Form:
    """One form, with the buttons that send it."""

    action: str
    method: str
    controls: list[Control] = field(default_factory=list)
    buttons: list[Control] = field(default_factory=list)

    def sent(self) -> dict[str, list[str]]:
        """What a browser sends of it as it stands, files and buttons aside."""
        found: dict[str, list[str]] = {}
        for each in self.controls:
            if each.chosen and each.kind != "file":
                found.setdefault(each.name, []).append(each.value)
        return found

    def named(self, name: str) -> list[Control]:
        """The controls of one name: several where one chooses among them."""
        return [each for each in self.controls if each.name == name]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.texts: dict[str, str] = {}
        self._form: Form | None = None
        self._filling: Control | None = None
        self._inside: list[tuple[str, str]] = []
        self._groups: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given and tag not in _VOID:
            self._inside.append((tag, given["id"]))
            self.texts[given["id"]] = ""
        if tag == "fieldset":
            self._groups.append(given.get("aria-describedby", ""))
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "option" and self._filling is not None:
            value = given.get("value", "")
            self._filling.options.append(value)
            if len(self._filling.options) == 1 or "selected" in given:
                self._filling.value = value
        elif tag in _NAMED and self._form is not None:
            self._take(tag, given)

    def _take(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        kind = given.get("type", "text" if tag == "input" else "submit" if tag == "button" else tag)
        one = Control(given.get("name", ""), kind, given, given.get("value", ""))
        groups = " ".join([given.get("aria-describedby", ""), *self._groups])
        one.described = " ".join(part for part in groups.split() if part.startswith("e-"))
        if kind in {"radio", "checkbox"}:
            one.chosen, one.value = "checked" in given, given.get("value", "on")
        if kind in _ASIDE:
            self._form.buttons.append(one)
        elif one.name and "disabled" not in given:
            self._form.controls.append(one)
            self._filling = one if tag in {"textarea", "select"} else None

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == "fieldset":
            self._groups.pop()
        if tag in {"textarea", "select"}:
            if tag == "textarea" and self._filling is not None:
                self._filling.value = self._filling.value.removeprefix("\n")
            self._filling = None
        for place in range(len(self._inside) - 1, -1, -1):
            if self._inside[place][0] == tag:
                del self._inside[place]
                break

    def handle_data(self, data: str) -> None:
        if self._filling is not None and self._filling.kind == "textarea":
            self._filling.value += data
        for _tag, name in self._inside:
            self.texts[name] += data


def read(page: str) -> tuple[list[Form], dict[str, str]]:
    """A page's forms in order, and the words inside each element that has an id."""
    reader = _Reader()
    reader.feed(page)
    return reader.forms, reader.texts


def to(page: str, action: str) -> list[Form]:
    """The forms of a page that are sent to an address."""
    return [form for form in read(page)[0] if form.method == "post" and form.action == action]
