"""What is asked of stations: one row from the click to what was seen of it.

``ask`` → queued → sent → accepted | rejected | error | timed_out; refused and expired were never sent.
A status never goes back. One call is in flight per station; the answer is a frame of its own, nobody
waits for it inside a handler. A secret that is sent (a password, a key) lies sealed in the row until the
row is final; what is shown, logged and answered never holds it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit, tokens
from accounts.errors import Refused
from accounts.keys import seal, unseal
from accounts.models import ApiKey, IdToken, Membership, User
from stations import messages as m
from stations.hints import gateway_group, hints, operator_group
from stations.models import Command, Setting, Station, is_online
from stations.ocpp import journal
from stations.ocpp.batch import Batch, StationRef
from stations.ocpp.frame import plain
from stations.ocpp.versions import ADAPTERS

QUEUE_SECONDS = 900
EFFECT_SECONDS = {"start": 120, "reset": 600}
EFFECT_SECONDS_OTHERWISE = 60
REMOTE_START_IDS = 2**31 - 1
EFFECTS = "effects awaited"
SEALED = "sealed"  # member of `Command.arguments` while the row waits: arguments and payload with their secrets
PURPOSE = "command"
SLICE = 100


class BadCommand(Refused):
    """The word is unknown or an argument is missing or wrong."""

    code = "bad_command"


@dataclasses.dataclass(frozen=True)
class Word:
    """An operator's word: how its arguments become what is asked, and what should be seen afterwards.

    ``takes`` names the arguments it knows.
    """

    parse: Callable[[Station, Mapping[str, Any]], m.Ask]
    takes: frozenset[str] = frozenset()
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
    for name in arguments:
        if name not in word.takes:
            raise BadCommand(_("“%(word)s” has no “%(name)s”.") % {"word": command, "name": name}, field=name)
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
    wanted = m.RawCall(action, plain(payload))
    return _store(station, "", {}, wanted, by=by, now=now, queue=queue, ttl_s=ttl_s)


def ask_again(row: Command, *, by: User | Membership | ApiKey, now: dt.datetime) -> Command:
    """Ask the same once more. Raises `BadCommand` where a secret was part of it: none was kept."""
    given = shown_arguments(row)
    if journal.HIDDEN in json.dumps([given, row.payload]):
        raise BadCommand(_("Its secret was not kept. Ask for it anew."))
    if row.command:
        return ask(row.station, row.command, given, by=by, now=now)
    return ask_raw(row.station, row.action, row.payload or {}, by=by, now=now)


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
    _hide_secrets(row, plain(dict(arguments)))
    with transaction.atomic():
        row.save()
        if isinstance(wanted, m.StartCharging):
            row.remote_start_id = row.pk % REMOTE_START_IDS
            row.save(update_fields=["remote_start_id"])
        asked = {"arguments": shown_arguments(row)} if command else {"action": row.action, "payload": row.payload}
        audit.record(by, f"command.{command or 'raw'}", station, command=str(row.uuid), status=row.status, **asked)
        if row.status == Command.Status.QUEUED and here is not None:
            gateway, station_id = here[1], station.pk
            transaction.on_commit(lambda: wake(gateway, station_id))
        _tell_after_commit(station.operator_id, station.identity)
    return row


def _hide_secrets(row: Command, arguments: dict[str, Any]) -> None:
    """Set arguments and payload as they may be shown; the whole is sealed beside them until it was sent."""
    payload = row.payload
    row.arguments = journal.masked("", arguments, pseudonym=None)
    row.payload = journal.masked(row.action, payload, pseudonym=None)
    if not row.is_final and (row.arguments is not arguments or row.payload is not payload):
        whole = json.dumps({"arguments": arguments, "payload": payload})
        row.arguments = {**row.arguments, SEALED: seal(whole, purpose=PURPOSE)}


def shown_arguments(row: Command) -> dict[str, Any]:
    """Return what was asked as it may be shown."""
    return {name: value for name, value in row.arguments.items() if name != SEALED}


def wake(gateway: str, station_id: int) -> None:
    """Tell the gateway that holds a station to look for its commands; a lost wake is found by the sweep."""
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
        except (KeyError, InvalidTag):  # the key it was sealed with is gone
            row.error_code, row.error_text = "unreadable", "What was asked cannot be read any more; ask again."
            _finish(row, Command.Status.REFUSED, at)
            continue
        row.status, row.sent_at = Command.Status.SENT, at
        row.action, row.message_id = action, message.message_id
        row.payload = journal.masked(action, payload, pseudonym=None)
        row.save(update_fields=["status", "sent_at", "action", "payload", "message_id"])
        return m.Claimed(row.pk, message.message_id, action, payload, wanted, settings.COMMAND_TIMEOUT_SECONDS)


def _wanted(row: Command) -> m.Ask:
    arguments, payload = row.arguments, row.payload
    if SEALED in arguments:
        whole = json.loads(unseal(arguments[SEALED], purpose=PURPOSE))
        arguments, payload = whole["arguments"], whole["payload"]
    if not row.command:
        return m.RawCall(row.action, payload or {})
    wanted = WORDS[row.command].parse(row.station, arguments)
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
            wanted = _wanted(row)
            _take_over(station.id, wanted, at)
            store_settings(station.id, message.outcome.settings, at)
            if not message.outcome.settings:
                _expect_effect(row, wanted, at)
            if row.effect_state:
                tx.remember(station.id, EFFECTS, True)
            _finish(row, Command.Status.ACCEPTED, at)
        else:
            _finish(row, Command.Status.REJECTED, at)


def _expect_effect(row: Command, wanted: m.Ask, at: dt.datetime) -> None:
    word = WORDS.get(row.command)
    what = word.effect(wanted) if word is not None else ""
    if what:
        seconds = EFFECT_SECONDS.get(row.command, EFFECT_SECONDS_OTHERWISE)
        row.effect_state, row.effect_what = Command.Effect.PENDING, what
        row.effect_deadline = at + dt.timedelta(seconds=seconds)


def _finish(row: Command, status: Command.Status, at: dt.datetime) -> None:
    row.status, row.finished_at, row.arguments = status, at, shown_arguments(row)
    row.save()


def store_settings(station_id: int, found: Iterable[m.Setting], at: dt.datetime) -> int:
    """Keep configuration values as a station reported them, secrets left out; return how many."""
    rows = {
        (one.component[:120], one.key[:120]): Setting(
            station_id=station_id,
            component=one.component[:120],
            key=one.key[:120],
            value=_shown_value(one.key, one.value),
            readonly=one.readonly,
            reported_at=at,
        )
        for one in found
    }
    Setting.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["station", "component", "key"],
        update_fields=["value", "readonly", "reported_at"],
    )
    return len(rows)


def _take_over(station_id: int, wanted: m.Ask, at: dt.datetime) -> None:
    """Keep the value a station has just accepted, where it had reported the setting before."""
    if isinstance(wanted, m.SetConfiguration):
        rows = Setting.objects.filter(station_id=station_id, component=wanted.component, key=wanted.key)
        rows.update(value=_shown_value(wanted.key, wanted.value), reported_at=at)


def _shown_value(key: str, value: str | None) -> str | None:
    shown: str | None = journal.masked("", {"key": key, "value": value}, pseudonym=None)["value"]
    return shown


def line_lost(station_id: int, *, at: dt.datetime) -> None:
    """End what was sent over a socket that is gone: nobody will answer it (the status says so)."""
    for row in Command.objects.filter(station_id=station_id, status=Command.Status.SENT):
        row.error_code, row.error_text = "connection_lost", "The connection was lost before the answer."
        _finish(row, Command.Status.TIMED_OUT, at)


def call_off(station_id: int, *, at: dt.datetime) -> None:
    """End every open command of a station that was taken out of use."""
    open_rows = Command.objects.filter(station_id=station_id, status__in=[Command.Status.QUEUED, Command.Status.SENT])
    for row in open_rows:
        was_sent = row.status == Command.Status.SENT
        row.error_code, row.error_text = "retired", "The station was taken out of use."
        _finish(row, Command.Status.TIMED_OUT if was_sent else Command.Status.REFUSED, at)


def observe(
    station: StationRef, what: str, *, evidence: str, at: dt.datetime, tx: Batch, remote_start_id: int | None = None
) -> None:
    """Mark the effect of an accepted command as seen. Costs nothing while no command waits for one."""
    if tx.recall(station.id, EFFECTS) is None:
        waits = Command.objects.filter(station_id=station.id, effect_state=Command.Effect.PENDING).exists()
        tx.remember(station.id, EFFECTS, waits)
    if not tx.recall(station.id, EFFECTS):
        return
    rows = Command.objects.filter(station_id=station.id, effect_state=Command.Effect.PENDING, effect_what=what)
    if remote_start_id is not None:
        rows = rows.filter(remote_start_id=remote_start_id)
    rows.update(effect_state=Command.Effect.OBSERVED, effect_at=at, effect_evidence=evidence[:200])


def sweep(now: dt.datetime) -> int:
    """End what time has ended: expired, forgotten, effect never seen. Returns how many rows changed."""
    forgotten = now - dt.timedelta(seconds=settings.COMMAND_TIMEOUT_SECONDS + 30)
    with transaction.atomic():
        open_rows = Command.objects.select_for_update(of=("self",), skip_locked=True)
        expired = list(open_rows.filter(status=Command.Status.QUEUED, expires_at__lte=now)[:SLICE])
        for row in expired:
            _finish(row, Command.Status.EXPIRED, now)
        lost = list(open_rows.filter(status=Command.Status.SENT, sent_at__lte=forgotten)[:SLICE])
        for row in lost:
            row.error_code = "timed_out"
            _finish(row, Command.Status.TIMED_OUT, now)
        unseen = Command.objects.filter(effect_state=Command.Effect.PENDING, effect_deadline__lte=now).update(
            effect_state=Command.Effect.NOT_OBSERVED, effect_at=now
        )
    return len(expired) + len(lost) + unseen


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
    evse, connector = _place(arguments)
    value = _text(arguments, "token", limit=255)
    known = tokens.find_token(station.operator_id, value)
    if known is not None and known.type == IdToken.Type.PIN:
        raise BadCommand(_("A PIN is typed at the charger; name a card or an app token."), field="token")
    kind = m.TokenType(known.type) if known is not None else m.TokenType.CENTRAL
    return m.StartCharging(m.Token(value, kind), evse=evse or None, connector=connector)


def _stop(station: Station, arguments: Mapping[str, Any]) -> m.Ask:
    reference = arguments.get("transaction_id")
    if reference is None and arguments.get("session") is not None:
        open_session = station.sessions.filter(uuid=_uuid(arguments, "session")).first()
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


def _effect_of_reading(wanted: m.Ask) -> str:
    # 2.x answers a request for everything with a report of its own (B07); 1.6 with the values themselves.
    assert isinstance(wanted, m.GetConfiguration)
    return "" if wanted.keys else "settings"


_PLACE = frozenset({"evse", "connector"})

WORDS: dict[str, Word] = {
    "start": Word(_start, _PLACE | {"token"}, _effect_of_start),
    "stop": Word(_stop, frozenset({"session", "transaction_id"}), _effect_of_stop),
    "reset": Word(_reset, frozenset({"kind"}), lambda wanted: "booted"),
    "unlock": Word(_unlock, _PLACE),
    "change_availability": Word(_availability, _PLACE | {"operative"}, _effect_of_availability),
    "trigger": Word(_trigger, _PLACE | {"message"}),
    "get_configuration": Word(_get_configuration, frozenset({"keys"}), _effect_of_reading),
    "set_configuration": Word(_set_configuration, frozenset({"key", "value", "component"})),
    "clear_cache": Word(_clear_cache),
}
