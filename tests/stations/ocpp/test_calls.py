"""One call in flight: answers, errors, timeouts, late answers and lost connections (OCPP-J §4.1.1)."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stations.ocpp.calls import Answered, Busy, Calls, Failed, Lost, TimedOut

NOW = dt.datetime(2025, 3, 14, 9, 26, 53, tzinfo=dt.UTC)
MINUTE = dt.timedelta(seconds=60)


def test_a_call_and_its_answer() -> None:
    calls = Calls()
    assert calls.send(7, "m-1", "Reset", {"type": "Soft"}, NOW) == '[2,"m-1","Reset",{"type":"Soft"}]'
    assert calls.pending is not None
    assert calls.pending.deadline == NOW + MINUTE
    assert calls.on_result("m-1", {"status": "Accepted"}) == Answered(7, "m-1", "Reset", {"status": "Accepted"})
    assert calls.pending is None
    assert calls.on_result("m-1", {"status": "Accepted"}) is None


def test_a_second_call_waits() -> None:
    calls = Calls()
    calls.send(1, "m-1", "Reset", {}, NOW)
    with pytest.raises(Busy):
        calls.send(2, "m-2", "Reset", {}, NOW)
    assert calls.on_error("m-1", "NotSupported", "no", {}) == Failed(1, "m-1", "Reset", "NotSupported", "no", {})
    calls.send(2, "m-2", "Reset", {}, NOW)


def test_an_answer_to_nothing_is_ignored() -> None:
    calls = Calls()
    assert calls.on_result("other", {}) is None
    calls.send(1, "m-1", "Reset", {}, NOW)
    assert calls.on_result("other", {}) is None
    assert calls.on_error("M-1", "GenericError", "", {}) is None
    assert calls.pending is not None


def test_a_call_times_out_and_its_late_answer_is_never_the_next_one_s() -> None:
    calls = Calls()
    calls.send(1, "m-1", "GetLog", {}, NOW)
    assert calls.on_timeout(NOW + MINUTE - dt.timedelta(microseconds=1)) is None
    assert calls.on_timeout(NOW + MINUTE) == TimedOut(1, "m-1", "GetLog")
    assert calls.on_timeout(NOW + 9 * MINUTE) is None
    calls.send(2, "m-2", "Reset", {}, NOW + MINUTE)
    assert calls.on_result("m-1", {"status": "Accepted"}) == Answered(
        1, "m-1", "GetLog", {"status": "Accepted"}, late=True
    )
    assert calls.on_result("m-1", {"status": "Accepted"}) is None
    assert calls.pending is not None
    assert calls.pending.command_id == 2
    assert calls.on_result("m-2", {}) == Answered(2, "m-2", "Reset", {})


def test_a_late_error_is_late_too() -> None:
    calls = Calls()
    calls.send(1, "m-1", "GetLog", {}, NOW)
    calls.on_timeout(NOW + MINUTE)
    failed = calls.on_error("m-1", "InternalError", "", {})
    assert failed is not None
    assert failed.late


def test_silence_is_counted_until_an_answer_in_time() -> None:
    calls = Calls()
    for n in range(1, 4):
        calls.send(n, f"m-{n}", "Reset", {}, NOW)
        calls.on_timeout(NOW + MINUTE)
        assert calls.silent == n
    calls.on_result("m-1", {})
    assert calls.silent == 3
    calls.send(9, "m-9", "Reset", {}, NOW)
    calls.on_result("m-9", {})
    assert calls.silent == 0


def test_a_closed_connection_loses_the_call_in_flight() -> None:
    calls = Calls()
    assert calls.on_close() is None
    calls.send(1, "m-1", "Reset", {}, NOW)
    assert calls.on_close() == Lost(1, "m-1", "Reset")
    assert calls.on_close() is None
    assert calls.on_result("m-1", {}) is None


class Talk(RuleBasedStateMachine):
    """Whatever happens in whatever order: every command ends once, and only by what belongs to it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()
        self.now = NOW
        self.sent = 0
        self.ended: dict[int, str] = {}
        self.late: set[int] = set()

    def end(self, command_id: int, how: str) -> None:
        assert command_id not in self.ended
        self.ended[command_id] = how

    @precondition(lambda self: self.calls.pending is None)
    @rule()
    def send(self) -> None:
        self.sent += 1
        self.calls.send(self.sent, f"m-{self.sent}", "Reset", {}, self.now)

    @rule(back=st.integers(0, 5), error=st.booleans())
    def answer(self, back: int, error: bool) -> None:
        n = self.sent - back
        event = self.calls.on_error(f"m-{n}", "GenericError", "", {}) if error else self.calls.on_result(f"m-{n}", {})
        if event is None:
            return
        assert event.command_id == n
        if event.late:
            assert self.ended[n] == "timeout"
            assert n not in self.late
            self.late.add(n)
        else:
            self.end(n, "answer")

    @rule(seconds=st.integers(0, 70))
    def wait(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)
        event = self.calls.on_timeout(self.now)
        if event is not None:
            self.end(event.command_id, "timeout")

    @rule()
    def close(self) -> None:
        event = self.calls.on_close()
        if event is not None:
            self.end(event.command_id, "lost")
        self.calls = Calls()

    @invariant()
    def all_but_one_have_ended(self) -> None:
        open_commands = set(range(1, self.sent + 1)) - set(self.ended)
        pending = self.calls.pending
        assert open_commands == (set() if pending is None else {pending.command_id})


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
