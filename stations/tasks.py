"""What is looked after in the background. Each may run twice, or twice at once, without harm."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from stations import commands, detectors, retention


@shared_task
def sweep_commands() -> int:
    """End the commands that time has ended; return how many."""
    return commands.sweep(timezone.now())


@shared_task
def detect() -> None:
    """Raise and close alerts about stations."""
    detectors.detect(timezone.now())


@shared_task
def drop_old_frames() -> int:
    """Keep the log inside its limits; return how many rows were dropped one by one."""
    return retention.drop_old_frames(timezone.now())
