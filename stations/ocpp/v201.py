"""OCPP 2.0.1 ↔ the vocabulary (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from stations.messages import (
    Ack,
    Ask,
    AuthorizeAsked,
    AuthorizeReply,
    Beat,
    BeatReply,
    Booted,
    BootReply,
    ChangeAvailability,
    ChargingState,
    ClearCache,
    ConnectorState,
    GetConfiguration,
    Message,
    MeterRead,
    Noted,
    NotExpressible,
    Outcome,
    RawCall,
    Reading,
    Reply,
    Reset,
    SessionEnded,
    SessionReply,
    SessionStarted,
    SetConfiguration,
    StartCharging,
    StatusChanged,
    StopCharging,
    Token,
    TokenInfo,
    TokenPresented,
    TokenStatus,
    TokenType,
    Trigger,
    Unlock,
    VendorReply,
    VendorSaid,
)
from stations.ocpp import fields, variables
from stations.ocpp.frame import Fault, compact, plain, read_time, write_time
from stations.ocpp.samples import readings

VERSION: Final = "2.0.1"

# OCPP-J 2.0.1 part 4 §4.3.
ERROR_CODES: Final[Mapping[Fault, str]] = {
    Fault.FRAMEWORK: "RpcFrameworkError",
    Fault.MESSAGE_TYPE: "MessageTypeNotSupported",
    Fault.FORMAT: "FormatViolation",
    Fault.PROTOCOL: "ProtocolError",
    Fault.PROPERTY: "PropertyConstraintViolation",
    Fault.OCCURRENCE: "OccurrenceConstraintViolation",
    Fault.TYPE: "TypeConstraintViolation",
    Fault.NOT_IMPLEMENTED: "NotImplemented",
    Fault.NOT_SUPPORTED: "NotSupported",
    Fault.SECURITY: "SecurityError",
    Fault.INTERNAL: "InternalError",
    Fault.GENERIC: "GenericError",
}
UNKNOWN_ID: Final = "-1"  # part 4 §4.2.3: what a call is answered under whose id cannot be read
SENDS: Final[frozenset[str]] = frozenset()

FROM_STATION: Final = frozenset(
    {
        "Authorize",
        "BootNotification",
        "ClearedChargingLimit",
        "FirmwareStatusNotification",
        "Get15118EVCertificate",
        "GetCertificateStatus",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "NotifyChargingLimit",
        "NotifyCustomerInformation",
        "NotifyDisplayMessages",
        "NotifyEVChargingNeeds",
        "NotifyEVChargingSchedule",
        "NotifyEvent",
        "NotifyMonitoringReport",
        "NotifyReport",
        "PublishFirmwareStatusNotification",
        "ReportChargingProfiles",
        "ReservationStatusUpdate",
        "SecurityEventNotification",
        "SignCertificate",
        "StatusNotification",
        "TransactionEvent",
    }
)

# Occupied says that a car is there, not what it does: the transaction tells the rest.
_STATES: Final[Mapping[str, ConnectorState]] = {
    "Available": ConnectorState.AVAILABLE,
    "Occupied": ConnectorState.PREPARING,
    "Reserved": ConnectorState.RESERVED,
    "Unavailable": ConnectorState.UNAVAILABLE,
    "Faulted": ConnectorState.FAULTED,
}
_CHARGING_STATES: Final[Mapping[str, ChargingState]] = {
    "EVConnected": ChargingState.EV_CONNECTED,
    "Charging": ChargingState.CHARGING,
    "SuspendedEV": ChargingState.SUSPENDED_EV,
    "SuspendedEVSE": ChargingState.SUSPENDED_EVSE,
    "Idle": ChargingState.IDLE,
}
_TOKEN_TYPES: Final[Mapping[str, TokenType]] = {
    "Central": TokenType.CENTRAL,
    "eMAID": TokenType.EMAID,
    "ISO14443": TokenType.RFID,
    "ISO15693": TokenType.RFID,
    "KeyCode": TokenType.PIN,
    "Local": TokenType.OTHER,
    "MacAddress": TokenType.MAC,
    "NoAuthorization": TokenType.NONE,
}  # any other word, which 2.1 allows: OTHER
_TOKEN_WORDS: Final[Mapping[TokenType, str]] = {
    TokenType.RFID: "ISO14443",
    TokenType.APP: "Central",
    TokenType.PIN: "KeyCode",
    TokenType.EMAID: "eMAID",
    TokenType.MAC: "MacAddress",
    TokenType.NONE: "NoAuthorization",
    TokenType.CENTRAL: "Central",
    TokenType.OTHER: "Local",
}
_TOKEN_STATUSES: Final[Mapping[TokenStatus, str]] = {
    TokenStatus.ACCEPTED: "Accepted",
    TokenStatus.BLOCKED: "Blocked",
    TokenStatus.EXPIRED: "Expired",
    TokenStatus.INVALID: "Invalid",
    TokenStatus.CONCURRENT_TX: "ConcurrentTx",
    TokenStatus.NO_CREDIT: "NoCredit",
    TokenStatus.NOT_AT_THIS_LOCATION: "NotAtThisLocation",
    TokenStatus.NOT_AT_THIS_TIME: "NotAtThisTime",
}
# What 1.6 calls otherwise, so that the same word works for every version.
_TRIGGERS: Final[Mapping[str, str]] = {
    "DiagnosticsStatusNotification": "LogStatusNotification",
    "SignChargePointCertificate": "SignChargingStationCertificate",
}
# One report of the whole device model at a time (B07): its parts come as NotifyReport under this number.
FULL_REPORT: Final = 1


# --- what a station says ---------------------------------------------------------------------------


def _boot(payload: Mapping[str, Any]) -> Booted:
    station = payload["chargingStation"]
    modem = station.get("modem", {})
    return Booted(
        vendor=station["vendorName"],
        model=station["model"],
        serial_number=station.get("serialNumber", ""),
        firmware=station.get("firmwareVersion", ""),
        iccid=modem.get("iccid", ""),
        imsi=modem.get("imsi", ""),
        reason=payload["reason"],
    )


def _beat(payload: Mapping[str, Any]) -> Beat:
    return Beat()


def _status(payload: Mapping[str, Any]) -> StatusChanged:
    at, raw = fields.moment(payload)
    return StatusChanged(
        evse=fields.place(payload, "evseId"),
        connector=fields.place(payload, "connectorId"),
        state=_STATES[payload["connectorStatus"]],
        at=at,
        at_raw=raw,
    )


def _token(payload: Mapping[str, Any]) -> Token | None:
    token = payload.get("idToken")
    return None if token is None else Token(token["idToken"], _TOKEN_TYPES.get(token["type"], TokenType.OTHER))


def _authorize(payload: Mapping[str, Any]) -> AuthorizeAsked:
    token = payload["idToken"]
    return AuthorizeAsked(Token(token["idToken"], _TOKEN_TYPES.get(token["type"], TokenType.OTHER)))


def _meter_values(payload: Mapping[str, Any]) -> MeterRead:
    return MeterRead(
        evse=fields.place(payload, "evseId"),
        connector=None,
        transaction_ref=None,
        readings=readings(payload["meterValue"]),
    )


def _register(found: Sequence[Reading], context: str) -> Decimal | None:
    """Return the register of the reading taken for this purpose, else of the first that has one."""
    with_register = [reading for reading in found if reading.energy_wh is not None]
    chosen = next((reading for reading in with_register if reading.context == context), None)
    if chosen is None and with_register:
        chosen = with_register[0]
    return None if chosen is None else chosen.energy_wh


def _transaction_event(payload: Mapping[str, Any]) -> Message:
    transaction = payload["transactionInfo"]
    place = payload.get("evse", {})
    at, raw = fields.moment(payload)
    found = readings(payload.get("meterValue", ()))
    evse, connector = fields.optional_place(place, "id"), fields.optional_place(place, "connectorId")
    state = transaction.get("chargingState")
    charging_state = None if state is None else _CHARGING_STATES[state]
    trigger, seq_no = payload["triggerReason"], fields.integer(payload, "seqNo")
    offline = payload.get("offline", False)
    token = _token(payload)
    match payload["eventType"]:
        case "Started":
            return SessionStarted(
                evse=evse,
                connector=connector,
                transaction_ref=transaction["transactionId"],
                token=token,
                at=at,
                at_raw=raw,
                register_wh=_register(found, "Transaction.Begin"),
                reservation_id=fields.integer(payload, "reservationId"),
                remote_start_id=fields.integer(transaction, "remoteStartId"),
                readings=found,
                charging_state=charging_state,
                trigger=trigger,
                seq_no=seq_no,
                offline=offline,
            )
        case "Ended":
            return SessionEnded(
                transaction_ref=transaction["transactionId"],
                at=at,
                at_raw=raw,
                register_wh=_register(found[::-1], "Transaction.End"),
                reason=transaction.get("stoppedReason") or "Local",  # TransactionType: left out only where Local
                token=token,
                readings=found,
                charging_state=charging_state,
                trigger=trigger,
                seq_no=seq_no,
                offline=offline,
                evse=evse,
                connector=connector,
            )
    read = MeterRead(
        evse=evse,
        connector=connector,
        transaction_ref=transaction["transactionId"],
        readings=found,
        at=at,
        at_raw=raw,
        charging_state=charging_state,
        trigger=trigger,
        seq_no=seq_no,
        offline=offline,
        update=True,
        remote_start_id=fields.integer(transaction, "remoteStartId"),
    )
    return read if token is None else TokenPresented(token, read)


def _vendor(payload: Mapping[str, Any]) -> VendorSaid:
    data = payload.get("data", "")
    return VendorSaid(
        payload["vendorId"], payload.get("messageId", ""), data if isinstance(data, str) else compact(data)
    )


def noted(kind: str) -> Callable[[Mapping[str, Any]], Noted]:
    """Return the decoder of a message that only wants an acknowledgement."""

    def decode(payload: Mapping[str, Any]) -> Noted:
        return Noted(kind, status=payload.get("status", ""), facts=plain(payload))

    return decode


def _security_event(payload: Mapping[str, Any]) -> Noted:
    return Noted("security", status=payload["type"], text=payload.get("techInfo", ""), facts=plain(payload))


def _report(payload: Mapping[str, Any]) -> Noted:
    """A part of a device model: ``settings`` beside the numbers that put the parts in order."""
    facts = {name: plain(value) for name, value in payload.items() if name != "reportData"}
    facts["settings"] = variables.reported(payload.get("reportData", ()))
    return Noted("report", facts=facts)


def _events(payload: Mapping[str, Any]) -> Noted:
    """Events of the device model; ``states`` holds those that tell the state of a connector (G01)."""
    facts = plain(payload)
    facts["states"] = tuple(
        StatusChanged(
            evse=fields.place(event["component"]["evse"], "id"),
            connector=fields.optional_place(event["component"]["evse"], "connectorId") or 0,
            state=_STATES[event["actualValue"]],
            at=read_time(event["timestamp"]),
            at_raw=event["timestamp"][: fields.MAX_RAW_TIME],
        )
        for event in payload["eventData"]
        if event["variable"]["name"] == "AvailabilityState"
        and event["component"]["name"] == "Connector"
        and "evse" in event["component"]
        and event["actualValue"] in _STATES
    )
    return Noted("event", facts=facts)


DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "ClearedChargingLimit": noted("other"),
    "DataTransfer": _vendor,
    "FirmwareStatusNotification": noted("firmware"),
    "Heartbeat": _beat,
    "LogStatusNotification": noted("log"),
    "MeterValues": _meter_values,
    "NotifyChargingLimit": noted("other"),
    "NotifyCustomerInformation": noted("report"),
    "NotifyDisplayMessages": noted("report"),
    "NotifyEvent": _events,
    "NotifyMonitoringReport": noted("report"),
    "NotifyReport": _report,
    "PublishFirmwareStatusNotification": noted("firmware"),
    "ReportChargingProfiles": noted("report"),
    "ReservationStatusUpdate": noted("other"),
    "SecurityEventNotification": _security_event,
    "StatusNotification": _status,
    "TransactionEvent": _transaction_event,
}


# --- what we answer --------------------------------------------------------------------------------


def _token_info(info: TokenInfo) -> dict[str, Any]:
    return fields.optional(
        status=_TOKEN_STATUSES[info.status],
        # The group is a name of ours, and compared only with what we said before.
        groupIdToken={"idToken": info.group, "type": "Central"} if info.group else None,
        cacheExpiryDateTime=write_time(info.expires_at) if info.expires_at else None,
    )


def encode_reply(action: str, message: Message, reply: Reply) -> dict[str, Any]:
    """Return the payload of the CALLRESULT."""
    match reply:
        case Ack():
            return {}
        case BeatReply():
            return {"currentTime": write_time(reply.now)}
        case BootReply():
            return {
                "currentTime": write_time(reply.now),
                "interval": max(1, reply.interval_s),
                "status": reply.status.value,
            }
        case AuthorizeReply():
            return {"idTokenInfo": _token_info(reply.token)}
        case VendorReply():
            return fields.optional(status=reply.status, data=reply.data or None)
        case SessionReply():
            return fields.optional(
                idTokenInfo=None if reply.token is None else _token_info(reply.token), totalCost=reply.total_cost
            )


# --- what we ask -----------------------------------------------------------------------------------


def encode_ask(ask: Ask) -> tuple[str, dict[str, Any]]:
    """Return action and payload of a call.

    Raises:
        NotExpressible: 2.x has no way to say it.

    """
    match ask:
        case StartCharging():
            evse = ask.evse if ask.evse is not None else ask.connector
            if evse == 0:
                raise NotExpressible("A start names one EVSE, not the whole station")
            return "RequestStartTransaction", fields.optional(
                idToken={"idToken": ask.token.value, "type": _TOKEN_WORDS[ask.token.type]},
                remoteStartId=ask.remote_start_id,
                evseId=evse,
            )
        case StopCharging():
            return "RequestStopTransaction", {"transactionId": ask.transaction_ref}
        case Reset():
            return "Reset", {"type": "OnIdle" if ask.kind == "soft" else "Immediate"}
        case Unlock():
            return "UnlockConnector", {"evseId": ask.evse, "connectorId": ask.connector}
        case ChangeAvailability():
            return "ChangeAvailability", fields.optional(
                operationalStatus="Operative" if ask.operative else "Inoperative",
                evse=fields.evse(ask.evse, ask.connector),
            )
        case Trigger():
            wanted = _TRIGGERS.get(ask.message, ask.message)
            evse_part = fields.evse(ask.evse, ask.connector)
            if wanted == "StatusNotification":  # F06
                if evse_part is None:
                    raise NotExpressible("OCPP 2.x reports the status of one connector at a time: name it")
                evse_part.setdefault("connectorId", 1)
            return "TriggerMessage", fields.optional(requestedMessage=wanted, evse=evse_part)
        case GetConfiguration():
            if not ask.keys:
                return "GetBaseReport", {"requestId": FULL_REPORT, "reportBase": "FullInventory"}
            return "GetVariables", {"getVariableData": [variables.named(key) for key in ask.keys]}
        case SetConfiguration():
            return "SetVariables", {
                "setVariableData": [{**variables.named(ask.key, ask.component), "attributeValue": ask.value}]
            }
        case ClearCache():
            return "ClearCache", {}
        case RawCall():
            return ask.action, dict(ask.payload)


def decode_result(action: str, payload: Mapping[str, Any], *, status_due: bool) -> Outcome:
    """Return what a CALLRESULT to ``action`` means."""
    if action == "GetVariables":
        return fields.outcome(payload, status_due=status_due, settings=variables.read(payload.get("getVariableResult")))
    if action == "SetVariables":
        return variables.written(payload.get("setVariableResult"))
    return fields.outcome(payload, status_due=status_due)
