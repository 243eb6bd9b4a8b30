"""The list of sessions with what they cost: filters by bill, rows, sums, and the same as a table to keep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Q, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import pages
from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.scoping import Scoped
from billing.costs import Cost, costs_of
from billing.models import BillingAccount, SessionBill
from billing.money import from_minor
from billing.reports import csv_lines
from sessions import search, words
from sessions.models import ChargingSession

State, Held = SessionBill.State, SessionBill.Held
SLICE = 500

UNPRICED = Q(status=ChargingSession.Status.ENDED) & (Q(bill=None) | Q(bill__state=State.OPEN))
TO_INVOICE = Q(bill__state=State.RATED, bill__document=None, bill__account__mode=BillingAccount.Mode.MONTHLY) & ~Q(
    bill__incl_vat_minor=0
)
BILLS = {
    "priced": Q(bill__state=State.RATED),
    "unpriced": UNPRICED,
    "held": Q(status=ChargingSession.Status.ENDED, bill__state=State.HELD),
    "to_invoice": TO_INVOICE,
    **{
        reason.value: Q(status=ChargingSession.Status.ENDED, bill__state=State.HELD, bill__held_reason=reason)
        for reason in Held
        if reason.value
    },
}
BILL_WORDS = {
    "priced": gettext_lazy("Priced"),
    "unpriced": gettext_lazy("Not priced yet"),
    "held": gettext_lazy("Held back"),
    "to_invoice": gettext_lazy("Waiting for an invoice"),
    **{reason.value: reason.label for reason in Held if reason.value},
}


class Money(NamedTuple):
    """What priced sessions of one currency come to, with VAT."""

    currency: str
    sessions: int
    incl_vat: Decimal


class Totals(NamedTuple):
    """What a whole list comes to, over all its pages."""

    sessions: int
    energy_wh: Decimal
    money: list[Money]


def found(actor: Membership, wanted: Mapping[str, str]) -> Scoped[ChargingSession]:
    """Return the sessions that fit (see `sessions.search.found`); ``bill`` is a key of `BILLS`."""
    rows = search.found(actor, wanted)
    if wanted.get("review") == "held":
        # Their bills are few and have an index; the sessions are many.
        rows = rows.filter(bill__state__in=[State.HELD, State.OPEN])
    if may(actor, Ability.SEE_MONEY) and (bill := wanted.get("bill")):
        rows = rows.filter(BILLS.get(bill, Q(pk=None)))
    return rows


def page_of(actor: Membership, wanted: Mapping[str, str]) -> pages.Page[ChargingSession]:
    """Return one page of the list, with everything its rows show."""
    rows = found(actor, wanted).select_related("site", "station", "evse", "connector", "driver", "token")
    return pages.page_of(rows, "started_at", before=wanted.get("before", ""), after=wanted.get("after", ""))


def totals(actor: Membership, wanted: Mapping[str, str]) -> Totals:
    """Add up what fits; money only for roles that see it."""
    groups = (
        found(actor, wanted)
        .order_by()
        .values_list("bill__currency", "bill__state")
        .annotate(Count("pk"), Sum("energy_wh"), Sum("bill__incl_vat_minor"))
    )
    count, energy = 0, Decimal(0)
    money = []
    for currency, state, sessions, wh, incl in groups.order_by("bill__currency"):
        count, energy = count + sessions, energy + (wh or 0)
        if state == State.RATED and may(actor, Ability.SEE_MONEY):
            money.append(Money(currency, sessions, from_minor(incl or 0, currency)))
    return Totals(count, energy, money)


def shown(actor: Membership, rows: Sequence[ChargingSession], now: dt.datetime) -> list[dict[str, Any]]:
    """Return rows as ``console/fragments/_session_rows.html`` takes them."""
    sees_people = may(actor, Ability.SEE_PEOPLE)
    costs: Mapping[int, Cost] = costs_of(rows, now=now) if may(actor, Ability.SEE_MONEY) else {}
    return [
        {
            "key": str(row.uuid),
            "url": reverse("console:session", args=[row.uuid]),
            "started_at": row.started_at,
            "station": str(row.station),
            "place": words.joined([words.place_of(row.site), words.connector_of(row)]),
            "driver": words.driver_of(row, sees_people=sees_people),
            "token": words.token_of(row, sees_people=sees_people),
            "state": words.state_of(row) if row.is_open else "",
            "ended_word": "" if row.is_open else words.end_of(row),
            "review": words.holding(row) if not row.is_open else "",
            "energy_wh": row.energy_wh,
            "seconds": words.seconds_of(row, now),
            "cost": _cost_words(costs.get(row.pk)),
        }
        for row in rows
    ]


def _cost_words(cost: Cost | None) -> str:
    if cost is None or (cost.held and cost.bill is not None and cost.bill.is_held):
        return ""
    return cost.text


def table(actor: Membership, wanted: Mapping[str, str], *, delimiter: str, now: dt.datetime) -> Iterator[str]:
    """Yield all that fits as CSV lines, newest first; times in the active zone."""
    sees_money = may(actor, Ability.SEE_MONEY)
    header = [_("Session"), _("Station"), _("Site"), _("Connector"), _("Driver"), _("Token"), _("Started"), _("Ended")]
    header += [_("Time zone"), _("Duration (s)"), _("Energy (kWh)"), _("Meter at start (kWh)"), _("Meter at end (kWh)")]
    header += [_("Reason of the end"), _("Review")]
    if sees_money:
        header += [_("Currency"), _("Net"), _("VAT"), _("Gross"), _("Bill"), _("Document")]
    zone = timezone.get_current_timezone()
    return csv_lines([header], _table(actor, wanted, zone, now, sees_money=sees_money), delimiter=delimiter)


def _table(
    actor: Membership, wanted: Mapping[str, str], zone: dt.tzinfo, now: dt.datetime, *, sees_money: bool
) -> Iterator[list[Any]]:
    sees_people = may(actor, Ability.SEE_PEOPLE)
    rows = found(actor, wanted).select_related("site", "station", "evse", "driver", "token")
    before = ""
    while True:
        page = pages.page_of(rows, "started_at", before=before, size=SLICE)
        bills = SessionBill.objects.select_related("document").in_bulk([row.pk for row in page.rows])
        for row in page.rows:
            end = None if row.is_open else row.stopped_at
            line: list[Any] = [
                row.uuid,
                row.station.identity,
                row.site.name,
                row.evse.number if row.evse else "",
                words.driver_of(row, sees_people=sees_people),
                words.token_of(row, sees_people=sees_people),
                _moment(row.started_at, zone),
                _moment(end, zone) if end else "",
                zone,
                words.seconds_of(row, now),
                *(_kwh(wh) for wh in (row.energy_wh, row.meter_start_wh, row.meter_stop_wh)),
                "" if row.is_open else row.stop_reason,
                " ".join(row.review),
            ]
            yield line + _bill(bills.get(row.pk)) if sees_money else line
        if not page.older:
            return
        before = page.older


def _bill(bill: SessionBill | None) -> list[Any]:
    if bill is None or not bill.is_rated:
        return ["", "", "", "", bill.held_reason or bill.state if bill else "", ""]
    amounts = (bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor)
    document = bill.document.number if bill.document else ""
    return [bill.currency, *(from_minor(amount or 0, bill.currency) for amount in amounts), bill.state, document]


def _moment(at: dt.datetime, zone: dt.tzinfo) -> str:
    return at.astimezone(zone).replace(microsecond=0, tzinfo=None).isoformat(sep=" ")


def _kwh(wh: Decimal | None) -> Decimal | str:
    return "" if wh is None else (wh / 1000).quantize(Decimal("0.001"))
