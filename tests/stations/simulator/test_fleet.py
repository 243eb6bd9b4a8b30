from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import orjson
import pytest

from stations.simulator.clock import Clock
from stations.simulator.fleet import Fleet
from stations.simulator.misbehaviour import Misbehaviour
from stations.simulator.plan import StationPlan, Token, draw_plans
from stations.simulator.wire import AckJournal
from tests.stations.simulator.csms import Csms

CARDS = (Token("TAG1"), Token("TAG2"))


async def run(
    csms: Csms, plans: list[StationPlan], enough: Callable[[], bool], *, journal: AckJournal | None = None
) -> dict:
    """Run a fleet until enough has happened; return its summary."""
    until = asyncio.Event()
    life = asyncio.create_task(Fleet(csms.url, plans, clock=Clock(60), journal=journal).run(until))
    await csms.wait_until(enough, within=30)
    until.set()
    return await life


async def test_a_busy_mixed_fleet_charges_within_a_minute_and_leaves_nothing_open(csms: Csms, tmp_path):
    path = tmp_path / "acks.jsonl"
    plans = draw_plans(6, tokens=CARDS, activity="busy", meter_interval_s=20)
    with AckJournal(path) as journal:
        summary = await run(
            csms,
            plans,
            lambda: len({c.identity for c in csms.starts()}) >= 4 and len(csms.ends()) >= 2,
            journal=journal,
        )
    assert summary["stations"] == summary["online"] == summary["connects"] == 6
    assert summary["sessions_started"] == summary["sessions_ended"] >= 4
    assert len(csms.starts()) == len(csms.ends()) == summary["sessions_started"]
    assert summary["energy_wh"] > 0
    assert summary["sent"] == summary["acked"] == len(csms.calls)
    assert summary["errors"] == summary["timed_out"] == 0
    latency = summary["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]

    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert Counter((row["station"], row["id"], row["action"]) for row in rows) == Counter(
        (call.identity, call.id, call.action) for call in csms.calls
    )
    by_id = {call.id: call.payload for call in csms.calls}
    assert all(row["payload"] == by_id[row["id"]] for row in rows)
    starts = [row["result"]["transactionId"] for row in rows if row["action"] == "StartTransaction"]
    assert len(starts) == len(csms.of("StartTransaction"))


async def test_idle_stations_only_show_that_they_are_there(csms: Csms):
    stop_at = asyncio.get_running_loop().time() + 0.7
    summary = await run(
        csms,
        draw_plans(3, activity="idle"),
        lambda: len(csms.of("StatusNotification")) >= 4 and asyncio.get_running_loop().time() > stop_at,
    )
    assert summary["online"] == 3
    assert summary["sessions_started"] == 0
    assert {call.action for call in csms.calls} <= {
        "BootNotification",
        "StatusNotification",
        "SecurityEventNotification",
        "Heartbeat",
    }


async def test_one_broken_station_does_not_disturb_the_others(csms: Csms, monkeypatch):
    plans = draw_plans(2, version="1.6", activity="idle")
    fleet = Fleet(csms.url, plans, clock=Clock(60))
    monkeypatch.setattr(fleet.stations[0], "boot_call", lambda: 1 / 0)
    until = asyncio.Event()
    life = asyncio.create_task(fleet.run(until))
    await csms.wait_until(lambda: len(csms.of("StatusNotification")) == 2)
    until.set()
    assert (await life)["online"] == 1
    assert {call.identity for call in csms.calls} == {"SIM-0002"}


async def test_a_fleet_ends_although_a_station_is_offline(csms: Csms):
    plans = [
        StationPlan("GONE", misbehaviour=Misbehaviour(never_connects=True)),
        StationPlan("WRONG", password="x", misbehaviour=Misbehaviour(wrong_password=True)),
        StationPlan("FINE", password="y"),
    ]
    csms.passwords = {"GONE": "z", "WRONG": "x", "FINE": "y"}
    summary = await run(csms, plans, lambda: len(csms.of("StatusNotification")) == 2 and bool(csms.refused))
    assert summary["online"] == 1
    assert summary["refused_connections"] >= 1


async def test_many_evses_of_one_station_have_drivers_of_their_own(csms: Csms):
    plans = draw_plans(1, version="2.0.1", evses=3, tokens=CARDS, activity="busy")
    await run(csms, plans, lambda: {call.payload["evse"]["id"] for call in csms.starts()} == {1, 2, 3})


async def test_a_card_is_in_one_place_at_a_time_while_others_are_free(csms: Csms):
    cards = tuple(Token(f"TAG{n}") for n in range(6))
    plans = draw_plans(2, version="1.6", evses=3, tokens=cards, activity="busy")
    await run(csms, plans, lambda: len(csms.starts()) >= 12)
    running: dict[int, str] = {}
    granted = iter(range(101, 10_000))
    for call in csms.calls:
        if call.action == "StartTransaction":
            assert call.payload["idTag"] not in running.values()
            running[next(granted)] = call.payload["idTag"]
        elif call.action == "StopTransaction":
            del running[call.payload["transactionId"]]


@pytest.mark.parametrize("kind", ["ac", "dc"])
async def test_power_stays_within_the_rating(csms: Csms, kind):
    plans = draw_plans(2, version="1.6", kind=kind, tokens=CARDS, activity="busy", meter_interval_s=10)
    await run(csms, plans, lambda: len(csms.registers()) >= 6)
    powers = csms.samples("Power.Active.Import")
    assert powers
    assert 0 < max(powers) <= plans[0].power_w
    assert bool(csms.samples("SoC")) is (kind == "dc")
