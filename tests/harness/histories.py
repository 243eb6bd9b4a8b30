"""Generated histories at full size: the test's own machinery, run in slices with seeds of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from config.bench.installation import ROOT

TEST = "tests/sessions/test_histories.py::test_generated_histories_give_one_session_and_one_bill"


def run(*, seed: int, histories: int) -> list[str]:
    """Run so many histories; return what was violated. The database is that of the environment."""
    environment = os.environ | {"HISTORIES": str(histories), "SEED": str(seed)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", TEST]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"seed {seed}: {done.stdout[-3000:]}{done.stderr[-1000:]}"]
