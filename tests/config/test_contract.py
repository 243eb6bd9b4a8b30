"""The outside that scripts rely on: commands with their options and output, addresses, what make offers.

One installation is set up from the command line alone, and a simulated charger charges there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import get_commands, load_command_class

from tests.running import ROOT, Running, copy, manage, serving

PASSWORD = "0123456789abcdef0123456789abcdef01234567"
OPTIONS = {
    "serve": {"--role", "--host", "--port"},
    "create_operator": {"--name", "--slug", "--email", "--password", "--currency", "--time-zone", "--country"},
    "create_api_key": {"--operator", "--role"},
    "rate": {"--tariff", "--session", "--time-zone"},
    "check_books": set(),
    "simulate": {"--url", "--stations", "--version"},
    "bench_ocpp": set(),
}
OPERATOR = ["--name", "Pier Power", "--slug", "pier", "--email", "boss@pier.example", "--password", "long enough 1"]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_has_its_options(name: str) -> None:
    assert get_commands().get(name) == "config"
    parser = load_command_class("config", name).create_parser("manage.py", name)
    there = {option for action in parser._actions for option in action.option_strings}
    assert there >= OPTIONS[name]


@pytest.mark.parametrize("target", ["run", "test", "check", "bench", "faults", "help"])
def test_make_offers(target: str) -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"  make {target} " in listed
    planned = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert planned.returncode == 0


def test_make_hands_its_variables_on() -> None:
    wishes = ["PORT=8123", "HOST=::1", "DATA_DIR=/tmp/elsewhere", "DEMO=0"]
    planned = subprocess.run(["make", "--dry-run", "run", *wishes], cwd=ROOT, capture_output=True, text=True).stdout
    for part in ('DATA_DIR="/tmp/elsewhere"', 'DEMO="0"', '--host "::1"', '--port "8123"', "--next-port", "--migrate"):
        assert part in planned


# --- an installation set up from the command line ------------------------------------------------------------


@pytest.fixture(scope="module")
def pier(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = copy(installed, tmp_path_factory.mktemp("pier") / "data")
    first, second = manage(data, "create_operator", *OPERATOR), manage(data, "create_operator", *OPERATOR)
    assert json.loads(first.stdout)["created"] is True
    assert json.loads(second.stdout) == json.loads(first.stdout) | {"created": False}
    with serving(data) as running:
        yield running


@pytest.fixture(scope="module")
def api(pier: Running) -> requests.Session:
    made = manage(pier.data_dir, "create_api_key", "--operator", "pier", "--role", "owner")
    assert (made.returncode, made.stdout.count("\n"), made.stderr) == (0, 1, "")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {made.stdout.strip()}"
    return session


def post(api: requests.Session, url: str, body: dict[str, Any]) -> Any:
    answer = api.post(url, json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_simulated_charger_charges(pier: Running, api: requests.Session) -> None:
    root = f"{pier.url}/api/v1"
    site = post(api, f"{root}/sites/", {"name": "Pier 1", "time_zone": "Europe/Berlin"})
    station = post(api, f"{root}/stations/", {"identity": "PIER-0001", "site": site["id"], "password": PASSWORD})
    assert station["password"] == PASSWORD
    assert station["ocpp_url"].endswith("/ocpp/PIER-0001")
    post(api, f"{root}/tokens/", {"value": "04C0FFEE00", "type": "rfid", "status": "active"})
    done = manage(
        pier.data_dir,
        *("simulate", "--url", pier.ocpp, "--stations", "1", "--version", "2.0.1", "--password", PASSWORD),
        *("--identity-prefix", "PIER-", "--token", "04C0FFEE00", "--duration", "6", "--speed", "60"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["sessions_started"] >= 1, summary
    there = api.get(f"{root}/stations/PIER-0001/", timeout=10).json()
    assert (there["protocol"], there["vendor"], there["registration"]) == ("2.0.1", "Simulated", "accepted")


def test_the_books_are_in_order(pier: Running) -> None:
    done = manage(pier.data_dir, "check_books")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert {"name", "says", "broken"} <= set(told["invariants"][0])


def test_broken_books_are_told_with_an_exit_code(pier: Running, tmp_path: Path) -> None:
    data = copy(pier.data_dir, tmp_path / "data")
    broken = (
        "from django.utils import timezone as t; from accounts.models import Operator; from stations.models import *;"
        "o = Operator.objects.get(slug='pier'); s = Site.objects.create(operator=o, name='x', time_zone='UTC', country='DE');"
        "p = Station.objects.create(operator=o, site=s, identity='OLD-1', name='x');"
        "Command.objects.create(station=p, command='reset', status='sent', requested_by='x',"
        " requested_at=t.now() - t.timedelta(days=9), sent_at=t.now() - t.timedelta(days=9))"
    )
    assert manage(data, "shell", "-v", "0", "-c", broken).returncode == 0
    done = manage(data, "check_books")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (1, False)


def test_wrong_arguments_are_told_in_one_line(installed: Path) -> None:
    for arguments, words in (
        (("create_api_key", "--operator", "nobody", "--role", "owner"), "no operator"),
        (("rate", "--tariff", "absent.json", "--session", "absent.json", "--time-zone", "UTC"), "cannot be read"),
    ):
        done = manage(installed, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr
