"""``manage.py serve`` as a person starts it: a process of its own, on its own DATA_DIR.

``seeded`` makes the first start once for all workers of a test run; each test takes a copy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"Voltyard is at +(http://\S+)")


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """Return what a fresh machine has, and ``variables``: no database, no Redis, no secrets."""
    return {"PATH": os.environ["PATH"], "HOME": str(data_dir), "DATA_DIR": str(data_dir), "DEMO": "0"} | variables


def manage(data_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a management command to its end."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(data_dir, **variables), capture_output=True, text=True, timeout=120
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclasses.dataclass
class Running:
    """A served installation. ``url`` as it was printed, ``output`` grows while it runs."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    output: Path
    url: str = ""

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def ocpp(self) -> str:
        return self.url.replace("http://", "ws://") + "/ocpp/"

    def wait(self, within: float) -> None:
        """Wait until it says where it is and answers there."""
        deadline = time.monotonic() + within
        while True:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            found = ADDRESS.search(self.said)
            if found:
                self.url = found[1]
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"{self.url}/livez", timeout=10)
                    return
            time.sleep(0.05)

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextlib.contextmanager
def serving(data_dir: Path, *arguments: str, within: float = 90, **variables: str) -> Iterator[Running]:
    """Serve from ``data_dir`` until the block ends. A port that another process takes meanwhile is passed over."""
    data_dir.mkdir(parents=True, exist_ok=True)
    output = data_dir / "output.txt"
    command = [sys.executable, "manage.py", "serve", "--migrate", *arguments]
    if "--port" not in arguments:
        command += ["--port", str(free_port()), "--next-port"]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(data_dir, PYTHONUNBUFFERED="1", **variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(process, data_dir, output)
    try:
        running.wait(within)
        yield running
    finally:
        running.stop()


def seeded(shared: Path, *, demo: bool) -> Path:
    """Return a DATA_DIR that was served once, made by whichever worker comes first. Copy it, do not serve it."""
    name = "demo" if demo else "empty"
    template = shared / f"voltyard-{name}"
    with (shared / f"voltyard-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / "done").exists():
            with serving(template, DEMO="1" if demo else "0"):
                pass
            (template / "done").touch()
    return template


def copy(template: Path, target: Path) -> Path:
    """Copy a DATA_DIR without what belongs to its process."""
    shutil.copytree(template, target, ignore=shutil.ignore_patterns("done", "serve.lock", "output.txt", "broker"))
    return target
