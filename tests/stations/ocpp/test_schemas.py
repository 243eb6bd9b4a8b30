"""Schemas: all compile, the book is held to the letter where we speak, and read leniently where stations do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stations.ocpp import frame, schemas
from stations.ocpp.frame import Fault, Violation

TIME = "2025-03-14T09:26:53Z"


def test_the_actions_of_each_version() -> None:
    assert len(schemas.actions("1.6")) == 39
    assert len(schemas.actions("2.0.1")) == 64
    assert len(schemas.actions("2.1")) == 91
    assert "NotifyPeriodicEventStream" in schemas.actions("2.1")
    assert schemas.actions("2.0.1") < schemas.actions("2.1")


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_every_schema_compiles_and_refuses_what_is_no_object(version: str) -> None:
    for action in schemas.actions(version):
        for kind in ("request", "response"):
            if action == "NotifyPeriodicEventStream" and kind == "response":
                continue
            with pytest.raises(Violation):
                schemas.check(version, action, kind, [])


def test_what_a_message_must_carry() -> None:
    assert schemas.requires("1.6", "Reset", "response", "status")
    assert not schemas.requires("1.6", "GetConfiguration", "response", "status")
    assert not schemas.requires("2.0.1", "CostUpdated", "response", "status")


def test_we_are_held_to_the_letter() -> None:
    with pytest.raises(Violation, match="payload: additionalProperties extra"):
        schemas.check("1.6", "Heartbeat", "request", {"extra": 1})
    with pytest.raises(Violation, match="key: type array"):
        schemas.check("1.6", "GetConfiguration", "request", {"key": None})
    schemas.check("1.6", "GetConfiguration", "request", {"key": ["a"]})


def sample(**members: Any) -> dict[str, Any]:
    return {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "1", **members}]}]}


def start(**members: Any) -> dict[str, Any]:
    return {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": TIME} | members


def event(**members: Any) -> dict[str, Any]:
    whole = {"eventType": "Updated", "timestamp": TIME, "triggerReason": "Trigger", "seqNo": 1}
    return whole | {"transactionInfo": {"transactionId": "t"}} | members


SIGNED = {"signedMeterData": "AA", "encodingMethod": "OCMF"}
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}

LENIENT: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    # version, action, as sent, as read, deviation
    ("1.6", "Authorize", {"idTag": "A", "connectorId": 1}, {"idTag": "A"}, "extra_member"),
    ("1.6", "Authorize", {"idTag": 7}, {"idTag": "7"}, "number_for_text"),
    ("1.6", "Authorize", {"idTag": True}, {"idTag": "true"}, "boolean_for_text"),
    ("1.6", "Authorize", {"idTag": "0" * 21}, {"idTag": "0" * 21}, "over_long"),
    ("1.6", "StatusNotification", STATUS | {"info": None}, STATUS, "empty_member"),
    ("1.6", "StatusNotification", STATUS | {"status": "available"}, STATUS, "letter_case"),
    ("1.6", "StatusNotification", STATUS | {"errorCode": "Error"}, STATUS | {"errorCode": "Error"}, "unknown_word"),
    ("1.6", "StatusNotification", STATUS | {"connectorId": "1"}, STATUS, "text_for_number"),
    ("1.6", "StartTransaction", start(meterStart=12.0), start(meterStart=12), "decimal_for_integer"),
    ("1.6", "StartTransaction", start(meterStart=12.5), start(meterStart=12), "decimal_for_integer"),
    ("1.6", "StartTransaction", start(meterStart=" 12.0"), start(meterStart=12), "text_for_number"),
    ("1.6", "StartTransaction", start(reservationId=None), start(), "empty_member"),
    ("1.6", "MeterValues", sample(unit="Hz"), sample(unit="Hz"), "unknown_word"),
    ("1.6", "MeterValues", sample(phase=""), sample(phase=""), "unknown_word"),
    ("1.6", "MeterValues", sample(value=12), sample(value="12"), "number_for_text"),
    ("1.6", "MeterValues", sample(unit="wh"), sample(unit="Wh"), "letter_case"),
    (
        "1.6",
        "DataTransfer",
        {"vendorId": "v", "data": {"a": [1]}},
        {"vendorId": "v", "data": '{"a":[1]}'},
        "object_for_text",
    ),
    ("2.0.1", "TransactionEvent", event(meterValue=[]), event(meterValue=[]), "empty_list"),
    ("2.0.1", "TransactionEvent", event(evse={}), event(), "empty_member"),
    ("2.0.1", "TransactionEvent", event(evse={"id": None}), event(), "empty_member"),
    ("2.0.1", "TransactionEvent", event(offline="false"), event(offline=False), "text_for_boolean"),
    ("2.0.1", "TransactionEvent", event(offline=0), event(offline=False), "number_for_boolean"),
    ("2.0.1", "TransactionEvent", event(triggerReason="Mystery"), event(triggerReason="Mystery"), "unknown_word"),
    ("2.0.1", "TransactionEvent", event(seqNo="1"), event(), "text_for_number"),
    (
        "2.0.1",
        "Authorize",
        {"idToken": {"idToken": "A", "type": "Vin"}},
        {"idToken": {"idToken": "A", "type": "Vin"}},
        "unknown_word",
    ),
    (
        "2.0.1",
        "MeterValues",
        {"evseId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": 1, "signedMeterValue": SIGNED}]}]},
        {"evseId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": 1, "signedMeterValue": SIGNED}]}]},
        "missing_member",
    ),
    (
        "2.0.1",
        "MeterValues",
        {"evseId": 1, "meterValue": {"timestamp": TIME, "sampledValue": {"value": 1}}},
        {"evseId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": 1}]}]},
        "object_for_list",
    ),
    (
        "2.0.1",
        "StatusNotification",
        {"connectorStatus": "Available", "evseId": 1, "connectorId": 1},
        {"connectorStatus": "Available", "evseId": 1, "connectorId": 1},
        "missing_member",
    ),
]


@pytest.mark.parametrize(("version", "action", "sent", "read", "deviation"), LENIENT)
def test_what_real_chargers_get_wrong(
    version: str, action: str, sent: dict[str, Any], read: dict[str, Any], deviation: str
) -> None:
    payload = frame.load(json.dumps(sent))
    assert schemas.accept(version, action, payload) == (read, (deviation,))
    assert payload == frame.load(json.dumps(sent))


REFUSED: list[tuple[str, str, dict[str, Any], Fault]] = [
    ("1.6", "Authorize", {}, Fault.OCCURRENCE),
    ("1.6", "Authorize", {"idTag": None}, Fault.OCCURRENCE),
    ("1.6", "Authorize", {"idTag": {}}, Fault.OCCURRENCE),
    ("1.6", "Authorize", {"idTag": ["A"]}, Fault.TYPE),
    ("1.6", "Authorize", {"idTag": "0" * 256}, Fault.PROPERTY),
    ("1.6", "StatusNotification", STATUS | {"status": "Occupied"}, Fault.PROPERTY),
    ("1.6", "StatusNotification", STATUS | {"errorCode": "E" * 51}, Fault.PROPERTY),
    ("1.6", "StatusNotification", STATUS | {"connectorId": True}, Fault.TYPE),
    ("1.6", "StatusNotification", STATUS | {"connectorId": 1.5}, Fault.TYPE),
    ("1.6", "StatusNotification", STATUS | {"connectorId": "one"}, Fault.TYPE),
    ("2.0.1", "TransactionEvent", event(transactionInfo={"transactionId": "t" * 37}), Fault.PROPERTY),
    ("2.0.1", "TransactionEvent", event(transactionInfo=None), Fault.OCCURRENCE),
    ("2.0.1", "TransactionEvent", event(eventType="Paused"), Fault.PROPERTY),
    ("2.0.1", "TransactionEvent", event(offline="perhaps"), Fault.TYPE),
    ("2.0.1", "NotifyEvent", {"generatedAt": TIME, "seqNo": 0, "eventData": []}, Fault.OCCURRENCE),
]


@pytest.mark.parametrize(("version", "action", "sent", "fault"), REFUSED)
def test_what_cannot_be_understood(version: str, action: str, sent: dict[str, Any], fault: Fault) -> None:
    with pytest.raises(Violation) as caught:
        schemas.accept(version, action, frame.load(json.dumps(sent)))
    assert caught.value.fault is fault


def test_a_huge_payload_is_not_searched_for_every_error() -> None:
    payload = sample()
    payload["meterValue"][0]["sampledValue"] = [{"value": 1}] * 20_000
    with pytest.raises(Violation, match="value: type string"):
        schemas.accept("1.6", "MeterValues", payload)
