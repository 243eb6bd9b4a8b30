import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stations.simulator.car import Car, draw_car
from stations.simulator.physics import Limit, Outlet, Rating, Sample

AC = Rating("ac", 22_000.0)
DC = Rating("dc", 150_000.0)


def outlet(rating: Rating = AC, car: Car | None = None, seed: int = 1) -> Outlet:
    made = Outlet(rating, random.Random(seed), register_wh=1000.0)
    made.plug(car or Car(60_000, 0.3, phases=3, ac_current_a=16.0))
    made.close()
    return made


def test_an_hour_at_eleven_kilowatt_is_eleven_kilowatt_hours_less_the_ramp():
    charging = outlet()
    charging.advance(3600)
    # 11,040 W; the ramp of 22 kW in 3 s reaches it in the second step.
    assert charging.register_wh == pytest.approx(1000 + 11_040 - (11_040 - 22_000 / 3) / 3600)


def test_nothing_flows_with_an_open_contactor():
    waiting = outlet()
    waiting.open()
    waiting.advance(3600)
    assert waiting.register_wh == 1000.0
    assert waiting.state == "open"
    assert waiting.sample().power_w == 0.0


def test_a_dc_session_ramps_up_over_seconds_then_tapers():
    charging = outlet(DC, Car(60_000, 0.3, peak_w=100_000, taper_from=0.6))
    powers = []
    for _ in range(40):
        charging.advance(1)
        powers.append(charging.power_w)
    assert powers[0] == pytest.approx(150_000 / 12)
    assert powers[:8] == sorted(powers[:8])
    assert max(powers) == pytest.approx(100_000 / 0.97)
    charging.advance(1800)
    assert 0 < charging.power_w < 60_000


@given(
    seed=st.integers(0, 10_000),
    dc=st.booleans(),
    steps=st.lists(st.floats(0.05, 900.0), min_size=1, max_size=12),
    amps=st.none() | st.floats(0.0, 40.0),
)
@settings(max_examples=60, deadline=None)
def test_the_register_never_falls_and_never_outruns_rating_limit_or_battery(seed, dc, steps, amps):
    rating = DC if dc else AC
    car = draw_car(random.Random(seed), rating.kind)
    room_wh = car.room_wh(rating.kind)
    charging = outlet(rating, car, seed)
    if amps is not None:
        charging.limit = Limit(amps, "A")
    bound_w = rating.power_w if amps is None else min(rating.power_w, amps * 230.0 * 3)
    for seconds in steps:
        before = charging.register_wh
        charging.advance(seconds)
        gained = charging.register_wh - before
        assert 0.0 <= gained <= bound_w * seconds / 3600.0 * (1 + 1e-9)
        assert charging.power_w <= bound_w * (1 + 1e-9)
    assert charging.register_wh - 1000.0 <= room_wh * (1 + 1e-9)
    assert car.charge <= car.target


@given(seed=st.integers(0, 1000), parts=st.lists(st.integers(1, 120), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_the_register_does_not_depend_on_how_often_it_is_read(seed, parts):
    at_once, in_parts = outlet(car=draw_car(random.Random(seed), "ac")), outlet(car=draw_car(random.Random(seed), "ac"))
    at_once.advance(sum(parts))
    for seconds in parts:
        in_parts.advance(seconds)
        in_parts.sample()
    assert in_parts.register_wh == pytest.approx(at_once.register_wh, abs=1e-6)


def test_a_full_car_stops_exactly_at_its_target():
    charging = outlet(car=Car(10_000, 0.7, target=0.8))
    charging.advance(7200)
    assert charging.register_wh - 1000.0 == pytest.approx(1000 / 0.9)
    assert charging.state == "suspended_ev"
    assert charging.power_w == 0.0


def test_less_than_six_amperes_are_none():
    charging = outlet()
    charging.limit = Limit(6.0, "A")
    assert charging.offered_w() == pytest.approx(6 * 230 * 3)
    charging.limit = Limit(5.9, "A")
    assert charging.offered_w() == 0.0
    assert charging.state == "suspended_evse"
    # Watts are shared over the phases that the car uses.
    single = outlet(car=Car(60_000, 0.3, phases=1, ac_current_a=32.0))
    single.limit = Limit(3680.0, "W")
    assert single.offered_w() == pytest.approx(3680.0)


def test_what_is_shown_fits_together_and_follows_the_seed():
    def shown(seed: int) -> list[Sample]:
        charging = outlet(seed=seed)
        samples = []
        for _ in range(5):
            charging.advance(60)
            samples.append(charging.sample())
        return samples

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)
    for sample in shown(1):
        told_w = sum(volts * amperes for volts, amperes in zip(sample.voltage_v, sample.current_a, strict=True))
        assert told_w == pytest.approx(sample.power_w, rel=0.005)
        assert all(225 < volts < 235 for volts in sample.voltage_v)
    # The jitter of what is shown does not touch the register.
    assert [s.energy_wh for s in shown(1)] == [s.energy_wh for s in shown(2)]


def test_power_warms_the_outlet():
    charging = outlet(Rating("ac", 11_040.0))
    cold = charging.sample().temperature_c
    charging.advance(3600)
    warm = charging.sample().temperature_c
    charging.open()
    charging.advance(7200)
    assert warm > cold + 20
    assert charging.sample().temperature_c == pytest.approx(cold, abs=0.5)
