"""What happened, in words: events, faults, refused connections, commands and what became of them."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from stations import display
from stations.commands import shown_arguments
from stations.messages import ConnectorState
from stations.models import Command, RefusedConnection, Site, Station, StationEvent
from stations.overview import Row
from stations.states import NEVER_CONNECTED, OFFLINE, SILENT, connector_look

# OCPP 1.6 §7.6 ChargePointErrorCode
ERRORS: dict[str, str | Promise] = {
    "ConnectorLockFailure": gettext_lazy("Connector lock failure"),
    "EVCommunicationError": gettext_lazy("No communication with the car"),
    "GroundFailure": gettext_lazy("Ground failure"),
    "HighTemperature": gettext_lazy("Too hot"),
    "InternalError": gettext_lazy("Internal error"),
    "LocalListConflict": gettext_lazy("Local list conflict"),
    "OtherError": gettext_lazy("Fault"),
    "OverCurrentFailure": gettext_lazy("Overcurrent"),
    "OverVoltage": gettext_lazy("Overvoltage"),
    "PowerMeterFailure": gettext_lazy("Meter failure"),
    "PowerSwitchFailure": gettext_lazy("Power switch failure"),
    "ReaderFailure": gettext_lazy("Card reader failure"),
    "ResetFailure": gettext_lazy("Reset failed"),
    "UnderVoltage": gettext_lazy("Undervoltage"),
    "WeakSignal": gettext_lazy("Weak signal"),
}


def error(code: str) -> str:
    """Return a fault in words; a code nobody knows is taken apart."""
    if code in ERRORS:
        return str(ERRORS[code])
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", code).capitalize() if code and code != "NoError" else _("Fault")


def connector(evse: int | None) -> str:
    """Return how a connector is called in a sentence."""
    return _("connector %(number)s") % {"number": evse} if evse else _("the whole station")


# Names of OCPP 2.x (ConnectorEnumType) and OCPI 2.2.1 §8.4.5 (ConnectorType) as people know them.
_TYPES = {
    "cCCS1": "CCS1",
    "cCCS2": "CCS2",
    "cG105": "CHAdeMO",
    "cTesla": "Tesla",
    "cType1": "Type 1",
    "cType2": "Type 2",
    "sType2": "Type 2",
    "sType3": "Type 3",
    "CHADEMO": "CHAdeMO",
    "DOMESTIC_F": "Schuko",
    "IEC_62196_T1": "Type 1",
    "IEC_62196_T1_COMBO": "CCS1",
    "IEC_62196_T2": "Type 2",
    "IEC_62196_T2_COMBO": "CCS2",
    "TESLA_S": "Tesla",
}


def connector_type(code: str) -> str:
    """Return the type of a connector as people know it."""
    return _TYPES.get(code, code)


def site(row: Site) -> str:
    """Return a site with its city."""
    return f"{row.city}, {row.name}" if row.city and row.city not in row.name else row.name


def now(row: Row, at: dt.datetime) -> str:
    """Return what a station does, in one phrase."""
    station = row.station
    if row.state == NEVER_CONNECTED:
        return _("Never connected")
    if row.state == OFFLINE:
        gone = station.disconnected_at or station.last_seen_at
        return _("Offline for %(span)s") % {"span": _lasted(gone, at)} if gone else _("Offline")
    if station.registration == Station.Registration.PENDING:
        return _("Waiting for approval")
    if station.registration == Station.Registration.REJECTED:
        return _("Rejected")
    if row.state == SILENT:
        return _("Connected but silent")
    faulted = next((plug for plug in row.plugs if plug.state == ConnectorState.FAULTED), None)
    if faulted is not None:
        words = error(faulted.error_code)
        return f"{words}, {_lasted(faulted.since, at)}" if faulted.since else words
    if row.running:
        count = len(row.running)
        return ngettext("%(count)s session", "%(count)s sessions", count) % {"count": count}
    states = {plug.state for plug in row.plugs}
    for state in (ConnectorState.PREPARING, ConnectorState.FINISHING, ConnectorState.RESERVED):
        if state in states:
            return str(connector_look(state).word)
    if not states:
        return _("No connectors reported yet")
    return _("Out of service") if states == {ConnectorState.UNAVAILABLE} else _("Free")


def about(station: Station) -> str:
    """Return what a station is, in one line."""
    parts = [" ".join(part for part in (station.vendor, station.model) if part)]
    if station.protocol:
        parts.append(f"OCPP {station.protocol}")
    parts.append(_("security profile %(number)s") % {"number": station.security_profile})
    return ", ".join(part for part in parts if part)


def _lasted(since: dt.datetime | None, at: dt.datetime) -> str:
    return display.span((at - since).total_seconds()) if since else ""


# --- events ----------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """A line of the feed."""

    icon: str
    tone: str
    title: str
    text: str


def event(row: StationEvent) -> Told:
    """Return an event (with its station) in words."""
    facts: dict[str, Any] = row.facts
    where = f"{row.station}, {connector(row.evse)}" if row.evse else str(row.station)
    kind = row.kind
    if kind == StationEvent.Kind.STATUS:
        look = connector_look(facts.get("status", ""))
        title = _("Connector free") if facts.get("status") == ConnectorState.AVAILABLE else str(look.word)
        return Told(look.icon, look.tone, title, where)
    if kind == StationEvent.Kind.FAULT:
        return Told("triangle-alert", "bad", error(facts.get("error", "")), where)
    if kind == StationEvent.Kind.SESSION_ENDED:
        energy = facts.get("energy_wh")
        title = _("Session finished")
        return Told(
            "receipt-text", "charging", f"{title}: {display.energy(Decimal(energy))}" if energy else title, where
        )
    if kind == StationEvent.Kind.TOKEN_REFUSED:
        words = _("…%(end)s: %(answer)s") % {"end": facts.get("token", ""), "answer": facts.get("status", "")}
        return Told("shield-x", "waiting", _("Card refused"), f"{where}, {words}")
    if kind == StationEvent.Kind.BOOTED:
        return Told(
            "power", "idle", _("Started up"), f"{where}, {facts['firmware']}" if facts.get("firmware") else where
        )
    icon, tone, word = _PLAIN.get(kind, ("info", "idle", gettext_lazy("Message")))
    said = facts.get("text") or facts.get("status") or _SAID.get(facts.get("what", ""), "")
    return Told(icon, tone, str(word), f"{where}, {said}" if said else where)


_PLAIN: dict[str, tuple[str, str, str | Promise]] = {
    StationEvent.Kind.CONNECTED: ("wifi", "good", gettext_lazy("Connected")),
    StationEvent.Kind.DISCONNECTED: ("wifi-off", "absent", gettext_lazy("Connection lost")),
    StationEvent.Kind.SESSION_STARTED: ("zap", "charging", gettext_lazy("Session started")),
    StationEvent.Kind.SECURITY: ("shield-alert", "bad", gettext_lazy("Security event")),
    StationEvent.Kind.FIRMWARE: ("cloud-download", "idle", gettext_lazy("Firmware")),
}
_SAID: dict[str, str | Promise] = {
    "serial_changed": gettext_lazy("another serial number than before"),
    "implausible_connector": gettext_lazy("a connector that cannot be"),
}


# --- refused connections ---------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """Why a connection was not let in, and what helps."""

    reason: str | Promise
    fix: str | Promise


_REFUSALS: dict[str, Refusal] = {
    "unknown_identity": Refusal(
        gettext_lazy("No station has this identity."),
        gettext_lazy("Adopt it, or correct the identity in the charger."),
    ),
    "no_credentials": Refusal(
        gettext_lazy("It sent no password, or not for this identity."),
        gettext_lazy("Enter the password in the charger; its user name is the identity."),
    ),
    "wrong_password": Refusal(
        gettext_lazy("Its password is wrong."),
        gettext_lazy("Set a new password here and enter it in the charger."),
    ),
    "no_certificate": Refusal(
        gettext_lazy("It showed no certificate that was checked."),
        gettext_lazy("Install its certificate, or choose a security profile with a password."),
    ),
    "wrong_certificate": Refusal(
        gettext_lazy("Its certificate is for another name."),
        gettext_lazy("The certificate's common name must be the identity or the serial number."),
    ),
    "no_subprotocol": Refusal(
        gettext_lazy("It did not say which version of OCPP it speaks."),
        gettext_lazy("Choose the version for it in the settings of the station."),
    ),
    "unsupported_subprotocol": Refusal(
        gettext_lazy("It offered only versions of OCPP that are not spoken here."),
        gettext_lazy("Set the charger to OCPP 1.6, 2.0.1 or 2.1 over JSON."),
    ),
}


def refusal(row: RefusedConnection) -> Refusal:
    """Return why a connection was refused, in words."""
    return _REFUSALS.get(row.reason, Refusal(row.reason, ""))


# --- commands ----------------------------------------------------------------------------------------------


def command(row: Command) -> str:
    """Return what was asked, in words."""
    given = shown_arguments(row)
    place = str(given.get("connector", given.get("evse", "")))
    where = connector(int(place) if place.isdigit() else None)
    match row.command:
        case "":
            return row.action
        case "start":
            return _("Start, %(where)s, card ending %(card)s") % {"where": where, "card": str(given.get("token"))[-4:]}
        case "stop":
            return _("Stop the session")
        case "reset":
            return _("Reset, hard") if given.get("kind") == "hard" else _("Reset, soft")
        case "unlock":
            return _("Unlock %(where)s") % {"where": where}
        case "change_availability" if given.get("operative"):
            return _("Put into service, %(where)s") % {"where": where}
        case "change_availability":
            return _("Take out of service, %(where)s") % {"where": where}
        case "trigger":
            return _("Ask for %(message)s") % {"message": given.get("message", "")}
        case "get_configuration":
            return _("Read the configuration")
        case "set_configuration":
            return _("Set %(key)s to %(value)s") % {"key": given.get("key", ""), "value": given.get("value", "")}
        case "clear_cache":
            return _("Clear the card cache")
        case _:
            return row.command.replace("_", " ").capitalize()


def advice(row: Command) -> str:
    """Return what to do after a command that did not work, empty where nothing helps."""
    if row.status == Command.Status.REFUSED and row.error_code == "offline":
        return _("Wait until the charger is back, or let the command wait for it.")
    if row.status == Command.Status.TIMED_OUT and row.error_code == "connection_lost":
        return _("It may have done it all the same. Look at its state when it is back, then ask again.")
    if row.status == Command.Status.TIMED_OUT:
        return _("The charger is connected but did not answer. Try again; if it stays deaf, reset it at its site.")
    if row.status == Command.Status.EXPIRED:
        return _("It waited too long. Ask again.")
    if row.status == Command.Status.ERROR and row.error_code in {"NotSupported", "NotImplemented"}:
        return _("This charger cannot do that.")
    return str(_ADVICE.get((row.command, row.word), "")) if row.status == Command.Status.REJECTED else ""


_ADVICE: dict[tuple[str, str], str | Promise] = {
    ("start", "Rejected"): gettext_lazy(
        "The connector may be in use or faulted, or no car is plugged in. Some chargers take only cards they know."
    ),
    ("stop", "Rejected"): gettext_lazy("The charger does not know this session any more. The log tells when it ended."),
    ("reset", "Rejected"): gettext_lazy("A session may be running. A hard reset does not wait for its end."),
    ("unlock", "UnlockFailed"): gettext_lazy(
        "The cable may be under tension. Ask the driver to push it in and try again."
    ),
    ("unlock", "NotSupported"): gettext_lazy("This connector has no lock, or its cable is fixed."),
    ("set_configuration", "Rejected"): gettext_lazy(
        "The value does not fit, or the charger does not let it be changed."
    ),
    ("set_configuration", "NotSupported"): gettext_lazy("The charger does not know this key. Read its configuration."),
    ("trigger", "NotImplemented"): gettext_lazy("This charger cannot be asked for that."),
}


def effect(row: Command) -> str:
    """Return what is awaited of an accepted command, or what was seen of it."""
    kind, _colon, detail = row.effect_what.partition(":")
    if row.effect_state != Command.Effect.OBSERVED:
        return {
            "session_started": _("a session starts"),
            "ended": _("the session ends"),
            "booted": _("the charger starts up again"),
            "status": _("connector %(number)s reports another state") % {"number": detail},
            "settings": _("the charger reports its configuration"),
        }.get(kind, row.effect_what)
    seen = {
        "session_started": _("A session started"),
        "ended": _("The session ended"),
        "booted": _("It started up again"),
        "status": _("Connector %(number)s: %(state)s")
        % {"number": detail, "state": connector_look(row.effect_evidence).word},
        "settings": _("Its configuration came"),
    }.get(kind, row.effect_evidence)
    if row.effect_at is None or row.finished_at is None:
        return seen
    after = display.span((row.effect_at - row.finished_at).total_seconds())
    return _("%(what)s, %(span)s after its answer") % {"what": seen, "span": after}
