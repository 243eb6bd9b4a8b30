"""Sessions whose end is never told: ended at the last proven reading once the deadline has passed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import IdToken
from sessions.models import ChargingSession, ReviewReason
from sessions.reconcile import FREE_FOR, SILENT_FOR, reconcile
from stations.messages import Left
from stations.models import Gateway, Station
from stations.ocpp.inbox import _Item
from tests import charger as say
from tests.billing import world
from tests.charger import Charger, iso

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.fixture
def pole() -> Station:
    return world.station(world.site(world.operator()))


@pytest.fixture
def card(pole: Station) -> IdToken:
    return world.token(world.driver(pole.operator))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def gateway_lives(now: dt.datetime) -> None:
    Gateway.objects.update_or_create(id="test", defaults={"lease_at": now, "started_at": NOW})


def begun(pole: Station, card: IdToken, version: str) -> tuple[Charger, str]:
    """A session with two readings, the last ten minutes after its start."""
    gateway_lives(NOW)
    box = Charger(pole, version, at=NOW)
    answer = box.say(*say.start(version, ref="tx-1", token=card.value, meter=1000, at=NOW), at=NOW)
    ref = str(answer["transactionId"]) if version == "1.6" else "tx-1"
    for n in (1, 2):
        at = NOW + 5 * n * MINUTE
        box.say(*say.meter(version, ref=ref, wh=1000 + 700 * n, at=at, seq=n), at=at)
    return box, ref


def status(box: Charger, word: str, at: dt.datetime) -> None:
    if box.version == "1.6":
        payload: dict[str, Any] = {"connectorId": 1, "errorCode": "NoError", "status": word, "timestamp": iso(at)}
    else:
        payload = {"evseId": 1, "connectorId": 1, "connectorStatus": word, "timestamp": iso(at)}
    box.say("StatusNotification", payload, at=at)


def leave(box: Charger, at: dt.datetime) -> None:
    box.ingest.commit([_Item(box.ref, Left(1006), at, None, None, None)])


def session() -> ChargingSession:
    return ChargingSession.objects.get()


def test_a_station_that_stays_away_ends_its_session_at_the_last_reading(
    pole: Station, card: IdToken, version: str
) -> None:
    box, _ref = begun(pole, card, version)
    leave(box, NOW + 20 * MINUTE)
    assert reconcile(NOW + 20 * MINUTE + SILENT_FOR) == 0
    now = NOW + 21 * MINUTE + SILENT_FOR
    assert reconcile(now) == 1
    row = session()
    assert (row.status, row.stopped_at, row.energy_wh) == ("ended", NOW + 10 * MINUTE, Decimal(1400))
    assert row.review == [ReviewReason.ESTIMATED_END]
    assert row.settle_after is not None
    assert row.settle_after > now
    assert row.facts is not None
    assert reconcile(now) == 0


def test_a_gateway_that_died_does_not_keep_a_session_running(pole: Station, card: IdToken, version: str) -> None:
    begun(pole, card, version)
    Station.objects.update(last_seen_at=NOW + 10 * MINUTE)
    assert reconcile(NOW + 11 * MINUTE + SILENT_FOR) == 1


def test_a_connector_that_is_free_again_ends_a_session_that_said_nothing(
    pole: Station, card: IdToken, version: str
) -> None:
    """A station that lost its transaction in a power cut."""
    box, _ref = begun(pole, card, version)
    status(box, "Available", NOW + 12 * MINUTE)
    for now, ended in ((NOW + 12 * MINUTE + FREE_FOR, 0), (NOW + 13 * MINUTE + FREE_FOR, 1)):
        gateway_lives(now)
        assert reconcile(now) == ended
    assert session().stopped_at == NOW + 10 * MINUTE


@pytest.mark.parametrize("word", ["Charging", "SuspendedEV", "Finishing", "Faulted", "Unavailable"])
def test_a_connector_that_is_not_free_keeps_its_session(pole: Station, card: IdToken, word: str) -> None:
    box, _ref = begun(pole, card, "1.6")
    status(box, word, NOW + 12 * MINUTE)
    now = NOW + dt.timedelta(days=6)
    gateway_lives(now)
    assert reconcile(now) == 0


def test_a_free_connector_with_readings_keeps_its_session(pole: Station, card: IdToken) -> None:
    """A charger that mixes up its states."""
    box, ref = begun(pole, card, "1.6")
    status(box, "Available", NOW + 12 * MINUTE)
    for minute in range(13, 60, 5):
        at = NOW + minute * MINUTE
        box.say(*say.meter("1.6", ref=ref, wh=3000 + minute, at=at), at=at)
        gateway_lives(at)
        assert reconcile(at) == 0


def test_a_connector_that_was_never_busy_tells_nothing(pole: Station, card: IdToken) -> None:
    """A charger that reports its state only when it boots."""
    gateway_lives(NOW)
    box = Charger(pole, "1.6", at=NOW - MINUTE)
    status(box, "Available", NOW - MINUTE)
    begun(pole, card, "1.6")
    now = NOW + dt.timedelta(days=6)
    gateway_lives(now)
    assert reconcile(now) == 0


def test_the_true_end_may_still_come_for_a_while(pole: Station, card: IdToken, version: str) -> None:
    box, ref = begun(pole, card, version)
    status(box, "Available", NOW + 12 * MINUTE)
    now = NOW + dt.timedelta(hours=1)
    gateway_lives(now)
    assert reconcile(now) == 1
    box.say(*say.stop(version, ref=ref, meter=2900, at=NOW + 12 * MINUTE, seq=3), at=now + 5 * MINUTE)
    row = session()
    assert (row.stopped_at, row.energy_wh) == (NOW + 12 * MINUTE, Decimal(1900))
    assert ReviewReason.ESTIMATED_END not in row.review


def test_the_next_session_at_that_connector_gets_its_readings(pole: Station, card: IdToken) -> None:
    """The writer learns of a session ended in the background only when the station connects anew."""
    box, _ref = begun(pole, card, "1.6")
    status(box, "Available", NOW + 12 * MINUTE)
    now = NOW + dt.timedelta(hours=1)
    gateway_lives(now)
    reconcile(now)
    box.say(*say.start("1.6", ref="", token=card.value, meter=5000, at=now), at=now)
    _action, payload = say.meter("1.6", ref="0", wh=5700, at=now + MINUTE)
    del payload["transactionId"]
    box.say("MeterValues", payload, at=now + MINUTE)
    assert ChargingSession.objects.get(status="active").energy_wh == 700
