"""Background work. Tasks only wake the function that claims what is due; the sweeps find what a lost hint left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.schedules import crontab

from config import broker
from stations.ocpp.batch import FollowUp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

NOW, SLOW = "now", "slow"


SLOW_TASKS = (
    "billing.tasks.render_document",
    "billing.tasks.sweep_unrendered",
    "billing.tasks.invoice_last_month",
    "billing.tasks.energy_reports_last_month",
)


def every(seconds: float, task: str, queue: str = NOW) -> dict[str, Any]:
    """Return a beat entry; an entry that waited longer than two periods is dropped, the next one does its work."""
    return {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": max(2 * seconds, 5)}}


def daily(hour: int, task: str) -> dict[str, Any]:
    """Return a beat entry for an hour of the day (UTC); what is monthly finds by itself whether a month is over."""
    return {"task": task, "schedule": crontab(hour=hour, minute=10), "options": {"queue": SLOW}}


def new_app(*, is_current: bool = False) -> Celery:
    """Return an app that knows every task; a second worker in one process needs its own (see `EmbeddedJobs`)."""
    made = Celery("voltyard", set_as_current=is_current)
    made.autodiscover_tasks(["accounts", "stations", "sessions", "billing", "config"])
    return made


def configured(app: Celery) -> Celery:
    """Give ``app`` Django's settings: Redis where there is one, else a folder under DATA_DIR as broker."""
    from django.conf import settings

    folder = settings.DATA_DIR / "broker"
    if settings.REDIS_URL:
        transport: dict[str, Any] = {
            "broker_url": settings.REDIS_URL,
            "broker_transport_options": {"visibility_timeout": 600},
        }
    else:
        for part in ("queue", "control", "processed"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        transport = {
            "broker_url": f"{broker.SCHEME}://localhost",
            "broker_transport_options": {
                "data_folder_in": str(folder / "queue"),
                "data_folder_out": str(folder / "queue"),
                "control_folder": str(folder / "control"),
                "processed_folder": str(folder / "processed"),
                "store_processed": False,
                "polling_interval": 0.2,
            },
        }
    app.conf.update(
        **transport,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        task_default_queue=NOW,
        task_routes={task: {"queue": SLOW} for task in SLOW_TASKS},
        timezone="UTC",
        beat_schedule=SCHEDULE,
        beat_schedule_filename=str(settings.DATA_DIR / "beat"),
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


SCHEDULE: dict[str, dict[str, Any]] = {
    "jobs.heartbeat.now": every(10, "config.tasks.heartbeat"),
    "jobs.heartbeat.slow": every(10, "config.tasks.heartbeat", SLOW),
    "commands.sweep": every(5, "stations.tasks.sweep_commands"),
    "stations.detect": every(2, "stations.tasks.detect"),
    "sessions.detect": every(2, "sessions.tasks.detect"),
    "sessions.reconcile": every(60, "sessions.tasks.reconcile"),
    "billing.rate": every(60, "billing.tasks.sweep_unrated"),
    "billing.render": every(60, "billing.tasks.sweep_unrendered", SLOW),
    "stations.retention": every(3600, "stations.tasks.drop_old_frames", SLOW),
    "accounts.invitations": every(3600, "accounts.tasks.forget_invitations", SLOW),
    "accounts.answers": every(3600, "accounts.tasks.forget_answers", SLOW),
    "billing.invoices": daily(3, "billing.tasks.invoice_last_month"),
    "billing.energy": daily(4, "billing.tasks.energy_reports_last_month"),
}

app = new_app(is_current=True)


def publish(follow_ups: Sequence[FollowUp]) -> None:
    """Publish what a batch of ingest asked for; called in a thread of its own."""
    for one in follow_ups:
        app.send_task(one.task, one.args)
