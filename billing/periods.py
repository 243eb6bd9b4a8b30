"""Cuts a session into pieces inside which no price can change (pure).

A cut falls at every boundary that some restriction of the tariff names: local clock and date, change of the clock for
summer time, energy since the start, duration since the start; power and current change at the edges of the segments.
Inside a segment energy flows evenly, so a reading at a cut is interpolated.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing.snapshot import Snapshot, Test
from sessions.facts import Activity, Segment

_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 1440 * _MINUTE
_ZERO = Decimal(0)
# An interpolated reading is an estimate; more digits than a microwatt-hour would only pretend to know.
_QUANTUM = Decimal("0.000001")


class Piece(NamedTuple):
    """A stretch with one price per dimension; offsets are microseconds since the start of the session.

    ``minute``, ``day`` (since 1970) are the local clock at its start, ``at_wh`` is an energy inside it, None power or
    current is one that nobody knows, and ``free_idle`` marks idle time that grace or quiet hours make free.
    """

    start: int
    end: int
    wh: Decimal
    activity: Activity
    power: Decimal | None
    current: Decimal | None
    at_wh: Decimal
    minute: int
    day: int
    free_idle: bool

    @property
    def seconds(self) -> int:
        """Whole seconds; rounding the edges, not the length, keeps the sum over all pieces right."""
        return (self.end + 500_000) // _SECOND - (self.start + 500_000) // _SECOND


def offset(at: dt.datetime, start: dt.datetime) -> int:
    """Return the microseconds from start to a moment."""
    return (at - start) // _MICROSECOND


def holds(test: Test, piece: Piece) -> bool:
    """Tell whether every restriction holds in the piece. What nobody knows does not hold."""
    if test.min_us is not None and piece.start < test.min_us:
        return False
    if test.max_us is not None and piece.start >= test.max_us:
        return False
    first, last = test.start_minute, test.end_minute
    if first < last:
        if not first <= piece.minute < last:
            return False
    elif last <= piece.minute < first:
        return False
    if test.days is not None and (piece.day + 3) % 7 not in test.days:
        return False
    if test.start_day is not None and piece.day < test.start_day:
        return False
    if test.end_day is not None and piece.day >= test.end_day:
        return False
    return (
        _inside(piece.at_wh, test.min_wh, test.max_wh)
        and _inside(piece.power, test.min_power, test.max_power)
        and _inside(piece.current, test.min_current, test.max_current)
    )


def _inside(value: Decimal | None, low: Decimal | None, high: Decimal | None) -> bool:
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value < high)


def pieces(snapshot: Snapshot, start: dt.datetime, segments: Iterable[Segment], time_zone: str) -> Iterator[Piece]:
    """Yield the pieces of the segments in order. ``start`` is where durations and energy count from."""
    plan, rules = snapshot.plan, snapshot.rules
    stretches = _stretches(segments, start)
    if not stretches:
        return
    epoch, runs, cuts = 0, [(0, 0)], list(plan.offsets)
    if plan.uses_clock:
        epoch = offset(start, _EPOCH)
        finish = max(stretch.last for stretch in stretches)
        runs = _zone_runs(time_zone, start, min(stretch.first for stretch in stretches), finish)
        cuts = sorted({*cuts, *_clock_cuts(runs, plan.minutes, epoch, finish)})
    if len(stretches) > 1 and not plan.uses_power and not plan.uses_current:
        stretches = _joined(stretches, cuts, plan.thresholds)
    minute = day = 0
    reading = _ZERO
    idle_since: int | None = None
    for first, last, wh, activity, power, current in stretches:
        idle = activity is Activity.PARKING
        grace_ends = first
        inner = cuts[bisect_right(cuts, first) : bisect_left(cuts, last)] if cuts else cuts
        if idle:
            idle_since = first if idle_since is None else idle_since
            grace_ends = idle_since + rules.idle_grace_seconds * _SECOND
            if first < grace_ends < last:
                inner = sorted({*inner, grace_ends})
        elif activity is Activity.CHARGING:
            idle_since = None
        quiet = rules.idle_quiet if idle else None
        final = reading + wh
        marks = _marks(first, last, reading, final, inner, plan.thresholds)
        here, before = marks[0]
        for there, after in marks[1:]:
            if plan.uses_clock:
                minute, day = _local(runs, here, epoch)
            free_idle = idle and (here < grace_ends or (quiet is not None and _in_clock(minute, *quiet)))
            at_wh = before if before == after else (before + after) / 2
            yield Piece(here, there, after - before, activity, power, current, at_wh, minute, day, free_idle)
            here, before = there, after
        reading = final


class _Stretch(NamedTuple):
    """A segment with its edges as microseconds since the start of the session."""

    first: int
    last: int
    wh: Decimal
    activity: Activity
    power: Decimal | None
    current: Decimal | None


def _stretches(segments: Iterable[Segment], start: dt.datetime) -> list[_Stretch]:
    found: list[_Stretch] = []
    end, last = start, 0
    for segment in segments:
        first = last if segment.start == end else offset(segment.start, start)
        end = segment.end
        last = offset(end, start)
        power, current = segment.power_w, segment.current_a
        if not segment.energy_wh and segment.activity in (Activity.PARKING, Activity.HELD):
            # Without energy there was nothing to measure.
            power = _ZERO if power is None else power
            current = _ZERO if current is None else current
        found.append(_Stretch(first, last, segment.energy_wh, segment.activity, power, current))
    return found


def _joined(stretches: list[_Stretch], cuts: list[int], thresholds: tuple[Decimal, ...]) -> list[_Stretch]:
    """Join neighbours of the same kind where nothing that the tariff asks for changes between or inside them."""
    joined: list[_Stretch] = []
    since, until, total, activity, *_ = stretches[0]
    reading = total
    level = _level(thresholds, _ZERO, total)
    for stretch in stretches[1:]:
        first, last, wh, kind, *_ = stretch
        after = reading + wh
        here = _level(thresholds, reading, after)
        same = kind is activity and first == until and here == level and here is not None
        if same and (not cuts or bisect_right(cuts, since) == bisect_left(cuts, last)):
            until, total = last, total + wh
        else:
            joined.append(_Stretch(since, until, total, activity, None, None))
            since, until, total, activity, level = first, last, wh, kind, here
        reading = after
    joined.append(_Stretch(since, until, total, activity, None, None))
    return joined


def _level(thresholds: tuple[Decimal, ...], before: Decimal, after: Decimal) -> int | None:
    """Return between which thresholds the energy stays; None where it crosses or reaches one."""
    if not thresholds:
        return 0
    place = bisect_right(thresholds, before)
    return place if place == bisect_right(thresholds, after) else None


def _in_clock(minute: int, first: int, last: int) -> bool:
    return first <= minute < last if first < last else not last <= minute < first


def _marks(
    first: int, last: int, reading: Decimal, final: Decimal, cuts: list[int], thresholds: tuple[Decimal, ...]
) -> list[tuple[int, Decimal]]:
    """Return where the segment is cut, as (offset, energy since the start of the session), with both its ends."""
    energy, length = final - reading, last - first
    inner = [(cut, reading + (energy * (cut - first) / length).quantize(_QUANTUM, ROUND_HALF_EVEN)) for cut in cuts]
    if energy:
        low, high = (reading, final) if energy > 0 else (final, reading)
        for threshold in thresholds:
            if low < threshold < high:
                inner.append((first + int((threshold - reading) * length / energy), threshold))
    marks = [(first, reading)]
    for cut, level in sorted(inner, key=lambda mark: (mark[0], mark[1] if energy > 0 else -mark[1])):
        # Rounded readings must never run against the flow of energy.
        marks.append((cut, max(level, marks[-1][1]) if energy > 0 else min(level, marks[-1][1])))
    marks.append((last, final))
    return marks


def _zone_runs(time_zone: str, start: dt.datetime, begin: int, finish: int) -> list[tuple[int, int]]:
    """Return the stretches of constant distance to UTC as (first offset, microseconds ahead of UTC)."""
    zone = ZoneInfo(time_zone)

    def ahead(at: int) -> int:
        shift = (start + at * _MICROSECOND).astimezone(zone).utcoffset()
        return 0 if shift is None else shift // _MICROSECOND

    runs = [(begin, ahead(begin))]
    here = begin
    while here < finish:
        there = min(here + _DAY, finish)
        now = ahead(there)
        if now != runs[-1][1]:
            low, high = here, there
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if ahead(middle) == now else (middle, high)
            runs.append((high, now))
        here = there
    return runs


def _clock_cuts(runs: list[tuple[int, int]], minutes: tuple[int, ...], epoch: int, finish: int) -> Iterator[int]:
    for number, (begin, ahead) in enumerate(runs):
        end = runs[number + 1][0] if number + 1 < len(runs) else finish
        yield begin
        to_local = epoch + ahead
        for day in range((begin + to_local) // _DAY, (end + to_local) // _DAY + 1):
            for minute in minutes:
                cut = day * _DAY + minute * _MINUTE - to_local
                if begin < cut < end:
                    yield cut


def _local(runs: list[tuple[int, int]], at: int, epoch: int) -> tuple[int, int]:
    ahead = runs[0][1]
    for begin, later in runs[1:]:
        if begin > at:
            break
        ahead = later
    day, rest = divmod(at + epoch + ahead, _DAY)
    return rest // _MINUTE, day
