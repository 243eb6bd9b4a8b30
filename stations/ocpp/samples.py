"""Meter values of every version → `Reading`, in Wh, W, A, V, percent and degrees Celsius (pure).

A sampledValue of 1.6 carries its value as text and a unit, one of 2.x a number and a unitOfMeasure; the
words for measurand, phase, location and context are the same (SampledValue in 1.6, SampledValueType in
2.0.1), so one pass reads both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, Final

from stations.messages import Reading, SignedValue
from stations.ocpp import quirks
from stations.ocpp.frame import read_time

ENERGY: Final = "Energy.Active.Import.Register"
PERIODIC: Final = "Sample.Periodic"
CONTEXTS: Final = frozenset(
    {
        "Interruption.Begin",
        "Interruption.End",
        "Other",
        "Sample.Clock",
        PERIODIC,
        "Transaction.Begin",
        "Transaction.End",
        "Trigger",
    }
)
MAX_RAW: Final = 64
MAX_TEXT: Final = 255
MAX_MULTIPLIER: Final = 12

# Fifteen significant digits: what a double holds. Longer fractions are noise of its conversion
# ("12.300000190734863") and are rounded; longer whole numbers cannot be trusted at all.
_DIGITS: Final = 15
_NUMBERS: Final = Context(prec=_DIGITS, traps=[])

Scale = Callable[[Decimal], Decimal]


def _thousand(value: Decimal) -> Decimal:
    return value * 1000


def _thousandth(value: Decimal) -> Decimal:
    return value / 1000


def _kelvin(value: Decimal) -> Decimal:
    return value - Decimal("273.15")


def _fahrenheit(value: Decimal) -> Decimal:
    return ((value - 32) * 5 / 9).quantize(Decimal("0.01"))


_ENERGY_UNITS: Final[Mapping[str, Scale | None]] = {"": None, "Wh": None, "kWh": _thousand}
_POWER_UNITS: Final[Mapping[str, Scale | None]] = {"": None, "W": None, "kW": _thousand}
_CURRENT_UNITS: Final[Mapping[str, Scale | None]] = {"": None, "A": None, "mA": _thousandth}
_VOLTAGE_UNITS: Final[Mapping[str, Scale | None]] = {"": None, "V": None, "mV": _thousandth, "kV": _thousand}
_PERCENT_UNITS: Final[Mapping[str, Scale | None]] = {"": None, "Percent": None}
_HEAT_UNITS: Final[Mapping[str, Scale | None]] = {
    "": None,
    "Celsius": None,
    "K": _kelvin,
    "Fahrenheit": _fahrenheit,
}

# measurand -> column without phase, column prefix per phase, units, digits before the point, locations
_COLUMNS: Final[Mapping[str, tuple[str, str, Mapping[str, Scale | None], int, frozenset[str]]]] = {
    ENERGY: ("energy_wh", "energy_wh", _ENERGY_UNITS, 12, frozenset({"Outlet"})),
    "Energy.Active.Import.Interval": (
        "energy_interval_wh",
        "energy_interval_wh",
        _ENERGY_UNITS,
        12,
        frozenset({"Outlet"}),
    ),
    "Power.Active.Import": ("power_w", "power_w", _POWER_UNITS, 11, frozenset({"Outlet"})),
    "Current.Import": ("current_a", "current", _CURRENT_UNITS, 7, frozenset({"Outlet"})),
    "Voltage": ("voltage_v", "voltage", _VOLTAGE_UNITS, 7, frozenset({"Outlet"})),
    "SoC": ("soc_percent", "", _PERCENT_UNITS, 3, frozenset({"Outlet", "EV", "Inlet", "Cable", "Body"})),
    "Temperature": ("temperature_c", "", _HEAT_UNITS, 5, frozenset({"Outlet", "Body"})),
}
_SUMMED: Final = ("energy_wh", "energy_interval_wh", "power_w")
_PHASES: Final[Mapping[str, str]] = {
    "L1": "l1",
    "L2": "l2",
    "L3": "l3",
    "L1-N": "l1",
    "L2-N": "l2",
    "L3-N": "l3",
}


@functools.lru_cache(maxsize=2048)
def _place(measurand: str, phase: str, location: str, unit: str) -> tuple[str, str, Scale | None, int, str]:
    """Return column (or ""), key in ``other``, scale, digits before the point, and what is doubtful ("" if nothing).

    The column of a phase that is to be added up reads ``energy_wh/l1``.
    """
    key = measurand
    if phase:
        key += f".{phase}"
    if location != "Outlet":
        key += f"@{location}"
    row = _COLUMNS.get(measurand)
    if row is None:
        return "", key, None, _DIGITS, ""
    total, per_phase, units, digits, locations = row
    unit = quirks.UNIT_SPELLINGS.get(unit.casefold(), unit)
    if unit not in units:
        return "", key, None, _DIGITS, "unit"
    if location not in locations:
        return "", key, None, _DIGITS, ""
    scale = units[unit]
    if not phase:
        return total, key, scale, digits, ""
    line = _PHASES.get(phase)
    if line is None or not per_phase:
        return "", key, None, _DIGITS, ""
    return f"{per_phase}/{line}" if per_phase in _SUMMED else f"{per_phase}_{line}", key, scale, digits, ""


class _Gathered:
    """The samples of one MeterValue with one context."""

    __slots__ = ("columns", "context", "other", "signed", "suspect")

    def __init__(self, context: str) -> None:
        self.context = context
        self.columns: dict[str, Decimal] = {}
        self.other: dict[str, str] = {}
        self.signed: list[SignedValue] = []
        self.suspect: list[str] = []

    def keep(self, key: str, text: str) -> None:
        """Keep a sample that has no column of its own, whatever else goes by the same key."""
        self.other[key if key not in self.other else f"{key}#{len(self.other)}"] = text[:MAX_TEXT]


def readings(meter_values: Sequence[Mapping[str, Any]]) -> tuple[Reading, ...]:
    """Return one `Reading` per MeterValue that says anything, one more for each further context in it."""
    found: list[Reading] = []
    for meter_value in meter_values:
        raw = meter_value.get("timestamp", "")
        at = read_time(raw)
        for gathered in _gather(meter_value.get("sampledValue", ())):
            columns = gathered.columns
            if "/" in "".join(columns):
                _add_up(gathered)
            found.append(
                Reading(
                    at=at,
                    at_raw=raw[:MAX_RAW],
                    context=gathered.context,
                    other=gathered.other or None,
                    signed=tuple(gathered.signed),
                    suspect=tuple(gathered.suspect),
                    **columns,
                )
            )
    return tuple(found)


def _gather(samples: Sequence[Mapping[str, Any]]) -> list[_Gathered]:
    now = _Gathered(PERIODIC)
    all_of: dict[str, _Gathered] = {}
    said = ""
    for sample in samples:
        context = sample.get("context") or PERIODIC
        if context != said:
            said = context
            if context not in CONTEXTS:
                context = "Other"
            now = all_of.get(context) or all_of.setdefault(context, _Gathered(context))
        value = sample.get("value")
        unit, power_of_ten, signed = sample.get("unit", ""), 0, None
        if not unit:
            measure = sample.get("unitOfMeasure")
            if measure:
                unit, power_of_ten = measure.get("unit", ""), measure.get("multiplier", 0)
            signed = sample.get("signedMeterValue")
        if signed is not None:
            now.signed.append(
                SignedValue(
                    data=signed["signedMeterData"],
                    encoding=signed.get("encodingMethod", ""),
                    method=signed.get("signingMethod", ""),
                    public_key=signed.get("publicKey", ""),
                )
            )
        elif sample.get("format") == "SignedData":
            if value is not None:
                now.signed.append(SignedValue(data=value))
            continue
        column, key, scale, digits, doubt = _place(
            sample.get("measurand") or ENERGY, sample.get("phase") or "", sample.get("location") or "Outlet", unit
        )
        if value is None:
            now.suspect.append(f"{key}: missing")
            continue
        if type(value) is str:
            value = value.strip()
        number = _NUMBERS.create_decimal(value)
        if not number.is_finite() or (type(value) is str and not value.isascii()):
            doubt = "not_a_number"
        else:
            if power_of_ten:
                number = number.scaleb(max(-MAX_MULTIPLIER, min(MAX_MULTIPLIER, int(power_of_ten))))
                value = format(number, "f")
            if number.adjusted() >= _DIGITS:
                doubt = "too_many_digits"
            elif column:
                if scale is not None:
                    number = scale(number)
                if number.adjusted() >= digits:
                    doubt = "out_of_range"
                elif column not in now.columns:
                    now.columns[column] = number
                    if "/" not in column:
                        continue
        if doubt:
            now.suspect.append(f"{key}: {doubt}")
        now.keep(key, f"{value} {unit}" if unit else str(value))
    return list(all_of.values())


def _add_up(gathered: _Gathered) -> None:
    """Put the sum over the phases where no total was sent."""
    columns = gathered.columns
    for column in _SUMMED:
        phases = [columns.pop(f"{column}/{line}") for line in ("l1", "l2", "l3") if f"{column}/{line}" in columns]
        if phases and column not in columns:
            columns[column] = sum(phases, Decimal())
