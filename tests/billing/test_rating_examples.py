"""A price list with its receipts: tariffs, sessions and what they cost, each checked by hand."""

from __future__ import annotations

import dataclasses
import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from billing import tariff_object
from billing.charges import LineType
from billing.money import stripe_step, to_stripe
from billing.preview import parse_session
from billing.rating import Rating, rate
from billing.snapshot import Limit, ReservationKind, Rules, Snapshot, Tax
from sessions.facts import Reservation, SessionFacts
from tests.billing.priced import (
    CHARGING,
    HELD,
    PARKING,
    UNTOLD,
    at,
    energy,
    flat,
    parking,
    plugged,
    tariff,
    time,
    vectors,
    when,
)

D = Decimal
CASES = (
    "simple_025kwh_20 start_fee_20 min_price_20 hourly_2_5h parking_3h_5h free_of_charge step_size_1 max_duration "
    "wh_step_1_0_1152 energy_step_across_1700 cdr_example"
)


def kwh(amount: str, start: str = "2026-05-04 10:00", minutes: int = 60, **more: Any) -> SessionFacts:
    return plugged(start, (CHARGING, minutes, amount), **more)


def bill(rating: Rating) -> list[tuple[str, str, str]]:
    """Type, quantity and exact net amount of each line."""
    return [
        (line.type.value, f"{line.quantity:.4f}".rstrip("0").rstrip("."), f"{line.excl_vat:.4f}")
        for line in rating.lines
    ]


def booked(rating: Rating) -> tuple[int | None, int | None, int | None]:
    return rating.net_minor, rating.vat_minor, rating.gross_minor


# --- the worked examples of OCPI 2.3.0 ---


@pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])
@pytest.mark.parametrize("name", CASES.split())
def test_examples_of_ocpi(name: str, version: str) -> None:
    folder = vectors("tariffs") / "ocpi-spec"
    cases = {c["id"]: c for c in json.loads((folder / "cases.json").read_text(), parse_float=Decimal)["cases"]}
    assert sorted(cases) == sorted(CASES.split())
    case = cases[name]
    if "tariff_file" in case:
        path = folder / case["tariff_file"].replace("2.3.0", version)
        told = json.loads(path.read_text(), parse_float=Decimal)
    else:
        told = {k: v for k, v in case["tariff_inline"].items() if version == "2.3.0" or k != "tax_included"}
    assert ("tax_included" in told) == (version == "2.3.0")
    rating = rate(tariff_object.parse(told), parse_session(case["session"], case["time_zone"]).facts)
    for side, text in case["expected"]["total_cost"].items():
        if text is not None:
            exact = getattr(rating, side)
            assert exact.quantize(D(text), ROUND_HALF_UP) == D(text)
    for line, expected in zip(rating.lines, case["expected"].get("lines") or [], strict=False):
        assert (line.type, line.unit) == (expected["type"], expected["unit"])
        assert (line.quantity, line.unit_price) == (D(expected["quantity"]), D(expected["price"]))
        assert line.excl_vat == D(expected["excl_vat"])
    assert len(rating.lines) == len(case["expected"].get("lines") or rating.lines)


# --- rounding ---


def test_energy_in_steps_and_a_fee() -> None:
    rating = rate(tariff(energy("0.25", 100)), kwh("20.45"))
    assert rating.excl_vat == D("5.125")
    assert rating.net_minor == 513  # half-even would say 512
    rating = rate(tariff(energy("0.25", 100), flat("0.50")), kwh("20.45"))
    assert rating.excl_vat == D("5.625")
    assert rating.net_minor == 563


def test_the_sum_is_rounded_not_the_lines() -> None:
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, "7.293"), (CHARGING, 60, "0.969"))
    snapshot = tariff(when(energy("0.22", 0, "21"), max_duration=3600), energy("0.24", 0, "21"))
    rating = rate(snapshot, facts)
    assert rating.excl_vat == D("1.83702")
    assert [line.net_minor for line in rating.lines] == [161, 23]  # 1.60446 and 0.23256: alone 1.60 and 0.23
    assert booked(rating) == (184, 38, 222)


def test_vat_is_rounded_once_for_each_rate() -> None:
    facts = plugged("2026-05-04 10:00", *[(CHARGING, 60, "1")] * 3)
    snapshot = tariff(*[when(energy("1.45", 0, "19"), max_duration=h * 3600) for h in (1, 2, 3)])
    rating = rate(snapshot, facts)
    assert len(rating.lines) == 3
    assert booked(rating) == (435, 83, 518)  # VAT by line would be 0.84


def test_sessions_are_rounded_one_by_one() -> None:
    ratings = [rate(tariff(energy("0.335")), kwh("1")) for _ in range(3)]
    assert sum(r.net_minor or 0 for r in ratings) == 102


@pytest.mark.parametrize(
    ("price", "amount", "vat", "currency", "exact", "expected"),
    [
        ("0.49", "31.204", "19", "EUR", "15.28996", (1285, 244, 1529)),
        ("0.50", "30", "19", "EUR", "15", (1261, 239, 1500)),
        ("0.303", "10", "19", "EUR", "3.03", (255, 48, 303)),
        ("0.59", "31.204", "8.1", "CHF", "18.41036", (1703, 138, 1841)),
    ],
)
def test_gross_prices(
    price: str, amount: str, vat: str, currency: str, exact: str, expected: tuple[int, int, int]
) -> None:
    rating = rate(tariff(energy(price, 0, vat), tax=Tax.INCLUDED, currency=currency), kwh(amount))
    assert rating.incl_vat == D(exact)
    assert booked(rating) == expected


def test_lines_share_the_rounded_total() -> None:
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, "5.125"), (CHARGING, 60, "3.375"), (CHARGING, 60, "1.5"))
    rating = rate(tariff(*[when(energy("1"), max_duration=h * 3600) for h in (1, 2, 3)]), facts)
    assert rating.net_minor == 1000
    assert [line.net_minor for line in rating.lines] == [513, 337, 150]


@pytest.mark.parametrize(
    ("price", "currency", "minor", "sent"),
    [
        ("55", "JPY", 1716, 1716),
        ("0.045", "KWD", 1404, None),
        ("69", "ISK", 2153, 215300),
        ("1800", "UGX", 56167, 5616700),
        ("155", "HUF", 483662, 483662),
    ],
)
def test_currencies(price: str, currency: str, minor: int, sent: int | None) -> None:
    snapshot = tariff(energy(price), currency=currency)
    assert rate(snapshot, kwh("31.204")).gross_minor == minor
    collected = rate(snapshot, kwh("31.204"), minor_step=stripe_step(currency))
    assert to_stripe(collected.rounded_minor, currency) == (sent or 1400)
    assert sum(line.rounded_minor for line in collected.lines) == collected.rounded_minor


# --- step_size ---


@pytest.mark.parametrize(
    ("wh", "step", "exact", "billed"),
    [
        ("115.2", 1, "0.029", "0.116"),
        ("101", 25, "0.03125", "0.125"),
        ("1", 500, "0.125", "0.5"),
        ("115.2", 0, "0.0288", "0.1152"),
    ],
)
def test_steps_of_energy(wh: str, step: int, exact: str, billed: str) -> None:
    rating = rate(tariff(energy("0.25", step)), kwh(str(D(wh) / 1000)))
    assert rating.excl_vat == D(exact)
    assert rating.lines[0].quantity == D(billed)


def test_the_step_rounds_the_energy_of_the_whole_session() -> None:
    snapshot = tariff(
        when(energy("0.20", 500), start_minute=0, end_minute=17 * 60), when(energy("0.27", 500), start_minute=17 * 60)
    )
    rating = rate(snapshot, plugged("2026-05-04 16:00", (CHARGING, 60, "4.3"), (CHARGING, 60, "1.1")))
    assert bill(rating) == [("ENERGY", "4.3", "0.8600"), ("ENERGY", "1.2", "0.3240")]
    assert (
        rating.lines[1].reason.text == "energy, element 2, 17:00 to 24:00, rounded up from 1100 Wh, in steps of 500 Wh"
    )


def test_the_step_rounds_the_time_of_the_whole_session() -> None:
    snapshot = tariff(
        when(time("5", 600), start_minute=0, end_minute=17 * 60), when(time("7", 600), start_minute=17 * 60)
    )
    rating = rate(snapshot, plugged("2026-05-04 16:54", (CHARGING, 28)))
    assert bill(rating) == [("TIME", "0.1", "0.5000"), ("TIME", "0.4", "2.8000")]  # 6 + 24 min
    assert rating.excl_vat == D("3.30")


def test_paid_parking_after_charging_takes_the_step() -> None:
    rating = rate(tariff(time("1", 600), parking("2", 600)), plugged("2026-05-04 10:00", (CHARGING, 21), (PARKING, 16)))
    assert [(line.quantity or 0) * 60 for line in rating.lines] == [21, pytest.approx(D(20))]
    # Parking that nobody charges for does not count as the last period.
    rating = rate(tariff(time("1", 600)), plugged("2026-05-04 10:00", (CHARGING, 21), (PARKING, 16)))
    assert [(line.quantity or 0) * 60 for line in rating.lines] == [30]
    # Nor does the step of parking apply where charging came last.
    rating = rate(tariff(time("1", 600), parking("2", 600)), plugged("2026-05-04 10:00", (PARKING, 16), (CHARGING, 21)))
    assert [round((line.quantity or 0) * 60) for line in rating.lines] == [16, 30]


def test_free_parking_after_a_paid_one_does_not_take_the_step() -> None:
    """Parking is paid before 20:00: 12 min of charging and 8 of 20 min of parking, in steps of 15 min."""
    evening = tariff(
        when(time("2.40", 900), parking("1.00", 900), start_minute=17 * 60, end_minute=20 * 60), time("2.40", 900)
    )
    rating = rate(evening, plugged("2026-05-04 19:40", (CHARGING, 12), (PARKING, 20)))
    assert bill(rating) == [("TIME", "0.2", "0.4800"), ("PARKING_TIME", "0.25", "0.2500")]


@pytest.mark.parametrize("hours", [D("300.000001") / 3600, D("0.0834"), D("0.0833333333")])
def test_time_is_counted_in_whole_seconds(hours: D) -> None:
    session = {
        "start_date_time": "2026-05-04T10:00:00Z",
        "end_date_time": "2026-05-04T10:05:00Z",
        "charging_periods": [
            {
                "start_date_time": "2026-05-04T10:00:00Z",
                "dimensions": [{"type": "TIME", "volume": str(round(hours, 15))}, {"type": "ENERGY", "volume": 1}],
            }
        ],
    }
    rating = rate(tariff(time("3.60", 300)), parse_session(session, "UTC").facts)
    assert bill(rating) == [("TIME", "0.0833", "0.3000")]


def test_without_a_step_the_exact_quantity_is_billed() -> None:
    rating = rate(
        tariff(time("3.60", 0), energy("0.30", 0)), plugged("2026-05-04 10:00", (CHARGING, D("5.25"), "0.1234"))
    )
    assert bill(rating) == [("ENERGY", "0.1234", "0.0370"), ("TIME", "0.0875", "0.3150")]


# --- clock ---


@pytest.mark.parametrize(
    ("start", "minutes", "cost"), [("2026-10-25 01:30+02:00", 180, "6"), ("2026-03-29 01:30+01:00", 60, "2")]
)
def test_the_night_of_the_clock_change_is_charged_as_long_as_it_is(start: str, minutes: int, cost: str) -> None:
    """From 01:30 to 03:30 on the clock of Berlin."""
    facts = plugged(start, (PARKING, minutes), zone="Europe/Berlin")
    assert rate(tariff(parking("2")), facts).excl_vat == D(cost)


@pytest.mark.parametrize(
    ("start", "first", "last", "hours"),
    [
        ("2026-10-24 18:00+02:00", 22 * 60, 6 * 60, 9),
        ("2026-03-28 18:00+01:00", 22 * 60, 6 * 60, 7),
        ("2026-07-01 18:00+02:00", 22 * 60, 6 * 60, 8),
        ("2026-10-24 18:00+02:00", 2 * 60, 3 * 60, 2),
        ("2026-03-28 18:00+01:00", 2 * 60, 3 * 60, 0),
        ("2026-03-28 18:00+01:00", 2 * 60 + 30, 4 * 60, 1),  # the clock jumps into the window
        ("2026-10-24 18:00+02:00", 2 * 60 + 30, 4 * 60, 2),  # 02:30 comes twice: half an hour, back, then to 04:00
    ],
)
def test_windows_of_the_clock(start: str, first: int, last: int, hours: int) -> None:
    facts = plugged(start, (CHARGING, 18 * 60, "18"), zone="Europe/Berlin")
    rating = rate(tariff(when(time("1"), start_minute=first, end_minute=last)), facts)
    assert rating.excl_vat == D(hours)


def test_energy_across_a_price_change_is_interpolated() -> None:
    """10.000 at 21:45 and 13.000 at 22:15 make 11.500 at 22:00."""
    snapshot = tariff(when(energy("0.30"), start_minute=22 * 60, end_minute=6 * 60), energy("0.50"))
    rating = rate(snapshot, plugged("2026-05-04 21:45", (CHARGING, 30, "3")))
    assert bill(rating) == [("ENERGY", "1.5", "0.7500"), ("ENERGY", "1.5", "0.4500")]
    assert rating.lines[0].end == rating.lines[1].start == at("2026-05-04 22:00")


def test_days_and_dates() -> None:
    weekend = when(energy("0.20"), days=(5, 6))
    friday_night = plugged("2026-05-08 23:00+02:00", (CHARGING, 120, "10"), zone="Europe/Berlin")
    assert bill(rate(tariff(weekend, energy("0.40")), friday_night)) == [
        ("ENERGY", "5", "2.0000"),
        ("ENERGY", "5", "1.0000"),
    ]
    holiday = when(energy("0"), start_date=at("2026-12-24").date(), end_date=at("2026-12-26").date())
    facts = plugged("2026-12-23 23:00+01:00", (CHARGING, 50 * 60, "50"), zone="Europe/Berlin")
    assert [line.quantity for line in rate(tariff(holiday, energy("1")), facts).lines] == [1, 48, 1]


# --- idle time ---


def test_idle_time_after_a_grace() -> None:
    facts = plugged("2026-05-04 09:00", (CHARGING, 60, "10"), (PARKING, 25))
    rating = rate(tariff(parking("12"), rules=Rules(idle_grace_seconds=900)), facts)
    assert rating.excl_vat == D("2.00")
    assert rating.lines[0].start == at("2026-05-04 10:15")
    assert rating.lines[0].reason.text == "parking time, after 900 s of grace"
    assert rate(tariff(parking("12"), rules=Rules(idle_grace_seconds=1500)), facts).lines == ()


def test_the_grace_starts_anew_when_charging_does() -> None:
    snapshot = tariff(parking("12"), rules=Rules(idle_grace_seconds=900))
    facts = plugged("2026-05-04 09:00", (CHARGING, 60, "10"), (PARKING, 10), (CHARGING, 5, "1"), (PARKING, 20))
    assert rate(snapshot, facts).excl_vat == D("1.00")
    # A charger that holds back in between does not prolong it.
    facts = plugged("2026-05-04 09:00", (CHARGING, 60, "10"), (PARKING, 10), (HELD, 5), (PARKING, 20))
    assert rate(snapshot, facts).excl_vat == D("4.00")


def test_idle_time_is_free_in_quiet_hours() -> None:
    facts = plugged("2026-05-04 21:00", (CHARGING, 50, "10"), (PARKING, 40))
    assert rate(tariff(parking("12"), rules=Rules(idle_quiet=(22 * 60, 6 * 60))), facts).excl_vat == D("2.00")
    assert rate(tariff(when(parking("12"), end_minute=22 * 60)), facts).excl_vat == D("2.00")


def test_idle_time_has_a_cap() -> None:
    facts = plugged("2026-05-04 09:00", (CHARGING, 60, "10"), (PARKING, 240))
    rules = Rules(idle_grace_seconds=3600)
    assert rate(tariff(parking("6", 0, "19"), rules=rules), facts).excl_vat == D("18.00")
    capped = rate(tariff(parking("6", 0, "19"), rules=dataclasses.replace(rules, idle_cap=D("12.00"))), facts)
    assert capped.excl_vat == D("12.00")
    assert [(line.type, line.excl_vat) for line in capped.lines] == [
        (LineType.PARKING_TIME, D(18)),
        (LineType.PARKING_TIME, D(-6)),
    ]
    assert booked(capped) == (1200, 228, 1428)


def test_a_charger_that_holds_back_costs_no_parking() -> None:
    facts = plugged("2026-05-04 09:00", (CHARGING, 60, "10"), (HELD, 30), (CHARGING, 30, "5"))
    assert rate(tariff(parking("12")), facts).excl_vat == 0
    assert rate(tariff(time("2")), facts).excl_vat == D(4)
    assert rate(tariff(time("2"), rules=Rules(held_is_free=True)), facts).excl_vat == D(3)


def test_a_session_that_lost_its_end_is_billed_to_the_last_reading() -> None:
    facts = plugged("2026-05-04 13:00", (CHARGING, 100, "22.4"))
    facts = dataclasses.replace(facts, segments=(dataclasses.replace(facts.segments[0], estimated=True),))
    rating = rate(tariff(energy("0.50"), parking("12")), facts)
    assert bill(rating) == [("ENERGY", "22.4", "11.2000")]
    assert [w.code for w in rating.warnings] == ["estimated"]


def test_time_of_which_nothing_is_known_costs_nothing() -> None:
    facts = plugged("2026-05-04 09:00", (UNTOLD, 60, "10"))
    assert bill(rate(tariff(energy("0.50"), time("2"), parking("12")), facts)) == [("ENERGY", "10", "5.0000")]


# --- minimum and maximum ---


def test_a_minimum_of_net_and_gross() -> None:
    snapshot = tariff(flat("0.10", "20"), energy("0.25", 0, "10"), min_price=Limit(D("0.50"), D("0.55")))
    rating = rate(dataclasses.replace(snapshot, min_price=None), kwh("1.5"))
    assert (rating.excl_vat, rating.incl_vat) == (D("0.475"), D("0.5325"))
    rating = rate(snapshot, kwh("1.5"))
    assert (rating.excl_vat, rating.incl_vat) == (D("0.50"), D("0.55"))
    assert booked(rating) == (50, 5, 55)
    adjustments = [line for line in rating.lines if line.type is LineType.ADJUSTMENT]
    assert {line.reason.code for line in adjustments} == {"minimum_price"}
    assert {line.vat_rate for line in adjustments} == {D(10), D(20)}
    assert sum(line.excl_vat or 0 for line in adjustments) == D("0.025")


def test_net_and_gross_are_limited_each_on_its_own() -> None:
    """9.90 net is inside its limit of 10, 11.05 gross is not inside its limit of 11."""
    snapshot = tariff(flat("1.60", "20"), energy("0.83", 0, "10"), max_price=Limit(D(10), D(11)))
    rating = rate(dataclasses.replace(snapshot, max_price=None), kwh("10"))
    assert (rating.excl_vat, rating.incl_vat) == (D("9.90"), D("11.05"))
    rating = rate(snapshot, kwh("10"))
    assert (rating.excl_vat, rating.incl_vat) == (D("9.90"), D("11.00"))
    assert booked(rating) == (990, 110, 1100)


def test_a_limit_without_a_gross_side_takes_vat_in_proportion() -> None:
    rating = rate(tariff(energy("0.25", 0, "10"), min_price=Limit(D("0.50"))), kwh("1"))
    assert (rating.excl_vat, rating.incl_vat) == (D("0.50"), D("0.55"))
    rating = rate(tariff(energy("0.25", 0, "10"), max_price=Limit(None, D("1.10"))), kwh("100"))
    assert (rating.excl_vat, rating.incl_vat) == (D("1.00"), D("1.10"))


def test_the_minimum_of_a_session_without_any_price() -> None:
    rating = rate(
        tariff(energy("0.25", 0, "10"), min_price=Limit(D("0.50"))), plugged("2026-05-04 10:00", (CHARGING, 5))
    )
    assert booked(rating) == (50, 5, 55)


# --- tiers, fees, reservations ---


def test_the_first_energy_is_free() -> None:
    facts = kwh("12.345")
    for snapshot in (tariff(when(energy("0.40"), min_kwh="5")), tariff(when(energy("0"), max_kwh="5"), energy("0.40"))):
        rating = rate(snapshot, facts)
        assert rating.excl_vat == D("2.938")
        assert rating.net_minor == 294
        assert rating.lines[-1].quantity == D("7.345")


def test_dimensions_are_looked_up_one_by_one() -> None:
    night = when(energy("0.20"), start_minute=22 * 60, end_minute=6 * 60)
    rating = rate(tariff(night, energy("0.40"), time("1")), plugged("2026-05-04 23:00", (CHARGING, 60, "10")))
    assert sorted(bill(rating)) == [("ENERGY", "10", "2.0000"), ("TIME", "1", "1.0000")]


def test_power_decides_the_price() -> None:
    snapshot = tariff(
        when(energy("0.20"), max_power="16"), when(energy("0.35"), min_power="16", max_power="32"), energy("0.50")
    )
    slow, fast, weak = (CHARGING, 10, "1", "6"), (CHARGING, 50, "40", "48"), (CHARGING, 8, "0.5", "4")
    assert rate(snapshot, plugged("2026-05-04 10:00", slow, fast, weak)).excl_vat == D("20.30")
    assert rate(snapshot, plugged("2026-05-04 10:00", (CHARGING, 60, "16", "16"))).excl_vat == D("5.60")
    unknown = rate(snapshot, plugged("2026-05-04 10:00", (CHARGING, 60, "16")))
    assert unknown.excl_vat == D("8.00")
    assert [w.code for w in unknown.warnings] == ["power_unknown"]


@pytest.mark.parametrize(
    ("start", "charging", "parked", "current", "net", "gross"),
    [
        ("2026-05-04 09:30", 147, 42, "16", "8.70", "9.94"),  # a Monday
        ("2026-05-09 13:30", 114, 71, "43", "12.375", "13.975"),  # a Saturday
    ],
)
def test_current_and_weekday(start: str, charging: int, parked: int, current: str, net: str, gross: str) -> None:
    weekdays = (0, 1, 2, 3, 4)
    snapshot = tariff(
        when(flat("2.50", "15")),
        when(time("1.00", 900, "20"), max_current="32"),
        when(time("2.00", 600, "20"), min_current="32", days=weekdays),
        when(time("1.25", 600, "20"), min_current="32", days=(5, 6)),
        when(parking("5.00", 300, "10"), start_minute=9 * 60, end_minute=18 * 60, days=weekdays),
        when(parking("6.00", 300, "10"), start_minute=10 * 60, end_minute=17 * 60, days=(5,)),
    )
    rating = rate(snapshot, plugged(start, (CHARGING, charging, 0, None, current), (PARKING, parked)))
    assert (rating.excl_vat, rating.incl_vat) == (D(net), D(gross))


RESERVED = (
    when(time("5", 300, "20"), flat("2.00", "20"), reservation=ReservationKind.RESERVATION),
    flat("0.50", "20"),
    energy("0.25", 1, "10"),
)


def reserved(minutes: int, *, expired: bool = False) -> Reservation:
    return Reservation(
        at("2026-05-04 09:47"), at(f"2026-05-04 {9 + (47 + minutes) // 60}:{(47 + minutes) % 60:02}"), expired
    )


def test_a_reservation_that_was_used() -> None:
    rating = rate(tariff(*RESERVED), kwh("20", reservation=reserved(13)))
    assert (rating.excl_vat, rating.incl_vat) == (D("8.75"), D("10.00"))
    assert [(line.type.value, line.reason.code) for line in rating.lines] == [
        ("RESERVATION", "reservation_flat"),
        ("RESERVATION", "reservation_time"),
        ("FLAT", "flat"),
        ("ENERGY", "energy"),
    ]
    assert rating.lines[1].quantity == D("0.25")


def test_a_reservation_that_ran_out() -> None:
    unused = plugged("2026-05-04 10:47", reservation=reserved(60, expired=True))
    # Its own elements first, what they do not price as any reservation; no fee for a session that never was.
    own_fee = when(flat("4.00", "20"), reservation=ReservationKind.RESERVATION_EXPIRES)
    hours = when(time("2.00", 600, "20"), reservation=ReservationKind.RESERVATION)
    snapshot = tariff(own_fee, hours, flat("0.50", "20"), energy("0.25"), min_price=Limit(D(50)))
    rating = rate(snapshot, unused)
    assert (rating.excl_vat, rating.incl_vat) == (D("6.00"), D("7.20"))
    own_hours = when(time("6.00", 600, "20"), reservation=ReservationKind.RESERVATION_EXPIRES)
    assert rate(tariff(own_hours, hours), unused).excl_vat == D("6.00")
    # A used one takes none of the elements for those that ran out.
    assert rate(tariff(own_fee, own_hours, hours), kwh("1", reservation=reserved(22))).excl_vat == D("1.00")


def test_a_fee_is_charged_once() -> None:
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, "5"), (PARKING, 60), (CHARGING, 60, "5"))
    assert rate(tariff(when(flat("1.00"), energy("0.10"))), facts).excl_vat == D("2.00")
    # A fee for staying longer is another one.
    late = when(flat("10.00"), min_duration=7200)
    assert [line.excl_vat for line in rate(tariff(late, flat("1.00")), facts).lines] == [1, 10]


def test_a_failed_start_costs_nothing() -> None:
    snapshot = tariff(flat("1.00"), time("6"), min_price=Limit(D(5)))
    rating = rate(snapshot, plugged("2026-05-04 10:00", (CHARGING, D("1.5"))))
    assert (rating.gross_minor, rating.lines, [w.code for w in rating.warnings]) == (0, (), ["free_start"])
    assert rate(snapshot, plugged("2026-05-04 10:00", (CHARGING, 2))).gross_minor == 500
    assert rate(snapshot, plugged("2026-05-04 10:00", (CHARGING, D("1.5"), "0.001"))).gross_minor == 500
    charged_at_once = dataclasses.replace(snapshot, rules=Rules(free_start_seconds=0))
    assert rate(charged_at_once, plugged("2026-05-04 10:00", (CHARGING, D("1.5")))).gross_minor == 500


# --- taxes and credit ---


@pytest.mark.parametrize(("price", "amount", "exact"), [("-0.02", "10", "-0.20"), ("0.30", "-3.2", "-0.96")])
def test_a_negative_total_is_paid_out_only_where_the_tariff_says_so(price: str, amount: str, exact: str) -> None:
    snapshot = tariff(energy(price, 1, "19"))
    rating = rate(snapshot, kwh(amount))
    assert rating.excl_vat == D(exact)
    assert booked(rating) == (0, 0, 0)
    assert [line.rounded_minor for line in rating.lines] == [0]
    assert [w.code for w in rating.warnings] == ["credit_not_paid"]
    allowed = rate(dataclasses.replace(snapshot, rules=Rules(credit_allowed=True)), kwh(amount))
    assert allowed.net_minor == int(D(exact) * 100)
    assert allowed.warnings == ()


def told(**more: Any) -> Snapshot:
    component = {"type": "ENERGY", "price": "0.25", "step_size": 1, **more.pop("component", {})}
    return tariff_object.parse({"id": "1", "currency": "EUR", "elements": [{"price_components": [component]}], **more})


@pytest.mark.parametrize(
    ("more", "net", "gross"),
    [
        ({}, "5", "5"),
        ({"tax_included": "NO"}, "5", "5"),
        ({"tax_included": "N/A"}, "5", "5"),
        ({"tax_included": "N/A", "component": {"vat": 19}}, "5", "5"),
        ({"country_code": "US"}, "5", "5"),
        ({"country_code": "US", "tax_included": "N/A"}, "5", "5"),
        ({"country_code": "US", "tax_included": "NO"}, "5", None),
        ({"country_code": "ca", "tax_included": "NO"}, "5", None),
        ({"country_code": "US", "tax_included": "NO", "component": {"vat": 8}}, "5", "5.4"),
        ({"country_code": "US", "tax_included": "NO", "component": {"price": 0}}, "0", "0"),
        ({"tax_included": "YES"}, None, "5"),
        ({"tax_included": "YES", "component": {"vat": 25}}, "4", "5"),
        ({"component": {"vat": 0}}, "5", "5"),
    ],
)
def test_absent_and_unknown_taxes(more: dict[str, Any], net: str | None, gross: str | None) -> None:
    rating = rate(told(**more), kwh("20"))
    assert rating.excl_vat == (None if net is None else D(net))
    assert rating.incl_vat == (None if gross is None else D(gross))
    unknown = net is None or gross is None
    assert [w.code for w in rating.warnings] == (["tax_unknown"] if unknown else [])
    assert rating.rounded_minor == int(D(gross or net or 0) * 100)
    assert (rating.vat is None) == (rating.vat_minor is None) == unknown


def test_vat_categories_are_resolved_when_the_session_ends() -> None:
    own = tariff_object.parse(
        {
            "currency": "EUR",
            "tax_included": "YES",
            "elements": [
                {
                    "price_components": [
                        {"type": "ENERGY", "price": "0.49"},
                        {"type": "PARKING_TIME", "price": "6"},
                        {"type": "FLAT", "price": "1.00", "vat": "7"},
                    ]
                }
            ],
            "voltyard": {"vat_category": "standard", "vat_categories": {"PARKING_TIME": "none"}},
        }
    )
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, "31.204"), (PARKING, 60))
    rates = {"standard": D(19), "none": D(0)}
    totals = {total.rate: total for total in rate(own, facts, vat_rates=rates).totals}
    assert (totals[D(19)].net_minor, totals[D(19)].gross_minor) == (1285, 1529)
    assert (totals[D(0)].net_minor, totals[D(0)].gross_minor) == (600, 600)
    assert (totals[D(7)].net_minor, totals[D(7)].gross_minor) == (93, 100)
    with pytest.raises(tariff_object.TariffError, match="'none'"):
        rate(own, facts, vat_rates={"standard": D(19)})


def test_a_session_over_the_end_of_a_month_is_one_bill() -> None:
    rating = rate(tariff(energy("0.50")), plugged("2026-05-31 23:00", (CHARGING, 120, "10")))
    assert bill(rating) == [("ENERGY", "10", "5.0000")]


def test_a_tariff_outside_its_validity_is_told() -> None:
    snapshot = tariff(energy("0.50"), valid_from=at("2026-05-01"), valid_to=at("2026-06-01"))
    assert rate(snapshot, kwh("1", "2026-05-31 23:30")).warnings == ()
    for start in ("2026-04-30 23:59", "2026-06-01 00:00"):
        assert [w.code for w in rate(snapshot, kwh("1", start)).warnings] == ["outside_validity"]
