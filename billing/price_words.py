"""A price list in words: what is charged for, how much, and when; with VAT wherever its rate is known."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import wording
from billing.money import EXACT, from_minor
from billing.rating import Rating, rate
from billing.snapshot import Choice, Component, Dimension, Limit, Snapshot, TariffError, Tax, clock
from sessions.facts import Activity, Segment, SessionFacts
from sessions.words import joined
from stations import display

EXAMPLE_WH = Decimal(30_000)
EXAMPLE_TIME = dt.timedelta(minutes=40)
_MOST_DIGITS = Decimal("0.0001")
Rates = Mapping[str, Decimal]

_WHAT = {
    Dimension.ENERGY: gettext_lazy("Energy"),
    Dimension.TIME: gettext_lazy("Charging time"),
    Dimension.PARKING_TIME: gettext_lazy("Idle time after charging"),
    Dimension.FLAT: gettext_lazy("Session fee"),
}
_RESERVED = {
    Dimension.TIME: gettext_lazy("Reserved time"),
    Dimension.FLAT: gettext_lazy("Reservation fee"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class PriceLine:
    """One price: for what, how much ("€0.59 per kWh"), and under which conditions (empty: always)."""

    what: str
    price: str
    when: str = ""


def price_lines(snapshot: Snapshot, rates: Rates) -> list[PriceLine]:
    """Return all prices of a tariff in its own order. ``rates`` in percent by VAT category."""
    lines = []
    for dimension, what in _WHAT.items():
        for choice in snapshot.plan.session.get(dimension, ()):
            extra = _idle_words(snapshot) if dimension is Dimension.PARKING_TIME and choice.component.price else ""
            price = _worded(dimension, _gross(snapshot, choice.component, rates), snapshot.currency)
            lines.append(PriceLine(str(what), price, joined([_when(choice), extra])))
    for dimension, what in _RESERVED.items():
        for choice in snapshot.plan.reservation.get(dimension, ()):
            amount = _gross(snapshot, choice.component, rates)
            price = _worded(dimension, amount, snapshot.currency, fee=_("per reservation"))
            lines.append(PriceLine(str(what), price, _when(choice)))
    return lines


def conditions(snapshot: Snapshot) -> list[str]:
    """Return what else a payer should know: least and highest price, free start."""
    found = []
    if snapshot.min_price is not None:
        found.append(_("At least %(amount)s") % {"amount": _limit(snapshot, snapshot.min_price)})
    if snapshot.max_price is not None:
        found.append(_("At most %(amount)s") % {"amount": _limit(snapshot, snapshot.max_price)})
    seconds = snapshot.rules.free_start_seconds
    if seconds:
        span = display.span(seconds)
        found.append(_("Free where no energy flows in the first %(span)s") % {"span": span})
    return found


def summary(snapshot: Snapshot, rates: Rates) -> str:
    """Return a tariff in one line: "€0.59 per kWh, €1.00 per session, VAT included"."""
    parts = [
        _range(snapshot, snapshot.plan.session[dimension], rates)
        for dimension in (Dimension.ENERGY, Dimension.TIME, Dimension.FLAT)
        if any(choice.component.price for choice in snapshot.plan.session.get(dimension, ()))
    ]
    if not parts:
        return _("Free of charge")
    return joined([*parts, vat_words(snapshot, rates)])


def vat_words(snapshot: Snapshot, rates: Rates) -> str:
    """Return how the prices shown stand to VAT; empty for a tariff without tax."""
    components = [component for element in snapshot.elements for component in element.components]
    if snapshot.tax is Tax.NONE:
        return ""
    if snapshot.tax is Tax.INCLUDED or any(_percent(component, rates) is not None for component in components):
        return _("VAT included")
    return _("plus tax") if snapshot.tax_untold else _("no VAT")


def idle_rule(snapshot: Snapshot, rates: Rates) -> str:
    """Return what staying after charging costs, in one sentence; empty where it costs nothing."""
    choices = [choice for choice in snapshot.plan.session.get(Dimension.PARKING_TIME, ()) if choice.component.price]
    if not choices:
        return ""
    price = _range(snapshot, choices, rates)
    grace = snapshot.rules.idle_grace_seconds
    if grace:
        rule = _("Parking after charging: free for %(span)s, then %(price)s.") % {
            "span": display.span(grace),
            "price": price,
        }
    else:
        rule = _("Parking after charging: %(price)s.") % {"price": price}
    cap = snapshot.rules.idle_cap
    if cap is not None:
        rule += " " + _("At most %(amount)s.") % {"amount": display.money(cap, snapshot.currency)}
    return rule


def idle_since(facts: SessionFacts | None) -> dt.datetime | None:
    """Return since when a running session has only been parking; None while it charges."""
    since = None
    for segment in reversed(facts.segments if facts else ()):
        if segment.activity is not Activity.PARKING:
            break
        since = segment.start
    return since


def example(snapshot: Snapshot, rates: Rates, *, at: dt.datetime, zone: str) -> Rating | None:
    """Return what 30 kWh in 40 minutes cost from ``at`` on; None where a VAT rate is missing."""
    end = at + EXAMPLE_TIME
    power = (EXAMPLE_WH * 3600 / int(EXAMPLE_TIME.total_seconds())).quantize(Decimal(1))
    facts = SessionFacts(at, end, EXAMPLE_WH, zone, (Segment(at, end, EXAMPLE_WH, Activity.CHARGING, power),))
    try:
        return rate(snapshot, facts, vat_rates=rates)
    except TariffError:
        return None


def example_total(snapshot: Snapshot, rates: Rates, *, at: dt.datetime, zone: str) -> str:
    """Return the total of the `example`; empty where it cannot be told."""
    rating = example(snapshot, rates, at=at, zone=zone)
    return "" if rating is None else display.money(from_minor(rating.rounded_minor, rating.currency), rating.currency)


def _percent(component: Component, rates: Rates) -> Decimal | None:
    if component.vat is not None or component.vat_category is None:
        return component.vat
    return rates.get(component.vat_category)


def _gross(snapshot: Snapshot, component: Component, rates: Rates) -> Decimal:
    percent = _percent(component, rates)
    if snapshot.tax is not Tax.EXCLUDED or percent is None:
        return component.price
    return EXACT.multiply(component.price, 1 + percent / 100)


def _range(snapshot: Snapshot, choices: Sequence[Choice], rates: Rates) -> str:
    prices = sorted(_gross(snapshot, choice.component, rates) for choice in choices)
    dimension = choices[0].component.type
    highest = _worded(dimension, prices[-1], snapshot.currency)
    if prices[0] == prices[-1]:
        return highest
    amount, _per = _each(dimension, prices[0])
    return _("%(low)s to %(high)s") % {"low": display.unit_price(amount, snapshot.currency), "high": highest}


def _each(dimension: Dimension, price: Decimal, fee: str = "") -> tuple[Decimal, str]:
    """Return a price and what it is for; time by the minute where that is an even amount."""
    if dimension is Dimension.ENERGY:
        return price, _("per kWh")
    if dimension is Dimension.FLAT:
        return price, fee or _("per session")
    minute = EXACT.divide(price, Decimal(60))
    if minute == minute.quantize(_MOST_DIGITS):
        return minute.quantize(_MOST_DIGITS).normalize(), _("per minute")
    return price, _("per hour")


def _worded(dimension: Dimension, price: Decimal, currency: str, fee: str = "") -> str:
    if not price:
        return _("free")
    amount, per = _each(dimension, price, fee)
    return f"{display.unit_price(amount, currency)} {per}"


def _when(choice: Choice) -> str:
    component = choice.component
    params = dict(choice.conditions)
    return wording.line_reason({"type": component.type.value, "reason": {"params": params}})


def _idle_words(snapshot: Snapshot) -> str:
    rules, words = snapshot.rules, []
    if rules.idle_grace_seconds:
        minutes, seconds = divmod(rules.idle_grace_seconds, 60)
        words.append(
            _("after %(span)s") % {"span": display.span(rules.idle_grace_seconds)}
            if seconds
            else ngettext("after %(minutes)s free minute", "after %(minutes)s free minutes", minutes)
            % {"minutes": minutes}
        )
    if rules.idle_quiet is not None:
        first, last = (clock(minute) for minute in rules.idle_quiet)
        words.append(_("free between %(start)s and %(end)s") % {"start": first, "end": last})
    if rules.idle_cap is not None:
        words.append(_("at most %(amount)s") % {"amount": display.money(rules.idle_cap, snapshot.currency)})
    return joined(words)


def _limit(snapshot: Snapshot, limit: Limit) -> str:
    amount = limit.incl_vat if limit.incl_vat is not None else limit.excl_vat
    words = display.money(amount or Decimal(0), snapshot.currency)
    return words if limit.incl_vat is not None else _("%(amount)s without VAT") % {"amount": words}
