"""The part of a process that holds charger sockets: inbox, connections, lease, wakes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from channels.layers import get_channel_layer
from django.db import connections

from stations import registry
from stations.hints import gateway_group, hints
from stations.models import Station
from stations.ocpp.batch import FollowUp
from stations.ocpp.consumer import Connections, StationConsumer
from stations.ocpp.inbox import Handler, Inbox
from stations.threads import in_thread

log = logging.getLogger("voltyard.gateway")

LEASE_EVERY_S = 5.0
WAKE_SWEEP_S = 5.0


class Gateway:
    """Started once per process; ``application`` is the ASGI application of ``/ocpp/``."""

    def __init__(self, handlers: Mapping[type, Handler], publish: Callable[[Sequence[FollowUp]], None]) -> None:
        self.name = f"{socket.gethostname()[:16]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.connections = Connections()
        writers = 2 if connections["default"].vendor == "postgresql" else 1
        self.inbox = Inbox(handlers, publish=publish, announce=self._announce, writers=writers)
        self.application = StationConsumer.as_asgi(inbox=self.inbox, connections=self.connections, gateway=self.name)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_running(self) -> bool:
        """Whether `start` has been called."""
        return bool(self._tasks)

    async def start(self) -> None:
        """Begin: lease first, so that stations which connect count as online."""
        loop = asyncio.get_running_loop()
        self.inbox.start()
        await in_thread(self._renew)
        self._tasks = [loop.create_task(self._keep_lease()), loop.create_task(self._listen())]

    async def stop(self) -> None:
        """End: commit what waits, give the stations back."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await asyncio.to_thread(self.inbox.stop)
        await in_thread(self._release)

    def _announce(self, stale: Mapping[str, set[str]], wakes: Sequence[int]) -> None:
        hints.stale_on_loop(stale)
        for station_id in wakes:
            self.connections.wake(station_id)

    def _renew(self) -> None:
        registry.renew_lease(self.name, now=dt.datetime.now(dt.UTC))

    def _release(self) -> None:
        registry.release_gateway(self.name, now=dt.datetime.now(dt.UTC))

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(LEASE_EVERY_S)
            try:
                await in_thread(self._renew)
                for station_id in await in_thread(self._waiting):
                    self.connections.wake(station_id)  # a wake that was lost
            except Exception:
                log.exception("lease of %s could not be renewed", self.name)

    def _waiting(self) -> list[int]:
        rows = Station.objects.filter(gateway=self.name, commands__status="queued")
        return list(rows.values_list("pk", flat=True).distinct())

    async def _listen(self) -> None:
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(gateway_group(self.name), channel)
        while True:
            try:
                message = await layer.receive(channel)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("the channel layer is away; wakes are swept")
                await asyncio.sleep(1)
                continue
            if message.get("type") == "wake":
                self.connections.wake(int(message["station"]))
