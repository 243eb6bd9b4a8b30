"""Two gateways, a web process, worker and beat on one PostgreSQL and one Redis: hints travel, sockets are fenced."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests

from config.bench.installation import Installation, Process
from config.bench.world import identities
from stations.ocpp.consumer import CLOSE_FENCED
from stations.simulator.wire import LinkClosed
from tests.fakes.station import FakeStation
from tests.live_server import Caller

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.redis]

OFFLINE_WITHIN_S = 20


class Town:
    """The whole installation, and a program that speaks to its web process."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.first, self.second = installation.serve("gateway"), installation.serve("gateway")
        self.web = installation.serve("web")
        self.jobs = [installation.worker(), installation.beat()]
        key = installation.manage("create_api_key", "--operator", "load", "--role", "owner").strip()
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {key}"
        self.api = Caller(self.web.url, session)

    def station(self, number: int, gateway: Process, version: Any = "1.6") -> FakeStation:
        identity, password = identities(number + 1)[number]
        return FakeStation(gateway.ocpp, identity, password, version)

    async def shown(self, station: FakeStation) -> dict[str, Any]:
        answer = await self.api.get(f"/api/v1/stations/{station.identity}/")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def session(self, station: FakeStation) -> dict[str, Any]:
        answer = await self.api.get(f"/api/v1/sessions/?station={station.identity}")
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["results"]
        one: dict[str, Any] = found
        return one

    async def clear_cache_of(self, station: FakeStation) -> str:
        """Ask for something from the web process, answer as the charger, return how it ended."""
        path = f"/api/v1/stations/{station.identity}/commands/?wait=10"
        asking = asyncio.create_task(self.api.post(path, {"command": "clear_cache"}))
        station.reply(await station.expect_call("ClearCache"), {"status": "Accepted"})
        answer = await asking
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])


@pytest.fixture(scope="module")
def built(installed: Callable[..., Installation]) -> Iterator[Town]:
    redis = os.environ.get("REDIS_URL", "")
    if not redis:
        pytest.skip("needs Redis: set REDIS_URL")
    # A Redis database of its own: other workers of this run speak on theirs.
    number = 1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    with installed("postgresql", redis_url=urlunsplit(urlsplit(redis)._replace(path=f"/{number}"))) as installation:
        yield Town(installation)


@pytest.fixture
def town(built: Town) -> Town:
    for process in (built.first, built.second):
        if not process.is_running:
            process.start()
    return built


async def test_a_command_from_the_web_process_reaches_a_station_on_either_gateway(town: Town) -> None:
    async with town.station(0, town.first) as here, town.station(1, town.second, "2.0.1") as there:
        await asyncio.gather(here.boot(), there.boot())
        assert (await town.shown(here))["online"]
        assert await asyncio.gather(town.clear_cache_of(here), town.clear_cache_of(there)) == ["accepted", "accepted"]


async def test_a_charger_that_dials_the_other_gateway_is_fenced_from_the_first(town: Town) -> None:
    async with town.station(2, town.first) as old:
        await old.boot()
        async with town.station(2, town.second) as new:
            await new.boot()
            assert old.link is not None
            with pytest.raises(LinkClosed):
                await old.heartbeat()
            assert old.link.socket.close_code == CLOSE_FENCED
            assert await town.clear_cache_of(new) == "accepted"
            assert [call.action for call in old.received if call.action == "ClearCache"] == []
            assert (await town.shown(new))["online"]


async def test_chargers_of_a_gateway_that_died_are_offline_soon_and_go_on_at_the_other(town: Town) -> None:
    station = town.station(3, town.first)
    bystander = town.station(4, town.first)
    await station.connect()
    await bystander.connect()
    await station.boot()
    await bystander.boot()
    tx = await station.start(1, token=station.identity, meter=1000)
    await station.meter(tx, 1500)
    town.first.kill()
    died = time.monotonic()

    station.url = town.second.ocpp
    await station.connect()
    await station.boot()
    await station.meter(tx, 2500)
    assert await town.clear_cache_of(station) == "accepted"
    await station.stop(tx, 4000)
    ended = await town.session(station)
    assert (ended["status"], float(ended["energy_wh"])) == ("ended", 3000)

    while (await town.shown(bystander))["online"]:
        assert time.monotonic() - died < OFFLINE_WITHIN_S + 2, "still online"
        await asyncio.sleep(0.5)
    while (await town.session(station))["cost"] is None:  # the worker was told by the gateway
        assert time.monotonic() - died < 40, "not billed"
        await asyncio.sleep(0.5)
    await station.close()
    await bystander.close()
    assert all(process.is_running for process in town.jobs)
