"""Jobs may run twice and miss their hint: the effect is there once all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import time_machine
from celery import current_app
from django.core import mail

from billing import tariffs, tasks
from billing.models import BillingAccount, Document, LedgerTxn, ReportRun, SessionBill
from stations.models import Station
from tests.billing import world
from tests.billing.test_settlement import publish

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    before = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = before


@pytest.fixture
def pole() -> Station:
    pole = world.station(world.site(world.operator()))
    publish(pole, world.price_list())
    return pole


def test_an_ended_session_gets_price_paper_and_letter_once(pole: Station) -> None:
    session = world.session(pole, person=world.driver(pole.operator))
    for _ in range(2):
        tasks.rate_session(session.pk)
    document = Document.objects.get()
    assert document.pdf
    assert LedgerTxn.objects.count() == 1
    assert [letter.subject.split(" ·")[0] for letter in mail.outbox] == [f"Receipt {document.number}"]
    tasks.render_document(document.pk)
    assert len(mail.outbox) == 1


def test_a_running_session_is_left_alone(pole: Station) -> None:
    tasks.rate_session(world.session(pole, ended=False).pk)
    assert not LedgerTxn.objects.exists()


def test_the_sweeps_find_what_lost_its_hint(pole: Station) -> None:
    sessions = [world.session(pole) for _ in range(25)]
    tariffs.freeze(sessions[0], at=sessions[0].started_at)
    with time_machine.travel("2026-11-10 18:00:30Z", tick=False):
        tasks.sweep_unrated()
        assert not SessionBill.objects.filter(state="rated").exists()
    with time_machine.travel("2026-11-10 18:02:00Z", tick=False):
        tasks.sweep_unrated()
        tasks.sweep_unrated()
    assert SessionBill.objects.filter(state="rated").count() == 25
    with time_machine.travel("2026-11-10 18:04:00Z", tick=False):
        tasks.sweep_unrendered()
    assert not Document.objects.filter(pdf="").exists()


@time_machine.travel("2026-12-01 03:10:00Z", tick=False)
def test_last_months_invoices_and_reports_are_made_once(pole: Station) -> None:
    ada = world.driver(pole.operator)
    BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", mode="monthly", email="a@example.org")
    tasks.rate_session(world.session(pole, person=ada).pk)
    assert mail.outbox == []
    for _ in range(2):
        tasks.invoice_last_month()
        tasks.energy_reports_last_month()
    invoice = Document.objects.get(kind="invoice")
    assert (invoice.incl_vat_minor, bool(invoice.pdf), len(mail.outbox)) == (1529, True, 1)
    assert ReportRun.objects.get().facts["energy_wh"] == "31204"


@time_machine.travel("2026-12-01 03:10:00Z", tick=False)
def test_where_it_is_still_last_month_a_later_run_invoices() -> None:
    pole = world.station(world.site(world.operator(time_zone="America/Los_Angeles"), time_zone="America/Los_Angeles"))
    publish(pole, world.price_list())
    ada = world.driver(pole.operator)
    BillingAccount.objects.create(operator=pole.operator, driver=ada, name="Ada", mode="monthly")
    tasks.rate_session(world.session(pole, person=ada).pk)
    tasks.invoice_last_month()
    assert not Document.objects.filter(kind="invoice").exists()
    with time_machine.travel("2026-12-01 08:10:00Z", tick=False):
        tasks.invoice_last_month()
    assert Document.objects.filter(kind="invoice").count() == 1
