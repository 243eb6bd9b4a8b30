"""Numbers and times as people read them: in the active language and zone, with their unit.

Pages (through the ``ui`` template tags) and the live socket use the same functions, so a value does not
change its shape when it is updated.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_skeleton, format_time
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision
from django.utils import timezone
from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

NBSP = "\N{NO-BREAK SPACE}"
Number = Decimal | int | float


class Quantity(NamedTuple):
    """A formatted number and its unit; as text both, joined by a no-break space."""

    value: str
    unit: str

    def __str__(self) -> str:
        return f"{self.value}{NBSP}{self.unit}"


@functools.cache
def _locale(language: str | None) -> Locale:
    try:
        return Locale.parse(language or "en", sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale("en")


def locale() -> Locale:
    """Return the Babel locale of the active language; English where Babel does not know it."""
    return _locale(get_language())


def number(value: Number, digits: int = 0) -> str:
    """Format with exactly ``digits`` decimals, halves rounded up, thousands grouped."""
    quantum = Decimal(1).scaleb(-digits)
    rounded = Decimal(value).quantize(quantum, rounding=ROUND_HALF_UP)
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return str(format_decimal(rounded, format=pattern, locale=locale()))


def percent(ratio: Number, digits: int = 1) -> str:
    """Format a ratio (1 = 100 %)."""
    pattern = "#,##0" + ("." + "0" * digits if digits else "") + "%"
    if "\u00a0%" in str(locale().percent_formats[None].pattern):
        pattern = pattern.replace("%", "\u00a0%")
    return str(format_percent(Decimal(ratio), format=pattern, locale=locale()))


def energy(wh: Number) -> Quantity:
    """Format an energy in Wh: below 1 kWh in Wh, from 1 MWh on in MWh."""
    wh = Decimal(wh)
    if abs(wh) >= 1_000_000:
        mwh = wh / 1_000_000
        return Quantity(number(mwh, 2 if abs(mwh) < 10 else 1), "MWh")
    if 0 < abs(wh) < 100:
        return Quantity(number(wh), "Wh")
    return Quantity(number(wh / 1000, 1), "kWh")


def energy_exact(wh: Number) -> Quantity:
    """Format an energy in Wh as kWh with three decimals, as on bills and meter records."""
    return Quantity(number(Decimal(wh) / 1000, 3), "kWh")


def power(watts: Number) -> Quantity:
    """Format a power in W as kW: one decimal below 100 kW unless it is whole, none above."""
    kw = Decimal(watts) / 1000
    whole = abs(kw) >= 100 or kw.quantize(Decimal("0.1")) == kw.to_integral_value()
    return Quantity(number(kw, 0 if whole else 1), "kW")


def bar(value: Number, full: Number, width: int = 64) -> str:
    """Return the length of a bar that shows ``value`` as a part of ``full``, in pixels of ``width``."""
    return f"{float(max(Decimal(0), min(Decimal(1), Decimal(value) / Decimal(full)))) * width:.1f}"


def money(amount: Number, currency: str) -> str:
    """Format an amount in major units with the currency's own digits ("€25.49")."""
    digits = Decimal(1).scaleb(-get_currency_precision(currency))
    rounded = Decimal(amount).quantize(digits, rounding=ROUND_HALF_UP)
    return _spaced(format_currency(rounded, currency, locale=locale()))


def money_short(amount: Number, currency: str) -> str:
    """Format an amount for the axis of a chart: without decimals where it has none."""
    if Decimal(amount) != Decimal(amount).to_integral_value():
        return money(amount, currency)
    return _spaced(format_currency(amount, currency, format=_pattern(digits=0), locale=locale(), currency_digits=False))


def _pattern(*, digits: int) -> str:
    """Return the language's pattern for amounts with another number of decimals."""
    head, _dot, rest = str(locale().currency_formats["standard"].pattern).partition(".")
    return head + ("." + "0" * digits if digits else "") + rest.lstrip("0#")


def _spaced(text: str) -> str:
    """Part a currency's letters from the number, as CLDR asks and Babel does not do ("CHF 12.40")."""
    return re.sub(r"(?<=[^\W\d_])(?=\d)", NBSP, text)


def unit_price(amount: Number, currency: str) -> str:
    """Format a price per unit with all its digits, at least the currency's own ("€0.5932")."""
    exponent = Decimal(amount).normalize().as_tuple().exponent
    shown = max(get_currency_precision(currency), -exponent if isinstance(exponent, int) else 0)
    return _spaced(
        format_currency(amount, currency, format=_pattern(digits=shown), locale=locale(), currency_digits=False)
    )


def clock(seconds: float) -> str:
    """Format a length as a running clock: 18:42, 1:03:07."""
    minutes, secs = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes:02}:{secs:02}"


def span(seconds: float) -> str:
    """Format a length in its two largest units: 2 s, 52 min, 3 h 5 min, 6 d 4 h."""
    rest = max(0, int(seconds))
    parts = []
    for size, unit in (
        (86_400, pgettext("days", "d")),
        (3_600, pgettext("hours", "h")),
        (60, pgettext("minutes", "min")),
        (1, pgettext("seconds", "s")),
    ):
        count, rest = divmod(rest, size)
        parts.append((count, f"{count}{NBSP}{unit}"))
    first = next((i for i, (count, _text) in enumerate(parts) if count), 3)
    shown = parts[first : first + 2] if first < 2 else parts[first : first + 1]
    return " ".join(text for i, (count, text) in enumerate(shown) if count or i == 0)


def ago(at: dt.datetime, *, now: dt.datetime) -> str:
    """Format how long ``at`` is past, "2 s ago"; a future time reads "in 5 min"."""
    seconds = (now - at).total_seconds()
    return _("in %(span)s") % {"span": span(-seconds)} if seconds < -1 else _("%(span)s ago") % {"span": span(seconds)}


def exact(at: dt.datetime) -> str:
    """Format a moment to the second with its zone, for hovering over a relative time."""
    return str(format_datetime(timezone.localtime(at), "d MMM y, HH:mm:ss z", locale=locale()))


def time_of_day(at: dt.datetime, *, seconds: bool = False) -> str:
    """Format the time of day in the active zone: 09:43, with seconds 09:43:18."""
    return str(format_time(timezone.localtime(at), "HH:mm:ss" if seconds else "HH:mm", locale=locale()))


def day(value: dt.date | dt.datetime) -> str:
    """Format a date in the active zone: Nov 22, 2026."""
    if isinstance(value, dt.datetime):
        value = timezone.localtime(value).date()
    return str(format_date(value, "medium", locale=locale()))


def month(value: dt.date) -> str:
    """Format the month of a date: November 2026."""
    return str(format_skeleton("yMMMM", value, locale=locale()))


def moment(at: dt.datetime, *, now: dt.datetime) -> str:
    """Format a moment as short as its distance allows: 09:43 today, else 21 Nov, 09:43."""
    local = timezone.localtime(at)
    if local.date() == timezone.localtime(now).date():
        return time_of_day(at)
    skeleton = "MMMd" if local.year == timezone.localtime(now).year else "yMMMd"
    return f"{format_skeleton(skeleton, local, locale=locale())}, {time_of_day(at)}"
