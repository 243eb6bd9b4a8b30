"""The books: append-only double entry in integer minor units."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Operator, uuid7
from accounts.scoping import scoped
from billing.models.document import Document
from billing.models.party import BillingAccount
from sessions.models import ChargingSession


class LedgerAccount(models.Model):
    """One account of an operator's books in one currency.

    Amounts are signed: credits positive, debits negative. So money we owe (wallets, VAT) and revenue show a
    positive balance, money owed to us and money in the bank a negative one. ``owner`` tells accounts of a kind
    apart (billing account, seller, VAT rate). ``balance`` is the sum of the legs, kept in the same transaction.
    """

    class Kind(models.TextChoices):
        DRIVER_WALLET = "driver_wallet", _("Prepaid balances")
        BONUS_WALLET = "bonus_wallet", _("Bonus balances")
        DRIVER_RECEIVABLE = "driver_receivable", _("Owed by account holders")
        GUEST_RECEIVABLE = "guest_receivable", _("Owed by guests")
        STRIPE_CLEARING = "stripe_clearing", _("Payments under way")
        BANK = "bank", _("Bank")
        REVENUE_ENERGY = "revenue_energy", _("Revenue: energy")
        REVENUE_TIME = "revenue_time", _("Revenue: charging time")
        REVENUE_IDLE = "revenue_idle", _("Revenue: idle time")
        REVENUE_RESERVATION = "revenue_reservation", _("Revenue: reservations")
        REVENUE_FEE = "revenue_fee", _("Revenue: session fees")
        VAT_PAYABLE = "vat_payable", _("VAT to pay")
        PSP_FEES = "psp_fees", _("Payment fees")
        DISPUTE_RESERVE = "dispute_reserve", _("Disputed payments")
        BAD_DEBT = "bad_debt", _("Written off")
        ROUNDING = "rounding", _("Rounding")

    operator = models.ForeignKey(Operator, models.PROTECT, related_name="ledger_accounts")
    kind = models.CharField(max_length=24, choices=Kind)
    owner = models.CharField(max_length=60)
    currency = models.CharField(max_length=3)
    billing_account = models.ForeignKey(
        BillingAccount, models.PROTECT, null=True, blank=True, related_name="ledger_accounts"
    )
    balance = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    min_balance = models.BigIntegerField(null=True, blank=True)

    objects = scoped()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["operator", "kind", "owner", "currency"], name="ledger_account_once"),
            models.UniqueConstraint(fields=["id", "currency"], name="ledger_account_currency"),
            models.CheckConstraint(
                condition=models.Q(min_balance=None)
                | models.Q(balance__gte=models.F("min_balance") + models.F("held")),
                name="ledger_account_covered",
            ),
            models.CheckConstraint(condition=models.Q(held__gte=0), name="ledger_account_held"),
        ]
        verbose_name = _("ledger account")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {self.owner} · {self.currency}"


class LedgerTxn(models.Model):
    """One posting: legs that sum to zero in each currency. ``idempotency_key`` makes a second one impossible."""

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="ledger_txns")
    kind = models.CharField(max_length=24)
    idempotency_key = models.CharField(max_length=120, unique=True)
    session = models.ForeignKey(ChargingSession, models.PROTECT, null=True, blank=True, related_name="ledger_txns")
    document = models.ForeignKey(Document, models.PROTECT, null=True, blank=True, related_name="ledger_txns")
    posted_at = models.DateTimeField()
    actor = models.CharField(max_length=160)

    objects = scoped()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["operator", "posted_at"], name="ledger_by_time")]
        verbose_name = _("ledger transaction")

    def __str__(self) -> str:
        return self.idempotency_key


class LedgerLeg(models.Model):
    """One side of a posting: ``amount`` minor units, credits positive."""

    txn = models.ForeignKey(LedgerTxn, models.PROTECT, related_name="legs")
    account = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="legs")
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()

    objects = scoped("txn__operator_id")

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=~models.Q(amount=0), name="ledger_leg_not_zero")]
        verbose_name = _("ledger leg")

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"
