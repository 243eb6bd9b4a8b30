from __future__ import annotations

import io
import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.preview import SessionError, price
from tests.billing.priced import RUNS, vectors

D = Decimal
Price = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Price:
    def price(tariff: Any, session: Any, zone: str = "UTC") -> dict[str, Any]:
        names = []
        for name, value in (("tariff", tariff), ("session", session)):
            text = value if isinstance(value, str) else json.dumps(value, default=float)
            (tmp_path / name).write_text(text, encoding="utf-8")
            names.append(str(tmp_path / name))
        out = io.StringIO()
        call_command("rate", tariff=names[0], session=names[1], time_zone=zone, stdout=out)
        answer = json.loads(out.getvalue(), parse_float=_no_float)
        assert isinstance(answer, dict)
        return answer

    return price


def _no_float(text: str) -> None:
    pytest.fail(f"{text} is not written as text")


def tariff(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    element = {"price_components": [{"step_size": 1, **c} for c in components], **more.pop("element", {})}
    return {"id": "1", "currency": "EUR", "tax_included": "NO", "elements": [element], **more}


def session(
    *periods: dict[str, Any], start: str = "2026-05-04T10:00:00Z", end: str = "2026-05-04T11:00:00Z", **more: Any
) -> dict[str, Any]:
    """Periods as {TYPE: volume}; the member ``at`` says when one starts."""
    told = [
        {
            "start_date_time": volumes.pop("at", start),
            "dimensions": [{"type": kind, "volume": volume} for kind, volume in volumes.items()],
        }
        for volumes in map(dict, periods)
    ]
    return {"start_date_time": start, "end_date_time": end, "charging_periods": told, **more}


ENERGY = {"type": "ENERGY", "price": 0.25, "vat": 10}


@pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])
def test_examples_of_ocpi(run: Price, version: str) -> None:
    folder = vectors("tariffs") / "ocpi-spec"
    cases = json.loads((folder / "cases.json").read_text())["cases"]
    assert len(cases) == 11
    for case in cases:
        if "tariff_file" in case:
            told = (folder / case["tariff_file"].replace("2.3.0", version)).read_text()
        else:
            told = {k: v for k, v in case["tariff_inline"].items() if version == "2.3.0" or k != "tax_included"}
        answer = run(told, case["session"], case["time_zone"])
        for side, text in case["expected"]["total_cost"].items():
            if text is not None:
                assert D(answer["total_cost"][side]).quantize(D(text), ROUND_HALF_UP) == D(text), case["id"]
        for line, expected in zip(answer["lines"], case["expected"].get("lines") or [], strict=False):
            assert line["type"] == expected["type"]
            assert line["unit"] == expected["unit"]
            assert D(line["quantity"]) == D(expected["quantity"])
            assert D(line["unit_price"]) == D(expected["price"])
            assert D(line["excl_vat"]) == D(expected["excl_vat"])


def test_the_whole_answer(run: Price) -> None:
    answer = run(
        tariff(
            ENERGY,
            {"type": "FLAT", "price": "0.50", "vat": "20"},
            {"type": "PARKING_TIME", "price": 2, "vat": 20, "step_size": 900},
        ),
        session(
            {"ENERGY": "20.5", "TIME": 1},
            {"at": "2026-05-04T11:00:00Z", "PARKING_TIME": 0.66667},
            end="2026-05-04T11:40:00Z",
        ),
    )
    nothing = {"excl_vat": "0.00", "incl_vat": "0.00"}
    assert answer == {
        "currency": "EUR",
        "total_cost": {"excl_vat": "7.125", "incl_vat": "8.0375"},
        "total_cost_rounded": {"excl_vat": "7.13", "incl_vat": "8.04"},
        "energy": {"quantity": "20.5", "unit": "kWh", "cost": {"excl_vat": "5.125", "incl_vat": "5.6375"}},
        "time": {"quantity": "1", "unit": "h", "cost": nothing},
        "parking_time": {"quantity": "0.75", "unit": "h", "cost": {"excl_vat": "1.50", "incl_vat": "1.80"}},
        "flat": {"quantity": "1", "unit": "fee", "cost": {"excl_vat": "0.50", "incl_vat": "0.60"}},
        "reservation": {"quantity": "0", "unit": "h", "cost": nothing},
        "lines": [
            {
                "type": "FLAT",
                "quantity": "1",
                "unit": "fee",
                "unit_price": "0.50",
                "excl_vat": "0.50",
                "vat_rate": "20",
                "from": "2026-05-04T10:00:00Z",
                "to": None,
                "reason": "fee for the session",
            },
            {
                "type": "ENERGY",
                "quantity": "20.5",
                "unit": "kWh",
                "unit_price": "0.25",
                "excl_vat": "5.125",
                "vat_rate": "10",
                "from": "2026-05-04T10:00:00Z",
                "to": "2026-05-04T11:00:00Z",
                "reason": "energy",
            },
            {
                "type": "PARKING_TIME",
                "quantity": "0.75",
                "unit": "h",
                "unit_price": "2.00",
                "excl_vat": "1.50",
                "vat_rate": "20",
                "from": "2026-05-04T11:00:00Z",
                "to": "2026-05-04T11:40:00Z",
                "reason": "parking time, rounded up from 2400 s, in steps of 900 s",
            },
        ],
        "warnings": [],
    }


def test_reservations(run: Price) -> None:
    told = tariff({"type": "FLAT", "price": 0.5, "vat": 20}, ENERGY)
    told["elements"].insert(
        0,
        {
            "price_components": [
                {"type": "FLAT", "price": 2, "vat": 20, "step_size": 1},
                {"type": "TIME", "price": 5, "vat": 20, "step_size": 300},
            ],
            "restrictions": {"reservation": "RESERVATION"},
        },
    )
    waited = {"at": "2026-05-04T09:47:00Z", "RESERVATION_TIME": "0.2166666667"}
    for told_session in (
        session(waited, {"ENERGY": 20, "at": "2026-05-04T10:00:00Z"}, start="2026-05-04T09:47:00Z"),
        session({**waited, "ENERGY": 20}, start="2026-05-04T09:47:00Z"),
        session(waited, {"ENERGY": 20}),
    ):
        answer = run(told, told_session)
        assert answer["total_cost"] == {"excl_vat": "8.75", "incl_vat": "10.00"}
        assert answer["reservation"] == {
            "quantity": "0.25",
            "unit": "h",
            "cost": {"excl_vat": "3.25", "incl_vat": "3.90"},
        }
        assert answer["flat"]["quantity"] == "1"
    expired = session({"RESERVATION_TIME": 1}, reservation_expired=True)
    answer = run(told, expired)
    assert answer["total_cost"] == {"excl_vat": "7.00", "incl_vat": "8.40"}
    assert answer["flat"]["quantity"] == "0"
    assert (answer["energy"]["quantity"], answer["time"]["quantity"]) == (None, None)
    # Without charging, the only time there is was the reserved one.
    assert run(told, session({"TIME": 1}, reservation_expired=True))["total_cost"] == answer["total_cost"]


def test_power_and_current_of_a_period(run: Price) -> None:
    told = tariff({"type": "ENERGY", "price": 0.2}, element={"restrictions": {"max_power": 16}})
    told["elements"] += [
        {
            "price_components": [{"type": "ENERGY", "price": 0.35, "step_size": 1}],
            "restrictions": {"min_power": 16, "max_power": 32},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]},
    ]
    periods = [
        {"ENERGY": 1, "MAX_POWER": 6},
        {"at": "2026-05-04T10:10:00Z", "ENERGY": 40, "MIN_POWER": 33, "MAX_POWER": 48},
        {"at": "2026-05-04T10:58:00Z", "ENERGY": 0.5, "MAX_POWER": 4},
    ]
    assert run(told, session(*periods))["total_cost"]["excl_vat"] == "20.30"
    # Energy over time is power, too.
    answer = run(told, session({"ENERGY": 20, "TIME": 1}))
    assert (answer["total_cost"]["excl_vat"], answer["warnings"]) == ("7.00", [])
    answer = run(told, session({"ENERGY": 20}))
    assert answer["total_cost"]["excl_vat"] == "10.00"
    assert [w["code"] for w in answer["warnings"]] == ["power_unknown"]


def test_a_period_across_a_price_change_is_divided_evenly(run: Price) -> None:
    told = tariff(
        {"type": "ENERGY", "price": 1}, element={"restrictions": {"start_time": "12:30", "end_time": "00:00"}}
    )
    answer = run(told, session({"ENERGY": 10}), "Europe/Berlin")
    assert answer["total_cost"]["excl_vat"] == "5.00"
    assert answer["lines"][0]["from"] == "2026-05-04T10:30:00Z"


def test_what_the_session_does_not_tell_is_null(run: Price) -> None:
    unknown = {"excl_vat": None, "incl_vat": None}
    answer = run(tariff(ENERGY), session({"TIME": 1}))
    assert answer["energy"] == {"quantity": None, "unit": "kWh", "cost": unknown}
    assert answer["total_cost"] == answer["total_cost_rounded"] == unknown
    assert [w["code"] for w in answer["warnings"]] == ["energy_not_told"]
    answer = run(tariff(ENERGY, {"type": "TIME", "price": 1}), session({"ENERGY": 20}))
    assert answer["time"] == {"quantity": None, "unit": "h", "cost": unknown}
    assert answer["energy"]["cost"]["excl_vat"] == "5.00"
    assert [w["code"] for w in answer["warnings"]] == ["time_not_told"]
    # What has no price needs no volume, and parking that is not told was none.
    answer = run(tariff(ENERGY, {"type": "PARKING_TIME", "price": 1}), session({"ENERGY": 20}))
    assert answer["total_cost"] == {"excl_vat": "5.00", "incl_vat": "5.50"}
    assert (answer["time"]["quantity"], answer["parking_time"]["quantity"]) == (None, None)
    assert answer["parking_time"]["cost"]["excl_vat"] == "0.00"
    # Where time was told, parking that is not among it was none.
    assert run(tariff(ENERGY), session({"ENERGY": 20, "TIME": 1}))["parking_time"]["quantity"] == "0"


def test_taxes_that_cannot_be_known_are_null(run: Price) -> None:
    net_only = run(tariff({"type": "ENERGY", "price": "0.25"}, country_code="US"), session({"ENERGY": 20}))
    assert net_only["total_cost"] == {"excl_vat": "5.00", "incl_vat": None}
    assert net_only["total_cost_rounded"] == {"excl_vat": "5.00", "incl_vat": None}
    gross_only = run(tariff({"type": "ENERGY", "price": "0.25"}, tax_included="YES"), session({"ENERGY": 20}))
    assert gross_only["total_cost"] == {"excl_vat": None, "incl_vat": "5.00"}
    assert gross_only["energy"]["cost"] == {"excl_vat": None, "incl_vat": "5.00"}


def test_the_booked_amount(run: Price) -> None:
    gross = tariff({"type": "ENERGY", "price": "0.49", "vat": 19}, tax_included="YES")
    answer = run(gross, session({"ENERGY": "31.204"}))
    assert answer["total_cost"]["incl_vat"] == "15.28996"
    assert answer["total_cost_rounded"] == {"excl_vat": "12.85", "incl_vat": "15.29"}
    yen = run(tariff({"type": "ENERGY", "price": 55}, currency="JPY"), session({"ENERGY": "31.204"}))
    assert yen["total_cost_rounded"] == {"excl_vat": "1716", "incl_vat": "1716"}
    negative = run(tariff({"type": "ENERGY", "price": "-0.02"}), session({"ENERGY": 10}))
    assert negative["total_cost"]["excl_vat"] == "-0.20"
    assert negative["total_cost_rounded"]["excl_vat"] == "0.00"


def test_several_tariffs_in_one_session_have_no_limits(run: Price) -> None:
    told = tariff(ENERGY, min_price={"before_taxes": 50})
    periods = session({"ENERGY": 10}, {"at": "2026-05-04T10:30:00Z", "ENERGY": 10})
    assert run(told, periods)["total_cost"]["excl_vat"] == "50.00"
    for name, period in zip("AB", periods["charging_periods"], strict=True):
        period["tariff_id"] = name
    answer = run(told, periods)
    assert answer["total_cost"]["excl_vat"] == "5.00"
    assert [w["code"] for w in answer["warnings"]] == ["several_tariffs"]


def test_a_failed_start_is_free_only_where_no_energy_is_certain(run: Price) -> None:
    fee = tariff({"type": "FLAT", "price": 1})
    end = "2026-05-04T10:01:30Z"
    assert run(fee, session({"ENERGY": 0}, end=end))["total_cost"]["excl_vat"] == "0.00"
    assert run(fee, session({"TIME": 0.025}, end=end))["total_cost"]["excl_vat"] == "1.00"
    assert run(fee, session({"ENERGY": 0.1}, end=end))["total_cost"]["excl_vat"] == "1.00"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"start_date_time": None}, "start_date_time"),
        ({"end_date_time": "soon"}, "end_date_time"),
        ({"end_date_time": "2026-05-04T09:00:00Z"}, "end_date_time"),
        ({"end_date_time": "2028-05-04T09:00:00Z"}, "end_date_time"),
        ({"charging_periods": []}, "charging_periods"),
        ({"charging_periods": [5]}, r"charging_periods\[0\]"),
        ({"charging_periods": [{"dimensions": []}]}, r"charging_periods\[0\].start_date_time"),
        ({"reservation_expired": "yes"}, "reservation_expired"),
    ],
)
def test_a_session_that_cannot_be_used(run: Price, change: dict[str, Any], field: str) -> None:
    with pytest.raises(CommandError, match=f"^{field}: "):
        run(tariff(ENERGY), {**session({"ENERGY": 1}), **change})


@pytest.mark.parametrize(
    ("dimensions", "field"),
    [
        (None, "dimensions"),
        ([{"type": "SUN", "volume": 1}], r"dimensions\[0\].type"),
        ([{"type": "ENERGY", "volume": 1}, {"type": "ENERGY", "volume": 2}], r"dimensions\[1\].type"),
        ([{"type": "ENERGY"}], r"dimensions\[0\].volume"),
        ([{"type": "ENERGY", "volume": "much"}], r"dimensions\[0\].volume"),
        ([{"type": "TIME", "volume": -1}], r"dimensions\[0\].volume"),
        ([{"type": "PARKING_TIME", "volume": 1e6}], r"dimensions\[0\].volume"),
    ],
)
def test_a_period_that_cannot_be_used(run: Price, dimensions: Any, field: str) -> None:
    told = session({"ENERGY": 1})
    told["charging_periods"][0]["dimensions"] = dimensions
    with pytest.raises(CommandError, match=rf"^charging_periods\[0\].{field}: "):
        run(tariff(ENERGY), told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=RUNS, deadline=None)
@given(st.integers(0, 7), JSON)
def test_whatever_stands_in_a_session_is_read_or_named(place: int, value: Any) -> None:
    told: Any = session({"ENERGY": 1, "TIME": 1}, reservation_expired=False)
    period = told["charging_periods"][0]
    places: list[tuple[Any, str | int]] = [
        *((told, name) for name in ("start_date_time", "end_date_time", "charging_periods", "reservation_expired")),
        *((period, name) for name in ("start_date_time", "dimensions")),
        (period["dimensions"][0], "type"),
        (period["dimensions"][0], "volume"),
    ]
    target, key = places[place]
    target[key] = value
    try:
        answer = price(tariff(ENERGY), told, "Europe/Berlin")
    except SessionError as error:
        answer = {"field": error.field}
    assert json.dumps(answer)
    assert answer.get("field", True)


def test_periods_out_of_order_are_refused(run: Price) -> None:
    with pytest.raises(CommandError, match=r"^charging_periods\[1\].start_date_time: is before"):
        run(tariff(ENERGY), session({"at": "2026-05-04T10:30:00Z", "ENERGY": 1}, {"ENERGY": 1}))
    with pytest.raises(CommandError, match=r"^end_date_time: is before charging_periods\[0\]"):
        run(tariff(ENERGY), session({"at": "2026-05-04T11:30:00Z", "ENERGY": 1}))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe/Berlin\0"])
def test_the_zone_must_be_one(run: Price, zone: str) -> None:
    with pytest.raises(CommandError, match=r"^time_zone: "):
        run(tariff(ENERGY), session({"ENERGY": 1}), zone)


@pytest.mark.parametrize("text", ["", "{", '{"currency": NaN}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_files_that_are_not_json(run: Price, text: str) -> None:
    with pytest.raises(CommandError, match=r"^tariff: .* is not JSON"):
        run(text, session({"ENERGY": 1}))


def test_a_tariff_that_cannot_be_used_is_named(run: Price) -> None:
    with pytest.raises(CommandError, match=r"^elements\[0\].price_components\[0\].type: "):
        run(tariff({"type": "SOLAR", "price": 1}), session({"ENERGY": 1}))


def test_a_file_that_is_not_there(run: Price, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("rate", tariff=str(tmp_path / "none"), session=str(tmp_path / "none"), time_zone="UTC")
