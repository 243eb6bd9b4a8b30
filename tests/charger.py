"""A charger on the other side of the ingest, without a socket and with any clock.

Every message takes the real way of a frame: decoder, schema, adapter, handler, one transaction of the
writer, encoder. What a test says is a frame's action and payload; what it gets is the payload of the answer.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from config.wiring import HANDLERS
from stations.messages import Connected
from stations.models import Station
from stations.ocpp import versions
from stations.ocpp.batch import Batch, StationRef
from stations.ocpp.inbox import Inbox, JournalEntry, _Item, _Writer

Frame = tuple[str, dict[str, Any]]
_ids = itertools.count(1)


class Ingest:
    """The writer of one process, run by hand; keeps what it would have told others."""

    def __init__(self) -> None:
        self.follow_ups: list[tuple[str, tuple[Any, ...]]] = []
        inbox = Inbox(HANDLERS, publish=lambda one: None, announce=lambda stale, wakes: None)
        self.writer = _Writer(inbox, 0)

    def commit(self, items: Sequence[_Item]) -> list[Batch]:
        batches = []
        waiting = list(items)
        while waiting:
            taken, batch = self.writer._transact(waiting)
            self.follow_ups += [(one.task, one.args) for one in batch.follow_ups]
            batches.append(batch)
            del waiting[:taken]
        return batches


class Charger:
    """One station. ``say`` sends one call; ``burst`` sends several in one batch of the writer."""

    def __init__(
        self, station: Station, version: str = "1.6", *, ingest: Ingest | None = None, at: dt.datetime
    ) -> None:
        self.ingest = ingest or Ingest()
        self.adapter = versions.ADAPTERS[f"ocpp{version}"]
        self.version = version
        self.station = station
        self.ref = self._ref(-1)
        item = _Item(self.ref, Connected(gateway="test", protocol=version), at, None, None, None)
        self.ingest.commit([item])
        self.ref = self._ref(item.outcome.epoch)

    def _ref(self, epoch: int) -> StationRef:
        s = self.station
        return StationRef(
            s.pk,
            s.operator_id,
            s.site_id,
            s.identity,
            epoch,
            self.version,
            s.site.time_zone,
            s.operator.currency,
            s.max_power_w,
        )

    def say(self, action: str, payload: dict[str, Any], *, at: dt.datetime) -> dict[str, Any]:
        return self.burst([(action, payload)], at=at)[0]

    def burst(self, frames: Sequence[Frame], *, at: dt.datetime) -> list[dict[str, Any]]:
        items, calls = [], []
        for action, payload in frames:
            text = json.dumps([2, f"m{next(_ids)}", action, payload], default=_plain)
            found = versions.inbound(self.adapter, text)
            assert found.message is not None, found.answer
            entry = JournalEntry(0, 2, found.message_id, action, text)
            items.append(_Item(self.ref, found.message, at, self._encoder(found), entry, None))
            calls.append(found)
        self.ingest.commit(items)
        for item in items:
            if item.failed is not None:
                raise item.failed
        return [json.loads(item.outcome)[2] for item in items]

    def _encoder(self, found: versions.Inbound) -> Any:
        def encode(reply: Any) -> tuple[str, str]:
            text = versions.answer(self.adapter, found, reply)
            return text, text

        return encode


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value))


def iso(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


# --- the words of the versions -------------------------------------------------------------------------


def start(version: str, *, ref: str, token: str, meter: int, at: dt.datetime, seq: int = 0) -> Frame:
    if version == "1.6":
        return "StartTransaction", {"connectorId": 1, "idTag": token, "meterStart": meter, "timestamp": iso(at)}
    return "TransactionEvent", {
        "eventType": "Started",
        "timestamp": iso(at),
        "triggerReason": "Authorized",
        "seqNo": seq,
        "transactionInfo": {"transactionId": ref, "chargingState": "Charging"},
        "evse": {"id": 1, "connectorId": 1},
        "idToken": {"idToken": token, "type": "ISO14443"},
        "meterValue": [_value(meter, at, "Transaction.Begin")],
    }


def meter(version: str, *, ref: str, wh: int, at: dt.datetime, seq: int = 0, state: str = "Charging") -> Frame:
    if version == "1.6":
        sample = {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        value = {"timestamp": iso(at), "sampledValue": [sample]}
        return "MeterValues", {"connectorId": 1, "transactionId": int(ref), "meterValue": [value]}
    return "TransactionEvent", {
        "eventType": "Updated",
        "timestamp": iso(at),
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq,
        "transactionInfo": {"transactionId": ref, "chargingState": state},
        "meterValue": [_value(wh, at, "Sample.Periodic")],
    }


def stop(version: str, *, ref: str, meter: int, at: dt.datetime, seq: int = 0) -> Frame:
    if version == "1.6":
        return "StopTransaction", {
            "transactionId": int(ref),
            "meterStop": meter,
            "timestamp": iso(at),
            "reason": "Local",
        }
    return "TransactionEvent", {
        "eventType": "Ended",
        "timestamp": iso(at),
        "triggerReason": "StopAuthorized",
        "seqNo": seq,
        "transactionInfo": {"transactionId": ref, "stoppedReason": "Local"},
        "meterValue": [_value(meter, at, "Transaction.End")],
    }


def _value(wh: int, at: dt.datetime, context: str) -> dict[str, Any]:
    sample = {
        "value": wh,
        "measurand": "Energy.Active.Import.Register",
        "context": context,
        "unitOfMeasure": {"unit": "Wh"},
    }
    return {"timestamp": iso(at), "sampledValue": [sample]}
