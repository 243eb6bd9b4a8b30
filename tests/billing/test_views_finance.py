"""The finance portal and the tariff pages: sums to the cent, the way back to the sessions, each role what it may."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pypdf import PdfReader

from accounts.models import AuditEntry, Driver, Membership, Operator
from billing import documents, invoicing
from billing.models import BillingAccount, Document, ReportRun, SessionBill, Tariff
from billing.payers import ensure_account
from stations.models import Station
from tests.billing import world
from tests.people import Browser
from tests.sessions import scene
from tests.sessions.test_views_console import rows_of, text_of

NOVEMBER = {"from": "2026-11-01", "to": "2026-11-30"}


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


@pytest.fixture
def paper(pole: Station, driver: Driver) -> Document:
    return Document.objects.get(sessions=scene.ended(pole, driver))


def invoice_of(pole: Station, driver: Driver, month: int = 11) -> Document:
    """Return the invoice of a month of 2026 for two sessions, due on the 15th of the next."""
    account = ensure_account(driver)
    BillingAccount.objects.filter(pk=account.pk).update(mode="monthly", email="dana@example.com")
    for day in (10, 12):
        scene.ended(pole, driver, start=f"2026-{month:02}-{day} 17:00", end=f"2026-{month:02}-{day} 18:00")
    at = world.at(f"2026-{month + 1:02}-01 03:10")
    [invoice] = invoicing.issue(account, dt.date(2026, month, 1), by=None, at=at)
    return invoice


@pytest.mark.django_db
class TestWho:
    ADDRESSES = ("", "revenue/", "revenue/csv/", "documents/", "documents/{id}/", "reports/")

    @pytest.mark.parametrize(
        ("role", "money", "people"),
        [
            ("owner", True, True),
            ("admin", True, True),
            ("operator", True, True),
            ("accountant", True, True),
            ("viewer", True, False),
            ("technician", False, False),
        ],
    )
    def test_each_role(
        self, request: pytest.FixtureRequest, paper: Document, browser: Browser, role: str, money: bool, people: bool
    ) -> None:
        page = browser(request.getfixturevalue(role))
        for address in self.ADDRESSES:
            answer = page.get("/finance/" + address.format(id=paper.uuid))
            assert answer.status_code == (200 if money else 403), address
            if money and "csv" not in address:
                assert "Dana Driver" not in text_of(answer) or people
        assert page.get(f"/finance/documents/{paper.uuid}/pdf/").status_code == (200 if people else 403)
        for address in ("/console/tariffs/", f"/console/tariffs/{Tariff.objects.get().uuid}/"):
            assert page.get(address).status_code == (200 if money else 403)

    def test_a_stranger_finds_nothing(
        self, paper: Document, stranger: Membership, driver: Driver, browser: Browser
    ) -> None:
        page = browser(stranger)
        tariff = Tariff.objects.get()
        for address in (
            f"/finance/documents/{paper.uuid}/",
            f"/finance/documents/{paper.uuid}/pdf/",
            f"/console/tariffs/{tariff.uuid}/",
        ):
            assert page.get(address).status_code == 404, address
        assert page.post(f"/console/tariffs/{tariff.uuid}/retire/").status_code == 404
        assert paper.number not in text_of(page.get("/finance/documents/"))
        assert "€15.29" not in text_of(page.get("/finance/revenue/", NOVEMBER))
        assert page.get("/finance/revenue/", {"site": paper.sessions.get().site.uuid}).status_code == 404
        assert browser(driver).get("/finance/").status_code == 404
        assert Client().get("/finance/").status_code == 302


@pytest.mark.django_db
class TestOverview:
    def test_sums_and_what_waits(self, pole: Station, driver: Driver, accountant: Membership, browser: Browser) -> None:
        scene.ended(pole)
        scene.ended(pole, review=["jump"])
        untaxed = scene.station(pole.operator)
        type(untaxed.site).objects.filter(pk=untaxed.site_id).update(country="XX")
        scene.ended(untaxed)
        invoice = invoice_of(pole, driver)
        page = browser(accountant)
        words = text_of(page.get("/finance/", {"month": "2026-11"}))
        assert "November 2026" in words
        assert "Revenue €45.87 3 sessions" in words  # 3 × 15.29
        assert "Net €38.55" in words
        assert "VAT €7.32" in words
        assert f"Open invoices €{invoice.incl_vat_minor / 100:.2f}" in words
        assert invoice.number in words
        assert "To review" in words
        assert "No VAT rate is known for the site's country" in words
        assert "€45.87" not in text_of(page.get("/finance/", {"month": "2026-10"}))

    def test_each_exception_leads_to_its_rows(self, pole: Station, accountant: Membership, browser: Browser) -> None:
        held = scene.ended(pole, review=["jump"])
        nowhere = scene.ended(scene.station(pole.operator), settled=False)
        SessionBill.objects.filter(session=nowhere).update(state="held", held_reason="no_tariff")
        unpriced = scene.ended(pole, settled=False)
        page = browser(accountant)
        body = page.get("/finance/").content.decode()
        links = re.findall(r'<a class="list-row" href="([^"]+)"', body)
        found = {link: rows_of(page.get(link.replace("&amp;", "&"))) for link in links}
        assert found == {
            "/console/sessions/?review=held": [str(held.uuid)],
            "/console/sessions/?bill=no_tariff": [str(nowhere.uuid)],
            "/console/sessions/?bill=unpriced": [str(unpriced.uuid)],
        }

    def test_nothing_waits(self, pole: Station, accountant: Membership, browser: Browser) -> None:
        scene.ended(pole)
        assert "Nothing is waiting" in text_of(browser(accountant).get("/finance/"))

    def test_currencies_are_never_added_up(self, tenant: Operator, accountant: Membership, browser: Browser) -> None:
        for currency in ("EUR", "CHF"):
            pole = scene.station(tenant)
            scene.publish(
                tenant,
                world.price_list(
                    id=currency, currency=currency, voltyard={"applies_to": {"stations": [pole.identity]}}
                ),
            )
            scene.ended(pole)
        words = text_of(browser(accountant).get("/finance/revenue/", NOVEMBER))
        assert "Total in CHF" in words
        assert "Total in EUR" in words
        assert "CHF 15.29" in words
        assert "30.58" not in words


@pytest.mark.django_db
class TestRevenue:
    def test_by_day_by_site_and_the_rows_behind(self, pole: Station, owner: Membership, browser: Browser) -> None:
        late = scene.ended(pole, start="2026-11-10 21:00", end="2026-11-10 23:00")  # ends on the 11th in Berlin
        early = scene.ended(pole)
        alpha = scene.station(pole.operator)
        type(alpha.site).objects.filter(pk=alpha.site_id).update(name="Alpha")
        there = scene.ended(alpha, wh="1000")
        page = browser(owner)
        by_day = page.get("/finance/revenue/", NOVEMBER)
        assert "Nov 10, 2026 2 32.2 kWh €13.26 €2.52 €15.78" in text_of(by_day)
        assert "Nov 11, 2026 1 31.2 kWh €12.85 €2.44 €15.29" in text_of(by_day)
        assert "Total in EUR 3 63.4 kWh €26.11 €4.96 €31.07" in text_of(by_day)
        links = [
            link.replace("&amp;", "&") for link in re.findall(r'data-row-link href="([^"]+)"', by_day.content.decode())
        ]
        assert [set(rows_of(page.get(link))) for link in links] == [
            {str(early.uuid), str(there.uuid)},
            {str(late.uuid)},
        ]
        by_site = page.get("/finance/revenue/", {**NOVEMBER, "by": "site"})
        assert "Alpha 1 1.0 kWh €0.41 €0.08 €0.49" in text_of(by_site)
        one = page.get("/finance/revenue/", {**NOVEMBER, "by": "both", "site": alpha.site.uuid})
        assert "Total in EUR 1 1.0 kWh" in text_of(one)

    def test_the_csv_is_right_to_the_cent(self, pole: Station, owner: Membership, browser: Browser) -> None:
        type(pole.site).objects.filter(pk=pole.site_id).update(name="=HYPERLINK(1)")
        amounts = [scene.bill_of(scene.ended(pole, wh=str(997 * n))) for n in range(1, 40)]
        answer = browser(owner).get("/finance/revenue/csv/", NOVEMBER)
        assert answer["Content-Disposition"] == 'attachment; filename="revenue-2026-11-01-2026-11-30.csv"'
        header, *rows = csv.reader(io.StringIO(answer.getvalue().decode().removeprefix("\ufeff")))
        assert header == ["Day", "Time zone", "Site", "Sessions", "Energy (kWh)", "Currency", "Net", "VAT", "Gross"]
        [row] = rows
        assert row[:4] == ["2026-11-10", "Europe/Berlin", "'=HYPERLINK(1)", "39"]
        assert Decimal(row[4]) == sum(997 * n for n in range(1, 40)) / Decimal(1000)
        sides = ("excl_vat_minor", "vat_minor", "incl_vat_minor")
        assert [Decimal(text) * 100 for text in row[6:]] == [sum(getattr(b, side) for b in amounts) for side in sides]

    def test_delimiter_and_decimal_comma(self, pole: Station, owner: Membership, browser: Browser) -> None:
        scene.ended(pole)
        page = browser(owner)
        comma = page.get("/finance/revenue/csv/", NOVEMBER).getvalue().decode()
        assert comma.endswith("2026-11-10,Europe/Berlin,Harbour,1,31.204,EUR,12.85,2.44,15.29\r\n")
        semicolon = page.get("/finance/revenue/csv/", {**NOVEMBER, "delimiter": ";"}).getvalue().decode()
        assert semicolon.endswith("2026-11-10;Europe/Berlin;Harbour;1;31,204;EUR;12,85;2,44;15,29\r\n")
        owner.user.language = "de"
        owner.user.save()
        german = page.get("/finance/revenue/csv/", NOVEMBER).getvalue().decode()
        assert german.splitlines()[1] == semicolon.splitlines()[1]
        assert page.get("/finance/revenue/csv/", {**NOVEMBER, "delimiter": ","}).getvalue().decode() == comma

    def test_formats_follow_the_language(self, pole: Station, owner: Membership, browser: Browser) -> None:
        scene.ended(pole)
        owner.user.language = "de"
        owner.user.save()
        assert "15,29 €" in text_of(browser(owner).get("/finance/revenue/", NOVEMBER))

    def test_the_viewer_s_sites_alone(self, pole: Station, viewer: Membership, browser: Browser) -> None:
        scene.ended(pole)
        other = scene.station(pole.operator)
        scene.ended(other, wh="1000")
        viewer.all_sites, viewer.site_ids = False, [other.site_id]
        viewer.save()
        page = browser(viewer)
        assert "Total in EUR 1 1.0 kWh" in text_of(page.get("/finance/revenue/", NOVEMBER))
        assert ",1,1.000,EUR,0.41,0.08,0.49" in page.get("/finance/revenue/csv/", NOVEMBER).getvalue().decode()
        assert page.get("/finance/revenue/csv/", {"site": pole.site.uuid}).status_code == 404

    @pytest.mark.parametrize(
        "wanted", [{"from": "soon"}, {"from": "2026-11-30", "to": "2026-11-01"}, {"to": "9999-12-31"}]
    )
    def test_odd_ranges(self, pole: Station, owner: Membership, browser: Browser, wanted: dict[str, str]) -> None:
        assert browser(owner).get("/finance/revenue/", wanted).status_code == 200

    async def test_streamed_without_reading_it_all_first(self, async_client: Any, transactional_db: None) -> None:
        """Under ASGI the body comes in chunks of its own (a plain iterator would be read to its end)."""
        from asgiref.sync import sync_to_async

        from tests.factories import make_member, make_operator

        def prepare() -> Any:
            operator = make_operator("streamed")
            scene.publish(operator)
            scene.ended(scene.station(operator))
            return make_member(operator).user

        await async_client.aforce_login(await sync_to_async(prepare)())
        answer = await async_client.get("/finance/revenue/csv/", NOVEMBER)
        assert answer.is_async
        body = b"".join([part async for part in answer.streaming_content])
        assert body.decode().endswith("12.85,2.44,15.29\r\n")


@pytest.mark.django_db
class TestDocuments:
    def test_list_filters_and_pages(
        self, pole: Station, driver: Driver, accountant: Membership, browser: Browser
    ) -> None:
        receipt = Document.objects.get(sessions=scene.ended(pole))
        late = invoice_of(pole, driver, month=2)
        fresh = invoice_of(pole, driver)
        Document.objects.filter(pk=fresh.pk).update(due_at=scene.FAR)
        page = browser(accountant)

        def found(**wanted: str) -> set[str]:
            return set(re.findall(r"[A-Z]-2026-\d{6}", text_of(page.get("/finance/documents/", wanted))))

        records = set(Document.objects.filter(kind="charging_record").values_list("number", flat=True))
        both = {late.number, fresh.number}
        assert found() == {receipt.number, *both, *records}
        assert found(kind="invoice") == found(q="Dana", kind="invoice") == found(state="open") == both
        assert found(q=fresh.number) == {fresh.number}
        assert found(state="overdue") == {late.number}
        assert text_of(page.get("/finance/documents/", {"kind": "invoice"})).count("Overdue") == 2  # filter and row
        assert found(state="paid") == set()

    def test_back_to_every_session(
        self, pole: Station, driver: Driver, accountant: Membership, browser: Browser
    ) -> None:
        invoice = invoice_of(pole, driver)
        answer = browser(accountant).get(f"/finance/documents/{invoice.uuid}/")
        sessions = {str(uuid) for uuid in invoice.sessions.values_list("uuid", flat=True)}
        assert set(rows_of(answer)) == sessions
        words = text_of(answer)
        for part in (
            "€30.58",
            "19%",
            "DE",
            "120.000 kWh",
            "151.204 kWh",
            "Dana Driver",
            "The text is as it was issued.",
        ):
            assert part in words

    def test_a_changed_text_breaks_the_seal(self, paper: Document, accountant: Membership, browser: Browser) -> None:
        # The database refuses edits, so somebody has put in a row of their own.
        fields = {field.attname: getattr(paper, field.attname) for field in Document._meta.concrete_fields}
        del fields["id"], fields["uuid"]
        forged = Document.objects.create(
            **{**fields, "sequence": 999, "number": "R-2026-000999", "body": paper.body.replace("15.29", "15.30")}
        )
        words = text_of(browser(accountant).get(f"/finance/documents/{forged.uuid}/"))
        assert "somebody has changed it" in words

    def test_the_pdf(self, paper: Document, accountant: Membership, browser: Browser) -> None:
        answer = browser(accountant).get(f"/finance/documents/{paper.uuid}/pdf/")
        assert answer["Content-Type"] == "application/pdf"
        assert answer["Content-Disposition"] == f'attachment; filename="{paper.number}.pdf"'
        assert answer.content == documents.pdf_of(Document.objects.get(pk=paper.pk))
        assert paper.number in PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()

    def test_as_many_queries_for_fifty_rows_as_for_ten(
        self, pole: Station, driver: Driver, accountant: Membership, browser: Browser
    ) -> None:
        page, counts = browser(accountant), []
        for made in (10, 40):
            for _ in range(made):
                scene.ended(pole, driver)
            with CaptureQueriesContext(connection) as queries:
                page.get("/finance/documents/")
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 12


@pytest.mark.django_db
class TestReports:
    def test_make_read_and_keep(self, pole: Station, accountant: Membership, browser: Browser) -> None:
        scene.ended(pole, start="2026-10-10 17:00", end="2026-10-10 18:00", idle=600)
        page = browser(accountant)
        answer = page.post("/finance/reports/", {"site": str(pole.site.uuid), "period": "2026-10"}, follow=True)
        run = ReportRun.objects.get()
        assert answer.redirect_chain == [(f"/finance/reports/{run.uuid}/", 302)]
        assert "2026-10-10" in text_of(answer)
        assert "31.204" in text_of(answer)
        table = page.get(f"/finance/reports/{run.uuid}/csv/")
        assert table.content.decode() == run.csv
        pdf = page.get(f"/finance/reports/{run.uuid}/pdf/")
        assert pdf.content.startswith(b"%PDF")
        assert pdf["Content-Disposition"] == 'attachment; filename="energy-Harbour-2026-10.pdf"'
        assert "October 2026" in text_of(page.get("/finance/reports/"))
        page.post("/finance/reports/", {"site": str(pole.site.uuid), "period": "2026-10"})
        assert ReportRun.objects.get().digest == run.digest

    @pytest.mark.parametrize("period", ["2026-13", "soon", "2999-01", ""])
    def test_no_month(self, pole: Station, accountant: Membership, browser: Browser, period: str) -> None:
        answer = browser(accountant).post("/finance/reports/", {"site": str(pole.site.uuid), "period": period})
        assert answer.status_code == 200
        assert "field-error" in answer.content.decode()
        assert not ReportRun.objects.exists()

    def test_who_may_make_one(
        self, pole: Station, viewer: Membership, operator: Membership, stranger: Membership, browser: Browser
    ) -> None:
        for person in (viewer, operator):
            page = browser(person)
            assert "Make a report" not in text_of(page.get("/finance/reports/"))
            assert page.post("/finance/reports/", {"site": str(pole.site.uuid), "period": "2026-10"}).status_code == 403
        answer = browser(stranger).post("/finance/reports/", {"site": str(pole.site.uuid), "period": "2026-10"})
        assert "field-error" in answer.content.decode()
        run = ReportRun.objects.create(
            operator=pole.operator, site=pole.site, period=dt.date(2026, 10, 1), state="ready"
        )
        for address in ("", "csv/", "pdf/"):
            assert browser(stranger).get(f"/finance/reports/{run.uuid}/{address}").status_code == 404


@pytest.mark.django_db
class TestTariffs:
    USUAL = {
        "name": "Quay",
        "currency": "eur",
        "gross": "on",
        "energy": "0.59",
        "minute": "0.02",
        "fee": "1",
        "idle": "0.1",
        "idle_grace": "10",
        "idle_cap": "12",
        "least": "2.5",
    }

    def test_the_usual_prices(self, pole: Station, owner: Membership, browser: Browser) -> None:
        page = browser(owner)
        answer = page.post("/console/tariffs/new/", {**self.USUAL, "sites": [str(pole.site.uuid)]}, follow=True)
        made = Tariff.objects.get(name="Quay")
        assert answer.redirect_chain == [(f"/console/tariffs/{made.uuid}/", 302)]
        words = text_of(answer)
        for part in (
            "€0.59 per kWh",
            "€0.02 per minute",
            "€1.00 per session",
            "€0.10 per minute",
            "after 10 free minutes, at most €12.00",
            "At least €2.50",
            "Site: Harbour",
            "VAT included",
            "30 kWh in 40 minutes",
            "Energy 30.000 kWh × €0.59/kWh",
            "Total €19.50",  # 17.70 + 0.80 + 1.00
        ):
            assert part in words, part
        assert (made.ocpi["tax_included"], made.rank, made.currency) == ("YES", 1, "EUR")
        assert AuditEntry.objects.get(action="tariff.published", target_id=str(made.uuid)).user == owner.user
        listed = text_of(page.get("/console/tariffs/"))
        assert "€0.59 per kWh, €0.02 per minute, €1.00 per session, VAT included" in listed

    def test_the_next_version_starts_with_what_holds(self, pole: Station, owner: Membership, browser: Browser) -> None:
        page = browser(owner)
        page.post("/console/tariffs/new/", {**self.USUAL, "plugs": ["IEC_62196_T2"], "group": "fleet"})
        first = Tariff.objects.get(name="Quay")
        form = page.get("/console/tariffs/new/", {"from": str(first.uuid)}).context["form"]
        filled = {name: form[name].value() for name in form.fields if form[name].value() not in (None, "", [], False)}
        assert filled.pop("gross") is True
        answer = page.post(
            f"/console/tariffs/new/?from={first.uuid}", {**filled, "gross": "on", "energy": "0.61"}, follow=True
        )
        assert "Quay (2) is published." in text_of(answer)
        second = Tariff.objects.get(code=first.code, version=2)
        first.refresh_from_db()
        assert first.valid_to == second.valid_from
        assert {k: v for k, v in second.voltyard.items() if k != "valid_from"} == first.voltyard
        [before, after] = [t.ocpi["elements"][0]["price_components"] for t in (first, second)]
        assert [c["price"] for c in after] == [Decimal("0.61"), *(c["price"] for c in before[1:])]

    def test_without_vat(self, pole: Station, owner: Membership, browser: Browser) -> None:
        browser(owner).post("/console/tariffs/new/", {"name": "Net", "currency": "EUR", "energy": "0.50"})
        made = Tariff.objects.get(name="Net")
        assert (made.ocpi["tax_included"], made.voltyard["vat_category"]) == ("NO", "standard")
        words = text_of(browser(owner).get(f"/console/tariffs/{made.uuid}/"))
        assert "€0.595 per kWh" in words  # 19 % in Germany
        assert "VAT €2.85 Total €17.85" in words

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"energy": "", "minute": "", "fee": "", "idle": ""}, "Enter at least one price"),
            ({"energy": "-1"}, "greater than or equal to 0"),
            ({"currency": "ZZZ"}, "Three letters, such as EUR."),
            ({"sites": ["01a20000-0000-7000-8000-000000000000"]}, "not one of the available choices"),
            ({"name": ""}, "required"),
        ],
    )
    def test_what_cannot_be_published(
        self, pole: Station, owner: Membership, browser: Browser, change: dict[str, Any], complaint: str
    ) -> None:
        answer = browser(owner).post("/console/tariffs/new/", {**self.USUAL, **change})
        assert answer.status_code == 200
        assert complaint in text_of(answer)
        assert Tariff.objects.count() == 1

    def test_the_ocpi_object(self, pole: Station, owner: Membership, browser: Browser) -> None:
        page = browser(owner)
        offered = page.get("/console/tariffs/new/", {"by": "object"}).context["form"]["ocpi"].value()
        assert page.post("/console/tariffs/new/?by=object", {"ocpi": offered}).status_code == 302
        made = Tariff.objects.exclude(code="day").get()
        words = text_of(page.get(f"/console/tariffs/{made.uuid}/"))
        assert "Energy between 22:00 and 06:00 €0.49 per kWh" in words
        again = page.get("/console/tariffs/new/", {"from": str(made.uuid)})
        assert "ocpi" in again.context["form"].fields  # the simple form would lose the night price
        assert json.loads(again.context["form"]["ocpi"].value())["id"] == made.code

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("{", "not JSON"),
            ('{"currency":"EUR","currency":"CHF"}', "occurs twice"),
            ('{"currency":"EUR","elements":[]}', "elements: must be a list with at least one entry"),
            ("[]", "must be a JSON object"),
        ],
    )
    def test_what_is_no_tariff(
        self, pole: Station, owner: Membership, browser: Browser, text: str, complaint: str
    ) -> None:
        answer = browser(owner).post("/console/tariffs/new/?by=object", {"ocpi": text})
        assert complaint in text_of(answer)
        assert Tariff.objects.count() == 1

    def test_retire(self, pole: Station, owner: Membership, browser: Browser) -> None:
        made = Tariff.objects.get()
        page = browser(owner)
        assert page.get(f"/console/tariffs/{made.uuid}/retire/").status_code == 405
        answer = page.post(f"/console/tariffs/{made.uuid}/retire/", follow=True)
        assert "is retired" in text_of(answer)
        made.refresh_from_db()
        assert made.retired_at is not None
        assert "No tariff" in text_of(page.get("/console/tariffs/"))
        assert made.name in text_of(page.get("/console/tariffs/", {"all": "1"}))

    @pytest.mark.parametrize(("role", "edits"), [("operator", True), ("accountant", True), ("viewer", False)])
    def test_who_may_publish(
        self, request: pytest.FixtureRequest, pole: Station, browser: Browser, role: str, edits: bool
    ) -> None:
        page = browser(request.getfixturevalue(role))
        made = Tariff.objects.get()
        assert page.get("/console/tariffs/new/").status_code == (200 if edits else 403)
        assert ("tariffs/new/" in page.get("/console/tariffs/").content.decode()) == edits
        assert ("/retire/" in page.get(f"/console/tariffs/{made.uuid}/").content.decode()) == edits
        assert page.post(f"/console/tariffs/{made.uuid}/retire/").status_code == (302 if edits else 403)
