"""Numbers and times as people read them, in every language of the interface."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from stations import display

N = "\u00a0"
NOW = dt.datetime(2026, 11, 22, 8, 43, 19, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("language", "amount", "price", "share"),
    [
        ("en", "€2,914.60", "€0.5932", "98.7%"),
        ("de", f"2.914,60{N}€", f"0,5932{N}€", f"98,7{N}%"),
        ("nl", f"€{N}2.914,60", f"€{N}0,5932", "98,7%"),
        ("fr", f"2\u202f914,60{N}€", f"0,5932{N}€", f"98,7{N}%"),
        ("es", f"2.914,60{N}€", f"0,5932{N}€", f"98,7{N}%"),
        ("xx", "€2,914.60", "€0.5932", "98.7%"),
    ],
)
def test_money_and_shares_follow_the_language(language: str, amount: str, price: str, share: str) -> None:
    with translation.override(language):
        assert display.money(Decimal("2914.6"), "EUR") == amount
        assert display.unit_price(Decimal("0.5932"), "EUR") == price
        assert display.percent(Decimal("0.9871")).replace("\u202f", N) == share


def test_money_has_the_digits_of_its_currency() -> None:
    with translation.override("en"):
        assert display.money(Decimal("1200.4"), "JPY") == "¥1,200"
        assert display.money(Decimal("1.2345"), "KWD") == f"KWD{N}1.235"
        assert display.money(Decimal("-12.4"), "CHF") == f"-CHF{N}12.40"
        assert display.money_short(3000, "EUR") == "€3,000"
        assert display.money_short(Decimal("0.5"), "EUR") == "€0.50"
        assert display.unit_price(Decimal("0.6"), "EUR") == "€0.60"


def test_halves_are_rounded_up() -> None:
    with translation.override("en"):
        assert display.number(Decimal("2.5")) == "3"
        assert display.number(Decimal("0.125"), 2) == "0.13"
        assert display.money(Decimal("0.005"), "EUR") == "€0.01"


@pytest.mark.parametrize(
    ("wh", "text"),
    [
        (0, f"0.0{N}kWh"),
        (40, f"40{N}Wh"),
        (43_200, f"43.2{N}kWh"),
        (999_940, f"999.9{N}kWh"),
        (1_000_000, f"1.00{N}MWh"),
        (82_100_000, f"82.1{N}MWh"),
    ],
)
def test_energy_chooses_its_unit(wh: int, text: str) -> None:
    with translation.override("en"):
        assert str(display.energy(wh)) == text


def test_energy_on_bills_has_three_decimals() -> None:
    with translation.override("en"):
        assert str(display.energy_exact(Decimal("18310.4"))) == f"18.310{N}kWh"


@pytest.mark.parametrize(
    ("watts", "text"), [(0, "0"), (11_000, "11"), (22_100, "22.1"), (142_400, "142"), (1_284_000, "1,284")]
)
def test_power_is_in_kilowatts(watts: int, text: str) -> None:
    with translation.override("en"):
        assert display.power(watts) == display.Quantity(text, "kW")


@pytest.mark.parametrize(
    ("seconds", "clock", "words"),
    [
        (0, "00:00", f"0{N}s"),
        (2, "00:02", f"2{N}s"),
        (1122, "18:42", f"18{N}min"),
        (3600, "1:00:00", f"1{N}h"),
        (3787, "1:03:07", f"1{N}h 3{N}min"),
        (86_400, "24:00:00", f"1{N}d"),
        (86_400 + 30, "24:00:30", f"1{N}d"),
        (6 * 86_400 + 4 * 3600, "148:00:00", f"6{N}d 4{N}h"),
        (-5, "00:00", f"0{N}s"),
    ],
)
def test_lengths(seconds: int, clock: str, words: str) -> None:
    assert display.clock(seconds) == clock
    assert display.span(seconds) == words


@given(st.integers(min_value=0, max_value=10**9))
def test_a_length_in_words_is_never_longer_than_it_is(seconds: int) -> None:
    sizes = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
    told = 0
    for part in display.span(seconds).split(" "):
        count, unit = part.split(N)
        told += int(count) * sizes[unit]
    assert told <= seconds
    assert seconds - told < (60 if seconds < 3600 else 3600 if seconds >= 86_400 else 60)


def test_moments_are_as_short_as_their_distance_allows() -> None:
    with translation.override("en"), timezone.override(ZoneInfo("Europe/Amsterdam")):
        assert display.moment(NOW, now=NOW) == "09:43"
        assert display.moment(NOW - dt.timedelta(days=1), now=NOW) == "Nov 21, 09:43"
        assert display.moment(NOW - dt.timedelta(days=400), now=NOW) == "Oct 18, 2025, 10:43"
        assert display.time_of_day(NOW, seconds=True) == "09:43:19"
        assert display.day(dt.datetime(2026, 11, 21, 23, 30, tzinfo=dt.UTC)) == "Nov 22, 2026"
        assert display.month(dt.date(2026, 11, 1)) == "November 2026"
        assert display.exact(NOW).startswith("22 Nov 2026, 09:43:19")


def test_past_and_future() -> None:
    with translation.override("en"):
        assert display.ago(NOW - dt.timedelta(seconds=2), now=NOW) == f"2{N}s ago"
        assert display.ago(NOW + dt.timedelta(minutes=5), now=NOW) == f"in 5{N}min"
