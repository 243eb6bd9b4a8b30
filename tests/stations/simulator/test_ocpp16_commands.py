"""Calls of the CSMS that only OCPP 1.6 knows, or knows differently."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import itertools
import threading

import pytest

from stations.simulator.plan import Timings
from tests.stations.simulator.conftest import CARD
from tests.stations.simulator.csms import Csms
from tests.stations.simulator.test_station import plugged_and_charging, small_car


async def configuration(csms: Csms, *keys: str) -> dict[str, str]:
    answer = await csms.call("S1", "GetConfiguration", {"key": list(keys)} if keys else {})
    return {row["key"]: row.get("value") for row in answer["configurationKey"]}


async def change(csms: Csms, key: str, value: str) -> str:
    return (await csms.call("S1", "ChangeConfiguration", {"key": key, "value": value}))["status"]


async def test_configuration_keys_are_read_and_changed(csms, build):
    station = build(evses=2)
    await csms.ready()
    everything = await configuration(csms)
    assert len(everything) >= 30
    assert everything["NumberOfConnectors"] == "2"
    assert everything["AuthorizationKey"] is None
    answer = await csms.call("S1", "GetConfiguration", {"key": ["HeartbeatInterval", "NoSuchKey"]})
    assert answer == {
        "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
        "unknownKey": ["NoSuchKey"],
    }
    assert await change(csms, "NumberOfConnectors", "5") == "Rejected"
    assert await change(csms, "HeartbeatInterval", "soon") == "Rejected"
    assert await change(csms, "StopTransactionOnInvalidId", "perhaps") == "Rejected"
    assert await change(csms, "NoSuchKey", "1") == "NotSupported"
    assert await change(csms, "WebSocketPingInterval", "30") == "RebootRequired"
    assert await change(csms, "HeartbeatInterval", "20") == "Accepted"
    assert (await configuration(csms, "HeartbeatInterval")) == {"HeartbeatInterval": "20"}
    first = await csms.wait("Heartbeat")
    second = await csms.wait("Heartbeat", count=2)
    assert 15 <= (second.at - first.at) * station.clock.speed < 200


async def test_measurands_and_interval_of_the_meter_values_follow_the_configuration(csms, build):
    station = build(kind="dc", power_w=50_000.0)
    await csms.ready()
    await change(csms, "MeterValuesSampledData", "Energy.Active.Import.Register,SoC,Temperature,Current.Offered")
    await change(csms, "MeterValueSampleInterval", "20")
    station.plug(station.evses[0], small_car())
    await station.present(station.evses[0], CARD)
    await csms.wait("MeterValues", count=3)
    for call in csms.of("MeterValues"):
        (row,) = call.payload["meterValue"]
        assert [value["measurand"] for value in row["sampledValue"]] == [
            "Energy.Active.Import.Register",
            "SoC",
            "Temperature",
            "Current.Offered",
        ]
    times = [dt.datetime.fromisoformat(c.payload["meterValue"][0]["timestamp"]) for c in csms.of("MeterValues")]
    assert all((after - before).total_seconds() >= 15 for before, after in itertools.pairwise(times))
    assert csms.samples("SoC") == sorted(csms.samples("SoC"))


async def test_a_new_authorization_key_is_used_as_its_bytes(csms, build):
    csms.passwords = {"S1": "first-password-0"}
    station = build(password="first-password-0")
    await csms.ready()
    secret = "new-password-16+"
    assert await change(csms, "AuthorizationKey", "not hexadecimal") == "Rejected"
    assert await change(csms, "AuthorizationKey", "abcd") == "Rejected"
    csms.passwords = {"S1": secret}
    assert await change(csms, "AuthorizationKey", secret.encode().hex()) == "Accepted"
    await csms.wait_until(lambda: len(csms.connects) == 2)
    await csms.wait_until(lambda: station.online)
    assert csms.refused == []
    assert len(csms.of("BootNotification")) == 1


@pytest.mark.parametrize(("kind", "reason"), [("Soft", "SoftReset"), ("Hard", "HardReset")])
async def test_a_reset_ends_the_session_and_boots_again(csms, build, kind, reason):
    station = build()
    evse, _ = await plugged_and_charging(csms, station)
    assert await csms.call("S1", "Reset", {"type": kind}) == {"status": "Accepted"}
    await csms.wait("BootNotification", count=2)
    (stop,) = csms.of("StopTransaction")
    assert stop.payload["reason"] == reason
    assert len(csms.connects) == 2
    assert evse.session is None


async def test_unlocking_stops_what_runs(csms, build):
    station = build()
    await plugged_and_charging(csms, station)
    assert await csms.call("S1", "UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert (await csms.wait("StopTransaction")).payload["reason"] == "UnlockCommand"
    assert await csms.call("S1", "UnlockConnector", {"connectorId": 9}) == {"status": "NotSupported"}


async def test_triggered_messages_come_after_the_answer(csms, build):
    build(evses=2)
    await csms.wait("StatusNotification", count=3)
    for message, extra, action, count in [
        ("Heartbeat", {}, "Heartbeat", 1),
        ("BootNotification", {}, "BootNotification", 2),
        ("StatusNotification", {}, "StatusNotification", 6),
        ("StatusNotification", {"connectorId": 2}, "StatusNotification", 7),
        ("MeterValues", {"connectorId": 1}, "MeterValues", 1),
        ("FirmwareStatusNotification", {}, "FirmwareStatusNotification", 1),
        ("DiagnosticsStatusNotification", {}, "DiagnosticsStatusNotification", 1),
    ]:
        answer = await csms.call("S1", "TriggerMessage", {"requestedMessage": message, **extra})
        assert answer == {"status": "Accepted"}
        await csms.wait(action, count=count)
    assert csms.of("StatusNotification")[-1].payload["connectorId"] == 2
    assert [c.payload["status"] for c in csms.of("FirmwareStatusNotification")] == ["Idle"]
    odd = {"requestedMessage": "Heartbeat", "connectorId": 9}
    assert await csms.call("S1", "TriggerMessage", odd) == {"status": "Rejected"}
    extended = {"requestedMessage": "SignChargePointCertificate"}
    assert await csms.call("S1", "ExtendedTriggerMessage", extended) == {"status": "NotImplemented"}
    await csms.call("S1", "ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"})
    await csms.wait("LogStatusNotification")


async def test_remote_start_with_a_profile_limits_the_session(csms, build):
    station = build()
    await csms.ready()
    evse = station.evses[0]
    station.plug(evse, small_car())
    periods = [{"startPeriod": 0, "limit": 10.0}]
    profile = {
        "chargingProfileId": 4,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": periods},
    }
    asked = {"idTag": "APP7", "connectorId": 1, "chargingProfile": profile}
    default = asked | {"chargingProfile": profile | {"chargingProfilePurpose": "TxDefaultProfile"}}
    assert await csms.call("S1", "RemoteStartTransaction", default) == {"status": "Rejected"}
    assert await csms.call("S1", "RemoteStartTransaction", asked) == {"status": "Accepted"}
    await csms.wait_until(lambda: evse.outlet.sample().power_w == 6900.0)
    station.unplug(evse)
    assert station.limits.profiles == []


async def test_remote_start_asks_for_authorisation_where_it_is_configured(csms, build):
    station = build()
    await csms.ready()
    await change(csms, "AuthorizeRemoteTxRequests", "true")
    station.plug(station.evses[0], small_car())
    assert await csms.call("S1", "RemoteStartTransaction", {"idTag": "STRANGER"}) == {"status": "Accepted"}
    await csms.wait("Authorize", idTag="STRANGER")
    await asyncio.sleep(0.1)
    assert csms.starts() == []
    await csms.call("S1", "RemoteStartTransaction", {"idTag": "TAG5"})
    await csms.wait("StartTransaction", idTag="TAG5")


@pytest.fixture
def uploads():
    """A file server on this machine; the dictionary holds what was put there."""
    received: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            received[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(507 if "full" in self.path else 201)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


async def test_diagnostics_are_really_uploaded_to_the_host_of_the_csms(csms, build, uploads):
    place, received = uploads
    build(timings=Timings(job_step_s=1.0))
    await csms.ready()
    assert await csms.call("S1", "GetDiagnostics", {"location": f"{place}/logs/?key=1"}) == {"fileName": "S1.log"}
    await csms.wait("DiagnosticsStatusNotification", status="Uploaded")
    assert [c.payload["status"] for c in csms.of("DiagnosticsStatusNotification")] == ["Uploading", "Uploaded"]
    assert b"S1 firmware 1.0.0" in received["/logs/S1.log?key=1"]
    await csms.call("S1", "GetDiagnostics", {"location": f"{place}/full"})
    await csms.wait("DiagnosticsStatusNotification", status="UploadFailed")


async def test_a_log_for_another_host_is_only_talked_about(csms, build, uploads):
    _, received = uploads
    build(timings=Timings(job_step_s=1.0))
    await csms.ready()
    log = {"remoteLocation": "ftp://files.example/in"}
    answer = await csms.call("S1", "GetLog", {"logType": "SecurityLog", "requestId": 12, "log": log})
    assert answer == {"status": "Accepted", "filename": "S1-SecurityLog.log"}
    await csms.wait("LogStatusNotification", status="Uploaded", requestId=12)
    assert received == {}


async def test_a_signed_firmware_update_tells_its_request(csms, build):
    station = build(timings=Timings(job_step_s=1.0, reboot_s=2.0))
    await csms.ready()
    firmware = {
        "location": "https://files.example/fw-9.img",
        "retrieveDateTime": station.now().isoformat(),
        "signingCertificate": "x",
        "signature": "y",
    }
    answer = await csms.call("S1", "SignedUpdateFirmware", {"requestId": 8, "firmware": firmware})
    assert answer == {"status": "Accepted"}
    await csms.wait("SignedFirmwareStatusNotification", status="Installed", requestId=8)
    assert "SignatureVerified" in [c.payload["status"] for c in csms.of("SignedFirmwareStatusNotification")]
