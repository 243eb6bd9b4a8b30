from __future__ import annotations

import copy
import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.snapshot import Component, Dimension, Limit, ReservationKind, Restrictions, Rules, Snapshot, Tax
from billing.tariff_object import TariffError, parse, problems
from tests.billing.priced import RUNS

D = Decimal

FULL: dict[str, Any] = {
    "country_code": "DE",
    "party_id": "VOL",
    "id": "night",
    "currency": "EUR",
    "type": "REGULAR",
    "tariff_alt_text": [{"language": "en", "text": "cheap at night"}],
    "min_price": {"before_taxes": D("0.50"), "after_taxes": "0.60"},
    "max_price": {"before_taxes": 50},
    "tax_included": "NO",
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": D("0.25"), "vat": 19, "step_size": 10}],
            "restrictions": {
                "start_time": "22:00",
                "end_time": "06:30",
                "start_date": "2026-01-01",
                "end_date": "2027-01-01",
                "min_kwh": "1.5",
                "max_kwh": 20,
                "min_current": 6,
                "max_current": D("32.5"),
                "min_power": 3,
                "max_power": 11,
                "min_duration": 60,
                "max_duration": 3600,
                "day_of_week": ["SUNDAY", "MONDAY"],
            },
        },
        {
            "price_components": [{"type": "TIME", "price": 5}, {"type": "FLAT", "price": 2, "step_size": 0}],
            "restrictions": {"reservation": "RESERVATION", "max_kwh": None, "day_of_week": []},
        },
        {"price_components": [{"type": "PARKING_TIME", "price": "6", "step_size": "60"}], "restrictions": None},
    ],
    "start_date_time": "2026-01-01T00:00:00Z",
    "end_date_time": "2027-01-01T00:00:00",
    "last_updated": "2025-12-01T00:00:00Z",
}


def simple(**more: Any) -> dict[str, Any]:
    return {"id": "1", "currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 1}]}], **more}


def test_a_tariff_with_everything() -> None:
    snapshot = parse(FULL)
    night, reserved, idle = snapshot.elements
    assert night.components == (Component(Dimension.ENERGY, D("0.25"), 10, D(19)),)
    assert night.restrictions == Restrictions(
        start_minute=22 * 60,
        end_minute=6 * 60 + 30,
        start_date=dt.date(2026, 1, 1),
        end_date=dt.date(2027, 1, 1),
        days=(0, 6),
        min_kwh=D("1.5"),
        max_kwh=D(20),
        min_current=D(6),
        max_current=D("32.5"),
        min_power=D(3),
        max_power=D(11),
        min_duration=60,
        max_duration=3600,
    )
    assert reserved.components == (Component(Dimension.TIME, D(5), 1), Component(Dimension.FLAT, D(2), 0))
    assert reserved.restrictions == Restrictions(reservation=ReservationKind.RESERVATION)
    assert idle.components == (Component(Dimension.PARKING_TIME, D(6), 60),)
    assert idle.restrictions == Restrictions()
    assert (snapshot.id, snapshot.currency, snapshot.tax) == ("night", "EUR", Tax.EXCLUDED)
    assert (snapshot.min_price, snapshot.max_price) == (Limit(D("0.5"), D("0.6")), Limit(D(50)))
    assert snapshot.valid_from == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert snapshot.valid_to == dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert snapshot.rules == Rules()
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.digest() == snapshot.digest()


def test_both_versions_read_alike() -> None:
    older = {k: v for k, v in FULL.items() if k != "tax_included"}
    older["min_price"], older["max_price"] = {"excl_vat": "0.5", "incl_vat": D("0.600")}, {"excl_vat": D("50.0")}
    assert parse(older) == parse(FULL)
    assert parse(older).digest() == parse(FULL).digest()


@pytest.mark.parametrize(("word", "tax"), [("YES", Tax.INCLUDED), ("NO", Tax.EXCLUDED), ("N/A", Tax.NONE)])
def test_how_prices_are_stated(word: str, tax: Tax) -> None:
    assert parse(simple(tax_included=word)).tax is tax


def test_midnight_as_an_end_is_the_end_of_the_day() -> None:
    element = {
        "price_components": [{"type": "TIME", "price": 1}],
        "restrictions": {"start_time": "20:00", "end_time": "00:00"},
    }
    r = parse(simple(elements=[element])).elements[0].restrictions
    assert (r.start_minute, r.end_minute) == (1200, 1440)


def test_what_ocpi_cannot_say() -> None:
    own = {
        "free_start_seconds": 60,
        "idle_grace_seconds": 900,
        "idle_cap": "12.00",
        "idle_quiet": {"start": "22:00", "end": "00:00"},
        "held_is_free": True,
        "credit_allowed": False,
        "vat_category": "standard",
        "applies_to": {"sites": ["A"]},
    }
    snapshot = parse(simple(voltyard=own))
    assert snapshot.rules == Rules(60, 900, D(12), (1320, 1440), held_is_free=True)
    assert snapshot.elements[0].components[0].vat_category == "standard"
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def edited(path: str, value: Any) -> dict[str, Any]:
    tariff = copy.deepcopy(FULL)
    target: Any = tariff
    *way, last = path.split(".")
    for step in way:
        target = target[int(step)] if step.isdigit() else target[step]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return tariff


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("currency", None, "currency"),
        ("currency", "DEM", "currency"),
        ("currency", "eur", "currency"),
        ("id", "x" * 37, "id"),
        ("tax_included", "MAYBE", "tax_included"),
        ("tax_included", None, "tax_included"),  # before_taxes tells that it is 2.3.0
        ("elements", None, "elements"),
        ("elements", [], "elements"),
        ("elements", {}, "elements"),
        ("elements", ["x"], "elements[0]"),
        ("elements.1.price_components", [], "elements[1].price_components"),
        ("elements.1.price_components.1.type", "SOLAR", "elements[1].price_components[1].type"),
        ("elements.1.price_components.1.type", None, "elements[1].price_components[1].type"),
        ("elements.0.price_components.0.price", None, "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", "NaN", "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", "1_000", "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", "١", "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", True, "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", "1e999", "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", 10**13, "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.price", D("1E-30"), "elements[0].price_components[0].price"),
        ("elements.0.price_components.0.vat", -1, "elements[0].price_components[0].vat"),
        ("elements.0.price_components.0.vat", 101, "elements[0].price_components[0].vat"),
        ("elements.0.price_components.0.step_size", -1, "elements[0].price_components[0].step_size"),
        ("elements.0.price_components.0.step_size", D("1.5"), "elements[0].price_components[0].step_size"),
        ("elements.0.restrictions.start_time", "24:00", "elements[0].restrictions.start_time"),
        ("elements.0.restrictions.end_time", "6:00", "elements[0].restrictions.end_time"),
        ("elements.0.restrictions.end_time", 6, "elements[0].restrictions.end_time"),
        ("elements.0.restrictions.start_date", "2026-02-30", "elements[0].restrictions.start_date"),
        ("elements.0.restrictions.end_date", "20260201", "elements[0].restrictions.end_date"),
        ("elements.0.restrictions.min_kwh", "much", "elements[0].restrictions.min_kwh"),
        ("elements.0.restrictions.max_power", -1, "elements[0].restrictions.max_power"),
        ("elements.0.restrictions.min_duration", "60.5", "elements[0].restrictions.min_duration"),
        ("elements.0.restrictions.day_of_week", ["MON"], "elements[0].restrictions.day_of_week"),
        ("elements.0.restrictions.day_of_week", "MONDAY", "elements[0].restrictions.day_of_week"),
        ("elements.1.restrictions.reservation", "YES", "elements[1].restrictions.reservation"),
        ("elements.1.restrictions.min_kw", 11, "elements[1].restrictions.min_kw"),
        ("min_price", 5, "min_price"),
        ("min_price", {}, "min_price"),
        ("min_price.excl_vat", 1, "min_price.before_taxes"),
        ("max_price.before_taxes", "a", "max_price.before_taxes"),
        ("start_date_time", "yesterday", "start_date_time"),
        ("end_date_time", "0001-01-01T00:00:00Z", "end_date_time"),
        ("voltyard", [1], "voltyard"),
        ("voltyard", {"idle_grace_seconds": -1}, "voltyard.idle_grace_seconds"),
        ("voltyard", {"idle_cap": -1}, "voltyard.idle_cap"),
        ("voltyard", {"idle_quiet": {"start": "22:00"}}, "voltyard.idle_quiet"),
        ("voltyard", {"held_is_free": "yes"}, "voltyard.held_is_free"),
        ("voltyard", {"vat_category": 19}, "voltyard.vat_category"),
        ("voltyard", {"vat_categories": {"POWER": "standard"}}, "voltyard.vat_categories.POWER"),
    ],
)
def test_what_cannot_be_used_is_named(path: str, value: Any, field: str) -> None:
    with pytest.raises(TariffError) as caught:
        parse(edited(path, value))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("tariff", [None, [], "tariff", 5])
def test_only_an_object_is_a_tariff(tariff: Any) -> None:
    with pytest.raises(TariffError, match=r"^tariff: must be an object"):
        parse(tariff)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in members for found in [(*path, key), *_paths(part, (*path, key))]]


@settings(max_examples=RUNS, deadline=None)
@given(st.sampled_from(_paths(FULL)), JSON)
def test_whatever_stands_in_a_tariff_is_read_or_named(path: tuple[str | int, ...], value: Any) -> None:
    tariff = copy.deepcopy(FULL)
    target: Any = tariff
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    try:
        snapshot = parse(tariff)
    except TariffError as error:
        field = error.field
    else:
        assert Snapshot.from_json(snapshot.to_json()) == snapshot
        problems(snapshot)
        return
    assert re.split(r"[\[.]", field)[0] in (path[0], "tax_included")


def found(*elements: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    return [(p.code, p.field) for p in problems(parse(simple(elements=list(elements), **more)))]


def element(kind: str = "ENERGY", vat: int | None = 19, **restrictions: Any) -> dict[str, Any]:
    return {"price_components": [{"type": kind, "price": 1, "vat": vat}], "restrictions": restrictions}


def test_a_sound_tariff_has_no_problems() -> None:
    assert found(element(max_kwh=5), element(min_kwh=10), element(), element("TIME", reservation="RESERVATION")) == []


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        ({}, {"min_kwh": 5}, True),
        ({"max_kwh": 20}, {"max_kwh": 10}, True),
        ({"max_kwh": 20}, {"max_kwh": 30}, False),
        ({"min_power": 11}, {"min_power": 22}, True),
        ({"min_power": 22}, {"min_power": 11}, False),
        ({"start_time": "22:00", "end_time": "06:00"}, {"start_time": "23:00", "end_time": "05:00"}, True),
        ({"start_time": "22:00", "end_time": "06:00"}, {"start_time": "21:00", "end_time": "05:00"}, False),
        ({"day_of_week": ["SATURDAY", "SUNDAY"]}, {"day_of_week": ["SUNDAY"], "max_kwh": 5}, True),
        ({"day_of_week": ["SUNDAY"]}, {}, False),
        ({"start_date": "2026-01-01"}, {"start_date": "2026-06-01", "end_date": "2026-07-01"}, True),
        ({"min_duration": 0}, {"max_duration": 3600}, True),
        ({"reservation": "RESERVATION"}, {}, False),
    ],
)
def test_prices_behind_a_wider_one_never_apply(first: dict[str, Any], second: dict[str, Any], never: bool) -> None:
    kind = "TIME"
    expected = [("never_applies", "elements[1].price_components[0]")] if never else []
    assert found(element(kind, **first), element(kind, **second)) == expected
    assert found(element("ENERGY"), element(kind, **second)) == []


@pytest.mark.parametrize(
    ("restrictions", "field"),
    [
        ({"min_kwh": 5, "max_kwh": 5}, "max_kwh"),
        ({"max_kwh": 0}, "max_kwh"),
        ({"min_power": 22, "max_power": 11}, "max_power"),
        ({"min_duration": 60, "max_duration": 30}, "max_duration"),
        ({"start_date": "2026-01-02", "end_date": "2026-01-02"}, "end_date"),
    ],
)
def test_restrictions_that_leave_nothing(restrictions: dict[str, Any], field: str) -> None:
    assert found(element(**restrictions)) == [("never_applies", f"elements[0].restrictions.{field}")]


def test_other_things_nobody_can_have_meant() -> None:
    assert found(element(start_time="08:00", end_time="08:00")) == [
        ("whole_day", "elements[0].restrictions.start_time")
    ]
    assert found(element(reservation="RESERVATION")) == [("never_applies", "elements[0].price_components[0]")]
    assert found(element(), tax_included="N/A") == [("vat_ignored", "elements[0].price_components[0].vat")]
    assert found(element(vat=None)) == [("vat_missing", "elements[0].price_components[0].vat")]
    assert found(element(vat=None), tax_included="YES") == [("vat_missing", "elements[0].price_components[0].vat")]
    assert found(element(vat=None), tax_included="N/A") == []
    assert found(element(vat=None), voltyard={"vat_category": "standard"}) == []
    low, high = {"excl_vat": 1, "incl_vat": 5}, {"excl_vat": 2, "incl_vat": 4}
    assert found(element(), min_price=low, max_price=high) == [("limits_cross", "min_price.incl_vat")]
    times = {"start_date_time": "2026-01-02T00:00:00Z", "end_date_time": "2026-01-01T00:00:00Z"}
    assert found(element(), **times) == [("never_valid", "end_date_time")]
