"""Reports: revenue by day and site as a stream, energy by site and month as kept papers."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Case, Count, IntegerField, Sum, Value, When
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from billing import wording
from billing.documents import compile_pdf
from billing.models import ReportRun, SessionBill
from billing.money import from_minor, plain
from billing.sellers import seller_of
from sessions.facts import Activity
from sessions.models import ChargingSession
from stations import display
from stations.models import Site

# One query covers this many days, so that none runs long.
DAYS_AT_ONCE = 31
_NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class RevenueRow(NamedTuple):
    """What the sessions that ended on a day earned at a site, in one currency; amounts in minor units."""

    day: dt.date
    site_id: int
    site: str
    currency: str
    sessions: int
    energy_wh: Decimal
    excl_vat: int
    vat: int
    incl_vat: int


def revenue(
    operator_id: int, start: dt.date, end: dt.date, zone: str, site_ids: Iterable[int] | None = None
) -> Iterator[RevenueRow]:
    """Yield revenue by day and site, from ``start`` until before ``end``, both days of ``zone``.

    A session counts on the day of its end. What is not priced yet is not in it. ``site_ids`` limits the sites.
    """
    days = [start + dt.timedelta(days=number) for number in range((end - start).days)]
    for first in range(0, len(days), DAYS_AT_ONCE):
        yield from _revenue(operator_id, days[first : first + DAYS_AT_ONCE], ZoneInfo(zone), site_ids)


def revenue_csv(
    operator_id: int,
    start: dt.date,
    end: dt.date,
    zone: str,
    site_ids: Iterable[int] | None = None,
    *,
    delimiter: str = ",",
    bom: bool = True,
) -> Iterator[str]:
    """Yield the lines of the revenue report as CSV (see `csv_lines`)."""
    header = [_("Day"), _("Time zone"), _("Site"), _("Sessions"), _("Energy (kWh)"), _("Currency")]
    header += [_("Net"), _("VAT"), _("Gross")]
    rows = (
        [
            row.day.isoformat(),
            zone,
            row.site,
            row.sessions,
            _kwh(row.energy_wh),
            row.currency,
            *(from_minor(amount, row.currency) for amount in (row.excl_vat, row.vat, row.incl_vat)),
        ]
        for row in revenue(operator_id, start, end, zone, site_ids)
    )
    return csv_lines([header], rows, delimiter=delimiter, bom=bom)


def csv_lines(*blocks: Iterable[Sequence[Any]], delimiter: str = ",", bom: bool = True) -> Iterator[str]:
    """Yield the rows of the blocks as CSV lines (RFC 4180), one at a time, UTF-8 text.

    With ``;`` as delimiter numbers get a decimal comma, as the spreadsheets that want it expect. ``bom`` starts the
    file with a byte order mark. A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    if bom:
        yield "\ufeff"
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n")
    for block in blocks:
        for row in block:
            writer.writerow([_cell(value, delimiter) for value in row])
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()


@dataclasses.dataclass(frozen=True, slots=True)
class EnergyDay:
    """What sessions that ended on a day took; ``idle_seconds`` is the time cars stayed without charging."""

    day: dt.date
    sessions: int = 0
    energy_wh: Decimal = Decimal(0)
    idle_seconds: int = 0
    in_review: int = 0


def energy_by_day(site: Site, period: dt.date) -> list[EnergyDay]:
    """Return every day of a month in the site's zone with what the sessions took that ended then.

    ``period`` is the first day. Sessions over midnight count whole on the day of their end. Those that wait for review
    are in it, and counted.
    """
    zone = ZoneInfo(site.time_zone)
    following = (period + dt.timedelta(days=32)).replace(day=1)
    days = {
        period + dt.timedelta(days=number): EnergyDay(period + dt.timedelta(days=number))
        for number in range((following - period).days)
    }
    ended = ChargingSession.objects.filter(
        site=site,
        status=ChargingSession.Status.ENDED,
        stopped_at__gte=_midnight(period, zone),
        stopped_at__lt=_midnight(following, zone),
    ).only("stopped_at", "energy_wh", "facts", "review", "released_at")
    for session in ended.iterator(chunk_size=500):
        assert session.stopped_at is not None
        before = days[session.stopped_at.astimezone(zone).date()]
        days[before.day] = EnergyDay(
            before.day,
            before.sessions + 1,
            before.energy_wh + session.energy_wh,
            before.idle_seconds + _idle_seconds(session),
            before.in_review + session.is_held,
        )
    return list(days.values())


def energy_report(site: Site, period: dt.date, *, now: dt.datetime) -> ReportRun:
    """Make and keep the energy report of a site's month; one that was made before is returned as it is."""
    run, _new = ReportRun.objects.get_or_create(
        site=site, kind=ReportRun.Kind.ENERGY, period=period, defaults={"operator_id": site.operator_id}
    )
    if run.state == ReportRun.State.READY:
        return run
    days = energy_by_day(site, period)
    table = "".join(csv_lines([_energy_header()], _energy_rows(site, days), bom=True))
    paper = compile_pdf("report.typ", _energy_paper(site, period, days, now), at=now)
    name = f"reports/{site.operator_id}/energy-{period:%Y-%m}-{site.uuid}.pdf"
    kept = default_storage.save(name, ContentFile(paper))
    facts = {
        "sessions": sum(day.sessions for day in days),
        "energy_wh": plain(sum((day.energy_wh for day in days), Decimal(0))),
        "idle_seconds": sum(day.idle_seconds for day in days),
        "in_review": sum(day.in_review for day in days),
    }
    with transaction.atomic():
        made = ReportRun.objects.filter(pk=run.pk, state=ReportRun.State.WAITING).update(
            state=ReportRun.State.READY,
            facts=facts,
            csv=table,
            pdf=kept,
            digest=hashlib.sha256(table.encode()).hexdigest(),
            made_at=now,
        )
    if not made:
        default_storage.delete(kept)
    run.refresh_from_db()
    return run


def sites_to_report(now: dt.datetime) -> list[tuple[int, dt.date]]:
    """Return (site, first of the month) for last month's energy reports that are not made: sites where cars charged."""
    found = []
    for site in Site.objects.order_by("pk"):
        zone = ZoneInfo(site.time_zone)
        first = now.astimezone(zone).date().replace(day=1)
        period = (first - dt.timedelta(days=1)).replace(day=1)
        ready = ReportRun.objects.filter(
            site=site, kind=ReportRun.Kind.ENERGY, period=period, state=ReportRun.State.READY
        )
        charged = ChargingSession.objects.filter(
            site=site, stopped_at__gte=_midnight(period, zone), stopped_at__lt=_midnight(first, zone)
        )
        if not ready.exists() and charged.exists():
            found.append((site.pk, period))
    return found


def _revenue(
    operator_id: int, days: Sequence[dt.date], zone: ZoneInfo, site_ids: Iterable[int] | None
) -> Iterator[RevenueRow]:
    edges = [_midnight(day, zone) for day in [*days, days[-1] + dt.timedelta(days=1)]]
    bills = SessionBill.objects.filter(
        state=SessionBill.State.RATED,
        session__operator_id=operator_id,
        session__stopped_at__gte=edges[0],
        session__stopped_at__lt=edges[-1],
    )
    if site_ids is not None:
        bills = bills.filter(session__site_id__in=list(site_ids))
    # The day as a number: comparing with the edges costs the database far less than converting zones row by row.
    number = Case(
        *(When(session__stopped_at__lt=edge, then=Value(place)) for place, edge in enumerate(edges[1:])),
        output_field=IntegerField(),
    )
    sums = (
        bills.annotate(number=number)
        .values_list("number", "session__site_id", "session__site__name", "currency")
        .annotate(
            Count("pk"), Sum("session__energy_wh"), Sum("excl_vat_minor"), Sum("vat_minor"), Sum("incl_vat_minor")
        )
        .order_by("number", "session__site__name", "session__site_id", "currency")
    )
    for place, site_id, site, currency, count, wh, *amounts in sums:
        yield RevenueRow(days[place], site_id, site, currency, count, Decimal(wh), *amounts)


def _midnight(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)


def _cell(value: Any, delimiter: str) -> str:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.replace(".", ",") if delimiter == ";" else text
    text = str(value)
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _kwh(wh: Decimal) -> Decimal:
    return (wh / 1000).quantize(Decimal("0.001"))


def _idle_seconds(session: ChargingSession) -> int:
    seconds = 0.0
    for segment in (session.facts or {}).get("segments", ()):
        if segment["activity"] == Activity.PARKING:
            length = dt.datetime.fromisoformat(segment["end"]) - dt.datetime.fromisoformat(segment["start"])
            seconds += length.total_seconds()
    return int(seconds)


def _energy_header() -> list[str]:
    return [_("Day"), _("Time zone"), _("Site"), _("Sessions"), _("Energy (kWh)"), _("Idle (min)"), _("In review")]


def _energy_rows(site: Site, days: Iterable[EnergyDay]) -> Iterator[list[Any]]:
    for day in days:
        idle = (Decimal(day.idle_seconds) / 60).quantize(Decimal("0.1"))
        yield [
            day.day.isoformat(),
            site.time_zone,
            site.name,
            day.sessions,
            _kwh(day.energy_wh),
            idle,
            day.in_review,
        ]


def _energy_paper(site: Site, period: dt.date, days: Sequence[EnergyDay], now: dt.datetime) -> dict[str, Any]:
    """Return what the report's template prints."""
    entity = seller_of(site)
    language = translation.get_language() or "en"
    sessions, idle = sum(day.sessions for day in days), sum(day.idle_seconds for day in days)
    energy = sum((day.energy_wh for day in days), Decimal(0))
    review = sum(day.in_review for day in days)
    with timezone.override(ZoneInfo(site.time_zone)):
        return {
            "lang": language,
            "title": _("Energy report"),
            "number": f"{period:%Y-%m}",
            "brand": site.operator.name,
            "issuer": entity.name,
            "facts": [
                (_("Site"), ", ".join(filter(None, (site.name, site.address, site.city)))),
                (_("Month"), display.month(period)),
                (_("Time zone"), site.time_zone),
                (_("State of"), display.exact(now)),
            ],
            "figures": [
                (_("Energy"), str(display.energy_exact(energy))),
                (_("Sessions"), display.number(sessions)),
                (_("Idle time"), wording.duration(idle)),
            ],
            "plot": bar_plot([(str(day.day.day), day.energy_wh / 1000) for day in days]),
            "plot_title": _("Energy by day (kWh)"),
            "columns": [
                {"title": _("Day"), "align": "left", "share": 1},
                {"title": _("Sessions"), "align": "right", "share": 1},
                {"title": _("Energy"), "align": "right", "share": 1},
                {"title": _("Idle time"), "align": "right", "share": 1},
            ],
            "rows": [
                [
                    display.day(day.day),
                    display.number(day.sessions),
                    str(display.energy_exact(day.energy_wh)),
                    wording.duration(day.idle_seconds),
                ]
                for day in days
            ],
            "notes": [
                _("A session counts on the day of its end, whole."),
                *([_("%(count)s sessions wait for review.") % {"count": review}] if review else []),
            ],
            "footer": [entity.name, *entity.address_lines],
            "page": _("Page %(page)s of %(pages)s") % {"page": "%p", "pages": "%n"},
        }


def bar_plot(bars: Sequence[tuple[str, Decimal]], *, width: int = 640, height: int = 200) -> str:
    """Return a bar chart as SVG: one bar for each (label, value), a scale of round numbers on the left."""
    top = _round_up(max((value for _label, value in bars), default=Decimal(0)))
    left, bottom = 44, 22
    inner_width, inner_height = width - left - 4, height - bottom - 10
    step = inner_width / max(len(bars), 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Libertinus Serif" font-size="11" fill="#5b6a64">'
    ]
    for part in range(5):
        y = 8 + inner_height * (1 - part / 4)
        parts.append(f'<path d="M{left} {y:.1f}H{width - 4}" stroke="#cfd8d3" stroke-width="0.6" fill="none"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{plain(top * part / 4)}</text>')
    for number, (label, value) in enumerate(bars):
        x = left + step * number
        tall = float(max(value, Decimal(0)) / top) * inner_height
        if tall:
            parts.append(
                f'<rect x="{x + step * 0.15:.1f}" y="{8 + inner_height - tall:.1f}" width="{step * 0.7:.1f}" '
                f'height="{tall:.1f}" fill="#0b6b4f"/>'
            )
        parts.append(f'<text x="{x + step / 2:.1f}" y="{height - 6}" text-anchor="middle">{label}</text>')
    return "".join([*parts, "</svg>"])


def _round_up(value: Decimal) -> Decimal:
    """Return the next number above the value whose quarters are short; 4 for nothing."""
    if value <= 0:
        return Decimal(4)
    unit = Decimal(1).scaleb(value.adjusted() - 1)
    return next(unit * factor for factor in (10, 12, 16, 20, 24, 32, 40, 60, 80, 100) if unit * factor >= value)
