"""Stock admin for superusers: a workbench; the pages of the console are the product."""

from __future__ import annotations

from django.contrib import admin

from accounts.admin import LookOnly
from stations.models import Alert, Command, Connector, Frame, Gateway, RefusedConnection, Setting, Site, Station


@admin.register(Site)
class SiteAdmin(LookOnly):
    list_display = ["name", "operator", "city", "country", "time_zone", "retired_at"]
    list_select_related = ["operator"]
    search_fields = ["name", "city"]


@admin.register(Station)
class StationAdmin(LookOnly):
    list_display = ["identity", "name", "operator", "site", "registration", "protocol", "gateway", "last_seen_at"]
    list_select_related = ["operator", "site"]
    list_filter = ["registration", "protocol", "security_profile"]
    search_fields = ["identity", "name", "vendor", "model", "serial_number"]
    exclude = ["credential"]


@admin.register(Connector)
class ConnectorAdmin(LookOnly):
    list_display = ["evse", "number", "type", "status", "error_code", "since"]
    list_select_related = ["evse__station"]
    list_filter = ["status"]
    search_fields = ["evse__station__identity"]


@admin.register(Command)
class CommandAdmin(LookOnly):
    list_display = ["requested_at", "station", "shown", "status", "word", "effect_state", "requested_by"]
    list_select_related = ["station"]
    list_filter = ["status", "command"]
    search_fields = ["station__identity"]
    exclude = ["arguments"]  # may hold a sealed secret


@admin.register(Setting)
class SettingAdmin(LookOnly):
    list_display = ["station", "component", "key", "value", "readonly", "reported_at"]
    list_select_related = ["station"]
    search_fields = ["station__identity", "component", "key"]


@admin.register(Frame)
class FrameAdmin(LookOnly):
    list_display = ["at", "station", "direction", "kind", "action", "note"]
    list_select_related = ["station"]
    list_filter = ["direction", "kind"]
    search_fields = ["station__identity", "action"]
    show_full_result_count = False


@admin.register(RefusedConnection)
class RefusedConnectionAdmin(LookOnly):
    list_display = ["last_at", "identity", "address", "reason", "count", "operator"]
    list_select_related = ["operator"]
    list_filter = ["reason"]
    search_fields = ["identity", "address"]
    exclude = ["credential"]


@admin.register(Alert)
class AlertAdmin(LookOnly):
    list_display = ["raised_at", "operator", "station", "kind", "severity", "count", "resolved_at"]
    list_select_related = ["operator", "station"]
    list_filter = ["kind", "severity"]


@admin.register(Gateway)
class GatewayAdmin(LookOnly):
    list_display = ["id", "started_at", "lease_at"]
