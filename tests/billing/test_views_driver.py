"""The driver portal around money: one's own sessions, receipts, history and statements, and nobody else's."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pypdf import PdfReader

from accounts.models import Driver, Membership, Operator
from billing import invoicing
from billing.models import BillingAccount, Document, Payer, SessionBill
from billing.payers import ensure_account
from sessions.models import ChargingSession
from stations.models import Connector, Station
from tests.billing import world
from tests.factories import make_driver, make_operator, make_person
from tests.people import Browser
from tests.sessions import scene
from tests.sessions.test_views_console import text_of

IDLE: dict[str, Any] = {
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": Decimal("0.59"), "step_size": 1},
                {"type": "PARKING_TIME", "price": Decimal("18.00"), "step_size": 1},
            ]
        }
    ],
    "voltyard": {"idle_grace_seconds": 600},
}


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant, world.price_list(**IDLE))
    return scene.station(tenant, name="Harbour Quay 1")


@pytest.fixture
def other(tenant: Operator) -> Driver:
    return make_driver(tenant, user=make_person("other@example.com"), name="Otto Other")


def paper_of(session: ChargingSession) -> Document:
    return Document.objects.get(sessions=session)


@pytest.mark.django_db
class TestMySession:
    def test_nobody_charges(self, driver: Driver, browser: Browser) -> None:
        answer = browser(driver).get("/driver/")
        assert "You are not charging" in text_of(answer)
        assert 'data-live-topic="driver"' in answer.content.decode()

    def test_figures_cost_and_rules(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver, kwh="43.2")
        answer = browser(driver).get("/driver/")
        words = text_of(answer)
        for part in (
            "Harbour Quay 1 Connector 1, Type 2, up to 22 kW",
            "43.2 kWh",
            "11 kW",
            "Cost so far €25.49",
            "43.2 kWh at €0.59 per kWh, VAT included",
            "Parking after charging: free for 10 min, then €0.30 per minute.",
            "Energy 43.200 kWh × €0.59/kWh",
            "Stop charging",
        ):
            assert part in words, part
        body = answer.content.decode().replace("&nbsp;", "\N{NO-BREAK SPACE}")
        assert "You pay €25.49 for 43.2\N{NO-BREAK SPACE}kWh." in body  # the effect, before it happens
        assert f'data-live-topic="driver-session:{session.uuid}"' in body
        # Without scripts the button is a plain form.
        assert f'<form method="post" action="/driver/sessions/{session.uuid}/stop/">' in body

    def test_the_car_is_full(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver, minutes=30, kwh="10", charging_state="SuspendedEV")
        now = timezone.now()
        url = f"/driver/sessions/{session.uuid}/cost/"
        scene.reading(session, now - 5 * scene.MINUTE, "130000", state="SuspendedEV")
        ChargingSession.objects.filter(pk=session.pk).update(meter_last_wh=130_000)
        session.readings.filter(at__gt=now - 6 * scene.MINUTE).exclude(charging_state="SuspendedEV").delete()
        assert "Your car is done. Parking is free until" in text_of(browser(driver).get(url))
        session.readings.filter(charging_state="SuspendedEV").delete()
        session.readings.filter(at__gt=now - 16 * scene.MINUTE).delete()
        scene.reading(session, now - 15 * scene.MINUTE, "130000", state="SuspendedEV")
        words = text_of(browser(driver).get(url))
        assert "and parking costs now." in words
        assert "Idle time after charging" in words

    def test_it_shows_what_just_ended_with_its_price(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.ended(pole, driver, settled=False)
        page = browser(driver)
        assert "You are not charging" in text_of(page.get("/driver/"))
        now = timezone.now()
        ChargingSession.objects.filter(pk=session.pk).update(stopped_at=now, stop_received_at=now)
        words = text_of(page.get("/driver/"))
        assert "Total €18.41" in words
        assert "The price and the receipt appear here within seconds." in words
        scene.settlement.settle(session.pk, now=now)
        words = text_of(page.get("/driver/"))
        assert f"Receipt {paper_of(session).number}" in words
        assert "Receipt as PDF" in words

    def test_several_at_once(self, pole: Station, driver: Driver, browser: Browser) -> None:
        first = scene.running(pole, driver, minutes=30)
        second = scene.running(scene.station(pole.operator, name="Quay 2"), driver, minutes=5)
        answer = browser(driver).get("/driver/")
        assert "Quay 2" in text_of(answer)
        assert f'href="/driver/sessions/{first.uuid}/"' in answer.content.decode()
        there = browser(driver).get(f"/driver/sessions/{first.uuid}/").content.decode()
        assert f'data-live-topic="driver-session:{first.uuid}"' in there
        assert f"driver-session:{second.uuid}" not in there

    def test_no_price_applies(self, tenant: Operator, driver: Driver, browser: Browser) -> None:
        session = scene.running(scene.station(tenant), driver)
        words = text_of(browser(driver).get(f"/driver/sessions/{session.uuid}/"))
        assert "No tariff was valid here when the session began" in words

    def test_in_german(self, pole: Station, driver: Driver, browser: Browser) -> None:
        assert driver.user is not None
        driver.user.language = "de"
        driver.user.save()
        scene.running(pole, driver, kwh="43.2")
        words = text_of(browser(driver).get("/driver/"))
        assert "25,49 €" in words
        assert "43,2 kWh" in words


@pytest.mark.django_db
class TestReceipt:
    def test_total_lines_and_vat(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.ended(pole, driver, idle=1200)
        page = browser(driver)
        for url in (f"/driver/history/{session.uuid}/", f"/driver/sessions/{session.uuid}/"):
            words = text_of(page.get(url))
            for part in (
                "Total €21.41",  # 18.41 + 10 paid minutes of idle time at 0.30
                "Energy 31.204 kWh × €0.59/kWh",
                "€18.41",
                "Idle time after charging",
                "19% €17.99 €3.42",
                "Stopped at the charger",
                "Card ending",
                paper_of(session).number,
                pole.operator.name,
            ):
                assert part in words, part

    def test_the_pdf(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.ended(pole, driver)
        page = browser(driver)
        [url] = re.findall(
            r'href="(/driver/papers/[^"]+)"', page.get(f"/driver/history/{session.uuid}/").content.decode()
        )
        answer = page.get(url)
        assert answer["Content-Type"] == "application/pdf"
        assert "18.41" in PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()

    def test_a_held_session_has_no_price(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.ended(pole, driver, review=["jump"])
        words = text_of(browser(driver).get(f"/driver/history/{session.uuid}/"))
        assert "The operator checks this session before it is billed: The meter jumped." in words
        assert "€" not in words
        assert "being checked" in text_of(browser(driver).get("/driver/history/"))

    def test_who_gets_a_monthly_invoice(self, pole: Station, driver: Driver, browser: Browser) -> None:
        account = ensure_account(driver)
        BillingAccount.objects.filter(pk=account.pk).update(mode="monthly")
        session = scene.ended(pole, driver)
        page = browser(driver)
        words = text_of(page.get(f"/driver/history/{session.uuid}/"))
        assert "Comes on the monthly invoice" in words
        assert "Charging record as PDF" in words
        [invoice] = invoicing.issue(account, dt.date(2026, 11, 1), by=None, at=world.at("2026-12-01 03:10"))
        assert f"On invoice {invoice.number}" in text_of(page.get(f"/driver/history/{session.uuid}/"))
        history = page.get("/driver/history/")
        assert f"Invoice {invoice.number} as PDF" in text_of(history)
        assert page.get(f"/driver/papers/{invoice.uuid}/").content.startswith(b"%PDF")


@pytest.mark.django_db
class TestOnlyOnesOwn:
    def test_sessions_and_papers_of_others_do_not_exist(
        self, pole: Station, driver: Driver, other: Driver, owner: Membership, browser: Browser
    ) -> None:
        theirs = scene.ended(pole, other)
        guest = scene.ended(pole)
        for person in (driver, owner):
            page = browser(person)
            for session in (theirs, guest):
                for url in (
                    f"/driver/sessions/{session.uuid}/",
                    f"/driver/history/{session.uuid}/",
                    f"/driver/sessions/{session.uuid}/cost/",
                    f"/driver/papers/{paper_of(session).uuid}/",
                ):
                    assert page.get(url).status_code == 404, url
        page = browser(driver)
        assert "Nothing charged yet" in text_of(page.get("/driver/history/"))
        assert len(page.get("/driver/history/statement/").getvalue().splitlines()) == 1
        assert "Nothing found" in text_of(page.get("/driver/history/", {"q": paper_of(theirs).number}))

    def test_not_the_invoice_of_an_employer_with_colleagues_on_it(
        self, pole: Station, driver: Driver, other: Driver, browser: Browser
    ) -> None:
        company = BillingAccount.objects.create(operator=pole.operator, name="Fleet GmbH", mode="monthly")
        for person in (driver, other):
            Payer.objects.create(operator=pole.operator, account=company, driver=person)
        mine, theirs = scene.ended(pole, driver), scene.ended(pole, other)
        [invoice] = invoicing.issue(company, dt.date(2026, 11, 1), by=None, at=world.at("2026-12-01 03:10"))
        page = browser(driver)
        assert page.get(f"/driver/papers/{invoice.uuid}/").status_code == 404
        record = {s: s.documents.get(kind="charging_record") for s in (mine, theirs)}
        assert page.get(f"/driver/papers/{record[mine].uuid}/").status_code == 200
        assert page.get(f"/driver/papers/{record[theirs].uuid}/").status_code == 404

    def test_nobody_without_log_in_or_without_charging(
        self, pole: Station, driver: Driver, owner: Membership, client: Any, browser: Browser
    ) -> None:
        for url in ("/driver/", "/driver/history/", "/driver/find/", "/driver/history/statement/"):
            assert client.get(url).status_code == 302
            assert browser(owner).get(url).status_code == 404


@pytest.mark.django_db
class TestHistory:
    def test_by_month_with_the_sums_of_whole_months(self, pole: Station, driver: Driver, browser: Browser) -> None:
        scene.ended(
            pole, driver, start="2026-10-31 23:30", end="2026-11-01 00:30"
        )  # still October in UTC, November in Berlin
        scene.ended(pole, driver)
        scene.ended(pole, driver, start="2026-10-05 10:00", end="2026-10-05 11:00", wh="1000")
        words = text_of(browser(driver).get("/driver/history/"))
        assert "November 2026 62.4 kWh €36.82" in words
        assert "October 2026 1.0 kWh €0.59" in words
        assert words.index("November 2026") < words.index("October 2026")

    def test_search(self, pole: Station, driver: Driver, browser: Browser) -> None:
        quay, dock = scene.ended(pole, driver), scene.ended(scene.station(pole.operator, name="Dock 9"), driver)
        page = browser(driver)

        def found(text: str) -> set[str]:
            return set(
                re.findall(
                    r"/driver/history/([0-9a-f-]{36})/", page.get("/driver/history/", {"q": text}).content.decode()
                )
            )

        assert found("quay") == {str(quay.uuid)}
        assert found("hamburg") == {str(quay.uuid), str(dock.uuid)}
        assert found(paper_of(dock).number) == {str(dock.uuid)}
        assert found("nowhere") == set()

    def test_two_operators_are_apart(self, pole: Station, driver: Driver, browser: Browser) -> None:
        rival = make_operator("rival", name="Rival Energy", currency="CHF")
        again = make_driver(rival, user=driver.user)
        scene.publish(rival, world.price_list("0.40", currency="CHF", vat="8.1"))
        scene.ended(pole, driver)
        scene.ended(scene.station(rival), again, wh="10000", currency="CHF")
        page = browser(driver)
        words = text_of(page.get("/driver/history/"))
        assert "November 2026 Lighthouse Charging, 31.2 kWh €18.41" in words
        assert "November 2026 Rival Energy, 10.0 kWh CHF 4.00" in words
        months = re.findall(r'href="(/driver/history/statement/[^"]*)"', page.get("/driver/history/").content.decode())
        sizes = [len(page.get(url.replace("&amp;", "&")).getvalue().splitlines()) for url in months]
        assert sizes == [2, 2, 3]

    def test_a_page_of_fifty(self, pole: Station, driver: Driver, browser: Browser) -> None:
        for _ in range(52):
            scene.ended(pole, driver, settled=False)
        page = browser(driver)
        first = page.get("/driver/history/")
        older = re.search(r'href="(\?[^"]*before=[^"]+)"', first.content.decode())
        assert older is not None
        second = page.get("/driver/history/" + older[1].replace("&amp;", "&"))
        counts = [
            len(set(re.findall(r'href="/driver/history/([0-9a-f-]{36})/"', a.content.decode())))
            for a in (first, second)
        ]
        assert counts == [50, 2]
        assert "1,622.6 kWh" in text_of(second) or "1.62 MWh" in text_of(second)  # the month's sum, not the page's

    def test_the_statement_is_right_to_the_cent(self, pole: Station, driver: Driver, browser: Browser) -> None:
        site = pole.site
        site.name = "@SUM(1)"
        site.city = ""
        site.save()
        sessions = [scene.ended(pole, driver, wh=str(997 * n)) for n in range(1, 20)]
        answer = browser(driver).get("/driver/history/statement/", {"month": "2026-11"})
        assert answer["Content-Disposition"] == 'attachment; filename="charging-2026-11.csv"'
        header, *rows = csv.reader(io.StringIO(answer.getvalue().decode().removeprefix("\ufeff")))
        assert header[:3] == ["Started", "Ended", "Time zone"]
        assert len(rows) == 19
        assert rows[0][:3] == ["2026-11-10 18:00:00", "2026-11-10 19:00:00", "Europe/Berlin"]
        assert rows[0][4] == "'@SUM(1)"
        bills = SessionBill.objects.filter(session__in=sessions)
        assert sum(Decimal(row[11]) for row in rows) * 100 == sum(bill.incl_vat_minor or 0 for bill in bills)
        assert {row[13] for row in rows} == set(Document.objects.values_list("number", flat=True))
        assert len(browser(driver).get("/driver/history/statement/", {"month": "2026-10"}).getvalue().splitlines()) == 1

    def test_the_same_number_of_queries_for_fifty_as_for_five(
        self, pole: Station, driver: Driver, browser: Browser
    ) -> None:
        page, counts = browser(driver), []
        for made in (5, 45):
            for _ in range(made):
                scene.ended(pole, driver)
            with CaptureQueriesContext(connection) as queries:
                page.get("/driver/history/")
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 15


@pytest.mark.django_db
class TestFind:
    def test_free_connectors_and_the_price_in_words(self, pole: Station, driver: Driver, browser: Browser) -> None:
        busy = scene.station(pole.operator, name="Busy 1")
        Connector.objects.filter(evse__station=busy).update(status="Charging")
        scene.station(pole.operator, name="Silent 1", online=False)
        scene.station(pole.operator, name="Gone 1", retired_at=timezone.now())
        scene.station(pole.operator, name="Waiting 1", registration="pending")
        page = browser(driver)
        words = text_of(page.get("/driver/find/"))
        quay = words[words.index("Harbour Quay 1") :]
        assert "1 of 1 free" in quay[:200]
        for part in (
            "€0.59 per kWh, VAT included",
            "30 kWh in 40 minutes: €17.70.",
            "free for 10 min, then €0.30 per minute",
        ):
            assert part in words
        assert "None free" in words
        assert "Offline" in words
        assert "Gone 1" not in words
        assert "Waiting 1" not in words
        free = text_of(page.get("/driver/find/", {"free": "1"}))
        assert "Harbour Quay 1" in free
        assert "Busy 1" not in free
        assert "Silent 1" not in free
        assert "Busy 1" in text_of(page.get("/driver/find/", {"q": "busy"}))
        assert "No charger found" in text_of(page.get("/driver/find/", {"plug": "CHADEMO"}))

    def test_the_driver_s_own_price(self, pole: Station, driver: Driver, other: Driver, browser: Browser) -> None:
        special = world.price_list("0.19", id="friends", voltyard={"applies_to": {"drivers": [str(driver.uuid)]}})
        scene.publish(pole.operator, special)
        assert "€0.19 per kWh" in text_of(browser(driver).get("/driver/find/"))
        assert "€0.59 per kWh" in text_of(browser(other).get("/driver/find/"))

    def test_other_operators_chargers_are_not_shown(
        self, pole: Station, driver: Driver, other_tenant: Operator, browser: Browser
    ) -> None:
        scene.station(other_tenant, name="Rival 1")
        assert "Rival 1" not in text_of(browser(driver).get("/driver/find/"))

    def test_without_a_price(self, tenant: Operator, driver: Driver, browser: Browser) -> None:
        scene.station(tenant)
        assert "No price is set here yet." in text_of(browser(driver).get("/driver/find/"))

    def test_the_same_number_of_queries_for_twenty_as_for_two(
        self, pole: Station, driver: Driver, browser: Browser
    ) -> None:
        page, counts = browser(driver), []
        page.get("/driver/find/")  # the price list is remembered from here on
        for made in (1, 18):
            for _ in range(made):
                scene.station(pole.operator)
            with CaptureQueriesContext(connection) as queries:
                page.get("/driver/find/")
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 15
