"""How long the log is kept, by age and by size."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from stations import retention
from stations.models import Frame, Station
from stations.retention import drop_old_frames
from tests.billing import world

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
ON_SQLITE = connection.vendor == "sqlite"
sqlite_only = pytest.mark.skipif(not ON_SQLITE, reason="the embedded database")
postgres_only = pytest.mark.skipif(ON_SQLITE, reason="needs PostgreSQL")


@pytest.fixture
def pole(db: None) -> Station:
    return world.station(world.site(world.operator()))


def frame(pole: Station, at: dt.datetime, action: str = "StatusNotification", text: str = "{}") -> Frame:
    return Frame(station=pole, at=at, direction=0, action=action, text=text)


def kept() -> list[tuple[dt.datetime, str]]:
    return sorted(Frame.objects.values_list("at", "action"))


@pytest.mark.django_db
def test_meter_values_stay_a_week_and_the_rest_a_month(pole: Station) -> None:
    ages = [40 * DAY, 30 * DAY + HOUR, 30 * DAY - HOUR, 8 * DAY, 7 * DAY + HOUR, 7 * DAY - HOUR, HOUR, 0 * HOUR]
    rows = [frame(pole, NOW - age, action) for age in ages for action in ("MeterValues", "BootNotification")]
    Frame.objects.bulk_create(rows)
    assert drop_old_frames(NOW) == 7
    assert kept() == sorted(
        [(NOW - age, "BootNotification") for age in ages if age < 30 * DAY]
        + [(NOW - age, "MeterValues") for age in ages if age < 7 * DAY]
    )
    assert drop_old_frames(NOW) == 0


@pytest.mark.django_db
def test_an_empty_log_stays_empty() -> None:
    assert drop_old_frames(NOW) == 0


@sqlite_only
@pytest.mark.django_db
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40 * 24), st.booleans()), max_size=60))
def test_any_log_is_cut_where_its_time_is_over(rows: list[tuple[int, bool]]) -> None:
    """Ids rise with time; rows are gone where others were dropped before."""
    Frame.objects.all().delete()
    pole = Station.objects.first() or world.station(world.site(world.operator()))
    for hours, is_meter in sorted(rows, reverse=True):
        row = frame(pole, NOW - hours * HOUR, "MeterValues" if is_meter else "Heartbeat")
        row.save()
        if hours % 5 == 0:
            row.delete()
    expected = [(at, action) for at, action in kept() if at >= NOW - (7 if action == "MeterValues" else 30) * DAY]
    drop_old_frames(NOW)
    assert kept() == expected


@sqlite_only
@pytest.mark.django_db
def test_beyond_its_room_the_oldest_give_way(pole: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [frame(pole, NOW - HOUR + n * dt.timedelta(seconds=1), text="x" * 2000) for n in range(900)]
    Frame.objects.bulk_create(rows)
    each = 2000 + retention.ROW_BYTES
    monkeypatch.setattr(retention, "MAX_BYTES", 500 * each)
    assert drop_old_frames(NOW) == 400
    assert kept()[0][0] == NOW - HOUR + dt.timedelta(seconds=400)
    assert drop_old_frames(NOW) == 0


@sqlite_only
@pytest.mark.django_db
def test_a_log_inside_its_room_is_not_even_measured(pole: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    Frame.objects.bulk_create([frame(pole, NOW) for _ in range(10)])
    monkeypatch.setattr(retention, "MAX_BYTES", 2**40)
    with connection.execute_wrapper(_no_sum):
        drop_old_frames(NOW)


def _no_sum(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
    assert "SUM(" not in sql
    return execute(sql, params, many, context)


# --- partitions --------------------------------------------------------------------------------------


def partitions() -> list[str]:
    return sorted(retention._partitions().values())


@postgres_only
@pytest.mark.django_db
def test_days_get_partitions_ahead_and_lose_them_after_a_month(pole: Station) -> None:
    drop_old_frames(NOW)
    first = [f"stations_frame_d{NOW + n * DAY:%Y%m%d}" for n in range(8)]
    assert partitions() == first
    for n in range(8):
        frame(pole, NOW + n * DAY, "BootNotification").save()
        frame(pole, NOW + n * DAY, "MeterValues").save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ONLY stations_frame_default")
        assert cursor.fetchone()[0] == 0
    later = NOW + 10 * DAY  # three days are over a week old: thinned, each swapped for a smaller one
    drop_old_frames(later)
    assert kept() == sorted(
        [(NOW + n * DAY, "BootNotification") for n in range(8)] + [(NOW + n * DAY, "MeterValues") for n in range(3, 8)]
    )
    assert [name for name in partitions() if name.endswith("_thin")] == [f"{name}_thin" for name in first[:3]]
    assert Frame.objects.filter(station=pole).order_by("-id").first() is not None
    much_later = NOW + 34 * DAY
    drop_old_frames(much_later)
    assert kept() == [(NOW + n * DAY, "BootNotification") for n in range(4, 8)]
    assert drop_old_frames(much_later) == 0


@postgres_only
@pytest.mark.django_db
def test_a_day_that_lies_in_the_default_partition_stays_there(pole: Station) -> None:
    """The first day of an installation, or a week in which nothing ran."""
    frame(pole, NOW).save()
    frame(pole, NOW + 2 * DAY, "MeterValues").save()
    drop_old_frames(NOW)
    assert partitions() == [f"stations_frame_d{NOW + n * DAY:%Y%m%d}" for n in (1, 3, 4, 5, 6, 7)]
    assert drop_old_frames(NOW + 10 * DAY) == 1
    assert drop_old_frames(NOW + 31 * DAY) == 1
    assert kept() == []
