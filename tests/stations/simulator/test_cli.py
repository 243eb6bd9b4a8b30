"""The command line as a process: what it prints, and that it never outlives its parent."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import sys
import textwrap
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from stations.simulator.clock import parse_timestamp
from stations.simulator.plan import StationPlan, Token, write_plans
from tests.stations.simulator.csms import Csms

ROOT = Path(__file__).parents[3]


async def simulate(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stations.simulator",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_run_prints_its_figures_and_writes_the_journal(csms: Csms, tmp_path: Path):
    journal = tmp_path / "acks.jsonl"
    process = await simulate(
        *("--url", csms.url, "--stations", "3", "--version", "mixed", "--token", "TAG1", "--seed", "5"),
        *("--duration", "4", "--speed", "60", "--journal", str(journal), "--identity-prefix", "P-", "--kind", "dc"),
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert err == b""
    summary = json.loads(out)
    assert summary["online"] == 3
    assert summary["sessions_ended"] >= 1
    assert summary["acked"] == len(csms.calls) == len(journal.read_text().splitlines())
    assert set(csms.connects) == {"P-0001", "P-0002", "P-0003"}
    # Faster clocks start in the past: none of their times lies in the future.
    times = [call.payload["timestamp"] for call in csms.calls if "timestamp" in call.payload]
    assert max(map(parse_timestamp, times)) < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)


async def test_a_plan_file_and_a_polite_end(csms: Csms, tmp_path: Path):
    csms.passwords = {"A 1": "p1"}
    path = tmp_path / "plan.json"
    write_plans(path, [StationPlan("A 1", "p1", "2.1", tokens=(Token("TAG1"),), activity="busy")])
    process = await simulate("--url", csms.url, "--plan", str(path))
    await csms.wait_until(lambda: len(csms.starts()) == 1, within=45)
    process.send_signal(signal.SIGTERM)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["sessions_ended"] == 1
    assert len(csms.ends()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--speed", "10"], ["--plan", "/no/such/file"], ["--stations", "1", "--meter-interval", "0"], ["--version", "3"]],
)
async def test_options_that_make_no_sense(arguments):
    process = await simulate("--url", "ws://127.0.0.1:9/ocpp/", *arguments)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "error:" in err.decode()


async def test_a_child_ends_with_its_parent_and_ignores_ctrl_c(csms: Csms):
    parent = textwrap.dedent(f"""
        import os, subprocess, sys, time
        child = subprocess.Popen(
            [sys.executable, "-m", "stations.simulator", "--url", {csms.url!r}, "--parent", str(os.getpid())],
            stdout=subprocess.DEVNULL,
        )
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    child = int(await process.stdout.readline())
    await csms.ready()
    os.kill(child, signal.SIGINT)
    await asyncio.sleep(0.3)
    assert _is_alive(child)
    process.kill()
    await process.wait()
    await csms.wait_until(lambda: not _is_alive(child))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_management_command_takes_the_same_options_and_prints_json():
    out = StringIO()
    call_command("simulate", "--url", "ws://127.0.0.1:9/ocpp/", "--version", "2.1", "--duration", "0.3", stdout=out)
    summary = json.loads(out.getvalue())
    assert summary["stations"] == 1
    assert summary["online"] == 0
    assert summary["refused_connections"] >= 1
    with pytest.raises(CommandError, match="--speed needs --duration"):
        call_command("simulate", "--url", "ws://127.0.0.1:9/ocpp/", "--speed", "5")


async def test_the_simulator_needs_no_django_and_no_server_side_adapter():
    check = (
        "import sys, stations.simulator.cli, stations.simulator.load; "
        "sys.exit(any(name.split('.')[0] == 'django' or name.startswith('stations.ocpp') for name in sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", check, cwd=ROOT)
    assert await process.wait() == 0
