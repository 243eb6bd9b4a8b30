"""Why a line or a warning is on a bill: a code with parameters, for words in any language (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_WORDS = {
    "energy": "energy",
    "time": "charging time",
    "parking_time": "parking time",
    "flat": "fee for the session",
    "reservation_time": "reserved time",
    "reservation_flat": "fee for the reservation",
    "expired_time": "reserved time, not used",
    "expired_flat": "fee for a reservation that was not used",
    "idle_cap": "parking time costs no more than its cap",
    "minimum_price": "raised to the minimum price",
    "maximum_price": "lowered to the maximum price",
    # warnings
    "credit_not_paid": "the total is negative and is not paid out",
    "current_unknown": "prices depend on current, which is not known throughout",
    "energy_not_told": "the tariff prices energy, which the session does not tell",
    "estimated": "a part of the session has no reading at its end and is estimated",
    "free_start": "no energy, and too short to be charged",
    "outside_validity": "the session started outside the validity of the tariff",
    "power_unknown": "prices depend on power, which is not known throughout",
    "several_tariffs": "the session names several tariffs; minimum and maximum price are left out",
    "tax_unknown": "the tax on this tariff's prices is not known",
    "time_not_told": "the tariff prices time, which the session does not tell",
}


def _span(unit: str) -> Callable[[str], str]:
    def words(value: str) -> str:
        low, _, high = value.partition("..")
        if not low:
            return f"below {high} {unit}"
        return f"from {low} to below {high} {unit}" if high else f"from {low} {unit}"

    return words


def _dates(value: str) -> str:
    first, _, last = value.partition("/")
    return " ".join(filter(None, [f"from {first}" if first else "", f"before {last}" if last else ""]))


_PARAMS: dict[str, Callable[[str], str]] = {
    "element": lambda value: f"element {value}",
    "clock": lambda value: value.replace("-", " to "),
    "days": lambda value: " ".join(_DAYS[int(day)] for day in value.split(",")),
    "dates": _dates,
    "kwh": _span("kWh"),
    "current": _span("A"),
    "power": _span("kW"),
    "duration": _span("s"),
    "grace": lambda value: f"after {value} s of grace",
    "measured": lambda value: f"rounded up from {value}",
    "step": lambda value: f"in steps of {value}",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """Why a line or a warning is there.

    Parameters: ``element`` (its place in the tariff), its conditions ``clock``, ``days`` (0 is Monday), ``dates``,
    ``kwh``, ``current``, ``power``, ``duration`` as ranges with an open side left empty; ``grace`` in seconds;
    ``measured`` and ``step`` in Wh or s where more is billed than was measured.
    """

    code: str
    params: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The reason in English."""
        unit = "Wh" if self.code == "energy" else "s"
        words = [_WORDS[self.code]]
        for name, value in self.params:
            words.append(_PARAMS[name](f"{value} {unit}" if name in ("measured", "step") else value))
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"code": self.code, "params": dict(self.params)}
