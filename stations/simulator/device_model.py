"""The device model of a simulated 2.x station: components, variables and what may be done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal, NamedTuple

from stations.simulator.plan import StationPlan
from stations.simulator.wire import Payload

DataType = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]
Mutability = Literal["ReadOnly", "WriteOnly", "ReadWrite"]


class Name(NamedTuple):
    """Where a variable stands; 0 and empty texts mean "none"."""

    component: str
    variable: str
    instance: str = ""
    evse: int = 0
    connector: int = 0

    @classmethod
    def read(cls, component: Payload, variable: Payload) -> Name:
        """Read the pair of objects that names a variable in every 2.x message."""
        evse = component.get("evse", {})
        return cls(
            component["name"],
            variable["name"],
            variable.get("instance", ""),
            evse.get("id", 0),
            evse.get("connectorId", 0),
        )

    def component_json(self) -> Payload:
        """Return the component object of a message."""
        if not self.evse:
            return {"name": self.component}
        evse = {"id": self.evse, "connectorId": self.connector} if self.connector else {"id": self.evse}
        return {"name": self.component, "evse": evse}

    def variable_json(self) -> Payload:
        """Return the variable object of a message."""
        return {"name": self.variable, "instance": self.instance} if self.instance else {"name": self.variable}


@dataclasses.dataclass
class Variable:
    """One variable with its Actual value."""

    value: str
    type: DataType = "string"
    mutability: Mutability = "ReadWrite"
    unit: str = ""
    options: str = ""
    reboot: bool = False

    def accepts(self, value: str) -> bool:
        """Whether the value fits the type and the list of options."""
        match self.type:
            case "integer":
                return value.removeprefix("-").isdigit()
            case "decimal":
                return value.replace(".", "", 1).removeprefix("-").isdigit()
            case "boolean":
                return value in ("true", "false")
            case "OptionList" | "MemberList" | "SequenceList" if self.options:
                return set(filter(None, value.split(","))) <= set(self.options.split(","))
            case _:
                return True

    def report(self, name: Name) -> Payload:
        """Return the row of a NotifyReport (2.0.1 B07)."""
        attribute: Payload = {"type": "Actual", "mutability": self.mutability, "persistent": True, "constant": False}
        if self.mutability != "WriteOnly":
            attribute["value"] = self.value
        features: Payload = {"dataType": self.type, "supportsMonitoring": self.type in ("integer", "decimal")}
        if self.unit:
            features["unit"] = self.unit
        if self.options:
            features["valuesList"] = self.options
        return {
            "component": name.component_json(),
            "variable": name.variable_json(),
            "variableAttribute": [attribute],
            "variableCharacteristics": features,
        }


# The settings that the station itself obeys, by the 1.6 name that the shared part of the station asks for.
SETTINGS: dict[str, Name] = {
    "AllowOfflineTxForUnknownId": Name("AuthCtrlr", "OfflineTxForUnknownIdEnabled"),
    "ClockAlignedDataInterval": Name("AlignedDataCtrlr", "Interval"),
    "ConnectionTimeOut": Name("TxCtrlr", "EVConnectionTimeOut"),
    "MeterValueSampleInterval": Name("SampledDataCtrlr", "TxUpdatedInterval"),
    "StopTransactionOnInvalidId": Name("TxCtrlr", "StopTxOnInvalidId"),
    "TransactionMessageAttempts": Name("OCPPCommCtrlr", "MessageAttempts", "TransactionEvent"),
    "TransactionMessageRetryInterval": Name("OCPPCommCtrlr", "MessageAttemptInterval", "TransactionEvent"),
}

HEARTBEAT_INTERVAL = Name("OCPPCommCtrlr", "HeartbeatInterval")
BASIC_AUTH_PASSWORD = Name("SecurityCtrlr", "BasicAuthPassword")
FIRMWARE_VERSION = Name("ChargingStation", "FirmwareVersion")
TX_START_POINT = Name("TxCtrlr", "TxStartPoint")
TX_STOP_POINT = Name("TxCtrlr", "TxStopPoint")
AUTHORIZE_REMOTE_START = Name("AuthCtrlr", "AuthorizeRemoteStart")
TX_UPDATED_MEASURANDS = Name("SampledDataCtrlr", "TxUpdatedMeasurands")
TX_STARTED_MEASURANDS = Name("SampledDataCtrlr", "TxStartedMeasurands")
TX_ENDED_MEASURANDS = Name("SampledDataCtrlr", "TxEndedMeasurands")
ALIGNED_MEASURANDS = Name("AlignedDataCtrlr", "Measurands")

_MEASURANDS = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Current.Offered,Voltage,SoC"
_TX_POINTS = "ParkingBayOccupancy,EVConnected,Authorized,PowerPathClosed,EnergyTransfer,DataSigned"


def build(plan: StationPlan) -> dict[Name, Variable]:
    """Return the variables of a new station."""
    return dict((*_station(plan), *_controllers(plan), *_evses(plan)))


def availability_name(evse: int) -> Name:
    """Return the name of an EVSE's AvailabilityState."""
    return Name("EVSE", "AvailabilityState", evse=evse)


def _read(value: object, type_: DataType = "string", unit: str = "", options: str = "") -> Variable:
    return Variable(str(value), type_, "ReadOnly", unit, options)


def _flag(value: bool, *, readonly: bool = False) -> Variable:
    return Variable("true" if value else "false", "boolean", "ReadOnly" if readonly else "ReadWrite")


def _number(value: int, unit: str = "") -> Variable:
    return Variable(str(value), "integer", unit=unit)


def _station(plan: StationPlan) -> Iterator[tuple[Name, Variable]]:
    yield Name("ChargingStation", "VendorName"), _read(plan.vendor)
    yield Name("ChargingStation", "Model"), _read(plan.model)
    yield Name("ChargingStation", "SerialNumber"), _read(plan.identity[:25])
    yield FIRMWARE_VERSION, _read(plan.firmware)
    yield Name("ChargingStation", "AvailabilityState"), _read("Available", "OptionList")
    yield Name("ChargingStation", "Available"), _flag(True, readonly=True)
    yield Name("ChargingStation", "Problem"), _flag(False, readonly=True)
    yield Name("ChargingStation", "SupplyPhases"), _read(plan.phases, "integer")


def _controllers(plan: StationPlan) -> Iterator[tuple[Name, Variable]]:
    comm = "OCPPCommCtrlr"
    yield HEARTBEAT_INTERVAL, _number(300, "s")
    yield Name(comm, "ActiveNetworkProfile"), _read(0, "integer")
    yield Name(comm, "FileTransferProtocols"), _read("HTTP,HTTPS", "MemberList", options="HTTP,HTTPS")
    yield Name(comm, "MessageAttempts", "TransactionEvent"), _number(3)
    yield Name(comm, "MessageAttemptInterval", "TransactionEvent"), _number(20, "s")
    yield Name(comm, "MessageTimeout", "Default"), _read(30, "integer", "s")
    yield Name(comm, "NetworkConfigurationPriority"), Variable("0", "SequenceList")
    yield Name(comm, "NetworkProfileConnectionAttempts"), _number(3)
    yield Name(comm, "OfflineThreshold"), _number(60, "s")
    yield Name(comm, "QueueAllMessages"), _flag(True)
    yield Name(comm, "ResetRetries"), _number(3)
    yield Name(comm, "RetryBackOffRandomRange"), _number(10, "s")
    yield Name(comm, "RetryBackOffRepeatTimes"), _number(5)
    yield Name(comm, "RetryBackOffWaitMinimum"), _number(10, "s")
    yield Name(comm, "UnlockOnEVSideDisconnect"), _flag(True)
    yield Name(comm, "WebSocketPingInterval"), Variable("60", "integer", unit="s", reboot=True)
    yield BASIC_AUTH_PASSWORD, Variable("", mutability="WriteOnly")
    yield Name("SecurityCtrlr", "CertificateEntries"), _read(0, "integer")
    yield Name("SecurityCtrlr", "Identity"), _read(plan.identity)
    yield Name("SecurityCtrlr", "OrganizationName"), Variable("Simulation")
    yield Name("SecurityCtrlr", "SecurityProfile"), _read(1, "integer")
    yield AUTHORIZE_REMOTE_START, _flag(False)
    yield Name("AuthCtrlr", "Enabled"), _flag(True)
    yield Name("AuthCtrlr", "LocalAuthorizeOffline"), _flag(True)
    yield Name("AuthCtrlr", "LocalPreAuthorize"), _flag(False)
    yield Name("AuthCtrlr", "OfflineTxForUnknownIdEnabled"), _flag(True)
    yield Name("AuthCacheCtrlr", "Enabled"), _flag(True)
    yield Name("LocalAuthListCtrlr", "BytesPerMessage"), _read(65_536, "integer")
    yield Name("LocalAuthListCtrlr", "Enabled"), _flag(True)
    yield Name("LocalAuthListCtrlr", "Entries"), _read(0, "integer")
    yield Name("LocalAuthListCtrlr", "ItemsPerMessage"), _read(100, "integer")
    yield Name("TxCtrlr", "EVConnectionTimeOut"), _number(60, "s")
    yield Name("TxCtrlr", "MaxEnergyOnInvalidId"), _number(0, "Wh")
    yield Name("TxCtrlr", "StopTxOnEVSideDisconnect"), _flag(True)
    yield Name("TxCtrlr", "StopTxOnInvalidId"), _flag(True)
    yield TX_START_POINT, Variable("PowerPathClosed", "MemberList", options=_TX_POINTS)
    yield TX_STOP_POINT, Variable("EVConnected,Authorized", "MemberList", options=_TX_POINTS)
    yield Name("SampledDataCtrlr", "Enabled"), _flag(True)
    yield Name("SampledDataCtrlr", "TxEndedInterval"), _number(0, "s")
    yield Name("SampledDataCtrlr", "TxUpdatedInterval"), _number(plan.meter_interval_s, "s")
    yield TX_STARTED_MEASURANDS, Variable("Energy.Active.Import.Register", "MemberList", options=_MEASURANDS)
    updated = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"
    yield TX_UPDATED_MEASURANDS, Variable(updated, "MemberList", options=_MEASURANDS)
    yield TX_ENDED_MEASURANDS, Variable("Energy.Active.Import.Register", "MemberList", options=_MEASURANDS)
    yield Name("AlignedDataCtrlr", "Enabled"), _flag(True)
    yield Name("AlignedDataCtrlr", "Interval"), _number(0, "s")
    yield ALIGNED_MEASURANDS, Variable("Energy.Active.Import.Register", "MemberList", options=_MEASURANDS)
    yield Name("AlignedDataCtrlr", "TxEndedInterval"), _number(0, "s")
    yield Name("AlignedDataCtrlr", "TxEndedMeasurands"), Variable("", "MemberList", options=_MEASURANDS)
    yield Name("ClockCtrlr", "DateTime"), _read("", "dateTime")
    yield Name("ClockCtrlr", "TimeSource"), Variable("Heartbeat", "SequenceList", options="Heartbeat,NTP")
    for message, items in (("GetReport", 20), ("GetVariables", 50), ("SetVariables", 50)):
        yield Name("DeviceDataCtrlr", "BytesPerMessage", message), _read(65_536, "integer")
        yield Name("DeviceDataCtrlr", "ItemsPerMessage", message), _read(items, "integer")
    yield Name("DisplayMessageCtrlr", "DisplayMessages"), _read(0, "integer")
    yield Name("MonitoringCtrlr", "Enabled"), _flag(True)
    yield Name("ReservationCtrlr", "Enabled"), _flag(True)
    yield Name("ReservationCtrlr", "NonEvseSpecific"), _flag(True, readonly=True)
    yield Name("SmartChargingCtrlr", "Enabled"), _flag(True)
    yield Name("SmartChargingCtrlr", "Entries", "ChargingProfiles"), _read(0, "integer")
    yield Name("SmartChargingCtrlr", "LimitChangeSignificance"), Variable("1.0", "decimal", unit="Percent")
    yield Name("SmartChargingCtrlr", "PeriodsPerSchedule"), _read(24, "integer")
    yield Name("SmartChargingCtrlr", "ProfileStackLevel"), _read(10, "integer")
    yield Name("SmartChargingCtrlr", "RateUnit"), _read("A,W", "MemberList", options="A,W")
    yield Name("TariffCostCtrlr", "Currency"), Variable("EUR")
    yield Name("TariffCostCtrlr", "Enabled", "Cost"), _flag(True)
    yield Name("TariffCostCtrlr", "Enabled", "Tariff"), _flag(True)
    if plan.version == "2.1":
        limits = "MaxEnergy,MaxTime"
        yield Name("TxCtrlr", "SupportedLimits"), _read(limits, "MemberList", options=limits)


def _evses(plan: StationPlan) -> Iterator[tuple[Name, Variable]]:
    plug = "cCCS2" if plan.kind == "dc" else "sType2"
    for evse in range(1, plan.evses + 1):
        yield availability_name(evse), _read("Available", "OptionList")
        yield Name("EVSE", "Available", evse=evse), _flag(True, readonly=True)
        yield Name("EVSE", "Power", evse=evse), _read(int(plan.power_w), "decimal", "W")
        yield Name("EVSE", "SupplyPhases", evse=evse), _read(plan.phases, "integer")
        yield Name("Connector", "Available", evse=evse, connector=1), _flag(True, readonly=True)
        yield Name("Connector", "ConnectorType", evse=evse, connector=1), _read(plug)
        yield Name("Connector", "SupplyPhases", evse=evse, connector=1), _read(plan.phases, "integer")
