"""VAT rates by country and date."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q

from billing.models import VatCategory, VatRate

# Standard rates in percent and since when they hold; a later row of a country ends the one before.
RATES = (
    ("AT", "20", "2021-01-01"),
    ("BE", "21", "2021-01-01"),
    ("BG", "20", "2021-01-01"),
    ("CH", "7.7", "2018-01-01"),
    ("CH", "8.1", "2024-01-01"),
    ("CY", "19", "2021-01-01"),
    ("CZ", "21", "2021-01-01"),
    ("DE", "19", "2021-01-01"),
    ("DK", "25", "2021-01-01"),
    ("EE", "22", "2024-01-01"),
    ("EE", "24", "2025-07-01"),
    ("ES", "21", "2021-01-01"),
    ("FI", "24", "2021-01-01"),
    ("FI", "25.5", "2024-09-01"),
    ("FR", "20", "2021-01-01"),
    ("GB", "20", "2021-01-01"),
    ("GR", "24", "2021-01-01"),
    ("HR", "25", "2021-01-01"),
    ("HU", "27", "2021-01-01"),
    ("IE", "23", "2021-03-01"),
    ("IS", "24", "2021-01-01"),
    ("IT", "22", "2021-01-01"),
    ("LI", "8.1", "2024-01-01"),
    ("LT", "21", "2021-01-01"),
    ("LU", "16", "2023-01-01"),
    ("LU", "17", "2024-01-01"),
    ("LV", "21", "2021-01-01"),
    ("MT", "18", "2021-01-01"),
    ("NL", "21", "2021-01-01"),
    ("NO", "25", "2021-01-01"),
    ("PL", "23", "2021-01-01"),
    ("PT", "23", "2021-01-01"),
    ("RO", "19", "2021-01-01"),
    ("RO", "21", "2025-08-01"),
    ("SE", "25", "2021-01-01"),
    ("SI", "22", "2021-01-01"),
    ("SK", "20", "2021-01-01"),
    ("SK", "23", "2025-01-01"),
)


def seed_vat_rates(**_: Any) -> None:
    """Fill the table of rates where it is empty; afterwards it belongs to the installation's staff."""
    if VatRate._meta.db_table not in connection.introspection.table_names() or VatRate.objects.exists():
        return
    VatRate.objects.bulk_create(
        VatRate(
            country=country,
            rate=Decimal(rate),
            valid_from=dt.date.fromisoformat(since),
            valid_to=min(
                (dt.date.fromisoformat(later) for other, _rate, later in RATES if other == country and later > since),
                default=None,
            ),
        )
        for country, rate, since in RATES
    )


def vat_rate(country: str, category: str = VatCategory.STANDARD, *, on: dt.date) -> Decimal | None:
    """Return the rate in percent of a category in a country on a day; None where none is known."""
    return (
        VatRate.objects.filter(Q(valid_to=None) | Q(valid_to__gt=on), country=country, category=category)
        .filter(valid_from__lte=on)
        .order_by("-valid_from")
        .values_list("rate", flat=True)
        .first()
    )
