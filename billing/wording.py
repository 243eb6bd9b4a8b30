"""Lines of a bill in the reader's language and zone: what is charged, and why it is that much."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from babel.dates import get_day_names
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from stations import display

_NAMES = {
    "energy": gettext_lazy("Energy"),
    "time": gettext_lazy("Charging time"),
    "parking_time": gettext_lazy("Idle time after charging"),
    "flat": gettext_lazy("Session fee"),
    "reservation_time": gettext_lazy("Reserved time"),
    "reservation_flat": gettext_lazy("Reservation fee"),
    "expired_time": gettext_lazy("Reserved time, not used"),
    "expired_flat": gettext_lazy("Fee for an unused reservation"),
    "idle_cap": gettext_lazy("Idle time costs no more than its cap"),
    "minimum_price": gettext_lazy("Raised to the minimum price"),
    "maximum_price": gettext_lazy("Lowered to the maximum price"),
}
_WARNINGS = {
    "estimated": gettext_lazy("Part of the session was estimated: the station did not report its end."),
    "free_start": gettext_lazy("No energy flowed, and the session was too short to be charged."),
    "credit_not_paid": gettext_lazy("The total is negative; it is not paid out."),
}


def line_name(line: Mapping[str, Any]) -> str:
    """Return what a line of a rating charges for."""
    return str(_NAMES[line["reason"]["code"]])


def line_reason(line: Mapping[str, Any]) -> str:
    """Return the conditions under which a line's price applied; empty where it always does."""
    params: Mapping[str, str] = line["reason"]["params"]
    words = [_CONDITIONS[name](value) for name, value in params.items() if name in _CONDITIONS]
    if "step" in params:
        unit = "Wh" if line["type"] == "ENERGY" else "s"
        words.append(
            _("measured %(measured)s %(unit)s, billed in steps of %(step)s %(unit)s")
            % {"measured": params["measured"], "step": params["step"], "unit": unit}
        )
    return ", ".join(words)


def line_span(line: Mapping[str, Any]) -> str:
    """Return from when to when a line holds, as times of day in the active zone; empty where it has no times."""
    times = [display.time_of_day(dt.datetime.fromisoformat(at)) for at in (line["start"], line["end"]) if at]
    return "–".join(dict.fromkeys(times))


def line_quantity(line: Mapping[str, Any]) -> str:
    """Return a line's quantity with its unit: energy to the Wh, time to the second."""
    if line["quantity"] is None:
        return ""
    amount = Decimal(line["quantity"])
    match line["unit"]:
        case "kWh":
            return str(display.energy_exact(amount * 1000))
        case "h":
            return duration(int((amount * 3600).to_integral_value()))
    return display.number(amount)


def line_price(line: Mapping[str, Any], currency: str) -> str:
    """Return a line's price for one unit, with all digits the tariff has."""
    if line["unit_price"] is None:
        return ""
    shown = display.unit_price(Decimal(line["unit_price"]), currency)
    return shown if line["unit"] == "fee" else f"{shown}/{line['unit']}"


def warning_text(code: str) -> str:
    """Return a warning that concerns the payer; empty for one that only concerns the operator."""
    return str(_WARNINGS.get(code, ""))


def duration(seconds: int) -> str:
    """Return a length of time to the second, without what is zero."""
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{count}{display.NBSP}{unit}" for count, unit in parts if count) or f"0{display.NBSP}s"


def _range(unit: str, value: str) -> str:
    low, _dots, high = value.partition("..")
    if not low:
        return _("below %(high)s %(unit)s") % {"high": high, "unit": unit}
    if not high:
        return _("from %(low)s %(unit)s") % {"low": low, "unit": unit}
    return _("from %(low)s to below %(high)s %(unit)s") % {"low": low, "high": high, "unit": unit}


def _days(value: str) -> str:
    names = get_day_names("abbreviated", locale=display.locale())
    return " ".join(str(names[int(number)]) for number in value.split(","))


def _dates(value: str) -> str:
    first, last = (display.day(dt.date.fromisoformat(text)) if text else "" for text in value.split("/"))
    if not first:
        return _("before %(date)s") % {"date": last}
    if not last:
        return _("from %(date)s") % {"date": first}
    return _("from %(first)s to before %(last)s") % {"first": first, "last": last}


def _grace(value: str) -> str:
    minutes, seconds = divmod(int(value), 60)
    if seconds:
        return _("after %(seconds)s free seconds") % {"seconds": value}
    return ngettext("after %(minutes)s free minute", "after %(minutes)s free minutes", minutes) % {"minutes": minutes}


_CONDITIONS = {
    "clock": lambda value: (
        _("between %(start)s and %(end)s") % dict(zip(("start", "end"), value.split("-"), strict=True))
    ),
    "days": _days,
    "dates": _dates,
    "kwh": lambda value: _range("kWh", value),
    "current": lambda value: _range("A", value),
    "power": lambda value: _range("kW", value),
    "duration": lambda value: _range("s", value),
    "grace": _grace,
}
