import datetime as dt

import pytest

from stations.simulator.limits import Limits, Profile
from stations.simulator.physics import Limit

NOW = dt.datetime(2027, 3, 10, 12, 0, tzinfo=dt.UTC)


def profile(id=1, evse=1, purpose="TxDefaultProfile", stack=0, periods=((0, 16.0),), unit="A", **more):
    schedule = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods],
    }
    for key in ("duration", "startSchedule"):
        if key in more:
            schedule[key] = more.pop(key)
    return Profile.read(
        evse,
        {
            "chargingProfileId": id,
            "stackLevel": stack,
            "chargingProfilePurpose": purpose,
            "chargingProfileKind": more.pop("kind", "Absolute"),
            "chargingSchedule": schedule,
            **more,
        },
    )


def limits(*profiles: Profile) -> Limits:
    made = Limits()
    for each in profiles:
        made.install(each)
    return made


def test_no_profile_no_limit():
    assert limits().limit_at(1, NOW, NOW) is None


def test_the_higher_stack_level_counts():
    both = limits(profile(1, stack=0), profile(2, stack=3, periods=((0, 10.0),)))
    assert both.limit_at(1, NOW, NOW) == Limit(10.0, "A")


def test_the_sessions_own_profile_replaces_the_default_and_goes_with_the_session():
    both = limits(profile(1), profile(2, purpose="TxProfile", periods=((0, 25.0),)))
    assert both.limit_at(1, NOW, NOW) == Limit(25.0, "A")
    both.end_session(1)
    assert both.limit_at(1, NOW, NOW) == Limit(16.0, "A")


def test_the_stations_maximum_stays_above_all():
    made = limits(profile(1), profile(2, evse=0, purpose="ChargePointMaxProfile", periods=((0, 5000.0),), unit="W"))
    assert made.limit_at(1, NOW, NOW) == Limit(5000.0, "W")
    made = limits(
        profile(1), profile(2, evse=0, purpose="ChargingStationMaxProfile", periods=((0, 50_000.0),), unit="W")
    )
    assert made.limit_at(1, NOW, NOW) == Limit(16.0, "A")


def test_a_relative_profile_counts_from_the_start_of_the_session():
    made = limits(profile(kind="Relative", periods=((0, 32.0), (600, 8.0)), duration=1200))
    assert made.limit_at(1, NOW, NOW - dt.timedelta(seconds=599)) == Limit(32.0, "A")
    assert made.limit_at(1, NOW, NOW - dt.timedelta(seconds=600)) == Limit(8.0, "A")
    assert made.limit_at(1, NOW, NOW - dt.timedelta(seconds=1200)) is None


def test_a_daily_profile_comes_back():
    made = limits(
        profile(
            kind="Recurring",
            recurrencyKind="Daily",
            startSchedule="2027-01-01T10:00:00Z",
            periods=((0, 6.0), (3600, 13.0)),
            duration=4 * 3600,
        )
    )
    assert made.limit_at(1, NOW.replace(hour=10, minute=30), None) == Limit(6.0, "A")
    assert made.limit_at(1, NOW, None) == Limit(13.0, "A")
    assert made.limit_at(1, NOW.replace(hour=15), None) is None


def test_a_profile_counts_only_while_it_is_valid():
    made = limits(profile(validFrom="2027-03-10T12:00:01Z", validTo="2027-03-11T00:00:00Z"))
    assert made.limit_at(1, NOW, NOW) is None
    assert made.limit_at(1, NOW + dt.timedelta(seconds=1), NOW) == Limit(16.0, "A")
    assert made.limit_at(1, NOW + dt.timedelta(days=1), NOW) is None


def test_installing_replaces_by_id_and_by_place():
    made = limits(profile(1, stack=0), profile(1, stack=1))
    assert [each.stack for each in made.profiles] == [1]
    made.install(profile(9, stack=1))
    assert [each.id for each in made.profiles] == [9]


def test_clearing_by_id_or_by_criteria():
    made = limits(profile(1, stack=0), profile(2, stack=1), profile(3, evse=2))
    assert made.clear(id=1, evse=2) is True
    assert made.clear(id=1) is False
    assert made.clear(evse=1, purpose="TxProfile") is False
    assert made.clear(purpose="TxDefaultProfile", stack=1) is True
    assert [each.id for each in made.profiles] == [3]
    assert made.clear() is True
    assert made.profiles == []


def test_composite_schedule_changes_where_a_profile_does_and_stays_below_the_ceiling():
    made = limits(
        profile(1, periods=((0, 100.0),)),
        profile(2, stack=1, startSchedule="2027-03-10T12:10:00Z", periods=((0, 10.0), (300, 20.0)), duration=600),
    )
    periods = made.composite(1, NOW, 3600, "A", session_start=None, ceiling=Limit(22_080.0, "W"))
    assert [(p["startPeriod"], p["limit"]) for p in periods] == [(0, 32.0), (600, 10.0), (900, 20.0), (1200, 32.0)]
    watts = made.composite(1, NOW, 700, "W", session_start=None, ceiling=Limit(22_080.0, "W"))
    assert [(p["startPeriod"], p["limit"]) for p in watts] == [(0, 22_080.0), (600, 6900.0)]


def test_a_schedule_list_of_2_x_is_read():
    raw = {
        "id": 5,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Absolute",
        "transactionId": "abc",
        "chargingSchedule": [
            {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 7000}]}
        ],
    }
    read = Profile.read(2, raw)
    assert (read.id, read.evse, read.transaction, read.unit) == (5, 2, "abc", "W")
    assert read.limit_at(NOW, NOW) == Limit(7000, "W")
    with pytest.raises(KeyError):
        Profile.read(2, {key: value for key, value in raw.items() if key != "chargingSchedule"})
