"""A small world to bill in: one operator, a site, a station, drivers, and sessions that have ended."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

from accounts.models import Driver, IdToken, Operator
from sessions.facts import Activity, Segment, SessionFacts
from sessions.models import ChargingSession
from stations.models import Connector, Evse, Site, Station

_numbers = itertools.count(1)
UTC = dt.UTC


def at(text: str) -> dt.datetime:
    """Return an aware UTC moment from ``YYYY-MM-DD HH:MM``."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def operator(**fields: Any) -> Operator:
    number = next(_numbers)
    return Operator.objects.create(**{"name": f"Nordlicht {number}", "slug": f"nordlicht-{number}", **fields})


def site(owner: Operator, **fields: Any) -> Site:
    given = {"name": "Harbour", "time_zone": "Europe/Berlin", "country": "DE", "address": "Kai 1", "city": "Hamburg"}
    return Site.objects.create(operator=owner, **{**given, **fields})


def station(place: Site, **fields: Any) -> Station:
    number = next(_numbers)
    made = Station.objects.create(
        operator=place.operator, site=place, identity=f"NL-{number:04}", **{"name": f"Pole {number}", **fields}
    )
    Connector.objects.create(evse=Evse.objects.create(station=made, number=1), number=1, type="IEC_62196_T2")
    return made


def driver(owner: Operator, **fields: Any) -> Driver:
    number = next(_numbers)
    return Driver.objects.create(
        operator=owner, **{"name": f"Ada {number}", "email": f"ada{number}@example.org", **fields}
    )


def token(person: Driver, **fields: Any) -> IdToken:
    return IdToken.objects.create(operator=person.operator, driver=person, value=f"04A2{next(_numbers):08X}", **fields)


def facts(start: dt.datetime, end: dt.datetime, wh: str, *, idle: int = 0, zone: str = "Europe/Berlin") -> SessionFacts:
    """Return facts of a session that charges evenly and idles for its last ``idle`` seconds."""
    full = end - dt.timedelta(seconds=idle)
    segments = [Segment(start, full, Decimal(wh), Activity.CHARGING)]
    if idle:
        segments.append(Segment(full, end, Decimal(0), Activity.PARKING))
    return SessionFacts(start, end, Decimal(wh), zone, tuple(segments))


def session(
    pole: Station,
    *,
    wh: str = "31204",
    start: str = "2026-11-10 17:00",
    end: str = "2026-11-10 18:00",
    idle: int = 0,
    register: str = "120000",
    ended: bool = True,
    person: Driver | None = None,
    **fields: Any,
) -> ChargingSession:
    """Return a session as it stands after its end: registers, energy and frozen facts."""
    number = next(_numbers)
    evse = pole.evses.get()
    given: dict[str, Any] = {
        "operator": pole.operator,
        "site": pole.site,
        "station": pole,
        "evse": evse,
        "connector": evse.connectors.get(),
        "driver": person,
        "time_zone": pole.site.time_zone,
        "currency": pole.operator.currency,
        "transaction_ref": str(number),
        "start_key": f"{number:064}",
        "protocol": "1.6",
        "started_at": at(start),
        "start_received_at": at(start),
        "meter_start_wh": Decimal(register),
    }
    if ended:
        frozen = facts(at(start), at(end), wh, idle=idle, zone=pole.site.time_zone)
        given |= {
            "status": ChargingSession.Status.ENDED,
            "stopped_at": at(end),
            "stop_received_at": at(end),
            "meter_stop_wh": Decimal(register) + Decimal(wh),
            "meter_last_wh": Decimal(register) + Decimal(wh),
            "energy_wh": Decimal(wh),
            "facts": frozen.to_json(),
            "facts_digest": frozen.digest(),
        }
    return ChargingSession.objects.create(**{**given, **fields})


def price_list(
    per_kwh: str = "0.49", *, tax_included: str | None = "YES", vat: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return an OCPI 2.3.0 tariff with one energy price; without ``vat`` the rate of the site's country holds."""
    component: dict[str, Any] = {"type": "ENERGY", "price": Decimal(per_kwh), "step_size": 1}
    if vat is not None:
        component["vat"] = Decimal(vat)
    body: dict[str, Any] = {
        "country_code": "DE",
        "party_id": "NLI",
        "id": "day",
        "currency": "EUR",
        "elements": [{"price_components": [component]}],
        "last_updated": "2026-01-01T00:00:00Z",
    }
    if tax_included is not None:
        body["tax_included"] = tax_included
    return {**body, **more}
