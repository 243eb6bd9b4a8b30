"""Jobs. Each gets ids, calls one function and may run twice; the sweeps find what a lost hint left."""

from __future__ import annotations

import logging

from celery import shared_task
from django.utils import timezone

from billing import documents, invoicing, reports, settlement
from billing.models import BillingAccount, Document
from sessions.hints import tell_after_commit
from stations.models import Site

SESSIONS_AT_ONCE = 500
SLICE = 20
PAPERS_AT_ONCE = 50
log = logging.getLogger("voltyard.billing")


@shared_task
def rate_session(session_id: int) -> None:
    """Price an ended session and make its paper."""
    try:
        bill = settlement.settle(session_id, now=timezone.now())
    except (settlement.AlreadySettled, settlement.NotEnded):
        return
    tell_after_commit(bill.session)
    for document_id in Document.objects.filter(sessions=bill.pk).values_list("pk", flat=True):
        render_document.delay(document_id)


@shared_task
def sweep_unrated() -> None:
    """Price what waits."""
    now = timezone.now()
    waiting = settlement.due(now, SESSIONS_AT_ONCE)
    for first in range(0, len(waiting), SLICE):
        part = waiting[first : first + SLICE]
        try:
            for bill in settlement.settle_many(dict.fromkeys(part, now)):
                tell_after_commit(bill.session)
        except Exception:  # one that fails must not keep the others waiting
            log.exception("a slice of sessions could not be priced; they are tried one by one")
            for session_id in part:
                rate_session.delay(session_id)


@shared_task
def render_document(document_id: int) -> None:
    """Make a document's PDF and mail it to its payer."""
    document = Document.objects.select_related("account").get(pk=document_id)
    if not document.pdf:
        documents.store(document)
    documents.send(document, at=timezone.now())


@shared_task
def sweep_unrendered() -> None:
    """Make PDFs that are missing."""
    for document_id in documents.unrendered(timezone.now(), PAPERS_AT_ONCE):
        try:
            render_document(document_id)
        except Exception:  # as above
            log.exception("document %s could not be rendered", document_id)


@shared_task
def invoice_last_month() -> None:
    """Invoice whoever gets one invoice a month. Where it is still last month, a later run does it."""
    now = timezone.now()
    period = invoicing.month_before(now, "UTC")
    for account_id in invoicing.due_accounts(period):
        account = BillingAccount.objects.get(pk=account_id)
        try:
            issued = invoicing.issue(account, period, by=None, at=now)
        except (invoicing.AlreadyIssued, invoicing.NothingToInvoice, invoicing.MonthNotOver):
            continue
        for document in issued:
            render_document.delay(document.pk)


@shared_task
def energy_reports_last_month() -> None:
    """Make last month's energy report of every site where cars charged."""
    now = timezone.now()
    for site_id, period in reports.sites_to_report(now):
        reports.energy_report(Site.objects.select_related("operator").get(pk=site_id), period, now=now)
