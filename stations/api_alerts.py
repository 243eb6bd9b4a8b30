"""The REST API about alerts."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import Endpoint, StrictSerializer
from accounts.roles import Ability
from stations import alert_kinds, alerts
from stations.models import Alert


class AlertChange(StrictSerializer):
    """What a program may do about an alert: take it on, or close it where it does not close by itself."""

    acknowledged = serializers.BooleanField(required=False)
    resolved = serializers.BooleanField(required=False)

    def validate(self, attrs: Any) -> Any:
        """Both only ever go one way, and one of them must be wanted."""
        wrong = {name: [_("Can only be true.")] for name, value in attrs.items() if not value}
        if wrong or not attrs:
            raise ValidationError(wrong or {"acknowledged": [_("Nothing is wanted.")]})
        return attrs


class AlertOut(serializers.Serializer[Alert]):
    """An alert: ``reason`` and ``impact`` in words, ``facts`` the numbers behind them, ``action`` what helps."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=sorted(alert_kinds.KINDS))
    severity = serializers.ChoiceField(choices=Alert.Severity.choices)
    station = serializers.CharField(allow_null=True)
    site = serializers.UUIDField(allow_null=True)
    evse = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    impact = serializers.CharField()
    action = serializers.CharField()
    facts = serializers.JSONField()
    count = serializers.IntegerField()
    raised_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.ChoiceField(choices=Alert.Resolution.choices, allow_null=True)


class AlertFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the alerts."""

    kind = django_filters.CharFilter()
    severity = django_filters.ChoiceFilter(choices=Alert.Severity.choices)
    station = django_filters.CharFilter("station__identity")
    site = django_filters.UUIDFilter("site__uuid")
    acknowledged = django_filters.BooleanFilter("acknowledged_at", lookup_expr="isnull", exclude=True)
    resolved = django_filters.BooleanFilter("resolved_at", lookup_expr="isnull", exclude=True)


class Alerts(Endpoint):
    """All alerts, the newest first."""

    abilities = {"GET": Ability.SEE_STATIONS}
    queryset = Alert.objects.select_related("station", "site", "acknowledged_by")
    filterset_class = AlertFilter
    serializer_class = AlertOut

    def get(self, request: Request) -> Response:
        """List alerts."""
        return self.page(self.get_queryset(), _shapes)


class OneAlert(Endpoint):
    """One alert."""

    abilities = {"GET": Ability.SEE_STATIONS, "PATCH": Ability.COMMAND}
    queryset: QuerySet[Alert] = Alert.objects.select_related("station", "site", "acknowledged_by")
    serializer_class = AlertChange

    @extend_schema(responses=AlertOut)
    def get(self, request: Request, id: str) -> Response:
        """Return an alert."""
        return Response(_shapes([self.get_object()])[0])

    @extend_schema(responses=AlertOut)
    def patch(self, request: Request, id: str) -> Response:
        """Acknowledge or close an alert."""
        alert = self.get_object()
        change = alerts.close if "resolved" in self.valid() else alerts.acknowledge
        return Response(_shapes([change(alert, by=self.actor, at=timezone.now())])[0])


def _shapes(rows: list[Alert]) -> list[Any]:
    return list(AlertOut([_shape(row) for row in rows], many=True).data)  # type: ignore[arg-type]


def _shape(row: Alert) -> dict[str, Any]:
    kind = alert_kinds.kind_of(row)
    return {
        "id": row.uuid,
        "kind": row.kind,
        "severity": row.severity,
        "station": row.station.identity if row.station is not None else None,
        "site": row.site.uuid if row.site is not None else None,
        "evse": row.evse,
        "reason": kind.reason(row),
        "impact": kind.impact(row),
        "action": kind.action.name,
        "facts": row.facts,
        "count": row.count,
        "raised_at": row.raised_at,
        "last_at": row.last_at,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by": row.acknowledged_by.display_name if row.acknowledged_by is not None else None,
        "resolved_at": row.resolved_at,
        "resolution": row.resolution or None,
    }
