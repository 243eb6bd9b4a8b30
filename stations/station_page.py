"""What the page of a station shows and offers: connectors, facts, buttons with their effect in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db.models import Sum
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Membership
from accounts.roles import Ability, may
from stations import display, figures, overview, wording
from stations.forms import FORMS, CommandForm
from stations.messages import ConnectorState
from stations.models import Command, Station
from stations.overview import Plug, Row, Running
from stations.states import OFFLINE

Action = dict[str, Any]

# What may be asked of many stations at once: name → (word, arguments).
BULK: dict[str, tuple[str, dict[str, Any]]] = {
    "status": ("trigger", {"message": "StatusNotification"}),
    "reset": ("reset", {"kind": "soft"}),
    "in": ("change_availability", {"operative": True}),
    "out": ("change_availability", {"operative": False}),
}


def optional_url(name: str, *args: Any) -> str:
    """Return the address of a page of another part, empty where this installation has none."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def one(actor: Membership, station: Station, now: dt.datetime) -> Row:
    """Return a station (annotated by `overview.here`) with what it does now (two queries)."""
    active = overview.running(actor, now, [station.pk])
    return overview.rows_of([station], active, now)[0]


def panel(row: Row, actor: Membership, now: dt.datetime) -> dict[str, Any]:
    """Return all that is shown of an open station."""
    station = row.station
    zone = timezone.get_current_timezone_name()
    return {
        "key": str(station.uuid),
        "name": str(station),
        "identity": station.identity,
        "url": reverse("console:station", args=[station.uuid]),
        "about": wording.about(station),
        "state": row.state,
        "actions": actions(row, actor),
        "tiles_url": reverse("console:station_tiles", args=[station.uuid]),
        "tiles": tiles(row, actor, now),
        "series_url": reverse("console:station_series", args=[station.uuid]),
        "chart_title": _("Power, last 60 minutes"),
        "zone": zone,
        "facts": facts(row, actor, now),
        "notices": notices(row),
    }


# --- connectors ----------------------------------------------------------------------------------------


def tiles(row: Row, actor: Membership, now: dt.datetime) -> list[dict[str, Any]]:
    """Return the connectors, each with the session that runs there and what can be done about it."""
    waiting = {session.connector_id or session.uuid: session for session in row.running}
    by_evse = {session.evse: session for session in row.running if session.connector_id is None}
    several = {plug.evse for plug in row.plugs if sum(other.evse == plug.evse for other in row.plugs) > 1}
    shown = []
    for plug in row.plugs:
        session = waiting.pop(plug.id, None)
        if session is None and plug.evse in by_evse:
            session = waiting.pop(by_evse.pop(plug.evse).uuid, None)
        shown.append(_tile(row, plug, session, actor, now, several=plug.evse in several))
    return shown + [_stray(row, session, actor, now) for session in waiting.values()]


def slot_of(station: Station, plug: Plug) -> str:
    """Return the prefix of a connector's live slots."""
    return f"tile:{station.uuid}:{plug.evse}.{plug.number}"


def plug_name(plug: Plug, *, several: bool = False) -> str:
    """Return how a connector is called: number and type."""
    number = f"{plug.evse}-{plug.number}" if several else str(plug.evse)
    kind = wording.connector_type(plug.type)
    return f"{number}. {kind}" if kind else _("Connector %(number)s") % {"number": number}


def progress(session: Running, now: dt.datetime) -> str:
    """Return energy and time of a running session."""
    return f"{display.energy(session.energy_wh)}, {display.clock((now - session.started_at).total_seconds())}"


def _tile(
    row: Row, plug: Plug, session: Running | None, actor: Membership, now: dt.datetime, *, several: bool
) -> dict[str, Any]:
    slot = slot_of(row.station, plug)
    tile: dict[str, Any] = {
        "state": plug.state,
        "name": plug_name(plug, several=several),
        "slot_key": slot,
        "power_w": None,
        "words": "",
        "facts": [],
        "actions": [],
        "selected": session is not None and not row.state,
    }
    if session is not None:
        tile["power_w"] = None if row.state == OFFLINE else session.power_w
        tile["facts"] = _session_facts(session, actor, now, slot)
        tile["actions"] = _session_actions(row, session, actor)
        return tile
    if plug.state == ConnectorState.PREPARING:
        tile["words"] = _("Waiting for card")
    elif plug.state == ConnectorState.FAULTED:
        tile["words"] = wording.error(plug.error_code)
        if plug.info:
            tile["facts"].append({"label": _("It says"), "value": plug.info})
    if plug.since is not None:
        tile["facts"].append({"label": _("Since"), "value": display.span((now - plug.since).total_seconds())})
    return tile


def _stray(row: Row, session: Running, actor: Membership, now: dt.datetime) -> dict[str, Any]:
    slot = f"tile:{row.station.uuid}:{session.uuid}"
    return {
        "state": row.state or ConnectorState.CHARGING,
        "name": _("Unknown connector"),
        "power_w": session.power_w,
        "slot_key": slot,
        "facts": _session_facts(session, actor, now, slot),
        "actions": _session_actions(row, session, actor),
    }


def _session_facts(session: Running, actor: Membership, now: dt.datetime, slot: str) -> list[dict[str, Any]]:
    found = [
        {"label": _("Driver"), "value": _who(session, actor), "url": optional_url("console:session", session.uuid)},
        {"label": _("Energy, time"), "value": progress(session, now), "slot": f"{slot}:progress"},
    ]
    cost = optional_url("billing_fragments:session_cost", session.uuid)
    if cost and may(actor, Ability.SEE_MONEY):
        found.append({"label": _("Cost so far"), "fetch": cost})
    return found


def _who(session: Running, actor: Membership) -> str:
    if session.driver and may(actor, Ability.SEE_PEOPLE):
        return session.driver
    return _("Card ending %(end)s") % {"end": session.token[-4:]} if session.token else _("Unknown")


def _session_actions(row: Row, session: Running, actor: Membership) -> list[Action]:
    if not may(actor, Ability.COMMAND):
        return []
    effect = _("The session of %(who)s ends after %(energy)s. What was drawn so far is billed.") % {
        "who": _who(session, actor),
        "energy": display.energy(session.energy_wh),
    }
    return [
        _action(row, "stop", _("Stop"), "square", hidden={"session": str(session.uuid)})
        | {"confirm": {"effect": effect, "title": _("Stop this session?")}}
    ]


# --- buttons -------------------------------------------------------------------------------------------


def actions(row: Row, actor: Membership) -> list[Action]:
    """Return the buttons of a station."""
    station = row.station
    log = {"label": _("OCPP log"), "icon": "scroll-text", "href": reverse("console:station_log", args=[station.uuid])}
    if not may(actor, Ability.COMMAND):
        return [log]
    offered = [
        _action(row, "start", _("Start"), "play", form=True),
        _action(row, "unlock", _("Unlock"), "lock-open", form=True),
        log,
        _action(row, "reset", _("Reset"), "power", form=True) | {"confirm": {"effect": _reset_effect(row)}},
    ]
    offered[-1]["tone"] = "danger"
    if station.registration == Station.Registration.PENDING and may(actor, Ability.EDIT_STATIONS):
        offered[:0] = _admission(station)
    return offered


def form_of(row: Row, word: str, *args: Any, **options: Any) -> CommandForm:
    """Return the form of a command for this station."""
    places = [(plug.evse, plug_name(plug)) for plug in row.plugs]
    return FORMS[word](*args, places=list(dict(places).items()), **options)


def bulk_actions() -> list[Action]:
    """Return the buttons above a list of stations."""
    return [
        {"name": "status", "label": _("Ask for status"), "icon": "refresh-cw"},
        {
            "name": "reset",
            "label": _("Reset"),
            "icon": "rotate-ccw",
            "confirm": _("The chargers start up again as soon as their sessions have ended. Some end them at once."),
        },
        {"name": "in", "label": _("Put into service"), "icon": "circle-check"},
        {
            "name": "out",
            "label": _("Take out of service"),
            "icon": "ban",
            "tone": "danger",
            "confirm": _("Nobody can start charging there until they are put back. Sessions that run go on."),
        },
    ]


def _action(
    row: Row, word: str, label: str, icon: str, *, form: bool = False, hidden: dict[str, str] | None = None
) -> Action:
    action: Action = {
        "label": label,
        "icon": icon,
        "url": reverse("console:command_new", args=[row.station.uuid]),
        "hidden": {"command": word, **(hidden or {})},
    }
    if row.state in overview.ABSENT:
        action["disabled"] = _("The charger is not connected.")
    elif form:
        action["form"] = form_of(row, word, auto_id=f"{word}-%s")
    return action


def _reset_effect(row: Row) -> str:
    connectors, sessions = len(row.plugs), len(row.running)
    away = ngettext(
        "%(count)s connector is away until the charger has started up again.",
        "%(count)s connectors are away until the charger has started up again.",
        connectors,
    ) % {"count": connectors}
    if not sessions:
        return away
    ends = ngettext(
        "%(count)s session ends and is billed for what was drawn so far.",
        "%(count)s sessions end and are billed for what was drawn so far.",
        sessions,
    ) % {"count": sessions}
    return f"{ends} {away}"


def _admission(station: Station) -> list[Action]:
    url = reverse("console:station_registration", args=[station.uuid])
    return [
        {
            "label": _("Let it in"),
            "icon": "check",
            "tone": "primary",
            "url": url,
            "hidden": {"registration": "accepted"},
        },
        {"label": _("Keep it out"), "icon": "x", "url": url, "hidden": {"registration": "rejected"}},
    ]


# --- facts ---------------------------------------------------------------------------------------------


def facts(row: Row, actor: Membership, now: dt.datetime) -> list[dict[str, Any]]:
    """Return what is known of a station, in words (one query, two where availability was not asked lately)."""
    station = row.station
    times = (figures.uptimes(actor, now) or {}).get(station.pk)
    uptime = figures.availability([times]) if times else None
    since = now - dt.timedelta(days=figures.AVAILABILITY_DAYS)
    energy = overview.sessions_of(actor).filter(station=station, started_at__gte=since).aggregate(n=Sum("energy_wh"))
    found = [
        (_("Connected"), _since(station.connected_at, now) if row.state not in overview.ABSENT else ""),
        (_("Offline"), _since(station.disconnected_at or station.last_seen_at, now) if row.state == OFFLINE else ""),
        (_("Last message"), display.ago(station.last_seen_at, now=now) if station.last_seen_at else ""),
        (_("Firmware"), station.firmware),
        (_("Serial number"), station.serial_number),
        (_("Rated power"), str(display.power(row.limit_w)) if row.limit_w else ""),
        (_("Availability, 30 d"), display.percent(uptime) if uptime is not None else ""),
        (_("Energy, 30 d"), str(display.energy(energy["n"] or Decimal(0)))),
        (_("Label"), station.label),
    ]
    slots = {_("Last message"): f"station:{station.uuid}:ago"}
    return [{"label": label, "value": value, "slot": slots.get(label, "")} for label, value in found if value]


def notices(row: Row) -> list[dict[str, str]]:
    """Return what must be seen about a station."""
    waiting = row.station.commands.filter(status=Command.Status.QUEUED).count() if row.state else 0
    if not waiting:
        return []
    text = ngettext("%(count)s command waits for it.", "%(count)s commands wait for it.", waiting) % {"count": waiting}
    url = reverse("console:station_commands", args=[row.station.uuid])
    return [{"tone": "waiting", "icon": "hourglass", "text": text, "url": url}]


def _since(at: dt.datetime | None, now: dt.datetime) -> str:
    return display.span((now - at).total_seconds()) if at else ""


# --- tabs ----------------------------------------------------------------------------------------------


def tabs(station: Station, active: str, actor: Membership) -> list[dict[str, Any]]:
    """Return the tabs of a station's page; those of other parts appear where they are installed."""
    found = [
        ("station", _("Live")),
        ("station_sessions_tab", _("Sessions")),
        ("station_log", _("OCPP log")),
        ("station_commands", _("Commands")),
        ("station_configuration", _("Configuration")),
        ("station_charging", _("Smart charging")),
        ("station_firmware", _("Firmware and diagnostics")),
        ("station_reservations", _("Reservations")),
        ("station_connection", _("Connection")),
    ]
    shown = [
        {"label": label, "url": url, "active": name == active}
        for name, label in found
        if (url := optional_url(f"console:{name}", station.uuid))
    ]
    if may(actor, Ability.SEE_AUDIT):
        shown.append({"label": _("Audit"), "url": f"{reverse('console:audit')}?target={station.uuid}", "active": False})
    return shown


# --- commands ------------------------------------------------------------------------------------------


def told(rows: Iterable[Command], *, may_command: bool = False) -> list[dict[str, Any]]:
    """Return commands (with their stations) as the list of commands shows them."""
    return [
        {
            "command": row,
            "url": reverse("console:command", args=[row.uuid]),
            "words": wording.command(row),
            "advice": wording.advice(row),
            "effect": wording.effect(row) if row.effect_state else "",
            "retry": _retry(row) if may_command else None,
        }
        for row in rows
    ]


def _retry(row: Command) -> Action | None:
    if row.status not in {Command.Status.TIMED_OUT, Command.Status.EXPIRED, Command.Status.REFUSED}:
        return None
    return {"label": _("Ask again"), "icon": "rotate-ccw", "url": reverse("console:command_again", args=[row.uuid])}


def dial_parts(url: str) -> dict[str, Any]:
    """Take the address a charger dials apart, for those that ask for host, port and path."""
    scheme, _colon, rest = url.partition("://")
    host, _slash, path = rest.partition("/")
    name, _colon, port = host.rpartition(":") if ":" in host.rsplit("]", 1)[-1] else (host, "", "")
    return {
        "url": url,
        "base": url.rpartition("/")[0] + "/",
        "host": name,
        "port": port or ("443" if scheme == "wss" else "80"),
        "path": "/" + path,
        "tls": scheme == "wss",
    }
