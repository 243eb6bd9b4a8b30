"""The API about sites and stations."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts.models import Operator
from accounts.roles import Role
from stations.models import Connector, Site, Station
from tests.factories import NOW, connect, make_site, make_station

pytestmark = pytest.mark.django_db
SITES, STATIONS = "/api/v1/sites/", "/api/v1/stations/"


@pytest.fixture
def site(tenant: Operator) -> Site:
    return make_site(tenant, "Quay")


# --- sites ---------------------------------------------------------------------------------------------


def test_a_site_from_creation_to_retirement(program) -> None:
    client = program(Role.OPERATOR)
    made = client.post(
        SITES,
        {"name": "Pier", "time_zone": "Europe/Amsterdam", "country": "NL", "latitude": "52.1", "longitude": "4.5"},
    )
    assert made.status_code == 201
    shape = made.json()
    assert shape == {
        "id": str(Site.objects.get().uuid),
        "name": "Pier",
        "time_zone": "Europe/Amsterdam",
        "country": "NL",
        "address": "",
        "city": "",
        "latitude": "52.100000",
        "longitude": "4.500000",
        "power_limit_w": None,
        "retired_at": None,
        "created_at": shape["created_at"],
    }
    url = f"{SITES}{shape['id']}/"
    assert client.get(url).json() == shape
    assert client.patch(url, {"power_limit_w": 90_000}).json()["power_limit_w"] == 90_000
    assert client.delete(url).status_code == 204
    assert client.get(SITES).json()["results"] == []
    assert [row["name"] for row in client.get(SITES, {"retired": "true"}).json()["results"]] == ["Pier"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name", "time_zone"}),
        ({"name": "P", "time_zone": "Mars/Base"}, {"time_zone"}),
        ({"name": "P", "time_zone": "Europe/Berlin", "country": "de"}, {"country"}),
        ({"name": "P", "time_zone": "Europe/Berlin", "colour": "red"}, {"colour"}),
        ({"name": "P", "time_zone": "Europe/Berlin", "latitude": "52"}, {"longitude"}),
    ],
)
def test_a_wrong_site(program, body: dict, fields: set[str]) -> None:
    answer = program().post(SITES, body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == fields
    assert not Site.objects.exists()


# --- stations ------------------------------------------------------------------------------------------


def test_a_station_is_made_with_its_address_and_a_password_once(program, site: Site) -> None:
    client = program(Role.TECHNICIAN)
    made = client.post(STATIONS, {"identity": "CP/1 a", "site": str(site.uuid)})
    assert made.status_code == 201
    assert made.json()["ocpp_url"] == "ws://localhost:8000/ocpp/CP%2F1%20a"
    assert len(made.json()["password"]) == 40
    assert "password" not in client.get(f"{STATIONS}CP%2F1%20a/").json()


def test_the_same_key_makes_one_station_and_tells_the_password_again(program, site: Site) -> None:
    client, body = program(), {"identity": "CP-1", "site": str(site.uuid)}
    first = client.post(STATIONS, body, headers={"Idempotency-Key": "k1"})
    again = client.post(STATIONS, body, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert Station.objects.count() == 1


def test_what_a_station_looks_like(program, site: Site) -> None:
    station = connect(
        make_station(site, "CP-1", vendor="Acme", model="X1", firmware="2.0", serial_number="S1"), "2.0.1"
    )
    evse = station.evses.create(number=1, max_power_w=22_000)
    Connector.objects.create(
        evse=evse, number=1, status="Faulted", error_code="GroundFailure", since=NOW, type="cType2"
    )
    shape = program(Role.VIEWER).get(f"{STATIONS}CP-1/").json()
    expected = {
        "id": str(station.uuid),
        "identity": "CP-1",
        "site": str(site.uuid),
        "online": True,
        "protocol": "2.0.1",
        "registration": "accepted",
        "vendor": "Acme",
        "model": "X1",
        "firmware": "2.0",
        "serial_number": "S1",
        "connectors": [
            {
                "evse": 1,
                "connector": 1,
                "type": "cType2",
                "max_power_w": 22_000,
                "status": "Faulted",
                "error_code": "GroundFailure",
                "since": "2026-11-20T12:00:00Z",
                "session": None,
            }
        ],
    }
    assert {name: shape[name] for name in expected} == expected
    assert dt.datetime.fromisoformat(shape["last_seen_at"]) == station.last_seen_at


def test_a_station_is_found_by_identity_and_by_id(program, site: Site) -> None:
    station = make_station(site, "CP-1")
    client = program()
    assert client.get(f"{STATIONS}CP-1/").json() == client.get(f"{STATIONS}{station.uuid}/").json()
    assert client.get(f"{STATIONS}cp-1/").status_code == 404


def test_a_connection_without_a_living_gateway_is_none(program, site: Site) -> None:
    connect(make_station(site, "CP-1"), at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=21))
    assert program().get(f"{STATIONS}CP-1/").json()["online"] is False


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"identity", "site"}),
        ({"identity": "CP:1"}, {"identity"}),
        ({"identity": "CP-1", "site": "0193b1f0-0000-7000-8000-000000000000"}, {"site"}),
        ({"identity": "CP-1", "password": "short"}, {"password"}),
        ({"identity": "CP-1", "security_profile": 4}, {"security_profile"}),
        ({"identity": "CP-1", "connectors": [{}]}, {"connectors.0.connector"}),
        ({"identity": "CP-1", "connectors": [{"evse": 99}]}, {"connectors"}),
        ({"identity": "CP-1", "identiti": "CP-2"}, {"identiti"}),
    ],
)
def test_a_wrong_station(program, site: Site, body: dict, fields: set[str]) -> None:
    if body:
        body = {"site": str(site.uuid)} | body
    answer = program().post(STATIONS, body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == fields
    assert not Station.objects.exists()


def test_an_identity_that_is_taken_names_no_owner(program, site: Site, other_tenant: Operator) -> None:
    make_station(make_site(other_tenant), "CP-1")
    answer = program().post(STATIONS, {"identity": "cp-1", "site": str(site.uuid)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "identity_taken")
    assert "rival" not in answer.content.decode().lower()


def test_a_site_of_another_operator_is_none(program, other_tenant: Operator) -> None:
    answer = program().post(STATIONS, {"identity": "CP-1", "site": str(make_site(other_tenant).uuid)})
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {"site"})


def test_a_station_is_changed(program, site: Site) -> None:
    station = make_station(site, "CP-1", registration="pending")
    client = program()
    changed = client.patch(f"{STATIONS}CP-1/", {"name": "One", "registration": "accepted", "password": ""}).json()
    assert (changed["name"], changed["registration"], len(changed["password"])) == ("One", "accepted", 40)
    assert station.commands.get().command == "trigger"
    assert client.patch(f"{STATIONS}CP-1/", {"identity": "CP-2"}).status_code == 400


def test_a_retired_station_leaves_the_list(program, site: Site) -> None:
    make_station(site, "CP-1")
    client = program()
    assert client.delete(f"{STATIONS}CP-1/").status_code == 204
    assert client.get(STATIONS).json()["results"] == []
    assert client.get(f"{STATIONS}CP-1/").json()["retired_at"] is not None
    assert client.post(f"{STATIONS}CP-1/commands/", {"command": "reset"}).status_code == 404
    again = client.delete(f"{STATIONS}CP-1/")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "station_retired")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"CP-1", "CP-2"}),
        ({"online": "true"}, {"CP-1"}),
        ({"online": "false"}, {"CP-2"}),
        ({"model": "x1"}, {"CP-2"}),
        ({"search": "cp-2"}, {"CP-2"}),
        ({"registration": "pending"}, set()),
    ],
)
def test_the_list_has_filters(program, site: Site, query: dict, found: set[str]) -> None:
    connect(make_station(site, "CP-1"))
    make_station(site, "CP-2", model="X1")
    answer = program().get(STATIONS, query)
    assert {row["identity"] for row in answer.json()["results"]} == found


@pytest.mark.parametrize("count", [10, 100])
def test_a_longer_page_takes_no_more_queries(program, site: Site, django_assert_max_num_queries, count: int) -> None:
    for _ in range(count):
        make_station(site, connectors=2)
    client = program()
    client.get(STATIONS)
    with django_assert_max_num_queries(5):
        answer = client.get(STATIONS, {"limit": count})
    assert len(answer.json()["results"]) == count


# --- doors ---------------------------------------------------------------------------------------------


def addresses(site: Site, station: Station) -> list[tuple[str, str, dict, set[Role]]]:
    everybody = set(Role)
    editors = {Role.OWNER, Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN}
    one, here = f"{STATIONS}{station.identity}/", f"{SITES}{site.uuid}/"
    return [
        ("get", SITES, {}, everybody),
        ("post", SITES, {"name": "New", "time_zone": "UTC"}, editors),
        ("get", here, {}, everybody),
        ("patch", here, {"city": "Kiel"}, editors),
        ("get", STATIONS, {}, everybody),
        ("post", STATIONS, {"identity": "NEW", "site": str(site.uuid)}, editors),
        ("get", one, {}, everybody),
        ("patch", one, {"name": "x"}, editors),
        ("get", f"{one}commands/", {}, everybody),
        ("post", f"{one}commands/", {"command": "clear_cache"}, editors),
        ("get", f"{one}messages/", {}, everybody),
        ("get", "/api/v1/commands/", {}, everybody),
        ("delete", one, {}, editors),
    ]


@pytest.mark.parametrize("role", list(Role))
def test_who_may_what(program, site: Site, role: Role) -> None:
    station = make_station(site, "CP-1")
    client = program(role)
    for method, url, body, allowed in addresses(site, station):
        status = getattr(client, method)(url, body).status_code
        assert (status != 403) == (role in allowed), (method, url, status)
        assert status in {200, 201, 202, 204, 403}, (method, url, status)


def test_a_stranger_finds_nothing(program, site: Site, other_tenant: Operator) -> None:
    station = make_station(site, "CP-1")
    client = program(operator=other_tenant)
    for method, url, body, _allowed in addresses(site, station):
        answer = getattr(client, method)(url, body)
        if url in {SITES, STATIONS, "/api/v1/commands/"}:
            assert answer.status_code in {201, 400} or answer.json()["results"] == []
        else:
            assert answer.status_code == 404, (method, url)
    station.refresh_from_db()
    assert (station.retired_at, station.commands.count()) == (None, 0)


def test_the_schema_and_its_page_are_served(client) -> None:
    schema = client.get("/api/schema/", {"format": "json"})
    assert schema.status_code == 200
    assert "/api/v1/stations/{identity}/commands/" in schema.json()["paths"]
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert b"<style" not in page.content
    assert b"<script>" not in page.content
    assert client.get("/api/docs/?script=")["Content-Type"] == "application/javascript"
