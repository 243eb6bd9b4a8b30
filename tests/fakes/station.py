"""A charger for journey tests: says exactly what the test tells it to, in any of the three versions.

    async with FakeStation(url, "CP-1", "secret", "1.6") as station:
        await station.boot()
        tx = await station.start(connector=1, token="TAG", meter=1000)
        await station.meter(tx, 2500, power=11000)
        await station.stop(tx, 5000)

Calls of the CSMS wait for ``expect_call`` and ``reply``, except those in ``answers``, which are answered at once.
It misbehaves on request: ``silent`` (never answers), ``answer_delay`` (late), ``twice`` (every message again),
``at=`` (any clock), ``send_raw`` (any frame), ``drop`` (cut without a word).
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Container
from typing import Any, Literal

from stations.simulator.clock import timestamp
from stations.simulator.wire import CallFailed, Link, Payload, Reply, dial

TOKEN_TYPES = {"rfid": "ISO14443", "app": "Central", "pin": "KeyCode"}

Answer = Payload | Callable[[Payload], Payload]

# What a CSMS may ask of its own accord after the boot; a test that cares takes the entry out.
ANSWERS: dict[str, Answer] = {
    "GetConfiguration": lambda payload: {"configurationKey": [], "unknownKey": payload.get("key", [])},
    "ChangeConfiguration": {"status": "Accepted"},
    "TriggerMessage": {"status": "Accepted"},
    "GetBaseReport": {"status": "NotSupported"},
    "GetVariables": lambda payload: {
        "getVariableResult": [
            {key: row[key] for key in ("component", "variable")} | {"attributeStatus": "UnknownVariable"}
            for row in payload["getVariableData"]
        ]
    },
    "SetVariables": lambda payload: {
        "setVariableResult": [
            {key: row[key] for key in ("component", "variable")} | {"attributeStatus": "Accepted"}
            for row in payload["setVariableData"]
        ]
    },
}


@dataclasses.dataclass
class Transaction:
    """A transaction as the station sees it; ``ref`` is the 1.6 transactionId or the 2.x one."""

    ref: int | str
    connector: int
    token: str | None
    status: str
    answer: Payload
    sequence: int = 0


@dataclasses.dataclass(eq=False)
class Incoming:
    """A call of the CSMS."""

    action: str
    payload: Payload
    answered: asyncio.Future[Payload | CallFailed]


class FakeStation:
    """One charger; energy in Wh, power in W, current in A, voltage in V."""

    def __init__(
        self,
        url: str,
        identity: str,
        password: str | bytes | None = None,
        version: Literal["1.6", "2.0.1", "2.1"] = "1.6",
        *,
        timeout: float = 10.0,
    ) -> None:
        self.url = url
        self.identity = identity
        self.password = password
        self.version = version
        self.timeout = timeout
        self.answers: dict[str, Answer] = dict(ANSWERS)
        self.silent: Container[str] | bool = False
        self.answer_delay = 0.0
        self.twice: Literal["same_id", "new_id"] | None = None
        self.repeated: list[Payload] = []
        """The answers to the second copies."""
        self.received: list[Incoming] = []
        self._unread: list[Incoming] = []
        self._arrived = asyncio.Condition()
        self._listener: asyncio.Task[None] | None = None
        self.link: Link | None = None

    async def __aenter__(self) -> FakeStation:
        await self.connect()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # Connection.

    async def connect(self) -> None:
        """Dial. Raises what ``websockets`` raises where the CSMS refuses."""
        socket = await dial(self.url, self.identity, self.password, self.version)
        self.link = Link(socket, self.identity, self._take, timeout=self.timeout)
        self._listener = asyncio.create_task(self.link.listen())

    async def close(self) -> None:
        """Leave with the closing handshake."""
        await self._leave(cut=False)

    async def drop(self) -> None:
        """Cut the connection without a word."""
        await self._leave(cut=True)

    async def _leave(self, *, cut: bool) -> None:
        if self.link is None or self._listener is None:
            return
        if cut:
            self.link.drop()
        else:
            await self.link.close()
        await self._listener
        self.link = self._listener = None

    # Raw doors.

    async def call(self, action: str, payload: Payload, *, message_id: str | None = None) -> Payload:
        """Send a CALL, return the result. Raises CallRefused, CallTimedOut, LinkClosed of the simulator's wire."""
        link = self._connected()
        result = await link.call(action, payload, message_id=message_id)
        if self.twice is not None:
            again = link.last_id if self.twice == "same_id" else None
            self.repeated.append(await link.call(action, payload, message_id=again))
        return result

    async def send_raw(self, text: str) -> None:
        """Send a text frame as it is."""
        await self._connected().send_text(text)

    async def expect_call(self, action: str, *, within: float | None = None) -> Incoming:
        """Wait for the next unread call of this action."""

        def first() -> Incoming | None:
            return next((incoming for incoming in self._unread if incoming.action == action), None)

        async with self._arrived:
            try:
                async with asyncio.timeout(within or self.timeout):
                    await self._arrived.wait_for(lambda: first() is not None)
            except TimeoutError:
                seen = [incoming.action for incoming in self.received]
                raise AssertionError(f"no {action} came; received: {seen}") from None
            incoming = first()
            assert incoming is not None
            self._unread.remove(incoming)
            return incoming

    def reply(self, incoming: Incoming, payload: Payload) -> None:
        """Answer a call with a result."""
        incoming.answered.set_result(payload)

    def refuse(self, incoming: Incoming, code: str, description: str = "") -> None:
        """Answer a call with a CALLERROR."""
        incoming.answered.set_result(CallFailed(code, description))

    async def _take(self, action: str, payload: Payload, reply: Reply) -> None:
        incoming = Incoming(action, payload, asyncio.get_running_loop().create_future())
        async with self._arrived:
            self.received.append(incoming)
            self._unread.append(incoming)
            self._arrived.notify_all()
        if self.silent is True or (not isinstance(self.silent, bool) and action in self.silent):
            return
        if action in self.answers:
            answer = self.answers[action]
            incoming.answered.set_result(answer(payload) if callable(answer) else answer)
        outcome = await incoming.answered
        await asyncio.sleep(self.answer_delay)
        if isinstance(outcome, CallFailed):
            raise outcome
        await reply(outcome)

    def _connected(self) -> Link:
        assert self.link is not None, "the station is not connected"
        return self.link

    # A station's life.

    async def boot(self, *, vendor: str = "Fake", model: str = "Charger", firmware: str = "1.0") -> Payload:
        """BootNotification; return the answer."""
        if self.version == "1.6":
            station = {"chargePointVendor": vendor, "chargePointModel": model, "firmwareVersion": firmware}
            return await self.call("BootNotification", station)
        station = {"vendorName": vendor, "model": model, "firmwareVersion": firmware}
        return await self.call("BootNotification", {"reason": "PowerUp", "chargingStation": station})

    async def heartbeat(self) -> Payload:
        """Heartbeat; return the answer."""
        return await self.call("Heartbeat", {})

    async def status(
        self, connector: int, status: str = "Available", *, error: str = "NoError", at: dt.datetime | None = None
    ) -> Payload:
        """StatusNotification; ``status`` is the version's own word, ``error`` counts in 1.6 only."""
        if self.version == "1.6":
            payload = {"connectorId": connector, "errorCode": error, "status": status, "timestamp": _at(at)}
        else:
            payload = {"evseId": connector, "connectorId": 1, "connectorStatus": status, "timestamp": _at(at)}
        return await self.call("StatusNotification", payload)

    async def authorize(self, token: str, *, type: str = "rfid") -> Payload:
        """Authorize; return idTagInfo or idTokenInfo."""
        if self.version == "1.6":
            return (await self.call("Authorize", {"idTag": token}))["idTagInfo"]
        return (await self.call("Authorize", {"idToken": _id_token(token, type)}))["idTokenInfo"]

    async def start(
        self,
        connector: int = 1,
        *,
        token: str | None,
        meter: int,
        at: dt.datetime | None = None,
        type: str = "rfid",
        reservation: int | None = None,
        remote_start_id: int | None = None,
        offline: bool = False,
        ref: str | None = None,
    ) -> Transaction:
        """StartTransaction or TransactionEvent Started; an answer without token information counts as Accepted."""
        if self.version == "1.6":
            payload: Payload = {"connectorId": connector, "idTag": token, "meterStart": meter, "timestamp": _at(at)}
            if reservation is not None:
                payload["reservationId"] = reservation
            answer = await self.call("StartTransaction", payload)
            return Transaction(answer["transactionId"], connector, token, answer["idTagInfo"]["status"], answer)
        tx = Transaction(ref or str(uuid.uuid4()), connector, token, "Accepted", {})
        extra: Payload = {"evse": {"id": connector, "connectorId": 1}}
        if token is not None:
            extra["idToken"] = _id_token(token, type)
        if reservation is not None:
            extra["reservationId"] = reservation
        info: Payload = {"chargingState": "Charging"}
        trigger = "Authorized"
        if remote_start_id is not None:
            info["remoteStartId"], trigger = remote_start_id, "RemoteStart"
        values = [_sampled("Energy.Active.Import.Register", meter, "Wh", "Transaction.Begin", text=False)]
        tx.answer = await self._event(tx, "Started", trigger, values, info=info, extra=extra, at=at, offline=offline)
        tx.status = tx.answer.get("idTokenInfo", {}).get("status", "Accepted")
        return tx

    async def meter(
        self,
        tx: Transaction,
        energy: float,
        *,
        power: float | None = None,
        current: float | None = None,
        voltage: float | None = None,
        soc: float | None = None,
        at: dt.datetime | None = None,
        context: str = "Sample.Periodic",
        offline: bool = False,
    ) -> Payload:
        """MeterValues or TransactionEvent Updated; return the answer."""
        text = self.version == "1.6"
        quantities = (
            ("Energy.Active.Import.Register", energy, "Wh"),
            ("Power.Active.Import", power, "W"),
            ("Current.Import", current, "A"),
            ("Voltage", voltage, "V"),
            ("SoC", soc, "Percent"),
        )
        values = [
            _sampled(measurand, number, unit, context, text=text)
            for measurand, number, unit in quantities
            if number is not None
        ]
        if self.version == "1.6":
            rows = [{"timestamp": _at(at), "sampledValue": values}]
            payload = {"connectorId": tx.connector, "transactionId": tx.ref, "meterValue": rows}
            return await self.call("MeterValues", payload)
        info: Payload = {"chargingState": "Charging"}
        return await self._event(tx, "Updated", "MeterValuePeriodic", values, info=info, at=at, offline=offline)

    async def stop(
        self,
        tx: Transaction,
        meter: int,
        *,
        at: dt.datetime | None = None,
        reason: str = "Local",
        token: str | None = None,
        offline: bool = False,
    ) -> Payload:
        """StopTransaction or TransactionEvent Ended; return the answer. Without token the one of the start stops."""
        token = token or tx.token
        if self.version == "1.6":
            payload: Payload = {"transactionId": tx.ref, "meterStop": meter, "timestamp": _at(at), "reason": reason}
            if token is not None and reason == "Local":
                payload["idTag"] = token
            return await self.call("StopTransaction", payload)
        trigger = {"Local": "StopAuthorized", "Remote": "RemoteStop", "DeAuthorized": "Deauthorized"}
        values = [_sampled("Energy.Active.Import.Register", meter, "Wh", "Transaction.End", text=False)]
        info: Payload = {"stoppedReason": reason, "chargingState": "Idle"}
        extra = {"idToken": _id_token(token, "rfid")} if token is not None and reason == "Local" else {}
        return await self._event(
            tx, "Ended", trigger.get(reason, "EVDeparted"), values, info=info, extra=extra, at=at, offline=offline
        )

    async def _event(
        self,
        tx: Transaction,
        kind: str,
        trigger: str,
        values: list[Payload],
        *,
        info: Payload,
        extra: Payload | None = None,
        at: dt.datetime | None,
        offline: bool,
    ) -> Payload:
        payload: dict[str, Any] = {
            "eventType": kind,
            "timestamp": _at(at),
            "triggerReason": trigger,
            "seqNo": tx.sequence,
            "transactionInfo": {"transactionId": tx.ref, **info},
            "meterValue": [{"timestamp": _at(at), "sampledValue": values}],
            **(extra or {}),
        }
        if offline:
            payload["offline"] = True
        tx.sequence += 1
        return await self.call("TransactionEvent", payload)


def _at(at: dt.datetime | None) -> str:
    return timestamp(at or dt.datetime.now(dt.UTC))


def _id_token(token: str, type: str) -> Payload:
    return {"idToken": token, "type": TOKEN_TYPES.get(type, type)}


def _sampled(measurand: str, number: float, unit: str, context: str, *, text: bool) -> Payload:
    row: Payload = {"measurand": measurand, "context": context}
    if text:
        return row | {"value": str(number), "unit": unit}
    return row | {"value": number, "unitOfMeasure": {"unit": unit}}
