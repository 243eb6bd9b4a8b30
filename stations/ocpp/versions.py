"""Subprotocol → adapter, and the whole way of a text from a station: read, check, translate (pure).

The only place that knows which versions there are.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal

from stations.messages import Ask, Message, NotExpressible, Outcome, RawCall, Reply
from stations.ocpp import frame, quirks, schemas, v16, v21, v201
from stations.ocpp.frame import Call, CallError, CallResult, CallResultError, Fault, FrameError, Send, Violation

logger = logging.getLogger(__name__)

MAX_ACTION: Final = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
    """One version of the protocol. ``version`` is its short name ("1.6", "2.0.1", "2.1")."""

    version: str
    unknown_id: str | None
    sends: frozenset[str]
    from_station: frozenset[str]
    _codes: Mapping[Fault, str]
    _decoders: Mapping[str, Callable[[Mapping[str, Any]], Message]]
    _encode_reply: Callable[[str, Message, Reply], dict[str, Any]]
    _encode_ask: Callable[[Ask], tuple[str, dict[str, Any]]]
    _decode_result: Callable[..., Outcome]

    def known(self, action: str) -> bool:
        """Say whether the version has such an action, in whatever direction."""
        return action in schemas.actions(self.version)

    def supported(self, action: str) -> bool:
        """Say whether we can take such a call from a station."""
        return action in self._decoders

    def spelled(self, action: str) -> str:
        """Return the action as the version spells it: some stations get the case wrong ("HeartBeat")."""
        return action if self.known(action) else self._without_case.get(action.casefold(), action)

    @functools.cached_property
    def _without_case(self) -> dict[str, str]:
        return {action.casefold(): action for action in schemas.actions(self.version)}

    def error_code(self, fault: Fault) -> str:
        """Return the version's word for a fault."""
        return self._codes[fault]

    def decode(self, action: str, payload: Mapping[str, Any]) -> Message:
        """Translate a request that `schemas.accept` has let pass.

        Raises:
            Violation: a number no plug, transaction or sequence can have.

        """
        return self._decoders[action](payload)

    def encode_reply(self, action: str, message: Message, reply: Reply) -> dict[str, Any]:
        """Return the payload that answers a message.

        Raises:
            ValueError: the reply does not answer such a message.

        """
        payload = self._encode_reply(action, message, reply)
        try:
            schemas.check(self.version, action, "response", payload)
        except Violation as violation:
            raise ValueError(f"{type(reply).__name__} does not answer {action}: {violation.description}") from None
        return payload

    def encode_ask(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """Return action and payload of a call, in plain JSON types, checked against its schema.

        Raises:
            NotExpressible: this version cannot say it; the text tells the operator why.

        """
        action, payload = self._encode_ask(ask)
        if isinstance(ask, RawCall) and (not self.known(action) or action in self.from_station):
            raise NotExpressible(f"OCPP {self.version} has no call {action} to a station")
        try:
            text = frame.dump(payload)
            schemas.check(self.version, action, "request", frame.load(text))
        except Violation as violation:
            raise NotExpressible(f"Not valid in OCPP {self.version}: {violation.description}") from None
        except TypeError:
            raise NotExpressible("The payload is not JSON") from None
        return action, frame.plain(frame.load(text))

    def decode_result(self, ask: Ask, payload: Mapping[str, Any]) -> Outcome:
        """Return what the CALLRESULT to an ask means; it is read leniently, being already given."""
        action = self._encode_ask(ask)[0]
        status_due = schemas.requires(self.version, action, "response", "status")
        return self._decode_result(action, payload, status_due=status_due)


ADAPTERS: Final[Mapping[str, Adapter]] = {
    "ocpp1.6": Adapter(
        v16.VERSION,
        v16.UNKNOWN_ID,
        v16.SENDS,
        v16.FROM_STATION,
        v16.ERROR_CODES,
        v16.DECODERS,
        v16.encode_reply,
        v16.encode_ask,
        v16.decode_result,
    ),
    "ocpp2.0.1": Adapter(
        v201.VERSION,
        v201.UNKNOWN_ID,
        v201.SENDS,
        v201.FROM_STATION,
        v201.ERROR_CODES,
        v201.DECODERS,
        v201.encode_reply,
        v201.encode_ask,
        v201.decode_result,
    ),
    "ocpp2.1": Adapter(
        v21.VERSION,
        v21.UNKNOWN_ID,
        v21.SENDS,
        v21.FROM_STATION,
        v21.ERROR_CODES,
        v21.DECODERS,
        v21.encode_reply,
        v21.encode_ask,
        v21.decode_result,
    ),
}


def choose(offered: Iterable[str], enabled: Collection[str] = tuple(ADAPTERS)) -> str | None:
    """Return the first subprotocol a station offers that is enabled: it knows best what it speaks well."""
    return next((name for name in offered if name in ADAPTERS and name in enabled), None)


@dataclasses.dataclass(slots=True)
class Inbound:
    """A text from a station, understood as far as possible.

    ``message`` is set for a call or send that can be handled. ``answer`` is the text to send at once: the
    CALLERROR of a call that cannot; None where nothing is to be said. ``code`` and ``description`` are those
    of that error, or of the error the station reports. ``payload`` is as sent (plain JSON types in a result or
    error), ``deviations`` names what was put right in reading it.
    """

    kind: Literal["call", "result", "error", "result_error", "send", "broken"]
    message_id: str = ""
    action: str = ""
    payload: dict[str, Any] = dataclasses.field(default_factory=dict)
    message: Message | None = None
    deviations: tuple[str, ...] = ()
    answer: str | None = None
    code: str = ""
    description: str = ""


def inbound(adapter: Adapter, text: str | bytes, treatment: quirks.Treatment = quirks.PLAIN) -> Inbound:
    """Read, check and translate a text. Never raises; what is wrong is in the result, with what to answer."""
    try:
        read = frame.decode(text)
    except FrameError as error:
        return _broken(adapter, error)
    match read:
        case Call():
            return _call(adapter, read, treatment)
        case CallResult():
            return Inbound("result", read.id, payload=frame.plain(read.payload))
        case CallError():
            return _error("error", read)
        case CallResultError():
            return _error("result_error", read)
        case Send():
            return _send(adapter, read)


def answer(adapter: Adapter, call: Inbound, reply: Reply) -> str:
    """Return the text of the CALLRESULT to a call.

    Raises:
        ValueError: the reply does not answer such a message.

    """
    if call.message is None:
        raise ValueError("Only a call that was understood has an answer")
    return frame.encode_result(call.message_id, adapter.encode_reply(call.action, call.message, reply))


def refuse(adapter: Adapter, message_id: str, fault: Fault, description: str = "") -> str:
    """Return the text of the CALLERROR to a call."""
    return frame.encode_error(message_id, adapter.error_code(fault), description)


def _broken(adapter: Adapter, error: FrameError) -> Inbound:
    found = Inbound(
        "broken",
        error.message_id or "",
        code=adapter.error_code(error.fault),
        description=error.description,
    )
    message_id = error.message_id or adapter.unknown_id
    if error.answerable and message_id is not None:
        found.answer = frame.encode_error(message_id, found.code, found.description)
    return found


def _call(adapter: Adapter, call: Call, treatment: quirks.Treatment) -> Inbound:
    action = adapter.spelled(call.action)
    found = Inbound("call", call.id, action[:MAX_ACTION], call.payload)
    try:
        if not adapter.known(action):
            raise Violation(Fault.NOT_IMPLEMENTED, "Unknown action")
        if not adapter.supported(action) or action in adapter.sends:
            raise Violation(Fault.NOT_SUPPORTED, "Not supported here")
        payload, found.deviations = schemas.accept(adapter.version, action, call.payload)
        if action != call.action and "letter_case" not in found.deviations:
            found.deviations = ("letter_case", *found.deviations)
        found.message = quirks.apply(adapter.decode(action, payload), treatment)
    except Violation as violation:
        found.code, found.description = adapter.error_code(violation.fault), violation.description
    except Exception:
        # A defect of ours must cost one answer, not the socket with everything else the station has to say.
        logger.exception("%s could not be translated", action[:MAX_ACTION])
        found.code, found.description = adapter.error_code(Fault.INTERNAL), ""
    if found.message is None:
        found.answer = frame.encode_error(call.id, found.code, found.description)
    return found


def _send(adapter: Adapter, send: Send) -> Inbound:
    """What cannot be handled is dropped: an unconfirmed message is never answered."""
    found = Inbound("send", send.id, send.action[:MAX_ACTION], send.payload)
    try:
        if send.action not in adapter.sends:
            raise Violation(Fault.NOT_SUPPORTED, "Not sent this way")
        payload, found.deviations = schemas.accept(adapter.version, send.action, send.payload)
        found.message = adapter.decode(send.action, payload)
    except Violation as violation:
        found.code, found.description = adapter.error_code(violation.fault), violation.description
    return found


def _error(kind: Literal["error", "result_error"], error: CallError | CallResultError) -> Inbound:
    return Inbound(kind, error.id, payload=frame.plain(error.details), code=error.code, description=error.description)
