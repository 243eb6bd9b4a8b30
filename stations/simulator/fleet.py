"""Many stations at once, each with its drivers, under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from stations.simulator.clock import Clock
from stations.simulator.ocpp2 import Station2
from stations.simulator.ocpp16 import Station16
from stations.simulator.plan import StationPlan, Timings
from stations.simulator.station import Station
from stations.simulator.traffic import keep_visiting, welcome_remote_starts
from stations.simulator.wire import AckJournal, Payload, Tally

logger = logging.getLogger(__name__)

RAMP_PER_STATION_S = 0.02
RAMP_LONGEST_S = 10.0
LEAVE_S = 15.0


def build_station(
    plan: StationPlan,
    url: str,
    *,
    clock: Clock | None = None,
    tally: Tally | None = None,
    journal: AckJournal | None = None,
    timings: Timings | None = None,
) -> Station:
    """Return the station for the plan's version."""
    kind = Station16 if plan.version == "1.6" else Station2
    return kind(plan, url, clock=clock, tally=tally, journal=journal, timings=timings)


class Fleet:
    """A fleet against one CSMS. ``await fleet.run(until)`` lives until the event is set."""

    def __init__(
        self,
        url: str,
        plans: Sequence[StationPlan],
        *,
        clock: Clock | None = None,
        journal: AckJournal | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.tally = Tally()
        self._tokens_in_use: set[str] = set()
        self.stations = [
            build_station(plan, url, clock=self.clock, tally=self.tally, journal=journal, timings=timings)
            for plan in plans
        ]

    async def run(self, until: asyncio.Event) -> Payload:
        """Run all stations; at the end let them finish their sessions and leave. Return the summary."""
        started_s = self.clock.seconds()
        step_s = min(RAMP_PER_STATION_S, RAMP_LONGEST_S / max(len(self.stations), 1))
        lives = [
            asyncio.create_task(self._live(station, number * step_s)) for number, station in enumerate(self.stations)
        ]
        try:
            await until.wait()
            online = sum(station.online for station in self.stations)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await asyncio.gather(*(station.stop() for station in self.stations))
                    await asyncio.gather(*lives)
        finally:
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        seconds = round((self.clock.seconds() - started_s) / self.clock.speed, 1)
        return {"stations": len(self.stations), "online": online, "seconds": seconds, **self.tally.summary()}

    async def _live(self, station: Station, delay_s: float) -> None:
        """Run one station; a defect of the simulation ends this one only."""
        await asyncio.sleep(delay_s)
        try:
            welcome_remote_starts(station)
            for evse in station.evses:
                station.spawn(keep_visiting(station, evse, self._tokens_in_use))
            await station.run()
        except Exception:
            logger.exception("%s: gave up", station.plan.identity)
