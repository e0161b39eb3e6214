"""Errors: a tree of what can go wrong, each with a stable code."""

from __future__ import annotations

import re

from govern import errors


def every(kind: type[errors.GovernError] = errors.GovernError) -> list[type[errors.GovernError]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in every(sub))]


def test_every_error_is_drawn_in_the_tree_with_its_parent() -> None:
    assert errors.__doc__ is not None
    parents: dict[int, str] = {}
    drawn = {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"^    ([ │├└─]*)(\w+)(?: {2,}.*)?$", line)
        if found is None or not hasattr(errors, found[2]):
            continue
        depth, name = len(found[1]) // 4, found[2]
        drawn[name] = parents.get(depth - 1)
        parents[depth] = name
    for kind in every()[1:]:
        assert drawn[kind.__name__] in {kind.__mro__[1].__name__, None}, kind
    assert drawn.keys() >= {kind.__name__ for kind in every()}


def test_codes_are_the_names_in_snake_case_and_differ() -> None:
    assert errors.ReturnsUnlisted("x").code == "returns_unlisted"
    assert errors.TooManyAttempts("x", retry_after=3).code == "too_many_attempts"
    codes = [re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in every()]
    assert len(set(codes)) == len(codes)


def test_a_bug_is_no_users_error() -> None:
    assert not issubclass(errors.UnauditedChange, errors.GovernError)
