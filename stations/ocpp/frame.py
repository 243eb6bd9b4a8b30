"""OCPP-J frames as text: strict reading of what arrives, compact writing of what is sent (pure).

Reading refuses what JSON parsers usually let pass and what hurts later: NaN and Infinity, a member
twice in one object, numbers without end, nesting without end, NUL and lone surrogates. Numbers with a
fraction or an exponent become `Decimal`, others `int`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

import orjson

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 20
MAX_EXPONENT: Final = 30
MAX_ID: Final = 36  # OCPP-J 1.6 §4.1.4, 2.0.1 part 4 §4.1.4
READABLE_ID: Final = 255
MAX_DESCRIPTION: Final = 255


class Fault(enum.Enum):
    """Why a frame is not accepted, before a protocol version gives it a spelling."""

    FRAMEWORK = enum.auto()
    MESSAGE_TYPE = enum.auto()
    FORMAT = enum.auto()
    PROTOCOL = enum.auto()
    PROPERTY = enum.auto()
    OCCURRENCE = enum.auto()
    TYPE = enum.auto()
    NOT_IMPLEMENTED = enum.auto()
    NOT_SUPPORTED = enum.auto()
    SECURITY = enum.auto()
    INTERNAL = enum.auto()
    GENERIC = enum.auto()


class Violation(Exception):
    """Something in a frame breaks a rule. ``description`` names the place, never a value: it is sent and logged."""

    def __init__(self, fault: Fault, description: str) -> None:
        super().__init__(description)
        self.fault = fault
        self.description = description[:MAX_DESCRIPTION]


class FrameError(Violation):
    """A text is no frame. ``message_id`` is the id where one could be read.

    ``answerable`` is False for a broken answer: an answer is never answered with a CALLERROR.
    """

    def __init__(
        self, fault: Fault, description: str, *, message_id: str | None = None, answerable: bool = True
    ) -> None:
        super().__init__(fault, description)
        self.message_id = message_id
        self.answerable = answerable


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """[2, id, action, payload]."""

    id: str
    action: str
    payload: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class CallResult:
    """[3, id, payload]."""

    id: str
    payload: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class CallError:
    """[4, id, code, description, details]."""

    id: str
    code: str
    description: str
    details: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class CallResultError:
    """[5, id, code, description, details]: the station could not use our answer (OCPP 2.1 part 4)."""

    id: str
    code: str
    description: str
    details: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """[6, id, action, payload]: an unconfirmed message, never answered (OCPP 2.1 part 4)."""

    id: str
    action: str
    payload: dict[str, Any]


Frame = Call | CallResult | CallError | CallResultError | Send


# --- strict JSON -----------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Violation(Fault.FORMAT, "A member appears twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) - (text[0] == "-") > MAX_DIGITS:
        raise Violation(Fault.FORMAT, f"A number has more than {MAX_DIGITS} digits")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > 80:
        raise Violation(Fault.FORMAT, "A number has too many digits")
    number = Decimal(text)
    if not -MAX_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise Violation(Fault.FORMAT, "A number is out of range")
    return number


def _constant(text: str) -> NoReturn:
    raise Violation(Fault.FORMAT, f"{text} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)


def _check_depth(root: Any) -> None:
    """Refuse nesting beyond `MAX_DEPTH`. (Nesting without end makes the parser itself give up.)"""
    level = [root]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise Violation(Fault.FORMAT, f"Nested deeper than {MAX_DEPTH}")


def _check_texts(root: Any) -> None:
    """Refuse NUL and lone surrogates, which neither the database nor UTF-8 can hold."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            if "\x00" in node:
                raise Violation(Fault.FORMAT, "A text contains NUL")
            try:
                node.encode()
            except UnicodeEncodeError:
                raise Violation(Fault.FORMAT, "A text contains half a surrogate pair") from None
        elif isinstance(node, dict):
            stack.extend(node)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def load(text: str) -> Any:
    """Return the value of a JSON text under the rules of this module.

    Raises:
        Violation: the text is not JSON, or breaks one of the rules.

    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Violation(Fault.FORMAT, "A text contains half a surrogate pair") from None
    if size > MAX_BYTES:
        raise Violation(Fault.FORMAT, "Larger than 1 MiB")
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Violation(Fault.FORMAT, "Not JSON") from None
    # What follows is looked for only where the text can hold it at all: most frames skip both walks.
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth([value])
    if "\\u" in text:
        _check_texts(value)
    return value


# --- frames in -------------------------------------------------------------------------------------

# What a broken text still tells: a call with its id, or an answer.
_CALL_HEAD: Final = re.compile(r'\ufeff?\s*\[\s*2\s*,\s*("(?:[^"\\\x00-\x1f]|\\.){1,1530}")')
_ANSWER_HEAD: Final = re.compile(r"\ufeff?\s*\[\s*[3-6]\s*[,\]]")


def decode(text: str | bytes) -> Frame:
    """Return the frame that a WebSocket message holds.

    A call is an array of four: 2, an id of 1 to 255 characters, the action and an object. An id of more
    than 36 characters is an error that is still answered under that id.

    Raises:
        FrameError: the text is no frame.

    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise FrameError(Fault.FRAMEWORK, "Not UTF-8") from None
    try:
        raw = load(text)
    except Violation as broken:
        message_id = _id_in(text)
        if message_id is not None:
            raise FrameError(broken.fault, broken.description, message_id=message_id) from None
        raise FrameError(Fault.FRAMEWORK, broken.description, answerable=_ANSWER_HEAD.match(text) is None) from None
    if type(raw) is not list or not raw:
        raise FrameError(Fault.FRAMEWORK, "A frame is an array that begins with its message type")
    kind = raw[0]
    message_id = raw[1] if len(raw) > 1 else None
    if type(message_id) is not str or not 0 < len(message_id) <= READABLE_ID:
        message_id = None
    if type(kind) is int:
        if kind == 2:
            return _call(raw, message_id)
        if kind == 3:
            return _result(raw, message_id)
        if kind == 4 or kind == 5:
            return _error(kind, raw, message_id)
        if kind == 6:
            return _send(raw, message_id)
    raise FrameError(Fault.MESSAGE_TYPE, "Unknown message type", message_id=message_id)


def _id_in(text: str) -> str | None:
    """Return the id of a call whose text breaks a rule, where that much can be read."""
    head = _CALL_HEAD.match(text)
    if head is None:
        return None
    try:
        message_id: str = json.loads(head[1])
        message_id.encode()
    except ValueError:
        return None
    return message_id if len(message_id) <= READABLE_ID else None


def _call(raw: list[Any], message_id: str | None) -> Call:
    if message_id is None:
        raise FrameError(Fault.FRAMEWORK, f"The message id must be a text of 1 to {MAX_ID} characters")
    if len(raw) != 4:
        raise FrameError(Fault.FRAMEWORK, "A CALL has four elements", message_id=message_id)
    if len(message_id) > MAX_ID:
        raise FrameError(Fault.FRAMEWORK, f"The message id exceeds {MAX_ID} characters", message_id=message_id)
    action, payload = raw[2], raw[3]
    if type(action) is not str:
        raise FrameError(Fault.FRAMEWORK, "The action must be a text", message_id=message_id)
    if type(payload) is not dict:
        raise FrameError(Fault.FORMAT, "The payload must be an object", message_id=message_id)
    return Call(message_id, action, payload)


def _result(raw: list[Any], message_id: str | None) -> CallResult | CallError:
    """A result that cannot be read ends its call all the same: as an error, not by waiting for the timeout."""
    if message_id is None:
        raise FrameError(Fault.FRAMEWORK, "An answer without an id", answerable=False)
    payload = raw[2] if len(raw) == 3 else None
    if type(payload) is dict:
        return CallResult(message_id, payload)
    return CallError(message_id, "FormatViolation", "The answer is no valid CALLRESULT", {})


def _error(kind: int, raw: list[Any], message_id: str | None) -> CallError | CallResultError:
    if message_id is None:
        raise FrameError(Fault.FRAMEWORK, "An error without an id", answerable=False)
    code, description, details = (*raw[2:5], None, None, None)[:3]
    kind_of_error = CallError if kind == 4 else CallResultError
    return kind_of_error(
        message_id,
        code[:MAX_DESCRIPTION] if type(code) is str and code else "GenericError",
        description[:MAX_DESCRIPTION] if type(description) is str else "",
        details if type(details) is dict else {},
    )


def _send(raw: list[Any], message_id: str | None) -> Send:
    if message_id is None or len(raw) != 4 or type(raw[2]) is not str or type(raw[3]) is not dict:
        raise FrameError(Fault.FRAMEWORK, "A SEND that cannot be read", answerable=False)
    return Send(message_id, raw[2], raw[3])


# --- frames out ------------------------------------------------------------------------------------


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f").encode())
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spelled(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return orjson.Fragment(str(value)) if type(value) is int else value


def dump(value: Any) -> str:
    """Return compact JSON (some stations search the raw text for ``"status":"Accepted"``). Decimals stay exact.

    Raises:
        TypeError: something has no JSON form.

    """
    try:
        return orjson.dumps(value, default=_exact).decode()
    except TypeError:  # an integer of more than 64 bits, which a frame may hold
        return orjson.dumps(_spelled(value), default=_exact).decode()


def compact(value: Any) -> str:
    """Return the compact JSON text of something that arrived, integers of any length included."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """Return a copy that any JSON column takes: decimals as int where whole, else float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def encode_call(message_id: str, action: str, payload: Any) -> str:
    """Return the text of a CALL."""
    return dump([2, message_id, action, payload])


def encode_result(message_id: str, payload: Any) -> str:
    """Return the text of a CALLRESULT."""
    return dump([3, message_id, payload])


def encode_error(message_id: str, code: str, description: str) -> str:
    """Return the text of a CALLERROR; ``details`` stays empty."""
    return dump([4, message_id, code, description[:MAX_DESCRIPTION], {}])


# --- times -----------------------------------------------------------------------------------------


def read_time(text: object) -> dt.datetime | None:
    """Return an RFC 3339 time in UTC, or None where the text is none.

    A missing zone counts as UTC and "+02" as an offset, as stations send them. Years before 1970 or
    after 2199 are no times: they overflow as soon as somebody shows them in another zone.
    """
    if type(text) is not str or text[10:11] not in ("T", " ", "t"):
        return None if type(text) is not str or not text[:1].isspace() else read_time(text.strip())
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        try:  # a leap second, lower case, blanks
            at = dt.datetime.fromisoformat(text.strip().upper().replace(":60", ":59", 1))
        except ValueError:
            return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    elif at.tzinfo is not dt.UTC:
        try:
            at = at.astimezone(dt.UTC)
        except OverflowError:
            return None
    return at if 1970 <= at.year < 2200 else None


def write_time(at: dt.datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds and "Z"."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
