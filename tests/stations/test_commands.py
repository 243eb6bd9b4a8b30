"""Asking stations: one row from the request to what was seen of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import ApiKey, AuditEntry, IdToken, Membership, Operator
from accounts.roles import Role
from stations import commands
from stations.commands import BadCommand, ask, ask_raw, claim, finish, sweep
from stations.messages import Claimed, CommandAnswered, CommandWanted, Outcome, Setting
from stations.models import Command, Station
from stations.ocpp.batch import Batch, StationMemory, StationRef
from tests.factories import connect, make_site, make_station, make_token

pytestmark = pytest.mark.django_db
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def station(tenant: Operator) -> Station:
    return connect(make_station(make_site(tenant), "CP-1", connectors=2))


class Line:
    """A charger's line as the gateway drives it: claims what waits, reports how it ended."""

    def __init__(self, station: Station) -> None:
        self.ref = StationRef(
            station.pk, station.operator_id, station.site_id, "CP-1", 0, station.protocol, "Europe/Berlin", "EUR"
        )
        self.tx = Batch(StationMemory())

    def claim(self, at: dt.datetime = NOW) -> Claimed | None:
        return claim(self.ref, CommandWanted("m1"), at=at, tx=self.tx)

    def answer(self, claimed: Claimed, **how: Any) -> Command:
        finish(self.ref, CommandAnswered(claimed.command_id, **how), at=NOW, tx=self.tx)
        return Command.objects.get(pk=claimed.command_id)


@pytest.fixture
def line(station: Station) -> Line:
    return Line(station)


def accepted(*settings: Setting) -> dict[str, Any]:
    return {"outcome": Outcome("accepted", "Accepted", settings), "response": {"status": "Accepted"}}


# --- asking ------------------------------------------------------------------------------------------


def test_a_command_is_a_row_with_its_audit_entry(station: Station, owner: Membership) -> None:
    row = ask(station, "reset", {"kind": "hard"}, by=owner, now=NOW)
    assert (row.status, row.action, row.payload) == ("queued", "Reset", {"type": "Hard"})
    assert (row.requested_by, row.user) == ("Owner", owner.user)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target_id) == ("command.reset", str(station.uuid))
    assert entry.facts == {"command": str(row.uuid), "status": "queued", "arguments": {"kind": "hard"}}


def test_a_program_asks_under_its_own_name(station: Station, tenant: Operator) -> None:
    key = ApiKey.objects.create(operator=tenant, name="Dispatcher", role=Role.OPERATOR, prefix="x", digest="x")
    row = ask(station, "clear_cache", {}, by=key, now=NOW)
    assert (row.requested_by, row.user) == ("Dispatcher", None)


@pytest.mark.parametrize(
    ("word", "arguments", "field"),
    [
        ("dance", {}, "command"),
        ("reset", {"kind": "gentle"}, "kind"),
        ("reset", {"knid": "soft"}, "knid"),
        ("start", {"connector": 1}, "token"),
        ("start", {"connector": "one", "token": "T"}, "connector"),
        ("start", {"connector": True, "token": "T"}, "connector"),
        ("start", {"connector": -1, "token": "T"}, "connector"),
        ("unlock", {}, "connector"),
        ("unlock", {"connector": 0}, "connector"),
        ("stop", {}, "session"),
        ("stop", {"session": "x"}, "session"),
        ("stop", {"session": "0193b1f0-0000-7000-8000-000000000000"}, "session"),
        ("change_availability", {"connector": 1}, "operative"),
        ("change_availability", {"operative": "yes"}, "operative"),
        ("trigger", {}, "message"),
        ("get_configuration", {"keys": "HeartbeatInterval"}, "keys"),
        ("set_configuration", {"key": "A"}, "value"),
        ("set_configuration", {"value": "1"}, "key"),
        ("clear_cache", {"all": True}, "all"),
    ],
)
def test_a_wrong_word_leaves_no_row(
    station: Station, owner: Membership, word: str, arguments: dict, field: str
) -> None:
    with pytest.raises(BadCommand) as no:
        ask(station, word, arguments, by=owner, now=NOW)
    assert no.value.field == field
    assert not Command.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("protocol", "word", "arguments", "action", "payload"),
    [
        ("1.6", "start", {"connector": 2, "token": "T1"}, "RemoteStartTransaction", {"connectorId": 2, "idTag": "T1"}),
        ("1.6", "stop", {"transaction_id": 7}, "RemoteStopTransaction", {"transactionId": 7}),
        ("1.6", "unlock", {"connector": 2}, "UnlockConnector", {"connectorId": 2}),
        ("2.0.1", "unlock", {"connector": 2}, "UnlockConnector", {"evseId": 2, "connectorId": 1}),
        ("2.1", "unlock", {"evse": 2, "connector": 2}, "UnlockConnector", {"evseId": 2, "connectorId": 2}),
        ("1.6", "change_availability", {"operative": False}, "ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
        ("2.0.1", "change_availability", {"operative": True, "connector": 1}, "ChangeAvailability", {"operationalStatus": "Operative", "evse": {"id": 1}}),
        ("1.6", "trigger", {"message": "StatusNotification", "connector": 1}, "TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}),
        ("1.6", "get_configuration", {}, "GetConfiguration", {}),
        ("2.0.1", "get_configuration", {}, "GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}),
    ],
)  # fmt: skip
def test_the_same_word_in_each_version(
    station: Station, owner: Membership, protocol: str, word: str, arguments: dict, action: str, payload: dict
) -> None:
    connect(station, protocol, at=NOW)
    row = ask(station, word, arguments, by=owner, now=NOW)
    assert (row.status, row.action, row.payload) == ("queued", action, payload)


def test_what_a_version_cannot_say_is_refused_with_the_reason(station: Station, owner: Membership) -> None:
    row = ask(station, "stop", {"transaction_id": "a1b2"}, by=owner, now=NOW)
    assert (row.status, row.error_code) == ("refused", "not_expressible")
    assert "number" in row.error_text
    assert row.finished_at == NOW


def test_an_absent_station_refuses_at_once_or_lets_the_command_wait(tenant: Operator, owner: Membership) -> None:
    away = make_station(make_site(tenant))
    assert ask(away, "reset", {}, by=owner, now=NOW).error_code == "offline"
    waiting = ask(away, "reset", {}, by=owner, now=NOW, queue=True, ttl_s=60)
    assert (waiting.status, waiting.expires_at) == ("queued", NOW + dt.timedelta(seconds=60))


def test_a_pin_is_not_sent_to_a_charger(station: Station, tenant: Operator, owner: Membership) -> None:
    make_token(tenant, "482913", type=IdToken.Type.PIN)
    with pytest.raises(BadCommand) as no:
        ask(station, "start", {"connector": 1, "token": "482913"}, by=owner, now=NOW)
    assert no.value.field == "token"


def test_a_raw_call_may_hold_fractions(tenant: Operator, owner: Membership) -> None:
    away = make_station(make_site(tenant))
    row = ask_raw(away, "DataTransfer", {"limit": Decimal("1.5")}, by=owner, now=NOW, queue=True)
    row.refresh_from_db()
    assert row.payload == {"limit": 1.5}


# --- the line ------------------------------------------------------------------------------------------


def test_commands_leave_in_order_and_once(station: Station, line: Line, owner: Membership) -> None:
    first = ask(station, "reset", {}, by=owner, now=NOW)
    ask(station, "clear_cache", {}, by=owner, now=NOW)
    claimed = [line.claim(), line.claim(), line.claim()]
    assert [one and one.action for one in claimed] == ["Reset", "ClearCache", None]
    first.refresh_from_db()
    assert (first.status, first.sent_at, first.message_id) == ("sent", NOW, "m1")


def test_one_that_waited_too_long_is_not_sent(station: Station, line: Line, owner: Membership) -> None:
    row = ask(station, "reset", {}, by=owner, now=NOW)
    assert line.claim(at=NOW + dt.timedelta(seconds=61)) is None
    row.refresh_from_db()
    assert row.status == "expired"


def test_an_acceptance_awaits_what_should_be_seen(station: Station, line: Line, owner: Membership) -> None:
    ask(station, "reset", {}, by=owner, now=NOW)
    row = line.answer(line.claim(), **accepted())
    assert (row.status, row.word, row.response) == ("accepted", "Accepted", {"status": "Accepted"})
    assert (row.effect_state, row.effect_what) == ("pending", "booted")
    assert row.effect_deadline == NOW + dt.timedelta(seconds=600)
    commands.observe(line.ref, "booted", evidence="2.0", at=NOW, tx=line.tx)
    row.refresh_from_db()
    assert (row.effect_state, row.effect_evidence) == ("observed", "2.0")


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"outcome": Outcome("rejected", "Rejected"), "response": {"status": "Rejected"}}, "rejected", ""),
        ({"error_code": "NotSupported", "error_text": "no"}, "error", "NotSupported"),
        ({"timed_out": True}, "timed_out", "timed_out"),
    ],
)
def test_other_ends(station: Station, line: Line, owner: Membership, how: dict, status: str, code: str) -> None:
    ask(station, "reset", {}, by=owner, now=NOW)
    row = line.answer(line.claim(), **how)
    assert (row.status, row.error_code, row.effect_state) == (status, code, "")


def test_a_late_answer_is_kept_and_changes_nothing(station: Station, line: Line, owner: Membership) -> None:
    ask(station, "reset", {}, by=owner, now=NOW)
    claimed = line.claim()
    line.answer(claimed, timed_out=True)
    row = line.answer(claimed, **accepted(), late=True)
    assert row.status == "timed_out"
    assert row.response == {"late": True, "at": NOW.isoformat(), "result": {"status": "Accepted"}}


def test_time_ends_what_nobody_ended(station: Station, line: Line, owner: Membership) -> None:
    lost = ask(station, "reset", {}, by=owner, now=NOW)
    line.claim()
    expired = ask(station, "reset", {}, by=owner, now=NOW)
    unseen = ask(station, "reset", {}, by=owner, now=NOW)
    Command.objects.filter(pk=unseen.pk).update(status="accepted", effect_state="pending", effect_deadline=NOW)
    assert sweep(NOW + dt.timedelta(seconds=91)) == 3
    states = Command.objects.in_bulk([lost.pk, expired.pk, unseen.pk])
    assert [states[row.pk].status for row in (lost, expired, unseen)] == ["timed_out", "expired", "accepted"]
    assert states[unseen.pk].effect_state == "not_observed"
    assert sweep(NOW + dt.timedelta(seconds=91)) == 0


def test_a_changed_setting_is_known_without_reading_it_again(station: Station, line: Line, owner: Membership) -> None:
    ask(station, "get_configuration", {}, by=owner, now=NOW)
    line.answer(line.claim(), **accepted(Setting("HeartbeatInterval", "300"), Setting("AuthorizationKey", "cafe")))
    ask(station, "set_configuration", {"key": "HeartbeatInterval", "value": "60"}, by=owner, now=NOW)
    line.answer(line.claim(), **accepted())
    ask(station, "set_configuration", {"key": "NeverReported", "value": "1"}, by=owner, now=NOW)
    line.answer(line.claim(), **accepted())
    known = dict(station.settings.values_list("key", "value"))
    assert known == {"HeartbeatInterval": "60", "AuthorizationKey": "***"}


# --- secrets -------------------------------------------------------------------------------------------

SECRET = "feedfacefeedfacefeed"


def held(row: Command) -> str:
    row.refresh_from_db()
    return " ".join(str(getattr(row, field.name)) for field in row._meta.concrete_fields)


@pytest.mark.parametrize("raw", [False, True])
def test_a_secret_goes_out_and_stays_nowhere(station: Station, line: Line, owner: Membership, raw: bool) -> None:
    body = {"key": "AuthorizationKey", "value": SECRET}
    if raw:
        row = ask_raw(station, "ChangeConfiguration", body, by=owner, now=NOW)
    else:
        row = ask(station, "set_configuration", body, by=owner, now=NOW)
    assert SECRET not in held(row)
    assert row.payload == {"key": "AuthorizationKey", "value": "***"}
    assert "sealed" not in commands.shown_arguments(row)
    claimed = line.claim()
    assert claimed is not None
    assert claimed.payload == body
    assert SECRET not in held(row)
    line.answer(claimed, **accepted())
    assert SECRET not in held(row)
    assert "sealed" not in row.arguments
    assert SECRET not in str(list(AuditEntry.objects.values_list("facts")))


@pytest.mark.parametrize("end", ["sweep", "line_lost", "call_off"])
def test_however_it_ends_the_sealed_secret_is_gone(station: Station, line: Line, owner: Membership, end: str) -> None:
    row = ask(station, "set_configuration", {"key": "AuthorizationKey", "value": SECRET}, by=owner, now=NOW)
    assert "sealed" in row.arguments
    if end == "sweep":
        sweep(NOW + dt.timedelta(hours=1))
    elif end == "line_lost":
        line.claim()
        commands.line_lost(station.pk, at=NOW)
    else:
        commands.call_off(station.pk, at=NOW)
    row.refresh_from_db()
    assert row.is_final
    assert row.arguments == {"key": "AuthorizationKey", "value": "***"}


def test_a_secret_whose_key_is_gone_is_not_sent(station: Station, line: Line, owner: Membership, settings) -> None:
    row = ask(station, "set_configuration", {"key": "AuthorizationKey", "value": SECRET}, by=owner, now=NOW)
    settings.DATA_KEYS = {"other": b"o" * 32}
    assert line.claim() is None
    row.refresh_from_db()
    assert (row.status, row.error_code) == ("refused", "unreadable")


# --- over the API --------------------------------------------------------------------------------------

URL = "/api/v1/stations/CP-1/commands/"


def test_the_shape_of_a_command(station: Station, program) -> None:
    client = program(Role.OPERATOR)
    answer = client.post(URL, {"command": "reset", "kind": "soft"})
    assert answer.status_code == 202
    shape = answer.json()
    row = Command.objects.get()
    assert shape == {
        "id": str(row.uuid),
        "station": "CP-1",
        "parent": None,
        "command": "reset",
        "arguments": {"kind": "soft"},
        "action": "Reset",
        "payload": {"type": "Soft"},
        "status": "queued",
        "response": None,
        "error": None,
        "effect": None,
        "requested_by": row.requested_by,
        "requested_at": shape["requested_at"],
        "expires_at": shape["expires_at"],
        "sent_at": None,
        "finished_at": None,
    }
    assert client.get(f"/api/v1/commands/{row.uuid}/").json() == shape
    assert client.get(URL).json()["results"] == [shape]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"command"}),
        ({"command": "reset", "action": "Reset"}, {"command"}),
        ({"command": 7}, {"command"}),
        ({"command": "reset", "kind": "gentle"}, {"kind"}),
        ({"command": "reset", "colour": 1}, {"colour"}),
        ({"command": "reset", "queue": "yes"}, {"queue"}),
        ({"command": "reset", "queue": True, "ttl": 0}, {"ttl"}),
        ({"action": ""}, {"action"}),
        ({"action": "Reset", "payload": []}, {"payload"}),
        ({"action": "Reset", "payloda": {}}, {"payloda"}),
    ],
)
def test_a_wrong_body(station: Station, program, body: dict, fields: set[str]) -> None:
    answer = program().post(URL, body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == fields
    assert not Command.objects.exists()


@pytest.mark.parametrize("wait", ["x", "-1", "61", "nan"])
def test_a_wrong_wait_asks_nothing(station: Station, program, wait: str) -> None:
    assert program().post(f"{URL}?wait={wait}", {"command": "reset"}).status_code == 400
    assert not Command.objects.exists()


def test_the_same_key_asks_once(station: Station, program) -> None:
    client = program()
    answers = [client.post(URL, {"command": "reset"}, headers={"Idempotency-Key": "k"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert Command.objects.count() == 1


def test_a_token_is_masked_for_those_who_may_not_see_people(station: Station, program) -> None:
    body = {"command": "start", "connector": 1, "token": "04A1B2C3D4E5F6"}
    asked = program(Role.TECHNICIAN).post(URL, body).json()
    for shape in (asked, program(Role.VIEWER).get(URL).json()["results"][0]):
        assert "04A1B2C3D4E5F6" not in str(shape)
        assert shape["arguments"]["token"].endswith("…E5F6")
        assert shape["payload"]["idTag"].endswith("…E5F6")
    assert program(Role.OPERATOR).get(URL).json()["results"][0]["payload"]["idTag"] == "04A1B2C3D4E5F6"


def test_commands_of_others_are_not_there(station: Station, owner: Membership, program, other_tenant: Operator) -> None:
    row = ask(station, "reset", {}, by=owner, now=NOW)
    client = program(operator=other_tenant)
    assert client.get(f"/api/v1/commands/{row.uuid}/").status_code == 404
    assert client.get("/api/v1/commands/").json()["results"] == []
