"""The built-in gallery at /_kit/: every component and page with invented data. Only where DEBUG is on.

Browser tests walk it for looks and accessibility, so that no page needs a database to be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone

from config import kit_samples as samples
from config.context import chosen_theme

Sample = Callable[[], dict[str, Any]]

PAGES: dict[str, tuple[str, Sample]] = {
    "components": ("kit/components.html", samples.components),
    "stations": ("console/station_list.html", samples.stations),
    "stations-empty": ("console/station_list.html", samples.stations_empty),
    "station": ("console/station_detail.html", samples.station_page),
    "station-log": ("console/station_log.html", samples.log_page),
    "sessions": ("console/session_list.html", samples.sessions),
    "session": ("console/session_detail.html", samples.session),
    "driver-session": ("driver/session.html", samples.driver_session),
    "driver-session-energy": ("driver/session.html", lambda: samples.driver_session(soc=False)),
    "driver-idle": ("driver/session.html", samples.driver_idle),
    "driver-history": ("driver/history.html", samples.history),
    "driver-receipt": ("driver/session.html", samples.receipt),
    "driver-find": ("driver/find.html", samples.find),
    "finance-overview": ("finance/overview.html", samples.finance),
    "finance-revenue": ("finance/revenue.html", samples.revenue),
    "not-found": ("404.html", dict),
    "not-allowed": ("403.html", dict),
}
FRAGMENTS: dict[str, tuple[str, Sample]] = {
    "rows": ("console/fragments/_station_rows.html", samples.stations),
    "kpis": ("console/fragments/_kpis.html", samples.stations),
    "feed": ("console/fragments/_feed.html", samples.stations),
    "map": ("console/fragments/_map.html", samples.stations),
    "tiles": ("console/fragments/_tiles.html", lambda: {"tiles": samples.stations()["panel"]["tiles"]}),
    "command": ("console/fragments/_command.html", samples.command),
    "log": ("console/fragments/_log.html", samples.log_page),
    "session-rows": (
        "console/fragments/_session_rows.html",
        lambda: {"rows": samples.session_rows(), "show_cost": True},
    ),
    "session-totals": ("console/fragments/_session_totals.html", samples.session_totals),
    "session-log": ("console/fragments/_session_log.html", samples.log_page),
    "review": ("console/fragments/_review.html", samples.review),
    "badge": ("console/fragments/_badge.html", lambda: {"state": "Charging"}),
    "my-power": ("driver/fragments/_power.html", lambda: {**samples.driver_session(), "running": True}),
    "my-cost": ("driver/fragments/_cost.html", lambda: {"cost": samples.my_cost()}),
    "my-session": ("driver/fragments/_session.html", samples.driver_session),
    "cost": ("finance/fragments/_cost_lines.html", lambda: {"cost": samples.cost()}),
    "cost-total": ("finance/fragments/_cost_total.html", lambda: {"cost": samples.cost()}),
    "revenue": ("finance/fragments/_revenue_today.html", lambda: {"revenue": samples.revenue_today()}),
    "sessions": ("console/fragments/_session_list.html", samples.station_sessions),
}


def index(request: HttpRequest) -> HttpResponse:
    """List the pages of the gallery."""
    _only_in_debug()
    names = [(name, reverse("kit:page", args=[name])) for name in PAGES]
    return render(request, "kit/index.html", {"names": names, "shell": samples.shell("console", "")})


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show one page with invented data."""
    _only_in_debug()
    template, sample = _found(PAGES, name)
    portal = next((part for part in ("driver", "finance") if name.startswith(part)), "console")
    with timezone.override(samples.ZONE):
        return render(request, template, {"shell": samples.shell(portal, name, chosen_theme(request)), **sample()})


def fragment(request: HttpRequest, name: str) -> HttpResponse:
    """Answer a part of a page that is fetched by URL."""
    _only_in_debug()
    template, sample = _found(FRAGMENTS, name)
    with timezone.override(samples.ZONE):
        return render(request, template, sample())


def series(_request: HttpRequest) -> JsonResponse:
    """Answer an hour of power for the interactive chart."""
    _only_in_debug()
    return JsonResponse(samples.series())


app_name = "kit"
urlpatterns = [
    path("", index, name="index"),
    path("series.json", series, name="series"),
    path("fragment/<slug:name>/", fragment, name="fragment"),
    path("<slug:name>/", page, name="page"),
]


def _only_in_debug() -> None:
    if not settings.DEBUG:
        raise Http404


def _found(shelf: dict[str, tuple[str, Sample]], name: str) -> tuple[str, Sample]:
    try:
        return shelf[name]
    except KeyError:
        raise Http404 from None
