"""What is looked at in the background. Each may run twice, or twice at once, without harm."""

from __future__ import annotations

from decimal import Decimal

from celery import shared_task
from django.utils import timezone

from sessions import anomalies
from sessions import reconcile as reconciling


@shared_task
def detect() -> None:
    """Raise and close alerts about running sessions."""
    anomalies.detect(timezone.now())


@shared_task
def reconcile() -> int:
    """End sessions whose end will not be told any more; return how many."""
    return reconciling.reconcile(timezone.now())


@shared_task
def meter_ran_backwards(session_id: int, before: str, after: str) -> None:
    """Raise that a register fell (Wh as decimal text)."""
    anomalies.meter_ran_backwards(session_id, Decimal(before), Decimal(after), now=timezone.now())


@shared_task
def look_at_held(session_id: int) -> None:
    """Raise what holds the bill of a session that has just ended."""
    anomalies.look_at_held(session_id, now=timezone.now())


@shared_task
def look_at_refusals(station_id: int) -> None:
    """Look at the tokens a station was refused lately."""
    anomalies.look_at_refusals(station_id, now=timezone.now())
