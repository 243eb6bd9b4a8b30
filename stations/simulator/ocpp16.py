"""A simulated OCPP 1.6 charge point: what the station says, in 1.6 frames. EVSE n is connector n."""

from __future__ import annotations

from typing import Any, ClassVar

from stations.simulator import ocpp16_commands
from stations.simulator.clock import timestamp
from stations.simulator.evse import Evse, Session
from stations.simulator.physics import Sample
from stations.simulator.plan import Token
from stations.simulator.station import Station
from stations.simulator.uplink import Handler, Item
from stations.simulator.wire import Payload

_STOP_REASONS = frozenset(
    ("Local", "Remote", "EVDisconnected", "DeAuthorized", "SoftReset", "HardReset", "UnlockCommand", "Reboot")
)


class Station16(Station):
    """Speaks OCPP 1.6 (JSON)."""

    handlers: ClassVar[dict[str, Handler]] = ocpp16_commands.HANDLERS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration = ocpp16_commands.default_configuration(self.plan)

    def setting(self, name: str) -> str:
        """Return the value of a configuration key."""
        return self.configuration[name].value

    def boot_call(self) -> tuple[str, Payload]:
        """OCPP 1.6 §4.2."""
        return "BootNotification", {
            "chargePointVendor": self.plan.vendor,
            "chargePointModel": self.plan.model,
            "chargePointSerialNumber": self.plan.identity[:25],
            "firmwareVersion": self.firmware,
            "meterType": "Simulated meter",
            "meterSerialNumber": f"M-{self.plan.identity}"[:25],
        }

    def booted(self) -> None:
        """The interval of the boot answer is the heartbeat interval from now on (§4.2)."""
        self.configuration["HeartbeatInterval"].value = str(int(self.heartbeat_s))

    def status_word(self, evse: Evse) -> str:
        """1.6 has a word for each state."""
        return evse.state

    def status_call(self, evse: Evse | None) -> tuple[str, Payload] | None:
        """OCPP 1.6 §4.9; connector 0 is the station."""
        status: Payload = {"connectorId": 0, "errorCode": "NoError", "status": "Available"}
        if evse is not None:
            status = {"connectorId": evse.id, "errorCode": "NoError", "status": evse.state}
            if evse.broken:
                status |= {"errorCode": "GroundFailure", "info": "Residual current", "vendorErrorCode": "RCD-17"}
        elif not any(each.operative for each in self.evses):
            status["status"] = "Unavailable"
        return "StatusNotification", status | {"timestamp": self.timestamp()}

    def authorize_call(self, token: Token) -> tuple[str, Payload]:
        """OCPP 1.6 §4.1."""
        return "Authorize", {"idTag": token.value}

    def authorize_status(self, reply: Payload) -> str:
        """Return idTagInfo.status."""
        return str(reply["idTagInfo"]["status"])

    def may_begin(self, evse: Evse) -> bool:
        """A 1.6 transaction needs cable and token."""
        return evse.is_usable and evse.outlet.car is not None and evse.grant is not None

    def ends_at_stop(self) -> bool:
        """A stop ends the transaction."""
        return True

    def tell_begun(self, session: Session, trigger: str) -> None:
        """Queue StartTransaction (§4.8)."""
        payload: Payload = {
            "connectorId": session.evse.id,
            "idTag": _id_tag(session),
            "meterStart": session.meter_start,
            "timestamp": self.timestamp(),
        }
        if session.reservation_id is not None:
            payload["reservationId"] = session.reservation_id
        self.queue(Item("StartTransaction", payload, session, "start"))

    def tell_changed(self, session: Session, trigger: str) -> None:
        """1.6 tells changes by StatusNotification only."""

    def tell_sampled(self, session: Session, sample: Sample, context: str) -> None:
        """Queue MeterValues (§4.7)."""
        measurands = "MeterValuesAlignedData" if context == "Sample.Clock" else "MeterValuesSampledData"
        values = self.sampled_values(sample, context, measurands)
        if values:
            payload: Payload = {
                "connectorId": session.evse.id,
                "meterValue": [{"timestamp": self.timestamp(), "sampledValue": values}],
            }
            self.queue(Item("MeterValues", payload, session, "meter"))

    def tell_ended(self, session: Session, sample: Sample, trigger: str) -> None:
        """Queue StopTransaction (§4.10) with the first and last reading."""
        now = self.timestamp()
        payload: Payload = {
            "meterStop": session.meter_shown,
            "timestamp": now,
            "reason": session.reason if session.reason in _STOP_REASONS else "Other",
        }
        if session.reason == "Local":
            payload["idTag"] = _id_tag(session)
        if self.setting("StopTxnSampledData"):
            begin = [_energy(session.meter_start, "Transaction.Begin")]
            end = self.sampled_values(sample, "Transaction.End", "StopTxnSampledData")
            payload["transactionData"] = [
                {"timestamp": timestamp(session.started_at), "sampledValue": begin},
                {"timestamp": now, "sampledValue": end},
            ]
        self.queue(Item("StopTransaction", payload, session, "stop"))

    def idle_meter_call(self, evse: Evse, sample: Sample, context: str) -> tuple[str, Payload]:
        """MeterValues without a transaction."""
        values = self.sampled_values(sample, context, "MeterValuesSampledData") or [_energy(sample.energy_wh, context)]
        return "MeterValues", {
            "connectorId": evse.id,
            "meterValue": [{"timestamp": self.timestamp(), "sampledValue": values}],
        }

    def complete(self, item: Item) -> Payload:
        """Fill in the transactionId, known once the start was answered; -1 where it never was (errata 3.47)."""
        if item.kind != "start" and item.session is not None:
            known = item.session.remote_id
            item.payload["transactionId"] = -1 if known is None else known
        return item.payload

    def delivered(self, item: Item, reply: Payload) -> None:
        """Take transactionId and status out of the answer to a start."""
        if item.kind == "start" and item.session is not None:
            item.session.remote_id = reply["transactionId"]
            self.deauthorize(item.session, str(reply["idTagInfo"]["status"]))

    def sampled_values(self, sample: Sample, context: str, setting: str) -> list[Payload]:
        """Return the values that a configuration key lists, all as texts (§7.43)."""
        values: list[Payload] = []
        for measurand in filter(None, self.setting(setting).split(",")):
            values += _sampled(sample, context, measurand)
        return values


def _id_tag(session: Session) -> str:
    return session.grant.token.value if session.grant else ""


def _energy(wh: float, context: str) -> Payload:
    return _value(f"{int(wh)}", context, "Energy.Active.Import.Register", "Wh")


def _value(
    value: str, context: str, measurand: str, unit: str, phase: str | None = None, location: str = "Outlet"
) -> Payload:
    sampled = {"value": value, "context": context, "measurand": measurand, "location": location, "unit": unit}
    return sampled if phase is None else sampled | {"phase": phase}


def _sampled(sample: Sample, context: str, measurand: str) -> list[Payload]:
    phases = [f"L{n}" for n in range(1, len(sample.voltage_v) + 1)]
    match measurand:
        case "Energy.Active.Import.Register":
            return [_energy(sample.energy_wh, context)]
        case "Power.Active.Import":
            return [_value(f"{sample.power_w:.1f}", context, measurand, "W")]
        case "Current.Offered":
            return [_value(f"{sample.offered_a:.1f}", context, measurand, "A")]
        case "Voltage":
            volts = zip(phases, sample.voltage_v, strict=True)
            return [
                _value(f"{v:.1f}", context, measurand, "V", None if sample.dc else f"{phase}-N") for phase, v in volts
            ]
        case "Current.Import":
            amperes = zip(phases, sample.current_a, strict=True)
            return [_value(f"{a:.2f}", context, measurand, "A", None if sample.dc else phase) for phase, a in amperes]
        case "Temperature":
            return [_value(f"{sample.temperature_c:.1f}", context, measurand, "Celsius", location="Body")]
        case "SoC" if sample.soc_percent is not None:
            return [_value(f"{sample.soc_percent:.1f}", context, measurand, "Percent", location="EV")]
        case _:
            return []
