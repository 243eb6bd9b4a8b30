"""The REST API about people and access: operator, drivers, tokens, audit trail."""

from __future__ import annotations

import functools
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import drivers, tokens
from accounts.api import Endpoint, StrictSerializer
from accounts.models import ApiKey, AuditEntry, Driver, IdToken, Operator
from accounts.roles import ABILITIES, Ability, may

NEEDS_PEOPLE = frozenset({"value", "label", "driver", "email", "name"})  # filters that would tell what is masked


class OperatorOut(serializers.Serializer[Operator]):
    """An operator as its programs see it."""

    id = serializers.UUIDField(source="uuid")
    name = serializers.CharField()
    slug = serializers.CharField()
    currency = serializers.CharField()
    time_zone = serializers.CharField()
    country = serializers.CharField()
    role = serializers.CharField()
    abilities = serializers.ListField(child=serializers.CharField())


class DriverIn(StrictSerializer):
    """What may be said about a driver."""

    name = serializers.CharField(max_length=120)
    email = serializers.EmailField(required=False, allow_blank=True)
    group = serializers.CharField(required=False, allow_blank=True, max_length=60)


class DriverOut(serializers.Serializer[Driver]):
    """A driver; name and e-mail only for roles that may see personal data."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    email = serializers.CharField(allow_null=True)
    group = serializers.CharField()
    has_log_in = serializers.BooleanField()
    retired_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class TokenIn(StrictSerializer):
    """A new token, or what of it changes. ``stations`` names stations by identity or id."""

    value = serializers.CharField(required=False, max_length=255, trim_whitespace=False)
    type = serializers.ChoiceField(choices=IdToken.Type.choices, default=IdToken.Type.RFID)
    status = serializers.ChoiceField(choices=IdToken.Status.choices, required=False)
    label = serializers.CharField(required=False, allow_blank=True, max_length=60)  # type: ignore[assignment]
    group = serializers.CharField(required=False, allow_blank=True, max_length=36)
    driver = serializers.UUIDField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    stations = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=1000)
    concurrent = serializers.BooleanField(required=False)


class TokenChange(TokenIn):
    """What of a token may change: neither its value nor its type."""

    value = None  # type: ignore[assignment]
    type = None  # type: ignore[assignment]


class TokenOut(serializers.Serializer[IdToken]):
    """A token. ``value`` ends in the last four characters for masked roles; a PIN is shown at creation only."""

    id = serializers.UUIDField()
    value = serializers.CharField(allow_null=True)
    type = serializers.CharField()
    status = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    group = serializers.CharField()
    driver = serializers.UUIDField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    stations = serializers.ListField(child=serializers.CharField())
    concurrent = serializers.BooleanField()
    retired_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class AuditOut(serializers.Serializer[AuditEntry]):
    """One thing done by somebody."""

    id = serializers.UUIDField(source="uuid")
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    action = serializers.CharField()
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target = serializers.CharField()
    facts = serializers.JSONField()


class DriverFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the drivers."""

    name = django_filters.CharFilter(lookup_expr="icontains")
    email = django_filters.CharFilter(lookup_expr="iexact")
    group = django_filters.CharFilter()
    retired = django_filters.BooleanFilter("retired_at", lookup_expr="isnull", exclude=True)


class TokenFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the tokens."""

    value = django_filters.CharFilter(method="by_value")
    label = django_filters.CharFilter(lookup_expr="icontains")
    status = django_filters.ChoiceFilter(choices=IdToken.Status.choices)
    type = django_filters.ChoiceFilter(choices=IdToken.Type.choices)
    driver = django_filters.UUIDFilter("driver__uuid")
    group = django_filters.CharFilter(lookup_expr="iexact")
    retired = django_filters.BooleanFilter("retired_at", lookup_expr="isnull", exclude=True)

    def by_value(self, rows: QuerySet[IdToken], _name: str, value: str) -> QuerySet[IdToken]:
        """Find what a station would present, PINs included."""
        found = tokens.find_token(self.request.auth.operator_id, value)
        return rows.filter(pk=found.pk) if found else rows.none()


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the audit trail."""

    action = django_filters.CharFilter()
    actor = django_filters.CharFilter(lookup_expr="icontains")
    target_type = django_filters.CharFilter()
    target_id = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter("at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter("at", lookup_expr="lt")


class Me(Endpoint):
    """The operator of the key, and what the key may do."""

    abilities = {"GET": Ability.SEE_STATIONS}
    serializer_class = OperatorOut

    def get(self, request: Request) -> Response:
        """Return the operator."""
        operator = self.actor.operator
        operator.role, operator.abilities = self.actor.role, sorted(ABILITIES[self.actor.role])  # type: ignore[attr-defined]
        return Response(OperatorOut(operator).data)


class People(Endpoint):
    """Addresses whose rows are about people: whoever may not see those gets them masked."""

    @property
    def sees_people(self) -> bool:
        """Whether the key may see personal data."""
        return may(self.actor, Ability.SEE_PEOPLE)

    def filter_queryset(self, queryset: Any) -> Any:
        """Refuse filters that would tell what is masked."""
        if not self.sees_people and NEEDS_PEOPLE & set(self.request.query_params):
            raise PermissionDenied(_("This role cannot search personal data."))
        return super().filter_queryset(queryset)


class Drivers(People):
    """All drivers."""

    abilities = {"GET": Ability.SEE_SESSIONS, "POST": Ability.EDIT_TOKENS}
    queryset = Driver.objects.select_related("user")
    filterset_class = DriverFilter
    serializer_class = DriverIn

    @extend_schema(responses=DriverOut(many=True))
    def get(self, request: Request) -> Response:
        """List drivers."""
        return self.page(self.get_queryset(), functools.partial(_drivers, self.sees_people))

    @extend_schema(responses={201: DriverOut})
    def post(self, request: Request) -> Response:
        """Make a driver."""
        driver = drivers.create_driver(self.actor.operator, by=self.actor, **self.valid())
        return Response(_drivers(self.sees_people, [driver])[0], status=201)


class OneDriver(People):
    """One driver."""

    abilities = {"GET": Ability.SEE_SESSIONS, "PATCH": Ability.EDIT_TOKENS}
    queryset = Driver.objects.select_related("user")
    serializer_class = DriverIn

    @extend_schema(responses=DriverOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a driver."""
        return Response(_drivers(self.sees_people, [self.get_object()])[0])

    @extend_schema(responses=DriverOut)
    def patch(self, request: Request, id: str) -> Response:
        """Change a driver."""
        driver = drivers.change_driver(self.get_object(), by=self.actor, **self.valid(partial=True))
        return Response(_drivers(self.sees_people, [driver])[0])


class Tokens(People):
    """All tokens."""

    abilities = {"GET": Ability.SEE_SESSIONS, "POST": Ability.EDIT_TOKENS}
    queryset = IdToken.objects.select_related("driver")
    filterset_class = TokenFilter
    serializer_class = TokenIn

    @extend_schema(responses=TokenOut(many=True))
    def get(self, request: Request) -> Response:
        """List tokens."""
        return self.page(self.get_queryset(), functools.partial(_tokens, self.actor))

    @extend_schema(responses={201: TokenOut})
    def post(self, request: Request) -> Response:
        """Make a token. A generated PIN or app token is in ``value`` of this answer; a PIN never again."""
        issued = tokens.create_token(self.actor.operator, by=self.actor, **_facts(self.actor, self.valid()))
        shape = _tokens(self.actor, [issued.token])[0]
        return Response(shape | {"value": issued.presented}, status=201)


class OneToken(People):
    """One token."""

    abilities = {"GET": Ability.SEE_SESSIONS, "PATCH": Ability.EDIT_TOKENS, "DELETE": Ability.EDIT_TOKENS}
    queryset = IdToken.objects.select_related("driver", "operator")
    serializer_class = TokenChange

    @extend_schema(responses=TokenOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a token."""
        return Response(_tokens(self.actor, [self.get_object()])[0])

    @extend_schema(responses=TokenOut)
    def patch(self, request: Request, id: str) -> Response:
        """Change a token."""
        facts = _facts(self.actor, self.valid(partial=True))
        return Response(_tokens(self.actor, [tokens.change_token(self.get_object(), by=self.actor, **facts)])[0])

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Retire a token: its history stays, its value may be handed out again."""
        tokens.retire(self.get_object(), by=self.actor, at=timezone.now())
        return Response(status=204)


class Audit(Endpoint):
    """Who did what."""

    abilities = {"GET": Ability.SEE_AUDIT}
    queryset = AuditEntry.objects.all()
    filterset_class = AuditFilter
    serializer_class = AuditOut

    @extend_schema(responses=AuditOut(many=True))
    def get(self, request: Request) -> Response:
        """List audit entries, the newest first."""
        return self.page(self.get_queryset(), _entries)


class OneAudit(Endpoint):
    """One audit entry."""

    abilities = {"GET": Ability.SEE_AUDIT}
    queryset = AuditEntry.objects.all()
    serializer_class = AuditOut

    def get(self, request: Request, id: str) -> Response:
        """Return an audit entry."""
        return Response(AuditOut(self.get_object()).data)


def _facts(actor: ApiKey, values: dict[str, Any]) -> dict[str, Any]:
    """Return the body with what it names by id or identity looked up among the operator's rows."""
    facts = dict(values)
    if facts.get("driver") is not None:
        driver = Driver.objects.visible_to(actor).filter(uuid=facts["driver"], retired_at=None).first()
        if driver is None:
            raise ValidationError({"driver": [_("No such driver.")]})
        facts["driver"] = driver
    if "stations" in facts:
        facts["stations"], unknown = tokens.station_uuids(actor.operator, facts["stations"])
        if unknown:
            raise ValidationError({"stations": [_("Unknown station: %(names)s") % {"names": ", ".join(unknown)}]})
    return facts


def _entries(rows: list[Any]) -> list[Any]:
    return list(AuditOut(rows, many=True).data)  # type: ignore[arg-type]


def _drivers(sees_people: bool, rows: list[Driver]) -> list[Any]:
    shapes = [
        {
            "id": row.uuid,
            "name": row.name if sees_people else row.masked,
            "email": row.email if sees_people else None,
            "group": row.group,
            "has_log_in": row.user_id is not None,
            "retired_at": row.retired_at,
            "created_at": row.created_at,
        }
        for row in rows
    ]
    return list(DriverOut(shapes, many=True).data)  # type: ignore[arg-type]


def _tokens(actor: ApiKey, rows: list[IdToken]) -> list[Any]:
    sees_people = may(actor, Ability.SEE_PEOPLE)
    names = tokens.station_names(actor.operator, rows)

    def value(row: IdToken) -> str | None:
        if row.type == IdToken.Type.PIN:
            return None
        return row.value if sees_people else row.masked

    shapes = [
        {
            "id": row.uuid,
            "value": value(row),
            "type": row.type,
            "status": row.status,
            "label": row.label if sees_people else "",
            "group": row.group,
            "driver": row.driver.uuid if row.driver else None,
            "expires_at": row.expires_at,
            "stations": [names.get(station, station) for station in row.stations],
            "concurrent": row.concurrent,
            "retired_at": row.retired_at,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
        for row in rows
    ]
    return list(TokenOut(shapes, many=True).data)  # type: ignore[arg-type]
