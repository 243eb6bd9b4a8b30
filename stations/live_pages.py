"""The live topics of station pages: which stale names concern them, and their display strings.

A page of many viewers is asked for once a second: what is shown of it is remembered for that long, for all
who see the same stations in the same language and zone.
"""

from __future__ import annotations

import functools
import hashlib
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

from django.core.cache import cache
from django.http import QueryDict
from django.utils import timezone, translation

from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.views_auth import acting_as
from stations import display, figures, live_alerts, overview, station_page, wording
from stations.hints import operator_group
from stations.live import Page
from stations.overview import Query, Row

SHARED_SECONDS = 1
KEY_LENGTH = 1500

Slots = Mapping[str, str]


def stations(user: Any, key: str, session: Mapping[str, Any]) -> Page | None:
    """Return what the page of the fleet listens to; ``key`` is the query of its address."""
    actor = _actor(user, session)
    if actor is None or len(key) > KEY_LENGTH:
        return None
    query = Query.read(QueryDict(key).dict())
    now = timezone.now()
    shown = [station.identity for station in overview.page_of(actor, query, now).object_list]
    # Power and times move by their slots alone; rows are fetched where one of them changed its state.
    watches = {"stations": "", "feed": "feed kpis map", "kpis": "kpis", "alerts": "alerts"}
    watches |= {f"state:{name}": "rows tiles" for name in shown}
    opened = QueryDict(key).get("open", "")
    if overview.is_uuid(opened):
        identity = overview.stations(actor).filter(uuid=opened).values_list("identity", flat=True).first()
        if identity is not None:
            watches |= {f"station:{identity}": "series", f"state:{identity}": "rows tiles"}
    return Page(operator_group(actor.operator_id), watches, functools.partial(_fleet_slots, actor, query))


def station(user: Any, key: str, session: Mapping[str, Any]) -> Page | None:
    """Return what the page of one station listens to; ``key`` is its identity."""
    actor = _actor(user, session)
    if actor is None:
        return None
    found = overview.stations(actor).filter(identity=key).first()
    if found is None:
        return None
    watches = {
        f"station:{key}": "series log",
        f"state:{key}": "tiles sessions",
        f"commands:{key}": "log",
        "alerts": "alerts",
    }
    return Page(operator_group(actor.operator_id), watches, functools.partial(_station_slots, actor, found.pk))


def messages(user: Any, key: str, session: Mapping[str, Any]) -> Page | None:
    """Return what the log of the fleet listens to."""
    actor = _actor(user, session)
    if actor is None:
        return None
    return Page(operator_group(actor.operator_id), {"stations": "log", "feed": "log"})


def _actor(user: Any, session: Mapping[str, Any]) -> Membership | None:
    actor = acting_as(user, session)
    if actor is None or actor.operator.is_suspended or not may(actor, Ability.SEE_STATIONS):
        return None
    return actor


def _fleet_slots(actor: Membership, query: Query) -> Slots:
    def build() -> dict[str, str]:
        now = timezone.now()
        found = list(overview.page_of(actor, query, now).object_list)
        active = overview.running(actor, now)
        slots = _figure_slots(figures.figures(actor, active, (), now))
        for row in overview.rows_of(found, active, now):
            slots |= _row_slots(row, now)
        return slots | dict(live_alerts.open_count(actor)) | {"rail:sessions": display.number(len(active))}

    return _shared(actor, f"fleet:{query}", build)


def _station_slots(actor: Membership, pk: int) -> Slots:
    def build() -> dict[str, str]:
        now = timezone.now()
        rows = overview.stations(actor).select_related("site").annotate(is_here=overview.here(now))
        found = rows.filter(pk=pk).first()
        return {} if found is None else _row_slots(station_page.one(actor, found, now), now)

    return _shared(actor, f"station:{pk}", build)


def _figure_slots(found: figures.Figures) -> dict[str, str]:
    power, energy = display.power(found.power_w), display.energy(found.energy_wh)
    return {
        "kpi:in_use": display.number(found.in_use),
        "kpi:power.value": power.value,
        "kpi:power.unit": power.unit,
        "kpi:energy.value": energy.value,
        "kpi:energy.unit": energy.unit,
    }


def _row_slots(row: Row, now: Any) -> dict[str, str]:
    key = f"station:{row.station.uuid}"
    slots = {f"{key}:now": wording.now(row, now)}
    if row.power_w is not None:
        slots[f"{key}:power"] = str(display.power(row.power_w))
        if row.limit_w:
            slots[f"{key}:bar"] = display.bar(row.power_w, row.limit_w)
    seen = row.station.last_seen_at
    if seen is not None:
        slots[f"{key}:seen"] = display.span((now - seen).total_seconds())
        slots[f"{key}:ago"] = display.ago(seen, now=now)
    sessions = {session.connector_id: session for session in row.running}
    for plug in row.plugs:
        session = sessions.get(plug.id)
        if session is None:
            continue
        slot = station_page.slot_of(row.station, plug)
        slots[f"{slot}:progress"] = station_page.progress(session, now)
        if session.power_w is not None:
            power = display.power(session.power_w)
            slots |= {f"{slot}.value": power.value, f"{slot}.unit": power.unit}
    return slots


def _shared(actor: Membership, name: str, build: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return display strings in the person's language and zone, built once a second for all who see the same."""
    zone = actor.user.time_zone or actor.operator.time_zone
    seen_alike = (overview.scope_key(actor), actor.user.language, zone, name)
    key = "slots:" + hashlib.sha256(repr(seen_alike).encode()).hexdigest()
    known: dict[str, str] | None = cache.get(key)
    if known is None:
        with translation.override(actor.user.language), timezone.override(zoneinfo.ZoneInfo(zone)):
            known = build()
        cache.set(key, known, SHARED_SECONDS)
    return known
