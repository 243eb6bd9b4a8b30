"""A simulated OCPP 2.0.1 or 2.1 charging station: what the station says, in 2.x frames.

Each EVSE has one connector, number 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from stations.simulator import device_model, ocpp2_commands, ocpp2_reports
from stations.simulator.device_model import Name
from stations.simulator.evse import Evse, Reservation, Session
from stations.simulator.physics import Sample
from stations.simulator.plan import Token
from stations.simulator.station import Station
from stations.simulator.uplink import Handler, Item
from stations.simulator.wire import Payload

TOKEN_TYPES = {"rfid": "ISO14443", "app": "Central", "pin": "KeyCode"}

_STOP_REASONS = frozenset(
    (
        "Local",
        "Remote",
        "EVDisconnected",
        "DeAuthorized",
        "ImmediateReset",
        "Reboot",
        "Timeout",
        "EnergyLimitReached",
        "TimeLimitReached",
    )
)
_CONTEXT_TRIGGERS = {"Sample.Clock": "MeterValueClock", "Trigger": "Trigger"}
_POWER_STATES = {"charging": "Charging", "suspended_ev": "SuspendedEV", "suspended_evse": "SuspendedEVSE"}


class Station2(Station):
    """Speaks OCPP 2.0.1 or 2.1, as its plan says."""

    handlers: ClassVar[dict[str, Handler]] = {**ocpp2_commands.HANDLERS, **ocpp2_reports.HANDLERS}
    unsupported: ClassVar[frozenset[str]] = ocpp2_commands.UNSUPPORTED
    formation_violation: ClassVar[str] = "FormatViolation"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model = device_model.build(self.plan)
        self.monitors: dict[int, Payload] = {}
        self.display_messages: dict[int, Payload] = {}
        self.reset_when_idle = False

    def setting(self, name: str) -> str:
        """Return the variable behind a 1.6 name."""
        return self.model[device_model.SETTINGS[name]].value

    def boot_call(self) -> tuple[str, Payload]:
        """OCPP 2.0.1 B01."""
        return "BootNotification", {
            "reason": self.boot_reason,
            "chargingStation": {
                "vendorName": self.plan.vendor,
                "model": self.plan.model,
                "serialNumber": self.plan.identity[:25],
                "firmwareVersion": self.firmware,
            },
        }

    def booted(self) -> None:
        """Take the heartbeat interval (B01.FR.04) and report the start-up as a security event (A04)."""
        self.model[device_model.HEARTBEAT_INTERVAL].value = str(int(self.heartbeat_s))
        self.model[device_model.FIRMWARE_VERSION].value = self.firmware
        event = {"type": "StartupOfTheDevice", "timestamp": self.timestamp()}
        self.spawn(self.tell("SecurityEventNotification", event))

    def status_word(self, evse: Evse) -> str:
        """2.x says Occupied for everything that happens with a cable in."""
        if evse.state in ("Faulted", "Unavailable", "Reserved"):
            return evse.state
        return "Occupied" if evse.outlet.car is not None else "Available"

    def status_call(self, evse: Evse | None) -> tuple[str, Payload] | None:
        """OCPP 2.0.1 G01; there is no status of the station as a whole."""
        if evse is None:
            return None
        return "StatusNotification", {
            "timestamp": self.timestamp(),
            "connectorStatus": self.status_word(evse),
            "evseId": evse.id,
            "connectorId": 1,
        }

    def authorize_call(self, token: Token) -> tuple[str, Payload]:
        """OCPP 2.0.1 C01, C04 (PIN)."""
        return "Authorize", {"idToken": _id_token(token)}

    def authorize_status(self, reply: Payload) -> str:
        """Return idTokenInfo.status."""
        return str(reply["idTokenInfo"]["status"])

    def _points(self, name: Name) -> set[str]:
        return set(self.model[name].value.split(","))

    def may_begin(self, evse: Evse) -> bool:
        """Whether one of the configured start points is reached (E01)."""
        plugged, granted = evse.outlet.car is not None, evse.grant is not None
        reached = {
            "ParkingBayOccupancy": plugged,
            "EVConnected": plugged,
            "Authorized": granted,
            "PowerPathClosed": plugged and granted,
            "EnergyTransfer": plugged and granted,
            "DataSigned": plugged and granted,
        }
        return evse.is_usable and any(reached.get(point) for point in self._points(device_model.TX_START_POINT))

    def ends_at_stop(self) -> bool:
        """Whether a stop point other than the car's departure is configured (E06)."""
        return not self._points(device_model.TX_STOP_POINT) <= {"EVConnected", "ParkingBayOccupancy"}

    def tell_begun(self, session: Session, trigger: str) -> None:
        """Queue TransactionEvent Started."""
        sample = dataclasses.replace(session.evse.outlet.sample(), energy_wh=session.meter_start)
        values = self.sampled_values(sample, "Transaction.Begin", device_model.TX_STARTED_MEASURANDS)
        self._event(session, "Started", trigger, values)

    def tell_changed(self, session: Session, trigger: str) -> None:
        """Queue TransactionEvent Updated for a change."""
        self._event(session, "Updated", trigger)

    def tell_sampled(self, session: Session, sample: Sample, context: str) -> None:
        """Queue TransactionEvent Updated with meter values (J02)."""
        name = device_model.ALIGNED_MEASURANDS if context == "Sample.Clock" else device_model.TX_UPDATED_MEASURANDS
        values = self.sampled_values(sample, context, name)
        if values:
            self._event(session, "Updated", _CONTEXT_TRIGGERS.get(context, "MeterValuePeriodic"), values)

    def tell_ended(self, session: Session, sample: Sample, trigger: str) -> None:
        """Queue TransactionEvent Ended; a reset that waited for it follows."""
        values = self.sampled_values(sample, "Transaction.End", device_model.TX_ENDED_MEASURANDS)
        self._event(session, "Ended", trigger, values)
        if self.reset_when_idle and not any(evse.session for evse in self.evses):
            self.reset_when_idle = False
            self.spawn(self.reboot("ScheduledReset", "ImmediateReset"))

    def _event(self, session: Session, kind: str, trigger: str, values: list[Payload] | None = None) -> None:
        evse = session.evse
        outlet = evse.outlet
        # An ended session's contactor is open, and its car leaves where that was the reason to end.
        here = outlet.car is not None and trigger != "EVDeparted"
        info: Payload = {
            "transactionId": session.id,
            "chargingState": _POWER_STATES.get(outlet.state, "EVConnected" if here else "Idle"),
            "timeSpentCharging": int(session.charging_s),
        }
        payload: Payload = {
            "eventType": kind,
            "timestamp": self.timestamp(),
            "triggerReason": trigger,
            "seqNo": session.sequence,
            "transactionInfo": info,
        }
        session.sequence += 1
        if kind == "Started":
            payload["evse"] = {"id": evse.id, "connectorId": 1}
            if session.reservation_id is not None:
                payload["reservationId"] = session.reservation_id
        if session.grant is not None:
            if not session.grant_told:
                session.grant_told = True
                payload["idToken"] = _id_token(session.grant.token)
                if session.grant.remote_start_id is not None:
                    info["remoteStartId"] = session.grant.remote_start_id
            elif trigger == "StopAuthorized":
                payload["idToken"] = _id_token(session.grant.token)
        if kind == "Ended":
            info["stoppedReason"] = session.reason if session.reason in _STOP_REASONS else "Other"
        if not self.online:
            payload["offline"] = True
        if values:
            payload["meterValue"] = [{"timestamp": payload["timestamp"], "sampledValue": values}]
            if outlet.rating.kind == "ac":
                payload["numberOfPhasesUsed"] = outlet.phases
        delivery: dict[str, Any] = {"Started": "start", "Ended": "stop", "Updated": "meter" if values else "change"}
        self.queue(Item("TransactionEvent", payload, session, delivery[kind]))

    def delivered(self, item: Item, reply: Payload) -> None:
        """Obey what the answer to an event says about token and limits (E05, and E16 of 2.1)."""
        session = item.session
        if session is None:
            return
        limit = reply.get("transactionLimit", {})
        session.max_energy_wh = limit.get("maxEnergy", session.max_energy_wh)
        session.max_time_s = limit.get("maxTime", session.max_time_s)
        if "idTokenInfo" in reply:
            self.deauthorize(session, str(reply["idTokenInfo"]["status"]))

    def idle_meter_call(self, evse: Evse, sample: Sample, context: str) -> tuple[str, Payload]:
        """MeterValues outside a transaction (J01)."""
        values = self.sampled_values(sample, context, device_model.ALIGNED_MEASURANDS)
        values = values or _sampled(sample, context, "Energy.Active.Import.Register")
        return "MeterValues", {
            "evseId": evse.id,
            "meterValue": [{"timestamp": self.timestamp(), "sampledValue": values}],
        }

    def sampled_values(self, sample: Sample, context: str, name: Name) -> list[Payload]:
        """Return the values that a variable lists."""
        values: list[Payload] = []
        for measurand in filter(None, self.model[name].value.split(",")):
            values += _sampled(sample, context, measurand)
        return values

    async def reservation_expired(self, reservation: Reservation) -> None:
        """ReservationStatusUpdate (H04)."""
        update = {"reservationId": reservation.id, "reservationUpdateStatus": "Expired"}
        await self.tell("ReservationStatusUpdate", update)


def _id_token(token: Token) -> Payload:
    return {"idToken": token.value, "type": TOKEN_TYPES.get(token.type, token.type)}


def _sampled(sample: Sample, context: str, measurand: str) -> list[Payload]:
    phases = [f"L{n}" for n in range(1, len(sample.voltage_v) + 1)]

    def value(number: float, unit: str, phase: str | None = None, location: str = "Outlet") -> Payload:
        row: Payload = {"value": number, "context": context, "measurand": measurand, "location": location}
        row["unitOfMeasure"] = {"unit": unit}
        return row if phase is None else row | {"phase": phase}

    match measurand:
        case "Energy.Active.Import.Register":
            return [value(int(sample.energy_wh), "Wh")]
        case "Power.Active.Import":
            return [value(sample.power_w, "W")]
        case "Current.Offered":
            return [value(sample.offered_a, "A")]
        case "Voltage":
            volts = zip(phases, sample.voltage_v, strict=True)
            return [value(v, "V", None if sample.dc else f"{phase}-N") for phase, v in volts]
        case "Current.Import":
            amperes = zip(phases, sample.current_a, strict=True)
            return [value(a, "A", None if sample.dc else phase) for phase, a in amperes]
        case "SoC" if sample.soc_percent is not None:
            return [value(sample.soc_percent, "Percent", location="EV")]
        case _:
            return []
