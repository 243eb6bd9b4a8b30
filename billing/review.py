"""A person's decision about a held session, and its bill in the same breath."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from accounts.audit import By
from billing import settlement
from billing.models import SessionBill
from sessions import review
from sessions.models import ChargingSession


def decide(session: ChargingSession, *, free: bool, by: By, at: dt.datetime) -> SessionBill:
    """Bill a held session as it was reckoned, or nothing (``free``). Raises `sessions.review.NotHeld`.

    The bill may still be held for another reason, such as a missing tariff.
    """
    with transaction.atomic():
        released = (review.make_free if free else review.release)(session, by=by, at=at)
        return settlement.settle(released.pk, now=at, by=by)
