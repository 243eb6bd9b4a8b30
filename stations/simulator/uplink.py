"""A simulated station's way to its CSMS: connect and connect again, boot, beat, deliver what waits, answer.

Everything here is the same for all versions and knows nothing of cars; ``station.Station`` builds on it.
"""

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, Literal

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from stations.simulator.clock import Clock, parse_timestamp, timestamp
from stations.simulator.evse import Session
from stations.simulator.misbehaviour import BROKEN_FRAMES
from stations.simulator.plan import StationPlan, Timings
from stations.simulator.wire import (
    AckJournal,
    CallFailed,
    CallRefused,
    CallTimedOut,
    Link,
    LinkClosed,
    Payload,
    Reply,
    Tally,
    dial,
)

logger = logging.getLogger(__name__)

BOOT_RETRY_S = 30.0
OUTBOX_LIMIT = 20_000

Handler = Callable[[Any, Payload], Payload]
Job = Callable[[], Coroutine[Any, Any, None]]


@dataclasses.dataclass(eq=False)
class Item:
    """One message of a session on its way; survives the connection."""

    action: str
    payload: Payload
    session: Session | None
    kind: Literal["start", "meter", "change", "stop"]
    attempts: int = 0


class Uplink(abc.ABC):
    """The connection of one station: ``run`` until ``stop``."""

    handlers: ClassVar[Mapping[str, Handler]] = {}
    unsupported: ClassVar[frozenset[str]] = frozenset()
    formation_violation: ClassVar[str] = "FormationViolation"

    def __init__(
        self,
        plan: StationPlan,
        url: str,
        *,
        clock: Clock | None = None,
        tally: Tally | None = None,
        journal: AckJournal | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.plan = plan
        self.url = url
        self.clock = clock or Clock()
        self.tally = tally if tally is not None else Tally()
        self.timings = timings or Timings()
        self.misbehaviour = plan.misbehaviour
        self.password: str | bytes | None = plan.password
        if self.misbehaviour.wrong_password:
            self.password = f"{plan.password}-wrong"
        self.link: Link | None = None
        self.registration = ""
        self.boot_reason = "PowerUp"
        self.heartbeat_s = 300.0
        self.outbox: collections.deque[Item] = collections.deque()
        self.boot_now = asyncio.Event()
        self.heartbeat_changed = asyncio.Event()
        self._journal = journal
        self._backoff = plan.rng("backoff")
        # One stream of chance per fault: what one of them draws never shifts another.
        self._chances = {fault: plan.rng(fault) for fault in ("broken", "late", "shuffle", "duplicate")}
        self._clock_offset = dt.timedelta(0)
        self._power_up_clock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hangup = asyncio.Event()
        self._pause_s = 0.0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._held: Item | None = None
        self._afterwards: list[Job] = []

    @abc.abstractmethod
    def boot_call(self) -> tuple[str, Payload]:
        """Return the BootNotification."""

    @abc.abstractmethod
    def booted(self) -> None:
        """React to an accepted boot."""

    @abc.abstractmethod
    async def announce(self) -> None:
        """Tell the states after each connect."""

    @abc.abstractmethod
    async def sample_by_the_clock(self) -> None:
        """Send clock-aligned meter values as long as the connection lasts."""

    @abc.abstractmethod
    def setting(self, name: str) -> str:
        """Return a setting by its 1.6 name."""

    def complete(self, item: Item) -> Payload:
        """Return the payload of an item, with what only became known after it was queued."""
        return item.payload

    @abc.abstractmethod
    def delivered(self, item: Item, reply: Payload) -> None:
        """Take the answer to a queued message."""

    def _power_up_clock(self) -> None:
        self._clock_offset = dt.timedelta(seconds=self.misbehaviour.clock_offset_s)
        if self.misbehaviour.clock_1970:
            self._clock_offset = dt.datetime.fromtimestamp(0, dt.UTC) - self.clock.now()

    def restart(self, boot_reason: str) -> None:
        """Lose the registration and the connection, as a reboot does."""
        self.registration = ""
        self.boot_reason = boot_reason
        self._power_up_clock()
        self.hang_up(self.timings.reboot_s)

    def now(self) -> dt.datetime:
        """Return the time of the station's own clock, right or wrong."""
        return self.clock.now() + self._clock_offset

    def timestamp(self) -> str:
        """Return the station's time as it writes it."""
        return timestamp(self.now())

    @property
    def online(self) -> bool:
        """Whether the station is connected and registered."""
        return self.link is not None and self.registration == "Accepted"

    async def run(self) -> None:
        """Connect, serve, and connect again, until ``stop``."""
        failures = 0
        try:
            while not self._stopping.is_set():
                if self.misbehaviour.never_connects:
                    await self._stopping.wait()
                    break
                try:
                    socket = await dial(
                        self.url, self.plan.identity, self.password, self.plan.version, ping_interval=60.0
                    )
                except (OSError, TimeoutError, WebSocketException) as error:
                    logger.info("%s: not connected: %s", self.plan.identity, error)
                    self.tally.refused_connections += 1
                    failures += 1
                    pause_s = 0.0
                else:
                    pause_s = await self._serve(socket)
                    failures = 0 if self.registration == "Accepted" or pause_s else failures + 1
                if not pause_s:
                    longest = self.timings.retry_first_s * 2 ** min(failures, 16)
                    pause_s = min(self.timings.retry_max_s, longest) * self._backoff.uniform(0.5, 1.0)
                await self.clock.wait(self._stopping, pause_s)
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Deliver what waits, hang up and let ``run`` return."""
        await self.flush()
        self._stopping.set()
        self.hang_up(0.0)

    async def _serve(self, socket: ClientConnection) -> float:
        """Use one connection to its end; return the pause before the next, 0 for the usual back-off."""
        self.tally.connects += 1
        self._pause_s = 0.0
        if not self._stopping.is_set():
            self._hangup.clear()
        link = self.link = Link(
            socket,
            self.plan.identity,
            self._answer,
            tally=self.tally,
            journal=self._journal,
            timeout=self.timings.call_timeout_s,
        )
        parts = [asyncio.create_task(part) for part in (link.listen(), self._work(), self._wait_for_hangup())]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.link = None
            for part in parts:
                part.cancel()
            for outcome in await asyncio.gather(*parts, return_exceptions=True):
                if isinstance(outcome, Exception):
                    logger.error("%s: %r", self.plan.identity, outcome, exc_info=outcome)
            await link.close()
        return self._pause_s

    async def _wait_for_hangup(self) -> None:
        fault = self.misbehaviour
        after_s, pause_s = fault.offline_after_s, fault.offline_for_s
        if after_s is None:
            after_s, pause_s = fault.flapping_s, self.timings.retry_first_s / 2
        if not await self.clock.wait(self._hangup, after_s) and self.link is not None:
            self._pause_s = pause_s
            self.link.drop()

    def hang_up(self, pause_s: float) -> None:
        """End the connection; dial again after the pause (0: the usual back-off)."""
        self._pause_s = pause_s
        self._hangup.set()

    async def _work(self) -> None:
        """Register and announce; then deliver, beat and sample until the connection ends."""
        with contextlib.suppress(LinkClosed):
            if self.registration != "Accepted":
                await self._boot()
            await self.announce()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliver())
                group.create_task(self._beat())
                group.create_task(self.sample_by_the_clock())
        except* LinkClosed:
            logger.debug("%s: connection ended", self.plan.identity)

    async def _boot(self) -> None:
        while True:
            wait_s = BOOT_RETRY_S
            try:
                reply = await self.call(*self.boot_call())
            except (CallRefused, CallTimedOut) as error:
                logger.info("%s: boot not answered: %r", self.plan.identity, error)
            else:
                self._set_clock(reply.get("currentTime"))
                self.registration = reply["status"]
                if self.registration == "Accepted":
                    self.heartbeat_s = float(reply["interval"] or self.heartbeat_s)
                    self.booted()
                    return
                wait_s = float(reply["interval"] or BOOT_RETRY_S)
            self.boot_now.clear()
            await self.clock.wait(self.boot_now, wait_s)

    def _set_clock(self, text: object) -> None:
        """Set the clock by the CSMS. A faster clock, and one that is wrong on purpose, stay as they are."""
        fault = self.misbehaviour
        if self.clock.speed != 1.0 or fault.clock_1970 or fault.clock_offset_s or not isinstance(text, str):
            return
        with contextlib.suppress(ValueError):
            offset = parse_timestamp(text) - self.clock.now()
            # The way over the network is no reason to let time run backwards.
            if abs(offset - self._clock_offset) > dt.timedelta(seconds=2):
                self._clock_offset = offset

    async def call(self, action: str, payload: Payload, *, message_id: str | None = None) -> Payload:
        """Call the CSMS. Raises LinkClosed, CallTimedOut or CallRefused."""
        link = self.link
        if link is None:
            raise LinkClosed
        if self._strikes("broken", self.misbehaviour.broken_frame_rate):
            await link.send_text(self._chances["broken"].choice(BROKEN_FRAMES))
        return await link.call(action, payload, message_id=message_id)

    def _strikes(self, fault: str, rate: float) -> bool:
        return rate > 0.0 and self._chances[fault].random() < rate

    async def tell(self, action: str, payload: Payload) -> None:
        """Send a message nobody waits for; it is lost while the station is offline."""
        if self.online:
            with contextlib.suppress(LinkClosed, CallTimedOut, CallRefused):
                await self.call(action, payload)

    async def _beat(self) -> None:
        while True:
            self.heartbeat_changed.clear()
            if not await self.clock.wait(self.heartbeat_changed, self.heartbeat_s or None):
                await self.send_heartbeat()

    async def send_heartbeat(self) -> None:
        """Send one heartbeat and set the clock."""
        with contextlib.suppress(CallTimedOut, CallRefused):
            reply = await self.call("Heartbeat", {})
            self._set_clock(reply.get("currentTime"))

    # The outbox.

    def queue(self, item: Item) -> None:
        """Queue a message of a session; delivered in order, now or after the next connect."""
        fault = self.misbehaviour
        if item.kind == "meter":
            if self._strikes("late", fault.late_rate):
                self.spawn(self._queue_later(item))
                return
            if self._held is None and self._strikes("shuffle", fault.shuffle_rate):
                self._held = item
                return
        self._append(item)
        if self._held is not None:
            self._append(self._held)
            self._held = None

    def _append(self, item: Item) -> None:
        if item.kind == "meter" and len(self.outbox) >= OUTBOX_LIMIT:
            logger.warning("%s: outbox full, meter values dropped", self.plan.identity)
            return
        self.outbox.append(item)
        self._drained.clear()
        self._filled.set()

    async def _queue_later(self, item: Item) -> None:
        await self.clock.sleep(self.misbehaviour.late_by_s)
        self._append(item)

    async def _deliver(self) -> None:
        while True:
            if not self.outbox:
                self._drained.set()
                self._filled.clear()
                await self._filled.wait()
            item = self.outbox[0]
            try:
                reply = await self.call(item.action, self.complete(item))
            except (CallRefused, CallTimedOut) as error:
                item.attempts += 1
                # A start or end without an answer is asked again until there is one; a refusal only a few times.
                patient = isinstance(error, CallTimedOut) and item.kind != "meter"
                if not patient and item.attempts >= int(self.setting("TransactionMessageAttempts")):
                    logger.warning("%s: gave up %s", self.plan.identity, item.action)
                    self.outbox.remove(item)
                else:
                    await self.clock.sleep(float(self.setting("TransactionMessageRetryInterval")) * item.attempts)
                continue
            self.outbox.remove(item)
            self.delivered(item, reply)
            if self._strikes("duplicate", self.misbehaviour.duplicate_rate):
                await self._repeat(item)

    async def _repeat(self, item: Item) -> None:
        same = self.misbehaviour.duplicate_ids == "same" and self.link is not None
        message_id = self.link.last_id if same and self.link is not None else None
        with contextlib.suppress(CallRefused, CallTimedOut):
            await self.call(item.action, self.complete(item), message_id=message_id)

    async def flush(self) -> None:
        """Wait a moment until the outbox is empty and the last call is answered."""
        if self.online:
            await self.clock.wait(self._drained, self.timings.flush_s * self.clock.speed)
        if self.link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.timings.flush_s):
                    await self.link.settle()

    # Calls of the CSMS.

    async def _answer(self, action: str, payload: Payload, reply: Reply) -> None:
        if self.misbehaviour.deaf:
            return
        if self.misbehaviour.answer_delay_s:
            await self.clock.sleep(self.misbehaviour.answer_delay_s)
        handler = self.handlers.get(action)
        if handler is None:
            raise CallFailed("NotSupported" if action in self.unsupported else "NotImplemented", action)
        self._afterwards = []
        try:
            result = handler(self, payload)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CallFailed(self.formation_violation, repr(error)[:255]) from error
        jobs, self._afterwards = self._afterwards, []
        await reply(result)
        for job in jobs:
            self.spawn(job())

    def afterwards(self, job: Job) -> None:
        """Let a handler do something once its answer is out."""
        self._afterwards.append(job)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work beside the station; it ends with the station at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, LinkClosed):
            logger.error("%s: %r", self.plan.identity, error, exc_info=error)
