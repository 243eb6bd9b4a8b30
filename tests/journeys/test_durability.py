"""kill -9 in the middle of the work (4 points; `python -m tests.faults` runs many)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from config.bench.installation import Installation
from tests.harness import kill

POINTS = 4


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_what_was_acknowledged_survives_a_kill_and_nothing_is_there_twice(
    installed: Callable[..., Installation], database: str
) -> None:
    with installed(database) as installation:
        report = await kill.chain(installation, seed=1, points=POINTS)
    assert report.violations == []
    assert report.points == POINTS
    assert report.acknowledged > report.sessions > 0
