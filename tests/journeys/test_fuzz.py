"""Mutated frames over real sockets (2,000; `python -m tests.faults` sends many)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from config.bench.installation import Installation
from tests.harness import fuzz

FRAMES = 2000


@pytest.mark.slow
async def test_no_frame_breaks_anything(installed: Callable[..., Installation]) -> None:
    database = "postgresql" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "sqlite"
    with installed(database) as installation:
        report = await fuzz.bombard(installation, installation.serve("all", "--no-jobs"), seed=1, frames=FRAMES)
    assert report.violations == []
    assert report.frames >= FRAMES
    assert min(report.results, report.errors, report.closed) > 0
    assert report.p99_during < 1000


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        ('[2,"a","Heartbeat",{}]', "a"),
        ('[2,"a\\u0000","Heartbeat",{"x":1,"x":2}]', "a\x00"),
        ('[2,"a","Heartbeat",{"x":NaN}]', None),
        ('[2.0,"a","Heartbeat",{}]', None),
        ('[2,"a","Heartbeat",[]]', None),
        ('[2,"\\ud800","Heartbeat",{}]', None),
        (json.dumps([2, "i" * 256, "Heartbeat", {}]), None),
        ("[2," + "[" * 100_000, None),
    ],
)
def test_the_harness_knows_what_must_be_answered(text: str, message_id: str | None) -> None:
    assert fuzz.parseable(text) == message_id
