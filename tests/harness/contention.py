"""Pages and jobs that write while chargers keep the ingest busy, all in one process on one database."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError, connection, transaction

from accounts import audit, tokens
from accounts.models import IdToken
from billing import settlement
from config.wiring import HANDLERS
from stations import registry
from stations.messages import Connected
from stations.models import Station
from stations.ocpp import versions
from stations.ocpp.batch import StationRef
from stations.ocpp.inbox import Inbox, JournalEntry
from stations.simulator.wire import percentiles
from tests import charger as say
from tests.charger import Frame

METERS = 10
PAUSE_S = 0.02
ADAPTER = versions.ADAPTERS["ocpp1.6"]


@dataclasses.dataclass
class Report:
    """What was measured. Times in milliseconds."""

    messages: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    waits: list[float] = dataclasses.field(default_factory=list, repr=False)
    errors: list[str] = dataclasses.field(default_factory=list)

    @property
    def p95(self) -> float:
        return percentiles(self.waits)["p95"] or 0.0

    @property
    def slowdown(self) -> float:
        """How much longer things took because the machine had other work: this process would fill a core."""
        return max(1.0, self.seconds / self.cpu)

    @property
    def longest(self) -> float:
        return percentiles(self.waits)["max"] or 0.0


async def measure(stations: Sequence[Station], cards: Sequence[IdToken], *, seconds: float) -> Report:
    """Let every station charge in a closed loop while four threads write as pages and jobs do."""
    report = Report()
    over = threading.Event()
    inbox = Inbox(HANDLERS, publish=lambda one: None, announce=lambda stale, wakes: None)
    inbox.start()
    writes: tuple[Callable[[int], Any], ...] = (
        lambda n: tokens.change_token(cards[0], by=None, group=f"g{n}"),
        lambda n: _note(stations[n % len(stations)], n),
        lambda n: registry.renew_lease("contention", now=dt.datetime.now(dt.UTC)),
        lambda n: _settle(),
    )
    threads = [threading.Thread(target=_write, args=(write, over, report)) for write in writes]
    for thread in threads:
        thread.start()
    begun, cpu = time.perf_counter(), time.process_time()
    loads = [
        asyncio.create_task(_charge(inbox, station, card.value, over))
        for station, card in zip(stations, cards, strict=True)
    ]
    await asyncio.sleep(seconds)
    over.set()
    await asyncio.gather(*loads)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    report.seconds, report.cpu = time.perf_counter() - begun, time.process_time() - cpu
    report.messages = inbox.committed
    await asyncio.to_thread(inbox.stop)
    return report


def _write(write: Callable[[int], Any], over: threading.Event, report: Report) -> None:
    try:
        for number in itertools.count():
            begun = time.perf_counter()
            try:
                write(number)
            except DatabaseError as error:
                report.errors.append(f"{type(error).__name__}: {error}")
            report.waits.append(time.perf_counter() - begun)
            if over.wait(PAUSE_S):
                return
    finally:
        connection.close()


def _note(station: Station, number: int) -> None:
    with transaction.atomic():
        audit.record(None, "station.changed", station, number=number)


def _settle() -> None:
    now = dt.datetime.now(dt.UTC)
    for pk in settlement.due(now + settlement.PATIENCE, 1):
        settlement.settle(pk, now=now)


async def _charge(inbox: Inbox, station: Station, card: str, over: threading.Event) -> None:
    ref = StationRef(
        station.pk, station.operator_id, station.site_id, station.identity, -1, "1.6", "Europe/Berlin", "EUR"
    )
    admitted = await inbox.submit(ref, Connected(gateway="contention", protocol="1.6"), at=dt.datetime.now(dt.UTC))
    ref = dataclasses.replace(ref, epoch=admitted.epoch)
    register = 1000
    while not over.is_set():
        started = await _say(
            inbox, ref, say.start("1.6", ref="", token=card, meter=register, at=dt.datetime.now(dt.UTC))
        )
        number = str(started["transactionId"])
        for _ in range(METERS):
            register += 20
            await _say(inbox, ref, say.meter("1.6", ref=number, wh=register, at=dt.datetime.now(dt.UTC)))
        await _say(inbox, ref, say.stop("1.6", ref=number, meter=register, at=dt.datetime.now(dt.UTC)))


async def _say(inbox: Inbox, ref: StationRef, frame: Frame) -> dict[str, Any]:
    text = json.dumps([2, "m", *frame])
    found = versions.inbound(ADAPTER, text)

    def encode(reply: Any) -> tuple[str, str]:
        answer = versions.answer(ADAPTER, found, reply)
        return answer, answer

    entry = JournalEntry(0, 2, "m", frame[0], text)
    answer = await inbox.submit(ref, found.message, at=dt.datetime.now(dt.UTC), encode=encode, journal=entry)
    payload: dict[str, Any] = json.loads(answer)[2]
    return payload
