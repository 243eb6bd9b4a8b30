"""The REST API about commands and about the talk with stations."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import Endpoint
from accounts.keys import pseudonym
from accounts.models import ApiKey
from accounts.roles import Ability, may
from stations import commands
from stations.api import StationRows
from stations.models import Command, Frame, Station
from stations.ocpp import journal

MAX_WAIT_S = 60
MAX_TTL_S = 7 * 86_400
MAX_ACTION = 48
KINDS = {2: "call", 3: "result", 4: "error", 5: "error"}


class CommandError(serializers.Serializer[Any]):
    """Why a command was not accepted: OCPP's error code, or ours."""

    code = serializers.CharField()
    description = serializers.CharField()


class CommandEffect(serializers.Serializer[Any]):
    """What was seen of an accepted command."""

    state = serializers.ChoiceField(choices=["pending", "observed", "not_observed"])
    what = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)
    evidence = serializers.CharField()


class CommandOut(serializers.Serializer[Command]):
    """Something asked of a station: as it was asked, as it was sent, what was answered and what was seen."""

    id = serializers.UUIDField()
    station = serializers.CharField()
    parent = serializers.UUIDField(allow_null=True)  # type: ignore[assignment]
    command = serializers.CharField(allow_null=True)
    arguments = serializers.JSONField(allow_null=True)
    action = serializers.CharField(allow_null=True)
    payload = serializers.JSONField(allow_null=True)
    status = serializers.ChoiceField(choices=Command.Status.choices)
    response = serializers.JSONField(allow_null=True)
    error = CommandError(allow_null=True)
    effect = CommandEffect(allow_null=True)
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class CommandFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the commands."""

    station = django_filters.CharFilter("station__identity")
    status = django_filters.ChoiceFilter(choices=Command.Status.choices)
    command = django_filters.CharFilter()
    action = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter("requested_at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter("requested_at", lookup_expr="lt")


_WAIT = OpenApiParameter(
    "wait", float, description="Hold the answer until the command has ended, at most 60 seconds: 200 then, else 202."
)
_ASK_SCHEMA = {
    "application/json": {
        "oneOf": [
            {
                "type": "object",
                "title": word,
                "required": ["command"],
                "properties": {"command": {"type": "string", "enum": [word]}}
                | {name: {} for name in sorted(entry.takes)}
                | {"queue": {"type": "boolean"}, "ttl": {"type": "integer", "default": commands.QUEUE_SECONDS}},
            }
            for word, entry in commands.WORDS.items()
        ]
        + [
            {
                "type": "object",
                "title": "raw call",
                "required": ["action"],
                "properties": {
                    "action": {"type": "string"},
                    "payload": {"type": "object"},
                    "queue": {"type": "boolean"},
                    "ttl": {"type": "integer", "default": commands.QUEUE_SECONDS},
                },
            }
        ]
    }
}


class StationCommands(StationRows):
    """The commands of one station."""

    abilities = {"GET": Ability.SEE_STATIONS, "POST": Ability.COMMAND}
    serializer_class = CommandOut

    @extend_schema(responses=CommandOut(many=True))
    def get(self, request: Request, identity: str) -> Response:
        """List the commands of a station, the newest first."""
        rows = self.station(identity).commands.select_related("station", "parent")
        return self.page(rows, lambda found: _commands(self.actor, found))

    @extend_schema(request=_ASK_SCHEMA, responses={200: CommandOut, 202: CommandOut}, parameters=[_WAIT])
    def post(self, request: Request, identity: str) -> Response:
        """Ask a station for something, in the operator's words or as a raw call of its version of OCPP."""
        check_wait(request.query_params.get("wait"))
        station = self.station(identity)
        if station.retired_at is not None:
            raise Http404
        row = _ask(station, dict(request.data), by=self.actor)
        return Response(_commands(self.actor, [row])[0], status=202)

    def filter_queryset(self, queryset: Any) -> Any:
        """No filters but the station."""
        return queryset


class Commands(Endpoint):
    """All commands."""

    abilities = {"GET": Ability.SEE_STATIONS}
    queryset = Command.objects.select_related("station", "parent")
    filterset_class = CommandFilter
    serializer_class = CommandOut

    @extend_schema(responses=CommandOut(many=True))
    def get(self, request: Request) -> Response:
        """List commands, the newest first."""
        return self.page(self.get_queryset(), lambda rows: _commands(self.actor, rows))


class OneCommand(Endpoint):
    """One command."""

    abilities = {"GET": Ability.SEE_STATIONS}
    queryset = Command.objects.select_related("station", "parent")
    serializer_class = CommandOut

    def get(self, request: Request, id: str) -> Response:
        """Return a command."""
        return Response(_commands(self.actor, [self.get_object()])[0])


def check_wait(text: str | None) -> float:
    """Return the seconds of ``?wait=``, 0 without it. Raises ValidationError."""
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= MAX_WAIT_S:
        raise ValidationError({"wait": [_("Between 0 and 60 seconds.")]})
    return seconds


def _ask(station: Station, body: dict[str, Any], *, by: ApiKey) -> Command:
    """Store what a body asks for. Raises ValidationError by field."""
    queue, ttl = body.pop("queue", False), body.pop("ttl", commands.QUEUE_SECONDS)
    if not isinstance(queue, bool):
        raise ValidationError({"queue": [_("true or false.")]})
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 1 <= ttl <= MAX_TTL_S:
        raise ValidationError({"ttl": [_("Between 1 and %(most)s seconds.") % {"most": MAX_TTL_S}]})
    if ("command" in body) == ("action" in body):
        raise ValidationError({"command": [_("Either “command” or “action” is required.")]})
    now = timezone.now()
    if "command" in body:
        word = body.pop("command")
        if not isinstance(word, str):
            raise ValidationError({"command": [_("A word is required.")]})
        try:
            return commands.ask(station, word, body, by=by, now=now, queue=queue, ttl_s=ttl)
        except commands.BadCommand as no:
            raise ValidationError({no.field or "command": [no.text]}) from None
    action, payload = body.pop("action"), body.pop("payload", {})
    wrong: dict[str, list[str]] = {name: [_("Unknown field.")] for name in body}
    if not isinstance(action, str) or not 1 <= len(action) <= MAX_ACTION:
        wrong["action"] = [_("The name of a call is required.")]
    if not isinstance(payload, dict):
        wrong["payload"] = [_("An object is required.")]
    if wrong:
        raise ValidationError(wrong)
    return commands.ask_raw(station, action, payload, by=by, now=now, queue=queue, ttl_s=ttl)


def _commands(actor: ApiKey, rows: list[Command]) -> list[dict[str, Any]]:
    sees_people = may(actor, Ability.SEE_PEOPLE)

    def masked(action: str, value: Any) -> Any:
        if sees_people:
            return value  # secrets were taken out when the row was stored
        if isinstance(value, dict) and isinstance(value.get("token"), str):
            value = value | {"token": journal.token(value["token"], _pseudonym(actor))}
        return journal.masked(action, value, pseudonym=_pseudonym(actor))

    shapes = [
        {
            "id": row.uuid,
            "station": row.station.identity,
            "parent": row.parent.uuid if row.parent else None,
            "command": row.command or None,
            "arguments": masked("", commands.shown_arguments(row)) if row.command else None,
            "action": row.action or None,
            "payload": masked(row.action, row.payload),
            "status": row.status,
            "response": masked(row.action, row.response),
            "error": {"code": row.error_code, "description": row.error_text} if row.error_code else None,
            "effect": {
                "state": row.effect_state,
                "what": row.effect_what,
                "at": row.effect_at,
                "evidence": row.effect_evidence,
            }
            if row.effect_state
            else None,
            "requested_by": row.requested_by,
            "requested_at": row.requested_at,
            "expires_at": row.expires_at,
            "sent_at": row.sent_at,
            "finished_at": row.finished_at,
        }
        for row in rows
    ]
    return [dict(shape) for shape in CommandOut(shapes, many=True).data]  # type: ignore[arg-type]


def _pseudonym(actor: ApiKey) -> journal.Pseudonym:
    return lambda value: pseudonym(value, tenant=actor.operator_id)


# --- messages ----------------------------------------------------------------------------------------


class MessageOut(serializers.Serializer[Frame]):
    """One frame of the talk. Our answer to a call of the station stands beside it."""

    at = serializers.DateTimeField()
    direction = serializers.ChoiceField(choices=["in", "out"])
    kind = serializers.ChoiceField(choices=["call", "result", "error", "unreadable"])
    message_id = serializers.CharField()
    action = serializers.CharField()
    text = serializers.CharField()
    answer = serializers.CharField(allow_null=True)
    answer_ms = serializers.IntegerField(allow_null=True)
    note = serializers.CharField()


class MessageFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the log."""

    action = django_filters.CharFilter()
    direction = django_filters.ChoiceFilter(choices=[("in", "in"), ("out", "out")], method="by_direction")
    message_id = django_filters.CharFilter()
    since = django_filters.IsoDateTimeFilter("at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter("at", lookup_expr="lt")

    def by_direction(self, rows: QuerySet[Frame], _name: str, value: str) -> QuerySet[Frame]:
        """Keep what the station said (in), or what it was told (out)."""
        return rows.filter(direction=Frame.Direction.IN if value == "in" else Frame.Direction.OUT)


class StationMessages(StationRows):
    """The log of one station."""

    abilities = {"GET": Ability.SEE_STATIONS}
    filterset_class = MessageFilter
    serializer_class = MessageOut

    @extend_schema(responses=MessageOut(many=True))
    def get(self, request: Request, identity: str) -> Response:
        """List a station's messages, the newest first; secrets are removed, tokens are pseudonyms."""
        return self.page(Frame.objects.filter(station=self.station(identity)), message_shapes)


def message_shapes(rows: list[Frame]) -> list[dict[str, Any]]:
    """Return frames as the API writes them."""
    return [
        {
            "at": row.at,
            "direction": "in" if row.direction == Frame.Direction.IN else "out",
            "kind": KINDS.get(row.kind, "unreadable"),
            "message_id": row.message_id,
            "action": row.action,
            "text": row.text,
            "answer": row.answer or None,
            "answer_ms": row.answer_ms,
            "note": row.note,
        }
        for row in rows
    ]
