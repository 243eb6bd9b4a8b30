"""A session from start to end, whatever order its messages come in.

Every message may arrive late, twice, out of order or not at all; repeats meet unique keys and change
nothing. An end is accepted once; what contradicts it is kept and noted. Nothing here knows a protocol
version, except that a message without ``transaction_ref`` leaves the numbering to us (1.6).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection, transaction

from accounts.keys import digest
from accounts.models import IdToken, uuid7
from sessions.ending import close_without_end, freeze, merged, when
from sessions.models import ChargingSession, ReviewReason, TransactionNumber
from sessions.running import (
    EVIDENCE,
    UNASSIGNED,
    OpenSession,
    evidence_row,
    forget,
    message_digest,
    open_sessions,
    reading_row,
    remember,
    show_state,
    store_readings,
    take,
    tell,
)
from stations import commands
from stations.messages import (
    Ack,
    MeterRead,
    Reading,
    SessionEnded,
    SessionReply,
    SessionStarted,
    Token,
    TokenInfo,
    TokenStatus,
)
from stations.models import Connector, Evse, StationEvent
from stations.ocpp.batch import Batch, BulkTable, StationRef, insert
from stations.registry import connector_of, feed, plausible

ORPHAN = "orphan:"
LATE_SAMPLES = dt.timedelta(minutes=2)
JOINABLE = dt.timedelta(days=7)

ATTEMPTS = BulkTable(
    "charging_authorizationattempt",
    ("operator_id", "station_id", "token_id", "shown", "is_pin", "status", "reason", "at"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """Result of `start`: the session and whether this message made it."""

    session: ChargingSession
    created: bool


class Plug(NamedTuple):
    """Keys of a connector."""

    evse_id: int
    evse: int
    connector_id: int
    connector: int


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

    ``key`` is its `start_key`. ``token`` and ``info`` are what was decided about the card. A refused card
    opens a session too: the station has told that it delivers, so it must be seen and stopped, and it is
    never billed.
    """
    started_at, reasons = when(message.at, message.offline, at)
    if info is not None and info.status is not TokenStatus.ACCEPTED:
        reasons.append(ReviewReason.TOKEN_REFUSED)
    if message.transaction_ref is None:
        known, generation = _numbered_before(station, message, key, at, tx)
    else:
        known, generation = _by_ref(station, message.transaction_ref), 0
    if known is not None:
        tx.session_ref = known.transaction_ref
        if known.start_key == key:
            tx.append(EVIDENCE, evidence_row(known.pk, "start", message.at or at, message))
            return Started(known, created=False)
        _join(station, known, message, key, started_at, reasons, token, info, at, tx)
        return Started(known, created=True)
    _supersede(station, message.evse, started_at, at, tx)
    session = _create(
        station,
        reference=message.transaction_ref or _next_number(),
        key=key,
        generation=generation,
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


def _by_ref(station: StationRef, reference: str) -> ChargingSession | None:
    rows = ChargingSession.objects.raw(
        "SELECT * FROM charging_chargingsession WHERE station_id = %s AND transaction_ref = %s", [station.id, reference]
    )
    return next(iter(rows), None)


def _next_number() -> str:
    """Return the next 1.6 transaction id: unique for the installation, never reused."""
    number = TransactionNumber()
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {number._meta.db_table} DEFAULT VALUES RETURNING id")  # noqa: S608
        return str(cursor.fetchone()[0])


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
    plug = _plug(station, message.evse, message.connector, tx)
    register = _begin_register(message)
    session = ChargingSession(
        uuid=uuid7(),
        operator_id=station.operator_id,
        site_id=station.site_id,
        station_id=station.id,
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
        energy_wh=Decimal(0),
        energy_changed_at=at,
        charging_state=message.charging_state.value if message.charging_state else "",
        seq_start=message.seq_no,
        review=list(reasons),
    )
    _put_at(session, plug)
    insert(session)
    return session


def _after_start(
    station: StationRef, session: ChargingSession, message: SessionStarted, at: dt.datetime, tx: Batch
) -> None:
    tx.session_ref = session.transaction_ref
    tx.append(EVIDENCE, evidence_row(session.pk, "start", message.at or at, message))
    if session.is_open:
        opened = remember(station, session, tx)
        if message.readings:
            take(station, opened, message.readings, message, at, tx)
        show_state(session.connector_id, message.charging_state, at)
    commands.observe(
        station,
        "session_started",
        evidence=f"transaction {session.transaction_ref}",
        at=at,
        tx=tx,
        remote_start_id=session.remote_start_id,
    )
    feed(
        tx,
        station,
        StationEvent.Kind.SESSION_STARTED,
        at=at,
        evse=message.evse,
        session=str(session.uuid),
        token=session.token_shown[-4:],
    )
    tell(station, session, tx)


def _numbered_before(
    station: StationRef, message: SessionStarted, key: str, at: dt.datetime, tx: Batch
) -> tuple[ChargingSession | None, int]:
    """Return the session a repeated or late 1.6 start belongs to, and the generation of a new one."""
    rows = ChargingSession.objects.raw(
        "SELECT * FROM charging_chargingsession WHERE station_id = %s AND start_key = %s"
        " ORDER BY generation DESC LIMIT 1",
        [station.id, key],
    )
    latest = next(iter(rows), None)
    if latest is not None:
        # A charger whose clock always boots to the same time may send equal starts for two sessions.
        again = not latest.is_open and plausible(message.at, at) is None and _is_old(latest, at)
        return (None, latest.generation + 1) if again else (latest, 0)
    return _waiting_end(station, message, at, tx), 0


def _waiting_end(station: StationRef, message: SessionStarted, at: dt.datetime, tx: Batch) -> ChargingSession | None:
    """Return the end that came before this start, where there is one."""
    if message.at is None:
        return None
    orphans = ChargingSession.objects.filter(
        station_id=station.id, start_key__startswith=ORPHAN, start_received_at__gte=at - JOINABLE
    )
    if tx.recall(station.id, ORPHAN) is None:
        tx.remember(station.id, ORPHAN, orphans.exists())
    if not tx.recall(station.id, ORPHAN):
        return None
    shown = message.token.value if message.token else ""
    return orphans.filter(stopped_at__gte=message.at, token_shown__in=["", shown]).order_by("stopped_at").first()


def _is_old(session: ChargingSession, at: dt.datetime) -> bool:
    return session.stop_received_at is not None and at - session.stop_received_at > dt.timedelta(minutes=1)


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
    plug = _plug(station, message.evse, message.connector, tx)
    if plug is not None:
        _put_at(session, plug)
    if message.transaction_ref is None:
        session.transaction_ref = _next_number()
    if token is not None:
        session.token, session.driver_id = token, token.driver_id
    session.token_shown = _shown(token, message.token) or session.token_shown
    if info is not None:
        session.token_status = info.status.value
    session.start_key, session.started_at, session.start_raw = key, started_at, message.at_raw[:64]
    session.seq_start = message.seq_no
    session.remote_start_id = message.remote_start_id or session.remote_start_id
    register = _begin_register(message)
    if register is not None:
        session.meter_start_wh = register
    kept = [reason for reason in session.review if reason != ReviewReason.ORPHAN_STOP]
    session.review = merged(kept, reasons)
    session.save()
    if not session.is_open:
        tx.append(EVIDENCE, evidence_row(session.pk, "start", message.at or at, message))
        tx.flush()
        store_readings(session, message.readings, message, at)
        freeze(station, session, tx)
    _after_start(station, session, message, at, tx)


def _supersede(station: StationRef, evse: int | None, started_at: dt.datetime, at: dt.datetime, tx: Batch) -> None:
    """End what is still open on this EVSE at its last proven reading: its true end may still come."""
    if evse is None:
        return
    earlier = [s for s in open_sessions(station, tx).values() if s.evse == evse and s.started_at <= started_at]
    for opened in earlier:
        session = ChargingSession.objects.select_for_update().get(pk=opened.id)
        close_without_end(station, session, ReviewReason.SUPERSEDED, at=at, tx=tx)


# --- readings ----------------------------------------------------------------------------------------


def record(station: StationRef, message: MeterRead, *, at: dt.datetime, tx: Batch) -> SessionReply | Ack:
    """Take readings: no ORM where the session is remembered, which is nearly always."""
    session = _find_open(station, message, tx)
    if session is None:
        tx.flush()  # outside the savepoint: what earlier messages handed in must not be lost with it
        with transaction.atomic():
            _record_otherwise(station, message, at, tx)
    else:
        tx.session_ref = session.ref
        take(station, session, message.readings, message, at, tx)
        if message.seq_no is not None and message.update:
            tx.append(EVIDENCE, evidence_row(session.id, "event", message.at or at, message, keep_text=False))
    return SessionReply() if message.update else Ack()


def _find_open(station: StationRef, message: MeterRead, tx: Batch) -> OpenSession | None:
    known = open_sessions(station, tx)
    if message.transaction_ref is not None:
        return known.get(message.transaction_ref)
    if not message.evse:
        return None  # the main meter is never part of a session
    # The newest: an earlier one may have been ended in the background, which the memory learns at the next connect.
    here = (session for session in known.values() if session.evse == message.evse)
    return max(here, key=lambda session: session.started_at, default=None)


def _record_otherwise(station: StationRef, message: MeterRead, at: dt.datetime, tx: Batch) -> None:
    """Readings of a session that is not open here: missed start, late sample, or nobody's."""
    reference = message.transaction_ref
    if reference is not None:
        session = _by_ref(station, reference)
        if session is None and message.update:
            _begin_in_the_middle(station, message, at, tx)
            return
        if session is not None and _belongs(session, message, at):
            _take_late(station, session, message, at, tx)
            return
    for reading in message.readings:
        moment = plausible(reading.at, at) or at
        row = reading_row(0, reading, moment, at, "")
        content = json.dumps(dataclasses.asdict(reading), default=str)
        tx.append(UNASSIGNED, (station.id, message.evse, reference or "", moment, row[2], at, content))


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
    started_at, reasons = when(message.at, message.offline, at)
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
    opened = remember(station, session, tx)
    tx.session_ref = session.transaction_ref
    take(station, opened, message.readings, message, at, tx)
    if message.seq_no is not None:
        tx.append(EVIDENCE, evidence_row(session.pk, "event", message.at or at, message, keep_text=False))
    tell(station, session, tx)


def _belongs(session: ChargingSession, message: MeterRead, at: dt.datetime) -> bool:
    """Tell a closing sample from a stale id that a charger keeps sending long after the end."""
    end_at = session.stopped_at
    times = [plausible(reading.at, at) or at for reading in message.readings]
    return end_at is None or all(moment <= end_at + LATE_SAMPLES for moment in times)


def _take_late(station: StationRef, session: ChargingSession, message: MeterRead, at: dt.datetime, tx: Batch) -> None:
    """Add to an ended session; its facts change only while its end was incomplete."""
    tx.session_ref = session.transaction_ref
    if message.update and message.seq_no is not None:
        tx.append(EVIDENCE, evidence_row(session.pk, "event", message.at or at, message, keep_text=False))
    tx.flush()
    store_readings(session, message.readings, message, at)
    if ReviewReason.SEQ_GAP in session.review or ReviewReason.NO_READING in session.review:
        freeze(station, session, tx)
        tell(station, session, tx)


# --- end ---------------------------------------------------------------------------------------------


def end(
    station: StationRef, message: SessionEnded, *, token: IdToken | None, at: dt.datetime, tx: Batch
) -> ChargingSession:
    """End a session once; the first end counts, a different second one is kept and noted."""
    session = _find_to_end(station, message, at)
    if session is None:
        return _orphan(station, message, token, at, tx)
    tx.session_ref = session.transaction_ref
    tx.append(EVIDENCE, evidence_row(session.pk, "stop", message.at or at, message))
    if not session.is_open:
        estimated = ReviewReason.ESTIMATED_END in session.review
        if not estimated or (session.settle_after is not None and at > session.settle_after):
            # Ended before, or too late to change: money may have moved on the estimate.
            if estimated or _is_other_end(session, message):
                session.review = merged(session.review, [ReviewReason.SECOND_STOP])
                session.save(update_fields=["review"])
            return session
    _apply_end(session, message, token, at)
    if message.seq_no is not None:
        tx.flush()  # the numbers of all events are counted next
    store_readings(session, message.readings, message, at)
    freeze(station, session, tx)
    forget(station, session, tx)
    show_state(session.connector_id, message.charging_state, at)
    commands.observe(station, f"ended:{session.transaction_ref}"[:60], evidence=message.reason or "ended", at=at, tx=tx)
    feed(
        tx,
        station,
        StationEvent.Kind.SESSION_ENDED,
        at=at,
        evse=message.evse,
        session=str(session.uuid),
        energy_wh=str(session.energy_wh),
        reason=session.stop_reason,
    )
    tell(station, session, tx)
    return session


def _find_to_end(station: StationRef, message: SessionEnded, at: dt.datetime) -> ChargingSession | None:
    reference = message.transaction_ref
    lock = " FOR UPDATE" if connection.vendor == "postgresql" else ""
    rows = ChargingSession.objects.raw(
        f"SELECT * FROM charging_chargingsession WHERE station_id = %s AND transaction_ref = %s{lock}",  # noqa: S608
        [station.id, reference],
    )
    session = next(iter(rows), None)
    if session is not None or message.seq_no is not None:
        return session
    # 1.6 with an id that was never given here (-1 or 0 after an offline start): the one open session of this
    # card that began before, or the one this very stop already ended.
    again = ChargingSession.objects.filter(
        station_id=station.id, evidence__kind="stop", evidence__digest=message_digest(message)
    ).first()
    if again is not None:
        return again
    if reference not in {"-1", "0"}:
        return None
    ended_at = plausible(message.at, at) or at
    candidates = ChargingSession.objects.select_for_update().filter(
        station_id=station.id, status=ChargingSession.Status.ACTIVE, started_at__lte=ended_at
    )
    if message.token is not None:
        candidates = candidates.filter(token_shown__iexact=message.token.value)
    found = list(candidates[:2])
    return found[0] if len(found) == 1 else None


def _apply_end(session: ChargingSession, message: SessionEnded, token: IdToken | None, at: dt.datetime) -> None:
    stopped_at, reasons = when(message.at, message.offline, at)
    if message.token is not None and session.token_shown and _differs(session, message.token, token):
        reasons.append(ReviewReason.TAG_DIFFERS)
    kept = [r for r in session.review if r not in (ReviewReason.ESTIMATED_END, ReviewReason.SEQ_GAP)]
    session.review = merged(kept, reasons)
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
    stopped_at, reasons = when(message.at, message.offline, at)
    content = message_digest(message)
    # A 1.6 id means nothing where we did not give it; a 2.x id is the station's own and a start may follow.
    reference = message.transaction_ref if message.seq_no is not None else f"{ORPHAN}{content[:24]}"
    plug = _plug(station, message.evse, message.connector, tx)
    readings = [r for r in message.readings if r.at is not None]
    first_at = min((plausible(r.at, at) or stopped_at for r in readings), default=stopped_at)
    session = ChargingSession(
        uuid=uuid7(),
        station_id=station.id,
        transaction_ref=reference,
        operator_id=station.operator_id,
        site_id=station.site_id,
        driver_id=token.driver_id if token else None,
        token=token,
        token_shown=_shown(token, message.token),
        time_zone=station.time_zone,
        currency=station.currency,
        start_key=f"{ORPHAN}{content}",
        protocol=station.version,
        started_at=min(first_at, stopped_at),
        start_received_at=at,
        meter_start_wh=_first_register(message.readings),
        energy_wh=Decimal(0),
    )
    _put_at(session, plug)
    _apply_end(session, message, token, at)
    session.review = merged([ReviewReason.ORPHAN_STOP], [*session.review, *reasons])
    insert(session)
    tx.session_ref = session.transaction_ref
    tx.append(EVIDENCE, evidence_row(session.pk, "stop", message.at or at, message))
    tx.flush()
    tx.remember(station.id, ORPHAN, True)
    store_readings(session, message.readings, message, at)
    freeze(station, session, tx)
    feed(tx, station, StationEvent.Kind.SESSION_ENDED, at=at, session=str(session.uuid), orphan=True)
    tell(station, session, tx)
    return session


def _is_other_end(session: ChargingSession, message: SessionEnded) -> bool:
    register = message.register_wh if message.register_wh is not None else _end_register(message.readings)
    return message.at_raw[:64] != session.stop_raw or (register is not None and register != session.meter_stop_wh)


# --- tokens ------------------------------------------------------------------------------------------


def present(station: StationRef, reference: str, token: IdToken, info: TokenInfo, shown: Token) -> None:
    """Note a token that was shown after the start (2.x): the session belongs to it from now on."""
    session = _by_ref(station, reference)
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
    logged = "PIN" if is_pin else shown[:255]
    tx.append(
        ATTEMPTS,
        (station.operator_id, station.id, token.pk if token else None, logged, is_pin, status.value, reason, at),
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


# --- small parts -------------------------------------------------------------------------------------


def start_key(message: SessionStarted) -> str:
    """Return what makes a start the same start: for 1.6 its content, for 2.x the id the station gave.

    Keyed, because a PIN may be in it.
    """
    parts: list[Any] = [message.transaction_ref]
    if message.transaction_ref is None:
        token = message.token.value.lower() if message.token else ""
        parts = [message.evse, message.at_raw, token, str(message.register_wh), message.reservation_id]
    return digest(json.dumps(parts).encode(), purpose="session start").partition("$")[2]


def _plug(station: StationRef, evse: int | None, connector: int | None, tx: Batch) -> Plug | None:
    if not evse or not 0 < evse <= 64:
        return None
    slot = ("plug", evse, connector)
    plug: Plug | None = tx.recall(station.id, slot)
    if plug is None:
        row: Connector | None = None
        if connector is None:
            row = Connector.objects.filter(evse__station_id=station.id, evse__number=evse).order_by("number").first()
        if row is None:
            row = connector_of(station.id, evse, 1 if connector is None else connector)
        plug = Plug(row.evse_id, evse, row.pk, row.number)
        tx.remember(station.id, slot, plug)
    return plug


def _put_at(session: ChargingSession, plug: Plug | None) -> None:
    if plug is not None:
        session.evse = Evse(pk=plug.evse_id, number=plug.evse)
        session.connector_id = plug.connector_id


def _shown(token: IdToken | None, presented: Token | None) -> str:
    if token is not None and token.type == IdToken.Type.PIN:
        return "PIN"
    return presented.value[:255] if presented is not None else ""


def _differs(session: ChargingSession, presented: Token, token: IdToken | None) -> bool:
    if token is not None and session.token_id is not None:
        return token.pk != session.token_id
    return presented.value.lower() != session.token_shown.lower()


def _begin_register(message: SessionStarted) -> Decimal | None:
    return message.register_wh if message.register_wh is not None else _first_register(message.readings)


def _first_register(readings: Iterable[Reading]) -> Decimal | None:
    first = None
    for reading in readings:
        if reading.energy_wh is not None and reading.context == "Transaction.Begin":
            return reading.energy_wh
        if first is None:
            first = reading.energy_wh
    return first


def _end_register(readings: Iterable[Reading]) -> Decimal | None:
    last = None
    for reading in readings:
        if reading.energy_wh is not None:
            last = reading.energy_wh
            if reading.context == "Transaction.End":
                break
    return last
