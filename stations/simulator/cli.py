"""The command line of the simulated fleet: ``python -m stations.simulator`` and ``manage.py simulate``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import signal
from collections.abc import Callable
from pathlib import Path

from stations.simulator.clock import Clock
from stations.simulator.fleet import Fleet
from stations.simulator.plan import ACTIVITIES, DEFAULT_POWER_W, VERSIONS, StationPlan, Token, draw_plans, read_plans
from stations.simulator.wire import AckJournal, Payload

PARENT_POLL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--url", required=True, help="base address, the identity is appended: ws://HOST:PORT/ocpp/")
    parser.add_argument("--plan", type=Path, help="JSON list of stations; the options about stations do not count then")
    parser.add_argument("--stations", type=int, default=1, help="how many (1)")
    parser.add_argument("--version", choices=[*VERSIONS, "mixed"], default="1.6", help="OCPP version (1.6)")
    parser.add_argument("--password", help="password of HTTP Basic, the same for all")
    parser.add_argument("--identity-prefix", default="SIM-", help="SIM- gives SIM-0001, SIM-0002 …")
    parser.add_argument("--token", action="append", help="token value a driver presents; may be given several times")
    parser.add_argument("--evses", type=int, default=1, help="EVSEs per station (1)")
    parser.add_argument("--kind", choices=list(DEFAULT_POWER_W), default="ac", help="ac (11 kW) or dc (150 kW)")
    parser.add_argument("--power", type=float, help="rated power per EVSE in W")
    parser.add_argument("--activity", choices=ACTIVITIES, default="busy", help="how often drivers come (busy)")
    parser.add_argument("--meter-interval", type=int, default=10, help="seconds between meter values (10)")
    parser.add_argument("--seed", default="0", help="same seed, same drivers (0)")
    parser.add_argument("--duration", type=float, help="seconds to run; otherwise until SIGTERM or Ctrl-C")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds per second; needs --duration")
    parser.add_argument("--journal", type=Path, help="append each acknowledged call to this file as a JSON line")
    parser.add_argument("--parent", type=int, help="end when the process with this id is no longer the parent")


def plans_of(options: argparse.Namespace) -> list[StationPlan]:
    """Return the stations that the options ask for. Raises OSError, ValueError, TypeError for a bad plan file."""
    if options.plan is not None:
        return read_plans(options.plan)
    return draw_plans(
        options.stations,
        version=options.version,
        password=options.password,
        identity_prefix=options.identity_prefix,
        tokens=tuple(Token(value) for value in options.token or ["SIM0000001"]),
        evses=options.evses,
        kind=options.kind,
        power_w=options.power,
        activity=options.activity,
        meter_interval_s=options.meter_interval,
        seed=options.seed,
    )


def run(options: argparse.Namespace) -> Payload:
    """Run the fleet and return the summary. Raises ValueError, TypeError or OSError for options that make no sense."""
    if options.speed != 1.0 and options.duration is None:
        raise ValueError("--speed needs --duration, so that no time lies in the future")
    with asyncio.Runner(loop_factory=_fast_loop()) as runner, contextlib.ExitStack() as stack:
        journal = stack.enter_context(AckJournal(options.journal)) if options.journal is not None else None
        return runner.run(_run(options, plans_of(options), journal))


async def _run(options: argparse.Namespace, plans: list[StationPlan], journal: AckJournal | None) -> Payload:
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, until.set)
    # Ctrl-C reaches the whole process group; a child leaves when its parent tells it to or is gone.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if options.parent else until.set)
    clock = Clock(options.speed)
    if options.duration is not None:
        # A faster clock starts so early that it shows the true time at the end.
        ahead = dt.timedelta(seconds=options.duration * (options.speed - 1.0))
        clock = Clock(options.speed, dt.datetime.now(dt.UTC) - ahead)
        loop.call_later(options.duration, until.set)
    watch = loop.create_task(_watch_parent(options.parent, until)) if options.parent else None
    try:
        return await Fleet(options.url, plans, clock=clock, journal=journal).run(until)
    finally:
        if watch is not None:
            watch.cancel()


async def _watch_parent(parent: int, until: asyncio.Event) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's death everywhere
        await asyncio.sleep(PARENT_POLL_S)
    until.set()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
