"""What one session costs."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Operator
from accounts.scoping import scoped
from billing.models.document import Document
from billing.models.party import BillingAccount, LegalEntity
from billing.models.tariff import Tariff
from sessions.models import ChargingSession


class SessionBill(models.Model):
    """The price of one session, from the tariff frozen at its start to the document it stands on.

    Amounts are minor units of ``currency``. ``rating`` holds the lines and their reasons as they were
    computed at the end; ``month`` is the first day of the month of the end, in the seller's zone; ``country`` is
    where the VAT is due. ``document`` is the one tax document it stands on: a receipt or an invoice.
    """

    class State(models.TextChoices):
        OPEN = "open", _("Not priced yet")
        HELD = "held", _("Held back")
        RATED = "rated", _("Priced")

    class Held(models.TextChoices):
        """Why a bill waits for a person."""

        NONE = "", ""
        NO_TARIFF = "no_tariff", _("No tariff was valid here when the session began")
        NO_READING = "no_reading", _("No usable meter reading")
        NO_VAT_RATE = "no_vat_rate", _("No VAT rate is known for the site's country")
        UNPRICEABLE = "unpriceable", _("Tariff and readings do not go together")
        REVIEW = "review", _("The session must be reviewed first")

    session = models.OneToOneField(ChargingSession, models.PROTECT, primary_key=True, related_name="bill")
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="bills")
    tariff = models.ForeignKey(Tariff, models.PROTECT, null=True, related_name="bills")
    snapshot_digest = models.CharField(max_length=64, blank=True)
    frozen_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    held_reason = models.CharField(max_length=16, choices=Held, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    gross_first = models.BooleanField(null=True)
    excl_vat_minor = models.BigIntegerField(null=True)
    vat_minor = models.BigIntegerField(null=True)
    incl_vat_minor = models.BigIntegerField(null=True)
    rating_digest = models.CharField(max_length=64, blank=True)
    engine_version = models.CharField(max_length=16, blank=True)
    rated_at = models.DateTimeField(null=True, blank=True)
    entity = models.ForeignKey(LegalEntity, models.PROTECT, null=True, related_name="bills")
    account = models.ForeignKey(BillingAccount, models.PROTECT, null=True, related_name="bills")
    country = models.CharField(max_length=2, blank=True)
    month = models.DateField(null=True)
    document = models.ForeignKey(Document, models.PROTECT, null=True, related_name="bills")
    # The long ones last: SQLite reads a row only as far as it must.
    snapshot = models.JSONField(null=True)
    rating = models.JSONField(null=True)

    objects = scoped(site_path="session__site_id")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="rated")
                | models.Q(
                    excl_vat_minor__isnull=False,
                    vat_minor__isnull=False,
                    incl_vat_minor=models.F("excl_vat_minor") + models.F("vat_minor"),
                    entity__isnull=False,
                    month__isnull=False,
                ),
                name="rated_bill_is_complete",
            )
        ]
        indexes = [
            models.Index(fields=["state", "session"], name="bill_by_state"),
            models.Index(fields=["account", "month"], name="bill_to_invoice", condition=models.Q(document=None)),
            models.Index(fields=["operator", "month"], name="bill_by_month"),
        ]
        verbose_name = _("session bill")

    def __str__(self) -> str:
        return f"{self.session_id} · {self.get_state_display()}"

    @property
    def is_rated(self) -> bool:
        """Whether the price is final."""
        return self.state == self.State.RATED

    @property
    def is_held(self) -> bool:
        """Whether a person must do something before it can be priced."""
        return self.state == self.State.HELD
