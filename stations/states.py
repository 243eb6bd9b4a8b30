"""How states look and read: word, tone and icon of each, in one place.

A tone names a pair of colours in ``static/css/tokens.css``; an icon is a Lucide name. Colour is never the
only difference: every state has its own word and its own shape.
"""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from stations.messages import ConnectorState


class Look(NamedTuple):
    """The word a person reads, the tone of its colours and the icon beside it."""

    word: str | Promise
    tone: str
    icon: str


OFFLINE = "Offline"
SILENT = "Silent"
NEVER_CONNECTED = "NeverConnected"

# What a connector shows. The last three are ours: no charger reports its own absence.
CONNECTOR_LOOKS: dict[str, Look] = {
    ConnectorState.CHARGING: Look(_("Charging"), "charging", "zap"),
    ConnectorState.PREPARING: Look(_("Plugged in"), "waiting", "plug"),
    ConnectorState.FINISHING: Look(_("Finishing"), "waiting", "circle-check"),
    ConnectorState.SUSPENDED_EV: Look(_("Paused by car"), "paused", "pause"),
    ConnectorState.SUSPENDED_EVSE: Look(_("Paused by limit"), "paused", "circle-gauge"),
    ConnectorState.AVAILABLE: Look(_("Available"), "good", "circle"),
    ConnectorState.RESERVED: Look(_("Reserved"), "reserved", "bookmark"),
    ConnectorState.FAULTED: Look(_("Faulted"), "bad", "triangle-alert"),
    ConnectorState.UNAVAILABLE: Look(_("Out of service"), "idle", "ban"),
    SILENT: Look(_("Connected but silent"), "absent", "message-circle-off"),
    OFFLINE: Look(_("Offline"), "absent", "wifi-off"),
    NEVER_CONNECTED: Look(_("Never connected"), "absent", "wifi-off"),
}

# The story of a command: what we did, what the charger answered.
COMMAND_LOOKS: dict[str, Look] = {
    "queued": Look(_("Waiting to be sent"), "waiting", "hourglass"),
    "sent": Look(_("Sent, no answer yet"), "waiting", "send"),
    "accepted": Look(_("Charger answered Accepted"), "good", "circle-check"),
    "rejected": Look(_("Charger answered Rejected"), "bad", "circle-x"),
    "error": Look(_("Charger answered with an error"), "bad", "circle-alert"),
    "timed_out": Look(_("No answer in time"), "bad", "timer-off"),
    "refused": Look(_("Not sent"), "idle", "ban"),
    "expired": Look(_("Expired before it could be sent"), "idle", "calendar-x"),
}

UNKNOWN = Look(_("Unknown"), "idle", "circle-question-mark")


def connector_look(state: str) -> Look:
    """Return the look of a connector state (a `ConnectorState`, or OFFLINE, SILENT, NEVER_CONNECTED)."""
    return CONNECTOR_LOOKS.get(state, UNKNOWN)


def command_look(status: str) -> Look:
    """Return the look of a command status."""
    return COMMAND_LOOKS.get(status, UNKNOWN)
