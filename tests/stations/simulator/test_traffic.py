from __future__ import annotations

import datetime as dt
import random

import pytest

from stations.simulator.misbehaviour import Misbehaviour
from stations.simulator.plan import StationPlan, Token
from stations.simulator.traffic import BUSY, HOUR_WEIGHTS, LEVELS, Visit, draw_gap, draw_visit, hour_weight, visit
from tests.stations.simulator.conftest import CARD
from tests.stations.simulator.csms import end_reason
from tests.stations.simulator.test_station import small_car

every_version = pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
PLAN = StationPlan("A", tokens=(Token("A"), Token("B")), seed="3")


def a_visit(**more) -> Visit:
    fields = {
        "token": CARD,
        "car": small_car(),
        "strangers": (),
        "card_first": False,
        "pause_s": 2.0,
        "stay_s": 30.0,
        "linger_s": 5.0,
        "swipes_to_stop": True,
    }
    return Visit(**{**fields, **more})


def test_drivers_follow_the_seed():
    def day(seed: str) -> list[Visit]:
        plan = StationPlan("A", tokens=PLAN.tokens, seed=seed)
        rng = plan.rng("visits", 1)
        return [draw_visit(plan, BUSY, rng) for _ in range(30)]

    assert day("3") == day("3")
    assert day("3") != day("4")
    visits = day("3")
    assert {v.token.value for v in visits} == {"A", "B"}
    assert {v.card_first for v in visits} == {v.swipes_to_stop for v in visits} == {True, False}
    assert all(BUSY.stay_s[0] <= v.stay_s <= BUSY.stay_s[1] for v in visits)
    assert len({v.car.charge for v in visits}) > 20


def test_strangers_come_only_where_they_are_asked_for():
    rude = StationPlan("A", misbehaviour=Misbehaviour(refused_cards=4))
    assert len(draw_visit(rude, BUSY, rude.rng("v")).strangers) == 4
    assert draw_visit(PLAN, BUSY, PLAN.rng("v")).strangers == ()


def test_the_night_is_quieter_than_the_rush_hour():
    level = LEVELS["normal"]
    assert level is not None
    rush, night = (
        [draw_gap(level, weight, random.Random(n), first=False) for n in range(200)]
        for weight in (max(HOUR_WEIGHTS), min(HOUR_WEIGHTS))
    )
    assert sum(night) > 10 * sum(rush)
    noon = dt.datetime(2027, 1, 1, 12, tzinfo=dt.UTC)
    assert hour_weight(noon, 0.0) == HOUR_WEIGHTS[12]
    assert hour_weight(noon, 5.5) == HOUR_WEIGHTS[17]
    assert hour_weight(noon, -13.0) == HOUR_WEIGHTS[23]


def test_at_a_busy_station_the_first_driver_comes_within_half_a_minute():
    gaps = [draw_gap(BUSY, 0.05, random.Random(n), first=True) for n in range(200)]
    assert max(gaps) <= 30


@every_version
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "Local"),
        ({"card_first": True}, "Local"),
        ({"swipes_to_stop": False}, "EVDisconnected"),
    ],
)
async def test_a_driver_leaves_the_bay_as_it_was(csms, build, version, more, reason):
    station = build(version)
    await csms.ready()
    evse = station.evses[0]
    await visit(station, evse, a_visit(**more))
    await csms.wait_until(lambda: len(csms.ends()) == 1 and csms.statuses()[-1] == "Available")
    assert len(csms.starts()) == 1
    assert end_reason(csms.ends()[0]) == reason
    assert evse.is_free


@every_version
@pytest.mark.parametrize("card_first", [True, False])
async def test_a_refused_driver_drives_on(csms, build, version, card_first):
    station = build(version)
    await csms.ready()
    evse = station.evses[0]
    await visit(station, evse, a_visit(token=Token("STRANGER"), card_first=card_first))
    assert csms.starts() == []
    assert evse.is_free
