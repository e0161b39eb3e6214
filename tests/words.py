"""`python3 dev.py words`: bring the catalogues of translations up to the sentences of the code.

A sentence is what templates and pages give to gettext, and what the domain says to people by a
table or a refusal: those rooms know nothing of languages, so theirs are gathered here.
"""

from __future__ import annotations

import ast
import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from govern import errors, languages
from govern.access import demands, evaluation
from govern.audit import events

ROOT = Path(__file__).parent.parent
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2),
    "say": None, "later": None,  # of mails and receipts
}  # fmt: skip
# What the tables of the domain say to people.
TABLES = (events.SENTENCES, demands.SENTENCES, evaluation.REASONS)
# Whose refusals people read on their own pages.
REFUSING = (
    "govern/identity/account.py", "govern/identity/activation.py",
    "govern/identity/authenticators.py", "govern/identity/federation/flow.py",
    "govern/identity/federation/links.py", "govern/identity/federation/wire.py",
    "govern/identity/passkeys.py", "govern/identity/passwords.py", "govern/identity/recovery.py",
    "govern/identity/preferences.py", "govern/identity/resets.py", "govern/identity/sessions",
    "govern/identity/throttle.py",
    "govern/access/tokens/mine.py", "govern/access/suspensions/notices.py",
    "govern/access/lists/keeping.py", "govern/web/guard.py", "govern/web/pages",
)  # fmt: skip


# Where people read who are no admins and no auditors.
EVERYONES = (
    "templates/auth", "templates/components", "templates/contractor", "templates/errors",
    "govern/web/pages/auth.py", "govern/web/pages/authenticators.py", "govern/web/pages/base.py",
    "govern/web/pages/contractor.py", "govern/web/pages/reset.py",
    "govern/web/pages/single_sign_on.py",
)  # fmt: skip


SAID = (
    "templates", "govern/web", "govern/signals/mail", "govern/access/suspensions/receipt_file.py",
    "govern/audit/receipts.py",
)  # fmt: skip


def gather(places: tuple[str, ...] = SAID) -> Catalog:
    """Every sentence said in these places, and by the domain; those with a plural as pairs."""
    found = Catalog(charset="utf-8")
    for place in places:
        path = ROOT / place
        files = [path] if path.is_file() else [*path.rglob("*.html"), *path.rglob("*.py")]
        for file in sorted(files):
            method = "python" if file.suffix == ".py" else "jinja2.ext:babel_extract"
            said = extract_from_file(method, file, KEYWORDS, options={"silent": "false"})
            for _line, sentence, _comments, _context in said:
                found.add(sentence)
    for table in TABLES:
        for sentence in table.values():
            found.add(sentence)
    trees = [
        ast.parse(file.read_text(encoding="utf-8"))
        for place in REFUSING
        for path in [ROOT / place]
        for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))
    ]
    named = {
        target.id: each.value
        for tree in trees
        for each in tree.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    for tree in trees:
        for sentence in _refusals(tree, named):
            found.add(sentence)
    return found


def _refusals(tree: ast.Module, named: dict[str, ast.expr]) -> list[str]:
    """The sentences that a file's errors are raised with: written there, or under a name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "over":  # handed on to who raises it
            said = node.value
            if isinstance(said, ast.Name):
                said = named.get(said.id, said)
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                found.append(said.value)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        kind = getattr(errors, node.func.attr, None)
        if not (isinstance(kind, type) and issubclass(kind, errors.GovernError)):
            continue
        said: ast.expr | None = node.args[0]
        if isinstance(said, ast.Name):
            said = named.get(said.id)
        elif isinstance(said, ast.Attribute):
            said = named.get(said.attr)
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            found.append(said.value)
    return found


def read(language: str) -> Catalog:
    """A language's catalogue as it is written."""
    path = languages.FOLDER / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language, charset="utf-8")
    with path.open("rb") as file:
        return read_po(file, locale=language)


def renewed(language: str, sentences: Catalog) -> Catalog:
    """A language's catalogue with the sentences of now; what is said no more is left out."""
    known, new = read(language), Catalog(locale=language, charset="utf-8", fuzzy=False)
    for sentence in sentences:
        if sentence.id:
            kept = known.get(sentence.id)
            new.add(sentence.id, kept.string if kept is not None else None)
    return new


def written(catalogue: Catalog) -> bytes:
    """The file's content: nothing but the sentences, in one order, so that changes stay small."""
    out = BytesIO()
    write_po(out, catalogue, width=100, sort_output=True, omit_header=True, no_location=True)
    head = (
        'msgid ""\nmsgstr ""\n'
        f'"Language: {catalogue.locale_identifier}\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
    )
    return head.encode() + out.getvalue()


def missing(catalogue: Catalog) -> list[str | tuple[str, ...]]:
    """The sentences that are not translated yet, or not in each form of their number."""
    found = []
    for sentence in catalogue:
        said = sentence.string if isinstance(sentence.string, tuple) else (sentence.string,)
        if sentence.id and not all(said):
            found.append(sentence.id if isinstance(sentence.id, str) else tuple(sentence.id))
    return found


def main() -> int:
    """Write the catalogues; tells what is left to translate."""
    sentences = gather()
    left = 0
    for language in languages.NAMES:
        if language == languages.DEFAULT:
            continue
        catalogue = renewed(language, sentences)
        (languages.FOLDER / f"{language}.po").write_bytes(written(catalogue))
        for sentence in missing(catalogue):
            left += 1
            print(f"{language}: not translated: {sentence}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
