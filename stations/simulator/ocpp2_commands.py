"""What a simulated OCPP 2.x station answers to the calls about charging, availability and maintenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stations.simulator import commands, device_model
from stations.simulator.clock import parse_timestamp, timestamp
from stations.simulator.physics import Limit
from stations.simulator.plan import Token
from stations.simulator.wire import Payload

if TYPE_CHECKING:
    from stations.simulator.evse import Evse
    from stations.simulator.ocpp2 import Station2
    from stations.simulator.uplink import Handler, Job

ACCEPTED: Payload = {"status": "Accepted"}
REJECTED: Payload = {"status": "Rejected"}


def request_start(station: Station2, payload: Payload) -> Payload:
    """F01, F02; Rejected before the boot was accepted (B02.FR.05)."""
    token = Token(payload["idToken"]["idToken"], payload["idToken"]["type"])
    remote_start_id = payload["remoteStartId"]
    evse = station.evse(payload["evseId"]) if "evseId" in payload else station.startable()
    if evse is None or station.registration != "Accepted" or not station.can_start(evse, token):
        return REJECTED
    profile = payload.get("chargingProfile")
    if profile is not None and profile["chargingProfilePurpose"] != "TxProfile":
        return REJECTED
    ask = station.model[device_model.AUTHORIZE_REMOTE_START].value == "true"
    station.afterwards(
        lambda: station.start_remotely(evse, token, profile=profile, remote_start_id=remote_start_id, ask=ask)
    )
    return ACCEPTED if evse.session is None else ACCEPTED | {"transactionId": evse.session.id}


def request_stop(station: Station2, payload: Payload) -> Payload:
    """F03."""
    session = station.find_session(payload["transactionId"])
    if session is None or station.registration != "Accepted":
        return REJECTED

    async def stop() -> None:
        station.stop_session(session, "Remote", "RemoteStop")

    station.afterwards(stop)
    return ACCEPTED


def transaction_status(station: Station2, payload: Payload) -> Payload:
    """E14."""
    key = payload.get("transactionId")
    if key is None:
        return {"messagesInQueue": bool(station.outbox)}
    waits = any(item.session is not None and item.session.id == key for item in station.outbox)
    return {"ongoingIndicator": station.find_session(key) is not None, "messagesInQueue": waits}


def reset(station: Station2, payload: Payload) -> Payload:
    """B11, B12: at once, or when the last session is over; a single EVSE merely ends its session."""
    kind = payload["type"]
    evses: list[Evse] | None = None
    if "evseId" in payload:
        evse = station.evse(payload["evseId"])
        if evse is None:
            return REJECTED
        evses = [evse]
    busy = any(evse.session is not None for evse in evses or station.evses)
    if kind == "OnIdle" and busy:
        if evses is None:
            station.reset_when_idle = True
        return {"status": "Scheduled"}
    if kind not in ("Immediate", "OnIdle"):
        return REJECTED
    station.afterwards(lambda: station.reboot("RemoteReset", "ImmediateReset", evses))
    return ACCEPTED


def unlock_connector(station: Station2, payload: Payload) -> Payload:
    """F05: not while somebody charges."""
    evse = station.evse(payload["evseId"])
    if evse is None or payload["connectorId"] != 1:
        return {"status": "UnknownConnector"}
    if evse.session is not None:
        return {"status": "OngoingAuthorizedTransaction"}
    return {"status": "UnlockFailed" if evse.broken else "Unlocked"}


def change_availability(station: Station2, payload: Payload) -> Payload:
    """G03, G04."""
    operative = {"Operative": True, "Inoperative": False}[payload["operationalStatus"]]
    evses = _evses(station, payload.get("evse"))
    if not evses:
        return REJECTED
    return {"status": station.change_availability(evses, operative=operative)}


def trigger_message(station: Station2, payload: Payload) -> Payload:
    """F06. A boot that was accepted already is not repeated (F06.FR.17)."""
    message = payload["requestedMessage"]
    evses = _evses(station, payload.get("evse"))
    if not evses or (message == "BootNotification" and station.registration == "Accepted"):
        return REJECTED

    async def statuses() -> None:
        for evse in evses:
            await station.send_status(evse)

    async def meters() -> None:
        for evse in evses:
            await station.tell(*station.idle_meter_call(evse, station.read_meter(evse), "Trigger"))

    async def events() -> None:
        for evse in evses:
            if evse.session is not None:
                await station.send_meter(evse, "Trigger")

    async def boot() -> None:
        station.boot_now.set()

    firmware, log = "FirmwareStatusNotification", "LogStatusNotification"
    jobs: dict[str, Job] = {
        "BootNotification": boot,
        "Heartbeat": station.send_heartbeat,
        "StatusNotification": statuses,
        "MeterValues": meters,
        "TransactionEvent": events,
        firmware: lambda: station.tell(firmware, {"status": "Idle"}),
        log: lambda: station.tell(log, {"status": "Idle"}),
    }
    if message not in jobs:
        return {"status": "NotImplemented"}
    station.afterwards(jobs[message])
    return ACCEPTED


def get_local_list_version(station: Station2, payload: Payload) -> Payload:
    """D02."""
    return {"versionNumber": station.local_list_version}


def send_local_list(station: Station2, payload: Payload) -> Payload:
    """D01."""
    entries: list[tuple[str, str | None]] = [
        (entry["idToken"]["idToken"], entry["idTokenInfo"]["status"] if "idTokenInfo" in entry else None)
        for entry in payload.get("localAuthorizationList", [])
    ]
    status = commands.update_local_list(station, payload["versionNumber"], payload["updateType"], entries)
    return {"status": status}


def set_charging_profile(station: Station2, payload: Payload) -> Payload:
    """K01."""
    return {"status": commands.install_profile(station, payload["evseId"], payload["chargingProfile"])}


def clear_charging_profile(station: Station2, payload: Payload) -> Payload:
    """K10."""
    criteria = payload.get("chargingProfileCriteria", {})
    found = station.limits.clear(
        id=payload.get("chargingProfileId"),
        evse=criteria.get("evseId"),
        purpose=criteria.get("chargingProfilePurpose"),
        stack=criteria.get("stackLevel"),
    )
    return {"status": "Accepted" if found else "Unknown"}


def get_charging_profiles(station: Station2, payload: Payload) -> Payload:
    """K09: the profiles follow in ReportChargingProfiles, one message per EVSE."""
    request_id, criterion, evse_id = payload["requestId"], payload["chargingProfile"], payload.get("evseId")
    found = [
        profile
        for profile in station.limits.profiles
        if evse_id in (None, profile.evse)
        and profile.id in criterion.get("chargingProfileId", [profile.id])
        and criterion.get("stackLevel", profile.stack) == profile.stack
        and criterion.get("chargingProfilePurpose", profile.purpose) == profile.purpose
        and "CSO" in criterion.get("chargingLimitSource", ["CSO"])
    ]
    if not found:
        return {"status": "NoProfiles"}
    evses = sorted({profile.evse for profile in found})

    async def report() -> None:
        for evse in evses:
            await station.tell(
                "ReportChargingProfiles",
                {
                    "requestId": request_id,
                    "chargingLimitSource": "CSO",
                    "evseId": evse,
                    "chargingProfile": [profile.raw for profile in found if profile.evse == evse],
                    "tbc": evse != evses[-1],
                },
            )

    station.afterwards(report)
    return ACCEPTED


def get_composite_schedule(station: Station2, payload: Payload) -> Payload:
    """K08."""
    number, duration = payload["evseId"], payload["duration"]
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
    schedule = {
        "evseId": number,
        "duration": duration,
        "scheduleStart": timestamp(now),
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": periods,
    }
    return {"status": "Accepted", "schedule": schedule}


def reserve_now(station: Station2, payload: Payload) -> Payload:
    """H01; without evseId any free EVSE is kept."""
    evse = station.evse(payload["evseId"]) if "evseId" in payload else station.startable()
    if evse is None:
        return {"status": "Rejected" if "evseId" in payload else "Occupied"}
    expires = parse_timestamp(payload["expiryDateTime"])
    return {"status": station.reserve(evse, payload["id"], payload["idToken"]["idToken"], expires)}


def cancel_reservation(station: Station2, payload: Payload) -> Payload:
    """H02."""
    return {"status": "Accepted" if station.cancel_reservation(payload["reservationId"]) else "Rejected"}


def update_firmware(station: Station2, payload: Payload) -> Payload:
    """L01, L02."""
    request_id, firmware = payload["requestId"], payload["firmware"]

    async def tell(status: str) -> None:
        await station.tell("FirmwareStatusNotification", {"status": status, "requestId": request_id})

    signed = ("SignatureVerified",) if "signature" in firmware else ()
    delay_s = (parse_timestamp(firmware["retrieveDateTime"]) - station.now()).total_seconds()
    steps = ("Downloading", "Downloaded", *signed, "Installing")
    location = firmware["location"]
    station.afterwards(
        lambda: commands.update_firmware(station, location, delay_s, tell, steps=steps, rebooting="InstallRebooting")
    )
    return ACCEPTED


def get_log(station: Station2, payload: Payload) -> Payload:
    """N01."""
    request_id = payload["requestId"]

    async def tell(status: str) -> None:
        status = "UploadFailure" if status == "UploadFailed" else status
        await station.tell("LogStatusNotification", {"status": status, "requestId": request_id})

    name = f"{station.plan.identity}-{payload['logType']}.log"
    location = payload["log"]["remoteLocation"]
    station.afterwards(lambda: commands.upload_log(station, location, name, tell))
    return ACCEPTED | {"filename": name}


def set_network_profile(station: Station2, payload: Payload) -> Payload:
    """B09: the slot is stored; the simulation keeps talking to the one CSMS it was started for."""
    return ACCEPTED if {"ocppCsmsUrl", "securityProfile"} <= payload["connectionData"].keys() else REJECTED


def cost_updated(station: Station2, payload: Payload) -> Payload:
    """I02: shown to the driver, who is not here."""
    return {}


def _evses(station: Station2, place: Payload | None) -> list[Evse]:
    """Return the EVSEs meant by an optional evse object; without one all are."""
    if place is None:
        return station.evses
    evse = station.evse(place["id"])
    return [] if evse is None or place.get("connectorId", 1) != 1 else [evse]


HANDLERS: dict[str, Handler] = {
    "CancelReservation": cancel_reservation,
    "CertificateSigned": commands.certificate_signed,
    "ChangeAvailability": change_availability,
    "ClearCache": commands.clear_cache,
    "ClearChargingProfile": clear_charging_profile,
    "CostUpdated": cost_updated,
    "DataTransfer": commands.data_transfer,
    "DeleteCertificate": commands.delete_certificate,
    "GetChargingProfiles": get_charging_profiles,
    "GetCompositeSchedule": get_composite_schedule,
    "GetLocalListVersion": get_local_list_version,
    "GetLog": get_log,
    "GetTransactionStatus": transaction_status,
    "InstallCertificate": commands.install_certificate,
    "RequestStartTransaction": request_start,
    "RequestStopTransaction": request_stop,
    "ReserveNow": reserve_now,
    "Reset": reset,
    "SendLocalList": send_local_list,
    "SetChargingProfile": set_charging_profile,
    "SetNetworkProfile": set_network_profile,
    "TriggerMessage": trigger_message,
    "UnlockConnector": unlock_connector,
    "UpdateFirmware": update_firmware,
}

UNSUPPORTED = frozenset(
    (
        "PublishFirmware",
        "UnpublishFirmware",
        # From here on OCPP 2.1 only.
        "AFRRSignal",
        "AdjustPeriodicEventStream",
        "ChangeTransactionTariff",
        "ClearDERControl",
        "ClearTariffs",
        "GetDERControl",
        "GetPeriodicEventStream",
        "GetTariffs",
        "NotifyAllowedEnergyTransfer",
        "NotifyWebPaymentStarted",
        "RequestBatterySwap",
        "SetDERControl",
        "SetDefaultTariff",
        "UpdateDynamicSchedule",
        "UsePriorityCharging",
    )
)
