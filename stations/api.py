"""The REST API about sites and stations."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import quote, urlsplit

import django_filters
from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import Endpoint, StrictSerializer
from accounts.models import ApiKey
from accounts.roles import Ability
from accounts.time_zones import validate_time_zone
from stations import enrolment
from stations.models import Connector, Site, Station, is_online
from stations.ocpp.versions import ADAPTERS
from stations.overview import RUNS

# --- sites -------------------------------------------------------------------------------------------


class SiteIn(StrictSerializer):
    """A new site, or what of it changes. ``power_limit_w`` is the limit of its grid connection."""

    name = serializers.CharField(max_length=120)
    time_zone = serializers.CharField(max_length=64, validators=[validate_time_zone])
    country = serializers.RegexField(r"^[A-Z]{2}$", required=False)
    address = serializers.CharField(required=False, allow_blank=True, max_length=200)
    city = serializers.CharField(required=False, allow_blank=True, max_length=80)
    latitude = serializers.DecimalField(9, 6, required=False, allow_null=True)
    longitude = serializers.DecimalField(9, 6, required=False, allow_null=True)
    power_limit_w = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=2**31 - 1)


class SiteOut(serializers.Serializer[Site]):
    """A site."""

    id = serializers.UUIDField(source="uuid")
    name = serializers.CharField()
    time_zone = serializers.CharField()
    country = serializers.CharField()
    address = serializers.CharField()
    city = serializers.CharField()
    latitude = serializers.DecimalField(9, 6, allow_null=True)
    longitude = serializers.DecimalField(9, 6, allow_null=True)
    power_limit_w = serializers.IntegerField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class Retirable(django_filters.FilterSet):  # type: ignore[misc]
    """Lists leave out what is retired unless asked for it."""

    retired = django_filters.BooleanFilter("retired_at", lookup_expr="isnull", exclude=True)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Apply the filters."""
        rows: QuerySet[Any] = super().filter_queryset(queryset)
        return rows if self.form.cleaned_data["retired"] is not None else rows.filter(retired_at=None)


class SiteFilter(Retirable):
    """Filters of the sites."""

    name = django_filters.CharFilter(lookup_expr="icontains")
    country = django_filters.CharFilter()


class Sites(Endpoint):
    """All sites."""

    abilities = {"GET": Ability.SEE_STATIONS, "POST": Ability.EDIT_STATIONS}
    queryset = Site.objects.all()
    filterset_class = SiteFilter
    serializer_class = SiteIn

    @extend_schema(responses=SiteOut(many=True))
    def get(self, request: Request) -> Response:
        """List sites."""
        return self.page(self.get_queryset(), _sites)

    @extend_schema(responses={201: SiteOut})
    def post(self, request: Request) -> Response:
        """Make a site."""
        site = enrolment.create_site(self.actor.operator, by=self.actor, **self.valid())
        return Response(_sites([site])[0], status=201)


class OneSite(Endpoint):
    """One site."""

    abilities = {"GET": Ability.SEE_STATIONS, "PATCH": Ability.EDIT_STATIONS, "DELETE": Ability.EDIT_STATIONS}
    queryset = Site.objects.all()
    serializer_class = SiteIn

    @extend_schema(responses=SiteOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a site."""
        return Response(_sites([self.get_object()])[0])

    @extend_schema(responses=SiteOut)
    def patch(self, request: Request, id: str) -> Response:
        """Change a site."""
        site = enrolment.edit_site(self.get_object(), by=self.actor, **self.valid(partial=True))
        return Response(_sites([site])[0])

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Retire a site without stations; its history stays."""
        enrolment.retire_site(self.get_object(), by=self.actor, at=timezone.now())
        return Response(status=204)


def _sites(rows: list[Any]) -> list[Any]:
    return list(SiteOut(rows, many=True).data)  # type: ignore[arg-type]


# --- stations ----------------------------------------------------------------------------------------


class ConnectorIn(StrictSerializer):
    """A connector before its station describes it; ``connector`` alone is the EVSE of that number, too."""

    evse = serializers.IntegerField(required=False, min_value=1)
    connector = serializers.IntegerField(required=False, min_value=1)
    type = serializers.CharField(required=False, allow_blank=True, max_length=24)
    max_power_w = serializers.IntegerField(required=False, allow_null=True, min_value=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for a number."""
        if "evse" not in attrs and "connector" not in attrs:
            raise ValidationError({"connector": [_("Either “evse” or “connector” is required.")]})
        return attrs


class LinkIn(StrictSerializer):
    """How a station is spoken to."""

    security_profile = serializers.IntegerField(required=False, min_value=0, max_value=3)
    password = serializers.CharField(required=False, allow_blank=True, max_length=64, trim_whitespace=False)
    default_subprotocol = serializers.ChoiceField(choices=["", *ADAPTERS], required=False, allow_blank=True)
    ping_seconds = serializers.IntegerField(required=False, allow_null=True, min_value=10, max_value=3600)
    compression = serializers.BooleanField(required=False)
    max_power_w = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=2**31 - 1)


class StationIn(LinkIn):
    """A new station. ``site`` is the id of its site; a password is generated where none is given."""

    identity = serializers.CharField(max_length=48, trim_whitespace=False)
    site = serializers.UUIDField()
    name = serializers.CharField(required=False, allow_blank=True, max_length=120)
    connectors = ConnectorIn(many=True, required=False, max_length=64)  # type: ignore[call-arg]


class StationChange(LinkIn):
    """What of a station may change; an empty ``password`` has one generated."""

    site = serializers.UUIDField(required=False)
    name = serializers.CharField(required=False, max_length=120)
    registration = serializers.ChoiceField(choices=["accepted", "rejected"], required=False)


class ConnectorOut(serializers.Serializer[Connector]):
    """A connector as its station last reported it; ``session`` is the id of the one that runs there."""

    evse = serializers.IntegerField()
    connector = serializers.IntegerField()
    type = serializers.CharField()
    max_power_w = serializers.IntegerField(allow_null=True)
    status = serializers.CharField(allow_null=True)
    error_code = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    session = serializers.UUIDField(allow_null=True)


class StationOut(serializers.Serializer[Station]):
    """A station."""

    id = serializers.UUIDField()
    identity = serializers.CharField()
    site = serializers.UUIDField()
    name = serializers.CharField()
    online = serializers.BooleanField()
    protocol = serializers.CharField(allow_null=True)
    registration = serializers.ChoiceField(choices=Station.Registration.choices)
    security_profile = serializers.IntegerField()
    vendor = serializers.CharField()
    model = serializers.CharField()
    firmware = serializers.CharField()
    serial_number = serializers.CharField()
    max_power_w = serializers.IntegerField(allow_null=True)
    default_subprotocol = serializers.CharField()
    ping_seconds = serializers.IntegerField(allow_null=True)
    compression = serializers.BooleanField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    connected_at = serializers.DateTimeField(allow_null=True)
    disconnected_at = serializers.DateTimeField(allow_null=True)
    booted_at = serializers.DateTimeField(allow_null=True)
    connectors = ConnectorOut(many=True)
    ocpp_url = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    retired_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class StationMade(StationOut):
    """A station with the password it must present: told once, null where it needs none or keeps its own."""

    password = serializers.CharField(allow_null=True)


class StationFilter(Retirable):
    """Filters of the stations."""

    site = django_filters.UUIDFilter("site__uuid")
    online = django_filters.BooleanFilter(method="by_presence")
    registration = django_filters.ChoiceFilter(choices=Station.Registration.choices)
    vendor = django_filters.CharFilter(lookup_expr="iexact")
    model = django_filters.CharFilter(lookup_expr="iexact")
    firmware = django_filters.CharFilter(lookup_expr="iexact")
    search = django_filters.CharFilter(method="by_text")

    def by_presence(self, rows: QuerySet[Station], _name: str, value: bool) -> QuerySet[Station]:
        """Keep the stations that are connected, or the others."""
        here = is_online(timezone.now())
        return rows.filter(here if value else ~here)

    def by_text(self, rows: QuerySet[Station], _name: str, value: str) -> QuerySet[Station]:
        """Find by a part of name or identity."""
        return rows.filter(Q(name__icontains=value) | Q(identity__icontains=value))


class StationRows(Endpoint):
    """Addresses about stations; one is named by its identity or its id."""

    queryset = Station.objects.select_related("site")

    def get_queryset(self) -> Any:
        """Return the stations with whether they are here."""
        here = ExpressionWrapper(is_online(timezone.now()), output_field=BooleanField())
        return super().get_queryset().annotate(online=here)

    def station(self, name: str) -> Station:
        """Return the station of this identity, else of this id. Raises Http404."""
        rows = self.get_queryset()
        found: Station | None = rows.filter(identity=name).first()
        if found is None and _is_uuid(name):
            found = rows.filter(uuid=name).first()
        if found is None:
            raise Http404
        return found

    def site(self, public_id: Any) -> Site:
        """Return the site a body names. Raises ValidationError."""
        site: Site | None = Site.objects.visible_to(self.actor).filter(uuid=public_id, retired_at=None).first()
        if site is None:
            raise ValidationError({"site": [_("No such site.")]})
        return site


class Stations(StationRows):
    """All stations."""

    abilities = {"GET": Ability.SEE_STATIONS, "POST": Ability.EDIT_STATIONS}
    filterset_class = StationFilter
    serializer_class = StationIn

    @extend_schema(responses=StationOut(many=True))
    def get(self, request: Request) -> Response:
        """List stations."""
        return self.page(self.get_queryset(), lambda rows: _stations(self.actor, rows))

    @extend_schema(responses={201: StationMade})
    def post(self, request: Request) -> Response:
        """Make a station. It is let in at its first dial with the password of this answer."""
        values = self.valid()
        site = self.site(values.pop("site"))
        made = enrolment.create_station(site, values.pop("identity"), by=self.actor, **values)
        return Response(_made(self.actor, made), status=201)


class OneStation(StationRows):
    """One station, by its identity or its id."""

    abilities = {"GET": Ability.SEE_STATIONS, "PATCH": Ability.EDIT_STATIONS, "DELETE": Ability.EDIT_STATIONS}
    serializer_class = StationChange

    @extend_schema(responses=StationOut)
    def get(self, request: Request, identity: str) -> Response:
        """Return a station."""
        return Response(_stations(self.actor, [self.station(identity)])[0])

    @extend_schema(responses=StationMade)
    def patch(self, request: Request, identity: str) -> Response:
        """Change a station; a password that was set is in this answer."""
        station = self.station(identity)
        values = self.valid(partial=True)
        if "site" in values:
            values["site"] = self.site(values["site"])
        changed = enrolment.change_station(station, by=self.actor, now=timezone.now(), **values)
        return Response(_made(self.actor, changed))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, identity: str) -> Response:
        """Retire a station: its socket is closed, its history stays."""
        enrolment.retire_station(self.station(identity), by=self.actor, at=timezone.now())
        return Response(status=204)


def ocpp_url(identity: str) -> str:
    """Return the address a station dials."""
    public = urlsplit(settings.PUBLIC_URL)
    scheme = "wss" if public.scheme == "https" else "ws"
    return f"{scheme}://{public.netloc}{public.path}/ocpp/{quote(identity, safe='')}"


def _made(actor: ApiKey, made: enrolment.Enrolled) -> dict[str, Any]:
    station = made.station
    station.online = Station.objects.filter(is_online(timezone.now()), pk=station.pk).exists()  # type: ignore[attr-defined]
    return _stations(actor, [station])[0] | {"password": made.password or None}


def _stations(actor: ApiKey, rows: list[Any]) -> list[dict[str, Any]]:
    plugs = defaultdict(list)
    sessions = _running(actor, rows)
    for plug in (
        Connector.objects.filter(evse__station__in=rows).select_related("evse").order_by("evse__number", "number")
    ):
        place = plug.evse
        plugs[place.station_id].append(
            {
                "evse": place.number,
                "connector": plug.number,
                "type": plug.type,
                "max_power_w": place.max_power_w,
                "status": plug.status or None,
                "error_code": plug.error_code,
                "since": plug.since,
                "session": sessions.get(plug.pk),
            }
        )
    made_here = {"id", "site", "connectors", "ocpp_url", "protocol"}
    names = [name for name in StationOut._declared_fields if name not in made_here]
    shapes = [
        {name: getattr(row, name) for name in names}
        | {"id": row.uuid, "site": row.site.uuid, "connectors": plugs[row.pk], "ocpp_url": ocpp_url(row.identity)}
        | {"protocol": row.protocol or None}
        for row in rows
    ]
    return [dict(shape) for shape in StationOut(shapes, many=True).data]  # type: ignore[arg-type]


def _running(actor: ApiKey, rows: list[Station]) -> dict[int, Any]:
    """Return connector → id of the session that runs there."""
    active = actor.operator.sessions.filter(RUNS, station__in=rows)
    return {plug: public_id for plug, public_id in active.values_list("connector_id", "uuid") if plug}


def _is_uuid(text: str) -> bool:
    try:
        serializers.UUIDField().to_internal_value(text)
    except ValidationError:
        return False
    return True
