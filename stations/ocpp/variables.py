"""Variables of the 2.x device model ↔ `Setting` (pure).

A variable is written ``Component.Variable``, an instance in brackets, the EVSE of a component after a hash
and the connector after a slash: ``OCPPCommCtrlr.HeartbeatInterval``, ``Connector#1/2.AvailabilityState``,
``OCPPCommCtrlr.MessageTimeout[Default]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeGuard

from stations.messages import NotExpressible, Outcome, Setting
from stations.ocpp import fields

_KEY: Final = re.compile(r"(?P<component>[^.\[]+(?:\[[^\]]*\])?[^.]*)\.(?P<variable>.+)")
_PART: Final = re.compile(
    r"(?P<name>[^\[\]#.]+)(?:\[(?P<instance>[^\]]+)\])?(?:#(?P<evse>\d{1,5})(?:/(?P<connector>\d{1,5}))?)?"
)


def named(key: str, component: str = "") -> dict[str, Any]:
    """Return the component and variable a key names.

    Raises:
        NotExpressible: it names none.

    """
    if not component:
        parts = _KEY.fullmatch(key)
        if parts is None:
            raise NotExpressible(f"Name the component too, as in OCPPCommCtrlr.HeartbeatInterval: {key}")
        component, key = parts["component"], parts["variable"]
    of_component, of_variable = _PART.fullmatch(component), _PART.fullmatch(key)
    if of_component is None or of_variable is None or of_variable["evse"]:
        raise NotExpressible(f"Not a variable: {component}.{key}")
    evse, connector = (None if digits is None else int(digits) for digits in of_component.group("evse", "connector"))
    return {
        "component": fields.optional(
            name=of_component["name"],
            instance=of_component["instance"],
            evse=None if evse is None else fields.evse(evse, connector),
        ),
        "variable": fields.optional(name=of_variable["name"], instance=of_variable["instance"]),
    }


def written_form(part: Mapping[str, Any]) -> str:
    """Return how a component or a variable is written, the inverse of `named`."""
    text = str(part["name"])
    if part.get("instance"):
        text += f"[{part['instance']}]"
    evse = part.get("evse")
    if evse:
        text += f"#{evse['id']}" + (f"/{evse['connectorId']}" if "connectorId" in evse else "")
    return text[: fields.MAX_KEY]


def reported(entries: Iterable[Mapping[str, Any]]) -> tuple[Setting, ...]:
    """Return the actual values in the reportData of a NotifyReport; None where a value is write-only."""
    return tuple(
        Setting(
            key=written_form(entry["variable"]),
            value=attribute.get("value"),
            readonly=attribute.get("mutability") == "ReadOnly",
            component=written_form(entry["component"]),
        )
        for entry in entries
        for attribute in entry["variableAttribute"]
        if attribute.get("type", "Actual") == "Actual"
    )


def read(entries: object) -> tuple[Setting, ...]:
    """Return the getVariableResult of a station; None where it gave no value."""
    found = []
    for entry in _results(entries):
        component, variable = entry.get("component"), entry.get("variable")
        if _is_part(component) and _is_part(variable):
            given = entry.get("attributeStatus") == "Accepted"
            value = fields.text_of(entry.get("attributeValue")) or "" if given else None
            found.append(Setting(written_form(variable), value, component=written_form(component)))
    return tuple(found)


def written(entries: object) -> Outcome:
    """Return what a setVariableResult says: of several variables the first that was not taken decides."""
    outcomes = [
        fields.outcome({"status": entry.get("attributeStatus")}, status_due=True) for entry in _results(entries)
    ]
    return next((o for o in outcomes if o.status == "rejected"), outcomes[0] if outcomes else Outcome("rejected"))


def _results(entries: object) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _is_part(part: object) -> TypeGuard[dict[str, Any]]:
    """A component or variable in a result, which no schema has seen."""
    if not isinstance(part, dict) or "name" not in part:
        return False
    evse = part.get("evse")
    return evse is None or (isinstance(evse, dict) and "id" in evse)
