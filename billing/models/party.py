"""Who sells and who pays."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Driver, IdToken, Operator, uuid7
from accounts.scoping import scoped
from stations.models import Site


class Postal(models.Model):
    """The address lines a document carries."""

    street = models.CharField(_("street and number"), max_length=160, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=16, blank=True)
    city = models.CharField(_("city"), max_length=80, blank=True)
    country = models.CharField(
        _("country"), max_length=2, blank=True, validators=[RegexValidator(r"^[A-Z]{2}$")], help_text=_("ISO 3166 code")
    )
    vat_id = models.CharField(_("VAT number"), max_length=20, blank=True)
    email = models.EmailField(_("e-mail"), blank=True)

    class Meta:
        abstract = True

    @property
    def address_lines(self) -> list[str]:
        """Street, then postal code and city, then country; empty ones left out."""
        return [line for line in (self.street, f"{self.postal_code} {self.city}".strip(), self.country) if line]


class LegalEntity(Postal):
    """A seller: the company whose name, address and VAT number stand on documents.

    The month of a session and the dates of documents follow ``time_zone``.
    """

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="legal_entities")
    name = models.CharField(_("name"), max_length=160)
    time_zone = models.CharField(_("time zone"), max_length=64)
    is_default = models.BooleanField(_("sells at every site without a seller of its own"), default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["operator"], condition=models.Q(is_default=True), name="one_default_seller_each"
            )
        ]
        verbose_name = _("legal entity")
        verbose_name_plural = _("legal entities")

    def __str__(self) -> str:
        return self.name


class SiteSeller(models.Model):
    """Says that a site is run by another legal entity than the operator's default."""

    site = models.OneToOneField(Site, models.CASCADE, related_name="seller")
    entity = models.ForeignKey(LegalEntity, models.PROTECT, related_name="sites")

    objects = scoped("site__operator_id", "site_id")

    def __str__(self) -> str:
        return f"{self.site} · {self.entity}"


class BillingAccount(Postal):
    """Who pays: a driver, or a company for several drivers and cards."""

    class Mode(models.TextChoices):
        PER_SESSION = "per_session", _("Receipt after each session")
        MONTHLY = "monthly", _("One invoice a month")

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="billing_accounts")
    driver = models.OneToOneField(Driver, models.PROTECT, null=True, blank=True, related_name="billing_account")
    name = models.CharField(_("name"), max_length=160)
    mode = models.CharField(_("billing"), max_length=12, choices=Mode, default=Mode.PER_SESSION)
    language = models.CharField(_("language"), max_length=8, default="en")
    send_documents = models.BooleanField(_("send documents by e-mail"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = scoped()

    class Meta:
        ordering = ["name"]
        verbose_name = _("billing account")

    def __str__(self) -> str:
        return self.name


class Payer(models.Model):
    """Says that a token, or all that a driver charges, is paid by an account other than the driver's own."""

    operator = models.ForeignKey(Operator, models.PROTECT, related_name="+")
    account = models.ForeignKey(BillingAccount, models.CASCADE, related_name="payers")
    token = models.OneToOneField(IdToken, models.CASCADE, null=True, blank=True, related_name="payer")
    driver = models.OneToOneField(Driver, models.CASCADE, null=True, blank=True, related_name="payer")

    objects = scoped()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(token__isnull=False, driver__isnull=True)
                | models.Q(token__isnull=True, driver__isnull=False),
                name="payer_of_one_thing",
            )
        ]

    def __str__(self) -> str:
        return f"{self.token or self.driver} → {self.account}"
