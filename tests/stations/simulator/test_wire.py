from __future__ import annotations

import json

import orjson

from stations.simulator.wire import AckJournal, Tally, basic_auth, percentiles, station_url
from tests.stations.simulator.csms import Csms


def test_the_identity_is_percent_encoded_once_behind_any_base():
    assert station_url("ws://h:1/ocpp/", "CP 1/2") == "ws://h:1/ocpp/CP%201%2F2"
    assert station_url("ws://h:1/ocpp", "CP-1") == "ws://h:1/ocpp/CP-1"


def test_a_password_may_be_any_bytes():
    assert basic_auth("CP", "secret") == "Basic Q1A6c2VjcmV0"
    assert basic_auth("CP", b"\xff\x00") == "Basic Q1A6/wA="


def test_percentiles_are_milliseconds():
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None, "max": None}
    latencies = [n / 1000 for n in range(1, 101)]
    assert percentiles(reversed(latencies)) == {"p50": 51.0, "p95": 96.0, "p99": 100.0, "max": 100.0}


def test_a_summary_is_plain_json():
    assert json.loads(orjson.dumps(Tally(sent=3).summary()))["sent"] == 3


def test_a_journal_line_is_there_before_the_next_is_written(tmp_path):
    path = tmp_path / "acks.jsonl"
    with AckJournal(path) as journal:
        journal.write("S", "1", "Heartbeat", {}, {"currentTime": "x"})
        assert json.loads(path.read_text()) == {
            "station": "S",
            "id": "1",
            "action": "Heartbeat",
            "payload": {},
            "result": {"currentTime": "x"},
        }
    with AckJournal(path) as journal:
        journal.write("S", "2", "Heartbeat", {}, {})
    assert len(path.read_text().splitlines()) == 2


async def test_strange_frames_of_a_csms_are_ignored(csms: Csms, build):
    station = build()
    await csms.ready()
    socket = csms.sockets["S1"]
    for text in ("[", "[]", "{}", '"x"', "[3]", '[3,"nobody",{}]', '[4,"nobody","GenericError"]', "[5,{},[]]", "[2,7]"):
        await socket.send(text)
    assert await csms.call("S1", "ClearCache", {}) == {"status": "Accepted"}
    assert csms.connects == ["S1"]
    assert station.online


async def test_a_second_answer_changes_nothing(csms: Csms, build):
    late: list[str] = []

    def slow(payload: dict) -> dict:
        late.append(csms.calls[-1].id)
        return {"idTagInfo": {"status": "Accepted"}}

    csms.answers["Authorize"] = slow
    station = build()
    await csms.ready()
    await csms.wait_until(lambda: station.online)
    assert station.link is not None
    answer = await station.link.call("Authorize", {"idTag": "A"})
    assert answer["idTagInfo"]["status"] == "Accepted"
    acked = station.tally.acked
    await csms.sockets["S1"].send(json.dumps([3, late[0], {"idTagInfo": {"status": "Blocked"}}]))
    await csms.call("S1", "ClearCache", {})
    assert station.tally.acked == acked
