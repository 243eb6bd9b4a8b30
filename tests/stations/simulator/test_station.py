"""A charging life in each version, against a CSMS that checks every frame."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from stations.simulator.car import Car
from stations.simulator.clock import parse_timestamp
from stations.simulator.plan import Timings, Token
from stations.simulator.traffic import welcome_remote_starts
from tests.stations.simulator.conftest import CARD
from tests.stations.simulator.csms import SILENT, Refusal, end_reason, end_register, start_register

VERSIONS = ["1.6", "2.0.1", "2.1"]
every_version = pytest.mark.parametrize("version", VERSIONS)
both_dialects = pytest.mark.parametrize("version", ["1.6", "2.0.1"])


def small_car(**more) -> Car:
    return Car(battery_wh=50_000, charge=0.3, **more)


def is_16(version: str) -> bool:
    return version == "1.6"


async def plugged_and_charging(csms, station, car=None):
    await csms.ready()
    evse = station.evses[0]
    station.plug(evse, car or small_car())
    assert await station.present(evse, CARD)
    await csms.wait_until(lambda: len(csms.starts()) >= 1)
    assert evse.session is not None
    return evse, evse.session


@every_version
async def test_a_driver_charges_from_plug_to_unplug(csms, build, version):
    station = build(version, register_wh=5000.4)
    evse, session = await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: len(csms.registers()) >= 3)
    assert await station.present(evse, CARD) is True
    assert evse.session is None
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    station.unplug(evse)
    await csms.wait_until(lambda: csms.statuses()[-1] == "Available")

    start, end = csms.starts()[0], csms.ends()[0]
    assert start_register(start) == 5000
    assert end_register(end) == int(evse.outlet.register_wh) > 5000
    assert end_reason(end) == "Local"
    readings = [start_register(start), *csms.registers(), end_register(end)]
    assert readings == sorted(readings)
    assert set(csms.samples("Power.Active.Import")) == {11_000.0}
    assert len(csms.samples("Voltage")) == 3 * len(csms.registers())
    if is_16(version):
        assert csms.statuses() == ["Available", "Preparing", "Charging", "Finishing", "Available"]
        assert {call.payload["transactionId"] for call in csms.of("MeterValues")} == {session.remote_id}
        assert end.payload["transactionId"] == session.remote_id
        assert end.payload["idTag"] == "TAG1"
        assert [row["sampledValue"][0]["context"] for row in end.payload["transactionData"]] == [
            "Transaction.Begin",
            "Transaction.End",
        ]
    else:
        assert csms.statuses() == ["Available", "Occupied", "Available"]
        events = csms.of("TransactionEvent")
        assert [event.payload["seqNo"] for event in events] == list(range(len(events)))
        assert {event.payload["transactionInfo"]["transactionId"] for event in events} == {session.id}
        assert [event.payload["triggerReason"] for event in events][:2] == ["Authorized", "ChargingStateChanged"]
        assert [event.payload["transactionInfo"]["chargingState"] for event in events][:2] == [
            "EVConnected",
            "Charging",
        ]
        assert end.payload["triggerReason"] == "StopAuthorized"
        assert start.payload["idToken"] == end.payload["idToken"] == {"idToken": "TAG1", "type": "ISO14443"}
        assert "offline" not in start.payload
    assert station.tally.energy_wh == end_register(end) - start_register(start)


@every_version
async def test_card_first_then_cable(csms, build, version):
    station = build(version)
    await csms.ready()
    evse = station.evses[0]
    assert await station.present(evse, CARD)
    await asyncio.sleep(0.05)
    assert csms.starts() == []
    station.plug(evse, small_car())
    await csms.wait_until(lambda: len(csms.starts()) == 1)
    if not is_16(version):
        assert csms.starts()[0].payload["triggerReason"] == "CablePluggedIn"


@every_version
async def test_a_pin_or_an_app_is_told_as_such(csms, build, version):
    station = build(version)
    await csms.ready()
    await station.authorize(Token("TAG-1234", "pin"))
    await station.authorize(Token("TAG-APP", "app"))
    told = [call.payload for call in csms.of("Authorize")]
    if is_16(version):
        assert told == [{"idTag": "TAG-1234"}, {"idTag": "TAG-APP"}]
    else:
        assert [payload["idToken"]["type"] for payload in told] == ["KeyCode", "Central"]


@every_version
async def test_a_refused_card_starts_nothing(csms, build, version):
    station = build(version)
    await csms.ready()
    evse = station.evses[0]
    station.plug(evse, small_car())
    assert await station.present(evse, Token("STRANGER")) is False
    await asyncio.sleep(0.1)
    assert csms.starts() == []
    assert evse.outlet.power_w == 0.0


@every_version
async def test_another_card_does_not_stop_a_session(csms, build, version):
    station = build(version)
    evse, session = await plugged_and_charging(csms, station)
    assert await station.present(evse, Token("TAG2")) is False
    assert evse.session is session


@every_version
async def test_a_full_car_suspends_and_the_session_goes_on_until_the_cable_is_out(csms, build, version):
    station = build(version)
    evse, _ = await plugged_and_charging(csms, station, Car(battery_wh=2000, charge=0.79, target=0.8))

    def suspended() -> bool:
        if is_16(version):
            return "SuspendedEV" in csms.statuses()
        return any(e.payload["transactionInfo"]["chargingState"] == "SuspendedEV" for e in csms.of("TransactionEvent"))

    await csms.wait_until(suspended)
    assert csms.ends() == []
    station.unplug(evse)
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    assert end_reason(csms.ends()[0]) == "EVDisconnected"
    assert end_register(csms.ends()[0]) == int(20 / 0.9)


@every_version
async def test_remote_start_at_an_empty_bay_and_remote_stop(csms, build, version):
    station = build(version, timings=Timings(arrival_s=(1.0, 2.0)))
    welcome_remote_starts(station)
    await csms.ready()
    if is_16(version):
        answer = await csms.call("S1", "RemoteStartTransaction", {"connectorId": 1, "idTag": "APP7"})
    else:
        asked = {"evseId": 1, "remoteStartId": 4711, "idToken": {"idToken": "APP7", "type": "Central"}}
        answer = await csms.call("S1", "RequestStartTransaction", asked)
    assert answer == {"status": "Accepted"}
    await csms.wait_until(lambda: len(csms.registers()) >= 1)
    start = csms.starts()[0]
    session = station.evses[0].session
    if is_16(version):
        assert start.payload["idTag"] == "APP7"
        stop = ("RemoteStopTransaction", {"transactionId": session.remote_id})
        unknown = ("RemoteStopTransaction", {"transactionId": 999})
    else:
        assert start.payload["transactionInfo"]["remoteStartId"] == 4711
        assert start.payload["idToken"] == {"idToken": "APP7", "type": "Central"}
        stop = ("RequestStopTransaction", {"transactionId": session.id})
        unknown = ("RequestStopTransaction", {"transactionId": "nobody"})
    assert csms.of("Authorize") == []
    assert await csms.call("S1", *unknown) == {"status": "Rejected"}
    assert await csms.call("S1", *stop) == {"status": "Accepted"}
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    assert end_reason(csms.ends()[0]) == "Remote"


@every_version
async def test_remote_start_without_a_car_lapses(csms, build, version):
    station = build(version)
    await csms.ready()
    if is_16(version):
        asked = ("RemoteStartTransaction", {"idTag": "APP7"})
        await csms.call("S1", "ChangeConfiguration", {"key": "ConnectionTimeOut", "value": "20"})
    else:
        token = {"idToken": "APP7", "type": "Central"}
        asked = ("RequestStartTransaction", {"remoteStartId": 1, "idToken": token})
        row = {
            "component": {"name": "TxCtrlr"},
            "variable": {"name": "EVConnectionTimeOut"},
            "attributeValue": "20",
        }
        await csms.call("S1", "SetVariables", {"setVariableData": [row]})
    assert await csms.call("S1", *asked) == {"status": "Accepted"}
    assert await csms.call("S1", *asked) == {"status": "Rejected"}
    evse = station.evses[0]
    assert evse.grant is not None
    await csms.wait_until(lambda: evse.grant is None)
    assert csms.starts() == []
    assert evse.is_free


@every_version
async def test_a_refusal_in_the_answer_to_the_start_stops_the_session(csms, build, version):
    csms.answers["StartTransaction"] = {"transactionId": 5, "idTagInfo": {"status": "Blocked"}}
    csms.answers["TransactionEvent"] = lambda payload: (
        {"idTokenInfo": {"status": "Blocked"}} if "idToken" in payload else {}
    )
    station = build(version)
    await csms.ready()
    evse = station.evses[0]
    station.plug(evse, small_car())
    await station.present(evse, CARD)
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    assert end_reason(csms.ends()[0]) == "DeAuthorized"
    assert evse.session is None


@every_version
async def test_what_happens_offline_is_delivered_later_with_its_own_times(csms, build, version):
    station = build(version)
    await csms.ready()
    await station.authorize(CARD)
    await csms.shut()
    await csms.wait_until(lambda: not station.online)
    evse = station.evses[0]
    station.plug(evse, small_car())
    assert await station.present(evse, CARD)
    session = evse.session
    await station.clock.sleep(25)
    station.unplug(evse)
    ended_at = station.now()
    assert len(csms.starts()) == 0
    await station.clock.sleep(20)
    await csms.open(csms.port)
    await csms.wait_until(lambda: len(csms.ends()) == 1)

    start, end = csms.starts()[0], csms.ends()[0]
    assert len(csms.of("BootNotification")) == 1
    assert abs(parse_timestamp(start.payload["timestamp"]) - session.started_at) < dt.timedelta(seconds=2)
    assert abs(parse_timestamp(end.payload["timestamp"]) - ended_at) < dt.timedelta(seconds=2)
    order = [call.action for call in csms.calls if call.action not in ("StatusNotification", "Heartbeat")]
    if is_16(version):
        assert order[-4:] == ["StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
        assert session.remote_id is not None
        assert {call.payload["transactionId"] for call in csms.of("MeterValues")} == {session.remote_id}
        assert end.payload["transactionId"] == session.remote_id
    else:
        events = csms.of("TransactionEvent")
        assert all(event.payload["offline"] is True for event in events)
        assert [event.payload["seqNo"] for event in events] == list(range(len(events)))


@every_version
async def test_offline_the_local_list_decides_then_the_cache(csms, build, version):
    station = build(version)
    await csms.ready()
    await station.authorize(Token("STRANGER"))
    if is_16(version):
        entries = [{"idTag": "tag9", "idTagInfo": {"status": "Blocked"}}]
        update = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": entries}
        await csms.call("S1", "ChangeConfiguration", {"key": "AllowOfflineTxForUnknownId", "value": "false"})
    else:
        token = {"idToken": "tag9", "type": "ISO14443"}
        entries = [{"idToken": token, "idTokenInfo": {"status": "Blocked"}}]
        update = {"versionNumber": 3, "updateType": "Full", "localAuthorizationList": entries}
        component, variable = {"name": "AuthCtrlr"}, {"name": "OfflineTxForUnknownIdEnabled"}
        row = {"component": component, "variable": variable, "attributeValue": "false"}
        await csms.call("S1", "SetVariables", {"setVariableData": [row]})
    assert await csms.call("S1", "SendLocalList", update) == {"status": "Accepted"}
    assert 3 in (await csms.call("S1", "GetLocalListVersion", {})).values()
    await csms.shut()
    await csms.wait_until(lambda: not station.online)
    assert await station.authorize(Token("TAG9")) == "Blocked"
    assert await station.authorize(Token("stranger")) in ("Invalid", "Unknown")
    assert await station.authorize(Token("TAG-NEVER-SEEN")) == "Invalid"


@every_version
async def test_a_local_list_changes_by_differences(csms, build, version):
    station = build(version)
    await csms.ready()

    def update(number: int, kind: str, *entries: tuple[str, str | None]) -> dict:
        if is_16(version):
            rows = [{"idTag": t} | ({"idTagInfo": {"status": s}} if s else {}) for t, s in entries]
            made: dict = {"listVersion": number, "updateType": kind}
        else:
            rows = [
                {"idToken": {"idToken": t, "type": "ISO14443"}} | ({"idTokenInfo": {"status": s}} if s else {})
                for t, s in entries
            ]
            made = {"versionNumber": number, "updateType": kind}
        return made | {"localAuthorizationList": rows}

    await csms.call("S1", "SendLocalList", update(1, "Full", ("A", "Accepted"), ("B", "Accepted")))
    await csms.call("S1", "SendLocalList", update(2, "Differential", ("B", None), ("C", "Expired")))
    assert station.local_list == {"a": "Accepted", "c": "Expired"}
    old = await csms.call("S1", "SendLocalList", update(2, "Differential", ("D", "Accepted")))
    assert old == {"status": "VersionMismatch"}
    assert station.local_list_version == 2


@every_version
async def test_a_start_is_asked_again_until_it_is_answered(csms, build, version):
    unanswered = iter([True, True])

    def answer(payload: dict):
        if payload.get("eventType", "Started") == "Started" and next(unanswered, False):
            return SILENT
        return {} if "eventType" in payload else {"transactionId": 77, "idTagInfo": {"status": "Accepted"}}

    csms.answers["StartTransaction"] = csms.answers["TransactionEvent"] = answer
    station = build(version, timings=Timings(call_timeout_s=0.5))
    await csms.ready()
    # A refusal would now be final at once.
    if is_16(version):
        await csms.call("S1", "ChangeConfiguration", {"key": "TransactionMessageAttempts", "value": "1"})
    else:
        place = {
            "component": {"name": "OCPPCommCtrlr"},
            "variable": {"name": "MessageAttempts", "instance": "TransactionEvent"},
        }
        await csms.call("S1", "SetVariables", {"setVariableData": [place | {"attributeValue": "1"}]})
    evse = station.evses[0]
    station.plug(evse, small_car())
    await station.present(evse, CARD)
    await csms.wait_until(lambda: not any(item.kind == "start" for item in station.outbox))
    assert len(csms.starts()) >= 3
    assert all(call.payload == csms.starts()[0].payload for call in csms.starts())
    assert len({call.id for call in csms.starts()}) == len(csms.starts())
    assert station.tally.timed_out >= 2
    station.unplug(evse)
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    if is_16(version):
        assert csms.ends()[0].payload["transactionId"] == 77


async def test_after_a_start_that_is_refused_for_good_the_rest_carries_minus_one(csms, build):
    def refuse(payload: dict) -> dict:
        raise Refusal("InternalError")

    csms.answers["StartTransaction"] = refuse
    station = build("1.6")
    await csms.ready()
    for key, value in (("TransactionMessageAttempts", "2"), ("TransactionMessageRetryInterval", "1")):
        await csms.call("S1", "ChangeConfiguration", {"key": key, "value": value})
    evse = station.evses[0]
    station.plug(evse, small_car())
    await station.present(evse, CARD)
    await csms.wait("MeterValues")
    station.unplug(evse)
    stop = await csms.wait("StopTransaction")
    assert len(csms.of("StartTransaction")) == 2
    assert stop.payload["transactionId"] == -1
    assert {call.payload["transactionId"] for call in csms.of("MeterValues")} == {-1}
    assert station.tally.errors == 2


@every_version
async def test_a_charging_profile_lowers_the_power_and_clearing_it_lifts_it(csms, build, version):
    station = build(version)
    evse, session = await plugged_and_charging(csms, station)
    await csms.wait_until(lambda: evse.outlet.sample().power_w == 11_000.0)

    def profile(limit: float) -> dict:
        schedule = {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit, "numberPhases": 3}],
        }
        common = {"stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Relative"}
        if is_16(version):
            raw = {"chargingProfileId": 9, "transactionId": session.remote_id, **common, "chargingSchedule": schedule}
            return {"connectorId": 1, "csChargingProfiles": raw}
        raw = {"id": 9, "transactionId": session.id, **common, "chargingSchedule": [{"id": 1, **schedule}]}
        return {"evseId": 1, "chargingProfile": raw}

    assert await csms.call("S1", "SetChargingProfile", profile(8.0)) == {"status": "Accepted"}
    await csms.wait_until(lambda: evse.outlet.sample().power_w == 5520.0)
    seen = len(csms.registers())
    await csms.wait_until(lambda: len(csms.registers()) > seen + 1)
    assert csms.samples("Power.Active.Import")[-1] == 5520.0

    place = {"connectorId": 1} if is_16(version) else {"evseId": 1}
    composite = await csms.call("S1", "GetCompositeSchedule", {**place, "duration": 600, "chargingRateUnit": "A"})
    schedule = composite["chargingSchedule"] if is_16(version) else composite["schedule"]
    assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 8.0, "numberPhases": 3}]

    await csms.call("S1", "SetChargingProfile", profile(0.0))
    await csms.wait_until(lambda: evse.state == "SuspendedEVSE")
    clear = {"id": 9} if is_16(version) else {"chargingProfileId": 9}
    assert await csms.call("S1", "ClearChargingProfile", clear) == {"status": "Accepted"}
    assert await csms.call("S1", "ClearChargingProfile", clear) == {"status": "Unknown"}
    await csms.wait_until(lambda: evse.outlet.sample().power_w == 11_000.0)

    await csms.call("S1", "SetChargingProfile", profile(8.0))
    station.unplug(evse)
    assert station.limits.profiles == []
    assert await csms.call("S1", "SetChargingProfile", profile(8.0)) == {"status": "Rejected"}


@every_version
async def test_out_of_service_waits_for_the_session(csms, build, version):
    station = build(version)
    evse, _ = await plugged_and_charging(csms, station)
    if is_16(version):
        off, on = ({"connectorId": 0, "type": kind} for kind in ("Inoperative", "Operative"))
    else:
        off, on = ({"operationalStatus": kind} for kind in ("Inoperative", "Operative"))
    assert await csms.call("S1", "ChangeAvailability", off) == {"status": "Scheduled"}
    assert evse.session is not None
    await station.present(evse, CARD)
    await csms.wait_until(lambda: csms.statuses()[-1] == "Unavailable")
    station.unplug(evse)
    station.plug(evse, small_car())
    assert await station.present(evse, CARD) is False
    station.unplug(evse)
    assert await csms.call("S1", "ChangeAvailability", on) == {"status": "Accepted"}
    await csms.wait_until(lambda: csms.statuses()[-1] == "Available")


@every_version
async def test_a_reservation_keeps_the_bay_for_one_token(csms, build, version):
    station = build(version)
    await csms.ready()
    evse = station.evses[0]

    def reserve(number: int, seconds: float) -> dict:
        expires = (station.now() + dt.timedelta(seconds=seconds)).isoformat()
        if is_16(version):
            return {"connectorId": 1, "reservationId": number, "idTag": "TAG1", "expiryDate": expires}
        token = {"idToken": "TAG1", "type": "ISO14443"}
        return {"id": number, "evseId": 1, "idToken": token, "expiryDateTime": expires}

    assert await csms.call("S1", "ReserveNow", reserve(7, 3600)) == {"status": "Accepted"}
    await csms.wait_until(lambda: csms.statuses()[-1] == "Reserved")
    assert await csms.call("S1", "ReserveNow", reserve(8, 3600)) == {"status": "Occupied"}
    assert await station.present(evse, Token("TAG2")) is False
    assert await csms.call("S1", "CancelReservation", {"reservationId": 99}) == {"status": "Rejected"}
    assert await csms.call("S1", "CancelReservation", {"reservationId": 7}) == {"status": "Accepted"}
    await csms.wait_until(lambda: csms.statuses()[-1] == "Available")

    await csms.call("S1", "ReserveNow", reserve(9, 10))
    await csms.wait_until(lambda: csms.statuses()[-1] == "Reserved")
    await csms.wait_until(lambda: csms.statuses()[-1] == "Available")
    if not is_16(version):
        update = await csms.wait("ReservationStatusUpdate")
        assert update.payload == {"reservationId": 9, "reservationUpdateStatus": "Expired"}

    await csms.call("S1", "ReserveNow", reserve(10, 3600))
    assert await station.present(evse, CARD) is True
    station.plug(evse, small_car())
    await csms.wait_until(lambda: len(csms.starts()) == 1)
    assert csms.starts()[0].payload["reservationId"] == 10


@every_version
async def test_a_firmware_update_goes_through_its_steps_and_boots_the_new_version(csms, build, version):
    station = build(version, timings=Timings(job_step_s=1.0, reboot_s=3.0))
    await csms.ready()
    location, due = "https://files.example/pool/bay-2.5.1.bin", station.now().isoformat()
    if is_16(version):
        answer = await csms.call("S1", "UpdateFirmware", {"location": location, "retrieveDate": due})
        assert answer == {}
    else:
        firmware = {"location": location, "retrieveDateTime": due, "signature": "x", "signingCertificate": "y"}
        answer = await csms.call("S1", "UpdateFirmware", {"requestId": 31, "firmware": firmware})
        assert answer == {"status": "Accepted"}
    await csms.wait("FirmwareStatusNotification", status="Installed")
    steps = [call.payload["status"] for call in csms.of("FirmwareStatusNotification")]
    boot = csms.of("BootNotification")[-1].payload
    assert len(csms.of("BootNotification")) == 2
    if is_16(version):
        assert steps == ["Downloading", "Downloaded", "Installing", "Installed"]
        assert boot["firmwareVersion"] == "bay-2.5.1"
    else:
        assert steps == [
            "Downloading",
            "Downloaded",
            "SignatureVerified",
            "Installing",
            "InstallRebooting",
            "Installed",
        ]
        assert {call.payload["requestId"] for call in csms.of("FirmwareStatusNotification")} == {31}
        assert boot["reason"] == "FirmwareUpdate"
        assert boot["chargingStation"]["firmwareVersion"] == "bay-2.5.1"


@every_version
async def test_certificates_are_kept_listed_and_deleted(csms, build, version):
    build(version)
    await csms.ready()
    kind = "CentralSystemRootCertificate" if is_16(version) else "CSMSRootCertificate"
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    one = kind if is_16(version) else [kind]
    assert await csms.call("S1", "GetInstalledCertificateIds", {"certificateType": one}) == {"status": "NotFound"}
    install = {"certificateType": kind, "certificate": pem}
    assert await csms.call("S1", "InstallCertificate", install) == {"status": "Accepted"}
    bad = install | {"certificate": "no certificate"}
    assert await csms.call("S1", "InstallCertificate", bad) == {"status": "Rejected"}
    listed = await csms.call("S1", "GetInstalledCertificateIds", {"certificateType": one})
    if is_16(version):
        (hashes,) = listed["certificateHashData"]
    else:
        (chain,) = listed["certificateHashDataChain"]
        hashes = chain["certificateHashData"]
    assert await csms.call("S1", "DeleteCertificate", {"certificateHashData": hashes}) == {"status": "Accepted"}
    assert await csms.call("S1", "DeleteCertificate", {"certificateHashData": hashes}) == {"status": "NotFound"}


@every_version
async def test_calls_it_does_not_know(csms, build, version):
    build(version)
    await csms.ready()
    answer = await csms.call("S1", "DataTransfer", {"vendorId": "com.example"})
    assert answer == {"status": "UnknownVendorId"}
    assert await csms.call("S1", "ClearCache", {}) == {"status": "Accepted"}
    with pytest.raises(Refusal) as unknown:
        await csms.call("S1", "NoSuchThing", {})
    assert unknown.value.code == "NotImplemented"
    # A payload that lacks what the handler needs, past the checks of a correct CSMS.
    socket = csms.sockets["S1"]
    future = asyncio.get_running_loop().create_future()
    csms._waiting["raw"] = ("Reset", future)
    await socket.send('[2,"raw","Reset",{}]')
    with pytest.raises(Refusal) as malformed:
        await future
    assert malformed.value.code == ("FormationViolation" if is_16(version) else "FormatViolation")


@every_version
async def test_clock_aligned_readings_come_inside_and_outside_of_sessions(csms, build, version):
    station = build(version, meter_interval_s=3600)
    await csms.ready()
    if is_16(version):
        await csms.call("S1", "ChangeConfiguration", {"key": "ClockAlignedDataInterval", "value": "60"})
    else:
        place = {"component": {"name": "AlignedDataCtrlr"}, "variable": {"name": "Interval"}}
        await csms.call("S1", "SetVariables", {"setVariableData": [place | {"attributeValue": "60"}]})
    aligned = "Sample.Clock"
    await csms.wait_until(lambda: len(csms.samples("Energy.Active.Import.Register", aligned)) >= 1)
    idle = await csms.wait("MeterValues")
    assert idle.payload.get("transactionId") is None
    evse = station.evses[0]
    station.plug(evse, small_car())
    await station.present(evse, CARD)
    seen = len(csms.samples("Energy.Active.Import.Register", aligned))
    await csms.wait_until(lambda: len(csms.samples("Energy.Active.Import.Register", aligned)) >= seen + 2)
    if is_16(version):
        assert csms.of("MeterValues")[-1].payload["transactionId"] == evse.session.remote_id
    else:
        assert csms.of("TransactionEvent")[-1].payload["triggerReason"] == "MeterValueClock"
    rows = [row for call in csms.calls for row in call.payload.get("meterValue", [])]
    times = [parse_timestamp(r["timestamp"]) for r in rows if r["sampledValue"][0]["context"] == aligned]
    assert len(times) >= 3
    assert all(at.timestamp() % 60 < 15 for at in times)


@both_dialects
async def test_two_evses_charge_independently(csms, build, version):
    station = build(version, evses=2)
    await csms.ready()
    first, second = station.evses
    for evse in (first, second):
        station.plug(evse, small_car())
        assert await station.present(evse, CARD)
    await csms.wait_until(lambda: len(csms.starts()) == 2)
    station.unplug(first)
    await csms.wait_until(lambda: len(csms.ends()) == 1)
    assert first.session is None
    assert second.session is not None
    assert csms.statuses(1)[-1] == "Available"
    assert csms.statuses(2)[-1] in ("Charging", "Occupied")
