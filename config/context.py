"""What the frame around every page needs: who is here, at which operator, and where they can go.

Views behind ``accounts.views_auth``'s doors know who acts; elsewhere the chosen operator counts. Nothing is
read from the database before a template asks for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from accounts.models import Driver, Membership, Operator, User
from accounts.roles import Ability, may
from accounts.views_auth import acting
from sessions.models import ChargingSession
from stations.models import Alert

THEMES = ("light", "dark")
Count = Callable[[Membership], int]


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A way to go: the URL name, its word and icon, who sees it, and what is counted beside it.

    ``within`` lists further URL names whose pages belong to this entry. ``slot`` is the live slot of the
    count. ``key`` is the letter that leads there after ``g``.
    """

    name: str
    label: Promise
    icon: str
    ability: Ability | None = None
    within: tuple[str, ...] = ()
    count: Count | None = None
    slot: str = ""
    key: str = ""
    urgent: bool = False


def _open_alerts(membership: Membership) -> int:
    return Alert.objects.visible_to(membership).filter(resolved_at=None).count()


def _open_sessions(membership: Membership) -> int:
    return ChargingSession.objects.visible_to(membership).filter(status=ChargingSession.Status.ACTIVE).count()


_STATION = (
    "console:station",
    "console:station_new",
    "console:station_edit",
    "console:station_connection",
    "console:station_commands",
    "console:station_configuration",
    "console:station_log",
    "console:command_results",
)
_CONSOLE: tuple[tuple[Promise, tuple[Place, ...]], ...] = (
    (
        _("Operate"),
        (
            Place("console:stations", _("Live stations"), "activity", within=_STATION, key="s"),
            Place(
                "console:sites", _("Sites"), "map-pin", within=("console:site", "console:site_new", "console:site_edit")
            ),
            Place(
                "console:sessions",
                _("Sessions"),
                "plug-zap",
                within=("console:session",),
                count=_open_sessions,
                slot="rail:sessions",
                key="e",
            ),
            Place(
                "console:alerts",
                _("Alerts"),
                "triangle-alert",
                within=("console:alert",),
                count=_open_alerts,
                slot="rail:alerts",
                key="a",
                urgent=True,
            ),
            Place("console:reservations", _("Reservations"), "calendar-clock"),
        ),
    ),
    (
        _("Manage"),
        (
            Place("console:charging", _("Smart charging"), "gauge"),
            Place("console:firmware", _("Firmware"), "cloud-download"),
            Place("console:drivers", _("Drivers"), "users", Ability.SEE_PEOPLE, within=("console:driver",), key="d"),
            Place("console:tokens", _("Tokens"), "id-card", Ability.SEE_PEOPLE, within=("console:token",)),
            Place("console:tariffs", _("Tariffs"), "tag", Ability.SEE_MONEY, within=("console:tariff",)),
            Place("finance:overview", _("Finance"), "file-text", Ability.SEE_MONEY, key="b"),
        ),
    ),
    (
        _("System"),
        (
            Place("console:messages", _("OCPP log"), "scroll-text"),
            Place("console:refused", _("Refused chargers"), "shield-x"),
            Place("console:audit", _("Audit trail"), "history", Ability.SEE_AUDIT),
            Place("console:members", _("Members"), "user-cog", Ability.MANAGE_MEMBERS, within=("console:member",)),
            Place("console:api_keys", _("API keys"), "key-round", Ability.MANAGE_KEYS),
            Place("console:webhooks", _("Webhooks"), "webhook", Ability.MANAGE_KEYS),
            Place("console:settings", _("Settings"), "settings", Ability.EDIT_STATIONS),
        ),
    ),
)
_FINANCE: tuple[tuple[Promise, tuple[Place, ...]], ...] = (
    (
        _("Money"),
        (
            Place("finance:overview", _("Overview"), "layout-dashboard", Ability.SEE_MONEY, key="b"),
            Place("finance:revenue", _("Revenue"), "chart-column", Ability.SEE_MONEY),
            Place(
                "finance:documents",
                _("Invoices"),
                "file-text",
                Ability.SEE_MONEY,
                within=("finance:document",),
            ),
            Place("finance:payments", _("Payments"), "credit-card", Ability.SEE_MONEY, within=("finance:payment",)),
            Place("finance:payouts", _("Payouts"), "landmark", Ability.SEE_MONEY),
        ),
    ),
    (
        _("Books"),
        (
            Place("finance:reports", _("Reports"), "library", Ability.SEE_MONEY, within=("finance:report",)),
            Place("finance:ledger", _("Ledger"), "book-open", Ability.SEE_MONEY),
            Place("finance:periods", _("Period close"), "lock", Ability.EDIT_MONEY),
        ),
    ),
    (
        _("Operate"),
        (Place("console:stations", _("Live stations"), "activity", Ability.SEE_STATIONS, key="s"),),
    ),
)
_DRIVER: tuple[tuple[Promise, tuple[Place, ...]], ...] = (
    (
        _("Charging"),
        (
            Place("driver:find", _("Find"), "map-pin"),
            Place("driver:session", _("Session"), "zap", within=("driver:finished",)),
            Place("driver:history", _("History"), "receipt-text", within=("driver:receipt",)),
            Place("driver:account", _("Account"), "user"),
        ),
    ),
)
_STAFF: tuple[tuple[Promise, tuple[Place, ...]], ...] = (
    (_("Installation"), (Place("staff:operators", _("Operators"), "building-2", within=("staff:operator_new",)),)),
)
SEARCHED = ("console", "finance")
PORTALS = {"console": _CONSOLE, "finance": _FINANCE, "driver": _DRIVER, "staff": _STAFF}

_PERSONAL: tuple[tuple[str, Promise, str], ...] = (
    ("profile", _("Name and display"), "user"),
    ("account_change_password", _("Password"), "lock"),
    ("mfa_index", _("Two-factor and passkeys"), "shield-check"),
    ("usersessions_list", _("Where I am logged in"), "monitor-smartphone"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A link of the rail, ready for the template. ``count`` is None where nothing is counted."""

    url: str
    label: str | Promise
    icon: str
    active: bool = False
    count: int | None = None
    slot: str = ""
    key: str = ""
    urgent: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Shell:
    """The frame of a page. ``groups`` are the rail, ``alerts`` the entry of the bell."""

    portal: str
    theme: str
    demo: bool
    home_url: str
    operator: str = ""
    other_operators: tuple[Operator, ...] = ()
    person: str = ""
    role: str | Promise = ""
    shortcuts: bool = True
    search_url: str = ""
    groups: tuple[tuple[str | Promise, tuple[Entry, ...]], ...] = ()
    personal: tuple[Entry, ...] = ()
    portals: tuple[Entry, ...] = ()
    language_url: str = ""
    logout_url: str = ""

    @property
    def entries(self) -> list[Entry]:
        """All entries of the rail in order."""
        return [entry for _label, entries in self.groups for entry in entries]

    @property
    def alerts(self) -> Entry | None:
        """The entry that counts what is urgent."""
        return next((entry for entry in self.entries if entry.urgent), None)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: ``shell`` for every template, built when it is first used."""
    return {"shell": SimpleLazyObject(lambda: build_shell(request))}


def build_shell(request: HttpRequest) -> Shell:
    """Return the frame for the person behind ``request`` in the portal of its URL."""
    user = getattr(request, "user", None)
    match = request.resolver_match
    portal = next((part for part in (match.namespaces if match else ()) if part in PORTALS), "")
    if not isinstance(user, User):
        return Shell(
            portal=portal,
            theme=chosen_theme(request),
            demo=settings.DEMO,
            home_url="/",
            language_url=_url("set_language"),
        )
    membership: Membership | None = getattr(request, "actor", None) or acting(request)
    driver: Driver | None = getattr(request, "driver", None)
    # Pages about one's own account stand in the portal of whoever looks.
    portal = portal or ("console" if membership else "staff" if user.is_staff else "driver")
    here = membership.operator if membership and portal != "driver" else driver.operator if driver else None
    return Shell(
        portal=portal,
        theme=chosen_theme(request) or (user.theme if user.theme in THEMES else ""),
        demo=settings.DEMO,
        home_url=_first_url(PORTALS[portal]),
        operator=here.name if here else "",
        other_operators=_other_operators(user, membership) if portal != "driver" else (),
        person=user.display_name,
        role=membership.get_role_display() if membership and portal != "driver" else "",
        shortcuts=user.shortcuts,
        search_url=_url("console:search") or _url("console:stations") if portal in SEARCHED else "",
        groups=_groups(portal, membership, match.view_name if match else ""),
        personal=_links(_PERSONAL),
        portals=_portals(portal, user, membership),
        language_url=_url("set_language"),
        logout_url=_url("account_logout"),
    )


def chosen_theme(request: HttpRequest) -> str:
    """Return the theme this browser was switched to, empty where it follows the person or the device."""
    theme = request.COOKIES.get("theme", "")
    return theme if theme in THEMES else ""


def _groups(
    portal: str, membership: Membership | None, view_name: str
) -> tuple[tuple[str | Promise, tuple[Entry, ...]], ...]:
    groups = []
    for label, places in PORTALS.get(portal, ()):
        entries = tuple(
            Entry(
                url=url,
                label=place.label,
                icon=place.icon,
                active=view_name in (place.name, *place.within),
                count=place.count(membership) if place.count and membership else None,
                slot=place.slot,
                key=place.key,
                urgent=place.urgent,
            )
            for place in places
            if (place.ability is None or may(membership, place.ability)) and (url := _url(place.name))
        )
        if entries:
            groups.append((label, entries))
    return tuple(groups)


def _other_operators(user: User, membership: Membership | None) -> tuple[Operator, ...]:
    rows = Operator.objects.filter(memberships__user=user).distinct()
    return tuple(rows.exclude(pk=membership.operator_id) if membership else rows)


def _links(links: tuple[tuple[str, Promise, str], ...]) -> tuple[Entry, ...]:
    return tuple(Entry(url, label, icon) for name, label, icon in links if (url := _url(name)))


def _portals(portal: str, user: User, membership: Membership | None) -> tuple[Entry, ...]:
    """Return the other portals this person may enter."""
    ways: list[tuple[str, Promise, str]] = []
    if portal != "console" and membership:
        ways.append(("console:stations", _("Operator console"), "activity"))
    if portal != "finance" and may(membership, Ability.SEE_MONEY):
        ways.append(("finance:overview", _("Finance"), "file-text"))
    if portal != "driver" and user.drivers.exists():
        ways.append(("driver:session", _("My charging"), "zap"))
    if user.is_staff:
        ways.append(("staff:operators", _("Installation"), "server"))
    return _links(tuple(ways))


def _first_url(groups: tuple[tuple[Promise, tuple[Place, ...]], ...]) -> str:
    return next((url for _label, places in groups for place in places if (url := _url(place.name))), "/")


def _url(name: str) -> str:
    """Return the address of a URL name, empty where this installation has no such page."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
