"""Geometry of the small charts."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import svg

amounts = st.floats(min_value=0, max_value=1e9, allow_nan=False)


def test_curve_runs_from_the_lower_left_to_its_last_point() -> None:
    curve = svg.curve([(0, 0), (60, 50), (120, 100)], width=200, height=100)
    assert curve is not None
    assert curve.line == "M0 100L100 50L200 0"
    assert curve.area == "M0 100L100 50L200 0V100H0Z"
    assert (curve.end_x, curve.end_y) == (200, 0)


def test_curve_leaves_room_for_what_is_to_come() -> None:
    curve = svg.curve([(0, 10), (60, 10)], width=200, height=100, end=120, top=20)
    assert curve is not None
    assert (curve.end_x, curve.end_y) == (100, 50)
    assert curve.scale_y(20) == 0


def test_curve_without_points_is_none() -> None:
    assert svg.curve([], width=10, height=10) is None


def test_thinning_a_curve_keeps_its_peak() -> None:
    points = [(float(i), 1000.0 if i == 777 else 1.0) for i in range(2000)]
    curve = svg.curve(points, width=400, height=100, most=100)
    assert curve is not None
    assert curve.line.count("L") < 100
    assert " 0L" in curve.line


@given(st.lists(amounts, min_size=2, max_size=50))
def test_sparkline_stays_in_its_frame(values: list[float]) -> None:
    path = svg.sparkline(values, width=100, height=20)
    for dot in path[1:].split("L"):
        x, y = map(float, dot.split())
        assert -0.1 <= x <= 100.1
        assert 1.9 <= y <= 18.1


def test_sparkline_of_one_value_is_nothing() -> None:
    assert svg.sparkline([4]) == ""


@given(st.lists(st.integers(min_value=1, max_value=10_000), min_size=1, max_size=12))
def test_shares_fill_the_bar_in_proportion(counts: list[int]) -> None:
    parts = svg.shares(counts)
    assert parts[0].x == 0
    assert parts[-1].x + parts[-1].width == pytest.approx(100, abs=0.2)
    room = 100 - 0.7 * (len(counts) - 1)
    for part, count in zip(parts, counts, strict=True):
        assert part.width == pytest.approx(count / sum(counts) * room, abs=0.01)


def test_no_shares_of_nothing() -> None:
    assert svg.shares([0, 0]) == []


def test_gauge_has_its_tick_where_the_target_is() -> None:
    shape = svg.gauge(radius=100, centre=(150, 120), target=0.5)
    assert shape.path == "M50 120A100 100 0 0 1 250 120"
    assert shape.tick == (150.0, 35.0, 150.0, 5.0)
    assert svg.gauge(radius=100, centre=(150, 120)).tick is None


@pytest.mark.parametrize(
    ("top", "marks"),
    [(3306, [0, 1000, 2000, 3000, 4000]), (100, [0, 25, 50, 75, 100]), (0, [0, 1]), (0.9, [0, 0.25, 0.5, 0.75, 1])],
)
def test_ticks_are_round(top: float, marks: list[float]) -> None:
    assert svg.ticks(top) == marks


@given(st.floats(min_value=1e-3, max_value=1e9, allow_nan=False))
def test_ticks_reach_the_top_without_waste(top: float) -> None:
    marks = svg.ticks(top)
    assert marks[-1] >= top * 0.999
    assert len(marks) <= 6
    assert marks[-2] < top


@given(st.lists(amounts, min_size=1, max_size=31))
def test_columns_stand_beside_each_other(values: list[float]) -> None:
    columns = svg.columns(values, height=100, top=max(values) or 1, head=10)
    for one, other in itertools.pairwise(columns):
        assert one.x + one.width < other.x + 0.02
    for column in columns:
        assert math.isclose(column.y + column.height, 110, abs_tol=0.11)
        assert 0 <= column.x <= column.x + column.width <= 100.01


def test_a_negative_column_is_drawn_as_zero() -> None:
    assert svg.columns([-5, 5], height=10, top=5)[0].height == 0
