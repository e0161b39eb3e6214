"""The timeline: grants as bars, pauses as bands, releases as gaps; a picture, and a table of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import render_template, request
from flask_babel import gettext as _

from govern import clock, errors, permissions
from govern.access import holdings, timeline
from govern.audit import reading
from govern.web import exports, guard, problems
from govern.web.pages import base
from govern.web.pages.auditor.filters import blueprint, instant

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from govern.access.timeline import Band, Bar, Timeline
    from govern.principal import Principal

_FIELDS = ("target", "from", "to")
_USUAL = timedelta(days=30)
_MINUTE = timedelta(minutes=1)
_TOP, _BAR, _LANE = 28, 44, 9  # pixels: the axis, a grant without a lane, a lane
_NARROWEST = 0.4  # per cent of the width: what is shorter is drawn as long, so that it shows
_EDGE = 0.06  # of the axis, at its end, where no words fit
_TICKS = 4  # words of the axis at most: they fit on a phone
_STEPS = tuple(
    timedelta(seconds=each)
    for each in (
        1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600,
        2592000, 7776000, 31536000,
    )
)  # fmt: skip
_ZERO = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday: weeks begin on one


@dataclass(frozen=True)
class Piece:
    """One rectangle: where it begins and how wide it is, in per cent, its look and its words."""

    x: float
    width: float
    look: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One grant: `window` is the bar's outline, `could` fills it; below it, a lane a suspension.

    `y` and `height` are in pixels.
    """

    label: str
    told: str
    window: Piece
    could: list[Piece]
    lanes: list[list[Piece]]
    y: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All bars on one axis, `height` pixels high."""

    height: int
    ticks: list[tuple[float, str]]
    rows: list[Row]


@blueprint.get("/timeline")
def show() -> ResponseReturnValue:
    """The timeline of a person, a client, a project or a dataset over a range."""
    by = guard.principal()
    if not base.may_anywhere("grant:read"):
        permissions.require(by, "grant:read")
    form = {name: request.args.get(name, "").strip() for name in _FIELDS}
    wrong: dict[str, str] = {}
    found, title, of_person, pack_url = None, "", False, None
    if form["target"]:
        begin, end = (instant(request.args, name, wrong) for name in ("from", "to"))
        try:
            if not wrong:
                found, title, of_person, pack_url = _asked(form["target"], begin, end, by=by)
        except errors.Unknown:
            wrong["target"] = _("There is nothing of that name, or you may not know of it.")
        except errors.Invalid as error:
            wrong[error.field if error.field in _FIELDS else "target"] = problems.in_words(error)
    page = render_template(
        "auditor/timeline.html",
        form=form,
        errors=wrong,
        found=found,
        of_person=of_person,
        question=title,
        most=timeline.MOST_COUNTED,
        pack_url=pack_url,
        picture=picture(found, of_person=of_person) if found else None,
        next_url=base.next_url(found.after) if found else None,
        first_url=base.first_url(),
    )
    return page, 422 if wrong else 200


def _asked(
    target: str, begin: datetime | None, end: datetime | None, *, by: Principal
) -> tuple[Timeline, str, bool, str | None]:
    """The answer, its question in words, whether it is about a person, and where its pack is."""
    kind, colon, code = target.partition(":")
    kind, code = (kind.strip().lower(), code.strip()) if colon else ("project", target)
    with base.showing() as session:
        end = min(end or clock.utcnow(), clock.utcnow())
        begin = begin or end - _USUAL
        name, person = code, None
        if kind in {"person", "subject"}:
            person = holdings.person(session, code, by=by)
            kind, code, name = "subject", person.id, person.full_name
        found = timeline.of(
            session, kind, code, begin=begin, end=end, after=request.args.get("after", ""), by=by
        )
        reading.note(
            guard.database(), "timeline", subject=person.id if person else None,
            client=found.place.client or None,
            detail={"kind": kind, "from": clock.text(found.begin), "to": clock.text(found.end)},
            by=by,
        )  # fmt: skip
    title = _(
        "%(what)s from %(begin)s to %(end)s UTC",
        what=name if person else f"{kind}:{name}",
        begin=_plain(found.begin, "minutes"), end=_plain(found.end, "minutes"),
    )  # fmt: skip
    # Whose evidence pack would hold what was asked about, where that is one client's.
    pack = kind in {"client", "project"} and base.may("log:export", found.place.client)
    pack_url = _pack_url(found) if pack else None
    return found, str(title), person is not None, pack_url


def _pack_url(found: Timeline) -> str:
    """The export's form, filled: one more press gives the pack of that client and time."""
    typed = {"from": _plain(found.begin, "minutes", "T")}
    if clock.utcnow() - found.end > _MINUTE:  # else until the moment of the export
        typed["to"] = _plain(found.end + _MINUTE, "minutes", "T")
    return f"/log/export?{urlencode({'format': exports.PACK, 'log': found.place.code, **typed})}"


def picture(found: Timeline, *, of_person: bool) -> Picture:
    """Put the bars on one axis of time; widths are true, but for what would be too thin to see."""
    span = found.end - found.begin

    def piece(begin: datetime, end: datetime, look: str, words: str) -> Piece:
        x = min(100 * ((begin - found.begin) / span), 100 - _NARROWEST)
        width = min(max(100 * ((end - begin) / span), _NARROWEST), 100 - x)
        return Piece(round(x, 3), round(width, 3), look, words)

    def row(bar: Bar, y: int) -> Row:
        grant = bar.grant
        lanes = [
            [
                piece(band.begin, band.end, "gap" if band.gap else band.mode.value, _words(band))
                for band in bar.bands if band.suspension_id == each
            ]
            for each in dict.fromkeys(band.suspension_id for band in bar.bands)
        ]  # fmt: skip
        place = f"{grant.project}/{grant.dataset}" if grant.dataset else grant.project
        return Row(
            label=place if of_person else grant.full_name,
            told=_told(bar),
            window=piece(bar.begin, bar.end, "window", _("given") + _range(bar.begin, bar.end)),
            could=[
                piece(first, last, "could", _("could look") + _range(first, last))
                for first, last in grant.intervals
            ],
            lanes=lanes,
            y=y,
            height=_BAR + _LANE * len(lanes),
        )

    rows: list[Row] = []
    y = _TOP
    for bar in found.bars:
        rows.append(row(bar, y))
        y += rows[-1].height
    return Picture(height=y, ticks=_ticks(found), rows=rows)


def _told(bar: Bar) -> str:
    """What of the range a grant permitted, in a word or two."""
    could = sum((last - first for first, last in bar.grant.intervals), timedelta())
    given = bar.end - bar.begin
    if not could:
        return str(_("at no moment"))
    if could == given:
        return str(_("all of its time"))
    return str(_("%(part)s %% of its time", part=f"{100 * could / given:.1f}"))


def _words(band: Band) -> str:
    mode = {
        "paused": _("paused"), "read_only": _("read-only"), "under_review": _("under review"),
    }[band.mode.value]  # fmt: skip
    said = _("released from it") if band.gap else mode
    return f"{said}{_range(band.begin, band.end)}"


def _range(begin: datetime, end: datetime) -> str:
    return f" {_plain(begin, 'seconds')} – {_plain(end, 'seconds')} UTC"


def _plain(at: datetime, to: str, parted: str = " ") -> str:
    """An instant in UTC without saying so; its year in four digits, whichever it is."""
    return at.replace(tzinfo=None).isoformat(parted, to)


def _ticks(found: Timeline) -> list[tuple[float, str]]:
    """Instants of the axis at even steps, in the words that this span needs."""
    span = found.end - found.begin
    step = next((each for each in _STEPS if span <= each * _TICKS), span / _TICKS)
    form = (
        "%H:%M:%S" if step < timedelta(minutes=1) else "%H:%M" if step < timedelta(days=1) else ""
    )
    if step < timedelta(days=1) and span > timedelta(days=1):
        form = "%m-%d %H:%M"
    at = _ZERO + -((_ZERO - found.begin) // step) * step
    if at < found.begin:
        at += step
    ticks = []
    while at <= found.end - span * _EDGE:
        ticks.append(
            (
                round(100 * ((at - found.begin) / span), 2),
                at.strftime(form) if form else at.date().isoformat(),
            )
        )
        at += step
    return ticks[: _TICKS + 1]
