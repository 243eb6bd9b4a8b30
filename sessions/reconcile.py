"""Sessions whose end will not be told any more: ended at their last proven reading, after a deadline.

Two signs: the station has had no connection for days, or it is here and its connector has been free for a
while although nothing said that the session ended.
"""

from __future__ import annotations

import datetime as dt

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest

from sessions.ending import close_without_end
from sessions.models import ChargingSession, ReviewReason
from stations.hints import hints
from stations.messages import ConnectorState
from stations.models import Station, is_online
from stations.ocpp.batch import Batch, StationMemory, StationRef

SILENT_FOR = dt.timedelta(hours=72)  # a weekend without network: the station still delivers its queue afterwards
FREE_FOR = dt.timedelta(minutes=15)
FREE = (ConnectorState.AVAILABLE, ConnectorState.RESERVED)
SLICE = 100
LAST_WORD = Greatest(Coalesce("last_reading_at", "started_at"), "start_received_at")


def reconcile(now: dt.datetime) -> int:
    """End what has been silent for too long; return how many sessions were ended. One short transaction each."""
    due = [*_gone(now).values_list("pk", flat=True)[:SLICE], *_left(now).values_list("pk", flat=True)[:SLICE]]
    return sum(_end(pk, now) for pk in due)


def _gone(now: dt.datetime) -> QuerySet[ChargingSession]:
    """Return the running sessions of stations that have been away for `SILENT_FOR`."""
    before = now - SILENT_FOR
    away = Station.objects.filter(
        ~is_online(now),
        Q(disconnected_at__lt=before) | Q(disconnected_at=None) & Q(last_seen_at__lt=before),
        pk=OuterRef("station_id"),
    )
    rows = ChargingSession.objects.annotate(last_word_at=LAST_WORD).order_by("pk")
    return rows.filter(Exists(away), status=ChargingSession.Status.ACTIVE, last_word_at__lt=before)


def _left(now: dt.datetime) -> QuerySet[ChargingSession]:
    """Return the running sessions without a word since their connector became free, `FREE_FOR` ago or longer."""
    here = Station.objects.filter(is_online(now), pk=OuterRef("station_id"))
    rows = ChargingSession.objects.annotate(last_word_at=LAST_WORD).order_by("pk")
    return rows.filter(
        Exists(here),
        status=ChargingSession.Status.ACTIVE,
        connector__status__in=FREE,
        connector__since__gt=F("last_word_at"),
        connector__since__lt=now - FREE_FOR,
        last_word_at__lt=now - FREE_FOR,
    )


def _end(pk: int, now: dt.datetime) -> bool:
    with transaction.atomic():
        session = (
            ChargingSession.objects.select_for_update(of=("self",)).select_related("station").filter(pk=pk).first()
        )
        if session is None or not session.is_open:
            return False
        tx = Batch(StationMemory())
        close_without_end(_ref(session), session, ReviewReason.ESTIMATED_END, at=now, tx=tx)
        tx.flush()
        transaction.on_commit(lambda: _tell(tx))
    return True


def _ref(session: ChargingSession) -> StationRef:
    station = session.station
    return StationRef(
        id=station.pk,
        operator_id=station.operator_id,
        site_id=station.site_id,
        identity=station.identity,
        epoch=station.epoch,
        version=station.protocol,
        time_zone=session.time_zone,
        currency=session.currency,
        max_power_w=station.max_power_w,
    )


def _tell(tx: Batch) -> None:
    # The bill waits for the grace time of an estimated end, so its sweep finds it; only the pages are told.
    for hint in tx.hints:
        hints.stale(hint.group, [hint.name])
