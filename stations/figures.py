"""Figures over the fleet: what is in use, drawn and delivered, and how much of the time it could be used."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import Count, Exists, Min, OuterRef, Q, Subquery, Sum
from django.db.models.functions import TruncMinute

from accounts.models import Membership
from stations.messages import ConnectorState
from stations.models import ONLINE_LEASE, Connector, Gateway, Site, StatusChange
from stations.overview import IN_USE, RUNS, Running, scope_key, sessions_of
from stations.states import NEVER_CONNECTED, OFFLINE

DOWN = (ConnectorState.FAULTED, ConnectorState.UNAVAILABLE)
AVAILABILITY_DAYS = 30
AVAILABILITY_GOAL = 0.97
COURSE_MINUTES = 60
HOLD_MINUTES = 3  # a reading stands for the power until the next one, but not for longer


class Figures(NamedTuple):
    """The figures of the fleet. Power in W, energy in Wh, ``availability`` a ratio."""

    connectors: int
    in_use: int
    mix: tuple[tuple[str, int], ...]
    power_w: Decimal
    power_limit_w: int | None
    energy_wh: Decimal
    energy_last_week_wh: Decimal
    sessions_today: int


def figures(actor: Membership, active: Iterable[Running], known_sites: Iterable[Site], now: dt.datetime) -> Figures:
    """Return what the fleet does now and has done today (two queries)."""
    mix = _mix(actor, now)
    limits = [site.power_limit_w for site in known_sites]
    today, last_week, same_time = _days(actor, now)
    energy = (
        sessions_of(actor)
        .filter(Q(started_at__gte=today) | Q(started_at__gte=last_week, started_at__lt=same_time))
        .aggregate(
            today=Sum("energy_wh", filter=Q(started_at__gte=today)),
            last_week=Sum("energy_wh", filter=Q(started_at__lt=same_time)),
            sessions=Count("pk", filter=Q(started_at__gte=today)),
        )
    )
    return Figures(
        connectors=sum(mix.values()),
        in_use=sum(mix[state] for state in IN_USE),
        mix=tuple((state, mix[state]) for state in _MIX_ORDER if mix[state]),
        power_w=sum((one.power_w for one in active if one.is_here and one.power_w is not None), Decimal(0)),
        power_limit_w=sum(limit for limit in limits if limit) if limits and all(limits) else None,
        energy_wh=energy["today"] or Decimal(0),
        energy_last_week_wh=energy["last_week"] or Decimal(0),
        sessions_today=energy["sessions"],
    )


_MIX_ORDER = (
    ConnectorState.CHARGING,
    ConnectorState.SUSPENDED_EV,
    ConnectorState.SUSPENDED_EVSE,
    ConnectorState.PREPARING,
    ConnectorState.FINISHING,
    ConnectorState.AVAILABLE,
    ConnectorState.RESERVED,
    ConnectorState.FAULTED,
    ConnectorState.UNAVAILABLE,
    OFFLINE,
    NEVER_CONNECTED,
)


def _mix(actor: Membership, now: dt.datetime) -> Counter[str]:
    lease = Gateway.objects.filter(id=OuterRef("evse__station__gateway"), lease_at__gt=now - ONLINE_LEASE)
    rows = Connector.objects.visible_to(actor).filter(evse__station__retired_at=None).order_by()
    counted = rows.values("status").annotate(
        n=Count("pk", filter=Q(Exists(lease))),
        offline=Count("pk", filter=~Q(Exists(lease)) & Q(evse__station__connected_at__isnull=False)),
        never=Count("pk", filter=Q(evse__station__connected_at=None)),
    )
    mix: Counter[str] = Counter()
    for status, n, offline, never in counted.values_list("status", "n", "offline", "never"):
        mix.update({status or ConnectorState.UNAVAILABLE: n, OFFLINE: offline, NEVER_CONNECTED: never})
    return mix


def local_date(actor: Membership, now: dt.datetime) -> dt.date:
    """Return today by the operator's clock."""
    return now.astimezone(zoneinfo.ZoneInfo(actor.operator.time_zone)).date()


def _days(actor: Membership, now: dt.datetime) -> tuple[dt.datetime, dt.datetime, dt.datetime]:
    """Return midnight, the midnight a week before and this time a week before, by the operator's clock."""
    zone = zoneinfo.ZoneInfo(actor.operator.time_zone)
    local = now.astimezone(zone)
    midnight = dt.datetime.combine(local.date(), dt.time(), zone)
    week_ago = dt.datetime.combine(local.date() - dt.timedelta(days=7), dt.time(), zone)
    return midnight, week_ago, dt.datetime.combine(week_ago.date(), local.time(), zone)


# --- slow figures: remembered for a while --------------------------------------------------------------------


def power_course(actor: Membership, now: dt.datetime, *, only_known: bool = False) -> list[float] | None:
    """Return the power of the last hour in W, a value per minute, oldest first; remembered for a minute.

    ``only_known``: None rather than asking the database.
    """
    key = f"power_course:{scope_key(actor)}"
    known: list[float] | None = cache.get(key)
    if known is None and not only_known:
        known = course(sessions_of(actor), now)
        cache.set(key, known, 60)
    return known


def course(sessions: Any, now: dt.datetime) -> list[float]:
    """Return the summed power of ``sessions`` in the last hour, a value in W per minute, oldest first (one query)."""
    end = now.replace(second=0, microsecond=0)
    since = end - dt.timedelta(minutes=COURSE_MINUTES - 1)
    # Two look-ups in the index of ends; one condition for both would read all sessions there ever were.
    keys = sessions.order_by().values("pk")
    recent = keys.filter(stopped_at__gte=since).union(keys.filter(RUNS))
    readings = (
        sessions.model.objects.filter(pk__in=recent)
        .filter(readings__at__gte=since, readings__at__lte=now, readings__power_w__isnull=False)
        .annotate(minute=TruncMinute("readings__at", tzinfo=dt.UTC))
        .order_by("pk", "minute")
        .values_list("pk", "minute", "readings__power_w", "stopped_at")
    )
    by_session: dict[int, dict[int, float]] = defaultdict(dict)
    ends: dict[int, int] = {}
    for pk, minute, power, stopped_at in readings.iterator(chunk_size=2000):
        by_session[pk][int((minute - since).total_seconds() // 60)] = float(power)
        ends[pk] = COURSE_MINUTES if stopped_at is None else int((stopped_at - since).total_seconds() // 60)
    total = [0.0] * COURSE_MINUTES
    for pk, values in by_session.items():
        held, age = 0.0, HOLD_MINUTES
        for minute in range(min(COURSE_MINUTES, ends[pk])):
            if minute in values:
                held, age = values[minute], 0
            elif age < HOLD_MINUTES:
                age += 1
            if age < HOLD_MINUTES:
                total[minute] += held
    return total


class Uptime(NamedTuple):
    """How long connectors of one station could be used: seconds down and in all, and the station's site."""

    site_id: int
    down_s: float
    total_s: float


def uptimes(actor: Membership, now: dt.datetime, *, only_known: bool = False) -> dict[int, Uptime] | None:
    """Return the time stations were reported faulted or out of service in 30 days; remembered for ten minutes."""
    key = f"uptimes:{scope_key(actor)}"
    known: dict[int, Uptime] | None = cache.get(key)
    if known is None and not only_known:
        known = _uptimes(actor, now)
        cache.set(key, known, 600)
    return known


def availability(times: Iterable[Uptime]) -> float | None:
    """Return the share of connector time in which none was reported down; None without any time."""
    down, total = 0.0, 0.0
    for time in times:
        down, total = down + time.down_s, total + time.total_s
    return (1 - down / total) if total else None


def sites_below_goal(times: Iterable[Uptime]) -> int:
    """Return how many sites miss the goal of availability."""
    by_site: dict[int, list[Uptime]] = defaultdict(list)
    for time in times:
        by_site[time.site_id].append(time)
    ratios = [availability(of_site) for of_site in by_site.values()]
    return sum(ratio is not None and ratio < AVAILABILITY_GOAL for ratio in ratios)


def _uptimes(actor: Membership, now: dt.datetime) -> dict[int, Uptime]:
    since = now - dt.timedelta(days=AVAILABILITY_DAYS)
    of_connector = StatusChange.objects.filter(connector=OuterRef("pk"))
    connectors = (
        Connector.objects.visible_to(actor)
        .filter(evse__station__retired_at=None, reported_at__isnull=False)
        .annotate(
            before=Subquery(of_connector.filter(at__lt=since).order_by("-at").values("status")[:1]),
            then=Subquery(of_connector.filter(at__gte=since).order_by("at").values("at")[:1]),
        )
        .values_list("pk", "evse__station_id", "evse__station__site_id", "evse__station__created_at", "before", "then")
    )
    next_change = StatusChange.objects.filter(connector=OuterRef("connector"), at__gt=OuterRef("at"))
    downs = (
        StatusChange.objects.filter(at__gte=since, status__in=DOWN)
        .filter(connector__in=Connector.objects.visible_to(actor))
        .annotate(until=Subquery(next_change.order_by().values("connector").annotate(m=Min("at")).values("m")))
        .values_list("connector_id", "at", "until")
    )
    down_s: dict[int, float] = defaultdict(float)
    # Equal reports at one moment count once.
    for connector, at, until in set(downs):
        down_s[connector] += ((until or now) - at).total_seconds()
    found: dict[int, Uptime] = {}
    for connector, station, site, created, before, then in connectors:
        if before in DOWN:
            down_s[connector] += ((then or now) - since).total_seconds()
        known_since = since if before is not None else min(then or created, created)
        total = max(0.0, (now - max(since, known_since)).total_seconds())
        sum_so_far = found.get(station, Uptime(site, 0.0, 0.0))
        found[station] = Uptime(site, sum_so_far.down_s + min(down_s[connector], total), sum_so_far.total_s + total)
    return found
