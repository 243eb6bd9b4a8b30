"""``/livez``, ``/readyz`` and ``/metrics``: asked by supervisors and Prometheus, in every role.

They stand before Django: a probe knows neither our host name nor TLS, and a process that only holds chargers
serves no pages. No answer names a person, a token or a station.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import ipaddress
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from channels.auth import AuthMiddlewareStack
from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max, Min, Q
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from billing.models import SessionBill
from sessions.models import ChargingSession
from stations.models import ONLINE_LEASE, Alert, Command, Gateway, Station, is_online
from stations.ocpp.gateway import Gateway as Holder
from stations.threads import in_thread

log = logging.getLogger("voltyard.health")

PATHS = ("/livez", "/readyz", "/metrics")
PATIENCE_S = 3.0
HEARTBEAT_LIMIT_S = 90.0
LATEST_COMMANDS = 10_000

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_beats: dict[str, float] = {}


def beat(queue: str) -> None:
    """Take note that the worker of ``queue`` works."""
    now = time.time()
    _beats[queue] = now  # a cache in memory may drop its entries at any time
    try:
        cache.set(f"heartbeat:{queue}", now, timeout=None)
    except Exception:
        log.warning("the cache is away; other processes do not see the heartbeat of %s", queue)


def last_beat(queue: str) -> float | None:
    """Return when the worker of ``queue`` last worked (seconds since 1970), as far as this process can know."""
    if queue in _beats:
        return _beats[queue]
    try:
        seen: float | None = cache.get(f"heartbeat:{queue}")
    except Exception:
        return None
    return seen


@dataclasses.dataclass
class Process:
    """What this process does. ``jobs`` are the queues whose workers run inside it, ``since`` the time of its start."""

    role: str
    gateway: Holder | None
    jobs: tuple[str, ...] = ()
    since: float = dataclasses.field(default_factory=time.time)


class Health:
    """The ASGI application of `PATHS`."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._migrated = False
        self._looking: asyncio.Task[dict[str, str]] | None = None
        self._for_staff = AuthMiddlewareStack(self._staff_metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, b"", "text/plain")
        elif scope["path"] == "/livez":
            await _answer(send, 200, b"alive\n", "text/plain")
        elif scope["path"] == "/readyz":
            checks = await self._checks()
            ready = all(found == "ok" for found in checks.values())
            body = json.dumps({"ready": ready, "checks": checks}, separators=(",", ":")).encode()
            await _answer(send, 200 if ready else 503, body, "application/json")
        elif scope["path"] == "/metrics" and _is_near(scope):
            await self._metrics(send)
        elif scope["path"] == "/metrics" and self.process.role != "gateway":
            await self._for_staff(scope, receive, send)
        else:
            await _answer(send, 404, b"", "text/plain")

    async def _staff_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope["user"]
        if user.is_active and user.is_staff:
            await self._metrics(send)
        else:
            await _answer(send, 404, b"", "text/plain")

    async def _metrics(self, send: Send) -> None:
        text = await in_thread(generate_latest, _Numbers(self.process))
        await _answer(send, 200, text, CONTENT_TYPE_LATEST)

    # --- readiness -----------------------------------------------------------------------------------------

    async def _checks(self) -> dict[str, str]:
        """Return each check with ``ok`` or what is wrong; probes that come meanwhile share the answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(in_thread(self._look))
        checks: dict[str, str] = {}
        try:
            checks = await asyncio.wait_for(asyncio.shield(self._looking), PATIENCE_S)
        except TimeoutError:
            checks["database"] = f"no answer in {PATIENCE_S:.0f} s"
        holder = self.process.gateway
        if holder is not None and not (holder.is_running and holder.inbox.is_running):
            checks["ingest"] = "not running"
        for queue in self.process.jobs:
            silent = time.time() - max(last_beat(queue) or 0, self.process.since)
            checks[f"jobs:{queue}"] = "ok" if silent < HEARTBEAT_LIMIT_S else f"silent for {silent:.0f} s"
        return checks

    def _look(self) -> dict[str, str]:
        checks = {"database": "ok"}
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if not self._migrated:
                executor = MigrationExecutor(connection)
                self._migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
                checks["migrations"] = "ok" if self._migrated else "not applied"
            if self.process.gateway is not None:
                young = Gateway.objects.filter(
                    id=self.process.gateway.name, lease_at__gt=dt.datetime.now(dt.UTC) - ONLINE_LEASE
                )
                checks["ingest"] = "ok" if young.exists() else "its lease has run out"
        except Error as error:
            log.warning("the database does not answer: %s", error)
            checks["database"] = type(error).__name__
        return checks


# --- who may read numbers ----------------------------------------------------------------------------------


def _is_near(scope: Scope) -> bool:
    """Whether this machine or a machine of TRUSTED_PROXIES asks for itself.

    What a proxy passes on is from outside, whoever the proxy is.
    """
    if any(name.lower() in {b"x-forwarded-for", b"forwarded", b"x-real-ip"} for name, _value in scope["headers"]):
        return False
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return False
    near = [ipaddress.ip_network(proxy, strict=False) for proxy in settings.TRUSTED_PROXIES]
    return address.is_loopback or any(address in network for network in near)


async def _answer(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# --- numbers -----------------------------------------------------------------------------------------------


class _Numbers:
    """What Prometheus reads: the registry of this process, then its ingest, then the database all share."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        yield from REGISTRY.collect()
        if self._process.gateway is not None:
            yield from _ingest(self._process.gateway)
        yield from _jobs()
        try:
            shared = list(_shared(dt.datetime.now(dt.UTC)))
        except Error as error:
            log.warning("no figures from the database: %s", error)
            shared = []
        yield _gauge("database_up", "Whether the database answered this request", int(bool(shared)))
        yield from shared


def _ingest(holder: Holder) -> Iterator[Metric]:
    inbox = holder.inbox
    yield CounterMetricFamily("voltyard_ocpp_messages", "OCPP messages committed by this process", inbox.committed)
    yield _gauge("ocpp_waiting", "OCPP messages of this process that wait for their commit", inbox.waiting)
    yield _gauge("ocpp_connections", "Chargers connected to this process", len(holder.connections))


def _jobs() -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        "voltyard_jobs_heartbeat_age_seconds", "Since a queue's worker last worked", labels=["queue"]
    )
    for queue in ("now", "slow"):
        seen = last_beat(queue)
        if seen is not None:
            ages.add_metric([queue], max(0.0, time.time() - seen))
    yield ages


def _shared(now: dt.datetime) -> Iterator[Metric]:
    """Yield what is the same in every process of the installation."""
    in_use = Station.objects.filter(retired_at=None)
    yield _gauge("stations", "Stations in use", in_use.count())
    yield _gauge("stations_online", "Stations whose socket is open", in_use.filter(is_online(now)).count())
    alive = Gateway.objects.filter(lease_at__gt=now - ONLINE_LEASE)
    yield _gauge("gateways", "Processes that hold chargers", alive.count())
    newest = Command.objects.aggregate(pk=Max("pk"))["pk"] or 0
    latest = Command.objects.filter(pk__gt=newest - LATEST_COMMANDS, requested_at__gt=now - dt.timedelta(hours=1))
    counts = latest.order_by().values_list("status").annotate(Count("pk"))
    yield _by("commands_last_hour", "Commands asked in the last hour", "status", dict(counts), Command.Status.values)
    waiting = Command.objects.filter(status__in=[Command.Status.QUEUED, Command.Status.SENT])
    yield _gauge("commands_open", "Commands without an answer yet", waiting.count())
    active = ChargingSession.objects.filter(status=ChargingSession.Status.ACTIVE)
    yield _gauge("sessions_active", "Charging sessions that go on", active.count())
    unrated = Q(state=SessionBill.State.OPEN, session__status=ChargingSession.Status.ENDED)
    waits = SessionBill.objects.filter(unrated).aggregate(n=Count("pk"), oldest=Min("session__stop_received_at"))
    yield _gauge("sessions_unrated", "Ended sessions without a price", waits["n"])
    age = (now - waits["oldest"]).total_seconds() if waits["oldest"] else 0
    yield _gauge("sessions_unrated_age_seconds", "How long the oldest of them waits", max(0.0, age))
    held = SessionBill.objects.filter(state=SessionBill.State.HELD)
    yield _gauge("sessions_held", "Ended sessions whose bill waits for a person", held.count())
    alerts = Alert.objects.filter(resolved_at=None).order_by().values_list("severity").annotate(Count("pk"))
    yield _by("alerts_open", "Open alerts", "severity", dict(alerts), Alert.Severity.values)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"voltyard_{name}", words, value)


def _by(name: str, words: str, label: str, found: dict[str, int], values: list[str]) -> Metric:
    family = GaugeMetricFamily(f"voltyard_{name}", words, labels=[label])
    for value in values:
        family.add_metric([value], found.get(value, 0))
    return family
