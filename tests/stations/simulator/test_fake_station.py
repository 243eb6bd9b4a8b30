"""The fake station of the journey tests, checked against the schemas before anybody relies on it."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from websockets.exceptions import InvalidStatus

from stations.simulator.wire import CallRefused, CallTimedOut, LinkClosed
from tests.fakes.station import FakeStation
from tests.stations.simulator.csms import SILENT, Csms, Refusal, end_reason, end_register, start_register

every_version = pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
AT = dt.datetime(2027, 1, 1, 8, 0, tzinfo=dt.UTC)


@every_version
async def test_a_whole_life_with_explicit_times(csms: Csms, version):
    csms.passwords = {"CP 1": "secret"}
    async with FakeStation(csms.url, "CP 1", "secret", version) as station:
        assert (await station.boot())["status"] == "Accepted"
        await station.heartbeat()
        await station.status(1, "Available", at=AT)
        assert (await station.authorize("TAG1"))["status"] == "Accepted"
        assert (await station.authorize("NOBODY"))["status"] in ("Invalid", "Unknown")
        tx = await station.start(connector=1, token="TAG1", meter=1000, at=AT)
        assert tx.status == "Accepted"
        await station.meter(tx, 2500, power=11000, current=16, voltage=230, soc=50, at=AT + dt.timedelta(minutes=10))
        await station.stop(tx, 5000, at=AT + dt.timedelta(minutes=30))
    assert start_register(csms.starts()[0]) == 1000
    assert end_register(csms.ends()[0]) == 5000
    assert end_reason(csms.ends()[0]) == "Local"
    assert csms.registers() == [2500]
    assert csms.samples("Power.Active.Import") == [11000]
    assert csms.starts()[0].payload["timestamp"] == "2027-01-01T08:00:00.000Z"
    assert csms.ends()[0].payload["timestamp"] == "2027-01-01T08:30:00.000Z"
    if version == "1.6":
        assert tx.ref == 101
        assert csms.ends()[0].payload["transactionId"] == 101
    else:
        assert [call.payload["seqNo"] for call in csms.of("TransactionEvent")] == [0, 1, 2]


@every_version
async def test_calls_of_the_csms_wait_for_the_test(csms: Csms, version):
    async with FakeStation(csms.url, "CP", None, version) as station:
        await station.boot()
        asked = asyncio.create_task(csms.call("CP", "ClearCache", {}))
        incoming = await station.expect_call("ClearCache")
        assert incoming.payload == {}
        station.reply(incoming, {"status": "Rejected"})
        assert await asked == {"status": "Rejected"}

        asked = asyncio.create_task(csms.call("CP", "ClearCache", {}))
        station.refuse(await station.expect_call("ClearCache"), "InternalError", "out of order")
        with pytest.raises(Refusal) as refusal:
            await asked
        assert refusal.value.code == "InternalError"
        with pytest.raises(AssertionError, match="no ClearCache came"):
            await station.expect_call("ClearCache", within=0.05)


async def test_what_a_csms_asks_of_its_own_accord_is_answered_at_once(csms: Csms):
    async with FakeStation(csms.url, "CP", None, "1.6") as station:
        answer = await csms.call("CP", "GetConfiguration", {"key": ["A"]})
        assert answer == {"configurationKey": [], "unknownKey": ["A"]}
        assert (await station.expect_call("GetConfiguration")).payload == {"key": ["A"]}
    async with FakeStation(csms.url, "CP2", None, "2.0.1"):
        place = {"component": {"name": "X"}, "variable": {"name": "Y"}}
        await csms.call("CP2", "GetVariables", {"getVariableData": [place]})
        await csms.call("CP2", "SetVariables", {"setVariableData": [place | {"attributeValue": "1"}]})
        await csms.call("CP2", "GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"})


async def test_silent_and_late(csms: Csms):
    async with FakeStation(csms.url, "CP") as station:
        station.silent = {"ClearCache"}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await csms.call("CP", "ClearCache", {})
        station.silent = False
        station.answer_delay = 0.2
        station.answers["GetLocalListVersion"] = {"listVersion": 4}
        began = asyncio.get_running_loop().time()
        assert await csms.call("CP", "GetLocalListVersion", {}) == {"listVersion": 4}
        assert asyncio.get_running_loop().time() - began >= 0.2


@pytest.mark.parametrize("ids", ["same_id", "new_id"])
async def test_twice(csms: Csms, ids):
    async with FakeStation(csms.url, "CP") as station:
        station.twice = ids
        tx = await station.start(token="TAG1", meter=5)
    first, second = csms.starts()
    assert first.payload == second.payload
    assert (first.id == second.id) is (ids == "same_id")
    assert tx.ref == 101
    assert [answer["transactionId"] for answer in station.repeated] == [102]


async def test_errors_and_timeouts_reach_the_test(csms: Csms):
    def refuse(payload: dict) -> dict:
        raise Refusal("SecurityError")

    csms.answers |= {"Heartbeat": refuse, "Authorize": SILENT}
    async with FakeStation(csms.url, "CP", timeout=0.2) as station:
        with pytest.raises(CallRefused) as refusal:
            await station.heartbeat()
        assert refusal.value.code == "SecurityError"
        with pytest.raises(CallTimedOut):
            await station.authorize("TAG1")


async def test_raw_frames_drops_and_a_second_dial(csms: Csms):
    async with FakeStation(csms.url, "CP") as station:
        await station.send_raw("[2,")
        await station.boot()
        assert csms.unreadable == ["[2,"]
        link = station.link
        await station.drop()
        with pytest.raises(LinkClosed):
            await link.call("Heartbeat", {})
        await station.connect()
        await station.heartbeat()
    assert csms.connects == ["CP", "CP"]


async def test_a_refused_connection_tells_why(csms: Csms):
    csms.passwords = {"CP": "right"}
    with pytest.raises(InvalidStatus) as refusal:
        async with FakeStation(csms.url, "CP", "wrong"):
            pass
    assert refusal.value.response.status_code == 401
