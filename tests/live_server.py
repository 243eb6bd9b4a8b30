"""A real server for tests: uvicorn with our link protocol, the whole application and the test database.

    @pytest.mark.django_db(transaction=True)
    async def test_x(server, tenant):
        async with FakeStation(server.ocpp, "CP-1", PASSWORD) as station:
            await station.boot()
            answer = await server.api(key).post("/api/v1/…", {...})

The test and the server share the database, not the loop: rows are made and read with ``await db(function)``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import requests
import uvicorn
from channels.layers import channel_layers
from django.db import connection
from django.test import Client
from requests.adapters import HTTPAdapter

from accounts.models import Membership, User
from config.asgi import Application
from stations.ocpp.link import Link

T = TypeVar("T")


async def db(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run ``function`` in a thread that may use the database."""

    def run() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(run)


async def eventually(check: Callable[[], T], *, within: float = 5.0) -> T:
    """Return what ``check`` returns as soon as it is true; it may use the database."""
    deadline = time.monotonic() + within
    while not (found := await db(check)):
        assert time.monotonic() < deadline, f"not within {within} s: {check}"
        await asyncio.sleep(0.05)
    return found


@dataclasses.dataclass
class Caller:
    """Somebody who speaks HTTP to the server: a program with a key, or a browser with a log-in."""

    url: str
    session: requests.Session

    async def get(self, path: str, **options: Any) -> requests.Response:
        return await self._call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Send JSON as a program, a form as a browser."""
        if "Authorization" in self.session.headers:
            return await self._call("POST", path, json=body, **options)
        headers = {"X-CSRFToken": self.session.cookies["csrf"]} | options.pop("headers", {})
        return await self._call("POST", path, data=body, headers=headers, allow_redirects=False, **options)

    async def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        return await asyncio.to_thread(self.session.request, method, self.url + path, timeout=70, **options)


@dataclasses.dataclass
class LiveServer:
    """Where the server is. ``application`` is what it runs."""

    host: str
    application: Application

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def ocpp(self) -> str:
        """What chargers dial, without the identity."""
        return f"ws://{self.host}/ocpp/"

    @property
    def live(self) -> str:
        """What live pages dial."""
        return f"ws://{self.host}/live/"

    def api(self, secret: str) -> Caller:
        """Return a program with this key."""
        session = requests.Session()
        session.mount("http://", HTTPAdapter(pool_maxsize=64))
        session.headers["Authorization"] = f"Bearer {secret}"
        return Caller(self.url, session)

    async def browser(self, person: User | Membership) -> Caller:
        """Return a browser in which ``person`` is logged in."""
        client = Client()
        await db(client.force_login, person if isinstance(person, User) else person.user)
        session = requests.Session()
        # With the domain, so that a cookie the server sets later takes the place of this one.
        session.cookies.set("session", client.cookies["session"].value, domain="127.0.0.1")
        session.cookies.set("csrf", "c" * 32, domain="127.0.0.1")
        return Caller(self.url, session)


@pytest.fixture
def server(transactional_db: None) -> Iterator[LiveServer]:
    """Serve everything on a free port until the test ends."""
    channel_layers.backends = {}  # the in-process layer belongs to one loop
    application = Application()
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        ws=Link,
        ws_ping_interval=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, name="server", daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not runner.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    port = runner.servers[0].sockets[0].getsockname()[1]
    try:
        yield LiveServer(f"127.0.0.1:{port}", application)
    finally:
        runner.should_exit = True
        thread.join(timeout=20)
        channel_layers.backends = {}
