"""The course of a session for charts: power, energy and charge level over time, thinned without losing peaks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from sessions.facts import SessionFacts
from sessions.models import ChargingSession, MeterReading
from sessions.readings import energy_so_far

MOST = 400
TREND = dt.timedelta(minutes=10)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
CURVES = ("power", "energy", "soc")


class Point(NamedTuple):
    """One moment: energy in Wh since the start, power in W, charge level in percent; None where not told."""

    at: dt.datetime
    energy_wh: Decimal | None
    power_w: Decimal | None
    soc_percent: Decimal | None


def course(session: ChargingSession, *, after: dt.datetime | None = None, most: int = MOST) -> list[Point]:
    """Return at most ``most`` points of a session in order, those later than ``after`` alone where it is given.

    Where the station never told power, it is the mean between two registers. Where the readings are gone, the
    frozen facts stand for them.
    """
    rows = MeterReading.objects.filter(session_id=session.pk).order_by("at", "received_at")
    told = rows.values_list("at", "energy_wh", "power_w", "soc_percent")
    if after is None:
        points = _points(session, list(told), first=None)
        if not points and session.facts is not None:
            points = _of_facts(SessionFacts.from_json(session.facts))
        return thinned(points, most)
    with_register = told.filter(energy_wh__isnull=False)
    first = with_register.first()
    before = list(with_register.filter(at__lte=after).reverse()[:1])
    points = _points(session, [*before, *told.filter(at__gt=after)], first=first[1] if first else None)
    return thinned([point for point in points if point.at > after], most)


def thinned(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """Return at most ``most`` of the points: the ends, and of each stretch between the lowest and the highest power."""
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    stretches = most // 2 - 1
    kept = {0, len(points) - 1}
    for number in range(stretches):
        first, last = len(inner) * number // stretches, len(inner) * (number + 1) // stretches
        stretch = range(first + 1, last + 1)
        kept.add(min(stretch, key=lambda index: _height(points[index])))
        kept.add(max(stretch, key=lambda index: _height(points[index])))
    return [points[index] for index in sorted(kept)]


def chart(points: Sequence[Point], of: str, *, limit_w: int | None = None) -> dict[str, Any]:
    """Return one curve (of `CURVES`) as the browser draws it; ``limit_w`` adds a line to the power."""
    names = {"power": _("Drawn"), "energy": _("Energy"), "soc": _("Charge level")}
    units = {"power": "kW", "energy": "kWh", "soc": "%"}
    values = [_value(point, of) for point in points]
    shown = [(point, value) for point, value in zip(points, values, strict=True) if value is not None]
    series = [{"name": names[of], "style": "area", "values": [value for _point, value in shown]}]
    if of == "power" and limit_w and shown:
        series.append({"name": _("Limit"), "style": "limit", "values": [limit_w / 1000] * len(shown)})
    return {"unit": units[of], "times": [_stamp(point.at) for point, _value in shown], "series": series}


def _stamp(at: dt.datetime) -> float:
    """Return seconds since 1970, rounded up to the millisecond, so that the point is not after itself."""
    return -(-(at - _EPOCH) // _MILLISECOND) / 1000


def moment(stamp: str) -> dt.datetime | None:
    """Return the moment of a stamp as `chart` gives it; None for anything else."""
    try:
        return _EPOCH + round(float(stamp) * 1000) * _MILLISECOND
    except (ValueError, OverflowError):
        return None


def reaches(points: Sequence[Point], target: int) -> dt.datetime | None:
    """Return about when the charge level will be ``target`` percent, as it rose lately; None where nobody can tell."""
    told = [(point.at, point.soc_percent) for point in points if point.soc_percent is not None]
    if not told or told[-1][1] >= target:
        return None
    last_at, last = told[-1]
    since_at, since = next((at, level) for at, level in told if at >= last_at - TREND)
    if last <= since:
        return None
    return last_at + (last_at - since_at) * float((target - last) / (last - since))


def _points(
    session: ChargingSession,
    rows: Sequence[tuple[dt.datetime, Decimal | None, Decimal | None, Decimal | None]],
    *,
    first: Decimal | None,
) -> list[Point]:
    derives = session.power_w is None and all(power is None for _at, _wh, power, _soc in rows)
    points: list[Point] = []
    before: Point | None = None  # the latest with a register
    for at, register, power, soc in rows:
        energy = None
        if register is not None:
            first = register if first is None else first
            energy = energy_so_far(session.meter_start_wh, first, register)
        point = Point(at, energy, power, soc)
        if derives and energy is not None:
            point = point._replace(power_w=_mean_power(before, point))
        if energy is not None:
            before = point
        if point.energy_wh is not None or point.power_w is not None or point.soc_percent is not None:
            points.append(point)
    return points


def _mean_power(before: Point | None, here: Point) -> Decimal | None:
    if before is None or before.energy_wh is None or here.energy_wh is None:
        return None
    seconds = Decimal((here.at - before.at) // dt.timedelta(milliseconds=1)) / 1000
    if seconds <= 0:
        return before.power_w
    return (max(here.energy_wh - before.energy_wh, Decimal(0)) * 3600 / seconds).quantize(Decimal("0.1"))


def _of_facts(facts: SessionFacts) -> list[Point]:
    points, energy = [], Decimal(0)
    for segment in facts.segments:
        points.append(Point(segment.start, energy, segment.power_w, None))
        energy += segment.energy_wh
        points.append(Point(segment.end, energy, segment.power_w, None))
    return points


def _height(point: Point) -> Decimal:
    if point.power_w is not None:
        return point.power_w
    return point.energy_wh if point.energy_wh is not None else Decimal(-1)


def _value(point: Point, of: str) -> float | None:
    match of:
        case "power":
            return None if point.power_w is None else round(float(point.power_w) / 1000, 3)
        case "energy":
            return None if point.energy_wh is None else round(float(point.energy_wh) / 1000, 3)
    return None if point.soc_percent is None else float(point.soc_percent)
