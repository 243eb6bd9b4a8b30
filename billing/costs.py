"""What sessions cost, for people: final bills as they were priced, running sessions as they would be billed now.

One engine prices both, so a running session's cost does not jump at its end.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from billing import tariffs, wording
from billing.models import SessionBill
from billing.money import from_minor
from billing.rating import rate
from billing.reasons import Reason
from billing.snapshot import Snapshot, Tax
from billing.taxes import vat_rate
from sessions.facts import SessionFacts
from sessions.models import ChargingSession
from sessions.so_far import facts_so_far
from sessions.words import holding, joined
from stations import display

Held = SessionBill.Held
Vat = Callable[..., Decimal | None]
log = logging.getLogger("voltyard.billing")


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What one session costs. ``rating`` is the JSON of `billing.rating.Rating`, None where no price can be told.

    ``held`` says in words why it is not billed, ``facts`` is what a preliminary price was reckoned from.
    """

    bill: SessionBill | None
    rating: Mapping[str, Any] | None = None
    gross_first: bool = True
    is_final: bool = False
    held: str = ""
    facts: SessionFacts | None = None
    snapshot: Snapshot | None = None

    @property
    def currency(self) -> str:
        """ISO 4217 code."""
        return str(self.rating["currency"]) if self.rating else ""

    def minor(self, side: str) -> int | None:
        """Return the total in minor units: ``net``, ``vat`` or ``gross``; None where it cannot be told."""
        if self.rating is None:
            return None
        sides = [total[f"{side}_minor"] for total in self.rating["totals"]]
        return None if any(value is None for value in sides) else sum(sides)

    def amount(self, side: str) -> Decimal | None:
        """Return the total in the currency's main unit."""
        minor = self.minor(side)
        return None if minor is None else from_minor(minor, self.currency)

    @property
    def payable(self) -> Decimal | None:
        """What is to be paid: with VAT where that is known."""
        gross = self.amount("gross")
        return gross if gross is not None else self.amount("net")

    @property
    def text(self) -> str:
        """What is to be paid, as people read it; empty where it cannot be told."""
        payable = self.payable
        return "" if payable is None else display.money(payable, self.currency)


def cost_of(session: ChargingSession, *, now: dt.datetime) -> Cost:
    """Return what one session costs."""
    return costs_of([session], now=now)[session.pk]


def costs_of(sessions: Sequence[ChargingSession], *, now: dt.datetime) -> dict[int, Cost]:
    """Return what sessions cost by primary key, in a fixed number of queries. They come with their ``site``."""
    bills = SessionBill.objects.select_related("document").in_bulk([session.pk for session in sessions])
    priced = [session for session in sessions if session.pk in bills and bills[session.pk].snapshot is not None]
    so_far = facts_so_far(priced, now=now)
    vat: Vat = functools.cache(vat_rate)
    return {session.pk: _cost(session, bills.get(session.pk), so_far.get(session.pk), vat, now) for session in sessions}


def _cost(
    session: ChargingSession, bill: SessionBill | None, so_far: SessionFacts | None, vat: Vat, now: dt.datetime
) -> Cost:
    if bill is None:
        return Cost(None, held=str(Held.NO_TARIFF.label))
    if bill.is_rated:
        return Cost(bill, bill.rating, bool(bill.gross_first), is_final=True)
    why = holding(session) if session.is_held and not session.is_open else ""
    if bill.snapshot is None:
        return Cost(bill, held=why or str(Held.NO_TARIFF.label))
    facts = so_far or (SessionFacts.from_json(session.facts) if session.facts is not None else None)
    if facts is None:
        return Cost(bill, held=why or str(Held.NO_READING.label))
    snapshot = tariffs.snapshot_of(bill)
    rates = vat_rates(snapshot, session, vat, session.stopped_at or now)
    try:
        rating = rate(snapshot, facts, vat_rates=rates).to_json()
    except ValueError as error:  # a missing rate, or readings that do not add up
        log.info("session %s has no price yet: %s", session.uuid, error)
        return Cost(bill, held=why or str(Held(bill.held_reason or Held.UNPRICEABLE).label))
    if not why and bill.is_held and not session.is_open and bill.held_reason != Held.REVIEW:
        why = str(bill.get_held_reason_display())
    return Cost(bill, rating, snapshot.tax is Tax.INCLUDED, held=why, facts=facts, snapshot=snapshot)


def vat_rates(snapshot: Snapshot, session: ChargingSession, vat: Vat, at: dt.datetime) -> dict[str, Decimal]:
    """Return the rates in percent that a snapshot leaves to place and day of a session, as far as they are known."""
    day = at.astimezone(ZoneInfo(session.time_zone)).date()
    found = {category: vat(session.site.country, category, on=day) for category in tariffs.vat_categories(snapshot)}
    return {category: percent for category, percent in found.items() if percent is not None}


# --- for templates -----------------------------------------------------------------------------------


def shown(cost: Cost, *, running: bool) -> dict[str, Any] | None:
    """Return a cost as the cost templates take it; None where no price can be told (then `Cost.held` says why)."""
    if cost.rating is None or cost.payable is None:
        return None
    note = ""
    if cost.held:
        note = _("Held back: %(why)s") % {"why": cost.held}
    elif not cost.is_final:
        note = _("Preliminary: the session still runs.") if running else _("Preliminary: the bill is being made.")
    return {**shown_rating(cost.rating, gross_first=cost.gross_first), "note": note}


def shown_rating(rating: Mapping[str, Any], *, gross_first: bool) -> dict[str, Any]:
    """Return the JSON of a rating as the cost templates take it; its lines with VAT where prices include it."""
    cost = Cost(None, rating, gross_first)
    currency = cost.currency
    side = "gross_minor" if gross_first or cost.minor("gross") is None else "net_minor"
    return {
        "currency": currency,
        "total": cost.payable,
        "net": cost.amount("net"),
        "vat": cost.amount("vat"),
        "vat_included": gross_first,
        "vat_lines": [
            {
                "rate": rate_words(total["vat_rate"]),
                "net": from_minor(total["net_minor"], currency),
                "vat": from_minor(total["vat_minor"], currency),
            }
            for total in rating["totals"]
            if total["net_minor"] is not None and total["vat_minor"] is not None
        ],
        "lines": [
            {
                "text": wording.line_name(line),
                "reason": _reckoned(line, currency),
                "amount": from_minor(line[side], currency),
            }
            for line in rating["lines"]
        ],
        "warnings": [words for code in rating["warnings"] if (words := wording.warning_text(code["code"]))],
    }


def rate_words(percent: str | None) -> str:
    """Return a VAT rate with the digits it has ("8.1%"); "none" where no VAT applies."""
    if percent is None:
        return _("none")
    exponent = Decimal(percent).normalize().as_tuple().exponent
    return display.percent(Decimal(percent) / 100, max(0, -int(exponent)))


def _reckoned(line: Mapping[str, Any], currency: str) -> str:
    quantity, price = wording.line_quantity(line), wording.line_price(line, currency)
    product = f"{quantity} × {price}" if quantity and price and line["unit"] != "fee" else price
    return joined([product, wording.line_span(line), wording.line_reason(line)])


# --- for programs ------------------------------------------------------------------------------------


def told(cost: Cost) -> dict[str, Any] | None:
    """Return a final price as the API writes it; None where there is none yet."""
    if not cost.is_final or cost.rating is None:
        return None
    currency = cost.currency
    return {
        "currency": currency,
        **_sides(cost.minor("net") or 0, cost.minor("gross") or 0, currency),
        "lines": [
            {
                "type": line["type"],
                "quantity": line["quantity"],
                "unit": line["unit"],
                "unit_price": line["unit_price"],
                **_sides(line["net_minor"] or 0, line["gross_minor"] or 0, currency),
                "vat_rate": line["vat_rate"],
                "from": line["start"],
                "to": line["end"],
                "reason": Reason(line["reason"]["code"], tuple(line["reason"]["params"].items())).text,
            }
            for line in cost.rating["lines"]
        ],
    }


def _sides(net: int, gross: int, currency: str) -> dict[str, str]:
    amounts = {"excl_vat": net, "vat": gross - net, "incl_vat": gross}
    return {side: f"{from_minor(minor, currency):f}" for side, minor in amounts.items()}
