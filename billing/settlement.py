"""From an ended session to a priced, posted and documented one: once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Max, Q
from django.utils.translation import gettext as _

from accounts.audit import By
from accounts.errors import Refused
from billing import invoicing, ledger, tariffs
from billing.charges import LineType
from billing.ledger import Kind, Leg, Posting
from billing.models import BillingAccount, LegalEntity, SessionBill
from billing.money import from_minor
from billing.payers import account_for
from billing.rating import Rating, rate
from billing.sellers import seller_of
from billing.snapshot import Snapshot, Tax
from billing.taxes import vat_rate
from sessions.facts import SessionFacts
from sessions.models import ChargingSession

State, Held = SessionBill.State, SessionBill.Held
log = logging.getLogger("voltyard.billing")

PATIENCE = dt.timedelta(minutes=1)
RECENT = 20_000

REVENUE = {
    LineType.ENERGY: Kind.REVENUE_ENERGY,
    LineType.TIME: Kind.REVENUE_TIME,
    LineType.PARKING_TIME: Kind.REVENUE_IDLE,
    LineType.RESERVATION: Kind.REVENUE_RESERVATION,
    LineType.FLAT: Kind.REVENUE_FEE,
    LineType.ADJUSTMENT: Kind.REVENUE_FEE,
}


class AlreadySettled(Refused):
    """The session has its price; nothing was changed."""

    code = "already_settled"


class NotEnded(Refused):
    """The session is still going on."""

    code = "not_ended"


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """What a session would be billed with, or why it cannot be (``held``)."""

    held: str = ""
    rating: Rating | None = None
    snapshot: Snapshot | None = None


def settle(session_id: int, *, now: dt.datetime, by: By = None) -> SessionBill:
    """Price an ended session, post it and issue its paper, in one transaction; or hold it with a visible reason.

    A held bill may be settled again, after review or once a tariff or rate is there. Raises `AlreadySettled` and
    `NotEnded`; nothing is changed then.
    """
    with transaction.atomic():
        session = _SESSIONS.get(pk=session_id)
        if session.is_open or session.stopped_at is None:
            raise NotEnded(_("The session has not ended."))
        bills = _settle([session], {session_id: now}, by)
        if not bills:
            raise AlreadySettled(_("This session was billed before."))
    return bills[0]


def settle_many(moments: Mapping[int, dt.datetime], *, by: By = None) -> list[SessionBill]:
    """Settle sessions, each as of its moment, in one transaction; return the bills of those that were not settled yet.

    ``moments`` by key of the session; papers are numbered in its order. On SQLite every other writer waits meanwhile,
    so give slices of about twenty while the system is in use.
    """
    with transaction.atomic():
        sessions = {session.pk: session for session in _SESSIONS.filter(pk__in=moments)}
        ended = [sessions[pk] for pk in moments if not sessions[pk].is_open and sessions[pk].stopped_at is not None]
        return _settle(ended, moments, by)


_SESSIONS = ChargingSession.objects.select_related(
    "site__operator", "station", "connector__evse", "driver__user", "token__driver__user"
)


def _settle(sessions: Sequence[ChargingSession], moments: Mapping[int, dt.datetime], by: By) -> list[SessionBill]:
    """Price, post and document ended sessions that are not settled; return their bills."""
    pks = [session.pk for session in sessions]
    locked = SessionBill.objects.select_for_update(of=("self",)).select_related("tariff").filter(pk__in=pks)
    known = {bill.pk: bill for bill in locked.order_by("pk")}
    vat, seller = functools.cache(vat_rate), functools.cache(seller_of)
    payers: dict[tuple[int | None, int | None], BillingAccount | None] = {}
    bills, postings, papers = [], [], []
    for session in sessions:
        now = moments[session.pk]
        bill = known.get(session.pk)
        if bill is None or bill.snapshot is None:
            bill = tariffs.with_tariff(session, bill, at=now)
        if bill.is_rated:
            continue
        bill.session = session
        bills.append(bill)
        price = _price(session, bill, vat)
        if price.rating is None or price.snapshot is None:
            bill.state, bill.held_reason = State.HELD, price.held
            continue
        payer = session.token_id, session.driver_id
        if payer not in payers:
            payers[payer] = account_for(session)
        _fill(bill, price.rating, price.snapshot, seller(session.site), payers[payer], now=now)
        if bill.incl_vat_minor:
            postings.append(_posting(bill, price.rating, now=now))
            papers.append((bill, now))
    ledger.post_all(postings, by=by)
    invoicing.issue_for_sessions(papers)
    SessionBill.objects.bulk_create(bills, update_conflicts=True, unique_fields=["session"], update_fields=_FIELDS)
    return bills


_FIELDS = [field.name for field in SessionBill._meta.concrete_fields if not field.primary_key]


def preview_total(session: ChargingSession) -> Decimal | None:
    """Return what an ended session costs with VAT, in the tariff's currency; None where its bill is held.

    Writes nothing.
    """
    bill = SessionBill.objects.filter(pk=session.pk).first()
    if bill is None or session.is_open:
        return None
    if bill.is_rated:
        return from_minor(bill.incl_vat_minor or 0, bill.currency)
    rating = _price(session, bill).rating
    return None if rating is None else from_minor(rating.rounded_minor, rating.currency)


def due(now: dt.datetime, limit: int) -> list[int]:
    """Return keys of sessions that wait for their price, oldest first: ended and open, or held and released since.

    Those that ended less than a minute before ``now`` are left to the task that their end has started. Those whose
    end is an estimate wait until ``settle_after``: the true end may still come.
    """
    ended = {"session__status": ChargingSession.Status.ENDED, "session__stop_received_at__lt": now - PATIENCE}
    ripe = Q(session__settle_after=None) | Q(session__settle_after__lte=now)
    open_ones = SessionBill.objects.filter(ripe, state=State.OPEN, **ended)
    released = SessionBill.objects.filter(
        state=State.HELD, held_reason=Held.REVIEW, session__released_at__isnull=False, **ended
    )
    # Only a session whose start nobody reported has no bill; it is found while it is recent, or by check_books.
    newest = ChargingSession.objects.aggregate(pk=Max("pk"))["pk"] or 0
    unseen = ChargingSession.objects.filter(
        status=ChargingSession.Status.ENDED, stop_received_at__lt=now - PATIENCE, bill=None, pk__gt=newest - RECENT
    )
    found: list[int] = []
    for rows in (open_ones, unseen, released):
        found += rows.order_by("pk").values_list("pk", flat=True)[: limit - len(found)]
    return found


def _price(session: ChargingSession, bill: SessionBill, vat: Callable[..., Decimal | None] = vat_rate) -> Price:
    if session.is_held:
        return Price(Held.REVIEW)
    if bill.snapshot is None:
        return Price(Held.NO_TARIFF)
    if session.facts is None or session.stopped_at is None:
        return Price(Held.NO_READING)
    snapshot = tariffs.snapshot_of(bill)
    rates: dict[str, Decimal] = {}
    day = session.stopped_at.astimezone(ZoneInfo(session.time_zone)).date()
    for category in tariffs.vat_categories(snapshot):
        found = vat(session.site.country, category, on=day)
        if found is None:
            return Price(Held.NO_VAT_RATE)
        rates[category] = found
    try:
        rating = rate(snapshot, SessionFacts.from_json(session.facts), vat_rates=rates)
    except ValueError:
        log.exception("session %s cannot be priced", session.uuid)
        return Price(Held.UNPRICEABLE)
    if rating.net_minor is None or rating.gross_minor is None:
        return Price(Held.NO_VAT_RATE)
    return Price(rating=rating, snapshot=snapshot)


def _fill(
    bill: SessionBill,
    rating: Rating,
    snapshot: Snapshot,
    entity: LegalEntity,
    account: BillingAccount | None,
    *,
    now: dt.datetime,
) -> None:
    session = bill.session
    assert session.stopped_at is not None
    bill.state, bill.held_reason = State.RATED, Held.NONE
    bill.currency = rating.currency
    bill.gross_first = snapshot.tax is Tax.INCLUDED
    bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor = rating.net_minor, rating.vat_minor, rating.gross_minor
    bill.rating = rating.to_json()
    bill.rating_digest = rating.digest()
    bill.engine_version = rating.engine
    bill.rated_at = now
    bill.entity = entity
    bill.account = account
    bill.country = session.site.country
    bill.month = session.stopped_at.astimezone(ZoneInfo(entity.time_zone)).date().replace(day=1)


def _posting(bill: SessionBill, rating: Rating, *, now: dt.datetime) -> Posting:
    """Return what is owed against revenue by kind and VAT by rate."""
    assert bill.entity is not None
    entity, currency = bill.entity, bill.currency
    legs = [Leg(ledger.receivable(bill.account, entity, currency), -(bill.incl_vat_minor or 0))]
    legs += [Leg(ledger.revenue(REVENUE[line.type], entity, currency), line.net_minor or 0) for line in rating.lines]
    legs += [
        Leg(ledger.vat_payable(entity, bill.country, total.rate, currency), total.vat_minor or 0)
        for total in rating.totals
        if total.rate is not None
    ]
    return Posting(bill.operator_id, "session", f"session:{bill.session.uuid}", legs, now, session_id=bill.pk)
