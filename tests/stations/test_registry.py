"""Which stations there are, whether they are here, and what their connectors say: through the ingest."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from accounts.models import Operator
from stations import registry
from stations.messages import Left
from stations.models import Command, Connector, Gateway, Setting, Station, StationEvent, StatusChange, is_online
from stations.ocpp.inbox import Fenced, _Item
from tests.charger import Charger, iso
from tests.factories import make_site, make_station

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.fixture
def station(tenant: Operator) -> Station:
    return make_station(make_site(tenant), "CP-1")


@pytest.fixture(params=VERSIONS)
def charger(request: pytest.FixtureRequest, station: Station) -> Charger:
    return Charger(station, request.param, at=NOW)


def boot(version: str, **fields: str) -> tuple[str, dict[str, Any]]:
    if version == "1.6":
        named = {"chargePointVendor": "Acme", "chargePointModel": "X1", "firmwareVersion": "2.0"}
        serial = {"chargePointSerialNumber": fields["serial"]} if "serial" in fields else {}
        return "BootNotification", named | serial
    named = {"vendorName": "Acme", "model": "X1", "firmwareVersion": "2.0"}
    serial = {"serialNumber": fields["serial"]} if "serial" in fields else {}
    return "BootNotification", {"reason": "PowerUp", "chargingStation": named | serial}


def status(
    version: str, word: str, *, evse: int = 1, connector: int = 1, at: dt.datetime | None = NOW, error: str = "NoError"
) -> tuple[str, dict[str, Any]]:
    when = {} if at is None else {"timestamp": iso(at)}
    if version == "1.6":
        return "StatusNotification", {"connectorId": evse, "status": word, "errorCode": error, **when}
    return "StatusNotification", {
        "evseId": evse,
        "connectorId": connector,
        "connectorStatus": word,
        "timestamp": iso(at or NOW),
    }


def events() -> list[str]:
    return list(StationEvent.objects.order_by("pk").values_list("kind", flat=True))


# --- presence --------------------------------------------------------------------------------------------


def test_a_connected_station_is_online_as_long_as_its_gateway_lives(charger: Charger, station: Station) -> None:
    registry.renew_lease("test", now=NOW)
    assert Station.objects.filter(is_online(NOW + dt.timedelta(seconds=19)), pk=station.pk).exists()
    assert not Station.objects.filter(is_online(NOW + dt.timedelta(seconds=20)), pk=station.pk).exists()
    registry.renew_lease("test", now=NOW + MINUTE)
    assert Station.objects.filter(is_online(NOW + MINUTE), pk=station.pk).exists()
    station.refresh_from_db()
    assert (station.protocol, station.connected_at, station.epoch) == (charger.version, NOW, 1)


def test_a_gateway_that_ends_gives_its_stations_back(charger: Charger, station: Station) -> None:
    registry.renew_lease("test", now=NOW)
    registry.release_gateway("test", now=NOW + MINUTE)
    station.refresh_from_db()
    assert (station.is_connected, station.disconnected_at) == (False, NOW + MINUTE)
    assert not Gateway.objects.exists()


def test_the_newest_socket_counts(charger: Charger, station: Station) -> None:
    newer = Charger(station, charger.version, ingest=charger.ingest, at=NOW + MINUTE)
    with pytest.raises(Fenced):
        charger.say("Heartbeat", {}, at=NOW + MINUTE)
    late = _Item(charger.ref, Left(1006), NOW + 2 * MINUTE, None, None, None)
    charger.ingest.commit([late])
    assert isinstance(late.failed, Fenced)
    station.refresh_from_db()
    assert (station.is_connected, station.epoch) == (True, newer.ref.epoch)
    charger.ingest.commit([_Item(newer.ref, Left(1006), NOW + 3 * MINUTE, None, None, None)])
    station.refresh_from_db()
    assert (station.is_connected, station.disconnected_at) == (False, NOW + 3 * MINUTE)
    assert events() == ["connected", "connected", "disconnected"]


def test_a_new_socket_ends_what_was_asked_over_the_old_one(charger: Charger, station: Station) -> None:
    row = Command.objects.create(station=station, command="reset", status="sent", requested_by="x", requested_at=NOW)
    Charger(station, charger.version, ingest=charger.ingest, at=NOW)
    row.refresh_from_db()
    assert (row.status, row.error_code) == ("timed_out", "connection_lost")


# --- boot ------------------------------------------------------------------------------------------------


def test_a_boot_tells_what_the_station_is(charger: Charger, station: Station) -> None:
    answer = charger.say(*boot(charger.version, serial="S1"), at=NOW)
    assert answer["status"] == "Accepted"
    assert answer["currentTime"] == "2026-11-20T12:00:00Z" or answer["currentTime"].startswith("2026-11-20T12:00:00")
    assert answer["interval"] >= 1
    station.refresh_from_db()
    assert (station.vendor, station.model, station.firmware, station.serial_number) == ("Acme", "X1", "2.0", "S1")
    assert station.booted_at == NOW


@pytest.mark.parametrize(("registration", "word"), [("pending", "Pending"), ("rejected", "Rejected")])
def test_a_station_that_is_not_let_in_hears_so(
    charger: Charger, station: Station, registration: str, word: str
) -> None:
    Station.objects.update(registration=registration)
    assert charger.say(*boot(charger.version), at=NOW)["status"] == word


def test_another_serial_number_is_a_security_event(charger: Charger) -> None:
    charger.say(*boot(charger.version, serial="S1"), at=NOW)
    charger.say(*boot(charger.version), at=NOW)
    assert "security" not in events()
    charger.say(*boot(charger.version, serial="S2"), at=NOW)
    assert StationEvent.objects.get(kind="security").facts == {"what": "serial_changed", "before": "S1"}


# --- connectors ------------------------------------------------------------------------------------------


def test_a_status_makes_the_connector_and_its_history(charger: Charger) -> None:
    charger.say(*status(charger.version, "Available"), at=NOW)
    charger.say(*status(charger.version, "Faulted", at=NOW + MINUTE), at=NOW + MINUTE)
    connector = Connector.objects.get()
    assert (connector.evse.number, connector.number) == (1, 1)
    assert (connector.status, connector.since) == ("Faulted", NOW + MINUTE)
    assert list(StatusChange.objects.order_by("at").values_list("status", flat=True)) == ["Available", "Faulted"]
    assert events()[-1] == "fault"


def test_the_same_status_again_does_not_begin_anew(charger: Charger) -> None:
    charger.say(*status(charger.version, "Available"), at=NOW)
    charger.say(*status(charger.version, "Available", at=NOW + MINUTE), at=NOW + MINUTE)
    connector = Connector.objects.get()
    assert (connector.since, connector.reported_at) == (NOW, NOW + MINUTE)
    assert events().count("status") == 1


def test_an_old_status_that_comes_late_is_history_only(charger: Charger) -> None:
    charger.say(*status(charger.version, "Available"), at=NOW)
    charger.say(*status(charger.version, "Faulted", at=NOW - 2 * 1440 * MINUTE), at=NOW + MINUTE)
    assert Connector.objects.get().status == "Available"
    assert StatusChange.objects.count() == 2


@pytest.mark.parametrize("clock", [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2031, 1, 1, tzinfo=dt.UTC)])
def test_a_clock_that_cannot_be_true_gives_way_to_ours(charger: Charger, clock: dt.datetime) -> None:
    charger.say(*status(charger.version, "Available", at=clock), at=NOW)
    assert Connector.objects.get().since == NOW


def test_a_connector_described_by_hand_is_renumbered_not_doubled(station: Station) -> None:
    evse = station.evses.create(number=2)
    Connector.objects.create(evse=evse, number=2, type="cType2")
    Charger(station, "2.0.1", at=NOW).say(*status("2.0.1", "Available", evse=2, connector=1), at=NOW)
    connector = Connector.objects.get()
    assert (connector.number, connector.type, connector.status) == (1, "cType2", "Available")


def test_in_16_connector_n_is_evse_n(station: Station) -> None:
    Charger(station, "1.6", at=NOW).say(*status("1.6", "Available", evse=3), at=NOW)
    connector = Connector.objects.get()
    assert (connector.evse.number, connector.number) == (3, 3)


@pytest.mark.parametrize(("evse", "connector"), [(65, 1), (1, 9)])
def test_a_connector_that_cannot_be_is_noted(station: Station, evse: int, connector: int) -> None:
    charger = Charger(station, "2.0.1", at=NOW)
    assert charger.say(*status("2.0.1", "Available", evse=evse, connector=connector), at=NOW) == {}
    assert not Connector.objects.exists()
    assert events()[-1] == "note"


def test_the_status_of_the_station_itself_makes_no_connector(station: Station) -> None:
    Charger(station, "1.6", at=NOW).say(*status("1.6", "Faulted", evse=0, error="InternalError"), at=NOW)
    assert not Connector.objects.exists()
    assert StationEvent.objects.get(kind="fault").facts["error"] == "InternalError"


# --- the rest --------------------------------------------------------------------------------------------


def test_every_frame_is_a_sign_of_life(charger: Charger, station: Station) -> None:
    answer = charger.say("Heartbeat", {}, at=NOW + 5 * MINUTE)
    assert answer["currentTime"].startswith("2026-11-20T12:05:00")
    station.refresh_from_db()
    assert station.last_seen_at == NOW + 5 * MINUTE


def test_a_report_in_parts_fills_the_configuration(station: Station) -> None:
    charger = Charger(station, "2.0.1", at=NOW)
    Command.objects.create(
        station=station,
        command="get_configuration",
        status="accepted",
        effect_state="pending",
        effect_what="settings",
        requested_by="x",
        requested_at=NOW,
    )

    def part(number: int, name: str, value: str, *, more: bool) -> None:
        row = {
            "component": {"name": "SecurityCtrlr"},
            "variable": {"name": name},
            "variableAttribute": [{"value": value, "mutability": "ReadWrite"}],
        }
        payload = {"requestId": 1, "generatedAt": iso(NOW), "seqNo": number, "tbc": more, "reportData": [row]}
        charger.say("NotifyReport", payload, at=NOW)

    part(0, "Identity", "CP-1", more=True)
    assert Command.objects.get().effect_state == "pending"
    part(1, "BasicAuthPassword", "feedfacefeedface", more=False)
    assert Command.objects.get().effect_state == "observed"
    known = dict(Setting.objects.values_list("key", "value"))
    assert known == {"Identity": "CP-1", "BasicAuthPassword": "***"}


def test_a_vendors_own_message_is_answered(charger: Charger) -> None:
    answer = charger.say("DataTransfer", {"vendorId": "com.acme", "messageId": "x"}, at=NOW)
    assert answer["status"] == "UnknownVendorId"
