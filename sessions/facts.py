"""SessionFacts: all that pricing may know about a session (pure).

Frozen as canonical JSON with its hash when a session ends; rating and re-rating read only this.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


class Activity(enum.StrEnum):
    """What a stretch of a session counts as when it is priced."""

    CHARGING = "charging"
    PARKING = "parking"  # the car asks for nothing: SuspendedEV, finished, plugged in and done
    HELD = "held"  # the charger or a limit holds back, a fault, a power cut: never an idle fee
    UNTOLD = "untold"  # no record says what happened: neither charging nor parking time


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A stretch between two readings or state changes.

    ``energy_wh`` is delivered evenly over the stretch; ``power_w`` and ``current_a`` (sum over the
    phases) are the means inside it, None where the station did not tell and they cannot be derived;
    ``estimated`` marks a stretch without a reading at its end.
    """

    start: dt.datetime
    end: dt.datetime
    energy_wh: Decimal
    activity: Activity
    power_w: Decimal | None = None
    current_a: Decimal | None = None
    estimated: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Reservation:
    """The stretch for which a connector was kept free: made until plugged in, or until it ran out.

    ``expired`` says that it ran out unused.
    """

    start: dt.datetime
    end: dt.datetime
    expired: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class SessionFacts:
    """One session as pricing sees it. ``segments`` are in order, without overlap, and cover start to end.

    ``time_zone`` is the IANA zone of the site, used for clock restrictions only. A reservation that
    was never used has no segments, and starts and ends when it ran out.
    """

    start: dt.datetime
    end: dt.datetime
    energy_wh: Decimal
    time_zone: str
    segments: tuple[Segment, ...]
    reservation: Reservation | None = None

    @property
    def seconds(self) -> int:
        """Whole seconds from start to end."""
        return int((self.end - self.start).total_seconds())

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; decimals as strings, times RFC 3339 UTC."""
        return {
            "start": _stamp(self.start),
            "end": _stamp(self.end),
            "energy_wh": str(self.energy_wh),
            "time_zone": self.time_zone,
            "segments": [
                {
                    "start": _stamp(s.start),
                    "end": _stamp(s.end),
                    "energy_wh": str(s.energy_wh),
                    "activity": s.activity.value,
                    "power_w": None if s.power_w is None else str(s.power_w),
                    "current_a": None if s.current_a is None else str(s.current_a),
                    "estimated": s.estimated,
                }
                for s in self.segments
            ],
            "reservation": None
            if self.reservation is None
            else {
                "start": _stamp(self.reservation.start),
                "end": _stamp(self.reservation.end),
                "expired": self.reservation.expired,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionFacts:
        """Read what `to_json` wrote."""
        reserved = data["reservation"]
        return cls(
            start=dt.datetime.fromisoformat(data["start"]),
            end=dt.datetime.fromisoformat(data["end"]),
            energy_wh=Decimal(data["energy_wh"]),
            time_zone=data["time_zone"],
            segments=tuple(
                Segment(
                    start=dt.datetime.fromisoformat(s["start"]),
                    end=dt.datetime.fromisoformat(s["end"]),
                    energy_wh=Decimal(s["energy_wh"]),
                    activity=Activity(s["activity"]),
                    power_w=None if s["power_w"] is None else Decimal(s["power_w"]),
                    current_a=None if s["current_a"] is None else Decimal(s["current_a"]),
                    estimated=s["estimated"],
                )
                for s in data["segments"]
            ),
            reservation=None
            if reserved is None
            else Reservation(
                start=dt.datetime.fromisoformat(reserved["start"]),
                end=dt.datetime.fromisoformat(reserved["end"]),
                expired=reserved["expired"],
            ),
        )

    def digest(self) -> str:
        """Return the sha256 of the canonical JSON, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
