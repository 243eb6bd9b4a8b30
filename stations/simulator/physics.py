"""An outlet, its meter and the power that flows: pure, moved on by ``advance(seconds)``.

The register integrates the true power without noise; only what is displayed of voltage (and therefore of
current) jitters, so that power, current times voltage and the register always tell the same story.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Literal

from stations.simulator.car import LINE_VOLTAGE, Car, Kind

MINIMUM_CURRENT_A = 6.0  # IEC 61851-1: no pilot signal asks for less
STEP_S = 1.0
RAMP_S: dict[Kind, float] = {"ac": 3.0, "dc": 12.0}
AMBIENT_C = 21.0
HEATING_C = 32.0  # above ambient, after long at full power
THERMAL_S = 600.0

PowerState = Literal["open", "charging", "suspended_ev", "suspended_evse"]


@dataclasses.dataclass(frozen=True)
class Limit:
    """An upper bound: amperes per phase or watts in total, for so many phases."""

    value: float
    unit: Literal["A", "W"]
    phases: int = 3

    def watts(self) -> float:
        """Return the bound as total watts at nominal voltage."""
        return self.value if self.unit == "W" else self.value * self.phases * LINE_VOLTAGE

    def amperes(self, phases: int) -> float:
        """Return the bound as amperes on each of so many phases."""
        return self.value if self.unit == "A" else self.value / (phases * LINE_VOLTAGE)


@dataclasses.dataclass(frozen=True)
class Rating:
    """What the outlet can do at most: power in W, phases (AC)."""

    kind: Kind
    power_w: float
    phases: int = 3

    @property
    def current_a(self) -> float:
        """Amperes per phase on the mains side."""
        return self.power_w / (self.phases * LINE_VOLTAGE)


@dataclasses.dataclass(frozen=True)
class Sample:
    """What the meter shows: register in Wh, power in W, per-phase volts and amperes, °C, percent."""

    dc: bool
    energy_wh: float
    power_w: float
    voltage_v: tuple[float, ...]
    current_a: tuple[float, ...]
    offered_a: float
    temperature_c: float
    soc_percent: float | None


class Outlet:
    """One outlet with contactor and meter."""

    def __init__(self, rating: Rating, rng: random.Random, register_wh: float = 0.0) -> None:
        self.rating = rating
        self.register_wh = register_wh
        self.limit: Limit | None = None
        self.car: Car | None = None
        self.closed = False
        self.power_w = 0.0
        self.temperature_c = AMBIENT_C
        self._rng = rng

    def plug(self, car: Car) -> None:
        """Put the cable into a car."""
        if self.car is not None:
            raise ValueError("a car is already plugged in")
        self.car = car

    def unplug(self) -> None:
        """Take the cable out; the contactor opens first."""
        self.open()
        self.car = None

    def holds(self, car: Car) -> bool:
        """Whether the cable is in this very car."""
        return self.car is car

    def close(self) -> None:
        """Close the contactor: energy may flow."""
        self.closed = True

    def open(self) -> None:
        """Open the contactor."""
        self.closed = False
        self.power_w = 0.0

    @property
    def phases(self) -> int:
        """Phases in use: those of the car where it has fewer than the outlet."""
        if self.rating.kind == "dc":
            return 1
        return min(self.rating.phases, self.car.phases) if self.car else self.rating.phases

    def offered_w(self) -> float:
        """Power in W that the outlet offers to this car now."""
        if not self.closed:
            return 0.0
        if self.rating.kind == "dc":
            return min(self.rating.power_w, self.limit.watts()) if self.limit else self.rating.power_w
        current = self.rating.current_a
        if self.limit:
            current = min(current, self.limit.amperes(self.phases))
        return 0.0 if current < MINIMUM_CURRENT_A else current * self.phases * LINE_VOLTAGE

    @property
    def state(self) -> PowerState:
        """Who holds the power back, if anybody."""
        if not self.closed or self.car is None:
            return "open"
        if self.car.accepts_w(self.rating.kind) <= 0.0:
            return "suspended_ev"
        return "charging" if self.offered_w() > 0.0 else "suspended_evse"

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps short enough for ramps and the taper."""
        while seconds > 1e-9:
            step = min(seconds, STEP_S)
            self._step(step)
            seconds -= step

    def _step(self, seconds: float) -> None:
        kind = self.rating.kind
        wanted = 0.0
        if self.car is not None and self.closed:
            wanted = min(self.offered_w(), self.car.accepts_w(kind))
        self.power_w = min(wanted, self.power_w + self.rating.power_w / RAMP_S[kind] * seconds)
        if self.car is not None and self.power_w > 0.0:
            energy_wh = self.power_w * seconds / 3600.0
            room_wh = self.car.room_wh(kind)
            if energy_wh >= room_wh:
                energy_wh = room_wh
                self.car.charge = self.car.target
            else:
                self.car.store(energy_wh, kind)
            self.register_wh += energy_wh
            if self.car.is_full:
                self.power_w = 0.0
        warm = AMBIENT_C + HEATING_C * self.power_w / self.rating.power_w
        self.temperature_c += (warm - self.temperature_c) * min(1.0, seconds / THERMAL_S)

    def sample(self) -> Sample:
        """Read the meter."""
        car, dc = self.car, self.rating.kind == "dc"
        if dc:
            nominal = 350.0 + 80.0 * car.charge if car else 0.0
        else:
            nominal = LINE_VOLTAGE
        in_use = self.phases
        voltages = tuple(round(nominal * (1.0 + self._rng.uniform(-0.006, 0.006)), 1) for _ in range(in_use))
        currents = tuple(round(self.power_w / in_use / volts, 2) if volts else 0.0 for volts in voltages)
        offered_w = self.offered_w()
        offered_a = offered_w / (nominal * in_use) if nominal else 0.0
        return Sample(
            dc=dc,
            energy_wh=self.register_wh,
            power_w=round(self.power_w, 1),
            voltage_v=voltages,
            current_a=currents,
            offered_a=round(offered_a, 1),
            temperature_c=round(self.temperature_c, 1),
            soc_percent=round(car.charge * 100.0, 1) if car and dc else None,
        )
