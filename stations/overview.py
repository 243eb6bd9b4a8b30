"""The fleet as an operator sees it: which stations there are and what they do now, as queries.

Sessions are a higher app's rows. Here they are reached through the operator's reverse relation alone, and
only for what a station shows of them: how many run, what they draw.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    OuterRef,
    Q,
    QuerySet,
    Sum,
)
from django.db.models.expressions import RawSQL

from accounts.models import Membership
from stations.fleet_map import MarkerState, Place
from stations.messages import ConnectorState
from stations.models import ONLINE_LEASE, Alert, Connector, Gateway, Site, Station, is_online
from stations.states import NEVER_CONNECTED, OFFLINE, SILENT

IN_USE = (
    ConnectorState.CHARGING,
    ConnectorState.SUSPENDED_EV,
    ConnectorState.SUSPENDED_EVSE,
    ConnectorState.PREPARING,
    ConnectorState.FINISHING,
)
ABSENT = (OFFLINE, NEVER_CONNECTED)
VIEWS = ("", "attention", "in_use", "away")
SORTS = ("name", "site", "power", "seen")
PAGE_SIZES = (10, 25, 50)

# The status as part of the statement itself: only so does SQLite use the index of open sessions of a station.
ACTIVE = RawSQL("'active'", ())
# A session that runs. What has no end yet is found through the index of ends, whatever the past holds.
RUNS = Q(status="active", stopped_at=None)


# --- which stations ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """What the list is narrowed and sorted by; all of it stands in the address of the page."""

    view: str = ""
    text: str = ""
    state: str = ""
    site: str = ""
    model: str = ""
    firmware: str = ""
    sort: str = "name"
    size: int = PAGE_SIZES[0]
    page: str = ""

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Query:
        """Return the query of an address; what it does not know is as if it were not there."""
        sort, view, size = params.get("sort", ""), params.get("view", ""), params.get("size", "")
        return cls(
            view=view if view in VIEWS else "",
            text=params.get("q", "").strip()[:120],
            state=params.get("state", "")[:20],
            site=params.get("site", "")[:36],
            model=params.get("model", "")[:255],
            firmware=params.get("firmware", "")[:255],
            sort=sort if sort.removeprefix("-") in SORTS else "name",
            size=int(size) if size.isdigit() and int(size) in PAGE_SIZES else PAGE_SIZES[0],
            page=params.get("page", "")[:9],
        )

    def narrows(self, now: dt.datetime) -> Q:
        """Return its condition on stations."""
        wanted = Q()
        if self.view == "attention":
            wanted &= needs_attention(now)
        elif self.view == "in_use":
            wanted &= _has_connector(IN_USE) & is_online(now)
        elif self.view == "away":
            wanted &= ~is_online(now)
        if self.text:
            wanted &= Q(name__icontains=self.text) | Q(identity__icontains=self.text)
        if self.state:
            wanted &= _in_state(self.state, now)
        if self.site:
            wanted &= Q(site__uuid=self.site) if is_uuid(self.site) else Q(pk__in=())
        if self.model:
            wanted &= Q(model=self.model)
        if self.firmware:
            wanted &= Q(firmware=self.firmware)
        return wanted


def stations(actor: Membership) -> QuerySet[Station]:
    """Return the stations in use that ``actor`` may know of."""
    return Station.objects.visible_to(actor).filter(retired_at=None)


def here(now: dt.datetime) -> ExpressionWrapper[Q]:
    """Return an annotation: whether a station is connected."""
    return ExpressionWrapper(is_online(now), output_field=BooleanField())


def living_gateways(now: dt.datetime) -> QuerySet[Gateway, str]:
    """Return the ids of the gateways whose lease is young."""
    return Gateway.objects.filter(lease_at__gt=now - ONLINE_LEASE).values_list("id", flat=True)


def needs_attention(now: dt.datetime) -> Q:
    """Return the condition of a station somebody should look at."""
    alerts = Alert.objects.filter(
        station=OuterRef("pk"), resolved_at=None, severity__in=[Alert.Severity.CRITICAL, Alert.Severity.WARNING]
    )
    lost = ~is_online(now) & Q(connected_at__isnull=False)
    waits = Q(registration=Station.Registration.PENDING)
    return _has_connector([ConnectorState.FAULTED]) | lost | waits | Q(Exists(alerts))


def _has_connector(statuses: Iterable[str]) -> Q:
    return Q(Exists(Connector.objects.filter(evse__station=OuterRef("pk"), status__in=list(statuses))))


def _in_state(state: str, now: dt.datetime) -> Q:
    if state == NEVER_CONNECTED:
        return Q(connected_at=None)
    if state == OFFLINE:
        return ~is_online(now) & Q(connected_at__isnull=False)
    if state == SILENT:
        return is_online(now) & Q(last_seen_at__lt=now - silent_after())
    return _has_connector([state]) & is_online(now)


def silent_after() -> dt.timedelta:
    """Return how long a connected station may say nothing: two heartbeats and a minute."""
    return dt.timedelta(seconds=2 * settings.HEARTBEAT_SECONDS + 60)


def presence(station: Station, *, is_here: bool, now: dt.datetime) -> str:
    """Return NEVER_CONNECTED, OFFLINE or SILENT, empty for a station that is here and talks."""
    if not is_here:
        return OFFLINE if station.connected_at is not None else NEVER_CONNECTED
    if station.last_seen_at is not None and now - station.last_seen_at > silent_after():
        return SILENT
    return ""


# --- rows ----------------------------------------------------------------------------------------------


class Running(NamedTuple):
    """A session that runs, as far as its station shows it. Energy in Wh, power in W."""

    uuid: UUID
    station_id: int
    evse: int | None
    connector_id: int | None
    power_w: Decimal | None
    energy_wh: Decimal
    started_at: dt.datetime
    driver: str
    token: str
    is_here: bool


class Plug(NamedTuple):
    """A connector; ``state`` is what is shown of it: its own, or the absence of its station."""

    id: int
    evse: int
    number: int
    type: str
    state: str
    error_code: str
    info: str
    since: dt.datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A station with what it does now. ``state`` is its absence, empty while it talks. Power in W."""

    station: Station
    state: str
    plugs: tuple[Plug, ...]
    running: tuple[Running, ...]
    power_w: Decimal | None
    limit_w: int | None


def running(actor: Membership, now: dt.datetime, only: Iterable[int] | None = None) -> list[Running]:
    """Return the sessions that run, at the stations ``only`` where they are given (one query)."""
    lease = Gateway.objects.filter(id=OuterRef("station__gateway"), lease_at__gt=now - ONLINE_LEASE)
    rows = sessions_of(actor).filter(RUNS).annotate(is_here=Exists(lease))
    if only is not None:
        rows = rows.filter(station_id__in=list(only))
    found = rows.order_by().values_list(
        "uuid",
        "station_id",
        "evse__number",
        "connector_id",
        "power_w",
        "energy_wh",
        "started_at",
        "driver__name",
        "token_shown",
        "is_here",
    )
    shown = [Running._make((*row[:7], row[7] or "", *row[8:])) for row in found]
    return sorted(shown, key=lambda one: one.started_at)  # in the statement it would lead to another index


def all_of(actor: Membership, query: Query, now: dt.datetime) -> QuerySet[Station]:
    """Return the stations a query finds, in its order, with their sites and whether they are here."""
    rows = stations(actor).filter(query.narrows(now)).select_related("site").annotate(is_here=here(now))
    field = query.sort.removeprefix("-")
    if field == "power":
        rows = rows.annotate(open=FilteredRelation("sessions", condition=Q(sessions__status=ACTIVE)))
        rows = rows.annotate(power=Sum("open__power_w"))
    down = query.sort.startswith("-")
    key = {"name": F("name"), "site": F("site__name"), "power": F("power"), "seen": F("last_seen_at")}[field]
    found = rows.order_by(key.desc(nulls_last=True) if down else key.asc(nulls_first=True), "identity")
    return cast("QuerySet[Station]", found)


def page_of(actor: Membership, query: Query, now: dt.datetime, *, count: int | None = None) -> Page[Station]:
    """Return a page of the stations a query finds; ``count`` saves the query for it."""
    paginator = Paginator(all_of(actor, query, now), query.size)
    if count is not None:
        paginator.count = count
    return paginator.get_page(query.page)


def rows_of(found: Sequence[Station], active: Iterable[Running], now: dt.datetime) -> list[Row]:
    """Return the stations (annotated by `here`) as rows, with their connectors (one query)."""
    sessions = defaultdict(list)
    for session in active:
        sessions[session.station_id].append(session)
    plugs: dict[int, list[Connector]] = defaultdict(list)
    ids = [station.pk for station in found]
    for connector in Connector.objects.filter(evse__station_id__in=ids).select_related("evse"):
        plugs[connector.evse.station_id].append(connector)
    return [_row(station, plugs[station.pk], sessions[station.pk], now) for station in found]


def _row(station: Station, connectors: list[Connector], sessions: list[Running], now: dt.datetime) -> Row:
    absent = presence(station, is_here=station.is_here, now=now)  # type: ignore[attr-defined]
    connectors.sort(key=lambda one: (one.evse.number, one.number))
    plugs = tuple(
        Plug(
            one.pk,
            one.evse.number,
            one.number,
            one.type,
            absent or one.status,
            one.error_code,
            one.info,
            one.since,
        )
        for one in connectors
    )
    places = {one.evse.number: one.evse.max_power_w for one in connectors}
    rated = station.max_power_w or sum(power or 0 for power in places.values()) or None
    drawn = [one.power_w for one in sessions if one.power_w is not None]
    known = bool(drawn) or not sessions
    power = None if absent in ABSENT or not known else sum(drawn, Decimal(0))
    return Row(station, absent, plugs, tuple(sessions), power, rated)


# --- the fleet as a whole --------------------------------------------------------------------------------


class Group(NamedTuple):
    """Stations of one site, model and firmware, counted."""

    site_id: int
    model: str
    firmware: str
    stations: int
    fits: int
    attention: int
    in_use: int
    faulted: int
    offline: int
    absent: int


def groups(actor: Membership, query: Query, now: dt.datetime) -> list[Group]:
    """Return all counts over the stations at once: for tabs, filters, the pager and the map (one query)."""
    present = is_online(now)
    rows = stations(actor).values("site_id", "model", "firmware").order_by("site_id", "model", "firmware")
    counted = rows.annotate(
        n=Count("pk"),
        fits=Count("pk", filter=query.narrows(now) or None),
        attention=Count("pk", filter=needs_attention(now)),
        busy=Count("pk", filter=_has_connector(IN_USE) & present),
        broken=Count("pk", filter=_has_connector([ConnectorState.FAULTED])),
        lost=Count("pk", filter=~present & Q(connected_at__isnull=False)),
        away=Count("pk", filter=~present),
    )
    names = ("site_id", "model", "firmware", "n", "fits", "attention", "busy", "broken", "lost", "away")
    return [Group(*row) for row in counted.values_list(*names)]


def sites(actor: Membership) -> list[Site]:
    """Return the sites in use that ``actor`` may know of."""
    return list(Site.objects.visible_to(actor).filter(retired_at=None))


def places(found: Iterable[Site], counted: Iterable[Group], url: Mapping[int, str]) -> list[Place]:
    """Return the sites that have a place and stations, for the map; the worst of its stations speaks for a site."""
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for group in counted:
        totals[group.site_id].update(n=group.stations, faulted=group.faulted, away=group.absent, in_use=group.in_use)
    shown = []
    for site in found:
        total = totals[site.pk]
        if not total["n"] or site.latitude is None or site.longitude is None:
            continue
        state: MarkerState = "available"
        if total["faulted"]:
            state = "faulted"
        elif total["away"] == total["n"]:
            state = "offline"
        elif total["in_use"]:
            state = "charging"
        at = float(site.longitude), float(site.latitude)
        shown.append(Place(site.city or site.name, *at, total["n"], state, url.get(site.pk, "")))
    return shown


def sessions_of(actor: Membership) -> Any:
    """Return the sessions ``actor`` may know of, through the operator: their model belongs to a higher app."""
    manager: Any = actor.operator.sessions
    return manager.visible_to(actor)


def scope_key(actor: Membership) -> str:
    """Return a key that all actors share who see the same stations."""
    limits = actor.site_scope
    part = "all" if limits is None else hashlib.sha256(repr(sorted(limits)).encode()).hexdigest()[:16]
    return f"{actor.operator_id}:{part}"


def is_uuid(text: str) -> bool:
    """Return whether a text is a public id."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
