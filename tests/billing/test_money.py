from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money import (
    Money,
    UnknownCurrency,
    digits,
    from_minor,
    from_stripe,
    net_and_vat,
    plain,
    split,
    spread,
    stripe_step,
    to_minor,
    to_stripe,
)
from tests.billing.priced import RUNS

D = Decimal


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("5.625", "EUR", 563),
        ("5.125", "EUR", 513),  # half-even would say 512
        ("-0.125", "EUR", -13),
        ("0.0049999999999999999999999999999999", "EUR", 0),
        ("19.99", "EUR", 1999),
        ("1716.22", "JPY", 1716),
        ("0.5", "JPY", 1),
        ("1.40418", "KWD", 1404),
        ("2153.076", "ISK", 2153),
        ("56167.2", "UGX", 56167),
        ("4836.62", "HUF", 483662),
        ("0.015", "CHF", 2),  # 0.05 is the rounding of cash only
    ],
)
def test_amounts_are_rounded_half_away_from_zero(amount: str, currency: str, minor: int) -> None:
    assert to_minor(D(amount), currency) == minor


def test_minor_units_keep_the_digits_of_the_currency() -> None:
    assert str(from_minor(500, "EUR")) == "5.00"
    assert str(from_minor(-13, "EUR")) == "-0.13"
    assert str(from_minor(1716, "JPY")) == "1716"
    assert str(from_minor(1404, "KWD")) == "1.404"


@pytest.mark.parametrize(("currency", "expected"), [("EUR", 2), ("JPY", 0), ("CLP", 0), ("BHD", 3), ("TND", 3)])
def test_digits_follow_iso_4217(currency: str, expected: int) -> None:
    assert digits(currency) == expected


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "DEM"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(UnknownCurrency):
        digits(currency)
    with pytest.raises(UnknownCurrency):
        Money(1, currency)


@pytest.mark.parametrize(
    ("price", "currency", "booked", "sent"),
    [
        ("55", "JPY", 1716, 1716),
        ("69", "ISK", 2153, 215300),
        ("1800", "UGX", 56167, 5616700),
        ("155", "HUF", 483662, 483662),
    ],
)
def test_what_the_provider_is_asked_for(price: str, currency: str, booked: int, sent: int) -> None:
    """31.204 kWh in currencies whose minor units the provider counts in its own way."""
    minor = to_minor(D("31.204") * D(price), currency)
    assert minor == booked
    assert to_stripe(minor, currency) == sent
    assert from_stripe(sent, currency) == minor


def test_three_decimals_must_end_in_zero_for_the_provider() -> None:
    assert stripe_step("KWD") == 10
    assert to_stripe(1400, "KWD") == 1400
    with pytest.raises(ValueError, match=r"1\.404 KWD"):
        to_stripe(1404, "KWD")


def test_an_amount_that_would_be_cut_is_refused() -> None:
    assert to_stripe(1200, "MGA") == 12
    with pytest.raises(ValueError, match=r"12\.5 MGA"):
        to_stripe(1250, "MGA")
    with pytest.raises(ValueError, match="ISK"):
        from_stripe(215350, "ISK")


@pytest.mark.parametrize(
    ("gross", "rate", "net", "vat"),
    [
        (1529, "19", 1285, 244),
        (1500, "19", 1261, 239),  # no net gives 15.00 by adding 19 %
        (303, "19", 255, 48),
        (909, "19", 764, 145),
        (1841, "8.1", 1703, 138),
        (459, "19", 386, 73),
        (-459, "19", -386, -73),
        (500, "0", 500, 0),
    ],
)
def test_gross_splits_into_net_and_vat(gross: int, rate: str, net: int, vat: int) -> None:
    assert net_and_vat(gross, D(rate)) == (net, vat)
    assert Money(gross, "EUR").net_and_vat(D(rate)) == (Money(net, "EUR"), Money(vat, "EUR"))


def test_a_part_of_a_gross_amount() -> None:
    """30 % credit of 15.29."""
    credit = Money(1529, "EUR") * D("0.30")
    assert str(credit) == "4.59 EUR"
    assert [m.minor for m in credit.net_and_vat(D(19))] == [386, 73]


def test_largest_remainder() -> None:
    assert split(764, [1, 1, 1]) == [255, 255, 254]
    assert spread([D("512.5"), D("337.5"), D(150)], 1000) == [513, 337, 150]
    assert split(100, [D("0.1"), D("99.9"), 0]) == [0, 100, 0]
    assert [m.minor for m in Money(-764, "EUR").split([1, 1, 1])] == [-254, -255, -255]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [2, -1]])
def test_nothing_can_be_split_by_weights_without_sense(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(100, weights)


@settings(max_examples=RUNS, deadline=None)
@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any))
def test_a_split_loses_nothing_and_is_fair(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)  # less than one unit away from its share


@settings(max_examples=RUNS, deadline=None)
@given(st.integers(-(10**9), 10**9), st.decimals(0, 100, places=2))
def test_net_and_vat_always_make_the_gross(gross: int, rate: D) -> None:
    net, vat = net_and_vat(gross, rate)
    assert net + vat == gross
    assert abs(net * (100 + rate) - gross * 100) * 2 <= 100 + rate  # the nearest net


@settings(max_examples=RUNS, deadline=None)
@given(st.decimals(-(10**9), 10**9, places=6), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_rounding_moves_an_amount_by_half_a_unit_at_most(amount: D, currency: str) -> None:
    minor = to_minor(amount, currency)
    assert abs(from_minor(minor, currency) - amount) * 2 <= D(1).scaleb(-digits(currency))
    assert to_minor(-amount, currency) == -minor
    assert to_minor(from_minor(minor, currency), currency) == minor


def test_money_adds_only_its_own_kind() -> None:
    five, one = Money(500, "EUR"), Money.of(D("0.995"), "EUR")
    assert five + one == Money(600, "EUR")
    assert five - one == Money(400, "EUR")
    assert -five < one < five <= Money(500, "EUR")
    assert Money.total([five, one, -one], "EUR") == five
    assert Money.total([], "EUR") == Money(0, "EUR")
    assert not Money(0, "EUR")
    for mixed in (lambda: five + Money(1, "CHF"), lambda: five < Money(1, "CHF"), lambda: five - Money(1, "JPY")):
        with pytest.raises(ValueError, match="do not mix"):
            mixed()


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        ("5.6250", 2, "5.625"),
        ("5", 2, "5.00"),
        ("1E+3", 0, "1000"),
        ("-0.00", 2, "0.00"),
        ("-0.5", 2, "-0.50"),
        ("10", 0, "10"),
    ],
)
def test_numbers_are_written_plainly(value: str, places: int, text: str) -> None:
    assert plain(D(value), places) == text
