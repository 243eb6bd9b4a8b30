"""The one inbox of alerts: raised once, counted up, acknowledged, acted on, closed.

Detectors live where their data is and hand in findings; what may run twice finds the alert it raised
before. A finding that is watched (`settle`) closes by itself; any other stays until a person has acted.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit, tokens
from accounts.errors import Refused
from accounts.models import ApiKey, IdToken, Membership, User
from stations import alert_kinds, commands
from stations.hints import operator_group, stale_after_commit
from stations.models import Alert, Command

Actor = User | Membership | ApiKey


class AlreadyClosed(Refused):
    """Nothing can be done about an alert that is over."""

    code = "alert_closed"


class ClosesItself(Refused):
    """An alert whose condition is watched ends with its condition, not by a click."""

    code = "alert_is_watched"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What a detector found. ``key`` makes it the same finding again, inside one operator.

    ``since`` is when it began, ``at`` the newest evidence; ``facts`` are JSON values, see `alert_kinds`.
    """

    kind: str
    key: str
    operator_id: int
    since: dt.datetime
    at: dt.datetime
    facts: Mapping[str, Any]
    site_id: int | None = None
    station_id: int | None = None
    evse: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """What an action did, in words, and the page it leads to (empty where it leads nowhere)."""

    alert: Alert
    words: str
    url: str = ""


# --- for detectors -----------------------------------------------------------------------------------


def raise_alerts(findings: Sequence[Finding], *, now: dt.datetime) -> None:
    """Raise findings that nobody has dealt with since they began; newer evidence counts an open alert up.

    The number of statements does not depend on the number of findings.
    """
    if not findings:
        return
    rows = Alert.objects.filter(dedupe_key__in={finding.key for finding in findings})
    open_ = {(row.operator_id, row.dedupe_key): row for row in rows.filter(resolved_at=None)}
    settled = {
        (row.operator_id, row.dedupe_key): row.resolved_at
        for row in rows.filter(resolved_at__gte=min(f.since for f in findings)).order_by("resolved_at")
    }
    new, newer = [], []
    for finding in findings:
        slot = (finding.operator_id, finding.key)
        row, dealt_with = open_.get(slot), settled.get(slot)
        if row is not None:
            if finding.at > row.last_at:
                row.count, row.last_at, row.facts = row.count + 1, finding.at, dict(finding.facts)
                newer.append(row)
        elif dealt_with is None or dealt_with < finding.since:
            new.append(finding)
    _write(new, newer, ["count", "last_at", "facts"], now)


def open_alerts(kinds: Collection[str]) -> list[Alert]:
    """Return the open alerts of these kinds, of all operators."""
    return list(Alert.objects.filter(kind__in=kinds, resolved_at=None))


def settle(
    open_: Sequence[Alert],
    findings: Sequence[Finding],
    *,
    now: dt.datetime,
    grouped: Collection[tuple[int, str]] = (),
) -> None:
    """Make the open alerts of watched kinds equal to ``findings``: raise, bring up to date, close.

    ``grouped`` names (operator, key) of those that go on as part of another alert.
    """
    wanted = {(finding.operator_id, finding.key): finding for finding in findings}
    changed: list[Alert] = []
    over: list[Alert] = []
    absorbed: list[Alert] = []
    for row in open_:
        slot = (row.operator_id, row.dedupe_key)
        finding = wanted.pop(slot, None)
        if finding is None:
            (absorbed if slot in grouped else over).append(row)
        elif row.facts != finding.facts:
            row.facts = dict(finding.facts)
            changed.append(row)
    _write(list(wanted.values()), changed, ["facts"], now)
    resolve(over, Alert.Resolution.OVER, now=now)
    resolve(absorbed, Alert.Resolution.GROUPED, now=now)


def resolve(rows: Sequence[Alert], resolution: Alert.Resolution, *, now: dt.datetime) -> None:
    """Close alerts; those that somebody closed meanwhile stay as they are."""
    if not rows:
        return
    with transaction.atomic():
        Alert.objects.filter(pk__in=[row.pk for row in rows], resolved_at=None).update(
            resolved_at=now, resolution=resolution
        )
        _tell({row.operator_id for row in rows})


def _write(new: Sequence[Finding], changed: Sequence[Alert], fields: Sequence[str], now: dt.datetime) -> None:
    if not new and not changed:
        return
    with transaction.atomic():
        if changed:
            Alert.objects.filter(resolved_at=None).bulk_update(changed, fields)
        if new:
            # Two detectors at once: the unique open key lets the second pass without effect.
            Alert.objects.bulk_create([_made(finding, now) for finding in new], ignore_conflicts=True)
        _tell({finding.operator_id for finding in new} | {row.operator_id for row in changed})


def _made(finding: Finding, now: dt.datetime) -> Alert:
    return Alert(
        operator_id=finding.operator_id,
        site_id=finding.site_id,
        station_id=finding.station_id,
        evse=finding.evse,
        kind=finding.kind,
        severity=alert_kinds.KINDS[finding.kind].severity,
        dedupe_key=finding.key,
        facts=dict(finding.facts),
        raised_at=now,
        last_at=finding.at,
    )


def _tell(operators: Collection[int]) -> None:
    for operator_id in operators:
        stale_after_commit(operator_group(operator_id), "alerts", "stations")


# --- for people --------------------------------------------------------------------------------------


def acknowledge(alert: Alert, *, by: Actor, at: dt.datetime) -> Alert:
    """Note that somebody takes care of it; a second time changes nothing. Raises AlreadyClosed."""
    with transaction.atomic():
        row = _locked(alert)
        if row.acknowledged_at is None:
            _acknowledge(row, by, at)
            audit.record(by, "alert.acknowledged", row, kind=row.kind)
            _tell({row.operator_id})
    return row


def close(alert: Alert, *, by: Actor, at: dt.datetime) -> Alert:
    """End an alert by hand. Raises AlreadyClosed, ClosesItself."""
    with transaction.atomic():
        row = _locked(alert)
        if alert_kinds.kind_of(row).is_watched:
            raise ClosesItself(_("This alert closes by itself as soon as it is over."))
        _finish(row, Alert.Resolution.CLOSED, by, at)
        audit.record(by, "alert.closed", row, kind=row.kind)
        _tell({row.operator_id})
    return row


def act(alert: Alert, *, by: Actor, at: dt.datetime) -> Done:
    """Do the one thing that helps, and note who did it.

    Whoever acts has taken the alert on. Raises AlreadyClosed, and what the action itself refuses.
    """
    with transaction.atomic():
        row = _locked(alert)
        action = alert_kinds.kind_of(row).action
        if row.acknowledged_at is None:
            _acknowledge(row, by, at)
        if action.name == alert_kinds.BLOCK_TOKEN:
            words = _block_token(row, by)
            _finish(row, Alert.Resolution.ACTED, by, at)
        elif action.name == alert_kinds.RESET:
            words = _reset(row, by, at)
        else:
            words = ""
        audit.record(by, f"alert.{action.name}", row, kind=row.kind)
        _tell({row.operator_id})
    return Done(row, words, alert_kinds.target_url(row, action.name))


def _locked(alert: Alert) -> Alert:
    row = Alert.objects.select_for_update(of=("self",)).select_related("station", "site").get(pk=alert.pk)
    if not row.is_open:
        raise AlreadyClosed(_("This alert is closed already."))
    return row


def _acknowledge(row: Alert, by: Actor, at: dt.datetime) -> None:
    row.acknowledged_at, row.acknowledged_by = at, _person(by)
    row.save(update_fields=["acknowledged_at", "acknowledged_by"])


def _finish(row: Alert, resolution: Alert.Resolution, by: Actor, at: dt.datetime) -> None:
    person = _person(by)
    row.facts = {**row.facts, "closed_by": person.display_name if person is not None else str(by)}
    row.resolved_at, row.resolution = at, resolution
    row.save(update_fields=["facts", "resolved_at", "resolution"])


def _person(by: Actor) -> User | None:
    if isinstance(by, Membership):
        return by.user
    return by if isinstance(by, User) else None


def _block_token(row: Alert, by: Actor) -> str:
    token = IdToken.objects.get(operator_id=row.operator_id, uuid=row.facts["token"])
    tokens.block(token, by=by)
    return _("Token %(token)s is blocked.") % {"token": token.masked}


def _reset(row: Alert, by: Actor, at: dt.datetime) -> str:
    assert row.station is not None
    command = commands.ask(row.station, "reset", {"kind": "soft"}, by=by, now=at)
    if command.status == Command.Status.REFUSED:
        return command.error_text
    return _("%(station)s is asked to reset.") % {"station": row.station}
