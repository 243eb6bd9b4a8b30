"""The figures of the ingest, ours beside the naive service's, each on a fresh database."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import uvloop

from config.bench.installation import Installation, Process, free_port
from config.bench.world import identities
from stations.simulator.load import LoadResult, Scenario, run_load
from stations.simulator.wire import AckJournal, percentiles

Counts = collections.Counter[tuple[str, str]]
"""How often a station's action happened."""

CHARGES = {"StartTransaction", "MeterValues", "StopTransaction"}
OUR_ROWS = (
    "SELECT st.identity, 'StartTransaction', count(*) FROM charging_chargingsession s"
    " JOIN stations_station st ON st.id = s.station_id GROUP BY st.identity UNION ALL"
    " SELECT st.identity, 'StopTransaction', count(*) FROM charging_chargingsession s"
    " JOIN stations_station st ON st.id = s.station_id WHERE s.status = 'ended' GROUP BY st.identity UNION ALL"
    " SELECT st.identity, 'MeterValues', count(*) FROM charging_meterreading r"
    " JOIN charging_chargingsession s ON s.id = r.session_id"
    " JOIN stations_station st ON st.id = s.station_id GROUP BY st.identity"
)
NAIVE_ROWS = (
    "SELECT st.identity, f.action, count(*) FROM stations_frame f JOIN stations_station st ON st.id = f.station_id"
    " GROUP BY st.identity, f.action"
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is measured. Times in seconds."""

    closed_loop: int
    chargers: int
    idle: int
    naive_idle: int
    seconds: float
    settle: float
    kills: int


FULL = Size(closed_loop=100, chargers=1000, idle=5000, naive_idle=1000, seconds=15, settle=5, kills=3)
QUICK = Size(closed_loop=10, chargers=20, idle=40, naive_idle=40, seconds=1, settle=0.5, kills=1)


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: what it is, what it shall reach, ours, the naive one's, and how many times better ours is."""

    what: str
    reach: str
    ours: float
    naive: float
    unit: str
    larger_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better ours is; None where there is nothing to divide by."""
        better, worse = (self.ours, self.naive) if self.larger_is_better else (self.naive, self.ours)
        return better / worse if worse else None


class Side:
    """One of the two services, started on a copy of the prepared installation."""

    def __init__(self, base: Installation, database_url: str, *, is_naive: bool) -> None:
        self.is_naive = is_naive
        self._base = base
        self._database_url = database_url

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[Installation, Process]]:
        """Serve on a fresh copy until the end of the block."""
        with Installation(database_url=self._database_url, like=self._base) as installation:
            if self.is_naive:
                port = free_port()
                yield installation, installation.start("naive", ["-m", "config.bench.naive", "--port", str(port)], port)
            else:
                yield installation, installation.serve("all", "--no-jobs")

    @property
    def rows_query(self) -> str:
        """The query that counts what is stored of a charge, by station and action."""
        return NAIVE_ROWS if self.is_naive else OUR_ROWS


def measure(database_url: str, size: Size, tell: Callable[[str], None]) -> Iterator[Row]:
    """Yield the rows of the table as they are measured. Raises what a service that does not start raises."""
    with Installation(database_url=database_url) as base:
        tell("Preparing …")
        base.python("-m", "config.bench.world", "--stations", str(max(size.idle, size.chargers, size.closed_loop)))
        sides = [Side(base, database_url, is_naive=is_naive) for is_naive in (False, True)]
        tell("MeterValues of 12 samples, closed loop …")
        ours, naive = (_loaded(side, "meter", size) for side in sides)
        yield Row("MeterValues of 12 samples: CPU s per 1,000", "≤ 0.25", _per_1000(ours), _per_1000(naive), "s")
        yield Row("MeterValues of 12 samples: messages/s", "≥ 3,000", ours.rate, naive.rate, "/s", True)
        tell("Whole charging lives, closed loop …")
        ours, naive = (_loaded(side, "life", size) for side in sides)
        yield Row("Whole charge: CPU s per 1,000 messages", "≤ 0.6", _per_1000(ours), _per_1000(naive), "s")
        tell(f"Whole charging lives of {size.chargers:,} chargers that wait 0.5 s …")
        ours, naive = (_loaded(side, "life", size, chargers=size.chargers, think=0.5) for side in sides)
        yield Row(f"{size.chargers:,} chargers, p99", "< 500", _p99_ms(ours), _p99_ms(naive), "ms")
        tell("Idle connections …")
        yield Row(
            f"Idle connection of {size.idle:,}",
            "≤ 40",
            _idle_kib(sides[0], size.idle, size.settle),
            _idle_kib(sides[1], size.naive_idle, size.settle),
            "KiB",
        )
        tell(f"{size.chargers:,} chargers reconnect …")
        ours, naive = (_loaded(side, "reconnect", size, chargers=size.chargers) for side in sides)
        yield Row(f"{size.chargers:,} chargers reconnect", "≤ 20", ours.seconds, naive.seconds, "s")
        tell("kill -9 …")
        lost, lost_naive = (sum(_lost(side, size, 0.7 + number) for number in range(size.kills)) for side in sides)
        yield Row("Acknowledged and missing after kill -9", "0", lost, lost_naive, "")


def _loaded(
    side: Side, scenario: Scenario, size: Size, *, chargers: int | None = None, think: float = 0.0
) -> LoadResult:
    with side.serving() as (installation, process):
        load = run_load(
            process.ocpp,
            identities(chargers or size.closed_loop),
            scenario,
            duration=None if scenario == "reconnect" else size.seconds * (2 if think and not side.is_naive else 1),
            think=think,
            token=None,
            server_cpu=lambda: process.cpu() + installation.database_cpu(),
        )
        result = uvloop.run(load)
    if result.refused or result.lost or result.errors:
        raise RuntimeError(f"{scenario}: {result.refused} refused, {result.lost} lost, {result.errors} errors")
    return result


def _per_1000(result: LoadResult) -> float:
    return result.server_cpu_seconds / result.acked * 1000


def _p99_ms(result: LoadResult) -> float:
    return percentiles(result.latencies)["p99"] or 0.0


def _idle_kib(side: Side, number: int, settle: float) -> float:
    async def watched(process: Process) -> tuple[int, int]:
        await run_load(process.ocpp, identities(20), "idle", duration=settle, token=None)  # what the first ones need
        before = process.memory_kib()
        load = asyncio.create_task(run_load(process.ocpp, identities(number), "idle", duration=settle, token=None))
        seen = [before]
        while not load.done():
            await asyncio.sleep(0.2)
            seen.append(process.memory_kib())
        result = await load
        if result.connected < number:
            raise RuntimeError(f"idle: only {result.connected} of {number} connected")
        return before, max(seen)

    with side.serving() as (_installation, process):
        before, after = uvloop.run(watched(process))
    return (after - before) / number


def _lost(side: Side, size: Size, after: float) -> int:
    """Kill the service ``after`` seconds under load; return how many acknowledged messages have no row."""

    async def killed(process: Process, journal: AckJournal) -> None:
        stations = identities(size.closed_loop)
        load = asyncio.create_task(run_load(process.ocpp, stations, "life", duration=60, token=None, journal=journal))
        await asyncio.sleep(after)
        process.kill()
        await load

    with side.serving() as (installation, process), tempfile.NamedTemporaryFile() as file:
        with AckJournal(Path(file.name)) as journal:
            uvloop.run(killed(process, journal))
        process.start()  # whatever a restart repairs counts
        stored = Counts({(identity, action): count for identity, action, count in installation.rows(side.rows_query)})
        acknowledged = Counts()
        for line in Path(file.name).read_bytes().splitlines():
            entry = orjson.loads(line)
            if entry["action"] in CHARGES:
                acknowledged[entry["station"], entry["action"]] += 1
        return (acknowledged - stored).total()
