"""OCPP 1.6 ↔ the vocabulary (pure). A connectorId n is EVSE n, connector n; 0 is the station."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    ClearCache,
    ConnectorState,
    GetConfiguration,
    Message,
    MeterRead,
    Noted,
    NotExpressible,
    Outcome,
    RawCall,
    Reply,
    Reset,
    SessionEnded,
    SessionReply,
    SessionStarted,
    SetConfiguration,
    Setting,
    StartCharging,
    StatusChanged,
    StopCharging,
    Token,
    TokenInfo,
    TokenStatus,
    Trigger,
    Unlock,
    VendorReply,
    VendorSaid,
)
from stations.ocpp import fields, quirks
from stations.ocpp.frame import Fault, plain, write_time
from stations.ocpp.samples import readings

VERSION: Final = "1.6"

# OCPP-J 1.6 §4.2.3, with the spellings of the specification.
ERROR_CODES: Final[Mapping[Fault, str]] = {
    Fault.FRAMEWORK: "FormationViolation",
    Fault.MESSAGE_TYPE: "FormationViolation",
    Fault.FORMAT: "FormationViolation",
    Fault.PROTOCOL: "ProtocolError",
    Fault.PROPERTY: "PropertyConstraintViolation",
    Fault.OCCURRENCE: "OccurenceConstraintViolation",
    Fault.TYPE: "TypeConstraintViolation",
    Fault.NOT_IMPLEMENTED: "NotImplemented",
    Fault.NOT_SUPPORTED: "NotSupported",
    Fault.SECURITY: "SecurityError",
    Fault.INTERNAL: "InternalError",
    Fault.GENERIC: "GenericError",
}
UNKNOWN_ID: Final = None  # a call whose id cannot be read stays without an answer
SENDS: Final[frozenset[str]] = frozenset()

FROM_STATION: Final = frozenset(
    {
        "Authorize",
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
)

_STATES: Final[Mapping[str, ConnectorState]] = {
    "Available": ConnectorState.AVAILABLE,
    "Preparing": ConnectorState.PREPARING,
    "Charging": ConnectorState.CHARGING,
    "SuspendedEV": ConnectorState.SUSPENDED_EV,
    "SuspendedEVSE": ConnectorState.SUSPENDED_EVSE,
    "Finishing": ConnectorState.FINISHING,
    "Reserved": ConnectorState.RESERVED,
    "Unavailable": ConnectorState.UNAVAILABLE,
    "Faulted": ConnectorState.FAULTED,
}
_ERRORS: Final = frozenset(
    {
        "ConnectorLockFailure",
        "EVCommunicationError",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "LocalListConflict",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    }
)
# 1.6 has five words for a token; every later reason not to charge is a block to it.
_TOKEN_STATUSES: Final[Mapping[TokenStatus, str]] = {
    TokenStatus.ACCEPTED: "Accepted",
    TokenStatus.BLOCKED: "Blocked",
    TokenStatus.EXPIRED: "Expired",
    TokenStatus.INVALID: "Invalid",
    TokenStatus.CONCURRENT_TX: "ConcurrentTx",
    TokenStatus.NO_CREDIT: "Blocked",
    TokenStatus.NOT_AT_THIS_LOCATION: "Blocked",
    TokenStatus.NOT_AT_THIS_TIME: "Blocked",
}
_TRIGGERS: Final[Mapping[str, tuple[str, str]]] = {
    # wanted -> action, requestedMessage; the second call is that of the security white paper
    "BootNotification": ("TriggerMessage", "BootNotification"),
    "DiagnosticsStatusNotification": ("TriggerMessage", "DiagnosticsStatusNotification"),
    "FirmwareStatusNotification": ("TriggerMessage", "FirmwareStatusNotification"),
    "Heartbeat": ("TriggerMessage", "Heartbeat"),
    "MeterValues": ("TriggerMessage", "MeterValues"),
    "StatusNotification": ("TriggerMessage", "StatusNotification"),
    "LogStatusNotification": ("ExtendedTriggerMessage", "LogStatusNotification"),
    "SignChargePointCertificate": ("ExtendedTriggerMessage", "SignChargePointCertificate"),
    "SignChargingStationCertificate": ("ExtendedTriggerMessage", "SignChargePointCertificate"),
}
_MAX_GROUP: Final = 20


# --- what a station says ---------------------------------------------------------------------------


def _boot(payload: Mapping[str, Any]) -> Booted:
    return Booted(
        vendor=payload["chargePointVendor"],
        model=payload["chargePointModel"],
        serial_number=payload.get("chargePointSerialNumber") or payload.get("chargeBoxSerialNumber", ""),
        firmware=payload.get("firmwareVersion", ""),
        iccid=payload.get("iccid", ""),
        imsi=payload.get("imsi", ""),
        meter_serial=payload.get("meterSerialNumber", ""),
        meter_type=payload.get("meterType", ""),
    )


def _beat(payload: Mapping[str, Any]) -> Beat:
    return Beat()


def _status(payload: Mapping[str, Any]) -> StatusChanged:
    number = fields.place(payload, "connectorId")
    at, raw = fields.moment(payload)
    error = payload["errorCode"]
    vendor_error = quirks.vendor_error(payload.get("vendorErrorCode", ""))
    if not quirks.vendor_error(error):
        error = ""
    elif error not in _ERRORS:  # lbbrhzn/ocpp#1248
        vendor_error = vendor_error or error
        error = "OtherError"
    return StatusChanged(
        evse=number,
        connector=number,
        state=_STATES[payload["status"]],
        at=at,
        at_raw=raw,
        error_code=error,
        info=quirks.said(payload.get("info", "")),
        vendor_id=payload.get("vendorId", ""),
        vendor_error_code=vendor_error,
    )


def _authorize(payload: Mapping[str, Any]) -> AuthorizeAsked:
    return AuthorizeAsked(Token(payload["idTag"]))


def _start(payload: Mapping[str, Any]) -> SessionStarted:
    number = fields.place(payload, "connectorId")
    at, raw = fields.moment(payload)
    return SessionStarted(
        evse=number,
        connector=number,
        transaction_ref=None,
        token=Token(payload["idTag"]),
        at=at,
        at_raw=raw,
        register_wh=fields.register(int(payload["meterStart"])),
        reservation_id=fields.integer(payload, "reservationId"),
    )


def _meter_values(payload: Mapping[str, Any]) -> MeterRead:
    number = fields.place(payload, "connectorId")
    reference = int(payload.get("transactionId", 0))
    return MeterRead(
        evse=number,
        connector=number,
        transaction_ref=str(reference) if reference > 0 else None,
        readings=readings(payload["meterValue"]),
    )


def _stop(payload: Mapping[str, Any]) -> SessionEnded:
    at, raw = fields.moment(payload)
    return SessionEnded(
        transaction_ref=str(int(payload["transactionId"])),
        at=at,
        at_raw=raw,
        register_wh=fields.register(int(payload["meterStop"])),
        reason=payload.get("reason") or "Local",  # left out only where Local
        token=Token(payload["idTag"]) if payload.get("idTag") else None,
        readings=readings(payload.get("transactionData", ())),
    )


def _vendor(payload: Mapping[str, Any]) -> VendorSaid:
    return VendorSaid(payload["vendorId"], payload.get("messageId", ""), payload.get("data", ""))


def _noted(kind: str) -> Callable[[Mapping[str, Any]], Noted]:
    def decode(payload: Mapping[str, Any]) -> Noted:
        return Noted(kind, status=payload.get("status", ""), facts=plain(payload))

    return decode


def _security_event(payload: Mapping[str, Any]) -> Noted:
    return Noted("security", status=payload["type"], text=payload.get("techInfo", ""), facts=plain(payload))


def _sign_certificate(payload: Mapping[str, Any]) -> Noted:
    return Noted("security", status="SignCertificate", facts=plain(payload))


DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "DataTransfer": _vendor,
    "DiagnosticsStatusNotification": _noted("diagnostics"),
    "FirmwareStatusNotification": _noted("firmware"),
    "Heartbeat": _beat,
    "LogStatusNotification": _noted("log"),
    "MeterValues": _meter_values,
    "SecurityEventNotification": _security_event,
    "SignCertificate": _sign_certificate,
    "SignedFirmwareStatusNotification": _noted("firmware"),
    "StartTransaction": _start,
    "StatusNotification": _status,
    "StopTransaction": _stop,
}


# --- what we answer --------------------------------------------------------------------------------


def _token_info(info: TokenInfo) -> dict[str, Any]:
    group = info.group if info.group and len(info.group) <= _MAX_GROUP else None
    return fields.optional(
        status=_TOKEN_STATUSES[info.status],
        parentIdTag=group,
        expiryDate=write_time(info.expires_at) if info.expires_at else None,
    )


def encode_reply(action: str, message: Message, reply: Reply) -> dict[str, Any]:
    """Return the payload of the CALLRESULT.

    Raises:
        ValueError: the reply does not answer such a message.

    """
    if action == "SignCertificate":
        return {"status": "Rejected"}  # no certificate authority of ours: the station keeps what it has
    match reply:
        case Ack():
            return {}
        case BeatReply():
            return {"currentTime": write_time(reply.now)}
        case BootReply():
            return {
                "status": reply.status.value,
                "currentTime": write_time(reply.now),
                "interval": max(1, reply.interval_s),
            }
        case AuthorizeReply():
            return {"idTagInfo": _token_info(reply.token)}
        case VendorReply():
            return fields.optional(status=reply.status, data=reply.data or None)
        case SessionReply():
            if isinstance(message, SessionStarted):
                if reply.token is None or reply.transaction_id is None:
                    raise ValueError("A StartTransaction is answered with a number and what its token may do")
                return {"transactionId": reply.transaction_id, "idTagInfo": _token_info(reply.token)}
            if isinstance(message, SessionEnded) and reply.token is not None:
                return {"idTagInfo": _token_info(reply.token)}
            return {}


# --- what we ask -----------------------------------------------------------------------------------


def encode_ask(ask: Ask) -> tuple[str, dict[str, Any]]:
    """Return action and payload of a call.

    Raises:
        NotExpressible: 1.6 has no way to say it.

    """
    match ask:
        case StartCharging():
            place = _connector(ask.evse, ask.connector)
            if place == 0:
                raise NotExpressible("A start names one connector, not the whole station")
            return "RemoteStartTransaction", fields.optional(connectorId=place, idTag=ask.token.value)
        case StopCharging():
            if not (ask.transaction_ref.isascii() and ask.transaction_ref.isdigit()):
                raise NotExpressible("OCPP 1.6 numbers its transactions; this reference is no number")
            return "RemoteStopTransaction", {"transactionId": int(ask.transaction_ref)}
        case Reset():
            return "Reset", {"type": "Soft" if ask.kind == "soft" else "Hard"}
        case Unlock():
            return "UnlockConnector", {"connectorId": ask.evse}
        case ChangeAvailability():
            return "ChangeAvailability", {
                "connectorId": _connector(ask.evse, ask.connector) or 0,
                "type": "Operative" if ask.operative else "Inoperative",
            }
        case Trigger():
            if ask.message not in _TRIGGERS:
                raise NotExpressible(f"OCPP 1.6 cannot be asked for {ask.message}")
            action, wanted = _TRIGGERS[ask.message]
            place = _connector(ask.evse, ask.connector)
            return action, fields.optional(requestedMessage=wanted, connectorId=place or None)
        case GetConfiguration():
            return "GetConfiguration", {"key": list(ask.keys)} if ask.keys else {}
        case SetConfiguration():
            if ask.component:
                raise NotExpressible("OCPP 1.6 has configuration keys without a component")
            return "ChangeConfiguration", {"key": ask.key, "value": ask.value}
        case ClearCache():
            return "ClearCache", {}
        case RawCall():
            return ask.action, dict(ask.payload)


def _connector(evse: int | None, connector: int | None) -> int | None:
    return evse if evse is not None else connector


def decode_result(action: str, payload: Mapping[str, Any], *, status_due: bool) -> Outcome:
    """Return what a CALLRESULT to ``action`` means."""
    settings: tuple[Setting, ...] = ()
    if action == "GetConfiguration":
        settings = (*_known(payload.get("configurationKey")), *_unknown(payload.get("unknownKey")))
    return fields.outcome(payload, status_due=status_due, settings=settings)


def _known(entries: object) -> list[Setting]:
    """An absent value means "not set" (OCPP 1.6, KeyValue)."""
    return [
        Setting(
            key=str(entry["key"])[: fields.MAX_KEY],
            value=fields.text_of(entry.get("value")) or "",
            readonly=fields.truth(entry.get("readonly")),
        )
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and entry.get("key")
    ]


def _unknown(keys: object) -> list[Setting]:
    return [Setting(str(key)[: fields.MAX_KEY], None) for key in (keys if isinstance(keys, list) else ()) if key]
