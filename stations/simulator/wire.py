"""One websocket to a CSMS and the calls on it (OCPP-J §4): one CALL in flight, answers matched by id."""

from __future__ import annotations

import asyncio
import base64
import collections
import dataclasses
import itertools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

logger = logging.getLogger(__name__)

Payload = dict[str, Any]
Reply = Callable[[Payload], Awaitable[None]]
Answerer = Callable[[str, Payload, Reply], Awaitable[None]]
"""Gets action and payload of a call and a function that sends the result; may stay silent or raise CallFailed."""

CALL, RESULT, ERROR = 2, 3, 4
SUBPROTOCOLS = {"1.6": "ocpp1.6", "2.0.1": "ocpp2.0.1", "2.1": "ocpp2.1"}


class LinkClosed(Exception):
    """The connection ended before the answer came."""


class CallTimedOut(Exception):
    """The CSMS did not answer in time."""


class CallRefused(Exception):
    """The CSMS answered with a CALLERROR."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class CallFailed(Exception):
    """A call of the CSMS that the station answers with a CALLERROR of this code."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.description = description


class AckJournal:
    """Writes one JSON line for every CALL that the CSMS acknowledged, flushed before anything else happens."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")

    def __enter__(self) -> AckJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, station: str, message_id: str, action: str, payload: Payload, result: Payload) -> None:
        """Record one acknowledged call."""
        line = {"station": station, "id": message_id, "action": action, "payload": payload, "result": result}
        self.write_line(orjson.dumps(line).decode())

    def write_line(self, line: str) -> None:
        """Record one acknowledged call that is already JSON."""
        self._file.write(line + "\n")
        self._file.flush()


@dataclasses.dataclass
class Tally:
    """What a fleet counts; latencies in seconds, the newest 100,000."""

    connects: int = 0
    refused_connections: int = 0
    sent: int = 0
    acked: int = 0
    errors: int = 0
    timed_out: int = 0
    received: int = 0
    sessions_started: int = 0
    sessions_ended: int = 0
    energy_wh: int = 0
    latencies: collections.deque[float] = dataclasses.field(default_factory=lambda: collections.deque(maxlen=100_000))

    def summary(self) -> Payload:
        """Return the figures as plain JSON types, latencies in milliseconds."""
        figures: Payload = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "latencies"
        }
        return figures | {"latency_ms": percentiles(self.latencies)}


def percentiles(latencies: collections.abc.Iterable[float]) -> dict[str, float | None]:
    """Return p50, p95, p99 and the maximum of latencies in seconds as milliseconds (None without any)."""
    ordered = sorted(latencies)

    def at(share: float) -> float | None:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000.0, 2) if ordered else None

    return {"p50": at(0.50), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}


def station_url(base: str, identity: str) -> str:
    """Append the percent-encoded identity to the base URL, with or without its closing slash."""
    return f"{base.rstrip('/')}/{quote(identity, safe='')}"


def basic_auth(identity: str, password: str | bytes) -> str:
    """Return the value of the Authorization header; a password may be any bytes."""
    secret = password.encode() if isinstance(password, str) else password
    return "Basic " + base64.b64encode(identity.encode() + b":" + secret).decode()


async def dial(
    base: str,
    identity: str,
    password: str | bytes | None,
    version: str,
    *,
    ping_interval: float | None = None,
    open_timeout: float = 30.0,
) -> ClientConnection:
    """Open the websocket of a station. Raises OSError, TimeoutError or a websockets exception."""
    return await connect(
        station_url(base, identity),
        subprotocols=[Subprotocol(SUBPROTOCOLS[version])],
        additional_headers={} if password is None else {"Authorization": basic_auth(identity, password)},
        user_agent_header=None,
        proxy=None,
        open_timeout=open_timeout,
        close_timeout=2.0,
        ping_interval=ping_interval,
        ping_timeout=None,
    )


class Link:
    """Sends calls one after the other and hands the calls of the CSMS to ``answerer``."""

    def __init__(
        self,
        socket: ClientConnection,
        identity: str,
        answerer: Answerer,
        *,
        tally: Tally | None = None,
        journal: AckJournal | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.socket = socket
        self.identity = identity
        self.closed = asyncio.Event()
        self.tally = tally if tally is not None else Tally()
        self._answerer = answerer
        self._journal = journal
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Payload]] = {}
        # Ids are unique for ever across reconnects and runs, so they never come from a seed.
        self._id_prefix = uuid.uuid4().hex[:20]
        self._id_numbers = itertools.count(1)
        self.last_id = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, action: str, payload: Payload, *, message_id: str | None = None) -> Payload:
        """Send a CALL and return the payload of its result.

        Raises LinkClosed, CallTimedOut or CallRefused.
        """
        async with self._turn:
            if self.closed.is_set():
                raise LinkClosed
            message_id = message_id or f"{self._id_prefix}-{next(self._id_numbers)}"
            self.last_id = message_id
            future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
            self._waiting[message_id] = future
            started = time.perf_counter()
            try:
                await self._send([CALL, message_id, action, payload])
                self.tally.sent += 1
                async with asyncio.timeout(self._timeout):
                    result = await future
            except TimeoutError:
                self.tally.timed_out += 1
                raise CallTimedOut(action) from None
            except CallRefused:
                self.tally.errors += 1
                raise
            finally:
                self._waiting.pop(message_id, None)
            self.tally.latencies.append(time.perf_counter() - started)
            self.tally.acked += 1
            if self._journal is not None:
                self._journal.write(self.identity, message_id, action, payload, result)
            return result

    async def settle(self) -> None:
        """Wait until the calls that are on their way now have their answers."""
        await asyncio.sleep(0)
        async with self._turn:
            return

    async def send_text(self, text: str) -> None:
        """Send a text frame as it is. Raises LinkClosed."""
        try:
            await self.socket.send(text)
        except ConnectionClosed:
            raise LinkClosed from None

    async def listen(self) -> None:
        """Read until the connection ends; then no call waits any longer."""
        try:
            async for text in self.socket:
                self._take(text)
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LinkClosed())

    async def close(self) -> None:
        """Close the connection with the closing handshake."""
        await self.socket.close()

    def drop(self) -> None:
        """Cut the connection without a word, as a power loss does."""
        self.socket.transport.abort()

    def _take(self, text: str | bytes) -> None:
        try:
            frame = orjson.loads(text)
            kind, message_id = frame[0], frame[1]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            logger.warning("%s: unreadable frame from the CSMS", self.identity)
            return
        if kind == CALL and len(frame) == 4:
            self.tally.received += 1
            task = asyncio.create_task(self._answer(message_id, frame[2], frame[3]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        future = self._waiting.get(message_id) if isinstance(message_id, str) else None
        if future is None or future.done():
            return
        if kind == RESULT and len(frame) == 3:
            future.set_result(frame[2])
        elif kind == ERROR and len(frame) >= 4:
            future.set_exception(CallRefused(str(frame[2]), str(frame[3])))

    async def _answer(self, message_id: str, action: str, payload: Payload) -> None:
        async def reply(result: Payload) -> None:
            await self._send([RESULT, message_id, result])

        try:
            try:
                await self._answerer(action, payload, reply)
            except CallFailed as refusal:
                await self._send([ERROR, message_id, refusal.code, refusal.description, {}])
            except LinkClosed:
                raise
            except Exception:
                logger.exception("%s: %s failed", self.identity, action)
                await self._send([ERROR, message_id, "InternalError", "", {}])
        except LinkClosed:
            logger.debug("%s: gone before the answer to %s", self.identity, action)

    async def _send(self, frame: list[Any]) -> None:
        await self.send_text(orjson.dumps(frame).decode())
