"""Documents as issued: frozen text, gapless numbers, a chain of hashes; and reports as run."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Operator, uuid7
from accounts.scoping import scoped
from billing.models.party import BillingAccount, LegalEntity
from sessions.models import ChargingSession
from stations.models import Site


class Counter(models.Model):
    """The last number of a series and the hash of its document; its row is locked while one is drawn."""

    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="+")
    kind = models.CharField(max_length=16)
    year = models.PositiveSmallIntegerField()
    last = models.PositiveIntegerField(default=0)
    last_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "kind", "year"], name="one_counter_per_series")]

    def __str__(self) -> str:
        return f"{self.entity_id} {self.kind} {self.year}: {self.last}"


class Document(models.Model):
    """A receipt, an invoice, a charging record or a credit note, exactly as it was issued.

    ``body`` is canonical JSON with everything the paper shows: names, addresses, lines, rates, totals. It and
    the numbers never change; the PDF is made from it alone. ``sha256`` covers ``prev_sha256`` and ``body``.
    """

    class Kind(models.TextChoices):
        RECEIPT = "receipt", _("Receipt")
        INVOICE = "invoice", _("Invoice")
        CHARGING_RECORD = "charging_record", _("Charging record")
        CREDIT_NOTE = "credit_note", _("Credit note")

    class State(models.TextChoices):
        ISSUED = "issued", _("Open")
        PARTLY_PAID = "partly_paid", _("Partly paid")
        PAID = "paid", _("Paid")
        WRITTEN_OFF = "written_off", _("Written off")
        CANCELLED = "cancelled", _("Cancelled")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="documents")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="documents")
    account = models.ForeignKey(BillingAccount, models.PROTECT, null=True, blank=True, related_name="documents")
    corrects = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="corrections")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    year = models.PositiveSmallIntegerField()
    sequence = models.PositiveIntegerField()
    number = models.CharField(_("number"), max_length=32)
    issued_at = models.DateTimeField(_("issued"))
    period = models.DateField(_("month"), null=True, blank=True)
    currency = models.CharField(max_length=3)
    gross_first = models.BooleanField()
    excl_vat_minor = models.BigIntegerField()
    vat_minor = models.BigIntegerField()
    incl_vat_minor = models.BigIntegerField()
    language = models.CharField(max_length=8, default="en")
    sha256 = models.CharField(max_length=64)
    prev_sha256 = models.CharField(max_length=64, blank=True)
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.ISSUED)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    pdf = models.FileField(max_length=200, blank=True)
    pdf_sha256 = models.CharField(max_length=64, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    body = models.TextField()
    sessions: models.ManyToManyField[ChargingSession, Any] = models.ManyToManyField(
        ChargingSession, through="DocumentSession", related_name="documents"
    )

    objects = scoped()

    class Meta:
        ordering = ["-issued_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["entity", "kind", "year", "sequence"], name="document_number_once"),
            models.UniqueConstraint(
                fields=["account", "entity", "period", "currency", "gross_first"],
                condition=models.Q(kind="invoice") & ~models.Q(state="cancelled"),
                name="one_invoice_a_month",
            ),
            models.CheckConstraint(
                condition=models.Q(incl_vat_minor=models.F("excl_vat_minor") + models.F("vat_minor")),
                name="document_adds_up",
            ),
        ]
        indexes = [
            models.Index(fields=["operator", "-issued_at", "-id"], name="document_by_time"),
            models.Index(fields=["account", "-issued_at"], name="document_by_account"),
            models.Index(fields=["issued_at"], name="document_unrendered", condition=models.Q(pdf="")),
        ]
        verbose_name = _("document")

    def __str__(self) -> str:
        return self.number


class DocumentSession(models.Model):
    """A session on a document, with the amounts it has there (shares of the document's rounded totals)."""

    document = models.ForeignKey(Document, models.PROTECT, related_name="entries")
    session = models.ForeignKey(ChargingSession, models.PROTECT, related_name="document_entries")
    excl_vat_minor = models.BigIntegerField()
    vat_minor = models.BigIntegerField()
    incl_vat_minor = models.BigIntegerField()

    objects = scoped("document__operator_id")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["document", "session"], name="session_once_per_document")]

    def __str__(self) -> str:
        return f"{self.document} · {self.session_id}"


class ReportRun(models.Model):
    """A report as it was made: its table, its paper and the hash of the table."""

    class Kind(models.TextChoices):
        ENERGY = "energy", _("Energy by site and month")

    class State(models.TextChoices):
        WAITING = "waiting", _("Being made")
        READY = "ready", _("Ready")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="reports")
    site = models.ForeignKey(Site, models.PROTECT, related_name="reports")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.ENERGY)
    period = models.DateField(_("month"))
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    facts = models.JSONField(default=dict)
    csv = models.TextField(blank=True)
    pdf = models.FileField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    made_at = models.DateTimeField(null=True, blank=True)

    objects = scoped(site_path="site_id")

    class Meta:
        ordering = ["-period", "site__name"]
        constraints = [models.UniqueConstraint(fields=["site", "kind", "period"], name="report_once")]
        verbose_name = _("report")

    def __str__(self) -> str:
        return f"{self.site} · {self.get_kind_display()} · {self.period:%Y-%m}"
