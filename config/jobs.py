"""Celery inside the one process of the embedded default: a worker thread per queue, and beat."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import beat
from celery.platforms import EX_OK
from celery.worker import state

from config.celery import NOW, SLOW, app, configured, new_app

log = logging.getLogger("voltyard.jobs")


class EmbeddedJobs:
    """Worker and beat as threads. What they work through are rows and hints on disk, so a restart loses nothing."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._beat: Any = None

    def start(self) -> None:
        """Start the threads."""
        state.should_stop = None
        for queue in (NOW, SLOW):
            # The queues to consume are chosen per app: two workers of one app would both take the last choice.
            worker = configured(new_app()).WorkController(
                pool_cls="solo",
                concurrency=1,
                queues=[queue],
                hostname=f"{queue}@embedded",
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                task_events=False,
                loglevel="WARNING",
            )
            thread = threading.Thread(target=self._run, args=(worker,), name=f"jobs-{queue}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._beat = beat.EmbeddedService(app, max_interval=1, thread=True)
        self._beat.daemon = True
        self._beat.start()

    def stop(self) -> None:
        """End after the task at hand."""
        if self._beat is not None:
            self._beat.service.stop()
        # Each worker ends in its own thread: ended from here, it would wait for an answer its thread has read.
        state.should_stop = EX_OK  # type: ignore[assignment]
        for thread in self._threads:
            thread.join(timeout=10)

    @staticmethod
    def _run(worker: Any) -> None:
        try:
            worker.start()
        except Exception:
            log.exception("a worker thread ended; its tasks wait for the next start")
