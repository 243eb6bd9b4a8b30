"""What a fleet is made of: one plan per station, drawn from a seed or read from a JSON file."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from stations.simulator.car import Kind
from stations.simulator.misbehaviour import Misbehaviour

Version = Literal["1.6", "2.0.1", "2.1"]
Activity = Literal["idle", "quiet", "normal", "busy"]

VERSIONS: tuple[Version, ...] = get_args(Version)
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
WELL_BEHAVED = Misbehaviour()
DEFAULT_POWER_W: dict[Kind, float] = {"ac": 11_000.0, "dc": 150_000.0}


@dataclasses.dataclass(frozen=True)
class Token:
    """What a driver presents. The type is rfid, app or pin, or a name of OCPP 2.x (eMAID, Local …)."""

    value: str
    type: str = "rfid"


@dataclasses.dataclass(frozen=True)
class Timings:
    """Durations of a station's own doings, in simulated seconds; ``call_timeout_s`` is real time."""

    reboot_s: float = 8.0
    tick_s: float = 1.0
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    call_timeout_s: float = 30.0
    flush_s: float = 5.0
    job_step_s: float = 3.0
    """Between two steps of a firmware update or a log upload."""
    arrival_s: tuple[float, float] = (3.0, 12.0)
    """From a remote start at an empty bay to the cable in the car."""


@dataclasses.dataclass(frozen=True)
class StationPlan:
    """One station of a fleet. ``evses`` EVSEs with one connector each; power in W per EVSE."""

    identity: str
    password: str | None = None
    version: Version = "1.6"
    evses: int = 1
    kind: Kind = "ac"
    power_w: float = 11_000.0
    phases: int = 3
    tokens: tuple[Token, ...] = (Token("SIM0000001"),)
    activity: Activity = "normal"
    misbehaviour: Misbehaviour = WELL_BEHAVED
    meter_interval_s: int = 30
    vendor: str = "Simulated"
    model: str = "Bay"
    firmware: str = "1.0.0"
    register_wh: float = 0.0
    utc_offset_h: float = 0.0
    """Local time of the site: drivers come by the hour of the day."""
    seed: str = "0"

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise ValueError(f"{self.identity}: unknown version {self.version!r}")
        if self.activity not in ACTIVITIES:
            raise ValueError(f"{self.identity}: unknown activity {self.activity!r}")
        if self.kind not in DEFAULT_POWER_W:
            raise ValueError(f"{self.identity}: unknown kind {self.kind!r}")
        if self.evses < 1 or self.power_w <= 0 or self.phases not in (1, 3) or self.meter_interval_s < 1:
            raise ValueError(f"{self.identity}: evses, power_w, phases or meter_interval_s out of range")

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> StationPlan:
        """Build a plan from the members of a JSON object. Raises TypeError, ValueError for what it does not know."""
        fields = dict(fields)
        if "tokens" in fields:
            tokens = fields["tokens"]
            fields["tokens"] = tuple(Token(t) if isinstance(t, str) else Token(**t) for t in tokens)
        if "misbehaviour" in fields:
            fields["misbehaviour"] = Misbehaviour(**fields["misbehaviour"])
        return cls(**fields)

    def rng(self, *purpose: object) -> random.Random:
        """Return the stream of chance for one purpose: same seed, same station, same stream."""
        return random.Random("/".join(map(str, (self.seed, self.identity, *purpose))))  # noqa: S311


def read_plans(path: Path) -> list[StationPlan]:
    """Read the plans of a fleet from a JSON file that holds a list of objects. Raises ValueError, TypeError."""
    rows = orjson.loads(path.read_bytes())
    if not isinstance(rows, list):
        raise ValueError("a plan file holds a list of stations")
    return [StationPlan.from_json(row) for row in rows]


def write_plans(path: Path, plans: list[StationPlan]) -> None:
    """Write plans as ``read_plans`` reads them; the file is readable by its owner only, for it holds passwords."""
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps([dataclasses.asdict(plan) for plan in plans], option=orjson.OPT_INDENT_2))


def draw_plans(
    count: int,
    *,
    version: Version | Literal["mixed"] = "mixed",
    password: str | None = None,
    identity_prefix: str = "SIM-",
    tokens: tuple[Token, ...] = (Token("SIM0000001"),),
    evses: int = 1,
    kind: Kind = "ac",
    power_w: float | None = None,
    activity: Activity = "normal",
    meter_interval_s: int = 30,
    seed: str = "0",
) -> list[StationPlan]:
    """Draw a well-behaved fleet; the same seed gives the same fleet."""
    rng = random.Random(f"{seed}/fleet")  # noqa: S311
    return [
        StationPlan(
            identity=f"{identity_prefix}{number:04d}",
            password=password,
            version=VERSIONS[(number - 1) % len(VERSIONS)] if version == "mixed" else version,
            evses=evses,
            kind=kind,
            power_w=power_w or DEFAULT_POWER_W[kind],
            tokens=tokens,
            activity=activity,
            meter_interval_s=meter_interval_s,
            register_wh=float(rng.randrange(100_000, 40_000_000)),
            seed=seed,
        )
        for number in range(1, count + 1)
    ]
