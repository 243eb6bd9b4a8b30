"""Papers: what they say, that they can be archived, and that they never change."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from django.core import mail
from django.core.files.storage import default_storage
from pypdf import PdfReader

from accounts.models import Membership
from billing import documents, invoicing, settlement, tariffs
from billing.models import BillingAccount, Document, LegalEntity
from billing.sellers import ensure_legal_entity
from stations.models import Station
from tests.billing import world
from tests.billing.test_invoicing import FIRST_OF_DECEMBER, NOVEMBER
from tests.billing.test_settlement import publish

NOW = world.at("2026-11-10 19:00")


def words(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


@pytest.fixture
def pole() -> Station:
    place = world.site(world.operator(name="Nordlicht"))
    pole = world.station(place, name="Pier 3", meter_serial="1EMH0012345678")
    entity = ensure_legal_entity(pole.operator)
    LegalEntity.objects.filter(pk=entity.pk).update(
        name="Nordlicht Energie GmbH",
        street="Speicherstraße 8",
        postal_code="20457",
        city="Hamburg",
        vat_id="DE123456789",
    )
    return pole


def price_of_day_and_evening() -> dict[str, object]:
    evening = {"price_components": [{"type": "ENERGY", "price": Decimal("0.59")}]}
    day = [{"type": "ENERGY", "price": Decimal("0.49")}, {"type": "PARKING_TIME", "price": Decimal(12)}]
    return world.price_list(
        elements=[{**evening, "restrictions": {"start_time": "18:00", "end_time": "20:00"}}, {"price_components": day}],
        tariff_alt_text=[{"language": "en", "text": "City day"}],
        voltyard={"idle_grace_seconds": 900},
    )


def receipt(pole: Station) -> Document:
    publish(pole, price_of_day_and_evening())
    session = world.session(pole, wh="31204", start="2026-11-10 16:30", end="2026-11-10 18:25", idle=25 * 60)
    document = settlement.settle(session.pk, now=NOW).document
    assert document is not None
    return document


@pytest.mark.django_db
class TestWhatItSays:
    def test_a_receipt(self, pole: Station) -> None:
        document = receipt(pole)
        text = words(documents.render(document))
        for part in (
            "Nordlicht Energie GmbH",
            "Speicherstraße 8",
            "Germany",
            "VAT no. DE123456789",
            "Receipt",
            "R-2026-000001",
            "Nov 10, 2026",
            "Pier 3",
            "1EMH0012345678",
            "120.000 kWh",
            "151.204 kWh",
            "31.204 kWh",
            "1 h 55 min",
            "City day (1)",
            "€0.49/kWh",
            "€0.59/kWh",
            "between 18:00 and 20:00",
            "17:30–18:00",
            "Idle time after charging",
            "after 15 free minutes",
            "10 min",
            "€2.00",
            "19 % DE",
            "€19.37",
        ):
            assert part in text, part
        assert "not an invoice" not in text

    def test_an_invoice(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        account = BillingAccount.objects.create(
            operator=pole.operator, driver=ada, name="Lovelace Logistics", mode="monthly", street="Analytical Way 1",
            postal_code="10115", city="Berlin", country="DE", vat_id="DE987654321",
        )  # fmt: skip
        for day in (10, 11):
            start, end = f"2026-11-{day} 17:00", f"2026-11-{day} 18:00"
            settlement.settle(world.session(pole, start=start, end=end, person=ada).pk, now=NOW)
        (document,) = invoicing.issue(account, NOVEMBER, by=None, at=FIRST_OF_DECEMBER)
        text = words(documents.render(document))
        for part in (
            "Invoice",
            "I-2026-000001",
            "November 2026",
            "Dec 15, 2026",
            "Lovelace Logistics",
            "Analytical Way 1",
            "DE987654321",
            "C-2026-000001",
            "C-2026-000002",
            "€15.29",
            "€25.70",
            "€4.88",
            "€30.58",
            "2 sessions, 62.408 kWh",
        ):
            assert part in text, part

    def test_a_charging_record_says_that_it_is_no_invoice(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", mode="monthly")
        settlement.settle(world.session(pole, person=ada).pk, now=NOW)
        text = words(documents.render(Document.objects.get(kind="charging_record")))
        assert "Charging record, not an invoice" in text
        assert "€15.29" in text

    def test_an_estimated_end_is_told(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole)
        assert session.facts is not None
        session.facts["segments"][0]["estimated"] = True
        session.save(update_fields=["facts"])
        document = settlement.settle(session.pk, now=NOW).document
        assert document is not None
        assert "Part of the session was estimated" in words(documents.render(document))

    def test_numbers_follow_the_payers_language(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", language="de")
        document = settlement.settle(world.session(pole, person=ada).pk, now=NOW).document
        assert document is not None
        text = words(documents.render(document))
        assert "15,29 €" in text
        assert "31,204 kWh" in text


@pytest.mark.django_db
class TestFile:
    def test_is_pdf_a_3b(self, pole: Station) -> None:
        reader = PdfReader(io.BytesIO(documents.render(receipt(pole))))
        metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()
        assert "<pdfaid:part>3</pdfaid:part>" in metadata
        assert "<pdfaid:conformance>B</pdfaid:conformance>" in metadata

    def test_the_same_document_gives_the_same_bytes_whatever_has_changed(self, pole: Station) -> None:
        document = receipt(pole)
        before = documents.render(document)
        LegalEntity.objects.update(name="Sold GmbH", street="Elsewhere 2")
        pole.site.name = pole.name = "Renamed"
        pole.site.save()
        pole.save()
        owner = Membership.objects.get()
        tariffs.publish(owner, world.price_list("0.99"), by=owner, at=NOW)
        assert documents.render(Document.objects.get(pk=document.pk)) == before

    def test_is_made_once_and_kept(self, pole: Station) -> None:
        document = receipt(pole)
        first = documents.pdf_of(document)
        name = document.pdf.name
        documents.store(Document.objects.get(pk=document.pk))  # a second worker
        document = Document.objects.get(pk=document.pk)
        assert (document.pdf.name, documents.pdf_of(document)) == (name, first)
        folder = name.rpartition("/")[0]
        assert [
            file
            for file in default_storage.listdir(folder)[1]
            if document.number in file and str(document.uuid) in file
        ] == [name.rpartition("/")[2]]

    def test_a_changed_file_is_not_handed_out(self, pole: Station) -> None:
        document = receipt(pole)
        documents.pdf_of(document)
        with default_storage.open(document.pdf.name, "ab") as file:
            file.write(b"%")
        with pytest.raises(ValueError, match="was changed"):
            documents.pdf_of(document)

    def test_a_name_no_font_can_write_still_gives_a_paper(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada 𓀀 #[evil] $x$")
        document = settlement.settle(world.session(pole, person=ada).pk, now=NOW).document
        assert document is not None
        text = words(documents.render(document))
        assert "#[evil] $x$" in text
        assert "€15.29" in text

    def test_the_sweep_finds_recent_documents_without_a_file(self, pole: Station) -> None:
        document = receipt(pole)
        assert documents.unrendered(NOW, 10) == []
        assert documents.unrendered(world.at("2026-11-10 19:02"), 10) == [document.pk]
        assert documents.unrendered(world.at("2026-12-10 19:02"), 10) == []
        documents.store(document)
        assert documents.unrendered(world.at("2026-11-10 19:02"), 10) == []


@pytest.mark.django_db
class TestMail:
    def test_a_receipt_is_mailed_once(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator, email="ada@example.org")
        document = settlement.settle(world.session(pole, person=ada).pk, now=NOW).document
        assert document is not None
        assert documents.send(document, at=NOW)
        assert not documents.send(document, at=NOW)
        (letter,) = mail.outbox
        assert letter.to == ["ada@example.org"]
        assert letter.subject == "Receipt R-2026-000001 · Nordlicht"
        assert "€15.29" in letter.body
        ((name, content, kind),) = letter.attachments
        assert (name, kind) == ("R-2026-000001.pdf", "application/pdf")
        assert content == documents.pdf_of(document)

    def test_guests_records_and_those_who_do_not_want_it_get_none(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada, eve = world.driver(pole.operator), world.driver(pole.operator)
        BillingAccount.objects.create(
            operator=pole.operator, driver=ada, name="A", email="a@example.org", mode="monthly"
        )
        BillingAccount.objects.create(
            operator=pole.operator, driver=eve, name="E", email="e@example.org", send_documents=False
        )
        for person in (None, ada, eve):
            settlement.settle(world.session(pole, person=person).pk, now=NOW)
        assert Document.objects.count() == 3
        assert not any(documents.send(document, at=NOW) for document in Document.objects.all())
        assert mail.outbox == []
