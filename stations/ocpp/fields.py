"""Reading and writing single members, the same in every version (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from stations.messages import Outcome, Setting
from stations.ocpp.frame import Fault, Violation, read_time

MAX_PLACE: Final = 32767
MAX_INT: Final = 2**31 - 1
MAX_WH: Final = 10**12
MAX_RAW_TIME: Final = 64
MAX_WORD: Final = 60
MAX_KEY: Final = 120

_GRANTED: Final = frozenset({"accepted", "scheduled", "rebootrequired", "unlocked"})


def place(payload: Mapping[str, Any], member: str) -> int:
    """Return the number of an EVSE or connector; 0 is the station.

    Raises:
        Violation: no number a plug can have.

    """
    number = int(payload[member])
    if not 0 <= number <= MAX_PLACE:
        raise Violation(Fault.PROPERTY, f"{member}: out of range")
    return number


def optional_place(payload: Mapping[str, Any], member: str) -> int | None:
    """Return `place`, or None where the member is absent."""
    return place(payload, member) if member in payload else None


def integer(payload: Mapping[str, Any], member: str) -> int | None:
    """Return a 32-bit number, or None where the member is absent.

    Raises:
        Violation: the number takes more than 32 bits.

    """
    if member not in payload:
        return None
    number = int(payload[member])
    if not -MAX_INT - 1 <= number <= MAX_INT:
        raise Violation(Fault.PROPERTY, f"{member}: out of range")
    return number


def register(value: int) -> Decimal | None:
    """Return a meter register in Wh, None where it is too large to be one."""
    return Decimal(value) if abs(value) < MAX_WH else None


def moment(payload: Mapping[str, Any], member: str = "timestamp") -> tuple[dt.datetime | None, str]:
    """Return a time and its raw text."""
    raw = payload.get(member, "")
    return read_time(raw), raw[:MAX_RAW_TIME]


def optional(**members: object) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def outcome(payload: Mapping[str, Any], *, status_due: bool, settings: tuple[Setting, ...] = ()) -> Outcome:
    """Return what a result with a status says; one without counts as accepted where none is due."""
    word = payload.get("status")
    if not isinstance(word, str):
        return Outcome("rejected" if status_due else "accepted", settings=settings)
    granted = word.casefold() in _GRANTED
    return Outcome("accepted" if granted else "rejected", word[:MAX_WORD], settings)


def text_of(value: object) -> str | None:
    """Return a reported value as text: numbers and booleans arrive where texts are due (mobilityhouse/ocpp#582)."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def truth(value: object) -> bool:
    """Return a reported boolean, sent as text by some."""
    return value is True or (isinstance(value, str) and value.strip().casefold() == "true")


def evse(number: int | None, connector: int | None = None) -> dict[str, int] | None:
    """Return the EVSEType of 2.x; a connector alone is the EVSE of that number; none, or 0, the whole station."""
    if number is None:
        number, connector = connector, None
    return {"id": number, **optional(connectorId=connector)} if number else None
