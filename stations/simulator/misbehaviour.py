"""What goes wrong on purpose: one dataclass of switches, and the faults of meters."""

from __future__ import annotations

import dataclasses
import random
from typing import Literal

BROKEN_FRAMES = (
    "[2,",
    '[2,"broken-1"]',
    '[2,"broken-2","Heartbeat",{},{}]',
    '[,2,"broken-3","Heartbeat",{}]',
    '{"action":"Heartbeat"}',
    '[2,"broken-4","NoSuchAction",{}]',
    '[9,"broken-5",{}]',
    "not json at all",
)


@dataclasses.dataclass(frozen=True)
class Misbehaviour:
    """Faults of one station. Rates are chances between 0 and 1 per message, durations simulated seconds."""

    faulted_connector: int | None = None
    """This EVSE reports a fault and serves nobody."""
    never_connects: bool = False
    offline_after_s: float | None = None
    """Loses the network so long after each connect …"""
    offline_for_s: float = 60.0
    """… for so long; sessions go on."""
    flapping_s: float | None = None
    """Drops the connection every so many seconds and dials again at once."""
    wrong_password: bool = False
    clock_offset_s: float = 0.0
    """Its clock is wrong by so much, whatever the CSMS says."""
    clock_1970: bool = False
    """Its clock starts at the epoch with every power-up and is never set."""
    duplicate_rate: float = 0.0
    """Sends messages of a session again after they were answered."""
    duplicate_ids: Literal["same", "new"] = "same"
    late_rate: float = 0.0
    """Holds meter values back …"""
    late_by_s: float = 120.0
    """… for so long, with their original time."""
    shuffle_rate: float = 0.0
    """Sends a meter value after its successor."""
    meter: Literal["stuck", "backwards", "impossible"] | None = None
    refused_cards: int = 0
    """Before each visit somebody tries so many unknown cards."""
    broken_frame_rate: float = 0.0
    answer_delay_s: float = 0.0
    """Answers each call of the CSMS so late."""
    deaf: bool = False
    """Never answers a call of the CSMS."""
    firmware_fails: bool = False
    """Downloads new firmware and fails to install it."""


class MeterFault:
    """What a broken meter makes of the true register (Wh)."""

    JUMP_BACK_WH = 150.0
    EXAGGERATION = 5.0

    def __init__(self, kind: Literal["stuck", "backwards", "impossible"] | None, rng: random.Random) -> None:
        self._kind = kind
        self._rng = rng
        self._invented_wh = 0.0
        self._start_wh = 0.0
        self._start_shown_wh = 0.0

    def begin(self, register_wh: float) -> float:
        """Return the register shown at the start of a session."""
        self._start_wh = register_wh
        self._start_shown_wh = register_wh + self._invented_wh
        return self._start_shown_wh

    def show(self, register_wh: float, *, last: bool = False) -> float:
        """Return the register shown during the session or, at ``last``, at its end."""
        used_wh = register_wh - self._start_wh
        if self._kind == "stuck":
            self._invented_wh = self._start_shown_wh - register_wh
            return self._start_shown_wh
        if self._kind == "impossible":
            shown_wh = self._start_shown_wh + used_wh * self.EXAGGERATION
            self._invented_wh = shown_wh - register_wh
            return shown_wh
        if self._kind == "backwards" and (last or self._rng.random() < 0.5):
            return max(0.0, self._start_shown_wh - self.JUMP_BACK_WH)
        return register_wh + self._invented_wh

    def idle(self, register_wh: float) -> float:
        """Return the register shown between sessions."""
        return register_wh + self._invented_wh
