"""What sessions can alarm about: meters that stand still, run backwards or tell the impossible; tokens at two places.

`detect` is called every other second and asks a fixed number of questions, whatever the number of sessions.
The others are told of one happening, right after it was committed, and may be told twice.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.models import IdToken
from sessions.models import AuthorizationAttempt, ChargingSession, MeterReading, ReviewReason
from sessions.readings import OVER_POWER_FACTOR, OVER_POWER_SLACK_WH, ROUNDING_WH
from stations import alerts
from stations.alert_kinds import CARD_BURST, METER_BACKWARDS, METER_STUCK, OVER_POWER, TOKEN_TWICE
from stations.alerts import Finding
from stations.hints import operator_group, stale_after_commit
from stations.messages import ChargingState, ConnectorState, TokenStatus
from stations.models import Alert, Station, is_online

LEAST_POWER_W = 1000  # below it a car that is full, balances or keeps itself warm
JUST_MOVED = dt.timedelta(minutes=1)
READING_AGE = dt.timedelta(days=1)
REPLAYED = dt.timedelta(minutes=2)  # a start told so late is history; its end usually follows at once


def detect(now: dt.datetime) -> None:
    """Look for what is wrong with running sessions now, raise it, and close what is over."""
    alerts.settle(alerts.open_alerts((METER_STUCK,)), _stuck(now), now=now)
    alerts.raise_alerts([*_over_power(now), *_at_two_places(now)], now=now)
    _close_released(now)


# --- meters ------------------------------------------------------------------------------------------


def _stuck(now: dt.datetime) -> list[Finding]:
    """Return the sessions into which energy should flow while the register does not move.

    Reported power decides where there is some; else the state. A register that was not told again since it
    moved proves nothing: some stations report every quarter of an hour, some are not connected.
    """
    told_again = MeterReading.objects.filter(
        session=OuterRef("pk"),
        energy_wh__isnull=False,
        received_at__gt=OuterRef("energy_changed_at"),
        at__gt=now - READING_AGE,
    )
    charging = Q(charging_state=ChargingState.CHARGING) | Q(
        charging_state="", connector__status=ConnectorState.CHARGING
    )
    rows = _running(now).filter(
        Q(power_w__gt=LEAST_POWER_W) | Q(charging, power_w=None),
        Exists(told_again),
        energy_changed_at__lte=now - dt.timedelta(seconds=settings.ALERT_SECONDS["stuck"]),
        meter_last_wh__isnull=False,
    )
    return [
        _finding(
            METER_STUCK,
            row,
            f"{METER_STUCK}:{row.pk}",
            since=row.energy_changed_at or row.started_at,
            facts={
                "session": str(row.uuid),
                "since": (row.energy_changed_at or row.started_at).isoformat(),
                "register_wh": str(row.meter_last_wh),
                "power_w": None if row.power_w is None else str(row.power_w),
            },
        )
        for row in rows
        if ReviewReason.METER_BACKWARDS not in row.review  # it moves, but below where it was
    ]


def _running(now: dt.datetime) -> QuerySet[ChargingSession]:
    """Return the active sessions of stations that are here."""
    here = Station.objects.filter(is_online(now), pk=OuterRef("station_id"))
    return ChargingSession.objects.filter(Exists(here), status=ChargingSession.Status.ACTIVE).select_related(
        "evse", "station"
    )


def _over_power(now: dt.datetime) -> list[Finding]:
    """Return the sessions that tell of more power or energy than their outlet is rated for."""
    rows = ChargingSession.objects.annotate(rated_w=Coalesce("evse__max_power_w", "station__max_power_w")).filter(
        Q(energy_changed_at__gt=now - JUST_MOVED) | Q(power_w__gt=F("rated_w")),
        status=ChargingSession.Status.ACTIVE,
        energy_changed_at__isnull=False,
        rated_w__gt=0,
    )
    # Nearly every running session is weighed every other second, so only what is impossible is loaded.
    weighed = rows.values_list(
        "pk", "rated_w", "power_w", "energy_wh", "started_at", "start_received_at", "energy_changed_at"
    )
    found = {pk: facts for pk, *figures in weighed if (facts := _impossible(*figures)) is not None}
    if not found:
        return []
    sessions = ChargingSession.objects.filter(pk__in=found).select_related("evse")
    return [_over_power_finding(row, found[row.pk]) for row in sessions]


def _impossible(
    rated_w: int,
    power_w: Decimal | None,
    energy_wh: Decimal,
    started_at: dt.datetime,
    start_received_at: dt.datetime,
    until: dt.datetime,
) -> dict[str, Any] | None:
    """Return what is impossible about a session that has run ``until`` then; None where nothing is."""
    if power_w is not None and power_w > rated_w * OVER_POWER_FACTOR:
        return {"rated_w": rated_w, "power_w": str(power_w)}
    # A clock that is ahead must not shorten the time in which the energy flowed.
    seconds = max(0, int((until - min(started_at, start_received_at)).total_seconds()))
    possible = rated_w * OVER_POWER_FACTOR * seconds / 3600 + OVER_POWER_SLACK_WH
    if energy_wh <= possible:
        return None
    return {
        "rated_w": rated_w,
        "energy_wh": str(energy_wh),
        "seconds": seconds,
        "possible_wh": str(possible.quantize(Decimal(1))),
    }


def _over_power_finding(row: ChargingSession, facts: dict[str, Any]) -> Finding:
    facts = {"session": str(row.uuid)} | facts
    return _finding(OVER_POWER, row, f"{OVER_POWER}:{row.pk}", since=row.start_received_at, facts=facts)


def meter_ran_backwards(session_id: int, before: Decimal, after: Decimal, *, now: dt.datetime) -> None:
    """Raise that a register fell while a session ran, and hold its bill (registers in Wh).

    What rounding of the start register explains is none. An ended session has been reckoned from all its
    readings meanwhile, so its reasons stay as they are.
    """
    if before - after <= ROUNDING_WH:
        return
    with transaction.atomic():
        row = ChargingSession.objects.select_for_update().get(pk=session_id)
        if row.is_open and ReviewReason.METER_BACKWARDS not in row.review:
            row.review = [*row.review, ReviewReason.METER_BACKWARDS.value]
            row.save(update_fields=["review"])
            stale_after_commit(operator_group(row.operator_id), f"session:{row.uuid}", "sessions")
    facts = {"session": str(row.uuid), "before_wh": str(before), "after_wh": str(after)}
    alerts.raise_alerts([_backwards_finding(row, facts)], now=now)


def _backwards_finding(row: ChargingSession, facts: dict[str, Any]) -> Finding:
    return _finding(METER_BACKWARDS, row, f"{METER_BACKWARDS}:{row.pk}", since=row.start_received_at, facts=facts)


def look_at_held(session_id: int, *, now: dt.datetime) -> None:
    """Raise what the reckoning at the end of a session found, where its bill is held for the meter's sake."""
    row = ChargingSession.objects.select_related("evse", "station").get(pk=session_id)
    if not row.is_held or row.stopped_at is None:
        return
    findings = []
    if {ReviewReason.METER_BACKWARDS, ReviewReason.JUMP} & set(row.review):  # a jump: it fell back to the last register
        findings.append(_backwards_finding(row, _fall(row)))
    rated = row.station.max_power_w
    if ReviewReason.OVER_POWER in row.review and rated:
        facts = _impossible(rated, None, row.energy_wh, row.started_at, row.start_received_at, row.stopped_at)
        findings.extend([_over_power_finding(row, facts)] if facts is not None else [])
    alerts.raise_alerts(findings, now=now)


def _fall(row: ChargingSession) -> dict[str, Any]:
    """Return between which registers the meter of an ended session fell furthest."""
    readings = MeterReading.objects.filter(session=row, energy_wh__isnull=False).order_by("at", "received_at")
    registers = [row.meter_start_wh, *readings.values_list("energy_wh", flat=True), row.meter_stop_wh]
    known = [register for register in registers if register is not None]
    falls = [pair for pair in itertools.pairwise(known) if pair[1] < pair[0]]
    facts = {"session": str(row.uuid)}
    if falls:
        before, after = max(falls, key=lambda pair: pair[0] - pair[1])
        facts |= {"before_wh": str(before), "after_wh": str(after)}
    return facts


def _close_released(now: dt.datetime) -> None:
    """Close the alerts about meters whose session somebody has looked at and released."""
    open_ = alerts.open_alerts((METER_BACKWARDS, OVER_POWER))
    if not open_:
        return
    released = ChargingSession.objects.filter(
        uuid__in=[row.facts["session"] for row in open_], released_at__isnull=False
    )
    uuids = {str(uuid) for uuid in released.values_list("uuid", flat=True)}
    alerts.resolve([row for row in open_ if row.facts["session"] in uuids], Alert.Resolution.OVER, now=now)


# --- tokens ------------------------------------------------------------------------------------------


def _at_two_places(now: dt.datetime) -> list[Finding]:
    """Return the tokens with running sessions at several stations; those that may are left out."""
    running = ChargingSession.objects.filter(
        status=ChargingSession.Status.ACTIVE, token__concurrent=False, token__status=IdToken.Status.ACTIVE
    ).order_by()
    twice = running.values("token_id").annotate(places=Count("station_id", distinct=True)).filter(places__gt=1)
    rows = running.filter(token_id__in=twice.values("token_id")).select_related("station__site", "token", "evse")
    findings = []
    for _token, sessions in itertools.groupby(rows.order_by("token_id", "start_received_at"), lambda s: s.token_id):
        real = [row for row in sessions if not _is_history(row, now)]
        places = {row.station_id: row for row in real}
        if len(places) > 1:
            first, last = real[0], next(row for row in reversed(real) if row.station_id != real[0].station_id)
            findings.append(_twice_finding(first, last, last.start_received_at, refused=_was_refused(last)))
    return findings


def _is_history(row: ChargingSession, now: dt.datetime) -> bool:
    """Tell whether a start came long after it happened, a moment ago: its end may be on the way, too."""
    return row.start_received_at - row.started_at > REPLAYED and now - row.start_received_at < REPLAYED


def _was_refused(row: ChargingSession) -> bool:
    return row.token_status == TokenStatus.CONCURRENT_TX


def look_at_refusals(station_id: int, *, now: dt.datetime) -> None:
    """Look at the tokens a station was refused lately: too many, or one that charges elsewhere."""
    window = now - dt.timedelta(seconds=settings.ALERT_SECONDS["burst"])
    rows = AuthorizationAttempt.objects.filter(station_id=station_id, at__gt=window).order_by("at", "id")
    refused = list(rows.exclude(status=TokenStatus.ACCEPTED))
    alerts.raise_alerts([*_card_burst(refused), *_used_elsewhere(station_id, refused, now)], now=now)


def _card_burst(refused: Sequence[AuthorizationAttempt]) -> list[Finding]:
    if len(refused) < settings.ALERT_BURST_COUNT:
        return []
    newest = refused[-1]
    station = Station.objects.get(pk=newest.station_id)
    return [
        Finding(
            kind=CARD_BURST,
            key=f"{CARD_BURST}:{station.pk}",
            operator_id=station.operator_id,
            site_id=station.site_id,
            station_id=station.pk,
            since=refused[-settings.ALERT_BURST_COUNT].at,
            at=newest.at,
            facts={
                "count": len(refused),
                "cards": len({row.shown.lower() for row in refused}),
                "seconds": int((newest.at - refused[0].at).total_seconds()),
            },
        )
    ]


def _used_elsewhere(station_id: int, refused: Sequence[AuthorizationAttempt], now: dt.datetime) -> list[Finding]:
    """Return the tokens that were refused here because they charge at another station."""
    shown = {row.token_id: row for row in refused if row.status == TokenStatus.CONCURRENT_TX and row.token_id}
    if not shown:
        return []
    rows = ChargingSession.objects.filter(
        token_id__in=shown, token__status=IdToken.Status.ACTIVE, start_received_at__lte=now
    ).select_related("station__site", "token", "evse")
    elsewhere = rows.filter(status=ChargingSession.Status.ACTIVE).exclude(station_id=station_id)
    begun = {row.token_id: row for row in elsewhere.order_by("-start_received_at")}
    here = {
        row.token_id: row
        for row in rows.filter(station_id=station_id, start_received_at__in=[attempt.at for attempt in shown.values()])
    }
    return [
        _twice_finding(begun[token_id], here[token_id], attempt.at, refused=True)
        for token_id, attempt in shown.items()
        if token_id in begun and token_id in here and not _is_history(here[token_id], now)
    ]


def _twice_finding(first: ChargingSession, last: ChargingSession, at: dt.datetime, *, refused: bool) -> Finding:
    token = last.token
    assert token is not None
    return Finding(
        kind=TOKEN_TWICE,
        key=f"{TOKEN_TWICE}:{token.pk}",
        operator_id=last.operator_id,
        site_id=last.site_id,
        station_id=last.station_id,
        evse=last.evse.number if last.evse is not None else None,
        since=at,
        at=at,
        facts={
            "token": str(token.uuid),
            "shown": token.masked,
            "refused": refused,
            "places": [
                {"station": row.station.identity, "name": _place(row), "session": str(row.uuid)}
                for row in (first, last)
            ],
        },
    )


def _place(row: ChargingSession) -> str:
    return f"{row.station}, {row.station.site}"


def _finding(kind: str, row: ChargingSession, key: str, *, since: dt.datetime, facts: dict[str, Any]) -> Finding:
    return Finding(
        kind=kind,
        key=key,
        operator_id=row.operator_id,
        site_id=row.site_id,
        station_id=row.station_id,
        evse=row.evse.number if row.evse is not None else None,
        since=since,
        at=since,
        facts=facts,
    )
