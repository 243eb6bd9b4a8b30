"""Charging profiles as a station keeps and obeys them (OCPP 1.6 §3.13, OCPP 2.0.1 K01): pure.

Both dialects are read: 1.6 has one schedule per profile and the id ``chargingProfileId``, 2.x a list of
schedules (the first counts) and the id ``id``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, Literal

from stations.simulator.clock import parse_timestamp
from stations.simulator.physics import Limit

_PERIOD_S = {"Daily": 86_400, "Weekly": 604_800}
_STATION_WIDE = ("ChargePointMaxProfile", "ChargingStationMaxProfile", "ChargingStationExternalConstraints")


@dataclasses.dataclass(frozen=True)
class Profile:
    """One installed profile; ``evse`` 0 is the whole station, times aware UTC, offsets in seconds."""

    id: int
    evse: int
    purpose: str
    stack: int
    kind: str
    recurrency: str | None
    valid_from: dt.datetime | None
    valid_to: dt.datetime | None
    transaction: str | None
    unit: Literal["A", "W"]
    start: dt.datetime | None
    duration: int | None
    periods: tuple[tuple[float, float | None, int], ...]
    raw: dict[str, Any]

    @classmethod
    def read(cls, evse: int, raw: dict[str, Any]) -> Profile:
        """Read a profile of either dialect. Raises KeyError, ValueError where it makes no sense."""
        schedule = raw["chargingSchedule"]
        if isinstance(schedule, list):
            schedule = schedule[0]
        transaction = raw.get("transactionId")
        return cls(
            id=raw["chargingProfileId"] if "chargingProfileId" in raw else raw["id"],
            evse=evse,
            purpose=raw["chargingProfilePurpose"],
            stack=raw["stackLevel"],
            kind=raw["chargingProfileKind"],
            recurrency=raw.get("recurrencyKind"),
            valid_from=_time(raw.get("validFrom")),
            valid_to=_time(raw.get("validTo")),
            transaction=None if transaction is None else str(transaction),
            unit="W" if schedule["chargingRateUnit"] == "W" else "A",
            start=_time(schedule.get("startSchedule")),
            duration=schedule.get("duration"),
            periods=tuple(
                (period["startPeriod"], period.get("limit"), period.get("numberPhases", 3))
                for period in schedule["chargingSchedulePeriod"]
            ),
            raw=raw,
        )

    def limit_at(self, now: dt.datetime, session_start: dt.datetime | None) -> Limit | None:
        """Return the limit that this profile sets now; None where it says nothing."""
        if (self.valid_from and now < self.valid_from) or (self.valid_to and now >= self.valid_to):
            return None
        start = session_start if self.kind == "Relative" else self.start or session_start or self.valid_from
        if start is None:
            start = now
        elapsed = (now - start).total_seconds()
        if self.kind == "Recurring":
            elapsed %= _PERIOD_S.get(self.recurrency or "Daily", 86_400)
        if elapsed < 0 or (self.duration is not None and elapsed >= self.duration):
            return None
        current: Limit | None = None
        for begins, value, phases in self.periods:
            if begins <= elapsed:
                current = None if value is None else Limit(value, self.unit, phases)
        return current


class Limits:
    """The profiles installed in one station."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []

    def install(self, profile: Profile) -> None:
        """Add a profile; it replaces one with its id, or with its purpose, stack level and EVSE."""
        place = (profile.purpose, profile.stack, profile.evse)
        self.profiles = [p for p in self.profiles if p.id != profile.id and (p.purpose, p.stack, p.evse) != place]
        self.profiles.append(profile)

    def clear(
        self, *, id: int | None = None, evse: int | None = None, purpose: str | None = None, stack: int | None = None
    ) -> bool:
        """Remove the profiles that match; an id alone decides. Tell whether there was one."""

        def matches(profile: Profile) -> bool:
            if id is not None:
                return profile.id == id
            return (
                (evse is None or profile.evse == evse)
                and (purpose is None or profile.purpose == purpose)
                and (stack is None or profile.stack == stack)
            )

        kept = [profile for profile in self.profiles if not matches(profile)]
        found = len(kept) < len(self.profiles)
        self.profiles = kept
        return found

    def end_session(self, evse: int) -> None:
        """Forget the profiles that were for the session only."""
        self.profiles = [p for p in self.profiles if not (p.purpose == "TxProfile" and p.evse == evse)]

    def limit_at(self, evse: int, now: dt.datetime, session_start: dt.datetime | None) -> Limit | None:
        """Return the limit in force at an EVSE: the session's profile before the default, below the maxima."""
        bounds = [
            bound
            for purpose in _STATION_WIDE
            if (bound := self._highest(purpose, evse, now, session_start)) is not None
        ]
        own = self._highest("TxProfile", evse, now, session_start) if session_start else None
        own = own or self._highest("TxDefaultProfile", evse, now, session_start)
        if own is not None:
            bounds.append(own)
        return min(bounds, key=Limit.watts, default=None)

    def _highest(self, purpose: str, evse: int, now: dt.datetime, session_start: dt.datetime | None) -> Limit | None:
        candidates = [p for p in self.profiles if p.purpose == purpose and p.evse in (0, evse)]
        for profile in sorted(candidates, key=lambda p: (-p.stack, -p.evse)):
            limit = profile.limit_at(now, session_start)
            if limit is not None:
                return limit
        return None

    def composite(
        self,
        evse: int,
        now: dt.datetime,
        duration: int,
        unit: Literal["A", "W"],
        *,
        session_start: dt.datetime | None,
        ceiling: Limit,
    ) -> list[dict[str, Any]]:
        """Return the schedule periods for the coming seconds, in the unit asked for, never above the ceiling."""
        periods: list[dict[str, Any]] = []
        for offset in self._boundaries(now, duration, session_start):
            limit = self.limit_at(evse, now + dt.timedelta(seconds=offset), session_start)
            if limit is None or limit.watts() > ceiling.watts():
                limit = ceiling
            value = round(limit.watts() if unit == "W" else limit.amperes(limit.phases), 1)
            if not periods or periods[-1]["limit"] != value:
                periods.append({"startPeriod": offset, "limit": value, "numberPhases": limit.phases})
        return periods

    def _boundaries(self, now: dt.datetime, duration: int, session_start: dt.datetime | None) -> list[int]:
        """Seconds from now at which any profile may change its mind."""
        found = {0}
        for profile in self.profiles:
            edges = [offset for offset, _, _ in profile.periods]
            if profile.duration is not None:
                edges.append(profile.duration)
            start = session_start if profile.kind == "Relative" else profile.start or session_start
            base = (start - now).total_seconds() if start else 0.0
            repeat = _PERIOD_S.get(profile.recurrency or "Daily", 86_400) if profile.kind == "Recurring" else 0
            if repeat:
                base = base % repeat - repeat
            while base < duration:
                found.update(int(base + edge) for edge in edges if 0 <= base + edge < duration)
                if not repeat:
                    break
                base += repeat
            for moment in (profile.valid_from, profile.valid_to):
                if moment is not None and 0 <= (seconds := (moment - now).total_seconds()) < duration:
                    found.add(int(seconds))
        return sorted(found)


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else parse_timestamp(text)
