"""How a session ends: its energy reckoned from everything stored, its facts frozen, doubts noted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal

from sessions.models import HOLDS, ChargingSession, ReviewReason, SessionEvidence
from sessions.readings import Sample, StateChange, reckon
from sessions.running import forget, tell
from stations.ocpp.batch import Batch, StationRef, fetch, update
from stations.registry import plausible

CLOCK_OFF = dt.timedelta(minutes=5)
LATE_END_GRACE = dt.timedelta(minutes=15)

RECKONED = frozenset(
    {
        ReviewReason.METER_BACKWARDS,
        ReviewReason.STOP_BEFORE_START,
        ReviewReason.OVER_POWER,
        ReviewReason.JUMP,
        ReviewReason.NO_READING,
        ReviewReason.SEQ_GAP,
    }
)

_READINGS = (
    "SELECT at, energy_wh, current_a, current_l1, current_l2, current_l3, charging_state"
    " FROM charging_meterreading WHERE session_id = %s ORDER BY at, received_at"
)
_STATES = (
    "SELECT at, status FROM stations_statuschange WHERE connector_id = %s AND at >= %s AND at <= %s ORDER BY at, id"
)


def when(reported: dt.datetime | None, offline: bool, at: dt.datetime) -> tuple[dt.datetime, list[str]]:
    """Return the time that counts for a reported one, and what is to be noted about it."""
    plain = plausible(reported, at)
    if plain is None:
        return at, [ReviewReason.IMPLAUSIBLE_TIME]
    if offline:
        return plain, [ReviewReason.OFFLINE_REPLAY]
    if abs(at - plain) > CLOCK_OFF:
        return plain, [ReviewReason.CLOCK_OFFSET]
    return plain, []


def merged(reasons: Sequence[str], more: Iterable[str]) -> list[str]:
    """Return both lists of reasons, each reason once, in order."""
    return list(dict.fromkeys([*map(str, reasons), *map(str, more)]))


def close_without_end(
    station: StationRef, session: ChargingSession, reason: str, *, at: dt.datetime, tx: Batch
) -> None:
    """End a session whose end was never told, at its last proven reading; no idle time after it.

    Its bill waits a while, for the true end may still come.
    """
    session.stopped_at = max(session.last_reading_at or session.started_at, session.started_at)
    session.stop_received_at = at
    session.status = ChargingSession.Status.ENDED
    session.review = merged(session.review, [reason, ReviewReason.ESTIMATED_END])
    session.settle_after = at + LATE_END_GRACE
    freeze(station, session, tx)
    forget(station, session, tx)
    tell(station, session, tx)


def freeze(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    """Reckon energy and facts of an ended session from everything stored, and save it.

    Once a person has decided about its bill, what comes later changes nothing.
    """
    assert session.stopped_at is not None
    if session.released_at is not None:
        return
    samples: list[Sample] = []
    states: list[StateChange] = []
    for at, energy, amps, l1, l2, l3, state in fetch(_READINGS, [session.pk], "tnnnnnx"):
        phases = [one for one in (l1, l2, l3) if one is not None]
        samples.append(Sample(at, energy, sum(phases, Decimal(0)) if phases else amps))
        if state and (not states or states[-1].state != state):
            states.append(StateChange(at, state))
    if not states and session.connector_id is not None:
        states = _states_of_connector(session.connector_id, session.started_at, session.stopped_at)
    result = reckon(
        start=session.started_at,
        end=session.stopped_at,
        meter_start=session.meter_start_wh,
        meter_stop=session.meter_stop_wh,
        samples=samples,
        states=states,
        time_zone=session.time_zone,
        max_power_w=station.max_power_w,
        estimated_end=ReviewReason.ESTIMATED_END in session.review,
    )
    reasons = set(result.reasons)
    if _has_gap(session):
        reasons.add(ReviewReason.SEQ_GAP)
    session.review = merged([r for r in session.review if r not in RECKONED], sorted(reasons))
    session.energy_wh = result.energy_wh
    session.meter_start_wh, session.meter_stop_wh = result.meter_start_wh, result.meter_stop_wh
    session.power_w = None
    session.facts = result.facts.to_json()
    session.facts_digest = result.facts.digest()
    update(session)
    if any(reason in HOLDS for reason in session.review):
        tx.follow_up("sessions.tasks.look_at_held", session.pk)
    elif ReviewReason.ESTIMATED_END not in session.review:
        # An estimated end is billed by the sweep once `settle_after` has passed.
        tx.follow_up("billing.tasks.rate_session", session.pk)


def _states_of_connector(connector_id: int, start_at: dt.datetime, end_at: dt.datetime) -> list[StateChange]:
    return [StateChange(at, status) for at, status in fetch(_STATES, [connector_id, start_at, end_at], "tx")]


def _has_gap(session: ChargingSession) -> bool:
    """Tell whether events are missing between the first and the last number (2.x), where numbers rise at all."""
    if session.seq_end is None:
        return False
    if session.seq_start is None:
        return True  # the start itself is missing
    if session.seq_end == session.seq_start:
        return False  # a station that never counts
    rows = SessionEvidence.objects.filter(session=session).values_list("seq_no", flat=True)
    numbers = {number for number in rows if number is not None}
    return len(numbers) != max(numbers) - min(numbers) + 1
