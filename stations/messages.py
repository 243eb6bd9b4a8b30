"""The one vocabulary between chargers and the rest of Voltyard.

The domain knows no protocol version: adapters (``stations.ocpp.v16``, ``v201``, ``v21``) translate
frames to these frozen dataclasses and back. Units everywhere: energy in Wh, power in W, current in A,
voltage in V, numbers as ``Decimal``, times aware UTC.

A station's own time stays beside its raw text, because clocks of real chargers cannot be trusted:
``at`` is None where the text is no timestamp, and the domain decides what it takes instead.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal


class ConnectorState(enum.StrEnum):
    """State of a connector in one spelling for every version (the names of OCPP 1.6)."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class ChargingState(enum.StrEnum):
    """What the power path does inside a session (the names of OCPP 2.x)."""

    EV_CONNECTED = "EVConnected"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"
    IDLE = "Idle"


class TokenType(enum.StrEnum):
    """How a driver was recognised."""

    RFID = "rfid"
    APP = "app"
    PIN = "pin"
    EMAID = "emaid"
    MAC = "mac"
    NONE = "none"  # NoAuthorization: always accepted (C02)
    CENTRAL = "central"
    OTHER = "other"


class TokenStatus(enum.StrEnum):
    """The answer to "may this token charge here" (union of 1.6 and 2.x)."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT_TX = "ConcurrentTx"
    NO_CREDIT = "NoCredit"
    NOT_AT_THIS_LOCATION = "NotAtThisLocation"
    NOT_AT_THIS_TIME = "NotAtThisTime"


class Registration(enum.StrEnum):
    """Whether the operator has let a station in (BootNotification status)."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token as presented: ``value`` byte for byte as sent (compared without case)."""

    value: str
    type: TokenType = TokenType.RFID


@dataclasses.dataclass(frozen=True, slots=True)
class TokenInfo:
    """What we answer about a token. ``group`` is parentIdTag (1.6) or groupIdToken (2.x)."""

    status: TokenStatus
    group: str | None = None
    expires_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SignedValue:
    """A signed meter record kept byte for byte (``data`` is the text of the frame)."""

    data: str
    encoding: str = ""
    method: str = ""
    public_key: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One MeterValue: all samples of one moment at one place.

    ``energy_wh`` is the import register (Energy.Active.Import.Register, outlet, total), the sum over
    phases only where no total was sent. ``other`` keeps every sample that has no column, by a key
    ``measurand[.phase][@location]`` -> text; nothing a station says is dropped.
    ``suspect`` names values that could not be trusted (not a number, too many digits, ...).
    """

    at: dt.datetime | None
    at_raw: str = ""
    context: str = "Sample.Periodic"
    energy_wh: Decimal | None = None
    energy_interval_wh: Decimal | None = None
    power_w: Decimal | None = None
    current_a: Decimal | None = None
    current_l1: Decimal | None = None
    current_l2: Decimal | None = None
    current_l3: Decimal | None = None
    voltage_v: Decimal | None = None
    voltage_l1: Decimal | None = None
    voltage_l2: Decimal | None = None
    voltage_l3: Decimal | None = None
    soc_percent: Decimal | None = None
    temperature_c: Decimal | None = None
    other: Mapping[str, str] | None = None
    signed: tuple[SignedValue, ...] = ()
    suspect: tuple[str, ...] = ()


# --- what a station says ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Booted:
    """BootNotification. ``reason`` only in 2.x."""

    vendor: str
    model: str
    serial_number: str = ""
    firmware: str = ""
    iccid: str = ""
    imsi: str = ""
    meter_serial: str = ""
    meter_type: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """Heartbeat."""


@dataclasses.dataclass(frozen=True, slots=True)
class StatusChanged:
    """StatusNotification. EVSE 0 is the station itself (1.6 connectorId 0)."""

    evse: int
    connector: int
    state: ConnectorState
    at: dt.datetime | None = None
    at_raw: str = ""
    error_code: str = ""
    info: str = ""
    vendor_id: str = ""
    vendor_error_code: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class AuthorizeAsked:
    """Authorize."""

    token: Token


@dataclasses.dataclass(frozen=True, slots=True)
class SessionStarted:
    """StartTransaction, or TransactionEvent Started.

    ``transaction_ref`` is None in 1.6: the central system gives the number. ``seq_no`` is None in 1.6.
    """

    evse: int | None
    connector: int | None
    transaction_ref: str | None
    token: Token | None
    at: dt.datetime | None
    at_raw: str = ""
    register_wh: Decimal | None = None
    reservation_id: int | None = None
    remote_start_id: int | None = None
    readings: tuple[Reading, ...] = ()
    charging_state: ChargingState | None = None
    trigger: str = ""
    seq_no: int | None = None
    offline: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class MeterRead:
    """MeterValues, or TransactionEvent Updated.

    ``transaction_ref`` is None outside a session (1.6 without transactionId, -1 or null; 2.x MeterValues).
    ``update`` is True for a 2.x TransactionEvent Updated, which may create a session that was missed.
    """

    evse: int | None
    connector: int | None
    transaction_ref: str | None
    readings: tuple[Reading, ...] = ()
    at: dt.datetime | None = None
    at_raw: str = ""
    charging_state: ChargingState | None = None
    trigger: str = ""
    seq_no: int | None = None
    offline: bool = False
    update: bool = False
    remote_start_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenPresented:
    """TransactionEvent Updated that carries an idToken: it must be answered with what the token may do."""

    token: Token
    read: MeterRead


@dataclasses.dataclass(frozen=True, slots=True)
class SessionEnded:
    """StopTransaction, or TransactionEvent Ended."""

    transaction_ref: str
    at: dt.datetime | None
    at_raw: str = ""
    register_wh: Decimal | None = None
    reason: str = ""
    token: Token | None = None
    readings: tuple[Reading, ...] = ()
    charging_state: ChargingState | None = None
    trigger: str = ""
    seq_no: int | None = None
    offline: bool = False
    evse: int | None = None
    connector: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class VendorSaid:
    """DataTransfer from the station."""

    vendor_id: str
    message_id: str = ""
    data: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Noted:
    """A message that needs no more than an acknowledgement and a line in the log.

    ``kind`` is one of firmware, diagnostics, log, security, event, report, other; ``status`` and ``text``
    are for people.
    """

    kind: str
    status: str = ""
    text: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Message = (
    Booted
    | Beat
    | StatusChanged
    | AuthorizeAsked
    | SessionStarted
    | MeterRead
    | TokenPresented
    | SessionEnded
    | VendorSaid
    | Noted
)


# --- what we answer --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class BootReply:
    """Answer to Booted. ``interval_s`` is never 0 (quirk 25)."""

    status: Registration
    now: dt.datetime
    interval_s: int


@dataclasses.dataclass(frozen=True, slots=True)
class BeatReply:
    """Answer to Beat."""

    now: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class AuthorizeReply:
    """Answer to AuthorizeAsked."""

    token: TokenInfo


@dataclasses.dataclass(frozen=True, slots=True)
class SessionReply:
    """Answer to SessionStarted, MeterRead with update, TokenPresented and SessionEnded.

    ``transaction_id`` is the 1.6 number. ``total_cost`` in the session's currency, VAT included; None is
    "unknown", zero is "free" (protocol.md §7, 27).
    """

    token: TokenInfo | None = None
    transaction_id: int | None = None
    total_cost: Decimal | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class VendorReply:
    """Answer to VendorSaid."""

    status: Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
    data: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Ack:
    """The empty answer."""


Reply = BootReply | BeatReply | AuthorizeReply | SessionReply | VendorReply | Ack


# --- what we ask -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class StartCharging:
    """RemoteStartTransaction / RequestStartTransaction."""

    token: Token
    evse: int | None = None
    connector: int | None = None
    remote_start_id: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class StopCharging:
    """RemoteStopTransaction / RequestStopTransaction."""

    transaction_ref: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reset:
    """Reset: soft = Soft / OnIdle, hard = Hard / Immediate."""

    kind: Literal["soft", "hard"] = "soft"


@dataclasses.dataclass(frozen=True, slots=True)
class Unlock:
    """UnlockConnector."""

    evse: int
    connector: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeAvailability:
    """ChangeAvailability; without an EVSE the whole station."""

    operative: bool
    evse: int | None = None
    connector: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Trigger:
    """TriggerMessage. ``message`` is the OCPP name of what is wanted."""

    message: str
    evse: int | None = None
    connector: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class GetConfiguration:
    """GetConfiguration / GetVariables. 2.x keys read ``Component.Variable``; none asks for all (1.6)."""

    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SetConfiguration:
    """ChangeConfiguration / SetVariables."""

    key: str
    value: str
    component: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ClearCache:
    """ClearCache."""


@dataclasses.dataclass(frozen=True, slots=True)
class RawCall:
    """Any call of the version the station speaks, checked against its schema."""

    action: str
    payload: Mapping[str, Any]


Ask = (
    StartCharging
    | StopCharging
    | Reset
    | Unlock
    | ChangeAvailability
    | Trigger
    | GetConfiguration
    | SetConfiguration
    | ClearCache
    | RawCall
)


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One reported configuration key or variable; ``value`` None where unknown."""

    key: str
    value: str | None
    readonly: bool = False
    component: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a station's CALLRESULT means for the command it answers (contract.md §5).

    ``status`` accepted: Accepted, Scheduled, RebootRequired, Unlocked, or a result without status.
    ``word`` is the station's own status text. ``settings`` holds what a configuration read returned.
    """

    status: Literal["accepted", "rejected"]
    word: str = ""
    settings: tuple[Setting, ...] = ()


class NotExpressible(Exception):
    """A version cannot carry what was asked; the text says why, for the operator."""


# --- what the gateway itself tells the domain --------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Connected:
    """A socket with valid credentials was accepted; answered with `Admitted`."""

    gateway: str
    protocol: str


@dataclasses.dataclass(frozen=True, slots=True)
class Admitted:
    """The new epoch of a station; whatever an older epoch still says is ignored."""

    epoch: int
    registration: Registration


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """The socket of this epoch is gone."""

    code: int = 1006


@dataclasses.dataclass(frozen=True, slots=True)
class CommandWanted:
    """The line to the station is free: claim the next queued command; answered with `Claimed` or None."""

    message_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    """A command that is marked as sent and may now go out."""

    command_id: int
    message_id: str
    action: str
    payload: Mapping[str, Any]
    ask: Ask
    timeout_s: int


@dataclasses.dataclass(frozen=True, slots=True)
class CommandAnswered:
    """How a sent command ended: with an outcome, a CALLERROR (``error_code``), no answer or a lost line."""

    command_id: int
    outcome: Outcome | None = None
    response: Mapping[str, Any] | None = None
    error_code: str = ""
    error_text: str = ""
    timed_out: bool = False
    late: bool = False
