"""The one process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.running import ROOT, Running, copy, environment, free_port, manage, serving


@pytest.fixture(scope="module")
def served(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(copy(installed, tmp_path_factory.mktemp("served") / "data")) as running:
        yield running


def test_it_says_where_it_is_and_where_chargers_dial(served: Running) -> None:
    port = served.url.rpartition(":")[2]
    assert f"Chargers dial   ws://localhost:{port}/ocpp/<identity>" in served.said
    assert "Demo log-ins" not in served.said
    assert "Ctrl-C stops everything" in served.said


def test_a_second_start_prepares_nothing_again(served: Running) -> None:
    assert "Collecting" not in served.said
    assert "Preparing" not in served.said


def test_everything_answers(served: Running) -> None:
    first = requests.get(served.url, timeout=10)
    assert (first.status_code, first.url) == (200, f"{served.url}/account/login/")
    assert requests.get(f"{served.url}/api/v1/stations/", timeout=10).status_code == 401
    assert requests.get(f"{served.url}/ocpp/nobody", timeout=10).status_code == 404
    deadline = time.monotonic() + 30
    while (ready := requests.get(f"{served.url}/readyz", timeout=10)).status_code != 200:
        assert time.monotonic() < deadline, ready.text
        time.sleep(0.2)
    assert set(ready.json()["checks"]) >= {"database", "ingest", "jobs:now", "jobs:slow"}


def test_both_queues_are_worked_through(served: Running) -> None:
    """Two workers share one process; each has a queue of its own."""
    ages = 'voltyard_jobs_heartbeat_age_seconds{queue="%s"}'
    deadline = time.monotonic() + 40
    while True:
        numbers = requests.get(f"{served.url}/metrics", timeout=10).text
        if all(ages % queue in numbers for queue in ("now", "slow")):
            break
        assert time.monotonic() < deadline, numbers
        time.sleep(0.5)


def test_secrets_are_made_for_the_owner_alone(served: Running) -> None:
    for name in ("secret_key", "credential_keys", "data_keys"):
        assert stat.S_IMODE((served.data_dir / name).stat().st_mode) == 0o600


def test_a_second_process_on_the_same_data_is_refused(served: Running) -> None:
    done = manage(served.data_dir, "serve", "--port", str(free_port()))
    assert done.returncode != 0
    assert f"Voltyard already serves from {served.data_dir}" in done.stderr
    assert requests.get(f"{served.url}/livez", timeout=10).status_code == 200


def test_a_port_that_is_taken(served: Running, installed: Path, tmp_path: Path) -> None:
    port = served.url.rpartition(":")[2]
    data = copy(installed, tmp_path / "data")
    refused = manage(data, "serve", "--port", port)
    assert refused.returncode != 0
    assert f"Port {port} is taken" in refused.stdout
    with serving(data, "--port", port, "--next-port") as second:
        assert int(second.url.rpartition(":")[2]) > int(port)
        assert f"Port {port} is taken" in second.said


@pytest.mark.parametrize("role", ["gateway", "web"])
def test_a_role_needs_a_database_and_redis(installed: Path, role: str) -> None:
    done = manage(installed, "serve", "--role", role, "--port", str(free_port()))
    assert done.returncode != 0
    assert "Roles need DATABASE_URL and REDIS_URL" in done.stderr


def test_the_demo_is_not_served_to_others(installed: Path, tmp_path: Path) -> None:
    data = copy(installed, tmp_path / "data")
    done = manage(data, "serve", "--host", "0.0.0.0", "--port", str(free_port()), DEMO="1")
    assert done.returncode != 0
    assert "this machine only" in done.stderr
    assert not (data / "demo-people.json").exists()


def test_a_database_behind_its_migrations_is_not_served(tmp_path: Path) -> None:
    done = manage(tmp_path / "new", "serve", "--port", str(free_port()))
    assert done.returncode != 0
    assert "Run: manage.py migrate" in done.stderr


def test_a_unix_socket_and_the_end(installed: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.sock"
    data = copy(installed, tmp_path / "data")
    with subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--uds", str(path)],
        cwd=ROOT,
        env=environment(data, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        deadline = time.monotonic() + 60
        while not path.exists() or not (told := _over_socket(path)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert told.endswith("alive\n")
        process.terminate()
        assert process.wait(timeout=30) == 0


def _over_socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(path))
        except OSError:
            return ""
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: line.recv(4096), b"")).decode()


def test_ctrl_c_ends_everything(installed: Path, tmp_path: Path) -> None:
    with serving(copy(installed, tmp_path / "data")) as running:
        assert running.stop() == 0
    assert "Traceback" not in running.said
    assert not os.path.exists(f"/proc/{running.process.pid}")
    assert json.loads(manage(running.data_dir, "check_books").stdout)["ok"] is True
