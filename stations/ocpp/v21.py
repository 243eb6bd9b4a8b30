"""OCPP 2.1: what differs from 2.0.1 (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from stations.messages import Message
from stations.ocpp import v201
from stations.ocpp.v201 import ERROR_CODES, UNKNOWN_ID, decode_result, encode_ask, encode_reply, noted

__all__ = [
    "DECODERS",
    "ERROR_CODES",
    "FROM_STATION",
    "SENDS",
    "UNKNOWN_ID",
    "VERSION",
    "decode_result",
    "encode_ask",
    "encode_reply",
]

VERSION: Final = "2.1"
SENDS: Final = frozenset({"NotifyPeriodicEventStream"})

FROM_STATION: Final = v201.FROM_STATION | {
    "BatterySwap",
    "ClosePeriodicEventStream",
    "GetCertificateChainStatus",
    "NotifyDERAlarm",
    "NotifyDERStartStop",
    "NotifyPeriodicEventStream",
    "NotifyPriorityCharging",
    "NotifySettlement",
    "OpenPeriodicEventStream",
    "PullDynamicScheduleUpdate",
    "ReportDERControl",
    "VatNumberValidation",
}

DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    **v201.DECODERS,
    "NotifyDERAlarm": noted("event"),
    "NotifyDERStartStop": noted("event"),
    "NotifyPeriodicEventStream": noted("event"),
    "NotifyPriorityCharging": noted("other"),
    "ReportDERControl": noted("report"),
}
