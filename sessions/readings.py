"""Registers and states → energy and the stretches that pricing reads (pure).

A session's energy is last register minus first. Readings in between only tell how it is spread over time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from sessions.facts import Activity, Segment, SessionFacts

T = TypeVar("T")

ZERO = Decimal(0)
DETAILED_SEGMENTS = 60
QUARTER = dt.timedelta(minutes=15)
OVER_POWER_FACTOR = Decimal("1.1")
ROUNDING_WH = Decimal(10)  # a start or stop register in whole Wh (or tens of them) beside finer samples
OVER_POWER_SLACK_WH = Decimal(50)  # a meter that reports whole tens of Wh is not an anomaly

ACTIVITY_OF_STATE = {
    "Charging": Activity.CHARGING,
    "SuspendedEV": Activity.PARKING,
    "SuspendedEVSE": Activity.HELD,
    "EVConnected": Activity.HELD,
    "Idle": Activity.PARKING,
    "Preparing": Activity.HELD,
    "Finishing": Activity.PARKING,
    "Faulted": Activity.HELD,
    "Unavailable": Activity.HELD,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """What one reading says: the register in Wh and the summed current in A, each None where not told."""

    at: dt.datetime
    energy_wh: Decimal | None
    current_a: Decimal | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StateChange:
    """From ``at`` on the connector was in ``state`` (a connector or charging state)."""

    at: dt.datetime
    state: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reckoning:
    """Energy of a session, the facts pricing reads, and why a person should look (`ReviewReason` values)."""

    energy_wh: Decimal
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    facts: SessionFacts
    reasons: frozenset[str]


def energy_so_far(meter_start: Decimal | None, first: Decimal | None, register: Decimal) -> Decimal:
    """Return the live energy in Wh, never negative.

    ``first`` is the first register seen in this session: a charger that counts from 0 in each session
    while its start register is a lifetime total would otherwise show nothing.
    """
    if meter_start is None:
        meter_start = first if first is not None else register
    if first is not None and first < meter_start:
        return max(register - (ZERO if _is_relative(meter_start, first) else meter_start), ZERO)
    return max(register - meter_start, ZERO)


def reckon(
    *,
    start: dt.datetime,
    end: dt.datetime,
    meter_start: Decimal | None,
    meter_stop: Decimal | None,
    samples: Sequence[Sample],
    states: Sequence[StateChange],
    time_zone: str,
    max_power_w: int | None,
    estimated_end: bool = False,
) -> Reckoning:
    """Return energy, facts and review reasons of an ended session.

    ``samples`` may come in any order and repeat; the later entry of an equal time counts. Where
    ``meter_stop`` is missing the last register stands for it, where ``meter_start`` is missing the first.
    """
    reasons: set[str] = set()
    if end < start:
        reasons.add("stop_before_start")
        end = start
    registers = _registers(samples, start, end)
    if meter_start is not None and registers and _is_relative(meter_start, registers[0][1]):
        # The samples count from 0 in each session, the start register does not.
        registers = [(at, value + meter_start) for at, value in registers]
    if meter_start is None and registers:
        meter_start = registers[0][1]
    if meter_stop is None and registers:
        meter_stop = registers[-1][1]
    if meter_start is None or meter_stop is None:
        reasons.add("no_reading")
        energy = ZERO
        curve = [(start, ZERO), (end, ZERO)]
    else:
        energy = meter_stop - meter_start
        if energy < 0:
            reasons.add("meter_backwards")
            energy = ZERO
        curve = _curve(start, end, meter_start, meter_start + energy, registers, reasons)
    if max_power_w and energy > _possible(max_power_w, start, end):
        reasons.add("over_power")
    segments = _segments(curve, samples, states, start, end, estimated_end=estimated_end)
    facts = SessionFacts(start=start, end=end, energy_wh=energy, time_zone=time_zone, segments=segments)
    return Reckoning(energy, meter_start, meter_stop, facts, frozenset(reasons))


def _is_relative(meter_start: Decimal, first: Decimal) -> bool:
    return first < meter_start and first * 10 < meter_start


def _possible(max_power_w: int, start: dt.datetime, end: dt.datetime) -> Decimal:
    hours = Decimal((end - start) // dt.timedelta(seconds=1)) / 3600
    return max_power_w * hours * OVER_POWER_FACTOR + OVER_POWER_SLACK_WH


def _registers(samples: Sequence[Sample], start: dt.datetime, end: dt.datetime) -> list[tuple[dt.datetime, Decimal]]:
    newest = {s.at: s.energy_wh for s in samples if s.energy_wh is not None and start <= s.at <= end}
    return sorted(newest.items())


def _curve(
    start: dt.datetime,
    end: dt.datetime,
    first: Decimal,
    last: Decimal,
    registers: Sequence[tuple[dt.datetime, Decimal]],
    reasons: set[str],
) -> list[tuple[dt.datetime, Decimal]]:
    """Return (time, Wh since start), rising from 0 to the session's energy."""
    curve = [(start, ZERO)]
    for at, value in registers:
        if at <= start or at >= end:
            continue
        so_far = value - first
        if so_far < curve[-1][1]:
            # A start register that was rounded up lies above finer samples.
            if curve[-1][1] > 0 or so_far < -ROUNDING_WH:
                reasons.add("meter_backwards")
        elif so_far > last - first + ROUNDING_WH:
            reasons.add("jump")
        else:
            curve.append((at, min(so_far, last - first)))
    if end > start:
        curve.append((end, last - first))
    return curve


def _segments(
    curve: Sequence[tuple[dt.datetime, Decimal]],
    samples: Sequence[Sample],
    states: Sequence[StateChange],
    start: dt.datetime,
    end: dt.datetime,
    *,
    estimated_end: bool,
) -> tuple[Segment, ...]:
    if end <= start:
        return ()
    changes = sorted((c for c in states if c.at < end), key=lambda c: c.at)
    edges = {at for at, _ in curve} | {c.at for c in changes if start < c.at}
    detailed = len(edges) <= DETAILED_SEGMENTS
    if not detailed:
        edges = _quarters(start, end) | {c.at for c in changes if start < c.at} | {start, end}
    times = sorted(edges)
    energies = _interpolated(curve, times)
    currents = sorted((s.at, s.current_a) for s in samples if s.current_a is not None and start <= s.at <= end)
    segments: list[Segment] = []
    change = current = 0
    activity = Activity.CHARGING
    for (left, right), (low, high) in zip(_pairs(times), _pairs(energies), strict=True):
        while change < len(changes) and changes[change].at <= left:
            activity = ACTIVITY_OF_STATE.get(changes[change].state, Activity.CHARGING)
            change += 1
        inside: list[Decimal] = []
        while current < len(currents) and currents[current][0] <= right:
            amps = currents[current][1]
            if amps is not None:
                inside.append(amps)
            current += 1
        energy = high - low
        seconds = Decimal((right - left) // dt.timedelta(microseconds=1)) / 1_000_000
        power = (energy * 3600 / seconds).quantize(Decimal("0.1")) if seconds else None
        mean = (sum(inside, ZERO) / len(inside)).quantize(Decimal("0.01")) if inside else None
        # Energy that flows is charging, whatever the last state was: some chargers report no change back.
        kind = Activity.CHARGING if energy > 0 else activity
        segments.append(Segment(left, right, energy, kind, power, mean, estimated=estimated_end and right == end))
    return tuple(_merged(segments))


def _quarters(start: dt.datetime, end: dt.datetime) -> set[dt.datetime]:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + ((start - midnight) // QUARTER + 1) * QUARTER
    quarters = set()
    while at < end:
        quarters.add(at)
        at += QUARTER
    return quarters


def _interpolated(curve: Sequence[tuple[dt.datetime, Decimal]], times: Sequence[dt.datetime]) -> list[Decimal]:
    values: list[Decimal] = []
    index = 0
    for at in times:
        while index + 1 < len(curve) - 1 and curve[index + 1][0] <= at:
            index += 1
        (left, low), (right, high) = curve[index], curve[min(index + 1, len(curve) - 1)]
        if at >= right:
            values.append(high)
        elif at <= left:
            values.append(low)
        else:
            share = Decimal((at - left) // dt.timedelta(microseconds=1)) / Decimal(
                (right - left) // dt.timedelta(microseconds=1)
            )
            values.append((low + (high - low) * share).quantize(Decimal("0.001")))
    return values


def _pairs(values: Sequence[T]) -> list[tuple[T, T]]:
    return list(itertools.pairwise(values))


def _merged(segments: Sequence[Segment]) -> list[Segment]:
    """Join neighbours in which nothing happens: a night of samples without energy is one stretch."""
    merged: list[Segment] = []
    for segment in segments:
        before = merged[-1] if merged else None
        if (
            before is not None
            and before.energy_wh == segment.energy_wh == 0
            and before.activity is segment.activity
            and before.estimated == segment.estimated
        ):
            merged[-1] = dataclasses.replace(before, end=segment.end)
        else:
            merged.append(segment)
    return merged
