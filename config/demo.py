"""The demonstration: an operator with sites, chargers, drivers and three months of history.

Everything is drawn from one seed, so two fresh demos are alike. History goes through the same functions that
price, post and invoice live sessions; only the chargers' frames are left out.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import secrets
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from accounts import keys
from accounts.models import Driver, IdToken, Membership, Operator, User, uuid7
from accounts.roles import Role
from billing import invoicing, settlement, tariffs
from billing.models import BillingAccount
from billing.payers import ensure_account
from billing.sellers import ensure_legal_entity
from sessions.models import ChargingSession, MeterReading, TransactionNumber
from sessions.readings import Sample, StateChange, reckon
from sessions.running import READINGS, reading_row
from stations.messages import ConnectorState, Reading, TokenStatus
from stations.models import Connector, Evse, Site, Station, StatusChange
from stations.ocpp.handshake import credential_purpose

SLUG = "demo"
SEED = "voltyard"
DAYS = 90
SESSIONS_A_DAY = 11
READINGS_DAYS = 2
STATIONS = 48
SLICE = 250

# name, city, country, zone, latitude, longitude, grid limit in W, address
SITES = (
    ("Waalhaven", "Rotterdam", "NL", "Europe/Amsterdam", "51.8905", "4.4510", 900_000, "Waalhaven Oostzijde 12"),
    ("Zuidas Garage", "Amsterdam", "NL", "Europe/Amsterdam", "52.3390", "4.8730", 400_000, "Gustav Mahlerlaan 10"),
    ("Jaarbeurs", "Utrecht", "NL", "Europe/Amsterdam", "52.0870", "5.1060", 250_000, "Croeselaan 6"),
    ("Meir North", "Antwerp", "BE", "Europe/Brussels", "51.2180", "4.4070", 250_000, "Meirbrug 1"),
    ("Ring Plaza", "Brussels", "BE", "Europe/Brussels", "50.8560", "4.3020", 600_000, "Ninoofsesteenweg 200"),
    ("Domplatz", "Cologne", "DE", "Europe/Berlin", "50.9410", "6.9580", 350_000, "Trankgasse 11"),
    ("Westfalen Park", "Dortmund", "DE", "Europe/Berlin", "51.4960", "7.4760", 200_000, "An der Buschmühle 3"),
    ("Hafencity", "Hamburg", "DE", "Europe/Berlin", "53.5430", "9.9990", 700_000, "Am Sandtorkai 40"),
    ("Messe Ost", "Frankfurt", "DE", "Europe/Berlin", "50.1120", "8.6420", 500_000, "Ludwig-Erhard-Anlage 1"),
    ("Alexanderplatz", "Berlin", "DE", "Europe/Berlin", "52.5220", "13.4130", 450_000, "Karl-Liebknecht-Straße 5"),
    ("Olympiapark", "Munich", "DE", "Europe/Berlin", "48.1740", "11.5460", 450_000, "Spiridon-Louis-Ring 21"),
    ("Lyon Confluence", "Lyon", "FR", "Europe/Paris", "45.7400", "4.8150", 300_000, "Quai Antoine Riboud 3"),
)
# (rated W, EVSEs, kind, connector type, model)
KINDS = (
    (22_000, 2, "ac", "IEC_62196_T2", "Yard AC 22"),
    (22_000, 2, "ac", "IEC_62196_T2", "Yard AC 22"),
    (11_000, 2, "ac", "IEC_62196_T2", "Yard AC 11"),
    (150_000, 2, "dc", "IEC_62196_T2_COMBO", "Yard DC 150"),
    (300_000, 2, "dc", "IEC_62196_T2_COMBO", "Yard DC 300"),
)
FIRST_NAMES = ("Anna", "Ben", "Clara", "Daan", "Eva", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Klara", "Liam", "Mila")
LAST_NAMES = ("Visser", "Bakker", "Peeters", "Janssens", "Müller", "Schmidt", "Weber", "Fischer", "Becker", "Moreau")

PEOPLE = (
    ("operator", "operator@demo.voltyard.example", "Lena Visser"),
    ("driver", "driver@demo.voltyard.example", "Dana de Boer"),
    ("finance", "finance@demo.voltyard.example", "Farid Benali"),
)


def is_seeded() -> bool:
    """Whether this database holds the demonstration."""
    return Operator.objects.filter(slug=SLUG).exists()


def seed(folder: Path, *, now: dt.datetime) -> None:
    """Fill an empty database and write the fleet's plan and the log-ins into ``folder`` (mode 600)."""
    rng = random.Random(SEED)  # noqa: S311 - a likeness of the world, not a secret
    password = secrets.token_urlsafe(9)
    with transaction.atomic():
        operator = Operator.objects.create(name="Harbour Energy", slug=SLUG, time_zone="Europe/Amsterdam", country="NL")
        entity = ensure_legal_entity(operator)
        entity.street, entity.postal_code, entity.city = "Waalhaven Oostzijde 12", "3087 BM", "Rotterdam"
        entity.vat_id, entity.email = "NL000099998B57", "billing@demo.voltyard.example"
        entity.save()
        _people(operator, password)
        drivers = _drivers(operator, rng)
        sites = _sites(operator)
        stations, plans = _stations(operator, sites, drivers, rng)
        _tariffs(operator, now)
    _history(stations, drivers, rng, now)
    _invoices(operator, now)
    _write(folder / "demo-fleet.json", plans)
    _write(
        folder / "demo-people.json",
        [{"who": who, "email": email, "password": password} for who, email, _name in PEOPLE],
    )


def _write(path: Path, rows: Sequence[Any]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(rows, indent=1))


def _people(operator: Operator, password: str) -> None:
    roles = {"operator": Role.OWNER, "finance": Role.FINANCE}
    for who, email, name in PEOPLE:
        user = User.objects.create_user(email, password, name=name)
        if who in roles:
            Membership.objects.create(user=user, operator=operator, role=roles[who])
        else:
            driver = Driver.objects.create(operator=operator, user=user, name=name, email=email)
            IdToken.objects.create(operator=operator, driver=driver, type="rfid", value="04D1A7A0DB", label="Key ring")
            ensure_account(driver)


def _drivers(operator: Operator, rng: random.Random) -> list[IdToken]:
    """Return the tokens of all drivers, two each after the first; a fifth of them gets a monthly invoice."""
    tokens = list(IdToken.objects.filter(operator=operator))
    for number in range(STATIONS):
        name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
        email = f"{name.lower().replace(' ', '.').replace('ü', 'ue')}.{number}@demo.voltyard.example"
        driver = Driver.objects.create(operator=operator, name=name, email=email)
        account = ensure_account(driver)
        if number % 5 == 0:
            BillingAccount.objects.filter(pk=account.pk).update(mode=BillingAccount.Mode.MONTHLY)
        for label in ("Card", "Key ring"):
            value = f"04{rng.randrange(16**8):08X}"
            token = IdToken.objects.create(operator=operator, driver=driver, type="rfid", value=value, label=label)
            tokens.append(token)
    return tokens


def _sites(operator: Operator) -> list[Site]:
    return [
        Site.objects.create(
            operator=operator,
            name=name,
            city=city,
            country=country,
            time_zone=zone,
            latitude=Decimal(latitude),
            longitude=Decimal(longitude),
            power_limit_w=limit,
            address=address,
        )
        for name, city, country, zone, latitude, longitude, limit, address in SITES
    ]


@dataclasses.dataclass(frozen=True)
class Pole:
    """A station with what seeding needs of it."""

    station: Station
    kind: str
    power_w: int
    evses: list[tuple[Evse, Connector]]


def _stations(
    operator: Operator, sites: Sequence[Site], tokens: Sequence[IdToken], rng: random.Random
) -> tuple[list[Pole], list[dict[str, Any]]]:
    poles: list[Pole] = []
    plans: list[dict[str, Any]] = []
    versions = ("1.6", "2.0.1", "2.1")
    for number in range(STATIONS):
        site = sites[number % len(sites)]
        power_w, evses, kind, plug, model = KINDS[(number // len(sites) + number) % len(KINDS)]
        identity = f"HE-{site.city[:3].upper()}-{number // len(sites) + 1:04d}"
        password = secrets.token_hex(20)
        station = Station.objects.create(
            operator=operator,
            site=site,
            identity=identity,
            name=f"{site.name} {number // len(sites) + 1}",
            credential=keys.digest(password.encode(), purpose=credential_purpose(identity)),
            max_power_w=power_w * evses if kind == "ac" else power_w,
            vendor="Voltyard Simulator",
            model=model,
            firmware="3.4.1",
            serial_number=identity,
        )
        made = []
        for place in range(1, evses + 1):
            evse = Evse.objects.create(station=station, number=place, max_power_w=power_w)
            # 1.6 knows only connectorIds; 2.x counts connectors inside an EVSE.
            index = place if versions[number % 3] == "1.6" else 1
            made.append((evse, Connector.objects.create(evse=evse, number=index, type=plug, status="Available")))
        poles.append(Pole(station, kind, power_w, made))
        plans.append(
            {
                "identity": identity,
                "password": password,
                "version": versions[number % 3],
                "evses": evses,
                "kind": kind,
                "power_w": float(power_w),
                # A token is in one place at a time: every bay has its own; the demo driver's is at the first one.
                "tokens": [token.value for token in tokens[2 * number : 2 * number + 2]],
                "activity": "busy" if number % 4 == 0 else "normal",
                "misbehaviour": _misbehaviour(number),
                "meter_interval_s": 10,
                "vendor": "Voltyard Simulator",
                "model": model,
                "firmware": "3.4.1",
                "register_wh": float(1_000_000 + 37_000 * number),
                "seed": SEED,
            }
        )
    return poles, plans


def _misbehaviour(number: int) -> dict[str, Any]:
    return _TROUBLES.get(number, {})


_TROUBLES: dict[int, dict[str, Any]] = {
    5: {"faulted_connector": 1},
    6: {"never_connects": True},
    13: {"offline_after_s": 240.0, "offline_for_s": 90.0},
    19: {"clock_offset_s": 3 * 3600.0},
    22: {"duplicate_rate": 0.3},
    29: {"firmware_fails": True},
    34: {"refused_cards": 2},
}


def _tariffs(operator: Operator, now: dt.datetime) -> None:
    since = now - dt.timedelta(days=DAYS + 10)
    owner = Membership.objects.get(operator=operator, role=Role.OWNER)
    for code, words, plugs, energy, parking in (
        ("AC", "AC standard", ["IEC_62196_T2"], "0.49", "3.00"),
        ("DC", "DC standard", ["IEC_62196_T2_COMBO"], "0.59", "18.00"),
    ):
        body = {
            "country_code": "NL",
            "party_id": "HEN",
            "id": code,
            "currency": "EUR",
            "type": "REGULAR",
            "tax_included": "YES",
            "tariff_alt_text": [{"language": "en", "text": words}],
            "elements": [
                {
                    "price_components": [
                        {"type": "ENERGY", "price": Decimal(energy), "step_size": 1},
                        {"type": "PARKING_TIME", "price": Decimal(parking), "step_size": 60},
                    ]
                }
            ],
            "last_updated": since.isoformat().replace("+00:00", "Z"),
            "voltyard": {
                "applies_to": {"connector_types": plugs},
                "idle_grace_seconds": 600,
                "idle_cap": Decimal("20.00"),
                "valid_from": since.isoformat().replace("+00:00", "Z"),
            },
        }
        tariffs.publish(owner, body, by=owner, at=since)


# --- three months of sessions ------------------------------------------------------------------------


def _history(poles: Sequence[Pole], tokens: Sequence[IdToken], rng: random.Random, now: dt.datetime) -> None:
    drawn = sorted(_draw(poles, tokens, rng, now), key=lambda one: one[0].stopped_at or now)
    TransactionNumber.objects.bulk_create(TransactionNumber() for _ in drawn)
    readings: list[MeterReading] = []
    for first in range(0, len(drawn), SLICE):
        part = drawn[first : first + SLICE]
        with transaction.atomic():
            for session, _readings in part:
                session.save(force_insert=True)
            moments = {}
            for session, values in part:
                tariffs.freeze(session, at=session.started_at)
                assert session.stop_received_at is not None
                moments[session.pk] = session.stop_received_at + dt.timedelta(seconds=2)
                for reading in values:
                    assert reading.at is not None
                    row = reading_row(session.pk, reading, reading.at, reading.at, "Charging")
                    readings.append(MeterReading(**dict(zip(READINGS.columns, row, strict=True))))
            settlement.settle_many(moments)
    with transaction.atomic():
        MeterReading.objects.bulk_create(readings, batch_size=2000)
        _availability(poles, rng, now)


def _draw(
    poles: Sequence[Pole], tokens: Sequence[IdToken], rng: random.Random, now: dt.datetime
) -> Iterator[tuple[ChargingSession, list[Reading]]]:
    registers = {pole.station.pk: Decimal(100_000 + rng.randrange(900_000)) for pole in poles}
    busy: dict[int, dt.datetime] = {}
    number = 0
    for day in range(DAYS, -1, -1):
        midnight = (now - dt.timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(round(SESSIONS_A_DAY * rng.uniform(0.7, 1.3))):
            pole = rng.choice(poles)
            evse, connector = rng.choice(pole.evses)
            hour = rng.choices(
                range(24), weights=[1, 1, 1, 1, 1, 2, 4, 8, 9, 7, 6, 6, 7, 6, 6, 7, 9, 12, 12, 9, 6, 4, 3, 2]
            )[0]
            start = midnight + dt.timedelta(hours=hour, minutes=rng.randrange(60), seconds=rng.randrange(60))
            if start < busy.get(evse.pk, start):
                continue
            token = tokens[0] if rng.random() < 0.04 else rng.choice(tokens[1:])
            charge_min = rng.uniform(18, 55) if pole.kind == "dc" else rng.uniform(60, 260)
            idle_min = rng.choice([0, 0, 0, rng.uniform(1, 40)])
            mean_w = pole.power_w * rng.uniform(0.35, 0.62)
            number += 1
            session, values = _session(
                pole,
                evse,
                connector,
                token,
                start,
                charge_min,
                idle_min,
                mean_w,
                registers,
                number,
                with_readings=day <= READINGS_DAYS,
            )
            assert session.stopped_at is not None
            if session.stopped_at > now - dt.timedelta(minutes=5):
                continue
            busy[evse.pk] = session.stopped_at + dt.timedelta(minutes=5)
            yield session, values


def _session(
    pole: Pole,
    evse: Evse,
    connector: Connector,
    token: IdToken,
    start: dt.datetime,
    charge_min: float,
    idle_min: float,
    mean_w: float,
    registers: dict[int, Decimal],
    number: int,
    *,
    with_readings: bool,
) -> tuple[ChargingSession, list[Reading]]:
    station, site = pole.station, pole.station.site
    begin = registers[station.pk]
    full = start + dt.timedelta(minutes=round(charge_min))
    end = full + dt.timedelta(minutes=round(idle_min))
    steps = max(2, round(charge_min / 5))
    total = Decimal(round(mean_w * charge_min / 60))
    samples, values = [], []
    for step in range(steps + 1):
        share = Decimal(step) / steps
        at = start + (full - start) * (step / steps)
        # A car takes more in the beginning than towards the end.
        register = begin + (total * share * (Decimal("1.35") - Decimal("0.35") * share)).quantize(Decimal(1))
        power = Decimal(round(mean_w * float(Decimal("1.35") - Decimal("0.7") * share)))
        samples.append(Sample(at, register))
        if with_readings:
            values.append(Reading(at=at, energy_wh=register, power_w=power))
    registers[station.pk] = begin + total
    states = [StateChange(start, "Charging"), StateChange(full, "SuspendedEV")]
    result = reckon(
        start=start,
        end=end,
        meter_start=begin,
        meter_stop=begin + total,
        samples=samples,
        states=states,
        time_zone=site.time_zone,
        max_power_w=station.max_power_w,
    )
    session = ChargingSession(
        uuid=uuid7(),
        operator_id=station.operator_id,
        site=site,
        station=station,
        evse=evse,
        connector=connector,
        driver_id=token.driver_id,
        token=token,
        token_shown=token.value,
        time_zone=site.time_zone,
        currency="EUR",
        transaction_ref=f"history-{number}",
        start_key=f"history:{number}",
        protocol="1.6",
        status=ChargingSession.Status.ENDED,
        token_status=TokenStatus.ACCEPTED.value,
        started_at=start,
        start_received_at=start,
        stopped_at=end,
        stop_received_at=end,
        settle_after=end,
        stop_reason="EVDisconnected",
        meter_start_wh=begin,
        meter_stop_wh=begin + total,
        meter_last_wh=begin + total,
        energy_wh=result.energy_wh,
        last_reading_at=full,
        review=sorted(result.reasons),
        facts=result.facts.to_json(),
        facts_digest=result.facts.digest(),
    )
    return session, values


def _availability(poles: Sequence[Pole], rng: random.Random, now: dt.datetime) -> None:
    """Give a few connectors a fault in the past month, so that availability is not a round hundred."""
    changes = []
    for pole in poles:
        for _evse, connector in pole.evses:
            first = now - dt.timedelta(days=40)
            changes.append(
                StatusChange(connector=connector, status=ConnectorState.AVAILABLE, at=first, received_at=first)
            )
            if rng.random() < 0.25:
                down = now - dt.timedelta(days=rng.uniform(2, 28))
                up = down + dt.timedelta(hours=rng.uniform(1, 30))
                for at, state in ((down, ConnectorState.FAULTED), (up, ConnectorState.AVAILABLE)):
                    changes.append(StatusChange(connector=connector, status=state, at=at, received_at=at))
    StatusChange.objects.bulk_create(changes)


def _invoices(operator: Operator, now: dt.datetime) -> None:
    """Invoice every full month of the history, on the day after it."""
    zone = ZoneInfo(operator.time_zone)
    month = invoicing.month_before(now - dt.timedelta(days=DAYS - 31), operator.time_zone)
    last = invoicing.month_before(now, operator.time_zone)
    while month <= last:
        following = (month + dt.timedelta(days=32)).replace(day=1)
        at = dt.datetime.combine(following, dt.time(6, 10), zone).astimezone(dt.UTC)
        for account_id in invoicing.due_accounts(month):
            invoicing.issue(BillingAccount.objects.get(pk=account_id), month, by=None, at=at)
        month = following
