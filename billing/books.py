"""Every invariant of the whole database: one small function each, which returns what breaks it.

Most ask the database for violations alone, so that a hundred thousand sessions take seconds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Max, Min, Model, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing import tariffs
from billing.invoicing import fingerprint
from billing.ledger import Kind
from billing.models import (
    BillingAccount,
    Counter,
    Document,
    DocumentSession,
    LedgerAccount,
    LedgerLeg,
    LedgerTxn,
    ReportRun,
    SessionBill,
    SiteSeller,
    Tariff,
    TariffAssignment,
)
from billing.money import to_minor
from billing.rating import ENGINE_VERSION, rate
from sessions.facts import SessionFacts
from sessions.models import ChargingSession
from stations.models import Command, Station

Problem = dict[str, Any]
Invariant = Callable[[dt.datetime], Iterable[Problem]]
INVARIANTS: list[Invariant] = []

SHOWN = 20  # problems told for each invariant; all are counted
SAMPLE = 300  # bills priced again
# What is under way is not broken: tasks, sweeps and stations get this long.
PATIENCE = dt.timedelta(minutes=15)
RECEIVABLES = (Kind.DRIVER_RECEIVABLE, Kind.GUEST_RECEIVABLE)
GUARDS = {
    "postgresql": {"ledger_balanced", "append_only", "document_frozen", "document_kept"},
    "sqlite": {
        "ledger_leg_currency",
        "document_frozen",
        "document_kept",
        *(
            f"billing_{table}_no_{verb}"
            for table in ("ledgertxn", "ledgerleg", "documentsession")
            for verb in ("update", "delete")
        ),
    },
}


def check(now: dt.datetime) -> dict[str, Any]:
    """Check all invariants; return ``ok``, and for each its ``name``, ``says``, how many break it and some of them."""
    results = []
    for invariant in INVARIANTS:
        shown: list[Problem] = []
        broken = 0
        for problem in invariant(now):
            broken += 1
            if broken <= SHOWN:
                shown.append(problem)
        says = " ".join((invariant.__doc__ or "").split())
        results.append({"name": invariant.__name__, "says": says, "broken": broken, "problems": shown})
    return {"ok": not any(result["broken"] for result in results), "invariants": results}


def invariant(function: Invariant) -> Invariant:
    """Add a function to the list."""
    INVARIANTS.append(function)
    return function


# --- ledger ------------------------------------------------------------------------------------------


@invariant
def ledger_postings_balance(now: dt.datetime) -> Iterable[Problem]:
    """Each posting sums to zero in each currency."""
    rows = LedgerLeg.objects.order_by().values("txn_id", "currency").annotate(total=Sum("amount")).exclude(total=0)
    return _told(rows)


@invariant
def ledger_postings_have_legs(now: dt.datetime) -> Iterable[Problem]:
    """Each posting has at least two legs."""
    return _told(LedgerTxn.objects.order_by().annotate(count=Count("legs")).filter(count__lt=2).values("id", "count"))


@invariant
def ledger_balances_are_sums(now: dt.datetime) -> Iterable[Problem]:
    """The balance of each account is the sum of its legs, and covers what it must."""
    accounts = LedgerAccount.objects.annotate(legs_total=Coalesce(Sum("legs__amount"), 0))
    wrong = ~Q(balance=F("legs_total")) | Q(min_balance__isnull=False, balance__lt=F("min_balance") + F("held"))
    return _told(accounts.filter(wrong).values("id", "kind", "owner", "balance", "legs_total"))


@invariant
def ledger_currencies_agree(now: dt.datetime) -> Iterable[Problem]:
    """Each leg is in the currency of its account."""
    return _told(LedgerLeg.objects.exclude(currency=F("account__currency")).values("id", "currency"))


@invariant
def ledger_is_guarded(now: dt.datetime) -> Iterable[Problem]:
    """The database itself refuses edits of postings and documents."""
    query = {
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    }
    with connection.cursor() as cursor:
        cursor.execute(query[connection.vendor])
        present = {name for (name,) in cursor.fetchall()}
    return [{"missing": name} for name in sorted(GUARDS[connection.vendor] - present)]


# --- bills -------------------------------------------------------------------------------------------


@invariant
def ended_sessions_have_a_bill(now: dt.datetime) -> Iterable[Problem]:
    """Each session that ended a while ago has a bill that is priced or held with a reason."""
    ended = ChargingSession.objects.filter(
        status=ChargingSession.Status.ENDED, stop_received_at__lt=now - PATIENCE
    ).order_by()
    unsettled = Q(bill=None) | Q(bill__state=SessionBill.State.OPEN)
    reasonless = Q(bill__state=SessionBill.State.HELD, bill__held_reason="")
    return _told(ended.filter(unsettled | reasonless).values("id", "uuid"))


@invariant
def only_ended_sessions_are_billed(now: dt.datetime) -> Iterable[Problem]:
    """No running session, and none that waits for review, is priced."""
    rated = SessionBill.objects.filter(state=SessionBill.State.RATED)
    yield from _told(rated.exclude(session__status=ChargingSession.Status.ENDED).values("session_id"))
    for bill in rated.filter(session__released_at=None).exclude(session__review=[]).select_related("session"):
        if bill.session.is_held:
            yield {"session_id": bill.pk, "review": bill.session.review}


@invariant
def bills_add_up(now: dt.datetime) -> Iterable[Problem]:
    """The lines of each bill and its totals by VAT rate are its amounts, and nobody has changed them."""
    bills = SessionBill.objects.filter(state=SessionBill.State.RATED).values_list(
        "session_id", "excl_vat_minor", "vat_minor", "incl_vat_minor", "rating", "rating_digest"
    )
    rating: Any
    for session_id, excl, vat, incl, rating, digest in bills.iterator(chunk_size=1000):
        lines, totals = rating["lines"], rating["totals"]
        found = {
            "excl_vat": {excl, _sum(lines, "net_minor"), _sum(totals, "net_minor")},
            "vat": {vat, _sum(totals, "vat_minor")},
            "incl_vat": {incl, _sum(lines, "gross_minor"), _sum(totals, "gross_minor"), (excl or 0) + (vat or 0)},
        }
        wrong = [name for name, values in found.items() if len(values) > 1]
        if _digest(rating) != digest:
            wrong.append("rating_digest")
        if wrong:
            yield {"session_id": session_id, "wrong": wrong}


@invariant
def bills_are_posted(now: dt.datetime) -> Iterable[Problem]:
    """Each priced bill is posted once: owed, VAT and revenue are its amounts. A bill of zero is not posted."""
    posted = LedgerTxn.objects.filter(kind="session").order_by()
    yield from _told(posted.exclude(session__bill__state=SessionBill.State.RATED).values("id", "session_id"))
    amounts = posted.annotate(
        owed=Coalesce(Sum("legs__amount", filter=Q(legs__account__kind__in=RECEIVABLES)), 0),
        vat=Coalesce(Sum("legs__amount", filter=Q(legs__account__kind=Kind.VAT_PAYABLE)), 0),
    ).exclude(owed=-F("session__bill__incl_vat_minor"), vat=F("session__bill__vat_minor"))
    yield from _told(amounts.values("id", "session_id", "owed", "vat"))
    bills = SessionBill.objects.filter(state=SessionBill.State.RATED).exclude(incl_vat_minor=0).order_by()
    yield from _told(bills.exclude(session_id__in=posted.values("session_id")).values("session_id"))
    twice = posted.values("session_id").annotate(count=Count("id"))
    yield from _told(twice.filter(count__gt=1))


@invariant
def snapshots_are_as_frozen(now: dt.datetime) -> Iterable[Problem]:
    """The frozen tariff of each bill is the one its digest names, and so is each tariff version's."""
    for row in Tariff.objects.values("id", "snapshot", "digest").iterator():
        if _digest(row["snapshot"]) != row["digest"]:
            yield {"tariff_id": row["id"]}
    bills = SessionBill.objects.exclude(snapshot=None).values_list("session_id", "snapshot", "snapshot_digest")
    for session_id, snapshot, digest in bills.iterator(chunk_size=1000):
        if _digest(snapshot) != digest:
            yield {"session_id": session_id}


@invariant
def pricing_again_gives_the_same(now: dt.datetime) -> Iterable[Problem]:
    """The latest bills, priced again from frozen tariff and facts, give the same bytes."""
    bills = (
        SessionBill.objects.filter(state=SessionBill.State.RATED, engine_version=ENGINE_VERSION)
        .select_related("session")
        .order_by("-session_id")[:SAMPLE]
    )
    for bill in bills:
        snapshot, rating = tariffs.snapshot_of(bill), bill.rating or {}
        rates = {total["vat_rate"] for total in rating["totals"]} - {None}
        categories = tariffs.vat_categories(snapshot)
        if (categories and len(rates) != 1) or len(categories) > 1 or bill.session.facts is None:
            continue
        known = {category: Decimal(next(iter(rates))) for category in categories}
        try:
            again = rate(snapshot, SessionFacts.from_json(bill.session.facts), vat_rates=known)
        except ValueError as error:
            yield {"session_id": bill.pk, "error": str(error)}
            continue
        if again.digest() != bill.rating_digest:
            yield {"session_id": bill.pk}


# --- documents ---------------------------------------------------------------------------------------


@invariant
def document_numbers_have_no_gaps(now: dt.datetime) -> Iterable[Problem]:
    """Each series counts 1, 2, 3 … up to its counter."""
    series = {
        (row["entity_id"], row["kind"], row["year"]): row
        for row in Document.objects.order_by()
        .values("entity_id", "kind", "year")
        .annotate(count=Count("id"), first=Min("sequence"), last=Max("sequence"))
    }
    counters = {(row.entity_id, row.kind, row.year): row.last for row in Counter.objects.all()}
    for key in series.keys() | counters.keys():
        row, last = series.get(key), counters.get(key, 0)
        if (row["count"], row["first"], row["last"]) != (last, 1, last) if row else last:
            yield {"entity_id": key[0], "kind": key[1], "year": key[2], "counter": last, "found": row}


@invariant
def documents_are_as_issued(now: dt.datetime) -> Iterable[Problem]:
    """Each document's hash covers its text and the document before it; its columns say what the text says."""
    documents = Document.objects.order_by("entity_id", "kind", "year", "sequence").values_list(
        "entity_id",
        "kind",
        "year",
        "number",
        "currency",
        "incl_vat_minor",
        "vat_minor",
        "body",
        "sha256",
        "prev_sha256",
    )
    series: tuple[Any, ...] = ()
    before = ""
    for *key, number, currency, incl, vat, body, sha256, prev in documents.iterator(chunk_size=500):
        if tuple(key) != series:
            series, before = tuple(key), ""
        wrong = []
        if prev != before:
            wrong.append("prev_sha256")
        if fingerprint(prev, body) != sha256:
            wrong.append("sha256")
        before = sha256
        told = json.loads(body)
        amounts = [to_minor(Decimal(told["totals"][side]), currency) for side in ("incl_vat", "vat")]
        if [told["number"], *amounts] != [number, incl, vat]:
            wrong.append("body")
        if wrong:
            yield {"number": number, "entity_id": key[0], "wrong": wrong}


@invariant
def documents_are_the_sum_of_their_sessions(now: dt.datetime) -> Iterable[Problem]:
    """The shares of a document's sessions add up to its totals."""
    documents = Document.objects.order_by().annotate(
        incl=Coalesce(Sum("entries__incl_vat_minor"), 0), vat=Coalesce(Sum("entries__vat_minor"), 0)
    )
    wrong = documents.exclude(incl=F("incl_vat_minor"), vat=F("vat_minor"))
    return _told(wrong.values("id", "number", "incl", "vat"))


@invariant
def bills_stand_on_one_tax_document(now: dt.datetime) -> Iterable[Problem]:
    """Each bill stands on the document it names and on no other tax document; a receipt has its very amounts."""
    taxed = DocumentSession.objects.filter(document__kind__in=[Document.Kind.RECEIPT, Document.Kind.INVOICE])
    taxed = taxed.exclude(document__state=Document.State.CANCELLED).order_by()
    yield from _told(taxed.exclude(session__bill__document=F("document")).values("document_id", "session_id"))
    named = SessionBill.objects.exclude(document=None).order_by()
    yield from _told(named.exclude(session_id__in=taxed.values("session_id")).values("session_id", "document_id"))
    receipts = named.filter(document__kind=Document.Kind.RECEIPT)
    yield from _told(
        receipts.exclude(incl_vat_minor=F("document__incl_vat_minor"), vat_minor=F("document__vat_minor")).values(
            "session_id", "document_id"
        )
    )
    paperless = SessionBill.objects.filter(state=SessionBill.State.RATED).exclude(incl_vat_minor=0)
    yield from _told(paperless.order_by().filter(session__document_entries=None).values("session_id"))


@invariant
def ledger_and_documents_agree_on_vat(now: dt.datetime) -> Iterable[Problem]:
    """VAT and claims in the books are those of all tax documents and of the bills that wait for one."""
    expected: dict[tuple[int, str], list[int]] = {}
    documents = Document.objects.filter(kind__in=[Document.Kind.RECEIPT, Document.Kind.INVOICE])
    waiting = SessionBill.objects.filter(state=SessionBill.State.RATED, document=None)
    rows: QuerySet[Any, Any]
    for rows in (documents.order_by(), waiting.order_by()):
        for operator_id, currency, vat, incl in rows.values_list("operator_id", "currency").annotate(
            Sum("vat_minor"), Sum("incl_vat_minor")
        ):
            sums = expected.setdefault((operator_id, currency), [0, 0])
            sums[0], sums[1] = sums[0] + vat, sums[1] + incl
    legs = LedgerLeg.objects.filter(txn__kind__in=["session", "rounding"]).order_by()
    booked = {
        (operator_id, currency): [vat or 0, -(owed or 0)]
        for operator_id, currency, vat, owed in legs.values_list("txn__operator_id", "currency").annotate(
            vat=Sum("amount", filter=Q(account__kind=Kind.VAT_PAYABLE)),
            owed=Sum("amount", filter=Q(account__kind__in=RECEIVABLES)),
        )
    }
    for key in expected.keys() | booked.keys():
        papers, books = expected.get(key, [0, 0]), booked.get(key, [0, 0])
        if papers != books:
            yield {"operator_id": key[0], "currency": key[1], "documents": papers, "ledger": books}


# --- sessions and commands ---------------------------------------------------------------------------


@invariant
def sessions_run_forwards(now: dt.datetime) -> Iterable[Problem]:
    """An ended session ends after it starts and takes no negative energy, or is marked for review."""
    ended = ChargingSession.objects.filter(status=ChargingSession.Status.ENDED).order_by()
    wrong = Q(stopped_at=None) | Q(stopped_at__lt=F("started_at")) | Q(energy_wh__lt=0)
    return _told(ended.filter(wrong, review=[]).values("id", "uuid"))


@invariant
def facts_are_as_frozen(now: dt.datetime) -> Iterable[Problem]:
    """The facts of each ended session are those its digest names."""
    sessions = ChargingSession.objects.exclude(facts_digest="").order_by().values_list("id", "facts", "facts_digest")
    for session_id, facts, digest in sessions.iterator(chunk_size=1000):
        if facts is None or _digest(facts) != digest:
            yield {"session_id": session_id}


@invariant
def one_running_session_per_plug(now: dt.datetime) -> Iterable[Problem]:
    """No EVSE has two sessions at once."""
    running = ChargingSession.objects.filter(status=ChargingSession.Status.ACTIVE, evse__isnull=False).order_by()
    return _told(running.values("evse_id").annotate(count=Count("id")).filter(count__gt=1))


@invariant
def old_commands_are_final(now: dt.datetime) -> Iterable[Problem]:
    """A command that was sent is answered or timed out, one that was queued is sent or expired, in time."""
    timeout = dt.timedelta(seconds=settings.COMMAND_TIMEOUT_SECONDS) + PATIENCE
    overdue = Q(status=Command.Status.SENT, sent_at__lt=now - timeout) | Q(
        status=Command.Status.QUEUED, expires_at__lt=now - PATIENCE
    )
    return _told(Command.objects.order_by().filter(overdue).values("id", "uuid", "status"))


# --- tenants -----------------------------------------------------------------------------------------


@invariant
def rows_belong_to_one_operator(now: dt.datetime) -> Iterable[Problem]:
    """What belongs together belongs to the same operator."""
    for model, paths in _OPERATORS.items():
        own = "operator_id" if any(field.name == "operator" for field in model._meta.fields) else None
        for path in paths:
            first, other = (own, path) if own else path.split("=")
            rows = (
                model._default_manager.order_by()
                .filter(**{f"{other}__isnull": False})
                .exclude(**{str(first): F(other)})
            )
            for key in rows.values_list("pk", flat=True).iterator():
                yield {"model": model._meta.label, "id": key, "path": path}


_OPERATORS: dict[type[Model], list[str]] = {
    Station: ["site__operator_id"],
    ChargingSession: [
        "site__operator_id",
        "station__operator_id",
        "driver__operator_id",
        "token__operator_id",
        "evse__station__operator_id",
    ],
    SessionBill: [
        "session__operator_id",
        "tariff__operator_id",
        "entity__operator_id",
        "account__operator_id",
        "document__operator_id",
    ],
    LedgerTxn: ["session__operator_id", "document__operator_id"],
    LedgerAccount: ["billing_account__operator_id"],
    LedgerLeg: ["txn__operator_id=account__operator_id"],
    BillingAccount: [
        "driver__operator_id",
        "payers__operator_id",
        "payers__token__operator_id",
        "payers__driver__operator_id",
    ],
    Document: ["entity__operator_id", "account__operator_id"],
    DocumentSession: ["document__operator_id=session__operator_id"],
    ReportRun: ["site__operator_id"],
    SiteSeller: ["site__operator_id=entity__operator_id"],
    TariffAssignment: [
        "tariff__operator_id=site__operator_id",
        "tariff__operator_id=station__operator_id",
        "tariff__operator_id=driver__operator_id",
    ],
}


def _told(rows: QuerySet[Any, Any]) -> Iterator[Problem]:
    for row in rows.iterator():
        yield {name: value if isinstance(value, int | str | None) else str(value) for name, value in row.items()}


def _sum(parts: Iterable[dict[str, Any]], name: str) -> int:
    return sum(part[name] for part in parts)


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
