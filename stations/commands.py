"""What is asked of stations: one row from the click to what was seen of it.

``ask`` → queued → sent → accepted | rejected | error | timed_out; refused and expired were never sent.
A status never goes back. One call is in flight per station; the answer is a frame of its own, nobody
waits for it inside a handler.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.errors import Refused
from accounts.models import ApiKey, Membership, User
from stations import messages as m
from stations.hints import gateway_group, hints, operator_group
from stations.models import Command, Setting, Station, is_online
from stations.ocpp.batch import Batch, StationRef
from stations.ocpp.versions import ADAPTERS

QUEUE_SECONDS = 900
EFFECT_SECONDS = {"start": 120, "reset": 600}
EFFECT_SECONDS_OTHERWISE = 60
REMOTE_START_IDS = 2**31 - 1


class BadCommand(Refused):
    """The word is unknown or an argument is missing or wrong."""

    code = "bad_command"


@dataclasses.dataclass(frozen=True)
class Word:
    """An operator's word: how its arguments become what is asked, and what should be seen afterwards."""

    parse: Callable[[Station, Mapping[str, Any]], m.Ask]
    effect: Callable[[m.Ask], str] = lambda ask: ""


def ask(
    station: Station,
    command: str,
    arguments: Mapping[str, Any],
    *,
    by: User | Membership | ApiKey,
    now: dt.datetime,
    queue: bool = False,
    ttl_s: int = QUEUE_SECONDS,
) -> Command:
    """Ask a station for something and return the command's row.

    A station that is not here gives a row that is refused (``offline``) unless ``queue``; it then waits
    ``ttl_s`` seconds. Raises `BadCommand` where word or arguments are wrong; nothing is stored then.
    """
    word = WORDS.get(command)
    if word is None:
        raise BadCommand(_("Unknown command “%(word)s”.") % {"word": command}, field="command")
    wanted = word.parse(station, arguments)
    return _store(station, command, arguments, wanted, by=by, now=now, queue=queue, ttl_s=ttl_s)


def ask_raw(
    station: Station,
    action: str,
    payload: Mapping[str, Any],
    *,
    by: User | Membership | ApiKey,
    now: dt.datetime,
    queue: bool = False,
    ttl_s: int = QUEUE_SECONDS,
) -> Command:
    """Send any call of the version the station speaks; its schema is checked when it is sent."""
    wanted = m.RawCall(action, payload)
    return _store(station, "", {}, wanted, by=by, now=now, queue=queue, ttl_s=ttl_s)


def _store(
    station: Station,
    command: str,
    arguments: Mapping[str, Any],
    wanted: m.Ask,
    *,
    by: User | Membership | ApiKey,
    now: dt.datetime,
    queue: bool,
    ttl_s: int,
) -> Command:
    here = Station.objects.filter(is_online(now), pk=station.pk).values_list("protocol", "gateway").first()
    row = Command(
        station=station,
        command=command,
        arguments=dict(arguments),
        requested_by=by.name if isinstance(by, ApiKey) else str(by.user if isinstance(by, Membership) else by),
        user=by.user if isinstance(by, Membership) else by if isinstance(by, User) else None,
        requested_at=now,
        expires_at=now + dt.timedelta(seconds=ttl_s if queue else settings.COMMAND_TIMEOUT_SECONDS),
    )
    if isinstance(wanted, m.RawCall):
        row.action, row.payload = wanted.action, dict(wanted.payload)
    if here is None and not queue:
        _refuse(row, "offline", _("The station is not connected."), now)
    elif here is not None:
        try:
            row.action, row.payload = ADAPTERS[f"ocpp{here[0]}"].encode_ask(wanted)
        except m.NotExpressible as error:
            _refuse(row, "not_expressible", str(error), now)
    with transaction.atomic():
        row.save()
        if isinstance(wanted, m.StartCharging):
            row.remote_start_id = row.pk % REMOTE_START_IDS
            row.save(update_fields=["remote_start_id"])
        audit.record(
            by, f"command.{command or 'raw'}", station, command=str(row.uuid), arguments=dict(arguments), status=row.status
        )
        if row.status == Command.Status.QUEUED and here is not None:
            gateway, station_id = here[1], station.pk
            transaction.on_commit(lambda: wake(gateway, station_id))
        _tell_after_commit(station.operator_id, station.identity)
    return row


def wake(gateway: str, station_id: int) -> None:
    """Tell the gateway that holds a station to look for its commands; a lost wake is found at connect or by the sweep."""
    hints.send(gateway_group(gateway), {"type": "wake", "station": station_id})


def _refuse(row: Command, code: str, text: str, now: dt.datetime) -> None:
    row.status, row.error_code, row.error_text, row.finished_at = Command.Status.REFUSED, code, text, now


def _tell_after_commit(operator_id: int, identity: str) -> None:
    group = operator_group(operator_id)
    transaction.on_commit(lambda: hints.stale(group, [f"station:{identity}", f"commands:{identity}"]))


# --- handlers: what the gateway reports about the line --------------------------------------------------


def claim(station: StationRef, message: m.CommandWanted, *, at: dt.datetime, tx: Batch) -> m.Claimed | None:
    """Mark the oldest queued command of a station as sent and return it; None where nothing waits."""
    tx.hint(operator_group(station.operator_id), f"commands:{station.identity}")
    while True:
        row = Command.objects.filter(station_id=station.id, status=Command.Status.QUEUED).order_by("id").first()
        if row is None:
            return None
        if row.expires_at is not None and row.expires_at <= at:
            _finish(row, Command.Status.EXPIRED, at)
            continue
        try:
            wanted = _wanted(row)
            action, payload = ADAPTERS[f"ocpp{station.version}"].encode_ask(wanted)
        except (m.NotExpressible, Refused) as error:
            row.error_code, row.error_text = "not_expressible", str(error)
            _finish(row, Command.Status.REFUSED, at)
            continue
        row.status, row.sent_at = Command.Status.SENT, at
        row.action, row.payload, row.message_id = action, payload, message.message_id
        row.save(update_fields=["status", "sent_at", "action", "payload", "message_id"])
        return m.Claimed(row.pk, message.message_id, action, payload, wanted, settings.COMMAND_TIMEOUT_SECONDS)


def _wanted(row: Command) -> m.Ask:
    if not row.command:
        return m.RawCall(row.action, row.payload or {})
    wanted = WORDS[row.command].parse(row.station, row.arguments)
    if isinstance(wanted, m.StartCharging):
        wanted = dataclasses.replace(wanted, remote_start_id=row.remote_start_id or 0)
    return wanted


def finish(station: StationRef, message: m.CommandAnswered, *, at: dt.datetime, tx: Batch) -> None:
    """Store how a command ended. A late answer is kept beside the status, which stays."""
    row = Command.objects.filter(pk=message.command_id, station_id=station.id).first()
    if row is None:
        return
    response = None if message.response is None else dict(message.response)
    tx.hint(operator_group(station.operator_id), f"commands:{station.identity}")
    if row.is_final:
        if message.late and response is not None:
            row.response = {"late": True, "at": at.isoformat(), "result": response}
            row.save(update_fields=["response"])
        return
    row.response = response
    if message.timed_out:
        row.error_code, row.error_text = message.error_code or "timed_out", message.error_text
        _finish(row, Command.Status.TIMED_OUT, at)
    elif message.outcome is None:
        row.error_code, row.error_text = message.error_code, message.error_text
        _finish(row, Command.Status.ERROR, at)
    else:
        row.word = message.outcome.word[:60]
        if message.outcome.status == "accepted":
            _expect_effect(row, at)
            _store_settings(station.id, message.outcome.settings, at)
            _finish(row, Command.Status.ACCEPTED, at)
        else:
            _finish(row, Command.Status.REJECTED, at)


def _expect_effect(row: Command, at: dt.datetime) -> None:
    word = WORDS.get(row.command)
    what = word.effect(_wanted(row)) if word is not None else ""
    if what:
        seconds = EFFECT_SECONDS.get(row.command, EFFECT_SECONDS_OTHERWISE)
        row.effect_state, row.effect_what = Command.Effect.PENDING, what
        row.effect_deadline = at + dt.timedelta(seconds=seconds)


def _finish(row: Command, status: Command.Status, at: dt.datetime) -> None:
    row.status, row.finished_at = status, at
    row.save()


def _store_settings(station_id: int, settings_read: tuple[m.Setting, ...], at: dt.datetime) -> None:
    Setting.objects.bulk_create(
        [
            Setting(
                station_id=station_id,
                component=one.component[:120],
                key=one.key[:120],
                value=one.value,
                readonly=one.readonly,
                reported_at=at,
            )
            for one in settings_read
        ],
        update_conflicts=True,
        unique_fields=["station", "component", "key"],
        update_fields=["value", "readonly", "reported_at"],
    )


def line_lost(station_id: int, *, at: dt.datetime) -> None:
    """End what was sent over a socket that is gone: nobody will answer it (the status says so)."""
    Command.objects.filter(station_id=station_id, status=Command.Status.SENT).update(
        status=Command.Status.TIMED_OUT,
        error_code="connection_lost",
        error_text="The connection was lost before the answer.",
        finished_at=at,
    )


def observe(station_id: int, what: str, *, evidence: str, at: dt.datetime) -> None:
    """Mark the effect of an accepted command as seen."""
    Command.objects.filter(station_id=station_id, effect_state=Command.Effect.PENDING, effect_what=what).update(
        effect_state=Command.Effect.OBSERVED, effect_at=at, effect_evidence=evidence[:200]
    )


def sweep(now: dt.datetime) -> int:
    """End what time has ended: expired, forgotten, effect never seen. Returns how many rows changed."""
    forgotten = now - dt.timedelta(seconds=settings.COMMAND_TIMEOUT_SECONDS + 30)
    with transaction.atomic():
        expired = Command.objects.filter(status=Command.Status.QUEUED, expires_at__lte=now).update(
            status=Command.Status.EXPIRED, finished_at=now
        )
        lost = Command.objects.filter(status=Command.Status.SENT, sent_at__lte=forgotten).update(
            status=Command.Status.TIMED_OUT, error_code="timed_out", finished_at=now
        )
        unseen = Command.objects.filter(effect_state=Command.Effect.PENDING, effect_deadline__lte=now).update(
            effect_state=Command.Effect.NOT_OBSERVED, effect_at=now
        )
    return expired + lost + unseen


# --- the words -----------------------------------------------------------------------------------------


def _number(arguments: Mapping[str, Any], name: str, *, least: int = 0) -> int | None:
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise BadCommand(_("“%(name)s” must be a whole number.") % {"name": name}, field=name)
    return value


def _text(arguments: Mapping[str, Any], name: str, *, limit: int = 2500) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value or len(value) > limit:
        raise BadCommand(_("“%(name)s” is required.") % {"name": name}, field=name)
    return value


def _place(arguments: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return (evse, connector): ``connector`` alone is the 1.6 connectorId or the 2.x EVSE of that number."""
    evse, connector = _number(arguments, "evse"), _number(arguments, "connector")
    if evse is None and connector is not None:
        return connector, None
    return evse, connector


def _start(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    from accounts.models import IdToken

    evse, connector = _place(arguments)
    value = _text(arguments, "token", limit=255)
    known = IdToken.objects.filter(operator_id=station.operator_id, value__iexact=value).values_list("type", flat=True)
    kind = m.TokenType(known[0]) if known else m.TokenType.CENTRAL
    return m.StartCharging(m.Token(value, kind), evse=evse or None, connector=connector)


def _stop(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    reference = arguments.get("transaction_id")
    if reference is None and arguments.get("session") is not None:
        open_session = station.sessions.filter(uuid=_uuid(arguments, "session")).first()  # type: ignore[attr-defined]
        if open_session is None:
            raise BadCommand(_("This station has no such session."), field="session")
        reference = open_session.transaction_ref
    if reference is None or isinstance(reference, (dict, list, bool)):
        raise BadCommand(_("“session” or “transaction_id” is required."), field="session")
    return m.StopCharging(str(reference))


def _uuid(arguments: Mapping[str, Any], name: str) -> Any:
    import uuid

    try:
        return uuid.UUID(str(arguments[name]))
    except ValueError:
        raise BadCommand(_("“%(name)s” is no id.") % {"name": name}, field=name) from None


def _reset(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    kind = arguments.get("kind", "soft")
    if kind == "soft":
        return m.Reset("soft")
    if kind == "hard":
        return m.Reset("hard")
    raise BadCommand(_("“kind” is soft or hard."), field="kind")


def _unlock(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    evse, connector = _place(arguments)
    if not evse:
        raise BadCommand(_("“%(name)s” is required.") % {"name": "connector"}, field="connector")
    return m.Unlock(evse, connector or 1)


def _availability(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    operative = arguments.get("operative")
    if not isinstance(operative, bool):
        raise BadCommand(_("“operative” is true or false."), field="operative")
    evse, connector = _place(arguments)
    return m.ChangeAvailability(operative, evse=evse or None, connector=connector)


def _trigger(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    evse, connector = _place(arguments)
    return m.Trigger(_text(arguments, "message", limit=50), evse=evse or None, connector=connector)


def _get_configuration(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    keys = arguments.get("keys") or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BadCommand(_("“keys” is a list of names."), field="keys")
    return m.GetConfiguration(tuple(keys))


def _set_configuration(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    component = arguments.get("component") or ""
    if not isinstance(component, str):
        raise BadCommand(_("“component” is a name."), field="component")
    value = arguments.get("value")
    if not isinstance(value, str):
        raise BadCommand(_("“value” is a text."), field="value")
    return m.SetConfiguration(_text(arguments, "key", limit=120), value, component)


def _clear_cache(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    return m.ClearCache()


def _effect_of_start(wanted: m.Ask) -> str:
    return "session_started"


def _effect_of_stop(wanted: m.Ask) -> str:
    assert isinstance(wanted, m.StopCharging)
    return f"ended:{wanted.transaction_ref}"[:60]


def _effect_of_availability(wanted: m.Ask) -> str:
    assert isinstance(wanted, m.ChangeAvailability)
    return f"status:{wanted.evse}" if wanted.evse else ""


WORDS: dict[str, Word] = {
    "start": Word(_start, _effect_of_start),
    "stop": Word(_stop, _effect_of_stop),
    "reset": Word(_reset, lambda wanted: "booted"),
    "unlock": Word(_unlock),
    "change_availability": Word(_availability, _effect_of_availability),
    "trigger": Word(_trigger),
    "get_configuration": Word(_get_configuration),
    "set_configuration": Word(_set_configuration),
    "clear_cache": Word(_clear_cache),
}
