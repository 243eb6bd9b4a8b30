"""One charger's or browser's WebSocket below ASGI: what uvicorn has no word for.

Handed to uvicorn as ``ws=``. Adds a keepalive of our own (any frame is a sign of life: some chargers never
answer pings), the time of the last sign, and compression per connection; the consumer reaches it through
``scope["extensions"]["voltyard.link"]``.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode


class Link(WebSocketsSansIOProtocol):
    """The protocol of one connection."""

    heard_at: float = 0.0
    _ping_s: float = 0.0
    _silent_s: float = 0.0
    _timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer: it lives."""
        self.heard_at = self.loop.time()
        super().data_received(data)

    def handle_connect(self, event: Any) -> None:
        """Offer this object to the application."""
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"]["voltyard.link"] = self

    def send_receive_event_to_app(self) -> None:
        """Hand on a whole message. Text that is no UTF-8 closes (RFC 6455 §8.1); no matter for the log."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def without_compression(self) -> None:
        """Take the negotiated compression back; only before the connection is accepted."""
        self.conn.extensions = []
        if "Sec-WebSocket-Extensions" in self.response.headers:
            del self.response.headers["Sec-WebSocket-Extensions"]

    def keep_alive(self, *, ping_s: float, silent_s: float) -> None:
        """Ping every ``ping_s`` seconds; close where nothing at all was heard for ``silent_s`` seconds."""
        self._ping_s, self._silent_s = ping_s, silent_s
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(ping_s, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _tick(self) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        if self.read_paused:
            # We are the ones who do not read: the peer's silence tells nothing.
            self.heard_at = self.loop.time()
        if self.loop.time() - self.heard_at > self._silent_s:
            self.transport.abort()
            return
        self.conn.send_ping(struct.pack("!d", self.loop.time()))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._timer = self.loop.call_later(self._ping_s, self._tick)
