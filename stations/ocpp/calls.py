"""One outbound call at a time per connection: who waits for what, and what became of it (pure).

Takes what happens as method calls and gives back events; it knows no socket, clock or loop. A station
that is asked a second thing before it has answered the first mixes the answers up (evcc-io/evcc#22087),
so the second waits outside.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from stations.ocpp.frame import encode_call

ANSWER_TIMEOUT: Final = dt.timedelta(seconds=60)
_REMEMBERED: Final = 32


class Busy(Exception):
    """A call is in flight already."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """A call that was sent and not answered."""

    command_id: int
    message_id: str
    action: str
    sent_at: dt.datetime
    deadline: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """A CALLRESULT came. ``late``: after the timeout; it is kept, the command's state stays."""

    command_id: int
    message_id: str
    action: str
    payload: Mapping[str, Any]
    late: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A CALLERROR came."""

    command_id: int
    message_id: str
    action: str
    code: str
    description: str
    details: Mapping[str, Any]
    late: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class TimedOut:
    """No answer within the time."""

    command_id: int
    message_id: str
    action: str


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended before an answer: whether the station acted is unknown."""

    command_id: int
    message_id: str
    action: str


class Calls:
    """The calls of one connection.

    ``silent`` counts the timeouts since the last answer: a station that sends heartbeats and answers
    nothing wants its connection closed (mobilityhouse/ocpp#338).
    """

    def __init__(self, timeout: dt.timedelta = ANSWER_TIMEOUT) -> None:
        self._timeout = timeout
        self._pending: Pending | None = None
        self._overdue: collections.OrderedDict[str, Pending] = collections.OrderedDict()
        self.silent = 0

    @property
    def pending(self) -> Pending | None:
        """The call in flight."""
        return self._pending

    def send(self, command_id: int, message_id: str, action: str, payload: Mapping[str, Any], now: dt.datetime) -> str:
        """Return the text to send; from now on the call is in flight.

        Raises:
            Busy: another one is.

        """
        if self._pending is not None:
            raise Busy
        text = encode_call(message_id, action, payload)
        self._pending = Pending(command_id, message_id, action, now, now + self._timeout)
        return text

    def on_result(self, message_id: str, payload: Mapping[str, Any]) -> Answered | None:
        """A CALLRESULT arrived. None: nobody waits for it, or no longer."""
        call, late = self._take(message_id)
        return None if call is None else Answered(call.command_id, message_id, call.action, payload, late)

    def on_error(self, message_id: str, code: str, description: str, details: Mapping[str, Any]) -> Failed | None:
        """A CALLERROR arrived. None: nobody waits for it, or no longer."""
        call, late = self._take(message_id)
        if call is None:
            return None
        return Failed(call.command_id, message_id, call.action, code, description, details, late)

    def on_timeout(self, now: dt.datetime) -> TimedOut | None:
        """Time has passed. None: no call is overdue."""
        call = self._pending
        if call is None or now < call.deadline:
            return None
        self._pending = None
        self._overdue[call.message_id] = call
        if len(self._overdue) > _REMEMBERED:
            self._overdue.popitem(last=False)
        self.silent += 1
        return TimedOut(call.command_id, call.message_id, call.action)

    def on_close(self) -> Lost | None:
        """The connection ended. None: no call was in flight."""
        call, self._pending = self._pending, None
        self._overdue.clear()
        return None if call is None else Lost(call.command_id, call.message_id, call.action)

    def _take(self, message_id: str) -> tuple[Pending | None, bool]:
        """Take the call an answer belongs to, in flight or overdue; a second answer finds none."""
        call = self._pending
        if call is not None and call.message_id == message_id:
            self._pending = None
            self.silent = 0
            return call, False
        return self._overdue.pop(message_id, None), True
