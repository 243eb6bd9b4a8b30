"""Pages and jobs write beside a full ingest: each gets its turn soon, none meets a locked database."""

from __future__ import annotations

import datetime as dt
import os

import pytest
from django.db import connection, transaction

from accounts import audit
from billing import tariffs
from tests.billing import world
from tests.harness import contention
from tests.live_server import db

SECONDS = float(os.environ.get("CONTENTION_SECONDS", "4"))
STATIONS = 40
LONGEST_P95_MS = 100


class _Everyone:
    role = "owner"
    site_scope = None

    def __init__(self, operator_id: int) -> None:
        self.operator_id = operator_id


def _world() -> tuple[list[world.Station], list[world.IdToken]]:
    with transaction.atomic():
        operator = world.operator()
        place = world.site(operator)
        person = world.driver(operator)
        now = dt.datetime.now(dt.UTC)
        tariffs.publish(_Everyone(operator.pk), world.price_list(), by=None, at=now - dt.timedelta(days=1))
        return [world.station(place) for _ in range(STATIONS)], [world.token(person) for _ in range(STATIONS)]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_writes_beside_a_full_ingest_wait_their_turn() -> None:
    stations, cards = await db(_world)
    report = await contention.measure(stations, cards, seconds=SECONDS)
    assert report.errors == []
    assert report.messages > 10 * STATIONS
    assert len(report.waits) > 10
    assert report.p95 < LONGEST_P95_MS * report.slowdown, (connection.vendor, report, report.p95)


@pytest.mark.django_db(transaction=True)
def test_the_guard_of_journeys_sees_a_write_outside_a_transaction(writes_are_in_transactions: list[str]) -> None:
    operator = world.operator()
    assert writes_are_in_transactions == []
    with transaction.atomic():
        audit.record(None, "operator.changed", operator)
    assert writes_are_in_transactions == []
    audit.record(None, "operator.changed", operator)
    assert len(writes_are_in_transactions) == 1
    writes_are_in_transactions.clear()
