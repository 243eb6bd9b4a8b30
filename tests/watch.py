"""The background work about alerts, run by hand at any time: detectors, and the tasks that ingest asked for."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from sessions import anomalies
from stations import alert_kinds, detectors
from stations.models import Alert, Gateway
from tests.charger import Ingest

TASKS = {
    "sessions.tasks.meter_ran_backwards": lambda now, session, before, after: anomalies.meter_ran_backwards(
        session, Decimal(before), Decimal(after), now=now
    ),
    "sessions.tasks.look_at_refusals": lambda now, station: anomalies.look_at_refusals(station, now=now),
    "sessions.tasks.look_at_held": lambda now, session: anomalies.look_at_held(session, now=now),
}


def look(now: dt.datetime, *ingests: Ingest, times: int = 1) -> None:
    """Let our gateway live, run what ingest asked for and both detectors; ``times`` as often (tasks may repeat)."""
    Gateway.objects.update_or_create(
        id="test", defaults={"lease_at": now}, create_defaults={"lease_at": now, "started_at": now}
    )
    asked = [(ingest, list(ingest.follow_ups)) for ingest in ingests]
    for _again in range(times):
        for _ingest, follow_ups in asked:
            for name, args in follow_ups:
                if name in TASKS:
                    TASKS[name](now, *args)
        detectors.detect(now)
        anomalies.detect(now)
    for ingest, _follow_ups in asked:
        ingest.follow_ups.clear()


def open_alerts(**fields: Any) -> list[Alert]:
    return list(Alert.objects.filter(resolved_at=None, **fields).order_by("kind", "pk"))


def reason(alert: Alert) -> str:
    """Return the words of an alert, with plain blanks before units."""
    return alert_kinds.kind_of(alert).reason(alert).replace("\N{NO-BREAK SPACE}", " ")


def impact(alert: Alert) -> str:
    return alert_kinds.kind_of(alert).impact(alert).replace("\N{NO-BREAK SPACE}", " ")


def action(alert: Alert) -> str:
    return alert_kinds.kind_of(alert).action.name
