"""An installation of one's own: a database, a data folder, and its processes, which may be killed at any time."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent.parent
READY_WITHIN_S = 90.0
ENDS_WITHIN_S = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A process ended, or did not listen in time; the text is the end of what it wrote."""


class CommandFailed(Exception):
    """A command ended with an error; the text is the end of what it wrote."""


class Installation:
    """A migrated database and a data folder; a context manager that leaves nothing behind.

    Without ``database_url`` the embedded default: SQLite in the folder. With it, a database of its own is made
    beside the one named there and dropped at the end. ``like`` copies database and folder of another
    installation, which must not be running; that saves the migrations. ``settings`` are further variables.
    """

    def __init__(
        self,
        *,
        database_url: str = "",
        redis_url: str = "",
        like: Installation | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="voltyard-"))
        self._given_url = database_url
        self.processes: list[Process] = []
        self.database_url = ""
        if database_url:
            name = f"voltyard_{self.folder.name.removeprefix('voltyard-').lower()}"
            self.database_url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
        own = like.settings if like is not None else _secrets()
        self.settings: dict[str, str] = {**own, **(settings or {})}
        self._environment = _environment() | self.settings | {"DATA_DIR": str(self.folder), "LOG_LEVEL": "WARNING"}
        if self.database_url:
            self._environment["DATABASE_URL"] = self.database_url
        if redis_url:
            self._environment["REDIS_URL"] = redis_url
        self._make(like)

    def _make(self, like: Installation | None) -> None:
        if like is not None:
            shutil.copytree(like.folder, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.log"))
        if self.database_url:
            template = sql.SQL("") if like is None else sql.SQL(" TEMPLATE {}").format(_name_of(like.database_url))
            self._administer(sql.SQL("CREATE DATABASE {}").format(_name_of(self.database_url)) + template)
        if like is None:
            self.manage("migrate", "--verbosity", "0")
            self.manage("collectstatic", "--verbosity", "0", "--no-input")

    @property
    def is_postgresql(self) -> bool:
        """Whether its database is PostgreSQL."""
        return bool(self.database_url)

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Kill its processes, drop its database, delete its folder."""
        for process in self.processes:
            process.kill()
        if self.database_url:
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_name_of(self.database_url)))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._given_url, autocommit=True) as connection:
            connection.execute(statement)

    # --- its processes -----------------------------------------------------------------------------------

    def serve(self, role: str = "all", *options: str) -> Process:
        """Start ``manage.py serve`` on a free port and wait until it listens."""
        port = free_port()
        command = ["manage.py", "serve", "--role", role, "--port", str(port), *options]
        return self.start(f"{role}-{port}", command, port)

    def worker(self, queue: str = "now,slow") -> Process:
        """Start Celery's worker (one child)."""
        command = ["-m", "celery", "-A", "config.celery", "worker", "-Q", queue, "-P", "solo", "-l", "WARNING"]
        return self.start("worker", [*command, "--without-gossip", "--without-mingle"])

    def beat(self) -> Process:
        """Start Celery's beat."""
        return self.start("beat", ["-m", "celery", "-A", "config.celery", "beat", "-l", "WARNING"])

    def start(self, name: str, arguments: Sequence[str], port: int | None = None) -> Process:
        """Start Python with these arguments; with a port wait until it listens there."""
        process = Process([sys.executable, *arguments], self._environment, self.folder / f"{name}.log", port)
        self.processes.append(process)
        process.start()
        return process

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end and return what it printed. Raises CommandFailed."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str) -> str:
        """Run Python in this installation's environment and return what it printed. Raises CommandFailed."""
        done = self._run(*arguments)
        if done.returncode:
            raise CommandFailed(done.stderr[-4000:])
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=self._environment, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603

    def check_books(self) -> list[dict[str, Any]]:
        """Return the invariants that are broken. Raises CommandFailed."""
        done = self._run("manage.py", "check_books")
        if not done.stdout:
            raise CommandFailed(done.stderr[-4000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return [invariant for invariant in found["invariants"] if invariant["broken"]]

    # --- its database ------------------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, past whatever runs; booleans and decimals are as the driver has them."""
        if self.database_url:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(query.encode()).fetchall()
        path = self.folder / "voltyard.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def commits(self) -> CommitWatch:
        """Return a watch that tells at once when something was committed."""
        return CommitWatch(self.database_url, self.folder / "voltyard.sqlite3-wal")

    def database_cpu(self) -> float:
        """Return the CPU seconds of the database's own processes so far; 0 for SQLite and for a distant server.

        Counted are the backends of this database that live and the server's background writers.
        """
        if not self.database_url:
            return 0.0
        mine = (
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (datname = current_database()"
            " OR backend_type IN ('walwriter', 'checkpointer', 'background writer'))"
        )
        return sum(cpu_seconds(pid) for (pid,) in self.rows(mine))


class Process:
    """One process of an installation. Its output goes to ``log``."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path, port: int | None) -> None:
        self.log = log
        self.port = port
        self._command = list(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again, on its old port). Raises NotReady."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command, env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if self.port is not None:
            self._wait_until_it_listens(self.port)

    def _wait_until_it_listens(self, port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        self.kill()
        raise NotReady(self.said()[-4000:])

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ocpp(self) -> str:
        """What chargers dial, without the identity."""
        return f"ws://127.0.0.1:{self.port}/ocpp/"

    def kill(self) -> None:
        """End it as a power loss does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end and wait."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def said(self) -> str:
        """Return everything it wrote."""
        return self.log.read_text(errors="replace")

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        return cpu_seconds(self.pid)

    def memory_kib(self) -> int:
        """Return its resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


class CommitWatch:
    """Sees commits from outside: the write-ahead log grows."""

    def __init__(self, database_url: str, wal: Path) -> None:
        self._wal = wal
        self._connection = psycopg.connect(database_url, autocommit=True) if database_url else None

    def _position(self) -> Any:
        if self._connection is None:
            with contextlib.suppress(FileNotFoundError):
                status = self._wal.stat()
                return status.st_mtime_ns, status.st_size
            return None
        return self._connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()

    def wait(self, within: float) -> bool:
        """Wait, busily, for the next commit; tell whether one came."""
        before, deadline = self._position(), time.monotonic() + within
        while time.monotonic() < deadline:
            if self._position() != before:
                return True
        return False

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its threads so far; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def many_sockets() -> Iterator[int]:
    """Raise the limit of open files for this process and its children; gives the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _environment() -> dict[str, str]:
    """Return what a child inherits: nothing that configures Voltyard, whatever runs around it."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR", "TZ"}}
    return kept | {"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONUNBUFFERED": "1"}


def _secrets() -> dict[str, str]:
    def keys() -> str:
        return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()

    return {"SECRET_KEY": secrets.token_urlsafe(48), "CREDENTIAL_KEYS": keys(), "DATA_KEYS": keys()}


def _name_of(database_url: str) -> sql.Identifier:
    return sql.Identifier(urlsplit(database_url).path.lstrip("/"))
