"""One station of the tenant with a tariff, and sessions there: running, ended, held."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.utils import timezone

from accounts.models import Driver, Membership, Operator
from accounts.roles import Role
from billing import settlement, tariffs
from billing.models import SessionBill
from sessions.models import ChargingSession, MeterReading
from stations.models import Connector, Frame, Gateway, Station
from tests.billing import world
from tests.factories import make_member, make_token

LONG_AGO = world.at("2026-01-01 00:00")
ENDED = world.at("2026-11-10 18:05")
MINUTE = dt.timedelta(minutes=1)


def station(owner: Operator, *, online: bool = True, **fields: Any) -> Station:
    """Return a station of 22 kW in Hamburg with one Type 2 connector."""
    pole = world.station(world.site(owner), max_power_w=22_000, **fields)
    Connector.objects.filter(evse__station=pole).update(status="Available")
    if online:
        Gateway.objects.get_or_create(id="g1", defaults={"lease_at": FAR, "started_at": LONG_AGO})
        Station.objects.filter(pk=pole.pk).update(gateway="g1", protocol="1.6")
        pole.refresh_from_db()
    return pole


FAR = world.at("2099-01-01 00:00")


def publish(owner: Operator, body: dict[str, Any] | None = None) -> Any:
    """Publish a tariff of the operator; without a body 0.49 per kWh, VAT included."""
    member = Membership.objects.filter(operator=owner, role=Role.OWNER).first() or make_member(owner, Role.OWNER)
    return tariffs.publish(member, body or world.price_list(), by=member, at=LONG_AGO)


def ended(pole: Station, person: Driver | None = None, *, settled: bool = True, **fields: Any) -> ChargingSession:
    """Return an ended session, priced where nothing holds it: 31.204 kWh on 10 November, 17:00 to 18:00 UTC."""
    token = {}
    if person is not None and "token" not in fields:
        card = person.tokens.first() or make_token(person.operator, driver=person)
        token = {"token": card, "token_shown": card.value}
    session = world.session(pole, person=person, stop_reason="Local", **{**token, **fields})
    tariffs.freeze(session, at=session.started_at)
    if settled:
        settlement.settle(session.pk, now=ENDED)
    return ChargingSession.objects.select_related("driver", "station__site", "connector", "evse", "token").get(
        pk=session.pk
    )


def running(
    pole: Station, person: Driver | None = None, *, minutes: int = 20, kwh: str = "5", **fields: Any
) -> ChargingSession:
    """Return a session that has run for some minutes, with a reading each minute and its live summary."""
    now = timezone.now().replace(microsecond=0)
    start = now - minutes * MINUTE
    begin, wh = Decimal("120000"), Decimal(kwh) * 1000
    given = {
        "started_at": start,
        "start_received_at": start,
        "charging_state": "Charging",
        "energy_wh": wh,
        "power_w": Decimal("11000"),
        "meter_last_wh": begin + wh,
        "last_reading_at": now,
        "energy_changed_at": now,
    }
    session = world.session(pole, person=person, ended=False, register=str(begin), **{**given, **fields})
    for minute in range(1, minutes + 1):
        reading(session, start + minute * MINUTE, begin + wh * minute / minutes, power_w="11000", state="Charging")
    tariffs.freeze(session, at=start)
    return session


def reading(
    session: ChargingSession, at: dt.datetime, wh: Decimal | str | None = None, *, state: str = "", **fields: Any
) -> MeterReading:
    number = MeterReading.objects.filter(session=session).count()
    values = {
        name: Decimal(value) if isinstance(value, str) and name != "context" else value
        for name, value in fields.items()
    }
    return MeterReading.objects.create(
        session=session,
        at=at,
        digest=f"{number:016x}",
        received_at=at,
        energy_wh=None if wh is None else Decimal(wh),
        charging_state=state,
        **values,
    )


def frame(session: ChargingSession, action: str, at: dt.datetime, **fields: Any) -> Frame:
    return Frame.objects.create(
        station_id=session.station_id,
        at=at,
        direction=Frame.Direction.IN,
        action=action,
        message_id="m1",
        text=f'[2,"m1","{action}",{{}}]',
        **{"session_ref": session.transaction_ref, "answer": '[3,"m1",{}]', "answer_ms": 4, **fields},
    )


def bill_of(session: ChargingSession) -> SessionBill:
    return SessionBill.objects.get(pk=session.pk)
