from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stations.simulator.clock import Clock
from stations.simulator.fleet import build_station
from stations.simulator.plan import StationPlan, Timings, Token
from stations.simulator.station import Station
from tests.stations.simulator.csms import Csms

SPEED = 100.0
"""Simulated seconds per real second: a minute of charging takes 0.6 s."""

CARD = Token("TAG1")


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    async with Csms() as server:
        yield server
        assert server.invalid == []


@pytest.fixture
async def build(csms: Csms) -> AsyncIterator[Callable[..., Station]]:
    """Build and run stations against ``csms``; members of the plan by keyword, ``timings`` and ``speed`` besides."""
    built: list[tuple[Station, asyncio.Task[None]]] = []

    def make(version: str = "1.6", *, timings: Timings | None = None, speed: float = SPEED, **plan: Any) -> Station:
        fields = {"identity": "S1", "meter_interval_s": 10, "tokens": (CARD,), "activity": "idle"}
        chosen = timings or Timings(call_timeout_s=5.0, reboot_s=3.0)
        station = build_station(
            StationPlan(version=version, **{**fields, **plan}),
            csms.url,
            clock=Clock(speed),
            timings=dataclasses.replace(chosen, flush_s=2.0),
        )
        built.append((station, asyncio.create_task(station.run())))
        return station

    yield make
    for station, life in built:
        await station.stop()
        async with asyncio.timeout(5):
            await life
