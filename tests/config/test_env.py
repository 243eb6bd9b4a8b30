"""Settings from the environment: typed, from files where wished, refused all at once."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.env import ConfigurationError, Environment, generated

ROOT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(bytes(range(32))).decode()
POSTGRES = "postgresql://voltyard:p%40ss@db.example:5433/csms"


def problems(**source: str) -> Environment:
    return Environment(source)


@pytest.mark.parametrize(
    ("text", "truth"),
    [("1", True), ("yes", True), ("TRUE", True), ("on", True), ("0", False), ("no", False), ("", False)],
)
def test_flags(text: str, truth: bool) -> None:
    env = problems(DEMO=text)
    assert env.flag("DEMO", default=False) is truth
    assert not env.problems


def test_words_numbers_networks_addresses() -> None:
    env = problems(A=" a, b ,,c ", N="7", P="10.0.0.1, 192.168.3.9/24,::1", U="https://x.example/")
    assert env.words("A", []) == ["a", "b", "c"]
    assert env.words("ABSENT", ["x", "y"]) == ["x", "y"]
    assert env.number("N", 1) == 7
    assert env.number("ABSENT", 1) == 1
    assert env.networks("P") == ["10.0.0.1/32", "192.168.3.0/24", "::1/128"]
    assert env.networks("ABSENT") == []
    assert env.url("U", "", ("https",)) == "https://x.example/"
    assert not env.problems


def test_a_database_address_is_taken_apart() -> None:
    found = problems(DATABASE_URL=POSTGRES).database("DATABASE_URL", Path("x"))
    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "csms",
        "USER": "voltyard",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "5433",
    }
    assert problems().database("DATABASE_URL", Path("x"))["NAME"] == "x"


def test_keys_keep_their_order() -> None:
    other = base64.b64encode(bytes(range(1, 33))).decode()
    assert list(problems(K=f"new:{KEY}, old:{other}").keys("K", None)) == ["new", "old"]


@pytest.mark.parametrize("text", ["k1", f"k1:{KEY[:10]}", "k1:not base64", f":{KEY}", f"k1:{KEY},k2:"])
def test_a_short_or_nameless_key_is_refused(text: str) -> None:
    env = problems(K=text)
    env.keys("K", None)
    assert len(env.problems) == 1
    assert KEY not in env.problems[0]


def test_a_secret_may_come_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "stripe"
    path.write_text("sk_live_1\n")
    assert problems(STRIPE_SECRET_KEY_FILE=str(path)).text("STRIPE_SECRET_KEY") == "sk_live_1"
    assert problems(STRIPE_SECRET_KEY="direct", STRIPE_SECRET_KEY_FILE=str(path)).text("STRIPE_SECRET_KEY") == "direct"
    env = problems(STRIPE_SECRET_KEY_FILE=str(tmp_path / "absent"))
    assert env.text("STRIPE_SECRET_KEY") == ""
    assert env.problems == [f"STRIPE_SECRET_KEY_FILE: cannot read {tmp_path / 'absent'} (No such file or directory)"]


def test_every_problem_is_told_at_once_and_no_password_with_them(capsys: Any) -> None:
    env = problems(A="maybe", N="many", U="smtpx://user:hunter2@host", P="10.0.0.0/99", D="mysql://u:hunter2@h/d")
    env.flag("A", default=False)
    env.number("N", 1)
    env.url("U", "", ("smtp",))
    env.networks("P")
    env.database("D", Path("x"))
    with pytest.raises(ConfigurationError) as refused:
        env.check()
    assert refused.value.code == 2
    told = capsys.readouterr().err
    assert [line.split(":")[0].strip(" -") for line in told.splitlines()[1:]] == ["A", "N", "U", "P", "D"]
    assert "hunter2" not in told


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    first = generated(path, lambda: "one")
    assert (first, generated(path, lambda: "two")) == ("one", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret"]


# --- the process as a whole ----------------------------------------------------------------------------------

SHOW = "from django.conf import settings as s; print(s.DATABASES['default']['ENGINE'], s.PUBLIC_URL, s.ALLOWED_HOSTS)"


def start(data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of its own with these variables only."""
    env = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(data_dir),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    } | variables
    return subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_nothing_is_needed_on_the_embedded_default(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "config.sqlite3")
    secrets = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()}
    assert secrets == {"secret_key": 0o600, "credential_keys": 0o600, "data_keys": 0o600}
    kept = (tmp_path / "credential_keys").read_text()
    assert start(tmp_path).returncode == 0
    assert (tmp_path / "credential_keys").read_text() == kept


def test_with_a_database_every_secret_is_required_and_all_are_named(tmp_path: Path) -> None:
    done = start(tmp_path, DATABASE_URL=POSTGRES, PUBLIC_URL="ftp://x", TRUSTED_PROXIES="proxy.local", DEMO="perhaps")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "Voltyard cannot start. Mend these environment variables:"
    named = sorted(line.split(":")[0].strip(" -") for line in lines[1:])
    assert named == ["CREDENTIAL_KEYS", "DATA_KEYS", "DEMO", "PUBLIC_URL", "SECRET_KEY", "TRUSTED_PROXIES"]
    assert not list(tmp_path.iterdir())  # no secret is made up where one is required
    assert "p%40ss" not in done.stderr


def test_with_a_database_and_secrets_it_starts(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"k1:{KEY}\n")
    done = start(
        tmp_path,
        DATABASE_URL=POSTGRES,
        SECRET_KEY="s" * 40,
        CREDENTIAL_KEYS_FILE=str(key),
        DATA_KEYS_FILE=str(key),
        PUBLIC_URL="https://csms.example.com/",
    )
    assert done.returncode == 0, done.stderr
    engine, url, hosts = done.stdout.split(maxsplit=2)
    assert (engine, url) == ("django.db.backends.postgresql", "https://csms.example.com")
    assert "csms.example.com" in hosts
