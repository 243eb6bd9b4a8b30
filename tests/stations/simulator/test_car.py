import random

import pytest

from stations.simulator.car import AC_EFFICIENCY, DC_EFFICIENCY, Car, draw_car


def test_ac_power_is_bounded_by_the_on_board_charger():
    car = Car(battery_wh=60_000, charge=0.3, phases=1, ac_current_a=16.0, peak_w=100_000)
    assert car.accepts_w("ac") == 230.0 * 16.0


def test_dc_power_falls_above_the_taper_and_ends_at_the_target():
    car = Car(battery_wh=60_000, charge=0.5, peak_w=97_000, taper_from=0.6, target=0.9)
    assert car.accepts_w("dc") == pytest.approx(97_000 / DC_EFFICIENCY)
    car.charge = 0.8
    # Half-way from the taper to full: half-way between the peak and a trickle of 5 %.
    assert car.accepts_w("dc") == pytest.approx(97_000 * 0.525 / DC_EFFICIENCY)
    car.charge = 0.9
    assert car.accepts_w("dc") == 0.0
    assert car.is_full


def test_stored_energy_raises_the_charge_by_what_the_charger_does_not_lose():
    car = Car(battery_wh=50_000, charge=0.2, target=0.8)
    assert car.room_wh("ac") == pytest.approx(30_000 / AC_EFFICIENCY)
    car.store(10_000, "ac")
    assert car.charge == pytest.approx(0.2 + 10_000 * AC_EFFICIENCY / 50_000)
    car.store(1_000_000, "ac")
    assert car.charge == 0.8


def test_cars_are_drawn_by_the_seed():
    def draw(seed: int) -> list[Car]:
        rng = random.Random(seed)
        return [draw_car(rng, kind) for kind in ("ac", "dc") for _ in range(20)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    for car in draw(1):
        assert 0 < car.charge < car.target <= 1
    assert all(car.peak_w >= 50_000 for car in draw(3)[20:])
