"""Finding sessions for people: the filters of the list, pages by position, and sums of what was found."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from accounts import tokens
from accounts.models import Driver, IdToken
from accounts.roles import Ability, may
from accounts.scoping import Actor, Scoped
from sessions.models import ChargingSession
from sessions.review import IS_HELD
from stations.models import Site, Station

PAGE = 50
PERSONAL = frozenset({"token", "driver"})
STATES = {
    "active": Q(status=ChargingSession.Status.ACTIVE),
    "ended": Q(status=ChargingSession.Status.ENDED),
}
REVIEW = {
    "held": IS_HELD,
    "any": ~Q(review=[]),
    "released": Q(released_at__isnull=False),
}
Rows = QuerySet[ChargingSession]


def found(actor: Actor, wanted: Mapping[str, str]) -> Scoped[ChargingSession]:
    """Return the sessions that fit what was asked for, as far as ``actor`` may know of them; newest first.

    ``wanted``: station (identity), site, driver (ids), token (value), state, review (keys of the tables above),
    from, to (days of the active zone, both inclusive), q (text). What is not understood finds nothing. Whoever may
    not see personal data cannot search by it.
    """
    rows = ChargingSession.objects.visible_to(actor)
    sees_people = may(actor, Ability.SEE_PEOPLE)
    if station := wanted.get("station"):
        rows = rows.filter(station__identity=station)
    if site := wanted.get("site"):
        rows = rows.filter(site__uuid=_uuid(site))
    if state := wanted.get("state"):
        rows = rows.filter(STATES.get(state, Q(pk=None)))
    if review := wanted.get("review"):
        rows = rows.filter(REVIEW.get(review, Q(pk=None)))
    if sees_people and (driver := wanted.get("driver")):
        rows = rows.filter(driver__uuid=_uuid(driver))
    if sees_people and (value := wanted.get("token")):
        rows = rows.filter(by_token(actor.operator_id, value))
    if wanted.get("from"):
        rows = rows.filter(started_at__gte=_midnight(wanted["from"], 0))
    if wanted.get("to"):
        rows = rows.filter(started_at__lt=_midnight(wanted["to"], 1))
    if text := wanted.get("q", "").strip():
        rows = rows.filter(_text(actor, text, sees_people=sees_people))
    return rows


def by_token(operator_id: int, value: str) -> Q:
    """Return the condition of sessions that were charged with a token: as it was shown, or with its PIN."""
    known = tokens.find_token(operator_id, value)
    shown = Q(token_shown__iexact=value)
    return shown | Q(token=known) if known is not None else shown


def _text(actor: Actor, text: str, *, sees_people: bool) -> Q:
    """Return the condition of a text search; names are looked up first, so that no large table is searched by text."""
    stations = Station.objects.visible_to(actor).filter(Q(name__icontains=text) | Q(identity__icontains=text))
    sites = Site.objects.visible_to(actor).filter(Q(name__icontains=text) | Q(city__icontains=text))
    fits = Q(station__in=_keys(stations)) | Q(site__in=_keys(sites)) | Q(transaction_ref=text)
    if _uuid(text).int:
        fits |= Q(uuid=_uuid(text))
    if sees_people:
        drivers = Driver.objects.visible_to(actor).filter(Q(name__icontains=text) | Q(email__icontains=text))
        cards = IdToken.objects.visible_to(actor).exclude(type=IdToken.Type.PIN)
        cards = cards.filter(Q(value__icontains=text) | Q(label__icontains=text))
        fits |= Q(driver__in=_keys(drivers)) | Q(token__in=_keys(cards)) | Q(token_shown=text)
    return fits


def _keys(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.order_by().values("pk")


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.UUID(int=0)  # nobody has it


def _midnight(day: str, later: int) -> dt.datetime:
    try:
        date = dt.date.fromisoformat(day) + dt.timedelta(days=later)
        return dt.datetime.combine(date, dt.time(), timezone.get_current_timezone())
    except (ValueError, OverflowError):
        return dt.datetime.max.replace(tzinfo=dt.UTC) - dt.timedelta(days=2)


# --- pages -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Some sessions, newest first, and the places from which the pages beside them are asked for."""

    rows: list[ChargingSession]
    newer: str = ""
    older: str = ""


def page(rows: Rows, *, before: str = "", after: str = "", size: int = PAGE) -> Page:
    """Return the sessions just older than session ``before``, or just newer than ``after``; else the newest.

    Both are public ids; one that is not among ``rows`` starts at the newest. The cost does not grow with the place.
    """
    ordered = rows.order_by("-started_at", "-pk")
    edge = rows.filter(uuid=_uuid(before or after)).values_list("started_at", "pk").first()
    if edge is None:
        part = list(ordered[: size + 1])
        return _between(part[:size], newer=False, older=len(part) > size)
    if before:
        part = list(ordered.filter(Q(started_at__lt=edge[0]) | Q(started_at=edge[0], pk__lt=edge[1]))[: size + 1])
        return _between(part[:size], newer=True, older=len(part) > size)
    above = rows.order_by("started_at", "pk").filter(Q(started_at__gt=edge[0]) | Q(started_at=edge[0], pk__gt=edge[1]))
    part = list(above[: size + 1])
    return _between(part[:size][::-1], newer=len(part) > size, older=True)


def _between(part: list[ChargingSession], *, newer: bool, older: bool) -> Page:
    return Page(
        part,
        newer=str(part[0].uuid) if part and newer else "",
        older=str(part[-1].uuid) if part and older else "",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """How many sessions, and their energy in Wh."""

    sessions: int
    energy_wh: Decimal


def total(rows: Rows) -> Total:
    """Add sessions up."""
    sums = rows.order_by().aggregate(count=Count("pk"), energy=Sum("energy_wh"))
    return Total(sums["count"], sums["energy"] or Decimal(0))
