"""The tariff versions of an operator, remembered by each process while nothing was published or retired.

Every start of a session asks for its tariff, so the question is answered from memory; one small statement
tells whether the memory still holds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from billing.models import Tariff, TariffAssignment
from sessions.models import ChargingSession
from stations.ocpp.batch import fetch

Dimension = TariffAssignment.Dimension
Stamp = tuple[Any, ...]

_STAMP = (
    "SELECT COUNT(*), MAX(CAST(uuid AS VARCHAR(36))), COUNT(retired_at), COUNT(valid_to), MAX(valid_to)"
    " FROM billing_tariff WHERE operator_id = %s"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A version and what it is assigned to, by dimension. Within a dimension one match is enough."""

    tariff: Tariff
    assigned: Mapping[int, frozenset[int | str]]

    def holds(self, at: dt.datetime) -> bool:
        """Whether the version is valid at a moment."""
        one = self.tariff
        return (
            one.valid_from <= at
            and (one.valid_to is None or one.valid_to > at)
            and (one.retired_at is None or one.retired_at > at)
        )


class Plug(NamedTuple):
    """Where somebody might charge."""

    site_id: int
    station_id: int
    type: str


_lists: dict[int, tuple[Stamp, list[Listed]]] = {}


def applicable(session: ChargingSession) -> Tariff | None:
    """Return the tariff a session begins with: the most specific that is valid, then the latest; None where none is.

    A driver outweighs a group, a group a station, a station a connector type, that a site, that the operator.
    """
    valid = [one for one in _listed(session.operator_id) if one.holds(session.started_at)]
    asked = {dimension for one in valid for dimension in one.assigned}
    return _first(valid, {dimension: _here(session, dimension) for dimension in asked})


def at_plugs(
    operator_id: int, plugs: Iterable[Plug], *, driver_id: int | None, groups: Iterable[str], at: dt.datetime
) -> dict[Plug, Tariff | None]:
    """Return the tariff that a driver would begin with at each plug, in one statement.

    ``groups`` are those of the driver and of the token.
    """
    valid = [one for one in _listed(operator_id) if one.holds(at)]
    person: dict[int, frozenset[int | str | None]] = {
        Dimension.DRIVER: frozenset({driver_id}),
        Dimension.GROUP: frozenset(group for group in groups if group),
    }
    found = {}
    for plug in plugs:
        here = dict(person)
        here[Dimension.SITE] = frozenset({plug.site_id})
        here[Dimension.STATION] = frozenset({plug.station_id})
        here[Dimension.CONNECTOR_TYPE] = frozenset({plug.type})
        found[plug] = _first(valid, here)
    return found


def _first(valid: Iterable[Listed], here: Mapping[int, frozenset[int | str | None]]) -> Tariff | None:
    for one in valid:
        if all(here[dimension] & targets for dimension, targets in one.assigned.items()):
            return one.tariff
    return None


def _here(session: ChargingSession, dimension: int) -> frozenset[int | str | None]:
    """Return what a session is in one dimension."""
    match dimension:
        case Dimension.SITE:
            return frozenset({session.site_id})
        case Dimension.STATION:
            return frozenset({session.station_id})
        case Dimension.DRIVER:
            return frozenset({session.driver_id})
        case Dimension.CONNECTOR_TYPE:
            rows = fetch("SELECT type FROM stations_connector WHERE id = %s", [session.connector_id], "x")
        case _:
            rows = fetch('SELECT "group" FROM accounts_driver WHERE id = %s', [session.driver_id], "x")
            rows += fetch('SELECT "group" FROM accounts_idtoken WHERE id = %s', [session.token_id], "x")
    return frozenset(row[0] for row in rows if row[0])


def _listed(operator_id: int) -> list[Listed]:
    """Return an operator's versions, the most specific and latest first."""
    stamp = fetch(_STAMP, [operator_id], "xxxxx")[0]
    known = _lists.get(operator_id)
    if known is not None and known[0] == stamp:
        return known[1]
    rows = Tariff.objects.filter(operator_id=operator_id).order_by("-rank", "-valid_from", "-id")
    listed = []
    for tariff in rows.prefetch_related("assignments"):
        assigned: dict[int, set[int | str]] = {}
        for one in tariff.assignments.all():
            target = one.site_id or one.station_id or one.driver_id or one.text
            assigned.setdefault(one.dimension, set()).add(target)
        listed.append(Listed(tariff, {dimension: frozenset(targets) for dimension, targets in assigned.items()}))
    _lists[operator_id] = (stamp, listed)
    return listed
