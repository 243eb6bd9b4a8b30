"""Connecting, booting and what becomes of messages on a bad line."""

from __future__ import annotations

import asyncio

import pytest

from stations.simulator.clock import parse_timestamp
from stations.simulator.fleet import build_station
from stations.simulator.plan import StationPlan, Timings
from tests.stations.simulator.csms import SILENT, Csms

every_version = pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])


@every_version
async def test_it_keeps_dialling_with_growing_pauses_until_somebody_answers(build, version, csms):
    await csms.shut()
    station = build(version, timings=Timings(retry_first_s=2.0, retry_max_s=8.0))
    await csms.wait_until(lambda: station.tally.refused_connections >= 4)
    await csms.open(csms.port)
    await csms.ready()
    assert station.tally.connects == 1
    assert csms.connects == ["S1"]


@every_version
async def test_pending_and_rejected_boots_are_repeated_after_the_interval(csms, build, version):
    replies = iter([("Rejected", 10), ("Pending", 20), ("Accepted", 120)])

    def boot(payload: dict) -> dict:
        status, interval = next(replies)
        return {"status": status, "interval": interval, "currentTime": "2027-01-01T00:00:00Z"}

    csms.answers["BootNotification"] = boot
    station = build(version)
    await csms.wait("BootNotification", count=2)
    assert {call.action for call in csms.calls} == {"BootNotification"}
    assert not station.online
    await csms.ready()
    first, second, third = csms.of("BootNotification")
    assert (second.at - first.at) * station.clock.speed >= 9
    assert (third.at - second.at) * station.clock.speed >= 19
    assert station.heartbeat_s == 120


@every_version
async def test_a_triggered_boot_does_not_wait_for_the_interval(csms, build, version):
    replies = iter(["Pending", "Accepted"])

    def boot(payload: dict) -> dict:
        return {"status": next(replies), "interval": 100_000, "currentTime": "2027-01-01T00:00:00Z"}

    csms.answers["BootNotification"] = boot
    build(version)
    await csms.wait("BootNotification")
    await asyncio.sleep(0.1)
    answer = await csms.call("S1", "TriggerMessage", {"requestedMessage": "BootNotification"})
    assert answer == {"status": "Accepted"}
    await csms.ready()
    assert len(csms.of("BootNotification")) == 2


@every_version
async def test_while_pending_no_remote_start_is_taken(csms, build, version):
    csms.answers["BootNotification"] = {"status": "Pending", "interval": 9999, "currentTime": "2027-01-01T00:00:00Z"}
    build(version)
    await csms.wait("BootNotification")
    if version == "1.6":
        answer = await csms.call("S1", "RemoteStartTransaction", {"idTag": "TAG1"})
    else:
        token = {"idToken": "TAG1", "type": "Central"}
        answer = await csms.call("S1", "RequestStartTransaction", {"remoteStartId": 1, "idToken": token})
    assert answer == {"status": "Rejected"}


async def test_after_a_lost_connection_it_tells_its_states_and_does_not_boot(csms, build):
    station = build()
    await csms.ready()
    await csms.wait_until(lambda: station.online)
    seen = len(csms.of("StatusNotification"))
    await csms.sockets["S1"].close()
    await csms.wait("StatusNotification", count=seen + 2)
    assert len(csms.of("BootNotification")) == 1
    assert csms.connects == ["S1", "S1"]


@every_version
async def test_only_one_call_is_in_flight(csms, build, version):
    csms.answers["BootNotification"] = SILENT
    station = build(version, timings=Timings(call_timeout_s=0.4))
    await csms.wait("BootNotification")
    assert station.link is not None
    beat = asyncio.create_task(station.link.call("Heartbeat", {}))
    await asyncio.sleep(0.2)
    assert csms.of("Heartbeat") == []
    await asyncio.wait_for(beat, 5)
    assert [call.action for call in csms.calls][:2] == ["BootNotification", "Heartbeat"]


async def test_the_clock_is_set_by_the_csms(csms, build):
    csms.answers["BootNotification"] = {
        "status": "Accepted",
        "interval": 60,
        "currentTime": "2031-05-05T05:05:05Z",
    }
    build(speed=1.0)
    status = await csms.wait("StatusNotification", count=2)
    told = parse_timestamp(status.payload["timestamp"])
    assert abs((told - parse_timestamp("2031-05-05T05:05:05Z")).total_seconds()) < 5


async def test_message_ids_are_never_used_twice_not_even_by_the_same_seed():
    ids: list[str] = []
    for _ in range(2):
        async with Csms() as csms:
            station = build_station(StationPlan("S1", seed="7"), csms.url)
            life = asyncio.create_task(station.run())
            await csms.ready()
            await station.stop()
            await life
            ids += [call.id for call in csms.calls]
    assert len(ids) >= 6
    assert len(set(ids)) == len(ids)
