"""What happened in a session, in order and in words: plug, token, start, states, commands, readings, end, review."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

from django.db.models import Max, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from sessions.models import AuthorizationAttempt, ChargingSession, MeterReading, ReviewReason
from sessions.words import STATES, end_of, joined, token_of
from stations import display, states
from stations.messages import ChargingState, ConnectorState, TokenStatus
from stations.models import Command, StatusChange

BEFORE = dt.timedelta(minutes=30)
AFTER = dt.timedelta(minutes=30)
SHOWN_BEFORE = dt.timedelta(minutes=10)  # a token is shown shortly before the start
MOST_STATES = 40
LATE = dt.timedelta(minutes=2)
SAME = dt.timedelta(seconds=1)

_FREE = {ConnectorState.AVAILABLE, ConnectorState.RESERVED}
_ASKED = {
    "start": gettext_lazy("Start asked for"),
    "stop": gettext_lazy("Stop asked for"),
    "unlock": gettext_lazy("Unlock asked for"),
    "reset": gettext_lazy("Restart asked for"),
    "set_limit": gettext_lazy("Limit asked for"),
    "change_availability": gettext_lazy("Availability change asked for"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. ``icon`` is a Lucide name, ``tone`` a state's colour, ``aside`` a number at the end.

    ``url`` is where its text leads.
    """

    at: dt.datetime
    icon: str
    tone: str
    title: str
    text: str = ""
    aside: str = ""
    url: str = ""


def story_of(session: ChargingSession, *, sees_people: bool) -> list[Moment]:
    """Return the moments of a session in order; tokens and names only for those who may see personal data."""
    moments = [
        *_before(session),
        *_shown(session, sees_people=sees_people),
        _start(session, sees_people=sees_people),
        *_states(session),
        *_commands(session),
        *_newest(session),
        *_end(session),
        *_after(session),
        *_decision(session),
    ]
    return sorted(moments, key=lambda moment: moment.at)


def _register(wh: object) -> str:
    return "" if wh is None else str(display.energy_exact(wh))  # type: ignore[arg-type]


def _late(at: dt.datetime, received_at: dt.datetime | None) -> str:
    if received_at is None or received_at - at < LATE:
        return ""
    return _("reported %(span)s later") % {"span": display.span((received_at - at).total_seconds())}


def _before(session: ChargingSession) -> Iterator[Moment]:
    """The connector before the start, since it was last free."""
    if session.connector_id is None:
        return
    start = session.started_at
    changes = StatusChange.objects.filter(connector_id=session.connector_id, at__gte=start - BEFORE, at__lt=start)
    before = list(changes.order_by("at", "id"))
    since = next((n + 1 for n in range(len(before) - 1, -1, -1) if before[n].status in _FREE), 0)
    for change in before[since:]:
        yield _state(change.at, change.status)


def _after(session: ChargingSession) -> Iterator[Moment]:
    """The connector after the end, until it was free again."""
    end = session.stopped_at
    if session.connector_id is None or session.is_open or end is None:
        return
    changes = StatusChange.objects.filter(connector_id=session.connector_id, at__gte=end, at__lte=end + AFTER)
    for change in changes.order_by("at", "id"):
        if change.status in _FREE:
            yield Moment(change.at, "plug", "good", _("Unplugged, the connector is free"))
            return
        yield _state(change.at, change.status)


def _state(at: dt.datetime, state: str) -> Moment:
    look = states.connector_look(state)
    return Moment(at, look.icon, look.tone, str(look.word))


def _shown(session: ChargingSession, *, sees_people: bool) -> Iterator[Moment]:
    """The token as it was shown for this session: the refusals, and the last time it was accepted."""
    if not session.token_shown:
        return
    start = session.start_received_at
    earlier = ChargingSession.objects.filter(
        station_id=session.station_id, token_shown__iexact=session.token_shown, start_received_at__lt=start
    ).aggregate(last=Max("start_received_at"))["last"]
    since = max(start - SHOWN_BEFORE, earlier + SAME) if earlier else start - SHOWN_BEFORE
    tried = AuthorizationAttempt.objects.filter(
        # The start itself shows the token once more.
        station_id=session.station_id,
        at__gte=since,
        at__lt=start - SAME,
        shown__iexact=session.token_shown,
    ).order_by("at", "id")
    token = token_of(session, sees_people=sees_people)
    accepted = None
    for attempt in tried:
        if attempt.status == TokenStatus.ACCEPTED:
            accepted = Moment(attempt.at, "id-card", "good", _("Token accepted"), token)
        else:
            yield Moment(attempt.at, "id-card", "bad", _("Token refused: %(why)s") % {"why": attempt.status}, token)
    if accepted is not None:
        yield accepted


def _start(session: ChargingSession, *, sees_people: bool) -> Moment:
    text = joined([token_of(session, sees_people=sees_people), _late(session.started_at, session.start_received_at)])
    register = _register(session.meter_start_wh)
    if ReviewReason.ORPHAN_STOP in session.review:
        return Moment(
            session.started_at, "circle-question-mark", "bad", _("The start was never reported"), text, register
        )
    return Moment(session.started_at, "zap", "charging", _("Session started"), text, register)


def _states(session: ChargingSession) -> Iterator[Moment]:
    """How charging went on, from the session's own messages (2.x) or the states of its connector (1.6)."""
    changes: list[tuple[dt.datetime, str]] = []
    told = MeterReading.objects.filter(session_id=session.pk).exclude(charging_state="").order_by("at", "received_at")
    for at, state in told.values_list("at", "charging_state").iterator():
        if state in set(ChargingState) and (not changes or changes[-1][1] != state):
            changes.append((at, state))
    moments = [_state(at, STATES[ChargingState(state)].value) for at, state in changes]
    if not moments and session.connector_id is not None:
        end = session.stopped_at or dt.datetime.max.replace(tzinfo=dt.UTC)
        rows = StatusChange.objects.filter(connector_id=session.connector_id, at__gte=session.started_at, at__lt=end)
        moments = [_state(row.at, row.status) for row in rows.order_by("at", "id")]
    if len(moments) > MOST_STATES:
        left_out = len(moments) - MOST_STATES
        words = _("%(count)s changes of state are not shown") % {"count": left_out}
        yield Moment(moments[0].at, "ellipsis", "idle", words)
        moments = moments[-MOST_STATES:]
    yield from moments


def _commands(session: ChargingSession) -> Iterator[Moment]:
    """What people asked of the charger meanwhile, as far as it is about this session."""
    window = Q(requested_at__gte=session.started_at - SHOWN_BEFORE)
    if session.stopped_at is not None and not session.is_open:
        window &= Q(requested_at__lte=session.stopped_at + LATE)
    rows = Command.objects.filter(window, station_id=session.station_id, command__in=_ASKED).order_by("id")
    for row in rows:
        if not _is_about(row, session):
            continue
        look = states.command_look(row.status)
        text = joined([row.requested_by, str(look.word)])
        yield Moment(row.requested_at, "terminal", look.tone, str(_ASKED[row.command]), text)


def _is_about(row: Command, session: ChargingSession) -> bool:
    asked = row.arguments
    if row.command == "stop":
        return str(session.uuid) == asked.get("session") or session.transaction_ref == str(asked.get("transaction_id"))
    if row.command == "start":
        return row.remote_start_id is not None and row.remote_start_id == session.remote_start_id
    place = asked.get("evse", asked.get("connector"))
    here = session.evse.number if session.evse else None
    return place in (None, 0, here) and row.requested_at >= session.started_at


def _newest(session: ChargingSession) -> Iterator[Moment]:
    if not session.is_open or session.last_reading_at is None or session.last_reading_at <= session.started_at:
        return
    text = "" if session.soc_percent is None else _("Charge level %(soc)s") % {"soc": _percent(session.soc_percent)}
    energy = str(display.energy(session.energy_wh))
    yield Moment(session.last_reading_at, "activity", "charging", _("Newest reading"), text, energy)


def _percent(value: object) -> str:
    return display.percent(value / 100, 0)  # type: ignore[operator]


def _end(session: ChargingSession) -> Iterator[Moment]:
    if session.is_open or session.stopped_at is None:
        return
    text = _late(session.stopped_at, session.stop_received_at)
    if ReviewReason.ESTIMATED_END in session.review:
        text = _("No end was reported; it is taken from the last reading.")
    yield Moment(session.stopped_at, "square", "idle", end_of(session), text, _register(session.meter_stop_wh))


def _decision(session: ChargingSession) -> Iterator[Moment]:
    if session.released_at is None:
        return
    free = ReviewReason.WAIVED in session.review
    title = _("Made free") if free else _("Released for billing")
    yield Moment(session.released_at, "circle-check", "good", title, session.released_by)
