"""``POST …/commands/?wait=SECONDS``: the answer is held until the command has ended.

This stands around Django, not in a view of it: some of the middleware is synchronous, so Django keeps a
thread (and with it a database connection) for as long as even an async view takes. Here the request is
over before the waiting begins; one look at the table serves all who wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from stations.models import Command
from stations.threads import in_thread

log = logging.getLogger("voltyard.waiting")

LOOK_EVERY_S = 0.2
MAX_WAIT_S = 60.0

Scope = dict[str, Any]
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Waiting:
    """The ASGI application ``app`` with held answers."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._awaited: dict[UUID, list[asyncio.Event]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        seconds = _seconds(scope)
        if not seconds:
            await self._app(scope, receive, send)
            return
        first = _Held()
        await self._app(scope, receive, first)
        asked = first.command
        if asked is None:
            await first.release(send)
            return
        ended = await self._until_ended(asked, seconds, receive)
        again = _Held()
        await self._app(_reading(scope, asked), _nothing_sent(), again)
        if again.status == 200:
            await again.release(send, status=200 if ended else 202, headers=first.headers)
        else:
            await first.release(send)

    async def _until_ended(self, command: UUID, seconds: float, receive: Receive) -> bool:
        """Return whether the command has an end; false when the time is over or the caller has gone."""
        event = asyncio.Event()
        self._awaited.setdefault(command, []).append(event)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        ended = asyncio.create_task(event.wait())
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({ended, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            gone.cancel()
            others = [one for one in self._awaited.pop(command, []) if one is not event]
            if others:
                self._awaited[command] = others
        return event.is_set()

    async def _look(self) -> None:
        while self._awaited:
            try:
                for command in await in_thread(_ended, list(self._awaited)):
                    for event in self._awaited.get(command, ()):
                        event.set()
            except Exception:
                log.exception("commands could not be looked at")
            await asyncio.sleep(LOOK_EVERY_S)
        self._looking = None


class _Held:
    """Takes a response and keeps it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._body = b""

    async def __call__(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.status, self.headers = event["status"], list(event.get("headers", []))
        elif event["type"] == "http.response.body":
            self._body += event.get("body", b"")

    @property
    def command(self) -> UUID | None:
        """The id of the command that was asked for, None where there is none."""
        try:
            return UUID(json.loads(self._body)["id"]) if self.status == 202 else None
        except (ValueError, KeyError, TypeError):
            return None

    async def release(
        self, send: Send, *, status: int | None = None, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send it, under another status or other headers where they are given."""
        kept = [(n, v) for n, v in (headers or self.headers) if n.lower() != b"content-length"]
        kept.append((b"content-length", str(len(self._body)).encode()))
        await send({"type": "http.response.start", "status": status or self.status, "headers": kept})
        await send({"type": "http.response.body", "body": self._body})


def _seconds(scope: Scope) -> float:
    """Return how long the answer to this request is held; what is no such request, or wrong, is not held."""
    path: str = scope.get("path", "")
    if scope["type"] != "http" or scope["method"] != "POST":
        return 0
    if not (path.startswith("/api/v1/stations/") and path.endswith("/commands/")):
        return 0
    try:
        seconds = float(parse_qs(scope["query_string"].decode("latin-1"))["wait"][0])
    except (KeyError, ValueError):
        return 0
    return seconds if 0 < seconds <= MAX_WAIT_S else 0


def _reading(scope: Scope, command: UUID) -> Scope:
    """Return the request for the command itself, by the same caller."""
    path = f"/api/v1/commands/{command}/"
    about_body = {b"content-length", b"content-type", b"transfer-encoding", b"idempotency-key", b"expect"}
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in about_body]
    return {
        **scope,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "extensions": {},
    }


def _nothing_sent() -> Receive:
    """Return the ``receive`` of a request without a body whose caller stays."""
    events = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Event:
        for event in events:
            return event
        await asyncio.Event().wait()
        raise AssertionError("never set")

    return receive


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _ended(commands: list[UUID]) -> list[UUID]:
    return list(Command.objects.filter(uuid__in=commands, status__in=Command.FINAL).values_list("uuid", flat=True))
