"""An EVSE of a simulated station, who may charge there and the session that runs."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from typing import Literal

from stations.simulator.misbehaviour import MeterFault
from stations.simulator.physics import Outlet
from stations.simulator.plan import Token

State = Literal[
    "Available",
    "Preparing",
    "Charging",
    "SuspendedEV",
    "SuspendedEVSE",
    "Finishing",
    "Reserved",
    "Unavailable",
    "Faulted",
]


@dataclasses.dataclass
class Grant:
    """Somebody may charge: the token and how it was presented."""

    token: Token
    remote_start_id: int | None = None

    @property
    def trigger(self) -> str:
        """The 2.x trigger reason of this authorisation."""
        return "Authorized" if self.remote_start_id is None else "RemoteStart"


@dataclasses.dataclass
class Reservation:
    """An EVSE kept free for one token."""

    id: int
    token: str
    expires: dt.datetime


class Session:
    """One charging session: registers in whole Wh as shown, times of the station's clock."""

    def __init__(self, evse: Evse, grant: Grant | None, *, at: dt.datetime, meter_start: int) -> None:
        self.id = str(uuid.uuid4())
        self.evse = evse
        self.grant = grant
        self.started_at = at
        self.meter_start = meter_start
        self.meter_shown = meter_start
        self.register_start_wh = evse.outlet.register_wh
        self.remote_id: int | None = None
        self.grant_told = False
        self.sequence = 0
        self.reservation_id: int | None = None
        self.reason = ""
        self.stopped = False
        self.ended_at: dt.datetime | None = None
        self.over = asyncio.Event()
        self.charging_s = 0.0
        self.advanced_s = 0.0
        self.told_power: State = "Preparing"
        self.max_energy_wh: float | None = None
        self.max_time_s: float | None = None


class Evse:
    """One EVSE with one connector."""

    def __init__(self, number: int, outlet: Outlet, fault: MeterFault) -> None:
        self.id = number
        self.outlet = outlet
        self.fault = fault
        self.state: State = "Available"
        self.session: Session | None = None
        self.grant: Grant | None = None
        self.reservation: Reservation | None = None
        self.broken = False
        self.operative = True
        self.operative_next: bool | None = None
        self.told = ""

    @property
    def is_free(self) -> bool:
        """Whether a driver finds an empty, working bay."""
        return self.outlet.car is None and self.session is None and self.grant is None and self.is_usable

    @property
    def is_usable(self) -> bool:
        """Whether a session may begin."""
        return self.operative and not self.broken

    def resting_state(self) -> State:
        """The state with nobody there."""
        if self.broken:
            return "Faulted"
        if not self.operative:
            return "Unavailable"
        return "Reserved" if self.reservation else "Available"
