"""Lines of a bill in the reader's language: what is charged, and why it is that much."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time, get_day_names
from babel.numbers import format_currency, format_decimal
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from billing.money import digits

# Days before months and 24 hours, as everywhere Voltyard runs; "en" alone would mean the United States.
_LOCALES = {"en": "en_GB"}

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


def locale() -> str:
    """Return the name by which formats of the active language are found."""
    language = (get_language() or "en").replace("-", "_")
    return _LOCALES.get(language, language)


def line_name(line: Mapping[str, Any]) -> str:
    """Return what a line of a rating charges for."""
    return str(_NAMES[line["reason"]["code"]])


def line_reason(line: Mapping[str, Any]) -> str:
    """Return the conditions under which a line's price applied; empty where it always does."""
    params: Mapping[str, str] = line["reason"]["params"]
    unit = "Wh" if line["type"] == "ENERGY" else "s"
    words = [_CONDITIONS[name](value) for name, value in params.items() if name in _CONDITIONS]
    if "step" in params:
        words.append(
            _("measured %(measured)s %(unit)s, billed in steps of %(step)s %(unit)s")
            % {"measured": params["measured"], "step": params["step"], "unit": unit}
        )
    return ", ".join(words)


def line_span(line: Mapping[str, Any], zone: str) -> str:
    """Return from when to when a line holds, as clock times of a zone; empty where it has no times."""
    if line["start"] is None:
        return ""
    times = [clock(line[side], zone) for side in ("start", "end") if line[side] is not None]
    return "–".join(dict.fromkeys(times))


def warning_text(code: str) -> str:
    """Return a warning that concerns the payer; empty for one that only concerns the operator."""
    return str(_WARNINGS.get(code, ""))


def quantity(line: Mapping[str, Any]) -> str:
    """Return a line's quantity with its unit; hours as minutes and seconds."""
    if line["quantity"] is None:
        return ""
    amount = Decimal(line["quantity"])
    match line["unit"]:
        case "kWh":
            return f"{number(amount, 3)} kWh"
        case "h":
            return duration(int((amount * 3600).to_integral_value()))
    return number(amount)


def unit_price(line: Mapping[str, Any], currency: str) -> str:
    """Return a line's price for one unit, with all digits the tariff has."""
    if line["unit_price"] is None:
        return ""
    price = Decimal(line["unit_price"])
    shown = money(price, currency, least=digits(currency))
    return shown if line["unit"] == "fee" else f"{shown}/{line['unit']}"


def money(amount: Decimal | str, currency: str, *, least: int | None = None) -> str:
    """Return an amount with its currency; ``least`` decimals and more where the amount has more."""
    amount = Decimal(amount)
    if least is None:
        return str(format_currency(amount, currency, locale=locale()))
    places = max(least, -int(amount.normalize().as_tuple().exponent))
    amount = amount.quantize(Decimal(1).scaleb(-places))
    return str(format_currency(amount, currency, locale=locale(), currency_digits=False, decimal_quantization=False))


def number(amount: Decimal, places: int | None = None) -> str:
    """Return a number; with ``places`` decimals, else as many as it has."""
    pattern = "#,##0.##########" if places is None else f"#,##0.{'0' * places}"
    return str(format_decimal(amount, format=pattern, locale=locale()))


def kwh(wh: Decimal | str) -> str:
    """Return an energy in kWh to the Wh."""
    return f"{number(Decimal(wh) / 1000, 3)} kWh"


def duration(seconds: int) -> str:
    """Return a length of time in hours, minutes and seconds, leaving out what is zero."""
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{seconds} s" if seconds else ""]
    return " ".join(filter(None, parts)) or "0 s"


def day(text: str | dt.date, style: str = "medium") -> str:
    """Return a date, given as such or as ISO 8601."""
    return str(format_date(dt.date.fromisoformat(text) if isinstance(text, str) else text, style, locale=locale()))


def month(text: str | dt.date) -> str:
    """Return the month of a date in words."""
    return day(text, "LLLL y")


def clock(text: str, zone: str) -> str:
    """Return the time of day of an RFC 3339 moment in a zone."""
    return str(format_time(dt.datetime.fromisoformat(text).astimezone(ZoneInfo(zone)), "HH:mm", locale=locale()))


def moment(text: str, zone: str) -> str:
    """Return date and time of an RFC 3339 moment in a zone, with the zone's short name."""
    at = dt.datetime.fromisoformat(text).astimezone(ZoneInfo(zone))
    return f"{day(at.date())}, {at:%H:%M:%S} {at.tzname()}"


def _range(unit: str, value: str) -> str:
    low, _dots, high = value.partition("..")
    if not low:
        return _("below %(high)s %(unit)s") % {"high": high, "unit": unit}
    if not high:
        return _("from %(low)s %(unit)s") % {"low": low, "unit": unit}
    return _("from %(low)s to below %(high)s %(unit)s") % {"low": low, "high": high, "unit": unit}


def _days(value: str) -> str:
    names = get_day_names("abbreviated", locale=locale())
    return " ".join(str(names[int(day_)]) for day_ in value.split(","))


def _dates(value: str) -> str:
    first, _slash, last = value.partition("/")
    if not first:
        return _("before %(date)s") % {"date": day(last)}
    if not last:
        return _("from %(date)s") % {"date": day(first)}
    return _("from %(first)s to before %(last)s") % {"first": day(first), "last": day(last)}


def _grace(value: str) -> str:
    minutes, seconds = divmod(int(value), 60)
    if seconds:
        return _("after %(seconds)s s without charge") % {"seconds": value}
    return ngettext("after %(minutes)s minute without charge", "after %(minutes)s minutes without charge", minutes) % {
        "minutes": minutes
    }


_CONDITIONS = {
    "clock": lambda value: value.replace("-", "–"),
    "days": _days,
    "dates": _dates,
    "kwh": lambda value: _range("kWh", value),
    "current": lambda value: _range("A", value),
    "power": lambda value: _range("kW", value),
    "duration": lambda value: _range("s", value),
    "grace": _grace,
}
