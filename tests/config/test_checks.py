"""``check --deploy``: each danger is named where it is there, and nothing where all is well."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import checks
from tests.factories import make_site, make_station

ROOT = Path(__file__).resolve().parents[2]
WELL = {
    "DEMO": False,
    "PUBLIC_URL": "https://csms.example.com",
    "SECURE_SITE": True,
    "ALLOWED_HOSTS": ["csms.example.com"],
    "TRUSTED_PROXIES": ["10.0.0.2/32"],
    "GATEWAY_SECRET": "g" * 32,
    "EMBEDDED": False,
    "REDIS_URL": "redis://redis.example:6379/0",
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    "STRIPE_SECRET_KEY": "sk_live_1",
    "STRIPE_WEBHOOK_SECRET": "whsec_1",
    "STRIPE_API_BASE": "",
}
pytestmark = pytest.mark.django_db


@pytest.fixture
def found(settings: Any, tmp_path: Path) -> Any:
    """Return a function: what is found in a well-kept installation with these settings changed."""

    def look(**changes: Any) -> list[str]:
        for name, value in (WELL | {"DATA_DIR": tmp_path} | changes).items():
            setattr(settings, name, value)
        return [str(message.id).removeprefix("voltyard.") for message in checks.deployment(None)]

    return look


def test_nothing_is_wrong_where_all_is_well(found: Any) -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"DEMO": True}, ["E001"]),
        ({"PUBLIC_URL": "http://csms.example.com", "SECURE_SITE": False}, ["E002"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["W003"]),
        ({"TRUSTED_PROXIES": ["0.0.0.0/0"]}, ["E004"]),
        ({"TRUSTED_PROXIES": []}, ["W005"]),
        ({"GATEWAY_SECRET": "short"}, ["E006"]),
        ({"REDIS_URL": ""}, ["E009"]),
        ({"EMBEDDED": True}, ["W010"]),
        ({"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend"}, ["W011"]),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, ["W011"]),
        ({"STRIPE_WEBHOOK_SECRET": ""}, ["E012"]),
        ({"STRIPE_API_BASE": "https://pay.example.com"}, ["W013"]),
    ],
)
def test_each_danger_is_named(found: Any, changes: dict[str, Any], expected: list[str]) -> None:
    assert found(**changes) == expected


def test_a_demo_on_this_machine_is_no_danger(found: Any) -> None:
    local = {"PUBLIC_URL": "http://localhost:8000", "SECURE_SITE": False, "TRUSTED_PROXIES": []}
    assert found(DEMO=True, **local) == []


def test_stations_that_cannot_come_in_or_that_everybody_can_be(found: Any, tenant: Any) -> None:
    site = make_site(tenant)
    make_station(site, security_profile=3)
    assert found() == []
    assert found(GATEWAY_SECRET="") == ["E007"]
    make_station(site, security_profile=0)
    assert found() == ["W008"]


def test_a_secret_that_others_can_read(found: Any, tmp_path: Path) -> None:
    for name in ("secret_key", "credential_keys"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    assert found() == []
    (tmp_path / "credential_keys").chmod(0o640)
    assert found() == ["E014"]


def test_the_command_runs_them_and_debug_is_found_too(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    env = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "DEMO": "1",
        "DEBUG": "1",
        "PUBLIC_URL": "https://csms.example.com",
        "CREDENTIAL_KEYS": f"k:{key}",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "voltyard.E001" in done.stderr
    assert "security.W018" in done.stderr
