"""Each fault really happens, and only what was asked for."""

from __future__ import annotations

import asyncio
import random

import pytest

from stations.simulator.clock import parse_timestamp
from stations.simulator.misbehaviour import BROKEN_FRAMES, MeterFault, Misbehaviour
from stations.simulator.plan import Timings
from stations.simulator.traffic import keep_visiting
from tests.stations.simulator.conftest import CARD
from tests.stations.simulator.csms import Csms, end_register, start_register
from tests.stations.simulator.test_station import plugged_and_charging, small_car

both_dialects = pytest.mark.parametrize("version", ["1.6", "2.0.1"])


def reading_times(csms: Csms) -> list[str]:
    """Timestamps of the periodic readings in order of arrival."""
    rows = [row for call in csms.calls for row in call.payload.get("meterValue", [])]
    return [row["timestamp"] for row in rows if row["sampledValue"][0]["context"] == "Sample.Periodic"]


@both_dialects
async def test_a_faulted_connector_says_so_and_serves_nobody(csms, build, version):
    station = build(version, evses=2, misbehaviour=Misbehaviour(faulted_connector=2))
    await csms.wait_until(lambda: bool(csms.statuses(2)))
    assert csms.statuses(1) == ["Available"]
    assert csms.statuses(2) == ["Faulted"]
    if version == "1.6":
        fault = csms.of("StatusNotification", connectorId=2)[0].payload
        assert (fault["errorCode"], fault["vendorErrorCode"]) == ("GroundFailure", "RCD-17")
    broken = station.evses[1]
    station.plug(broken, small_car())
    assert await station.present(broken, CARD) is False
    await asyncio.sleep(0.1)
    assert csms.starts() == []


async def test_one_that_never_connects(csms, build):
    station = build(misbehaviour=Misbehaviour(never_connects=True))
    await asyncio.sleep(0.3)
    assert csms.connects == []
    assert station.tally.refused_connections == 0


@both_dialects
async def test_one_that_goes_offline_for_a_while_charges_on_and_comes_back(csms, build, version):
    station = build(version, misbehaviour=Misbehaviour(offline_after_s=30, offline_for_s=40))
    evse, session = await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: not station.online)
    before = evse.outlet.register_wh
    gone_at = station.clock.seconds()
    await csms.wait_until(lambda: len(csms.connects) == 2)
    assert station.clock.seconds() - gone_at >= 35
    assert evse.session is session
    assert evse.outlet.register_wh > before
    assert len(csms.of("BootNotification")) == 1
    if version != "1.6":
        await csms.wait("TransactionEvent", offline=True)


async def test_one_that_flaps(csms, build):
    build(misbehaviour=Misbehaviour(flapping_s=10))
    await csms.wait_until(lambda: len(csms.connects) >= 4)
    assert len(csms.of("BootNotification")) == 1


async def test_a_wrong_password_never_gets_in(csms, build):
    csms.passwords = {"S1": "correct-password"}
    station = build(password="correct-password", misbehaviour=Misbehaviour(wrong_password=True))
    await csms.wait_until(lambda: len(csms.refused) >= 2)
    assert station.tally.connects == 0
    assert csms.calls == []


@both_dialects
@pytest.mark.parametrize(
    ("fault", "year"), [(Misbehaviour(clock_1970=True), 1970), (Misbehaviour(clock_offset_s=-2 * 365 * 86_400), None)]
)
async def test_a_wrong_clock_stays_wrong_whatever_the_csms_says(csms, build, version, fault, year):
    station = build(version, speed=1.0, misbehaviour=fault)
    await csms.ready()
    told = parse_timestamp(csms.of("StatusNotification")[-1].payload["timestamp"])
    if year is not None:
        assert told.year == year
    else:
        assert (told - station.clock.now()).total_seconds() == pytest.approx(-2 * 365 * 86_400, abs=5)


@both_dialects
@pytest.mark.parametrize("ids", ["same", "new"])
async def test_duplicates_come_with_the_same_id_or_a_new_one(csms, build, version, ids):
    station = build(version, misbehaviour=Misbehaviour(duplicate_rate=1.0, duplicate_ids=ids))
    await plugged_and_charging(csms, station)
    station.unplug(station.evses[0])
    await csms.wait_until(lambda: len(csms.ends()) == 2)
    for calls in (csms.starts(), csms.ends()):
        first, second = calls
        assert first.payload == second.payload
        assert (first.id == second.id) is (ids == "same")
    assert len(csms.of("StatusNotification")) == len({call.id for call in csms.of("StatusNotification")})


@both_dialects
async def test_late_readings_carry_their_original_time(csms, build, version):
    station = build(version, misbehaviour=Misbehaviour(late_rate=1.0, late_by_s=60))
    await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: bool(csms.registers()))
    told = parse_timestamp(reading_times(csms)[0])
    assert (station.now() - told).total_seconds() >= 55


@both_dialects
async def test_shuffled_readings_come_after_their_successor(csms, build, version):
    station = build(version, misbehaviour=Misbehaviour(shuffle_rate=0.5))
    await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: len(csms.registers()) >= 8)
    times = reading_times(csms)
    assert times != sorted(times)
    assert len(set(times)) == len(times)


@both_dialects
@pytest.mark.parametrize("kind", ["stuck", "backwards", "impossible"])
async def test_broken_meters(csms, build, version, kind):
    station = build(version, register_wh=50_000.0, misbehaviour=Misbehaviour(meter=kind))
    evse, session = await plugged_and_charging(csms, station)
    began = session.started_at
    await csms.wait_until(lambda: len(csms.registers()) >= 4)
    station.unplug(evse)
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    start, end = start_register(csms.starts()[0]), end_register(csms.ends()[0])
    hours = (session.ended_at - began).total_seconds() / 3600
    assert evse.outlet.register_wh > 50_000.0
    if kind == "stuck":
        assert {start, end, *csms.registers()} == {50_000}
    elif kind == "backwards":
        assert end == start - MeterFault.JUMP_BACK_WH
    else:
        # More than the rating could ever deliver in that time.
        assert end - start > 2 * station.plan.power_w * hours


def test_a_meter_that_invented_energy_never_takes_it_back():
    fault = MeterFault("impossible", random.Random(1))
    assert fault.begin(1000.0) == 1000.0
    assert fault.show(1100.0, last=True) == 1500.0
    assert fault.idle(1100.0) == 1500.0
    assert fault.begin(1100.0) == 1500.0
    assert fault.show(1200.0) == 2000.0


def test_a_sound_meter_shows_the_truth():
    fault = MeterFault(None, random.Random(1))
    assert fault.begin(10.0) == 10.0
    assert [fault.show(20.0), fault.show(30.0, last=True), fault.idle(30.0)] == [20.0, 30.0, 30.0]


async def test_unknown_cards_come_in_bursts(csms, build):
    station = build(activity="busy", misbehaviour=Misbehaviour(refused_cards=3))
    await csms.ready()
    station.spawn(keep_visiting(station, station.evses[0], set()))
    await csms.wait("Authorize", idTag="TAG1")
    asked = [call.payload["idTag"] for call in csms.of("Authorize")]
    assert asked[3] == "TAG1"
    assert len(set(asked[:3])) == 3
    assert not any(card.startswith("TAG") for card in asked[:3])


@both_dialects
async def test_broken_frames_come_between_the_good_ones(csms, build, version):
    station = build(version, misbehaviour=Misbehaviour(broken_frame_rate=0.5))
    await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: len(csms.unreadable) >= 3 and len(csms.registers()) >= 2)
    assert set(csms.unreadable) <= set(BROKEN_FRAMES)


async def test_one_that_answers_late(csms, build):
    station = build(misbehaviour=Misbehaviour(answer_delay_s=30))
    await csms.ready()
    asked_at = station.clock.seconds()
    assert await csms.call("S1", "ClearCache", {}) == {"status": "Accepted"}
    assert station.clock.seconds() - asked_at >= 30


async def test_one_that_is_deaf(csms, build):
    build(misbehaviour=Misbehaviour(deaf=True))
    await csms.ready()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await csms.call("S1", "ClearCache", {})
    await csms.sockets["S1"].close()
    await csms.wait_until(lambda: len(csms.connects) == 2)


@both_dialects
async def test_one_that_cannot_install_firmware(csms, build, version):
    fault = Misbehaviour(firmware_fails=True)
    station = build(version, misbehaviour=fault, timings=Timings(job_step_s=1.0))
    await csms.ready()
    due = station.now().isoformat()
    if version == "1.6":
        await csms.call("S1", "UpdateFirmware", {"location": "https://x.example/f", "retrieveDate": due})
    else:
        firmware = {"location": "https://x.example/f", "retrieveDateTime": due}
        await csms.call("S1", "UpdateFirmware", {"requestId": 1, "firmware": firmware})
    await csms.wait("FirmwareStatusNotification", status="InstallationFailed")
    assert station.firmware == "1.0.0"
    assert len(csms.of("BootNotification")) == 1


async def test_a_sound_station_does_none_of_this(csms, build):
    station = build()
    await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: len(csms.registers()) >= 4)
    station.unplug(station.evses[0])
    await csms.wait("StopTransaction")
    assert csms.unreadable == []
    assert len(csms.connects) == 1
    assert len(csms.starts()) == 1
    assert len({call.id for call in csms.calls}) == len(csms.calls)
    times = reading_times(csms)
    assert times == sorted(times)
    assert csms.registers() == sorted(csms.registers())
