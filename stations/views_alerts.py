"""Console pages about alerts: what is wrong, who takes care of it, and the one button that helps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import Membership
from accounts.roles import Ability, may, require
from accounts.views_auth import ConsoleRequest, console
from stations import alert_kinds, alerts
from stations.models import Alert

PAGE = 50
STRIP = 3  # shown on other pages; the rest is a click away
STATES = {
    "open": Q(resolved_at=None),
    "new": Q(resolved_at=None, acknowledged_at=None),
    "closed": Q(resolved_at__isnull=False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """An alert as one person sees it. Actions are in the shape of the component ``c-action``."""

    alert: Alert
    kind: alert_kinds.Kind
    reason: str
    impact: str
    links: Sequence[alert_kinds.Link]
    resolution: str
    action: dict[str, Any] | None
    acknowledge: dict[str, Any] | None
    close: dict[str, Any] | None


@console(Ability.SEE_STATIONS)
def alert_list(request: ConsoleRequest) -> HttpResponse:
    state = _state(request.GET)
    page = _page(request, state)
    return render(
        request,
        "console/alert_list.html",
        {
            "live_topic": "alerts",
            "tabs": _tabs(request, state),
            "filters": _filters(request.GET),
            "state": state,
            "page": page,
            "rows": _rows(page, request.actor),
            "fragment_url": f"{reverse('console:alert_fragment')}?{_query(request.GET, whole='1')}",
        },
    )


@console(Ability.SEE_STATIONS)
def alert_fragment(request: ConsoleRequest) -> HttpResponse:
    """The list alone; without ``whole`` a strip for another page: the few most urgent that nobody has taken on.

    With ``station`` (an identity) all open ones of that station.
    """
    whole = "whole" in request.GET
    state = _state(request.GET) if whole or "station" in request.GET else "new"
    page = _page(request, state, urgent_first=not whole)
    shown = list(page) if whole else list(page)[:STRIP]
    context = {
        "rows": _rows(shown, request.actor),
        "strip": not whole,
        "more": 0 if whole else page.paginator.count - len(shown),
        "more_url": f"{reverse('console:alerts')}?{_query(request.GET, state=state)}",
    }
    # Without blanks, so that the place of no alerts is empty and takes no room.
    return HttpResponse(render_to_string("console/fragments/_alerts.html", context, request).strip())


@require_POST
@console(Ability.COMMAND)
def alert_ack(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _answer(request, alerts.acknowledge(_alert(request, id), by=request.actor, at=timezone.now()))


@require_POST
@console(Ability.COMMAND)
def alert_close(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _answer(request, alerts.close(_alert(request, id), by=request.actor, at=timezone.now()))


@require_POST
@console(Ability.SEE_STATIONS)
def alert_act(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _alert(request, id)
    require(request.actor, alert_kinds.kind_of(found).action.ability)
    done = alerts.act(found, by=request.actor, at=timezone.now())
    if done.url:
        answer = HttpResponse() if request.headers.get("HX-Request") else HttpResponseRedirect(done.url)
        answer["HX-Redirect"] = done.url
        return answer
    return _answer(request, done.alert, done.words)


def _answer(request: ConsoleRequest, alert: Alert, words: str = "") -> HttpResponse:
    """Answer htmx with the alert as it is now, a plain form with the list."""
    if request.headers.get("HX-Request"):
        (row,) = _rows([alert], request.actor)
        return render(request, "console/fragments/_alert.html", {"row": row, "done": words})
    if words:
        messages.success(request, words)
    return redirect("console:alerts")


def _alert(request: ConsoleRequest, id: UUID) -> Alert:
    rows = Alert.objects.visible_to(request.actor).select_related("station", "site")
    found: Alert = get_object_or_404(rows, uuid=id)
    return found


# --- what is listed ----------------------------------------------------------------------------------


def _page(request: ConsoleRequest, state: str, *, urgent_first: bool = False) -> Page[Alert]:
    wanted = request.GET
    rows: QuerySet[Alert] = Alert.objects.visible_to(request.actor).filter(STATES[state])
    if wanted.get("kind"):
        rows = rows.filter(kind=wanted["kind"])
    if wanted.get("station"):
        rows = rows.filter(station__identity=wanted["station"])
    rows = rows.select_related("station", "site", "acknowledged_by")
    if state == "closed":
        order = ["-resolved_at", "-id"]
    else:  # critical comes before warning in the alphabet, too
        order = ["severity", *([] if urgent_first else ["kind"]), "-raised_at", "-id"]
    return Paginator(rows.order_by(*order), PAGE).get_page(wanted.get("page"))


def _rows(found: Iterable[Alert], actor: Membership) -> list[Row]:
    return [_row(alert, actor) for alert in found]


def _row(alert: Alert, actor: Membership) -> Row:
    kind = alert_kinds.kind_of(alert)
    action = kind.action
    is_mine = alert.is_open and may(actor, Ability.COMMAND)
    helps: dict[str, Any] = {
        "label": action.label,
        "icon": action.icon,
        "url": reverse("console:alert_act", args=[alert.uuid]),
        "tone": "primary",
    }
    if action.effect:
        helps["confirm"] = {"effect": action.effect, "title": action.label, "button": action.label}
    acknowledge = {
        "label": _("Acknowledge"),
        "icon": "check",
        "url": reverse("console:alert_ack", args=[alert.uuid]),
    }
    close = {"label": _("Close"), "icon": "x", "url": reverse("console:alert_close", args=[alert.uuid])}
    return Row(
        alert=alert,
        kind=kind,
        reason=kind.reason(alert),
        impact=kind.impact(alert),
        links=alert_kinds.evidence(alert, people=may(actor, Ability.SEE_PEOPLE)),
        resolution=alert_kinds.resolution_words(alert),
        action=helps if alert.is_open and may(actor, action.ability) else None,
        acknowledge=acknowledge if is_mine and alert.acknowledged_at is None else None,
        close=close if is_mine and not kind.is_watched else None,
    )


def _state(wanted: QueryDict) -> str:
    state = wanted.get("state", "")
    return state if state in STATES else "open"


def _tabs(request: ConsoleRequest, state: str) -> list[dict[str, Any]]:
    words = {"open": _("Open"), "new": _("Not acknowledged"), "closed": _("Closed")}
    rows = Alert.objects.visible_to(request.actor)
    counts = rows.aggregate(open=Count("pk", filter=STATES["open"]), new=Count("pk", filter=STATES["new"]))
    return [
        {
            "label": label,
            "url": f"?{_query(request.GET, state=name)}",
            "active": name == state,
            "count": counts.get(name),
        }
        for name, label in words.items()
    ]


def _filters(wanted: QueryDict) -> list[dict[str, Any]]:
    options = [(name, kind.title) for name, kind in alert_kinds.KINDS.items()]
    return [{"name": "kind", "label": _("Kind"), "value": wanted.get("kind", ""), "options": options}]


def _query(wanted: QueryDict, **changed: str) -> str:
    """Return the query string with some parameters replaced; another view of the list begins on its first page."""
    query = wanted.copy()
    for name, value in changed.items():
        query[name] = value
    if "whole" not in changed:
        query.pop("page", None)
        query.pop("whole", None)
    return query.urlencode()
