"""Live pages: what a page's socket tells, to whom, and that it follows what chargers report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed

from accounts.models import Membership, Operator, User
from accounts.roles import Role
from sessions.models import ChargingSession
from stations import live_pages
from stations.messages import ConnectorState
from stations.models import Connector, Station
from tests.factories import connect, make_member, make_person, make_site, make_station
from tests.fakes.station import FakeStation
from tests.live_server import LiveServer, db
from tests.stations.test_views_console import charge

PASSWORD = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


# --- the topics ------------------------------------------------------------------------------------------


@pytest.fixture
def station(tenant: Operator, db: None) -> Station:
    return connect(make_station(make_site(tenant), "CP-1", connectors=2))


@pytest.mark.django_db
@pytest.mark.parametrize("topic", [live_pages.stations, live_pages.station, live_pages.messages])
def test_every_member_may_watch_and_nobody_else(tenant: Operator, station: Station, topic: Any) -> None:
    for role in Role:
        assert topic(make_member(tenant, role).user, "CP-1", {}) is not None
    assert topic(make_person(), "CP-1", {}) is None
    member = make_member(tenant)
    tenant.suspended_at = station.created_at
    tenant.save()
    assert topic(member.user, "CP-1", {}) is None


@pytest.mark.django_db
def test_a_station_of_others_has_no_topic(stranger: Membership, station: Station, tenant: Operator) -> None:
    assert live_pages.station(stranger.user, "CP-1", {}) is None
    elsewhere = make_member(tenant, Role.TECHNICIAN, all_sites=False, site_ids=[make_site(tenant).pk])
    assert live_pages.station(elsewhere.user, "CP-1", {}) is None
    page = live_pages.stations(stranger.user, "", {})
    assert page is not None
    assert page.group != f"operator.{tenant.pk}"
    assert "state:CP-1" not in page.watches


@pytest.mark.django_db
def test_the_page_of_the_fleet_watches_its_rows(owner: Membership, station: Station) -> None:
    make_station(station.site, "CP-2", model="other")
    page = live_pages.stations(owner.user, "model=other", {})
    assert page is not None
    assert set(page.watches) == {"stations", "feed", "kpis", "alerts", "state:CP-2"}
    assert page.watches["stations"] == ""  # a meter value moves numbers, it fetches nothing
    opened = live_pages.stations(owner.user, f"model=other&open={station.uuid}", {})
    assert opened is not None
    assert opened.watches["station:CP-1"] == "series"


@pytest.mark.django_db
def test_the_strings_of_the_fleet(owner: Membership, station: Station) -> None:
    charge(station)
    Connector.objects.filter(evse__number=1).update(status=ConnectorState.CHARGING)
    page = live_pages.stations(owner.user, "", {})
    assert page is not None
    assert page.slots is not None
    slots = {key: text.replace("\N{NO-BREAK SPACE}", " ") for key, text in page.slots().items()}
    key, tile = f"station:{station.uuid}", f"tile:{station.uuid}:1.1"
    assert slots["kpi:in_use"] == "1"
    assert (slots["kpi:power.value"], slots["kpi:power.unit"]) == ("142", "kW")
    assert (slots[f"{key}:power"], slots[f"{key}:now"]) == ("142 kW", "1 session")
    assert slots[f"{key}:seen"].endswith(" s")
    assert slots[f"{tile}.value"] == "142"
    assert slots[f"{tile}:progress"].startswith("43.2 kWh, 18:")
    assert slots["rail:sessions"] == "1"


@pytest.mark.django_db
def test_strings_follow_the_language_of_the_person(tenant: Operator, station: Station) -> None:
    charge(station)
    german = make_member(tenant, user=make_person(language="de"))
    page = live_pages.station(german.user, "CP-1", {})
    assert page is not None
    assert page.slots is not None
    assert page.slots()[f"tile:{station.uuid}:1.1:progress"].startswith("43,2\N{NO-BREAK SPACE}kWh")


@pytest.mark.django_db
@pytest.mark.parametrize("count", [10, 100])
def test_one_look_serves_all_who_see_the_same(tenant: Operator, count: int) -> None:
    site = make_site(tenant)
    for _ in range(count):
        connect(make_station(site, connectors=2))
    pages = [live_pages.stations(make_member(tenant).user, "size=50", {}) for _ in range(3)]
    with CaptureQueriesContext(connection) as asked:
        for page in pages:
            assert page is not None
            assert page.slots is not None
            page.slots()
    assert len(asked) <= 8


# --- over the socket -------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(server: LiveServer, person: User | Membership | None, topic: str) -> AsyncIterator[Any]:
    headers = {"Origin": server.url}
    if person is not None:
        browser = await server.browser(person)
        headers["Cookie"] = f"session={browser.session.cookies['session']}"
    async with dial(f"{server.live}?topic={topic}", additional_headers=headers) as socket:
        yield socket


async def told(socket: Any, wanted: Any, *, within: float = 6.0) -> dict[str, Any]:
    """Wait for the message that ``wanted`` accepts."""
    async with asyncio.timeout(within):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if wanted(message):
                return message


@pytest.fixture
def fleet(server: LiveServer, tenant: Operator) -> Station:
    from stations import enrolment

    site = make_site(tenant)
    return enrolment.create_station(site, "CP-1", by=None, password=PASSWORD).station


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_a_page_follows_the_charger(server: LiveServer, fleet: Station, owner: Membership, version: Any) -> None:
    key = f"station:{fleet.uuid}"
    async with watching(server, owner, "stations:") as page, FakeStation(server.ocpp, "CP-1", PASSWORD, version) as cp:
        await cp.boot()
        await told(page, lambda m: m["t"] == "stale" and {"feed", "rows"} <= set(m["names"]))
        await cp.status(1)
        tx = await cp.start(1, token=None if version == "2.0.1" else "T1", meter=0)
        await told(page, lambda m: m["t"] == "text" and m["slots"].get(f"{key}:now") == "1 session")
        await cp.meter(tx, 500, power=11_000)
        told_power = await told(page, lambda m: m["t"] == "text" and f"{key}:power" in m["slots"])
        assert told_power["slots"][f"{key}:power"] == "11\N{NO-BREAK SPACE}kW"
    assert await db(ChargingSession.objects.count) == 1


@pytest.mark.django_db(transaction=True)
async def test_a_socket_tells_strangers_nothing(
    server: LiveServer, fleet: Station, stranger: Membership, driver: Any
) -> None:
    for person, topic, code in [
        (stranger, "station:CP-1", 4004),
        (driver.user, "stations:", 4004),
        (stranger, "nonsense", 4004),
        (None, "stations:", 4001),
    ]:
        async with watching(server, person, topic) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code


@pytest.mark.django_db(transaction=True)
async def test_a_page_of_another_site_is_not_let_in(server: LiveServer, fleet: Station, owner: Membership) -> None:
    browser = await server.browser(owner)
    headers = {"Origin": "https://elsewhere.example", "Cookie": f"session={browser.session.cookies['session']}"}
    with pytest.raises(Exception, match="403"):
        async with dial(f"{server.live}?topic=stations:", additional_headers=headers):
            pass


@pytest.mark.django_db(transaction=True)
async def test_the_log_is_downloaded_line_by_line(server: LiveServer, fleet: Station, owner: Membership) -> None:
    async with FakeStation(server.ocpp, "CP-1", PASSWORD, "1.6") as cp:
        await cp.boot()
        await cp.authorize("04A1B2C3D4E5F6")
    browser = await server.browser(owner)
    answer = await browser.get("/console/messages/download.jsonl?action=Authorize")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    (line,) = [json.loads(text) for text in answer.text.splitlines()]
    assert (line["station"], line["direction"], line["kind"], line["action"]) == ("CP-1", "in", "call", "Authorize")
    assert "04A1B2C3D4E5F6" not in answer.text
