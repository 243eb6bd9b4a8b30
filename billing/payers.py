"""Who pays for a session."""

from __future__ import annotations

from django.db.models import Case, IntegerField, Q, Value, When

from accounts.models import Driver
from billing.models import BillingAccount
from sessions.models import ChargingSession


def account_for(session: ChargingSession) -> BillingAccount | None:
    """Return who pays: the token's payer, else the driver's payer, else the driver's own account; guests have none.

    A driver who has none gets an account.
    """
    driver = session.driver or (session.token.driver if session.token else None)
    own = BillingAccount.objects.filter(operator_id=session.operator_id)
    rules = Q()
    if session.token_id is not None:
        rules |= Q(payers__token_id=session.token_id)
    if driver is not None:
        rules |= Q(payers__driver=driver) | Q(driver=driver)
    if not rules:
        return None
    nearest = Case(
        When(payers__token_id=session.token_id, payers__token_id__isnull=False, then=Value(0)),
        When(payers__driver=driver, payers__driver__isnull=False, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    account = own.filter(rules).annotate(nearest=nearest).order_by("nearest", "pk").first()
    if account is None and driver is not None:
        return ensure_account(driver)
    return account


def ensure_account(driver: Driver) -> BillingAccount:
    """Return a driver's own account; the first time it is made, with a receipt after each session."""
    account, _ = BillingAccount.objects.get_or_create(
        driver=driver,
        defaults={
            "operator_id": driver.operator_id,
            "name": driver.name,
            "email": driver.email,
            "language": driver.user.language if driver.user else "en",
        },
    )
    return account
