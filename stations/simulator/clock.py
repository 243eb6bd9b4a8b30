"""The simulation's clock: real time, or real time multiplied."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time


class Clock:
    """Tells the time and sleeps in simulated seconds.

    ``speed`` simulated seconds pass per real second. A clock that runs faster than the world soon
    shows times in the future, so ``origin`` may set its start into the past.
    """

    def __init__(self, speed: float = 1.0, origin: dt.datetime | None = None) -> None:
        if speed <= 0:
            raise ValueError("the speed of a clock is positive")
        self.speed = speed
        self._origin = origin or dt.datetime.now(dt.UTC)
        self._started = time.monotonic()

    def now(self) -> dt.datetime:
        """Return the simulated time, aware UTC."""
        return self._origin + dt.timedelta(seconds=self.seconds())

    def seconds(self) -> float:
        """Return the simulated seconds since the start; never jumps."""
        return (time.monotonic() - self._started) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Sleep for simulated seconds."""
        await asyncio.sleep(max(seconds, 0.0) / self.speed)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for the event, at most so many simulated seconds (None: for ever); tell whether it came."""
        if seconds is None:
            await event.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.0) / self.speed):
                    await event.wait()
        return event.is_set()


def timestamp(at: dt.datetime) -> str:
    """Write a time as RFC 3339 in UTC with milliseconds, as stations do."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> dt.datetime:
    """Read an RFC 3339 time; one without a zone is taken as UTC. Raises ValueError."""
    at = dt.datetime.fromisoformat(text)
    return at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)
