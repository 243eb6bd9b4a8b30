"""Meter values beyond the golden frames: units, multipliers, phases, places, contexts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stations.messages import Reading
from stations.ocpp.samples import readings

TIME = "2025-03-14T09:26:53Z"


def read(*samples: dict[str, Any]) -> Reading:
    found = readings([{"timestamp": TIME, "sampledValue": list(samples)}])
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("measurand", "unit", "column", "value"),
    [
        ("Energy.Active.Import.Register", "kWh", "energy_wh", "1500"),
        ("Energy.Active.Import.Register", "KWH", "energy_wh", "1500"),
        ("Energy.Active.Import.Interval", "kWh", "energy_interval_wh", "1500"),
        ("Power.Active.Import", "kW", "power_w", "1500"),
        ("Power.Active.Import", "", "power_w", "1.5"),
        ("Current.Import", "mA", "current_a", "0.0015"),
        ("Voltage", "V", "voltage_v", "1.5"),
        ("SoC", "%", "soc_percent", "1.5"),
        ("Temperature", "Celcius", "temperature_c", "1.5"),
        ("Temperature", "K", "temperature_c", "-271.65"),
        ("Temperature", "Fahrenheit", "temperature_c", "-16.94"),
    ],
)
def test_units(measurand: str, unit: str, column: str, value: str) -> None:
    for sent in ("1.5", " 1.5 ", Decimal("1.5")):
        found = read({"value": sent, "measurand": measurand, "unit": unit})
        assert getattr(found, column) == Decimal(value)
        assert (found.other, found.suspect) == (None, ())


@pytest.mark.parametrize(
    ("multiplier", "energy"), [(0, "7"), (3, "7000"), (-3, "0.007"), (-12, "0.000000000007"), (-99, "0.000000000007")]
)
def test_multipliers(multiplier: int, energy: str) -> None:
    found = read({"value": 7, "unitOfMeasure": {"unit": "Wh", "multiplier": multiplier}})
    assert found.energy_wh == Decimal(energy)


def test_a_multiplier_beyond_reason_is_cut_and_its_value_doubted() -> None:
    found = read({"value": 7, "unitOfMeasure": {"multiplier": 10**18}})
    assert found.energy_wh is None
    assert found.suspect == ("Energy.Active.Import.Register: out_of_range",)
    assert found.other == {"Energy.Active.Import.Register": "7000000000000"}


@pytest.mark.parametrize("location", ["Inlet", "Cable", "EV", "Body", "Upstream"])
def test_energy_from_elsewhere_is_no_energy_of_the_outlet(location: str) -> None:
    found = read({"value": "5", "location": location}, {"value": "3", "location": location, "phase": "L1"})
    assert found.energy_wh is None
    assert found.other == {
        f"Energy.Active.Import.Register@{location}": "5",
        f"Energy.Active.Import.Register.L1@{location}": "3",
    }


def test_phase_to_neutral_is_the_phase_and_phase_to_phase_is_not() -> None:
    found = read(
        {"value": "10", "measurand": "Current.Import", "phase": "L1-N"},
        {"value": "11", "measurand": "Current.Import", "phase": "L2"},
        {"value": "0.2", "measurand": "Current.Import", "phase": "N"},
        {"value": "400", "measurand": "Voltage", "phase": "L1-L2"},
    )
    assert (found.current_l1, found.current_l2, found.current_l3, found.current_a) == (10, 11, None, None)
    assert found.other == {"Current.Import.N": "0.2", "Voltage.L1-L2": "400"}


def test_a_phase_named_twice_is_counted_once() -> None:
    found = read({"value": "10", "phase": "L1"}, {"value": "10", "phase": "L1-N"}, {"value": "5", "phase": "L2"})
    assert found.energy_wh == 15


def test_one_phase_alone_is_the_total() -> None:
    assert read({"value": "10", "phase": "L1", "unit": "kWh"}).energy_wh == 10_000


def test_nothing_that_is_said_is_dropped() -> None:
    found = read(
        {"value": "1", "measurand": "Power.Offered", "unit": "kW"},
        {"value": "2", "measurand": "Power.Offered", "unit": "kW"},
        {"value": "3"},
        {"value": "4"},
        {"value": "5", "measurand": "X-Vendor"},
    )
    assert found.energy_wh == 3
    assert found.other == {
        "Power.Offered": "1 kW",
        "Power.Offered#1": "2 kW",
        "Energy.Active.Import.Register": "4",
        "X-Vendor": "5",
    }


@pytest.mark.parametrize(
    "value", ["", "-", "1,5", "1_000", "0x10", "NaN", "sNaN", "inf", "-Infinity", "1.2.3", "٣", "１２", "12 kWh", "1e"]
)
def test_what_is_no_number(value: str) -> None:
    found = read({"value": value})
    assert found.energy_wh is None
    assert found.suspect == ("Energy.Active.Import.Register: not_a_number",)
    assert found.other == {"Energy.Active.Import.Register": value}


def test_a_value_that_is_missing_is_said_to_be() -> None:
    found = read({"measurand": "Voltage", "phase": "L1"}, {"value": "5"})
    assert (found.energy_wh, found.suspect) == (5, ("Voltage.L1: missing",))


def test_each_context_is_a_reading_of_its_own() -> None:
    found = readings(
        [
            {
                "timestamp": TIME,
                "sampledValue": [
                    {"value": "1", "context": "Transaction.Begin"},
                    {"value": "9", "context": "Transaction.End"},
                    {"value": "230", "context": "Transaction.Begin", "measurand": "Voltage"},
                    {"value": "5", "context": "Whenever"},
                    {"value": "6"},
                ],
            }
        ]
    )
    assert [(r.context, r.energy_wh, r.voltage_v) for r in found] == [
        ("Transaction.Begin", 1, 230),
        ("Transaction.End", 9, None),
        ("Other", 5, None),
        ("Sample.Periodic", 6, None),
    ]


def test_signed_data_is_kept_to_the_byte() -> None:
    text = ' OCMF|{"RV":1.50} |  ü\\n'
    found = read({"value": text, "format": "SignedData", "unit": "Wh"})
    assert [signed.data for signed in found.signed] == [text]
    assert (found.energy_wh, found.other, found.suspect) == (None, None, ())


def test_no_samples_no_reading() -> None:
    assert readings([]) == ()
    assert readings([{"timestamp": TIME, "sampledValue": []}]) == ()


numbers = st.decimals(min_value=0, max_value=10**8, places=3)


@given(st.lists(numbers, min_size=1, max_size=3))
def test_phases_add_up(values: list[Decimal]) -> None:
    for measurand, column in (("Energy.Active.Import.Register", "energy_wh"), ("Power.Active.Import", "power_w")):
        found = read(*({"value": str(v), "measurand": measurand, "phase": f"L{n + 1}"} for n, v in enumerate(values)))
        assert getattr(found, column) == sum(values)


@given(numbers)
def test_a_thousand_is_a_thousand(value: Decimal) -> None:
    kilo = read({"value": str(value), "unit": "kWh"}).energy_wh
    plain = read({"value": str(value), "unit": "Wh"}).energy_wh
    scaled = read({"value": value, "unitOfMeasure": {"unit": "Wh", "multiplier": 3}}).energy_wh
    assert plain is not None
    assert kilo == scaled == plain * 1000
