from __future__ import annotations

import asyncio

import orjson
import pytest
import uvloop

from stations.simulator.load import run_load
from stations.simulator.wire import AckJournal
from tests.stations.simulator.csms import SILENT, Csms, Refusal

FIVE = [(f"L{n}", f"secret-{n}") for n in range(5)]


async def test_meter_scenario_sends_full_readings_in_a_closed_loop(csms: Csms, tmp_path):
    csms.passwords = dict(FIVE)
    path = tmp_path / "acks.jsonl"
    with AckJournal(path) as journal:
        result = await run_load(csms.url, FIVE, "meter", count=20, samples=12, journal=journal)
    assert (result.stations, result.connected, result.refused, result.lost) == (5, 5, 0, 0)
    assert result.sent == result.acked == len(csms.of("MeterValues")) == 100
    assert result.errors == 0
    assert len(result.latencies) == 100
    for identity, _ in FIVE:
        (start,) = [call for call in csms.starts() if call.identity == identity]
        own = [call.payload for call in csms.of("MeterValues") if call.identity == identity]
        assert {len(payload["meterValue"][0]["sampledValue"]) for payload in own} == {12}
        registers = [int(payload["meterValue"][0]["sampledValue"][0]["value"]) for payload in own]
        assert registers == [start.payload["meterStart"] + 20 * n for n in range(1, 21)]
        assert len({payload["transactionId"] for payload in own}) == 1
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    told = {call.id: (call.identity, call.action, call.payload) for call in csms.calls}
    assert {row["id"]: (row["station"], row["action"], row["payload"]) for row in rows} == told
    assert all(row["result"] == {} for row in rows if row["action"] == "MeterValues")
    summary = orjson.loads(orjson.dumps(result.summary()))
    assert summary["rate"] > 0
    assert summary["latency_ms"]["p99"] >= summary["latency_ms"]["p50"] > 0


async def test_life_scenario_repeats_whole_sessions(csms: Csms):
    result = await run_load(csms.url, FIVE[:2], "life", count=26, token="TAG1")
    assert result.acked == 52
    for identity, _ in FIVE[:2]:
        actions = [call.action for call in csms.calls if call.identity == identity]
        life = ["Authorize", "StartTransaction", *["MeterValues"] * 10, "StopTransaction"]
        assert actions == ["BootNotification", "StatusNotification", "StatusNotification", *life, *life]
    registers = [call.payload["meterStart"] for call in csms.starts() if call.identity == "L0"]
    assert registers == [1000, 1200]
    assert [call.payload["meterStop"] for call in csms.ends() if call.identity == "L0"] == [1200, 1400]


async def test_idle_scenario_holds_the_connections(csms: Csms):
    result = await run_load(csms.url, FIVE, "idle", duration=0.3)
    assert (result.connected, result.lost, result.sent) == (5, 0, 0)
    assert result.seconds >= 0.3


async def test_reconnect_scenario_measures_until_all_are_back(csms: Csms):
    result = await run_load(csms.url, FIVE, "reconnect")
    assert result.connected == 5
    assert result.sent == result.acked == len(csms.calls) == 15
    assert result.seconds == result.setup_seconds > 0


async def test_think_time_slows_the_loop(csms: Csms):
    result = await run_load(csms.url, FIVE[:1], "meter", duration=0.5, think=0.1)
    assert 1 <= result.acked <= 6


async def test_refused_and_unregistered_stations_are_counted(csms: Csms):
    csms.passwords = dict(FIVE) | {"L0": "another"}
    result = await run_load(csms.url, FIVE[:2], "meter", count=3)
    assert (result.connected, result.refused, result.acked) == (1, 1, 3)
    csms.answers["BootNotification"] = {"status": "Pending", "interval": 10, "currentTime": "2027-01-01T00:00:00Z"}
    result = await run_load(csms.url, FIVE[1:2], "meter", count=3)
    assert (result.connected, result.refused, result.acked) == (0, 1, 0)
    unreachable = await run_load("ws://127.0.0.1:9/ocpp/", FIVE[:1], "meter", count=3)
    assert (unreachable.connected, unreachable.refused) == (0, 1)


async def test_errors_are_counted_and_do_not_stop_the_loop(csms: Csms):
    def refuse(payload: dict) -> dict:
        raise Refusal("InternalError")

    csms.answers["MeterValues"] = refuse
    result = await run_load(csms.url, FIVE[:1], "meter", count=4)
    assert (result.sent, result.acked, result.errors) == (4, 0, 4)


async def test_a_server_that_dies_ends_the_run(csms: Csms):
    async def kill() -> None:
        await csms.wait("MeterValues", count=10)
        for socket in list(csms.sockets.values()):
            socket.transport.abort()

    killer = asyncio.create_task(kill())
    result = await run_load(csms.url, FIVE, "meter", duration=20.0, think=0.01)
    await killer
    assert result.lost == 5
    assert result.seconds < 10
    assert 10 <= result.acked <= result.sent <= result.acked + 5


async def test_a_call_of_the_csms_is_answered_without_stopping_the_loop(csms: Csms):
    load = asyncio.create_task(run_load(csms.url, FIVE[:1], "meter", duration=0.5, think=0.05))
    await csms.wait("MeterValues")
    with pytest.raises(Refusal) as refusal:
        await csms.call("L0", "ClearCache", {})
    assert refusal.value.code == "NotSupported"
    assert (await load).acked >= 2


async def test_a_station_without_an_answer_to_its_boot_is_given_up(csms: Csms, monkeypatch):
    monkeypatch.setattr("stations.simulator.load.SETUP_S", 0.2)
    csms.answers["BootNotification"] = SILENT
    result = await run_load(csms.url, FIVE[:1], "meter", count=3)
    assert (result.connected, result.refused) == (0, 1)


async def test_it_runs_on_uvloop_as_well(csms: Csms):
    url = csms.url

    def on_uvloop() -> int:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run_load(url, FIVE, "meter", count=4)).acked

    assert await asyncio.to_thread(on_uvloop) == 20


async def test_a_silent_csms_does_not_hold_the_run_for_ever(csms: Csms, monkeypatch):
    monkeypatch.setattr("stations.simulator.load.SETTLE_S", 0.1)
    csms.answers["MeterValues"] = SILENT
    result = await run_load(csms.url, FIVE[:1], "meter", duration=0.2)
    assert (result.sent, result.acked) == (1, 0)


async def test_a_load_needs_an_end_and_a_known_scenario(csms: Csms):
    with pytest.raises(ValueError, match="end"):
        await run_load(csms.url, FIVE, "meter")
    with pytest.raises(ValueError, match="unknown scenario"):
        await run_load(csms.url, FIVE, "storm", count=1)
