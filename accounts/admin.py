"""Stock admin for superusers: a workbench; the pages of the portals are the product."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from accounts.models import ApiKey, AuditEntry, Driver, IdToken, Invitation, Membership, Operator, User


class LookOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that are read here and changed by the functions that keep their rules."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["email", "name", "is_active", "is_staff", "last_login"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email", "name"]
    fields = ["email", "name", "language", "time_zone", "is_active", "is_staff", "is_superuser", "last_login"]
    readonly_fields = ["email", "last_login"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Operator)
class OperatorAdmin(LookOnly):
    list_display = ["name", "slug", "currency", "time_zone", "country", "suspended_at", "created_at"]
    search_fields = ["name", "slug"]


@admin.register(Membership)
class MembershipAdmin(LookOnly):
    list_display = ["user", "operator", "role", "all_sites"]
    list_select_related = ["user", "operator"]
    list_filter = ["role"]


@admin.register(Invitation)
class InvitationAdmin(LookOnly):
    list_display = ["email", "operator", "role", "expires_at", "accepted_at"]
    list_select_related = ["operator"]
    exclude = ["digest"]


@admin.register(Driver)
class DriverAdmin(LookOnly):
    list_display = ["name", "email", "operator", "retired_at"]
    list_select_related = ["operator"]
    search_fields = ["name", "email"]


@admin.register(IdToken)
class IdTokenAdmin(LookOnly):
    list_display = ["masked", "type", "status", "operator", "driver"]
    list_select_related = ["operator", "driver"]
    exclude = ["value"]


@admin.register(ApiKey)
class ApiKeyAdmin(LookOnly):
    list_display = ["name", "operator", "role", "last_used_at", "revoked_at"]
    list_select_related = ["operator"]
    exclude = ["digest"]


@admin.register(AuditEntry)
class AuditEntryAdmin(LookOnly):
    list_display = ["at", "operator", "actor", "action", "target"]
    list_select_related = ["operator"]
    search_fields = ["actor", "action", "target", "target_id"]
