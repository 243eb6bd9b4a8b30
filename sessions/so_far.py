"""Running sessions as pricing would see them if they ended now. A fixed number of queries for any number of them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from sessions.facts import SessionFacts
from sessions.models import ChargingSession, MeterReading
from sessions.readings import Sample, StateChange, reckon
from stations.models import StatusChange


def facts_so_far(sessions: Iterable[ChargingSession], *, now: dt.datetime) -> dict[int, SessionFacts]:
    """Return the facts of running sessions until ``now`` by primary key, reckoned as their end would be."""
    running = [session for session in sessions if session.is_open]
    if not running:
        return {}
    samples, states = _told(running)
    _add_connectors(running, states, now)
    found = {}
    for session in running:
        result = reckon(
            start=session.started_at,
            end=max(now, session.started_at),
            meter_start=session.meter_start_wh,
            meter_stop=None,
            samples=samples[session.pk],
            states=states[session.pk],
            time_zone=session.time_zone,
            max_power_w=None,
        )
        found[session.pk] = result.facts
    return found


def _told(running: list[ChargingSession]) -> tuple[dict[int, list[Sample]], dict[int, list[StateChange]]]:
    samples: dict[int, list[Sample]] = defaultdict(list)
    states: dict[int, list[StateChange]] = defaultdict(list)
    rows = MeterReading.objects.filter(session_id__in=[session.pk for session in running])
    for key, at, energy, amps, l1, l2, l3, state in rows.order_by("session_id", "at", "received_at").values_list(
        "session_id", "at", "energy_wh", "current_a", "current_l1", "current_l2", "current_l3", "charging_state"
    ):
        phases = [one for one in (l1, l2, l3) if one is not None]
        samples[key].append(Sample(at, energy, sum(phases, Decimal(0)) if phases else amps))
        if state and (not states[key] or states[key][-1].state != state):
            states[key].append(StateChange(at, state))
    return samples, states


def _add_connectors(running: list[ChargingSession], states: dict[int, list[StateChange]], now: dt.datetime) -> None:
    """Take the states of the connector where the session's own messages tell none (1.6)."""
    silent = {session.connector_id: session for session in running if not states[session.pk] and session.connector_id}
    if not silent:
        return
    since = min(session.started_at for session in silent.values())
    rows = StatusChange.objects.filter(connector_id__in=silent.keys(), at__gte=since, at__lte=now).order_by("at", "id")
    for connector_id, at, status in rows.values_list("connector_id", "at", "status"):
        session = silent[connector_id]
        if at >= session.started_at:
            states[session.pk].append(StateChange(at, status))
