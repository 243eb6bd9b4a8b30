"""Make world.json from the TopoJSON of Natural Earth that npm's ``world-atlas`` carries (ISC, public domain).

    python stations/map/build.py path/to/countries-10m.json

Coast lines and borders are thinned: to about 400 m in Europe, to about 4 km elsewhere, and small islands
go. Each arc is kept once, so that land and borders never part. Coordinates are whole steps of 1/500 degree,
written as the printable deltas of the "encoded polyline" scheme, which keeps the file under 400 KB.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

STEPS = 500
Point = tuple[float, float]


def main(source: Path) -> None:
    """Read the TopoJSON at ``source`` and write world.json beside this file."""
    topology = json.loads(source.read_text())
    arcs = [_thin(arc) for arc in _absolute(topology)]
    (land,) = topology["objects"]["land"]["geometries"]
    rings = [ring for polygon in land["arcs"] for ring in polygon if _worth_drawing(ring, arcs)]
    coast = {_index(arc) for ring in rings for arc in ring}
    inland = {_index(a) for g in topology["objects"]["countries"]["geometries"] for a in _flat(g.get("arcs", []))}
    every_coast = {_index(arc) for polygon in land["arcs"] for ring in polygon for arc in ring}
    borders = sorted(inland - every_coast)
    new_number = {old: new for new, old in enumerate(sorted(coast | set(borders)))}
    world = {
        "source": "Natural Earth 1:10m, world-atlas 2.0.2",
        "steps": STEPS,
        "land": [[new_number[a] if a >= 0 else ~new_number[~a] for a in ring] for ring in rings],
        "borders": [new_number[a] for a in borders],
        "arcs": [_encode(arcs[old]) for old in sorted(new_number)],
    }
    Path(__file__).with_name("world.json").write_text(json.dumps(world, separators=(",", ":")) + "\n")


def _absolute(topology: dict[str, Any]) -> list[list[Point]]:
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for deltas in topology["arcs"]:
        x = y = 0
        arc = []
        for dx, dy in deltas:
            x, y = x + dx, y + dy
            arc.append((x * scale[0] + shift[0], y * scale[1] + shift[1]))
        arcs.append(arc)
    return arcs


def _thin(arc: list[Point]) -> list[Point]:
    """Douglas and Peucker, with degrees of longitude shortened by the latitude."""
    european = any(-12 <= x <= 32 and 35 <= y <= 66 for x, y in arc)
    tolerance, narrow = 0.004 if european else 0.04, math.cos(math.radians(arc[0][1]))
    keep = {0, len(arc) - 1}
    spans = [(0, len(arc) - 1)]
    while spans:
        first, last = spans.pop()
        (ax, ay), (bx, by) = arc[first], arc[last]
        run, rise = (bx - ax) * narrow, by - ay
        square = run * run + rise * rise
        worst, where = tolerance**2, None
        for i in range(first + 1, last):
            x, y = (arc[i][0] - ax) * narrow, arc[i][1] - ay
            t = max(0.0, min(1.0, (x * run + y * rise) / square)) if square else 0.0
            off = (x - t * run) ** 2 + (y - t * rise) ** 2
            if off > worst:
                worst, where = off, i
        if where is not None:
            keep.add(where)
            spans += [(first, where), (where, last)]
    return [arc[i] for i in sorted(keep)]


def _worth_drawing(ring: list[int], arcs: list[list[Point]]) -> bool:
    points = [p for a in ring for p in arcs[_index(a)]]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if max(ys) < -60:  # Antarctica has no chargers
        return False
    european = any(-12 <= x <= 32 and 35 <= y <= 66 for x, y in points)
    return max(max(xs) - min(xs), max(ys) - min(ys)) > (0.03 if european else 0.25)


def _index(arc: int) -> int:
    return arc if arc >= 0 else ~arc


def _flat(arcs: Any) -> list[int]:
    return [arcs] if isinstance(arcs, int) else [a for part in arcs for a in _flat(part)]


def _encode(arc: list[Point]) -> str:
    text: list[str] = []
    before = (0, 0)
    for point in arc:
        step = (round(point[0] * STEPS), round(point[1] * STEPS))
        for value in (step[0] - before[0], step[1] - before[1]):
            rest = value << 1 if value >= 0 else ~(value << 1)
            while rest >= 0x20:
                text.append(chr((0x20 | (rest & 0x1F)) + 63))
                rest >>= 5
            text.append(chr(rest + 63))
        before = step
    return "".join(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
