"""Documents: their numbers without gaps, their text frozen with everything it says, one chain of hashes per series."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.audit import By
from accounts.errors import Refused
from billing import ledger
from billing.ledger import Leg
from billing.models import BillingAccount, Counter, Document, DocumentSession, LegalEntity, Postal, SessionBill
from billing.money import EXACT, from_minor, net_and_vat, plain, round_half_up, spread

PREFIXES = {
    Document.Kind.RECEIPT: "R",
    Document.Kind.INVOICE: "I",
    Document.Kind.CHARGING_RECORD: "C",
    Document.Kind.CREDIT_NOTE: "N",
}
PAYMENT_DAYS = 14


class AlreadyIssued(Refused):
    """The month was invoiced before."""

    code = "already_issued"


class NothingToInvoice(Refused):
    """No priced session waits for an invoice."""

    code = "nothing_to_invoice"


class MonthNotOver(Refused):
    """The month has not ended where the seller is."""

    code = "month_not_over"


class Tax(NamedTuple):
    """One VAT rate of a document: the country it is due in, the rate in percent (None: no VAT), minor units."""

    country: str
    rate: Decimal | None
    excl: int
    vat: int

    @property
    def incl(self) -> int:
        """Net and VAT together."""
        return self.excl + self.vat


class Entry(NamedTuple):
    """A session on a document, with its share of the document's amounts in minor units."""

    bill: SessionBill
    excl: int
    incl: int


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A document before it has a number."""

    kind: str
    entity: LegalEntity
    account: BillingAccount | None
    currency: str
    gross_first: bool
    entries: Sequence[Entry]
    taxes: Sequence[Tax]
    period: dt.date | None = None


def issue_for_sessions(bills: Sequence[tuple[SessionBill, dt.datetime]]) -> list[Document]:
    """Issue the papers of priced sessions at their moments, in the caller's transaction, who then saves the bills.

    Whoever pays per use gets a receipt, the tax document that the bill then names. Whoever gets a monthly invoice gets
    a charging record.
    """
    documents = _freeze([(_paper(bill), at) for bill, at in bills])
    for (bill, _at), document in zip(bills, documents, strict=True):
        if document.kind == Document.Kind.RECEIPT:
            bill.document = document
    return documents


def _paper(bill: SessionBill) -> Draft:
    if bill.entity is None or bill.gross_first is None:
        raise ValueError("only a priced session has a paper")
    monthly = bill.account is not None and bill.account.mode == BillingAccount.Mode.MONTHLY
    taxes = [Tax(bill.country, rate, excl, incl - excl) for rate, excl, incl in _rates(bill)]
    return Draft(
        kind=Document.Kind.CHARGING_RECORD if monthly else Document.Kind.RECEIPT,
        entity=bill.entity,
        account=bill.account,
        currency=bill.currency,
        gross_first=bill.gross_first,
        entries=[Entry(bill, sum(tax.excl for tax in taxes), sum(tax.incl for tax in taxes))],
        taxes=taxes,
    )


def issue(account: BillingAccount, period: dt.date, *, by: By, at: dt.datetime) -> list[Document]:
    """Invoice all that ``account`` charged until the end of a month and that is on no invoice yet.

    ``period`` is the first day of the month. One invoice for each seller, currency and way of stating prices. A session
    priced after its month was invoiced comes on the next invoice. Raises `MonthNotOver`, `AlreadyIssued` and
    `NothingToInvoice`; nothing is issued then.
    """
    with transaction.atomic():
        account = BillingAccount.objects.select_for_update().get(pk=account.pk)
        if (
            Document.objects.filter(account=account, period=period, kind=Document.Kind.INVOICE)
            .exclude(state=Document.State.CANCELLED)
            .exists()
        ):
            raise AlreadyIssued(_("This month was invoiced before."))
        groups: dict[tuple[LegalEntity, str, bool], list[SessionBill]] = defaultdict(list)
        for bill in _waiting(account, period):
            groups[_seller(bill), bill.currency, bool(bill.gross_first)].append(bill)
        if not groups:
            raise NothingToInvoice(_("There is nothing to invoice for this month."))
        documents = []
        for (entity, _currency, _gross_first), bills in groups.items():
            if at.astimezone(ZoneInfo(entity.time_zone)).date() < _next_month(period):
                raise MonthNotOver(_("This month is not over yet."))
            draft = _collected(account, entity, period, bills)
            (document,) = _freeze([(draft, at)])
            SessionBill.objects.filter(pk__in=[bill.pk for bill in bills]).update(document=document)
            _post_rounding(document, draft, at=at, by=by)
            audit.record(by, "invoice.issued", document, number=document.number, sessions=len(bills))
            documents.append(document)
    return documents


def due_accounts(period: dt.date) -> list[int]:
    """Return the keys of the accounts that have sessions waiting for an invoice up to this month (its first day)."""
    waiting = SessionBill.objects.filter(
        state=SessionBill.State.RATED, document=None, account__isnull=False, month__lte=period
    ).exclude(incl_vat_minor=0)
    invoiced = Document.objects.filter(kind=Document.Kind.INVOICE, period=period).exclude(
        state=Document.State.CANCELLED
    )
    return list(
        waiting.exclude(account__in=invoiced.values("account"))
        .order_by("account_id")
        .values_list("account_id", flat=True)
        .distinct()
    )


def month_before(at: dt.datetime, zone: str) -> dt.date:
    """Return the first day of the month before the one that ``at`` falls into in a zone."""
    first = at.astimezone(ZoneInfo(zone)).date().replace(day=1)
    return (first - dt.timedelta(days=1)).replace(day=1)


def fingerprint(prev_sha256: str, body: str) -> str:
    """Return the hash of a document: it covers its text and, through the one before, the whole series."""
    return hashlib.sha256(f"{prev_sha256}\n{body}".encode()).hexdigest()


def _waiting(account: BillingAccount, period: dt.date) -> list[SessionBill]:
    return list(
        SessionBill.objects.filter(account=account, state=SessionBill.State.RATED, document=None, month__lte=period)
        .exclude(incl_vat_minor=0)
        .select_related("entity", "account", "tariff", "session__site", "session__station", "session__connector__evse")
        .select_related("session__token")
        .order_by("session__stopped_at", "pk")
    )


def _seller(bill: SessionBill) -> LegalEntity:
    assert bill.entity is not None
    return bill.entity


def _rates(bill: SessionBill) -> list[tuple[Decimal | None, int, int]]:
    """Return rate, net and gross of each VAT rate of a priced session."""
    assert bill.rating is not None
    return [
        (None if total["vat_rate"] is None else Decimal(total["vat_rate"]), total["net_minor"], total["gross_minor"])
        for total in bill.rating["totals"]
    ]


def _collected(account: BillingAccount, entity: LegalEntity, period: dt.date, bills: Sequence[SessionBill]) -> Draft:
    """Add sessions up to one document.

    Amounts of rounded sessions are added and VAT is worked out once for each rate: from the gross where prices
    include VAT, else from the net. The sessions' other side then shares the rounded sum.
    """
    gross_first = bool(bills[0].gross_first)
    parts: dict[tuple[str, Decimal | None], list[tuple[int, int, int]]] = defaultdict(list)
    for number, bill in enumerate(bills):
        for rate, excl, incl in _rates(bill):
            parts[bill.country, rate].append((number, excl, incl))
    taxes = []
    excls, incls = [0] * len(bills), [0] * len(bills)
    for (country, rate), members in sorted(parts.items(), key=lambda item: (item[0][0], item[0][1] or Decimal(-1))):
        factor = 1 + (rate or Decimal(0)) / 100
        if gross_first:
            gross = sum(incl for _number, _excl, incl in members)
            net = gross if rate is None else net_and_vat(gross, rate)[0]
            nets = spread([EXACT.divide(Decimal(incl), factor) for _number, _excl, incl in members], net)
            grosses = [incl for _number, _excl, incl in members]
        else:
            net = sum(excl for _number, excl, _incl in members)
            gross = net if rate is None else net + round_half_up(EXACT.divide(net * rate, Decimal(100)))
            nets = [excl for _number, excl, _incl in members]
            grosses = spread([excl * factor for _number, excl, _incl in members], gross)
        for (number, _excl, _incl), excl, incl in zip(members, nets, grosses, strict=True):
            excls[number] += excl
            incls[number] += incl
        taxes.append(Tax(country, rate, net, gross - net))
    return Draft(
        kind=Document.Kind.INVOICE,
        entity=entity,
        account=account,
        currency=bills[0].currency,
        gross_first=gross_first,
        entries=[Entry(bill, excl, incl) for bill, excl, incl in zip(bills, excls, incls, strict=True)],
        taxes=taxes,
        period=period,
    )


def _freeze(drafts: Sequence[tuple[Draft, dt.datetime]]) -> list[Document]:
    """Draw the next numbers and store the documents; both or neither, with the caller's transaction."""
    dates = [at.astimezone(ZoneInfo(draft.entity.time_zone)).date() for draft, at in drafts]
    series = [(draft.entity.pk, draft.kind, day.year) for (draft, _at), day in zip(drafts, dates, strict=True)]
    counters = {}
    for entity_id, kind, year in sorted(set(series)):
        counters[entity_id, kind, year], _new = Counter.objects.select_for_update().get_or_create(
            entity_id=entity_id, kind=kind, year=year
        )
    documents = [
        _numbered(draft, counters[key], day, at=at) for (draft, at), key, day in zip(drafts, series, dates, strict=True)
    ]
    Document.objects.bulk_create(documents)
    for counter in counters.values():
        counter.save(update_fields=["last", "last_sha256"])
    DocumentSession.objects.bulk_create(
        DocumentSession(
            document=document,
            session_id=entry.bill.pk,
            excl_vat_minor=entry.excl,
            vat_minor=entry.incl - entry.excl,
            incl_vat_minor=entry.incl,
        )
        for document, (draft, _at) in zip(documents, drafts, strict=True)
        for entry in draft.entries
    )
    return documents


def _numbered(draft: Draft, counter: Counter, issue_date: dt.date, *, at: dt.datetime) -> Document:
    """Return the next document of a series; the counter goes on, both are saved by the caller."""
    entity = draft.entity
    counter.last += 1
    number = f"{PREFIXES[Document.Kind(draft.kind)]}-{counter.year}-{counter.last:06}"
    due = issue_date + dt.timedelta(days=PAYMENT_DAYS) if draft.kind == Document.Kind.INVOICE else None
    language = draft.account.language if draft.account else "en"
    body = canonical(_body(draft, number=number, issue_date=issue_date, due=due, at=at, language=language))
    document = Document(
        operator_id=entity.operator_id,
        entity=entity,
        account=draft.account,
        kind=draft.kind,
        year=counter.year,
        sequence=counter.last,
        number=number,
        issued_at=at,
        period=draft.period,
        currency=draft.currency,
        gross_first=draft.gross_first,
        excl_vat_minor=sum(tax.excl for tax in draft.taxes),
        vat_minor=sum(tax.vat for tax in draft.taxes),
        incl_vat_minor=sum(tax.incl for tax in draft.taxes),
        language=language,
        body=body,
        sha256=fingerprint(counter.last_sha256, body),
        prev_sha256=counter.last_sha256,
        due_at=at + dt.timedelta(days=PAYMENT_DAYS) if due else None,
    )
    counter.last_sha256 = document.sha256
    return document


def canonical(body: dict[str, Any]) -> str:
    """Return the one text of a JSON object."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _body(
    draft: Draft, *, number: str, issue_date: dt.date, due: dt.date | None, at: dt.datetime, language: str
) -> dict[str, Any]:
    currency = draft.currency
    records = _record_numbers(draft) if draft.kind == Document.Kind.INVOICE else {}
    return {
        "kind": draft.kind,
        "number": number,
        "issued_at": _stamp(at),
        "issue_date": issue_date.isoformat(),
        "due_date": due.isoformat() if due else None,
        "period": draft.period.isoformat() if draft.period else None,
        "time_zone": draft.entity.time_zone,
        "language": language,
        "currency": currency,
        "prices_include_vat": draft.gross_first,
        "brand": draft.entity.operator.name,
        "seller": _party(draft.entity, draft.entity.name),
        "buyer": _party(draft.account, draft.account.name) if draft.account else None,
        "sessions": [
            _session(entry, currency, detailed=draft.kind != Document.Kind.INVOICE)
            | {"record": records.get(entry.bill.pk)}
            for entry in draft.entries
        ],
        "vat": [
            {
                "country": tax.country,
                "rate": None if tax.rate is None else plain(tax.rate),
                **_amounts(tax.excl, tax.incl, currency),
            }
            for tax in draft.taxes
        ],
        "totals": _amounts(sum(tax.excl for tax in draft.taxes), sum(tax.incl for tax in draft.taxes), currency),
    }


def _party(party: Postal, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "street": party.street,
        "postal_code": party.postal_code,
        "city": party.city,
        "country": party.country,
        "vat_id": party.vat_id,
        "email": party.email,
    }


def _session(entry: Entry, currency: str, *, detailed: bool) -> dict[str, Any]:
    bill = entry.bill
    session, rating = bill.session, bill.rating
    assert rating is not None
    connector = session.connector
    told: dict[str, Any] = {
        "id": str(session.uuid),
        "started_at": _stamp(session.started_at),
        "stopped_at": _stamp(session.stopped_at),
        "time_zone": session.time_zone,
        "site": {"name": session.site.name, "address": session.site.address, "city": session.site.city},
        "station": {"name": session.station.name, "identity": session.station.identity},
        "evse": connector.evse.number if connector else None,
        "token": session.token.masked if session.token else "",
        "energy_wh": plain(session.energy_wh),
        **_amounts(entry.excl, entry.incl, currency),
    }
    if detailed:
        told |= {
            "connector_type": connector.type if connector else "",
            "meter_serial": session.station.meter_serial,
            "meter_start_wh": None if session.meter_start_wh is None else plain(session.meter_start_wh),
            "meter_stop_wh": None if session.meter_stop_wh is None else plain(session.meter_stop_wh),
            "tariff": {"name": bill.tariff.name, "code": bill.tariff.code, "version": bill.tariff.version}
            if bill.tariff
            else None,
            "lines": rating["lines"],
            "warnings": rating["warnings"],
        }
    return told


def _record_numbers(draft: Draft) -> dict[int, str]:
    return dict(
        DocumentSession.objects.filter(
            session__in=[entry.bill.pk for entry in draft.entries], document__kind=Document.Kind.CHARGING_RECORD
        ).values_list("session_id", "document__number")
    )


def _amounts(excl: int, incl: int, currency: str) -> dict[str, str]:
    return {
        "excl_vat": f"{from_minor(excl, currency):f}",
        "vat": f"{from_minor(incl - excl, currency):f}",
        "incl_vat": f"{from_minor(incl, currency):f}",
    }


def _post_rounding(document: Document, draft: Draft, *, at: dt.datetime, by: By) -> None:
    """Post what rounding the whole document differs from its sessions, so that ledger and documents agree on VAT."""
    entity, currency = draft.entity, draft.currency
    vat: dict[tuple[str, Decimal | None], int] = defaultdict(int)
    excl, incl = document.excl_vat_minor, document.incl_vat_minor
    for tax in draft.taxes:
        vat[tax.country, tax.rate] += tax.vat
    for bill, _excl, _incl in draft.entries:
        for rate, net, gross in _rates(bill):
            vat[bill.country, rate] -= gross - net
            excl, incl = excl - net, incl - gross
    legs = [
        Leg(ledger.vat_payable(entity, country, rate, currency), amount)
        for (country, rate), amount in vat.items()
        if rate is not None
    ]
    legs.append(Leg(ledger.revenue(ledger.Kind.ROUNDING, entity, currency), excl))
    legs.append(Leg(ledger.receivable(draft.account, entity, currency), -incl))
    if any(leg.amount for leg in legs):
        ledger.post(
            document.operator_id,
            kind="rounding",
            key=f"document:{document.uuid}:rounding",
            legs=legs,
            at=at,
            by=by,
            document_id=document.pk,
        )


def _next_month(first: dt.date) -> dt.date:
    return (first + dt.timedelta(days=32)).replace(day=1)


def _stamp(at: dt.datetime | None) -> str | None:
    return None if at is None else at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
