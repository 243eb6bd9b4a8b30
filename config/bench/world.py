"""The world a load meets: one operator, a site, stations that have been there before, a card for each, a price list.

``python -m config.bench.world --stations N`` makes it in the installation of its environment.
"""

from __future__ import annotations

import argparse
import datetime as dt
from decimal import Decimal

PASSWORD = "load-load-load-load"  # noqa: S105 - of simulated stations on this machine
PREFIX = "LOAD-"
SLICE = 500


def identities(count: int, prefix: str = PREFIX) -> list[tuple[str, str]]:
    """Return identities of the first ``count`` stations with their passwords, as the load client takes them."""
    return [(f"{prefix}{number:05}", PASSWORD) for number in range(count)]


def build(count: int) -> None:
    """Make the world with ``count`` stations whose connectors are known, and a card that bears each one's identity."""
    from django.db import transaction

    from accounts.keys import digest
    from accounts.models import Driver, IdToken, Membership
    from accounts.operators import create_operator
    from billing import tariffs
    from billing.sellers import ensure_legal_entity
    from stations import enrolment
    from stations.models import Connector, Evse, Station
    from stations.ocpp.handshake import credential_purpose

    now = dt.datetime.now(dt.UTC)
    operator, _ = create_operator(
        name="Load", slug="load", email="owner@load.example", password=PASSWORD, by=None, at=now
    )
    ensure_legal_entity(operator)
    owner = Membership.objects.get(operator=operator)
    site = enrolment.create_site(operator, by=owner, name="Yard")
    with transaction.atomic():
        driver = Driver.objects.create(operator=operator, name="Lee Load")
    tariffs.publish(owner, _price_list(), by=owner, at=now - dt.timedelta(days=1))
    names = [identity for identity, _ in identities(count)]
    for start in range(0, count, SLICE):
        with transaction.atomic():
            stations = Station.objects.bulk_create(
                Station(
                    operator=operator,
                    site=site,
                    identity=name,
                    name=name,
                    credential=digest(PASSWORD.encode(), purpose=credential_purpose(name)),
                )
                for name in names[start : start + SLICE]
            )
            evses = Evse.objects.bulk_create(Evse(station=station, number=1) for station in stations)
            Connector.objects.bulk_create(Connector(evse=evse, number=1) for evse in evses)
            IdToken.objects.bulk_create(
                IdToken(operator=operator, driver=driver, type=IdToken.Type.RFID, value=name)
                for name in names[start : start + SLICE]
            )


def _price_list() -> dict[str, object]:
    energy = {"type": "ENERGY", "price": Decimal("0.49"), "step_size": 1}
    return {
        "country_code": "DE",
        "party_id": "LOD",
        "id": "load",
        "currency": "EUR",
        "elements": [{"price_components": [energy]}],
        "tax_included": "YES",
        "last_updated": "2026-01-01T00:00:00Z",
    }


if __name__ == "__main__":
    import django

    parser = argparse.ArgumentParser()
    parser.add_argument("--stations", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    build(options.stations)
