"""Journeys run whole processes' worth of threads: here writes outside a transaction would show, so none may be."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from config.bench.installation import ROOT, Installation

WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
STATIONS = 12


@pytest.fixture(autouse=True)
def writes_are_in_transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail where the product writes in autocommit: on SQLite such a write jumps the queue of writers."""
    found: list[str] = []
    execute = CursorWrapper._execute_with_wrappers

    def guarded(self: Any, sql: str, params: Any, many: bool, executor: Any) -> Any:
        if not self.db.in_atomic_block and WRITES.match(sql) and not _by_a_test():
            found.append(sql[:200])
        return execute(self, sql, params, many, executor)

    monkeypatch.setattr(CursorWrapper, "_execute_with_wrappers", guarded)
    yield found
    assert not found, "written outside a transaction"


def _by_a_test() -> bool:
    """Tell whether the nearest caller that is ours belongs to the tests."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(ROOT)) and ".venv" not in path:
            return path.startswith(str(ROOT / "tests"))
        frame = frame.f_back  # type: ignore[assignment]
    return False


@pytest.fixture(scope="session")
def installed() -> Iterator[Callable[..., Installation]]:
    """Return a function that gives a fresh installation with a world in it on "sqlite" or "postgresql"."""
    bases: dict[str, Installation] = {}

    def make(database: str, redis_url: str = "") -> Installation:
        url = os.environ.get("DATABASE_URL", "") if database == "postgresql" else ""
        if database == "postgresql" and not url.startswith("postgres"):
            pytest.skip("needs PostgreSQL: set DATABASE_URL")
        if database not in bases:
            bases[database] = Installation(database_url=url)
            bases[database].python("-m", "config.bench.world", "--stations", str(STATIONS))
        return Installation(database_url=url, redis_url=redis_url, like=bases[database])

    yield make
    for base in bases.values():
        base.remove()
