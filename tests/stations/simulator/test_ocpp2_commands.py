"""Calls of the CSMS that only OCPP 2.x knows, or knows differently."""

from __future__ import annotations

import asyncio

import pytest

from stations.simulator.plan import Timings
from tests.stations.simulator.conftest import CARD
from tests.stations.simulator.csms import SILENT, Csms, Refusal, end_reason
from tests.stations.simulator.test_station import plugged_and_charging, small_car

each_2_x = pytest.mark.parametrize("version", ["2.0.1", "2.1"])


def place(component: str, variable: str, *, instance: str | None = None, evse: int | None = None) -> dict:
    return {
        "component": {"name": component} | ({"evse": {"id": evse}} if evse else {}),
        "variable": {"name": variable} | ({"instance": instance} if instance else {}),
    }


async def set_variable(csms: Csms, component: str, variable: str, value: str) -> str:
    row = place(component, variable) | {"attributeValue": value}
    answer = await csms.call("S1", "SetVariables", {"setVariableData": [row]})
    return answer["setVariableResult"][0]["attributeStatus"]


@each_2_x
async def test_variables_are_read_and_set(csms, build, version):
    build(version)
    await csms.ready()
    asked = [
        place("OCPPCommCtrlr", "HeartbeatInterval"),
        place("OCPPCommCtrlr", "MessageAttempts", instance="TransactionEvent"),
        place("EVSE", "AvailabilityState", evse=1),
        place("SecurityCtrlr", "BasicAuthPassword"),
        place("OCPPCommCtrlr", "NoSuchVariable"),
        place("NoSuchCtrlr", "Enabled"),
        place("OCPPCommCtrlr", "HeartbeatInterval") | {"attributeType": "MaxSet"},
    ]
    answer = await csms.call("S1", "GetVariables", {"getVariableData": asked})
    got = [(row["attributeStatus"], row.get("attributeValue")) for row in answer["getVariableResult"]]
    assert got == [
        ("Accepted", "300"),
        ("Accepted", "3"),
        ("Accepted", "Available"),
        ("Rejected", None),
        ("UnknownVariable", None),
        ("UnknownComponent", None),
        ("NotSupportedAttributeType", None),
    ]
    assert await set_variable(csms, "OCPPCommCtrlr", "HeartbeatInterval", "20") == "Accepted"
    assert await set_variable(csms, "OCPPCommCtrlr", "HeartbeatInterval", "often") == "Rejected"
    assert await set_variable(csms, "OCPPCommCtrlr", "WebSocketPingInterval", "30") == "RebootRequired"
    assert await set_variable(csms, "SecurityCtrlr", "Identity", "S2") == "Rejected"
    assert await set_variable(csms, "TxCtrlr", "TxStartPoint", "Sometime") == "Rejected"
    await csms.wait("Heartbeat", count=2)


@each_2_x
async def test_a_new_password_is_used_from_the_next_connection_on(csms, build, version):
    csms.passwords = {"S1": "first-password-0"}
    station = build(version, password="first-password-0")
    await csms.ready()
    assert await set_variable(csms, "SecurityCtrlr", "BasicAuthPassword", "short") == "Rejected"
    csms.passwords = {"S1": "second-password-1"}
    assert await set_variable(csms, "SecurityCtrlr", "BasicAuthPassword", "second-password-1") == "Accepted"
    await csms.wait_until(lambda: len(csms.connects) == 2)
    await csms.wait_until(lambda: station.online)
    assert csms.refused == []


@each_2_x
async def test_the_full_report_comes_in_numbered_parts(csms, build, version):
    station = build(version, evses=2)
    await csms.ready()
    asked = {"requestId": 5, "reportBase": "FullInventory"}
    assert await csms.call("S1", "GetBaseReport", asked) == {"status": "Accepted"}
    await csms.wait("NotifyReport", tbc=False)
    parts = [call.payload for call in csms.of("NotifyReport")]
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert [part["tbc"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part["requestId"] for part in parts} == {5}
    rows = [row for part in parts for row in part["reportData"]]
    assert len(rows) == len(station.model) >= 75
    assert {row["component"]["evse"]["id"] for row in rows if row["component"]["name"] == "EVSE"} == {1, 2}
    secret = [row for row in rows if row["variable"]["name"] == "BasicAuthPassword"]
    assert "value" not in secret[0]["variableAttribute"][0]


@each_2_x
async def test_smaller_reports(csms, build, version):
    build(version)
    await csms.ready()

    async def report(action: str, **asked) -> list[dict]:
        seen = len(csms.of("NotifyReport"))
        answer = await csms.call("S1", action, {"requestId": seen, **asked})
        if answer["status"] == "EmptyResultSet":
            return []
        assert answer == {"status": "Accepted"}
        await csms.wait("NotifyReport", requestId=seen, tbc=False)
        return [row for call in csms.of("NotifyReport")[seen:] for row in call.payload["reportData"]]

    settable = await report("GetBaseReport", reportBase="ConfigurationInventory")
    assert all(row["variableAttribute"][0]["mutability"] != "ReadOnly" for row in settable)
    summary = await report("GetBaseReport", reportBase="SummaryInventory")
    assert 0 < len(summary) < len(settable)
    clock = await report("GetReport", componentVariable=[{"component": {"name": "ClockCtrlr"}}])
    assert {row["variable"]["name"] for row in clock} == {"DateTime", "TimeSource"}
    one = await report("GetReport", componentVariable=[place("TxCtrlr", "TxStartPoint")])
    assert [row["variableAttribute"][0]["value"] for row in one] == ["PowerPathClosed"]
    assert await report("GetReport", componentVariable=[{"component": {"name": "Nobody"}}]) == []
    assert await report("GetReport", componentCriteria=["Problem"]) == []


@each_2_x
@pytest.mark.parametrize("kind", ["Immediate", "OnIdle"])
async def test_a_reset_now_or_when_the_session_is_over(csms, build, version, kind):
    station = build(version)
    evse, _ = await plugged_and_charging(csms, station)
    answer = await csms.call("S1", "Reset", {"type": kind})
    if kind == "OnIdle":
        assert answer == {"status": "Scheduled"}
        await asyncio.sleep(0.1)
        assert evse.session is not None
        await station.present(evse, CARD)
    else:
        assert answer == {"status": "Accepted"}
    boot = await csms.wait("BootNotification", count=2)
    (end,) = csms.ends()
    assert end_reason(end) == ("Local" if kind == "OnIdle" else "ImmediateReset")
    assert boot.payload["reason"] == ("ScheduledReset" if kind == "OnIdle" else "RemoteReset")


@each_2_x
async def test_a_reset_of_one_evse_leaves_the_rest_alone(csms, build, version):
    station = build(version, evses=2)
    await csms.ready()
    for evse in station.evses:
        station.plug(evse, small_car())
        await station.present(evse, CARD)
    assert await csms.call("S1", "Reset", {"type": "Immediate", "evseId": 2}) == {"status": "Accepted"}
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    assert [evse.session is None for evse in station.evses] == [False, True]
    assert await csms.call("S1", "Reset", {"type": "OnIdle", "evseId": 1}) == {"status": "Scheduled"}
    assert await csms.call("S1", "Reset", {"type": "Immediate", "evseId": 7}) == {"status": "Rejected"}
    assert len(csms.of("BootNotification")) == 1


@each_2_x
async def test_unlocking_is_refused_while_somebody_charges(csms, build, version):
    station = build(version)
    lock = {"evseId": 1, "connectorId": 1}
    await csms.ready()
    assert await csms.call("S1", "UnlockConnector", lock) == {"status": "Unlocked"}
    await plugged_and_charging(csms, station)
    assert await csms.call("S1", "UnlockConnector", lock) == {"status": "OngoingAuthorizedTransaction"}
    assert await csms.call("S1", "UnlockConnector", lock | {"connectorId": 2}) == {"status": "UnknownConnector"}


@each_2_x
async def test_triggered_messages_come_after_the_answer(csms, build, version):
    station = build(version)
    await plugged_and_charging(csms, station)
    evse = {"evse": {"id": 1, "connectorId": 1}}
    for message, extra, action in [
        ("Heartbeat", {}, "Heartbeat"),
        ("StatusNotification", evse, "StatusNotification"),
        ("MeterValues", {"evse": {"id": 1}}, "MeterValues"),
        ("FirmwareStatusNotification", {}, "FirmwareStatusNotification"),
        ("LogStatusNotification", {}, "LogStatusNotification"),
    ]:
        seen = len(csms.of(action))
        assert await csms.call("S1", "TriggerMessage", {"requestedMessage": message, **extra}) == {"status": "Accepted"}
        await csms.wait(action, count=seen + 1)
    await csms.call("S1", "TriggerMessage", {"requestedMessage": "TransactionEvent"})
    await csms.wait("TransactionEvent", triggerReason="Trigger")
    booted = {"requestedMessage": "BootNotification"}
    assert await csms.call("S1", "TriggerMessage", booted) == {"status": "Rejected"}
    sign = {"requestedMessage": "SignV2GCertificate"}
    assert await csms.call("S1", "TriggerMessage", sign) == {"status": "NotImplemented"}


@each_2_x
async def test_transaction_status_tells_what_waits(csms, build, version):
    station = build(version, timings=Timings(call_timeout_s=0.3))
    _, session = await plugged_and_charging(csms, station)
    asked = {"transactionId": session.id}
    await csms.wait_until(lambda: not station.outbox)
    answer = await csms.call("S1", "GetTransactionStatus", asked)
    assert answer["ongoingIndicator"] is True
    csms.answers["TransactionEvent"] = SILENT
    station.unplug(station.evses[0])
    answer = await csms.call("S1", "GetTransactionStatus", asked)
    assert answer == {"ongoingIndicator": False, "messagesInQueue": True}
    assert await csms.call("S1", "GetTransactionStatus", {}) == {"messagesInQueue": True}
    csms.answers["TransactionEvent"] = {}
    await csms.wait_until(lambda: not station.outbox)
    assert await csms.call("S1", "GetTransactionStatus", {}) == {"messagesInQueue": False}


@each_2_x
async def test_start_at_plug_in_and_end_at_departure(csms, build, version):
    station = build(version)
    await csms.ready()
    await set_variable(csms, "TxCtrlr", "TxStartPoint", "EVConnected")
    await set_variable(csms, "TxCtrlr", "TxStopPoint", "EVConnected")
    evse = station.evses[0]
    station.plug(evse, small_car())
    started = await csms.wait("TransactionEvent", eventType="Started")
    assert started.payload["triggerReason"] == "CablePluggedIn"
    assert "idToken" not in started.payload
    await station.clock.sleep(5)
    assert evse.outlet.power_w == 0.0
    await station.present(evse, CARD)
    authorized = await csms.wait("TransactionEvent", triggerReason="Authorized")
    assert authorized.payload["idToken"]["idToken"] == "TAG1"
    await csms.wait_until(lambda: evse.outlet.power_w > 0)
    await station.present(evse, CARD)
    stopped = await csms.wait("TransactionEvent", triggerReason="StopAuthorized")
    assert stopped.payload["eventType"] == "Updated"
    assert stopped.payload["transactionInfo"]["chargingState"] == "EVConnected"
    shown = int(evse.outlet.register_wh)
    await station.clock.sleep(5)
    assert int(evse.outlet.register_wh) == shown
    station.unplug(evse)
    ended = await csms.wait("TransactionEvent", eventType="Ended")
    assert ended.payload["triggerReason"] == "EVDeparted"
    assert ended.payload["transactionInfo"]["stoppedReason"] == "Local"
    events = csms.of("TransactionEvent")
    assert len({event.payload["transactionInfo"]["transactionId"] for event in events}) == 1
    assert [event.payload["seqNo"] for event in events] == list(range(len(events)))


@each_2_x
async def test_start_at_authorisation_without_a_car_times_out(csms, build, version):
    station = build(version)
    await csms.ready()
    await set_variable(csms, "TxCtrlr", "TxStartPoint", "Authorized")
    await set_variable(csms, "TxCtrlr", "EVConnectionTimeOut", "10")
    assert await station.present(station.evses[0], CARD)
    ended = await csms.wait("TransactionEvent", eventType="Ended")
    assert ended.payload["transactionInfo"]["stoppedReason"] == "Timeout"
    assert ended.payload["triggerReason"] == "EVConnectTimeout"
    assert csms.statuses() == ["Available"]


async def test_an_energy_limit_of_2_1_ends_the_session(csms, build):
    csms.answers["TransactionEvent"] = lambda payload: (
        {"transactionLimit": {"maxEnergy": 60}} if payload["eventType"] == "Started" else {}
    )
    station = build("2.1")
    await plugged_and_charging(csms, station)
    ended = await csms.wait("TransactionEvent", eventType="Ended")
    assert ended.payload["triggerReason"] == "EnergyLimitReached"
    assert ended.payload["transactionInfo"]["stoppedReason"] == "EnergyLimitReached"
    (row,) = ended.payload["meterValue"][0]["sampledValue"]
    assert 60 <= row["value"] <= 75


async def test_a_time_limit_of_2_1_ends_the_session(csms, build):
    csms.answers["TransactionEvent"] = lambda payload: (
        {"transactionLimit": {"maxTime": 20}} if payload["eventType"] == "Started" else {}
    )
    station = build("2.1")
    await plugged_and_charging(csms, station)
    ended = await csms.wait("TransactionEvent", eventType="Ended")
    assert ended.payload["transactionInfo"]["stoppedReason"] == "TimeLimitReached"


@each_2_x
async def test_installed_profiles_are_reported_per_evse(csms, build, version):
    build(version, evses=2)
    await csms.ready()
    for number, evse in ((1, 1), (2, 2)):
        schedule = {
            "id": number,
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
            "startSchedule": "2027-01-01T00:00:00Z",
        }
        profile = {
            "id": number,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": [schedule],
        }
        answer = await csms.call("S1", "SetChargingProfile", {"evseId": evse, "chargingProfile": profile})
        assert answer == {"status": "Accepted"}
    asked = {"requestId": 3, "chargingProfile": {"chargingProfilePurpose": "TxDefaultProfile"}}
    assert await csms.call("S1", "GetChargingProfiles", asked) == {"status": "Accepted"}
    await csms.wait("ReportChargingProfiles", count=2)
    reports = [call.payload for call in csms.of("ReportChargingProfiles")]
    assert [(r["evseId"], r["tbc"], [p["id"] for p in r["chargingProfile"]]) for r in reports] == [
        (1, True, [1]),
        (2, False, [2]),
    ]
    nothing = {"requestId": 4, "chargingProfile": {"chargingProfileId": [77]}}
    assert await csms.call("S1", "GetChargingProfiles", nothing) == {"status": "NoProfiles"}
    criteria = {"chargingProfileCriteria": {"evseId": 1}}
    assert await csms.call("S1", "ClearChargingProfile", criteria) == {"status": "Accepted"}


@each_2_x
async def test_display_messages_are_kept_and_told(csms, build, version):
    build(version)
    await csms.ready()
    message = {"id": 1, "priority": "NormalCycle", "message": {"format": "UTF8", "content": "Welcome"}}
    assert await csms.call("S1", "SetDisplayMessage", {"message": message}) == {"status": "Accepted"}
    stray = message | {"id": 2, "transactionId": "nobody"}
    assert await csms.call("S1", "SetDisplayMessage", {"message": stray}) == {"status": "UnknownTransaction"}
    assert await csms.call("S1", "GetDisplayMessages", {"requestId": 6}) == {"status": "Accepted"}
    told = await csms.wait("NotifyDisplayMessages", requestId=6)
    assert told.payload["messageInfo"] == [message]
    urgent = {"requestId": 7, "priority": "AlwaysFront"}
    assert await csms.call("S1", "GetDisplayMessages", urgent) == {"status": "Unknown"}
    assert await csms.call("S1", "ClearDisplayMessage", {"id": 1}) == {"status": "Accepted"}
    assert await csms.call("S1", "ClearDisplayMessage", {"id": 1}) == {"status": "Unknown"}


@each_2_x
async def test_monitors_are_kept_and_reported(csms, build, version):
    build(version)
    await csms.ready()
    at = place("OCPPCommCtrlr", "HeartbeatInterval")
    wrong = place("NoSuchCtrlr", "Value")
    common = {"value": 5.0, "type": "UpperThreshold", "severity": 4}
    answer = await csms.call("S1", "SetVariableMonitoring", {"setMonitoringData": [at | common, wrong | common]})
    results = answer["setMonitoringResult"]
    assert [row["status"] for row in results] == ["Accepted", "UnknownComponent"]
    asked = {"requestId": 9, "monitoringCriteria": ["ThresholdMonitoring"]}
    assert await csms.call("S1", "GetMonitoringReport", asked) == {"status": "Accepted"}
    report = await csms.wait("NotifyMonitoringReport", requestId=9)
    (monitor,) = report.payload["monitor"]
    assert monitor["variableMonitoring"][0]["id"] == results[0]["id"]
    periodic = {"requestId": 10, "monitoringCriteria": ["PeriodicMonitoring"]}
    assert await csms.call("S1", "GetMonitoringReport", periodic) == {"status": "EmptyResultSet"}
    cleared = await csms.call("S1", "ClearVariableMonitoring", {"id": [results[0]["id"], 99]})
    assert [row["status"] for row in cleared["clearMonitoringResult"]] == ["Accepted", "NotFound"]
    assert await csms.call("S1", "SetMonitoringLevel", {"severity": 4}) == {"status": "Accepted"}
    assert await csms.call("S1", "SetMonitoringLevel", {"severity": 12}) == {"status": "Rejected"}
    assert await csms.call("S1", "SetMonitoringBase", {"monitoringBase": "All"}) == {"status": "Accepted"}


@each_2_x
async def test_customer_information_is_told_and_cleared(csms, build, version):
    station = build(version)
    await csms.ready()
    await station.authorize(CARD)
    token = {"idToken": "TAG1", "type": "ISO14443"}
    asked = {"requestId": 2, "report": True, "clear": True, "idToken": token}
    assert await csms.call("S1", "CustomerInformation", asked) == {"status": "Accepted"}
    told = await csms.wait("NotifyCustomerInformation", requestId=2)
    assert told.payload["data"] == "tag1: Accepted"
    assert station.token_cache == {}


@each_2_x
async def test_a_log_request_is_answered_with_its_number(csms, build, version):
    build(version, timings=Timings(job_step_s=1.0))
    await csms.ready()
    log = {"remoteLocation": "sftp://files.example/in"}
    answer = await csms.call("S1", "GetLog", {"logType": "DiagnosticsLog", "requestId": 21, "log": log})
    assert answer == {"status": "Accepted", "filename": "S1-DiagnosticsLog.log"}
    await csms.wait("LogStatusNotification", status="Uploaded", requestId=21)


async def test_actions_of_2_1_that_it_knows_and_does_not_support(csms, build):
    build("2.1")
    await csms.ready()
    with pytest.raises(Refusal) as refusal:
        await csms.call("S1", "GetTariffs", {"evseId": 0})
    assert refusal.value.code == "NotSupported"


@each_2_x
async def test_costs_and_network_profiles_are_taken(csms, build, version):
    station = build(version)
    _, session = await plugged_and_charging(csms, station)
    assert await csms.call("S1", "CostUpdated", {"totalCost": 1.5, "transactionId": session.id}) == {}
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://csms.example/ocpp",
        "messageTimeout": 30,
        "securityProfile": 2,
        "ocppInterface": "Wired0",
    }
    asked = {"configurationSlot": 1, "connectionData": connection}
    assert await csms.call("S1", "SetNetworkProfile", asked) == {"status": "Accepted"}
