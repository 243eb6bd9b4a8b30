"""Golden frames: messages and asks as JSON, so that one file says what a frame means.

A dataclass is written with its class as ``type`` and the fields that differ from their default; decimals
are texts, times RFC 3339.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from stations import messages
from stations.ocpp import frame

FRAMES = Path(__file__).resolve().parents[2] / "frames"
SUBPROTOCOLS = {"v16": "ocpp1.6", "v201": "ocpp2.0.1", "v21": "ocpp2.1"}


def files() -> list[Path]:
    """Return every golden file."""
    return sorted(FRAMES.glob("v*/*.json"))


def read(path: Path) -> dict[str, Any]:
    """Return a golden file; numbers keep every digit they are written with."""
    found: dict[str, Any] = frame.load(path.read_text(encoding="utf-8"))
    return found


def shown(value: Any) -> Any:
    """Return the JSON form of a message, reply, ask or outcome."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {
            field.name: shown(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if _differs(field, getattr(value, field.name))
        }
        # A token has a type of its own.
        return members if "type" in members else {"type": type(value).__name__, **members}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dt.datetime):
        return frame.write_time(value)
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def _differs(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value)
    # A token's type is always written: it is what tells a PIN from a card.
    return field.name == "type" or field.default is dataclasses.MISSING or value != field.default


def built(form: Mapping[str, Any]) -> Any:
    """Return the reply or ask that a JSON form describes."""
    members = {name: _value(name, value) for name, value in form.items() if name != "type"}
    return getattr(messages, form["type"])(**members)


def _value(name: str, value: Any) -> Any:
    if name == "token" and isinstance(value, Mapping):
        if "status" in value:
            return messages.TokenInfo(
                messages.TokenStatus(value["status"]),
                value.get("group"),
                frame.read_time(value["expires_at"]) if "expires_at" in value else None,
            )
        return messages.Token(value["value"], messages.TokenType(value["type"]))
    if name == "now":
        return frame.read_time(value)
    if name == "status" and value in list(messages.Registration):
        return messages.Registration(value)
    if name == "total_cost":
        return Decimal(value)
    if isinstance(value, list):
        return tuple(value)
    return value
