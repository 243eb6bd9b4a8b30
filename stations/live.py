"""One socket per open page: display strings for its slots, and the names of fragments that became stale.

No markup travels here. A page names its topic; who may see it is asked once, when the socket opens, by the
topic's own function.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer

from stations.threads import in_thread

log = logging.getLogger("voltyard.live")

TICK_S = 1.0
PACE_S = 0.4  # per open page: a fragment is a request each, so with many pages they are fetched less often
CLOSE_NOT_FOUND = 4004
CLOSE_LOG_IN = 4001

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Page:
    """What one open page listens to.

    ``group`` is its channel group, ``more_groups`` are further ones; ``watches`` the stale names it cares for, each
    with the fragments that show it, apart by blanks (none: its display strings alone); ``slots`` returns the display
    strings, already formatted for this person.
    """

    group: str
    watches: Mapping[str, str]
    slots: Callable[[], Mapping[str, str]] | None = None
    more_groups: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """All channel groups it listens to."""
        return (self.group, *self.more_groups)


# user, what follows the colon of the topic, session data → the page; None: it does not exist for this person
Topic = Callable[[Any, str, Mapping[str, Any]], "Page | None"]


class LiveConsumer(AsyncConsumer):  # type: ignore[misc]
    """Serves one browser socket."""

    topics: Mapping[str, Topic]
    open_pages = 0  # of this process

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        super().__init__()
        self.topics = topics

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Find the page, then tell it once a second at most what changed."""
        await receive()
        page = await in_thread(self._page, scope)
        await send({"type": "websocket.accept"})
        if page is None:
            code = CLOSE_NOT_FOUND if scope["user"].is_authenticated else CLOSE_LOG_IN
            await send({"type": "websocket.close", "code": code})
            return
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        for group in page.groups:
            await layer.group_add(group, channel)
        stale: set[str] = set(page.watches)
        listener = asyncio.create_task(self._listen(layer, channel, page, stale))
        teller = asyncio.create_task(self._tell(page, stale, send))
        LiveConsumer.open_pages += 1
        try:
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            LiveConsumer.open_pages -= 1
            for task in (listener, teller):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
            for group in page.groups:
                await layer.group_discard(group, channel)

    def _page(self, scope: dict[str, Any]) -> Page | None:
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("topic", [""])[0]
        kind, _, key = asked.partition(":")
        topic = self.topics.get(kind)
        user = scope["user"]
        if topic is None or not user.is_authenticated:
            return None
        return topic(user, key, dict(scope["session"].items()))

    async def _listen(self, layer: Any, channel: str, page: Page, stale: set[str]) -> None:
        while True:
            message = await layer.receive(channel)
            stale.update(name for name in message.get("names", ()) if name in page.watches)

    async def _tell(self, page: Page, stale: set[str], send: Send) -> None:
        shown: dict[str, str] = {}
        names: set[str] = set()
        clock = asyncio.get_running_loop().time
        announced = clock()
        first = True
        while True:
            if stale or first:
                names.update(fragment for name in stale for fragment in page.watches[name].split())
                stale.clear()
                slots: Mapping[str, str] = {}
                if page.slots is not None:
                    try:
                        slots = await in_thread(page.slots)
                    except Exception:  # the database is away for a moment: the page stays, the next hint helps
                        log.exception("display strings of %s", page.group)
                    changed = {key: text for key, text in slots.items() if shown.get(key) != text}
                    shown.update(changed)
                    if changed:
                        await _send(send, {"t": "text", "slots": changed})
                if first:
                    names.clear()  # the page has just been made
                    first = False
            if names and clock() - announced >= PACE_S * LiveConsumer.open_pages:
                await _send(send, {"t": "stale", "names": sorted(names)})
                names.clear()
                announced = clock()
            await asyncio.sleep(TICK_S)


async def _send(send: Send, message: Mapping[str, Any]) -> None:
    await send({"type": "websocket.send", "text": orjson.dumps(message).decode()})
