"""The operator's pages about sessions: list, one session, decisions; each role sees what it may."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, Driver, Membership, Operator
from billing.models import SessionBill
from sessions.models import AuthorizationAttempt
from stations.models import Command, Station, StatusChange
from tests.people import Browser
from tests.sessions import scene

LIST = "/console/sessions/"


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


@pytest.fixture
def session(pole: Station, driver: Driver) -> Any:
    return scene.ended(pole, driver)


def text_of(answer: Any) -> str:
    """Return the words of a page, without markup."""
    body = re.sub(r"<(script|style|svg|template)\b.*?</\1>", " ", answer.content.decode(), flags=re.S)
    words = html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r"\s+", " ", words)


def rows_of(answer: Any) -> list[str]:
    """Return the sessions a list shows, by public id."""
    return re.findall(r'data-row-link href="/console/sessions/([0-9a-f-]{36})/"', answer.content.decode())


@pytest.mark.django_db
class TestWho:
    ADDRESSES = ("", "rows/", "totals/", "export/", "{id}/", "{id}/series/", "{id}/badge/", "{id}/messages/")
    MONEY = ("cost/", "total/", "lines/", "story/")

    @pytest.mark.parametrize("role", ["owner", "admin", "operator", "technician", "accountant", "viewer"])
    def test_every_role_sees_sessions_and_some_see_money(
        self, request: pytest.FixtureRequest, session: Any, browser: Browser, role: str
    ) -> None:
        page = browser(request.getfixturevalue(role))
        for address in self.ADDRESSES:
            assert page.get(LIST + address.format(id=session.uuid)).status_code == 200, address
        for address in self.MONEY:
            answer = page.get(f"/fragments/billing/sessions/{session.uuid}/{address}")
            assert answer.status_code == (403 if role == "technician" else 200), address
        assert page.get("/fragments/billing/revenue-today/").status_code == (403 if role == "technician" else 200)

    def test_a_stranger_finds_nothing_and_nobody_comes_without_log_in(
        self, session: Any, stranger: Membership, driver: Driver, browser: Browser
    ) -> None:
        page = browser(stranger)
        assert rows_of(page.get(LIST)) == []
        assert "15.29" not in text_of(page.get(LIST + "totals/"))
        assert str(session.uuid) not in page.get(LIST + "export/").getvalue().decode()
        for address in (a for a in self.ADDRESSES if "{id}" in a):
            assert page.get(LIST + address.format(id=session.uuid)).status_code == 404
        for address in self.MONEY:
            assert page.get(f"/fragments/billing/sessions/{session.uuid}/{address}").status_code == 404
        for action in ("release", "free", "price"):
            assert page.post(f"{LIST}{session.uuid}/{action}/").status_code == 404
        assert browser(driver).get(f"{LIST}{session.uuid}/").status_code == 404
        assert Client().get(LIST).status_code == 302

    @pytest.mark.parametrize(("role", "shown"), [("operator", True), ("technician", False), ("viewer", False)])
    def test_personal_data_only_where_it_may_be_seen(
        self, request: pytest.FixtureRequest, session: Any, browser: Browser, role: str, shown: bool
    ) -> None:
        page = browser(request.getfixturevalue(role))
        for address in (LIST, f"{LIST}{session.uuid}/"):
            words = text_of(page.get(address))
            assert ("Dana Driver" in words) == shown
            assert (session.token_shown in words) == shown
            assert f"…{session.token_shown[-4:]}" in words or shown
        table = page.get(LIST + "export/").getvalue().decode()
        assert ("Dana Driver" in table) == shown
        found = rows_of(page.get(LIST, {"q": "Dana"}))
        assert (found == [str(session.uuid)]) == shown
        assert rows_of(page.get(LIST, {"token": session.token_shown, "state": "ended"})) == [str(session.uuid)]
        assert (rows_of(page.get(LIST, {"token": "other"})) == []) == shown  # the others cannot search by it at all

    def test_a_technician_s_sites(self, session: Any, technician: Membership, browser: Browser) -> None:
        elsewhere = scene.ended(scene.station(session.operator), settled=False)
        technician.all_sites, technician.site_ids = False, [elsewhere.site_id]
        technician.save()
        page = browser(technician)
        assert rows_of(page.get(LIST)) == [str(elsewhere.uuid)]
        assert page.get(f"{LIST}{session.uuid}/").status_code == 404


@pytest.mark.django_db
class TestList:
    def test_what_a_row_tells(self, session: Any, owner: Membership, browser: Browser) -> None:
        words = text_of(browser(owner).get(LIST))
        for part in ("Hamburg, Harbour, connector 1", "Dana Driver", "Stopped at the charger", "31.2 kWh", "1:00:00"):
            assert part in words
        assert "€15.29" in words

    def test_a_running_session_shows_its_cost_so_far(self, pole: Station, owner: Membership, browser: Browser) -> None:
        scene.running(pole, kwh="10")
        words = text_of(browser(owner).get(LIST))
        assert "Charging" in words
        assert "€4.90" in words

    def test_filters(self, pole: Station, session: Any, owner: Membership, browser: Browser) -> None:
        running = scene.running(pole)
        held = scene.ended(
            scene.station(pole.operator, name="Quay 7"),
            review=["jump"],
            start="2026-11-12 22:30",
            end="2026-11-12 22:59",
        )
        page = browser(owner)

        def found(**wanted: Any) -> set[str]:
            return set(rows_of(page.get(LIST, wanted)))

        one, two, three = (str(row.uuid) for row in (session, running, held))
        assert found() == {one, two, three}
        assert found(state="active") == {two}
        assert found(state="ended") == {one, three}
        assert found(state="nonsense") == set()
        assert found(review="held") == found(bill="held") == found(bill="review") == {three}
        assert found(bill="priced") == {one}
        assert found(station=pole.identity) == {one, two}
        assert found(site=held.site.uuid) == {three}
        assert found(site="nonsense") == set()
        assert found(driver=session.driver.uuid) == {one}
        assert found(token=session.token_shown.lower()) == {one}
        assert found(q="quay") == {three}
        assert found(q="dana dr") == {one}
        assert found(q=session.token_shown[2:]) == {one}
        assert found(q=str(session.uuid)) == {one}
        assert found(q="%") == set()
        # Days are those of the viewer's zone: 22:30 UTC is still the 12th in Berlin.
        assert found(**{"from": "2026-11-12", "to": "2026-11-12"}) == {three}
        assert found(ended_from="2026-11-10", ended_to="2026-11-10") == {one}
        assert found(**{"from": "soon"}) == set()

    def test_pages_by_position(self, pole: Station, owner: Membership, browser: Browser) -> None:
        made = [str(scene.ended(pole, settled=False, start="2026-11-10 17:00").uuid) for _ in range(3)]  # one moment
        made += [
            str(scene.ended(pole, settled=False, start="2026-11-11 17:00", end="2026-11-11 18:00").uuid)
            for _ in range(50)
        ]
        newest, page = made[::-1], browser(owner)
        first = page.get(LIST, {"state": "ended"})
        assert rows_of(first) == newest[:50]
        older = re.search(r'rel="next" href="(\?[^"]+)"', first.content.decode())
        assert older is not None
        assert "state=ended" in older[1]
        second = page.get(LIST + older[1].replace("&amp;", "&"))
        assert rows_of(second) == newest[50:]
        newer = re.search(r'rel="prev" href="(\?[^"]+)"', second.content.decode())
        assert newer is not None
        assert rows_of(page.get(LIST + newer[1].replace("&amp;", "&"))) == newest[:50]
        assert rows_of(page.get(LIST, {"before": "00000000-0000-7000-8000-000000000000"})) == newest[:50]

    def test_what_it_comes_to_over_all_pages(
        self, pole: Station, session: Any, owner: Membership, browser: Browser
    ) -> None:
        scene.ended(pole, wh="1000")
        scene.running(pole, kwh="2")
        assert text_of(browser(owner).get(LIST + "totals/")).strip() == "3 sessions, 34.2 kWh, €15.78"
        assert text_of(browser(owner).get(LIST + "totals/", {"state": "active"})).strip() == "1 session, 2.0 kWh"

    def test_as_many_queries_for_fifty_rows_as_for_ten(
        self, pole: Station, driver: Driver, owner: Membership, browser: Browser
    ) -> None:
        page, counts = browser(owner), []
        for made in (10, 40):
            for number in range(made):
                scene.ended(pole, driver) if number % 2 else scene.running(pole, driver, minutes=1)
            with CaptureQueriesContext(connection) as queries:
                assert len(rows_of(page.get(LIST))) >= made
            counts.append(len(queries))
        # Log-in, membership and the rail's counts are in it.
        assert counts[0] == counts[1] <= 20

    def test_the_table_to_keep(self, session: Any, owner: Membership, browser: Browser) -> None:
        session.driver.name = "=1+1"
        session.driver.save()
        answer = browser(owner).get(LIST + "export/", {"state": "ended"})
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert answer["Content-Disposition"].startswith('attachment; filename="sessions-')
        header, row, end = answer.getvalue().decode().split("\r\n")
        assert header.startswith("\ufeffSession,Station,Site,Connector,Driver,Token,Started,Ended,Time zone")
        number = session.bill.document.number
        assert row == (
            f"{session.uuid},{session.station.identity},Harbour,1,'=1+1,{session.token_shown},2026-11-10 18:00:00,"
            f"2026-11-10 19:00:00,Europe/Berlin,3600,31.204,120.000,151.204,Local,,EUR,12.85,2.44,15.29,rated,{number}"
        )
        assert end == ""


@pytest.mark.django_db
class TestPage:
    def test_the_story_in_order(self, pole: Station, driver: Driver, owner: Membership, browser: Browser) -> None:
        session = scene.ended(pole, driver, review=["clock_offset"])
        at, plug = session.started_at, session.connector

        def happened(seconds: int, status: str) -> None:
            when = at + dt.timedelta(seconds=seconds)
            StatusChange.objects.create(connector=plug, status=status, at=when, received_at=when)

        for seconds, status in (
            (-3000, "Charging"),
            (-900, "Available"),
            (-30, "Preparing"),
            (1, "Charging"),
            (1800, "SuspendedEVSE"),
            (3600, "Finishing"),
            (3700, "Available"),
            (3800, "Preparing"),
        ):
            happened(seconds, status)
        for seconds, status in ((-20, "Invalid"), (-10, "Accepted"), (0, "Accepted")):
            AuthorizationAttempt.objects.create(
                operator=pole.operator,
                station=pole,
                token=session.token,
                shown=session.token_shown,
                status=status,
                at=at + dt.timedelta(seconds=seconds),
            )
        Command.objects.create(
            station=pole,
            command="stop",
            arguments={"session": str(session.uuid)},
            status="accepted",
            requested_by="Lena",
            requested_at=at + dt.timedelta(seconds=3590),
        )
        Command.objects.create(
            station=pole,
            command="stop",
            arguments={"session": "another"},
            requested_by="Nobody",
            requested_at=at + dt.timedelta(seconds=60),
        )
        page = browser(owner)
        story = page.get(f"/fragments/billing/sessions/{session.uuid}/story/")
        titles = re.findall(r"<strong>(.*?)</strong>", story.content.decode())
        assert titles == [
            "Plugged in",
            "Token refused: Invalid",
            "Token accepted",
            "Session started",
            "Charging",
            "Paused by limit",
            "Stop asked for",
            "Stopped at the charger",
            "Finishing",
            "Unplugged, the connector is free",
            "Priced",
            "Receipt",
        ]
        words = text_of(story)
        for part in ("18:00:00", "120.000 kWh", "151.204 kWh", "Lena, Charger answered Accepted", "€15.29", "R-2026-"):
            assert part in words
        # Without scripts the page itself tells all but the money.
        assert "Unplugged, the connector is free" in text_of(page.get(f"{LIST}{session.uuid}/"))

    def test_times_in_the_zone_of_the_site(self, tenant: Operator, owner: Membership, browser: Browser) -> None:
        site = scene.world.site(tenant, time_zone="Asia/Tokyo", country="JP")
        session = scene.ended(scene.world.station(site), settled=False)
        words = text_of(browser(owner).get(f"{LIST}{session.uuid}/"))
        assert "11 Nov 2026, 02:00:00 +0900" in words
        assert "Asia/Tokyo" in words

    def test_reasons_in_words(self, pole: Station, owner: Membership, browser: Browser) -> None:
        session = scene.ended(pole, review=["jump", "clock_offset"])
        words = text_of(browser(owner).get(f"{LIST}{session.uuid}/"))
        assert "The meter jumped. The bill waits for a decision." in words
        assert "The station's clock was off" in words
        assert words.count("The bill waits for a decision.") == 1

    def test_cost_lines_with_their_reasons(self, session: Any, owner: Membership, browser: Browser) -> None:
        words = text_of(browser(owner).get(f"/fragments/billing/sessions/{session.uuid}/lines/"))
        assert "Energy 31.204 kWh × €0.49/kWh, 18:00–19:00 €15.29 VAT included €2.44 Total €15.29" in words
        assert browser(owner).get(f"/fragments/billing/sessions/{session.uuid}/cost/").content.decode() == "€15.29"

    def test_messages_with_their_answers_and_evidence(self, session: Any, owner: Membership, browser: Browser) -> None:
        scene.frame(session, "StopTransaction", session.stopped_at)
        session.evidence.create(kind="stop", at=session.stopped_at, digest="ab" * 16, text='{"register_wh": "151204"}')
        page = browser(owner)
        log = text_of(page.get(f"{LIST}{session.uuid}/messages/"))
        assert "StopTransaction" in log
        assert 'Our answer [ 3, "m1", {} ]' in log
        assert "4 ms" in log
        assert "151204" in text_of(page.get(f"{LIST}{session.uuid}/"))

    def test_evidence_is_masked(self, session: Any, viewer: Membership, browser: Browser) -> None:
        session.evidence.create(
            kind="stop", at=session.stopped_at, digest="ab" * 16, text=f'{{"token": "{session.token_shown}"}}'
        )
        words = text_of(browser(viewer).get(f"{LIST}{session.uuid}/"))
        assert "abababababababab" in words
        assert session.token_shown not in words

    @pytest.mark.parametrize(
        ("role", "offered"), [("operator", True), ("technician", True), ("accountant", False), ("viewer", False)]
    )
    def test_the_stop_button_says_what_it_does(
        self, request: pytest.FixtureRequest, pole: Station, driver: Driver, browser: Browser, role: str, offered: bool
    ) -> None:
        session = scene.running(pole, driver, kwh="5")
        body = browser(request.getfixturevalue(role)).get(f"{LIST}{session.uuid}/").content.decode()
        assert (f'name="session" value="{session.uuid}"' in body) == offered
        assert ("ends after 5.0" in body) == offered

    def test_stop_asks_the_charger(self, pole: Station, operator: Membership, browser: Browser) -> None:
        session = scene.running(pole)
        page = browser(operator)
        answer = page.post(f"/console/stations/{pole.uuid}/ask/", {"command": "stop", "session": str(session.uuid)})
        assert answer.status_code in (200, 302)
        command = Command.objects.get()
        assert (command.command, command.user) == ("stop", operator.user)
        assert command.payload == {"transactionId": int(session.transaction_ref)}

    def test_an_offline_station_cannot_be_asked(self, tenant: Operator, operator: Membership, browser: Browser) -> None:
        session = scene.running(scene.station(tenant, online=False))
        assert "The charger is not connected." in text_of(browser(operator).get(f"{LIST}{session.uuid}/"))


@pytest.mark.django_db
class TestDecisions:
    @pytest.mark.parametrize("role", ["technician", "viewer"])
    def test_not_for_everybody(
        self, request: pytest.FixtureRequest, pole: Station, browser: Browser, role: str
    ) -> None:
        session = scene.ended(pole, review=["jump"])
        page = browser(request.getfixturevalue(role))
        assert page.get(f"/fragments/billing/sessions/{session.uuid}/review/").status_code == 403
        for action in ("release", "free", "price"):
            assert page.post(f"{LIST}{session.uuid}/{action}/").status_code == 403
        assert SessionBill.objects.get().state == "held"
        assert "/review/" not in page.get(f"{LIST}{session.uuid}/").content.decode()

    def test_what_each_decision_means(self, pole: Station, accountant: Membership, browser: Browser) -> None:
        session = scene.ended(pole, review=["jump"])
        page = browser(accountant)
        assert f"/sessions/{session.uuid}/review/" in page.get(f"{LIST}{session.uuid}/").content.decode()
        body = page.get(f"/fragments/billing/sessions/{session.uuid}/review/")
        words = text_of(body)
        assert "Held because: the meter jumped." in words
        assert "31.204 kWh" in words
        assert "Released, it costs €15.29." in words
        assert "€15.29 for 31.204" in body.content.decode()

    @pytest.mark.parametrize(("action", "amount"), [("release", 1529), ("free", 0)])
    def test_decide(self, pole: Station, accountant: Membership, browser: Browser, action: str, amount: int) -> None:
        session = scene.ended(pole, review=["jump"])
        page = browser(accountant)
        answer = page.post(f"{LIST}{session.uuid}/{action}/", follow=True)
        assert answer.redirect_chain == [(f"{LIST}{session.uuid}/", 302)]
        assert f"Billed: €{amount / 100:.2f}." in text_of(answer)
        assert SessionBill.objects.get().incl_vat_minor == amount
        assert AuditEntry.objects.get(action__startswith="session.").user == accountant.user
        again = page.post(f"{LIST}{session.uuid}/{action}/")
        assert again.status_code == 409
        assert "does not wait for a decision" in text_of(again)

    def test_price_again_once_there_is_a_tariff(self, tenant: Operator, owner: Membership, browser: Browser) -> None:
        session = scene.ended(scene.station(tenant))
        page = browser(owner)
        lines = page.get(f"/fragments/billing/sessions/{session.uuid}/lines/")
        assert "No tariff was valid here when the session began" in text_of(lines)
        assert f"{LIST}{session.uuid}/price/" in lines.content.decode()
        assert "Held back" in text_of(page.post(f"{LIST}{session.uuid}/price/", follow=True))
        scene.publish(tenant)
        assert "Billed: €15.29." in text_of(page.post(f"{LIST}{session.uuid}/price/", follow=True))
        assert (
            f"{LIST}{session.uuid}/price/"
            not in page.get(f"/fragments/billing/sessions/{session.uuid}/lines/").content.decode()
        )

    def test_only_by_post(self, pole: Station, owner: Membership, browser: Browser) -> None:
        session = scene.ended(pole, review=["jump"])
        for action in ("release", "free", "price"):
            assert browser(owner).get(f"{LIST}{session.uuid}/{action}/").status_code == 405


@pytest.mark.django_db
class TestForOtherPages:
    def test_the_newest_sessions_of_a_station(
        self, pole: Station, session: Any, owner: Membership, stranger: Membership, browser: Browser
    ) -> None:
        scene.ended(scene.station(pole.operator), settled=False)
        answer = browser(owner).get(f"/console/stations/{pole.uuid}/newest-sessions/")
        assert rows_of(answer) == [str(session.uuid)]
        assert "Connector 1" in text_of(answer)
        assert browser(stranger).get(f"/console/stations/{pole.uuid}/newest-sessions/").status_code == 404

    def test_revenue_today(self, pole: Station, owner: Membership, browser: Browser) -> None:
        now = timezone.now()
        for wh in ("10000", "20000"):
            ended = scene.ended(pole, settled=False, wh=wh)
            type(ended).objects.filter(pk=ended.pk).update(stopped_at=now, stop_received_at=now)
            scene.settlement.settle(ended.pk, now=now)
        scene.ended(pole)
        words = text_of(browser(owner).get("/fragments/billing/revenue-today/")).strip()
        assert words == "Revenue today €14.70 2 sessions, €7.35 each"
