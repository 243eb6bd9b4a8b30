"""The REST API about sessions, their readings and their messages. What they cost is added in `billing.api`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import Endpoint
from accounts.api_defaults import CursorPages
from accounts.models import ApiKey
from accounts.roles import Ability, may
from sessions.lifecycle import ORPHAN
from sessions.models import ChargingSession, MeterReading
from sessions.search import by_token
from sessions.words import token_of
from stations.api_commands import MessageOut, message_shapes
from stations.models import Frame

Costs = Mapping[int, Any]


class CostLineOut(serializers.Serializer[Any]):
    """One line of a price: quantity in ``unit`` (kWh, h, fee) at ``unit_price`` as the tariff states it.

    Amounts are shares of the rounded total, so the lines add up to it. ``from`` and ``to`` tell when it held.
    """

    type = serializers.CharField()
    quantity = serializers.CharField(allow_null=True)
    unit = serializers.CharField(allow_null=True)
    unit_price = serializers.CharField(allow_null=True)
    excl_vat = serializers.CharField()
    vat = serializers.CharField()
    incl_vat = serializers.CharField()
    vat_rate = serializers.CharField(allow_null=True)
    to = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the fields; ``from`` is no name in Python."""
        return {**super().get_fields(), "from": serializers.DateTimeField(allow_null=True)}


class CostOut(serializers.Serializer[Any]):
    """What a session costs, in the currency of its tariff."""

    currency = serializers.CharField()
    excl_vat = serializers.CharField()
    vat = serializers.CharField()
    incl_vat = serializers.CharField()
    lines = CostLineOut(many=True)


class SessionOut(serializers.Serializer[ChargingSession]):
    """A session. Registers and energy in Wh; ``cost`` is null until it is priced, and for roles without money."""

    id = serializers.UUIDField()
    station = serializers.CharField()
    evse = serializers.IntegerField(allow_null=True)
    connector = serializers.IntegerField(allow_null=True)
    token = serializers.CharField(allow_null=True)
    transaction_id = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField()
    stopped_at = serializers.DateTimeField(allow_null=True)
    stop_reason = serializers.CharField(allow_null=True)
    meter_start_wh = serializers.CharField(allow_null=True)
    meter_stop_wh = serializers.CharField(allow_null=True)
    energy_wh = serializers.CharField()
    status = serializers.ChoiceField(choices=ChargingSession.Status.choices)
    review = serializers.ListField(child=serializers.CharField())
    cost = CostOut(allow_null=True)


class ReadingOut(serializers.Serializer[MeterReading]):
    """One reading. ``energy_wh`` is the register as reported, in Wh; single phases are in ``other``."""

    at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    context = serializers.CharField()  # type: ignore[assignment]
    energy_wh = serializers.CharField(allow_null=True)
    power_w = serializers.CharField(allow_null=True)
    current_a = serializers.CharField(allow_null=True)
    voltage_v = serializers.CharField(allow_null=True)
    soc_percent = serializers.CharField(allow_null=True)
    temperature_c = serializers.CharField(allow_null=True)
    other = serializers.JSONField(allow_null=True)


class SessionFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the sessions; ``from`` and ``to`` are about their start."""

    station = django_filters.CharFilter("station__identity")
    connector = django_filters.NumberFilter("evse__number")
    token = django_filters.CharFilter(method="of_token")
    status = django_filters.ChoiceFilter(choices=ChargingSession.Status.choices)

    def of_token(self, rows: QuerySet[ChargingSession], _name: str, value: str) -> QuerySet[ChargingSession]:
        """Find what was charged with a token."""
        return rows.filter(by_token(self.request.auth.operator_id, value))


# "from" is no name in Python.
SessionFilter.base_filters["from"] = django_filters.IsoDateTimeFilter("started_at", lookup_expr="gte")
SessionFilter.base_filters["to"] = django_filters.IsoDateTimeFilter("started_at", lookup_expr="lt")


class SessionRows(Endpoint):
    """Addresses about sessions."""

    abilities: ClassVar[Mapping[str, Ability]] = {"GET": Ability.SEE_SESSIONS}
    queryset = ChargingSession.objects.select_related("station", "evse", "connector")
    serializer_class: Any = SessionOut

    def costs(self, rows: list[ChargingSession]) -> Costs:
        """Return what sessions cost by primary key, as far as the key may see it."""
        return {}

    def shapes(self, rows: list[ChargingSession]) -> list[dict[str, Any]]:
        """Return sessions as the API writes them."""
        costs = self.costs(rows)
        return [_session(self.actor, row, costs.get(row.pk)) for row in rows]


class Sessions(SessionRows):
    """All sessions."""

    filterset_class = SessionFilter

    @extend_schema(responses=SessionOut(many=True))
    def get(self, request: Request) -> Response:
        """List sessions, the newest first."""
        if "token" in request.query_params and not may(self.actor, Ability.SEE_PEOPLE):
            raise PermissionDenied(_("This role cannot search personal data."))
        return self.page(self.get_queryset(), self.shapes)


class OneSession(SessionRows):
    """One session."""

    @extend_schema(responses=SessionOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a session."""
        return Response(self.shapes([self.get_object()])[0])


class InOrder(CursorPages):
    """Pages in the order of time."""

    ordering = ("at", "digest")  # type: ignore[assignment]


class Readings(SessionRows):
    """The readings of one session."""

    serializer_class = ReadingOut
    pagination_class = InOrder

    @extend_schema(responses=ReadingOut(many=True))
    def get(self, request: Request, id: str) -> Response:
        """List a session's readings, the oldest first."""
        session = get_object_or_404(self.get_queryset(), uuid=id)
        return self.page(MeterReading.objects.filter(session=session).exclude(context="state"), _readings)


class Messages(SessionRows):
    """The messages of one session."""

    serializer_class = MessageOut

    @extend_schema(responses=MessageOut(many=True))
    def get(self, request: Request, id: str) -> Response:
        """List the messages of a session, the newest first; secrets are removed, tokens are pseudonyms."""
        session = get_object_or_404(self.get_queryset(), uuid=id)
        return self.page(frames_of(session), message_shapes)


def frames_of(session: ChargingSession) -> QuerySet[Frame]:
    """Return the frames that belong to a session, as long as they are kept."""
    return Frame.objects.filter(station_id=session.station_id, session_ref=session.transaction_ref)


def number(value: Decimal | None) -> str | None:
    """Write a decimal without exponent and needless zeros."""
    if value is None:
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _session(actor: ApiKey, row: ChargingSession, cost: Any) -> dict[str, Any]:
    shape = {
        "id": row.uuid,
        "station": row.station.identity,
        "evse": row.evse.number if row.evse else None,
        "connector": row.connector.number if row.connector else None,
        "token": token_of(row, sees_people=may(actor, Ability.SEE_PEOPLE)) or None,
        "transaction_id": None if row.transaction_ref.startswith(ORPHAN) else row.transaction_ref,
        "started_at": row.started_at,
        "stopped_at": row.stopped_at,
        "stop_reason": row.stop_reason or None,
        "meter_start_wh": number(row.meter_start_wh),
        "meter_stop_wh": number(row.meter_stop_wh),
        "energy_wh": number(row.energy_wh),
        "status": row.status,
        "review": row.review,
        "cost": cost,
    }
    return dict(SessionOut(shape).data)  # type: ignore[arg-type]


def _readings(rows: list[MeterReading]) -> list[dict[str, Any]]:
    return [dict(shape) for shape in ReadingOut([_reading(row) for row in rows], many=True).data]  # type: ignore[arg-type]


def _reading(row: MeterReading) -> dict[str, Any]:
    amps = {"current_l1": row.current_l1, "current_l2": row.current_l2, "current_l3": row.current_l3}
    volts = {"voltage_l1": row.voltage_l1, "voltage_l2": row.voltage_l2, "voltage_l3": row.voltage_l3}
    phases = {name: number(value) for name, value in {**amps, **volts}.items() if value is not None}
    current = [value for value in amps.values() if value is not None]
    voltage = [value for value in volts.values() if value is not None]
    mean = (sum(voltage, Decimal(0)) / len(voltage)).quantize(Decimal("0.01")) if voltage else None
    return {
        "at": row.at,
        "received_at": row.received_at,
        "context": row.context,
        "energy_wh": number(row.energy_wh),
        "power_w": number(row.power_w),
        "current_a": number(row.current_a if row.current_a is not None else max(current, default=None)),
        "voltage_v": number(row.voltage_v if row.voltage_v is not None else mean),
        "soc_percent": number(row.soc_percent),
        "temperature_c": number(row.temperature_c),
        "other": {**phases, **(row.other or {})} or None,
    }
