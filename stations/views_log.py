"""Console pages about the talk with chargers: one station's log, the log of the fleet, and its download."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from cryptography.exceptions import InvalidTag
from django.db.models import Max, Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from accounts.keys import seal, unseal
from accounts.models import Membership
from accounts.roles import Ability
from accounts.views_auth import ConsoleRequest, console
from stations.api_commands import message_shapes
from stations.models import Frame, Station
from stations.threads import in_thread
from stations.views_console import find_station, station_context

PAGE = 50
TEXT_REACH = 50_000  # frames that a search by text looks at, from where the page begins
ANSWER_REACH = 20_000  # frames among which the answer to a call of ours is looked for
MOST_LINES = 100_000
CHUNK = 500
CURSOR = "log position"

CALL, RESULT, ERROR, RESULT_ERROR, BROKEN = 2, 3, 4, 5, 0


@dataclasses.dataclass(frozen=True, slots=True)
class LogQuery:
    """What the log is narrowed by; all of it stands in the address."""

    text: str = ""
    station: str = ""
    direction: str = ""
    kind: str = ""
    action: str = ""
    since: str = ""
    until: str = ""
    before: int | None = None

    @classmethod
    def read(cls, params: Mapping[str, str]) -> LogQuery:
        """Return the query of an address; what it does not know is as if it were not there."""
        names = ("station", "direction", "kind", "action", "since", "until")
        given = {name: params.get(name, "").strip()[:64] for name in names}
        return cls(text=params.get("q", "").strip()[:120], before=_position(params.get("before", "")), **given)

    def rows(self, actor: Membership, station: Station | None = None) -> QuerySet[Frame]:
        """Return the frames it finds, the newest first; an answer of the station stands with its call."""
        rows = Frame.objects.visible_to(actor)
        if station is not None:
            rows = rows.filter(station=station)
        elif self.station:
            rows = rows.filter(station__identity=self.station)
        rows = rows.exclude(kind__in=[RESULT, ERROR], note="")
        if self.direction in {"in", "out"}:
            rows = rows.filter(direction=Frame.Direction.IN if self.direction == "in" else Frame.Direction.OUT)
        if self.kind == "errors":
            rows = rows.filter(Q(kind__in=[BROKEN, ERROR, RESULT_ERROR]) | ~Q(note="") | Q(answer__startswith="[4,"))
        if self.action:
            rows = rows.filter(action__iexact=self.action)
        for name, text in (("at__gte", self.since), ("at__lt", self.until)):
            day = _day(text)
            if day is not None:
                start = dt.datetime.combine(day, dt.time(), timezone.get_current_timezone())
                rows = rows.filter(**{name: start + dt.timedelta(days=1) if name == "at__lt" else start})
        if self.text:
            rows = rows.filter(Q(text__icontains=self.text) | Q(answer__icontains=self.text), pk__gt=self.floor())
        if self.before is not None:
            rows = rows.filter(pk__lt=self.before)
        return rows.order_by("-pk")

    def floor(self) -> int:
        """Return below which frame a search by text does not look."""
        newest = self.before or Frame.objects.aggregate(n=Max("pk"))["n"] or 0
        return max(0, newest - TEXT_REACH)


@console(Ability.SEE_STATIONS)
def station_log(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    context = station_context(request, found, "station_log") | _log(request, found)
    return render(request, "console/station_log.html", context)


@console(Ability.SEE_STATIONS)
def station_log_rows(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return render(request, "console/fragments/_log.html", _log(request, find_station(request, id)))


@console(Ability.SEE_STATIONS)
def messages(request: ConsoleRequest) -> HttpResponse:
    return render(request, "console/message_list.html", {"live_topic": "messages", **_log(request, None)})


@console(Ability.SEE_STATIONS)
def message_rows(request: ConsoleRequest) -> HttpResponse:
    return render(request, "console/fragments/_log.html", _log(request, None))


@console(Ability.SEE_STATIONS)
def messages_download(request: ConsoleRequest) -> StreamingHttpResponse:
    """What the log finds as JSON lines, the newest first."""
    rows = LogQuery.read(request.GET.dict()).rows(request.actor).select_related("station")
    response = StreamingHttpResponse(_lines(rows), content_type="application/x-ndjson")
    response["Content-Disposition"] = f'attachment; filename="ocpp-{timezone.now():%Y-%m-%dT%H%M}.jsonl"'
    return response


async def _lines(rows: QuerySet[Frame]) -> AsyncIterator[bytes]:
    """Read in slices by position, so that neither a thread nor a transaction waits for a slow reader."""
    last: int | None = None
    for _slice in range(MOST_LINES // CHUNK):
        found = await in_thread(_slice_below, rows, last)
        if not found:
            return
        shapes = message_shapes(found)
        yield b"".join(
            json.dumps({"station": row.station.identity, **shape}, default=str, ensure_ascii=False).encode() + b"\n"
            for row, shape in zip(found, shapes, strict=True)
        )
        last = found[-1].pk


def _slice_below(rows: QuerySet[Frame], last: int | None) -> list[Frame]:
    return list((rows if last is None else rows.filter(pk__lt=last))[:CHUNK])


def _log(request: ConsoleRequest, station: Station | None) -> dict[str, Any]:
    query = LogQuery.read(request.GET.dict())
    rows = query.rows(request.actor, station).select_related("station")
    found = list(rows[: PAGE + 1])
    parameters = {name: value for name, value in request.GET.items() if name != "before"}
    older = newer = ""
    if len(found) > PAGE:
        older = f"?{urlencode(parameters | {'before': _sealed(found[PAGE - 1].pk)})}"
    elif query.text and query.floor() > 0:
        older = f"?{urlencode(parameters | {'before': _sealed(query.floor())})}"
    if query.before is not None:
        newer = f"?{urlencode(parameters)}" if parameters else "?"
    args = [] if station is None else [station.uuid]
    name = "console:message_rows" if station is None else "console:station_log_rows"
    download = parameters | ({"station": station.identity} if station else {})
    return {
        "frames": paired(found[:PAGE], with_station=station is None),
        "older_url": older,
        "newer_url": newer,
        "log_url": f"{reverse(name, args=args)}?{request.GET.urlencode()}",
        "download_url": f"{reverse('console:messages_download')}?{urlencode(download)}",
        "filters": _filters(request.actor, query, station),
        "search": query.text,
        "reach": TEXT_REACH if query.text else 0,
    }


def paired(rows: list[Frame], *, with_station: bool) -> list[dict[str, Any]]:
    """Return frames as the log shows them: each call with its answer and how long that took."""
    answers = _answers([row for row in rows if row.direction == Frame.Direction.OUT and row.kind == CALL])
    shown = []
    for row in rows:
        answer = answers.get((row.station_id, row.message_id))
        text, latency = row.answer, row.answer_ms
        if answer is not None:
            text, latency = answer.text, round((answer.at - row.at).total_seconds() * 1000)
        shown.append(
            {
                "at": row.at,
                "direction": row.direction,
                "kind": row.kind,
                "action": row.action,
                "message_id": row.message_id,
                "text": row.text,
                "note": row.note,
                "answer": text,
                "is_refused": text.startswith("[4,"),
                "latency_ms": latency,
                "station": row.station if with_station else None,
                "station_url": reverse("console:station_log", args=[row.station.uuid]) if with_station else "",
            }
        )
    return shown


def _answers(calls: list[Frame]) -> dict[tuple[int, str], Frame]:
    """Return the stations' answers to calls of ours, found by message id (one query)."""
    if not calls:
        return {}
    keys = [call.pk for call in calls]
    rows = Frame.objects.filter(
        station__in={call.station_id for call in calls},
        pk__gt=min(keys),
        pk__lt=max(keys) + ANSWER_REACH,
        direction=Frame.Direction.IN,
        kind__in=[RESULT, ERROR],
        message_id__in=[call.message_id for call in calls],
    )
    return {(row.station_id, row.message_id): row for row in rows}


def _filters(actor: Membership, query: LogQuery, station: Station | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if station is None:
        known = Station.objects.visible_to(actor).order_by("identity").values_list("identity", flat=True)
        options = [(identity, identity) for identity in known]
        found.append({"name": "station", "label": _("Station"), "value": query.station, "options": options})
    directions = [("in", _("From the station")), ("out", _("To the station"))]
    actions = [(name, name) for name in ACTIONS]
    return [
        *found,
        {"name": "action", "label": _("Message"), "value": query.action, "options": actions},
        {"name": "direction", "label": _("Direction"), "value": query.direction, "options": directions},
        {"name": "kind", "label": _("Only"), "value": query.kind, "options": [("errors", _("Errors"))]},
        {"name": "since", "label": _("From"), "value": query.since, "type": "date"},
        {"name": "until", "label": _("To"), "value": query.until, "type": "date"},
    ]


ACTIONS = (
    "Authorize",
    "BootNotification",
    "DataTransfer",
    "MeterValues",
    "StartTransaction",
    "StatusNotification",
    "StopTransaction",
    "TransactionEvent",
    "ChangeAvailability",
    "ChangeConfiguration",
    "GetBaseReport",
    "GetConfiguration",
    "GetVariables",
    "NotifyReport",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "RequestStartTransaction",
    "RequestStopTransaction",
    "Reset",
    "SetVariables",
    "TriggerMessage",
    "UnlockConnector",
)


def _sealed(position: int) -> str:
    """Return a place in the log for an address: it is an internal key, so it leaves under seal."""
    return seal(str(position), purpose=CURSOR)


def _position(sealed: str) -> int | None:
    try:
        return int(unseal(sealed, purpose=CURSOR)) if sealed else None
    except (KeyError, ValueError, InvalidTag):
        return None


def _day(text: str) -> dt.date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None
