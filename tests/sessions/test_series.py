"""Curves of a session: few points, every peak, nothing twice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Membership, Operator
from sessions import series
from sessions.models import ChargingSession
from sessions.series import Point
from stations.models import Station
from tests.people import Browser
from tests.sessions import scene

START = dt.datetime(2026, 11, 10, 17, 0, tzinfo=dt.UTC)


def point(second: int, power: int | None, energy: int | None = None, soc: int | None = None) -> Point:
    numbers = (None if value is None else Decimal(value) for value in (energy, power, soc))
    return Point(START + dt.timedelta(seconds=second), *numbers)


class TestThinning:
    @given(st.lists(st.integers(0, 350_000), min_size=1, max_size=3000), st.integers(4, 400))
    def test_keeps_the_ends_and_the_extremes(self, watts: list[int], most: int) -> None:
        points = [point(second, power) for second, power in enumerate(watts)]
        kept = series.thinned(points, most)
        assert len(kept) <= most
        assert kept[0] == points[0]
        assert kept[-1] == points[-1]
        assert [p.at for p in kept] == sorted({p.at for p in kept})
        assert set(kept) <= set(points)
        powers = [p.power_w for p in kept if p.power_w is not None]
        assert (max(powers), min(powers)) == (max(watts), min(watts))

    def test_few_points_stay_as_they_are(self) -> None:
        points = [point(second, second) for second in range(400)]
        assert series.thinned(points) == points
        assert len(series.thinned([*points, point(400, 1)])) <= 400


class TestChart:
    def test_each_curve_has_its_unit_and_leaves_out_what_was_not_told(self) -> None:
        points = [point(0, 11_000, 0, None), point(60, None, 180, 40), point(120, 7_400, 300, 41)]
        power = series.chart(points, "power", limit_w=22_000)
        assert power["unit"] == "kW"
        assert power["times"] == [START.timestamp(), START.timestamp() + 120]
        assert [s["values"] for s in power["series"]] == [[11.0, 7.4], [22.0, 22.0]]
        assert series.chart(points, "energy")["series"][0]["values"] == [0.0, 0.18, 0.3]
        assert series.chart(points, "soc", limit_w=22_000)["series"] == [
            {"name": "Charge level", "style": "area", "values": [40.0, 41.0]}
        ]

    @given(st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2090, 1, 1)))
    def test_a_point_is_not_later_than_its_own_stamp(self, naive: dt.datetime) -> None:
        at = naive.replace(tzinfo=dt.UTC)
        [stamp] = series.chart([Point(at, None, Decimal(1), None)], "power")["times"]
        known = series.moment(str(stamp))
        assert known is not None
        assert at <= known < at + dt.timedelta(milliseconds=1)

    @pytest.mark.parametrize("text", ["", "soon", "nan", "1e400"])
    def test_what_is_no_stamp(self, text: str) -> None:
        assert series.moment(text) is None


class TestTrend:
    def test_80_percent_as_the_level_rose_lately(self) -> None:
        points = [point(60 * minute, 50_000, soc=40 + 2 * minute) for minute in range(11)]
        assert series.reaches(points, 80) == points[-1].at + dt.timedelta(minutes=10)

    def test_nobody_can_tell(self) -> None:
        assert series.reaches([], 80) is None
        assert series.reaches([point(0, 1, soc=40), point(600, 1, soc=40)], 80) is None
        assert series.reaches([point(0, 1, soc=79), point(60, 1, soc=80)], 80) is None
        assert series.reaches([point(0, 1), point(60, 1)], 80) is None


@pytest.fixture
def pole(tenant: Operator) -> Station:
    return scene.station(tenant)


@pytest.mark.django_db
class TestCourse:
    def registers(self, pole: Station, values: list[tuple[int, str]], **fields: object) -> ChargingSession:
        session = scene.world.session(pole, ended=False, **fields)
        for second, wh in values:
            scene.reading(session, session.started_at + dt.timedelta(seconds=second), wh)
        return session

    def test_power_is_the_mean_between_registers_where_none_was_told(self, pole: Station) -> None:
        session = self.registers(pole, [(0, "120000"), (60, "120100"), (120, "120100"), (180, "120400")])
        assert [p.power_w for p in series.course(session)] == [None, Decimal("6000"), 0, Decimal("18000")]
        assert [p.energy_wh for p in series.course(session)] == [0, 100, 100, 400]

    def test_a_meter_that_counts_each_session_from_zero(self, pole: Station) -> None:
        session = self.registers(pole, [(0, "0"), (60, "100"), (120, "250")])
        assert [p.energy_wh for p in series.course(session)] == [0, 100, 250]

    def test_told_power_counts_where_there_is_some(self, pole: Station) -> None:
        session = scene.running(pole, minutes=3)
        scene.reading(session, session.started_at + dt.timedelta(seconds=90), "999999")
        assert {p.power_w for p in series.course(session)} == {Decimal(11_000), None}

    def test_later_points_continue_the_curve(self, pole: Station) -> None:
        values = [(30 * n, str(120_000 + 40 * n * n)) for n in range(20)]
        session = self.registers(pole, values)
        whole = series.course(session)
        for cut in (0, 7, 18, 19):
            later = series.course(session, after=whole[cut].at)
            assert later == whole[cut + 1 :]

    def test_frozen_facts_stand_for_readings_that_are_gone(self, pole: Station) -> None:
        session = scene.ended(pole, settled=False, idle=600)
        points = series.course(session)
        assert [p.energy_wh for p in points] == [0, Decimal("31204"), Decimal("31204"), Decimal("31204")]
        assert points[0].at == session.started_at
        assert points[-1].at == session.stopped_at

    def test_a_day_of_readings_every_ten_seconds_is_thinned(self, pole: Station) -> None:
        session = scene.world.session(pole, ended=False)
        peak = 4321
        rows = [
            scene.MeterReading(
                session=session,
                at=session.started_at + dt.timedelta(seconds=10 * n),
                digest=f"{n:016x}",
                received_at=session.started_at,
                power_w=22_000 if n == peak else 7_400 + n % 5,
            )
            for n in range(8640)
        ]
        scene.MeterReading.objects.bulk_create(rows)
        points = series.course(session)
        assert len(points) <= series.MOST
        assert max(p.power_w or 0 for p in points) == 22_000


@pytest.mark.django_db
class TestAddress:
    def test_whole_and_then_what_is_new(self, pole: Station, owner: Membership, browser: Browser) -> None:
        session = scene.running(pole, minutes=5)
        page, url = browser(owner), f"/console/sessions/{session.uuid}/series/"
        whole = page.get(url).json()
        assert whole["unit"] == "kW"
        assert whole["series"][0]["values"] == [11.0] * 5
        assert whole["series"][1]["values"] == [22.0] * 5  # the rated power of the station
        assert "after" not in whole
        scene.reading(session, session.last_reading_at + scene.MINUTE, "125100", power_w="3700")
        new = page.get(url, {"after": whole["times"][-1]}).json()
        assert new["after"] == str(whole["times"][-1])
        assert [s["values"] for s in new["series"]] == [[3.7], [22.0]]
        assert page.get(url, {"of": "energy"}).json()["series"][0]["values"][-1] == 5.1
        assert page.get(url, {"of": "nonsense"}).json()["unit"] == "kW"

    def test_a_stranger_finds_nothing(self, pole: Station, stranger: Membership, browser: Browser) -> None:
        session = scene.running(pole, minutes=1)
        assert browser(stranger).get(f"/console/sessions/{session.uuid}/series/").status_code == 404
