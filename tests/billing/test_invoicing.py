"""Invoices: numbers without gaps, sums to the cent, once a month, frozen for ever."""

from __future__ import annotations

import copy
import datetime as dt
import json
import random
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from accounts.models import AuditEntry, Membership
from billing import invoicing, settlement, tariffs
from billing.models import (
    BillingAccount,
    Counter,
    Document,
    DocumentSession,
    LedgerAccount,
    LedgerTxn,
    LegalEntity,
    SessionBill,
    SiteSeller,
)
from billing.sellers import ensure_legal_entity
from stations.models import Station
from tests.billing import world
from tests.billing.test_ledger import race
from tests.billing.test_settlement import LONG_AGO, publish

NOVEMBER = dt.date(2026, 11, 1)
FIRST_OF_DECEMBER = world.at("2026-12-01 03:10")


class Fleet:
    """A company whose drivers charge at one station and that gets one invoice a month."""

    def __init__(self, price: dict[str, Any], **fields: Any) -> None:
        self.pole = world.station(world.site(world.operator()))
        publish(self.pole, price)
        self.driver = world.driver(self.pole.operator)
        self.account = BillingAccount.objects.create(
            operator=self.pole.operator, driver=self.driver, name="Lovelace Logistics", mode="monthly", **fields
        )

    def charge(self, wh: str, day: int = 10, *, pole: Station | None = None) -> SessionBill:
        start, end = f"2026-11-{day:02} 17:00", f"2026-11-{day:02} 18:00"
        session = world.session(pole or self.pole, wh=wh, start=start, end=end, person=self.driver)
        return settlement.settle(session.pk, now=world.at(f"2026-11-{day:02} 18:01"))

    def invoice(self, period: dt.date = NOVEMBER, at: dt.datetime = FIRST_OF_DECEMBER) -> list[Document]:
        return invoicing.issue(self.account, period, by=None, at=at)


def amounts(document: Document) -> tuple[int, int, int]:
    return document.excl_vat_minor, document.vat_minor, document.incl_vat_minor


@pytest.mark.django_db
class TestSums:
    def test_three_sessions_of_3_03_are_9_09_with_7_64_net(self) -> None:
        """Each alone is 2.55 + 0.48; the document works VAT out once and shares the net 2.55 + 2.55 + 2.54."""
        fleet = Fleet(world.price_list("3.03"))
        for day in (10, 11, 12):
            bill = fleet.charge("1000", day)
            assert (bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor) == (255, 48, 303)
        (document,) = fleet.invoice()
        assert amounts(document) == (764, 145, 909)
        entries = document.entries.order_by("pk").values_list("excl_vat_minor", "incl_vat_minor")
        assert list(entries) == [(255, 303), (255, 303), (254, 303)]

    def test_the_difference_of_vat_is_posted_so_that_books_and_papers_agree(self) -> None:
        fleet = Fleet(world.price_list("3.03"))
        for day in (10, 11, 12):
            fleet.charge("1000", day)
        (document,) = fleet.invoice()
        txn = LedgerTxn.objects.get(idempotency_key=f"document:{document.uuid}:rounding")
        assert {leg.account.kind: leg.amount for leg in txn.legs.all()} == {"vat_payable": 1, "rounding": -1}
        assert LedgerAccount.objects.get(kind="vat_payable").balance == 145
        assert LedgerAccount.objects.get(kind="driver_receivable").balance == -909

    def test_three_exact_amounts_of_0_335_are_rounded_once_each(self) -> None:
        fleet = Fleet(world.price_list("0.335"))
        for day in (10, 11, 12):
            fleet.charge("1000", day)
        (document,) = fleet.invoice()
        assert document.incl_vat_minor == 102

    def test_net_prices_take_the_vat_of_the_sum(self) -> None:
        """Three times 1.45 net at 19 % are 0.83 VAT; 0.28 each would be 0.84."""
        fleet = Fleet(world.price_list("1.45", tax_included="NO", vat="19"))
        for day in (10, 11, 12):
            assert fleet.charge("1000", day).vat_minor == 28
        (document,) = fleet.invoice()
        assert amounts(document) == (435, 83, 518)
        assert LedgerAccount.objects.get(kind="driver_receivable").balance == -518
        assert LedgerAccount.objects.get(kind="vat_payable").balance == 83

    def test_no_difference_no_posting(self) -> None:
        fleet = Fleet(world.price_list("0.49"))
        fleet.charge("31204")
        (document,) = fleet.invoice()
        assert amounts(document) == (1285, 244, 1529)
        assert not LedgerTxn.objects.filter(kind="rounding").exists()

    def test_currencies_sellers_and_ways_of_stating_prices_do_not_mix(self) -> None:
        fleet = Fleet(world.price_list("0.49"))
        fleet.charge("1000", 10)
        owner = Membership.objects.get()
        francs = world.station(world.site(fleet.pole.operator, country="CH", time_zone="Europe/Zurich"))
        where = {"applies_to": {"sites": [str(francs.site.uuid)]}}
        tariffs.publish(owner, world.price_list("0.59", currency="CHF", id="ch", voltyard=where), by=owner, at=LONG_AGO)
        fleet.charge("1000", 11, pole=francs)
        net = world.station(fleet.pole.site)
        where = {"applies_to": {"stations": [net.identity]}}
        body = world.price_list("0.40", tax_included="NO", vat="19", id="net", voltyard=where)
        tariffs.publish(owner, body, by=owner, at=LONG_AGO)
        fleet.charge("1000", 12, pole=net)
        other = world.station(world.site(fleet.pole.operator))
        south = LegalEntity.objects.create(operator=fleet.pole.operator, name="South", time_zone="Europe/Berlin")
        SiteSeller.objects.create(site=other.site, entity=south)
        fleet.charge("1000", 13, pole=other)
        documents = fleet.invoice()
        told = {
            (document.currency, document.gross_first, document.entity.name, document.number) for document in documents
        }
        default = ensure_legal_entity(fleet.pole.operator).name
        assert told == {
            ("EUR", True, default, "I-2026-000001"),
            ("CHF", True, default, "I-2026-000002"),
            ("EUR", False, default, "I-2026-000003"),
            ("EUR", True, "South", "I-2026-000001"),
        }


@pytest.mark.django_db
class TestOnce:
    def test_a_second_time_is_refused_and_changes_nothing(self) -> None:
        fleet = Fleet(world.price_list())
        fleet.charge("1000")
        (document,) = fleet.invoice()
        with pytest.raises(invoicing.AlreadyIssued):
            fleet.invoice()
        assert Document.objects.filter(kind="invoice").get() == document
        assert AuditEntry.objects.filter(action="invoice.issued").count() == 1

    def test_nothing_to_invoice(self) -> None:
        with pytest.raises(invoicing.NothingToInvoice):
            Fleet(world.price_list()).invoice()

    def test_not_before_the_month_is_over_where_the_seller_is(self) -> None:
        fleet = Fleet(world.price_list())
        fleet.charge("1000")
        with pytest.raises(invoicing.MonthNotOver):
            fleet.invoice(at=world.at("2026-11-30 22:59"))
        assert not Document.objects.filter(kind="invoice").exists()
        assert len(fleet.invoice(at=world.at("2026-11-30 23:00"))) == 1

    def test_a_session_priced_late_comes_on_the_next_invoice(self) -> None:
        fleet = Fleet(world.price_list())
        fleet.charge("1000", 10)
        held = world.session(fleet.pole, wh="2000", person=fleet.driver, review=["jump"])
        settlement.settle(held.pk, now=FIRST_OF_DECEMBER)
        fleet.invoice()
        held.released_at = FIRST_OF_DECEMBER
        held.save(update_fields=["released_at"])
        settlement.settle(held.pk, now=FIRST_OF_DECEMBER)
        with pytest.raises(invoicing.AlreadyIssued):
            fleet.invoice()
        (later,) = fleet.invoice(dt.date(2026, 12, 1), world.at("2027-01-01 03:10"))
        assert [entry.session for entry in later.entries.all()] == [held]
        assert later.number == "I-2027-000001"

    def test_due_are_accounts_with_sessions_and_no_invoice(self) -> None:
        fleet = Fleet(world.price_list())
        assert invoicing.due_accounts(NOVEMBER) == []
        fleet.charge("1000")
        settlement.settle(world.session(fleet.pole).pk, now=FIRST_OF_DECEMBER)  # a guest
        assert invoicing.due_accounts(dt.date(2026, 10, 1)) == []
        assert invoicing.due_accounts(NOVEMBER) == [fleet.account.pk]
        fleet.invoice()
        assert invoicing.due_accounts(NOVEMBER) == []


@pytest.mark.django_db
class TestNumbers:
    def test_the_year_is_that_of_the_issue_where_the_seller_is(self) -> None:
        pole = world.station(world.site(world.operator()))
        publish(pole, world.price_list())
        for moment in ("2026-12-31 22:59", "2026-12-31 23:30", "2027-01-01 10:00"):
            settlement.settle(world.session(pole).pk, now=world.at(moment))
        numbers = Document.objects.order_by("pk").values_list("number", flat=True)
        assert list(numbers) == ["R-2026-000001", "R-2027-000001", "R-2027-000002"]
        assert json.loads(Document.objects.get(number="R-2027-000001").body)["issue_date"] == "2027-01-01"

    def test_each_document_carries_the_hash_of_the_one_before(self) -> None:
        pole = world.station(world.site(world.operator()))
        publish(pole, world.price_list())
        for _ in range(3):
            settlement.settle(world.session(pole).pk, now=FIRST_OF_DECEMBER)
        first, second, third = Document.objects.order_by("sequence")
        assert (first.prev_sha256, second.prev_sha256, third.prev_sha256) == ("", first.sha256, second.sha256)
        assert third.sha256 == invoicing.fingerprint(second.sha256, third.body)
        assert Counter.objects.get(kind="receipt").last_sha256 == third.sha256

    def test_a_rollback_gives_the_number_back(self) -> None:
        fleet = Fleet(world.price_list())
        fleet.charge("1000")
        with transaction.atomic():
            fleet.invoice()
            transaction.set_rollback(True)
        assert fleet.invoice()[0].number == "I-2026-000001"


@pytest.mark.django_db
class TestFrozen:
    def test_the_paper_stays_as_issued_when_everything_else_changes(self) -> None:
        fleet = Fleet(world.price_list(), street="Analytical Way 1", city="Berlin", vat_id="DE987654321")
        fleet.charge("31204")
        (document,) = fleet.invoice()
        body, digest = document.body, document.sha256
        BillingAccount.objects.update(name="Other", street="Elsewhere 2", vat_id="")
        LegalEntity.objects.update(name="Sold GmbH", city="Munich")
        fleet.pole.site.name = "Renamed"
        fleet.pole.site.save()
        owner = Membership.objects.get()
        tariffs.publish(owner, world.price_list("0.99"), by=owner, at=FIRST_OF_DECEMBER)
        document = Document.objects.get(pk=document.pk)
        assert (document.body, document.sha256) == (body, digest)
        told = json.loads(body)
        assert (told["buyer"]["name"], told["buyer"]["street"], told["buyer"]["vat_id"]) == (
            "Lovelace Logistics",
            "Analytical Way 1",
            "DE987654321",
        )
        assert told["sessions"][0]["site"]["name"] == "Harbour"
        assert told["sessions"][0]["record"] == "C-2026-000001"
        assert told["totals"] == {"excl_vat": "12.85", "vat": "2.44", "incl_vat": "15.29"}

    @pytest.mark.parametrize(
        "change", [{"body": "{}"}, {"incl_vat_minor": 1, "excl_vat_minor": 0, "vat_minor": 1}, {"number": "X"}]
    )
    def test_the_database_refuses_edits(self, change: dict[str, Any]) -> None:
        fleet = Fleet(world.price_list())
        fleet.charge("1000")
        fleet.invoice()
        with pytest.raises(DatabaseError), transaction.atomic():
            Document.objects.update(**change)
        with pytest.raises(DatabaseError), transaction.atomic():
            DocumentSession.objects.update(incl_vat_minor=1)
        with pytest.raises(DatabaseError), transaction.atomic():
            DocumentSession.objects.all()._raw_delete("default")
        Document.objects.update(state="paid")  # what is no text of the paper may change
        assert not Document.objects.exclude(state="paid").exists()


@pytest.mark.django_db(transaction=True)
def test_400_attempts_of_which_30_percent_roll_back_leave_no_gap() -> None:
    pole = world.station(world.site(world.operator()))
    publish(pole, world.price_list())
    bill = settlement.settle(world.session(pole).pk, now=FIRST_OF_DECEMBER)
    chance = random.Random(7)
    fails = [chance.random() < 0.3 for _ in range(400)]

    def work(thread: int) -> None:
        for number in range(thread, 400, 16):
            with transaction.atomic():
                invoicing.issue_for_sessions([(copy.copy(bill), FIRST_OF_DECEMBER)])
                transaction.set_rollback(fails[number])

    assert race(16, work) == [None] * 16
    issued = 1 + 400 - sum(fails)
    sequences = Document.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == list(range(1, issued + 1))
    assert Counter.objects.get(kind="receipt").last == issued


@pytest.mark.django_db(transaction=True)
def test_two_that_invoice_one_month_at_once_issue_it_once() -> None:
    fleet = Fleet(world.price_list())
    for day in (10, 11, 12):
        fleet.charge("1000", day)
    results = race(8, lambda _: len(fleet.invoice()))
    assert results.count(1) == 1
    assert sum(isinstance(result, invoicing.AlreadyIssued) for result in results) == 7
    assert Document.objects.filter(kind="invoice").count() == 1
    assert not SessionBill.objects.filter(document=None).exists()
