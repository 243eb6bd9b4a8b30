"""Sessions in people's words: where, who, in which state, why they ended, what is doubtful about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import IdToken
from sessions.models import HOLDS, ChargingSession, ReviewReason
from stations.messages import ChargingState, ConnectorState
from stations.models import Connector, Site

# OCPP 1.6 §7.36 Reason, 2.0.1 §3.66 and 2.1 ReasonEnumType.
_ENDS = {
    "DeAuthorized": gettext_lazy("Token refused"),
    "EmergencyStop": gettext_lazy("Emergency stop"),
    "EnergyLimitReached": gettext_lazy("Energy limit reached"),
    "EVDisconnected": gettext_lazy("Unplugged"),
    "GroundFault": gettext_lazy("Ground fault"),
    "HardReset": gettext_lazy("Charger was reset"),
    "ImmediateReset": gettext_lazy("Charger was reset"),
    "Local": gettext_lazy("Stopped at the charger"),
    "LocalOutOfCredit": gettext_lazy("Out of credit"),
    "MasterPass": gettext_lazy("Stopped by a master card"),
    "OvercurrentFault": gettext_lazy("Overcurrent"),
    "PowerLoss": gettext_lazy("Power lost"),
    "PowerQuality": gettext_lazy("Bad power quality"),
    "Reboot": gettext_lazy("Charger restarted"),
    "Remote": gettext_lazy("Stopped remotely"),
    "ReqEnergyTransferRejected": gettext_lazy("Car and charger did not agree"),
    "SOCLimitReached": gettext_lazy("Charge level reached"),
    "SoftReset": gettext_lazy("Charger was reset"),
    "StoppedByEV": gettext_lazy("Stopped by the car"),
    "TimeLimitReached": gettext_lazy("Time limit reached"),
    "Timeout": gettext_lazy("Car was not plugged in"),
    "UnlockCommand": gettext_lazy("Connector was unlocked"),
}
# OCPI 2.2.1 §8.4.5 ConnectorType, as printed beside the plug.
_PLUGS = {
    "CHADEMO": "CHAdeMO",
    "DOMESTIC_F": "Schuko",
    "IEC_62196_T1": "Type 1",
    "IEC_62196_T1_COMBO": "CCS1",
    "IEC_62196_T2": "Type 2",
    "IEC_62196_T2_COMBO": "CCS2",
    "IEC_62196_T3C": "Type 3",
    "TESLA_S": "Tesla",
}
# What a connector shows while its session is in a charging state.
STATES = {
    ChargingState.CHARGING: ConnectorState.CHARGING,
    ChargingState.SUSPENDED_EV: ConnectorState.SUSPENDED_EV,
    ChargingState.SUSPENDED_EVSE: ConnectorState.SUSPENDED_EVSE,
    ChargingState.EV_CONNECTED: ConnectorState.PREPARING,
    ChargingState.IDLE: ConnectorState.FINISHING,
}
_AT_WORK = frozenset(STATES.values())
_WITHOUT_DIGITS = ("PIN",)  # what is kept of a PIN


def state_of(session: ChargingSession) -> ConnectorState:
    """Return what the plug of a running session does, as connectors show it."""
    if session.charging_state in set(ChargingState):
        return STATES[ChargingState(session.charging_state)]
    told = session.connector.status if session.connector else ""
    return ConnectorState(told) if told in _AT_WORK else ConnectorState.CHARGING


def end_of(session: ChargingSession) -> str:
    """Return why an ended session ended."""
    if ReviewReason.ESTIMATED_END in session.review:
        return _("End not reported")
    return str(_ENDS.get(session.stop_reason) or session.stop_reason or _("Ended"))


def seconds_of(session: ChargingSession, now: dt.datetime) -> int:
    """Return how long a session has lasted."""
    end = session.stopped_at if not session.is_open and session.stopped_at else now
    return max(0, int((end - session.started_at).total_seconds()))


def reasons_of(session: ChargingSession) -> list[tuple[str, bool]]:
    """Return what a person should know of a session, and whether it holds the bill back now."""
    known = {reason.value: reason for reason in ReviewReason}
    return [
        (str(known[code].label) if code in known else code, code in HOLDS and session.released_at is None)
        for code in session.review
    ]


def holding(session: ChargingSession) -> str:
    """Return in words what holds a session's bill back; empty where nothing does."""
    return ", ".join(words for words, holds in reasons_of(session) if holds)


def plug_of(connector: Connector | None) -> str:
    """Return a connector's type as people know it ("CCS2"); empty where it was not told."""
    return "" if connector is None else _PLUGS.get(connector.type, connector.type)


def connector_of(session: ChargingSession) -> str:
    """Return which connector of its station a session is at; empty where that was not told."""
    return _("connector %(number)s") % {"number": session.evse.number} if session.evse else ""


def place_of(site: Site) -> str:
    """Return city and name of a site, each once."""
    return ", ".join(dict.fromkeys(part for part in (site.city, site.name) if part))


def token_of(session: ChargingSession, *, sees_people: bool) -> str:
    """Return the token of a session, or its last four characters for those who may not see personal data."""
    shown = session.token_shown
    if sees_people or not shown or shown in _WITHOUT_DIGITS:
        return shown
    return f"…{shown[-4:]}"


def own_token_of(session: ChargingSession) -> str:
    """Return a driver's own token as the driver knows it."""
    token = session.token
    if token is not None and token.label:
        return token.label
    if session.token_shown in _WITHOUT_DIGITS:
        return _("PIN")
    if token is not None and token.type == IdToken.Type.APP:
        return _("App")
    end = session.token_shown[-4:]
    return _("Card ending %(end)s") % {"end": end} if end else ""


def driver_of(session: ChargingSession, *, sees_people: bool) -> str:
    """Return who charges, a stable mark for those who may not see personal data; empty for guests."""
    if session.driver is None:
        return ""
    return session.driver.name if sees_people else session.driver.masked


def joined(parts: Iterable[str]) -> str:
    """Return the parts that are there, with commas."""
    return ", ".join(part for part in parts if part)
