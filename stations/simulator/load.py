"""A lean load client: many OCPP 1.6 connections in a closed loop, with little CPU of its own.

Frames are assembled from pre-built JSON text, and the websocket is the bare minimum of RFC 6455 on an asyncio
protocol: one unfragmented text frame per message, an all-zero mask, no compression. For behaviour use
``fleet``; this is for figures.
"""

from __future__ import annotations

import array
import asyncio
import base64
import dataclasses
import datetime as dt
import itertools
import os
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from typing import Literal, cast
from urllib.parse import urlsplit

import orjson

from stations.simulator.wire import AckJournal, Payload, basic_auth, percentiles, station_url

Scenario = Literal["meter", "life", "idle", "reconnect"]
Script = Generator[tuple[str, str] | None, bytes, None]
"""Yields action and payload of the next call and gets the raw result; yields None when it is ready to be measured."""

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
DIALS_AT_ONCE = 200
SETUP_S = 60.0
SETTLE_S = 10.0
METERS_PER_LIFE = 10
SAMPLES_PER_LIFE = 3
MEASURANDS = (
    ("Power.Active.Import", "W", "7360.0", ""),
    ("Current.Import", "A", "10.67", "L1"),
    ("Current.Import", "A", "10.65", "L2"),
    ("Current.Import", "A", "10.68", "L3"),
    ("Voltage", "V", "229.8", "L1-N"),
    ("Voltage", "V", "230.1", "L2-N"),
    ("Voltage", "V", "230.4", "L3-N"),
    ("Current.Offered", "A", "16.0", ""),
    ("Power.Offered", "W", "11040.0", ""),
    ("SoC", "Percent", "57.5", ""),
    ("Temperature", "Celsius", "33.1", ""),
)


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """Figures of one run. ``seconds`` is the measured part, ``setup_seconds`` connect, boot and statuses before it."""

    scenario: Scenario
    stations: int
    connected: int
    refused: int
    lost: int
    sent: int
    acked: int
    errors: int
    setup_seconds: float
    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    latencies: array.array[float] = dataclasses.field(repr=False)

    @property
    def rate(self) -> float:
        """Acknowledged messages per second."""
        return self.acked / self.seconds if self.seconds else 0.0

    def summary(self) -> Payload:
        """Return the figures as plain JSON types."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "latencies"]
        figures = {name: getattr(self, name) for name in names}
        rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
        return {**rounded, "rate": round(self.rate, 1), "latency_ms": percentiles(self.latencies)}


async def run_load(
    url: str,
    stations: Sequence[tuple[str, str]],
    scenario: Scenario = "meter",
    *,
    duration: float | None = None,
    count: int | None = None,
    samples: int = 12,
    think: float = 0.0,
    token: str | None = "LOAD0001",  # noqa: S107
    journal: AckJournal | None = None,
    server_cpu: Callable[[], float] | None = None,
) -> LoadResult:
    """Load a CSMS and return what was measured.

    ``stations`` are identities with their passwords. ``meter`` keeps one transaction per station and sends
    MeterValues of ``samples`` values; ``life`` repeats Authorize, Start, 10 MeterValues of 3, Stop; ``idle``
    holds booted connections; ``reconnect`` lets all dial at once and measures until each has booted and told
    its states. Ends after ``duration`` seconds or ``count`` messages per station; each waits ``think`` seconds
    after an answer. A lost connection is counted, not dialled again. Without ``token`` each presents a card of its
    own, whose value is the identity. ``server_cpu`` tells the CPU seconds of the other side so far; it is asked at
    both ends of the measured part. Raises ValueError without an end.
    """
    if scenario not in _SCRIPTS:
        raise ValueError(f"unknown scenario {scenario!r}")
    if scenario != "reconnect" and duration is None and (count is None or scenario == "idle"):
        raise ValueError("a load needs an end")
    run = _Run(url, scenario, count=count, samples=samples, think=think, token=token, journal=journal)
    return await run.measure(stations, duration, server_cpu or (lambda: 0.0))


class _Run:
    def __init__(
        self,
        url: str,
        scenario: Scenario,
        *,
        count: int | None,
        samples: int,
        think: float,
        token: str | None,
        journal: AckJournal | None,
    ) -> None:
        self.url = url
        self.scenario = scenario
        self.count = count
        self.samples = samples
        self.think = think
        self.token = token
        self.journal = journal
        self.measuring = scenario == "reconnect"
        self.stopping = False
        self.sent = self.acked = self.errors = self.lost = 0
        self.latencies: array.array[float] = array.array("d")

    async def measure(
        self, stations: Sequence[tuple[str, str]], duration: float | None, server_cpu: Callable[[], float]
    ) -> LoadResult:
        started, cpu, server = time.perf_counter(), time.process_time(), server_cpu()
        gate = asyncio.Semaphore(len(stations) if self.scenario == "reconnect" else DIALS_AT_ONCE)
        clients = [_Client(self, identity, password) for identity, password in stations]
        await asyncio.gather(*(client.dial(gate) for client in clients))
        connected = [client for client in clients if client.is_ready]
        begun = time.perf_counter()
        setup_s = begun - started
        if self.scenario != "reconnect":
            cpu, server = time.process_time(), server_cpu()
            self.measuring = True
            if self.scenario != "idle":
                for client in connected:
                    client.go()
            over = [client.over for client in connected]
            if over:
                await asyncio.wait(over, timeout=duration)
                self.stopping = True
                await asyncio.wait(over, timeout=0.0 if self.scenario == "idle" else SETTLE_S)
            seconds = time.perf_counter() - begun
        else:
            seconds = setup_s
        cpu, server = time.process_time() - cpu, server_cpu() - server
        lost = self.lost
        for client in clients:
            client.leave()
        await asyncio.sleep(0)
        return LoadResult(
            scenario=self.scenario,
            stations=len(stations),
            connected=len(connected),
            refused=len(clients) - len(connected),
            lost=lost,
            sent=self.sent,
            acked=self.acked,
            errors=self.errors,
            setup_seconds=setup_s,
            seconds=seconds,
            client_cpu_seconds=cpu,
            server_cpu_seconds=server,
            latencies=self.latencies,
        )


class _Client(asyncio.Protocol):
    """One station: a websocket, and the script that says what comes next."""

    def __init__(self, run: _Run, identity: str, password: str) -> None:
        loop = asyncio.get_running_loop()
        self.run = run
        self.identity = identity
        self.password = password
        self.is_ready = False
        self.settled: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._upgraded = False
        self._script = _SCRIPTS[run.scenario](run, identity if run.token is None else run.token)
        self._prefix = uuid.uuid4().hex[:20] + "-"
        self._numbers = itertools.count(1)
        self._waiting = b""
        self._action = ""
        self._payload = ""
        self._sent_at = 0.0
        self._measured = False
        self._left = run.count

    async def dial(self, gate: asyncio.Semaphore) -> None:
        """Connect and go through the script until it is ready, or fail."""
        target = urlsplit(station_url(self.run.url, self.identity))
        secure = target.scheme == "wss"
        async with gate:
            try:
                await self._loop.create_connection(
                    lambda: self,
                    target.hostname or "",
                    target.port or (443 if secure else 80),
                    ssl=ssl.create_default_context() if secure else None,
                )
            except OSError:
                return
            key = base64.b64encode(os.urandom(16)).decode()
            request = (
                f"GET {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
                f"Authorization: {basic_auth(self.identity, self.password)}\r\n\r\n"
            )
            if self._transport is not None:
                self._transport.write(request.encode())
            try:
                async with asyncio.timeout(SETUP_S):
                    await asyncio.shield(self.settled)
            except TimeoutError:
                self.leave()

    def go(self) -> None:
        """Begin what is measured."""
        self._advance(b"")

    def leave(self) -> None:
        """Cut the connection."""
        self._finish()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything a WriteTransport does without being one.
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_ready and not self.over.done():
            self.run.lost += 1
        self._finish()

    def _finish(self) -> None:
        for future in (self.settled, self.over):
            if not future.done():
                future.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self.leave()
                return
            self._upgraded = True
            del self._buffer[: end + 4]
            self._advance(None)
        while (frame := self._next_frame()) is not None:
            opcode, body = frame
            if opcode == TEXT:
                self._take(body)
            elif opcode == PING:
                self._write(PONG, body)
            elif opcode == CLOSE and self._transport is not None:
                self._transport.close()

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        opcode, body = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, body

    def _write(self, opcode: int, body: bytes) -> None:
        length = len(body)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 65_536:
            head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
        if self._transport is not None:
            # A mask of zeros is a valid mask that costs nothing to apply.
            self._transport.write(head + b"\0\0\0\0" + body)

    def _take(self, body: bytes) -> None:
        if body[2:4] != b',"':
            body = orjson.dumps(orjson.loads(body))  # a CSMS that puts blanks between the tokens
        if body.startswith(b"[2,"):
            message_id = orjson.dumps(orjson.loads(body)[1]).decode()
            self._write(TEXT, f'[4,{message_id},"NotSupported","",{{}}]'.encode())
            return
        if not self._waiting or not body.startswith(self._waiting, 3):
            return
        run = self.run
        accepted = body.startswith(b"[3,")
        if self._measured:
            run.latencies.append(time.perf_counter() - self._sent_at)
            if accepted:
                run.acked += 1
            else:
                run.errors += 1
        result = body[3 + len(self._waiting) + 1 : -1] if accepted else b"{}"
        if accepted and run.journal is not None:
            run.journal.write_line(
                f'{{"station":"{self.identity}","id":{self._waiting.decode()},"action":"{self._action}",'
                f'"payload":{self._payload},"result":{result.decode()}}}'
            )
        self._waiting = b""
        if run.think and self._measured:
            self._loop.call_later(run.think, self._advance, result)
        else:
            self._advance(result)

    def _advance(self, result: bytes | None) -> None:
        """Send the next call of the script."""
        run = self.run
        if self.is_ready and (run.stopping or self._left == 0):
            self._finish()
            return
        if self._transport is None or self._transport.is_closing():
            return
        try:
            step = next(self._script) if result is None else self._script.send(result)
        except (StopIteration, LookupError, ValueError):
            # A script that ends, or meets an answer it cannot use, does not become ready.
            self.leave()
            return
        if step is None:
            self.is_ready = True
            if not self.settled.done():
                self.settled.set_result(None)
            return
        self._action, self._payload = step
        message_id = f'"{self._prefix}{next(self._numbers)}"'
        self._waiting = message_id.encode()
        self._measured = run.measuring
        if self._measured:
            run.sent += 1
            if self._left is not None:
                self._left -= 1
        self._sent_at = time.perf_counter()
        self._write(TEXT, f'[2,{message_id},"{self._action}",{self._payload}]'.encode())


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _boot() -> Generator[tuple[str, str], bytes, None]:
    vendor = '{"chargePointVendor":"Load","chargePointModel":"Client","firmwareVersion":"1.0"}'
    reply = orjson.loads((yield "BootNotification", vendor))
    if reply.get("status") != "Accepted":
        raise ValueError("boot not accepted")
    for connector in (0, 1):
        status = f'{{"connectorId":{connector},"errorCode":"NoError","status":"Available","timestamp":"{_now()}"}}'
        yield "StatusNotification", status


def _start(token: str, register: int) -> Generator[tuple[str, str], bytes, int]:
    payload = f'{{"connectorId":1,"idTag":"{token}","meterStart":{register},"timestamp":"{_now()}"}}'
    transaction: int = orjson.loads((yield "StartTransaction", payload))["transactionId"]
    return transaction


def _meter_parts(samples: int) -> tuple[str, str]:
    """Return what stands between timestamp and register, and what follows the register."""
    rest = "".join(
        f',{{"value":"{value}","context":"Sample.Periodic","measurand":"{measurand}","unit":"{unit}"'
        + (f',"phase":"{phase}"}}' if phase else "}")
        for measurand, unit, value, phase in itertools.islice(itertools.cycle(MEASURANDS), max(samples - 1, 0))
    )
    tail = '","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"}' + rest + "]}]}"
    return '","sampledValue":[{"value":"', tail


def _meters(run: _Run, token: str) -> Script:
    yield from _boot()
    register = 1000
    transaction = yield from _start(token, register)
    head = f'{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"'
    middle, tail = _meter_parts(run.samples)
    yield None
    while True:
        register += 20
        yield "MeterValues", f"{head}{_now()}{middle}{register}{tail}"


def _lives(run: _Run, token: str) -> Script:
    yield from _boot()
    middle, tail = _meter_parts(SAMPLES_PER_LIFE)
    register = 1000
    yield None
    while True:
        yield "Authorize", f'{{"idTag":"{token}"}}'
        transaction = yield from _start(token, register)
        head = f'{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"'
        for _ in range(METERS_PER_LIFE):
            register += 20
            yield "MeterValues", f"{head}{_now()}{middle}{register}{tail}"
        stop = f'"meterStop":{register},"timestamp":"{_now()}","reason":"Local"'
        yield "StopTransaction", f'{{"transactionId":{transaction},"idTag":"{token}",{stop}}}'


def _present(run: _Run, token: str) -> Script:
    yield from _boot()
    yield None


_SCRIPTS = {"meter": _meters, "life": _lives, "idle": _present, "reconnect": _present}
