"""The report as one HTML file that reads and prints well: no script, nothing to load.

Every number in it stands in report.json, from which verify.py counts again those that follow from
the log.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from govern.access.evidence import charts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light; --paper: #fff; --line: #c8ced6; --ink: #182433; --quiet: #5b6675; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { overflow-wrap: anywhere; font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; break-after: avoid; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.quiet { color: var(--quiet); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; padding: 0; list-style: none; }
.numbers li { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .75rem;
  break-inside: avoid; }
.numbers b { display: block; font-size: 1.4rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: .86em; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { font-weight: 600; }
td { font-variant-numeric: tabular-nums; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
svg { width: 100%; height: auto; display: block; }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.wide { overflow-x: auto; }
@media screen and (max-width: 48rem) { .wide svg, .wide table { min-width: 44rem; } }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --paper: #14181d; --line: #3d4652; --ink: #e6e9ee;
    --quiet: #a3adba; }
  svg text { fill: var(--quiet); }
}
@media print {
  @page { size: A4; margin: 14mm; }
  body { font-size: 9.5pt; margin: 0; padding: 0; max-width: none; }
  h2 { margin-top: 7mm; }
  .wide { overflow: visible; }
}
"""
# Rows of a chart's table that the page shows; report.json holds them all.
_SHOWN = 100


def document(report: dict[str, Any], shown: dict[str, list[Any]], table: dict[str, Any]) -> str:
    """The page."""
    client, log = report["client"], report["log"]
    events = log["events"]
    numbers = [
        ("entries of the log", log["entries"]),
        ("grants issued", events.get("grant.issued", 0)),
        ("grants revoked", events.get("grant.revoked", 0)),
        ("stops opened", events.get("suspension.opened", 0)),
        ("stops lifted", events.get("suspension.lifted", 0)),
        ("people who could reach", report["people_who_reached"]),
        ("grants in force at the end", report["grants_at_end"]),
        ("times its records were read", report["reads"]),
    ]
    title = f"Evidence: access to {client['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        (f'<p class="quiet">{escape(client["code"])}, from {_at(report["from"])} to '
        f"{_at(report['to'])}. Complete through {_at(report['complete_through'])}.</p>"),
        '<ul class="numbers">',
        *(f"<li><b>{value:,}</b>{escape(term)}</li>" for term, value in numbers),
        "</ul>",
        "<h2>Grants over time, and stops</h2>",
        ("<p>Grants within their window; the bands are the stops, during which fewer people, or "
        "nobody, could reach what they cover.</p>"),
        charts.grants(report),
        "<h2>Who could reach it over time, by project</h2>",
        ("<p>People whom the rule let read something, pauses taken off, at sixty instants of the "
        "period; the bands are the stops over the project or the whole client.</p>"),
        charts.people(report),
        _rows(
            ("Project", "People at the beginning", "Most", "Fewest", "At the last instant",
             "Stops over it"),
            (
                (each["project"], f"{each['people'][0]:,}", f"{max(each['people']):,}",
                 f"{min(each['people']):,}", f"{each['people'][-1]:,}",
                 f"{len(charts.bands(report, each['project'])):,}")
                for each in report["people_over_time"][:_SHOWN]
            ),
            of=len(report["people_over_time"]), file="report.json",
        ),
        "<h2>Stops</h2>",
        _rows(
            ("What", "How much", "Opened", "Took effect", "First refusal", "Lifted", "Grants",
             "Review by"),
            (
                (", ".join(each["covers"]), each["mode"].replace("_", " "),
                 _at(each["committed_at"]), f"{each['milliseconds']:,.1f} ms",
                 _at(each["first_deny_at"]), _at(each["lifted_at"], "still open"),
                 f"{each['grants_recorded']:,}", _at(each["review_by"]))
                for each in shown["suspensions"]
            ),
            of=report["suspensions"], file="suspensions.jsonl",
        ),
        "<h2>Who could reach it at any moment of the period</h2>",
        (f"<p>{report['grants_that_reached']:,} grants of {report['people_who_reached']:,} people, "
        "pauses taken off.</p>"),
        _rows(
            ("Person", "Project", "When"),
            (
                (f"{each['full_name']} ({each['external_id']})",
                 each["project"] + (f" / {each['dataset']}" if each["dataset"] else ""),
                 "; ".join(f"{_at(one)} – {_at(other)}" for one, other in each["intervals"]))
                for each in shown["reach"]
            ),
            of=report["grants_that_reached"], file="reach.jsonl",
        ),
        "<h2>Who had access at the end</h2>",
        _rows(
            ("Person", "Project", "As", "From", "Until"),
            (
                (f"{each['full_name']} ({each['external_id']})", each["project"],
                 each["entitlement"], _at(each["starts_at"]), _at(each["ends_at"]))
                for each in shown["who-at-end"]
            ),
            of=report["grants_at_end"], file="who-at-end.jsonl",
        ),
        "<h2>What was decided</h2>",
        _rows(
            ("Outcome", "Reason", "Decisions"),
            (
                ("permitted" if each["permit"] else "denied", (each["reason"] or "").replace(
                    "_", " "), f"{each['count']:,}")
                for each in report["decisions"]
            ),
        ),
        "<h2>Decisions by day</h2>",
        charts.decisions(report),
        _rows(
            ("Day (UTC)", "Allowed", "Denied"),
            (
                (each["day"], f"{each['allowed']:,}", f"{each['denied']:,}")
                for each in report["decisions_by_day"][:_SHOWN]
            ),
            of=len(report["decisions_by_day"]), file="report.json",
        ),
        "<h2>Who read its records</h2>",
        _rows(
            ("Who", "Rows of the access log"),
            ((each["name"], f"{each['rows']:,}") for each in report["readers"]),
            of=len(report["readers"]), file="reads.jsonl",
        ),
        "<h2>Drills</h2>",
        _rows(
            ("When", "What", "In force after", "Grants", "People"),
            (
                (_at(each["at"]), ", ".join(each["covers"]), f"{each['milliseconds']:,.1f} ms",
                 f"{each['grants']:,}", f"{each['people']:,}")
                for each in shown["drills"]
            ),
            of=report["drills"], file="drills.jsonl",
        ),
        "<h2>What the log holds</h2>",
        _rows(("Event", "Entries"), ((kind, f"{count:,}") for kind, count in events.items())),
        "<h2>Who may do what</h2>",
        _rows(("Role", "Permissions"), ((role, ", ".join(held)) for role, held in table.items()
                                        if role in {"admin", "auditor", "approver"})),
        "<h2>Who held a role over it</h2>",
        _rows(
            ("Person", "As", "Over", "From", "Until"),
            (
                (each["full_name"] or each["subject"], each["as"],
                 "every client" if each["over"] == "all" else "this client", _at(each["from"]),
                 _at(each["ended"] or each["until"], "taken back"))
                for each in shown["roles"]
            ),
            of=report["roles"], file="roles.jsonl",
        ),
        "<h2>What was meant by a grant</h2>",
        _rows(
            ("As", "Permits", "From", "Until"),
            (
                (each["entitlement"], each["action"], _at(each["from"]), _at(each["to"], "now"))
                for each in shown["entitlements"]
            ),
            of=report["meanings"], file="entitlements.jsonl",
        ),
        "<h2>How to check this</h2>",
        ("<p>With <code>verify.py</code> of this pack and the log’s key, offline: "
        "<code>python3 verify.py PACK.zip --key KEY</code>. It checks every file and entry, counts "
        "the log’s numbers again, and says what it does not prove. README.txt says the same in "
        "plain words.</p>"),
    ]  # fmt: skip
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def _rows(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, of: int = 0, file: str = ""
) -> str:
    found = list(rows)
    if not found:
        return '<p class="quiet">None.</p>'
    more = ""
    if of > len(found):
        more = f'<p class="quiet">The first {len(found):,} of {of:,}; all are in {file}.</p>'
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in found
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n'
        f"</tbody></table></div>{more}"
    )


def _at(text: str | None, otherwise: str = "not seen") -> str:
    return f"{text[:19].replace('T', ' ')} UTC" if text else otherwise
