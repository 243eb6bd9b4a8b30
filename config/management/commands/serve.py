"""Serve chargers, pages and jobs: everything in one process, or one role of a larger installation."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

PORTS_TRIED = 20
FLEET_GRACE_S = 4.0


class _Server(uvicorn.Server):
    """Ends the demo's chargers first, so that their sessions end before their line does."""

    def __init__(self, config: uvicorn.Config, fleet: subprocess.Popen[bytes] | None) -> None:
        super().__init__(config)
        self._fleet = fleet

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._fleet is not None:
            self._fleet.terminate()
            deadline = time.monotonic() + FLEET_GRACE_S
            while self._fleet.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - a process, not a task
                await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class Command(BaseCommand):
    help = "Serve chargers, pages and jobs (roles: all, gateway, web)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", choices=["all", "gateway", "web"], default="all")
        parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
        parser.add_argument("--uds", help="listen on a unix socket instead of host and port")
        parser.add_argument("--no-jobs", action="store_true", help="leave jobs to Celery's own worker and beat")
        parser.add_argument("--next-port", action="store_true", help="take the next free port where this one is taken")
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")

    def handle(self, *args: Any, **options: Any) -> None:
        role: str = options["role"]
        with self._alone(role):
            self._database(migrate=options["migrate"])
            if role != "gateway":
                self._static_files()
            if settings.DEMO:
                self._refuse_public_demo(options["host"])
                call_command("demo", stdout=self.stdout)
            listener = self._listener(options)
            self._serve(role, listener, options)

    # --- before the first connection -------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self, role: str) -> Iterator[None]:
        """Hold DATA_DIR where it holds the database: a second process there would not see this one's sockets."""
        if role != "all" and (connection.vendor == "sqlite" or not settings.REDIS_URL):
            raise CommandError("Roles need DATABASE_URL and REDIS_URL; without them one process serves everything.")
        if connection.vendor != "sqlite":
            yield
            return
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (settings.DATA_DIR / "serve.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"Voltyard already serves from {settings.DATA_DIR}. Stop it first.") from None
        with lock:
            yield

    def _database(self, *, migrate: bool) -> None:
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
        if not migrate:
            raise CommandError("The database is not up to date. Run: manage.py migrate")
        self.stdout.write("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)

    def _static_files(self) -> None:
        """Collect static files where they changed since the last start."""
        sources = [Path(folder) for folder in settings.STATICFILES_DIRS]
        newest = max((f.stat().st_mtime_ns for folder in sources for f in folder.rglob("*") if f.is_file()), default=0)
        lock_file = settings.BASE_DIR / "requirements" / "runtime.txt"
        packages = lock_file.read_bytes() if lock_file.exists() else b""
        stamp = hashlib.sha256(f"{newest}".encode() + packages).hexdigest()
        marker = settings.STATIC_ROOT / ".stamp"
        if marker.exists() and marker.read_text() == stamp:
            return
        self.stdout.write("Collecting static files …")
        call_command("collectstatic", verbosity=0, interactive=False, clear=True, ignore_patterns=["redoc"])
        marker.write_text(stamp)

    def _refuse_public_demo(self, host: str) -> None:
        if host not in {"127.0.0.1", "localhost", "::1"}:
            raise CommandError("The demo has log-ins without passwords: it serves this machine only (HOST=127.0.0.1).")

    def _listener(self, options: dict[str, Any]) -> socket.socket:
        if options["uds"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(options["uds"])
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(options["uds"])
            return listener
        family = socket.AF_INET6 if ":" in options["host"] else socket.AF_INET
        first: int = options["port"]
        for port in range(first, first + (PORTS_TRIED if options["next_port"] else 1)):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((options["host"], port))
            except OSError as error:
                listener.close()
                self.stdout.write(f"Port {port} is taken ({error.strerror}).")
                continue
            options["port"] = port
            return listener
        raise CommandError(f"No free port from {first} on. Name one with PORT=…")

    # --- serving ---------------------------------------------------------------------------------------

    def _serve(self, role: str, listener: socket.socket, options: dict[str, Any]) -> None:
        from config.asgi import Application
        from config.celery import NOW, SLOW
        from stations.ocpp.link import Link

        with_jobs = role == "all" and not options["no_jobs"]
        config = uvicorn.Config(
            Application(role, jobs=(NOW, SLOW) if with_jobs else ()),
            loop="uvloop",
            http="httptools",
            ws=Link,
            ws_max_size=2**20,
            ws_ping_interval=None,
            lifespan="on",
            access_log=False,
            log_config=None,
            proxy_headers=bool(settings.TRUSTED_PROXIES),
            forwarded_allow_ips=settings.TRUSTED_PROXIES or None,
            server_header=False,
            timeout_graceful_shutdown=5,
            backlog=2048,
        )
        jobs = None
        if with_jobs:
            from config.jobs import EmbeddedJobs

            jobs = EmbeddedJobs()
            jobs.start()
        fleet = self._fleet(options) if settings.DEMO and role == "all" else None
        self._say_where(options)
        # uvicorn ends in order and then raises the signal again, which must not skip what is ended below.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                _Server(config, fleet).run(sockets=[listener])
        finally:
            if fleet is not None:
                fleet.terminate()
            if jobs is not None:
                jobs.stop()

    def _fleet(self, options: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start the simulated chargers as a child that ends with this process."""
        url = f"ws://{options['host']}:{options['port']}/ocpp/"
        plan = settings.DATA_DIR / "demo-fleet.json"
        log = (settings.DATA_DIR / "demo-fleet.log").open("wb")
        options_of_fleet = ["--url", url, "--plan", str(plan), "--parent", str(os.getpid())]
        command = [sys.executable, "-m", "stations.simulator", *options_of_fleet]
        return subprocess.Popen(command, cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603

    def _say_where(self, options: dict[str, Any]) -> None:
        if options["uds"]:
            self.stdout.write(f"Voltyard listens on {options['uds']}")
            return
        shown = "localhost" if options["host"] in {"127.0.0.1", "0.0.0.0"} else options["host"]  # noqa: S104
        address = f"http://{shown}:{options['port']}"
        self.stdout.write(f"\nVoltyard is at  {address}")
        self.stdout.write(f"Chargers dial   ws://{shown}:{options['port']}/ocpp/<identity>")
        people = settings.DATA_DIR / "demo-people.json"
        if settings.DEMO and people.exists():
            self.stdout.write("\nDemo log-ins (one click on the first page, or):")
            for person in json.loads(people.read_text()):
                self.stdout.write(f"  {person['who']:<10} {person['email']:<28} {person['password']}")
        self.stdout.write("\nCtrl-C stops everything.")
        self.stdout.flush()
