"""Drivers: when they come, with which car and token, how long they stay and how they leave."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random

from stations.simulator.car import Car, draw_car
from stations.simulator.evse import Evse
from stations.simulator.plan import Activity, StationPlan, Token
from stations.simulator.station import Station

# How many arrivals an hour of the day sees, against the busiest.
HOUR_WEIGHTS = (
    *(0.10, 0.06, 0.05, 0.05, 0.08, 0.20),
    *(0.45, 0.75, 0.90, 0.80, 0.70, 0.75),
    *(0.85, 0.80, 0.70, 0.75, 0.90, 1.00),
    *(1.00, 0.90, 0.70, 0.50, 0.35, 0.20),
)


@dataclasses.dataclass(frozen=True)
class Level:
    """How lively a station is; ranges in seconds."""

    gap_s: tuple[float, float]
    """Between two visits, in the busiest hour."""
    stay_s: tuple[float, float]
    linger_s: tuple[float, float]
    first_s: tuple[float, float]
    first_chance: float
    """How likely the first driver comes within ``first_s``, in the busiest hour."""
    by_hour: bool = True


BUSY = Level((8, 45), (60, 300), (4, 15), (2, 25), 1.0, by_hour=False)
LEVELS: dict[Activity, Level | None] = {
    "idle": None,
    "quiet": Level((4 * 3600, 20 * 3600), (1800, 14_400), (30, 600), (5, 120), 0.15),
    "normal": Level((1200, 5 * 3600), (900, 9000), (20, 300), (3, 60), 0.5),
    "busy": BUSY,
}
DC_STAY = 0.3  # a fast charge takes this share of the time


@dataclasses.dataclass(frozen=True)
class Visit:
    """One driver's visit."""

    token: Token
    car: Car
    strangers: tuple[Token, ...]
    """Unknown cards that are tried before."""
    card_first: bool
    pause_s: float
    stay_s: float
    linger_s: float
    swipes_to_stop: bool
    """Otherwise the driver just pulls the cable."""


def draw_visit(plan: StationPlan, level: Level, rng: random.Random) -> Visit:
    """Draw the next driver."""
    stay_s = rng.uniform(*level.stay_s) * (DC_STAY if plan.kind == "dc" and level.by_hour else 1.0)
    return Visit(
        token=rng.choice(plan.tokens),
        car=draw_car(rng, plan.kind),
        strangers=tuple(Token(f"X{rng.randrange(10**9):09d}") for _ in range(plan.misbehaviour.refused_cards)),
        card_first=rng.random() < 0.3,
        pause_s=rng.uniform(2.0, 6.0),
        stay_s=stay_s,
        linger_s=rng.uniform(*level.linger_s),
        swipes_to_stop=rng.random() < 0.8,
    )


def draw_gap(level: Level, weight: float, rng: random.Random, *, first: bool) -> float:
    """Draw the seconds to the next arrival; ``weight`` is that of the hour."""
    weight = weight if level.by_hour else 1.0
    if first and rng.random() < level.first_chance * weight:
        return rng.uniform(*level.first_s)
    return rng.uniform(*level.gap_s) / weight


def hour_weight(now: dt.datetime, utc_offset_h: float) -> float:
    """Return the weight of the local hour."""
    return HOUR_WEIGHTS[(now + dt.timedelta(hours=utc_offset_h)).hour]


async def visit(station: Station, evse: Evse, visit: Visit) -> None:
    """Let one driver come, charge and leave."""
    clock = station.clock
    for stranger in visit.strangers:
        await station.authorize(stranger)
        await clock.sleep(visit.pause_s / 2)
    if visit.card_first:
        if not evse.is_free or not await station.present(evse, visit.token):
            return
        await clock.sleep(visit.pause_s)
    if evse.outlet.car is not None:
        return
    station.plug(evse, visit.car)
    if not visit.card_first:
        await clock.sleep(visit.pause_s)
        if evse.grant is None and not await station.present(evse, visit.token):
            await clock.sleep(visit.pause_s)
            if evse.outlet.holds(visit.car):
                station.unplug(evse)
            return
    await _charge_and_leave(station, evse, visit)


async def _charge_and_leave(station: Station, evse: Evse, visit: Visit) -> None:
    session = evse.session
    if session is not None:
        over = await station.clock.wait(session.over, visit.stay_s)
        if over or visit.swipes_to_stop:
            if not over:
                await station.present(evse, visit.token)
            await station.clock.sleep(visit.linger_s)
    if evse.outlet.holds(visit.car):
        station.unplug(evse)


async def keep_visiting(station: Station, evse: Evse, in_use: set[str]) -> None:
    """Send one driver after the other to an EVSE, for ever.

    ``in_use`` holds the tokens at work anywhere in the fleet: a card is in one place at a time as long as the
    plan has another that is free.
    """
    plan = station.plan
    level = LEVELS[plan.activity]
    if level is None:
        return
    rng = plan.rng("visits", evse.id)
    first = True
    while True:
        weight = hour_weight(station.clock.now(), plan.utc_offset_h)
        gap_s = draw_gap(level, weight, rng, first=first)
        coming = draw_visit(plan, level, rng)
        first = False
        await station.clock.sleep(gap_s)
        if evse.is_free:
            token = next((t for t in (coming.token, *plan.tokens) if t.value not in in_use), coming.token)
            in_use.add(token.value)
            try:
                await visit(station, evse, dataclasses.replace(coming, token=token))
            finally:
                in_use.discard(token.value)


def welcome_remote_starts(station: Station) -> None:
    """After a remote start at an empty bay, let a driver arrive with a car."""
    plan = station.plan
    level = LEVELS[plan.activity] or BUSY
    rng = plan.rng("remote")

    async def arrive(evse: Evse, arrival_s: float, coming: Visit) -> None:
        await station.clock.sleep(arrival_s)
        if evse.grant is not None and evse.outlet.car is None:
            station.plug(evse, coming.car)
            await _charge_and_leave(station, evse, coming)

    def welcome(evse: Evse) -> None:
        coming = dataclasses.replace(draw_visit(plan, level, rng), swipes_to_stop=False)
        station.spawn(arrive(evse, rng.uniform(*station.timings.arrival_s), coming))

    station.remote_visitor = welcome
