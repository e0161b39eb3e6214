"""A receipt as one HTML file: for people to read, for `govern log verify-receipt` to check.

It stands alone: no script, no address, nothing to load. What is proved stands in it as text, marked
by `data-govern`; everything else on the page is words about it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import TYPE_CHECKING

from govern import clock

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.suspensions.receipts import Receipt
    from govern.audit.inclusion import Proved

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 30%, transparent); }
body { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
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
STYLE_HASH = f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
_MODES = {
    "paused": "Paused: nobody reaches anything.",
    "read_only": "Read-only: people may look, but change nothing and take nothing away.",
    "under_review": "Under review: work goes on, with a second factor every 12 hours.",
}
_WORDS = {
    "client": "Client", "project": "Project", "dataset": "Dataset", "subject": "Person",
    "organisation": "Staffing firm", "people": "People",
}  # fmt: skip


def document(told: Receipt) -> bytes:
    """Write a receipt as HTML, UTF-8."""
    row = told.suspension
    title = f"Receipt: access to {told.client_name} was stopped"
    covers = [
        f"{_WORDS.get(kind, kind.capitalize())} {name}" + (f" ({code})" if code != name else "")
        for kind, code, name in told.covers
    ]
    others = "" if told.alone else "The act concerned others too; this receipt is of yours alone."
    nobody = "nobody was named" if told.alone else "not told here"
    seen = [
        ("Last permit before", _at(told.effect.last_permit_at)),
        ("First refusal since", _at(told.effect.first_deny_at)),
    ]
    facts = [
        ("What was stopped", "; ".join(covers)),
        ("How much", _MODES.get(told.mode, told.mode)),
        ("Reason", told.reason.replace("_", " ")),
        ("By whose order", told.order[1] if told.order else nobody),
        ("Ordered", _at(row.ordered_at)),
        ("In force since", f"{_at(row.recorded_at)} ({told.milliseconds:.1f} ms after the order)"),
        *(seen if told.alone else []),
        ("Lifted", _at(row.ended_at) if row.ended_at else "not when this was made"),
        ("Concerned", f"{told.grants:,} grants of {told.people:,} people"),
        ("Each on the record", _at(told.recorded_at) if told.recorded_at else "being written"),
        ("Digest of the grants", told.digest or "once each is on the record"),
        ("Suspension", row.id),
    ]
    if not told.alone:
        facts = [
            fact for fact in facts if fact[0] not in {"Last permit before", "First refusal since"}
        ]
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>\n" for term, said in facts)
    proofs = _proved("1. The suspension", told.opened)
    if told.recorded is not None:
        proofs += _proved("2. The number and the digest", told.recorded)
    if told.order is not None:
        opening = {"name": "ordered_by", "salt": told.order[0], "value": told.order[1]}
        proofs += (
            "<p>What opens the entry’s commitment to who asked:</p>\n"
            f'<pre data-govern="value">{escape(json.dumps(opening, ensure_ascii=False))}</pre>\n'
        )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><main>
<h1>{escape(title)}</h1>
<p class="quiet">Made {_at(told.made_at)}. {others}</p>
<dl>
{rows}</dl>
<h2>How to check it without us</h2>
<p>Below are entries of your log, byte for byte, each with its inclusion proof (RFC 9162) and a
signed checkpoint. With the log’s key, offline:
<code>govern log verify-receipt FILE --key KEY</code>. It prints what the entries say; compare that
with this page.</p>
{proofs}</main></body></html>
""".encode()


def _proved(title: str, proved: Proved) -> str:
    body = base64.b64encode(proved.leaf).decode()
    return (
        f"<h2>{escape(title)}: entry {proved.seq:,}</h2>\n"
        f'<pre data-govern="entry">{body}</pre>\n'
        f'<pre data-govern="proof">{escape(proved.proof.text())}</pre>\n'
    )


def _at(at: datetime | None) -> str:
    return clock.text(at).replace("T", " ").replace("Z", " UTC") if at else "not seen"
