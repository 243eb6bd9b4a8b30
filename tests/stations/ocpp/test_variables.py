"""How variables of the device model are written, and what a station may answer about them."""

from __future__ import annotations

from typing import Any

import pytest

from stations.messages import NotExpressible, Outcome, Setting
from stations.ocpp.variables import named, read, written, written_form


@pytest.mark.parametrize(
    ("key", "component", "variable"),
    [
        ("OCPPCommCtrlr.HeartbeatInterval", {"name": "OCPPCommCtrlr"}, {"name": "HeartbeatInterval"}),
        ("A[x.y].B[z.1]", {"name": "A", "instance": "x.y"}, {"name": "B", "instance": "z.1"}),
        ("EVSE#2.Power", {"name": "EVSE", "evse": {"id": 2}}, {"name": "Power"}),
        (
            "Connector[a]#1/2.X",
            {"name": "Connector", "instance": "a", "evse": {"id": 1, "connectorId": 2}},
            {"name": "X"},
        ),
    ],
)
def test_a_key_names_a_variable_and_is_written_back(
    key: str, component: dict[str, Any], variable: dict[str, Any]
) -> None:
    found = named(key)
    assert found == {"component": component, "variable": variable}
    assert f"{written_form(component)}.{written_form(variable)}" == key
    own = key.removeprefix(written_form(component) + ".")
    assert named(own, written_form(component)) == found


@pytest.mark.parametrize(
    "key", ["", ".", "HeartbeatInterval", "A.", ".B", "A.B#1", "A.B.C", "A[.B", "A#x.B", "A[x]y.B"]
)
def test_what_names_no_variable(key: str) -> None:
    with pytest.raises(NotExpressible):
        named(key)


@pytest.mark.parametrize(
    "entries",
    [
        None,
        {},
        "x",
        [],
        [None],
        [{}],
        [{"component": {"name": "A"}}],
        [{"component": {"name": "A", "evse": 1}, "variable": {"name": "B"}}],
    ],
)
def test_an_answer_that_says_nothing(entries: Any) -> None:
    assert read(entries) == ()


def test_values_of_any_type_are_texts() -> None:
    part = {"component": {"name": "A"}, "variable": {"name": "B"}, "attributeStatus": "Accepted"}
    values = [read([{**part, "attributeValue": value}])[0] for value in ("x", 5, True, None)]
    assert values == [Setting("B", value, component="A") for value in ("x", "5", "true", "")]


def test_of_several_variables_the_first_refused_decides() -> None:
    results = [{"attributeStatus": word} for word in ("Accepted", "Rejected", "UnknownVariable")]
    assert written(results) == Outcome("rejected", "Rejected")
    assert written(results[:1]) == Outcome("accepted", "Accepted")
    assert written([]) == written(None) == written([{}]) == Outcome("rejected")
