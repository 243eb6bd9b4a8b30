"""Console pages about sessions and what they cost: the list, decisions about held ones, fragments for other pages."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from accounts.models import Driver, Membership
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from billing import reports, review, session_list, settlement
from billing.costs import cost_of, shown
from billing.downloads import csv_download, delimiter_of
from billing.models import Document, SessionBill
from billing.money import from_minor
from billing.session_list import BILL_WORDS
from sessions import words
from sessions.models import ChargingSession
from sessions.review import held_sessions
from sessions.search import STATES
from sessions.story import Moment, story_of
from sessions.views_console import find_session
from stations import display
from stations.models import Site, Station

STATION_ROWS = 10
PLACES = ("before", "after")


# --- the list ----------------------------------------------------------------------------------------


@console(Ability.SEE_SESSIONS)
def session_list_page(request: ConsoleRequest) -> HttpResponse:
    actor, now, wanted = request.actor, timezone.now(), request.GET.dict()
    page = session_list.page_of(actor, wanted)
    query = urlencode(wanted)
    chosen = urlencode({name: value for name, value in wanted.items() if name not in PLACES})
    active = ChargingSession.objects.visible_to(actor).filter(STATES["active"]).count()
    held = session_list.found(actor, {"review": "held"}).count()
    context = {
        "live_topic": f"sessions:{query}",
        "lead": _lead(active, held),
        "tabs": _tabs(wanted, active, held),
        "filters": _filters(actor, wanted),
        "keep": {name: wanted[name] for name in ("state", "review") if wanted.get(name)},
        "search": wanted.get("q", ""),
        "rows": session_list.shown(actor, page.rows, now),
        "rows_url": f"{reverse('console:session_rows')}?{query}",
        "totals_url": f"{reverse('console:session_totals')}?{chosen}",
        "newer_url": f"?{chosen}&after={page.newer}" if page.newer else "",
        "older_url": f"?{chosen}&before={page.older}" if page.older else "",
        "show_cost": may(actor, Ability.SEE_MONEY),
        "export_url": f"{reverse('console:sessions_export')}?{chosen}",
    }
    return render(request, "console/session_list.html", context)


@console(Ability.SEE_SESSIONS)
def session_rows(request: ConsoleRequest) -> HttpResponse:
    page = session_list.page_of(request.actor, request.GET.dict())
    rows = session_list.shown(request.actor, page.rows, timezone.now())
    context = {"rows": rows, "show_cost": may(request.actor, Ability.SEE_MONEY)}
    return render(request, "console/fragments/_session_rows.html", context)


@console(Ability.SEE_SESSIONS)
def session_totals(request: ConsoleRequest) -> HttpResponse:
    """What the list comes to; asked for after the page is there, since it reads every row that fits."""
    totals = session_list.totals(request.actor, request.GET.dict())
    return render(request, "console/fragments/_session_totals.html", {"totals": totals})


@console(Ability.SEE_SESSIONS)
def sessions_export(request: ConsoleRequest) -> HttpResponseBase:
    now = timezone.now()
    lines = session_list.table(request.actor, request.GET.dict(), delimiter=delimiter_of(request), now=now)
    return csv_download(request, lines, f"sessions-{timezone.localdate(now):%Y-%m-%d}.csv")


@console(Ability.SEE_SESSIONS)
def station_sessions(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """The newest sessions of one station, for its page."""
    actor = request.actor
    station = get_object_or_404(Station.objects.visible_to(actor), uuid=id)
    rows = ChargingSession.objects.visible_to(actor).filter(station=station)
    rows = rows.select_related("site", "station", "evse", "connector", "driver", "token")
    newest = session_list.shown(actor, list(rows.order_by("-started_at", "-pk")[:STATION_ROWS]), timezone.now())
    context = {
        "rows": [row | {"place": row["place"].rpartition(", ")[2].capitalize()} for row in newest],
        "show_cost": may(actor, Ability.SEE_MONEY),
        "more_url": f"{reverse('console:sessions')}?{urlencode({'station': station.identity})}",
    }
    return render(request, "console/fragments/_session_list.html", context)


@console(Ability.SEE_SESSIONS)
def station_sessions_tab(request: ConsoleRequest, id: UUID) -> HttpResponse:
    station = get_object_or_404(Station.objects.visible_to(request.actor), uuid=id)
    return redirect(f"{reverse('console:sessions')}?{urlencode({'station': station.identity})}")


def _lead(active: int, held: int) -> str:
    charging = ngettext("%(count)s car is charging.", "%(count)s cars are charging.", active) % {"count": active}
    if not held:
        return charging
    waiting = ngettext("%(count)s session needs a decision.", "%(count)s sessions need a decision.", held)
    return f"{charging} {waiting % {'count': held}}"


def _tabs(wanted: dict[str, str], active: int, held: int) -> list[dict[str, Any]]:
    dropped = ("state", "review", "bill", *PLACES)
    chosen = {name: value for name, value in wanted.items() if name not in dropped and value}

    def tab(label: str, **more: str) -> dict[str, Any]:
        mine = {name: wanted.get(name, "") for name in ("state", "review")}
        is_this = mine == {"state": "", "review": ""} | more and not wanted.get("bill")
        return {"label": label, "url": f"?{urlencode(chosen | more)}", "active": is_this}

    return [
        tab(_("All")),
        tab(_("Charging now"), state="active") | {"count": active},
        tab(_("Ended"), state="ended"),
        tab(_("To review"), review="held") | {"count": held},
    ]


def _filters(actor: Membership, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Return the choices above the list; station, driver and token appear where a link has chosen one."""
    sites = Site.objects.visible_to(actor).filter(retired_at=None).values_list("uuid", "name")
    choices: list[tuple[str, str, list[tuple[str, Any]]]] = [
        ("site", _("Site"), [(str(uuid), name) for uuid, name in sites])
    ]
    if may(actor, Ability.SEE_MONEY):
        choices.append(("bill", _("Bill"), list(BILL_WORDS.items())))
    if station := wanted.get("station"):
        choices.append(("station", _("Station"), [(station, station)]))
    if may(actor, Ability.SEE_PEOPLE):
        if (driver := wanted.get("driver")) and (name := _driver_name(actor, driver)):
            choices.append(("driver", _("Driver"), [(driver, name)]))
        if token := wanted.get("token"):
            choices.append(("token", _("Token"), [(token, token)]))
    filters = [
        {"name": name, "label": label, "value": wanted.get(name, ""), "options": options}
        for name, label, options in choices
    ]
    days = {"from": _("From"), "to": _("To")}
    days |= {
        name: label
        for name, label in (("ended_from", _("Ended from")), ("ended_to", _("Ended to")))
        if wanted.get(name)
    }
    return filters + [
        {"name": name, "label": label, "value": wanted.get(name, ""), "type": "date"} for name, label in days.items()
    ]


def _driver_name(actor: Membership, id: str) -> str:
    try:
        return str(Driver.objects.visible_to(actor).filter(uuid=UUID(id)).values_list("name", flat=True).first() or "")
    except ValueError:
        return ""


# --- decisions ---------------------------------------------------------------------------------------


@console(Ability.REVIEW_SESSIONS)
def session_review(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """What each decision about a held session would mean, with the buttons."""
    found = get_object_or_404(held_sessions(request.actor).select_related("site", "station"), uuid=id)
    cost = cost_of(found, now=timezone.now())
    energy = display.energy_exact(found.energy_wh)
    words_ = {"energy": energy, "amount": cost.text or _("its price")}
    release = {
        "label": _("Release as reckoned"),
        "icon": "circle-check",
        "tone": "primary",
        "url": reverse("console:session_release", args=[found.uuid]),
        "confirm": {
            "effect": _("%(amount)s for %(energy)s is billed, and the paper is issued. This cannot be undone.")
            % words_,
            "title": _("Release this session?"),
        },
    }
    free = {
        "label": _("Make it free"),
        "icon": "ban",
        "url": reverse("console:session_free", args=[found.uuid]),
        "confirm": {
            "effect": _("Nothing is billed. The meter record stays as it is. This cannot be undone."),
            "title": _("Make this session free?"),
        },
    }
    context = {
        "why": words.holding(found),
        "energy": energy,
        "cost": shown(cost, running=False),
        "cost_reason": cost.held,
        "actions": [release, free],
    }
    return render(request, "console/fragments/_review.html", context)


@require_POST
@console(Ability.REVIEW_SESSIONS)
def session_release(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _decided(request, id, free=False)


@require_POST
@console(Ability.REVIEW_SESSIONS)
def session_free(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _decided(request, id, free=True)


@require_POST
@console(Ability.REVIEW_SESSIONS)
def session_price(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """Price a session again whose bill lacked a tariff, a rate or a reading."""
    found = find_session(request.actor, id)
    return _told(request, settlement.settle(found.pk, now=timezone.now(), by=request.actor))


def _decided(request: ConsoleRequest, id: UUID, *, free: bool) -> HttpResponse:
    found = find_session(request.actor, id)
    return _told(request, review.decide(found, free=free, by=request.actor, at=timezone.now()))


def _told(request: ConsoleRequest, bill: SessionBill) -> HttpResponse:
    if bill.is_rated:
        amount = display.money(from_minor(bill.incl_vat_minor or 0, bill.currency), bill.currency)
        messages.success(request, _("Billed: %(amount)s.") % {"amount": amount})
    else:
        messages.warning(request, _("Held back: %(why)s.") % {"why": bill.get_held_reason_display()})
    return redirect("console:session", bill.session.uuid)


# --- fragments for pages of other parts ----------------------------------------------------------------


@console(Ability.SEE_MONEY)
def session_cost(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """The amount alone, as text."""
    return HttpResponse(cost_of(find_session(request.actor, id), now=timezone.now()).text or "–")


@console(Ability.SEE_MONEY)
def session_total(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_session(request.actor, id)
    cost = cost_of(found, now=timezone.now())
    context = {
        "cost": shown(cost, running=found.is_open),
        "slot": f"session:{found.uuid}:cost" if found.is_open else "",
        "note": "" if cost.is_final or cost.rating is None else _("Preliminary"),
    }
    return render(request, "finance/fragments/_cost_total.html", context)


@console(Ability.SEE_MONEY)
def session_lines(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_session(request.actor, id)
    cost = cost_of(found, now=timezone.now())
    bill = cost.bill
    waits = bill is not None and bill.is_held and not found.is_held and not found.is_open
    again = {
        "label": _("Price it now"),
        "icon": "rotate-cw",
        "url": reverse("console:session_price", args=[found.uuid]),
    }
    context = {
        "cost": shown(cost, running=found.is_open),
        "cost_reason": cost.held,
        "tariff": bill.tariff if bill else None,
        "tariff_url": reverse("console:tariff", args=[bill.tariff.uuid]) if bill and bill.tariff else "",
        "again": again if waits and may(request.actor, Ability.REVIEW_SESSIONS) else None,
    }
    with timezone.override(found.time_zone):
        return render(request, "finance/fragments/_cost_lines.html", context)


@console(Ability.SEE_MONEY)
def session_story(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """A session's story with its price and its papers."""
    found = find_session(request.actor, id)
    bill = SessionBill.objects.filter(pk=found.pk).select_related("tariff").first()
    with timezone.override(found.time_zone):
        story = story_of(found, sees_people=may(request.actor, Ability.SEE_PEOPLE))
        moments = sorted([*story, *_papers(found, bill)], key=lambda moment: moment.at)
        return render(request, "console/fragments/_moments.html", {"moments": moments})


def _papers(found: ChargingSession, bill: SessionBill | None) -> list[Moment]:
    moments: list[Moment] = []
    if bill is None or found.is_open:
        return moments
    if bill.is_rated and bill.rated_at is not None:
        amount = display.money(from_minor(bill.incl_vat_minor or 0, bill.currency), bill.currency)
        moments.append(Moment(bill.rated_at, "tag", "good", _("Priced"), str(bill.tariff or ""), amount))
    elif bill.is_held:
        why = str(bill.get_held_reason_display())
        moments.append(Moment(found.stopped_at or bill.frozen_at, "tag", "bad", _("Bill held back"), why))
    for document in Document.objects.filter(entries__session=found).order_by("issued_at", "pk"):
        url = reverse("finance:document", args=[document.uuid])
        kind = document.get_kind_display()
        moments.append(Moment(document.issued_at, "receipt-text", "idle", kind, document.number, url=url))
    return moments


@console(Ability.SEE_MONEY)
def revenue_today(request: ConsoleRequest) -> HttpResponse:
    """The figure of the live stations page: what sessions that ended today earned."""
    actor = request.actor
    zone = actor.operator.time_zone
    with timezone.override(zone):
        today = timezone.localdate()
    sums: dict[str, list[int]] = {}
    for row in reports.revenue(actor.operator_id, today, today + dt.timedelta(days=1), zone, actor.site_scope):
        entry = sums.setdefault(row.currency, [0, 0])
        entry[0], entry[1] = entry[0] + row.incl_vat, entry[1] + row.sessions
    main = actor.operator.currency
    amount, count = sums.pop(main, [0, 0])
    note = ngettext("%(count)s session", "%(count)s sessions", count) % {"count": display.number(count)}
    if count:
        each = display.money(from_minor(round(amount / count), main), main)
        note = _("%(sessions)s, %(amount)s each") % {"sessions": note, "amount": each}
    others = [display.money(from_minor(minor, currency), currency) for currency, (minor, _count) in sums.items()]
    context = {"amount": from_minor(amount, main), "currency": main, "note": words.joined([note, *others])}
    return render(request, "finance/fragments/_revenue_today.html", {"revenue": context})
