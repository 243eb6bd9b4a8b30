"""What one frame costs from text to message and back, by hand: ``python tests/stations/ocpp/benchmark.py``."""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Callable
from typing import Any

from stations.messages import Ack
from stations.ocpp import frame, journal, schemas, versions

PHASED = (("Current.Import", "A"), ("Voltage", "V"), ("Power.Active.Import", "W"))


def meter_values() -> str:
    """Return a 1.6 MeterValues of twelve samples: nine per phase, energy, offered power and state of charge."""
    samples = [
        {"value": "16.123", "context": "Sample.Periodic", "format": "Raw", "measurand": measurand, "phase": phase}
        | {"location": "Outlet", "unit": unit}
        for measurand, unit in PHASED
        for phase in ("L1", "L2", "L3")
    ]
    samples += [
        {"value": "123456.789", "measurand": "Energy.Active.Import.Register", "location": "Outlet", "unit": "Wh"},
        {"value": "11040", "measurand": "Power.Offered", "location": "Outlet", "unit": "W"},
        {"value": "55", "measurand": "SoC", "location": "EV", "unit": "Percent"},
    ]
    payload = {"connectorId": 1, "transactionId": 12345}
    payload["meterValue"] = [{"timestamp": "2024-05-01T12:00:00.000Z", "sampledValue": samples}]
    return json.dumps([2, "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "MeterValues", payload], separators=(",", ":"))


def transaction_event() -> str:
    """Return a 2.0.1 TransactionEvent Updated of the same twelve samples."""
    samples: list[dict[str, Any]] = [
        {"value": 16.123, "context": "Sample.Periodic", "measurand": measurand, "phase": phase, "location": "Outlet"}
        | {"unitOfMeasure": {"unit": unit, "multiplier": 0}}
        for measurand, unit in PHASED
        for phase in ("L1", "L2", "L3")
    ]
    samples += [
        {"value": 123456.789, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": {"unit": "Wh"}},
        {"value": 11040, "measurand": "Power.Offered", "unitOfMeasure": {"unit": "W"}},
        {"value": 55, "measurand": "SoC", "location": "EV", "unitOfMeasure": {"unit": "Percent"}},
    ]
    payload = {
        "eventType": "Updated",
        "timestamp": "2024-05-01T12:00:00.000Z",
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 17,
        "transactionInfo": {"transactionId": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "chargingState": "Charging"},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": "2024-05-01T12:00:00.000Z", "sampledValue": samples}],
    }
    return json.dumps([2, "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "TransactionEvent", payload], separators=(",", ":"))


def steps(subprotocol: str, text: str) -> dict[str, Callable[[], object]]:
    """Return the way of a text in pieces."""
    adapter = versions.ADAPTERS[subprotocol]
    call = versions.inbound(adapter, text)
    assert call.message is not None, call.description
    payload, _ = schemas.accept(adapter.version, call.action, call.payload)
    return {
        "decode": lambda: frame.decode(text),
        "check": lambda: schemas.accept(adapter.version, call.action, call.payload),
        "adapter": lambda: adapter.decode(call.action, payload),
        "all": lambda: versions.inbound(adapter, text),
        "answer": lambda: versions.answer(adapter, call, Ack()),
        "masked": lambda: journal.masked(call.action, call.payload, pseudonym=str.lower),
    }


def measure(number: int = 2000) -> dict[str, float]:
    """Return milliseconds of processor time per frame, the best of seven runs."""
    return {
        f"{name}: {step}": min(timeit.repeat(run, timer=time.process_time, number=number, repeat=7)) / number * 1000
        for name, subprotocol, text in (
            ("1.6 MeterValues", "ocpp1.6", meter_values()),
            ("1.6 MeterValues, numbers as values", "ocpp1.6", meter_values().replace('"16.123"', "16.123")),
            ("2.0.1 TransactionEvent", "ocpp2.0.1", transaction_event()),
            ("2.1 TransactionEvent", "ocpp2.1", transaction_event()),
        )
        for step, run in steps(subprotocol, text).items()
    }


if __name__ == "__main__":
    for name, milliseconds in measure().items():
        print(f"{milliseconds:8.4f} ms  {name}")  # noqa: T201
