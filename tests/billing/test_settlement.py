"""From an ended session to price, postings and paper: exactly once, to the cent."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from accounts.models import Membership, Operator, User
from billing import ledger, settlement, tariffs
from billing.models import (
    BillingAccount,
    Document,
    LedgerAccount,
    LedgerLeg,
    LedgerTxn,
    LegalEntity,
    Payer,
    SessionBill,
    SiteSeller,
    VatRate,
)
from billing.payers import account_for
from billing.sellers import ensure_legal_entity
from sessions.models import ChargingSession
from stations.models import Station
from tests.billing import world
from tests.billing.test_ledger import race

NOW = world.at("2026-11-10 18:05")
LONG_AGO = world.at("2026-01-01 00:00")


def owner_of(operator: Operator) -> Membership:
    user = User.objects.create_user(f"owner@{operator.slug}.example", "x")
    return Membership.objects.create(user=user, operator=operator, role="owner")


def publish(pole: Station, body: dict[str, Any]) -> None:
    owner = owner_of(pole.operator)
    tariffs.publish(owner, body, by=owner, at=LONG_AGO)


@pytest.fixture
def pole() -> Station:
    return world.station(world.site(world.operator()))


def settled(session: ChargingSession) -> SessionBill:
    tariffs.freeze(session, at=session.started_at)
    return settlement.settle(session.pk, now=NOW)


def amounts(bill: SessionBill) -> tuple[int | None, int | None, int | None]:
    return bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor


@pytest.mark.django_db
class TestWorkedExamples:
    def test_31204_wh_at_49_cents_with_19_percent_inside_are_15_29(self, pole: Station) -> None:
        publish(pole, world.price_list("0.49"))
        bill = settled(world.session(pole, wh="31204"))
        assert (bill.state, bill.currency, bill.gross_first) == ("rated", "EUR", True)
        assert amounts(bill) == (1285, 244, 1529)
        assert bill.month is not None
        assert bill.month.isoformat() == "2026-11-01"

    def test_net_first_with_a_literal_rate(self, pole: Station) -> None:
        publish(pole, world.price_list("0.4118", tax_included="NO", vat="19"))
        bill = settled(world.session(pole, wh="31204"))
        assert amounts(bill) == (1285, 244, 1529)
        assert bill.gross_first is False

    def test_swiss_francs_at_8_1_percent(self) -> None:
        place = world.site(world.operator(currency="CHF"), country="CH", time_zone="Europe/Zurich")
        pole = world.station(place)
        publish(pole, world.price_list("0.59", currency="CHF"))
        assert amounts(settled(world.session(pole, wh="31204"))) == (1703, 138, 1841)

    def test_yen_have_no_cents(self, pole: Station) -> None:
        publish(pole, world.price_list("55", currency="JPY"))
        bill = settled(world.session(pole, wh="31204"))
        assert (bill.currency, bill.incl_vat_minor) == ("JPY", 1716)

    def test_idle_time_after_the_grace(self, pole: Station) -> None:
        elements = [
            {
                "price_components": [
                    {"type": "ENERGY", "price": Decimal("0.49")},
                    {"type": "PARKING_TIME", "price": Decimal(12)},
                ]
            }
        ]
        publish(pole, world.price_list(elements=elements, voltyard={"idle_grace_seconds": 900}))
        bill = settled(world.session(pole, wh="31204", start="2026-11-10 17:00", end="2026-11-10 18:25", idle=25 * 60))
        assert amounts(bill) == (1453, 276, 1729)  # 15.29 energy and 10 of 25 minutes at 0.20
        assert ledger.balance(pole.operator_id, _revenue(bill, "revenue_idle")) == 168
        assert ledger.balance(pole.operator_id, _revenue(bill, "revenue_energy")) == 1285

    def test_the_rate_is_that_of_the_day_the_session_ends(self, pole: Station) -> None:
        publish(pole, world.price_list("0.49"))
        VatRate.objects.filter(country="DE").update(valid_to="2026-11-11")
        VatRate.objects.create(country="DE", rate=Decimal(25), valid_from="2026-11-11")
        before = settled(world.session(pole, start="2026-11-10 21:00", end="2026-11-10 22:59"))
        after = settled(world.session(pole, start="2026-11-10 21:00", end="2026-11-10 23:01"))  # 00:01 in Berlin
        assert (before.vat_minor, after.vat_minor) == (244, 306)

    def test_a_session_belongs_to_the_month_of_its_end_where_the_seller_is(self, pole: Station) -> None:
        publish(pole, world.price_list())
        bill = settled(world.session(pole, start="2026-11-30 22:30", end="2026-11-30 23:30"))
        assert bill.month is not None
        assert bill.month.isoformat() == "2026-12-01"


def _revenue(bill: SessionBill, kind: str) -> ledger.Account:
    assert bill.entity is not None
    return ledger.revenue(kind, bill.entity, bill.currency)


@pytest.mark.django_db
class TestPosting:
    def test_a_guest_owes_what_revenue_and_vat_earn(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole)
        bill = settled(session)
        txn = LedgerTxn.objects.get()
        assert (txn.idempotency_key, txn.session_id) == (f"session:{session.uuid}", session.pk)
        balances = {account.kind: account.balance for account in LedgerAccount.objects.all()}
        assert balances == {"guest_receivable": -1529, "revenue_energy": 1285, "vat_payable": 244}
        assert LedgerAccount.objects.get(kind="vat_payable").owner == f"entity:{bill.entity_id}/DE/19"

    def test_a_driver_owes_on_their_own_account(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        bill = settled(world.session(pole, person=ada, token=world.token(ada)))
        assert bill.account is not None
        assert (bill.account.driver, bill.account.name) == (ada, ada.name)
        owed = LedgerAccount.objects.get(kind="driver_receivable")
        assert (owed.billing_account, owed.balance) == (bill.account, -1529)

    def test_a_second_settlement_is_refused_and_changes_nothing(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole)
        settled(session)
        with pytest.raises(settlement.AlreadySettled):
            settlement.settle(session.pk, now=NOW)
        assert (LedgerTxn.objects.count(), LedgerLeg.objects.count(), Document.objects.count()) == (1, 3, 1)

    def test_a_running_session_is_refused(self, pole: Station) -> None:
        with pytest.raises(settlement.NotEnded):
            settlement.settle(world.session(pole, ended=False).pk, now=NOW)

    def test_free_energy_is_priced_at_zero_without_posting_or_paper(self, pole: Station) -> None:
        publish(pole, world.price_list("0"))
        bill = settled(world.session(pole))
        assert (bill.state, *amounts(bill)) == ("rated", 0, 0, 0)
        assert not LedgerTxn.objects.exists()
        assert not Document.objects.exists()

    def test_a_failed_start_costs_nothing_not_even_the_fee(self, pole: Station) -> None:
        elements = [{"price_components": [{"type": "FLAT", "price": Decimal(1)}]}]
        publish(pole, world.price_list(elements=elements))
        bill = settled(world.session(pole, wh="0", start="2026-11-10 17:00", end="2026-11-10 17:01"))
        assert amounts(bill) == (0, 0, 0)
        assert bill.rating is not None
        assert bill.rating["warnings"][0]["code"] == "free_start"


@pytest.mark.django_db
class TestHolding:
    def test_without_a_tariff_the_bill_is_held_never_free(self, pole: Station) -> None:
        bill = settled(world.session(pole))
        assert (bill.state, bill.held_reason, bill.incl_vat_minor) == ("held", "no_tariff", None)
        assert not LedgerTxn.objects.exists()

    def test_a_tariff_that_was_valid_at_the_start_releases_it(self, pole: Station) -> None:
        session = world.session(pole)
        settled(session)
        publish(pole, world.price_list(voltyard={"valid_from": "2026-11-11T00:00:00Z"}))
        assert settlement.settle(session.pk, now=NOW).held_reason == "no_tariff"
        publish_again = world.price_list(voltyard={"valid_from": "2026-11-01T00:00:00Z"}, id="night")
        owner = Membership.objects.get()
        tariffs.publish(owner, publish_again, by=owner, at=NOW)
        assert settlement.settle(session.pk, now=NOW).incl_vat_minor == 1529

    def test_a_reviewed_session_is_held_until_somebody_releases_it(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole, review=["meter_backwards"])
        bill = settled(session)
        assert (bill.state, bill.held_reason) == ("held", "review")
        assert not LedgerTxn.objects.exists()
        session.released_at, session.released_by = NOW, "Ada"
        session.save(update_fields=["released_at", "released_by"])
        assert settlement.settle(session.pk, now=NOW).incl_vat_minor == 1529

    def test_a_remark_does_not_hold(self, pole: Station) -> None:
        publish(pole, world.price_list())
        assert settled(world.session(pole, review=["estimated_end", "clock_offset"])).state == "rated"

    def test_a_country_without_a_known_rate(self, pole: Station) -> None:
        publish(pole, world.price_list())
        VatRate.objects.all().delete()
        bill = settled(world.session(pole))
        assert (bill.state, bill.held_reason) == ("held", "no_vat_rate")

    def test_facts_that_do_not_add_up(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole)
        assert session.facts is not None
        session.facts["energy_wh"] = "999"
        session.save(update_fields=["facts"])
        bill = settled(session)
        assert (bill.state, bill.held_reason) == ("held", "unpriceable")

    def test_no_facts(self, pole: Station) -> None:
        publish(pole, world.price_list())
        bill = settled(world.session(pole, facts=None, facts_digest=""))
        assert (bill.state, bill.held_reason) == ("held", "no_reading")


@pytest.mark.django_db
class TestFreezing:
    def test_a_new_price_counts_for_later_sessions_only(self, pole: Station) -> None:
        publish(pole, world.price_list("0.49"))
        session = world.session(pole)
        tariffs.freeze(session, at=session.started_at)
        owner = Membership.objects.get()
        tariffs.publish(owner, world.price_list("0.99"), by=owner, at=world.at("2026-11-10 17:30"))
        assert settlement.settle(session.pk, now=NOW).incl_vat_minor == 1529
        later = world.session(pole, start="2026-11-10 17:30", end="2026-11-10 18:00")
        assert settled(later).incl_vat_minor == 3089

    def test_freezing_twice_keeps_the_first(self, pole: Station) -> None:
        publish(pole, world.price_list("0.49"))
        session = world.session(pole)
        first = tariffs.freeze(session, at=session.started_at)
        owner = Membership.objects.get()
        tariffs.publish(
            owner, world.price_list("0.99", id="x", voltyard={"valid_from": "2026-10-01T00:00:00Z"}), by=owner, at=NOW
        )
        again = tariffs.freeze(session, at=NOW)
        assert (again.tariff_id, again.snapshot_digest) == (first.tariff_id, first.snapshot_digest)
        assert SessionBill.objects.count() == 1

    def test_a_session_that_began_unseen_gets_its_bill_at_the_end(self, pole: Station) -> None:
        publish(pole, world.price_list())
        assert settlement.settle(world.session(pole).pk, now=NOW).incl_vat_minor == 1529


@pytest.mark.django_db
class TestPayer:
    def test_token_before_driver_before_own_account(self, pole: Station) -> None:
        ada = world.driver(pole.operator)
        card = world.token(ada)
        session = world.session(pole, person=ada, token=card)
        own = account_for(session)
        assert own is not None
        assert own.driver == ada
        fleet = BillingAccount.objects.create(operator=pole.operator, name="Fleet", mode="monthly")
        Payer.objects.create(operator=pole.operator, account=fleet, driver=ada)
        assert account_for(session) == fleet
        club = BillingAccount.objects.create(operator=pole.operator, name="Club", mode="monthly")
        Payer.objects.create(operator=pole.operator, account=club, token=card)
        assert account_for(session) == club
        assert account_for(world.session(pole, person=ada)) == fleet
        assert BillingAccount.objects.count() == 3

    def test_a_token_of_a_driver_pays_even_where_the_session_knows_none(self, pole: Station) -> None:
        ada = world.driver(pole.operator)
        account = account_for(world.session(pole, token=world.token(ada)))
        assert account is not None
        assert account.driver == ada

    def test_guests_have_none(self, pole: Station) -> None:
        assert account_for(world.session(pole)) is None
        assert not BillingAccount.objects.exists()


@pytest.mark.django_db
class TestPaper:
    def test_pay_per_use_gets_a_receipt(self, pole: Station) -> None:
        publish(pole, world.price_list())
        bill = settled(world.session(pole))
        assert bill.document is not None
        assert (bill.document.kind, bill.document.number, bill.document.incl_vat_minor) == (
            "receipt",
            "R-2026-000001",
            1529,
        )
        body = json.loads(bill.document.body)
        assert body["vat"] == [{"country": "DE", "rate": "19", "excl_vat": "12.85", "vat": "2.44", "incl_vat": "15.29"}]
        assert body["buyer"] is None
        (told,) = body["sessions"]
        assert (told["meter_start_wh"], told["meter_stop_wh"], told["energy_wh"]) == ("120000", "151204", "31204")

    def test_monthly_payers_get_a_charging_record_in_a_series_of_its_own(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada = world.driver(pole.operator)
        BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", mode="monthly")
        settled(world.session(pole))
        bill = settled(world.session(pole, person=ada))
        assert bill.document is None
        (record,) = Document.objects.filter(kind="charging_record")
        assert (record.number, record.account) == ("C-2026-000001", bill.account)
        assert record.entries.get().session_id == bill.pk

    def test_the_seller_is_that_of_the_site(self, pole: Station) -> None:
        publish(pole, world.price_list())
        default = ensure_legal_entity(pole.operator)
        south = LegalEntity.objects.create(operator=pole.operator, name="South GmbH", time_zone="Europe/Berlin")
        settled(world.session(pole))
        SiteSeller.objects.create(site=pole.site, entity=south)
        settled(world.session(pole))
        assert list(Document.objects.order_by("pk").values_list("entity__name", "number")) == [
            (default.name, "R-2026-000001"),
            ("South GmbH", "R-2026-000001"),
        ]


@pytest.mark.django_db
class TestMany:
    def test_each_as_of_its_moment_in_one_go(self, pole: Station) -> None:
        publish(pole, world.price_list())
        ada, eve = world.driver(pole.operator), world.driver(pole.operator)
        BillingAccount.objects.create(operator=pole.operator, driver=eve, name="Eve", mode="monthly")
        guest, first, monthly, second = (world.session(pole, person=person) for person in (None, ada, eve, ada))
        held, running = world.session(pole, review=["jump"]), world.session(pole, ended=False)
        moments = {
            session.pk: NOW + dt.timedelta(minutes=number)
            for number, session in enumerate((second, guest, first, monthly, held, running))
        }
        bills = settlement.settle_many(moments)
        assert [(bill.pk, bill.state) for bill in bills] == [
            *((session.pk, "rated") for session in (second, guest, first, monthly)),
            (held.pk, "held"),
        ]
        receipts = Document.objects.filter(kind="receipt").order_by("sequence")
        assert [(paper.sessions.get().pk, paper.issued_at) for paper in receipts] == [
            (session.pk, moments[session.pk]) for session in (second, guest, first)
        ]
        assert Document.objects.get(kind="charging_record").sessions.get() == monthly
        assert LedgerTxn.objects.get(session=first).posted_at == moments[first.pk]
        assert LedgerAccount.objects.get(kind="revenue_energy").balance == 4 * 1285
        assert SessionBill.objects.get(pk=first.pk).document == receipts[2]
        assert settlement.settle_many(dict.fromkeys(moments, NOW)) == [SessionBill.objects.get(pk=held.pk)]
        assert LedgerTxn.objects.count() == 4

    def test_it_bills_what_one_by_one_bills(self, pole: Station) -> None:
        publish(pole, world.price_list())
        one, other = (world.session(pole, wh="7919", idle=600) for _ in range(2))
        settlement.settle(one.pk, now=NOW)
        settlement.settle_many({other.pk: NOW})
        first, second = SessionBill.objects.order_by("pk").values(
            "rating", "rating_digest", "incl_vat_minor", "vat_minor", "month", "entity_id", "country", "engine_version"
        )
        assert first == second


@pytest.mark.django_db
class TestDue:
    def test_what_waits_and_what_does_not(self, pole: Station) -> None:
        publish(pole, world.price_list())
        later = world.at("2026-11-10 18:30")
        forgotten = world.session(pole)
        tariffs.freeze(forgotten, at=forgotten.started_at)
        unseen = world.session(pole)
        settled(world.session(pole))
        running = world.session(pole, ended=False)
        tariffs.freeze(running, at=running.started_at)
        held = world.session(pole, review=["jump"])
        settled(held)
        world.session(pole, end="2026-11-10 18:29", start="2026-11-10 18:00")  # its own task has a minute
        assert settlement.due(later, 10) == [forgotten.pk, unseen.pk]
        ChargingSession.objects.filter(pk=held.pk).update(released_at=later)
        assert settlement.due(later, 10) == [forgotten.pk, unseen.pk, held.pk]
        assert settlement.due(later, 1) == [forgotten.pk]


@pytest.mark.django_db
class TestPreview:
    def test_tells_what_settling_will_bill_and_writes_nothing(self, pole: Station) -> None:
        publish(pole, world.price_list())
        session = world.session(pole)
        tariffs.freeze(session, at=session.started_at)
        assert settlement.preview_total(session) == Decimal("15.29")
        assert not LedgerTxn.objects.exists()
        assert SessionBill.objects.get().state == "open"
        settlement.settle(session.pk, now=NOW)
        assert settlement.preview_total(session) == Decimal("15.29")

    def test_tells_nothing_where_the_bill_is_held(self, pole: Station) -> None:
        session = world.session(pole)
        assert settlement.preview_total(session) is None
        tariffs.freeze(session, at=session.started_at)
        assert settlement.preview_total(session) is None


@pytest.mark.django_db(transaction=True)
def test_64_threads_settle_one_session_once() -> None:
    pole = world.station(world.site(world.operator()))
    publish(pole, world.price_list())
    ada = world.driver(pole.operator)
    session = world.session(pole, person=ada)
    tariffs.freeze(session, at=session.started_at)
    results = race(64, lambda _: settlement.settle(session.pk, now=NOW).incl_vat_minor)
    assert results.count(1529) == 1
    assert sum(isinstance(result, settlement.AlreadySettled) for result in results) == 63
    assert (LedgerTxn.objects.count(), Document.objects.count(), BillingAccount.objects.count()) == (1, 1, 1)
    assert LedgerLeg.objects.aggregate(all=Sum("amount"))["all"] == 0


@pytest.mark.django_db(transaction=True)
def test_many_sessions_settled_at_once_keep_balances_and_numbers() -> None:
    pole = world.station(world.site(world.operator()))
    publish(pole, world.price_list())
    sessions = [world.session(pole) for _ in range(24)]
    results = race(24, lambda number: settlement.settle(sessions[number].pk, now=NOW).incl_vat_minor)
    assert results == [1529] * 24
    assert LedgerAccount.objects.get(kind="guest_receivable").balance == -1529 * 24
    numbers = Document.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, 25))
