"""The fleet map: shapes cut to the frame, markers in it, labels that cover nothing."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stations import fleet_map
from stations.fleet_map import Place

BENELUX = [
    Place("Amsterdam", 4.9, 52.37, 8, "faulted"),
    Place("Utrecht", 5.12, 52.09, 3, "available"),
    Place("Rotterdam", 4.48, 51.92, 9, "charging"),
    Place("Antwerp", 4.40, 51.22, 5, "charging"),
    Place("Brussels", 4.35, 50.85, 7, "charging"),
    Place("Dortmund", 7.46, 51.51, 2, "offline"),
    Place("Hamburg", 10.0, 53.55, 6, "charging"),
]


def corners(path: str) -> list[tuple[float, float]]:
    """Follow the relative steps of SVG path data."""
    points = []
    for start, steps in re.findall(r"M([^l]+)l([^MZ]*)", path):
        x, y = map(float, start.split())
        points.append((x, y))
        numbers = [float(n) for n in re.findall(r"-?[\d.]+(?:e-?\d+)?", steps)]
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            points.append((x, y))
    return points


def test_north_is_up_and_east_is_right() -> None:
    _land, _borders, (hamburg, brussels) = fleet_map.project([(10.0, 53.55), (4.35, 50.85)], 348, 280)
    assert hamburg[0] > brussels[0]
    assert hamburg[1] < brussels[1]


def test_land_is_cut_to_the_frame_and_small_to_send() -> None:
    drawn = fleet_map.draw(BENELUX, 348, 280)
    points = corners(drawn.land)
    assert len(points) > 100
    assert all(-6 <= x <= 354 and -6 <= y <= 286 for x, y in points)
    assert drawn.borders
    assert len(drawn.land) + len(drawn.borders) < 10_000


def test_a_single_site_shows_its_surroundings() -> None:
    drawn = fleet_map.draw([Place("Rotterdam", 4.48, 51.92, 1, "available")])
    (marker,) = drawn.markers
    assert (marker.x, marker.y) == (pytest.approx(174, abs=1), pytest.approx(140, abs=1))
    assert drawn.land


def test_without_sites_the_whole_world_is_shown() -> None:
    drawn = fleet_map.draw([])
    assert drawn.markers == ()
    assert len(drawn.land) > 10_000


def test_far_from_europe_there_is_land_too() -> None:
    drawn = fleet_map.draw([Place("Austin", -97.7, 30.3, 3, "charging"), Place("Houston", -95.4, 29.8, 2, "charging")])
    assert drawn.land


def test_sites_that_would_cover_each_other_become_one_and_the_worst_speaks() -> None:
    drawn = fleet_map.draw(
        [
            Place("Quay 1", 4.4800, 51.92, 4, "charging"),
            Place("Quay 2", 4.4801, 51.92, 2, "faulted"),
            Place("Hamburg", 10.0, 53.55, 6, "charging"),
        ]
    )
    merged = next(m for m in drawn.markers if m.title == "Quay 1, Quay 2")
    assert (merged.count, merged.state, merged.label) == (6, "faulted", "Quay 1 +1")
    assert len(drawn.markers) == 2


def test_urgent_markers_lie_on_top() -> None:
    assert fleet_map.draw(BENELUX).markers[-1].state == "faulted"


def test_labels_cover_neither_each_other_nor_markers() -> None:
    markers = [m for m in fleet_map.draw(BENELUX).markers if m.label]
    assert len(markers) >= 6

    def box(m: fleet_map.Marker) -> tuple[float, float, float, float]:
        width = len(m.label) * 6
        left = {"start": m.label_x, "end": m.label_x - width, "middle": m.label_x - width / 2}[m.anchor]
        return left, m.label_y - 6, left + width, m.label_y + 6

    for one, other in combinations(markers, 2):
        a, b = box(one), box(other)
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (one.label, other.label)


places = st.builds(
    Place,
    st.text("abcde", min_size=1, max_size=14),
    st.floats(-179, 179),
    st.floats(-80, 80),
    st.integers(1, 900),
    st.sampled_from(["charging", "available", "faulted", "offline"]),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(places, min_size=1, max_size=8))
def test_every_station_is_on_the_map_wherever_it_is(sites: list[Place]) -> None:
    drawn = fleet_map.draw(sites, 300, 240)
    assert sum(m.count for m in drawn.markers) == sum(p.count for p in sites)
    assert all(0 <= m.x <= 300 and 0 <= m.y <= 240 for m in drawn.markers)
