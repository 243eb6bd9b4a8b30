"""What stations themselves can alarm about: they are gone, or somebody tries to log in as one of them.

Called every other second. The number of statements does not depend on the size of the fleet.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from django.conf import settings
from django.db.models import Count, IntegerField, Max, OuterRef, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from stations import alerts
from stations.alert_kinds import LOG_IN_BURST, SITE_OFFLINE, STATION_OFFLINE
from stations.alerts import Finding
from stations.models import ONLINE_LEASE, Connector, Gateway, RefusedConnection, Station, is_online

AT_ONCE = dt.timedelta(minutes=2)
SEVERAL = 3  # of a site at once (or both of two): its power or its network, not its chargers


class Absent(NamedTuple):
    """A station without a connection, since when, and since when it is missed by somebody who listens."""

    id: int
    operator_id: int
    site_id: int
    identity: str
    connectors: int
    since: dt.datetime
    missed_since: dt.datetime


class SiteFacts(NamedTuple):
    """How many stations a site has that were here once, and when the last of them connected."""

    total: int
    last_connected_at: dt.datetime


def detect(now: dt.datetime) -> None:
    """Look for what is wrong with stations now, raise it, and close what is over."""
    _look_for_absent(now)
    alerts.raise_alerts(_log_in_bursts(now), now=now)


# --- offline -----------------------------------------------------------------------------------------


def _look_for_absent(now: dt.datetime) -> None:
    gateways = list(Gateway.objects.all())
    listening = [gateway.started_at for gateway in gateways if gateway.lease_at > now - ONLINE_LEASE]
    if not listening:
        return  # it is we who are away
    absent = _absent(now, {gateway.id: gateway.lease_at for gateway in gateways}, min(listening))
    open_ = alerts.open_alerts((STATION_OFFLINE, SITE_OFFLINE))
    raised = {row.dedupe_key for row in open_}
    members = {row.site_id: row.facts["stations"] for row in open_ if row.kind == SITE_OFFLINE and row.site_id}
    by_site = {site: list(rows) for site, rows in itertools.groupby(absent, key=lambda row: row.site_id)}
    sites = _sites([site for site, rows in by_site.items() if len(rows) > 1 or site in members])
    due = now - dt.timedelta(seconds=settings.ALERT_SECONDS["offline"])
    findings: list[Finding] = []
    grouped: set[tuple[int, str]] = set()
    for site_id, rows in by_site.items():
        together = _together(rows, sites.get(site_id), members.get(site_id, ()), due, now)
        if together:
            findings.append(_site_finding(together, sites[site_id].total))
            grouped.update((row.operator_id, _key(row)) for row in together)
        covered = {row.id for row in together}
        alone = [row for row in rows if row.id not in covered]
        # An alert that is open stays, even where a restart of ours began the waiting anew.
        findings.extend(_station_finding(row) for row in alone if row.missed_since <= due or _key(row) in raised)
    alerts.settle(open_, findings, now=now, grouped=grouped)


def _absent(now: dt.datetime, leases: Mapping[str, dt.datetime], listening_since: dt.datetime) -> list[Absent]:
    """Return the accepted stations that were here once and are not now, by site and time."""
    connectors = Connector.objects.filter(evse__station=OuterRef("pk")).order_by().values("evse__station")
    count = Subquery(connectors.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
    rows = Station.objects.filter(
        ~is_online(now),
        connected_at__isnull=False,
        retired_at=None,
        registration=Station.Registration.ACCEPTED,
        operator__suspended_at=None,
    ).annotate(plugs=Coalesce(count, Value(0)))
    absent = []
    for row in rows:
        since = row.disconnected_at
        if since is None:
            # Its gateway died without a word: the last lease was the last sign of both.
            since = max(filter(None, [row.last_seen_at, row.connected_at, leases.get(row.gateway)]))
        # Nobody can be missed for longer than somebody has been listening.
        missed = max(since, listening_since)
        absent.append(Absent(row.pk, row.operator_id, row.site_id, row.identity, row.plugs, since, missed))
    return sorted(absent, key=lambda row: (row.site_id, row.since, row.id))


def _sites(ids: Collection[int]) -> dict[int, SiteFacts]:
    if not ids:
        return {}
    rows = Station.objects.filter(site_id__in=ids, retired_at=None, connected_at__isnull=False).order_by()
    found = rows.values_list("site_id").annotate(Count("pk"), Max("connected_at"))
    return {site_id: SiteFacts(total, last) for site_id, total, last in found}


def _together(
    rows: Sequence[Absent], site: SiteFacts | None, members: Collection[str], due: dt.datetime, now: dt.datetime
) -> list[Absent]:
    """Return those of a site's absent stations that one alert stands for.

    ``rows`` are in the order of time. They went within `AT_ONCE` of each other and the first of them is due;
    or they were part of the site's alert (``members``) and its other stations are only just coming back.
    """
    if site is None:
        return []
    several = min(SEVERAL, max(site.total, 2))
    found: dict[int, Absent] = {}
    for index, first in enumerate(rows):
        group = [row for row in rows[index:] if row.since - first.since <= AT_ONCE]
        if len(group) >= several and (first.missed_since <= due or any(row.identity in members for row in group)):
            found.update((row.id, row) for row in group)
    if not found and site.last_connected_at > now - AT_ONCE:
        found = {row.id: row for row in rows if row.identity in members}
    return list(found.values())


def _key(row: Absent) -> str:
    return f"{STATION_OFFLINE}:{row.id}"


def _station_finding(row: Absent) -> Finding:
    return Finding(
        kind=STATION_OFFLINE,
        key=_key(row),
        operator_id=row.operator_id,
        site_id=row.site_id,
        station_id=row.id,
        since=row.since,
        at=row.since,
        facts={"since": row.since.isoformat(), "connectors": row.connectors},
    )


def _site_finding(rows: Sequence[Absent], total: int) -> Finding:
    first = rows[0]
    return Finding(
        kind=SITE_OFFLINE,
        key=f"{SITE_OFFLINE}:{first.site_id}",
        operator_id=first.operator_id,
        site_id=first.site_id,
        since=first.since,
        at=first.since,
        facts={
            "since": first.since.isoformat(),
            "stations": sorted(row.identity for row in rows),
            "total": total,
            "connectors": sum(row.connectors for row in rows),
        },
    )


# --- refused log-ins ---------------------------------------------------------------------------------


def _log_in_bursts(now: dt.datetime) -> list[Finding]:
    """Return the identities under which log-ins were refused too often lately, from whatever address."""
    window = now - dt.timedelta(seconds=settings.ALERT_SECONDS["burst"])
    lately = RefusedConnection.objects.filter(last_at__gt=window, operator__isnull=False).order_by()
    often = lately.values("identity").annotate(times=Sum("count")).filter(times__gte=settings.ALERT_BURST_COUNT)
    rows = lately.filter(identity__in=often.values("identity")).select_related("station")
    found: dict[tuple[int, str], list[RefusedConnection]] = {}
    for row in rows.order_by("last_at"):
        found.setdefault((row.operator_id or 0, row.identity), []).append(row)
    findings = []
    for (operator_id, identity), refusals in found.items():
        seconds = sorted(second for row in refusals for second in row.recent if second > window.timestamp())
        if len(seconds) < settings.ALERT_BURST_COUNT:
            continue
        newest = refusals[-1]
        findings.append(
            Finding(
                kind=LOG_IN_BURST,
                key=f"{LOG_IN_BURST}:{identity}"[:120],
                operator_id=operator_id,
                site_id=newest.station.site_id if newest.station is not None else None,
                station_id=newest.station_id,
                since=dt.datetime.fromtimestamp(seconds[-settings.ALERT_BURST_COUNT], dt.UTC),
                at=dt.datetime.fromtimestamp(seconds[-1], dt.UTC),
                facts={
                    "identity": identity,
                    "count": len(seconds),
                    "seconds": seconds[-1] - seconds[0],
                    "address": newest.address,
                    "reason": newest.reason,
                },
            )
        )
    return findings
