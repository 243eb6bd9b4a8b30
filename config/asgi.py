"""ASGI: pages and API, chargers under /ocpp/, live pages under /live/."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

from config.celery import publish  # noqa: E402
from config.health import PATHS, Health, Process  # noqa: E402
from config.wiring import HANDLERS, LIVE_TOPICS  # noqa: E402
from stations.hints import hints  # noqa: E402
from stations.live import LiveConsumer  # noqa: E402
from stations.ocpp.gateway import Gateway  # noqa: E402
from stations.waiting import App, Waiting  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """One process: everything, chargers only (``gateway``) or pages only (``web``).

    ``jobs`` are the queues whose workers run beside it in this process.
    """

    def __init__(self, role: str = "all", *, jobs: tuple[str, ...] = ()) -> None:
        self.role = role
        self.http = Waiting(cast(App, get_asgi_application()))
        self.gateway = None if role == "web" else Gateway(HANDLERS, publish)
        self.health = Health(Process(role, self.gateway, jobs))
        # Browsers send cookies along from anywhere, so their sockets are bound to our own pages' origin.
        self.live = AllowedHostsOriginValidator(AuthMiddlewareStack(LiveConsumer.as_asgi(topics=LIVE_TOPICS)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "http":
            if scope["path"] in PATHS:
                await self.health(scope, receive, send)
            elif self.role == "gateway":
                await _not_here(send)
            else:
                await self.http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.lstrip("/").startswith("ocpp/") and self.gateway is not None:
            if not self.gateway.is_running:  # a server without lifespan (runserver)
                await self._start()
            await self.gateway.application(scope, receive, send)
        elif path == "/live/" and self.role != "gateway":
            await self.live(scope, receive, send)
        else:
            await receive()
            await _deny(scope, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
                await send({"type": "lifespan.startup.complete"})
            else:
                if self.gateway is not None:
                    await self.gateway.stop()
                hints.bind(None)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        hints.bind(asyncio.get_running_loop())
        if self.gateway is not None:
            await self.gateway.start()


async def _not_here(send: Send) -> None:
    headers: Sequence[tuple[bytes, bytes]] = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _deny(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close"})


application = Application(os.environ.get("VOLTYARD_ROLE", "all"))
