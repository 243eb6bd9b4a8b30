"""Remote control from the request to what the charger did, over real sockets, in every version."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime as dt
import gc
import re
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.models import Membership
from accounts.roles import Role
from sessions.models import ChargingSession
from stations.models import Command, Setting, Station
from tests.factories import make_api_key, make_token
from tests.fakes.station import FakeStation
from tests.live_server import LiveServer, db, eventually

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "0123456789abcdef0123456789abcdef01234567"
VERSIONS = ["1.6", "2.0.1", "2.1"]
START = {"1.6": "RemoteStartTransaction", "2.0.1": "RequestStartTransaction", "2.1": "RequestStartTransaction"}
STOP = {"1.6": "RemoteStopTransaction", "2.0.1": "RequestStopTransaction", "2.1": "RequestStopTransaction"}


class World:
    """A tenant with one station that the API made, and a program that may command it."""

    def __init__(self, server: LiveServer, tenant: Any, version: str) -> None:
        self.server, self.version = server, version
        _key, secret = make_api_key(tenant, Role.OWNER)
        make_token(tenant, "04A1B2C3D4E5F6", type="rfid")
        self.api = server.api(secret)

    async def prepare(self) -> None:
        site = await self.api.post("/api/v1/sites/", {"name": "Quay", "time_zone": "Europe/Berlin"})
        assert site.status_code == 201, site.text
        body = {"identity": "CP-1", "site": site.json()["id"], "password": PASSWORD}
        made = await self.api.post("/api/v1/stations/", body)
        assert made.status_code == 201, made.text
        assert made.json()["password"] == PASSWORD

    def station(self, identity: str = "CP-1") -> FakeStation:
        return FakeStation(self.server.ocpp, identity, PASSWORD, self.version)  # type: ignore[arg-type]

    async def ask(self, body: dict[str, Any], *, wait: float = 10, status: int = 200) -> dict[str, Any]:
        query = f"?wait={wait}" if wait else ""
        answer = await self.api.post(f"/api/v1/stations/CP-1/commands/{query}", body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def effect_of(self, command: dict[str, Any], state: str) -> dict[str, Any]:
        def seen() -> bool:
            return Command.objects.get(uuid=command["id"]).effect_state == state

        await eventually(seen)
        answer = await self.api.get(f"/api/v1/commands/{command['id']}/")
        effect: dict[str, Any] = answer.json()["effect"]
        return effect


@pytest.fixture(params=VERSIONS)
def world(request: pytest.FixtureRequest, server: LiveServer, tenant: Any) -> World:
    return World(server, tenant, request.param)


async def test_a_session_is_started_and_stopped_from_afar(world: World) -> None:
    """OCPP 1.6 §5.11, §5.12; 2.x F01, F03."""
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        await station.status(1)
        asking = asyncio.create_task(world.ask({"command": "start", "connector": 1, "token": "04A1B2C3D4E5F6"}))
        call = await station.expect_call(START[world.version])
        assert "04A1B2C3D4E5F6" in str(call.payload)
        station.reply(call, {"status": "Accepted"})
        started = await asking
        assert (started["status"], started["action"]) == ("accepted", START[world.version])
        assert started["effect"]["state"] == "pending"
        tx = await station.start(
            1, token="04A1B2C3D4E5F6", meter=1000, remote_start_id=call.payload.get("remoteStartId")
        )
        effect = await world.effect_of(started, "observed")
        assert effect["what"] == "session_started"

        shown = (await world.api.get("/api/v1/stations/CP-1/")).json()
        session = shown["connectors"][0]["session"]
        assert session == str(await db(lambda: ChargingSession.objects.get().uuid))

        asking = asyncio.create_task(world.ask({"command": "stop", "session": session}))
        call = await station.expect_call(STOP[world.version])
        assert call.payload == {"transactionId": tx.ref}
        station.reply(call, {"status": "Accepted"})
        stopped = await asking
        assert stopped["status"] == "accepted"
        await station.stop(tx, 6000, reason="Remote")
        effect = await world.effect_of(stopped, "observed")
        assert effect["evidence"] == "Remote"

    def ended() -> ChargingSession | None:
        return ChargingSession.objects.filter(status="ended").first()

    assert (await eventually(ended)).energy_wh == Decimal(5000)
    assert (await world.api.get("/api/v1/stations/CP-1/")).json()["connectors"][0]["session"] is None


async def test_what_the_charger_answers_is_what_the_caller_reads(world: World) -> None:
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        asking = asyncio.create_task(world.ask({"command": "clear_cache"}))
        station.reply(await station.expect_call("ClearCache"), {"status": "Rejected"})
        rejected = await asking
        assert (rejected["status"], rejected["response"], rejected["effect"]) == (
            "rejected",
            {"status": "Rejected"},
            None,
        )
        asking = asyncio.create_task(world.ask({"command": "clear_cache"}))
        station.refuse(await station.expect_call("ClearCache"), "NotSupported", "no cache here")
        failed = await asking
        assert failed["status"] == "error"
        assert failed["error"] == {"code": "NotSupported", "description": "no cache here"}


async def test_an_answer_that_does_not_come_in_time_leaves_the_caller_with_202(world: World) -> None:
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        begun = dt.datetime.now(dt.UTC)
        sent = await world.ask({"command": "clear_cache"}, wait=0.7, status=202)
        assert sent["status"] == "sent"
        assert (dt.datetime.now(dt.UTC) - begun).total_seconds() < 3
        await station.drop()
        await eventually(lambda: Command.objects.get().status == "timed_out")
        lost = (await world.api.get(f"/api/v1/commands/{sent['id']}/")).json()
        assert lost["error"]["code"] == "connection_lost"


async def test_an_offline_station_refuses_unless_the_command_may_wait(world: World) -> None:
    await world.prepare()
    refused = await world.ask({"command": "reset", "kind": "soft"})
    assert (refused["status"], refused["error"]["code"]) == ("refused", "offline")
    queued = await world.ask({"command": "reset", "kind": "soft", "queue": True}, wait=0, status=202)
    assert queued["status"] == "queued"
    async with world.station() as station:
        await station.boot()
        station.reply(await station.expect_call("Reset"), {"status": "Accepted"})
        await eventually(lambda: Command.objects.get(uuid=queued["id"]).status == "accepted")
        await station.drop()
    async with world.station() as station:
        await station.boot()
        assert (await world.effect_of(queued, "observed"))["what"] == "booted"
    assert await db(Command.objects.count) == 2


async def test_a_raw_call_is_held_against_the_schema_of_the_version(world: World) -> None:
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        wrong = await world.ask({"action": "ClearCache", "payload": {"surprise": 1}})
        assert (wrong["status"], wrong["error"]["code"]) == ("refused", "not_expressible")
        assert "surprise" in wrong["error"]["description"]
        unknown = await world.ask({"action": "MakeCoffee"})
        assert unknown["status"] == "refused"
        asking = asyncio.create_task(world.ask({"action": "ClearCache", "payload": {}}))
        station.reply(await station.expect_call("ClearCache"), {"status": "Accepted"})
        done = await asking
        assert (done["status"], done["command"], done["action"]) == ("accepted", None, "ClearCache")
    assert [incoming.action for incoming in station.received] == ["ClearCache"]


async def test_the_configuration_is_read_and_changed(world: World) -> None:
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        if world.version == "1.6":
            station.answers["GetConfiguration"] = {
                "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
            }
            read = await world.ask({"command": "get_configuration"})
            key = {"key": "HeartbeatInterval"}
        else:
            station.answers["GetBaseReport"] = {"status": "Accepted"}
            read = await world.ask({"command": "get_configuration"})
            row = {
                "component": {"name": "OCPPCommCtrlr"},
                "variable": {"name": "HeartbeatInterval"},
                "variableAttribute": [{"value": "300", "mutability": "ReadWrite"}],
            }
            report = {"requestId": 1, "generatedAt": "2026-11-20T12:00:00Z", "seqNo": 0, "reportData": [row]}
            await station.call("NotifyReport", report)
            assert (await world.effect_of(read, "observed"))["what"] == "settings"
            key = {"key": "HeartbeatInterval", "component": "OCPPCommCtrlr"}
        assert read["status"] == "accepted"
        changed = await world.ask({"command": "set_configuration", "value": "60", **key})
        assert changed["status"] == "accepted"
    setting = await db(Setting.objects.get)
    assert (setting.key, setting.value, setting.readonly) == ("HeartbeatInterval", "60", False)


async def test_a_secret_is_sent_and_kept_nowhere(world: World) -> None:
    await world.prepare()
    secret = "feedfacefeedfacefeedface"
    key = {"key": "AuthorizationKey"} if world.version == "1.6" else {"key": "SecurityCtrlr.BasicAuthPassword"}
    async with world.station() as station:
        await station.boot()
        del station.answers["ChangeConfiguration" if world.version == "1.6" else "SetVariables"]
        asking = asyncio.create_task(world.ask({"command": "set_configuration", "value": secret, **key}))
        call = await station.expect_call("ChangeConfiguration" if world.version == "1.6" else "SetVariables")
        assert secret in str(call.payload)
        assert not await db(_places_that_hold, secret)
        accepted: dict[str, Any] = {"status": "Accepted"}
        if world.version != "1.6":
            row = call.payload["setVariableData"][0]
            accepted = {
                "setVariableResult": [
                    {"attributeStatus": "Accepted", "component": row["component"], "variable": row["variable"]}
                ]
            }
        station.reply(call, accepted)
        done = await asking
    assert done["status"] == "accepted"
    assert secret not in str(done)
    assert done["arguments"]["value"] == "***"
    assert not await db(_places_that_hold, secret)
    assert "sealed" not in (await db(Command.objects.get)).arguments


def _places_that_hold(text: str) -> list[str]:
    """Return the tables in which a text stands anywhere."""
    quote = connection.ops.quote_name
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            fields = [field.column for field in model._meta.local_concrete_fields if field.column]
            row = " || ".join(f"COALESCE(CAST({quote(column)} AS TEXT), '')" for column in fields)
            table = model._meta.db_table
            cursor.execute(f"SELECT COUNT(*) FROM {quote(table)} WHERE {row} LIKE %s", [f"%{text}%"])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


@pytest.mark.parametrize("world", ["1.6"], indirect=True)
async def test_a_waiting_caller_holds_neither_a_thread_nor_a_connection(world: World) -> None:
    await world.prepare()
    callers = 40
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(callers + 4, "caller"))
    async with world.station() as station:
        await station.boot()
        station.silent = True
        await world.ask({"command": "clear_cache"}, wait=0, status=202)
        before = _held()
        asking = [
            asyncio.create_task(world.ask({"command": "clear_cache"}, wait=8, status=202)) for _ in range(callers)
        ]
        await eventually(lambda: Command.objects.count() == callers + 1)
        await asyncio.sleep(1)
        threads, connections = _held()
        assert threads - before[0] <= 8  # the few that serve the whole process
        assert connections - before[1] <= 8
        assert not any(task.done() for task in asking)
        await asyncio.gather(*asking)


def _held() -> tuple[int, int]:
    """Return how many threads and open database connections there are, without those of the callers."""
    threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("caller")]
    gc.collect()
    wrappers = [one for one in gc.get_objects() if issubclass(type(one), BaseDatabaseWrapper)]
    return len(threads), sum(wrapper.connection is not None for wrapper in wrappers)


async def test_a_retired_station_is_put_out_of_its_socket(world: World) -> None:
    await world.prepare()
    async with world.station() as station:
        await station.boot()
        await eventually(lambda: Station.objects.get().is_connected)
        answer = await asyncio.to_thread(
            world.api.session.delete, f"{world.server.url}/api/v1/stations/CP-1/", timeout=10
        )
        assert answer.status_code == 204
        assert station.link is not None
        await asyncio.wait_for(station.link.closed.wait(), 5)
        assert station.link.socket.close_code == 4008
    row = await db(Station.objects.get)
    assert (row.is_connected, row.retired_at is not None) == (False, True)


@pytest.mark.parametrize("word", ["Accepted", "Rejected"])
async def test_the_page_shows_the_true_answer_of_the_charger(world: World, owner: Membership, word: str) -> None:
    """A click, then the fragment that fetches itself: waiting, sent, answered, seen."""
    await world.prepare()
    browser = await world.server.browser(owner)
    identity = await db(lambda: Station.objects.get().uuid)
    async with world.station() as station:
        await station.boot()
        del station.answers["TriggerMessage"]
        answer = await browser.post(
            f"/console/stations/{identity}/ask/",
            {"command": "reset", "kind": "hard"},
            headers={"HX-Request": "true"},
        )
        assert answer.status_code == 200
        fragment = re.search(r'hx-get="(/console/commands/[^"]+)"', answer.text)
        assert fragment is not None
        call = await station.expect_call("Reset")
        assert "Sent, no answer yet" in (await browser.get(fragment[1])).text
        station.reply(call, {"status": word})
        await eventually(lambda: Command.objects.get().is_final)
        shown = (await browser.get(fragment[1])).text
        assert f"Charger answered {word}" in shown
        assert ("Waiting to see: the charger starts up again" in shown) == (word == "Accepted")
        await station.drop()
    async with world.station() as station:
        await station.boot()
        if word == "Accepted":
            await eventually(lambda: Command.objects.get().effect_state == "observed")
            shown = (await browser.get(fragment[1])).text
            assert "It started up again" in shown
            assert "hx-get" not in shown


async def test_a_session_is_started_and_stopped_by_plain_forms(world: World, owner: Membership) -> None:
    """Without scripts: every click is a form, every answer a page."""
    await world.prepare()
    browser = await world.server.browser(owner)
    identity = await db(lambda: Station.objects.get().uuid)
    page, ask = f"/console/stations/{identity}/", f"/console/stations/{identity}/ask/"
    async with world.station() as station:
        await station.boot()
        await station.status(1)
        form = {"command": "start", "connector": "1", "token": "04A1B2C3D4E5F6"}
        assert (await browser.post(ask, form)).status_code == 302
        call = await station.expect_call(START[world.version])
        station.reply(call, {"status": "Accepted"})
        await eventually(lambda: Command.objects.get().status == "accepted")
        tx = await station.start(1, token="04A1B2C3D4E5F6", meter=0, remote_start_id=call.payload.get("remoteStartId"))
        hidden = re.search(r'name="session" value="([0-9a-f-]{36})"', (await browser.get(page)).text)
        assert hidden is not None
        assert (await browser.post(ask, {"command": "stop", "session": hidden[1]})).status_code == 302
        call = await station.expect_call(STOP[world.version])
        station.reply(call, {"status": "Accepted"})
        await eventually(lambda: not Command.objects.exclude(status="accepted").exists())
        await station.stop(tx, 2500, reason="Remote")

        def both_seen() -> bool:
            return list(Command.objects.values_list("effect_state", flat=True)) == ["observed", "observed"]

        await eventually(both_seen)
    shown = (await browser.get(f"{page}commands/")).text
    assert "A session started" in shown
    assert "The session ended" in shown
