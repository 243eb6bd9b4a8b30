"""Finding sessions for people: the filters of the list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import tokens
from accounts.models import Driver, IdToken
from accounts.pages import public_id
from accounts.roles import Ability, may
from accounts.scoping import Actor, Scoped
from sessions.models import ChargingSession
from sessions.review import IS_HELD
from stations.models import Site, Station
from stations.overview import ACTIVE

PERSONAL = frozenset({"token", "driver"})
STATES = {
    "active": Q(status=ACTIVE),
    "ended": Q(status=ChargingSession.Status.ENDED),
}
REVIEW = {
    "held": IS_HELD,
    "any": ~Q(review=[]),
    "released": Q(released_at__isnull=False),
}
# Name of the parameter → the condition on the edge of that day, and whether the edge is the following midnight.
DAYS = {
    "from": ("started_at__gte", 0),
    "to": ("started_at__lt", 1),
    "ended_from": ("stopped_at__gte", 0),
    "ended_to": ("stopped_at__lt", 1),
}


def found(actor: Actor, wanted: Mapping[str, str]) -> Scoped[ChargingSession]:
    """Return the sessions that fit what was asked for, as far as ``actor`` may know of them; newest first.

    ``wanted``: station (identity), site, driver (ids), token (value), state, review (keys of the tables above),
    from, to and, about the end, ended_from, ended_to (days of the active zone, all inclusive), q (text). What is not
    understood finds nothing. Whoever may not see personal data cannot search by it.
    """
    rows = ChargingSession.objects.visible_to(actor)
    sees_people = may(actor, Ability.SEE_PEOPLE)
    if station := wanted.get("station"):
        rows = rows.filter(station__identity=station)
    if site := wanted.get("site"):
        rows = rows.filter(site__uuid=public_id(site))
    if state := wanted.get("state"):
        rows = rows.filter(STATES.get(state, Q(pk=None)))
    if review := wanted.get("review"):
        rows = rows.filter(REVIEW.get(review, Q(pk=None)))
    if sees_people and (driver := wanted.get("driver")):
        rows = rows.filter(driver__uuid=public_id(driver))
    if sees_people and (value := wanted.get("token")):
        rows = rows.filter(by_token(actor.operator_id, value))
    for name, (field, later) in DAYS.items():
        if day := wanted.get(name):
            edge = _midnight(day, later=later)
            rows = rows.filter(**{field: edge}) if edge else rows.none()
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
    if public_id(text).int:
        fits |= Q(uuid=public_id(text))
    if sees_people:
        drivers = Driver.objects.visible_to(actor).filter(Q(name__icontains=text) | Q(email__icontains=text))
        cards = IdToken.objects.visible_to(actor).exclude(type=IdToken.Type.PIN)
        cards = cards.filter(Q(value__icontains=text) | Q(label__icontains=text))
        fits |= Q(driver__in=_keys(drivers)) | Q(token__in=_keys(cards)) | Q(token_shown=text)
    return fits


def _keys(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.order_by().values("pk")


def _midnight(day: str, *, later: int) -> dt.datetime | None:
    """Return where a day of the active zone begins, or the one after; None for what is no day."""
    try:
        date = dt.date.fromisoformat(day) + dt.timedelta(days=later)
        return dt.datetime.combine(date, dt.time(), timezone.get_current_timezone()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
