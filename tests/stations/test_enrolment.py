"""How sites and stations come, change and go."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError

from accounts.keys import matches
from accounts.models import AuditEntry, Membership, Operator
from stations import commands, enrolment
from stations.enrolment import IdentityTaken, NotAdoptable, SiteInUse, StationRetired
from stations.models import Command, Connector, Evse, RefusedConnection, Site, Station
from stations.ocpp.handshake import credential_purpose
from tests.factories import NOW, connect, make_site, make_station

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(tenant: Operator) -> Site:
    return make_site(tenant, "Quay")


def knock(operator: Operator | None, identity: str = "CP-9", **fields: object) -> RefusedConnection:
    given = {"address": "10.0.0.9", "reason": "unknown_identity", "first_at": NOW, "last_at": NOW} | fields
    return RefusedConnection.objects.create(operator=operator, identity=identity, **given)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


# --- sites ---------------------------------------------------------------------------------------------


def test_a_site_takes_zone_and_country_of_its_operator(tenant: Operator, owner: Membership) -> None:
    site = enrolment.create_site(tenant, by=owner, name="Pier", city="Hamburg")
    assert (site.time_zone, site.country, site.city) == ("Europe/Berlin", "DE", "Hamburg")
    assert actions() == ["site.created"]


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"time_zone": "Europe/Nowhere"}, "time_zone"),
        ({"country": "Germany"}, "country"),
        ({"name": ""}, "name"),
        ({"latitude": 91, "longitude": 0}, "latitude"),
        ({"latitude": 9}, "longitude"),
    ],
)
def test_a_site_must_make_sense(tenant: Operator, owner: Membership, facts: dict, field: str) -> None:
    with pytest.raises(ValidationError) as no:
        enrolment.create_site(tenant, by=owner, **{"name": "Pier"} | facts)
    assert list(no.value.message_dict) == [field]
    assert not Site.objects.exists()


def test_a_change_of_a_site_tells_before_and_after(site: Site, owner: Membership) -> None:
    enrolment.edit_site(site, by=owner, name="Quay 2", power_limit_w=50_000)
    enrolment.edit_site(site, by=owner, name="Quay 2")
    entry = AuditEntry.objects.get()
    assert entry.facts == {
        "before": {"name": "Quay", "power_limit_w": None},
        "after": {"name": "Quay 2", "power_limit_w": 50_000},
    }


def test_only_an_empty_site_is_retired(site: Site, owner: Membership) -> None:
    station = make_station(site)
    with pytest.raises(SiteInUse):
        enrolment.retire_site(site, by=owner, at=NOW)
    enrolment.retire_station(station, by=owner, at=NOW)
    assert enrolment.retire_site(site, by=owner, at=NOW).retired_at == NOW


# --- making stations -------------------------------------------------------------------------------------


def test_a_station_gets_a_password_that_every_version_can_hold(site: Site, owner: Membership) -> None:
    station, password = enrolment.create_station(site, "CP-1", by=owner)
    assert len(password) == 40
    assert set(password) <= set("0123456789abcdef")
    assert matches(password.encode(), station.credential, purpose=credential_purpose("CP-1"))
    assert (station.registration, station.security_profile, station.name) == ("accepted", 1, "CP-1")
    assert password not in str(AuditEntry.objects.values_list("facts", "target"))


def test_where_pages_come_by_tls_so_do_passwords(site: Site, owner: Membership, settings) -> None:
    settings.SECURE_SITE = True
    assert enrolment.create_station(site, "CP-1", by=owner).station.security_profile == 2


def test_a_station_that_shows_a_certificate_needs_no_password(site: Site, owner: Membership) -> None:
    station, password = enrolment.create_station(site, "CP-1", by=owner, security_profile=3)
    assert (password, station.credential) == ("", "")


@pytest.mark.parametrize("password", ["short", "x" * 15, "x" * 65, "ключ от зарядки 1234", "tab\there and more text"])
def test_a_password_that_no_charger_can_hold(site: Site, owner: Membership, password: str) -> None:
    with pytest.raises(ValidationError) as no:
        enrolment.create_station(site, "CP-1", by=owner, password=password)
    assert list(no.value.message_dict) == ["password"]


@pytest.mark.parametrize(
    "identity", ["CP-1", "A", "9", "a b", "DE*ABC*E1", "x/y", "Q=_+|@.z", "." + "x" * 47, "urn-1.2"]
)
def test_identities_that_chargers_have(site: Site, owner: Membership, identity: str) -> None:
    assert enrolment.create_station(site, identity, by=owner).station.identity == identity


@pytest.mark.parametrize(
    "identity",
    ["", " ", " CP", "CP ", "/CP", "CP/", "a//b", "CP:1", "CP#1", "CP?1", "é", "CP\n", "x" * 49, ".", "..", "a/../b",
     "a/commands", "messages"],
)  # fmt: skip
def test_identities_that_could_not_dial(site: Site, owner: Membership, identity: str) -> None:
    with pytest.raises(ValidationError) as no:
        enrolment.create_station(site, identity, by=owner)
    assert list(no.value.message_dict) == ["identity"]


@pytest.mark.parametrize("identity", ["CP-1", "cp-1"])
def test_an_identity_exists_once_in_the_installation(
    site: Site, owner: Membership, stranger: Membership, other_tenant: Operator, identity: str
) -> None:
    enrolment.create_station(site, "CP-1", by=owner)
    with pytest.raises(IdentityTaken) as no:
        enrolment.create_station(make_site(other_tenant), identity, by=stranger)
    assert no.value.code == "identity_taken"
    assert "Lighthouse" not in no.value.text
    assert Station.objects.count() == 1


def test_connectors_may_be_described_before_the_charger_does(site: Site, owner: Membership) -> None:
    station, _password = enrolment.create_station(
        site,
        "CP-1",
        by=owner,
        connectors=[
            {"connector": 1, "type": "cType2", "max_power_w": 22_000},
            {"evse": 2, "connector": 1},
            {"evse": 2, "connector": 2},
        ],
    )
    found = Connector.objects.order_by("evse__number", "number").values_list("evse__number", "number", "type")
    assert list(found) == [(1, 1, "cType2"), (2, 1, ""), (2, 2, "")]
    assert station.evses.get(number=1).max_power_w == 22_000


@pytest.mark.parametrize("connectors", [[{"connector": 0}], [{"evse": 65}], [{"evse": 1}, {"connector": 1}], [{}]])
def test_connectors_that_cannot_be(site: Site, owner: Membership, connectors: list) -> None:
    with pytest.raises(ValidationError) as no:
        enrolment.create_station(site, "CP-1", by=owner, connectors=connectors)
    assert list(no.value.message_dict) == ["connectors"]
    assert not Station.objects.exists()
    assert not Evse.objects.exists()


# --- adopting ----------------------------------------------------------------------------------------------


def test_an_unknown_charger_is_adopted_with_the_password_it_presented(tenant: Operator, site: Site, owner) -> None:
    refused = knock(tenant, credential="t1$presented")
    knock(tenant, address="10.0.0.10")
    elsewhere = knock(tenant, identity="CP-8")
    station, password = enrolment.adopt(refused, site, by=owner, name="Nine")
    assert (station.registration, station.credential, password, station.name) == ("pending", "t1$presented", "", "Nine")
    assert list(RefusedConnection.objects.all()) == [elsewhere]
    assert actions() == ["station.adopted"]


def test_one_that_presented_none_gets_a_password(tenant: Operator, site: Site, owner: Membership) -> None:
    station, password = enrolment.adopt(knock(tenant), site, by=owner)
    assert matches(password.encode(), station.credential, purpose=credential_purpose("CP-9"))


def test_a_retired_station_comes_back_by_adoption(tenant: Operator, site: Site, owner: Membership) -> None:
    station = enrolment.create_station(site, "CP-9", by=owner).station
    enrolment.retire_station(station, by=owner, at=NOW)
    again = enrolment.adopt(knock(tenant, credential="t1$new"), make_site(tenant), by=owner).station
    assert (again.pk, again.retired_at, again.registration, again.credential) == (station.pk, None, "pending", "t1$new")


@pytest.mark.parametrize("fields", [{"reason": "wrong_password"}, {"identity": "not:an:identity"}])
def test_what_cannot_be_adopted(tenant: Operator, site: Site, owner: Membership, fields: dict) -> None:
    with pytest.raises(NotAdoptable):
        enrolment.adopt(knock(tenant, **fields), site, by=owner)
    assert not Station.objects.exists()


def test_what_knocked_at_nobody_is_adopted_by_nobody(site: Site, owner: Membership, other_tenant: Operator) -> None:
    for operator in (None, other_tenant):
        with pytest.raises(NotAdoptable):
            enrolment.adopt(knock(operator, address=str(operator)), site, by=owner)


def test_an_identity_of_another_operator_cannot_be_adopted(tenant, site, owner, other_tenant: Operator) -> None:
    make_station(make_site(other_tenant), "CP-9")
    with pytest.raises(IdentityTaken):
        enrolment.adopt(knock(tenant), site, by=owner)
    assert RefusedConnection.objects.count() == 1


# --- changing --------------------------------------------------------------------------------------------------


def test_approval_asks_the_charger_to_boot_again(site: Site, owner: Membership) -> None:
    station = connect(make_station(site, registration="pending"))
    enrolment.approve(station, by=owner, now=dt.datetime.now(dt.UTC))
    enrolment.approve(station, by=owner, now=dt.datetime.now(dt.UTC))
    station.refresh_from_db()
    command = Command.objects.get()
    assert station.registration == "accepted"
    assert (command.action, command.payload) == ("TriggerMessage", {"requestedMessage": "BootNotification"})
    assert actions() == ["station.accepted", "command.trigger"]


def test_a_rejected_charger_is_told_so_even_if_it_is_away(site: Site, owner: Membership) -> None:
    station = make_station(site)
    assert enrolment.reject(station, by=owner, now=NOW).registration == "rejected"
    assert Command.objects.get().status == "queued"


def test_a_new_password_replaces_the_old_one(site: Site, owner: Membership) -> None:
    station, old = enrolment.create_station(site, "CP-1", by=owner)
    new = enrolment.set_password(station, by=owner, now=NOW)
    station.refresh_from_db()
    assert not matches(old.encode(), station.credential, purpose=credential_purpose("CP-1"))
    assert matches(new.encode(), station.credential, purpose=credential_purpose("CP-1"))
    assert actions() == ["station.created", "station.password_set"]


def test_a_profile_that_needs_a_password_comes_with_one(site: Site, owner: Membership) -> None:
    station = enrolment.create_station(site, "CP-1", by=owner, security_profile=3).station
    changed = enrolment.change_station(station, by=owner, now=NOW, security_profile=2)
    assert len(changed.password) == 40


def test_a_station_moves_only_inside_its_operator(site: Site, owner: Membership, other_tenant: Operator) -> None:
    station = make_station(site)
    with pytest.raises(ValidationError):
        enrolment.change_station(station, by=owner, now=NOW, site=make_site(other_tenant))
    other = make_site(site.operator)
    enrolment.change_station(station, by=owner, now=NOW, site=other)
    assert AuditEntry.objects.get().facts == {"before": {"site": str(site.uuid)}, "after": {"site": str(other.uuid)}}


def test_a_retired_station_is_fenced_and_asked_for_nothing_more(site: Site, owner: Membership) -> None:
    station = connect(make_station(site, epoch=7))
    waiting = commands.ask(station, "clear_cache", {}, by=owner, now=dt.datetime.now(dt.UTC))
    sent = commands.ask(station, "clear_cache", {}, by=owner, now=dt.datetime.now(dt.UTC))
    Command.objects.filter(pk=sent.pk).update(status="sent")
    enrolment.retire_station(station, by=owner, at=NOW)
    station.refresh_from_db()
    waiting.refresh_from_db()
    sent.refresh_from_db()
    assert (station.epoch, station.is_connected, station.retired_at) == (8, False, NOW)
    assert (waiting.status, waiting.error_code) == ("refused", "retired")
    assert (sent.status, sent.error_code) == ("timed_out", "retired")
    for change in (
        lambda: enrolment.retire_station(station, by=owner, at=NOW),
        lambda: enrolment.approve(station, by=owner, now=NOW),
    ):
        with pytest.raises(StationRetired):
            change()


@pytest.mark.parametrize(("dialled", "meant"), [("cp-1", "CP-1"), ("CP-0l", "CP-01"), ("CP-1 ", "CP-1"), ("XYZ", "")])
def test_the_identity_that_was_probably_meant(dialled: str, meant: str) -> None:
    known = ["CP-1", "QUAY-7"] if meant != "CP-01" else ["CP-01", "QUAY-7"]
    assert enrolment.nearest(dialled, known) == meant
