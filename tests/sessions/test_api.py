"""Sessions over the REST API: the fields others rely on, one operator's rows, a fixed number of queries."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Driver, Operator
from accounts.roles import Role
from stations.models import Station
from tests.factories import make_driver, make_token
from tests.people import Program
from tests.sessions import scene

URL = "/api/v1/sessions/"


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["results"]]


@pytest.mark.django_db
class TestShape:
    def test_an_ended_session_with_its_price(self, pole: Station, driver: Driver, program: Program) -> None:
        session = scene.ended(pole, driver)
        answer = program().get(f"{URL}{session.uuid}/")
        assert answer.status_code == 200
        assert answer.json() == {
            "id": str(session.uuid),
            "station": pole.identity,
            "evse": 1,
            "connector": 1,
            "token": session.token_shown,
            "transaction_id": session.transaction_ref,
            "started_at": "2026-11-10T17:00:00Z",
            "stopped_at": "2026-11-10T18:00:00Z",
            "stop_reason": "Local",
            "meter_start_wh": "120000",
            "meter_stop_wh": "151204",
            "energy_wh": "31204",
            "status": "ended",
            "review": [],
            "cost": {
                "currency": "EUR",
                "excl_vat": "12.85",
                "vat": "2.44",
                "incl_vat": "15.29",
                "lines": [
                    {
                        "type": "ENERGY",
                        "quantity": "31.204",
                        "unit": "kWh",
                        "unit_price": "0.49",
                        "excl_vat": "12.85",
                        "vat": "2.44",
                        "incl_vat": "15.29",
                        "vat_rate": "19",
                        "from": "2026-11-10T17:00:00Z",
                        "to": "2026-11-10T18:00:00Z",
                        "reason": "energy",
                    }
                ],
            },
        }

    def test_a_running_session_has_no_price_yet(self, pole: Station, program: Program) -> None:
        session = scene.running(pole, kwh="1.5")
        shape = program().get(f"{URL}{session.uuid}/").json()
        assert (shape["status"], shape["stopped_at"], shape["meter_stop_wh"]) == ("active", None, None)
        assert (shape["energy_wh"], shape["cost"], shape["token"]) == ("1500", None, None)

    def test_a_held_session_tells_why(self, pole: Station, program: Program) -> None:
        session = scene.ended(pole, review=["jump", "clock_offset"])
        shape = program().get(f"{URL}{session.uuid}/").json()
        assert (shape["review"], shape["cost"]) == (["jump", "clock_offset"], None)

    def test_an_end_without_a_start_has_no_transaction_id(self, pole: Station, program: Program) -> None:
        scene.ended(pole, transaction_ref="orphan:0123456789abcdef01234567", review=["orphan_stop"])
        assert program().get(URL).json()["results"][0]["transaction_id"] is None

    def test_money_in_the_currency_s_own_digits(self, tenant: Operator, program: Program) -> None:
        body = scene.world.price_list("55", currency="JPY", tax_included="NO", vat="10")
        scene.publish(tenant, body)
        scene.ended(scene.station(tenant), currency="JPY")
        cost = program().get(URL).json()["results"][0]["cost"]
        assert (cost["currency"], cost["excl_vat"], cost["vat"], cost["incl_vat"]) == ("JPY", "1716", "172", "1888")


@pytest.mark.django_db
class TestWho:
    @pytest.mark.parametrize(
        ("role", "sees_token", "sees_cost"),
        [
            (Role.OWNER, True, True),
            (Role.ADMIN, True, True),
            (Role.OPERATOR, True, True),
            (Role.FINANCE, True, True),
            (Role.TECHNICIAN, False, False),
            (Role.VIEWER, False, True),
        ],
    )
    def test_each_role(
        self, pole: Station, driver: Driver, program: Program, role: Role, sees_token: bool, sees_cost: bool
    ) -> None:
        session = scene.ended(pole, driver)
        client = program(role)
        for shape in (client.get(f"{URL}{session.uuid}/").json(), client.get(URL).json()["results"][0]):
            assert shape["token"] == (session.token_shown if sees_token else f"…{session.token_shown[-4:]}")
            assert (shape["cost"] is not None) == sees_cost
        assert client.get(URL, {"token": session.token_shown}).status_code == (200 if sees_token else 403)

    def test_another_operator_s_sessions_do_not_exist(
        self, pole: Station, program: Program, other_tenant: Operator
    ) -> None:
        session = scene.ended(pole)
        stranger = program(Role.OWNER, other_tenant)
        assert stranger.get(URL).json()["results"] == []
        for path in ("", "readings/", "messages/"):
            assert stranger.get(f"{URL}{session.uuid}/{path}").status_code == 404
        assert stranger.get(URL, {"station": pole.identity}).json()["results"] == []

    def test_without_a_key(self, pole: Station, client: Any) -> None:
        session = scene.ended(pole)
        for path in ("", f"{session.uuid}/", f"{session.uuid}/readings/", f"{session.uuid}/messages/"):
            assert client.get(URL + path).status_code == 401


@pytest.mark.django_db
class TestFilters:
    def test_station_connector_token_status(self, tenant: Operator, pole: Station, program: Program) -> None:
        driver = make_driver(tenant)
        card = make_token(tenant, "04AB", driver=driver)
        mine = scene.ended(pole, token=card, token_shown="04AB")
        pin = make_token(tenant, type="pin", value="482913", driver=driver)
        by_pin = scene.ended(pole, token=pin, token_shown="PIN")
        other = scene.running(scene.station(tenant))
        client = program()
        assert ids(client.get(URL)) == [str(s.uuid) for s in (other, by_pin, mine)]
        assert ids(client.get(URL, {"station": pole.identity})) == [str(by_pin.uuid), str(mine.uuid)]
        assert ids(client.get(URL, {"token": "04ab"})) == [str(mine.uuid)]
        assert ids(client.get(URL, {"token": "482913"})) == [str(by_pin.uuid)]
        assert ids(client.get(URL, {"status": "active"})) == [str(other.uuid)]
        assert ids(client.get(URL, {"connector": "1", "status": "ended"})) == [str(by_pin.uuid), str(mine.uuid)]
        assert ids(client.get(URL, {"connector": "2"})) == []
        assert client.get(URL, {"status": "gone"}).status_code == 400

    def test_from_and_to_are_about_the_start(self, pole: Station, program: Program) -> None:
        session = scene.ended(pole)
        client = program()
        at = "2026-11-10T17:00:00Z"
        assert ids(client.get(URL, {"from": at})) == [str(session.uuid)]
        assert ids(client.get(URL, {"from": "2026-11-10T17:00:01Z"})) == []
        assert ids(client.get(URL, {"to": at})) == []
        assert ids(client.get(URL, {"to": "2026-11-10T17:00:01Z"})) == [str(session.uuid)]
        assert client.get(URL, {"from": "yesterday"}).status_code == 400

    def test_pages(self, pole: Station, program: Program) -> None:
        made = [str(scene.ended(pole, settled=False).uuid) for _ in range(5)]
        client = program()
        first = client.get(URL, {"limit": 2})
        second = client.get(first.json()["next"])
        third = client.get(second.json()["next"])
        assert ids(first) + ids(second) + ids(third) == made[::-1]
        assert third.json()["next"] is None
        assert ids(client.get(second.json()["previous"])) == ids(first)


@pytest.mark.django_db
def test_as_many_queries_for_a_hundred_sessions_as_for_ten(pole: Station, driver: Driver, program: Program) -> None:
    client = program()
    client.get(URL)  # the first call notes that the key is in use
    counts = []
    for made in (10, 90):
        for number in range(made):
            scene.ended(pole, driver) if number % 2 else scene.running(pole, driver, minutes=1)
        with CaptureQueriesContext(connection) as queries:
            assert len(client.get(URL, {"limit": 200}).json()["results"]) >= made
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15


@pytest.mark.django_db
class TestReadings:
    def test_as_reported_in_order(self, pole: Station, program: Program) -> None:
        session = scene.world.session(pole, ended=False)
        at = session.started_at
        scene.reading(
            session, at + scene.MINUTE, "120100.5", context="Sample.Periodic", power_w="7400.0", soc_percent="41.5"
        )
        phases = {"current_l1": "10.20", "current_l2": "16.00", "current_l3": "9.90"}
        volts = {"voltage_l1": "230.00", "voltage_l2": "231.00", "voltage_l3": "232.10"}
        scene.reading(session, at, None, context="Transaction.Begin", other={"Frequency": "50"}, **phases, **volts)
        scene.reading(session, at + 2 * scene.MINUTE, None, context="state", state="SuspendedEV")
        rows = program().get(f"{URL}{session.uuid}/readings/").json()["results"]
        assert rows == [
            {
                "at": "2026-11-10T17:00:00Z",
                "received_at": "2026-11-10T17:00:00Z",
                "context": "Transaction.Begin",
                "energy_wh": None,
                "power_w": None,
                "current_a": "16",
                "voltage_v": "231.03",
                "soc_percent": None,
                "temperature_c": None,
                "other": {
                    "current_l1": "10.2",
                    "current_l2": "16",
                    "current_l3": "9.9",
                    "voltage_l1": "230",
                    "voltage_l2": "231",
                    "voltage_l3": "232.1",
                    "Frequency": "50",
                },
            },
            {
                "at": "2026-11-10T17:01:00Z",
                "received_at": "2026-11-10T17:01:00Z",
                "context": "Sample.Periodic",
                "energy_wh": "120100.5",
                "power_w": "7400",
                "current_a": None,
                "voltage_v": None,
                "soc_percent": "41.5",
                "temperature_c": None,
                "other": None,
            },
        ]

    def test_a_current_of_its_own_comes_before_its_phases(self, pole: Station, program: Program) -> None:
        session = scene.world.session(pole, ended=False)
        scene.reading(
            session, session.started_at, current_a="12.50", current_l1="16", voltage_v="229.9", voltage_l1="1"
        )
        [row] = program().get(f"{URL}{session.uuid}/readings/").json()["results"]
        assert (row["current_a"], row["voltage_v"]) == ("12.5", "229.9")

    def test_pages_do_not_lose_readings_of_one_moment(self, pole: Station, program: Program) -> None:
        session = scene.world.session(pole, ended=False)
        for n in range(7):
            at = session.started_at + dt.timedelta(seconds=n // 3)
            scene.reading(session, at, Decimal(120_000 + n))
        client, url, seen = program(), f"{URL}{session.uuid}/readings/?limit=2", []
        while url:
            page = client.get(url).json()
            seen += [row["energy_wh"] for row in page["results"]]
            url = page["next"]
        assert seen == [str(120_000 + n) for n in range(7)]


@pytest.mark.django_db
def test_the_messages_of_a_session_and_no_others(pole: Station, program: Program) -> None:
    session = scene.ended(pole, settled=False)
    first = scene.frame(session, "StartTransaction", session.started_at)
    scene.frame(session, "StopTransaction", session.stopped_at)
    scene.frame(session, "Heartbeat", session.stopped_at, session_ref="")
    scene.frame(
        scene.ended(scene.station(pole.operator), settled=False, transaction_ref=session.transaction_ref),
        "StopTransaction",
        session.stopped_at,
    )
    rows = program(Role.TECHNICIAN).get(f"{URL}{session.uuid}/messages/").json()["results"]
    assert [row["action"] for row in rows] == ["StopTransaction", "StartTransaction"]
    assert rows[1] == {
        "at": "2026-11-10T17:00:00Z",
        "direction": "in",
        "kind": "call",
        "message_id": "m1",
        "action": "StartTransaction",
        "text": first.text,
        "answer": '[3,"m1",{}]',
        "answer_ms": 4,
        "note": "",
    }
