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
    billing_account_id: int | None = None
    min_balance: int | None = None


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
    amounts = _added_up(legs)
    with transaction.atomic():
        txn = LedgerTxn(
            operator_id=operator_id,
            kind=kind,
            idempotency_key=key,
            session_id=session_id,
            document_id=document_id,
            posted_at=at,
            actor=str(by or "Voltyard")[:160],
        )
        # Two writers with one key meet here: the second waits for the first and then finds its row.
        LedgerTxn.objects.bulk_create([txn], ignore_conflicts=True)
        stored = LedgerTxn.objects.get(idempotency_key=key)
        if stored.uuid != txn.uuid:
            asked = {(name.kind, name.owner, name.currency): amount for name, amount in amounts.items()}
            if stored.operator_id != operator_id or _posted(stored) != asked:
                raise KeyReused(f"{key} was posted before with other legs")
            return stored
        accounts = _locked(operator_id, list(amounts))
        for name, amount in amounts.items():
            account = accounts[name]
            least = account.min_balance
            if amount < 0 and least is not None and account.balance - account.held + amount < least:
                raise InsufficientFunds(_("The balance does not cover this."))
        LedgerLeg.objects.bulk_create(
            LedgerLeg(txn=stored, account=accounts[name], currency=name.currency, amount=amount)
            for name, amount in amounts.items()
        )
        LedgerAccount.objects.filter(pk__in=[account.pk for account in accounts.values()]).update(
            balance=models.F("balance")
            + models.Case(*(models.When(pk=accounts[name].pk, then=amount) for name, amount in amounts.items()))
        )
    return stored


def balance(operator_id: int, account: Account) -> int:
    """Return an account's balance in minor units, credits positive; 0 where nothing was ever posted."""
    found = LedgerAccount.objects.filter(
        operator_id=operator_id, kind=account.kind, owner=account.owner, currency=account.currency
    ).values_list("balance", flat=True)
    return next(iter(found), 0)


def _added_up(legs: Sequence[Leg]) -> dict[Account, int]:
    amounts: dict[Account, int] = defaultdict(int)
    sums: dict[str, int] = defaultdict(int)
    for leg in legs:
        amounts[leg.account] += leg.amount
        sums[leg.account.currency] += leg.amount
    amounts = {account: amount for account, amount in amounts.items() if amount}
    if not amounts or any(sums.values()):
        raise Unbalanced(f"legs sum to {dict(sums)}")
    return amounts


def _locked(operator_id: int, names: Sequence[Account]) -> dict[Account, LedgerAccount]:
    wanted = models.Q()
    for name in names:
        wanted |= models.Q(kind=name.kind, owner=name.owner, currency=name.currency)
    rows = LedgerAccount.objects.select_for_update(no_key=True).filter(wanted, operator_id=operator_id).order_by("pk")
    found = {(row.kind, row.owner, row.currency): row for row in rows}
    missing = [name for name in names if (name.kind, name.owner, name.currency) not in found]
    if missing:
        missing.sort(key=lambda name: (name.kind, name.owner, name.currency))
        LedgerAccount.objects.bulk_create(
            (LedgerAccount(operator_id=operator_id, **dataclasses.asdict(name)) for name in missing),
            ignore_conflicts=True,
        )
        found = {(row.kind, row.owner, row.currency): row for row in rows.all()}
    return {name: found[name.kind, name.owner, name.currency] for name in names}


def _posted(txn: LedgerTxn) -> dict[tuple[str, str, str], int]:
    return {
        (leg.account.kind, leg.account.owner, leg.currency): leg.amount for leg in txn.legs.select_related("account")
    }
