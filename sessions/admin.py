"""Stock admin for superusers: sessions to look at; they change by what stations say and people decide."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import LookOnly
from sessions.models import AuthorizationAttempt, ChargingSession, SessionEvidence


class EvidenceInline(admin.TabularInline):  # type: ignore[type-arg]
    model = SessionEvidence
    extra = 0
    fields = ["at", "kind", "seq_no", "digest"]
    readonly_fields = ["at", "kind", "seq_no", "digest"]
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: ChargingSession | None = None) -> bool:
        return False


@admin.register(ChargingSession)
class ChargingSessionAdmin(LookOnly):
    list_display = ["uuid", "operator", "station", "started_at", "stopped_at", "status", "energy_wh", "review"]
    list_select_related = ["operator", "station"]
    list_filter = ["status"]
    search_fields = ["uuid", "transaction_ref", "station__identity"]
    exclude = ["token_shown"]
    inlines = [EvidenceInline]
    show_full_result_count = False

    def view_on_site(self, obj: ChargingSession) -> str:
        """Return the session's page in the console."""
        return f"/console/sessions/{obj.uuid}/"


@admin.register(AuthorizationAttempt)
class AuthorizationAttemptAdmin(LookOnly):
    list_display = ["at", "station", "status", "reason"]
    list_select_related = ["station"]
    list_filter = ["status"]
    exclude = ["shown"]
    show_full_result_count = False
