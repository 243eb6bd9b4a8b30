"""A session from start to end, whatever order its messages come in.

Every message may arrive late, twice, out of order or not at all; repeats meet unique keys and change
nothing. An end is accepted once; what contradicts it is kept and noted. Nothing here knows a protocol
version, except that a message without ``transaction_ref`` leaves the numbering to us (1.6).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max

from accounts.keys import digest
from accounts.models import IdToken
from sessions.models import (
    HOLDS,
    AuthorizationAttempt,
    ChargingSession,
    MeterReading,
    ReviewReason,
    SessionEvidence,
    TransactionNumber,
    UnassignedReading,
)
from sessions.readings import Sample, StateChange, energy_so_far, reckon
from stations import commands
from stations.hints import driver_group, operator_group
from stations.messages import (
    Ack,
    ChargingState,
    ConnectorState,
    MeterRead,
    Reading,
    SessionEnded,
    SessionReply,
    SessionStarted,
    Token,
    TokenInfo,
    TokenStatus,
)
from stations.models import Connector, StationEvent, StatusChange
from stations.ocpp.batch import Batch, BulkTable, StationRef, Summary
from stations.registry import connector_of, feed, plausible

CLOCK_OFF = dt.timedelta(minutes=5)
LATE_END_GRACE = dt.timedelta(minutes=15)
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


class OpenSession(NamedTuple):
    """What the writer remembers of a running session, so that a reading costs no query."""

    id: int
    uuid: str
    ref: str
    evse: int | None
    driver_id: int | None
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


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """Result of `start`: the session and whether this message made it."""

    session: ChargingSession
    created: bool


# --- start -------------------------------------------------------------------------------------------


def start(
    station: StationRef,
    message: SessionStarted,
    *,
    key: str,
    token: IdToken | None,
    info: TokenInfo | None,
    at: dt.datetime,
    tx: Batch,
) -> Started:
    """Open a session, or find the one this message opened before.

    ``key`` is its `start_key`. ``token`` and ``info`` are what was decided about the card. A refused card opens a session too: the
    station has told that it delivers, so it must be seen and stopped, and it is never billed.
    """
    started_at, reasons = _when(message.at, message.offline, at)
    if info is not None and info.status is not TokenStatus.ACCEPTED:
        reasons.append(ReviewReason.TOKEN_REFUSED)
    if message.transaction_ref is None:
        known = _numbered_before(station, message, key, at)
    else:
        known = ChargingSession.objects.filter(station_id=station.id, transaction_ref=message.transaction_ref).first()
    if known is not None:
        tx.session_ref = known.transaction_ref
        if known.start_key == key:
            _evidence(tx, known.pk, "start", message.at or at, message.seq_no, message)
            return Started(known, created=False)
        _join(station, known, message, key, started_at, reasons, token, info, at, tx)
        return Started(known, created=True)
    reference = message.transaction_ref or str(TransactionNumber.objects.create().pk)
    _supersede(station, message.evse, started_at, at, tx)
    session = _create(
        station,
        reference=reference,
        key=key,
        generation=_next_generation(station, key),
        message=message,
        started_at=started_at,
        reasons=reasons,
        token=token,
        info=info,
        at=at,
        tx=tx,
    )
    _after_start(station, session, message, at, tx)
    return Started(session, created=True)


def _create(
    station: StationRef,
    *,
    reference: str,
    key: str,
    generation: int,
    message: SessionStarted,
    started_at: dt.datetime,
    reasons: Sequence[str],
    token: IdToken | None,
    info: TokenInfo | None,
    at: dt.datetime,
    tx: Batch,
) -> ChargingSession:
    connector = _plug(station.id, message.evse, message.connector)
    register = message.register_wh if message.register_wh is not None else _first_register(message.readings)
    return ChargingSession.objects.create(
        operator_id=station.operator_id,
        site_id=station.site_id,
        station_id=station.id,
        evse=connector.evse if connector else None,
        connector=connector,
        driver_id=token.driver_id if token else None,
        token=token,
        token_shown=_shown(token, message.token),
        time_zone=station.time_zone,
        currency=station.currency,
        transaction_ref=reference,
        start_key=key,
        generation=generation,
        protocol=station.version,
        token_status=info.status.value if info is not None else "",
        remote_start_id=message.remote_start_id,
        started_at=started_at,
        start_received_at=at,
        start_raw=message.at_raw[:64],
        meter_start_wh=register,
        meter_last_wh=register,
        energy_changed_at=at,
        charging_state=message.charging_state.value if message.charging_state else "",
        seq_start=message.seq_no,
        review=list(reasons),
    )


def _after_start(
    station: StationRef, session: ChargingSession, message: SessionStarted, at: dt.datetime, tx: Batch
) -> None:
    tx.session_ref = session.transaction_ref
    _evidence(tx, session.pk, "start", message.at or at, message.seq_no, message)
    if session.is_open:
        _remember(station, session, tx)
        _take(station, _open_sessions(station, tx)[session.transaction_ref], message.readings, message, at, tx)
        _show_state(session.connector_id, message.charging_state, at)
    commands.observe(station.id, "session_started", evidence=f"transaction {session.transaction_ref}", at=at)
    feed(
        tx,
        station,
        StationEvent.Kind.SESSION_STARTED,
        at=at,
        evse=message.evse,
        session=str(session.uuid),
        token=session.token_shown[-4:],
    )
    _tell(station, session, tx)


def _numbered_before(
    station: StationRef, message: SessionStarted, key: str, at: dt.datetime
) -> ChargingSession | None:
    """Return the session a repeated or late 1.6 start belongs to."""
    latest = ChargingSession.objects.filter(station_id=station.id, start_key=key).order_by("-generation").first()
    if latest is not None:
        # A charger whose clock always boots to the same time may send equal starts for two sessions.
        again = not latest.is_open and plausible(message.at, at) is None and _is_old(latest, at)
        return None if again else latest
    if message.at is None:
        return None
    # Only the end of it came first: it waits without a start.
    return (
        ChargingSession.objects.filter(
            station_id=station.id,
            start_key__startswith="orphan:",
            stopped_at__gte=message.at,
            start_received_at__gte=at - dt.timedelta(days=7),
        )
        .filter(token_shown__in=["", message.token.value if message.token else ""])
        .order_by("stopped_at")
        .first()
    )


def _is_old(session: ChargingSession, at: dt.datetime) -> bool:
    return session.stop_received_at is not None and at - session.stop_received_at > dt.timedelta(minutes=1)


def _next_generation(station: StationRef, key: str) -> int:
    latest = ChargingSession.objects.filter(station_id=station.id, start_key=key).aggregate(n=Max("generation"))["n"]
    return 0 if latest is None else int(latest) + 1


def _join(
    station: StationRef,
    session: ChargingSession,
    message: SessionStarted,
    key: str,
    started_at: dt.datetime,
    reasons: Sequence[str],
    token: IdToken | None,
    info: TokenInfo | None,
    at: dt.datetime,
    tx: Batch,
) -> None:
    """Complete a session that became known by a later message with its true start."""
    connector = _plug(station.id, message.evse, message.connector)
    if connector is not None:
        session.connector, session.evse = connector, connector.evse
    if message.transaction_ref is None:
        session.transaction_ref = str(TransactionNumber.objects.create().pk)
    if token is not None:
        session.token, session.driver_id = token, token.driver_id
    session.token_shown = _shown(token, message.token) or session.token_shown
    if info is not None:
        session.token_status = info.status.value
    session.start_key, session.started_at, session.start_raw = key, started_at, message.at_raw[:64]
    session.seq_start = message.seq_no
    session.remote_start_id = message.remote_start_id or session.remote_start_id
    register = message.register_wh if message.register_wh is not None else _first_register(message.readings)
    if register is not None:
        session.meter_start_wh = register
    kept = [reason for reason in session.review if reason != ReviewReason.ORPHAN_STOP]
    session.review = _with(kept, reasons)
    session.save()
    if not session.is_open:
        _evidence_now(session, "start", message.at or at, message.seq_no, message)
        _store_readings(session, message.readings, message, at)
        _freeze(station, session, at, tx)
    _after_start(station, session, message, at, tx)


def _supersede(
    station: StationRef, evse: int | None, started_at: dt.datetime, at: dt.datetime, tx: Batch
) -> None:
    """End what is still open on this EVSE at its last proven reading: its true end may still come."""
    if evse is None:
        return
    earlier = ChargingSession.objects.filter(
        station_id=station.id, status=ChargingSession.Status.ACTIVE, evse__number=evse, started_at__lte=started_at
    )
    for session in earlier:
        close_without_end(station, session, ReviewReason.SUPERSEDED, at=at, tx=tx)


def close_without_end(
    station: StationRef, session: ChargingSession, reason: str, *, at: dt.datetime, tx: Batch
) -> None:
    """End a session whose end was never told, at its last proven reading; no idle time after it."""
    session.stopped_at = max(session.last_reading_at or session.started_at, session.started_at)
    session.stop_received_at = at
    session.status = ChargingSession.Status.ENDED
    session.review = _with(session.review, [reason, ReviewReason.ESTIMATED_END])
    session.settle_after = at + LATE_END_GRACE
    _freeze(station, session, at, tx)
    _forget(station, session, tx)
    _tell(station, session, tx)


# --- readings ----------------------------------------------------------------------------------------


def record(station: StationRef, message: MeterRead, *, at: dt.datetime, tx: Batch) -> SessionReply | Ack:
    """Take readings: no ORM where the session is remembered, which is nearly always."""
    session = _find_open(station, message, tx)
    if session is None:
        with transaction.atomic():
            _record_otherwise(station, message, at, tx)
    else:
        tx.session_ref = session.ref
        _take(station, session, message.readings, message, at, tx)
        if message.seq_no is not None and message.update:
            _evidence(tx, session.id, "event", message.at or at, message.seq_no, message, keep_text=False)
    return SessionReply() if message.update else Ack()


def _find_open(station: StationRef, message: MeterRead, tx: Batch) -> OpenSession | None:
    known = _open_sessions(station, tx)
    if message.transaction_ref is not None:
        return known.get(message.transaction_ref)
    if not message.evse:
        return None  # the main meter is never part of a session
    for session in known.values():
        if session.evse == message.evse:
            return session
    return None


def _record_otherwise(station: StationRef, message: MeterRead, at: dt.datetime, tx: Batch) -> None:
    """Readings of a session that is not open here: missed start, late sample, or nobody's."""
    reference = message.transaction_ref
    if reference is not None:
        session = ChargingSession.objects.filter(station_id=station.id, transaction_ref=reference).first()
        if session is None and message.update:
            _begin_in_the_middle(station, message, at, tx)
            return
        if session is not None and _belongs(session, message, at):
            _take_late(station, session, message, at, tx)
            return
    for reading in message.readings:
        when = plausible(reading.at, at) or at
        content = _content(reading)
        tx.append(
            UNASSIGNED,
            (station.id, message.evse, reference or "", when, _digest(content), at, json.dumps(content)),
        )


def _begin_in_the_middle(station: StationRef, message: MeterRead, at: dt.datetime, tx: Batch) -> None:
    missed = SessionStarted(
        evse=message.evse,
        connector=message.connector,
        transaction_ref=message.transaction_ref,
        token=None,
        at=message.at,
        at_raw=message.at_raw,
        readings=message.readings,
        charging_state=message.charging_state,
        remote_start_id=message.remote_start_id,
        offline=message.offline,
    )
    started_at, reasons = _when(message.at, message.offline, at)
    session = _create(
        station,
        reference=message.transaction_ref or "",
        key=f"middle:{message.transaction_ref}"[:64],
        generation=0,
        message=missed,
        started_at=started_at,
        reasons=reasons,
        token=None,
        info=None,
        at=at,
        tx=tx,
    )
    _remember(station, session, tx)
    opened = _open_sessions(station, tx)[session.transaction_ref]
    tx.session_ref = session.transaction_ref
    _take(station, opened, message.readings, message, at, tx)
    if message.seq_no is not None:
        _evidence(tx, session.pk, "event", message.at or at, message.seq_no, message, keep_text=False)
    _tell(station, session, tx)


def _belongs(session: ChargingSession, message: MeterRead, at: dt.datetime) -> bool:
    """Tell a closing sample from a stale id that a charger keeps sending long after the end."""
    end = session.stopped_at
    times = [plausible(reading.at, at) or at for reading in message.readings]
    return end is None or all(when <= end + dt.timedelta(minutes=2) for when in times)


def _take_late(
    station: StationRef, session: ChargingSession, message: MeterRead, at: dt.datetime, tx: Batch
) -> None:
    """Add to an ended session; its facts change only while its end was incomplete."""
    tx.session_ref = session.transaction_ref
    _store_readings(session, message.readings, message, at)
    if message.update and message.seq_no is not None:
        _evidence_now(session, "event", message.at or at, message.seq_no, message, keep_text=False)
    if ReviewReason.SEQ_GAP in session.review or ReviewReason.NO_READING in session.review:
        _freeze(station, session, at, tx)
        _tell(station, session, tx)


def _take(
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
        tx.append(READINGS, _row(session.id, reading, when, at, state))
        if last_at is not None and when < last_at:
            continue  # history: it tells nothing about now
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
            if last is not None and register < last and register >= first and not backwards:
                backwards = True
                tx.follow_up("sessions.tasks.meter_ran_backwards", session.id, str(last), str(register))
            so_far = energy_so_far(meter_start, first, register)
            if so_far > energy:
                changed_at = at
                energy = so_far
            last = register
    if not readings and message.charging_state is not None and state != session.state:
        change = Reading(at=message.at, at_raw=message.at_raw, context="state")
        tx.append(READINGS, _row(session.id, change, plausible(message.at, at) or at, at, state))
    if state == "Charging" and session.state != "Charging":
        changed_at = at  # a pause is over: the meter has its full time again
    moved = session._replace(
        meter_start=meter_start,
        first=first,
        energy=energy,
        power=power,
        soc=soc,
        last=last,
        last_at=last_at,
        changed_at=changed_at,
        state=state,
        backwards=backwards,
    )
    tx.remember(station.id, OPEN, {**_open_sessions(station, tx), session.ref: moved})
    tx.set(LIVE, session.id, (energy, power, soc, last, last_at, changed_at, state, meter_start))
    group = operator_group(station.operator_id)
    tx.hint(group, "stations")
    tx.hint(group, f"station:{station.identity}")
    tx.hint(group, f"session:{session.uuid}")
    if session.driver_id is not None:
        tx.hint(driver_group(session.driver_id), f"session:{session.uuid}")
    if message.charging_state is not None and state != session.state:
        with transaction.atomic():
            plug = ChargingSession.objects.values_list("connector_id", flat=True).get(pk=session.id)
            _show_state(plug, message.charging_state, at)


def _row(session_id: int, r: Reading, when: dt.datetime, at: dt.datetime, state: str) -> tuple[Any, ...]:
    other: dict[str, Any] | None = None
    if r.other or r.signed or r.suspect:
        other = dict(r.other or {})
        if r.signed:
            other["signed"] = [dataclasses.asdict(one) for one in r.signed]
        if r.suspect:
            other["suspect"] = list(r.suspect)
        if r.energy_interval_wh is not None:
            other["energy_interval_wh"] = str(r.energy_interval_wh)
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
    remainder = None if other is None else json.dumps(other, separators=(",", ":"), ensure_ascii=False)
    # Equal content at an equal time is one reading, however often and by whichever message it comes.
    text = "|".join(["" if v is None else str(v) for v in values])
    content = hashlib.blake2b(f"{text}|{remainder}|{state if r.context == 'state' else ''}".encode(), digest_size=8)
    return (session_id, when, content.hexdigest(), at, *values, state, remainder)


# --- end ---------------------------------------------------------------------------------------------


def end(
    station: StationRef, message: SessionEnded, *, token: IdToken | None, at: dt.datetime, tx: Batch
) -> ChargingSession:
    """End a session once; the first end counts, a different second one is kept and noted."""
    session = _find_to_end(station, message, at)
    if session is None:
        session = _orphan(station, message, token, at, tx)
        return session
    session = ChargingSession.objects.select_for_update().get(pk=session.pk)
    tx.session_ref = session.transaction_ref
    _evidence_now(session, "stop", message.at or at, message.seq_no, message)
    estimated = ReviewReason.ESTIMATED_END in session.review
    if not session.is_open and not estimated:
        if _is_other_end(session, message):
            session.review = _with(session.review, [ReviewReason.SECOND_STOP])
            session.save(update_fields=["review"])
        return session
    if not session.is_open and session.settle_after is not None and at > session.settle_after:
        # Too late to change: money may have moved on the estimate.
        session.review = _with(session.review, [ReviewReason.SECOND_STOP])
        session.save(update_fields=["review"])
        return session
    _apply_end(station, session, message, token, at)
    _store_readings(session, message.readings, message, at)
    _freeze(station, session, at, tx)
    _forget(station, session, tx)
    _show_state(session.connector_id, message.charging_state, at)
    commands.observe(
        station.id, f"ended:{session.transaction_ref}"[:60], evidence=message.reason or "ended", at=at
    )
    feed(
        tx,
        station,
        StationEvent.Kind.SESSION_ENDED,
        at=at,
        evse=session.evse.number if session.evse else None,
        session=str(session.uuid),
        energy_wh=str(session.energy_wh),
        reason=session.stop_reason,
    )
    _tell(station, session, tx)
    return session


def _find_to_end(station: StationRef, message: SessionEnded, at: dt.datetime) -> ChargingSession | None:
    reference = message.transaction_ref
    session = ChargingSession.objects.filter(station_id=station.id, transaction_ref=reference).first()
    if session is not None or message.seq_no is not None:
        return session
    # 1.6 with an id that was never given here (-1 or 0 after an offline start): the one open session of this
    # card that began before, or the one this very stop already ended.
    again = ChargingSession.objects.filter(
        station_id=station.id, evidence__kind="stop", evidence__digest=_message_digest(message)
    ).first()
    if again is not None:
        return again
    if reference not in {"-1", "0"}:
        return None
    ended_at = plausible(message.at, at) or at
    candidates = ChargingSession.objects.filter(
        station_id=station.id, status=ChargingSession.Status.ACTIVE, started_at__lte=ended_at
    )
    if message.token is not None:
        candidates = candidates.filter(token_shown__iexact=message.token.value)
    found = list(candidates[:2])
    return found[0] if len(found) == 1 else None


def _apply_end(
    station: StationRef, session: ChargingSession, message: SessionEnded, token: IdToken | None, at: dt.datetime
) -> None:
    stopped_at, reasons = _when(message.at, message.offline, at)
    if message.token is not None and session.token_shown and _differs(session, message.token, token):
        reasons.append(ReviewReason.TAG_DIFFERS)
    kept = [r for r in session.review if r not in (ReviewReason.ESTIMATED_END, ReviewReason.SEQ_GAP)]
    session.review = _with(kept, reasons)
    session.status = ChargingSession.Status.ENDED
    session.stopped_at, session.stop_received_at, session.stop_raw = stopped_at, at, message.at_raw[:64]
    session.stop_reason = message.reason[:40]
    session.meter_stop_wh = message.register_wh if message.register_wh is not None else _end_register(message.readings)
    session.seq_end = message.seq_no
    session.settle_after = at


def _orphan(
    station: StationRef, message: SessionEnded, token: IdToken | None, at: dt.datetime, tx: Batch
) -> ChargingSession:
    """Keep an end whose start is unknown as a session of its own; it is billed only after a person looked."""
    stopped_at, reasons = _when(message.at, message.offline, at)
    content = _message_digest(message)
    # A 1.6 id means nothing where we did not give it; a 2.x id is the station's own and a start may follow.
    reference = message.transaction_ref if message.seq_no is not None else f"orphan:{content[:24]}"
    connector = _plug(station.id, message.evse, message.connector)
    readings = [r for r in message.readings if r.at is not None]
    first_at = min((plausible(r.at, at) or stopped_at for r in readings), default=stopped_at)
    session, created = ChargingSession.objects.get_or_create(
        station_id=station.id,
        transaction_ref=reference,
        defaults={
            "operator_id": station.operator_id,
            "site_id": station.site_id,
            "evse": connector.evse if connector else None,
            "connector": connector,
            "driver_id": token.driver_id if token else None,
            "token": token,
            "token_shown": _shown(token, message.token),
            "time_zone": station.time_zone,
            "currency": station.currency,
            "start_key": f"orphan:{content}"[:64],
            "protocol": station.version,
            "started_at": min(first_at, stopped_at),
            "start_received_at": at,
            "meter_start_wh": _first_register(message.readings),
            "review": _with([ReviewReason.ORPHAN_STOP], reasons),
        },
    )
    tx.session_ref = session.transaction_ref
    _evidence_now(session, "stop", message.at or at, message.seq_no, message)
    if created:
        _apply_end(station, session, message, token, at)
        session.review = _with(session.review, [ReviewReason.ORPHAN_STOP])
        _store_readings(session, message.readings, message, at)
        _freeze(station, session, at, tx)
        feed(tx, station, StationEvent.Kind.SESSION_ENDED, at=at, session=str(session.uuid), orphan=True)
        _tell(station, session, tx)
    return session


def _is_other_end(session: ChargingSession, message: SessionEnded) -> bool:
    register = message.register_wh if message.register_wh is not None else _end_register(message.readings)
    return message.at_raw[:64] != session.stop_raw or (register is not None and register != session.meter_stop_wh)


def _freeze(station: StationRef, session: ChargingSession, at: dt.datetime, tx: Batch) -> None:
    """Reckon energy and facts of an ended session from everything stored, and save it."""
    assert session.stopped_at is not None
    rows = MeterReading.objects.filter(session_id=session.pk).order_by("at", "received_at")
    samples: list[Sample] = []
    states: list[StateChange] = []
    for row in rows.values_list(
        "at", "energy_wh", "current_a", "current_l1", "current_l2", "current_l3", "charging_state"
    ):
        phases = [amps for amps in row[3:6] if amps is not None]
        current = sum(phases, Decimal(0)) if phases else row[2]
        samples.append(Sample(row[0], row[1], current))
        if row[6] and (not states or states[-1].state != row[6]):
            states.append(StateChange(row[0], row[6]))
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
    recomputed = {
        ReviewReason.METER_BACKWARDS,
        ReviewReason.STOP_BEFORE_START,
        ReviewReason.OVER_POWER,
        ReviewReason.JUMP,
        ReviewReason.NO_READING,
        ReviewReason.SEQ_GAP,
    }
    session.review = _with([r for r in session.review if r not in recomputed], sorted(reasons))
    session.energy_wh = result.energy_wh
    session.meter_start_wh, session.meter_stop_wh = result.meter_start_wh, result.meter_stop_wh
    session.power_w = None
    session.facts = result.facts.to_json()
    session.facts_digest = result.facts.digest()
    session.save()
    if not any(reason in HOLDS for reason in session.review):
        tx.follow_up("billing.tasks.rate_session", session.pk)


def _states_of_connector(connector_id: int, start_at: dt.datetime, end_at: dt.datetime) -> list[StateChange]:
    changes = StatusChange.objects.filter(connector_id=connector_id, at__gte=start_at, at__lte=end_at)
    return [StateChange(at, status) for at, status in changes.order_by("at", "id").values_list("at", "status")]


def _has_gap(session: ChargingSession) -> bool:
    """Tell whether events are missing between the first and the last number (2.x), where numbers rise at all."""
    if session.seq_end is None:
        return False
    numbers = set(
        SessionEvidence.objects.filter(session=session, seq_no__isnull=False).values_list("seq_no", flat=True)
    )
    if session.seq_start is None:
        return True  # the start itself is missing
    return session.seq_end != session.seq_start and _holes(numbers)


def _holes(numbers: set[int]) -> bool:
    return len(numbers) != max(numbers) - min(numbers) + 1


# --- small parts ---------------------------------------------------------------------------------------


def present(station: StationRef, reference: str, token: IdToken, info: TokenInfo, shown: Token) -> None:
    """Note a token that was shown after the start (2.x): the session belongs to it from now on."""
    session = ChargingSession.objects.filter(station_id=station.id, transaction_ref=reference).first()
    if session is None or session.token_id is not None or info.status is not TokenStatus.ACCEPTED:
        return
    session.token, session.driver_id, session.token_shown = token, token.driver_id, _shown(token, shown)
    session.token_status = info.status.value
    session.save(update_fields=["token", "driver", "token_shown", "token_status"])


def attempt(
    station: StationRef,
    *,
    token: IdToken | None,
    shown: str,
    is_pin: bool,
    status: TokenStatus,
    reason: str,
    at: dt.datetime,
    tx: Batch,
) -> None:
    """Log a token that was shown at a station and what was answered."""
    AuthorizationAttempt.objects.create(
        operator_id=station.operator_id,
        station_id=station.id,
        token=token,
        shown="PIN" if is_pin else shown[:255],
        is_pin=is_pin,
        status=status.value,
        reason=reason,
        at=at,
    )
    if status is not TokenStatus.ACCEPTED:
        feed(
            tx,
            station,
            StationEvent.Kind.TOKEN_REFUSED,
            at=at,
            token="PIN" if is_pin else shown[-4:],
            status=status.value,
            reason=reason,
        )
        tx.follow_up("sessions.tasks.look_at_refusals", station.id)


def _when(reported: dt.datetime | None, offline: bool, at: dt.datetime) -> tuple[dt.datetime, list[str]]:
    when = plausible(reported, at)
    if when is None:
        return at, [ReviewReason.IMPLAUSIBLE_TIME]
    if offline:
        return when, [ReviewReason.OFFLINE_REPLAY]
    if abs(at - when) > CLOCK_OFF:
        return when, [ReviewReason.CLOCK_OFFSET]
    return when, []


def start_key(message: SessionStarted) -> str:
    """Return what makes a start the same start: for 1.6 its content, for 2.x the id the station gave."""
    token = message.token.value.lower() if message.token else ""
    parts = [message.evse, message.at_raw, token, message.register_wh, message.reservation_id]
    if message.transaction_ref is not None:
        parts = [message.transaction_ref]
    return digest(json.dumps(parts, default=str).encode(), purpose="session start").partition("$")[2]


def _plug(station_id: int, evse: int | None, connector: int | None) -> Connector | None:
    if not evse or evse > 64:
        return None
    if connector is None:
        found = Connector.objects.filter(evse__station_id=station_id, evse__number=evse).order_by("number").first()
        return found or connector_of(station_id, evse, 1)
    return connector_of(station_id, evse, connector)


def _shown(token: IdToken | None, presented: Token | None) -> str:
    if token is not None and token.type == IdToken.Type.PIN:
        return "PIN"
    return presented.value[:255] if presented is not None else ""


def _differs(session: ChargingSession, presented: Token, token: IdToken | None) -> bool:
    if token is not None and session.token_id is not None:
        return token.pk != session.token_id
    return presented.value.lower() != session.token_shown.lower()


def _first_register(readings: Iterable[Reading]) -> Decimal | None:
    begin = None
    for reading in readings:
        if reading.energy_wh is not None and (begin is None or reading.context == "Transaction.Begin"):
            begin = reading.energy_wh
            if reading.context == "Transaction.Begin":
                break
    return begin


def _end_register(readings: Iterable[Reading]) -> Decimal | None:
    last = None
    for reading in readings:
        if reading.energy_wh is not None:
            last = reading.energy_wh
            if reading.context == "Transaction.End":
                break
    return last


def _with(reasons: Sequence[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*map(str, reasons), *map(str, more)]))


def _content(reading: Reading) -> dict[str, Any]:
    content = {name: value for name, value in dataclasses.asdict(reading).items() if value not in (None, "", (), {})}
    return json.loads(json.dumps(content, default=str))  # type: ignore[no-any-return]


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def _message_digest(message: SessionStarted | SessionEnded | MeterRead) -> str:
    return hashlib.blake2b(repr(message).encode(), digest_size=16).hexdigest()


def _evidence(
    tx: Batch,
    session_id: int,
    kind: str,
    when: dt.datetime,
    seq_no: int | None,
    message: SessionStarted | SessionEnded | MeterRead,
    *,
    keep_text: bool = True,
) -> None:
    text = json.dumps(dataclasses.asdict(message), default=str) if keep_text else ""
    tx.append(EVIDENCE, (session_id, kind, when, seq_no, _message_digest(message), text))


def _evidence_now(
    session: ChargingSession,
    kind: str,
    when: dt.datetime,
    seq_no: int | None,
    message: SessionStarted | SessionEnded | MeterRead,
    *,
    keep_text: bool = True,
) -> None:
    text = json.dumps(dataclasses.asdict(message), default=str) if keep_text else ""
    SessionEvidence.objects.bulk_create(
        [
            SessionEvidence(
                session=session, kind=kind, at=when, seq_no=seq_no, digest=_message_digest(message), text=text
            )
        ],
        ignore_conflicts=True,
    )


def _store_readings(
    session: ChargingSession,
    readings: Sequence[Reading],
    message: SessionStarted | SessionEnded | MeterRead,
    at: dt.datetime,
) -> None:
    state = message.charging_state.value if message.charging_state else session.charging_state
    rows = []
    for reading in readings:
        values = _row(session.pk, reading, plausible(reading.at, at) or at, at, state)
        row = MeterReading(**dict(zip(READINGS.columns, values, strict=True)))
        row.other = json.loads(values[-1]) if values[-1] else None
        rows.append(row)
    MeterReading.objects.bulk_create(rows, ignore_conflicts=True)


def _show_state(connector_id: int | None, state: ChargingState | None, at: dt.datetime) -> None:
    """Let the connector show what the transaction says: 2.x reports no more than Occupied by itself."""
    if connector_id is None or state is None:
        return
    shown = _CONNECTOR_STATE[state].value
    Connector.objects.filter(pk=connector_id).exclude(status=shown).update(status=shown, since=at)


def _open_sessions(station: StationRef, tx: Batch) -> dict[str, OpenSession]:
    known: dict[str, OpenSession] | None = tx.recall(station.id, OPEN)
    if known is None:
        with transaction.atomic():
            rows = ChargingSession.objects.filter(station_id=station.id, status=ChargingSession.Status.ACTIVE)
            known = {row.transaction_ref: _opened(row) for row in rows.select_related("evse")}
        tx.remember(station.id, OPEN, known)
    return known


def _opened(row: ChargingSession) -> OpenSession:
    return OpenSession(
        id=row.pk,
        uuid=str(row.uuid),
        ref=row.transaction_ref,
        evse=row.evse.number if row.evse else None,
        driver_id=row.driver_id,
        meter_start=row.meter_start_wh,
        first=None,
        energy=row.energy_wh,
        power=row.power_w,
        soc=row.soc_percent,
        last=row.meter_last_wh,
        last_at=row.last_reading_at,
        changed_at=row.energy_changed_at,
        state=row.charging_state,
        backwards=False,
    )


def _remember(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    tx.remember(station.id, OPEN, {**_open_sessions(station, tx), session.transaction_ref: _opened(session)})


def _forget(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    known = {ref: one for ref, one in _open_sessions(station, tx).items() if one.id != session.pk}
    tx.remember(station.id, OPEN, known)


def _tell(station: StationRef, session: ChargingSession, tx: Batch) -> None:
    group = operator_group(station.operator_id)
    for name in ("stations", "sessions", "kpis", f"station:{station.identity}", f"session:{session.uuid}"):
        tx.hint(group, name)
    if session.driver_id is not None:
        tx.hint(driver_group(session.driver_id), f"session:{session.uuid}")
        tx.hint(driver_group(session.driver_id), "sessions")


