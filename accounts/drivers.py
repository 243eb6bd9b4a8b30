"""People who charge at an operator."""

from __future__ import annotations

import datetime as dt
from typing import TypedDict, Unpack

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.errors import Refused
from accounts.models import Driver, IdToken, Operator


class DriverRetired(Refused):
    """A retired driver stays as they were."""

    code = "driver_retired"


class DriverFacts(TypedDict, total=False):
    """What an operator may say about a driver."""

    name: str
    email: str
    group: str


def create_driver(operator: Operator, *, by: audit.By, **facts: Unpack[DriverFacts]) -> Driver:
    """Return a new driver, without a log-in until they accept an invitation."""
    with transaction.atomic():
        driver = Driver.objects.create(operator=operator, **facts)
        audit.record(by, "driver.created", driver)
    return driver


def change_driver(driver: Driver, *, by: audit.By, **facts: Unpack[DriverFacts]) -> Driver:
    """Change what ``facts`` names. Raises DriverRetired."""
    with transaction.atomic():
        row = _locked(driver)
        changed = [name for name, value in facts.items() if getattr(row, name) != value]
        if changed:
            for name in changed:
                setattr(row, name, facts[name])  # type: ignore[literal-required]
            row.save(update_fields=changed)
            # The old and new values are personal data; that they changed is what must be known.
            audit.record(by, "driver.changed", row, fields=changed)
    return row


def retire_driver(driver: Driver, *, by: audit.By, at: dt.datetime) -> Driver:
    """Take a driver and their tokens out of use; sessions and bills stay. Raises DriverRetired."""
    with transaction.atomic():
        row = _locked(driver)
        row.retired_at = at
        row.save(update_fields=["retired_at"])
        tokens = IdToken.objects.filter(driver=row, retired_at=None).update(retired_at=at, updated_at=at)
        audit.record(by, "driver.retired", row, tokens=tokens)
    return row


def _locked(driver: Driver) -> Driver:
    row: Driver = Driver.objects.select_for_update(no_key=True).get(pk=driver.pk)
    if row.retired_at is not None:
        raise DriverRetired(_("This driver is retired."))
    return row
