"""Stock admin for superusers: money is read here and moved by the functions of the books; VAT rates are edited."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import LookOnly
from billing.models import (
    BillingAccount,
    Document,
    LedgerAccount,
    LedgerLeg,
    LedgerTxn,
    LegalEntity,
    ReportRun,
    SessionBill,
    Tariff,
    VatRate,
)


class LegInline(admin.TabularInline):  # type: ignore[type-arg]
    model = LedgerLeg
    extra = 0
    fields = ["account", "currency", "amount"]
    readonly_fields = ["account", "currency", "amount"]
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: LedgerTxn | None = None) -> bool:
        return False


@admin.register(VatRate)
class VatRateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["country", "category", "rate", "valid_from", "valid_to"]
    list_filter = ["country"]


@admin.register(Tariff)
class TariffAdmin(LookOnly):
    list_display = ["name", "code", "version", "operator", "currency", "valid_from", "valid_to", "retired_at"]
    list_select_related = ["operator"]
    search_fields = ["name", "code"]


@admin.register(SessionBill)
class SessionBillAdmin(LookOnly):
    list_display = ["session_id", "operator", "state", "held_reason", "currency", "incl_vat_minor", "rated_at"]
    list_select_related = ["operator"]
    list_filter = ["state", "held_reason"]
    show_full_result_count = False


@admin.register(Document)
class DocumentAdmin(LookOnly):
    list_display = ["number", "kind", "operator", "issued_at", "state", "currency", "incl_vat_minor"]
    list_select_related = ["operator"]
    list_filter = ["kind", "state"]
    search_fields = ["number"]
    show_full_result_count = False


@admin.register(LedgerAccount)
class LedgerAccountAdmin(LookOnly):
    list_display = ["kind", "owner", "operator", "currency", "balance", "held"]
    list_select_related = ["operator"]
    list_filter = ["kind"]


@admin.register(LedgerTxn)
class LedgerTxnAdmin(LookOnly):
    list_display = ["idempotency_key", "kind", "operator", "posted_at", "actor"]
    list_select_related = ["operator"]
    list_filter = ["kind"]
    search_fields = ["idempotency_key"]
    inlines = [LegInline]
    show_full_result_count = False


@admin.register(LegalEntity)
class LegalEntityAdmin(LookOnly):
    list_display = ["name", "operator", "country", "vat_id", "is_default"]
    list_select_related = ["operator"]


@admin.register(BillingAccount)
class BillingAccountAdmin(LookOnly):
    list_display = ["name", "operator", "mode", "language"]
    list_select_related = ["operator"]
    search_fields = ["name"]


@admin.register(ReportRun)
class ReportRunAdmin(LookOnly):
    list_display = ["site", "kind", "period", "state", "made_at"]
    list_select_related = ["site"]
