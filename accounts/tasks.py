"""What is tidied up by itself. Each may run twice, or twice at once, without harm."""

from __future__ import annotations

import datetime as dt

from celery import shared_task
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import IdempotentCall, Invitation

SLICE = 100
KEEP_ANSWERS = dt.timedelta(days=30)
KEEP_INVITATIONS = dt.timedelta(days=30)


@shared_task
def forget_invitations() -> int:
    """Delete invitations that have been used or expired for a month; return how many."""
    before = timezone.now() - KEEP_INVITATIONS
    return _delete(Invitation.objects.filter(expires_at__lt=before))


@shared_task
def forget_answers() -> int:
    """Delete the first answers of API writes after a month; return how many."""
    return _delete(IdempotentCall.objects.filter(created_at__lt=timezone.now() - KEEP_ANSWERS))


def _delete(rows: QuerySet[Invitation] | QuerySet[IdempotentCall]) -> int:
    """Delete in short transactions, so that nobody waits long for the writer."""
    deleted = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:SLICE]):
        with transaction.atomic():
            deleted += rows.filter(pk__in=keys).delete()[0]
    return deleted
