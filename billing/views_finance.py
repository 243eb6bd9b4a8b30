"""The finance portal: the state of the money, revenue, papers, reports."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.db.models import Count, Q, Sum
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import pages
from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, finance
from billing import documents, reports, session_list
from billing.costs import rate_words
from billing.downloads import csv_download, delimiter_of, download
from billing.forms import ReportForm
from billing.invoicing import fingerprint
from billing.models import BillingAccount, Document, ReportRun, SessionBill
from billing.money import from_minor
from billing.session_list import BILL_WORDS
from sessions.words import joined, place_of
from stations import display
from stations.models import Site

State, Held = SessionBill.State, SessionBill.Held
NEWEST = 8
MONTHS = 6
LONGEST = 400  # days on one page; the download takes any range
OPEN_STATES = (Document.State.ISSUED, Document.State.PARTLY_PAID)
DOCUMENT_TONES = {
    Document.State.ISSUED: "waiting",
    Document.State.PARTLY_PAID: "waiting",
    Document.State.PAID: "good",
    Document.State.WRITTEN_OFF: "bad",
    Document.State.CANCELLED: "idle",
}


# --- overview ----------------------------------------------------------------------------------------


@finance()
def overview(request: ConsoleRequest) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    first = _month(request.GET.get("month", ""), timezone.localdate(now))
    following = (first + dt.timedelta(days=32)).replace(day=1)
    rows = list(_revenue(actor, first, following, None))
    main = actor.operator.currency
    whole = urlencode({"from": first.isoformat(), "to": (following - dt.timedelta(days=1)).isoformat()})
    url = f"{reverse('finance:revenue')}?{whole}"
    context = {
        "lead": display.month(first) + (_(", so far") if following > timezone.localdate(now) else ""),
        "periods": _periods(first, timezone.localdate(now)),
        "currencies": _figures(actor, rows, url, now),
        "exceptions": _exceptions(actor, now),
        "course": _course(rows, main, first, min(following, timezone.localdate(now) + dt.timedelta(days=1))),
        "documents": [_document_row(row, actor) for row in _documents(actor).order_by("-issued_at", "-pk")[:NEWEST]],
        "documents_url": reverse("finance:documents"),
        "revenue_url": url,
    }
    return render(request, "finance/overview.html", context)


class Sums(NamedTuple):
    """Revenue added up, in minor units of one currency."""

    sessions: int = 0
    energy_wh: Decimal = Decimal(0)
    excl_vat: int = 0
    vat: int = 0
    incl_vat: int = 0

    def plus(self, row: reports.RevenueRow) -> Sums:
        """Return the sums with a row of the report."""
        return Sums(
            self.sessions + row.sessions,
            self.energy_wh + row.energy_wh,
            self.excl_vat + row.excl_vat,
            self.vat + row.vat,
            self.incl_vat + row.incl_vat,
        )


def _by(rows: Iterable[reports.RevenueRow], *names: str) -> dict[tuple[Any, ...], Sums]:
    sums: dict[tuple[Any, ...], Sums] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in names)
        sums[key] = sums.get(key, Sums()).plus(row)
    return sums


def _figures(actor: Membership, rows: list[reports.RevenueRow], url: str, now: dt.datetime) -> list[dict[str, Any]]:
    """Return one strip of figures per currency: never one sum of several."""
    open_ = {
        row["currency"]: row
        for row in _documents(actor)
        .order_by()
        .filter(kind=Document.Kind.INVOICE, state__in=OPEN_STATES)
        .values("currency")
        .annotate(count=Count("pk"), amount=Sum("incl_vat_minor"), late=Count("pk", filter=Q(due_at__lt=now)))
    }
    waiting = dict(_to_invoice(actor).order_by().values_list("currency").annotate(Sum("incl_vat_minor")))
    earned = {currency: sums for (currency,), sums in _by(rows, "currency").items()}
    documents_url = (
        f"{reverse('finance:documents')}?{urlencode({'kind': Document.Kind.INVOICE.value, 'state': 'open'})}"
    )
    waiting_url = f"{reverse('console:sessions')}?{urlencode({'bill': 'to_invoice'})}"
    strips = []
    for currency in sorted(earned.keys() | open_.keys() | waiting.keys()):
        sums, owed = earned.get(currency, Sums()), open_.get(currency, {"amount": 0, "late": 0, "count": 0})
        sessions = ngettext("%(count)s session", "%(count)s sessions", sums.sessions)
        late = ngettext("%(count)s invoice is overdue", "%(count)s invoices are overdue", owed["late"])
        count = ngettext("%(count)s invoice", "%(count)s invoices", owed["count"])
        figures = [
            (_("Revenue"), sums.incl_vat, url, sessions % {"count": display.number(sums.sessions)}, ""),
            (_("Net"), sums.excl_vat, url, str(display.energy(sums.energy_wh)), ""),
            (_("VAT"), sums.vat, url, "", ""),
            (_("To be invoiced"), waiting.get(currency) or 0, waiting_url, "", ""),
            (
                _("Open invoices"),
                owed["amount"] or 0,
                documents_url,
                late % {"count": owed["late"]} if owed["late"] else count % {"count": owed["count"]},
                "bad" if owed["late"] else "",
            ),
        ]
        strips.append(
            {
                "code": currency,
                "figures": [
                    {"label": label, "amount": from_minor(minor, currency), "url": link, "note": note, "tone": tone}
                    for label, minor, link, note, tone in figures
                ],
            }
        )
    return strips


def _exceptions(actor: Membership, now: dt.datetime) -> list[dict[str, Any]]:
    """Return what waits for somebody, each with the way to its rows."""
    bills = SessionBill.objects.visible_to(actor).order_by()
    ended = Q(session__status="ended")
    held = dict(bills.filter(ended, state=State.HELD).values_list("held_reason").annotate(count=Count("pk")).order_by())
    found = []
    doubtful = session_list.found(actor, {"review": "held"}).count()
    if doubtful:
        url = f"{reverse('console:sessions')}?review=held"
        text = _("The meter record is doubtful: release or make free")
        found.append(("eye", "bad", str(_("To review")), text, doubtful, url))
    for reason in Held:
        if reason.value and reason != Held.REVIEW and held.get(reason):
            url = f"{reverse('console:sessions')}?bill={reason.value}"
            found.append(("tag", "bad", str(reason.label), _("Held back without a price"), held[reason], url))
    unpriced = bills.filter(
        ended, state=State.OPEN, session__stop_received_at__lt=now - dt.timedelta(minutes=1)
    ).count()
    if unpriced:
        url = f"{reverse('console:sessions')}?bill=unpriced"
        found.append(("hourglass", "waiting", _("Not priced yet"), _("Priced by itself within minutes"), unpriced, url))
    late = _documents(actor).filter(kind=Document.Kind.INVOICE, state__in=OPEN_STATES, due_at__lt=now).count()
    if late:
        url = f"{reverse('finance:documents')}?state=overdue"
        found.append(("calendar-x", "bad", _("Overdue invoices"), _("Not paid in time"), late, url))
    waiting = _to_invoice(actor).count()
    if waiting:
        url = f"{reverse('console:sessions')}?bill=to_invoice"
        text = _("Invoices follow on the first of the month")
        found.append(("file-clock", "idle", str(BILL_WORDS["to_invoice"]), text, waiting, url))
    names = ("icon", "tone", "title", "text", "count", "url")
    return [dict(zip(names, values, strict=True)) for values in found]


def _to_invoice(actor: Membership) -> Any:
    return (
        SessionBill.objects.visible_to(actor)
        .filter(state=State.RATED, document=None, account__mode=BillingAccount.Mode.MONTHLY)
        .exclude(incl_vat_minor=0)
    )


def _month(text: str, today: dt.date) -> dt.date:
    try:
        return dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        return today.replace(day=1)


def _periods(chosen: dt.date, today: dt.date) -> list[dict[str, Any]]:
    months = [today.replace(day=1)]
    while len(months) < MONTHS:
        months.append((months[-1] - dt.timedelta(days=1)).replace(day=1))
    return [
        {"label": display.month(first), "url": f"?month={first:%Y-%m}", "active": first == chosen}
        for first in sorted({*months, chosen}, reverse=True)
    ]


# --- revenue -----------------------------------------------------------------------------------------


@finance()
def revenue(request: ConsoleRequest) -> HttpResponse:
    actor, today = request.actor, timezone.localdate()
    start, end = _range(request.GET, today)
    end = min(end, start + dt.timedelta(days=LONGEST))
    sites = list(Site.objects.visible_to(actor))
    chosen = _chosen_site(request.GET, sites)
    rows = list(_revenue(actor, start, end, chosen))
    by = request.GET.get("by", "day")
    by = by if by in GROUPS else "day"
    last = end - dt.timedelta(days=1)
    query = {"from": start.isoformat(), "to": last.isoformat(), "site": str(chosen.uuid) if chosen else ""}
    sums = {currency: total for (currency,), total in _by(rows, "currency").items()}
    main = actor.operator.currency if actor.operator.currency in sums else next(iter(sums), actor.operator.currency)
    csv_url = f"{reverse('finance:revenue_csv')}?{urlencode(query)}"
    labels = {"day": _("By day"), "site": _("By site"), "both": _("By day and site")}
    context = {
        "lead": _("%(first)s to %(last)s, %(zone)s. A session counts on the day of its end. No currency is converted.")
        % {"first": display.day(start), "last": display.day(last), "zone": timezone.get_current_timezone_name()},
        "filters": [
            {"name": "from", "label": _("From"), "value": query["from"], "type": "date"},
            {"name": "to", "label": _("To"), "value": query["to"], "type": "date"},
            {
                "name": "site",
                "label": _("Site"),
                "value": query["site"],
                "options": [(str(site.uuid), site.name) for site in sites],
            },
        ],
        "keep": {"by": by},
        "totals": [
            {
                "currency": currency,
                "figures": [
                    {"label": _("Gross"), "value": display.money(from_minor(total.incl_vat, currency), currency)},
                    {"label": _("Net"), "value": display.money(from_minor(total.excl_vat, currency), currency)},
                    {"label": _("VAT"), "value": display.money(from_minor(total.vat, currency), currency)},
                    {"label": _("Sessions"), "value": display.number(total.sessions)},
                    {"label": _("Energy"), "value": str(display.energy(total.energy_wh))},
                ],
            }
            for currency, total in sums.items()
        ],
        "course": _course(rows, main, start, min(end, today + dt.timedelta(days=1))),
        "group_tabs": [
            {"label": label, "url": f"?{urlencode(query | {'by': name})}", "active": name == by}
            for name, label in labels.items()
        ],
        "group_label": _("Site") if by == "site" else _("Day"),
        "shows_site": by == "both",
        "rows": [_revenue_row(key, total, by, query, sites) for key, total in _by(rows, *GROUPS[by]).items()],
        "sums": [_amounts(total, currency) for currency, total in sums.items()],
        "csv_url": csv_url,
        "csv_urls": [
            {"label": _("Comma, decimal point"), "url": f"{csv_url}&delimiter=%2C"},
            {"label": _("Semicolon, decimal comma"), "url": f"{csv_url}&delimiter=%3B"},
        ],
    }
    return render(request, "finance/revenue.html", context)


@finance()
def revenue_csv(request: ConsoleRequest) -> HttpResponseBase:
    actor = request.actor
    start, end = _range(request.GET, timezone.localdate())
    chosen = _chosen_site(request.GET, list(Site.objects.visible_to(actor)))
    zone = timezone.get_current_timezone_name()
    lines = reports.revenue_csv(
        actor.operator_id, start, end, zone, _site_ids(actor, chosen), delimiter=delimiter_of(request)
    )
    return csv_download(request, lines, f"revenue-{start}-{end - dt.timedelta(days=1)}.csv")


GROUPS = {"day": ("day", "currency"), "site": ("site_id", "currency"), "both": ("day", "site_id", "currency")}


def _revenue(actor: Membership, start: dt.date, end: dt.date, site: Site | None) -> Iterable[reports.RevenueRow]:
    zone = timezone.get_current_timezone_name()
    return reports.revenue(actor.operator_id, start, end, zone, _site_ids(actor, site))


def _site_ids(actor: Membership, site: Site | None) -> Iterable[int] | None:
    return [site.pk] if site else actor.site_scope


def _chosen_site(wanted: Mapping[str, str], sites: list[Site]) -> Site | None:
    asked = wanted.get("site")
    if not asked:
        return None
    found = next((site for site in sites if str(site.uuid) == asked), None)
    if found is None:
        raise Http404
    return found


def _range(wanted: Mapping[str, str], today: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first day and the day after the last; this month where nothing sensible was asked."""

    def day(name: str, otherwise: dt.date) -> dt.date:
        try:
            return dt.date.fromisoformat(wanted.get(name, ""))
        except ValueError:
            return otherwise

    start = day("from", today.replace(day=1))
    last = max(day("to", today), start)
    return start, min(last, dt.date(9998, 12, 31)) + dt.timedelta(days=1)


def _revenue_row(
    key: tuple[Any, ...], total: Sums, by: str, query: Mapping[str, str], sites: list[Site]
) -> dict[str, Any]:
    names = dict(zip(GROUPS[by], key, strict=True))
    site = next((site for site in sites if site.pk == names.get("site_id")), None)
    day: dt.date | None = names.get("day")
    link = {
        "bill": "priced",
        "ended_from": (day or query["from"]),
        "ended_to": (day or query["to"]),
        "site": site.uuid if site else query["site"],
    }
    return {
        "name": display.day(day) if day else str(site),
        "site": str(site) if site and day else "",
        "url": f"{reverse('console:sessions')}?{urlencode({n: v for n, v in link.items() if v})}",
        **_amounts(total, names["currency"]),
    }


def _amounts(total: Sums, currency: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "sessions": total.sessions,
        "energy_wh": total.energy_wh,
        "net": from_minor(total.excl_vat, currency),
        "vat": from_minor(total.vat, currency),
        "gross": from_minor(total.incl_vat, currency),
    }


def _course(rows: Iterable[reports.RevenueRow], currency: str, start: dt.date, end: dt.date) -> dict[str, Any] | None:
    """Return the columns of a chart, a day or (over long ranges) a month each; None where there is nothing to show."""
    earned: dict[dt.date, int] = {}
    by_month = (end - start).days > 92
    for row in rows:
        if row.currency == currency:
            day = row.day.replace(day=1) if by_month else row.day
            earned[day] = earned.get(day, 0) + row.incl_vat
    if not any(earned.values()):
        return None
    days = [start + dt.timedelta(days=number) for number in range((end - start).days)]
    shown = sorted({day.replace(day=1) for day in days}) if by_month else days
    return {
        "currency": currency,
        "title": _("Revenue per month, VAT included") if by_month else _("Revenue per day, VAT included"),
        "rows": [
            {
                "name": f"{day:%m}" if by_month else str(day.day),
                "title": display.month(day) if by_month else display.day(day),
                "amount": from_minor(earned.get(day, 0), currency),
            }
            for day in shown
        ],
    }


# --- documents ---------------------------------------------------------------------------------------


@finance()
def document_list(request: ConsoleRequest) -> HttpResponse:
    wanted, now = request.GET.dict(), timezone.now()
    rows = _documents(request.actor)
    if kind := wanted.get("kind"):
        rows = rows.filter(kind=kind)
    if state := wanted.get("state"):
        rows = rows.filter(_state_filter(state, now))
    if text := wanted.get("q", "").strip():
        names = Q(account__name__icontains=text) if may(request.actor, Ability.SEE_PEOPLE) else Q()
        rows = rows.filter(Q(number__icontains=text) | names)
    page = pages.page_of(rows, "issued_at", before=wanted.get("before", ""), after=wanted.get("after", ""))
    chosen = urlencode({name: value for name, value in wanted.items() if name not in ("before", "after")})
    states = [("open", _("Open")), ("overdue", _("Overdue"))]
    states += [(state.value, str(state.label)) for state in Document.State if state not in OPEN_STATES]
    context = {
        "search": wanted.get("q", ""),
        "filters": [
            {"name": "kind", "label": _("Kind"), "value": wanted.get("kind", ""), "options": Document.Kind.choices},
            {"name": "state", "label": _("State"), "value": wanted.get("state", ""), "options": states},
        ],
        "rows": [_document_row(row, request.actor) for row in page.rows],
        "newer_url": f"?{chosen}&after={page.newer}" if page.newer else "",
        "older_url": f"?{chosen}&before={page.older}" if page.older else "",
    }
    return render(request, "finance/document_list.html", context)


@finance()
def document(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """One paper, and the way back from it to every session and meter record it rests on."""
    found: Document = get_object_or_404(_documents(request.actor), uuid=id)
    body = json.loads(found.body)
    entries = found.entries.select_related(
        "session__station", "session__site", "session__evse", "session__bill__tariff"
    ).order_by("session__stopped_at", "pk")
    page = Paginator(entries, pages.PAGE).get_page(request.GET.get("page"))
    context = {
        "document": found,
        "state": _state_badge(found),
        "body": body,
        "issue_date": dt.date.fromisoformat(body["issue_date"]),
        "due_date": dt.date.fromisoformat(body["due_date"]) if body["due_date"] else None,
        "period": found.period,
        "vat": [
            {
                "rate": rate_words(tax["rate"]),
                "country": tax["country"],
                **{side: Decimal(tax[side]) for side in ("excl_vat", "vat", "incl_vat")},
            }
            for tax in body["vat"]
        ],
        "amounts": {side: Decimal(amount) for side, amount in body["totals"].items()},
        "page": page,
        "rows": [
            {
                "session": entry.session,
                "url": reverse("console:session", args=[entry.session.uuid]),
                "place": joined([place_of(entry.session.site), str(entry.session.station)]),
                "amount": from_minor(entry.incl_vat_minor, found.currency),
            }
            for entry in page
        ],
        "is_intact": fingerprint(found.prev_sha256, found.body) == found.sha256,
        "buyer": body["buyer"] if may(request.actor, Ability.SEE_PEOPLE) else None,
        "pdf_url": reverse("finance:document_pdf", args=[found.uuid]) if may(request.actor, Ability.SEE_PEOPLE) else "",
        "corrects": found.corrects,
        "corrections": found.corrections.order_by("issued_at"),
    }
    return render(request, "finance/document_detail.html", context)


@finance(Ability.SEE_PEOPLE)
def document_pdf(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found: Document = get_object_or_404(Document.objects.visible_to(request.actor), uuid=id)
    return download(documents.pdf_of(found), f"{found.number}.pdf", "application/pdf")


def _documents(actor: Membership) -> Any:
    return Document.objects.visible_to(actor).select_related("account", "corrects")


def _document_row(row: Document, actor: Membership) -> dict[str, Any]:
    sees_people = may(actor, Ability.SEE_PEOPLE)
    payer = _("Guest") if row.account is None else row.account.name if sees_people else ""
    return {
        "number": row.number,
        "url": reverse("finance:document", args=[row.uuid]),
        "title": joined([row.get_kind_display(), payer]),
        "at": row.issued_at,
        "due_at": row.due_at,
        "state": _state_badge(row),
        "amount": from_minor(row.incl_vat_minor, row.currency),
        "currency": row.currency,
        "pdf_url": reverse("finance:document_pdf", args=[row.uuid]) if sees_people else "",
    }


def _state_badge(row: Document) -> dict[str, str]:
    """Return the state in words; only an invoice can be paid, the other papers are issued and stay so."""
    if row.kind != Document.Kind.INVOICE and row.state == Document.State.ISSUED:
        return {"label": _("Issued"), "tone": "idle"}
    if row.state in OPEN_STATES and row.due_at is not None and row.due_at < timezone.now():
        return {"label": _("Overdue"), "tone": "bad"}
    state = Document.State(row.state)
    return {"label": str(state.label), "tone": DOCUMENT_TONES[state]}


def _state_filter(state: str, now: dt.datetime) -> Q:
    is_open = Q(kind=Document.Kind.INVOICE, state__in=OPEN_STATES)
    if state == "open":
        return is_open
    if state == "overdue":
        return is_open & Q(due_at__lt=now)
    return Q(state=state)


# --- reports -----------------------------------------------------------------------------------------


@finance(writes=Ability.EDIT_MONEY)
def report_list(request: ConsoleRequest) -> HttpResponse:
    """Energy reports as they were made; a month that is over can be made here."""
    actor, now = request.actor, timezone.now()
    edits = may(actor, Ability.EDIT_MONEY)
    form = ReportForm(request.POST or None, actor=actor, today=timezone.localdate(now)) if edits else None
    if request.method == "POST" and form is not None and form.is_valid():
        site, period = form.chosen
        run = reports.energy_report(site, period, now=now)
        messages.success(request, _("The report of %(site)s is ready.") % {"site": site})
        return redirect("finance:report", run.uuid)
    rows = ReportRun.objects.visible_to(actor).select_related("site").order_by("-period", "site__name", "pk")
    page = Paginator(rows, pages.PAGE).get_page(request.GET.get("page"))
    return render(request, "finance/report_list.html", {"page": page, "form": form})


@finance()
def report(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _report(request, id)
    header, *rows = csv.reader(io.StringIO(found.csv.removeprefix("\ufeff")))
    context = {
        "report": found,
        "header": header,
        "rows": rows,
        "csv_url": reverse("finance:report_csv", args=[found.uuid]),
        "pdf_url": reverse("finance:report_pdf", args=[found.uuid]),
    }
    return render(request, "finance/report_detail.html", context)


@finance()
def report_csv(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _report(request, id)
    return download(found.csv.encode(), f"{_report_name(found)}.csv", "text/csv; charset=utf-8")


@finance()
def report_pdf(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _report(request, id)
    with default_storage.open(str(found.pdf)) as file:
        return download(file.read(), f"{_report_name(found)}.pdf", "application/pdf")


def _report(request: ConsoleRequest, id: UUID) -> ReportRun:
    rows = ReportRun.objects.visible_to(request.actor).filter(state=ReportRun.State.READY).select_related("site")
    found: ReportRun = get_object_or_404(rows, uuid=id)
    return found


def _report_name(run: ReportRun) -> str:
    return f"energy-{run.site.name}-{run.period:%Y-%m}"
