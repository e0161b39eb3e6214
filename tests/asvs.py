"""Which test shows which of the forty statements on sign-in, sessions, rights and the record.

The statements are those of OWASP ASVS 5.0 and NIST SP 800-63B-4 that govern means to keep, in our
own words; each part has the id it has there (`63B-…` is a section of SP 800-63B-4). A test that
proves a part says so with `@pytest.mark.asvs("6.5.1")`. `python -m tests.asvs > docs/asvs.md`
writes the page from those marks; tests/test_house.py keeps it equal to them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Part:
    """One id, its level, and what it asks. Of level 3 only what is `meant` is promised."""

    id: str
    level: int
    words: str
    meant: bool = field(default=False, kw_only=True)

    @property
    def promised(self) -> bool:
        return self.level <= 2 or self.meant

    @property
    def level_in_words(self) -> str:
        return (
            "AAL2" if self.id.startswith("63B") else f"{self.level}{'' if self.promised else '*'}"
        )


@dataclass(frozen=True)
class Statement:
    """One of the forty."""

    title: str
    parts: tuple[Part, ...]


STATEMENTS = (
    Statement("Passwords have a least length", (
        Part("6.2.1", 1, "12 characters at least; 15 are asked for only where no second factor is"),
    )),
    Statement("Passwords are taken as they were typed", (
        Part("6.2.8", 1, "verified exactly as received: nothing trimmed, cut off or folded"),
        Part("6.2.9", 2, "at least 64 characters are accepted, of any script"),
    )),
    Statement("Passwords obey no rules of composition or age", (
        Part("6.2.5", 1, "no kind of character is demanded"),
        Part("6.2.10", 2, "none expires by age"),
    )),
    Statement("Passwords known to be guessed first are refused", (
        Part("6.2.4", 1, "the 3,000 commonest at least"),
        Part("6.2.12", 2, "those known from breaches, from a list that ships with govern"),
    )),
    Statement("Nobody ever chooses or hints at another's password", (
        Part("6.4.1", 1, "activation links are random, short-lived and good once"),
        Part("6.4.2", 1, "no hints and no questions about one's life"),
        Part("6.4.6", 3, "an admin starts a reset, and never sees or sets the password"),
    )),
    Statement("Passwords are kept and typed as the field asks", (
        Part("63B-3.1.1.2", 2, "salted and hashed memory-hard; pasting allowed, showing offered"),
    )),
    Statement("Guessing is slowed and ended, and locks nobody else out", (
        Part("6.1.1", 1, "the limits are written down, with how malice cannot use them"),
        Part("6.3.1", 1, "they hold"),
        Part("63B-3.2.2", 2, "at most 100 failures in a row; then the authenticator is disabled"),
    )),
    Statement("Accounts cannot be guessed", (
        Part("6.3.2", 1, "no account exists before somebody made it"),
        Part("6.3.8", 3, "unknown, wrong and switched off get one answer, in one time"),
    )),
    Statement("Every way in is known and as strong as the others", (
        Part("6.3.4", 2, "all ways are written down, and none asks for less"),
        Part("6.3.6", 3, "mail is no authenticator"),
    )),
    Statement("People are told what happens to their sign-in", (
        Part("6.3.5", 3, "of suspicious attempts"),
        Part("6.3.7", 3, "of changes of their factors"),
    )),
    Statement("Two factors, and a phishing-resistant one for whoever wants it", (
        Part("6.3.3", 2, "nobody signs in with a password alone"),
        Part("63B-2.2", 2, "a passkey is offered to everybody"),
    )),
    Statement("One-time means once", (
        Part("6.5.1", 2, "a code of an app or of recovery is good once, also if sent twice"),
    )),
    Statement("One-time codes are short-lived", (
        Part("6.5.5", 2, "30 seconds, and one step back for clocks that are late"),
    )),
    Statement("Seeds are random and sealed", (
        Part("6.5.3", 2, "made by the system's generator, 160 bits"),
        Part("13.3.1", 2, "kept sealed, by a key that is not in the database"),
    )),
    Statement("One-time codes cannot be tried out", (
        Part("63B-3.1.4", 2, "their failures are counted by authenticator, whatever the address"),
    )),
    Statement("Authenticators are each their own", (
        Part("6.5.6", 3, "each can be revoked, by its holder or an admin"),
        Part("6.5.7", 3, "a fingerprint or a face is never the only factor"),
        Part("6.5.8", 3, "the server's clock decides about codes"),
    )),
    Statement("Recovery codes are as good as what they stand in for", (
        Part("6.5.2", 2, "kept only as salted hashes"),
        Part("6.5.4", 2, "long enough not to be guessed"),
        Part("63B-4.2.1.1", 2, "64 bits at least, throttled, gone when used, replaced as a set"),
    )),
    Statement("Recovery is no way round the second factor", (
        Part("6.4.3", 2, "a reset password still needs the second factor"),
        Part("6.4.4", 2, "a lost factor takes the proof that its enrolment took"),
        Part("63B-4.2.2.2", 2, "an account comes back by two things of two kinds, or by people"),
    )),
    Statement("Passkeys are verified whole", (
        Part("6.7.2", 3, "a challenge is random, at least 64 bits, and good once", meant=True),
        Part("63B-B", 2, "origin, relying party and user verification are checked"),
    )),
    Statement("Sessions are rows of the server", (
        Part("7.2.1", 1, "every request is checked by the server itself"),
        Part("7.2.2", 1, "tokens are made for each session, none is static"),
        Part("7.2.3", 1, "they hold 128 random bits at least"),
    )),
    Statement("Sessions begin anew and end for good", (
        Part("7.2.4", 1, "a new token at every authentication, and the old one is dead"),
        Part("7.4.1", 1, "who signs out, or whose time is over, cannot go on"),
        Part("7.4.2", 1, "all sessions end with the account"),
    )),
    Statement("Sessions time out", (
        Part("7.1.1", 2, "the limits are written down"),
        Part("7.3.1", 2, "after being idle"),
        Part("7.3.2", 2, "after a whole time, used or not"),
        Part("63B-2.2.3", 2, "at the latest after 24 hours, or an hour idle"),
    )),
    Statement("People see and end sessions", (
        Part("7.4.3", 2, "a change of factors offers to end the others"),
        Part("7.4.4", 2, "the way out is on every page"),
        Part("7.4.5", 2, "an admin ends those of one person"),
        Part("7.5.2", 2, "everybody sees and ends their own"),
    )),
    Statement("What matters most asks again", (
        Part("7.5.1", 2, "change of factors or address takes a full sign-in"),
        Part("7.5.3", 3, "pause, lift, grant, export take a factor of 5 minutes' age", meant=True),
    )),
    Statement("How many sessions there may be, and how those of a provider end", (
        Part("7.1.2", 2, "sessions side by side: the rule is written down, and holds"),
        Part("7.6.1", 2, "a sign-in through a provider lives and ends as written down"),
        Part("7.6.2", 2, "none begins without the person's own act"),
    )),
    Statement("The session's cookie", (
        Part("3.3.1", 1, "`Secure`, and bound by its name to HTTPS"),
        Part("3.3.2", 2, "`SameSite`"),
        Part("3.3.3", 2, "`__Host-`"),
        Part("3.3.4", 2, "`HttpOnly`"),
        Part("63B-5.1", 2, "no cookie remembers a person in place of signing in"),
    )),
    Statement("No other site acts for a person", (
        Part("3.5.1", 1, "what changes something takes a token that only our pages hold"),
        Part("3.5.3", 1, "reading changes nothing"),
    )),
    Statement("Who may do what is decided by the server, for each thing", (
        Part("8.2.1", 1, "each function is for those who may use it"),
        Part("8.2.2", 1, "each thing is for those who may see it"),
        Part("8.2.3", 2, "each field is for those who may read or write it"),
        Part("8.3.1", 1, "nothing that a browser says is believed of this"),
        Part("8.4.1", 2, "nothing of one client reaches another's people"),
    )),
    Statement("A change of rights is felt by the next request", (
        Part("8.3.2", 3, "on every way a decision is asked for", meant=True),
    )),
    Statement("Decisions are about the person, not the tool", (
        Part("8.3.3", 3, "the subject asked about decides, whatever the tool itself may do"),
    )),
    Statement("Acts happen in order, whole, and by two where two are asked for", (
        Part("2.3.1", 1, "no step can be passed over"),
        Part("2.3.3", 2, "an act is carried out whole or not at all"),
        Part("2.3.5", 3, "who asks for a lift is not who approves it"),
    )),
    Statement("Tokens of others are verified whole", (
        Part("9.1.1", 1, "their signature first"),
        Part("9.1.2", 1, "only algorithms on a list, and never `none`"),
        Part("9.1.3", 1, "keys come from our own settings; what a token names is ignored"),
        Part("9.2.1", 1, "not before their time and not after"),
        Part("9.2.2", 2, "only of the type meant for the purpose"),
        Part("9.2.3", 2, "only if meant for whoever reads them"),
        Part("9.2.4", 2, "their maker names each audience apart"),
    )),
    Statement("Who takes a token looks at what it allows", (
        Part("10.3.1", 2, "its audience"),
        Part("10.3.2", 2, "its scope and its authorisation details"),
        Part("10.3.3", 2, "issuer and subject together say whose it is"),
        Part("10.3.5", 3, "it is bound to its sender"),
    )),
    Statement("The authorisation server gives tokens sparingly", (
        Part("10.4.1", 1, "redirect addresses equal a registered one letter for letter"),
        Part("10.4.2", 1, "a code is good once; used again, its tokens die"),
        Part("10.4.3", 1, "a code lives 10 minutes at most"),
        Part("10.4.4", 1, "only the grants that are needed: no implicit one, no passwords"),
        Part("10.4.6", 2, "PKCE with S256, always"),
        Part("10.4.8", 2, "a refresh token ends for good, used or not"),
        Part("10.4.9", 2, "a person takes back what they gave a tool"),
        Part("10.4.10", 2, "who revokes a token shows who they are"),
        Part("10.4.11", 2, "no more scopes than a tool was given"),
        Part("10.4.16", 3, "tools show who they are by a key, not a secret"),
    )),
    Statement("The API takes what it means to take", (
        Part("4.1.1", 1, "answers say their type, and the right one"),
        Part("4.1.2", 2, "programs are not led from HTTP to HTTPS, which would hide their mistake"),
        Part("4.1.3", 2, "headers of proxies cannot be set by users"),
        Part("4.1.4", 3, "methods that are not meant are refused"),
    )),
    Statement("The record says who, what, when, where, and no secret", (
        Part("16.1.1", 2, "what is recorded is written down"),
        Part("16.2.1", 2, "each entry says who did what, to what, and when"),
        Part("16.2.2", 2, "times are UTC, in one order"),
        Part("16.2.4", 2, "entries have one form that programs read"),
        Part("16.2.5", 2, "no password, code, seed, key or token is in it"),
    )),
    Statement("The record holds what concerns safety", (
        Part("16.3.1", 2, "every authentication, good or not, and by which factor"),
        Part("16.3.2", 2, "every refusal, and every decision", meant=True),
        Part("16.3.3", 2, "attempts to go round a control"),
        Part("16.3.4", 2, "errors that nobody foresaw"),
    )),
    Statement("The record cannot be forged or altered", (
        Part("16.4.1", 2, "no text that is recorded or exported is taken for anything else"),
        Part("16.4.2", 2, "entries are neither changed nor removed without it showing"),
        Part("16.4.3", 3, "what proves it lies outside the database", meant=True),
    )),
    Statement("Failing is safe", (
        Part("16.5.1", 2, "errors tell no details"),
        Part("16.5.2", 2, "what fails outside does not stop a pause"),
        Part("16.5.3", 2, "what cannot be decided or recorded is refused"),
        Part("16.5.4", 3, "the last resort answers what nothing else did"),
    )),
    Statement("A provider's word is verified, and only its word", (
        Part("6.8.1", 2, "a person is issuer and subject together, never an address"),
        Part("6.8.2", 2, "the signature of what it says is always checked"),
        Part("6.8.4", 2, "how and when somebody signed in there is read, never presumed"),
    )),
)  # fmt: skip

# What no test shows yet. This list only shrinks, and the page says what is on it.
NOT_SHOWN_YET: frozenset[str] = frozenset()


def parts() -> dict[str, Part]:
    """Every part by its id."""
    return {part.id: part for statement in STATEMENTS for part in statement.parts}


@dataclass(frozen=True, order=True)
class Showing:
    """A test that bears the mark, and for what."""

    file: str
    test: str
    ids: tuple[str, ...]


def showings() -> list[Showing]:
    """Every marked test, read from the sources without running any."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.asvs" in text and path != Path(__file__):
            found += list(_marked(path, ast.parse(text)))
    return sorted(found)


def _marked(path: Path, tree: ast.Module) -> Iterator[Showing]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        ids: list[str] = []
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(
                "mark.asvs"
            ):
                ids += [str(ast.literal_eval(argument)) for argument in decorator.args]
        if ids:
            yield Showing(path.relative_to(ROOT).as_posix(), node.name, tuple(ids))


def tests_of() -> dict[str, list[Showing]]:
    """The tests that show each id."""
    found: dict[str, list[Showing]] = {}
    for showing in showings():
        for name in showing.ids:
            found.setdefault(name, []).append(showing)
    return found


def empty(shown: dict[str, list[Showing]]) -> list[int]:
    """The numbers of the statements of which nothing at all is shown."""
    return [
        number
        for number, statement in enumerate(STATEMENTS, 1)
        if not any(part.id in shown for part in statement.parts)
    ]


_HEAD = """\
# What is shown of OWASP ASVS 5.0 and NIST SP 800-63B-4

Forty statements on sign-in, sessions, rights and the record, in our own words: all of level 2 that
concerns them, and those of level 3 that the product stands for. Beside each part stand the tests
that show it; they run with every `python3 dev.py test`, on both databases where one is concerned.
A level with a star is one of level 3 that is not promised; where it is shown all the same, it is
said. `63B-…` are sections of SP 800-63B-4.

Written from the marks on the tests; `.venv/bin/python -m tests.asvs > docs/asvs.md` writes it anew.
"""


def render() -> str:
    """The page as Markdown."""
    shown = tests_of()
    lines = [_HEAD, *_summary(shown)]
    for number, statement in enumerate(STATEMENTS, 1):
        lines += ["", f"## {number}. {statement.title}", "", "| id | level | what | shown by |",
                  "|---|---|---|---|"]  # fmt: skip
        for part in statement.parts:
            proofs = "<br>".join(
                f"[{item.test.removeprefix('test_').replace('_', ' ')}](../{item.file})"
                for item in shown.get(part.id, [])
            )
            none = "**not shown yet**" if part.promised else "not promised"
            lines.append(f"| {part.id} | {part.level_in_words} | {part.words} | {proofs or none} |")
    return "\n".join(lines) + "\n"


def _summary(shown: dict[str, list[Showing]]) -> Iterator[str]:
    promised = [part.id for part in parts().values() if part.promised]
    lacking = [name for name in promised if name not in shown]
    nothing = ", ".join(map(str, empty(shown)))
    yield f"Of {len(promised)} promised parts, {len(promised) - len(lacking)} are shown."
    if lacking:
        yield f"Not shown yet: {', '.join(lacking)}."
    if nothing:
        yield f"Statements of which no part is shown yet: {nothing}."


if __name__ == "__main__":
    print(render(), end="")
