"""Prices and taxes: versions of tariffs, where they apply, VAT rates by country and date."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Driver, Operator, uuid7
from accounts.scoping import scoped
from stations.models import Site, Station


class ExactEncoder(json.JSONEncoder):
    """Writes a Decimal as a JSON number where a reader gets the same digits back, else as a string."""

    def default(self, o: Any) -> Any:
        """Encode Decimals; the decoder below reads them back without a float between."""
        if isinstance(o, Decimal):
            number = float(o)
            return number if Decimal(repr(number)) == o else str(o)
        return super().default(o)


class ExactDecoder(json.JSONDecoder):
    """Reads JSON numbers with a point as Decimal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parse_float=Decimal, **kwargs)


class VatCategory(models.TextChoices):
    """What is sold, as VAT law sees it."""

    STANDARD = "standard", _("Electricity for charging")


class VatRate(models.Model):
    """The VAT rate of a country, in percent, from a date on."""

    country = models.CharField(_("country"), max_length=2)
    category = models.CharField(_("category"), max_length=20, choices=VatCategory, default=VatCategory.STANDARD)
    rate = models.DecimalField(
        _("rate"), max_digits=6, decimal_places=3, validators=[MinValueValidator(0), MaxValueValidator(100)]
    )
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until (exclusive)"), null=True, blank=True)

    class Meta:
        ordering = ["country", "category", "valid_from"]
        constraints = [models.UniqueConstraint(fields=["country", "category", "valid_from"], name="vat_rate_once")]
        verbose_name = _("VAT rate")

    def __str__(self) -> str:
        return f"{self.country} {self.rate.normalize():f} %"


class Tariff(models.Model):
    """One version of a price list. Never edited: another price is another version of the same ``code``.

    ``ocpi`` is the OCPI Tariff object as it was given, ``voltyard`` our additions to it, ``snapshot`` what pricing
    makes of both. ``rank`` is the sum of the dimensions its assignments use: the most specific has the highest.
    """

    uuid = models.UUIDField(default=uuid7, unique=True, editable=False)
    operator = models.ForeignKey(Operator, models.PROTECT, related_name="tariffs")
    code = models.CharField(_("code"), max_length=36)
    version = models.PositiveIntegerField(_("version"))
    name = models.CharField(_("name"), max_length=120)
    currency = models.CharField(_("currency"), max_length=3)
    ocpi = models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder)
    voltyard = models.JSONField(default=dict, encoder=ExactEncoder, decoder=ExactDecoder)
    snapshot = models.JSONField()
    digest = models.CharField(max_length=64)
    rank = models.PositiveSmallIntegerField(default=0)
    valid_from = models.DateTimeField(_("valid from"))
    valid_to = models.DateTimeField(_("valid until"), null=True, blank=True)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=160, blank=True)

    objects = scoped()

    class Meta:
        ordering = ["code", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["operator", "code", "version"], name="tariff_version_once"),
            models.CheckConstraint(
                condition=models.Q(valid_to=None) | models.Q(valid_to__gt=models.F("valid_from")),
                name="tariff_valid_for_a_while",
            ),
        ]
        indexes = [models.Index(fields=["operator", "valid_from"], name="tariff_by_start")]
        verbose_name = _("tariff")

    def __str__(self) -> str:
        return f"{self.name} ({self.version})"


class TariffAssignment(models.Model):
    """One place, plug, group or person a tariff holds for.

    Within a dimension one match is enough; of several dimensions each must match. A tariff without rows
    holds for the whole operator.
    """

    class Dimension(models.IntegerChoices):
        """Each outweighs all before it together."""

        SITE = 1, _("Site")
        CONNECTOR_TYPE = 2, _("Connector type")
        STATION = 4, _("Station")
        GROUP = 8, _("Driver group")
        DRIVER = 16, _("Driver")

    tariff = models.ForeignKey(Tariff, models.CASCADE, related_name="assignments")
    dimension = models.PositiveSmallIntegerField(choices=Dimension)
    site = models.ForeignKey(Site, models.PROTECT, null=True, blank=True, related_name="+")
    station = models.ForeignKey(Station, models.PROTECT, null=True, blank=True, related_name="+")
    driver = models.ForeignKey(Driver, models.PROTECT, null=True, blank=True, related_name="+")
    text = models.CharField(max_length=60, blank=True)

    objects = scoped("tariff__operator_id")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(dimension=1, site__isnull=False, station=None, driver=None, text="")
                | models.Q(dimension=4, site=None, station__isnull=False, driver=None, text="")
                | models.Q(dimension=16, site=None, station=None, driver__isnull=False, text="")
                | (models.Q(dimension__in=[2, 8], site=None, station=None, driver=None) & ~models.Q(text="")),
                name="assignment_of_its_kind",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tariff} · {self.site or self.station or self.driver or self.text}"
