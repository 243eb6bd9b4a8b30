"""Where a driver can charge: sites with free connectors and the price there, in words."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.paginator import Page, Paginator
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from accounts.models import Driver, IdToken
from billing import price_list, price_words, tariffs
from billing.models import Tariff
from billing.price_list import Plug
from billing.taxes import vat_rate
from sessions.words import plug_of
from stations.messages import ConnectorState
from stations.models import Connector, Site, Station, is_online
from stations.states import OFFLINE

PAGE = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """A price at a plug: the plug's name, the price in one line, the idle rule, and what 30 kWh in 40 minutes cost."""

    plug: str
    summary: str
    idle: str
    example: str


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A station: its connectors as (state, name), how many are free, and the prices of its plugs."""

    station: Station
    connectors: Sequence[tuple[str, str]]
    free: int
    max_power_w: int | None
    prices: Sequence[Price]


def stations_for(
    drivers: Sequence[Driver], *, text: str = "", plug: str = "", free_only: bool = False, now: dt.datetime
) -> QuerySet[Station]:
    """Return the stations of the drivers' operators that are in use, by town and site."""
    here = is_online(now)
    rows = Station.objects.filter(
        operator__in=[driver.operator_id for driver in drivers if driver.retired_at is None],
        retired_at=None,
        registration=Station.Registration.ACCEPTED,
        operator__suspended_at=None,
    )
    if text:
        names = ("name", "label", "site__name", "site__city", "site__address")
        rows = rows.filter(functools.reduce(lambda q, name: q | Q(**{f"{name}__icontains": text}), names, Q()))
    connectors = Connector.objects.filter(evse__station=OuterRef("pk"))
    if plug:
        connectors = connectors.filter(type=plug)
    if free_only:
        rows = rows.filter(here)
        connectors = connectors.filter(status=ConnectorState.AVAILABLE)
    if plug or free_only:
        rows = rows.filter(Exists(connectors))
    online = ExpressionWrapper(here, output_field=BooleanField())
    return (
        rows.annotate(is_here=online)
        .select_related("site", "operator")
        .prefetch_related("evses__connectors")
        .order_by("site__city", "site__name", "site_id", "name", "pk")
    )


def plug_types(drivers: Sequence[Driver]) -> list[tuple[str, str]]:
    """Return the connector types there are, with their names."""
    operators = [driver.operator_id for driver in drivers]
    rows = Connector.objects.filter(evse__station__operator__in=operators).exclude(type="")
    types = rows.order_by("type").values_list("type", flat=True).distinct()
    return [(kind, plug_of(Connector(type=kind))) for kind in types]


def page_of(rows: QuerySet[Station], number: str | None) -> Page[Station]:
    """Return one page of stations."""
    return Paginator(rows, PAGE).get_page(number)


def places(stations: Sequence[Station], drivers: Sequence[Driver], *, now: dt.datetime) -> list[Place]:
    """Return stations (of `stations_for`) with connectors and prices, in a fixed number of queries per operator."""
    prices = _prices(stations, drivers, now)
    found = []
    for station in stations:
        connectors = [
            (_state(station, connector), f"{evse.number}. {plug_of(connector)}".rstrip(". "))
            for evse in station.evses.all()
            for connector in evse.connectors.all()
        ]
        powers = [evse.max_power_w for evse in station.evses.all() if evse.max_power_w]
        types = {connector.type: None for evse in station.evses.all() for connector in evse.connectors.all()}
        offered = [prices.get(Plug(station.site_id, station.pk, kind)) for kind in types]
        found.append(
            Place(
                station,
                connectors,
                sum(state == ConnectorState.AVAILABLE for state, _name in connectors),
                max(powers, default=station.max_power_w),
                _distinct([price for price in offered if price is not None]),
            )
        )
    return found


def _distinct(prices: Sequence[Price]) -> list[Price]:
    """Name the plug only where prices differ by it."""
    if len({dataclasses.replace(price, plug="") for price in prices}) <= 1:
        return [dataclasses.replace(price, plug="") for price in prices[:1]]
    return list(prices)


def _state(station: Station, connector: Connector) -> str:
    return connector.status if getattr(station, "is_here", False) else OFFLINE


def _prices(stations: Sequence[Station], drivers: Sequence[Driver], now: dt.datetime) -> Mapping[Plug, Price | None]:
    tokens = IdToken.objects.filter(driver__in=drivers, retired_at=None).exclude(group="")
    token_groups = dict(tokens.values_list("driver_id", "group"))
    vat = functools.cache(vat_rate)
    by_id = {station.pk: station for station in stations}
    words = functools.cache(lambda tariff, site: _words(tariff, site, vat, now))
    found: dict[Plug, Price | None] = {}
    for driver in drivers:
        plugs = [
            Plug(station.site_id, station.pk, connector.type)
            for station in stations
            if station.operator_id == driver.operator_id
            for evse in station.evses.all()
            for connector in evse.connectors.all()
        ]
        groups = (driver.group, token_groups.get(driver.pk, ""))
        chosen = price_list.at_plugs(driver.operator_id, plugs, driver_id=driver.pk, groups=groups, at=now)
        for plug, tariff in chosen.items():
            if tariff is not None:
                price = words(tariff, by_id[plug.station_id].site)
                found[plug] = dataclasses.replace(price, plug=plug_of(Connector(type=plug.type)))
    return found


def _words(tariff: Tariff, site: Site, vat: functools._lru_cache_wrapper[Decimal | None], now: dt.datetime) -> Price:
    snapshot = tariffs.snapshot_of(tariff)
    today = now.astimezone(ZoneInfo(site.time_zone)).date()
    known = {category: vat(site.country, category, on=today) for category in tariffs.vat_categories(snapshot)}
    rates = {category: rate for category, rate in known.items() if rate is not None}
    return Price(
        "",
        price_words.summary(snapshot, rates),
        price_words.idle_rule(snapshot, rates),
        price_words.example_total(snapshot, rates, at=now, zone=site.time_zone),
    )
