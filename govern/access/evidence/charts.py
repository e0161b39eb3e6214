"""The report's charts, drawn as SVG within the page: no script, no style of their own, they print.

Each shows numbers of report.json, and each has its table beside it; a band is a stop.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 240, 56, 26
_RIGHT, _FLOOR = _WIDTH - 8, _HEIGHT - _BOTTOM
_TOP, _ROW, _NAMES, _COUNTS = 20, 46, 180, 60
# Projects that are drawn, those with the most people first; the table has more.
_DRAWN = 24
_WORDS = 'font-size="12" fill="#5b6675" font-family="system-ui, sans-serif"'
_LONGEST = 24


class _Time:
    """Where instants of a period stand between two edges."""

    def __init__(self, report: dict[str, Any], left: float, right: float) -> None:
        self.begin, self.end = _instant(report["from"]), _instant(report["to"])
        self.left, self.right = left, right

    def __call__(self, at: datetime) -> float:
        share = (min(max(at, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(self.left + share * (self.right - self.left), 1)

    def axis(self, y: float) -> str:
        """The words under it."""
        return (
            f'<text x="{self.left}" y="{y}" {_WORDS}>{self.begin:%Y-%m-%d %H:%M}</text>'
            f'<text x="{self.right}" y="{y}" text-anchor="end" {_WORDS}>'
            f"{self.end:%Y-%m-%d %H:%M}</text>"
        )


def bands(report: dict[str, Any], project: str | None = None) -> list[dict[str, Any]]:
    """The stops of the report; those over one project or its client, if one is named."""
    over = {f"project:{project}", f"client:{report['client']['code']}"}
    return [
        each for each in report["bands"] if project is None or not over.isdisjoint(each["scopes"])
    ]


def grants(report: dict[str, Any]) -> str:
    """Grants over time as a stepped line, stops as bands behind it."""
    points = report["grants_over_time"]
    across = _Time(report, _LEFT, _RIGHT)
    most = max([each["grants"] for each in points] + [1])

    def up(count: int) -> float:
        height: float = count / most * (_FLOOR - 12)
        return round(_FLOOR - height, 1)

    path = f"M{across(across.begin)} {up(points[0]['grants'])}"
    for each in points[1:]:
        path += f"H{across(_instant(each['at']))}V{up(each['grants'])}"
    drawn = _bands(bands(report), across, 12, _FLOOR - 12)
    label = (
        f"Grants from {points[0]['grants']:,} to {points[-1]['grants']:,}, at most {most:,}; "
        f"{len(report['bands'])} stops"
    )
    return _svg(
        _HEIGHT,
        label,
        f'<path d="M{_LEFT} 12V{_FLOOR}H{_RIGHT}" fill="none" stroke="#c8ced6"/>{drawn}'
        f'<path d="{path}" fill="none" stroke="#206bc4" stroke-width="2"/>'
        f'<text x="{_LEFT - 8}" y="18" text-anchor="end" {_WORDS}>{most:,}</text>'
        f'<text x="{_LEFT - 8}" y="{_FLOOR}" text-anchor="end" {_WORDS}>0</text>'
        + across.axis(_HEIGHT - 6),
    )


def people(report: dict[str, Any]) -> str:
    """A row for each project: people over time as a stepped area, its stops as bands."""
    found = sorted(report["people_over_time"], key=lambda each: -max(each["people"]))[:_DRAWN]
    if not found:
        return ""
    across = _Time(report, _NAMES, _WIDTH - _COUNTS)
    most = max(1, *(max(each["people"]) for each in found))
    step = (across.right - across.left) / len(found[0]["people"])
    parts = []
    for number, each in enumerate(found):
        floor = _TOP + number * _ROW + _ROW - 8
        path = f"M{across.left} {floor}"
        for place, count in enumerate(each["people"]):
            left = across.left + place * step
            path += f"V{floor - count / most * (_ROW - 14):.1f}H{left + step:.1f}"
        name = each["project"]
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        parts.append(
            _bands(bands(report, name), across, floor - _ROW + 10, _ROW - 10)
            + f'<path d="{path}V{floor}Z" fill="#206bc4" fill-opacity=".55" stroke="#206bc4">'
            f"<title>{escape(name)}: at most {max(each['people']):,} people</title></path>"
            f'<path d="M{across.left} {floor}H{across.right}" stroke="#c8ced6"/>'
            f'<text x="{across.left - 8}" y="{floor}" text-anchor="end" {_WORDS}>{escape(short)}'
            f'</text><text x="{across.right + 6}" y="{floor}" {_WORDS}>'
            f"≤ {max(each['people']):,}</text>"
        )
    height = _TOP + len(found) * _ROW + _BOTTOM
    label = f"People over time in {len(found):,} projects, at most {most:,} in one"
    return _svg(height, label, "".join(parts) + across.axis(height - 8))


def decisions(report: dict[str, Any]) -> str:
    """A bar for each day: what was allowed, and above it what was denied."""
    found = report["decisions_by_day"]
    if not found:
        return ""
    across = _Time(report, _LEFT, _RIGHT)
    most = max(each["allowed"] + each["denied"] for each in found)
    tall = _FLOOR - 12
    bars = []
    for each in found:
        day = _instant(f"{each['day']}T00:00:00+00:00")
        left, right = across(day), across(day + timedelta(days=1))
        width = max(right - left - min(2, (right - left) / 4), 1)
        allowed, denied = (each[word] / most * tall for word in ("allowed", "denied"))
        bars.append(
            f'<rect x="{left:.1f}" y="{_FLOOR - allowed:.1f}" width="{width:.1f}" '
            f'height="{allowed:.1f}" fill="#206bc4"/>'
            f'<rect x="{left:.1f}" y="{_FLOOR - allowed - denied:.1f}" width="{width:.1f}" '
            f'height="{denied:.1f}" fill="#d63939"><title>{each["day"]}: {each["allowed"]:,} '
            f"allowed, {each['denied']:,} denied</title></rect>"
        )
    label = (
        f"Decisions by day: {sum(each['allowed'] for each in found):,} allowed, "
        f"{sum(each['denied'] for each in found):,} denied, at most {most:,} on a day"
    )
    return _svg(
        _HEIGHT,
        label,
        f'<path d="M{_LEFT} 12V{_FLOOR}H{_RIGHT}" fill="none" stroke="#c8ced6"/>{"".join(bars)}'
        f'<text x="{_LEFT - 8}" y="18" text-anchor="end" {_WORDS}>{most:,}</text>'
        f'<text x="{_LEFT - 8}" y="{_FLOOR}" text-anchor="end" {_WORDS}>0</text>'
        f'<rect x="{_LEFT + 8}" y="0" width="10" height="10" fill="#206bc4"/>'
        f'<text x="{_LEFT + 22}" y="10" {_WORDS}>allowed</text>'
        f'<rect x="{_LEFT + 88}" y="0" width="10" height="10" fill="#d63939"/>'
        f'<text x="{_LEFT + 102}" y="10" {_WORDS}>denied</text>' + across.axis(_HEIGHT - 6),
    )


def _bands(found: Iterable[dict[str, Any]], across: _Time, top: float, height: float) -> str:
    drawn = []
    for each in found:
        left = across(_instant(each["from"]))
        width = max(across(_instant(each["to"]) if each["to"] else across.end) - left, 1)
        said = f"{', '.join(each['covers'])}: {each['mode']}"
        drawn.append(
            f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{height}" fill="#d63939" '
            f'fill-opacity=".16" stroke="#d63939" stroke-opacity=".5" stroke-width=".5">'
            f"<title>{escape(said)}</title></rect>"
        )
    return "".join(drawn)


def _svg(height: float, label: str, drawn: str) -> str:
    picture = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{drawn}</svg>'
    return f'<div class="wide">{picture}</div>'


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
