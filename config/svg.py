"""Geometry of the small charts that the server draws (pure): lines, areas, columns, gauges, shares.

Sizes are pixels of the SVG's own coordinate system, the origin is the upper left corner. Widths that follow
the page are given in percent, since a strict content security policy leaves no room for style attributes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """A line, the closed area under it, and where it ends. ``scale_y`` maps a value to its ordinate."""

    line: str
    area: str
    end_x: float
    end_y: float
    top: float
    height: float

    def scale_y(self, value: float) -> float:
        """Return the ordinate of ``value``."""
        return round(self.height - value / self.top * self.height, 1)


def curve(
    points: Sequence[tuple[float, float]],
    *,
    width: float,
    height: float,
    start: float | None = None,
    end: float | None = None,
    top: float | None = None,
    most: int = 240,
) -> Curve | None:
    """Return the curve of (time, value) points from zero to ``top``, None without points.

    ``start`` and ``end`` widen the time axis; ``top`` defaults to the largest value. More than ``most``
    points are thinned to the largest of each stretch, so that peaks stay.
    """
    if not points:
        return None
    if len(points) > most:
        step = math.ceil(len(points) / most)
        points = [max(points[i : i + step], key=lambda p: p[1]) for i in range(0, len(points), step)]
    first = points[0][0] if start is None else start
    last = points[-1][0] if end is None else end
    run = max(last - first, 1e-9)
    limit = max(top or 0, *(value for _, value in points), 1e-9)
    dots = [(round((t - first) / run * width, 1), round(height - max(v, 0) / limit * height, 1)) for t, v in points]
    line = "M" + "L".join(f"{x:g} {y:g}" for x, y in dots)
    return Curve(line, f"{line}V{height:g}H{dots[0][0]:g}Z", *dots[-1], limit, height)


def sparkline(values: Sequence[float], *, width: float = 160, height: float = 24) -> str:
    """Return the path of ``values`` between their own smallest and largest; empty for fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    rise = (high - low) or 1
    step = width / (len(values) - 1)
    return "M" + "L".join(
        f"{round(i * step, 1):g} {round(height - 2 - (v - low) / rise * (height - 4), 1):g}"
        for i, v in enumerate(values)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """One part of a bar: where it starts and how wide it is, both in percent."""

    x: float
    width: float


def shares(counts: Sequence[float], *, gap: float = 0.7) -> list[Share]:
    """Return the parts of a full bar for positive ``counts``, with ``gap`` percent between them."""
    total = sum(counts)
    if total <= 0:
        return []
    room = 100 - gap * (len(counts) - 1)
    parts, x = [], 0.0
    for count in counts:
        width = count / total * room
        parts.append(Share(round(x, 2), round(width, 2)))
        x += width + gap
    return parts


@dataclasses.dataclass(frozen=True, slots=True)
class Gauge:
    """A half circle: its path, and the tick of a target value across it."""

    path: str
    tick: tuple[float, float, float, float] | None


def gauge(*, radius: float, centre: tuple[float, float], target: float | None = None) -> Gauge:
    """Return the half circle over ``centre``; ``target`` (0 to 1) adds a tick."""
    x, y = centre
    path = f"M{x - radius:g} {y:g}A{radius:g} {radius:g} 0 0 1 {x + radius:g} {y:g}"
    if target is None:
        return Gauge(path, None)
    angle = math.pi * (1 - max(0.0, min(1.0, target)))
    inner, outer = radius - 15, radius + 15
    ends = tuple(round(v, 1) for r in (inner, outer) for v in (x + r * math.cos(angle), y - r * math.sin(angle)))
    return Gauge(path, (ends[0], ends[1], ends[2], ends[3]))


def ticks(top: float, *, about: int = 4) -> list[float]:
    """Return round values from zero to at least ``top``: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if top <= 0:
        return [0, 1]
    raw = top / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [round(step * i, 10) for i in range(math.ceil(top / step - 1e-9) + 1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart: ``x`` and ``width`` in percent, ``y`` and ``height`` in pixels."""

    x: float
    width: float
    y: float
    height: float


def columns(values: Sequence[float], *, height: float, top: float, head: float = 0) -> list[Column]:
    """Return a column per value, evenly spread over the width, for ``height`` pixels between 0 and ``top``.

    ``head`` is the ordinate of the upper edge. Negative values are drawn as zero.
    """
    pitch = 100 / max(len(values), 1)
    thick = min(6.0, pitch * 0.68)
    result = []
    for i, value in enumerate(values):
        tall = max(0.0, value) / top * height if top > 0 else 0.0
        x = pitch * i + (pitch - thick) / 2
        result.append(Column(round(x, 2), round(thick, 2), round(head + height - tall, 1), round(tall, 1)))
    return result
