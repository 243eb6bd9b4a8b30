# ruff: noqa: T201 - it speaks to a terminal
"""``make faults`` (``python -m tests.faults``): the long harnesses at full size.

SEED chooses other moments, frames and histories. RUNS is the number of slices of each harness, fewer than all for
a short look. What is done is kept under var/faults/, so that a run that was stopped goes on where it was; a
slice that found something is run again. With DATABASE_URL (PostgreSQL) and REDIS_URL more is run. Exit 1 where
anything was violated.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_test"
import django

django.setup()

from config.bench.installation import ROOT, Installation  # noqa: E402
from tests.harness import fuzz, histories, kill  # noqa: E402

Found = tuple[dict[str, float], list[str]]
"""Figures of one slice, summed up in the table, and what was violated."""

DATABASE_URL = os.environ.get("DATABASE_URL", "")
REDIS_URL = os.environ.get("REDIS_URL", "")
POINTS, FRAMES, HISTORIES = 10, 5000, 500


@dataclasses.dataclass(frozen=True)
class Harness:
    """One kind of fault, in slices with seeds of their own. ``missing`` says what it would need."""

    name: str
    slices: int
    run: Callable[[int], Found]
    missing: str = ""


class Bases:
    """Installations that slices copy: migrated and filled once."""

    def __init__(self) -> None:
        self._made: dict[str, Installation] = {}

    @contextlib.contextmanager
    def fresh(self, database_url: str) -> Iterator[Installation]:
        """Give a copy."""
        if database_url not in self._made:
            base = self._made[database_url] = Installation(database_url=database_url)
            base.python("-m", "config.bench.world", "--stations", "12")
        with Installation(database_url=database_url, like=self._made[database_url]) as installation:
            yield installation

    def remove(self) -> None:
        """Leave nothing behind."""
        for base in self._made.values():
            base.remove()


def harnesses(bases: Bases) -> list[Harness]:
    """Return what there is to run."""

    def killed(database_url: str) -> Callable[[int], Found]:
        def run(seed: int) -> Found:
            with bases.fresh(database_url) as installation:
                report = asyncio.run(kill.chain(installation, seed=seed, points=POINTS))
            figures = {
                "kills": report.points,
                "acknowledged": report.acknowledged,
                "stored but unanswered": report.stored_unanswered,
            }
            return figures, report.violations

        return run

    def fuzzed(database_url: str) -> Callable[[int], Found]:
        def run(seed: int) -> Found:
            with bases.fresh(database_url) as installation:
                server = installation.serve("all", "--no-jobs")
                report = asyncio.run(fuzz.bombard(installation, server, seed=seed, frames=FRAMES))
            figures = {"frames": report.frames, "results": report.results, "errors": report.errors}
            return figures | {"closed": report.closed}, report.violations

        return run

    def told(seed: int) -> Found:
        return {"histories": HISTORIES}, histories.run(seed=seed, histories=HISTORIES)

    postgres = "" if DATABASE_URL.startswith("postgres") else "DATABASE_URL (PostgreSQL)"
    redis = "" if REDIS_URL else "REDIS_URL"
    return [
        Harness("kill -9, SQLite", 10, killed("")),
        Harness("kill -9, PostgreSQL", 10, killed(DATABASE_URL), postgres),
        Harness("fuzz, SQLite", 20, fuzzed("")),
        Harness("fuzz, PostgreSQL", 20, fuzzed(DATABASE_URL), postgres),
        Harness("histories", 40, told),
        Harness(
            "contention, SQLite", 1, lambda seed: _tested("test_contention", {"CONTENTION_SECONDS": "60"}, without=True)
        ),
        Harness("two gateways", 1, lambda seed: _tested("test_two_gateways", {}), postgres or redis),
    ]


def _tested(name: str, more: dict[str, str], *, without: bool = False) -> Found:
    """Run a journey as a test; ``without`` the database and Redis of the environment."""
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"} | more
    if without:
        environment = {key: value for key, value in environment.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        f"tests/journeys/{name}.py",
    ]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True)
    return {"runs": 1}, [] if done.returncode == 0 else [done.stdout[-3000:]]


def main() -> int:
    """Run what is not done yet; return the exit code."""
    seed = int(os.environ.get("SEED") or 1)
    runs = int(os.environ.get("RUNS") or 1000)
    kept = ROOT / "var" / "faults" / f"seed-{seed}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    bases = Bases()
    table: list[tuple[str, str, str]] = []
    problems: list[str] = []
    try:
        for harness in harnesses(bases):
            if harness.missing:
                table.append((harness.name, "not run", f"needs {harness.missing}"))
                continue
            violations = _run(harness, seed, min(runs, harness.slices), done, kept)
            names = [f"{harness.name}/{seed * 1000 + number}" for number in range(min(runs, harness.slices))]
            figures: dict[str, float] = {}
            for name in names:
                for what, number in done[name]["figures"].items():
                    figures[what] = figures.get(what, 0) + number
            told = ", ".join(f"{number:,} {what}" for what, number in figures.items())
            table.append((harness.name, told, f"{len(violations)} violations"))
            problems += violations
    finally:
        bases.remove()
    widths = [max(len(row[column]) for row in table) for column in range(2)]
    print()
    for name, told, result in table:
        print(f"{name:<{widths[0]}}  {told:<{widths[1]}}  {result}")
    for problem in problems:
        print(f"\n{problem}")
    return 1 if problems else 0


def _run(harness: Harness, seed: int, slices: int, done: dict[str, Any], kept: Path) -> list[str]:
    violations = []
    for number in range(slices):
        name = f"{harness.name}/{seed * 1000 + number}"
        if name not in done or done[name]["violations"]:
            begun = time.monotonic()
            figures, found = harness.run(seed * 1000 + number)
            done[name] = {"figures": figures, "violations": found}
            draft = kept.with_suffix(".new")
            draft.write_text(json.dumps(done, indent=1))
            draft.replace(kept)
            outcome = f"{len(found)} violations" if found else "clean"
            print(
                f"{harness.name}, slice {number + 1} of {slices}: {outcome} ({time.monotonic() - begun:.0f} s)",
                flush=True,
            )
        violations += [f"{name}: {one}" for one in done[name]["violations"]]
    return violations


if __name__ == "__main__":
    sys.exit(main())
