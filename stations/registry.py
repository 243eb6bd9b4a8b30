"""Which stations there are, whether they are here, and what their connectors say."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from stations import commands
from stations.hints import operator_group
from stations.messages import (
    Ack,
    Admitted,
    Beat,
    BeatReply,
    Booted,
    BootReply,
    Connected,
    ConnectorState,
    Left,
    Noted,
    Registration,
    StatusChanged,
    VendorReply,
    VendorSaid,
)
from stations.models import Connector, Evse, Gateway, Station, StationEvent, StatusChange
from stations.ocpp.batch import Batch, BulkTable, StationRef

MAX_EVSES = 64
MAX_CONNECTORS = 8
PLAUSIBLE_PAST = dt.timedelta(days=400)
PLAUSIBLE_FUTURE = dt.timedelta(minutes=5)

EVENTS = BulkTable("stations_stationevent", ("operator_id", "station_id", "evse", "kind", "facts", "at"))

_REGISTRATION = {
    Station.Registration.ACCEPTED: Registration.ACCEPTED,
    Station.Registration.PENDING: Registration.PENDING,
    Station.Registration.REJECTED: Registration.REJECTED,
}


def plausible(reported: dt.datetime | None, received: dt.datetime) -> dt.datetime | None:
    """Return a station's own time where it can be true, else None (clocks of 1970, 2000, 9999)."""
    if reported is None or not received - PLAUSIBLE_PAST <= reported <= received + PLAUSIBLE_FUTURE:
        return None
    return reported


def renew_lease(gateway: str, *, now: dt.datetime) -> None:
    """Say that this gateway lives."""
    with transaction.atomic():
        Gateway.objects.update_or_create(
            id=gateway, defaults={"lease_at": now}, create_defaults={"lease_at": now, "started_at": now}
        )


def release_gateway(gateway: str, *, now: dt.datetime) -> None:
    """Say that this gateway is gone and its stations with it."""
    with transaction.atomic():
        Station.objects.filter(gateway=gateway).update(gateway="", disconnected_at=now)
        Gateway.objects.filter(id=gateway).delete()


# --- handlers ----------------------------------------------------------------------------------------


def connect(station: StationRef, message: Connected, *, at: dt.datetime, tx: Batch) -> Admitted:
    """Give the new socket the next epoch: from now on older sockets of this station are fenced."""
    Station.objects.filter(pk=station.id).update(
        epoch=F("epoch") + 1, gateway=message.gateway, protocol=message.protocol, connected_at=at, disconnected_at=None
    )
    epoch, registration = Station.objects.values_list("epoch", "registration").get(pk=station.id)
    tx.epochs[station.id] = epoch
    commands.line_lost(station.id, at=at)
    feed(tx, station, StationEvent.Kind.CONNECTED, at=at, version=message.protocol)
    return Admitted(epoch=epoch, registration=_REGISTRATION[Station.Registration(registration)])


def leave(station: StationRef, message: Left, *, at: dt.datetime, tx: Batch) -> None:
    """Take note that this epoch's socket is gone (a newer one is fenced off before this is reached)."""
    Station.objects.filter(pk=station.id, epoch=station.epoch).update(gateway="", disconnected_at=at)
    commands.line_lost(station.id, at=at)
    feed(tx, station, StationEvent.Kind.DISCONNECTED, at=at, code=message.code)


def boot(station: StationRef, message: Booted, *, at: dt.datetime, tx: Batch) -> BootReply:
    """Store what the station is and answer whether it is let in (1.6 §4.2, B01)."""
    row = Station.objects.get(pk=station.id)
    changed = {
        "vendor": message.vendor,
        "model": message.model,
        "serial_number": message.serial_number,
        "firmware": message.firmware,
        "iccid": message.iccid,
        "imsi": message.imsi,
        "meter_serial": message.meter_serial,
        "meter_type": message.meter_type,
    }
    before_serial = row.serial_number
    for name, value in changed.items():
        if value:
            setattr(row, name, value[:255])
    row.booted_at = at
    row.save(update_fields=[*changed, "booted_at"])
    commands.observe(station, "booted", evidence=message.reason or message.firmware, at=at, tx=tx)
    feed(tx, station, StationEvent.Kind.BOOTED, at=at, model=message.model, firmware=message.firmware)
    if before_serial and message.serial_number and before_serial != message.serial_number:
        feed(tx, station, StationEvent.Kind.SECURITY, at=at, what="serial_changed", before=before_serial)
    spread = random.uniform(0.8, 1.2)  # noqa: S311 - so that a fleet does not beat in step
    return BootReply(
        status=_REGISTRATION[Station.Registration(row.registration)],
        now=at,
        interval_s=max(1, round(settings.HEARTBEAT_SECONDS * spread)),
    )


def beat(station: StationRef, message: Beat, *, at: dt.datetime, tx: Batch) -> BeatReply:
    """Answer the time; that the station lives is noted for every frame."""
    return BeatReply(now=at)


def status(station: StationRef, message: StatusChanged, *, at: dt.datetime, tx: Batch) -> Ack:
    """Store the state of a connector; an older report that arrives late goes to the history only."""
    happened = plausible(message.at, at) or at
    if message.evse == 0:
        if message.state is ConnectorState.FAULTED:
            feed(tx, station, StationEvent.Kind.FAULT, at=at, error=message.error_code, info=message.info)
        return Ack()
    known_form = 0 < message.evse <= MAX_EVSES and 0 <= message.connector <= MAX_CONNECTORS
    if not (known_form or _is_flat(message)):
        feed(tx, station, StationEvent.Kind.NOTE, at=at, what="implausible_connector", evse=message.evse)
        return Ack()
    connector = connector_of(station.id, message.evse, message.connector)
    StatusChange.objects.create(
        connector=connector,
        status=message.state.value,
        error_code=message.error_code[:50],
        at=happened,
        received_at=at,
    )
    if connector.reported_at is not None and message.at is not None and happened < connector.reported_at:
        return Ack()
    changed = connector.status != message.state.value or connector.error_code != message.error_code[:50]
    connector.reported_at = happened
    if changed:
        connector.status = message.state.value
        connector.error_code = message.error_code[:50]
        connector.vendor_error_code = message.vendor_error_code[:255]
        connector.info = message.info[:255]
        connector.since = happened
        connector.save()
        kind = StationEvent.Kind.FAULT if message.state is ConnectorState.FAULTED else StationEvent.Kind.STATUS
        feed(tx, station, kind, at=at, evse=message.evse, status=message.state.value, error=message.error_code[:50])
        commands.observe(station, f"status:{message.evse}", evidence=message.state.value, at=at, tx=tx)
    else:
        connector.save(update_fields=["reported_at"])
    return Ack()


def _is_flat(message: StatusChanged) -> bool:
    # 1.6 connectorId n is EVSE n with a connector of the same number.
    return message.evse == message.connector and 0 < message.evse <= MAX_EVSES


def connector_of(station_id: int, evse: int, connector: int) -> Connector:
    """Return the connector, made where it is new.

    An EVSE whose only connector has another number was described by hand or by another version: that
    connector is renumbered, not doubled.
    """
    row = Connector.objects.filter(evse__station_id=station_id, evse__number=evse, number=connector).first()
    if row is not None:
        return row
    place, _made = Evse.objects.get_or_create(station_id=station_id, number=evse)
    others = list(place.connectors.all())
    if len(others) == 1 and (others[0].reported_at is None or others[0].number == evse):
        others[0].number = connector
        others[0].save(update_fields=["number"])
        return others[0]
    return Connector.objects.create(evse=place, number=connector)


def vendor(station: StationRef, message: VendorSaid, *, at: dt.datetime, tx: Batch) -> VendorReply:
    """Answer a DataTransfer of a vendor nobody here speaks for; the frame is in the log."""
    return VendorReply(status="UnknownVendorId")


def note(station: StationRef, message: Noted, *, at: dt.datetime, tx: Batch) -> Ack:
    """Acknowledge; security events and firmware progress are shown in the feed, reported settings are kept."""
    if "settings" in message.facts:
        with transaction.atomic():
            count = commands.store_settings(station.id, message.facts["settings"], at)
            if not message.facts.get("tbc"):  # the last part of the report (B07)
                commands.observe(station, "settings", evidence=f"{count} values", at=at, tx=tx)
    kinds = {
        "security": StationEvent.Kind.SECURITY,
        "firmware": StationEvent.Kind.FIRMWARE,
        "diagnostics": StationEvent.Kind.NOTE,
        "log": StationEvent.Kind.NOTE,
    }
    kind = kinds.get(message.kind)
    if kind is not None:
        feed(tx, station, kind, at=at, status=message.status[:120], text=message.text[:200])
    return Ack()


def feed(
    tx: Batch, station: StationRef, kind: StationEvent.Kind, *, at: dt.datetime, evse: int | None = None, **facts: Any
) -> None:
    """Add a line to the live feed and tell the open pages."""
    tx.append(
        EVENTS,
        (station.operator_id, station.id, evse, kind.value, json.dumps(facts, default=str, ensure_ascii=False), at),
    )
    group = operator_group(station.operator_id)
    tx.hint(group, "feed")
    tx.hint(group, "stations")
    tx.hint(group, f"station:{station.identity}")
    tx.hint(group, f"state:{station.identity}")
