"""Prices one session by one tariff (pure): the same snapshot and facts always give the same bytes.

What is charged comes from `billing.charges`; here it becomes money. Amounts stay exact until the end, are rounded once
for each VAT rate, and the lines then share the rounded sum, so that they always add up to the total. Minimum and
maximum act on the net and on the gross total, each on its own (OCPI 2.3.0, Tariff object), as an explicit line whose
VAT is in proportion to the rest.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from types import MappingProxyType
from typing import Any

from billing.charges import Charge, LineType, collect
from billing.money import EXACT, digits, net_and_vat, plain, round_half_up, spread
from billing.reasons import Reason
from billing.snapshot import Component, Dimension, Limit, Snapshot, TariffError, Tax
from sessions.facts import SessionFacts

ENGINE_VERSION = "1"

_ZERO = Decimal(0)
# Amounts are told with this many decimals: more than price, energy and VAT rate together have.
_PLACES = 18
_FINE = Decimal(1).scaleb(-_PLACES)
_NO_RATES: Mapping[str, Decimal] = MappingProxyType({})

# How many Wh, seconds or fees make the unit that the price is for.
_UNITS = {
    Dimension.ENERGY: (Decimal(1000), "kWh"),
    Dimension.TIME: (Decimal(3600), "h"),
    Dimension.PARKING_TIME: (Decimal(3600), "h"),
    Dimension.FLAT: (Decimal(1), "fee"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class ChargeLine:
    """One line of the bill.

    ``quantity`` is in ``unit`` (kWh, h, fee) as billed, ``unit_price`` as the tariff states it (with or without tax),
    ``vat_rate`` in percent (None: no VAT applies). Amounts are exact to 18 decimals, None where they cannot be known;
    ``net_minor`` and ``gross_minor`` are this line's share of the rounded totals. An adjustment has amounts only.
    """

    type: LineType
    quantity: Decimal | None
    unit: str | None
    unit_price: Decimal | None
    excl_vat: Decimal | None
    incl_vat: Decimal | None
    vat_rate: Decimal | None
    start: dt.datetime | None
    end: dt.datetime | None
    reason: Reason
    net_minor: int | None
    gross_minor: int | None

    @property
    def rounded_minor(self) -> int:
        """What is booked for the line: gross where it is known, else net."""
        return self.gross_minor if self.gross_minor is not None else self.net_minor or 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; decimals as strings, times RFC 3339 UTC."""
        return {
            "type": self.type.value,
            "quantity": _text(self.quantity),
            "unit": self.unit,
            "unit_price": _text(self.unit_price),
            "excl_vat": _text(self.excl_vat),
            "incl_vat": _text(self.incl_vat),
            "vat_rate": _text(self.vat_rate),
            "start": stamp(self.start),
            "end": stamp(self.end),
            "reason": self.reason.to_json(),
            "net_minor": self.net_minor,
            "gross_minor": self.gross_minor,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class VatTotal:
    """The rounded amounts of one VAT rate (percent; None: no VAT applies), in minor units."""

    rate: Decimal | None
    net_minor: int | None
    vat_minor: int | None
    gross_minor: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Rating:
    """What a session costs.

    ``excl_vat``, ``vat`` and ``incl_vat`` are exact to 18 decimals, None where they cannot be known. The minor units
    are what is booked: rounded once for each VAT rate, never negative unless the tariff allows credit.
    """

    currency: str
    lines: tuple[ChargeLine, ...]
    excl_vat: Decimal | None
    vat: Decimal | None
    incl_vat: Decimal | None
    totals: tuple[VatTotal, ...]
    warnings: tuple[Reason, ...]
    engine: str = ENGINE_VERSION

    @property
    def net_minor(self) -> int | None:
        """The rounded total without VAT."""
        return _add(total.net_minor for total in self.totals)

    @property
    def vat_minor(self) -> int | None:
        """The rounded VAT."""
        return _add(total.vat_minor for total in self.totals)

    @property
    def gross_minor(self) -> int | None:
        """The rounded total with VAT."""
        return _add(total.gross_minor for total in self.totals)

    @property
    def rounded_minor(self) -> int:
        """What is booked: gross where it is known, else net."""
        gross = self.gross_minor
        return gross if gross is not None else self.net_minor or 0

    def to_json(self) -> dict[str, Any]:
        """Return the canonical JSON form; decimals as strings, times RFC 3339 UTC."""
        return {
            "engine": self.engine,
            "currency": self.currency,
            "excl_vat": _text(self.excl_vat),
            "vat": _text(self.vat),
            "incl_vat": _text(self.incl_vat),
            "totals": [
                {
                    "vat_rate": _text(total.rate),
                    "net_minor": total.net_minor,
                    "vat_minor": total.vat_minor,
                    "gross_minor": total.gross_minor,
                }
                for total in self.totals
            ],
            "lines": [line.to_json() for line in self.lines],
            "warnings": [warning.to_json() for warning in self.warnings],
        }

    def digest(self) -> str:
        """Return the sha256 of the canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def rate(
    snapshot: Snapshot, facts: SessionFacts, *, vat_rates: Mapping[str, Decimal] = _NO_RATES, minor_step: int = 1
) -> Rating:
    """Price a session.

    ``vat_rates`` gives the rate in percent of each VAT category that the snapshot names, as of the session's end.
    ``minor_step`` is the smallest difference in minor units that can be collected (see `money.stripe_step`).
    Raises TariffError where a category has no rate, ValueError where the segments do not add up to the session's
    energy.
    """
    with localcontext(EXACT):
        found = collect(snapshot, facts)
        warnings = _validity(snapshot, facts) + found.warnings
        rows = [_row(snapshot, charge, vat_rates) for charge in found.charges]
        if snapshot.tax_untold and any(row.rate is None and row.stated for row in rows):
            warnings.append("tax_unknown")
        rows += _idle_cap(snapshot, rows)
        limits = []
        if snapshot.min_price is not None and found.billable:
            limits += _limit(rows, snapshot, snapshot.min_price, vat_rates, "minimum_price", 1)
        if snapshot.max_price is not None:
            limits += _limit(rows + limits, snapshot, snapshot.max_price, vat_rates, "maximum_price", -1)
        return _rating(snapshot, rows + limits, warnings, minor_step, limited=bool(limits))


@dataclasses.dataclass(slots=True)
class _Row:
    """A line while it is reckoned: ``stated`` is the amount as the tariff states prices, the others follow from it."""

    code: str
    charge: Charge | None
    rate: Decimal | None
    stated: Decimal
    net: Decimal | None
    gross: Decimal | None


def _validity(snapshot: Snapshot, facts: SessionFacts) -> list[str]:
    start = facts.start if facts.reservation is None else facts.reservation.start
    early = snapshot.valid_from is not None and start < snapshot.valid_from
    late = snapshot.valid_to is not None and start >= snapshot.valid_to
    return ["outside_validity"] if early or late else []


def _row(snapshot: Snapshot, charge: Charge, vat_rates: Mapping[str, Decimal]) -> _Row:
    component = charge.component
    amount = component.price * charge.quantity / _UNITS[component.type][0]
    percent = _percent(snapshot, component, vat_rates)
    return _Row(charge.code, charge, percent, amount, *_sides(snapshot, amount, percent))


def _percent(snapshot: Snapshot, component: Component, vat_rates: Mapping[str, Decimal]) -> Decimal | None:
    if snapshot.tax is Tax.NONE:
        return None
    if component.vat is not None or component.vat_category is None:
        return component.vat
    try:
        return vat_rates[component.vat_category]
    except KeyError:
        raise TariffError("vat_category", f"no VAT rate is known for {component.vat_category!r}") from None


def _sides(snapshot: Snapshot, amount: Decimal, percent: Decimal | None) -> tuple[Decimal | None, Decimal | None]:
    """Return net and gross of a stated amount; None for the side that cannot be known."""
    included = snapshot.tax is Tax.INCLUDED
    if percent is not None:
        factor = 1 + percent / 100
        return (amount / factor, amount) if included else (amount, amount * factor)
    if snapshot.tax_untold and amount:
        return (None, amount) if included else (amount, None)
    return amount, amount


def _idle_cap(snapshot: Snapshot, rows: Sequence[_Row]) -> list[_Row]:
    cap = snapshot.rules.idle_cap
    idle = [row for row in rows if row.charge is not None and row.charge.type is LineType.PARKING_TIME]
    total = sum((row.stated for row in idle), _ZERO)
    if cap is None or total <= cap:
        return []
    found = []
    for percent in _percents(idle):
        amount = (cap - total) * sum((row.stated for row in idle if row.rate == percent), _ZERO) / total
        found.append(_Row("idle_cap", None, percent, amount, *_sides(snapshot, amount, percent)))
    return found


def _limit(
    rows: Sequence[_Row],
    snapshot: Snapshot,
    limit: Limit,
    vat_rates: Mapping[str, Decimal],
    code: str,
    sign: int,
) -> list[_Row]:
    """Return what brings the totals to the limit where they are beyond it; ``sign`` is its direction."""
    net, gross = _sum(row.net for row in rows), _sum(row.gross for row in rows)
    add_net, add_gross = _beyond(net, limit.excl_vat, sign), _beyond(gross, limit.incl_vat, sign)
    if not add_net and not add_gross:
        return []
    found = []
    for percent, weight in _weights(rows) or [(_percent(snapshot, snapshot.elements[0].components[0], vat_rates), 1)]:
        factor = 1 + (percent or _ZERO) / 100
        # The side that has no limit of its own follows the other one.
        row_net = add_net * weight if limit.excl_vat is not None else add_gross * weight / factor
        row_gross = add_gross * weight if limit.incl_vat is not None else add_net * weight * factor
        found.append(
            _Row(code, None, percent, _ZERO, None if net is None else row_net, None if gross is None else row_gross)
        )
    return found


def _weights(rows: Sequence[_Row]) -> list[tuple[Decimal | None, Decimal | int]]:
    """Return the VAT rates of the rows with their share in the total; the first rate where all is zero."""
    shares = []
    for percent in _percents(rows):
        side = [row.net if row.net is not None else row.gross for row in rows if row.rate == percent]
        shares.append((percent, abs(_sum(side) or _ZERO)))
    whole = sum((share for _, share in shares), _ZERO)
    if not whole:
        return [(percent, 1) for percent, _ in shares[:1]]
    return [(percent, share / whole) for percent, share in shares]


def _rating(snapshot: Snapshot, rows: Sequence[_Row], warnings: list[str], minor_step: int, *, limited: bool) -> Rating:
    excl_vat, nets = _told([row.net for row in rows])
    incl_vat, grosses = _told([row.gross for row in rows])
    unit = Decimal(10 ** digits(snapshot.currency))
    percents = sorted(_percents(rows), key=lambda percent: -1 if percent is None else percent)
    members = [[i for i, row in enumerate(rows) if row.rate == percent] for percent in percents]
    exact_net, exact_gross = [excl_vat], [incl_vat]
    if len(members) != 1:
        exact_net = [_told([rows[i].net for i in group])[0] for group in members]
        exact_gross = [_told([rows[i].gross for i in group])[0] for group in members]
    if limited:
        # A limit binds the total: that is rounded, and the rates share it.
        booked = list(zip(_share(exact_net, unit, 1), _share(exact_gross, unit, minor_step), strict=True))
    else:
        booked = [
            _book(percent, _times(net, unit), _times(gross, unit), minor_step, gross_first=snapshot.tax is Tax.INCLUDED)
            for percent, net, gross in zip(percents, exact_net, exact_gross, strict=True)
        ]
    payable = incl_vat if incl_vat is not None else excl_vat
    if payable is not None and payable < 0 and not snapshot.rules.credit_allowed:
        warnings.append("credit_not_paid")
        booked = [(None if net is None else 0, None if gross is None else 0) for net, gross in booked]
        unit = _ZERO  # and no line is worth anything
    minor: list[list[int | None]] = [[None, None] for _ in rows]
    for group, sides in zip(members, booked, strict=True):
        for side, (exact, total) in enumerate(zip((nets, grosses), sides, strict=True)):
            if total is not None:
                parts = spread([(exact[i] or _ZERO) * unit for i in group], total)
                for i, part in zip(group, parts, strict=True):
                    minor[i][side] = part
    return Rating(
        currency=snapshot.currency,
        lines=tuple(
            _line(row, net, gross, *sides) for row, net, gross, sides in zip(rows, nets, grosses, minor, strict=True)
        ),
        excl_vat=excl_vat,
        vat=None if excl_vat is None or incl_vat is None else incl_vat - excl_vat,
        incl_vat=incl_vat,
        totals=tuple(
            VatTotal(percent, net, None if net is None or gross is None else gross - net, gross)
            for percent, (net, gross) in zip(percents, booked, strict=True)
        ),
        warnings=tuple(Reason(code) for code in warnings),
    )


def _book(
    percent: Decimal | None, net: Decimal | None, gross: Decimal | None, step: int, *, gross_first: bool
) -> tuple[int | None, int | None]:
    """Round the amounts of one VAT rate, given in minor units, to what is booked as net and gross."""
    if gross is None:
        return (None if net is None else round_half_up(net / step) * step), None
    booked = round_half_up(gross / step) * step
    if net is None:
        return None, booked
    if percent is None:
        return booked, booked
    return (net_and_vat(booked, percent)[0] if gross_first else round_half_up(net)), booked


def _share(amounts: Sequence[Decimal | None], unit: Decimal, step: int) -> list[int | None]:
    """Round the total and let the amounts share it; one by one where the total cannot be known."""
    exact = [None if amount is None else amount * unit / step for amount in amounts]
    total = _sum(exact)
    if total is None:
        return [None if amount is None else round_half_up(amount) * step for amount in exact]
    return [part * step for part in spread([amount or _ZERO for amount in exact], round_half_up(total))]


def _line(
    row: _Row, net: Decimal | None, gross: Decimal | None, net_minor: int | None, gross_minor: int | None
) -> ChargeLine:
    charge = row.charge
    quantity, unit, price = None, None, None
    if charge is not None:
        scale, unit = _UNITS[charge.component.type]
        quantity = (charge.quantity / scale).quantize(_FINE, ROUND_HALF_UP)
        price = charge.component.price
    kind = LineType.PARKING_TIME if row.code == "idle_cap" else LineType.ADJUSTMENT
    return ChargeLine(
        type=kind if charge is None else charge.type,
        quantity=quantity,
        unit=unit,
        unit_price=price,
        excl_vat=net,
        incl_vat=gross,
        vat_rate=row.rate,
        start=None if charge is None else charge.start,
        end=None if charge is None else charge.end,
        reason=Reason(row.code) if charge is None else charge.reason,
        net_minor=net_minor,
        gross_minor=gross_minor,
    )


def _percents(rows: Iterable[_Row]) -> list[Decimal | None]:
    return list(dict.fromkeys(row.rate for row in rows))


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    total = _ZERO
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _add(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _times(value: Decimal | None, factor: Decimal) -> Decimal | None:
    return None if value is None else value * factor


def _beyond(total: Decimal | None, bound: Decimal | None, sign: int) -> Decimal:
    if total is None or bound is None or (bound - total) * sign <= 0:
        return _ZERO
    return bound - total


def _told(amounts: Sequence[Decimal | None]) -> tuple[Decimal | None, list[Decimal | None]]:
    """Return the total and the amounts with 18 decimals, so that they add up to it."""
    total = _sum(amounts)
    cut = [None if amount is None else amount.quantize(_FINE, ROUND_HALF_UP) for amount in amounts]
    if total is None:
        return None, cut
    total = total.quantize(_FINE, ROUND_HALF_UP)
    if _sum(cut) != total:
        parts = spread([(amount or _ZERO).scaleb(_PLACES) for amount in amounts], int(total.scaleb(_PLACES)))
        cut = [Decimal(part).scaleb(-_PLACES) for part in parts]
    return total, cut


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def stamp(at: dt.datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    return None if at is None else at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
