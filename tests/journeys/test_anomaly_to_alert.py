"""From what a charger says to what somebody does about it: the alert stands on the open page within five seconds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from accounts.models import AuditEntry, IdToken, Membership, Operator
from accounts.roles import Role
from config.celery import app, configured
from config.jobs import EmbeddedJobs
from sessions.models import ChargingSession
from stations.models import Alert
from tests.factories import make_api_key, make_token
from tests.fakes.station import FakeStation
from tests.live_server import Caller, LiveServer, db, eventually

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "0123456789abcdef0123456789abcdef01234567"
CARD = "04A1B2C3D4E5F6"
WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def jobs(server: LiveServer) -> Iterator[None]:
    """Worker and beat as `serve` runs them."""
    configured(app)
    embedded = EmbeddedJobs()
    embedded.start()
    yield
    embedded.stop()


@pytest.fixture(params=["1.6", "2.0.1"])
def version(request: pytest.FixtureRequest) -> Any:
    return request.param


class World:
    """Two stations of a tenant, a card, and the owner in front of the alerts page."""

    def __init__(self, server: LiveServer, tenant: Operator, owner: Membership) -> None:
        self.server, self.owner = server, owner
        _key, self.secret = make_api_key(tenant, Role.OWNER)
        self.card = make_token(tenant, CARD)

    async def prepare(self) -> None:
        api = self.server.api(self.secret)
        site = (await api.post("/api/v1/sites/", {"name": "Quay", "time_zone": "Europe/Berlin"})).json()["id"]
        for identity in ("CP-1", "CP-2"):
            body = {"identity": identity, "site": site, "password": PASSWORD}
            assert (await api.post("/api/v1/stations/", body)).status_code == 201
        self.browser: Caller = await self.server.browser(self.owner)

    def station(self, identity: str, version: Any) -> FakeStation:
        return FakeStation(self.server.ocpp, identity, PASSWORD, version)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """Open the alerts page and its socket."""
        assert (await self.browser.get("/console/alerts/")).status_code == 200
        cookie = f"session={self.browser.session.cookies['session']}"
        headers = {"Cookie": cookie, "Origin": self.server.url}
        async with connect(f"{self.server.live}?topic=alerts", additional_headers=headers) as socket:
            yield Page(self, socket)


class Page:
    """What the open page does: it fetches its list anew whenever it is told that the list is stale."""

    def __init__(self, world: World, socket: Any) -> None:
        self.world, self.socket = world, socket

    async def shows(self, words: str, *, within: float = WITHIN_S, gone: bool = False) -> str:
        """Wait until the list holds ``words`` (or does not any more); return it."""
        deadline = time.monotonic() + within
        text = ""
        while (words in text) == gone or not text:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = json.loads(await self.socket.recv())
                if message["t"] == "stale":
                    assert message["names"] == ["alerts"]
                    text = (await self.world.browser.get("/console/alerts/list/?whole=1")).text
        return text


@pytest.fixture
async def world(server: LiveServer, tenant: Operator, owner: Membership) -> World:
    made = await db(World, server, tenant, owner)
    await made.prepare()
    return made


def open_alert() -> Alert:
    return Alert.objects.get(resolved_at=None)


async def test_a_token_at_two_places_is_blocked_with_one_click(world: World, version: Any) -> None:
    async with (
        world.page() as page,
        world.station("CP-1", version) as first,
        world.station("CP-2", version) as second,
    ):
        for station in (first, second):
            await station.boot()
        assert (await first.authorize(CARD))["status"] == "Accepted"
        running = await first.start(token=CARD, meter=1000)
        refused = await second.start(token=CARD, meter=1000)
        assert (running.status, refused.status) == ("Accepted", "ConcurrentTx")
        shown = await page.shows("One token at two places")
        alert = await db(open_alert)
        assert f"/console/alerts/{alert.uuid}/act/" in shown
        assert "Block the token" in shown

        answer = await world.browser.post(f"/console/alerts/{alert.uuid}/act/", headers={"HX-Request": "true"})
        assert answer.status_code == 200, answer.text
        assert f"Token {world.card.masked} is blocked." in answer.text
        await page.shows("One token at two places", gone=True)
        for station in (first, second):
            assert (await station.authorize(CARD))["status"] == "Blocked"
        assert (await second.start(2, token=CARD, meter=0)).status == "Blocked"
        assert (await first.stop(running, 1500))["idTagInfo" if version == "1.6" else "idTokenInfo"]

    def what_is_left() -> tuple[Any, ...]:
        acted = AuditEntry.objects.get(action="alert.block_token")
        return Alert.objects.count(), Alert.objects.get().resolution, IdToken.objects.get().status, acted.user_id

    assert await db(what_is_left) == (1, "acted", "blocked", world.owner.user_id)


async def test_a_meter_that_runs_backwards_is_seen_while_it_happens(world: World, version: Any) -> None:
    async with world.page() as page, world.station("CP-1", version) as station:
        await station.boot()
        running = await station.start(token=CARD, meter=100_000)
        for register in (100_020, 100_040, 100_000):
            await station.meter(running, register, power=7200)
        shown = await page.shows("Meter ran backwards")
        assert "The meter fell from 100.040\N{NO-BREAK SPACE}kWh to 100.000\N{NO-BREAK SPACE}kWh." in shown
        await station.stop(running, 100_050)
        await asyncio.sleep(2.5)  # one more sweep

    def found() -> tuple[Any, ...]:
        session = ChargingSession.objects.get()
        return session.is_held, [alert.kind for alert in Alert.objects.all()]

    assert await db(found) == (True, ["meter_backwards"])


async def test_a_station_that_is_gone_is_missed_until_it_is_back(world: World, settings: Any) -> None:
    settings.ALERT_SECONDS = {**settings.ALERT_SECONDS, "offline": 1}
    async with world.page() as page:
        station = world.station("CP-1", "1.6")
        await station.connect()
        await station.boot()
        await station.drop()
        await page.shows("Station offline", within=1 + WITHIN_S)
        async with world.station("CP-1", "1.6"):
            await page.shows("Station offline", gone=True)
        assert (await db(Alert.objects.get)).resolution == "over"


async def test_guesses_at_a_password_are_seen(world: World, settings: Any) -> None:
    settings.ALERT_BURST_COUNT = 3
    async with world.page() as page:
        for _guess in range(3):
            with pytest.raises(Exception, match=r"HTTP (401|429)"):
                await FakeStation(world.server.ocpp, "CP-1", "not the password", "1.6").connect()
        shown = await page.shows("Refused log-ins")
        assert "3 refused log-ins as CP-1" in shown
        assert "wrong password" in shown


async def test_cards_that_are_refused_again_and_again_are_seen(world: World, version: Any, settings: Any) -> None:
    settings.ALERT_BURST_COUNT = 3
    async with world.page() as page, world.station("CP-1", version) as station:
        await station.boot()
        for number in range(3):
            assert (await station.authorize(f"DEADBEEF{number}"))["status"] == "Invalid"
        await page.shows("Many refused cards")
        await eventually(lambda: open_alert().facts["cards"] == 3)
