"""The strict reader: what is a frame, what is not, and what can still be answered."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stations.ocpp import frame
from stations.ocpp.frame import Call, CallError, CallResult, CallResultError, Fault, FrameError, Send

HEAD = '[2,"id-1","DataTransfer",'


def refusal(text: str | bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        frame.decode(text)
    return caught.value


def test_each_kind_of_frame() -> None:
    assert frame.decode('[2,"a","Heartbeat",{}]') == Call("a", "Heartbeat", {})
    assert frame.decode(b'[2,"a","Heartbeat",{}]') == Call("a", "Heartbeat", {})
    assert frame.decode(' [ 3 , "a" , {"status":"Accepted"} ] ') == CallResult("a", {"status": "Accepted"})
    assert frame.decode('[4,"a","NotSupported","no",{"x":1}]') == CallError("a", "NotSupported", "no", {"x": 1})
    assert frame.decode('[5,"a","FormatViolation","",{}]') == CallResultError("a", "FormatViolation", "", {})
    assert frame.decode('[6,"a","NotifyPeriodicEventStream",{}]') == Send("a", "NotifyPeriodicEventStream", {})


def test_numbers_keep_every_digit() -> None:
    found = frame.decode(HEAD + '{"a":0.10,"b":12345678901234567890,"c":1e3,"d":-0,"e":12.300000190734863}]')
    assert isinstance(found, Call)
    assert str(found.payload["a"]) == "0.10"
    assert found.payload["b"] == 12345678901234567890
    assert found.payload["c"] == Decimal("1E+3")
    assert found.payload["d"] == 0
    assert str(found.payload["e"]) == "12.300000190734863"
    assert frame.dump(found.payload) == ('{"a":0.10,"b":12345678901234567890,"c":1000,"d":0,"e":12.300000190734863}')


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"a":' + "9" * 21 + "}",
        '{"a":-' + "9" * 5000 + "}",
        '{"a":1e400}',
        '{"a":1e-400}',
        '{"a":0.' + "3" * 100 + "}",
        '{"a":' + "[" * 31 + "]" * 31 + "}",
        '{"a":"\\u0000"}',
        '{"\\u0000":1}',
        '{"a":"\\ud800"}',
        '{"a":"\\udc00x"}',
        '{"a":"\t"}',
        '{"a":}',
        '{"a":1',
        "{'a':1}",
        '{"a":1},',
    ],
)
def test_a_payload_that_breaks_the_rules_is_answered_under_its_id(payload: str) -> None:
    error = refusal(HEAD + payload + "]")
    assert (error.message_id, error.fault, error.answerable) == ("id-1", Fault.FORMAT, True)


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":' + "9" * 20 + "}",
        '{"a":' + "[" * 30 + "]" * 30 + "}",
        '{"a":"[[[[{{{{\\"]]"}',
        '{"a":"\\ud83d\\ude97 \\\\u0000"}',
        '{"a":"' + "x" * 500_000 + '"}',
    ],
)
def test_a_payload_at_the_limits_is_a_payload(payload: str) -> None:
    assert isinstance(frame.decode(HEAD + payload + "]"), Call)


def test_depth_is_counted_whatever_the_texts_hold() -> None:
    deep = '["]",' * 40 + "1" + "]" * 40
    assert refusal(HEAD + '{"a":' + deep + "}]").fault is Fault.FORMAT


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        ("", None),
        ("x", None),
        ('"text"', None),
        ("17", None),
        ("null", None),
        ("{}", None),
        ("[]", None),
        ("[2]", None),
        ('[2,"a"]', "a"),
        ('[2,"a","Heartbeat"]', "a"),
        ('[2,"a","Heartbeat",{},{}]', "a"),
        ('[2,"a","Heartbeat",{},{},1]', "a"),
        ('[2,7,"Heartbeat",{}]', None),
        ('[2,null,"Heartbeat",{}]', None),
        ('[2,["a"],"Heartbeat",{}]', None),
        ('[2,"","Heartbeat",{}]', None),
        ('[2,"' + "x" * 37 + '","Heartbeat",{}]', "x" * 37),
        ('[2,"' + "x" * 255 + '","Heartbeat",{}]', "x" * 255),
        ('[2,"' + "x" * 256 + '","Heartbeat",{}]', None),
        ('[2,"a",["Heartbeat"],{}]', "a"),
        ('[2,"a",{},{}]', "a"),
        ('[2,"a",null,{}]', "a"),
        ('[2,"a","Heartbeat",null]', "a"),
        ('[2,"a","Heartbeat",[]]', "a"),
        ('[2,"a","Heartbeat","{}"]', "a"),
        ('[0,"a","Heartbeat",{}]', "a"),
        ('[-1,"a","Heartbeat",{}]', "a"),
        ('[7,"a","Heartbeat",{}]', "a"),
        ('["2","a","Heartbeat",{}]', "a"),
        ('[2.0,"a","Heartbeat",{}]', "a"),
        ('[true,"a","Heartbeat",{}]', "a"),
        ('\ufeff[2,"a","Heartbeat",{}]', "a"),
        ('[2,"a","Heartbeat",{}]\x00', "a"),
        ("[" * 100_000, None),
        ("{" * 100_000, None),
        ('{"a":' * 100_000, None),
    ],
)
def test_what_is_no_call_names_its_id_where_it_can(text: str, message_id: str | None) -> None:
    error = refusal(text)
    assert (error.message_id, error.answerable) == (message_id, True)


@pytest.mark.parametrize("data", [b"\xff\xfe", b'[2,"a","Heartbeat",{"x":"\xc0\xaf"}]', b'["\xed\xa0\x80"]'])
def test_bytes_that_are_not_utf8(data: bytes) -> None:
    assert refusal(data).message_id is None


@pytest.mark.parametrize(
    "text", ["[3]", "[3,7,{}]", '[3,"a",{', '[4,"a"', "[4]", "[4,null,1]", "[5]", '[6,"a","X",[]]', '[6,"a"]', "[6,"]
)
def test_a_broken_answer_is_never_answered(text: str) -> None:
    assert refusal(text).answerable is False


@pytest.mark.parametrize("text", ['[3,"a"]', '[3,"a",null]', '[3,"a",[]]', '[3,"a",{},{}]'])
def test_a_result_that_cannot_be_read_ends_its_call_as_an_error(text: str) -> None:
    found = frame.decode(text)
    assert isinstance(found, CallError)
    assert found.id == "a"


def test_an_error_is_read_however_short_it_is() -> None:
    assert frame.decode('[4,"a"]') == CallError("a", "GenericError", "", {})
    assert frame.decode('[4,"a","InternalError"]') == CallError("a", "InternalError", "", {})
    assert frame.decode('[4,"a",7,null,[]]') == CallError("a", "GenericError", "", {})
    long = frame.decode(json.dumps([4, "a", "X", "y" * 1000, {}]))
    assert isinstance(long, CallError)
    assert len(long.description) == 255


def test_more_than_a_mebibyte_is_refused() -> None:
    assert refusal(HEAD + '{"a":"' + "x" * frame.MAX_BYTES + '"}]').message_id == "id-1"


def test_what_is_sent_is_compact_and_exact() -> None:
    assert frame.encode_call("1", "CostUpdated", {"totalCost": Decimal("3.20")}) == (
        '[2,"1","CostUpdated",{"totalCost":3.20}]'
    )
    assert frame.encode_result("1", {"status": "Accepted", "cost": Decimal("0.00")}) == (
        '[3,"1",{"status":"Accepted","cost":0.00}]'
    )
    assert frame.dump(Decimal("1E+5")) == "100000"
    assert frame.dump({"a": [99999999999999999999, -(2**63) - 1, True]}) == (
        '{"a":[99999999999999999999,-9223372036854775809,true]}'
    )
    assert frame.encode_error("1", "GenericError", "é" * 300) == f'[4,"1","GenericError","{"é" * 255}",{{}}]'
    with pytest.raises(TypeError):
        frame.dump({"a": Decimal("NaN")})
    with pytest.raises(TypeError):
        frame.dump({"a": object()})


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_a_decimal_survives_the_wire(number: Decimal) -> None:
    text = format(number, "f")
    if len(text) <= 70:
        found = frame.load(frame.dump([number]))[0]
        assert found == number


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_nothing_but_a_frame_error_is_raised(data: bytes | str) -> None:
    with contextlib.suppress(FrameError):
        assert frame.decode(data).id


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.lists(st.sampled_from([2, 3, 4, 5, 6, "id", "Heartbeat"]) | JSON, max_size=6))
def test_nothing_but_a_frame_error_is_raised_by_json(value: Any) -> None:
    try:
        found = frame.decode(json.dumps(value))
    except FrameError:
        return
    assert frame.plain(found.payload if isinstance(found, Call | CallResult | Send) else found.details) is not None


# --- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00.000Z"),
        ("2024-05-01T12:00:00.123456789Z", "2024-05-01T12:00:00.123Z"),
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00.000Z"),
        ("2024-05-01T12:00:00+02", "2024-05-01T10:00:00.000Z"),
        ("2024-05-01T12:00:00-0330", "2024-05-01T15:30:00.000Z"),
        ("2024-05-01T12:00:00", "2024-05-01T12:00:00.000Z"),
        ("2024-05-01 12:00:00", "2024-05-01T12:00:00.000Z"),
        ("2024-05-01t12:00:00z", "2024-05-01T12:00:00.000Z"),
        ("  2024-05-01T12:00:00Z ", "2024-05-01T12:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", None),
        ("0000-00-00T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2222-01-01T00:00:00Z", None),
        ("222222017-01-01T00:00:00Z", None),
        ("2024-05-01T12:00:00+99:99", None),
        ("2024-05-01", None),
        ("2024-W18-3", None),
        ("20240501", None),
        ("-1", None),
        ("yesterday", None),
        ("yesterday at noon", None),
        ("", None),
        ("   ", None),
        (None, None),
        (1714564800, None),
    ],
)
def test_times(text: object, expected: str | None) -> None:
    found = frame.read_time(text)
    assert (None if found is None else frame.write_time(found)) == expected
    assert found is None or found.tzinfo is dt.UTC


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader_of_times(text: str) -> None:
    found = frame.read_time(text)
    assert found is None or 1970 <= found.year < 2200


@given(st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2199, 12, 31), timezones=st.timezones()))
def test_a_time_survives_the_wire(at: dt.datetime) -> None:
    found = frame.read_time(frame.write_time(at))
    assert found is not None
    assert abs(found - at) < dt.timedelta(milliseconds=1)
