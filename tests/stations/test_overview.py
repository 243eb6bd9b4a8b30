"""The fleet as queries: which stations a list holds, what each does, and the figures over all of them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership, Operator
from accounts.roles import Role
from sessions.models import ChargingSession, MeterReading
from stations import figures, overview, wording
from stations.messages import ConnectorState as State
from stations.models import Alert, Connector, Site, Station, StatusChange
from stations.overview import Query
from stations.states import NEVER_CONNECTED, OFFLINE, SILENT
from tests.factories import connect, make_member, make_site, make_station

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 20, 12, 0, 30, tzinfo=dt.UTC)  # a Friday, 13:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def site(tenant: Operator) -> Site:
    return make_site(tenant, "Quay", city="Rotterdam", latitude=51, longitude=4, power_limit_w=100_000)


def charge(station: Station, *, evse: int = 1, **fields: Any) -> ChargingSession:
    plug = Connector.objects.get(evse__station=station, evse__number=evse)
    number = ChargingSession.objects.count()
    given = {
        "operator": station.operator,
        "site": station.site,
        "station": station,
        "evse": plug.evse,
        "connector": plug,
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "transaction_ref": f"t{number}",
        "start_key": f"k{number}",
        "started_at": NOW - dt.timedelta(minutes=30),
        "start_received_at": NOW,
        "energy_wh": Decimal(5000),
        "power_w": Decimal(11000),
    }
    return ChargingSession.objects.create(**given | fields)


def say(station: Station, status: str, *, evse: int = 1, error: str = "", since: dt.datetime = NOW) -> None:
    Connector.objects.filter(evse__station=station, evse__number=evse).update(
        status=status, error_code=error, since=since
    )


def found(actor: Membership, **query: Any) -> list[str]:
    page = overview.page_of(actor, Query(**query), NOW)
    return [station.identity for station in page.object_list]


def row(actor: Membership, identity: str) -> overview.Row:
    stations = list(overview.page_of(actor, Query(text=identity), NOW).object_list)
    return overview.rows_of(stations, overview.running(actor, NOW), NOW)[0]


@pytest.fixture
def fleet(site: Site, owner: Membership) -> Membership:
    """One station of each sort; returns who looks at them."""
    connect(make_station(site, "FREE", connectors=2, model="M1", firmware="1.0"), at=NOW)
    busy = connect(make_station(site, "BUSY", connectors=2, model="M1", firmware="2.0"), at=NOW)
    say(busy, State.CHARGING)
    charge(busy)
    broken = connect(make_station(site, "BROKEN", connectors=1, model="M2"), at=NOW)
    say(broken, State.FAULTED, error="GroundFailure", since=NOW - dt.timedelta(minutes=14))
    lost = connect(make_station(site, "LOST", connectors=1), at=NOW - dt.timedelta(hours=1))
    Station.objects.filter(pk=lost.pk).update(gateway="", disconnected_at=NOW - dt.timedelta(minutes=52))
    make_station(site, "NEW", connectors=1)
    silent = connect(make_station(site, "SILENT", connectors=1), at=NOW)
    Station.objects.filter(pk=silent.pk).update(last_seen_at=NOW - dt.timedelta(hours=1))
    return owner


# --- which stations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "identities"),
    [
        ({}, {"FREE", "BUSY", "BROKEN", "LOST", "NEW", "SILENT"}),
        ({"view": "attention"}, {"BROKEN", "LOST"}),
        ({"view": "in_use"}, {"BUSY"}),
        ({"view": "away"}, {"LOST", "NEW"}),
        ({"state": State.FAULTED}, {"BROKEN"}),
        ({"state": State.AVAILABLE}, {"FREE", "BUSY", "SILENT"}),
        ({"state": OFFLINE}, {"LOST"}),
        ({"state": NEVER_CONNECTED}, {"NEW"}),
        ({"state": SILENT}, {"SILENT"}),
        ({"model": "M1"}, {"FREE", "BUSY"}),
        ({"model": "M1", "firmware": "2.0"}, {"BUSY"}),
        ({"text": "bro"}, {"BROKEN"}),
        ({"site": "no id"}, set()),
    ],
)
def test_a_list_is_narrowed(fleet: Membership, query: dict, identities: set[str]) -> None:
    assert set(found(fleet, **query)) == identities
    counted = overview.groups(fleet, Query(**query), NOW)
    assert sum(group.fits for group in counted) == len(identities)


def test_the_counts_of_the_tabs(fleet: Membership) -> None:
    counted = overview.groups(fleet, Query(), NOW)
    totals = {name: sum(getattr(group, name) for group in counted) for name in overview.Group._fields[3:]}
    assert totals == {
        "stations": 6,
        "fits": 6,
        "attention": 2,
        "in_use": 1,
        "faulted": 1,
        "offline": 1,
        "absent": 2,
    }


def test_what_waits_for_approval_or_has_an_alert_needs_attention(site: Site, owner: Membership) -> None:
    connect(make_station(site, "PENDING", registration="pending"), at=NOW)
    alarmed = connect(make_station(site, "ALARMED"), at=NOW)
    connect(make_station(site, "FINE"), at=NOW)
    Alert.objects.create(operator=site.operator, station=alarmed, kind="x", dedupe_key="x", raised_at=NOW, last_at=NOW)
    assert set(found(owner, view="attention")) == {"PENDING", "ALARMED"}


@pytest.mark.parametrize(
    ("sort", "first"),
    [("name", "BROKEN"), ("-name", "SILENT"), ("-power", "BUSY"), ("seen", "NEW"), ("site", "BROKEN")],
)
def test_a_list_is_sorted(fleet: Membership, sort: str, first: str) -> None:
    assert found(fleet, sort=sort)[0] == first


def test_an_address_that_means_nothing_is_the_plain_list() -> None:
    assert Query.read({"sort": "colour", "size": "7", "view": "x"}) == Query()
    assert Query.read({"sort": "-power", "size": "25", "view": "away", "q": " a "}) == Query(
        view="away", text="a", sort="-power", size=25
    )


def test_others_and_what_is_retired_are_not_there(fleet: Membership, stranger: Membership, site: Site) -> None:
    make_station(site, "GONE", retired_at=NOW)
    make_station(make_site(stranger.operator), "THEIRS")
    assert "GONE" not in found(fleet)
    assert found(stranger) == ["THEIRS"]
    assert overview.running(stranger, NOW) == []


def test_a_technician_sees_the_stations_of_their_sites(fleet: Membership, site: Site) -> None:
    other = make_site(site.operator)
    charge(connect(make_station(other, "ELSEWHERE", connectors=1), at=NOW))
    limited = make_member(site.operator, Role.TECHNICIAN, all_sites=False, site_ids=[other.pk])
    assert found(limited) == ["ELSEWHERE"]
    assert len(overview.running(limited, NOW)) == 1
    assert figures.figures(limited, overview.running(limited, NOW), overview.sites(limited), NOW).connectors == 1


# --- rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "states", "power", "words"),
    [
        ("FREE", [State.AVAILABLE, State.AVAILABLE], 0, "Free"),
        ("BUSY", [State.CHARGING, State.AVAILABLE], 11_000, "1 session"),
        ("BROKEN", [State.FAULTED], 0, "Ground failure, 14 min"),
        ("LOST", [OFFLINE], None, "Offline for 52 min"),
        ("NEW", [NEVER_CONNECTED], None, "Never connected"),
        ("SILENT", [SILENT], 0, "Connected but silent"),
    ],
)
def test_what_a_row_shows(fleet: Membership, identity: str, states: list[str], power: int | None, words: str) -> None:
    shown = row(fleet, identity)
    assert [plug.state for plug in shown.plugs] == states
    assert shown.power_w == power
    assert wording.now(shown, NOW).replace("\N{NO-BREAK SPACE}", " ") == words


def test_a_session_that_reports_no_power_leaves_it_unknown(site: Site, owner: Membership) -> None:
    charge(connect(make_station(site, "DUMB", connectors=1), at=NOW), power_w=None)
    assert row(owner, "DUMB").power_w is None


def test_the_limit_is_the_rating_of_the_station_or_of_its_places(site: Site, owner: Membership) -> None:
    rated = make_station(site, "RATED", max_power_w=50_000, connectors=1)
    plain = make_station(site, "PLAIN", connectors=2)
    for station in (rated, plain):
        station.evses.update(max_power_w=22_000)
    assert row(owner, "RATED").limit_w == 50_000
    assert row(owner, "PLAIN").limit_w == 44_000


def test_an_open_session_is_found_through_its_own_index(fleet: Membership) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("a plan of SQLite")
    with CaptureQueriesContext(
        connection,
    ) as captured:
        overview.running(fleet, NOW, [1, 2])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {captured[0]['sql']}")
        plan = " ".join(str(line[3]) for line in cursor.fetchall())
    assert "session_by_end (operator_id=? AND stopped_at=?)" in plan


# --- figures ---------------------------------------------------------------------------------------------


def test_the_figures_of_the_fleet(fleet: Membership, site: Site) -> None:
    shown = figures.figures(fleet, overview.running(fleet, NOW), overview.sites(fleet), NOW)
    assert (shown.connectors, shown.in_use) == (8, 1)
    assert dict(shown.mix) == {
        State.CHARGING: 1,
        State.AVAILABLE: 4,
        State.FAULTED: 1,
        OFFLINE: 1,
        NEVER_CONNECTED: 1,
    }
    assert (shown.power_w, shown.power_limit_w) == (11_000, 100_000)
    assert (shown.energy_wh, shown.sessions_today) == (5000, 1)


def test_a_site_without_a_limit_leaves_the_sum_unknown(fleet: Membership, site: Site) -> None:
    make_site(site.operator, "No limit")
    assert figures.figures(fleet, (), overview.sites(fleet), NOW).power_limit_w is None


def test_what_an_absent_station_drew_last_is_not_drawn_now(fleet: Membership) -> None:
    lost = Station.objects.get(identity="LOST")
    charge(lost)
    assert figures.figures(fleet, overview.running(fleet, NOW), (), NOW).power_w == 11_000


def test_today_begins_at_midnight_of_the_operator(site: Site, owner: Membership) -> None:
    station = connect(make_station(site, "X", connectors=1), at=NOW)
    midnight = dt.datetime(2026, 11, 20, 0, 0, tzinfo=BERLIN)
    week_ago = midnight - dt.timedelta(days=7)
    for started, energy in [
        (midnight, 1000),
        (midnight - dt.timedelta(seconds=1), 10),
        (week_ago, 200),
        (week_ago + dt.timedelta(hours=13), 2000),  # before 13:00:30 a week ago
        (week_ago + dt.timedelta(hours=13, minutes=1), 20_000),
    ]:
        charge(station, status="ended", started_at=started, energy_wh=Decimal(energy))
    shown = figures.figures(owner, (), (), NOW)
    assert (shown.energy_wh, shown.energy_last_week_wh, shown.sessions_today) == (1000, 2200, 1)


def test_the_course_of_power_adds_up_sessions(site: Site, owner: Membership) -> None:
    station = connect(make_station(site, "X", connectors=2), at=NOW)
    minute = NOW.replace(second=0)

    def read(session: ChargingSession, minutes_ago: int, watts: int) -> None:
        at = minute - dt.timedelta(minutes=minutes_ago)
        MeterReading.objects.create(
            session=session, at=at, digest=f"{session.pk}-{minutes_ago}", received_at=at, power_w=Decimal(watts)
        )

    first, second = charge(station), charge(station, evse=2, status="ended", stopped_at=minute)
    read(first, 2, 10_000)
    read(first, 0, 12_000)
    read(second, 1, 5_000)
    read(second, 90, 99_000)
    course = figures.course(overview.sessions_of(owner), NOW)
    assert len(course) == 60
    assert course[-4:] == [0, 10_000, 15_000, 12_000]


def test_a_reading_does_not_stand_for_ever(site: Site, owner: Membership) -> None:
    session = charge(connect(make_station(site, "X", connectors=1), at=NOW))
    at = NOW.replace(second=0) - dt.timedelta(minutes=10)
    MeterReading.objects.create(session=session, at=at, digest="d", received_at=at, power_w=Decimal(7000))
    assert figures.course(overview.sessions_of(owner), NOW)[-11:] == [7000, 7000, 7000] + [0] * 8


def change(connector: Connector, days_ago: float, status: str) -> None:
    at = NOW - dt.timedelta(days=days_ago)
    StatusChange.objects.create(connector=connector, status=status, at=at, received_at=at)


@pytest.mark.parametrize(
    ("changes", "down_days"),
    [
        ([(40, State.AVAILABLE)], 0),
        ([(40, State.AVAILABLE), (10, State.FAULTED), (7, State.AVAILABLE)], 3),
        ([(40, State.FAULTED), (24, State.AVAILABLE)], 6),
        ([(40, State.UNAVAILABLE)], 30),
        ([(40, State.AVAILABLE), (3, State.FAULTED), (2, State.FAULTED), (1, State.CHARGING)], 2),
        ([(40, State.AVAILABLE), (3, State.FAULTED)], 3),
    ],
)
def test_availability_is_the_time_not_reported_down(
    site: Site, owner: Membership, changes: list[tuple[float, str]], down_days: float
) -> None:
    station = connect(make_station(site, "X", connectors=1), at=NOW)
    connector = Connector.objects.get()
    for days_ago, status in changes:
        change(connector, days_ago, status)
    times = figures.uptimes(owner, NOW)
    assert times is not None
    assert times[station.pk].down_s == pytest.approx(down_days * 86_400)
    assert times[station.pk].total_s == pytest.approx(30 * 86_400)
    assert figures.availability(times.values()) == pytest.approx(1 - down_days / 30)
    assert figures.sites_below_goal(times.values()) == (1 if down_days >= 1 else 0)


def test_without_any_history_availability_is_unknown(owner: Membership) -> None:
    assert figures.availability((figures.uptimes(owner, NOW) or {}).values()) is None


def test_slow_figures_are_asked_for_once(fleet: Membership, django_assert_num_queries: Any) -> None:
    assert figures.power_course(fleet, NOW, only_known=True) is None
    figures.power_course(fleet, NOW)
    figures.uptimes(fleet, NOW)
    with django_assert_num_queries(0):
        assert figures.power_course(fleet, NOW) is not None
        assert figures.uptimes(fleet, NOW) is not None


# --- the map -----------------------------------------------------------------------------------------------


def test_the_worst_of_its_stations_speaks_for_a_site(fleet: Membership, site: Site) -> None:
    calm = make_site(site.operator, "Calm", latitude=52, longitude=5)
    connect(make_station(calm, "CALM", connectors=1), at=NOW)
    away = make_site(site.operator, "Away", latitude=53, longitude=6)
    make_station(away, "AWAY")
    make_site(site.operator, "Empty", latitude=54, longitude=7)
    nowhere = make_site(site.operator, "Nowhere")
    make_station(nowhere, "NOWHERE")
    shown = overview.places(overview.sites(fleet), overview.groups(fleet, Query(), NOW), {site.pk: "/quay"})
    assert {(place.name, place.count, place.state, place.url) for place in shown} == {
        ("Rotterdam", 6, "faulted", "/quay"),
        ("Calm", 1, "available", ""),
        ("Away", 1, "offline", ""),
    }
