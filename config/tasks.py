"""What the installation asks of its workers."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from config.health import beat


@shared_task(bind=True)
def heartbeat(task: Any) -> None:
    """Show that the worker of this task's queue works."""
    beat(task.request.delivery_info["routing_key"])
