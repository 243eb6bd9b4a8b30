"""The only door to the books: balanced postings, once per key, accounts locked in the order of their keys."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from django.db import models, transaction
from django.utils.translation import gettext as _

from accounts.audit import By
from accounts.errors import Refused
from billing.models import BillingAccount, LedgerAccount, LedgerLeg, LedgerTxn, LegalEntity
from billing.money import plain

Kind = LedgerAccount.Kind


class Unbalanced(ValueError):
    """The legs do not sum to zero in each currency, or there are none."""


class KeyReused(ValueError):
    """The idempotency key belongs to another posting with other legs."""


class InsufficientFunds(Refused):
    """An account with a lower limit does not cover the posting."""

    code = "insufficient_funds"


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """Names one ledger account; it is opened when something is first posted to it.

    ``min_balance`` in minor units counts only then.
    """

    kind: str
    owner: str
    currency: str
    billing_account_id: int | None = dataclasses.field(default=None, compare=False)
    min_balance: int | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Leg:
    """One side of a posting in minor units: credits positive, debits negative."""

    account: Account
    amount: int


def wallet(account: BillingAccount, currency: str) -> Account:
    """Name the prepaid balance of a billing account: it cannot be overdrawn."""
    return Account(Kind.DRIVER_WALLET, f"account:{account.pk}", currency, account.pk, min_balance=0)


def receivable(account: BillingAccount | None, entity: LegalEntity, currency: str) -> Account:
    """Name what a payer owes a seller; guests owe together."""
    if account is None:
        return Account(Kind.GUEST_RECEIVABLE, f"entity:{entity.pk}", currency)
    return Account(Kind.DRIVER_RECEIVABLE, f"account:{account.pk}/entity:{entity.pk}", currency, account.pk)


def revenue(kind: str, entity: LegalEntity, currency: str) -> Account:
    """Name a seller's revenue of one kind."""
    return Account(kind, f"entity:{entity.pk}", currency)


def vat_payable(entity: LegalEntity, country: str, rate: Decimal, currency: str) -> Account:
    """Name the VAT a seller owes a country at one rate (percent)."""
    return Account(Kind.VAT_PAYABLE, f"entity:{entity.pk}/{country}/{plain(rate)}", currency)


@dataclasses.dataclass(frozen=True, slots=True)
class Posting:
    """Balanced legs that belong together, and the key under which they are posted once."""

    operator_id: int
    kind: str
    key: str
    legs: Sequence[Leg]
    at: dt.datetime
    session_id: int | None = None
    document_id: int | None = None


def post(
    operator_id: int,
    *,
    kind: str,
    key: str,
    legs: Sequence[Leg],
    at: dt.datetime,
    by: By = None,
    session_id: int | None = None,
    document_id: int | None = None,
) -> LedgerTxn:
    """Post balanced legs once under ``key`` and return the transaction.

    Legs of one account are added up and zeros dropped. The same key with the same legs returns the first posting
    and changes nothing. Raises `Unbalanced`, `KeyReused` and `InsufficientFunds`; nothing is posted then.
    """
    (txn,) = post_all([Posting(operator_id, kind, key, legs, at, session_id, document_id)], by=by)
    return txn


def post_all(postings: Sequence[Posting], *, by: By = None) -> list[LedgerTxn]:
    """Post several as `post` does one, all or none; return their transactions in the same order."""
    wanted = {posting.key: _added_up(posting) for posting in postings}
    with transaction.atomic():
        txns = {
            posting.key: LedgerTxn(
                operator_id=posting.operator_id,
                kind=posting.kind,
                idempotency_key=posting.key,
                session_id=posting.session_id,
                document_id=posting.document_id,
                posted_at=posting.at,
                actor=str(by or "Voltyard")[:160],
            )
            for posting in sorted(postings, key=lambda posting: posting.key)
        }
        # Two writers with one key meet here: the second waits for the first and then finds its row.
        LedgerTxn.objects.bulk_create(txns.values(), ignore_conflicts=True)
        stored = {txn.idempotency_key: txn for txn in LedgerTxn.objects.filter(idempotency_key__in=txns)}
        new = {}
        for key, txn in stored.items():
            if txn.uuid == txns[key].uuid:
                new[key] = txn
            elif txn.operator_id != txns[key].operator_id or _posted(txn) != wanted[key]:
                raise KeyReused(f"{key} was posted before with other legs")
        if new:
            _write([(txn, wanted[key]) for key, txn in new.items()])
    return [stored[posting.key] for posting in postings]


def balance(operator_id: int, account: Account) -> int:
    """Return an account's balance in minor units, credits positive; 0 where nothing was ever posted."""
    found = LedgerAccount.objects.filter(
        operator_id=operator_id, kind=account.kind, owner=account.owner, currency=account.currency
    ).values_list("balance", flat=True)
    return next(iter(found), 0)


# An account of an operator: (operator, kind, owner, currency).
_Name = tuple[int, str, str, str]


def _name(operator_id: int, account: Account) -> _Name:
    return operator_id, account.kind, account.owner, account.currency


def _added_up(posting: Posting) -> dict[Account, int]:
    amounts: dict[Account, int] = defaultdict(int)
    sums: dict[str, int] = defaultdict(int)
    for leg in posting.legs:
        amounts[leg.account] += leg.amount
        sums[leg.account.currency] += leg.amount
    amounts = {account: amount for account, amount in amounts.items() if amount}
    if not amounts or any(sums.values()):
        raise Unbalanced(f"the legs of {posting.key} sum to {dict(sums)}")
    return amounts


def _write(postings: Sequence[tuple[LedgerTxn, dict[Account, int]]]) -> None:
    accounts = _locked({_name(txn.operator_id, one): one for txn, amounts in postings for one in amounts})
    legs = []
    moved: dict[int, int] = defaultdict(int)
    for txn, amounts in postings:
        for one, amount in amounts.items():
            row = accounts[_name(txn.operator_id, one)]
            moved[row.pk] += amount
            if amount < 0 and row.min_balance is not None and row.balance + moved[row.pk] - row.held < row.min_balance:
                raise InsufficientFunds(_("The balance does not cover this."))
            legs.append(LedgerLeg(txn=txn, account=row, currency=one.currency, amount=amount))
    LedgerLeg.objects.bulk_create(legs)
    changes = [models.When(pk=pk, then=amount) for pk, amount in moved.items()]
    LedgerAccount.objects.filter(pk__in=moved).update(balance=models.F("balance") + models.Case(*changes))


def _locked(names: dict[_Name, Account]) -> dict[_Name, LedgerAccount]:
    """Return the accounts locked in the order of their keys; those that are missing are opened."""
    wanted = models.Q()
    for operator_id, kind, owner, currency in names:
        wanted |= models.Q(operator_id=operator_id, kind=kind, owner=owner, currency=currency)
    rows = LedgerAccount.objects.select_for_update(no_key=True).filter(wanted).order_by("pk")
    found = {(row.operator_id, row.kind, row.owner, row.currency): row for row in rows}
    missing = sorted(names.keys() - found.keys())
    if missing:
        LedgerAccount.objects.bulk_create(
            (LedgerAccount(operator_id=name[0], **dataclasses.asdict(names[name])) for name in missing),
            ignore_conflicts=True,
        )
        found = {(row.operator_id, row.kind, row.owner, row.currency): row for row in rows.all()}
    return found


def _posted(txn: LedgerTxn) -> dict[Account, int]:
    """Return the legs of a posting as they were asked for."""
    return {
        Account(leg.account.kind, leg.account.owner, leg.currency): leg.amount
        for leg in txn.legs.select_related("account")
    }
