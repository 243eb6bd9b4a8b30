"""check_books: silent on a sound database, loud about every single way to break one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from billing import books, invoicing, settlement
from billing.models import (
    BillingAccount,
    Counter,
    Document,
    LedgerAccount,
    LedgerLeg,
    LedgerTxn,
    SessionBill,
    Tariff,
)
from sessions.models import ChargingSession
from stations.models import Command, Site, Station
from tests.billing import world
from tests.billing.test_invoicing import FIRST_OF_DECEMBER, NOVEMBER
from tests.billing.test_settlement import publish

NOW = world.at("2026-12-02 12:00")


@pytest.fixture
def pole() -> Station:
    """A month with guests, a monthly payer, a held, a free and a running session."""
    pole = world.station(world.site(world.operator()))
    publish(pole, world.price_list("3.03"))
    ada = world.driver(pole.operator)
    account = BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", mode="monthly")
    for person in (None, None, ada, ada, ada):
        settlement.settle(world.session(pole, wh="1000", person=person).pk, now=FIRST_OF_DECEMBER)
    settlement.settle(world.session(pole, review=["jump"]).pk, now=FIRST_OF_DECEMBER)
    settlement.settle(world.session(pole, wh="0", end="2026-11-10 17:01").pk, now=FIRST_OF_DECEMBER)
    world.session(pole, ended=False)
    invoicing.issue(account, NOVEMBER, by=None, at=FIRST_OF_DECEMBER)
    settlement.settle(world.session(pole, wh="1000", person=ada).pk, now=FIRST_OF_DECEMBER)  # waits for December's
    return pole


def broken() -> set[str]:
    return {found["name"] for found in books.check(NOW)["invariants"] if found["broken"]}


def past_the_guards(write: Callable[[], Any]) -> None:
    """Write as somebody would who can switch the database's own guards off."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            connection.check_constraints()  # what waits for the commit was sound
            cursor.execute("SET LOCAL session_replication_role = replica")
            write()
            cursor.execute("SET LOCAL session_replication_role = origin")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _sql in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            write()
            for _name, sql in triggers:
                cursor.execute(sql)


@pytest.mark.django_db
def test_a_sound_database(pole: Station, capsys: pytest.CaptureFixture[str]) -> None:
    result = books.check(NOW)
    assert [found for found in result["invariants"] if found["broken"]] == []
    assert result["ok"] is True
    call_command("check_books", skip_checks=True)
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {found["name"] for found in told["invariants"]} == set(WAYS) | {"ledger_is_guarded"}


@pytest.mark.django_db
def test_an_empty_database() -> None:
    assert books.check(NOW)["ok"] is True


def another_operators(pole: Station) -> None:
    Site.objects.filter(pk=pole.site_id).update(operator=world.operator())


def two_running(pole: Station) -> None:
    world.session(pole, ended=False)


def old_command(pole: Station) -> None:
    Command.objects.create(
        station=pole, command="reset", status="sent", requested_at=FIRST_OF_DECEMBER, sent_at=FIRST_OF_DECEMBER
    )


def change_facts(_pole: Station) -> None:
    session = ChargingSession.objects.exclude(facts=None).earliest("pk")
    assert session.facts is not None
    session.facts["energy_wh"] = "999"
    session.save(update_fields=["facts"])


def change_line(_pole: Station) -> None:
    bill = SessionBill.objects.filter(state="rated", incl_vat_minor=303).earliest("pk")
    assert bill.rating is not None
    bill.rating["lines"][0]["net_minor"] += 1
    bill.save(update_fields=["rating"])


def other_price(_pole: Station) -> None:
    """The digest still fits the rating, yet pricing again gives another."""
    bill = SessionBill.objects.filter(state="rated", incl_vat_minor=303).earliest("pk")
    assert bill.rating is not None
    bill.rating["warnings"] = [{"code": "estimated", "params": {}}]
    bill.rating_digest = books._digest(bill.rating)
    bill.save(update_fields=["rating", "rating_digest"])


def txn_without_legs(pole: Station) -> None:
    LedgerTxn.objects.create(
        operator=pole.operator, kind="x", idempotency_key="x", posted_at=FIRST_OF_DECEMBER, actor="x"
    )


def leg_in_francs(_pole: Station) -> None:
    """A pair of them, so that the posting still sums to zero."""
    txn = LedgerTxn.objects.earliest("pk")
    accounts = LedgerAccount.objects.order_by("pk")[:2]
    francs = [LedgerLeg(txn=txn, account=a, currency="CHF", amount=x) for a, x in zip(accounts, (7, -7), strict=True)]
    LedgerLeg.objects.bulk_create(francs)


def change_body(_pole: Station) -> None:
    document = Document.objects.earliest("pk")
    Document.objects.filter(pk=document.pk).update(body=document.body.replace("Harbour", "Elsewhere"))


WAYS: dict[str, Callable[[Station], Any]] = {
    "ledger_postings_balance": lambda _: LedgerLeg.objects.filter(amount__gt=0).update(amount=7),
    "ledger_postings_have_legs": txn_without_legs,
    "ledger_balances_are_sums": lambda _: LedgerAccount.objects.filter(kind="vat_payable").update(balance=1),
    "ledger_currencies_agree": leg_in_francs,
    "ended_sessions_have_a_bill": lambda pole: world.session(pole),
    "only_ended_sessions_are_billed": lambda _: ChargingSession.objects.filter(bill__state="rated").update(
        status="active", evse=None
    ),
    "bills_add_up": change_line,
    "bills_are_posted": lambda _: LedgerTxn.objects.filter(kind="session").update(kind="other"),
    "snapshots_are_as_frozen": lambda _: Tariff.objects.update(digest="0" * 64),
    "pricing_again_gives_the_same": other_price,
    "document_numbers_have_no_gaps": lambda _: Counter.objects.filter(kind="receipt").update(last=9),
    "documents_are_as_issued": change_body,
    "documents_are_the_sum_of_their_sessions": lambda _: Document.objects.get(kind="invoice").entries.update(
        incl_vat_minor=1, excl_vat_minor=1, vat_minor=0
    ),
    "bills_stand_on_one_tax_document": lambda _: SessionBill.objects.update(document=None),
    "ledger_and_documents_agree_on_vat": lambda _: LedgerTxn.objects.filter(kind="rounding").update(kind="x"),
    "sessions_run_forwards": lambda _: ChargingSession.objects.filter(review=[]).update(energy_wh=-1),
    "facts_are_as_frozen": change_facts,
    "one_running_session_per_plug": two_running,
    "old_commands_are_final": old_command,
    "rows_belong_to_one_operator": another_operators,
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(WAYS))
def test_each_way_to_break_it_is_found(pole: Station, name: str) -> None:
    past_the_guards(lambda: WAYS[name](pole))
    assert name in broken()


@pytest.mark.django_db
def test_missing_guards_are_found(pole: Station) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            connection.check_constraints()
            cursor.execute("DROP TRIGGER ledger_balanced ON billing_ledgerleg")
        else:
            cursor.execute("DROP TRIGGER billing_ledgerleg_no_delete")
    assert broken() == {"ledger_is_guarded"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "path"), [(model, path) for model, paths in books._OPERATORS.items() for path in paths]
)
def test_every_tenant_path_can_be_asked(model: Any, path: str) -> None:
    assert [problem for problem in books.rows_belong_to_one_operator(NOW) if problem["path"] == path] == []


@pytest.mark.django_db
def test_the_command_ends_with_1_where_something_is_broken(pole: Station, capsys: pytest.CaptureFixture[str]) -> None:
    world.session(pole)
    with pytest.raises(SystemExit) as exit_:
        call_command("check_books", skip_checks=True)
    assert exit_.value.code == 1
    (found,) = [found for found in json.loads(capsys.readouterr().out)["invariants"] if found["broken"]]
    assert (found["name"], found["broken"]) == ("ended_sessions_have_a_bill", 1)
