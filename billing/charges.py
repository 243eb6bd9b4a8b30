"""What a session is charged for, in quantities: which price applies to which energy, time and fee (pure).

Rules of OCPI 2.2.1 and 2.3.0, chapters CDRs and Tariffs. Where they leave room:

* Time in which the charger holds back (Activity.HELD) is charging time, never parking time; a tariff's own rule can
  make it free. Time of which nothing is known is neither.
* Each flat fee is charged once, when its element first applies. A session without energy that is shorter than the
  free start costs nothing at all; its reservation stays due.
* step_size rounds the total of all priced energy, and the total of that time dimension which was priced last; the
  surplus is billed at its last price.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Sequence
from decimal import Decimal

from billing.money import plain
from billing.periods import Piece, holds, pieces
from billing.reasons import Reason
from billing.snapshot import Choice, Component, Dimension, Snapshot
from sessions.facts import Activity, Segment, SessionFacts

_ZERO = Decimal(0)
_MICROSECOND = dt.timedelta(microseconds=1)


class LineType(enum.StrEnum):
    """What a line charges for; RESERVATION is both the time and the fee of a reservation."""

    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"
    FLAT = "FLAT"
    RESERVATION = "RESERVATION"
    ADJUSTMENT = "ADJUSTMENT"


@dataclasses.dataclass(slots=True, eq=False)
class Charge:
    """A quantity at one price: Wh, seconds, or 1 for a fee.

    ``since`` and ``until`` are microseconds from ``origin``; a fee has no end.
    """

    type: LineType
    code: str
    component: Component
    quantity: Decimal | int
    origin: dt.datetime
    since: int
    until: int | None
    params: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> Reason:
        """Why it is charged."""
        return Reason(self.code, self.params)

    @property
    def start(self) -> dt.datetime:
        """From when."""
        return self.origin + self.since * _MICROSECOND

    @property
    def end(self) -> dt.datetime | None:
        """Until when; None for a fee."""
        return None if self.until is None else self.origin + self.until * _MICROSECOND


@dataclasses.dataclass(slots=True, eq=False)
class Collected:
    """The charges of a session. ``billable`` tells that there was a session, rather than a failed start or none."""

    charges: list[Charge] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    billable: bool = False


def collect(snapshot: Snapshot, facts: SessionFacts) -> Collected:
    """Find what the session and its reservation are charged for, in order.

    Raises ValueError where the segments do not add up to the session's energy.
    """
    found = Collected()
    _reservation(snapshot, facts, found)
    if not facts.segments:
        return found
    if sum((segment.energy_wh for segment in facts.segments), _ZERO) != facts.energy_wh:
        raise ValueError("the segments do not add up to the energy of the session")
    if facts.energy_wh == 0 and facts.seconds < snapshot.rules.free_start_seconds:
        found.warnings.append("free_start")
        return found
    found.billable = True
    if any(segment.estimated for segment in facts.segments):
        found.warnings.append("estimated")
    _session(snapshot, facts, found)
    return found


def _reservation(snapshot: Snapshot, facts: SessionFacts, found: Collected) -> None:
    reserved = facts.reservation
    if reserved is None:
        return
    plan = snapshot.plan
    prefix, table = ("expired", plan.expired) if reserved.expired else ("reservation", plan.reservation)
    fees, hours = table.get(Dimension.FLAT), table.get(Dimension.TIME)
    whole = Segment(reserved.start, reserved.end, _ZERO, Activity.HELD)
    taker = _Taker(found, reserved.start)
    for piece in pieces(snapshot, reserved.start, (whole,), facts.time_zone):
        taker.fee(LineType.RESERVATION, f"{prefix}_flat", fees, piece)
        taker.amount(LineType.RESERVATION, f"{prefix}_time", hours, piece, piece.seconds)
    _step([charge for charge in found.charges if charge.component.type is Dimension.TIME])


def _session(snapshot: Snapshot, facts: SessionFacts, found: Collected) -> None:
    plan, rules = snapshot.plan, snapshot.rules
    energy, time = plan.session.get(Dimension.ENERGY), plan.session.get(Dimension.TIME)
    parking, fees = plan.session.get(Dimension.PARKING_TIME), plan.session.get(Dimension.FLAT)
    as_charging = (Activity.CHARGING,) if rules.held_is_free else (Activity.CHARGING, Activity.HELD)
    grace = (("grace", str(rules.idle_grace_seconds)),) if rules.idle_grace_seconds else ()
    power_unknown = current_unknown = False
    taker = _Taker(found, facts.start)
    for piece in pieces(snapshot, facts.start, facts.segments, facts.time_zone):
        if fees:
            taker.fee(LineType.FLAT, "flat", fees, piece)
        if energy:
            taker.amount(LineType.ENERGY, "energy", energy, piece, piece.wh)
        if time and piece.activity in as_charging:
            taker.amount(LineType.TIME, "time", time, piece, piece.seconds)
        if parking and piece.activity is Activity.PARKING and not piece.free_idle:
            taker.amount(LineType.PARKING_TIME, "parking_time", parking, piece, piece.seconds, grace)
        power_unknown |= piece.power is None
        current_unknown |= piece.current is None
    if plan.uses_power and power_unknown:
        found.warnings.append("power_unknown")
    if plan.uses_current and current_unknown:
        found.warnings.append("current_unknown")
    _step([charge for charge in found.charges if charge.type is LineType.ENERGY])
    timed = [charge for charge in found.charges if charge.type in (LineType.TIME, LineType.PARKING_TIME)]
    if timed:
        last = max(timed, key=lambda charge: charge.until or 0)
        _step([charge for charge in timed if charge.type is last.type])


class _Taker:
    """Turns pieces into charges, and lengthens the charge before where the price is still the same."""

    def __init__(self, found: Collected, origin: dt.datetime) -> None:
        self.charges = found.charges
        self.origin = origin
        self.open: dict[LineType, Charge] = {}
        self.paid: list[Component] = []

    def fee(self, kind: LineType, code: str, choices: tuple[Choice, ...] | None, piece: Piece) -> None:
        choice = _choose(choices, piece)
        if choice is None or any(choice.component is component for component in self.paid):
            return
        self.paid.append(choice.component)
        self.charges.append(Charge(kind, code, choice.component, 1, self.origin, piece.start, None, choice.conditions))

    def amount(
        self,
        kind: LineType,
        code: str,
        choices: tuple[Choice, ...] | None,
        piece: Piece,
        quantity: Decimal | int,
        params: tuple[tuple[str, str], ...] = (),
    ) -> None:
        choice = _choose(choices, piece) if quantity else None
        if choice is None:
            return
        charge = self.open.get(kind)
        # Energy has no gaps that matter; a stretch of time is told from when to when.
        if charge and charge.component is choice.component and (kind is LineType.ENERGY or charge.until == piece.start):
            charge.quantity += quantity
            charge.until = piece.end
            return
        charge = Charge(
            kind, code, choice.component, quantity, self.origin, piece.start, piece.end, choice.conditions + params
        )
        self.open[kind] = charge
        self.charges.append(charge)


def _choose(choices: tuple[Choice, ...] | None, piece: Piece) -> Choice | None:
    """Return the first component in list order whose restrictions hold."""
    for choice in choices or ():
        if choice.test is None or holds(choice.test, piece):
            return choice
    return None


def _step(charges: Sequence[Charge]) -> None:
    """Round the total of the charges up to whole steps of the last one (OCPI 2.3.0, CDR object, step_size)."""
    used = [charge for charge in charges if charge.quantity > 0]
    total = sum((Decimal(charge.quantity) for charge in charges), _ZERO)
    if not used or total <= 0:
        return
    last = used[-1]
    step = last.component.step_size
    beyond = total % step if step else _ZERO
    if beyond:
        last.params = (*last.params, ("measured", plain(Decimal(last.quantity))), ("step", str(step)))
        last.quantity += step - beyond if isinstance(last.quantity, Decimal) else int(step - beyond)
