"""The life of one charger's socket: accept, read, reply, send, leave. No rule of charging lives here.

Channels' own consumer hops to the process's one worker thread for every message and makes tasks for each;
with hundreds of chargers that is most of the cost, so the loop here is written out: one frame is read, handed
on, answered, and only then the next one is read.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from channels.consumer import AsyncConsumer
from django.conf import settings

from accounts.keys import pseudonym
from stations.messages import (
    Ask,
    Booted,
    CommandAnswered,
    CommandWanted,
    Connected,
    Left,
    Registration,
)
from stations.ocpp import calls, frame, handshake, journal, quirks
from stations.ocpp.batch import StationRef
from stations.ocpp.frame import Fault
from stations.ocpp.inbox import Fenced, HandlerFailed, Inbox, JournalEntry
from stations.ocpp.versions import ADAPTERS, Inbound, inbound, refuse

log = logging.getLogger("voltyard.gateway")

READY_AFTER_S = 8.0  # a reconnecting charger need not boot: it may be asked then all the same
FRAMES_PER_SECOND = 20
FRAMES_BURST = 500
MAX_JOURNAL_TEXT = 65_536
CLOSE_FENCED = 4008
CLOSE_DEAF = 4009
DEAF_AFTER = 5  # calls without an answer in a row

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Connections:
    """The chargers this process holds, by station; the newest socket of a station counts."""

    def __init__(self) -> None:
        self._by_station: dict[int, StationConsumer] = {}

    def add(self, station_id: int, consumer: StationConsumer) -> None:
        """Take a new socket; an older one of the same station is told to close."""
        older = self._by_station.get(station_id)
        self._by_station[station_id] = consumer
        if older is not None:
            older.superseded()

    def remove(self, station_id: int, consumer: StationConsumer) -> None:
        """Forget a socket, unless a newer one has taken its place."""
        if self._by_station.get(station_id) is consumer:
            del self._by_station[station_id]

    def wake(self, station_id: int) -> None:
        """Let a station's socket look for commands."""
        consumer = self._by_station.get(station_id)
        if consumer is not None:
            consumer.wake()

    def __len__(self) -> int:
        return len(self._by_station)


class StationConsumer(AsyncConsumer):  # type: ignore[misc]
    """Speaks OCPP-J with one charger."""

    inbox: Inbox
    connections: Connections
    gateway: str

    def __init__(self, inbox: Inbox, connections: Connections, gateway: str) -> None:
        super().__init__()
        self.inbox = inbox
        self.connections = connections
        self.gateway = gateway
        self._pumping: asyncio.Task[None] | None = None
        self._again = False
        self._closing = False
        self._ready = False
        self._treatment = quirks.PLAIN
        self._allowance = float(FRAMES_BURST)
        self._allowed_at = 0.0
        self._asked: dict[str, Ask] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection from upgrade to close."""
        self._send = send
        await receive()  # websocket.connect
        decided = await handshake.admit(scope, enabled=settings.OCPP_SUBPROTOCOLS)
        if isinstance(decided, handshake.Refusal):
            await _deny(scope, send, decided)
            return
        self.adapter = ADAPTERS[decided.version]
        self._treatment = quirks.treatment(*decided.product)
        link = scope.get("extensions", {}).get("voltyard.link")
        admitted = await self.inbox.submit(
            decided.station, Connected(gateway=self.gateway, protocol=self.adapter.version), at=_now()
        )
        ref = decided.station
        self.station = StationRef(
            ref.id,
            ref.operator_id,
            ref.site_id,
            ref.identity,
            admitted.epoch,
            self.adapter.version,
            ref.time_zone,
            ref.currency,
            ref.max_power_w,
        )
        self._registration: Registration = admitted.registration
        self._calls = calls.Calls(dt.timedelta(seconds=settings.COMMAND_TIMEOUT_SECONDS))
        loop = asyncio.get_running_loop()
        self._allowed_at = loop.time()
        if link is not None:
            if not decided.compression:
                link.without_compression()
            silent = max(2 * decided.ping_seconds, settings.HEARTBEAT_SECONDS * 1.5 + 30)
            link.keep_alive(ping_s=decided.ping_seconds, silent_s=silent)
        code = 1006
        ready = loop.call_later(READY_AFTER_S, self._become_ready)
        self.connections.add(self.station.id, self)
        try:
            await send({"type": "websocket.accept", "subprotocol": decided.subprotocol})
            code = await self._converse(receive)
        except Fenced:
            code = CLOSE_FENCED
            await self._close(CLOSE_FENCED)
        finally:
            ready.cancel()
            self._closing = True
            self.connections.remove(self.station.id, self)
            if self._pumping is not None:
                self._pumping.cancel()
            await self._leave(code)

    # --- told by others, on the loop -----------------------------------------------------------------

    def wake(self) -> None:
        """Look for commands now, or when the one in flight is answered."""
        self._again = True
        if self._ready and not self._closing and self._pumping is None and self._calls.pending is None:
            self._pumping = asyncio.get_running_loop().create_task(self._pump())

    def superseded(self) -> None:
        """Close: the station has opened a newer socket."""
        if not self._closing:
            self._closing = True
            self._bye = asyncio.get_running_loop().create_task(self._close(CLOSE_FENCED))

    # --- from the station ----------------------------------------------------------------------------

    async def _converse(self, receive: Receive) -> int:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return int(event.get("code") or 1006)
            await self._slow_down()
            text = event.get("text")
            at = _now()
            if text is None:
                size = len(event.get("bytes") or b"")
                await self._note(at, 0, "", "", f"{size} bytes", "binary frame")
                found = inbound(self.adapter, event.get("bytes") or b"")
                if found.kind != "broken" or found.answer is not None:
                    found = Inbound("broken", found.message_id, answer=found.answer)
                await self._answer_now(found)
                continue
            found = inbound(self.adapter, text, self._treatment)
            if found.message is not None:
                await self._called(found, text, at)
            elif found.kind in {"result", "error", "result_error"}:
                await self._answered(found, text, at)
            else:
                note = f"{found.code}: {found.description}"[:200]
                await self._note(at, 2 if found.kind == "call" else 0, found.message_id, found.action, text, note)
                await self._answer_now(found)

    async def _called(self, found: Inbound, text: str, at: dt.datetime) -> None:
        message = found.message
        assert message is not None
        if self._registration is not Registration.ACCEPTED and not self._may_say(found):
            fault = refuse(self.adapter, found.message_id, Fault.SECURITY, "Not accepted yet")
            await self._note(at, 2, found.message_id, found.action, text, "SecurityError: not accepted yet")
            await self._out(fault)
            return
        shown = journal.masked(found.action, found.payload, pseudonym=self._pseudonym)
        if found.action == "Heartbeat":
            entry = None
        else:
            if shown is not found.payload:
                text = frame.encode_call(found.message_id, found.action, shown)
            entry = JournalEntry(
                0, 2, found.message_id, found.action, text[:MAX_JOURNAL_TEXT], ", ".join(found.deviations)[:200]
            )

        def encode(reply: Any) -> tuple[str, str]:
            payload = self.adapter.encode_reply(found.action, message, reply)
            answer = frame.encode_result(found.message_id, payload)
            veiled = journal.masked(found.action, payload, pseudonym=self._pseudonym)
            return answer, answer if veiled is payload else frame.encode_result(found.message_id, veiled)

        try:
            answer = await self.inbox.submit(
                self.station, message, at=at, encode=encode if found.kind == "call" else None, journal=entry
            )
        except HandlerFailed:
            if found.kind == "call":
                await self._out(refuse(self.adapter, found.message_id, Fault.INTERNAL))
            return
        if found.kind == "call":
            await self._out(answer)
        if isinstance(message, Booted):
            self._treatment = quirks.treatment(message.vendor, message.model, message.firmware)
            self._registration = Registration(_status_of(answer) or self._registration)
            self._become_ready()

    def _may_say(self, found: Inbound) -> bool:
        """Before acceptance a station boots, and says what it was asked to (B02, B03); security events count."""
        return found.action in {"BootNotification", "SecurityEventNotification"} or (
            self._registration is Registration.PENDING
            and found.action in {"Heartbeat", "StatusNotification", "NotifyReport", "LogStatusNotification"}
        )

    async def _answered(self, found: Inbound, text: str, at: dt.datetime) -> None:
        event: calls.Answered | calls.Failed | None = None
        if found.kind == "result":
            event = self._calls.on_result(found.message_id, found.payload)
        elif found.kind == "error":
            event = self._calls.on_error(found.message_id, found.code, found.description, found.payload)
        action = event.action if event is not None else ""
        shown = journal.masked(action, found.payload, pseudonym=self._pseudonym)
        if shown is not found.payload:
            if found.kind == "result":
                text = frame.encode_result(found.message_id, shown)
            else:
                text = frame.encode_error(found.message_id, found.code, found.description)
        kind = {"result": 3, "error": 4, "result_error": 5}[found.kind]
        await self._note(at, kind, found.message_id, action, text, "" if event is not None else "nobody asked")
        if event is None:
            return
        if isinstance(event, calls.Answered):
            ask = self._asked.get(event.message_id)
            outcome = None if ask is None else self.adapter.decode_result(ask, event.payload)
            answered = CommandAnswered(event.command_id, outcome=outcome, response=shown, late=event.late)
        else:
            answered = CommandAnswered(
                event.command_id,
                error_code=event.code[:48],
                error_text=event.description,
                response=shown or None,
                late=event.late,
            )
        await self.inbox.submit(self.station, answered, at=at)
        self._asked.pop(event.message_id, None)
        self.wake()

    # --- to the station ------------------------------------------------------------------------------

    def _become_ready(self) -> None:
        # Calls before the answer to the boot put some chargers into a loop, so they wait for it (or a while).
        self._ready = True
        self.wake()

    async def _pump(self) -> None:
        try:
            while self._again and self._calls.pending is None and not self._closing:
                self._again = False
                claimed = await self.inbox.submit(self.station, CommandWanted(str(uuid.uuid4())), at=_now())
                if claimed is None:
                    continue
                self._again = True
                at = _now()
                self._asked[claimed.message_id] = claimed.ask
                text = self._calls.send(claimed.command_id, claimed.message_id, claimed.action, claimed.payload, at)
                shown = journal.masked(claimed.action, claimed.payload, pseudonym=self._pseudonym)
                veiled = (
                    text if shown is claimed.payload else frame.encode_call(claimed.message_id, claimed.action, shown)
                )
                await self._out(text)
                entry = JournalEntry(1, 2, claimed.message_id, claimed.action, veiled[:MAX_JOURNAL_TEXT])
                await self.inbox.note(self.station, entry, at=at)
                asyncio.get_running_loop().call_later(claimed.timeout_s + 0.05, self._expire)
        except Fenced:
            await self._close(CLOSE_FENCED)
        except HandlerFailed:
            log.warning("commands of %s wait: none could be claimed", self.station.identity)
        finally:
            self._pumping = None

    def _expire(self) -> None:
        event = None if self._closing else self._calls.on_timeout(_now())
        if event is not None:
            self._expiring = asyncio.get_running_loop().create_task(self._timed_out(event))

    async def _timed_out(self, event: calls.TimedOut) -> None:
        answered = CommandAnswered(event.command_id, timed_out=True, error_text="No answer in time.")
        try:
            await self.inbox.submit(self.station, answered, at=_now())
        except (Fenced, HandlerFailed):
            return
        if self._calls.silent >= DEAF_AFTER:
            await self._close(CLOSE_DEAF)
        self.wake()

    async def _out(self, text: str) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):  # closed from below meanwhile: what is read next tells so
            log.debug("%s was gone before its answer", self.station.identity)

    async def _answer_now(self, found: Inbound) -> None:
        if found.answer is not None:
            await self._out(found.answer)

    async def _close(self, code: int) -> None:
        self._closing = True
        try:
            await self._send({"type": "websocket.close", "code": code})
        except Exception:
            log.debug("close of %s came too late", self.station.identity)

    async def _leave(self, code: int) -> None:
        lost = self._calls.on_close()
        if lost is not None:
            log.info("%s left with a call in flight: %s", self.station.identity, lost.action)
        try:
            await self.inbox.submit(self.station, Left(code), at=_now())
        except (Fenced, HandlerFailed):
            log.debug("%s is here on a newer socket", self.station.identity)

    async def _note(self, at: dt.datetime, kind: int, message_id: str, action: str, text: str, note: str) -> None:
        if kind in {0, 2}:
            text = journal.masked_text(text)
        await self.inbox.note(
            self.station,
            JournalEntry(0, kind, _storable(message_id)[:255], action[:64], _storable(text), _storable(note)[:200]),
            at=at,
        )

    async def _slow_down(self) -> None:
        """Let a charger that floods wait for its turn; nothing is refused."""
        now = asyncio.get_running_loop().time()
        self._allowance = min(FRAMES_BURST, self._allowance + (now - self._allowed_at) * FRAMES_PER_SECOND)
        self._allowed_at = now
        if self._allowance < 1:
            await asyncio.sleep((1 - self._allowance) / FRAMES_PER_SECOND)
        self._allowance -= 1

    def _pseudonym(self, value: str) -> str:
        return pseudonym(value, tenant=self.station.operator_id)


async def _deny(scope: dict[str, Any], send: Send, refusal: handshake.Refusal) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = handshake.REALM if refusal.status == 401 else [(b"content-length", b"0")]
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close"})


def _status_of(answer: str) -> str | None:
    status = frame.load(answer)[2].get("status")
    return status if isinstance(status, str) else None


def _storable(text: str) -> str:
    return text[:MAX_JOURNAL_TEXT].replace("\x00", "\\u0000").encode("utf-8", "replace").decode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
