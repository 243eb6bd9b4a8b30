"""The driver portal around charging: my session with its cost, receipts, history, statements, where to charge."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import pages
from accounts.models import Driver
from accounts.views_auth import DriverRequest, driver
from billing import documents, finder, price_words
from billing.costs import Cost, cost_of, costs_of, shown, vat_rates
from billing.downloads import csv_download, delimiter_of, download
from billing.models import BillingAccount, Document, SessionBill
from billing.money import from_minor
from billing.reports import csv_lines
from billing.taxes import vat_rate
from sessions import my_session, words
from sessions.models import ChargingSession
from sessions.views_driver import find_own
from stations import display
from stations.messages import ConnectorState

PAPERS = (Document.Kind.RECEIPT, Document.Kind.CHARGING_RECORD)
SLICE = 500


# --- my session --------------------------------------------------------------------------------------


@driver
def my_session_page(request: DriverRequest) -> HttpResponse:
    now = timezone.now()
    found, others = my_session.current(request.driver_ids, now)
    return _session_page(request, found, others, now)


@driver
def one_session(request: DriverRequest, id: UUID) -> HttpResponse:
    """One session: while it runs with its figures, afterwards with its price and papers."""
    now = timezone.now()
    others = [row for row in my_session.current(request.driver_ids, now)[1] if row.uuid != id]
    return _session_page(request, find_own(request, id), others, now)


@driver
def receipt(request: DriverRequest, id: UUID) -> HttpResponse:
    """The same, reached from the history."""
    return _session_page(request, find_own(request, id), [], timezone.now(), back=reverse("driver:history"))


@driver
def session_cost(request: DriverRequest, id: UUID) -> HttpResponse:
    found, now = find_own(request, id), timezone.now()
    cost = cost_of(found, now=now)
    context = {"cost": _so_far(found, cost, now), "cost_reason": cost.held}
    return render(request, "driver/fragments/_cost.html", context)


def _session_page(
    request: DriverRequest,
    found: ChargingSession | None,
    others: list[ChargingSession],
    now: dt.datetime,
    back: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {"live_topic": "driver", "find_url": reverse("driver:find"), "back_url": back}
    if found is not None:
        context["live_topic"] = f"driver-session:{found.uuid}"
        cost = cost_of(found, now=now)
        context["heading"] = str(found.station)
        context["about"] = my_session.about(found)
        if found.is_open:
            context |= _running(found, cost, now)
        else:
            context |= {"receipt": _receipt(found, cost), **my_session.curve(found, now)}
    context["others"] = [
        {
            "label": words.joined([str(row.station), words.connector_of(row), str(display.energy(row.energy_wh))]),
            "url": reverse("driver:finished", args=[row.uuid]),
        }
        for row in others
    ]
    return render(request, "driver/session.html", context)


def _running(found: ChargingSession, cost: Cost, now: dt.datetime) -> dict[str, Any]:
    effect = ""
    if cost.text:
        energy = display.energy(found.energy_wh)
        effect = _("You pay %(amount)s for %(energy)s.") % {"amount": cost.text, "energy": energy}
        if idle := price_words.idle_rule(cost.snapshot, _rates(found, cost, now)) if cost.snapshot else "":
            effect = f"{effect} {idle}"
    account = BillingAccount.objects.filter(driver=found.driver).first()
    goes_to = account.email if account is not None and account.send_documents else ""
    return {
        "session": {
            **my_session.figures(found, now),
            **my_session.curve(found, now),
            "fragment_url": reverse("driver:session_figures", args=[found.uuid]),
            "power_url": reverse("driver:session_power", args=[found.uuid]),
            "cost_url": reverse("driver:session_cost", args=[found.uuid]),
            "cost": _so_far(found, cost, now),
            "cost_reason": cost.held,
            "receipt_words": _("The receipt goes to %(email)s.") % {"email": goes_to} if goes_to else "",
        },
        "stop": my_session.stop_of(found, now, effect),
    }


def _so_far(found: ChargingSession, cost: Cost, now: dt.datetime) -> dict[str, Any] | None:
    """Return a running session's cost with its lines and the rule for parking."""
    lines = shown(cost, running=True)
    if lines is None or cost.rating is None:
        return None
    rates = _rates(found, cost, now)
    price = price_words.summary(cost.snapshot, rates) if cost.snapshot else ""
    energy = str(display.energy(found.energy_wh))
    return {
        **lines,
        "summary": _("%(energy)s at %(price)s") % {"energy": energy, "price": price} if price else energy,
        "prices": price_words.price_lines(cost.snapshot, rates) if cost.snapshot else [],
        "conditions": price_words.conditions(cost.snapshot) if cost.snapshot else [],
        "idle": _idle(cost, rates, now),
    }


def _idle(cost: Cost, rates: dict[str, Decimal], now: dt.datetime) -> dict[str, str] | None:
    """Return the rule for parking, or once the car is full how long it is still free."""
    if cost.snapshot is None or not (rule := price_words.idle_rule(cost.snapshot, rates)):
        return None
    since = price_words.idle_since(cost.facts)
    if since is None:
        return {"tone": "waiting", "text": rule}
    left = since + dt.timedelta(seconds=cost.snapshot.rules.idle_grace_seconds) - now
    if left > dt.timedelta(0):
        text = _("Your car is done. Parking is free until %(time)s.") % {"time": display.time_of_day(now + left)}
        return {"tone": "waiting", "text": f"{text} {rule}"}
    text = _("Your car is done since %(time)s, and parking costs now.") % {"time": display.time_of_day(since)}
    return {"tone": "bad", "text": f"{text} {rule}"}


def _rates(found: ChargingSession, cost: Cost, now: dt.datetime) -> dict[str, Decimal]:
    return vat_rates(cost.snapshot, found, vat_rate, now) if cost.snapshot else {}


# --- receipts ----------------------------------------------------------------------------------------


def _receipt(found: ChargingSession, cost: Cost) -> dict[str, Any]:
    paper = Document.objects.filter(sessions=found, kind__in=PAPERS).order_by("pk").first()
    seller = json.loads(paper.body)["seller"] if paper else None
    price = None if cost.held else shown(cost, running=False)
    return {
        "started_at": found.started_at,
        "stopped_at": found.stopped_at,
        "ended_word": words.end_of(found),
        "energy_wh": found.energy_wh,
        "seconds": words.seconds_of(found, found.stopped_at or found.started_at),
        "token": words.own_token_of(found),
        "number": paper.number if paper else "",
        "kind": paper.get_kind_display() if paper else "",
        "cost": price,
        "cost_reason": _("The operator checks this session before it is billed: %(why)s.") % {"why": cost.held}
        if cost.held
        else _("The price is being worked out."),
        "is_waiting": not cost.is_final and not cost.held,
        "payment": _payment(cost, paper),
        "seller": [part for part in (seller["name"], _address(seller), seller["vat_id"]) if part] if seller else [],
        "operator": found.operator.name,
        "pdf_url": reverse("driver:paper", args=[paper.uuid]) if paper else "",
    }


def _address(party: dict[str, str]) -> str:
    return words.joined([party["street"], f"{party['postal_code']} {party['city']}".strip()])


def _payment(cost: Cost, paper: Document | None) -> str:
    if cost.bill is None or not cost.is_final:
        return ""
    if not cost.minor("gross"):
        return _("Nothing to pay")
    invoice = cost.bill.document
    if paper is not None and paper.kind == Document.Kind.CHARGING_RECORD:
        if invoice is not None:
            return _("On invoice %(number)s") % {"number": invoice.number}
        return _("Comes on the monthly invoice")
    if invoice is not None and invoice.state == Document.State.PAID:
        return _("Paid")
    return _("Receipt %(number)s") % {"number": paper.number} if paper else ""


@driver
def paper(request: DriverRequest, id: UUID) -> HttpResponse:
    """The PDF of one's own receipt or charging record, or of one's own monthly invoice."""
    mine = Q(kind__in=PAPERS, sessions__driver_id__in=request.driver_ids)
    mine |= Q(kind__in=[Document.Kind.INVOICE, Document.Kind.CREDIT_NOTE], account__driver_id__in=request.driver_ids)
    found: Document = get_object_or_404(Document.objects.filter(mine).distinct(), uuid=id)
    return download(documents.pdf_of(found), f"{found.number}.pdf", "application/pdf")


# --- history -----------------------------------------------------------------------------------------


@driver
def history(request: DriverRequest) -> HttpResponse:
    now, wanted = timezone.now(), request.GET.dict()
    rows = _found(request, wanted)
    page = pages.page_of(rows, "started_at", before=wanted.get("before", ""), after=wanted.get("after", ""))
    costs = costs_of(page.rows, now=now)
    chosen = urlencode({name: value for name, value in wanted.items() if name not in ("before", "after")})
    several = len({row.operator_id for row in page.rows}) > 1 or len(_drivers(request)) > 1
    context = {
        "live_topic": "driver",
        "months": _months(request, page.rows, costs, now, several=several),
        "search": wanted.get("q", ""),
        "newer_url": f"?{chosen}&after={page.newer}" if page.newer else "",
        "older_url": f"?{chosen}&before={page.older}" if page.older else "",
        "csv_url": reverse("driver:statement"),
    }
    return render(request, "driver/history.html", context)


@driver
def statement(request: DriverRequest) -> HttpResponseBase:
    """One's own sessions as a table: all of them, or those of a ``month`` at an ``operator``."""
    wanted = request.GET.dict()
    rows = _found(request, wanted)
    zone = timezone.get_current_timezone()
    name = "charging"
    if month := wanted.get("month", ""):
        first = _first(month)
        following = (first + dt.timedelta(days=32)).replace(day=1)
        edges = [dt.datetime.combine(day, dt.time(), zone) for day in (first, following)]
        rows = rows.filter(started_at__gte=edges[0], started_at__lt=edges[1])
        name = f"charging-{first:%Y-%m}"
    header = [_("Started"), _("Ended"), _("Time zone"), _("Operator"), _("Site"), _("Station"), _("Token")]
    header += [_("Energy (kWh)"), _("Duration (s)"), _("Net"), _("VAT"), _("Gross"), _("Currency"), _("Document")]
    table = _statement(rows, zone, timezone.now())
    return csv_download(request, csv_lines([header], table, delimiter=delimiter_of(request)), f"{name}.csv")


def _found(request: DriverRequest, wanted: dict[str, str]) -> Any:
    rows = my_session.own_sessions(request.driver_ids)
    if operator := wanted.get("operator"):
        rows = rows.filter(operator__uuid=pages.public_id(operator))
    if text := wanted.get("q", "").strip():
        names = Q(station__name__icontains=text) | Q(site__name__icontains=text) | Q(site__city__icontains=text)
        rows = rows.filter(names | Q(documents__number__iexact=text)).distinct()
    return rows


def _months(
    request: DriverRequest, rows: list[ChargingSession], costs: dict[int, Cost], now: dt.datetime, *, several: bool
) -> list[dict[str, Any]]:
    """Return the page's sessions by month and operator, with the sums of the whole months."""
    zone = timezone.get_current_timezone()
    sums = _month_sums(request, zone)
    invoices = _invoices(request)
    months: dict[tuple[dt.date, int], dict[str, Any]] = {}
    for row in rows:
        first = row.started_at.astimezone(zone).date().replace(day=1)
        key = first, row.operator_id
        if key not in months:
            energy, totals = sums.get(key, (Decimal(0), []))
            query = urlencode({"month": f"{first:%Y-%m}", "operator": row.operator.uuid})
            months[key] = {
                "month": first,
                "operator": row.operator.name if several else "",
                "energy_wh": energy,
                "totals": totals,
                "statement_url": f"{reverse('driver:statement')}?{query}",
                "invoices": invoices.get(key, []),
                "sessions": [],
            }
        months[key]["sessions"].append(_history_row(row, costs[row.pk], now))
    return sorted(months.values(), key=lambda month: (-month["month"].toordinal(), month["operator"]))


def _history_row(row: ChargingSession, cost: Cost, now: dt.datetime) -> dict[str, Any]:
    note = ""
    if row.is_open:
        note = _("running")
    elif cost.held:
        note = _("being checked")
    return {
        "url": reverse("driver:finished" if row.is_open else "driver:receipt", args=[row.uuid]),
        "station": str(row.station),
        "started_at": row.started_at,
        "energy_wh": row.energy_wh,
        "seconds": words.seconds_of(row, now),
        "cost": "" if cost.held else cost.text,
        "note": note,
    }


def _month_sums(request: DriverRequest, zone: dt.tzinfo) -> dict[tuple[dt.date, int], tuple[Decimal, list[str]]]:
    """Return energy and billed amounts (one text per currency) by month and operator."""
    groups = (
        ChargingSession.objects.filter(driver_id__in=request.driver_ids)
        .annotate(month=TruncMonth("started_at", tzinfo=zone))
        .order_by("bill__currency")
        .values_list("month", "operator_id", "bill__currency")
        .annotate(Sum("energy_wh"), Sum("bill__incl_vat_minor"), Count("pk"))
    )
    sums: dict[tuple[dt.date, int], tuple[Decimal, list[str]]] = {}
    for month, operator_id, currency, energy, minor, _count in groups:
        key = month.date(), operator_id
        before, texts = sums.get(key, (Decimal(0), []))
        texts = [*texts, display.money(from_minor(minor, currency), currency)] if minor is not None else texts
        sums[key] = before + (energy or 0), texts
    return sums


def _invoices(request: DriverRequest) -> dict[tuple[dt.date, int], list[dict[str, str]]]:
    rows = Document.objects.filter(kind=Document.Kind.INVOICE, account__driver_id__in=request.driver_ids)
    found: dict[tuple[dt.date, int], list[dict[str, str]]] = {}
    for row in rows.exclude(state=Document.State.CANCELLED):
        if row.period is not None:
            link = {"number": row.number, "url": reverse("driver:paper", args=[row.uuid])}
            found.setdefault((row.period, row.operator_id), []).append(link)
    return found


def _statement(rows: Any, zone: dt.tzinfo, now: dt.datetime) -> Iterator[list[Any]]:
    before = ""
    while True:
        page: pages.Page[ChargingSession] = pages.page_of(rows, "started_at", before=before, size=SLICE)
        bills = SessionBill.objects.select_related("document").in_bulk([row.pk for row in page.rows])
        for row in page.rows:
            end = None if row.is_open else row.stopped_at
            yield [
                _local(row.started_at, zone),
                _local(end, zone) if end else "",
                zone.key if isinstance(zone, ZoneInfo) else str(zone),
                row.operator.name,
                words.place_of(row.site),
                str(row.station),
                words.own_token_of(row),
                (row.energy_wh / 1000).quantize(Decimal("0.001")),
                words.seconds_of(row, now),
                *_amounts(bills.get(row.pk)),
            ]
        if not page.older:
            return
        before = page.older


def _amounts(bill: SessionBill | None) -> list[Any]:
    if bill is None or not bill.is_rated:
        return ["", "", "", "", ""]
    sides = (bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor)
    amounts = [from_minor(minor or 0, bill.currency) for minor in sides]
    return [*amounts, bill.currency, bill.document.number if bill.document else ""]


def _local(at: dt.datetime, zone: dt.tzinfo) -> str:
    return at.astimezone(zone).replace(microsecond=0, tzinfo=None).isoformat(sep=" ")


def _first(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        return timezone.localdate().replace(day=1)


# --- where to charge ---------------------------------------------------------------------------------


@driver
def find(request: DriverRequest) -> HttpResponse:
    now, wanted = timezone.now(), request.GET.dict()
    drivers = _drivers(request)
    rows = finder.stations_for(
        drivers,
        text=wanted.get("q", "").strip(),
        plug=wanted.get("plug", ""),
        free_only=wanted.get("free") == "1",
        now=now,
    )
    page = finder.page_of(rows, wanted.get("page"))
    sites: dict[int, dict[str, Any]] = {}
    for place in finder.places(list(page), drivers, now=now):
        site = place.station.site
        entry = sites.setdefault(
            site.pk,
            {
                "name": words.place_of(site),
                "address": site.address,
                "operator": place.station.operator.name if len(drivers) > 1 else "",
                "map_url": _map_url(site.latitude, site.longitude),
                "places": [],
            },
        )
        entry["places"].append(
            {
                "name": str(place.station),
                "label": place.station.label,
                "power": _("up to %(power)s") % {"power": display.power(place.max_power_w)}
                if place.max_power_w
                else "",
                "connectors": [{"state": state, "name": name} for state, name in place.connectors],
                "free": place.free,
                "count": len(place.connectors),
                "is_here": getattr(place.station, "is_here", False),
                "prices": place.prices,
            }
        )
    context = {
        "search": wanted.get("q", ""),
        "filters": [
            {
                "name": "plug",
                "label": _("Plug"),
                "value": wanted.get("plug", ""),
                "options": finder.plug_types(drivers),
            },
            {
                "name": "free",
                "label": _("Free now"),
                "value": wanted.get("free", ""),
                "options": [("1", _("Yes"))],
            },
        ],
        "sites": list(sites.values()),
        "page": page,
        "available": ConnectorState.AVAILABLE,
    }
    return render(request, "driver/find.html", context)


def _map_url(latitude: Decimal | None, longitude: Decimal | None) -> str:
    if latitude is None or longitude is None:
        return ""
    return f"https://www.openstreetmap.org/directions?to={latitude:f}%2C{longitude:f}"


def _drivers(request: DriverRequest) -> list[Driver]:
    return list(Driver.objects.filter(pk__in=request.driver_ids).select_related("operator").order_by("pk"))
