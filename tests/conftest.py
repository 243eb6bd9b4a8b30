"""What every test may use, and what becomes of tests that need a part this machine lacks."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.live_server import server  # noqa: F401
from tests.people import *  # noqa: F403

# Marker → whether the part is there, and how to get it.
PARTS = {
    "browser": (
        lambda: bool(shutil.which("chromium") and shutil.which("chromedriver")),
        "chromium and chromedriver (apt install chromium chromium-driver)",
    ),
    "postgres": (
        lambda: os.environ.get("DATABASE_URL", "").startswith("postgres"),
        "DATABASE_URL=postgresql://user:password@host/name (apt install postgresql)",
    ),
    "redis": (lambda: bool(os.environ.get("REDIS_URL")), "REDIS_URL=redis://host:6379/9 (apt install redis-server)"),
}
# Automatic runs go through the tests with and without a database server, so only a browser must be there.
MUST_BE_THERE = {"browser"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Report a test as not run where its part is absent; with CI=true that is a failure."""
    for marker, (is_there, hint) in PARTS.items():
        if item.get_closest_marker(marker) is None or is_there():
            continue
        words = f"not run: needs {hint}"
        if os.environ.get("CI") == "true" and marker in MUST_BE_THERE:
            pytest.fail(words, pytrace=False)
        pytest.skip(words)
