"""Console pages about stations: who may open them, what they show, and that each form does one thing."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Membership, Operator
from accounts.roles import Role
from sessions.models import ChargingSession
from stations.messages import ConnectorState as State
from stations.models import Command, Connector, Frame, RefusedConnection, Setting, Site, Station, StationEvent
from tests.factories import connect, make_driver, make_member, make_site, make_station, make_token

pytestmark = pytest.mark.django_db
NOW = dt.datetime.now(dt.UTC)
EDITORS = {Role.OWNER, Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN}
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def site(tenant: Operator) -> Site:
    return make_site(tenant, "Waalhaven", city="Rotterdam", latitude=51, longitude=4)


@pytest.fixture
def station(site: Site) -> Station:
    return connect(make_station(site, "CP-1", name="Harbour Quay 1", connectors=2))


@pytest.fixture
def page(owner: Membership, browser: Any) -> Client:
    client: Client = browser(owner)
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"console:{name}", args=args)


def words(answer: Any) -> str:
    """Return what a page reads like: markup and runs of blanks taken out."""
    text = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"[\s\xa0]+", " ", text)


def charge(station: Station, **fields: Any) -> ChargingSession:
    plug = Connector.objects.filter(evse__station=station).order_by("evse__number")[0]
    given = {
        "operator": station.operator,
        "site": station.site,
        "station": station,
        "evse": plug.evse,
        "connector": plug,
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "transaction_ref": "7",
        "start_key": "k7",
        "started_at": dt.datetime.now(dt.UTC) - dt.timedelta(minutes=18),
        "start_received_at": NOW,
        "energy_wh": Decimal(43200),
        "power_w": Decimal(142000),
        "token_shown": "04A1B2C38831",
    }
    return ChargingSession.objects.create(**given | fields)


def knock(operator: Operator, identity: str, **fields: Any) -> RefusedConnection:
    given = {"address": "10.0.0.9", "reason": "unknown_identity", "first_at": NOW, "last_at": NOW} | fields
    return RefusedConnection.objects.create(operator=operator, identity=identity, **given)


# --- doors -----------------------------------------------------------------------------------------------

EVERYBODY = set(Role)
OPEN_PAGES = [
    "stations", "stations_rows", "stations_kpis", "stations_feed", "stations_map", "stations_export",
    "sites", "messages", "message_rows", "messages_download", "refused", "command_results",
]  # fmt: skip
OF_STATION = [
    "station", "station_panel", "station_tiles", "station_series", "station_log", "station_log_rows",
    "station_commands", "station_configuration", "station_connection", "station_waiting",
]  # fmt: skip
POSTS = ["command_new", "station_password", "station_version", "station_registration", "station_retire"]


@pytest.mark.parametrize("role", list(Role))
def test_who_may_open_what(tenant: Operator, site: Site, station: Station, browser: Any, role: Role) -> None:
    client = browser(make_member(tenant, role))
    command = Command.objects.create(station=station, command="reset", requested_by="x", requested_at=NOW)
    asked = [(name, []) for name in OPEN_PAGES] + [(name, [station.uuid]) for name in OF_STATION]
    for name, args in [*asked, ("site", [site.uuid]), ("command", [command.uuid])]:
        assert client.get(url(name, *args)).status_code == 200, name
    for name, args in [
        ("station_new", []),
        ("station_edit", [station.uuid]),
        ("site_new", []),
        ("site_edit", [site.uuid]),
    ]:
        assert client.get(url(name, *args)).status_code == (200 if role in EDITORS else 403), name
    for name in POSTS:
        assert client.get(url(name, station.uuid)).status_code == 405, name
        if role not in EDITORS:
            assert client.post(url(name, station.uuid)).status_code == 403, name
    if role not in EDITORS:
        for name, args in [("site_retire", [site.uuid]), ("stations_bulk", []), ("refused_adopt", [])]:
            assert client.post(url(name, *args)).status_code == 403, name
        assert client.post(url("command_again", command.uuid)).status_code == 403
    station.refresh_from_db()
    assert (station.retired_at, station.commands.count()) == (None, 1)


def test_a_stranger_finds_nothing(stranger: Membership, site: Site, station: Station, browser: Any) -> None:
    client = browser(stranger)
    command = Command.objects.create(station=station, command="reset", requested_by="x", requested_at=NOW)
    for name in [*OF_STATION, "station_edit"]:
        assert client.get(url(name, station.uuid)).status_code == 404, name
    for name in POSTS:
        assert client.post(url(name, station.uuid), {"command": "reset"}).status_code == 404, name
    for name, args in [("site", [site.uuid]), ("site_edit", [site.uuid]), ("command", [command.uuid])]:
        assert client.get(url(name, *args)).status_code == 404, name
    for name, args in [("site_retire", [site.uuid]), ("command_again", [command.uuid])]:
        assert client.post(url(name, *args)).status_code == 404, name
    client.post(url("stations_bulk"), {"action": "reset", "station": [str(station.uuid)]})
    for name in OPEN_PAGES:
        answer = client.get(url(name), {"c": str(command.uuid)})
        text = b"".join(answer) if answer.streaming else answer.content
        assert b"CP-1" not in text, name
        assert b"Harbour" not in text, name
    station.refresh_from_db()
    assert (station.retired_at, station.commands.count()) == (None, 1)


def test_nobody_comes_in_without_logging_in(station: Station, client: Client) -> None:
    for name, args in [*((name, []) for name in OPEN_PAGES), *((name, [station.uuid]) for name in OF_STATION)]:
        assert client.get(url(name, *args)).status_code == 302, name


def test_a_technician_of_another_site_finds_nothing(tenant: Operator, station: Station, browser: Any) -> None:
    elsewhere = make_site(tenant)
    client = browser(make_member(tenant, Role.TECHNICIAN, all_sites=False, site_ids=[elsewhere.pk]))
    assert client.get(url("station", station.uuid)).status_code == 404
    assert "CP-1" not in words(client.get(url("stations")))
    answer = client.post(url("command_new", station.uuid), {"command": "clear_cache"})
    assert (answer.status_code, station.commands.count()) == (404, 0)


# --- the live fleet --------------------------------------------------------------------------------------


def test_the_page_of_the_fleet(page: Client, station: Station) -> None:
    charge(station)
    Connector.objects.filter(evse__number=1).update(status=State.CHARGING)
    StationEvent.objects.create(
        operator=station.operator, station=station, evse=1, kind="status", facts={"status": "Charging"}, at=NOW
    )
    answer = page.get(url("stations"))
    text = words(answer)
    assert "1 station at 1 site." in text
    assert "Rotterdam, Waalhaven" in text
    assert "1 session" in text
    assert "142 kW" in text
    assert answer.context["kpis"]["in_use"] == 1
    assert [(tab["label"], tab["count"]) for tab in answer.context["tabs"]] == [
        ("All", 1),
        ("Needs attention", 0),
        ("In use", 1),
        ("Not connected", 0),
    ]
    assert "Harbour Quay 1, connector 1" in text


@pytest.mark.parametrize("count", [10, 100])
def test_the_page_takes_no_more_queries_for_more_stations(
    page: Client, site: Site, django_assert_max_num_queries: Any, count: int
) -> None:
    for number in range(count):
        one = connect(make_station(site, connectors=2))
        charge(one, transaction_ref=f"t{number}", start_key=f"k{number}")
        StationEvent.objects.create(operator=one.operator, station=one, kind="booted", at=NOW)
    page.get(url("stations"))
    cache.clear()
    with django_assert_max_num_queries(15):
        answer = page.get(url("stations"), {"size": "50"})
    assert len(answer.context["page"].object_list) == min(count, 50)


def test_slow_figures_come_with_the_fragment_and_are_remembered(page: Client, station: Station) -> None:
    first = page.get(url("stations"))
    assert first.context["kpis"]["incomplete"]
    assert 'hx-trigger="load, stale"' in first.content.decode()
    assert page.get(url("stations_kpis")).status_code == 200
    again = page.get(url("stations"))
    assert not again.context["kpis"]["incomplete"]
    assert again.context["kpis"]["availability"] == 1


def test_all_choices_stand_in_the_address(page: Client, site: Site) -> None:
    for number in range(12):
        make_station(site, f"ST-{number:02}", model="M1" if number else "M2")
    answer = page.get(url("stations"), {"model": "M1", "page": "2"})
    assert [row["identity"] for row in answer.context["page"].object_list] == ["ST-11"]
    assert "model=M1" in answer.context["fragments"]["rows"]
    rows = page.get(answer.context["fragments"]["rows"])
    assert "ST-11" in words(rows)
    assert "ST-10" not in words(rows)


def test_the_open_station_is_part_of_the_address(page: Client, station: Station) -> None:
    answer = page.get(url("stations"), {"open": str(station.uuid)})
    assert answer.context["panel"]["identity"] == "CP-1"
    assert [row["selected"] for row in answer.context["page"].object_list] == [True]
    assert page.get(url("stations"), {"open": "nonsense"}).context["panel"] is None


def test_an_empty_fleet_says_what_to_do(page: Client) -> None:
    text = words(page.get(url("stations")))
    assert "No charger yet" in text
    assert "No station fits" in words(page.get(url("stations"), {"q": "x"}))


def test_the_export_holds_no_formula(page: Client, station: Station) -> None:
    Station.objects.update(vendor="=HYPERLINK(1)", model="-1+2")
    answer = page.get(url("stations_export"))
    assert answer["Content-Type"].startswith("text/csv")
    lines = answer.content.decode().splitlines()
    assert lines[0].startswith("identity,name,site")
    assert lines[1].startswith("CP-1,Harbour Quay 1,Waalhaven,'=HYPERLINK(1),'-1+2,")


def test_those_without_the_right_see_no_buttons(station: Station, viewer: Membership, browser: Any) -> None:
    client = browser(viewer)
    listed = client.get(url("stations"))
    assert listed.context["bulk"] is None
    assert listed.context["add_url"] == ""
    shown = client.get(url("station", station.uuid))
    assert [action["label"] for action in shown.context["station"]["actions"]] == ["OCPP log"]


# --- one station -----------------------------------------------------------------------------------------


def test_a_driver_is_named_to_those_who_may_know(
    tenant: Operator, station: Station, browser: Any, owner: Membership, viewer: Membership
) -> None:
    charge(station, driver=make_driver(tenant, name="Dana Driver"))
    assert "Dana Driver" in words(browser(owner).get(url("station", station.uuid)))
    text = words(browser(viewer).get(url("station", station.uuid)))
    assert "Dana Driver" not in text
    assert "Card ending 8831" in text
    assert "43.2 kWh" in text


def test_stopping_tells_its_effect(page: Client, station: Station) -> None:
    charge(station)
    tile = page.get(url("station", station.uuid)).context["station"]["tiles"][0]
    (stop,) = tile["actions"]
    assert stop["label"] == "Stop"
    assert "43.2\xa0kWh" in stop["confirm"]["effect"]
    assert "billed" in stop["confirm"]["effect"]


def test_a_station_that_is_away_offers_nothing_and_says_why(page: Client, site: Site) -> None:
    away = make_station(site, "AWAY", connectors=1)
    actions = page.get(url("station", away.uuid)).context["station"]["actions"]
    assert {action["label"]: action.get("disabled", "") for action in actions if action["label"] == "Start"} == {
        "Start": "The charger is not connected."
    }


def test_a_fault_is_told_in_words(page: Client, station: Station) -> None:
    Connector.objects.filter(evse__number=2).update(
        status=State.FAULTED, error_code="GroundFailure", info="PE open", since=NOW - dt.timedelta(minutes=14)
    )
    text = words(page.get(url("station", station.uuid)))
    assert "Ground failure" in text
    assert "PE open" in text


def test_the_power_curve_is_json(page: Client, station: Station) -> None:
    station.evses.update(max_power_w=22_000)
    curve = page.get(url("station_series", station.uuid)).json()
    assert curve["unit"] == "kW"
    assert len(curve["times"]) == len(curve["series"][0]["values"]) == 60
    assert curve["series"][1]["values"][0] == 44


def test_a_retired_station_has_no_page(page: Client, station: Station) -> None:
    Station.objects.update(retired_at=NOW)
    assert page.get(url("station", station.uuid)).status_code == 404


def test_the_configuration_as_reported(page: Client, station: Station) -> None:
    assert "Not read yet" in words(page.get(url("station_configuration", station.uuid)))
    for key, value, readonly in [("HeartbeatInterval", "300", False), ("ChargeProfileMaxStackLevel", "9", True)]:
        Setting.objects.create(station=station, key=key, value=value, readonly=readonly, reported_at=NOW)
    answer = page.get(url("station_configuration", station.uuid), {"q": "heart"})
    assert [one.key for one in answer.context["settings"]] == ["HeartbeatInterval"]
    prefilled = page.get(url("station_configuration", station.uuid), {"key": "HeartbeatInterval", "value": "300"})
    assert 'value="HeartbeatInterval"' in prefilled.content.decode()


# --- commands --------------------------------------------------------------------------------------------


def test_a_command_from_the_page_is_answered_in_place(page: Client, station: Station) -> None:
    asked = {"command": "reset", "kind": "soft"}
    answer = page.post(url("command_new", station.uuid), asked, headers=HTMX)
    row = Command.objects.get()
    assert (row.command, row.arguments, row.status) == ("reset", {"kind": "soft"}, "queued")
    assert row.requested_by == "Owner"
    assert "Reset, soft Waiting to be sent" in words(answer)
    assert f'hx-get="{url("command", row.uuid)}"' in answer.content.decode()


def test_without_scripts_the_list_of_commands_answers(page: Client, station: Station) -> None:
    answer = page.post(url("command_new", station.uuid), {"command": "clear_cache"})
    assert (answer.status_code, answer["Location"]) == (302, url("station_commands", station.uuid))
    assert "Clear the card cache" in words(page.get(answer["Location"]))


@pytest.mark.parametrize(
    ("posted", "text"),
    [
        ({"command": "start", "connector": "1"}, "This field is required."),
        ({"command": "start", "connector": "9", "token": "T"}, "Select a valid choice."),
        ({"command": "raw", "action": "Reset", "payload": "{"}, "Not JSON"),
        ({"command": "raw", "action": "Reset", "payload": "[]"}, "A JSON object is required."),
        ({"command": "stop", "session": "x"}, "is no id"),
    ],
)
def test_a_wrong_form_asks_nothing(page: Client, station: Station, posted: dict, text: str) -> None:
    for headers in ({}, HTMX):
        answer = page.post(url("command_new", station.uuid), posted, headers=headers)
        assert (answer.status_code, text in words(answer)) == (400, True)
    assert not Command.objects.exists()


def test_an_unknown_word_asks_nothing(page: Client, station: Station) -> None:
    assert page.post(url("command_new", station.uuid), {"command": "dance"}).status_code == 400
    assert not Command.objects.exists()


def test_a_raw_call_shows_what_the_schema_says(page: Client, station: Station) -> None:
    asked = {"command": "raw", "action": "Reset", "payload": '{"type":"Gentle"}'}
    text = words(page.post(url("command_new", station.uuid), asked, headers=HTMX))
    assert "Not sent" in text
    assert "Not valid in OCPP 1.6" in text


def test_a_command_may_wait_for_a_station_that_is_away(page: Client, site: Site) -> None:
    away = make_station(site, "AWAY")
    refused = page.post(url("command_new", away.uuid), {"command": "clear_cache"}, headers=HTMX)
    assert "offline" in words(refused)
    assert "Wait until the charger is back" in words(refused)
    waiting = page.post(url("command_new", away.uuid), {"command": "clear_cache", "queue": "on"}, headers=HTMX)
    assert "Waiting to be sent" in words(waiting)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"status": "queued"}, "Waiting to be sent"),
        ({"status": "sent"}, "Sent, no answer yet"),
        ({"status": "accepted", "word": "Accepted"}, "Charger answered Accepted"),
        ({"status": "rejected", "word": "Rejected"}, "A hard reset does not wait for its end."),
        ({"status": "error", "error_code": "NotSupported"}, "This charger cannot do that."),
        ({"status": "timed_out", "error_code": "timed_out"}, "is connected but did not answer"),
        ({"status": "timed_out", "error_code": "connection_lost"}, "It may have done it all the same."),
        ({"status": "expired"}, "It waited too long."),
        (
            {"status": "accepted", "effect_state": "pending", "effect_what": "booted"},
            "Waiting to see: the charger starts up again",
        ),
        (
            {
                "status": "accepted",
                "effect_state": "observed",
                "effect_what": "booted",
                "finished_at": NOW,
                "effect_at": NOW + dt.timedelta(seconds=41),
            },
            "It started up again, 41 s after its answer",
        ),
        (
            {"status": "accepted", "effect_state": "not_observed", "effect_what": "booted"},
            "Not seen in time: the charger starts up again",
        ),
    ],
)
def test_what_became_of_a_command_is_told(page: Client, station: Station, fields: dict, text: str) -> None:
    row = Command.objects.create(
        station=station, command="reset", arguments={"kind": "soft"}, requested_by="x", requested_at=NOW, **fields
    )
    answer = page.get(url("command", row.uuid))
    assert text in words(answer)
    settled = fields["status"] not in {"queued", "sent"} and fields.get("effect_state") != "pending"
    assert ("hx-get" not in answer.content.decode().split("<form")[0]) == settled


def test_asking_again(page: Client, station: Station) -> None:
    first = Command.objects.create(
        station=station,
        command="reset",
        arguments={"kind": "hard"},
        status="expired",
        requested_by="x",
        requested_at=NOW,
    )
    page.post(url("command_again", first.uuid), headers=HTMX)
    again = Command.objects.exclude(pk=first.pk).get()
    assert (again.command, again.arguments, again.status) == ("reset", {"kind": "hard"}, "queued")


def test_a_secret_cannot_be_asked_again(page: Client, station: Station) -> None:
    first = Command.objects.create(
        station=station,
        command="set_configuration",
        arguments={"key": "AuthorizationKey", "value": "***"},
        status="expired",
        requested_by="x",
        requested_at=NOW,
    )
    assert page.post(url("command_again", first.uuid), headers=HTMX).status_code == 409
    assert Command.objects.count() == 1


def test_many_stations_are_asked_at_once(page: Client, site: Site, station: Station) -> None:
    away = make_station(site, "AWAY")
    answer = page.post(url("stations_bulk"), {"action": "out", "station": [str(station.uuid), str(away.uuid)]})
    assert answer.status_code == 302
    result = page.get(answer["Location"])
    assert {row["command"].station.identity: row["command"].status for row in result.context["rows"]} == {
        "CP-1": "queued",
        "AWAY": "refused",
    }
    assert (result.context["done"], result.context["failed"], result.context["is_settled"]) == (1, 1, False)
    assert Command.objects.get(station=station).arguments == {"operative": False}
    part = page.get(answer["Location"] + "&part=rows")
    assert "<html" not in part.content.decode()


@pytest.mark.parametrize("posted", [{"action": "explode"}, {"action": "reset", "station": ["x"]}, {}])
def test_a_bulk_command_needs_stations_and_a_word(page: Client, station: Station, posted: dict) -> None:
    assert page.post(url("stations_bulk"), posted)["Location"] == url("stations")
    assert not Command.objects.exists()


# --- setting up ------------------------------------------------------------------------------------------


def new_station(site: Site, **fields: Any) -> dict[str, Any]:
    return {"site": str(site.uuid), "identity": "NEW-1", "security_profile": "1"} | fields


def test_the_wizard_shows_address_and_password_once(page: Client, site: Site) -> None:
    answer = page.post(url("station_new"), new_station(site, name="New one", connectors="2"))
    station = Station.objects.get()
    assert (station.name, station.registration, station.evses.count()) == ("New one", "accepted", 2)
    password = answer.context["password"]
    assert len(password) == 40
    text = words(answer)
    assert password in text
    assert "ws://localhost:8000/ocpp/NEW-1" in text
    assert answer["Cache-Control"] == "no-store"
    assert answer.context["dial"] == {
        "url": "ws://localhost:8000/ocpp/NEW-1",
        "base": "ws://localhost:8000/ocpp/",
        "host": "localhost",
        "port": "8000",
        "path": "/ocpp/NEW-1",
        "tls": False,
    }
    assert password not in words(page.get(url("station_connection", station.uuid)))


@pytest.mark.parametrize(
    ("public", "port", "tls"), [("https://ev.example.com", "443", True), ("http://10.0.0.1", "80", False)]
)
def test_the_port_is_told_even_where_it_is_the_usual_one(
    page: Client, station: Station, settings: Any, public: str, port: str, tls: bool
) -> None:
    settings.PUBLIC_URL = public
    dial = page.get(url("station_connection", station.uuid)).context["dial"]
    assert (dial["port"], dial["tls"], dial["host"]) == (port, tls, public.partition("://")[2])


def test_what_is_wrong_stands_beside_its_field(page: Client, site: Site, station: Station) -> None:
    taken = page.post(url("station_new"), new_station(site, identity="cp-1"))
    assert taken.context["form"].errors == {"identity": ["This identity is taken."]}
    wrong = page.post(url("station_new"), new_station(site, identity="a:b"))
    assert set(wrong.context["form"].errors) == {"identity"}
    short = page.post(url("station_new"), new_station(site, password="short"))
    assert set(short.context["form"].errors) == {"password"}
    assert Station.objects.count() == 1


def test_the_first_charger_needs_a_site_first(page: Client) -> None:
    answer = page.get(url("station_new"))
    assert answer["Location"] == f"{url('site_new')}?then=station"
    made = page.post(
        answer["Location"], {"name": "Pier", "country": "DE", "time_zone": "Europe/Berlin", "power_limit_kw": "90.5"}
    )
    assert made["Location"] == url("station_new")
    assert Site.objects.get().power_limit_w == 90_500


def test_the_checklist_follows_the_charger(page: Client, site: Site) -> None:
    station = make_station(site, "NEW-1")

    def done() -> list[bool]:
        return [step["done"] for step in page.get(url("station_waiting", station.uuid)).context["steps"]]

    assert done() == [False] * 6
    knock(site.operator, "NEW-1", station=station, reason="wrong_password")
    answer = page.get(url("station_waiting", station.uuid))
    assert done() == [True, False, False, False, False, False]
    assert "Its password is wrong." in words(answer)
    connect(station)
    assert done() == [True, True, True, False, False, False]
    Station.objects.update(booted_at=NOW)
    evse = station.evses.create(number=1)
    Connector.objects.create(evse=evse, number=1, status="Available", reported_at=NOW)
    answer = page.get(url("station_waiting", station.uuid))
    assert done() == [True, True, True, True, True, False]
    assert answer.context["is_complete"]
    assert "every 2s" not in answer.content.decode()


def test_an_unknown_charger_is_adopted_with_one_click(page: Client, site: Site) -> None:
    knock(site.operator, "STRAY-1")
    knock(site.operator, "STRAY-1", address="10.0.0.10", credential="t1$presented")
    make_station(site, "STRAY-2")
    shown = page.get(url("refused"))
    assert "STRAY-1" in words(shown)
    assert "Did it mean STRAY-2 ?" in words(shown)
    page.post(url("refused_adopt"), {"identity": "STRAY-1", "site": str(site.uuid), "name": "Stray"})
    station = Station.objects.get(identity="STRAY-1")
    assert (station.registration, station.credential, station.name) == ("pending", "t1$presented", "Stray")
    assert "Waiting to be let in" in words(page.get(url("refused")))
    page.post(url("station_registration", station.uuid), {"registration": "accepted"})
    station.refresh_from_db()
    assert station.registration == "accepted"


def test_what_knocked_elsewhere_cannot_be_adopted(page: Client, site: Site, other_tenant: Operator) -> None:
    knock(other_tenant, "STRAY-1")
    answer = page.post(url("refused_adopt"), {"identity": "STRAY-1", "site": str(site.uuid)})
    assert answer.status_code == 404
    assert "STRAY-1" not in words(page.get(url("refused")))
    theirs = make_site(other_tenant)
    knock(site.operator, "STRAY-2")
    page.post(url("refused_adopt"), {"identity": "STRAY-2", "site": str(theirs.uuid)})
    assert not Station.objects.exists()


def test_a_charger_that_names_no_version_gets_one(page: Client, station: Station) -> None:
    knock(station.operator, "CP-1", station=station, reason="no_subprotocol")
    assert "did not say which version" in words(page.get(url("refused")))
    page.post(url("station_version", station.uuid), {"default_subprotocol": "ocpp1.6"})
    station.refresh_from_db()
    assert station.default_subprotocol == "ocpp1.6"


def test_a_new_password_is_shown_once(page: Client, station: Station) -> None:
    answer = page.post(url("station_password", station.uuid))
    assert len(answer.context["password"]) == 40
    assert AuditEntry.objects.filter(action="station.password_set").count() == 1


def test_a_station_is_changed(page: Client, station: Station) -> None:
    other = make_site(station.operator)
    form = {
        "name": "One",
        "site": str(other.uuid),
        "security_profile": "1",
        "max_power_kw": "22",
        "default_subprotocol": "",
        "compression": "on",
    }
    answer = page.post(url("station_edit", station.uuid), form)
    assert answer["Location"] == url("station", station.uuid)
    station.refresh_from_db()
    assert (station.name, station.site, station.max_power_w) == ("One", other, 22_000)
    wrong = page.post(url("station_edit", station.uuid), form | {"name": "", "ping_seconds": "1"})
    assert set(wrong.context["form"].errors) == {"name", "ping_seconds"}


def test_retiring_takes_a_station_from_the_list(page: Client, station: Station) -> None:
    assert page.post(url("station_retire", station.uuid))["Location"] == url("stations")
    assert "No charger yet" in words(page.get(url("stations")))


def test_a_site_is_made_changed_and_retired(page: Client, tenant: Operator) -> None:
    form = {"name": "Pier", "country": "NL", "time_zone": "Europe/Amsterdam", "city": "Delft"}
    made = page.post(url("site_new"), form)
    site = Site.objects.get()
    assert made["Location"] == url("site", site.uuid)
    page.post(url("site_edit", site.uuid), form | {"power_limit_kw": "50", "latitude": "52", "longitude": "4"})
    site.refresh_from_db()
    assert (site.power_limit_w, site.latitude) == (50_000, 52)
    assert "Pier" in words(page.get(url("sites")))
    wrong = page.post(url("site_edit", site.uuid), form | {"latitude": "52", "longitude": ""})
    assert set(wrong.context["form"].errors) == {"longitude"}
    make_station(site)
    refused = page.post(url("site_retire", site.uuid))
    assert (refused.status_code, "Stations belong to this site" in words(refused)) == (409, True)
    Station.objects.update(retired_at=NOW)
    page.post(url("site_retire", site.uuid))
    assert "Pier" not in words(page.get(url("sites"))).replace("The site is retired.", "")


def test_sites_show_what_they_draw(page: Client, station: Station) -> None:
    charge(station)
    (row,) = page.get(url("sites")).context["rows"]
    assert (row["power_w"], row["site"].station_count, row["site"].free_count) == (142_000, 1, 2)


# --- the log ---------------------------------------------------------------------------------------------


def frame(station: Station, action: str = "Heartbeat", **fields: Any) -> Frame:
    given = {"at": NOW, "direction": 0, "kind": 2, "action": action, "text": f'[2,"m","{action}",{{}}]'}
    return Frame.objects.create(station=station, **given | fields)


def test_a_call_stands_with_its_answer(page: Client, station: Station) -> None:
    frame(station, "Authorize", answer='[3,"m",{}]', answer_ms=7)
    frame(station, "Reset", direction=1, message_id="x1")
    frame(station, "Reset", kind=3, message_id="x1", text='[3,"x1",{}]', at=NOW + dt.timedelta(milliseconds=250))
    frame(station, "", kind=3, message_id="x9", text='[3,"x9",{}]', note="nobody asked")
    shown = page.get(url("station_log", station.uuid)).context["frames"]
    assert [(one["action"], one["answer"], one["latency_ms"], one["note"]) for one in shown] == [
        ("", "", None, "nobody asked"),
        ("Reset", '[3,"x1",{}]', 250, ""),
        ("Authorize", '[3,"m",{}]', 7, ""),
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["D", "C", "B", "A"]),
        ({"station": "CP-1"}, ["C", "B", "A"]),
        ({"direction": "out"}, ["B"]),
        ({"action": "a"}, ["A"]),
        ({"kind": "errors"}, ["C"]),
        ({"q": "needle"}, ["A"]),
        ({"until": "2000-01-01"}, []),
        ({"since": "2000-01-01", "action": "D"}, ["D"]),
    ],
)
def test_the_log_is_narrowed(page: Client, site: Site, station: Station, query: dict, found: list[str]) -> None:
    frame(station, "A", answer='[3,"m",{"needle":1}]')
    frame(station, "B", direction=1)
    frame(station, "C", answer='[4,"m","FormatViolation","",{}]')
    frame(make_station(site, "CP-2"), "D")
    assert [one["action"] for one in page.get(url("messages"), query).context["frames"]] == found


def test_the_log_is_read_page_by_page(page: Client, station: Station) -> None:
    for number in range(60):
        frame(station, f"A{number}")
    first = page.get(url("station_log", station.uuid))
    assert len(first.context["frames"]) == 50
    older = page.get(url("station_log", station.uuid) + first.context["older_url"])
    assert [one["action"] for one in older.context["frames"]] == [f"A{n}" for n in range(9, -1, -1)]
    assert older.context["newer_url"]
    assert str(Frame.objects.order_by("pk")[10].pk) not in first.context["older_url"].replace("%", "")[:12]
    assert page.get(url("station_log", station.uuid), {"before": "made-up"}).status_code == 200


def test_a_token_in_a_command_is_told_by_its_end(page: Client, tenant: Operator, station: Station) -> None:
    make_token(tenant, "04A1B2C3D4E5F6")
    page.post(url("command_new", station.uuid), {"command": "start", "connector": "1", "token": "04A1B2C3D4E5F6"})
    text = words(page.get(url("station_commands", station.uuid)))
    assert "Start, connector 1, card ending E5F6" in text
    assert "04A1B2C3" not in text


# --- the workbench of the staff --------------------------------------------------------------------------


def test_the_admin_shows_rows_and_no_secret(staff: Any, browser: Any, station: Station) -> None:
    Station.objects.update(credential="t1$digest-of-its-password")
    frame(station)
    Command.objects.create(
        station=station, command="reset", arguments={"sealed": "t1$cipher"}, requested_by="x", requested_at=NOW
    )
    knock(station.operator, "STRAY", credential="t1$digest-of-another")
    client = browser(staff)
    for model in ("site", "station", "connector", "command", "setting", "frame", "refusedconnection", "gateway"):
        answer = client.get(reverse(f"admin:stations_{model}_changelist"))
        assert answer.status_code == 200, model
    for row in (station, Command.objects.get(), RefusedConnection.objects.get()):
        answer = client.get(reverse(f"admin:stations_{row._meta.model_name}_change", args=[row.pk]))
        assert answer.status_code == 200
        assert "t1$" not in answer.content.decode()
