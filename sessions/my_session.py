"""A driver's own running session as its page shows it, and as its live slots say it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from sessions import series, words
from sessions.models import ChargingSession
from stations import display
from stations.messages import ConnectorState
from stations.models import Command, Station, is_online
from stations.overview import ACTIVE

JUST_ENDED = dt.timedelta(minutes=15)
HALF_FULL = 80  # percent; above it cars charge slowly
CURVE_POINTS = 120
ROOM = 1.5  # the curve's axis reaches this much beyond now
LEAST_AXIS = dt.timedelta(minutes=20)


def own_sessions(driver_ids: frozenset[int]) -> QuerySet[ChargingSession]:
    """Return the sessions of a person, at all their operators."""
    rows = ChargingSession.objects.filter(driver_id__in=driver_ids)
    return rows.select_related("operator", "site", "station", "evse", "connector", "token", "driver")


def current(driver_ids: frozenset[int], now: dt.datetime) -> tuple[ChargingSession | None, list[ChargingSession]]:
    """Return the newest running session, else one that has just ended; and the others that run."""
    running = list(own_sessions(driver_ids).filter(status=ACTIVE).order_by("-started_at", "-pk"))
    if running:
        return running[0], running[1:]
    ended = Q(stop_received_at__gt=now - JUST_ENDED) | Q(stopped_at__gt=now - JUST_ENDED)
    return own_sessions(driver_ids).filter(ended).order_by("-stopped_at", "-pk").first(), []


def about(session: ChargingSession) -> str:
    """Return connector, plug and rated power: "Connector 1, CCS2, up to 300 kW"."""
    plug = words.plug_of(session.connector)
    return words.joined([words.connector_of(session).capitalize(), plug, up_to(limit_w(session))])


def up_to(watts: int | None) -> str:
    """Return a rated power in words; empty where it is not known."""
    return _("up to %(power)s") % {"power": display.power(watts)} if watts else ""


def limit_w(session: ChargingSession) -> int | None:
    """Return the rated power of a session's outlet in W."""
    own = session.evse.max_power_w if session.evse else None
    return own or session.station.max_power_w


def figures(session: ChargingSession, now: dt.datetime) -> dict[str, Any]:
    """Return state and figures of a running session."""
    state = words.state_of(session)
    target, at = None, None
    if session.soc_percent is not None:
        target = HALF_FULL if session.soc_percent < HALF_FULL else 100
        at = series.reaches(series.course(session, after=now - 2 * series.TREND), target)
    return {
        "state": state,
        "soc": session.soc_percent,
        "target_soc": target if target == HALF_FULL else None,
        "target_words": _("%(target)s at about %(time)s")
        % {"target": display.percent(Decimal(target) / 100, 0), "time": display.time_of_day(at)}
        if target and at
        else "",
        "energy_wh": session.energy_wh,
        "power_w": session.power_w,
        "seconds": words.seconds_of(session, now),
        "as_of": session.last_reading_at,
        "power_words": {
            ConnectorState.SUSPENDED_EV: _("Your car takes no power now"),
            ConnectorState.SUSPENDED_EVSE: _("The charger holds back for now"),
        }.get(state, ""),
    }


def curve(session: ChargingSession, now: dt.datetime) -> dict[str, Any]:
    """Return the power curve: (moment, W) pairs, rated power, and where its axis begins and ends."""
    points = series.course(session, most=CURVE_POINTS)
    end = session.stopped_at
    if session.is_open:
        end = session.started_at + max((now - session.started_at) * ROOM, LEAST_AXIS)
    return {
        "points": [(point.at, point.power_w) for point in points if point.power_w is not None],
        "limit_w": limit_w(session),
        "started_at": session.started_at,
        "end_at": end,
    }


def slots(session: ChargingSession, now: dt.datetime) -> dict[str, str]:
    """Return the live texts of the page."""
    energy = display.energy(session.energy_wh)
    found = {
        "my:energy.value": energy.value,
        "my:energy.unit": energy.unit,
        "my:time": display.clock(words.seconds_of(session, now)),
    }
    if session.power_w is not None:
        power = display.power(session.power_w)
        found |= {"my:power.value": power.value, "my:power.unit": power.unit}
    if session.soc_percent is not None:
        found["my:soc"] = display.number(session.soc_percent)
    return found


# --- stopping ----------------------------------------------------------------------------------------


def stop_asked(session: ChargingSession) -> Command | None:
    """Return the latest stop that somebody asked of the charger for this session."""
    rows = Command.objects.filter(station_id=session.station_id, command="stop", requested_at__gte=session.started_at)
    asked = {str(session.uuid), session.transaction_ref}
    for row in rows.order_by("-pk")[:20]:
        if {str(row.arguments.get("session")), str(row.arguments.get("transaction_id"))} & asked:
            return row
    return None


def is_waiting(command: Command | None) -> bool:
    """Whether a stop is still on its way."""
    return command is not None and (not command.is_final or command.effect_state == Command.Effect.PENDING)


def stop_words(command: Command | None) -> str:
    """Return what became of a stop that did not work, and what helps; empty where there is nothing to say."""
    if command is None:
        return ""
    if is_waiting(command):
        return _("Asked to stop. Waiting for the charger.")
    if command.status == Command.Status.REFUSED and command.error_code == "offline":
        return _("The charger is not connected right now. Hold your card to its reader, or use its own stop button.")
    if command.status == Command.Status.ACCEPTED and command.effect_state == Command.Effect.OBSERVED:
        return ""
    return _("The charger did not stop. Try again, or hold your card to its reader.")


def stop_of(session: ChargingSession, now: dt.datetime, effect: str = "") -> dict[str, Any]:
    """Return the stop button of a session and what became of a stop. ``effect`` says what stopping means."""
    command = stop_asked(session)
    otherwise = _("The charger ends the session after %(energy)s.") % {"energy": display.energy(session.energy_wh)}
    return {
        "url": reverse("driver:session_stop", args=[session.uuid]),
        "own_url": reverse("driver:session_stopping", args=[session.uuid]),
        "effect": effect or otherwise,
        "is_here": session.is_open and Station.objects.filter(is_online(now), pk=session.station_id).exists(),
        "waits": session.is_open and is_waiting(command),
        "words": stop_words(command) if session.is_open else "",
    }
