"""What a simulated OCPP 2.x station answers to the calls about its device model, monitors and messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stations.simulator import device_model
from stations.simulator.device_model import Name
from stations.simulator.wire import Payload

if TYPE_CHECKING:
    from stations.simulator.ocpp2 import Station2
    from stations.simulator.uplink import Handler, Job

ACCEPTED: Payload = {"status": "Accepted"}
EMPTY: Payload = {"status": "EmptyResultSet"}
ROWS_PER_REPORT = 20

_SUMMARY = ("AvailabilityState", "Available", "Problem", "Enabled", "Active")
_MONITOR_CRITERIA = {
    "ThresholdMonitoring": ("UpperThreshold", "LowerThreshold"),
    "DeltaMonitoring": ("Delta",),
    "PeriodicMonitoring": ("Periodic", "PeriodicClockAligned"),
}


def get_variables(station: Station2, payload: Payload) -> Payload:
    """B06."""
    _refresh(station)
    results = []
    for asked in payload["getVariableData"]:
        status = _look_up(station, asked)
        variable = station.model.get(Name.read(asked["component"], asked["variable"]))
        if status == "Accepted" and variable is not None and variable.mutability == "WriteOnly":
            status = "Rejected"
        result = _echo(asked) | {"attributeStatus": status}
        if status == "Accepted" and variable is not None:
            result["attributeValue"] = variable.value
        results.append(result)
    return {"getVariableResult": results}


def set_variables(station: Station2, payload: Payload) -> Payload:
    """B05; a new password is used from the next connection on (A01)."""
    results = []
    for asked in payload["setVariableData"]:
        name, value = Name.read(asked["component"], asked["variable"]), asked["attributeValue"]
        status = _look_up(station, asked)
        if status == "Accepted":
            variable = station.model[name]
            if variable.mutability == "ReadOnly" or not variable.accepts(value):
                status = "Rejected"
            elif name == device_model.BASIC_AUTH_PASSWORD:
                if 16 <= len(value) <= 40:
                    station.password = value
                    station.afterwards(station.reconnect)
                else:
                    status = "Rejected"
            else:
                variable.value = value
                status = "RebootRequired" if variable.reboot else "Accepted"
                if name == device_model.HEARTBEAT_INTERVAL:
                    station.heartbeat_s = float(value)
                    station.heartbeat_changed.set()
        results.append(_echo(asked) | {"attributeStatus": status})
    return {"setVariableResult": results}


def get_base_report(station: Station2, payload: Payload) -> Payload:
    """B07."""
    base = payload["reportBase"]

    def wanted(name: Name) -> bool:
        if base == "ConfigurationInventory":
            return station.model[name].mutability != "ReadOnly"
        return base == "FullInventory" or name.variable in _SUMMARY

    return _report(station, payload["requestId"], wanted)


def get_report(station: Station2, payload: Payload) -> Payload:
    """B08."""
    pairs = payload.get("componentVariable", [])
    criteria = payload.get("componentCriteria", [])

    def wanted(name: Name) -> bool:
        named = not pairs or any(_matches(name, pair) for pair in pairs)
        # Without a variable of that name a component counts as available, enabled and active, and as healthy.
        met = not criteria or any(
            station.model[name].value == "true" if name.variable == criterion else criterion != "Problem"
            for criterion in criteria
        )
        return named and met

    return _report(station, payload["requestId"], wanted)


def _report(station: Station2, request_id: int, wanted: Callable[[Name], bool]) -> Payload:
    _refresh(station)
    rows = [variable.report(name) for name, variable in station.model.items() if wanted(name)]
    if not rows:
        return EMPTY
    station.afterwards(_in_parts(station, "NotifyReport", "reportData", request_id, rows))
    return ACCEPTED


def _in_parts(station: Station2, action: str, member: str, request_id: int, rows: Sequence[Payload]) -> Job:
    """Return the job that sends rows in several messages, with seqNo and tbc."""

    async def send() -> None:
        generated_at = station.timestamp()
        for number, first in enumerate(range(0, len(rows), ROWS_PER_REPORT)):
            part: Payload = {
                "requestId": request_id,
                "generatedAt": generated_at,
                "seqNo": number,
                "tbc": first + ROWS_PER_REPORT < len(rows),
                member: list(rows[first : first + ROWS_PER_REPORT]),
            }
            await station.tell(action, part)

    return send


def set_monitoring_base(station: Station2, payload: Payload) -> Payload:
    """N03: there are no preconfigured monitors; every base but All drops the custom ones."""
    if payload["monitoringBase"] != "All":
        station.monitors.clear()
    return ACCEPTED


def set_monitoring_level(station: Station2, payload: Payload) -> Payload:
    """N05."""
    return ACCEPTED if 0 <= payload["severity"] <= 9 else {"status": "Rejected"}


def set_variable_monitoring(station: Station2, payload: Payload) -> Payload:
    """N04: monitors are kept and reported, and never fire."""
    results = []
    for asked in payload["setMonitoringData"]:
        status = _look_up(station, asked)
        result: Payload = {key: asked[key] for key in ("component", "variable", "type", "severity")}
        if status == "Accepted":
            number = asked.get("id") or max(station.monitors, default=0) + 1
            station.monitors[number] = {"transaction": False, **asked, "id": number}
            result["id"] = number
        results.append(result | {"status": status})
    return {"setMonitoringResult": results}


def clear_variable_monitoring(station: Station2, payload: Payload) -> Payload:
    """N06."""
    return {
        "clearMonitoringResult": [
            {"id": number, "status": "NotFound" if station.monitors.pop(number, None) is None else "Accepted"}
            for number in payload["id"]
        ]
    }


def get_monitoring_report(station: Station2, payload: Payload) -> Payload:
    """N02."""
    pairs = payload.get("componentVariable", [])
    criteria = payload.get("monitoringCriteria", [])
    types = {kind for criterion in criteria for kind in _MONITOR_CRITERIA[criterion]}
    rows = [
        {
            "component": monitor["component"],
            "variable": monitor["variable"],
            "variableMonitoring": [_monitor_row(station, monitor)],
        }
        for monitor in station.monitors.values()
        if (not criteria or monitor["type"] in types)
        and (not pairs or any(_matches(Name.read(monitor["component"], monitor["variable"]), pair) for pair in pairs))
    ]
    if not rows:
        return EMPTY
    station.afterwards(_in_parts(station, "NotifyMonitoringReport", "monitor", payload["requestId"], rows))
    return ACCEPTED


def _monitor_row(station: Station2, monitor: Payload) -> Payload:
    row: Payload = {key: monitor[key] for key in ("id", "transaction", "value", "type", "severity")}
    # 2.1 asks where a monitor comes from.
    return row | {"eventNotificationType": "CustomMonitor"} if station.plan.version == "2.1" else row


def set_display_message(station: Station2, payload: Payload) -> Payload:
    """O01, O02."""
    message = payload["message"]
    if "transactionId" in message and station.find_session(message["transactionId"]) is None:
        return {"status": "UnknownTransaction"}
    station.display_messages[message["id"]] = message
    return ACCEPTED


def get_display_messages(station: Station2, payload: Payload) -> Payload:
    """O03, O04."""
    request_id = payload["requestId"]
    found = [
        message
        for number, message in station.display_messages.items()
        if number in payload.get("id", [number])
        and payload.get("priority") in (None, message["priority"])
        and payload.get("state") in (None, message.get("state"))
    ]
    if not found:
        return {"status": "Unknown"}
    station.afterwards(
        lambda: station.tell("NotifyDisplayMessages", {"requestId": request_id, "messageInfo": found, "tbc": False})
    )
    return ACCEPTED


def clear_display_message(station: Station2, payload: Payload) -> Payload:
    """O05."""
    known = station.display_messages.pop(payload["id"], None)
    return {"status": "Unknown" if known is None else "Accepted"}


def customer_information(station: Station2, payload: Payload) -> Payload:
    """N09, N10: what the station knows of a customer is the status of a token."""
    request_id, token = payload["requestId"], payload.get("idToken", {}).get("idToken", "").lower()
    stores = (station.local_list, station.token_cache)
    data = ", ".join(sorted({f"{token}: {store[token]}" for store in stores if token in store}))
    if payload["clear"]:
        for store in stores:
            store.pop(token, None)
    answer = {"requestId": request_id, "generatedAt": station.timestamp(), "seqNo": 0, "tbc": False}
    answer["data"] = data if payload["report"] else ""
    station.afterwards(lambda: station.tell("NotifyCustomerInformation", answer))
    return ACCEPTED


def get_installed_certificate_ids(station: Station2, payload: Payload) -> Payload:
    """M03."""
    kinds = payload.get("certificateType")
    chains = [
        {"certificateType": known.kind, "certificateHashData": known.hash_data}
        for known in station.certificates
        if kinds is None or known.kind in kinds
    ]
    return {"status": "Accepted", "certificateHashDataChain": chains} if chains else {"status": "NotFound"}


def _look_up(station: Station2, asked: Payload) -> str:
    name = Name.read(asked["component"], asked["variable"])
    if name in station.model:
        return "Accepted" if asked.get("attributeType", "Actual") == "Actual" else "NotSupportedAttributeType"
    same = any(
        known.component == name.component and (known.evse, known.connector) == (name.evse, name.connector)
        for known in station.model
    )
    return "UnknownVariable" if same else "UnknownComponent"


def _echo(asked: Payload) -> dict[str, Any]:
    return {key: asked[key] for key in ("component", "variable", "attributeType") if key in asked}


def _matches(name: Name, pair: Payload) -> bool:
    """Whether a variable is meant by a pair whose variable, instance and EVSE may be left open."""
    component, variable = pair["component"], pair.get("variable", {})
    evse = component.get("evse", {})
    return (
        name.component == component["name"]
        and variable.get("name") in (None, name.variable)
        and variable.get("instance") in (None, name.instance)
        and evse.get("id") in (None, name.evse)
        and evse.get("connectorId") in (None, name.connector)
    )


def _refresh(station: Station2) -> None:
    """Bring the variables that tell the present up to date."""
    for evse in station.evses:
        station.model[device_model.availability_name(evse.id)].value = station.status_word(evse)
    present = {
        Name("ClockCtrlr", "DateTime"): station.timestamp(),
        Name("DisplayMessageCtrlr", "DisplayMessages"): str(len(station.display_messages)),
        Name("LocalAuthListCtrlr", "Entries"): str(len(station.local_list)),
        Name("SecurityCtrlr", "CertificateEntries"): str(len(station.certificates)),
        Name("SmartChargingCtrlr", "Entries", "ChargingProfiles"): str(len(station.limits.profiles)),
        Name("ChargingStation", "Problem"): "true" if any(evse.broken for evse in station.evses) else "false",
    }
    for name, value in present.items():
        station.model[name].value = value


HANDLERS: dict[str, Handler] = {
    "ClearDisplayMessage": clear_display_message,
    "ClearVariableMonitoring": clear_variable_monitoring,
    "CustomerInformation": customer_information,
    "GetBaseReport": get_base_report,
    "GetDisplayMessages": get_display_messages,
    "GetInstalledCertificateIds": get_installed_certificate_ids,
    "GetMonitoringReport": get_monitoring_report,
    "GetReport": get_report,
    "GetVariables": get_variables,
    "SetDisplayMessage": set_display_message,
    "SetMonitoringBase": set_monitoring_base,
    "SetMonitoringLevel": set_monitoring_level,
    "SetVariableMonitoring": set_variable_monitoring,
    "SetVariables": set_variables,
}
