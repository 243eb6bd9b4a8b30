"""What the journal keeps: no secret, no PIN, no token that could be used again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stations.ocpp import frame
from stations.ocpp.journal import HIDDEN, masked, masked_text
from tests.stations.ocpp import golden

CARD = "04E5F2A1B36C80"
SHOWN = "p14…6C80"


def pseudonym(value: str) -> str:
    return f"p{len(value)}"


def kept(action: str, payload: dict[str, Any]) -> Any:
    before = json.dumps(payload)
    found = masked(action, payload, pseudonym=pseudonym)
    assert json.dumps(payload) == before
    return found


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        ("Authorize", {"idTag": CARD}, {"idTag": SHOWN}),
        ("Authorize", {"idTag": "ABC1234"}, {"idTag": "p7…"}),
        ("Authorize", {"idTag": "48291317"}, {"idTag": "p8…"}),
        ("StartTransaction", {"connectorId": 1, "idTag": CARD}, {"connectorId": 1, "idTag": SHOWN}),
        (
            "Authorize",
            {"idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET-7-ABCDE"}},
            {"idTagInfo": {"status": "Accepted", "parentIdTag": "p13…BCDE"}},
        ),
        (
            "SendLocalList",
            {"listVersion": 1, "localAuthorizationList": [{"idTag": CARD, "idTagInfo": {"parentIdTag": CARD}}]},
            {"listVersion": 1, "localAuthorizationList": [{"idTag": SHOWN, "idTagInfo": {"parentIdTag": SHOWN}}]},
        ),
        (
            "ChangeConfiguration",
            {"key": "AuthorizationKey", "value": "cafe"},
            {"key": "AuthorizationKey", "value": HIDDEN},
        ),
        (
            "GetConfiguration",
            {
                "configurationKey": [
                    {"key": "AuthorizationKey", "value": "cafe"},
                    {"key": "HeartbeatInterval", "value": "9"},
                ]
            },
            {
                "configurationKey": [
                    {"key": "AuthorizationKey", "value": HIDDEN},
                    {"key": "HeartbeatInterval", "value": "9"},
                ]
            },
        ),
        (
            "Authorize",
            {"idToken": {"idToken": CARD, "type": "ISO14443"}},
            {"idToken": {"idToken": SHOWN, "type": "ISO14443"}},
        ),
        (
            "Authorize",
            {"idToken": {"idToken": "482913", "type": "KeyCode"}},
            {"idToken": {"idToken": HIDDEN, "type": "KeyCode"}},
        ),
        (
            "Authorize",
            {
                "idToken": {
                    "idToken": "",
                    "type": "NoAuthorization",
                    "additionalInfo": [{"additionalIdToken": CARD, "type": "x"}],
                }
            },
            {
                "idToken": {
                    "idToken": "",
                    "type": "NoAuthorization",
                    "additionalInfo": [{"additionalIdToken": SHOWN, "type": "x"}],
                }
            },
        ),
        (
            "SetVariables",
            {
                "setVariableData": [
                    {
                        "component": {"name": "SecurityCtrlr"},
                        "variable": {"name": "BasicAuthPassword"},
                        "attributeValue": "s3cret",
                    }
                ]
            },
            {
                "setVariableData": [
                    {
                        "component": {"name": "SecurityCtrlr"},
                        "variable": {"name": "BasicAuthPassword"},
                        "attributeValue": HIDDEN,
                    }
                ]
            },
        ),
        (
            "NotifyReport",
            {
                "reportData": [
                    {
                        "variable": {"name": "BasicAuthPassword"},
                        "variableAttribute": [{"value": "s3cret"}, {"mutability": "WriteOnly"}],
                    }
                ]
            },
            {
                "reportData": [
                    {
                        "variable": {"name": "BasicAuthPassword"},
                        "variableAttribute": [{"value": HIDDEN}, {"mutability": "WriteOnly"}],
                    }
                ]
            },
        ),
        (
            "SetNetworkProfile",
            {
                "connectionData": {
                    "apn": {"apn": "a", "apnPassword": "x", "simPin": 1234},
                    "vpn": {"server": "s", "password": "x", "key": "k"},
                }
            },
            {
                "connectionData": {
                    "apn": {"apn": "a", "apnPassword": HIDDEN, "simPin": HIDDEN},
                    "vpn": {"server": "s", "password": HIDDEN, "key": HIDDEN},
                }
            },
        ),
        (
            "GetDiagnostics",
            {"location": "ftp://user:pass@files.example/up", "retries": 1},
            {"location": f"ftp://{HIDDEN}@files.example/up", "retries": 1},
        ),
        (
            "DataTransfer",
            {"vendorId": "v", "data": '{"idTag":"04E5","kwh":5}'},
            {"vendorId": "v", "data": '{"idTag":"***","kwh":5}'},
        ),
        ("NotifyCustomerInformation", {"data": "Jane Doe, 04E5", "seqNo": 0}, {"data": HIDDEN, "seqNo": 0}),
        (
            "CustomerInformation",
            {"customerIdentifier": CARD, "report": True},
            {"customerIdentifier": SHOWN, "report": True},
        ),
    ],
)
def test_what_is_hidden(action: str, payload: dict[str, Any], expected: dict[str, Any]) -> None:
    assert kept(action, payload) == expected


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("MeterValues", {"connectorId": 1, "meterValue": [{"sampledValue": [{"value": "1"}]}]}),
        ("Heartbeat", {}),
        ("StatusNotification", {"connectorId": 1, "vendorId": "x"}),
        ("GetConfiguration", {"key": ["AuthorizationKey"]}),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}),
        ("TransactionEvent", {"seqNo": 1, "meterValue": [{"sampledValue": [{"value": 1}]}]}),
        ("GetLog", {"log": {"remoteLocation": "https://files.example/up?a=b"}}),
        ("Reset", {"status": "Accepted"}),
    ],
)
def test_where_nothing_is_hidden_nothing_is_copied(action: str, payload: dict[str, Any]) -> None:
    assert kept(action, payload) is payload


def test_no_token_of_any_golden_frame_is_left() -> None:
    seen = 0
    for path in golden.files():
        form = golden.read(path)
        if "frame" not in form:
            continue
        action, payload = form["frame"][2:]
        text = frame.dump(masked(action, payload, pseudonym=pseudonym))
        for value in tokens(payload):
            seen += 1
            assert f'"{value}"' not in text
    assert seen > 10


def tokens(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [v for k, v in node.items() if k in ("idTag", "idToken") and isinstance(v, str) and v]
        return own + [found for value in node.values() for found in tokens(value)]
    if isinstance(node, list):
        return [found for value in node for found in tokens(value)]
    return []


def test_a_text_that_is_no_frame_hides_more() -> None:
    broken = '[2,"1","Authorize",{"idTag" : "04E5F2A1\\"B3", "key":"AuthorizationKey","value":"cafe","n":5'
    assert masked_text(broken) == ('[2,"1","Authorize",{"idTag" : "***", "key":"***","value":"***","n":5')
    assert masked_text('{"idToken":{"idToken":"1234') == '{"idToken":{"idToken":"***"'
    assert masked_text('{"simPin":1234,"url":"ftp://a:b@c/"}') == '{"simPin":"***","url":"ftp://***@c/"}'
    assert masked_text("\x00\ufffd nonsense") == "\x00\ufffd nonsense"
