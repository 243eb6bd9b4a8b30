"""Every kind of alert in one table: its words with the numbers, what it costs, and the one action that helps."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.roles import Ability
from stations import display
from stations.models import Alert

STATION_OFFLINE = "station_offline"
SITE_OFFLINE = "site_offline"
METER_STUCK = "meter_stuck"
METER_BACKWARDS = "meter_backwards"
OVER_POWER = "over_power"
TOKEN_TWICE = "token_twice"  # noqa: S105 - a kind of alert
LOG_IN_BURST = "log_in_burst"
CARD_BURST = "card_burst"

OPEN_STATION = "open_station"
OPEN_LOG = "open_log"
OPEN_SITE = "open_site"
OPEN_SESSION = "open_session"
OPEN_REFUSED = "open_refused"
RESET = "reset"
BLOCK_TOKEN = "block_token"  # noqa: S105 - an action

_WHY_REFUSED = {
    "wrong_password": gettext_lazy("wrong password"),
    "no_credentials": gettext_lazy("no password was sent"),
    "no_certificate": gettext_lazy("no client certificate"),
    "wrong_certificate": gettext_lazy("the certificate belongs to somebody else"),
    "unknown_identity": gettext_lazy("no charger of that identity"),
    "no_subprotocol": gettext_lazy("no OCPP version was offered"),
    "unsupported_subprotocol": gettext_lazy("no common OCPP version"),
}


class Action(NamedTuple):
    """What helps. ``effect`` says in words what it does, and is asked first; empty where nothing changes."""

    name: str
    label: str | Promise
    icon: str
    ability: Ability
    effect: str | Promise = ""


class Link(NamedTuple):
    """A way to the evidence."""

    words: str
    url: str


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """How alerts of one kind read and end. With ``is_watched`` the alert closes by itself when it is over."""

    title: str | Promise
    icon: str
    severity: Alert.Severity
    reason: Callable[[Alert], str]
    impact: Callable[[Alert], str]
    action: Action
    is_watched: bool = False


def kind_of(alert: Alert) -> Kind:
    """Return the entry of the table."""
    return KINDS[alert.kind]


def target_url(alert: Alert, action: str) -> str:
    """Return the page an opening action leads to, empty for actions that change something."""
    if action == OPEN_STATION and alert.station is not None:
        return _url("console:station", alert.station.uuid)
    if action == OPEN_LOG and alert.station is not None:
        return _url("console:station_log", alert.station.uuid)
    if action == OPEN_SITE and alert.site is not None:
        return _url("console:site", alert.site.uuid)
    if action == OPEN_SESSION:
        return _url("console:session", alert.facts["session"])
    if action == OPEN_REFUSED:
        return _url("console:refused")
    return ""


def evidence(alert: Alert, *, people: bool) -> list[Link]:
    """Return where it can be seen: station, log, sessions, and the token for those who may see ``people``."""
    links = []
    if alert.station is not None:
        links.append(Link(_("Station"), _url("console:station", alert.station.uuid)))
        links.append(Link(_("OCPP log"), _url("console:station_log", alert.station.uuid)))
    elif alert.site is not None:
        links.append(Link(_("Site"), _url("console:site", alert.site.uuid)))
    sessions = [alert.facts.get("session"), *(place.get("session") for place in alert.facts.get("places", ()))]
    links.extend(Link(_("Session"), _url("console:session", session)) for session in sessions if session)
    if people and "token" in alert.facts:
        links.append(Link(_("Token"), _url("console:token", alert.facts["token"])))
    return [link for link in links if link.url]


def resolution_words(alert: Alert) -> str:
    """Return how a closed alert ended."""
    who = alert.facts.get("closed_by", "")
    if alert.resolution == Alert.Resolution.ACTED:
        return _("%(who)s: %(action)s") % {"who": who, "action": kind_of(alert).action.label}
    if alert.resolution == Alert.Resolution.CLOSED:
        return _("Closed by %(who)s") % {"who": who}
    return str(Alert.Resolution(alert.resolution).label) if alert.resolution else ""


def _url(name: str, *args: object) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


# --- words -------------------------------------------------------------------------------------------


def _moment(text: str) -> str:
    return display.moment(dt.datetime.fromisoformat(text), now=timezone.now())


def _nothing(alert: Alert) -> str:
    return ""


def _connectors(alert: Alert) -> str:
    count = alert.facts["connectors"]
    words = ngettext("%(count)s connector cannot be used.", "%(count)s connectors cannot be used.", count)
    return words % {"count": display.number(count)} if count else ""


def _station_offline(alert: Alert) -> str:
    return _("No connection since %(moment)s.") % {"moment": _moment(alert.facts["since"])}


def _site_offline(alert: Alert) -> str:
    names = alert.facts["stations"]
    return _("%(count)s of %(total)s stations lost their connection at %(moment)s: %(names)s. Power or network?") % {
        "count": display.number(len(names)),
        "total": display.number(alert.facts["total"]),
        "moment": _moment(alert.facts["since"]),
        "names": ", ".join(names[:5]) + (" …" if len(names) > 5 else ""),
    }


def _meter_stuck(alert: Alert) -> str:
    facts = {
        "register": display.energy_exact(Decimal(alert.facts["register_wh"])),
        "moment": _moment(alert.facts["since"]),
    }
    if alert.facts["power_w"] is None:
        return _("The station says that it charges, but its meter stands at %(register)s since %(moment)s.") % facts
    facts["power"] = display.power(Decimal(alert.facts["power_w"]))
    return _("%(power)s flow, but the meter stands at %(register)s since %(moment)s.") % facts


def _unmeasured(alert: Alert) -> str:
    if alert.facts["power_w"] is None:
        return ""
    return _("%(energy)s an hour are not measured.") % {"energy": display.energy(Decimal(alert.facts["power_w"]))}


def _meter_backwards(alert: Alert) -> str:
    if "after_wh" not in alert.facts:
        return _("The meter ran backwards in this session.")
    return _("The meter fell from %(before)s to %(after)s.") % {
        "before": display.energy_exact(Decimal(alert.facts["before_wh"])),
        "after": display.energy_exact(Decimal(alert.facts["after_wh"])),
    }


def _doubtful(alert: Alert) -> str:
    if "energy_wh" not in alert.facts:
        return ""
    doubtful = Decimal(alert.facts["energy_wh"]) - Decimal(alert.facts["possible_wh"])
    return _("%(energy)s are in doubt.") % {"energy": display.energy(doubtful)}


def _held(alert: Alert) -> str:
    return _("The bill waits until somebody has looked at the session.")


def _over_power(alert: Alert) -> str:
    rated = display.power(alert.facts["rated_w"])
    if "power_w" in alert.facts:
        power = display.power(Decimal(alert.facts["power_w"]))
        return _("It reports %(power)s; %(rated)s is what it is rated for.") % {"power": power, "rated": rated}
    return _("%(energy)s in %(span)s: at %(rated)s no more than %(possible)s can have flowed.") % {
        "energy": display.energy(Decimal(alert.facts["energy_wh"])),
        "span": display.span(alert.facts["seconds"]),
        "possible": display.energy(Decimal(alert.facts["possible_wh"])),
        "rated": rated,
    }


def _token_twice(alert: Alert) -> str:
    facts = {
        "token": alert.facts["shown"],
        "first": alert.facts["places"][0]["name"],
        "second": alert.facts["places"][1]["name"],
    }
    if alert.facts["refused"]:
        return _("Token %(token)s was shown at %(second)s while it charges at %(first)s, and was refused.") % facts
    return _("Token %(token)s charges at %(first)s and at %(second)s at the same time.") % facts


def _log_in_burst(alert: Alert) -> str:
    facts = alert.facts
    return _("%(count)s refused log-ins as %(identity)s within %(span)s, last from %(address)s: %(why)s.") % {
        "count": display.number(facts["count"]),
        "identity": facts["identity"],
        "span": display.span(max(1, facts["seconds"])),
        "address": facts["address"],
        "why": _WHY_REFUSED.get(facts["reason"], facts["reason"]),
    }


def _card_burst(alert: Alert) -> str:
    return _("%(count)s refusals within %(span)s here, of %(cards)s different cards.") % {
        "count": display.number(alert.facts["count"]),
        "span": display.span(max(1, alert.facts["seconds"])),
        "cards": display.number(alert.facts["cards"]),
    }


# --- the table ---------------------------------------------------------------------------------------

_OPEN_STATION = Action(OPEN_STATION, gettext_lazy("Open the station"), "plug-zap", Ability.COMMAND)
_OPEN_SITE = Action(OPEN_SITE, gettext_lazy("Open the site"), "map-pin", Ability.COMMAND)
_OPEN_SESSION = Action(OPEN_SESSION, gettext_lazy("Open the session"), "eye", Ability.REVIEW_SESSIONS)
_OPEN_REFUSED = Action(OPEN_REFUSED, gettext_lazy("Open the refused log-ins"), "shield-alert", Ability.COMMAND)
_OPEN_LOG = Action(OPEN_LOG, gettext_lazy("Open the log"), "scroll-text", Ability.COMMAND)
_RESET = Action(
    RESET,
    gettext_lazy("Reset the station"),
    "rotate-ccw",
    Ability.COMMAND,
    gettext_lazy("Its sessions end and are billed as measured so far; the station is away for a minute or two."),
)
_BLOCK_TOKEN = Action(
    BLOCK_TOKEN,
    gettext_lazy("Block the token"),
    "ban",
    Ability.EDIT_TOKENS,
    gettext_lazy("The token is refused everywhere from now on. A session that runs goes on until it is stopped."),
)

KINDS: dict[str, Kind] = {
    SITE_OFFLINE: Kind(
        gettext_lazy("Site offline"),
        "cloud-off",
        Alert.Severity.CRITICAL,
        _site_offline,
        _connectors,
        _OPEN_SITE,
        is_watched=True,
    ),
    TOKEN_TWICE: Kind(
        gettext_lazy("One token at two places"),
        "copy-x",
        Alert.Severity.CRITICAL,
        _token_twice,
        _nothing,
        _BLOCK_TOKEN,
    ),
    OVER_POWER: Kind(
        gettext_lazy("More than the rating allows"),
        "gauge",
        Alert.Severity.CRITICAL,
        _over_power,
        _doubtful,
        _OPEN_SESSION,
    ),
    METER_BACKWARDS: Kind(
        gettext_lazy("Meter ran backwards"),
        "undo-2",
        Alert.Severity.WARNING,
        _meter_backwards,
        _held,
        _OPEN_SESSION,
    ),
    METER_STUCK: Kind(
        gettext_lazy("Meter stands still"),
        "circle-pause",
        Alert.Severity.WARNING,
        _meter_stuck,
        _unmeasured,
        _RESET,
        is_watched=True,
    ),
    STATION_OFFLINE: Kind(
        gettext_lazy("Station offline"),
        "wifi-off",
        Alert.Severity.WARNING,
        _station_offline,
        _connectors,
        _OPEN_STATION,
        is_watched=True,
    ),
    LOG_IN_BURST: Kind(
        gettext_lazy("Refused log-ins"),
        "shield-alert",
        Alert.Severity.WARNING,
        _log_in_burst,
        _nothing,
        _OPEN_REFUSED,
    ),
    CARD_BURST: Kind(
        gettext_lazy("Many refused cards"),
        "id-card",
        Alert.Severity.WARNING,
        _card_burst,
        _nothing,
        _OPEN_LOG,
    ),
}
