"""What the writer knows of running sessions, and the way of a reading into the batch: no query on the way."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction

from sessions.models import ChargingSession, MeterReading
from sessions.readings import energy_so_far
from stations.hints import driver_group, operator_group
from stations.messages import ChargingState, ConnectorState, MeterRead, Reading, SessionEnded, SessionStarted
from stations.models import Connector
from stations.ocpp.batch import Batch, BulkTable, StationRef, Summary
from stations.registry import plausible

OPEN = "open sessions"

READINGS = BulkTable(
    "charging_meterreading",
    (
        "session_id",
        "at",
        "digest",
        "received_at",
        "context",
        "energy_wh",
        "power_w",
        "current_a",
        "current_l1",
        "current_l2",
        "current_l3",
        "voltage_v",
        "voltage_l1",
        "voltage_l2",
        "voltage_l3",
        "soc_percent",
        "temperature_c",
        "charging_state",
        "other",
    ),
    unique=("session_id", "at", "digest"),
)
UNASSIGNED = BulkTable(
    "charging_unassignedreading",
    ("station_id", "evse", "transaction_ref", "at", "digest", "received_at", "reading"),
    unique=("station_id", "at", "digest"),
)
EVIDENCE = BulkTable(
    "charging_sessionevidence",
    ("session_id", "kind", "at", "seq_no", "digest", "text"),
    unique=("session_id", "kind", "digest"),
)
LIVE = Summary(
    "charging_chargingsession",
    (
        "energy_wh",
        "power_w",
        "soc_percent",
        "meter_last_wh",
        "last_reading_at",
        "energy_changed_at",
        "charging_state",
        "meter_start_wh",
    ),
    ("numeric", "numeric", "numeric", "numeric", "timestamptz", "timestamptz", "varchar", "numeric"),
    guard="charging_chargingsession.status = 'active'",
)

_CONNECTOR_STATE = {
    ChargingState.CHARGING: ConnectorState.CHARGING,
    ChargingState.SUSPENDED_EV: ConnectorState.SUSPENDED_EV,
    ChargingState.SUSPENDED_EVSE: ConnectorState.SUSPENDED_EVSE,
    ChargingState.EV_CONNECTED: ConnectorState.PREPARING,
    ChargingState.IDLE: ConnectorState.FINISHING,
}

SessionMessage = SessionStarted | SessionEnded | MeterRead


class OpenSession(NamedTuple):
    """A running session as the writer remembers it. Energies in Wh, power in W."""

    id: int
    uuid: str
    ref: str
    evse: int | None
    connector_id: int | None
    driver_id: int | None
    started_at: dt.datetime
    meter_start: Decimal | None
    first: Decimal | None
    energy: Decimal
    power: Decimal | None
    soc: Decimal | None
    last: Decimal | None
    last_at: dt.datetime | None
    changed_at: dt.datetime | None
    state: str
    backwards: bool


def open_sessions(station: StationRef, tx: Batch) -> dict[str, OpenSession]:
    """Return the running sessions of a station by transaction reference; read once per connection."""
    known: dict[str, OpenSession] | None = tx.recall(station.id, OPEN)
    if known is None:
        with transaction.atomic():
            rows = ChargingSession.objects.filter(station_id=station.id, status=ChargingSession.Status.ACTIVE)
            known = {row.transaction_ref: _opened(row) for row in rows.select_related("evse")}
        tx.remember(station.id, OPEN, known)
    return known


def remember(station: StationRef, session: ChargingSession, tx: Batch) -> OpenSession:
    """Take a session that has just begun (or was joined with its start) into the memory."""
    opened = _opened(session)
    tx.remember(station.id, OPEN, {**open_sessions(station, tx), session.transaction_ref: opened})
    return opened


def forget(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    """Drop a session that has ended."""
    known = {ref: one for ref, one in open_sessions(station, tx).items() if one.id != session.pk}
    tx.remember(station.id, OPEN, known)


def _opened(row: ChargingSession) -> OpenSession:
    return OpenSession(
        id=row.pk,
        uuid=str(row.uuid),
        ref=row.transaction_ref,
        evse=row.evse.number if row.evse else None,
        connector_id=row.connector_id,
        driver_id=row.driver_id,
        started_at=row.started_at,
        meter_start=row.meter_start_wh,
        first=None,
        energy=Decimal(row.energy_wh),
        power=row.power_w,
        soc=row.soc_percent,
        last=row.meter_last_wh,
        last_at=row.last_reading_at,
        changed_at=row.energy_changed_at,
        state=row.charging_state,
        backwards=False,
    )


def take(
    station: StationRef,
    session: OpenSession,
    readings: Sequence[Reading],
    message: MeterRead | SessionStarted,
    at: dt.datetime,
    tx: Batch,
) -> None:
    """Append readings to the batch and move the live summary on."""
    state = message.charging_state.value if message.charging_state else session.state
    meter_start, first = session.meter_start, session.first
    energy, power, soc = session.energy, session.power, session.soc
    last, last_at, changed_at = session.last, session.last_at, session.changed_at
    backwards = session.backwards
    for reading in readings:
        when = plausible(reading.at, at) or at
        register = reading.energy_wh
        tx.append(READINGS, reading_row(session.id, reading, when, at, state))
        if last_at is not None and when < last_at:
            continue  # history: it tells nothing about now
        told_before = last_at is not None  # the start register may be of another kind than the readings
        last_at = when
        if reading.power_w is not None:
            power = reading.power_w
        if reading.soc_percent is not None:
            soc = reading.soc_percent
        if register is not None:
            if first is None:
                first = register
            if meter_start is None:
                meter_start = register
            if told_before and last is not None and register < last and not backwards:
                backwards = True
                tx.follow_up("sessions.tasks.meter_ran_backwards", session.id, str(last), str(register))
            so_far = energy_so_far(meter_start, first, register)
            if so_far > energy:
                changed_at = at
                energy = so_far
            last = register
    if state != session.state and message.charging_state is not None:
        if not readings:
            change = Reading(at=message.at, at_raw=message.at_raw, context="state")
            tx.append(READINGS, reading_row(session.id, change, plausible(message.at, at) or at, at, state))
        if state == ChargingState.CHARGING:
            changed_at = at  # a pause is over: the meter has its full time again
        show_state(session.connector_id, message.charging_state, at)
    moved = OpenSession(
        session.id,
        session.uuid,
        session.ref,
        session.evse,
        session.connector_id,
        session.driver_id,
        session.started_at,
        meter_start,
        first,
        energy,
        power,
        soc,
        last,
        last_at,
        changed_at,
        state,
        backwards,
    )
    tx.remember(station.id, OPEN, {**open_sessions(station, tx), session.ref: moved})
    tx.set(LIVE, session.id, (energy, power, soc, last, last_at, changed_at, state, meter_start))
    group = operator_group(station.operator_id)
    tx.hint(group, "stations")
    tx.hint(group, f"station:{station.identity}")
    tx.hint(group, f"session:{session.uuid}")
    if session.driver_id is not None:
        tx.hint(driver_group(session.driver_id), f"session:{session.uuid}")


def reading_row(session_id: int, r: Reading, when: dt.datetime, at: dt.datetime, state: str) -> tuple[Any, ...]:
    """Return the row of a reading in the order of `READINGS`.

    Equal content at an equal time is one reading, however often and by whichever message it comes; that is
    what the digest is of.
    """
    remainder = None
    if r.other or r.signed or r.suspect or r.energy_interval_wh is not None:
        other: dict[str, Any] = dict(r.other or {})
        if r.signed:
            other["signed"] = [dataclasses.asdict(one) for one in r.signed]
        if r.suspect:
            other["suspect"] = list(r.suspect)
        if r.energy_interval_wh is not None:
            other["energy_interval_wh"] = str(r.energy_interval_wh)
        remainder = json.dumps(other, separators=(",", ":"), ensure_ascii=False)
    values = (
        r.context,
        r.energy_wh,
        r.power_w,
        r.current_a,
        r.current_l1,
        r.current_l2,
        r.current_l3,
        r.voltage_v,
        r.voltage_l1,
        r.voltage_l2,
        r.voltage_l3,
        r.soc_percent,
        r.temperature_c,
    )
    content = f"{'|'.join(map(str, values))}|{remainder}|{state if r.context == 'state' else ''}"
    digest = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return (session_id, when, digest, at, *values, state, remainder)


def store_readings(
    session: ChargingSession, readings: Iterable[Reading], message: SessionMessage, at: dt.datetime
) -> None:
    """Write readings at once, for a handler that reads them back."""
    state = message.charging_state.value if message.charging_state else session.charging_state
    rows = []
    for reading in readings:
        values = reading_row(session.pk, reading, plausible(reading.at, at) or at, at, state)
        row = MeterReading(**dict(zip(READINGS.columns, values, strict=True)))
        row.other = json.loads(values[-1]) if values[-1] else None
        rows.append(row)
    if rows:
        MeterReading.objects.bulk_create(rows, ignore_conflicts=True)


def evidence_row(
    session_id: int, kind: str, when: dt.datetime, message: SessionMessage, *, keep_text: bool = True
) -> tuple[Any, ...]:
    """Return the row of the message behind a bill in the order of `EVIDENCE`; equal messages are one."""
    text = json.dumps(dataclasses.asdict(message), default=str) if keep_text else ""
    return (session_id, kind, when, message.seq_no, message_digest(message), text)


def message_digest(message: SessionMessage) -> str:
    """Return what makes a message the same message."""
    return hashlib.blake2b(repr(message).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def show_state(connector_id: int | None, state: ChargingState | None, at: dt.datetime) -> None:
    """Let the connector show what the transaction says: 2.x reports no more than Occupied by itself."""
    if connector_id is None or state is None:
        return
    shown = _CONNECTOR_STATE[state].value
    with transaction.atomic():
        Connector.objects.filter(pk=connector_id).exclude(status=shown).update(status=shown, since=at)


def tell(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    """Tell the open pages that a session began or ended."""
    group = operator_group(station.operator_id)
    changed = (f"session:{session.uuid}", f"session-state:{session.uuid}", "sessions")
    for name in ("stations", "kpis", f"station:{station.identity}", *changed):
        tx.hint(group, name)
    if session.driver_id is not None:
        for name in changed:
            tx.hint(driver_group(session.driver_id), name)
