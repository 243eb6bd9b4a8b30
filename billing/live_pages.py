"""What live pages about sessions listen to, and their display strings in each person's language and zone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils import timezone, translation

from accounts.models import Driver, Membership, User
from accounts.roles import Ability, may
from accounts.views_auth import acting_as
from billing import session_list
from billing.costs import cost_of
from sessions import my_session, words
from sessions.models import ChargingSession
from stations import display
from stations.hints import driver_group, operator_group
from stations.live import Page

Slots = Mapping[str, str]
ALONE = ""  # no fragment: the display strings alone are told anew


def session(user: User, key: str, chosen: Mapping[str, Any]) -> Page | None:
    """The console page of one session: ``session:<id>``."""
    actor = _member(user, chosen)
    id = _uuid(key)
    if actor is None or id is None:
        return None
    if not ChargingSession.objects.visible_to(actor).filter(uuid=id).exists():
        return None
    watches = {f"session:{id}": "session", f"session-state:{id}": "state"}
    return Page(
        operator_group(actor.operator_id), watches, _spoken(user, actor.operator.time_zone, _session(actor, id))
    )


def sessions(user: User, key: str, chosen: Mapping[str, Any]) -> Page | None:
    """The list of sessions: ``sessions:<query of the page>``."""
    actor = _member(user, chosen)
    if actor is None:
        return None
    wanted = dict(parse_qsl(key))
    watches = {"sessions": "rows", "stations": ALONE}
    return Page(
        operator_group(actor.operator_id), watches, _spoken(user, actor.operator.time_zone, _rows(actor, wanted))
    )


def driver_session(user: User, key: str, _chosen: Mapping[str, Any]) -> Page | None:
    """A driver's own session: ``driver-session:<id>``."""
    id = _uuid(key)
    found = (
        ChargingSession.objects.filter(uuid=id, driver__user=user).select_related("operator").first() if id else None
    )
    if found is None or found.driver_id is None:
        return None
    watches = {f"session:{id}": "session", f"session-state:{id}": "state"}
    return Page(driver_group(found.driver_id), watches, _spoken(user, found.operator.time_zone, _my_session(found.pk)))


def driver(user: User, _key: str, _chosen: Mapping[str, Any]) -> Page | None:
    """A driver's pages about no session in particular: they change when one begins or ends, at whichever operator."""
    drivers = list(Driver.objects.filter(user=user).order_by("pk").values_list("pk", flat=True))
    if not drivers:
        return None
    first, *others = (driver_group(pk) for pk in drivers)
    return Page(first, {"sessions": "state"}, more_groups=tuple(others))


def _member(user: User, chosen: Mapping[str, Any]) -> Membership | None:
    actor = acting_as(user, chosen)
    if actor is None or actor.operator.is_suspended or not may(actor, Ability.SEE_SESSIONS):
        return None
    return actor


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _spoken(user: User, zone: str, slots: Callable[[dt.datetime], Slots]) -> Callable[[], Slots]:
    def say() -> Slots:
        with translation.override(user.language), timezone.override(ZoneInfo(user.time_zone or zone)):
            return slots(timezone.now())

    return say


def _session(actor: Membership, id: UUID) -> Callable[[dt.datetime], Slots]:
    def slots(now: dt.datetime) -> Slots:
        rows = ChargingSession.objects.visible_to(actor).select_related("site").filter(uuid=id)
        found = rows.first()
        if found is None or not found.is_open:
            return {}
        prefix = f"session:{id}"
        energy = display.energy(found.energy_wh)
        shown = {
            f"{prefix}:energy.value": energy.value,
            f"{prefix}:energy.unit": energy.unit,
            f"{prefix}:time": display.clock(words.seconds_of(found, now)),
        }
        if found.power_w is not None:
            power = display.power(found.power_w)
            shown |= {f"{prefix}:power.value": power.value, f"{prefix}:power.unit": power.unit}
        if found.soc_percent is not None:
            shown[f"{prefix}:soc"] = display.number(found.soc_percent)
        if may(actor, Ability.SEE_MONEY):
            shown[f"{prefix}:cost"] = cost_of(found, now=now).text or "–"
        return shown

    return slots


def _rows(actor: Membership, wanted: Mapping[str, str]) -> Callable[[dt.datetime], Slots]:
    def slots(now: dt.datetime) -> Slots:
        running = [row for row in session_list.page_of(actor, wanted).rows if row.is_open]
        shown: dict[str, str] = {}
        for row in session_list.shown(actor, running, now):
            prefix = f"session:{row['key']}"
            shown[f"{prefix}:energy"] = str(display.energy(row["energy_wh"]))
            shown[f"{prefix}:time"] = display.clock(row["seconds"])
            shown[f"{prefix}:cost"] = row["cost"] or "–"
        return shown

    return slots


def _my_session(pk: int) -> Callable[[dt.datetime], Slots]:
    def slots(now: dt.datetime) -> Slots:
        found = ChargingSession.objects.select_related("site").get(pk=pk)
        if not found.is_open:
            return {}
        return my_session.slots(found, now) | {"my:cost": cost_of(found, now=now).text or "–"}

    return slots
