"""Hints between processes over the channel layer: lost ones cost a second, never a row.

Code that runs in threads (handlers, views, tasks) hands its hints to the process's event loop where there
is one; a process without a loop (a Celery worker) sends them itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger("voltyard.hints")

COALESCE_SECONDS = 0.3


class Hints:
    """Collects what became stale and tells each group at most a few times a second."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stale: dict[str, set[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Name the loop of this process; None when it ends."""
        self._loop = loop
        self._timer = None
        self._stale.clear()

    def stale(self, group: str, names: Iterable[str]) -> None:
        """Tell ``group`` soon that these names are stale; from any thread."""
        names = set(names)
        if self._loop is None:
            self.send(group, {"type": "stale", "names": sorted(names)})
        elif _on(self._loop):
            self.stale_on_loop({group: names})
        else:
            self._loop.call_soon_threadsafe(self.stale_on_loop, {group: names})

    def stale_on_loop(self, groups: Mapping[str, set[str]]) -> None:
        """The same for several groups, called on the loop."""
        for group, names in groups.items():
            self._stale.setdefault(group, set()).update(names)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(COALESCE_SECONDS, self._tell)

    def send(self, group: str, message: Mapping[str, Any]) -> None:
        """Send one message to ``group`` now; from any thread, never raising."""
        if self._loop is None:
            try:
                async_to_sync(_send)(group, message)
            except RuntimeError:  # inside somebody else's loop: a hint may be lost, never a caller
                log.warning("hint to %s dropped", group)
        elif _on(self._loop):
            self._start(group, message)
        else:
            self._loop.call_soon_threadsafe(self._start, group, message)

    def _tell(self) -> None:
        self._timer = None
        stale, self._stale = self._stale, {}
        for group, names in stale.items():
            self._start(group, {"type": "stale", "names": sorted(names)})

    def _start(self, group: str, message: Mapping[str, Any]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(_send(group, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _on(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _send(group: str, message: Mapping[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, dict(message))
    except Exception as error:  # the layer is down: pages poll, commands are swept
        log.warning("hint to %s dropped: %s", group, error)


hints = Hints()


def operator_group(operator_id: int) -> str:
    """Return the group of an operator's live pages."""
    return f"operator.{operator_id}"


def driver_group(driver_id: int) -> str:
    """Return the group of a driver's live pages."""
    return f"driver.{driver_id}"


def gateway_group(gateway: str) -> str:
    """Return the group of a gateway process."""
    return f"gateway.{gateway}"


def stale_after_commit(group: str, *names: str) -> None:
    """Tell that ``names`` are stale once the running transaction is committed."""
    transaction.on_commit(lambda: hints.stale(group, names))
