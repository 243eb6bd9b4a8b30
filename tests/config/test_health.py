"""Liveness, readiness and numbers, asked as a supervisor asks: over HTTP, without host name, log-in or TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from prometheus_client.parser import text_string_to_metric_families

from accounts import keys
from billing.models import SessionBill
from config import health
from config.asgi import Application
from config.health import Health, Process
from config.tasks import heartbeat
from sessions.models import ChargingSession
from stations.models import Alert, Gateway, Station
from stations.ocpp.handshake import credential_purpose
from tests.factories import make_driver, make_site, make_station, make_token
from tests.fakes.station import FakeStation
from tests.live_server import LiveServer, db, eventually

HERE = ("127.0.0.1", 40000)
AWAY = ("198.51.100.7", 40000)
PASSWORD = "0123456789abcdef0123456789abcdef01234567"
writes = pytest.mark.django_db(transaction=True)


async def ask(app: Any, path: str, client: Any = HERE, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return status and body of one request; underscores in names of headers are hyphens."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": lines, "client": client}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(event.get("body", b"") for event in sent[1:]).decode()


def numbers(text: str) -> dict[str, float]:
    """Return every sample of the Prometheus text, with its labels in braces."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture(autouse=True)
def nobody_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_beats", {})


# --- alive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["all", "gateway", "web"])
async def test_alive_without_a_database(role: str) -> None:
    assert await ask(Application(role), "/livez", AWAY) == (200, "alive\n")


async def test_only_reading() -> None:
    for path in health.PATHS:
        assert (await ask(Application("web"), path, method="POST"))[0] == 405


async def test_a_gateway_serves_nothing_else() -> None:
    assert (await ask(Application("gateway"), "/console/"))[0] == 404


# --- ready ---------------------------------------------------------------------------------------------------


async def ready(app: Any) -> tuple[int, dict[str, str]]:
    status, body = await ask(app, "/readyz", AWAY)
    told = json.loads(body)
    assert told["ready"] is (status == 200)
    return status, told["checks"]


@writes
async def test_a_process_of_pages_is_ready_with_its_database() -> None:
    app = Application("web")
    assert await ready(app) == (200, {"database": "ok", "migrations": "ok"})
    assert await ready(app) == (200, {"database": "ok"})  # what was applied stays applied


@writes
async def test_a_migration_is_missing() -> None:
    app = Application("web")
    applied = MigrationRecorder.Migration.objects.filter(app="billing")
    names = await db(lambda: list(applied.values_list("name", flat=True)))
    await db(applied.filter(name=names[-1]).delete)
    try:
        assert await ready(app) == (503, {"database": "ok", "migrations": "not applied"})
    finally:
        await db(lambda: MigrationRecorder.Migration.objects.create(app="billing", name=names[-1]))
    assert await ready(app) == (200, {"database": "ok", "migrations": "ok"})


@writes
async def test_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def cursor(self) -> None:
            raise OperationalError("could not connect to server at db.internal, password=secret")

    monkeypatch.setattr(health, "connection", Away())
    status, body = await ask(Application("web"), "/readyz", AWAY)
    assert (status, json.loads(body)["checks"]) == (503, {"database": "OperationalError"})
    assert "secret" not in body


@writes
async def test_the_database_hangs_and_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Stuck:
        def cursor(self) -> None:
            calls.append(1)
            time.sleep(0.4)
            raise OperationalError

    monkeypatch.setattr(health, "connection", Stuck())
    monkeypatch.setattr(health, "PATIENCE_S", 0.1)
    app = Application("web")
    answers = await asyncio.gather(*[ready(app) for _ in range(20)])
    assert {status for status, _checks in answers} == {503}
    assert len(calls) == 1  # one thread waits, not twenty


@writes
async def test_ingest_runs_and_holds_its_lease(server: LiveServer) -> None:
    assert (await ready(server.application))[1]["ingest"] == "ok"
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    await db(lambda: Gateway.objects.update(lease_at=long_ago))
    status, checks = await ready(server.application)
    assert (status, checks["ingest"]) == (503, "its lease has run out")


@writes
async def test_ingest_that_was_never_started() -> None:
    status, checks = await ready(Application("gateway"))
    assert (status, checks["ingest"]) == (503, "not running")


@writes
async def test_a_worker_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_beats", {})  # other tests have let workers work in this process
    await db(cache.delete_many, ["heartbeat:now", "heartbeat:slow"])
    begun = time.time() - 1000
    app = Health(Process("all", None, jobs=("now", "slow"), since=begun))
    status, checks = await ready(app)
    assert status == 503
    assert re.fullmatch(r"silent for \d+ s", checks["jobs:now"])
    heartbeat.apply(routing_key="now")
    heartbeat.apply(routing_key="slow")
    assert (await ready(app))[0] == 200


@writes
async def test_a_worker_has_time_to_start() -> None:
    assert (await ready(Health(Process("all", None, jobs=("now",)))))[0] == 200


# --- numbers -------------------------------------------------------------------------------------------------


@writes
@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (HERE, {}, 200),
        (("::1", 1), {}, 200),
        (("10.1.2.3", 1), {}, 200),
        (AWAY, {}, 404),
        (None, {}, 404),
        (HERE, {"x_forwarded_for": "127.0.0.1"}, 404),
        (("10.1.2.3", 1), {"x_real_ip": "127.0.0.1"}, 404),
        (HERE, {"forwarded": "for=127.0.0.1"}, 404),
        (AWAY, {"cookie": "session=forged"}, 404),
    ],
)
async def test_who_may_read_numbers(settings: Any, client: Any, headers: dict[str, str], status: int) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert (await ask(Application("web"), "/metrics", client, **headers))[0] == status


@writes
async def test_staff_reads_numbers_from_anywhere(server: LiveServer, staff: Any, owner: Any) -> None:
    for person, role, status in ((staff, "web", 200), (owner, "web", 404), (staff, "gateway", 404)):
        cookie = (await server.browser(person)).session.cookies["session"]
        assert (await ask(Application(role), "/metrics", AWAY, cookie=f"session={cookie}"))[0] == status, (person, role)


@writes
async def test_numbers_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(now: dt.datetime) -> Any:
        raise OperationalError

    monkeypatch.setattr(health, "is_online", away)
    status, text = await ask(Application("web"), "/metrics")
    found = numbers(text)
    assert (status, found["voltyard_database_up"]) == (200, 0)
    assert "voltyard_sessions_active" not in found
    assert found["process_open_fds"] > 0


@writes
async def test_what_a_charge_does_to_the_numbers(server: LiveServer, tenant: Any) -> None:
    def prepare() -> None:
        driver = make_driver(tenant, name="Quentin Quartz", email="quentin@example.com")
        make_token(tenant, "04BADC0FFEE1", driver=driver)
        digest = keys.digest(PASSWORD.encode(), purpose=credential_purpose("CP-SECRET-7"))
        make_station(make_site(tenant), "CP-SECRET-7", credential=digest)

    await db(prepare)
    app = server.application
    before = numbers((await ask(app, "/metrics"))[1])
    async with FakeStation(server.ocpp, "CP-SECRET-7", PASSWORD) as station:
        await station.boot()
        await station.status(1)
        tx = await station.start(1, token="04BADC0FFEE1", meter=0)
        await station.meter(tx, 1000)
        during = numbers((await ask(app, "/metrics"))[1])
        await station.stop(tx, 2000)
        await eventually(lambda: ChargingSession.objects.filter(status="ended").exists())
        text = (await ask(app, "/metrics"))[1]
    after = numbers(text)
    changed = {
        name: during[name] - before[name] for name in ("voltyard_ocpp_messages_total", "voltyard_sessions_active")
    }
    assert changed["voltyard_ocpp_messages_total"] >= 5
    assert changed["voltyard_sessions_active"] == 1
    assert (during["voltyard_stations_online"], during["voltyard_ocpp_connections"]) == (1, 1)
    assert after["voltyard_ocpp_batch_messages_count"] > before["voltyard_ocpp_batch_messages_count"]
    assert after["voltyard_sessions_active"] == 0
    assert after["voltyard_ocpp_waiting"] == 0
    for secret in ("SECRET-7", "Quartz", "quentin", "FFEE1", tenant.slug, tenant.name, PASSWORD):
        assert secret not in text


@writes
async def test_what_waits_and_what_is_wrong(tenant: Any) -> None:
    now = dt.datetime.now(dt.UTC)

    def prepare() -> None:
        station = make_station(make_site(tenant), connectors=1)
        make_station(station.site, retired_at=now)
        for number, (state, status) in enumerate((("open", "ended"), ("held", "ended"), ("open", "active"))):
            session = ChargingSession.objects.create(
                operator=tenant,
                site=station.site,
                station=station,
                time_zone="UTC",
                currency="EUR",
                transaction_ref=str(number),
                start_key=str(number),
                protocol="1.6",
                status=status,
                started_at=now,
                start_received_at=now,
                stop_received_at=now - dt.timedelta(minutes=10),
                energy_wh=Decimal(1),
            )
            SessionBill.objects.create(session=session, operator=tenant, frozen_at=now, state=state)
        for status in ("queued", "sent", "accepted"):
            station.commands.create(command="reset", status=status, requested_by="x", requested_at=now)
        station.commands.create(
            command="reset", status="rejected", requested_by="x", requested_at=now - dt.timedelta(hours=2)
        )
        for key, resolved in (("a", None), ("b", now)):
            Alert.objects.create(
                operator=tenant,
                kind="offline",
                severity="critical",
                dedupe_key=key,
                raised_at=now,
                last_at=now,
                resolved_at=resolved,
            )

    await db(prepare)
    found = numbers((await ask(Application("web"), "/metrics"))[1])
    expected = {
        "voltyard_stations": 1,
        "voltyard_stations_online": 0,
        "voltyard_gateways": 0,
        "voltyard_sessions_active": 1,
        "voltyard_sessions_unrated": 1,
        "voltyard_sessions_held": 1,
        "voltyard_commands_open": 2,
        "voltyard_commands_last_hour{status=accepted}": 1,
        "voltyard_commands_last_hour{status=rejected}": 0,
        "voltyard_alerts_open{severity=critical}": 1,
        "voltyard_alerts_open{severity=warning}": 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert 600 <= found["voltyard_sessions_unrated_age_seconds"] < 660
    assert await db(Station.objects.count) == 2
