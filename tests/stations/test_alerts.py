"""The inbox of alerts: raised once, counted up, taken on, acted on, closed; on pages and by API."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, IdToken, Membership, Operator
from accounts.roles import Role
from stations import alert_kinds, alerts, live_alerts
from stations.alerts import AlreadyClosed, ClosesItself, Finding
from stations.models import Alert, Command, Gateway, Site, Station
from tests.billing import world
from tests.factories import make_member, make_token
from tests.people import Browser, Program

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
COMMANDERS = {Role.OWNER, Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN}
BLOCKERS = {Role.OWNER, Role.ADMIN, Role.OPERATOR}
REVIEWERS = {Role.OWNER, Role.ADMIN, Role.OPERATOR, Role.FINANCE}


@pytest.fixture
def site(tenant: Operator) -> Site:
    return world.site(tenant, name="Harbour")


@pytest.fixture
def pole(site: Site) -> Station:
    return world.station(site, name="Pole A")


FACTS: dict[str, dict[str, Any]] = {
    "station_offline": {"since": NOW.isoformat(), "connectors": 2},
    "meter_stuck": {
        "session": "0190a7a4-0000-7000-8000-000000000001",
        "since": NOW.isoformat(),
        "register_wh": "12500",
        "power_w": "7400",
    },
    "meter_backwards": {
        "session": "0190a7a4-0000-7000-8000-000000000002",
        "before_wh": "5000",
        "after_wh": "4000",
    },
    "over_power": {
        "session": "0190a7a4-0000-7000-8000-000000000003",
        "rated_w": 11_000,
        "power_w": "45000",
    },
    "card_burst": {"count": 9, "cards": 3, "seconds": 70},
    "log_in_burst": {"identity": "CP-1", "count": 9, "seconds": 70, "address": "192.0.2.1", "reason": "wrong_password"},
}


def finding(pole: Station, kind: str = "card_burst", *, since: dt.datetime = NOW, **facts: Any) -> Finding:
    return Finding(
        kind=kind,
        key=f"{kind}:{pole.pk}",
        operator_id=pole.operator_id,
        site_id=pole.site_id,
        station_id=pole.pk,
        since=since,
        at=since,
        facts=FACTS.get(kind, {}) | facts,
    )


def raised(pole: Station, kind: str = "card_burst", **facts: Any) -> Alert:
    alerts.raise_alerts([finding(pole, kind, **facts)], now=NOW)
    return Alert.objects.get(kind=kind, station=pole)


def twice(pole: Station, other: Station, token: IdToken) -> Alert:
    places = [{"station": p.identity, "name": f"{p}, {p.site}", "session": None} for p in (other, pole)]
    return raised(pole, "token_twice", token=str(token.uuid), shown=token.masked, refused=True, places=places)


# --- raising -----------------------------------------------------------------------------------------


def test_what_is_found_again_is_one_alert(pole: Station) -> None:
    for _again in range(3):
        alerts.raise_alerts([finding(pole)], now=NOW)
    assert Alert.objects.get().count == 1


def test_newer_evidence_counts_up_and_brings_the_numbers_up_to_date(pole: Station) -> None:
    alert = raised(pole)
    for _again in range(2):
        alerts.raise_alerts([finding(pole, since=NOW + MINUTE, count=12)], now=NOW + MINUTE)
    alert.refresh_from_db()
    assert (alert.count, alert.raised_at, alert.last_at, alert.facts["count"]) == (2, NOW, NOW + MINUTE, 12)


def test_operators_have_alerts_of_their_own(pole: Station) -> None:
    """Keys are unique inside one operator."""
    other = world.station(world.site(world.operator()))
    mine, theirs = finding(pole), finding(other)
    alerts.raise_alerts([mine, Finding(**{**_fields(theirs), "key": mine.key})], now=NOW)
    assert Alert.objects.count() == 2


def _fields(one: Finding) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_two_detectors_at_once_raise_one_alert(pole: Station) -> None:
    """The second has looked before the first had written."""
    with_none = Alert.objects.none()
    alerts.settle(list(with_none), [finding(pole, "station_offline")], now=NOW)
    alerts.settle(list(with_none), [finding(pole, "station_offline")], now=NOW)
    assert Alert.objects.count() == 1


def test_what_somebody_dealt_with_is_not_raised_again_for_the_same_reason(pole: Station, owner: Membership) -> None:
    alerts.close(raised(pole), by=owner, at=NOW + MINUTE)
    alerts.raise_alerts([finding(pole)], now=NOW + 2 * MINUTE)
    assert not Alert.objects.filter(resolved_at=None).exists()
    alerts.raise_alerts([finding(pole, since=NOW + 2 * MINUTE)], now=NOW + 2 * MINUTE)
    assert Alert.objects.filter(resolved_at=None).count() == 1


def test_pages_are_told_after_the_commit(
    pole: Station, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[tuple[str, set[str]]] = []
    monkeypatch.setattr("stations.hints.hints.stale", lambda group, names: told.append((group, set(names))))
    with django_capture_on_commit_callbacks(execute=True):
        raised(pole)
    assert told == [(f"operator.{pole.operator_id}", {"alerts", "stations"})]


# --- people ------------------------------------------------------------------------------------------


def test_acknowledging_is_noted_once(pole: Station, owner: Membership, technician: Membership) -> None:
    alert = raised(pole)
    alerts.acknowledge(alert, by=technician, at=NOW + MINUTE)
    alerts.acknowledge(alert, by=owner, at=NOW + 2 * MINUTE)
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.acknowledged_by) == (NOW + MINUTE, technician.user)
    entry = AuditEntry.objects.get(action="alert.acknowledged")
    assert (entry.user, entry.target_id, entry.facts) == (technician.user, str(alert.uuid), {"kind": "card_burst"})


def test_what_is_watched_cannot_be_closed_by_hand(pole: Station, owner: Membership) -> None:
    alert = raised(pole, "station_offline")
    with pytest.raises(ClosesItself):
        alerts.close(alert, by=owner, at=NOW)
    assert not AuditEntry.objects.exists()


def test_a_closed_alert_stays_closed(pole: Station, owner: Membership) -> None:
    alert = alerts.close(raised(pole), by=owner, at=NOW)
    for change in (alerts.acknowledge, alerts.close, alerts.act):
        with pytest.raises(AlreadyClosed):
            change(alert, by=owner, at=NOW + MINUTE)
    assert [entry.action for entry in AuditEntry.objects.all()] == ["alert.closed"]


def test_blocking_the_token_ends_the_alert(pole: Station, site: Site, owner: Membership) -> None:
    token = make_token(pole.operator)
    done = alerts.act(twice(pole, world.station(site), token), by=owner, at=NOW + MINUTE)
    token.refresh_from_db()
    assert token.status == IdToken.Status.BLOCKED
    assert (done.words, done.url) == (f"Token {token.masked} is blocked.", "")
    assert (done.alert.resolution, done.alert.resolved_at) == ("acted", NOW + MINUTE)
    assert alert_kinds.resolution_words(done.alert) == "Owner: Block the token"
    assert {entry.action for entry in AuditEntry.objects.exclude(action="token.created")} == {
        "token.changed",
        "alert.block_token",
    }


def test_resetting_asks_the_station_and_leaves_the_end_to_the_meter(pole: Station, owner: Membership) -> None:
    Gateway.objects.create(id="here", lease_at=NOW, started_at=NOW)
    Station.objects.filter(pk=pole.pk).update(gateway="here", protocol="1.6")
    done = alerts.act(raised(pole, "meter_stuck"), by=owner, at=NOW)
    command = Command.objects.get()
    assert (command.command, command.arguments, command.status) == ("reset", {"kind": "soft"}, "queued")
    assert (command.user, done.alert.is_open, done.alert.acknowledged_by) == (owner.user, True, owner.user)
    assert {entry.action for entry in AuditEntry.objects.all()} == {"command.reset", "alert.reset"}


def test_resetting_a_station_that_is_away_says_so(pole: Station, owner: Membership) -> None:
    done = alerts.act(raised(pole, "meter_stuck"), by=owner, at=NOW)
    assert done.words == "The station is not connected."
    assert done.alert.is_open


# --- pages -------------------------------------------------------------------------------------------


def members(tenant: Operator) -> dict[Role, Membership]:
    return {role: make_member(tenant, role) for role in Role}


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_every_alert_has_its_reason_and_what_helps(
    pole: Station, owner: Membership, browser: Browser, kind: str
) -> None:
    alert = raised(pole, kind)
    page = browser(owner).get("/console/alerts/").content.decode()
    shown = alert_kinds.kind_of(alert)
    with timezone.override(owner.operator.time_zone):
        for words in (shown.title, shown.reason(alert), shown.impact(alert), shown.action.label):
            assert str(words) in page
    assert f"/console/alerts/{alert.uuid}/act/" in page


def test_who_may_do_what(pole: Station, site: Site, tenant: Operator, browser: Browser) -> None:
    other, token = world.station(site), make_token(tenant)
    for role, member in members(tenant).items():
        client = browser(member)
        assert client.get("/console/alerts/").status_code == 200
        assert client.get("/console/alerts/list/").status_code == 200
        Alert.objects.all().delete()
        matrix = [
            (raised(pole), "acknowledge", role in COMMANDERS),
            (raised(pole, "station_offline"), "act", role in COMMANDERS),
            (raised(pole, "meter_stuck"), "act", role in COMMANDERS),
            (raised(pole, "meter_backwards"), "act", role in REVIEWERS),
            (twice(pole, other, token), "act", role in BLOCKERS),
            (raised(pole), "close", role in COMMANDERS),
        ]
        page = client.get("/console/alerts/").content.decode()
        for alert, way, allowed in matrix:
            url = f"/console/alerts/{alert.uuid}/{way}/"
            assert (url in page) == allowed, (role, alert.kind, way)
            assert client.get(url).status_code == 405
            assert (client.post(url).status_code != 403) == allowed, (role, alert.kind, way)


def test_a_stranger_finds_no_alert(pole: Station, stranger: Membership, browser: Browser) -> None:
    alert = raised(pole)
    client = browser(stranger)
    for way in ("acknowledge", "act", "close"):
        assert client.post(f"/console/alerts/{alert.uuid}/{way}/").status_code == 404
    for url in ("/console/alerts/", "/console/alerts/list/?whole=1"):
        assert str(alert.uuid) not in client.get(url).content.decode()
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.resolved_at) == (None, None)
    assert Client().post(f"/console/alerts/{alert.uuid}/act/").status_code == 302


def test_a_technician_sees_the_alerts_of_their_sites(
    tenant: Operator, pole: Station, browser: Browser, technician: Membership
) -> None:
    elsewhere = world.site(tenant)
    Membership.objects.filter(pk=technician.pk).update(all_sites=False, site_ids=[elsewhere.pk])
    hidden = raised(pole)
    shown = raised(world.station(elsewhere))
    client = browser(technician)
    page = client.get("/console/alerts/").content.decode()
    assert str(hidden.uuid) not in page
    assert str(shown.uuid) in page
    assert client.post(f"/console/alerts/{hidden.uuid}/acknowledge/").status_code == 404


def test_one_click_acknowledges_in_place(pole: Station, owner: Membership, browser: Browser) -> None:
    alert = raised(pole)
    answer = browser(owner).post(f"/console/alerts/{alert.uuid}/acknowledge/", headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert text.lstrip().startswith("<li")
    assert "Acknowledged" in text
    assert f"/{alert.uuid}/acknowledge/" not in text


def test_opening_leads_to_the_page_and_takes_the_alert_on(pole: Station, owner: Membership, browser: Browser) -> None:
    alert = raised(pole, "station_offline")
    client = browser(owner)
    answer = client.post(f"/console/alerts/{alert.uuid}/act/")
    assert answer.status_code == 302
    assert answer["Location"] == alert_kinds.target_url(alert, "open_station") != ""
    answer = client.post(f"/console/alerts/{alert.uuid}/act/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (200, alert_kinds.target_url(alert, "open_station"))
    alert.refresh_from_db()
    assert alert.acknowledged_by == owner.user
    assert AuditEntry.objects.filter(action="alert.open_station").count() == 2


def test_tabs_and_filters(pole: Station, owner: Membership, browser: Browser) -> None:
    new, taken, closed = raised(pole), raised(pole, "station_offline"), raised(pole, "log_in_burst")
    alerts.acknowledge(taken, by=owner, at=NOW)
    alerts.close(closed, by=owner, at=NOW)
    client = browser(owner)
    for query, expected in {
        "": {new, taken},
        "?state=new": {new},
        "?state=closed": {closed},
        "?kind=station_offline": {taken},
        "?kind=nonsense": set(),
        "?state=nonsense": {new, taken},
    }.items():
        page = client.get(f"/console/alerts/{query}").content.decode()
        assert {alert for alert in (new, taken, closed) if f'id="alert-{alert.uuid}"' in page} == expected, query
    assert "Closed by Owner" in client.get("/console/alerts/?state=closed").content.decode()


def test_the_strip_for_other_pages_shows_the_most_urgent_first(
    site: Site, pole: Station, owner: Membership, browser: Browser
) -> None:
    client = browser(owner)
    assert client.get("/console/alerts/list/").content == b""
    for _more in range(6):
        raised(world.station(site))
    critical, taken = raised(pole, "over_power"), raised(pole, "station_offline")
    alerts.acknowledge(taken, by=owner, at=NOW)
    text = client.get("/console/alerts/list/").content.decode()
    assert text.count('id="alert-') == 3
    assert text.split('id="alert-')[1].startswith(str(critical.uuid))
    assert "4 more alerts" in text
    of_station = client.get(f"/console/alerts/list/?station={pole.identity}").content.decode()
    assert of_station.count('id="alert-') == 2
    assert client.get("/console/").content.decode().count('hx-get="/console/alerts/list/"') == 1


def test_the_list_costs_the_same_for_one_alert_and_for_many(site: Site, owner: Membership, browser: Browser) -> None:
    client = browser(owner)
    client.get("/console/alerts/")
    counts = []
    for size in (1, 40):
        for _more in range(size):
            raised(world.station(site), "station_offline")
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/console/alerts/").status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 15


def test_the_live_page_knows_its_count(pole: Station, owner: Membership, stranger: Membership) -> None:
    raised(pole)
    page = live_alerts.alerts(owner.user, "", {})
    assert page is not None
    assert page.group == f"operator.{owner.operator_id}"
    assert page.watches == {"alerts": "alerts"}
    assert page.slots is not None
    assert page.slots() == {"rail:alerts": "1"}
    other = live_alerts.alerts(stranger.user, "", {})
    assert other is not None
    assert other.slots is not None
    assert other.slots() == {"rail:alerts": "0"}
    assert live_alerts.alerts(AnonymousUser(), "", {}) is None


# --- API ---------------------------------------------------------------------------------------------


def test_the_api_tells_everything_about_an_alert(pole: Station, program: Program) -> None:
    alert = raised(pole, "over_power")
    body = program(Role.VIEWER).get(f"/api/v1/alerts/{alert.uuid}/").json()
    assert body == {
        "id": str(alert.uuid),
        "kind": "over_power",
        "severity": "critical",
        "station": pole.identity,
        "site": str(pole.site.uuid),
        "evse": None,
        "reason": "It reports 45\N{NO-BREAK SPACE}kW; 11\N{NO-BREAK SPACE}kW is what it is rated for.",
        "impact": "",
        "action": "open_session",
        "facts": FACTS["over_power"],
        "count": 1,
        "raised_at": "2026-11-20T09:00:00Z",
        "last_at": "2026-11-20T09:00:00Z",
        "acknowledged_at": None,
        "acknowledged_by": None,
        "resolved_at": None,
        "resolution": None,
    }


def test_the_api_lists_and_filters(pole: Station, site: Site, owner: Membership, program: Program) -> None:
    first, second = raised(pole), raised(world.station(site), "station_offline")
    alerts.acknowledge(second, by=owner, at=NOW)
    alerts.close(first, by=owner, at=NOW)
    api = program()
    for query, expected in {
        "": [second, first],
        "?resolved=false": [second],
        "?resolved=true": [first],
        "?acknowledged=true": [second],
        "?kind=card_burst": [first],
        "?severity=critical": [],
        f"?station={pole.identity}": [first],
        f"?site={site.uuid}": [second, first],
        "?limit=1": [second],
    }.items():
        found = api.get(f"/api/v1/alerts/{query}").json()["results"]
        assert [row["id"] for row in found] == [str(alert.uuid) for alert in expected], query


def test_a_program_acknowledges_and_closes(pole: Station, program: Program) -> None:
    alert, watched = raised(pole), raised(pole, "station_offline")
    api = program(Role.TECHNICIAN)
    url = f"/api/v1/alerts/{alert.uuid}/"
    before = timezone.now()
    body = api.patch(url, {"acknowledged": True}, format="json").json()
    assert body["acknowledged_by"] is None  # a program is no person; the audit trail names it
    assert dt.datetime.fromisoformat(body["acknowledged_at"]) >= before
    assert AuditEntry.objects.get(action="alert.acknowledged").api_key is not None
    assert api.patch(url, {"resolved": True}, format="json").json()["resolution"] == "closed"
    again = api.patch(url, {"acknowledged": True}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "alert_closed")
    answer = api.patch(f"/api/v1/alerts/{watched.uuid}/", {"resolved": True}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "alert_is_watched")


@pytest.mark.parametrize("body", [{}, {"acknowledged": False}, {"resolved": "perhaps"}, {"count": 7}])
def test_a_wrong_body_changes_nothing(pole: Station, program: Program, body: dict[str, Any]) -> None:
    alert = raised(pole)
    answer = program().patch(f"/api/v1/alerts/{alert.uuid}/", body, format="json")
    assert answer.status_code == 400
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.resolved_at) == (None, None)


def test_keys_see_and_change_what_their_role_may(pole: Station, other_tenant: Operator, program: Program) -> None:
    alert = raised(pole)
    url = f"/api/v1/alerts/{alert.uuid}/"
    for role in Role:
        api = program(role)
        assert api.get(url).status_code == 200
        expected = 200 if role in COMMANDERS else 403
        assert api.patch(url, {"acknowledged": True}, format="json").status_code == expected, role
    stranger = program(Role.OWNER, other_tenant)
    assert stranger.get(url).status_code == 404
    assert stranger.patch(url, {"acknowledged": True}, format="json").status_code == 404
    assert stranger.get("/api/v1/alerts/").json()["results"] == []
