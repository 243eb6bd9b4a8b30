"""Snapshot: a tariff as it is frozen at the start of a session, all that pricing may know about prices (pure)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from billing.money import plain

_SECOND = 1_000_000  # offsets are whole microseconds, so that boundaries compare exactly
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()


class FieldError(ValueError):
    """An input that cannot be used: ``field`` is the path of the member at fault, ``text`` says what is wrong."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


class TariffError(FieldError):
    """A tariff that cannot be used."""


class Dimension(enum.StrEnum):
    """What a price component charges for (OCPI 2.3.0 TariffDimensionType)."""

    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"
    FLAT = "FLAT"


class Tax(enum.StrEnum):
    """How the tariff states its prices (OCPI 2.3.0 TaxIncluded; a 2.2.1 tariff is always EXCLUDED)."""

    EXCLUDED = "excluded"
    INCLUDED = "included"
    NONE = "none"


class ReservationKind(enum.StrEnum):
    """Which part of a reservation an element prices (OCPI 2.3.0 ReservationRestrictionType)."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """The price of one dimension: per kWh, per hour, or once.

    ``vat`` is a literal rate in percent; ``vat_category`` names one that is looked up when the session ends. With
    neither, no VAT applies. ``step_size`` counts Wh or seconds; 0 bills what was measured.
    """

    type: Dimension
    price: Decimal
    step_size: int = 1
    vat: Decimal | None = None
    vat_category: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element applies; all that are given must hold. Minimum inclusive, maximum exclusive.

    Clock in minutes of the local day, where an end of 1440 is midnight and an end before the start runs over it;
    ``days`` counts from 0, Monday. Energy in kWh since the start, current in A over all phases, power in kW, durations
    in seconds since the start.
    """

    start_minute: int | None = None
    end_minute: int | None = None
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    days: tuple[int, ...] | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_duration: int | None = None
    max_duration: int | None = None
    reservation: ReservationKind | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Element:
    """Price components that apply together where the restrictions hold."""

    components: tuple[Component, ...]
    restrictions: Restrictions = Restrictions()


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """A minimum or maximum of the whole session; both sides act on their own."""

    excl_vat: Decimal | None = None
    incl_vat: Decimal | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What the OCPI object cannot say.

    A session without energy that is shorter than ``free_start_seconds`` costs nothing. Idle time is free for
    ``idle_grace_seconds`` after charging stopped and inside ``idle_quiet`` (local minutes from, to), and costs at most
    ``idle_cap`` (stated as the prices are). ``held_is_free`` takes the time in which the charger holds back out of the
    charging time. A negative total is paid out only with ``credit_allowed``.
    """

    free_start_seconds: int = 120
    idle_grace_seconds: int = 0
    idle_cap: Decimal | None = None
    idle_quiet: tuple[int, int] | None = None
    held_is_free: bool = False
    credit_allowed: bool = False


class Choice(NamedTuple):
    """A component with the conditions under which it applies; ``conditions`` is their form for reasons."""

    component: Component
    test: Test | None
    conditions: tuple[tuple[str, str], ...]


class Test(NamedTuple):
    """Restrictions in the units that pieces of a session carry: Wh, W, A, microseconds, days since 1970."""

    start_minute: int
    end_minute: int
    start_day: int | None
    end_day: int | None
    days: frozenset[int] | None
    min_wh: Decimal | None
    max_wh: Decimal | None
    min_current: Decimal | None
    max_current: Decimal | None
    min_power: Decimal | None
    max_power: Decimal | None
    min_us: int | None
    max_us: int | None


class Plan(NamedTuple):
    """What pricing looks up again and again, worked out once for each snapshot."""

    session: dict[Dimension, tuple[Choice, ...]]
    reservation: dict[Dimension, tuple[Choice, ...]]
    expired: dict[Dimension, tuple[Choice, ...]]
    minutes: tuple[int, ...]  # local minutes of the day at which something may change
    offsets: tuple[int, ...]  # microseconds since the start at which something may change
    thresholds: tuple[Decimal, ...]  # Wh since the start at which something may change
    uses_clock: bool
    uses_power: bool
    uses_current: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A tariff frozen for one session.

    ``tax_untold`` says that a component without VAT is one whose tax is not known, rather than one without tax.
    ``valid_from`` and ``valid_to`` are the tariff's own validity (exclusive end).
    """

    id: str
    currency: str
    tax: Tax
    elements: tuple[Element, ...]
    min_price: Limit | None = None
    max_price: Limit | None = None
    rules: Rules = Rules()
    tax_untold: bool = False
    valid_from: dt.datetime | None = None
    valid_to: dt.datetime | None = None
    plan: Plan = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", _plan(self))

    def to_json(self) -> dict[str, Any]:
        """Return the canonical JSON form: equal tariffs give equal text, decimals are strings."""
        return {
            "id": self.id,
            "currency": self.currency,
            "tax": self.tax.value,
            "tax_untold": self.tax_untold,
            "elements": [
                {
                    "components": [_without_none(c) for c in e.components],
                    "restrictions": _without_none(e.restrictions),
                }
                for e in self.elements
            ],
            "min_price": None if self.min_price is None else _without_none(self.min_price),
            "max_price": None if self.max_price is None else _without_none(self.max_price),
            "rules": _without_none(self.rules),
            "valid_from": None if self.valid_from is None else self.valid_from.astimezone(dt.UTC).isoformat(),
            "valid_to": None if self.valid_to is None else self.valid_to.astimezone(dt.UTC).isoformat(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        """Read what `to_json` wrote."""
        return cls(
            id=data["id"],
            currency=data["currency"],
            tax=Tax(data["tax"]),
            tax_untold=data["tax_untold"],
            elements=tuple(
                Element(
                    tuple(
                        Component(
                            type=Dimension(c["type"]),
                            price=Decimal(c["price"]),
                            step_size=c["step_size"],
                            vat=_decimal(c.get("vat")),
                            vat_category=c.get("vat_category"),
                        )
                        for c in e["components"]
                    ),
                    _read_restrictions(e["restrictions"]),
                )
                for e in data["elements"]
            ),
            min_price=_read_limit(data["min_price"]),
            max_price=_read_limit(data["max_price"]),
            rules=_read_rules(data["rules"]),
            valid_from=None if data["valid_from"] is None else dt.datetime.fromisoformat(data["valid_from"]),
            valid_to=None if data["valid_to"] is None else dt.datetime.fromisoformat(data["valid_to"]),
        )

    def digest(self) -> str:
        """Return the sha256 of the canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _without_none(item: Component | Restrictions | Limit | Rules) -> dict[str, Any]:
    values = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {name: _json(value) for name, value in values.items() if value is not None}


def _json(value: Any) -> Any:
    match value:
        case Decimal():
            return plain(value)
        case dt.date():
            return value.isoformat()
        case tuple():
            return list(value)
        case enum.StrEnum():
            return value.value
    return value


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _read_limit(data: Mapping[str, str] | None) -> Limit | None:
    return None if data is None else Limit(_decimal(data.get("excl_vat")), _decimal(data.get("incl_vat")))


def _read_rules(data: Mapping[str, Any]) -> Rules:
    values = dict(data)
    if "idle_cap" in values:
        values["idle_cap"] = Decimal(values["idle_cap"])
    if "idle_quiet" in values:
        values["idle_quiet"] = tuple(values["idle_quiet"])
    return Rules(**values)


def _read_restrictions(data: Mapping[str, Any]) -> Restrictions:
    values = dict(data)
    for name in values.keys() & {"start_date", "end_date"}:
        values[name] = dt.date.fromisoformat(values[name])
    for name in values.keys() & {"min_kwh", "max_kwh", "min_current", "max_current", "min_power", "max_power"}:
        values[name] = Decimal(values[name])
    if "days" in values:
        values["days"] = tuple(values["days"])
    if "reservation" in values:
        values["reservation"] = ReservationKind(values["reservation"])
    return Restrictions(**values)


def _plan(snapshot: Snapshot) -> Plan:
    tables: dict[ReservationKind | None, dict[Dimension, list[Choice]]] = {}
    minutes: set[int] = set()
    offsets: set[int] = set()
    thresholds: set[Decimal] = set()
    for number, element in enumerate(snapshot.elements, 1):
        r = element.restrictions
        test = _test(r)
        conditions = _conditions(r)
        if len(snapshot.elements) > 1:
            conditions = (("element", str(number)), *conditions)
        table = tables.setdefault(r.reservation, {})
        for component in element.components:
            table.setdefault(component.type, []).append(Choice(component, test, conditions))
        if r.start_minute is not None or r.end_minute is not None:
            minutes.update(m % 1440 for m in (r.start_minute or 0, r.end_minute or 0))
        if r.start_date or r.end_date or r.days is not None:
            minutes.add(0)
        offsets.update(d * _SECOND for d in (r.min_duration, r.max_duration) if d)
        thresholds.update(k * 1000 for k in (r.min_kwh, r.max_kwh) if k is not None)
    restrictions = [element.restrictions for element in snapshot.elements]
    if snapshot.rules.idle_quiet is not None:
        minutes.update(m % 1440 for m in snapshot.rules.idle_quiet)
    reservation = _frozen(tables.get(ReservationKind.RESERVATION, {}))
    expired = _frozen(tables.get(ReservationKind.RESERVATION_EXPIRES, {}))
    return Plan(
        session=_frozen(tables.get(None, {})),
        reservation=reservation,
        # An expired reservation takes its own elements first; what they do not price is priced as any reservation.
        expired={d: expired.get(d, ()) + reservation.get(d, ()) for d in expired.keys() | reservation.keys()},
        minutes=tuple(sorted(minutes)),
        offsets=tuple(sorted(offsets)),
        thresholds=tuple(sorted(thresholds)),
        uses_clock=bool(minutes),
        uses_power=any(r.min_power is not None or r.max_power is not None for r in restrictions),
        uses_current=any(r.min_current is not None or r.max_current is not None for r in restrictions),
    )


def _frozen(table: Mapping[Dimension, Iterable[Choice]]) -> dict[Dimension, tuple[Choice, ...]]:
    return {dimension: tuple(choices) for dimension, choices in table.items()}


def _test(r: Restrictions) -> Test | None:
    if r == Restrictions(reservation=r.reservation):
        return None
    return Test(
        start_minute=r.start_minute or 0,
        end_minute=1440 if r.end_minute is None else r.end_minute,
        start_day=None if r.start_date is None else r.start_date.toordinal() - _EPOCH_DAY,
        end_day=None if r.end_date is None else r.end_date.toordinal() - _EPOCH_DAY,
        days=None if r.days is None else frozenset(r.days),
        min_wh=None if r.min_kwh is None else r.min_kwh * 1000,
        max_wh=None if r.max_kwh is None else r.max_kwh * 1000,
        min_current=r.min_current,
        max_current=r.max_current,
        min_power=None if r.min_power is None else r.min_power * 1000,
        max_power=None if r.max_power is None else r.max_power * 1000,
        min_us=None if r.min_duration is None else r.min_duration * _SECOND,
        max_us=None if r.max_duration is None else r.max_duration * _SECOND,
    )


def _conditions(r: Restrictions) -> tuple[tuple[str, str], ...]:
    """Return what restricts the element as pairs of a code and its range; an open side is empty."""
    found = []
    if r.start_minute is not None or r.end_minute is not None:
        found.append(("clock", f"{clock(r.start_minute or 0)}-{clock(1440 if r.end_minute is None else r.end_minute)}"))
    if r.days is not None:
        found.append(("days", ",".join(str(day) for day in r.days)))
    if r.start_date or r.end_date:
        found.append(("dates", f"{r.start_date or ''}/{r.end_date or ''}"))
    for code, low, high in (
        ("kwh", r.min_kwh, r.max_kwh),
        ("current", r.min_current, r.max_current),
        ("power", r.min_power, r.max_power),
        ("duration", r.min_duration, r.max_duration),
    ):
        if low is not None or high is not None:
            found.append((code, "..".join("" if side is None else plain(Decimal(side)) for side in (low, high))))
    return tuple(found)


def clock(minute: int) -> str:
    """Write a minute of the day as HH:MM; the end of the day is 24:00."""
    return f"{minute // 60:02}:{minute % 60:02}"
