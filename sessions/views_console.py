"""Console pages about one session: what happened, its curves, its messages and the evidence behind its bill."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from sessions import series, words
from sessions.api import frames_of
from sessions.models import ChargingSession
from sessions.story import story_of
from stations import display
from stations.models import is_online
from stations.station_page import optional_url
from stations.views_log import paired

FRAMES = 50
CURVES = {"power": gettext_lazy("Power"), "energy": gettext_lazy("Energy"), "soc": gettext_lazy("Charge level")}


@console(Ability.SEE_SESSIONS)
def session(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found, now = find_session(request.actor, id), timezone.now()
    with timezone.override(found.time_zone):
        return render(request, "console/session_detail.html", _page(found, request, now))


@console(Ability.SEE_SESSIONS)
def session_series(request: ConsoleRequest, id: UUID) -> JsonResponse:
    """One curve of a session; ``after`` (seconds since 1970) leaves out what the page has."""
    return answer_series(find_session(request.actor, id), request.GET.dict())


@console(Ability.SEE_SESSIONS)
def session_badge(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """What the plug of a running session does."""
    found = find_session(request.actor, id)
    return render(request, "console/fragments/_badge.html", {"state": words.state_of(found)})


@console(Ability.SEE_SESSIONS)
def session_messages(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_session(request.actor, id)
    page = Paginator(frames_of(found).order_by("-id"), FRAMES).get_page(request.GET.get("page"))
    url = reverse("console:session_messages", args=[found.uuid])
    context = {
        "frames": paired(list(page), with_station=False),
        "newer_url": f"{url}?page={page.previous_page_number()}" if page.has_previous() else "",
        "older_url": f"{url}?page={page.next_page_number()}" if page.has_next() else "",
    }
    with timezone.override(found.time_zone):
        return render(request, "console/fragments/_session_log.html", context)


def find_session(actor: Membership, id: UUID) -> ChargingSession:
    """Return a session as far as ``actor`` may know of it. Raises Http404."""
    rows = ChargingSession.objects.visible_to(actor)
    rows = rows.select_related("site", "station", "evse", "connector", "driver", "token")
    found: ChargingSession = get_object_or_404(rows, uuid=id)
    return found


def answer_series(found: ChargingSession, wanted: dict[str, str]) -> JsonResponse:
    """Return the curve that was asked for, power where none was."""
    of, stamp = wanted.get("of", ""), wanted.get("after", "")
    after = series.moment(stamp) if stamp else None
    limit = found.evse.max_power_w if found.evse else None
    curve = series.chart(
        series.course(found, after=after),
        of if of in series.CURVES else "power",
        limit_w=limit or found.station.max_power_w,
    )
    return JsonResponse({**curve, "after": stamp} if after else curve)


# --- what the page shows -----------------------------------------------------------------------------


def _page(found: ChargingSession, request: ConsoleRequest, now: dt.datetime) -> dict[str, Any]:
    actor = request.actor
    sees_people, sees_money = may(actor, Ability.SEE_PEOPLE), may(actor, Ability.SEE_MONEY)
    curve = request.GET.get("curve", "power")
    curve = curve if curve in series.CURVES else "power"
    return {
        "live_topic": f"session:{found.uuid}",
        "session": {
            "title": words.joined([str(found.station), words.connector_of(found)]),
            "ident": found.transaction_ref,
            "back_url": reverse("console:sessions"),
            "state": words.state_of(found) if found.is_open else "",
            "badge_url": reverse("console:session_badge", args=[found.uuid]),
            "ended_word": "" if found.is_open else words.end_of(found),
            "energy_wh": found.energy_wh,
            "power_w": found.power_w if found.is_open else None,
            "seconds": words.seconds_of(found, now),
            "soc": found.soc_percent,
            "slot_key": f"session:{found.uuid}",
        },
        "moments": story_of(found, sees_people=sees_people),
        "facts": _facts(found, sees_people=sees_people),
        "review": [{"text": text, "holds": holds} for text, holds in words.reasons_of(found)],
        "review_url": optional_url("billing_fragments:review", found.uuid)
        if found.is_held and not found.is_open and may(actor, Ability.REVIEW_SESSIONS)
        else "",
        "curves": [
            {"label": str(label), "url": f"?curve={name}", "active": name == curve} for name, label in CURVES.items()
        ],
        "curve_title": str(CURVES[curve]),
        "series_url": f"{reverse('console:session_series', args=[found.uuid])}?of={curve}",
        "zone": found.time_zone,
        "cost_url": optional_url("billing_fragments:session_lines", found.uuid) if sees_money else "",
        "cost_total_url": optional_url("billing_fragments:session_total", found.uuid) if sees_money else "",
        "papers_url": optional_url("billing_fragments:session_story", found.uuid) if sees_money else "",
        "messages_url": reverse("console:session_messages", args=[found.uuid]),
        "evidence": _evidence(found, sees_people=sees_people),
        "actions": _actions(found, actor, now),
    }


def _facts(found: ChargingSession, *, sees_people: bool) -> list[dict[str, Any]]:
    driver_url = optional_url("console:driver", found.driver.uuid) if found.driver and sees_people else ""
    token_url = optional_url("console:token", found.token.uuid) if found.token and sees_people else ""
    facts: list[tuple[str, str, str]] = [
        (_("Driver"), words.driver_of(found, sees_people=sees_people) or _("Guest"), driver_url),
        (_("Token"), words.token_of(found, sees_people=sees_people), token_url),
        (_("Station"), str(found.station), optional_url("console:station", found.station.uuid)),
        (_("Connector"), words.joined([words.connector_of(found).capitalize(), words.plug_of(found.connector)]), ""),
        (_("Site"), words.place_of(found.site), optional_url("console:site", found.site.uuid)),
        (_("Started"), display.exact(found.started_at), ""),
        (_("Ended"), display.exact(found.stopped_at) if found.stopped_at and not found.is_open else "", ""),
        (_("Time zone"), found.time_zone, ""),
        (_("Meter at start"), _register(found.meter_start_wh), ""),
        (_("Meter at end"), _register(found.meter_stop_wh), ""),
        (_("Last register"), _register(found.meter_last_wh) if found.is_open else "", ""),
        (_("Energy"), str(display.energy_exact(found.energy_wh)), ""),
        (_("Meter number"), found.station.meter_serial, ""),
        (_("Transaction"), found.transaction_ref, ""),
        (_("Protocol"), f"OCPP {found.protocol}", ""),
        (_("Facts"), found.facts_digest[:16], ""),
    ]
    return [{"label": label, "value": value, "url": url} for label, value, url in facts if value]


def _register(wh: Any) -> str:
    return "" if wh is None else str(display.energy_exact(wh))


def _evidence(found: ChargingSession, *, sees_people: bool) -> list[dict[str, Any]]:
    """Return the messages a bill rests on; their text only for those who may see personal data."""
    kinds = {"start": _("Start"), "stop": _("End"), "event": _("Event"), "signed": _("Signed value")}
    return [
        {
            "at": row.at,
            "kind": kinds.get(row.kind, row.kind),
            "digest": row.digest[:16],
            "text": row.text if sees_people else "",
        }
        for row in found.evidence.exclude(kind="event").order_by("at", "pk")
    ]


def _actions(found: ChargingSession, actor: Membership, now: dt.datetime) -> list[dict[str, Any]]:
    url = optional_url("console:command_new", found.station.uuid)
    if not found.is_open or not url or not may(actor, Ability.COMMAND):
        return []
    who = words.driver_of(found, sees_people=may(actor, Ability.SEE_PEOPLE)) or _("a guest")
    stop: dict[str, Any] = {
        "label": _("Stop"),
        "icon": "square",
        "tone": "danger",
        "url": url,
        "hidden": {"command": "stop", "session": str(found.uuid)},
        "confirm": {
            "effect": _("The session of %(who)s ends after %(energy)s. What was drawn so far is billed.")
            % {"who": who, "energy": display.energy(found.energy_wh)},
            "title": _("Stop this session?"),
            "button": _("Stop"),
        },
    }
    here = type(found.station)._default_manager.filter(is_online(now), pk=found.station_id).exists()
    if not here:
        stop["disabled"] = _("The charger is not connected.")
    return [stop]
