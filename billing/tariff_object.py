"""Reads an OCPI Tariff object, 2.2.1 or 2.3.0, into a Snapshot, and finds what its author cannot have meant (pure).

The version is told by ``tax_included``, ``before_taxes`` or ``excl_vat``. What OCPI cannot say stands in the member
``voltyard``: ``free_start_seconds``, ``idle_grace_seconds``, ``idle_cap``, ``idle_quiet`` {``start``, ``end``},
``held_is_free``, ``credit_allowed``, and the VAT category of all components without a literal ``vat``:
``vat_category``, or by dimension ``vat_categories``. Other members of it belong to whoever stores the tariff.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from billing.money import UnknownCurrency, digits
from billing.snapshot import (
    Component,
    Dimension,
    Element,
    FieldError,
    Limit,
    ReservationKind,
    Restrictions,
    Rules,
    Snapshot,
    TariffError,
    Tax,
)

_TAX = {"YES": Tax.INCLUDED, "NO": Tax.EXCLUDED, "N/A": Tax.NONE}
# There tax is added by the till, at a rate that the tariff does not tell (OCPI 2.3.0, TaxIncluded).
_SALES_TAX_COUNTRIES = ("US", "CA")
_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DATE = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_MAX_NUMBER = Decimal(10) ** 12
_YEARS = range(1970, 3000)
_MAX_SECONDS = 10 * 365 * 86400
_NUMBERS = ("min_kwh", "max_kwh", "min_current", "max_current", "min_power", "max_power")
_RESTRICTIONS = {
    *("start_time", "end_time", "start_date", "end_date", "min_duration", "max_duration", "day_of_week", "reservation"),
    *_NUMBERS,
}


def parse(tariff: Any) -> Snapshot:
    """Read a decoded Tariff object; raises TariffError with the path of the member that cannot be used."""
    try:
        return _parse(tariff)
    except TariffError:
        raise
    except FieldError as error:
        raise TariffError(error.field, error.text) from None


def _parse(tariff: Any) -> Snapshot:
    top = mapping(tariff, "tariff")
    own = _optional(top, "voltyard", "voltyard")
    tax, tax_untold = _tax(top)
    currency = top.get("currency")
    if not isinstance(currency, str):
        raise TariffError("currency", "is required, three capital letters of ISO 4217")
    try:
        digits(currency)
    except UnknownCurrency as error:
        raise TariffError("currency", str(error)) from None
    tariff_id = "" if top.get("id") is None else top["id"]
    if not isinstance(tariff_id, str) or len(tariff_id) > 36:
        raise TariffError("id", "must be text of at most 36 characters")
    categories = _categories(own)
    elements = [
        _element(element, f"elements[{n}]", categories) for n, element in enumerate(items(top, "elements", "elements"))
    ]
    return Snapshot(
        id=tariff_id,
        currency=currency,
        tax=tax,
        elements=tuple(elements),
        min_price=_limit(top, "min_price"),
        max_price=_limit(top, "max_price"),
        rules=_rules(own),
        tax_untold=tax_untold,
        valid_from=_optional_moment(top, "start_date_time"),
        valid_to=_optional_moment(top, "end_date_time"),
    )


def _tax(top: Mapping[str, Any]) -> tuple[Tax, bool]:
    word = top.get("tax_included")
    if word is None:
        if any("before_taxes" in _optional(top, name, name) for name in ("min_price", "max_price")):
            raise TariffError("tax_included", "is required in an OCPI 2.3.0 tariff: YES, NO or N/A")
        return Tax.EXCLUDED, False
    if not isinstance(word, str) or word not in _TAX:
        raise TariffError("tax_included", "must be YES, NO or N/A")
    tax = _TAX[word]
    sales_tax = tax is Tax.EXCLUDED and str(top.get("country_code", "")).upper() in _SALES_TAX_COUNTRIES
    return tax, tax is Tax.INCLUDED or sales_tax


def _categories(own: Mapping[str, Any]) -> dict[Dimension, str]:
    general = own.get("vat_category")
    if general is not None and (not isinstance(general, str) or not general):
        raise TariffError("voltyard.vat_category", "must be the name of a VAT category")
    found = {} if general is None else dict.fromkeys(Dimension, general)
    for name, category in _optional(own, "vat_categories", "voltyard.vat_categories").items():
        field = f"voltyard.vat_categories.{name}"
        if name not in Dimension.__members__:
            raise TariffError(field, f"must be one of {', '.join(Dimension)}")
        if not isinstance(category, str) or not category:
            raise TariffError(field, "must be the name of a VAT category")
        found[Dimension(name)] = category
    return found


def _element(value: Any, field: str, categories: Mapping[Dimension, str]) -> Element:
    element = mapping(value, field)
    components = items(element, "price_components", f"{field}.price_components")
    return Element(
        tuple(_component(c, f"{field}.price_components[{n}]", categories) for n, c in enumerate(components)),
        _restrictions(_optional(element, "restrictions", f"{field}.restrictions"), f"{field}.restrictions"),
    )


def _component(value: Any, field: str, categories: Mapping[Dimension, str]) -> Component:
    component = mapping(value, field)
    kind = component.get("type")
    if not isinstance(kind, str) or kind not in Dimension.__members__:
        raise TariffError(f"{field}.type", f"must be one of {', '.join(Dimension)}")
    if component.get("price") is None:
        raise TariffError(f"{field}.price", "is required")
    vat = None if component.get("vat") is None else number(component["vat"], f"{field}.vat")
    if vat is not None and not 0 <= vat <= 100:
        raise TariffError(f"{field}.vat", "must be a percentage from 0 to 100")
    step = component.get("step_size")
    return Component(
        type=Dimension(kind),
        price=number(component["price"], f"{field}.price"),
        step_size=1 if step is None else _whole(step, f"{field}.step_size"),
        vat=vat,
        vat_category=categories.get(Dimension(kind)) if vat is None else None,
    )


def _restrictions(value: Mapping[str, Any], field: str) -> Restrictions:
    given = {name: part for name, part in value.items() if part is not None and part != []}
    for name in given:
        # One that is not understood would silently make the element apply always.
        if name not in _RESTRICTIONS:
            raise TariffError(f"{field}.{name}", "is not a restriction of OCPI 2.2.1 or 2.3.0")
    bounds: dict[str, Any] = {name: number(given[name], f"{field}.{name}") for name in _NUMBERS if name in given}
    for name, amount in bounds.items():
        if amount < 0:
            raise TariffError(f"{field}.{name}", "must not be negative")
    for name in ("min_duration", "max_duration"):
        if name in given:
            bounds[name] = _whole(given[name], f"{field}.{name}")
    kind = given.get("reservation")
    if kind is not None and (not isinstance(kind, str) or kind not in ReservationKind.__members__):
        raise TariffError(f"{field}.reservation", f"must be {' or '.join(ReservationKind)}")
    end_minute = _clock(given, "end_time", field)
    return Restrictions(
        start_minute=_clock(given, "start_time", field),
        # 00:00 as an end is the end of the day.
        end_minute=1440 if end_minute == 0 else end_minute,
        start_date=_date(given, "start_date", field),
        end_date=_date(given, "end_date", field),
        days=_days(given["day_of_week"], f"{field}.day_of_week") if "day_of_week" in given else None,
        reservation=None if kind is None else ReservationKind(kind),
        **bounds,
    )


def _clock(given: Mapping[str, Any], name: str, field: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise TariffError(f"{field}.{name}" if field else name, "must be a time of day as HH:MM")
    return int(match[1]) * 60 + int(match[2])


def _date(given: Mapping[str, Any], name: str, field: str) -> dt.date | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass
    raise TariffError(f"{field}.{name}", "must be a date as YYYY-MM-DD")


def _days(value: Any, field: str) -> tuple[int, ...]:
    if not isinstance(value, list) or any(day not in _DAYS for day in value):
        raise TariffError(field, f"must be a list of {', '.join(_DAYS)}")
    return tuple(sorted({_DAYS.index(day) for day in value}))


def _limit(top: Mapping[str, Any], name: str) -> Limit | None:
    if top.get(name) is None:
        return None
    value = mapping(top[name], name)
    sides: list[Decimal | None] = []
    for one, other in (("excl_vat", "before_taxes"), ("incl_vat", "after_taxes")):
        given = [side for side in (one, other) if value.get(side) is not None]
        if len(given) == 2:
            raise TariffError(f"{name}.{other}", f"says the same as {one}")
        sides.append(number(value[given[0]], f"{name}.{given[0]}") if given else None)
    if sides == [None, None]:
        raise TariffError(name, "must give an amount: before_taxes in OCPI 2.3.0, excl_vat in 2.2.1")
    return Limit(*sides)


def _rules(own: Mapping[str, Any]) -> Rules:
    given: dict[str, Any] = {}
    for name in ("free_start_seconds", "idle_grace_seconds"):
        if own.get(name) is not None:
            given[name] = _whole(own[name], f"voltyard.{name}")
    for name in ("held_is_free", "credit_allowed"):
        if own.get(name) is not None:
            if not isinstance(own[name], bool):
                raise TariffError(f"voltyard.{name}", "must be true or false")
            given[name] = own[name]
    if own.get("idle_cap") is not None:
        given["idle_cap"] = number(own["idle_cap"], "voltyard.idle_cap")
        if given["idle_cap"] < 0:
            raise TariffError("voltyard.idle_cap", "must not be negative")
    if own.get("idle_quiet") is not None:
        quiet = mapping(own["idle_quiet"], "voltyard.idle_quiet")
        start = _clock(quiet, "start", "voltyard.idle_quiet")
        end = _clock(quiet, "end", "voltyard.idle_quiet")
        if start is None or end is None or start == end:
            raise TariffError("voltyard.idle_quiet", "must give two different times of day, start and end")
        given["idle_quiet"] = (start, end or 1440)
    return Rules(**given)


def _optional_moment(top: Mapping[str, Any], name: str) -> dt.datetime | None:
    return None if top.get(name) is None else moment(top[name], name)


def _whole(value: Any, field: str) -> int:
    amount = number(value, field)
    if amount != int(amount) or not 0 <= amount <= _MAX_SECONDS:
        raise TariffError(field, "must be a whole number, not negative")
    return int(amount)


def mapping(value: Any, field: str) -> Mapping[str, Any]:
    """Return a JSON object; raises FieldError."""
    if not isinstance(value, Mapping):
        raise FieldError(field, "must be an object")
    return value


def _optional(parent: Mapping[str, Any], name: str, field: str) -> Mapping[str, Any]:
    return {} if parent.get(name) is None else mapping(parent[name], field)


def items(parent: Mapping[str, Any], name: str, field: str) -> list[Any]:
    """Return a list member with at least one entry; raises FieldError."""
    value = parent.get(name)
    if not isinstance(value, list) or not value:
        raise FieldError(field, "must be a list with at least one entry")
    return value


def number(value: Any, field: str) -> Decimal:
    """Return a JSON number, or one written as text, exactly as written; raises FieldError."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        value = str(value)
    text = str(value) if isinstance(value, Decimal | str) else ""
    if not _NUMBER.fullmatch(text):
        raise FieldError(field, "must be a number")
    amount = Decimal(text)
    if abs(amount) >= _MAX_NUMBER or (amount and amount.adjusted() < -18):
        raise FieldError(field, "is out of range")
    return amount


def moment(value: Any, field: str) -> dt.datetime:
    """Return a time; without a zone it is UTC (OCPI 2.3.0, DateTime). Raises FieldError."""
    try:
        if isinstance(value, str) and len(value) >= 19:
            at = dt.datetime.fromisoformat(value)
            at = (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
            if at.year in _YEARS:
                return at
    except (ValueError, OverflowError):
        pass
    raise FieldError(field, "must be a time as RFC 3339")


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something in a tariff that can be priced, but not as its author will have meant it."""

    code: str
    field: str
    text: str


def problems(snapshot: Snapshot) -> list[Problem]:
    """Return what looks wrong: prices that can never apply, limits that cross, steps and taxes without effect."""
    return [Problem(*found) for found in _problems(snapshot)]


def _problems(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    seen: list[tuple[Component, Restrictions]] = []
    for n, element in enumerate(snapshot.elements):
        at, r = f"elements[{n}]", element.restrictions
        impossible = list(_impossible(r, f"{at}.restrictions"))
        yield from impossible
        if r.start_minute and r.start_minute == r.end_minute:
            yield "whole_day", f"{at}.restrictions.start_time", "equals end_time, which holds for the whole day"
        for m, component in enumerate(element.components):
            place = f"{at}.price_components[{m}]"
            if not impossible and any(c.type is component.type and _covers(earlier, r) for c, earlier in seen):
                yield "never_applies", place, f"an earlier {component.type} price always applies instead"
            seen.append((component, r))
            if r.reservation and component.type not in (Dimension.TIME, Dimension.FLAT):
                yield "never_applies", place, "a reservation is priced by TIME and FLAT only"
            if component.vat is not None and snapshot.tax is Tax.NONE:
                yield "vat_ignored", f"{place}.vat", "the tariff says that no taxes apply"
            if component.vat is None and component.vat_category is None and component.price:
                if snapshot.tax is Tax.INCLUDED:
                    yield "vat_missing", f"{place}.vat", "the price includes a tax whose rate is not given"
                elif snapshot.tax is Tax.EXCLUDED and not snapshot.tax_untold:
                    yield "vat_missing", f"{place}.vat", "without a rate no VAT is charged"
    low, high = snapshot.min_price or Limit(), snapshot.max_price or Limit()
    for side in ("excl_vat", "incl_vat"):
        least, most = getattr(low, side), getattr(high, side)
        if least is not None and most is not None and least > most:
            yield "limits_cross", f"min_price.{side}", "is above the maximum"
    if snapshot.valid_from and snapshot.valid_to and snapshot.valid_to <= snapshot.valid_from:
        yield "never_valid", "end_date_time", "is not after start_date_time"


_BOUNDS = (
    ("min_kwh", "max_kwh"),
    ("min_current", "max_current"),
    ("min_power", "max_power"),
    ("min_duration", "max_duration"),
    ("start_date", "end_date"),
)


def _impossible(r: Restrictions, at: str) -> Iterator[tuple[str, str, str]]:
    for low_name, high_name in _BOUNDS:
        low, high = getattr(r, low_name), getattr(r, high_name)
        if high is not None and (high <= low if low is not None else not high):
            yield "never_applies", f"{at}.{high_name}", f"leaves nothing above {low_name}"


def _covers(earlier: Restrictions, later: Restrictions) -> bool:
    """Tell whether the earlier restrictions hold wherever the later ones do (as far as that is plain to see)."""
    if earlier.reservation != later.reservation:
        return False
    for low_name, high_name in _BOUNDS:
        low, high = getattr(earlier, low_name), getattr(earlier, high_name)
        inner_low, inner_high = getattr(later, low_name), getattr(later, high_name)
        if low and (inner_low is None or inner_low < low):
            return False
        if high is not None and (inner_high is None or inner_high > high):
            return False
    if earlier.days is not None and (later.days is None or not set(later.days) <= set(earlier.days)):
        return False
    if earlier.start_minute is None and earlier.end_minute is None:
        return True
    return _minutes(later) <= _minutes(earlier)


def _minutes(r: Restrictions) -> set[int]:
    first, last = r.start_minute or 0, 1440 if r.end_minute is None else r.end_minute
    return set(range(first, last)) if first < last else {*range(last), *range(first, 1440)}
