"""Receipts: one HTML file for people to read, and for `govern log verify-receipt` to check.

It stands alone: no script, no address, nothing to load. What is proved stands in it as text, marked
by `data-govern`; everything else on the page is words about it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import TYPE_CHECKING

from sqlalchemy import select

from govern import clock
from govern.audit import inclusion, leaf
from govern.audit.log import Value
from govern.languages import Voice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from govern.audit.inclusion import Proved
    from govern.principal import Principal

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 30%, transparent); }
body { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { overflow-wrap: anywhere; font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0 .5rem; }
h1, p, dd, pre { unicode-bidi: plaintext; text-align: -webkit-match-parent;
  text-align: match-parent; }
dl { display: grid; grid-template-columns: minmax(8rem, 13rem) minmax(0, 1fr); gap: .2rem 1rem; }
dt, .quiet { opacity: .75; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
pre { font: 11px/1.35 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line);
  border-radius: 4px; padding: .5rem; margin: .25rem 0 .5rem; }
@media (max-width: 30rem) {
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: .4rem; }
}
@media print {
  @page { size: A4; margin: 12mm 14mm; }
  :root { color-scheme: light; }
  body { font-size: 9.5pt; margin: 0; padding: 0; max-width: none; color: #000; background: #fff; }
  h1 { font-size: 14pt; }
  h2 { font-size: 10pt; margin: 2.5mm 0 1mm; }
  dl { margin: 2.5mm 0; gap: .5mm 4mm; }
  pre { font-size: 5.6pt; line-height: 1.25; padding: 1.5mm; margin: .5mm 0 1mm; }
  pre[data-govern=proof] { columns: 2; }
}
"""
# The one style that a server that sends this file has to allow.
STYLE_HASH = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"

ENGLISH = Voice()


def of_entry(session: Session, log_id: str, seq: int, *, by: Principal) -> bytes:
    """The receipt of one entry, for whoever may read its log, with the values it commits to.

    `Unknown` where there is none, `Unavailable` while it is not signed yet.
    """
    (found,) = inclusion.prove(session, log_id, seq, by=by)
    fields = leaf.parse(found.leaf) or {}
    values = session.execute(
        select(Value.name, Value.salt, Value.value)
        .where(Value.log_id == log_id, Value.seq == seq)
        .order_by(Value.name)
    ).all()
    said = {**fields.get("refs", {}), **fields.get("data", {})}
    facts = [
        ("Entry", f"{seq:,} of {found.proof.checkpoint.decode().partition(chr(10))[0]}"),
        ("What", str(fields.get("type", ""))),
        ("When", str(fields.get("time", "")).replace("T", " ").replace("Z", " UTC")),
        *(
            (name, told if isinstance(told, str) else json.dumps(told))
            for name, told in said.items()
        ),
        *((name, "erased" if salt is None else str(value)) for name, salt, value in values),
    ]
    proofs = proved("The entry", found) + "".join(
        opened(name, str(salt), str(value)) for name, salt, value in values if salt is not None
    )
    made = clock.text(clock.utcnow()).replace("T", " ").replace("Z", " UTC")
    return page("Receipt of one entry", f"Made {made}.", facts, proofs)


def page(
    title: str,
    under: str,
    facts: Iterable[tuple[str, str]],
    proofs: str,
    say: Voice = ENGLISH,
) -> bytes:
    """Write a receipt as HTML, UTF-8."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>\n" for term, said in facts)
    heading = say("How to check it without us")
    how = say(
        "Below are entries of your log, byte for byte, each with its inclusion proof (RFC 9162) "
        "and a signed checkpoint. With the log’s key, offline, this command prints what the "
        "entries say; compare that with this page."
    )
    return f"""<!doctype html>
<html lang="{say.language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>
<h1>{escape(title)}</h1>
<p class="quiet">{escape(under)}</p>
<dl>
{rows}</dl>
<h2>{escape(heading)}</h2>
<p>{escape(how)}</p>
<p><code>govern log verify-receipt FILE --key KEY</code></p>
{proofs}</main></body></html>
""".encode()


def proved(title: str, found: Proved, say: Voice = ENGLISH) -> str:
    """An entry byte for byte, and its proof."""
    body = base64.b64encode(found.leaf).decode()
    entry = say("%(title)s: entry %(number)s", title=title, number=say.number(found.seq))
    return (
        f"<h2>{escape(entry)}</h2>\n"
        f'<pre data-govern="entry">{body}</pre>\n'
        f'<pre data-govern="proof">{escape(found.proof.text())}</pre>\n'
    )


def opened(name: str, salt: str, value: str, say: Voice = ENGLISH) -> str:
    """What opens an entry's commitment to a value."""
    opening = {"name": name, "salt": salt, "value": value}
    words = (
        say("What opens the entry’s commitment to who asked:")
        if name == "ordered_by"
        else f"What opens the entry’s commitment to {name}:"
    )
    return (
        f"<p>{escape(words)}</p>\n"
        f'<pre data-govern="value">{escape(json.dumps(opening, ensure_ascii=False))}</pre>\n'
    )
