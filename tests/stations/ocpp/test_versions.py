"""Text in, message or error out: subprotocols, broken frames, hostile frames, and what always holds."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stations.messages import (
    Ack,
    AuthorizeAsked,
    AuthorizeReply,
    Beat,
    BeatReply,
    Booted,
    BootReply,
    Message,
    MeterRead,
    Noted,
    NotExpressible,
    RawCall,
    Registration,
    Reply,
    SessionEnded,
    SessionReply,
    SessionStarted,
    StartCharging,
    StatusChanged,
    Token,
    TokenInfo,
    TokenPresented,
    TokenStatus,
    TokenType,
    VendorReply,
    VendorSaid,
)
from stations.ocpp import frame, schemas
from stations.ocpp.frame import Fault
from stations.ocpp.versions import ADAPTERS, Adapter, answer, choose, inbound, refuse
from tests.stations.ocpp import golden
from tests.stations.ocpp.test_frame import JSON

NOW = dt.datetime(2025, 3, 14, 9, 26, 54, tzinfo=dt.UTC)
V16, V201, V21 = ADAPTERS["ocpp1.6"], ADAPTERS["ocpp2.0.1"], ADAPTERS["ocpp2.1"]
ALL = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))


def call(action: str, payload: Any, message_id: str = "m-1") -> str:
    return json.dumps([2, message_id, action, payload])


def said(adapter: Adapter, text: str | bytes) -> list[Any] | None:
    """Return what is answered at once, parsed."""
    found = inbound(adapter, text)
    assert found.message is None
    return None if found.answer is None else json.loads(found.answer)


# --- subprotocols ----------------------------------------------------------------------------------


def test_the_station_prefers() -> None:
    assert choose(["ocpp2.0.1", "ocpp1.6"]) == "ocpp2.0.1"
    assert choose(["ocpp1.6", "ocpp2.0.1"]) == "ocpp1.6"
    assert choose(["ocpp1.5", "ocpp1.6", "soap"]) == "ocpp1.6"
    assert choose(["ocpp2.1", "ocpp1.6"], enabled=["ocpp1.6"]) == "ocpp1.6"
    assert choose(["ocpp2.1"], enabled=["ocpp1.6"]) is None
    assert choose(["OCPP1.6", "", "ocpp1.7"]) is None
    assert choose([]) is None
    assert choose(f"ocpp{n}" for n in range(500)) is None
    assert choose(["chat"], enabled=["chat"]) is None


# --- error codes -----------------------------------------------------------------------------------


@ALL
def test_every_fault_has_its_word_and_every_word_its_version(adapter: Adapter) -> None:
    words = {adapter.error_code(fault) for fault in Fault}
    common = {
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "PropertyConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    }
    own = (
        {"FormationViolation", "OccurenceConstraintViolation"}
        if adapter is V16
        else {"FormatViolation", "OccurrenceConstraintViolation", "MessageTypeNotSupported", "RpcFrameworkError"}
    )
    assert words == common | own


@ALL
def test_unknown_is_not_implemented_and_known_is_not_supported(adapter: Adapter) -> None:
    for action in ("__class__", "constructor", "self", "OpenPod", "x" * 500, "", "\u200bHeartbeat"):
        assert said(adapter, call(action, {}))[2] == "NotImplemented"  # type: ignore[index]
    for action in ("Reset", "GetLog", "TriggerMessage"):
        assert said(adapter, call(action, {}))[2] == "NotSupported"  # type: ignore[index]


@pytest.mark.parametrize(
    ("adapter", "action", "payload", "code"),
    [
        (V16, "StatusNotification", {"connectorId": 1, "status": "Available"}, "OccurenceConstraintViolation"),
        (V16, "Authorize", {"idTag": ["x"]}, "TypeConstraintViolation"),
        (V16, "Authorize", {"idTag": "x" * 256}, "PropertyConstraintViolation"),
        (V16, "StopTransaction", {"transactionId": 1, "meterStop": 1}, "OccurenceConstraintViolation"),
        (V201, "Authorize", {"idToken": {"idToken": "x"}}, "OccurrenceConstraintViolation"),
        (V201, "Authorize", {"idToken": 7}, "TypeConstraintViolation"),
        (V201, "NotifyEvent", {"generatedAt": "x", "seqNo": 0, "eventData": []}, "OccurrenceConstraintViolation"),
        (V201, "BootNotification", {"reason": "PowerUp", "chargingStation": []}, "OccurrenceConstraintViolation"),
        (V21, "MeterValues", {"evseId": -1, "meterValue": []}, "PropertyConstraintViolation"),
        (V201, "MeterValues", {"evseId": 1.5, "meterValue": []}, "TypeConstraintViolation"),
    ],
)
def test_a_violation_has_its_code(adapter: Adapter, action: str, payload: Any, code: str) -> None:
    assert said(adapter, call(action, payload))[:3] == [4, "m-1", code]  # type: ignore[index]


def test_the_description_names_the_place_and_never_the_value() -> None:
    found = inbound(V16, call("Authorize", {"idTag": "SECRET" * 50}))
    assert found.description == "idTag: maxLength 20"
    assert "SECRET" not in (found.answer or "")


# --- broken frames ---------------------------------------------------------------------------------

WITHOUT_ID = [
    "",
    "hello",
    "[]",
    "{}",
    "null",
    "17",
    '"x"',
    "[2]",
    '[2,7,"Heartbeat",{}]',
    '[2,"","Heartbeat",{}]',
    '[2,"' + "x" * 256 + '","Heartbeat",{}]',
    "[" * 100_000,
    "\ud800",
]
WITH_ID = [
    '[2,"a","Heartbeat"]',
    '[2,"a","Heartbeat",{},{}]',
    '[2,"a","Heartbeat",null]',
    '[2,"a","Heartbeat",[]]',
    '[2,"a",["Heartbeat"],{}]',
    '[2,"a","Heartbeat",{"x":NaN}]',
    '[2,"a","StatusNotification",{"connectorId":1,"connectorId":2}]',
    '[2,"a","StatusNotification",{"connectorId":1',
    '[7,"a","Heartbeat",{}]',
    '["2","a","Heartbeat",{}]',
]


@pytest.mark.parametrize("text", WITHOUT_ID)
def test_without_an_id_2_x_answers_under_minus_one_and_1_6_is_silent(text: str) -> None:
    assert said(V16, text) is None
    for adapter in (V201, V21):
        assert said(adapter, text)[:2] == [4, "-1"]  # type: ignore[index]


@pytest.mark.parametrize("text", WITH_ID)
@ALL
def test_with_an_id_every_version_answers(adapter: Adapter, text: str) -> None:
    found = said(adapter, text)
    assert found is not None
    assert found[:2] == [4, "a"]
    expected = (
        {"FormationViolation"}
        if adapter is V16
        else {
            "FormatViolation",
            "RpcFrameworkError",
            "MessageTypeNotSupported",
        }
    )
    assert found[2] in expected


@ALL
def test_a_long_id_is_an_error_echoed_all_the_same(adapter: Adapter) -> None:
    for length in (37, 255):
        found = said(adapter, call("Heartbeat", {}, "x" * length))
        assert found is not None
        assert found[:2] == [4, "x" * length]
    assert inbound(adapter, call("Heartbeat", {}, "x" * 36)).message == Beat()


def test_the_word_for_a_frame_that_is_none() -> None:
    assert said(V201, "{")[2] == "RpcFrameworkError"  # type: ignore[index]
    assert said(V201, '[2,"a","Heartbeat",[]]')[2] == "FormatViolation"  # type: ignore[index]
    assert said(V201, '[9,"a"]')[2] == "MessageTypeNotSupported"  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    ['[3,"x",{"status":"Accepted"}]', '[4,"x","GenericError","",{}]', "[3]", "[4]", '[3,"x",{', '[5,"x"]', "[6]"],
)
@ALL
def test_answers_are_never_answered(adapter: Adapter, text: str) -> None:
    assert inbound(adapter, text).answer is None


def test_results_and_errors_reach_who_waits_for_them() -> None:
    result = inbound(V16, '[3,"c-1",{"status":"Accepted","limit":16.5,"n":2.0}]')
    assert (result.kind, result.message_id, result.payload) == (
        "result",
        "c-1",
        {"status": "Accepted", "limit": 16.5, "n": 2},
    )
    json.dumps(result.payload)
    error = inbound(V16, '[4,"c-1","OccurenceConstraintViolation","no key",{"at":1.5}]')
    assert (error.kind, error.code, error.description) == ("error", "OccurenceConstraintViolation", "no key")
    assert error.payload == {"at": 1.5}
    assert inbound(V21, '[5,"s-1","FormatViolation","tariff",{}]').kind == "result_error"


def test_a_send_is_taken_in_2_1_and_never_answered() -> None:
    payload = {"id": 1, "pending": 0, "basetime": "2025-03-14T09:26:53Z", "data": [{"t": 0.5, "v": "230"}]}
    good = inbound(V21, json.dumps([6, "s-1", "NotifyPeriodicEventStream", payload]))
    assert isinstance(good.message, Noted)
    assert good.message.facts["data"] == [{"t": 0.5, "v": "230"}]
    assert good.answer is None
    for adapter, action, content in (
        (V21, "Heartbeat", {}),
        (V21, "NotifyPeriodicEventStream", {}),
        (V201, "NotifyPeriodicEventStream", payload),
        (V16, "Heartbeat", {}),
    ):
        dropped = inbound(adapter, json.dumps([6, "s-1", action, content]))
        assert (dropped.kind, dropped.message, dropped.answer) == ("send", None, None)
        assert dropped.code


def test_a_refusal_by_the_socket_has_the_version_s_word() -> None:
    assert refuse(V201, "m", Fault.SECURITY, "Not accepted yet") == '[4,"m","SecurityError","Not accepted yet",{}]'
    assert refuse(V16, "m", Fault.INTERNAL) == '[4,"m","InternalError","",{}]'


def test_a_reply_that_does_not_fit_is_a_defect_of_ours() -> None:
    boot = inbound(V16, call("BootNotification", {"chargePointVendor": "a", "chargePointModel": "b"}))
    with pytest.raises(ValueError, match="Ack does not answer BootNotification"):
        answer(V16, boot, Ack())
    start = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2025-03-14T09:26:53Z"}
    with pytest.raises(ValueError, match="number"):
        answer(V16, inbound(V16, call("StartTransaction", start)), SessionReply(TokenInfo(TokenStatus.ACCEPTED)))
    with pytest.raises(ValueError, match="understood"):
        answer(V16, inbound(V16, call("OpenPod", {})), Ack())


# --- hostile frames --------------------------------------------------------------------------------


def start(**members: Any) -> str:
    whole = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2025-03-14T09:26:53Z"}
    return call("StartTransaction", whole | members)


def test_texts_that_look_like_something_else_stay_texts() -> None:
    for text in ("\u202egnp.exe", "a\u200bb", "\u0410B", "=1+1", "<script>alert(1)</script>", "{{7*7}}", "' OR 1=1"):
        found = inbound(V16, call("Authorize", {"idTag": text}))
        assert found.message == AuthorizeAsked(Token(text))
        vendor = inbound(V16, call("BootNotification", {"chargePointVendor": text, "chargePointModel": "m"}))
        assert isinstance(vendor.message, Booted)
        assert vendor.message.vendor == text


@pytest.mark.parametrize("number", [-(2**63), -(2**31), -1, 32768, 2**31, 2**63, 10**19])
def test_a_connector_no_station_has_is_refused(number: int) -> None:
    found = said(V16, start(connectorId=number))
    assert found is not None
    assert found[2] == "PropertyConstraintViolation"


@pytest.mark.parametrize("number", [0, 1, 9999, 32767])
def test_a_connector_out_of_the_ordinary_is_answered_by_the_domain(number: int) -> None:
    message = inbound(V16, start(connectorId=number)).message
    assert isinstance(message, SessionStarted)
    assert message.connector == number


@pytest.mark.parametrize(
    ("number", "register"), [(-5, Decimal(-5)), (0, Decimal(0)), (2**31, Decimal(2**31)), (2**63, None), (10**19, None)]
)
def test_a_meter_reading_beyond_all_meters_is_none(number: int, register: Decimal | None) -> None:
    message = inbound(V16, start(meterStart=number)).message
    assert isinstance(message, SessionStarted)
    assert message.register_wh == register


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z",
        "222222017-01-01T00:00:00Z",
        "-1",
        "2025-03-14T09:26:53+99:99",
        "9999-12-31T23:59:59Z",
        "yesterday",
        "",
        "x" * 5000,
    ],
)
def test_a_start_without_a_usable_time_is_a_start(text: str) -> None:
    message = inbound(V16, start(timestamp=text)).message
    assert isinstance(message, SessionStarted)
    assert message.at is None
    assert message.at_raw == text[:64]


@pytest.mark.parametrize("reference", [-1, 0, None])
def test_no_transaction_in_meter_values(reference: int | None) -> None:
    text = call(
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": reference,
            "meterValue": [{"timestamp": "x", "sampledValue": [{"value": "1"}]}],
        },
    )
    message = inbound(V16, text).message
    assert isinstance(message, MeterRead)
    assert message.transaction_ref is None


@pytest.mark.parametrize("reference", [-1, 0, 1, 2**31, 2**63])
def test_a_stop_keeps_the_reference_it_came_with(reference: int) -> None:
    text = call("StopTransaction", {"transactionId": reference, "meterStop": 1, "timestamp": "2025-03-14T09:26:53Z"})
    message = inbound(V16, text).message
    assert isinstance(message, SessionEnded)
    assert message.transaction_ref == str(reference)


def event(seq_no: Any, kind: str = "Updated", **members: Any) -> str:
    whole = {
        "eventType": kind,
        "timestamp": "2025-03-14T09:26:53Z",
        "triggerReason": "Trigger",
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": "t"},
    }
    return call("TransactionEvent", whole | members)


def test_sequence_numbers() -> None:
    for adapter in (V201, V21):
        assert inbound(adapter, event(2**31 - 1)).message is not None
        for number in (2**31, 10**19):
            assert said(adapter, event(number))[2] == "PropertyConstraintViolation"  # type: ignore[index]
    assert inbound(V201, event(-1)).message is not None
    assert inbound(V201, event(4.0)).message.seq_no == 4  # type: ignore[union-attr]


@ALL
def test_large_frames_are_read_or_refused(adapter: Adapter) -> None:
    vendor = inbound(adapter, call("DataTransfer", {"vendorId": "x", "data": "<b>" * 300_000}))
    assert vendor.message == VendorSaid("x", data="<b>" * 300_000)
    place = {"connectorId": 1} if adapter is V16 else {"evseId": 1}
    value = "1" if adapter is V16 else 1
    many = [{"timestamp": "2025-03-14T09:26:53Z", "sampledValue": [{"value": value}] * 10_000}]
    found = inbound(adapter, call("MeterValues", place | {"meterValue": many})).message
    assert isinstance(found, MeterRead)
    assert len(found.readings) == 1
    assert said(adapter, call("MeterValues", place | {"meterValue": [{}] * 200_000})) is not None


@ALL
def test_custom_data_is_carried_anywhere_and_may_nest(adapter: Adapter) -> None:
    nested: dict[str, Any] = {"vendorId": "x", "deep": [{"a": [{"b": [1, {"c": {}}]}]}]}
    found = inbound(adapter, call("Heartbeat", {"customData": nested}))
    assert found.message == Beat()
    too_deep: Any = {}
    for _ in range(40):
        too_deep = {"x": too_deep}
    assert said(adapter, call("Heartbeat", {"customData": {"vendorId": "x", "d": too_deep}})) is not None


# --- deviations ------------------------------------------------------------------------------------


def test_a_frame_as_the_book_has_it_deviates_in_nothing() -> None:
    for path in golden.files():
        form = golden.read(path)
        if "frame" in form and "message" in form and "deviations" not in form:
            adapter = ADAPTERS[golden.SUBPROTOCOLS[path.parent.name]]
            payload = form["frame"][3]
            before = copy.deepcopy(payload)
            assert schemas.accept(adapter.version, form["frame"][2], payload) == (before, ())


def test_the_journal_gets_what_was_sent_not_what_was_made_of_it() -> None:
    found = inbound(V16, call("Authorize", {"idTag": 123, "connectorId": 1}))
    assert found.message == AuthorizeAsked(Token("123"))
    assert found.payload == {"idTag": 123, "connectorId": 1}
    assert set(found.deviations) == {"number_for_text", "extra_member"}


# --- asks ------------------------------------------------------------------------------------------


def test_a_raw_call_must_be_json_and_its_numbers_stay_exact() -> None:
    with pytest.raises(NotExpressible, match="JSON"):
        V201.encode_ask(RawCall("DataTransfer", {"vendorId": "x", "data": object()}))
    with pytest.raises(NotExpressible):
        V201.encode_ask(RawCall("CostUpdated", {"totalCost": float("nan"), "transactionId": "t"}))
    action, payload = V16.encode_ask(RawCall("DataTransfer", {"vendorId": "x", "data": "y"}))
    assert frame.encode_call("1", action, payload) == '[2,"1","DataTransfer",{"vendorId":"x","data":"y"}]'


def test_the_whole_station_cannot_be_started() -> None:
    for adapter in ADAPTERS.values():
        with pytest.raises(NotExpressible, match="one"):
            adapter.encode_ask(StartCharging(Token("A"), evse=0))


@pytest.mark.parametrize("kind", list(TokenType))
def test_every_kind_of_token_has_its_word_in_2_x(kind: TokenType) -> None:
    value = "" if kind is TokenType.NONE else "ABC"
    for adapter in (V201, V21):
        _, payload = adapter.encode_ask(StartCharging(Token(value, kind), evse=1, remote_start_id=1))
        back = inbound(adapter, call("Authorize", {"idToken": payload["idToken"]})).message
        assert isinstance(back, AuthorizeAsked)
        expected = TokenType.CENTRAL if kind is TokenType.APP else kind
        assert back.token == Token(value, expected)


@pytest.mark.parametrize("status", list(TokenStatus))
@ALL
def test_every_token_status_has_its_word(adapter: Adapter, status: TokenStatus) -> None:
    token: Any = "A" if adapter is V16 else {"idToken": "A", "type": "Central"}
    asked = inbound(adapter, call("Authorize", {"idTag" if adapter is V16 else "idToken": token}))
    info = TokenInfo(status, group="g" * 30, expires_at=NOW)
    sent = json.loads(answer(adapter, asked, AuthorizeReply(info)))[2]
    found = sent["idTagInfo" if adapter is V16 else "idTokenInfo"]
    assert (found["status"] == "Accepted") == (status is TokenStatus.ACCEPTED)
    assert ("parentIdTag" in found) is False  # 30 characters do not go into 20


# --- what always holds -----------------------------------------------------------------------------


def reply_to(message: Message) -> Reply:
    """Return a reply of the right kind."""
    match message:
        case Booted():
            return BootReply(Registration.ACCEPTED, NOW, 300)
        case Beat():
            return BeatReply(NOW)
        case AuthorizeAsked():
            return AuthorizeReply(TokenInfo(TokenStatus.ACCEPTED))
        case SessionStarted() | SessionEnded() | TokenPresented():
            return SessionReply(TokenInfo(TokenStatus.ACCEPTED), 1, Decimal("1.50"))
        case VendorSaid():
            return VendorReply("UnknownVendorId")
        case _:
            return Ack()


def holds(adapter: Adapter, text: str) -> None:
    """A call becomes either a message, and then can be answered, or an error; and fits what it is stored in."""
    found = inbound(adapter, text)
    assert found.code != "InternalError"
    assert (found.message is None) == (found.answer is not None)
    if found.message is None:
        assert json.loads(found.answer or "")[:3] == [4, found.message_id, found.code]
        return
    schemas.check(
        adapter.version, found.action, "response", json.loads(answer(adapter, found, reply_to(found.message)))[2]
    )
    fits(found.message)


def fits(message: Message) -> None:
    if isinstance(message, TokenPresented):
        message = message.read
    if isinstance(message, StatusChanged):
        assert 0 <= message.evse <= 32767
        assert 0 <= message.connector <= 32767
    if isinstance(message, SessionStarted | MeterRead | SessionEnded):
        assert message.transaction_ref is None or len(message.transaction_ref) <= 64
        assert message.evse is None or 0 <= message.evse <= 32767
        assert message.seq_no is None or abs(message.seq_no) <= 2**31
        assert len(message.at_raw) <= 64
        for reading in message.readings:
            assert len(reading.context) <= 24
            assert reading.energy_wh is None or abs(reading.energy_wh) < 10**12
            assert reading.power_w is None or abs(reading.power_w) < 10**12
            assert reading.current_l1 is None or abs(reading.current_l1) < 10**7
            assert reading.soc_percent is None or abs(reading.soc_percent) < 10**4
            json.dumps(dict(reading.other or {}))
    if isinstance(message, Noted):
        json.dumps({name: value for name, value in message.facts.items() if name not in ("settings", "states")})


SUPPORTED = [
    (subprotocol, action)
    for subprotocol, adapter in ADAPTERS.items()
    for action in sorted(schemas.actions(adapter.version))
    if adapter.supported(action) and action not in adapter.sends
]
FORMS = [
    (golden.SUBPROTOCOLS[path.parent.name], frame.plain(form["frame"][2:]))
    for path in golden.files()
    if "frame" in (form := golden.read(path))
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(SUPPORTED), st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_any_payload_is_a_message_or_an_error(target: tuple[str, str], payload: dict[str, Any]) -> None:
    text = call(target[1], payload)
    try:
        frame.decode(text)
    except frame.FrameError:
        return
    holds(ADAPTERS[target[0]], text)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.just([]),
    st.just({}),
    st.just(""),
    st.integers(-(10**19), 10**19),
    st.sampled_from(
        ["NaN", "1,5", "-1", "12.50", " 7 ", "true", "1e5", "Hz", "available", "0" * 30, "9" * 15, "x" * 300]
    ),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e20, max_value=1e20),
    JSON,
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_a_good_frame_with_one_member_changed_is_a_message_or_an_error(data: st.DataObject) -> None:
    subprotocol, (action, payload) = data.draw(st.sampled_from(FORMS))
    payload = copy.deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = payload
        while True:
            steps = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not steps:
                break
            step = data.draw(st.sampled_from(steps))
            below = node[step]
            if isinstance(below, dict | list) and below and data.draw(st.booleans()):
                node = below
                continue
            change = data.draw(st.sampled_from(["replace", "remove", "add"]))
            if change == "replace":
                node[step] = data.draw(ODD)
            elif change == "remove":
                del node[step]
            elif isinstance(node, dict):
                node[data.draw(st.text(max_size=5))] = data.draw(ODD)
            else:
                node.append(data.draw(ODD))
            break
    text = call(action, payload)
    try:
        frame.decode(text)
    except frame.FrameError:
        return
    adapter = ADAPTERS[subprotocol]
    if adapter.supported(action) and action not in adapter.sends:
        holds(adapter, text)


ASKS = [
    (golden.SUBPROTOCOLS[path.parent.name], golden.built(form["ask"]), frame.plain(form.get("result", {})))
    for path in golden.files()
    if "ask" in (form := golden.read(path)) and "call" in form
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(ASKS), st.data())
def test_any_result_has_an_outcome(target: tuple[str, Any, Any], data: st.DataObject) -> None:
    subprotocol, ask, result = target
    names = st.sampled_from([*result, "status", "configurationKey", "getVariableResult", "setVariableResult"])
    payload = {
        **result,
        **data.draw(st.dictionaries(names, ODD | st.lists(st.dictionaries(st.text(max_size=3), JSON)))),
    }
    outcome = ADAPTERS[subprotocol].decode_result(ask, payload)
    assert outcome.status in ("accepted", "rejected")
    assert len(outcome.word) <= 60
    assert all(len(setting.key) <= 120 and len(setting.component) <= 120 for setting in outcome.settings)
