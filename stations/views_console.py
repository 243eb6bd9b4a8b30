"""Console pages about stations: the live fleet, one station, and the fragments these fetch anew."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from babel.dates import format_date
from django.core.cache import cache
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from stations import display, figures, fleet_map, overview, station_page, wording
from stations.models import Connector, Site, Station, StationEvent
from stations.overview import Query, Row
from stations.states import CONNECTOR_LOOKS

FEED_LENGTH = 5
LAST_COMMANDS = 5
FRAGMENT_SECONDS = 1
EXPORTED = (
    *("identity", "name", "site", "vendor", "model", "firmware", "protocol", "state", "last_message"),
    "connectors",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


# --- the live fleet --------------------------------------------------------------------------------------


@console(Ability.SEE_STATIONS)
def station_list(request: ConsoleRequest) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    query = Query.read(request.GET.dict())
    counted = overview.groups(actor, query, now)
    sites = overview.sites(actor)
    active = overview.running(actor, now)
    page = overview.page_of(actor, query, now, count=sum(group.fits for group in counted))
    rows = overview.rows_of(list(page.object_list), active, now)
    opened = request.GET.get("open", "")
    page.object_list = cast(Any, [_shown(request, row, now, opened) for row in rows])
    total = sum(group.stations for group in counted)
    attention = sum(group.attention for group in counted)
    parameters = request.GET.urlencode()
    kpis = _kpis(actor, active, sites, now, complete=False)
    context = {
        "live_topic": f"stations:{parameters}",
        "lead": _lead(total, len({group.site_id for group in counted}), attention),
        "fragments": {
            name: f"{reverse(f'console:stations_{name}')}?{parameters}" for name in ("rows", "kpis", "feed", "map")
        }
        | {"alerts": reverse("console:alert_fragment")},
        "kpis": kpis,
        "tabs": _tabs(counted, query),
        "filters": _filters(counted, sites, query),
        "keep": {"view": query.view} if query.view else {},
        "search": query.text,
        "page": page,
        "sort": query.sort,
        "bulk": _bulk(actor),
        **_map(sites, counted),
        "feed": _feed(actor),
        "panel": _open_panel(actor, opened, now),
        "export_url": f"{reverse('console:stations_export')}?{parameters}",
        "add_url": reverse("console:station_new") if may(actor, Ability.EDIT_STATIONS) else "",
        "sizes": [{"size": size, "active": size == query.size} for size in overview.PAGE_SIZES],
    }
    return render(request, "console/station_list.html", context)


@console(Ability.SEE_STATIONS)
def stations_rows(request: ConsoleRequest) -> HttpResponse:
    def context() -> dict[str, Any]:
        actor, now = request.actor, timezone.now()
        page = overview.page_of(actor, Query.read(request.GET.dict()), now)
        found = list(page.object_list)
        active = overview.running(actor, now, [station.pk for station in found])
        rows = overview.rows_of(found, active, now)
        page.object_list = cast(Any, [_shown(request, row, now, request.GET.get("open", "")) for row in rows])
        return {"page": page, "bulk": _bulk(actor)}

    return _fragment(request, "console/fragments/_station_rows.html", context)


@console(Ability.SEE_STATIONS)
def stations_kpis(request: ConsoleRequest) -> HttpResponse:
    def context() -> dict[str, Any]:
        actor, now = request.actor, timezone.now()
        active = overview.running(actor, now)
        return {"kpis": _kpis(actor, active, overview.sites(actor), now, complete=True)}

    return _fragment(request, "console/fragments/_kpis.html", context)


@console(Ability.SEE_STATIONS)
def stations_feed(request: ConsoleRequest) -> HttpResponse:
    return _fragment(request, "console/fragments/_feed.html", lambda: {"feed": _feed(request.actor)})


@console(Ability.SEE_STATIONS)
def stations_map(request: ConsoleRequest) -> HttpResponse:
    def context() -> dict[str, Any]:
        counted = overview.groups(request.actor, Query(), timezone.now())
        return _map(overview.sites(request.actor), counted)

    return _fragment(request, "console/fragments/_map.html", context)


@console(Ability.SEE_STATIONS)
def stations_export(request: ConsoleRequest) -> HttpResponse:
    """The stations of the list as CSV, all pages."""
    actor, now = request.actor, timezone.now()
    query = Query.read(request.GET.dict())
    found = overview.all_of(actor, query, now)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="stations-{now:%Y-%m-%d}.csv"'
    out = csv.writer(response)
    out.writerow(EXPORTED)
    for row in overview.rows_of(list(found), (), now):
        station = row.station
        plugs = " ".join(f"{plug.evse}.{plug.number}:{plug.state or 'unknown'}" for plug in row.plugs)
        values = [
            station.identity,
            station.name,
            station.site.name,
            station.vendor,
            station.model,
            station.firmware,
            station.protocol,
            row.state or "connected",
            station.last_seen_at.isoformat() if station.last_seen_at else "",
            plugs,
        ]
        out.writerow([_plain_text(value) for value in values])
    return response


def _plain_text(value: str) -> str:
    """Keep spreadsheets from taking a charger's words for a formula."""
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


def _shown(request: ConsoleRequest, row: Row, now: dt.datetime, opened: str) -> dict[str, Any]:
    station = row.station
    key = str(station.uuid)
    parameters = request.GET.copy()
    parameters["open"] = key
    return {
        "key": key,
        "name": str(station),
        "identity": station.identity,
        "site": wording.site(station.site),
        "url": reverse("console:station", args=[key]),
        "panel_url": reverse("console:station_panel", args=[key]),
        "open_url": f"{reverse('console:stations')}?{parameters.urlencode()}",
        "connectors": [{"state": plug.state, "name": station_page.plug_name(plug)} for plug in row.plugs],
        "power_w": row.power_w,
        "limit_w": row.limit_w,
        "now": wording.now(row, now),
        "seen_at": station.last_seen_at,
        "selected": key == opened,
    }


def _lead(total: int, sites: int, attention: int) -> str:
    where = ngettext("%(count)s site", "%(count)s sites", sites) % {"count": sites}
    fleet = ngettext("%(count)s station at %(sites)s.", "%(count)s stations at %(sites)s.", total) % {
        "count": total,
        "sites": where,
    }
    if not attention:
        return fleet
    wrong = ngettext("%(count)s needs attention.", "%(count)s need attention.", attention) % {"count": attention}
    return f"{fleet} {wrong}"


def _tabs(counted: list[overview.Group], query: Query) -> list[dict[str, Any]]:
    words = {
        "": (_("All"), sum(group.stations for group in counted)),
        "attention": (_("Needs attention"), sum(group.attention for group in counted)),
        "in_use": (_("In use"), sum(group.in_use for group in counted)),
        "away": (_("Not connected"), sum(group.absent for group in counted)),
    }
    return [
        {"label": label, "count": count, "url": f"?view={view}" if view else "?", "active": view == query.view}
        for view, (label, count) in words.items()
    ]


def _filters(counted: list[overview.Group], sites: Iterable[Site], query: Query) -> list[dict[str, Any]]:
    models = sorted({group.model for group in counted if group.model})
    firmwares = sorted({group.firmware for group in counted if group.firmware})
    states = [(state, look.word) for state, look in CONNECTOR_LOOKS.items()]
    return [
        {"name": "state", "label": _("State"), "value": query.state, "options": states},
        {"name": "site", "label": _("Site"), "value": query.site, "options": [(str(s.uuid), s.name) for s in sites]},
        {"name": "model", "label": _("Model"), "value": query.model, "options": [(m, m) for m in models]},
        {"name": "firmware", "label": _("Firmware"), "value": query.firmware, "options": [(f, f) for f in firmwares]},
    ]


def _bulk(actor: Membership) -> dict[str, Any] | None:
    if not may(actor, Ability.COMMAND):
        return None
    return {"url": reverse("console:stations_bulk"), "actions": station_page.bulk_actions()}


def _map(sites: list[Site], counted: list[overview.Group]) -> dict[str, Any]:
    urls = {site.pk: reverse("console:site", args=[site.uuid]) for site in sites}
    return {
        "map": fleet_map.draw(overview.places(sites, counted, urls)),
        "map_note": {
            "faulted": sum(group.faulted for group in counted),
            "offline": sum(group.offline for group in counted),
        },
    }


def _feed(actor: Membership) -> list[dict[str, Any]]:
    events = StationEvent.objects.visible_to(actor).select_related("station")[:FEED_LENGTH]
    return [
        {"at": row.at, "url": reverse("console:station", args=[row.station.uuid]), **wording.event(row)._asdict()}
        for row in events
    ]


def _kpis(
    actor: Membership, active: list[overview.Running], sites: list[Site], now: dt.datetime, *, complete: bool
) -> dict[str, Any]:
    """Return the figures; without ``complete`` the slow ones only where they are remembered."""
    found = figures.figures(actor, active, sites, now)
    course = figures.power_course(actor, now, only_known=not complete)
    times = figures.uptimes(actor, now, only_known=not complete)
    ratio = figures.availability(times.values()) if times else None
    below = figures.sites_below_goal(times.values()) if times else 0
    goal = {"count": below, "goal": display.percent(figures.AVAILABILITY_GOAL, 0)}
    note = (
        ngettext("%(count)s site below the %(goal)s goal", "%(count)s sites below the %(goal)s goal", below) % goal
        if below
        else _("Goal: %(goal)s") % goal
    )
    energy_note, energy_tone = _against_last_week(found, now, actor)
    may_see_money = may(actor, Ability.SEE_MONEY)
    return {
        "connectors": found.connectors,
        "in_use": found.in_use,
        "mix": found.mix,
        "power_w": found.power_w,
        "power_limit_w": found.power_limit_w,
        "power_course": course or [],
        "energy_wh": found.energy_wh,
        "energy_note": energy_note,
        "energy_tone": energy_tone,
        "revenue_url": station_page.optional_url("billing_fragments:revenue_today") if may_see_money else "",
        "availability": ratio,
        "availability_note": note if ratio is not None else "",
        "availability_tone": "bad" if below else "",
        "incomplete": course is None or times is None,
    }


def _against_last_week(found: figures.Figures, now: dt.datetime, actor: Membership) -> tuple[str, str]:
    """Return how today's energy compares with the same weekday at this time, and the tone of that."""
    day = format_date(figures.local_date(actor, now), "EEEE", locale=display.locale())
    if not found.energy_last_week_wh:
        count = found.sessions_today
        return ngettext("%(count)s session", "%(count)s sessions", count) % {"count": count}, ""
    ratio = found.energy_wh / found.energy_last_week_wh - 1
    words = {"percent": display.percent(abs(ratio), 0), "day": day}
    if round(abs(ratio), 2) == 0:
        return _("As last %(day)s at this time") % words, ""
    if ratio > 0:
        return _("%(percent)s above last %(day)s") % words, "good"
    return _("%(percent)s below last %(day)s") % words, ""


def _open_panel(actor: Membership, key: str, now: dt.datetime) -> dict[str, Any] | None:
    rows = overview.stations(actor).select_related("site").annotate(is_here=overview.here(now))
    station = rows.filter(uuid=key).first() if overview.is_uuid(key) else None
    return station_page.panel(station_page.one(actor, station, now), actor, now) if station else None


def _fragment(request: ConsoleRequest, template: str, context: Callable[[], dict[str, Any]]) -> HttpResponse:
    """Answer a part of a page; all who see the same get it from one rendering per second."""
    actor = request.actor
    address = hashlib.sha256(request.get_full_path().encode()).hexdigest()
    key = (
        template,
        overview.scope_key(actor),
        actor.role,
        get_language(),
        timezone.get_current_timezone_name(),
        address,
    )
    name = "fragment:" + hashlib.sha256(repr(key).encode()).hexdigest()
    html: str | None = cache.get(name)
    if html is None:
        html = render_to_string(template, context(), request)
        cache.set(name, html, FRAGMENT_SECONDS)
    return HttpResponse(html)


# --- one station -----------------------------------------------------------------------------------------


def find_station(request: ConsoleRequest, id: UUID, *, retired: bool = False) -> Station:
    """Return a station with its site and whether it is here. Raises Http404."""
    rows = Station.objects.visible_to(request.actor) if retired else overview.stations(request.actor)
    found: Station = get_object_or_404(
        rows.select_related("site", "operator").annotate(is_here=overview.here(timezone.now())), uuid=id
    )
    return found


def station_context(request: ConsoleRequest, station: Station, tab: str) -> dict[str, Any]:
    """Return what every tab of a station's page shows around itself."""
    actor, now = request.actor, timezone.now()
    row = station_page.one(actor, station, now)
    note = ""
    if station.registration == Station.Registration.PENDING:
        note = _("This charger waits to be let in. Until then it may only introduce itself.")
    elif station.registration == Station.Registration.REJECTED:
        note = _("This charger is kept out: it may connect, but nothing it says counts.")
    shown = station_page.panel(row, actor, now) if tab == "station" else _head(row, actor)
    if may(actor, Ability.EDIT_STATIONS):
        edit_url = reverse("console:station_edit", args=[station.uuid])
        shown["actions"] = [*shown["actions"], {"label": _("Edit"), "icon": "pencil", "href": edit_url}]
    return {
        "live_topic": f"station:{station.identity}",
        "station": shown | {"registration_note": note, "back_url": reverse("console:stations")},
        "tabs": station_page.tabs(station, tab, actor),
        "row": row,
    }


def _head(row: Row, actor: Membership) -> dict[str, Any]:
    station = row.station
    return {
        "key": str(station.uuid),
        "name": str(station),
        "identity": station.identity,
        "about": wording.about(station),
        "state": row.state,
        "actions": station_page.actions(row, actor),
    }


@console(Ability.SEE_STATIONS)
def station(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    commands = found.commands.select_related("station")[:LAST_COMMANDS]
    alerts_url = station_page.optional_url("console:alert_fragment")
    context = station_context(request, found, "station") | {
        "commands": station_page.told(commands, may_command=may(request.actor, Ability.COMMAND)),
        "alerts_url": f"{alerts_url}?{urlencode({'station': found.identity})}" if alerts_url else "",
        "sessions_url": station_page.optional_url("console:station_sessions", found.uuid),
    }
    return render(request, "console/station_detail.html", context)


@console(Ability.SEE_STATIONS)
def station_panel(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found, now = find_station(request, id), timezone.now()
    shown = station_page.panel(station_page.one(request.actor, found, now), request.actor, now)
    return render(request, "console/fragments/_station_panel.html", {"station": shown})


@console(Ability.SEE_STATIONS)
def station_tiles(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found, now = find_station(request, id), timezone.now()
    row = station_page.one(request.actor, found, now)
    return render(request, "console/fragments/_tiles.html", {"tiles": station_page.tiles(row, request.actor, now)})


@console(Ability.SEE_STATIONS)
def station_series(request: ConsoleRequest, id: UUID) -> JsonResponse:
    """The power of the last hour, a point per minute, with the limit."""
    found, now = find_station(request, id), timezone.now()
    course = figures.course(overview.sessions_of(request.actor).filter(station=found), now)
    end = int(now.replace(second=0, microsecond=0).timestamp())
    times = [end - 60 * (len(course) - 1 - i) for i in range(len(course))]
    series = [{"name": _("Drawn"), "style": "area", "values": [round(value / 1000, 2) for value in course]}]
    limit = found.max_power_w or sum(watts or 0 for watts in found.evses.values_list("max_power_w", flat=True))
    if limit:
        name = _("Limit %(power)s") % {"power": display.power(limit)}
        series.append({"name": name, "style": "limit", "values": [limit / 1000] * len(course)})
    seen = Connector.objects.filter(evse__station=found, reported_at__isnull=False).exists()
    return JsonResponse({"unit": "kW", "times": times if seen else [], "series": series})


@console(Ability.SEE_STATIONS)
def station_configuration(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    text = request.GET.get("q", "").strip()[:120]
    known = list(found.settings.all())
    shown = [one for one in known if text.lower() in f"{one.component}.{one.key} {one.value}".lower()]
    context = station_context(request, found, "station_configuration")
    row = context["row"]
    change = None
    if may(request.actor, Ability.COMMAND):
        initial = {name: request.GET.get(name, "") for name in ("component", "key", "value")}
        change = station_page.form_of(row, "set_configuration", initial=initial, auto_id="set-%s")
    return render(
        request,
        "console/station_configuration.html",
        context
        | {
            "settings": shown,
            "known": len(known),
            "read_at": max((one.reported_at for one in known), default=None),
            "search": text,
            "change": change,
            "command_url": reverse("console:command_new", args=[found.uuid]),
        },
    )
