from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import seeded


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty installation that was started once; shared by the workers of a run, to be copied."""
    return seeded(tmp_path_factory.getbasetemp().parent, demo=False)
