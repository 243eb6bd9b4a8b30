"""Stations that are gone, alone or with their whole site, and log-ins that are refused too often."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Operator
from stations import alerts, detectors, registry
from stations.alert_kinds import LOG_IN_BURST, SITE_OFFLINE, STATION_OFFLINE
from stations.messages import Left
from stations.models import Alert, Gateway, RefusedConnection, Site, Station
from stations.ocpp.inbox import _Item
from tests.billing import world
from tests.charger import Charger, Ingest
from tests.watch import action, impact, look, open_alerts, reason

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def gateway() -> Gateway:
    """Our end has been listening for a day."""
    return Gateway.objects.create(id="test", lease_at=NOW, started_at=NOW - dt.timedelta(days=1))


@pytest.fixture
def site() -> Site:
    return world.site(world.operator())


def station(place: Site, *, at: dt.datetime = NOW) -> Charger:
    return Charger(world.station(place), at=at)


def leave(box: Charger, at: dt.datetime) -> None:
    box.ingest.commit([_Item(box.ref, Left(1006), at, None, None, None)])


def back(box: Charger, at: dt.datetime) -> Charger:
    return Charger(box.station, at=at)


# --- offline -----------------------------------------------------------------------------------------


def test_a_station_that_stays_away_is_alerted_once_and_the_alert_closes_when_it_is_back(site: Site) -> None:
    box = station(site)
    leave(box, NOW)
    look(NOW + 4 * MINUTE)
    assert open_alerts() == []
    look(NOW + 5 * MINUTE, times=3)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station, alert.site, alert.count) == (STATION_OFFLINE, box.station, site, 1)
    assert reason(alert) == "No connection since Nov 20, 09:00."
    assert impact(alert) == "1 connector cannot be used."
    assert action(alert) == "open_station"
    back(box, NOW + 12 * MINUTE)
    look(NOW + 12 * MINUTE)
    alert.refresh_from_db()
    assert (alert.resolved_at, alert.resolution) == (NOW + 12 * MINUTE, "over")


def test_the_threshold_is_a_setting(site: Site, settings: Any) -> None:
    settings.ALERT_SECONDS = {**settings.ALERT_SECONDS, "offline": 3}
    box = station(site)
    leave(box, NOW)
    look(NOW + 2 * SECOND)
    assert open_alerts() == []
    look(NOW + 3 * SECOND)
    assert len(open_alerts()) == 1


def test_a_station_that_never_connected_is_no_alert(site: Site) -> None:
    world.station(site)
    look(NOW + dt.timedelta(days=3))
    assert open_alerts() == []


@pytest.mark.parametrize(
    "change", [{"retired_at": NOW}, {"registration": "pending"}, {"registration": "rejected"}], ids=str
)
def test_stations_nobody_expects_are_no_alert(site: Site, change: dict[str, Any]) -> None:
    box = station(site)
    leave(box, NOW)
    Station.objects.filter(pk=box.station.pk).update(**change)
    look(NOW + dt.timedelta(hours=1))
    assert open_alerts() == []


def test_an_alert_ends_when_its_station_is_retired(site: Site) -> None:
    box = station(site)
    leave(box, NOW)
    look(NOW + 5 * MINUTE)
    Station.objects.filter(pk=box.station.pk).update(retired_at=NOW)
    look(NOW + 6 * MINUTE)
    assert open_alerts() == []


def test_a_gateway_that_died_without_a_word_takes_its_stations_with_it(site: Site, gateway: Gateway) -> None:
    box = station(site)
    gateway.delete()
    Gateway.objects.create(id="other", lease_at=NOW, started_at=NOW - dt.timedelta(days=1))
    registry.renew_lease("other", now=NOW + 6 * MINUTE)
    detectors.detect(NOW + 6 * MINUTE)
    (alert,) = open_alerts()
    assert alert.station == box.station


def test_nobody_is_missed_while_we_are_away_ourselves(site: Site, gateway: Gateway) -> None:
    """After a restart every station gets the whole time to come back; what was gone before stays an alert."""
    gone, here = station(site), station(site)
    leave(gone, NOW)
    look(NOW + 5 * MINUTE)
    assert [alert.station for alert in open_alerts()] == [gone.station]
    registry.release_gateway("test", now=NOW + 6 * MINUTE)
    detectors.detect(NOW + dt.timedelta(hours=2))
    assert [alert.station for alert in open_alerts()] == [gone.station]
    back_at = NOW + dt.timedelta(hours=2)
    look(back_at)
    look(back_at + 4 * MINUTE)
    assert [alert.station for alert in open_alerts()] == [gone.station]
    look(back_at + 5 * MINUTE)
    assert {alert.station for alert in open_alerts()} == {gone.station, here.station}
    assert Alert.objects.count() == 2


def test_several_of_a_site_at_once_are_one_alert_of_the_site(site: Site) -> None:
    boxes = [station(site) for _ in range(5)]
    elsewhere = station(world.site(site.operator))
    for n, box in enumerate(boxes[:4]):
        leave(box, NOW + n * 20 * SECOND)
    leave(elsewhere, NOW)
    look(NOW + 5 * MINUTE, times=2)
    alone, together = sorted(open_alerts(), key=lambda alert: alert.kind == SITE_OFFLINE)
    assert (alone.kind, alone.station) == (STATION_OFFLINE, elsewhere.station)
    assert (together.kind, together.site, together.station) == (SITE_OFFLINE, site, None)
    names = ", ".join(sorted(box.station.identity for box in boxes[:4]))
    assert reason(together) == (f"4 of 5 stations lost their connection at Nov 20, 09:00: {names}. Power or network?")
    assert impact(together) == "4 connectors cannot be used."


def test_a_site_that_comes_back_one_by_one_raises_nothing_more(site: Site) -> None:
    boxes = [station(site) for _ in range(4)]
    for box in boxes:
        leave(box, NOW)
    look(NOW + 5 * MINUTE)
    for n, box in enumerate(boxes):
        back(box, NOW + 10 * MINUTE + n * 30 * SECOND)
        look(NOW + 10 * MINUTE + n * 30 * SECOND)
    assert open_alerts() == []
    assert Alert.objects.count() == 1


def test_what_stays_away_when_the_site_is_back_is_an_alert_of_its_own(site: Site) -> None:
    boxes = [station(site) for _ in range(4)]
    for box in boxes:
        leave(box, NOW)
    look(NOW + 5 * MINUTE)
    for box in boxes[1:]:
        back(box, NOW + 10 * MINUTE)
    look(NOW + 11 * MINUTE)
    assert [alert.kind for alert in open_alerts()] == [SITE_OFFLINE]
    look(NOW + 12 * MINUTE)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station) == (STATION_OFFLINE, boxes[0].station)


def test_alerts_of_stations_are_taken_over_by_the_site(site: Site, settings: Any) -> None:
    settings.ALERT_SECONDS = {**settings.ALERT_SECONDS, "offline": 10}
    boxes = [station(site) for _ in range(3)]
    for n, box in enumerate(boxes):
        leave(box, NOW + n * MINUTE)
        look(NOW + n * MINUTE + 10 * SECOND)
    assert [alert.kind for alert in open_alerts()] == [SITE_OFFLINE]
    taken = Alert.objects.filter(kind=STATION_OFFLINE)
    assert [alert.resolution for alert in taken] == ["grouped", "grouped"]


@pytest.mark.parametrize(("stations", "kinds"), [(2, {SITE_OFFLINE}), (3, {STATION_OFFLINE})])
def test_two_are_a_site_only_where_there_are_no_more(site: Site, stations: int, kinds: set[str]) -> None:
    boxes = [station(site) for _ in range(stations)]
    for box in boxes[:2]:
        leave(box, NOW)
    look(NOW + 5 * MINUTE)
    assert {alert.kind for alert in open_alerts()} == kinds


def test_stations_that_went_at_different_times_are_alerts_of_their_own(site: Site) -> None:
    boxes = [station(site) for _ in range(3)]
    for n, box in enumerate(boxes):
        leave(box, NOW + n * 10 * MINUTE)
    look(NOW + dt.timedelta(hours=1))
    assert [alert.kind for alert in open_alerts()] == [STATION_OFFLINE] * 3


# --- refused log-ins ---------------------------------------------------------------------------------


def refuse(
    operator: Operator, identity: str, seconds: list[int], *, address: str = "192.0.2.7", **fields: Any
) -> RefusedConnection:
    times = [NOW + second * SECOND for second in seconds]
    return RefusedConnection.objects.create(
        operator=operator,
        identity=identity,
        address=address,
        count=len(times),
        recent=[int(at.timestamp()) for at in times],
        first_at=times[0],
        last_at=times[-1],
        **{"reason": "wrong_password", **fields},
    )


def test_a_burst_of_refused_log_ins_is_one_alert_with_the_numbers(site: Site) -> None:
    box = station(site)
    identity = box.station.identity
    refuse(site.operator, identity, [0, 10, 20], station=box.station)
    refuse(site.operator, identity, [30], station=box.station, address="198.51.100.9")
    look(NOW + 31 * SECOND)
    assert open_alerts() == []
    RefusedConnection.objects.filter(address="192.0.2.7").update(
        recent=[int((NOW + s * SECOND).timestamp()) for s in (0, 10, 20, 40)], last_at=NOW + 40 * SECOND, count=4
    )
    look(NOW + 41 * SECOND, times=3)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station, alert.count) == (LOG_IN_BURST, box.station, 1)
    assert reason(alert) == (f"5 refused log-ins as {identity} within 40 s, last from 192.0.2.7: wrong password.")
    assert action(alert) == "open_refused"


def test_a_log_in_refused_now_and_then_is_no_burst(site: Site) -> None:
    """Four in any ten minutes, hundreds in all: a charger that retries slowly."""
    row = refuse(site.operator, "CP-9", [n * 150 for n in range(60)])
    RefusedConnection.objects.filter(pk=row.pk).update(count=500)
    look(row.last_at)
    assert open_alerts() == []


def test_a_burst_goes_on_counting_and_stays_closed_until_there_is_a_new_one(site: Site, owner: Any) -> None:
    row = refuse(site.operator, "CP-9", [0, 1, 2, 3, 4], reason="unknown_identity")
    look(NOW + 5 * SECOND)
    row.recent.append(int((NOW + 6 * SECOND).timestamp()))
    row.last_at = NOW + 6 * SECOND
    row.save()
    look(NOW + 7 * SECOND, times=2)
    (alert,) = open_alerts()
    assert (alert.count, alert.facts["count"], alert.station) == (2, 6, None)
    assert action(alert) == "open_refused"
    alerts.close(alert, by=owner, at=NOW + 8 * SECOND)
    row.recent.append(int((NOW + 9 * SECOND).timestamp()))
    row.last_at = NOW + 9 * SECOND
    row.save()
    look(NOW + 10 * SECOND)
    assert open_alerts() == []
    row.recent += [int((NOW + s * SECOND).timestamp()) for s in (11, 12, 13, 14)]
    row.last_at = NOW + 14 * SECOND
    row.save()
    look(NOW + 15 * SECOND)
    assert len(open_alerts()) == 1


def test_log_ins_that_belong_to_nobody_alarm_nobody(site: Site) -> None:
    refuse(None, "CP-9", [0, 1, 2, 3, 4], reason="unknown_identity")  # type: ignore[arg-type]
    look(NOW + 5 * SECOND)
    assert open_alerts() == []


# --- cost --------------------------------------------------------------------------------------------


def _queries(now: dt.datetime) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        look(now)
    return len(captured)


def test_the_number_of_questions_does_not_depend_on_the_fleet(site: Site) -> None:
    """Ten stations and two hundred, a third of them away, some with refused log-ins: raised, held and closed."""

    def fleet(count: int, place: Site) -> None:
        ingest = Ingest()
        for n in range(count):
            box = Charger(world.station(place), ingest=ingest, at=NOW)
            if n % 3 == 0:
                leave(box, NOW + n * 5 * MINUTE)
                refuse(place.operator, box.station.identity, [0, 1, 2, 3, 4], station=box.station)

    raising, steady = [], []
    later = NOW + dt.timedelta(days=1)
    for size in (10, 190):
        fleet(size, world.site(site.operator) if size > 10 else site)
        raising.append(_queries(NOW + 30 * SECOND) + _queries(later))
        steady.append(_queries(later + SECOND))
    assert len(open_alerts(kind=STATION_OFFLINE)) > 60
    assert len(open_alerts(kind=LOG_IN_BURST)) > 60
    assert steady[0] == steady[1] <= 15
    assert raising[1] - raising[0] <= 4  # a statement takes some sixty new rows on SQLite
