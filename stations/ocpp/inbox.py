"""From sockets to the database: a bounded queue, one writer thread, one transaction for all that waits.

The batch is whatever queued while the last one was committed: no timer, so a lone message waits for
nobody and a flood shares its commits. A reply future resolves only after the commit.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction
from prometheus_client import Histogram

from stations.messages import Connected
from stations.ocpp.batch import Batch, BulkTable, FlushError, FollowUp, StationMemory, StationRef, Summary

log = logging.getLogger("voltyard.ingest")

MAX_MESSAGES = 500
MAX_HANDLER_SECONDS = 0.05
RETRIES = 3
CAPACITY = 4000
LAST_SEEN_EVERY = dt.timedelta(seconds=2)
BATCH_MESSAGES = Histogram(
    "voltyard_ocpp_batch_messages", "OCPP messages committed together", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
BATCH_SECONDS = Histogram(
    "voltyard_ocpp_batch_seconds",
    "From a batch's first handler to its commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)

FRAMES = BulkTable(
    "stations_frame",
    (
        "station_id",
        "at",
        "direction",
        "kind",
        "message_id",
        "action",
        "text",
        "answer",
        "answer_ms",
        "note",
        "session_ref",
    ),
)


LAST_SEEN = Summary("stations_station", ("last_seen_at",), ("timestamptz",))


class Handle(Protocol):
    """What handles one kind of message: plain synchronous Django, inside the batch's transaction."""

    def __call__(self, station: StationRef, message: Any, /, *, at: dt.datetime, tx: Batch) -> Any:
        """Do it and return the reply."""


@dataclasses.dataclass(frozen=True, slots=True)
class Handler:
    """A handler. With ``orm`` it gets a savepoint; with ``flush_first`` it can read what the batch holds."""

    handle: Handle
    orm: bool = True
    flush_first: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class JournalEntry:
    """A frame for the log, already masked."""

    direction: int
    kind: int
    message_id: str
    action: str
    text: str
    note: str = ""


class Fenced(Exception):
    """The station has a newer socket; this one must close without an answer."""


class HandlerFailed(Exception):
    """The message could not be processed and nothing of it was stored."""


@dataclasses.dataclass(slots=True)
class _Item:
    station: StationRef
    message: Any
    at: dt.datetime
    encode: Callable[[Any], tuple[str, str]] | None
    journal: JournalEntry | None
    future: asyncio.Future[Any] | None
    outcome: Any = None
    answer: str = ""
    failed: BaseException | None = None


class Inbox:
    """The way in of one process. ``publish`` is called in a thread of its own with the follow-ups of a batch."""

    def __init__(
        self,
        handlers: Mapping[type, Handler],
        *,
        publish: Callable[[Sequence[FollowUp]], None],
        announce: Callable[[Mapping[str, set[str]], Sequence[int]], None],
        writers: int = 1,
    ) -> None:
        self._handlers = handlers
        self._publish = publish
        self._announce = announce
        self._writers = [_Writer(self, number) for number in range(writers)]
        self._follow_ups: queue.SimpleQueue[Sequence[FollowUp] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Semaphore | None = None
        self._publisher = threading.Thread(target=self._publish_all, name="publisher", daemon=True)
        self.taken = self.committed = 0

    @property
    def is_running(self) -> bool:
        """Whether every writer lives."""
        return all(writer.thread.is_alive() for writer in self._writers)

    @property
    def waiting(self) -> int:
        """How many messages wait for their commit."""
        return self.taken - self.committed

    def start(self) -> None:
        """Start the threads; called on the loop whose sockets feed this inbox."""
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(CAPACITY)
        self._publisher.start()
        for writer in self._writers:
            writer.thread.start()

    def stop(self) -> None:
        """Commit what waits and end the threads."""
        for writer in self._writers:
            writer.queue.put(None)
        for writer in self._writers:
            writer.thread.join(timeout=20)
        self._follow_ups.put(None)
        self._publisher.join(timeout=5)

    async def submit(
        self,
        station: StationRef,
        message: Any,
        *,
        at: dt.datetime,
        encode: Callable[[Any], tuple[str, str]] | None = None,
        journal: JournalEntry | None = None,
    ) -> Any:
        """Hand a message to the domain and wait for the commit.

        Returns the handler's reply, or the first of the texts ``encode`` makes of it; the second goes into
        the log. Raises `Fenced` where the station
        has a newer socket and `HandlerFailed` where nothing was stored.
        """
        assert self._loop is not None
        assert self._room is not None
        await self._room.acquire()
        self.taken += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writer_of(station).queue.put(_Item(station, message, at, encode, journal, future))
        return await future

    async def note(self, station: StationRef, entry: JournalEntry, *, at: dt.datetime) -> None:
        """Write a frame that has no handler into the log; waits only for room."""
        assert self._room is not None
        await self._room.acquire()
        self.taken += 1
        self._writer_of(station).queue.put(_Item(station, None, at, None, entry, None))

    def _writer_of(self, station: StationRef) -> _Writer:
        return self._writers[station.id % len(self._writers)]

    # --- called by writers -------------------------------------------------------------------------

    def handler_of(self, kind: type) -> Handler:
        """Return the handler of a message class."""
        return self._handlers[kind]

    def done(self, items: Sequence[_Item], batch: Batch | None) -> None:
        """Take a committed (or given up) batch: resolve futures on the loop, then tell the others."""
        assert self._loop is not None
        hints: dict[str, set[str]] = {}
        wakes: Sequence[int] = ()
        if batch is not None:
            for hint in batch.hints:
                hints.setdefault(hint.group, set()).add(hint.name)
            wakes = tuple(batch.wakes)
            if batch.follow_ups:
                self._follow_ups.put(tuple(batch.follow_ups))
        self._loop.call_soon_threadsafe(self._resolve, items, hints, wakes)

    def _resolve(self, items: Sequence[_Item], hints: Mapping[str, set[str]], wakes: Sequence[int]) -> None:
        assert self._room is not None
        for item in items:
            self._room.release()
            future = item.future
            if future is None or future.done():
                continue
            if item.failed is not None:
                future.set_exception(item.failed)
            else:
                future.set_result(item.outcome)
        self.committed += len(items)
        if hints or wakes:
            self._announce(hints, wakes)

    def _publish_all(self) -> None:
        while (follow_ups := self._follow_ups.get()) is not None:
            try:
                self._publish(follow_ups)
            except Exception:
                log.exception("follow-up tasks could not be published; the sweeps will find them")


class _Writer:
    """One thread, one connection, batches in order. A station always meets the same writer."""

    def __init__(self, inbox: Inbox, number: int) -> None:
        self.queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name=f"writer-{number}", daemon=True)
        self._inbox = inbox
        self._memory = StationMemory()
        self._seen: dict[int, dt.datetime] = {}

    def _run(self) -> None:
        waiting: collections.deque[_Item] = collections.deque()
        ending = False
        try:
            while not ending or waiting:
                if not waiting:
                    first = self.queue.get()
                    if first is None:
                        ending = True
                        continue
                    waiting.append(first)
                ending = self._drain(waiting) or ending
                items = list(itertools.islice(waiting, MAX_MESSAGES))
                taken = self._commit(items)
                for _ in range(taken):
                    waiting.popleft()
        finally:
            connection.close()

    def _drain(self, waiting: collections.deque[_Item]) -> bool:
        while len(waiting) < MAX_MESSAGES:
            try:
                item = self.queue.get_nowait()
            except queue.Empty:
                return False
            if item is None:
                return True
            waiting.append(item)
        return False

    def _commit(self, items: Sequence[_Item]) -> int:
        """Commit a batch and return how many of ``items`` it took."""
        for attempt in range(RETRIES):
            begun = time.monotonic()
            try:
                taken, batch = self._transact(items)
            except (DatabaseError, InterfaceError, FlushError) as error:
                log.warning("batch of %d failed (%s), attempt %d", len(items), error, attempt + 1)
                self._recover(attempt)
                continue
            BATCH_MESSAGES.observe(taken)
            BATCH_SECONDS.observe(time.monotonic() - begun)
            self._inbox.done(items[:taken], batch)
            return taken
        for item in items:
            self._commit_alone(item)
        return len(items)

    def _commit_alone(self, item: _Item) -> None:
        for attempt in range(RETRIES):
            try:
                _, batch = self._transact([item])
            except (DatabaseError, InterfaceError, FlushError) as error:
                failure = error
                self._recover(attempt)
                continue
            self._inbox.done([item], batch)
            return
        log.error(
            "message %s of %s could not be stored: %s", type(item.message).__name__, item.station.identity, failure
        )
        item.failed = HandlerFailed("not stored")
        self._inbox.done([item], None)

    def _recover(self, attempt: int) -> None:
        # What is remembered may be ahead of or behind a database that failed in the middle.
        self._memory.clear()
        self._seen.clear()
        connection.close()
        time.sleep(0.05 * 4**attempt)

    def _transact(self, items: Sequence[_Item]) -> tuple[int, Batch]:
        batch = Batch(self._memory)
        deadline = time.monotonic() + MAX_HANDLER_SECONDS
        taken = 0
        with transaction.atomic():
            batch.epochs.update(self._epochs({item.station.id for item in items}))
            for station_id, epoch in batch.epochs.items():
                if self._memory.epochs.get(station_id) != epoch:
                    self._memory.forget(station_id)
                    self._memory.epochs[station_id] = epoch
            for item in items:
                self._handle(item, batch)
                taken += 1
                if time.monotonic() > deadline:
                    break
            seen = self._touch(items[:taken], batch)
            batch.flush()
        batch.committed()
        self._seen.update(seen)
        return taken, batch

    def _epochs(self, ids: set[int]) -> dict[int, int]:
        # Rows are locked in id order; the lock keeps a station's epoch until our commit.
        lock = " FOR NO KEY UPDATE" if connection.vendor == "postgresql" else ""
        marks = ", ".join(["%s"] * len(ids))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, epoch FROM stations_station WHERE id IN ({marks}) ORDER BY id{lock}",  # noqa: S608
                sorted(ids),
            )
            return dict(cursor.fetchall())

    def _handle(self, item: _Item, batch: Batch) -> None:
        item.outcome = item.failed = None
        item.answer = ""
        station, message = item.station, item.message
        if type(message) is not Connected and batch.epochs.get(station.id) != station.epoch:
            item.failed = Fenced(station.identity)
            return
        batch.session_ref = ""
        if message is not None:
            handler = self._inbox.handler_of(type(message))
            if handler.flush_first:
                batch.flush()
            mark = batch.mark()
            try:
                if handler.orm:
                    with transaction.atomic():
                        reply = handler.handle(station, message, at=item.at, tx=batch)
                else:
                    reply = handler.handle(station, message, at=item.at, tx=batch)
                if item.encode is None:
                    item.outcome = reply
                else:
                    item.outcome, item.answer = item.encode(reply)
            except FlushError:
                raise
            except DatabaseError as error:
                if connection.needs_rollback or not _concerns_the_row(error):
                    raise
                self._give_up(item, batch, mark)
            except Exception:
                self._give_up(item, batch, mark)
        entry = item.journal
        if entry is not None:
            took = int((dt.datetime.now(dt.UTC) - item.at).total_seconds() * 1000) if item.answer else None
            batch.append(
                FRAMES,
                (
                    station.id,
                    item.at,
                    entry.direction,
                    entry.kind,
                    entry.message_id,
                    entry.action,
                    entry.text,
                    item.answer,
                    took,
                    entry.note,
                    batch.session_ref,
                ),
            )

    def _give_up(self, item: _Item, batch: Batch, mark: Any) -> None:
        log.exception("handling %s of %s failed", type(item.message).__name__, item.station.identity)
        batch.back_to(mark)
        item.failed = HandlerFailed(type(item.message).__name__)

    def _touch(self, items: Sequence[_Item], batch: Batch) -> dict[int, dt.datetime]:
        seen: dict[int, dt.datetime] = {}
        for item in items:
            if not isinstance(item.failed, Fenced):
                seen[item.station.id] = item.at
        fresh = {}
        for station_id, at in seen.items():
            before = self._seen.get(station_id)
            if before is None or at - before >= LAST_SEEN_EVERY:
                fresh[station_id] = at
                batch.set(LAST_SEEN, station_id, (at,))
        return fresh


def _concerns_the_row(error: DatabaseError) -> bool:
    """Tell a refusal of what one message wrote from trouble of the connection or a conflict of transactions."""
    return isinstance(error, (DataError, IntegrityError))
