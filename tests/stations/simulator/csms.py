"""A tiny CSMS for the tests of the simulator: checks every frame against the published schemas, answers, remembers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import functools
import importlib.resources
import itertools
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

PACKAGES = {"ocpp1.6": "ocpp.v16.schemas", "ocpp2.0.1": "ocpp.v201.schemas", "ocpp2.1": "ocpp.v21.schemas"}

SILENT = object()
"""As an answer: none at all."""


class Refusal(Exception):
    """As an answer: a CALLERROR."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Call:
    identity: str
    id: str
    action: str
    payload: dict[str, Any]
    at: float


def start_register(call: Call) -> float:
    """Return the register of a start, whatever the version."""
    return call.payload["meterStart"] if "meterStart" in call.payload else _only_register(call)


def end_register(call: Call) -> float:
    """Return the register of an end, whatever the version."""
    return call.payload["meterStop"] if "meterStop" in call.payload else _only_register(call)


def end_reason(call: Call) -> str:
    """Return why a session ended, whatever the version."""
    return call.payload.get("reason") or call.payload["transactionInfo"]["stoppedReason"]


def _only_register(call: Call) -> float:
    ((sampled,),) = [row["sampledValue"] for row in call.payload["meterValue"]]
    assert sampled["measurand"] == "Energy.Active.Import.Register"
    return sampled["value"]


@functools.cache
def validator(package: str, name: str) -> jsonschema_rs.Validator:
    text = importlib.resources.files(package).joinpath(f"{name}.json").read_text(encoding="utf-8-sig")
    return jsonschema_rs.validator_for(json.loads(text))


def problems(subprotocol: str, action: str, payload: Any, *, answer: bool) -> list[str]:
    suffix = "Response" if answer else ("" if subprotocol == "ocpp1.6" else "Request")
    found = validator(PACKAGES[subprotocol], action + suffix).iter_errors(payload)
    return [f"{action}{suffix}: {error.message}" for error in found]


class Csms:
    """``async with Csms() as csms``: dial ``csms.url``."""

    def __init__(self, *, passwords: dict[str, str] | None = None) -> None:
        self.passwords = passwords
        self.calls: list[Call] = []
        self.invalid: list[str] = []
        self.unreadable: list[str] = []
        self.refused: list[str] = []
        self.connects: list[str] = []
        self.answers: dict[str, Any] = {}
        self.sockets: dict[str, ServerConnection] = {}
        self.url = ""
        self._server: Server | None = None
        self._changed = asyncio.Condition()
        self._ids = itertools.count(1)
        self._transactions = itertools.count(101)
        self._waiting: dict[str, tuple[str, asyncio.Future[Any]]] = {}

    async def __aenter__(self) -> Csms:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.shut()

    async def open(self, port: int = 0) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            subprotocols=[Subprotocol(name) for name in PACKAGES],
            process_request=self._admit,
            close_timeout=0.2,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/ocpp/"

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        identity = unquote(request.path.rsplit("/", 1)[-1])
        if self.passwords is None:
            return None
        expected = f"{identity}:{self.passwords[identity]}".encode()
        if request.headers.get("Authorization") == "Basic " + base64.b64encode(expected).decode():
            return None
        self.refused.append(identity)
        return Response(401, "Unauthorized", Headers({"Content-Length": "0"}), b"")

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = unquote(socket.request.path.rsplit("/", 1)[-1])
        self.connects.append(identity)
        self.sockets[identity] = socket
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                await self._take(identity, socket, str(text))
                async with self._changed:
                    self._changed.notify_all()

    async def _take(self, identity: str, socket: ServerConnection, text: str) -> None:
        try:
            frame = json.loads(text)
            kind, message_id = frame[0], frame[1]
            assert kind in (2, 3, 4)
            assert kind != 2 or (len(frame) == 4 and frame[2] != "NoSuchAction")
        except (ValueError, LookupError, KeyError, TypeError, AssertionError):
            self.unreadable.append(text)
            return
        subprotocol = str(socket.subprotocol)
        if kind != 2:
            action, future = self._waiting.pop(message_id)
            if kind == 3:
                self.invalid += problems(subprotocol, action, frame[2], answer=True)
                future.set_result(frame[2])
            else:
                future.set_exception(Refusal(frame[2]))
            return
        action, payload = frame[2], frame[3]
        assert isinstance(message_id, str)
        assert 1 <= len(message_id) <= 36
        self.invalid += problems(subprotocol, action, payload, answer=False)
        self.calls.append(Call(identity, message_id, action, payload, time.monotonic()))
        answer = self.answers.get(action, getattr(self, f"_{action}", {}))
        try:
            answer = answer(payload) if isinstance(answer, Callable) else answer
        except Refusal as refusal:
            await socket.send(json.dumps([4, message_id, refusal.code, "", {}]))
            return
        if answer is not SILENT:
            self.invalid += problems(subprotocol, action, answer, answer=True)
            await socket.send(json.dumps([3, message_id, answer]))

    def _BootNotification(self, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"status": "Accepted", "interval": 300, "currentTime": dt.datetime.now(dt.UTC).isoformat()}

    def _Heartbeat(self, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"currentTime": dt.datetime.now(dt.UTC).isoformat()}

    def _Authorize(self, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if "idTag" in payload:
            return {"idTagInfo": {"status": "Accepted" if payload["idTag"].startswith("TAG") else "Invalid"}}
        known = payload["idToken"]["idToken"].startswith("TAG")
        return {"idTokenInfo": {"status": "Accepted" if known else "Unknown"}}

    def _StartTransaction(self, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"transactionId": next(self._transactions), "idTagInfo": {"status": "Accepted"}}

    def _TransactionEvent(self, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"idTokenInfo": {"status": "Accepted"}} if "idToken" in payload else {}

    async def call(self, identity: str, action: str, payload: dict[str, Any]) -> Any:
        """Call a station; return its result or raise Refusal."""
        socket = self.sockets[identity]
        if not action.startswith("NoSuch"):
            found = problems(str(socket.subprotocol), action, payload, answer=False)
            assert not found, found
        message_id = f"csms-{next(self._ids)}"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = (action, future)
        await socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(5):
            return await future

    def of(self, action: str, **members: Any) -> list[Call]:
        """Return the calls of an action whose payload has these members."""
        wanted = members.items()
        return [c for c in self.calls if c.action == action and all(c.payload.get(k) == v for k, v in wanted)]

    async def wait(self, action: str, *, count: int = 1, within: float = 10.0, **members: Any) -> Call:
        """Wait for the n-th such call."""
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: len(self.of(action, **members)) >= count)
        except TimeoutError:
            raise AssertionError(f"no {action} {members}; {[c.action for c in self.calls]}") from None
        return self.of(action, **members)[count - 1]

    # What happened, whatever the version.

    def starts(self) -> list[Call]:
        return self.of("StartTransaction") + self.of("TransactionEvent", eventType="Started")

    def ends(self) -> list[Call]:
        return self.of("StopTransaction") + self.of("TransactionEvent", eventType="Ended")

    def samples(self, measurand: str, context: str = "Sample.Periodic") -> list[float]:
        """Return the values of a measurand in order of arrival."""
        return [
            float(sampled["value"])
            for call in self.calls
            for row in call.payload.get("meterValue", [])
            for sampled in row["sampledValue"]
            if sampled["measurand"] == measurand and sampled["context"] == context
        ]

    def registers(self) -> list[float]:
        return self.samples("Energy.Active.Import.Register")

    def statuses(self, connector: int = 1) -> list[str]:
        """Return the words of a connector's StatusNotifications, each change once."""
        words = [
            call.payload.get("status") or call.payload["connectorStatus"]
            for call in self.of("StatusNotification")
            if connector in (call.payload.get("evseId"), call.payload["connectorId"] if "status" in call.payload else 0)
        ]
        return [word for word, _ in itertools.groupby(words)]

    async def ready(self) -> None:
        """Wait until the (only) station has booted and told the state of its first connector."""
        await self.wait_until(lambda: bool(self.statuses()))

    async def wait_until(self, condition: Callable[[], bool], *, within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - any condition, none of which sets an event
                await asyncio.sleep(0.01)
