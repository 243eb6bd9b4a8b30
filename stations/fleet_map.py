"""The fleet map as plain SVG geometry: land and borders around the sites, markers and their labels (pure).

Nothing is fetched from a tile server; the shapes come from ``stations/map/world.json`` (Natural Earth), are
projected by Web Mercator, cut to the frame and thinned to what its pixels can show.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

XY = tuple[float, float]
Box = tuple[float, float, float, float]
MarkerState = Literal["charging", "available", "faulted", "offline"]

# From calm to urgent: where markers merge, the most urgent one speaks for all.
_URGENCY: tuple[MarkerState, ...] = ("available", "charging", "offline", "faulted")
_SMALLEST_VIEW = 0.9  # degrees of longitude: a single site still shows where it is
_FINEST = 0.9  # pixels: detail below this is invisible
_LETTER, _LINE = 7.0, 14.0  # label metrics in pixels at 11 px semibold


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A site to show: ``lon`` and ``lat`` in degrees, ``count`` of its stations, where its page is."""

    name: str
    lon: float
    lat: float
    count: int
    state: MarkerState
    url: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Marker:
    """A drawn site, or several that would cover each other. The label is empty where there is no room.

    ``triangle`` holds the corners for a faulted marker, as an SVG ``points`` value.
    """

    x: float
    y: float
    radius: float
    count: int
    state: MarkerState
    title: str
    url: str
    label: str = ""
    label_x: float = 0
    label_y: float = 0
    anchor: Literal["start", "end", "middle"] = "start"

    @property
    def count_y(self) -> float:
        """Base line of the number inside."""
        return round(self.y + (5.5 if self.state == "faulted" else 3.5), 1)

    @property
    def triangle(self) -> str:
        """Corners of the marker's triangle."""
        side = self.radius * 1.25
        return f"{self.x:.1f},{self.y - side:.1f} {self.x + side:.1f},{self.y + side * 0.8:.1f} " + (
            f"{self.x - side:.1f},{self.y + side * 0.8:.1f}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class FleetMap:
    """All a template needs: frame size in pixels, two SVG path data strings, markers in drawing order."""

    width: int
    height: int
    land: str
    borders: str
    markers: tuple[Marker, ...]


def draw(places: Sequence[Place], width: int = 348, height: int = 280) -> FleetMap:
    """Return the map of ``places`` in a frame of ``width`` × ``height`` pixels."""
    land, borders, points = project([(p.lon, p.lat) for p in places], width, height)
    markers = _merge([_marker(place, at) for place, at in zip(places, points, strict=True)])
    return FleetMap(width, height, land, borders, tuple(_label(markers, width, height)))


def project(points: Sequence[XY], width: int, height: int) -> tuple[str, str, list[XY]]:
    """Fit (longitude, latitude) ``points`` into the frame.

    Returns the land and the borders as SVG path data, cut to the frame, and the points in pixels from the
    upper left corner. Without points the whole inhabited world is shown.
    """
    if points:
        xs, ys = [lon for lon, _ in points], [_mercator(lat) for _, lat in points]
        view = _frame(min(xs), min(ys), max(xs), max(ys), width, height)
    else:
        view = _frame(-140, _mercator(-50), 160, _mercator(68), width, height)
    land, borders = _shapes(view, width, height)
    return land, borders, [_pixel((lon, _mercator(lat)), view, width) for lon, lat in points]


def _mercator(lat: float) -> float:
    """Return the Web Mercator ordinate in degrees, so that both axes share a scale."""
    lat = max(-85.0, min(85.0, lat))
    return math.degrees(math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)))


def _frame(west: float, south: float, east: float, north: float, width: int, height: int) -> Box:
    """Widen the bounds to the shape of the frame, with room for markers and labels at its edges."""
    room_x, room_y = 1 - 2 * min(66, width / 5) / width, 1 - 2 * min(26, height / 5) / height
    span = max((east - west) / room_x, (north - south) / room_y * width / height, _SMALLEST_VIEW)
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    tall = span * height / width
    # Rounded so that a site moved by a few metres finds the shapes in the cache.
    return (
        round(middle_x - span / 2, 3),
        round(middle_y - tall / 2, 3),
        round(middle_x + span / 2, 3),
        round(middle_y + tall / 2, 3),
    )


def _pixel(point: XY, view: Box, width: int) -> XY:
    scale = width / (view[2] - view[0])
    return (round((point[0] - view[0]) * scale, 1), round((view[3] - point[1]) * scale, 1))


# --- land and borders ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    points: tuple[XY, ...]
    box: Box


@functools.cache
def _world() -> tuple[tuple[_Shape, ...], tuple[_Shape, ...]]:
    """Read the file once: rings of land and border lines, in degrees and Mercator ordinates."""
    data: dict[str, Any] = json.loads((Path(__file__).parent / "map" / "world.json").read_text())
    arcs = [_decode(text, data["steps"]) for text in data["arcs"]]

    def ring(numbers: list[int]) -> Iterable[XY]:
        for number in numbers:
            yield from arcs[number] if number >= 0 else reversed(arcs[~number])

    return (
        tuple(_shape(tuple(ring(numbers))) for numbers in data["land"]),
        tuple(_shape(tuple(arcs[number])) for number in data["borders"]),
    )


def _shape(points: tuple[XY, ...]) -> _Shape:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return _Shape(points, (min(xs), min(ys), max(xs), max(ys)))


def _decode(text: str, steps: int) -> list[XY]:
    """Undo the "encoded polyline" scheme (see ``stations/map/build.py``)."""
    values: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 63
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits < 0x20:
            values.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    points = []
    x = y = 0
    for dx, dy in zip(values[::2], values[1::2], strict=True):
        x, y = x + dx, y + dy
        points.append((x / steps, _mercator(y / steps)))
    return points


@functools.lru_cache(maxsize=64)
def _shapes(view: Box, width: int, height: int) -> tuple[str, str]:
    # Cut a little outside the frame: the outline along the cut must not show.
    margin = 4 * (view[2] - view[0]) / width
    outer = (view[0] - margin, view[1] - margin, view[2] + margin, view[3] + margin)
    land, borders = _world()
    rings = [_cut_ring(shape.points, outer) for shape in land if _meet(shape.box, outer)]
    lines = [piece for shape in borders if _meet(shape.box, outer) for piece in _cut_line(shape.points, outer)]
    return (
        "".join(_path([_pixel(p, view, width) for p in ring], "Z") for ring in rings if len(ring) > 2),
        "".join(_path([_pixel(p, view, width) for p in line], "") for line in lines),
    )


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cut_ring(points: Sequence[XY], box: Box) -> list[XY]:
    """Sutherland and Hodgman: cut a ring to a box, edge by edge."""
    ring = list(points)
    for axis, limit, keep_above in ((0, box[0], True), (0, box[2], False), (1, box[1], True), (1, box[3], False)):
        kept: list[XY] = []
        for i, point in enumerate(ring):
            before = ring[i - 1]
            inside, was_inside = ((p[axis] >= limit) == keep_above for p in (point, before))
            if inside != was_inside:
                t = (limit - before[axis]) / (point[axis] - before[axis])
                crossing = before[1 - axis] + t * (point[1 - axis] - before[1 - axis])
                kept.append((limit, crossing) if axis == 0 else (crossing, limit))
            if inside:
                kept.append(point)
        ring = kept
        if not ring:
            break
    return ring


def _cut_line(points: Sequence[XY], box: Box) -> list[list[XY]]:
    """Keep the pieces of a line that touch the box; what sticks out is hidden by the frame."""
    pieces: list[list[XY]] = []
    open_piece = False
    for a, b in itertools.pairwise(points):
        if _meet((min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), box):
            if not open_piece:
                pieces.append([a])
            pieces[-1].append(b)
            open_piece = True
        else:
            open_piece = False
    return pieces


def _path(points: list[XY], end: str) -> str:
    """Write SVG path data in relative steps, leaving out points nearer than `_FINEST` to the last one written."""
    kept = points[:1]
    for point in points[1:-1]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= _FINEST:
            kept.append(point)
    kept += points[-1:]
    if end and len(kept) < 5 and max(abs(x - kept[0][0]) + abs(y - kept[0][1]) for x, y in kept) < 2:
        return ""  # an islet that would be a dot
    steps = (f"{round(x - before[0], 1):g} {round(y - before[1], 1):g}" for before, (x, y) in itertools.pairwise(kept))
    return f"M{kept[0][0]:g} {kept[0][1]:g}l" + " ".join(steps).replace(" -", "-") + end


# --- markers and labels ----------------------------------------------------------------------------


def _marker(place: Place, at: XY) -> Marker:
    radius = 8 + min(4.0, math.sqrt(place.count) * 0.9)
    return Marker(at[0], at[1], radius, place.count, place.state, place.name, place.url)


def _merge(markers: list[Marker]) -> list[Marker]:
    """Join markers that would cover each other by more than a third; busier ones stay where they are."""
    result: list[Marker] = []
    for marker in sorted(markers, key=lambda m: -m.count):
        for i, other in enumerate(result):
            if math.dist((marker.x, marker.y), (other.x, other.y)) < (marker.radius + other.radius) * 0.66:
                worst = max(marker.state, other.state, key=_URGENCY.index)
                result[i] = dataclasses.replace(
                    other, count=other.count + marker.count, state=worst, title=f"{other.title}, {marker.title}"
                )
                break
        else:
            result.append(marker)
    return result


def _label(markers: list[Marker], width: int, height: int) -> list[Marker]:
    """Put each name to the right, left, above or below its marker, wherever it covers nothing."""
    taken: list[Box] = [(m.x - m.radius, m.y - m.radius, m.x + m.radius, m.y + m.radius) for m in markers]
    labelled = []
    for marker in markers:
        first, *more = marker.title.split(", ")
        text = f"{first} +{len(more)}" if more else first
        half, gap = len(text) * _LETTER / 2, marker.radius + 6
        spots: tuple[tuple[float, float, Literal["start", "end", "middle"]], ...] = (
            (marker.x + gap, marker.y, "start"),
            (marker.x - gap, marker.y, "end"),
            (marker.x, marker.y - gap - 3, "middle"),
            (marker.x, marker.y + gap + 4, "middle"),
        )
        for x, y, anchor in spots:
            left = {"start": x, "end": x - 2 * half, "middle": x - half}[anchor]
            box = (left, y - _LINE / 2, left + 2 * half, y + _LINE / 2)
            inside = box[0] >= 2 and box[1] >= 2 and box[2] <= width - 2 and box[3] <= height - 2
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                marker = dataclasses.replace(marker, label=text, label_x=x, label_y=y, anchor=anchor)
                break
        labelled.append(marker)
    # The urgent ones are drawn last, on top.
    return sorted(labelled, key=lambda m: _URGENCY.index(m.state))
