"""What a simulated OCPP 1.6 charge point answers to each call of the CSMS."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from stations.simulator import commands
from stations.simulator.clock import parse_timestamp, timestamp
from stations.simulator.physics import Limit
from stations.simulator.plan import StationPlan, Token
from stations.simulator.wire import Payload

if TYPE_CHECKING:
    from stations.simulator.evse import Evse
    from stations.simulator.ocpp16 import Station16
    from stations.simulator.uplink import Handler, Job

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}


@dataclasses.dataclass
class Key:
    """One configuration key (OCPP 1.6 §9)."""

    value: str
    readonly: bool = False
    kind: str = "text"
    secret: bool = False
    reboot: bool = False

    def accepts(self, value: str) -> bool:
        """Whether the value has the right type."""
        if self.kind == "int":
            return value.isdigit()
        return value in ("true", "false") if self.kind == "bool" else True


def default_configuration(plan: StationPlan) -> dict[str, Key]:
    """Return the keys of a new station."""
    profiles = "Core,FirmwareManagement,LocalAuthListManagement,RemoteTrigger,Reservation,SmartCharging"
    sampled = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"
    return {
        "AllowOfflineTxForUnknownId": Key("true", kind="bool"),
        "AuthorizationCacheEnabled": Key("true", kind="bool"),
        "AuthorizationKey": Key("", secret=True),
        "AuthorizeRemoteTxRequests": Key("false", kind="bool"),
        "ChargeProfileMaxStackLevel": Key("10", readonly=True),
        "ChargingScheduleAllowedChargingRateUnit": Key("Current,Power", readonly=True),
        "ChargingScheduleMaxPeriods": Key("24", readonly=True),
        "ClockAlignedDataInterval": Key("0", kind="int"),
        "ConnectionTimeOut": Key("60", kind="int"),
        "ConnectorPhaseRotation": Key("NotApplicable"),
        "GetConfigurationMaxKeys": Key("50", readonly=True),
        "HeartbeatInterval": Key("300", kind="int"),
        "LocalAuthListEnabled": Key("true", kind="bool"),
        "LocalAuthListMaxLength": Key("500", readonly=True),
        "LocalAuthorizeOffline": Key("true", kind="bool"),
        "LocalPreAuthorize": Key("false", kind="bool"),
        "MaxChargingProfilesInstalled": Key("20", readonly=True),
        "MaxEnergyOnInvalidId": Key("0", kind="int"),
        "MeterValueSampleInterval": Key(str(plan.meter_interval_s), kind="int"),
        "MeterValuesAlignedData": Key("Energy.Active.Import.Register"),
        "MeterValuesSampledData": Key(sampled),
        "NumberOfConnectors": Key(str(plan.evses), readonly=True),
        "ReserveConnectorZeroSupported": Key("false", readonly=True),
        "ResetRetries": Key("3", kind="int"),
        "SecurityProfile": Key("1", kind="int"),
        "SendLocalListMaxLength": Key("100", readonly=True),
        "StopTransactionOnEVSideDisconnect": Key("true", kind="bool"),
        "StopTransactionOnInvalidId": Key("true", kind="bool"),
        "StopTxnAlignedData": Key(""),
        "StopTxnSampledData": Key("Energy.Active.Import.Register"),
        "SupportedFeatureProfiles": Key(profiles, readonly=True),
        "SupportedFileTransferProtocols": Key("HTTP,HTTPS", readonly=True),
        "TransactionMessageAttempts": Key("3", kind="int"),
        "TransactionMessageRetryInterval": Key("20", kind="int"),
        "UnlockConnectorOnEVSideDisconnect": Key("true", kind="bool"),
        "WebSocketPingInterval": Key("60", kind="int", reboot=True),
    }


def get_configuration(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.8. A secret is listed without its value."""
    asked = payload.get("key") or list(station.configuration)
    known = []
    for name in asked:
        if name in station.configuration:
            key = station.configuration[name]
            row = {"key": name, "readonly": key.readonly}
            known.append(row if key.secret else row | {"value": key.value})
    return {"configurationKey": known, "unknownKey": [name for name in asked if name not in station.configuration]}


def change_configuration(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.3."""
    name, value = payload["key"], payload["value"]
    key = station.configuration.get(name)
    if key is None:
        return {"status": "NotSupported"}
    if key.readonly or not isinstance(value, str) or not key.accepts(value):
        return REJECTED
    if name == "AuthorizationKey":
        try:
            # The key travels as hexadecimal text; what is sent as a password are the bytes it stands for.
            password = bytes.fromhex(value)
        except ValueError:
            return REJECTED
        if not 16 <= len(password) <= 40:
            return REJECTED
        station.password = password
        station.afterwards(station.reconnect)
        return ACCEPTED
    key.value = value
    if name == "HeartbeatInterval":
        station.heartbeat_s = float(value)
        station.heartbeat_changed.set()
    return {"status": "RebootRequired"} if key.reboot else ACCEPTED


def remote_start(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.11."""
    token = Token(payload["idTag"], "app")
    evse = station.evse(payload["connectorId"]) if "connectorId" in payload else station.startable()
    if evse is None or station.registration != "Accepted" or not station.can_start(evse, token):
        return REJECTED
    profile = payload.get("chargingProfile")
    if profile is not None and profile["chargingProfilePurpose"] != "TxProfile":
        return REJECTED
    asks = station.setting("AuthorizeRemoteTxRequests") == "true"
    station.afterwards(lambda: station.start_remotely(evse, token, profile=profile, ask=asks))
    return ACCEPTED


def remote_stop(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.12."""
    session = station.find_session(payload["transactionId"])
    if session is None:
        return REJECTED

    async def stop() -> None:
        station.stop_session(session, "Remote", "RemoteStop")

    station.afterwards(stop)
    return ACCEPTED


def reset(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.14."""
    kind = {"Soft": "SoftReset", "Hard": "HardReset"}[payload["type"]]
    station.afterwards(lambda: station.reboot("RemoteReset", kind))
    return ACCEPTED


def unlock_connector(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.18: stops a running transaction first."""
    evse = station.evse(payload["connectorId"])
    if evse is None:
        return {"status": "NotSupported"}
    if evse.broken:
        return {"status": "UnlockFailed"}

    async def stop() -> None:
        if evse.session is not None:
            station.stop_session(evse.session, "UnlockCommand", "UnlockCommand")

    station.afterwards(stop)
    return {"status": "Unlocked"}


def change_availability(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.2."""
    operative = {"Operative": True, "Inoperative": False}[payload["type"]]
    evses = _evses(station, payload["connectorId"])
    if not evses:
        return REJECTED
    status = station.change_availability(evses, operative=operative)
    if payload["connectorId"] == 0:
        station.afterwards(lambda: station.send_status(None))
    return {"status": status}


def trigger_message(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.17 and the extended form of the security white paper."""
    number = payload.get("connectorId")
    evses = station.evses if number is None else _evses(station, number)
    if not evses:
        return REJECTED

    async def statuses() -> None:
        for evse in (*([None] if not number else []), *evses):
            await station.send_status(evse)

    async def meters() -> None:
        for evse in evses:
            await station.send_meter(evse, "Trigger")

    async def boot() -> None:
        if station.registration == "Accepted":
            await station.tell(*station.boot_call())
        else:
            station.boot_now.set()

    jobs: dict[str, Job] = {
        "BootNotification": boot,
        "Heartbeat": station.send_heartbeat,
        "StatusNotification": statuses,
        "MeterValues": meters,
        "FirmwareStatusNotification": lambda: station.tell("FirmwareStatusNotification", {"status": "Idle"}),
        "DiagnosticsStatusNotification": lambda: station.tell("DiagnosticsStatusNotification", {"status": "Idle"}),
        "LogStatusNotification": lambda: station.tell("LogStatusNotification", {"status": "Idle"}),
    }
    job = jobs.get(payload["requestedMessage"])
    if job is None:
        return {"status": "NotImplemented"}
    station.afterwards(job)
    return ACCEPTED


def get_local_list_version(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.10."""
    return {"listVersion": station.local_list_version}


def send_local_list(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.15."""
    entries: list[tuple[str, str | None]] = [
        (entry["idTag"], entry["idTagInfo"]["status"] if "idTagInfo" in entry else None)
        for entry in payload.get("localAuthorizationList", [])
    ]
    status = commands.update_local_list(station, payload["listVersion"], payload["updateType"], entries)
    return {"status": status}


def set_charging_profile(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.16."""
    return {"status": commands.install_profile(station, payload["connectorId"], payload["csChargingProfiles"])}


def clear_charging_profile(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.5."""
    found = station.limits.clear(
        id=payload.get("id"),
        evse=payload.get("connectorId"),
        purpose=payload.get("chargingProfilePurpose"),
        stack=payload.get("stackLevel"),
    )
    return {"status": "Accepted" if found else "Unknown"}


def get_composite_schedule(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.7."""
    number, duration = payload["connectorId"], payload["duration"]
    evse = station.evse(number)
    if evse is None and number != 0:
        return REJECTED
    unit = payload.get("chargingRateUnit", "W" if station.plan.kind == "dc" else "A")
    now = station.now()
    share = 1 if evse else len(station.evses)
    periods = station.limits.composite(
        number,
        now,
        duration,
        unit,
        session_start=evse.session.started_at if evse and evse.session else None,
        ceiling=Limit(station.plan.power_w * share, "W", station.plan.phases),
    )
    return {
        "status": "Accepted",
        "connectorId": number,
        "scheduleStart": timestamp(now),
        "chargingSchedule": {"duration": duration, "chargingRateUnit": unit, "chargingSchedulePeriod": periods},
    }


def reserve_now(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.13; the station as a whole (connector 0) cannot be reserved."""
    evse = station.evse(payload["connectorId"])
    if evse is None:
        return REJECTED
    return {
        "status": station.reserve(
            evse, payload["reservationId"], payload["idTag"], parse_timestamp(payload["expiryDate"])
        )
    }


def cancel_reservation(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.1."""
    return {"status": "Accepted" if station.cancel_reservation(payload["reservationId"]) else "Rejected"}


def update_firmware(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.19."""

    async def tell(status: str) -> None:
        await station.tell("FirmwareStatusNotification", {"status": status})

    delay_s = (parse_timestamp(payload["retrieveDate"]) - station.now()).total_seconds()
    steps = ("Downloading", "Downloaded", "Installing")
    location = payload["location"]
    station.afterwards(lambda: commands.update_firmware(station, location, delay_s, tell, steps=steps, rebooting=None))
    return {}


def signed_update_firmware(station: Station16, payload: Payload) -> Payload:
    """Security white paper §5.18 (SignedUpdateFirmware)."""
    request_id, firmware = payload["requestId"], payload["firmware"]

    async def tell(status: str) -> None:
        await station.tell("SignedFirmwareStatusNotification", {"status": status, "requestId": request_id})

    delay_s = (parse_timestamp(firmware["retrieveDateTime"]) - station.now()).total_seconds()
    steps = ("Downloading", "Downloaded", "SignatureVerified", "Installing")
    location = firmware["location"]
    station.afterwards(
        lambda: commands.update_firmware(station, location, delay_s, tell, steps=steps, rebooting="InstallRebooting")
    )
    return ACCEPTED


def get_diagnostics(station: Station16, payload: Payload) -> Payload:
    """OCPP 1.6 §5.9."""

    async def tell(status: str) -> None:
        await station.tell("DiagnosticsStatusNotification", {"status": status})

    name = f"{station.plan.identity}.log"
    location = payload["location"]
    station.afterwards(lambda: commands.upload_log(station, location, name, tell))
    return {"fileName": name}


def get_log(station: Station16, payload: Payload) -> Payload:
    """Security white paper §5.8 (GetLog)."""
    request_id = payload["requestId"]

    async def tell(status: str) -> None:
        status = "UploadFailure" if status == "UploadFailed" else status
        await station.tell("LogStatusNotification", {"status": status, "requestId": request_id})

    name = f"{station.plan.identity}-{payload['logType']}.log"
    location = payload["log"]["remoteLocation"]
    station.afterwards(lambda: commands.upload_log(station, location, name, tell))
    return {"status": "Accepted", "filename": name}


def get_installed_certificate_ids(station: Station16, payload: Payload) -> Payload:
    """Security white paper §5.6."""
    hashes = [known.hash_data for known in station.certificates if known.kind == payload["certificateType"]]
    return {"status": "Accepted", "certificateHashData": hashes} if hashes else {"status": "NotFound"}


def _evses(station: Station16, number: int) -> list[Evse]:
    """Return the EVSEs meant by a connector number; 0 means all."""
    if number == 0:
        return station.evses
    evse = station.evse(number)
    return [] if evse is None else [evse]


HANDLERS: dict[str, Handler] = {
    "CancelReservation": cancel_reservation,
    "CertificateSigned": commands.certificate_signed,
    "ChangeAvailability": change_availability,
    "ChangeConfiguration": change_configuration,
    "ClearCache": commands.clear_cache,
    "ClearChargingProfile": clear_charging_profile,
    "DataTransfer": commands.data_transfer,
    "DeleteCertificate": commands.delete_certificate,
    "ExtendedTriggerMessage": trigger_message,
    "GetCompositeSchedule": get_composite_schedule,
    "GetConfiguration": get_configuration,
    "GetDiagnostics": get_diagnostics,
    "GetInstalledCertificateIds": get_installed_certificate_ids,
    "GetLocalListVersion": get_local_list_version,
    "GetLog": get_log,
    "InstallCertificate": commands.install_certificate,
    "RemoteStartTransaction": remote_start,
    "RemoteStopTransaction": remote_stop,
    "ReserveNow": reserve_now,
    "Reset": reset,
    "SendLocalList": send_local_list,
    "SetChargingProfile": set_charging_profile,
    "SignedUpdateFirmware": signed_update_firmware,
    "TriggerMessage": trigger_message,
    "UnlockConnector": unlock_connector,
    "UpdateFirmware": update_firmware,
}
