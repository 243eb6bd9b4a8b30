"""Prices an OCPI-shaped session by an OCPI tariff, for the command line and for the tariff editor (pure)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing import tariff_object
from billing.charges import LineType
from billing.money import EXACT, digits, from_minor, plain, round_half_up
from billing.rating import ChargeLine, Rating, rate, stamp
from billing.reasons import Reason
from billing.snapshot import Dimension, FieldError, Snapshot
from billing.tariff_object import items, mapping, moment, number
from sessions.facts import Activity, Reservation, Segment, SessionFacts

_ZERO = Decimal(0)
_KWH = 1000
_HOUR = 3600
# OCPI 2.3.0, CdrDimensionType.
_VOLUMES = {
    *("ENERGY", "ENERGY_EXPORT", "ENERGY_IMPORT", "TIME", "PARKING_TIME", "RESERVATION_TIME", "STATE_OF_CHARGE"),
    *("CURRENT", "MAX_CURRENT", "MIN_CURRENT", "POWER", "MAX_POWER", "MIN_POWER"),
}
_LONGEST = dt.timedelta(days=400)
_DURATIONS = ("TIME", "PARKING_TIME", "RESERVATION_TIME")


class SessionError(FieldError):
    """A session that cannot be used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """A session as it was told: the facts, which volumes were among them, and how many tariffs it names."""

    facts: SessionFacts
    volumes: frozenset[str]
    tariffs: int


def price(
    tariff: Any, session: Any, time_zone: str, *, vat_rates: Mapping[str, Decimal] | None = None
) -> dict[str, Any]:
    """Return what a decoded OCPI session costs by a decoded OCPI tariff, as JSON.

    Raises TariffError or SessionError, each with the path of the member that cannot be used.
    """
    snapshot = tariff_object.parse(tariff)
    with localcontext(EXACT):
        told = parse_session(session, time_zone)
    warnings = []
    if told.tariffs > 1:
        # The limits of two tariffs in one session are undefined (OCPI 2.3.0, Tariff object).
        snapshot = dataclasses.replace(snapshot, min_price=None, max_price=None)
        warnings.append("several_tariffs")
    if "ENERGY" not in told.volumes:
        # That no energy was told does not mean that none flowed.
        snapshot = dataclasses.replace(snapshot, rules=dataclasses.replace(snapshot.rules, free_start_seconds=0))
    untold = _untold(snapshot, told)
    warnings += [f"{kind.lower()}_not_told" for kind in untold]
    rating = rate(snapshot, told.facts, vat_rates=vat_rates or {})
    return _answer(rating, told, untold, [*rating.warnings, *map(Reason, warnings)])


def parse_session(session: Any, time_zone: str) -> Told:
    """Read a decoded session shaped as an OCPI CDR; raises SessionError."""
    try:
        return _parse_session(mapping(session, "session"), time_zone)
    except SessionError:
        raise
    except FieldError as error:
        raise SessionError(error.field, error.text) from None


def _parse_session(session: Mapping[str, Any], time_zone: str) -> Told:
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SessionError("time_zone", f"{time_zone!r} is not an IANA time zone") from None
    start = moment(session.get("start_date_time"), "start_date_time")
    end = moment(session.get("end_date_time"), "end_date_time")
    if end < start:
        raise SessionError("end_date_time", "is before start_date_time")
    expired = session.get("reservation_expired", False)
    if not isinstance(expired, bool):
        raise SessionError("reservation_expired", "must be true or false")
    periods = [
        mapping(period, f"charging_periods[{n}]")
        for n, period in enumerate(items(session, "charging_periods", "charging_periods"))
    ]
    starts = [moment(p.get("start_date_time"), f"charging_periods[{n}].start_date_time") for n, p in enumerate(periods)]
    for n, (at, until) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        if until < at:
            place = f"charging_periods[{n + 1}].start_date_time" if n + 1 < len(starts) else "end_date_time"
            raise SessionError(place, f"is before charging_periods[{n}].start_date_time")
    if end - min(start, starts[0]) > _LONGEST:
        raise SessionError("end_date_time", f"is more than {_LONGEST.days} days after the start")
    segments: list[Segment] = []
    told: set[str] = set()
    reserved_from: dt.datetime | None = start if expired else None
    reserved = 0
    for n, period in enumerate(periods):
        at, until = starts[n], starts[n + 1] if n + 1 < len(starts) else end
        volumes = _volumes(period, f"charging_periods[{n}].dimensions")
        told |= volumes.keys()
        if expired and "RESERVATION_TIME" not in volumes and "TIME" in volumes:
            # Nothing was charged, so the only time there is was the reserved one.
            volumes["RESERVATION_TIME"] = volumes.pop("TIME")
        if "RESERVATION_TIME" in volumes:
            waited = _seconds(volumes.pop("RESERVATION_TIME"))
            reserved_from = at if reserved == 0 else reserved_from
            reserved += waited
            if not volumes:
                continue
            at += dt.timedelta(seconds=waited)
        if not expired:
            segments += _segments(at, until, volumes)
    reservation = None
    if reserved_from is not None:
        reservation = Reservation(reserved_from, reserved_from + dt.timedelta(seconds=reserved), expired)
    if not segments:
        start = end
    elif reservation is not None:
        start = segments[0].start
    facts = SessionFacts(
        start=start,
        end=end,
        energy_wh=sum((segment.energy_wh for segment in segments), _ZERO),
        time_zone=time_zone,
        segments=tuple(segments),
        reservation=reservation,
    )
    return Told(facts, frozenset(told), len({p["tariff_id"] for p in periods if isinstance(p.get("tariff_id"), str)}))


def _volumes(period: Mapping[str, Any], field: str) -> dict[str, Decimal]:
    listed = period.get("dimensions")
    if not isinstance(listed, list):
        raise SessionError(field, "must be a list")
    found: dict[str, Decimal] = {}
    for n, entry in enumerate(listed):
        dimension = mapping(entry, f"{field}[{n}]")
        kind = dimension.get("type")
        if not isinstance(kind, str) or kind not in _VOLUMES:
            raise SessionError(f"{field}[{n}].type", "is not a dimension of OCPI 2.2.1 or 2.3.0")
        if kind in found:
            raise SessionError(f"{field}[{n}].type", f"{kind} is there twice")
        found[kind] = number(dimension.get("volume"), f"{field}[{n}].volume")
        if kind in _DURATIONS and not 0 <= found[kind] <= _LONGEST.days * 24:
            raise SessionError(f"{field}[{n}].volume", f"must be a number of hours, from 0 to {_LONGEST.days * 24}")
    return found


def _segments(at: dt.datetime, until: dt.datetime, volumes: Mapping[str, Decimal]) -> list[Segment]:
    """Lay the volumes of a period out in time: charging first, then parking; what is left is not told."""
    wh = volumes.get("ENERGY", _ZERO) * _KWH
    charging, parking = _seconds(volumes.get("TIME", _ZERO)), _seconds(volumes.get("PARKING_TIME", _ZERO))
    power, current = _level(volumes, "POWER"), _level(volumes, "CURRENT")
    if power is not None:
        power *= _KWH
    elif charging and "ENERGY" in volumes:
        power = wh * _HOUR / charging
    found: list[Segment] = []
    if charging:
        edge = at + dt.timedelta(seconds=charging)
        found.append(Segment(at, edge, wh, Activity.CHARGING, power, current))
        at = edge
    elif until - dt.timedelta(seconds=parking) > at or not parking:
        edge = max(at, until - dt.timedelta(seconds=parking))
        found.append(Segment(at, edge, wh, Activity.UNTOLD, power, current))
        at = edge
    if parking:
        edge = at + dt.timedelta(seconds=parking)
        found.append(Segment(at, edge, _ZERO if found else wh, Activity.PARKING))
        at = edge
    if at < until:
        found.append(Segment(at, until, _ZERO, Activity.UNTOLD))
    return found


def _level(volumes: Mapping[str, Decimal], kind: str) -> Decimal | None:
    # A period lies on one side of every boundary, where its least value lies too.
    for name in (kind, f"MIN_{kind}", f"MAX_{kind}"):
        if name in volumes:
            return volumes[name]
    return None


def _seconds(hours: Decimal) -> int:
    return round_half_up(hours * _HOUR)


def _untold(snapshot: Snapshot, told: Told) -> list[LineType]:
    """Return the dimensions that have a price but of which the session must have had an amount it does not tell."""
    if not told.facts.segments:
        return []
    priced = {d for d, choices in snapshot.plan.session.items() if any(c.component.price for c in choices)}
    found = []
    charged = "TIME" in told.volumes or "PARKING_TIME" not in told.volumes
    if Dimension.ENERGY in priced and "ENERGY" not in told.volumes and charged:
        found.append(LineType.ENERGY)
    if Dimension.TIME in priced and "TIME" not in told.volumes and told.facts.energy_wh:
        found.append(LineType.TIME)
    return found


def _answer(rating: Rating, told: Told, untold: list[LineType], warnings: list[Reason]) -> dict[str, Any]:
    places = digits(rating.currency)

    def text(value: Decimal | None) -> str | None:
        return None if value is None else plain(value, places)

    def cost(lines: Iterable[ChargeLine]) -> dict[str, str | None]:
        lines = list(lines)
        return {
            "excl_vat": text(_total(line.excl_vat for line in lines)),
            "incl_vat": text(_total(line.incl_vat for line in lines)),
        }

    def booked(minor: int | None) -> str | None:
        return None if minor is None or untold else text(from_minor(minor, rating.currency))

    nothing = {"excl_vat": None, "incl_vat": None}
    dimensions = {}
    for kind, name, unit in _DIMENSIONS:
        lines = [line for line in rating.lines if line.type is kind]
        quantity = _total(line.quantity for line in lines if line.unit == unit and line.quantity is not None)
        if not quantity:
            quantity = _measured(kind, told)
        known = kind not in untold
        dimensions[name] = {
            "quantity": None if quantity is None else plain(quantity),
            "unit": unit,
            "cost": cost(lines) if known else nothing,
        }
    return {
        "currency": rating.currency,
        "total_cost": nothing if untold else {"excl_vat": text(rating.excl_vat), "incl_vat": text(rating.incl_vat)},
        "total_cost_rounded": {"excl_vat": booked(rating.net_minor), "incl_vat": booked(rating.gross_minor)},
        **dimensions,
        "lines": [
            {
                "type": line.type.value,
                "quantity": None if line.quantity is None else plain(line.quantity),
                "unit": line.unit,
                "unit_price": text(line.unit_price),
                "excl_vat": text(line.excl_vat),
                "vat_rate": None if line.vat_rate is None else plain(line.vat_rate),
                "from": stamp(line.start),
                "to": stamp(line.end),
                "reason": line.reason.text,
            }
            for line in rating.lines
        ],
        "warnings": [{"code": warning.code, "text": warning.text} for warning in warnings],
    }


_DIMENSIONS = (
    (LineType.ENERGY, "energy", "kWh"),
    (LineType.TIME, "time", "h"),
    (LineType.PARKING_TIME, "parking_time", "h"),
    (LineType.FLAT, "flat", "fee"),
    (LineType.RESERVATION, "reservation", "h"),
)


def _measured(kind: LineType, told: Told) -> Decimal | None:
    """Return how much of a dimension there was where nothing of it was billed; None where the session does not tell."""
    facts = told.facts
    if kind is LineType.ENERGY:
        return facts.energy_wh / _KWH if "ENERGY" in told.volumes else None
    if kind is LineType.TIME:
        return _hours(s for s in facts.segments if s.activity is Activity.CHARGING) if "TIME" in told.volumes else None
    if kind is LineType.PARKING_TIME:
        parked = (s for s in facts.segments if s.activity is Activity.PARKING)
        return _hours(parked) if told.volumes & {"TIME", "PARKING_TIME"} else None
    if kind is LineType.RESERVATION and facts.reservation is not None:
        return _hours([facts.reservation])
    return _ZERO


def _hours(stretches: Iterable[Segment | Reservation]) -> Decimal:
    return sum((Decimal((s.end - s.start) // dt.timedelta(seconds=1)) for s in stretches), _ZERO) / _HOUR


def _total(values: Iterable[Decimal | None]) -> Decimal | None:
    total = _ZERO
    for value in values:
        if value is None:
            return None
        total += value
    return total
