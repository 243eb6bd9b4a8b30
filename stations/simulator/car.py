"""The car at the plug: a battery that takes less and less power as it fills."""

from __future__ import annotations

import dataclasses
import random
from typing import Literal

Kind = Literal["ac", "dc"]

LINE_VOLTAGE = 230.0
AC_EFFICIENCY = 0.90  # what an on-board charger makes of mains energy
DC_EFFICIENCY = 0.97
TRICKLE = 0.05  # share of the peak power that a nearly full battery still takes


@dataclasses.dataclass
class Car:
    """A battery and how it charges. Energy in Wh, power in W, current in A per phase, charge levels 0 to 1."""

    battery_wh: float
    charge: float
    phases: int = 3
    ac_current_a: float = 16.0
    peak_w: float = 120_000.0
    taper_from: float = 0.7
    target: float = 1.0
    model: str = "car"

    @property
    def is_full(self) -> bool:
        """Whether the charge has reached the driver's target."""
        return self.charge >= self.target - 1e-9

    def accepts_w(self, kind: Kind) -> float:
        """Power in W, seen at the outlet, that the car would take now."""
        if self.is_full:
            return 0.0
        share = 1.0
        if self.charge > self.taper_from:
            share = max(TRICKLE, 1.0 - (1.0 - TRICKLE) * (self.charge - self.taper_from) / (1.0 - self.taper_from))
        battery_w = self.peak_w * share
        if kind == "dc":
            return battery_w / DC_EFFICIENCY
        return min(self.phases * LINE_VOLTAGE * self.ac_current_a, battery_w / AC_EFFICIENCY)

    def room_wh(self, kind: Kind) -> float:
        """Energy in Wh, seen at the outlet, that is still missing to the target."""
        return max(0.0, self.target - self.charge) * self.battery_wh / _efficiency(kind)

    def store(self, energy_wh: float, kind: Kind) -> None:
        """Take energy (Wh at the outlet) into the battery."""
        self.charge = min(self.target, self.charge + energy_wh * _efficiency(kind) / self.battery_wh)


def _efficiency(kind: Kind) -> float:
    return DC_EFFICIENCY if kind == "dc" else AC_EFFICIENCY


# Typical sizes on European roads: battery in Wh, phases and current of the on-board charger, DC peak in W, taper.
_MODELS: tuple[tuple[str, float, int, float, float, float], ...] = (
    ("city", 37_000, 1, 32.0, 50_000, 0.60),
    ("compact", 58_000, 3, 16.0, 120_000, 0.65),
    ("saloon", 75_000, 3, 16.0, 170_000, 0.60),
    ("family", 77_000, 3, 16.0, 135_000, 0.70),
    ("tourer", 93_000, 3, 32.0, 220_000, 0.80),
    ("plug-in hybrid", 12_000, 1, 16.0, 20_000, 0.80),
)


def draw_car(rng: random.Random, kind: Kind) -> Car:
    """Draw a car that plausibly arrives at such an outlet, with a charge that makes the stop worth while."""
    models = [model for model in _MODELS if kind == "ac" or model[4] >= 50_000]
    model, battery_wh, phases, current, peak_w, taper_from = rng.choice(models)
    low, high = (0.08, 0.45) if kind == "dc" else (0.2, 0.7)
    target = rng.choice((0.8, 0.8, 0.9, 1.0) if kind == "dc" else (0.8, 0.9, 1.0, 1.0))
    return Car(battery_wh, rng.uniform(low, high), phases, current, peak_w, taper_from, target, model)
