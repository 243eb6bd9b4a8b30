"""The books: balanced, posted once, never edited."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import Operator
from billing import ledger
from billing.ledger import Account, Leg
from billing.models import BillingAccount, LedgerAccount, LedgerLeg, LedgerTxn
from tests.billing import world

NOW = world.at("2026-11-20 12:00")
BANK = Account("bank", "house", "EUR")
SALES = Account("revenue_energy", "house", "EUR")
TAX = Account("vat_payable", "house", "EUR")


def sale(owner: Operator, key: str = "sale", *, at: dt.datetime = NOW) -> LedgerTxn:
    legs = [Leg(BANK, -1529), Leg(SALES, 1285), Leg(TAX, 244)]
    return ledger.post(owner.pk, kind="sale", key=key, legs=legs, at=at)


@pytest.mark.django_db
def test_a_posting_moves_balances_by_its_legs() -> None:
    owner = world.operator()
    txn = sale(owner)
    assert [ledger.balance(owner.pk, account) for account in (BANK, SALES, TAX)] == [-1529, 1285, 244]
    assert sorted(txn.legs.values_list("amount", flat=True)) == [-1529, 244, 1285]
    assert txn.actor == "Voltyard"


@pytest.mark.django_db
def test_legs_of_one_account_are_added_up_and_zeros_dropped() -> None:
    owner = world.operator()
    legs = [Leg(BANK, -100), Leg(BANK, -50), Leg(SALES, 150), Leg(TAX, 0)]
    txn = ledger.post(owner.pk, kind="sale", key="k", legs=legs, at=NOW)
    assert sorted(txn.legs.values_list("amount", flat=True)) == [-150, 150]
    assert not LedgerAccount.objects.filter(kind="vat_payable").exists()


@pytest.mark.django_db
def test_the_same_key_with_the_same_legs_is_the_first_posting() -> None:
    owner = world.operator()
    first = sale(owner)
    again = sale(owner, at=NOW + dt.timedelta(days=1))
    assert (again.pk, again.posted_at) == (first.pk, NOW)
    assert LedgerLeg.objects.count() == 3
    assert ledger.balance(owner.pk, BANK) == -1529


@pytest.mark.django_db
def test_the_same_key_with_other_legs_raises_and_changes_nothing() -> None:
    owner = world.operator()
    sale(owner)
    with pytest.raises(ledger.KeyReused):
        ledger.post(owner.pk, kind="sale", key="sale", legs=[Leg(BANK, -1), Leg(SALES, 1)], at=NOW)
    with pytest.raises(ledger.KeyReused):
        sale(world.operator())
    assert ledger.balance(owner.pk, BANK) == -1529
    assert LedgerTxn.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "legs",
    [
        [],
        [Leg(BANK, 0)],
        [Leg(BANK, -1), Leg(SALES, 2)],
        [Leg(BANK, -1), Leg(Account("bank", "house", "CHF"), 1)],
    ],
)
def test_what_does_not_sum_to_zero_per_currency_is_refused(legs: list[Leg]) -> None:
    with pytest.raises(ledger.Unbalanced):
        ledger.post(world.operator().pk, kind="sale", key="k", legs=legs, at=NOW)
    assert not LedgerTxn.objects.exists()


@pytest.mark.django_db
def test_a_wallet_cannot_be_overdrawn() -> None:
    owner = world.operator()
    account = BillingAccount.objects.create(operator=owner, name="Ada")
    wallet = ledger.wallet(account, "EUR")
    ledger.post(owner.pk, kind="top_up", key="in", legs=[Leg(wallet, 100), Leg(BANK, -100)], at=NOW)
    with pytest.raises(ledger.InsufficientFunds):
        ledger.post(owner.pk, kind="spend", key="out", legs=[Leg(wallet, -101), Leg(SALES, 101)], at=NOW)
    assert not LedgerTxn.objects.filter(idempotency_key="out").exists()
    ledger.post(owner.pk, kind="spend", key="out", legs=[Leg(wallet, -100), Leg(SALES, 100)], at=NOW)
    assert ledger.balance(owner.pk, wallet) == 0
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerAccount.objects.filter(kind="driver_wallet").update(balance=-1)


@pytest.mark.django_db
@pytest.mark.parametrize("model", [LedgerTxn, LedgerLeg])
def test_the_database_refuses_edits(model: type[LedgerTxn] | type[LedgerLeg]) -> None:
    sale(world.operator())
    field = {"kind": "x"} if model is LedgerTxn else {"amount": 7}
    with pytest.raises(DatabaseError), transaction.atomic():
        model.objects.update(**field)
    with pytest.raises(DatabaseError), transaction.atomic():
        model.objects.all()._raw_delete("default")
    assert LedgerTxn.objects.count() == 1
    assert LedgerLeg.objects.count() == 3


def add_leg(leg: LedgerLeg) -> None:
    """Write past the door and let the database judge as at a commit."""
    with transaction.atomic():
        leg.save()
        connection.check_constraints()


@pytest.mark.django_db
def test_a_leg_in_another_currency_than_its_account_is_refused() -> None:
    txn = sale(world.operator())
    account = LedgerAccount.objects.get(kind="bank")
    with pytest.raises(DatabaseError):
        add_leg(LedgerLeg(txn=txn, account=account, currency="CHF", amount=5))


@pytest.mark.django_db
def test_postgresql_refuses_an_unbalanced_posting_at_commit() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("needs DATABASE_URL with PostgreSQL: SQLite has no deferred triggers")
    txn = sale(world.operator())
    account = LedgerAccount.objects.get(kind="bank")
    with pytest.raises(IntegrityError, match="does not sum to zero"):
        add_leg(LedgerLeg(txn=txn, account=account, currency="EUR", amount=5))


class Properties(TestCase):
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.tuples(st.integers(0, 7), st.sampled_from("abcd"), st.sampled_from("abcd"), st.integers(1, 10**12)),
            max_size=12,
        )
    )
    def test_balances_are_the_sums_of_their_legs_and_all_together_are_zero(
        self, moves: list[tuple[int, str, str, int]]
    ) -> None:
        owner = world.operator()
        posted: dict[int, tuple[str, str, int]] = {}
        for number, source, target, amount in moves:
            legs = [Leg(Account("bank", source, "EUR"), -amount), Leg(Account("bank", target, "EUR"), amount)]
            try:
                ledger.post(owner.pk, kind="move", key=f"move:{number}", legs=legs, at=NOW)
            except ledger.Unbalanced:
                assert source == target
            except ledger.KeyReused:
                assert posted[number] != (source, target, amount)
            else:
                assert posted.setdefault(number, (source, target, amount)) == (source, target, amount)
        assert LedgerTxn.objects.count() == len(posted)
        for account in LedgerAccount.objects.annotate(moved=Sum("legs__amount")):
            assert account.balance == account.moved
        assert (LedgerAccount.objects.aggregate(all=Sum("balance"))["all"] or 0) == 0


def race(threads: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in threads that start together, each with its own connection; return results and errors."""
    gate = threading.Barrier(threads)

    def run(number: int) -> object:
        gate.wait()
        try:
            if connection.vendor == "sqlite":  # what is tried is who waits for whom, not the disk
                connection.cursor().execute("PRAGMA synchronous=OFF")
            return work(number)
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


@pytest.mark.django_db(transaction=True)
def test_64_threads_with_one_key_post_once() -> None:
    owner = world.operator()
    results = race(64, lambda _: sale(owner).pk)
    assert len(set(results)) == 1
    assert LedgerTxn.objects.count() == 1
    assert ledger.balance(owner.pk, BANK) == -1529


@pytest.mark.django_db(transaction=True)
def test_320_parallel_spends_of_73_cents_from_100_never_overspend() -> None:
    owner = world.operator()
    wallet = ledger.wallet(BillingAccount.objects.create(operator=owner, name="Ada"), "EUR")
    ledger.post(owner.pk, kind="top_up", key="in", legs=[Leg(wallet, 10000), Leg(BANK, -10000)], at=NOW)

    def spend(thread: int) -> int:
        paid = 0
        for number in range(20):
            legs = [Leg(wallet, -73), Leg(SALES, 73)]
            try:
                ledger.post(owner.pk, kind="spend", key=f"spend:{thread}:{number}", legs=legs, at=NOW)
                paid += 1
            except ledger.InsufficientFunds:
                pass
        return paid

    results = race(16, spend)
    assert sum(results) == 136  # type: ignore[arg-type]
    assert ledger.balance(owner.pk, wallet) == 72
