"""Invented people, stations and sums for the gallery (`config.views_kit`), as views would hand them to templates."""

# fmt: off
# ruff: noqa: E501, D103 (rows of sample data read better as a table; each function is named after its page)
from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.paginator import Paginator
from django.urls import reverse
from django.utils import timezone

from config.context import Entry, Shell
from stations import fleet_map
from stations.messages import ConnectorState as State
from stations.states import COMMAND_LOOKS, CONNECTOR_LOOKS, OFFLINE

ZONE = ZoneInfo("Europe/Amsterdam")
NOW = dt.datetime(2026, 11, 22, 9, 43, 19, tzinfo=ZONE)


def shell(portal: str, current: str, theme: str = "") -> Shell:
    def entry(name: str, label: str, icon: str, count: int | None = None, key: str = "", *, bad: bool = False) -> Entry:
        url = reverse("kit:page", args=[name]) if name else "#"
        return Entry(url, label, icon, name == current, count, f"rail:{label.lower()}", key, bad)

    rails = {
        "console": (
            (
                "Operate",
                (
                    entry("stations", "Live stations", "activity", key="s"),
                    entry("", "Sites", "map-pin", 9),
                    entry("sessions", "Sessions", "plug-zap", 31, "e"),
                    entry("", "Alerts", "triangle-alert", 4, "a", bad=True),
                    entry("", "Reservations", "calendar-clock", 3),
                ),
            ),
            (
                "Manage",
                (
                    entry("", "Smart charging", "gauge"),
                    entry("", "Firmware", "cloud-download", 1),
                    entry("", "Drivers", "users", key="d"),
                    entry("", "Tokens", "id-card"),
                    entry("", "Tariffs", "tag"),
                    entry("finance-overview", "Finance", "file-text", key="b"),
                ),
            ),
            (
                "System",
                (
                    entry("station-log", "OCPP log", "scroll-text"),
                    entry("", "Audit trail", "history"),
                    entry("", "Settings", "settings"),
                ),
            ),
        ),
        "finance": (
            (
                "Money",
                (
                    entry("finance-overview", "Overview", "layout-dashboard", key="b"),
                    entry("finance-revenue", "Revenue", "chart-column"),
                    entry("", "Invoices", "file-text"),
                    entry("", "Payouts", "landmark"),
                ),
            ),
            ("Books", (entry("", "Reports", "library"), entry("", "Period close", "lock"))),
            ("Operate", (entry("stations", "Live stations", "activity", key="s"),)),
        ),
        "driver": (
            (
                "Charging",
                (
                    entry("", "Find", "map-pin"),
                    entry("driver-session", "Session", "zap"),
                    entry("driver-history", "History", "receipt-text"),
                    entry("", "Account", "user"),
                ),
            ),
        ),
    }
    return Shell(
        portal=portal,
        theme=theme,
        demo=portal != "driver",
        home_url=reverse("kit:index"),
        operator="Rijnland Laden",
        person="Lena Visser",
        role="Operator",
        search_url=reverse("kit:page", args=["stations"]),
        groups=rails[portal],
        personal=(Entry("#", "Password", "lock"), Entry("#", "Two-factor and passkeys", "shield-check")),
        portals=(Entry(reverse("kit:page", args=["driver-session"]), "My charging", "zap"),),
        logout_url="#",
    )


def course() -> list[float]:
    """An hour of watts at a 300 kW charger: two cars, one leaves, another comes."""
    watts: list[float] = []
    for i in range(121):
        minute = i / 2
        if minute < 10:
            level = 100 + 12 * math.exp(-minute / 2)
        elif minute < 24:
            level = 100 + 135 * (1 - math.exp(-(minute - 10) / 2.2))
        elif minute < 29:
            level = 75 + 160 * math.exp(-(minute - 24) / 1.3)
        elif minute < 46:
            level = 80 + 125 * (1 - math.exp(-(minute - 29) / 2.4))
        else:
            level = 205 + 63 * (1 - math.exp(-(minute - 46) / 2.5))
        watts.append(round((level + 3 * math.sin(i * 1.7) + 2 * math.sin(i * 0.6)) * 1000))
    return watts


def _row(
    name: str,
    ident: str,
    site: str,
    connectors: list[str],
    power: int | None,
    limit: int,
    now: str,
    seen: int,
    *,
    selected: bool = False,
) -> dict[str, Any]:
    return {
        "key": ident.lower(),
        "name": name,
        "identity": ident,
        "site": site,
        "url": reverse("kit:page", args=["station"]),
        "connectors": [{"state": state, "name": f"{i}. CCS2"} for i, state in enumerate(connectors, 1)],
        "power_w": None if power is None else power * 100,
        "limit_w": limit * 1000,
        "now": now,
        "seen_at": timezone.now() - dt.timedelta(seconds=seen),
        "selected": selected,
    }


def stations() -> dict[str, Any]:
    charging, free = State.CHARGING.value, State.AVAILABLE.value
    rows = [
        _row("Harbour Quay 1", "VY-ROT-0007", "Rotterdam, Waalhaven", [charging, charging, State.PREPARING], 2680, 300, "2 sessions", 2, selected=True),
        _row("Harbour Quay 2", "VY-ROT-0008", "Rotterdam, Waalhaven", [charging, free, free], 1440, 300, "1 session", 4),
        _row("Zuidas Garage P1-04", "VY-AMS-0021", "Amsterdam, Zuidas", [charging, charging], 221, 22, "2 sessions", 6),
        _row("Zuidas Garage P1-05", "VY-AMS-0022", "Amsterdam, Zuidas", [State.FAULTED, free], 0, 22, "Ground failure, 14 min", 9),
        _row("Meir North", "VY-ANR-0003", "Antwerp, Meir", [State.SUSPENDED_EV, charging], 110, 44, "2 sessions", 3),
        _row("Ring Plaza West A", "VY-BRU-0011", "Brussels, Ring Plaza", [charging] * 3, 3610, 400, "3 sessions", 1),
        _row("Domplatz 2", "VY-CGN-0005", "Cologne, Domplatz", [State.RESERVED, free], 0, 22, "Held until 10:10", 12),
        _row("Westfalen Park 1", "VY-DTM-0002", "Dortmund, Westfalenhalle Nord", [OFFLINE, OFFLINE], None, 22, "Not connected", 3120),
        _row("Hafencity Hub 3", "VY-HAM-0014", "Hamburg, Hafencity", [charging, State.FINISHING], 740, 150, "2 sessions", 2),
        _row("Messe Ost 6", "VY-FRA-0018", "Frankfurt, Messe Ost", [State.UNAVAILABLE, free], 0, 150, "Planned work until 14:00", 7),
    ]
    fragments = {name: reverse("kit:fragment", args=[name]) for name in ("rows", "kpis", "feed", "map")}
    return {
        "lead": "48 stations at 9 sites. 4 need attention.",
        "live_topic": "kit",
        "fragments": fragments,
        "kpis": {
            "connectors": 104,
            "in_use": 31,
            "mix": [(charging, 31), (State.PREPARING, 6), (free, 58), (State.RESERVED, 3), (State.FAULTED, 2), (OFFLINE, 4)],
            "power_w": 1_284_000,
            "power_limit_w": 2_000_000,
            "power_course": [880, 902, 890, 934, 918, 1010, 985, 1075, 1050, 1120, 1090, 1170, 1150, 1215, 1190, 1262, 1240, 1290, 1284],
            "energy_wh": 6_840_000,
            "energy_note": "8% above last Sunday",
            "energy_tone": "good",
            "revenue_url": reverse("kit:fragment", args=["revenue"]),
            "availability": 0.987,
            "availability_note": "2 sites below the 97% goal",
            "availability_tone": "bad",
        },
        "tabs": [
            {"label": "All", "count": 48, "url": "?", "active": True},
            {"label": "Needs attention", "count": 4, "url": "?view=attention"},
            {"label": "DC fast", "count": 17, "url": "?view=dc"},
            {"label": "My region", "count": 21, "url": "?view=mine"},
        ],
        "filters": [
            {"name": "state", "label": "State", "value": "", "options": [(s, look.word) for s, look in CONNECTOR_LOOKS.items()]},
            {"name": "site", "label": "Site", "value": "", "options": [("1", "Rotterdam, Waalhaven")]},
            {"name": "model", "label": "Model", "value": "", "options": [("dc", "DC-300")]},
            {"name": "firmware", "label": "Firmware", "value": "", "options": [("3.4.1", "3.4.1")]},
        ],
        "page": Paginator(rows * 5, 10).page(1),
        "bulk": {
            "url": "#",
            "actions": [
                {"name": "reset", "label": "Reset", "icon": "rotate-ccw", "confirm": "Sessions at these stations end. Drivers pay for what they drew so far."},
                {"name": "limit", "label": "Set power limit", "icon": "gauge"},
                {"name": "firmware", "label": "Update firmware", "icon": "upload"},
                {"name": "out", "label": "Take out of service", "icon": "ban", "tone": "danger", "confirm": "Nobody can start charging there until they are put back."},
            ],
        },
        "map": fleet_map.draw(
            [
                fleet_map.Place("Amsterdam", 4.9, 52.37, 8, "faulted", "#"),
                fleet_map.Place("Utrecht", 5.12, 52.09, 3, "available", "#"),
                fleet_map.Place("Rotterdam", 4.48, 51.92, 9, "charging", "#"),
                fleet_map.Place("Antwerp", 4.40, 51.22, 5, "charging", "#"),
                fleet_map.Place("Brussels", 4.35, 50.85, 7, "charging", "#"),
                fleet_map.Place("Cologne", 6.96, 50.94, 4, "available", "#"),
                fleet_map.Place("Dortmund", 7.46, 51.51, 2, "offline", "#"),
                fleet_map.Place("Hamburg", 10.0, 53.55, 6, "charging", "#"),
                fleet_map.Place("Frankfurt", 8.68, 50.11, 4, "available", "#"),
            ]
        ),
        "map_note": {"faulted": 1, "offline": 1},
        "feed": [
            {"at": NOW, "icon": "zap", "tone": "charging", "title": "Session started", "text": "Ring Plaza West A, connector 3"},
            {"at": NOW - dt.timedelta(seconds=16), "icon": "circle", "tone": "good", "title": "Connector free", "text": "Ring Plaza West B, connector 1"},
            {"at": NOW - dt.timedelta(seconds=31), "icon": "receipt-text", "tone": "charging", "title": "Session finished: 41.8 kWh, €24.66", "text": "Hafencity Hub 3, connector 2"},
            {"at": NOW - dt.timedelta(seconds=186), "icon": "shield", "tone": "idle", "title": "Certificate renews in 9 days", "text": "Messe Ost 4"},
            {"at": NOW - dt.timedelta(seconds=853), "icon": "triangle-alert", "tone": "bad", "title": "Ground failure", "text": "Zuidas Garage P1-05, connector 1"},
        ],
        "panel": _station(),
        "export_url": "#",
        "add_url": "#",
        "sort": "name",
    }


class _StartForm(forms.Form):
    token = forms.CharField(label="Token", help_text="Card or app token that pays for the session.")


def _actions() -> list[dict[str, Any]]:
    answer = reverse("kit:fragment", args=["command"])
    return [
        {"label": "Start", "icon": "play", "url": answer, "form": _StartForm()},
        {"label": "Stop", "icon": "square", "url": answer, "confirm": {"effect": "Ends the session of card 8831. The driver pays €25.49 for 43.2 kWh.", "title": "Stop connector 1?"}},
        {"label": "Unlock", "icon": "lock-open", "url": answer},
        {"label": "Update firmware", "icon": "upload", "url": answer, "disabled": "An update is already queued for tonight."},
        {"label": "Reset", "icon": "power", "url": answer, "tone": "danger", "confirm": {"effect": "2 sessions end (€25.49 and €17.05 are billed) and 3 connectors are away for about 90 s.", "title": "Reset Harbour Quay 1?", "typed": "Harbour Quay 1"}},
    ]


def _station() -> dict[str, Any]:
    return {
        "name": "Harbour Quay 1",
        "identity": "VY-ROT-0007",
        "url": reverse("kit:page", args=["station"]),
        "back_url": reverse("kit:page", args=["stations"]),
        "about": "DC-300, OCPP 2.0.1, security profile 2",
        "actions": _actions(),
        "tiles_url": reverse("kit:fragment", args=["tiles"]),
        "tiles": [
            {
                "state": State.CHARGING.value,
                "name": "1. CCS2",
                "power_w": 142_000,
                "selected": True,
                "slot_key": "evse:1",
                "facts": [
                    {"label": "Driver", "value": "Card ending 8831"},
                    {"label": "Energy, time", "value": "43.2 kWh, 18:42"},
                    {"label": "Cost so far", "value": "€25.49"},
                ],
            },
            {
                "state": State.CHARGING.value,
                "name": "2. CCS2",
                "power_w": 126_000,
                "slot_key": "evse:2",
                "facts": [
                    {"label": "Driver", "value": "J. de Boer"},
                    {"label": "Energy, time", "value": "28.9 kWh, 13:50"},
                ],
            },
            {"state": State.PREPARING.value, "name": "3. Type 2", "words": "Waiting for card"},
        ],
        "series_url": reverse("kit:series"),
        "chart_title": "Power, last 60 minutes",
        "zone": "Europe/Amsterdam",
        "facts": [
            {"label": "Connected", "value": "6 d 4 h"},
            {"label": "Last heartbeat", "value": "2 s ago"},
            {"label": "Firmware", "value": "3.4.1"},
            {"label": "Certificate", "value": "214 days left"},
            {"label": "Tariff", "value": "DC standard"},
            {"label": "Availability, 30 d", "value": "99.6%"},
            {"label": "Energy, 30 d", "value": "11.9 MWh"},
        ],
        "notices": [
            {"tone": "waiting", "icon": "upload", "text": "Update 3.4.2 is queued for tonight at 02:00."}
        ],
    }


def _command(status: str, **facts: Any) -> SimpleNamespace:
    return SimpleNamespace(
        uuid="0",
        status=status,
        is_final=True,
        requested_by="Lena Visser",
        requested_at=timezone.now() - dt.timedelta(minutes=3),
        **{
            "word": "", "error_code": "", "error_text": "", "effect_state": "", "effect_what": "",
            "effect_evidence": "", "effect_at": None, **facts,
        },
    )


def _tabs(current: str) -> list[dict[str, Any]]:
    return [
        {"label": "Live", "url": reverse("kit:page", args=["station"]), "active": current == "live"},
        {"label": "Sessions", "url": "#"},
        {"label": "OCPP log", "url": reverse("kit:page", args=["station-log"]), "active": current == "log"},
        {"label": "Configuration", "url": "#"},
        {"label": "Audit", "url": "#"},
    ]


def station_page() -> dict[str, Any]:
    return {
        "station": _station(),
        "tabs": _tabs("live"),
        "commands": [
            {"command": _command("accepted", word="Accepted", effect_state="observed", effect_what="restart", effect_evidence="Back online after 41 s", effect_at=NOW), "url": "#", "words": "Reset, soft"},
            {"command": _command("rejected", word="Rejected"), "url": "#", "words": "Unlock connector 2", "advice": "The connector is charging. Stop the session first."},
            {"command": _command("timed_out"), "url": "#", "words": "Read configuration", "advice": "The charger did not answer within 60 s. Look at the OCPP log, then try again."},
        ],
        "alerts": [{"tone": "bad", "icon": "triangle-alert", "text": "Connector 3 reported a ground failure 14 min ago.", "url": "#"}],
        "sessions_url": reverse("kit:fragment", args=["sessions"]),
    }


def _frames() -> list[dict[str, Any]]:
    call = '[2,"8d1f","TransactionEvent",{"eventType":"Updated","timestamp":"2026-11-22T08:43:18Z","seqNo":37}]'
    return [
        {"at": NOW, "direction": 1, "kind": 3, "action": "TransactionEvent", "message_id": "8d1f", "text": '[3,"8d1f",{}]', "latency_ms": 12},
        {"at": NOW, "direction": 0, "kind": 2, "action": "TransactionEvent", "message_id": "8d1f", "text": call},
        {"at": NOW - dt.timedelta(seconds=9), "direction": 1, "kind": 4, "action": "NotifyEvent", "message_id": "77a0", "text": '[4,"77a0","OccurrenceConstraintViolation","eventData is missing",{}]', "latency_ms": 4},
        {"at": NOW - dt.timedelta(seconds=9), "direction": 0, "kind": 2, "action": "NotifyEvent", "message_id": "77a0", "text": '[2,"77a0","NotifyEvent",{}]', "note": "eventData is missing"},
    ]


def log_page() -> dict[str, Any]:
    return {
        **station_page(),
        "tabs": _tabs("log"),
        "frames": _frames(),
        "older_url": "#",
        "log_url": reverse("kit:fragment", args=["log"]),
        "download_url": "#",
        "filters": [
            {"name": "direction", "label": "Direction", "value": "", "options": [("in", "From the charger"), ("out", "To the charger")]},
            {"name": "action", "label": "Message", "value": "", "options": [("NotifyEvent", "NotifyEvent")]},
            {"name": "from", "label": "From", "value": "2026-11-22", "type": "date"},
        ],
    }


def session_rows() -> list[dict[str, Any]]:
    at = NOW - dt.timedelta(minutes=19)
    url = reverse("kit:page", args=["session"])
    return [
        {"key": "1", "url": url, "started_at": at, "station": "Harbour Quay 1", "place": "Rotterdam, Waalhaven, connector 1", "token": "…8831", "state": State.CHARGING.value, "energy_wh": 43_200, "seconds": 1122, "cost": "€25.49"},
        {"key": "2", "url": url, "started_at": at, "station": "Harbour Quay 1", "place": "Rotterdam, Waalhaven, connector 2", "driver": "J. de Boer", "token": "…7F20", "state": State.CHARGING.value, "energy_wh": 28_900, "seconds": 830, "cost": "€17.05"},
        {"key": "3", "url": url, "started_at": at, "station": "Meir North", "place": "Antwerp, Meir, connector 1", "driver": "A. Peeters", "token": "…01C4", "state": State.SUSPENDED_EV.value, "energy_wh": 18_450, "seconds": 9022, "cost": "€8.12"},
        {"key": "4", "url": url, "started_at": at - dt.timedelta(days=1), "station": "Hafencity Hub 3", "place": "Hamburg, Hafencity, connector 2", "driver": "M. Brandt", "token": "…55D1", "ended_word": "Stopped by driver", "energy_wh": 41_800, "seconds": 2460, "cost": "€24.66"},
        {"key": "5", "url": url, "started_at": at - dt.timedelta(days=2), "station": "Domplatz 2", "place": "Cologne, Domplatz, connector 1", "driver": "K. Vogel", "token": "…9A3E", "ended_word": "Power lost", "review": "The meter jumped", "energy_wh": 939_000, "seconds": 4210},
    ]


def sessions() -> dict[str, Any]:
    return {
        "live_topic": "kit",
        "lead": "31 cars are charging. One session needs a decision.",
        "tabs": [
            {"label": "All", "url": "?", "active": True},
            {"label": "Charging now", "count": 31, "url": "?status=active"},
            {"label": "To review", "count": 1, "url": "?review=1"},
        ],
        "filters": [
            {"name": "site", "label": "Site", "value": "", "options": [("1", "Rotterdam, Waalhaven")]},
            {"name": "from", "label": "From", "value": "2026-11-01", "type": "date"},
        ],
        "keep": {},
        "rows": session_rows(),
        "rows_url": reverse("kit:fragment", args=["session-rows"]),
        "totals_url": reverse("kit:fragment", args=["session-totals"]),
        "older_url": "#",
        "show_cost": True,
        "export_url": "#",
    }


def session_totals() -> dict[str, Any]:
    money = [{"currency": "EUR", "sessions": 3611, "incl_vat": Decimal("48210.44")}]
    return {"totals": {"sessions": 3611, "energy_wh": 82_100_000, "money": money}}


def review() -> dict[str, Any]:
    actions = [
        {"label": "Release as reckoned", "icon": "circle-check", "tone": "primary", "url": "#", "confirm": {"effect": "€27.29 for 43.200 kWh is billed and the paper issued. This cannot be undone.", "title": "Release this session?"}},
        {"label": "Make it free", "icon": "ban", "url": "#", "confirm": {"effect": "Nothing is billed. The meter record stays as it is. This cannot be undone.", "title": "Make this session free?"}},
    ]
    return {"why": "The meter jumped", "energy": "43.200 kWh", "cost": cost(), "cost_reason": "", "actions": actions}


def cost() -> dict[str, Any]:
    return {
        "currency": "EUR",
        "total": Decimal("27.29"),
        "vat": Decimal("4.74"),
        "vat_included": True,
        "note": "Preliminary: the session still runs.",
        "lines": [
            {"text": "Energy", "reason": "43.200 kWh × €0.59/kWh, 09:24–09:43", "amount": Decimal("25.49")},
            {"text": "Idle time after charging", "reason": "6 min × €0.30, after 10 free minutes", "amount": Decimal("1.80")},
        ],
    }


def revenue_today() -> dict[str, Any]:
    return {"amount": Decimal("2914.60"), "currency": "EUR", "note": "217 sessions, €13.43 each"}


def session() -> dict[str, Any]:
    start = NOW - dt.timedelta(minutes=19)

    def moment(minutes: float, icon: str, tone: str, title: str, text: str = "", aside: str = "") -> dict[str, Any]:
        at = start + dt.timedelta(minutes=minutes)
        return {"at": at, "icon": icon, "tone": tone, "title": title, "text": text, "aside": aside}

    return {
        "live_topic": "kit",
        "session": {
            "title": "Harbour Quay 1, connector 1",
            "ident": "4f1c-0917",
            "back_url": reverse("kit:page", args=["sessions"]),
            "state": State.CHARGING.value,
            "energy_wh": 43_200,
            "power_w": 142_000,
            "seconds": 1122,
            "soc": 64,
            "slot_key": "session:1",
            "badge_url": reverse("kit:fragment", args=["badge"]),
        },
        "actions": _actions()[1:3],
        "review": [{"text": "The meter jumped", "holds": True}, {"text": "The station's clock was off", "holds": False}],
        "review_url": reverse("kit:fragment", args=["review"]),
        "curves": [{"label": "Power", "url": "?", "active": True}, {"label": "Energy", "url": "?curve=energy"}, {"label": "Charge level", "url": "?curve=soc"}],
        "curve_title": "Power",
        "messages_url": reverse("kit:fragment", args=["session-log"]),
        "evidence": [{"at": start, "kind": "Start", "digest": "9ca06b5fcb913045", "text": '{"register_wh": "11482310"}'}],
        "facts": [
            {"label": "Driver", "value": "Card ending 8831"},
            {"label": "Started", "value": "09:24:37"},
            {"label": "Meter at start", "value": "11,482.310 kWh"},
            {"label": "Tariff", "value": "DC standard", "url": "#"},
            {"label": "Protocol", "value": "OCPP 2.0.1"},
        ],
        "moments": [
            moment(-1, "plug", "waiting", "Plugged in"),
            moment(-0.6, "id-card", "idle", "Card accepted", "Card ending 8831, €50.00 held"),
            moment(0, "zap", "charging", "Charging began", "Started by card", "11,482.310 kWh"),
            moment(7, "circle-gauge", "paused", "Limited to 90 kW", "Site limit of 300 kW was reached"),
            moment(9, "zap", "charging", "Limit lifted"),
            moment(18.7, "activity", "charging", "Newest reading", "64% charged", "43.2 kWh"),
        ],
        "series_url": reverse("kit:series"),
        "zone": "Europe/Amsterdam",
        "cost_url": reverse("kit:fragment", args=["cost"]),
        "cost_total_url": reverse("kit:fragment", args=["cost-total"]),
    }


def driver_session(*, soc: bool = True) -> dict[str, Any]:
    start = NOW - dt.timedelta(minutes=19)
    points = [(start, 0.0), (start + dt.timedelta(minutes=2), 141_000.0)]
    points += [
        (start + dt.timedelta(minutes=2 + i * 0.34), 142_000 + 1500 * math.sin(i * 0.55) - max(0, i - 44) * 900)
        for i in range(1, 51)
    ]
    return {
        "live_topic": "kit",
        "heading": "Harbour Quay 1",
        "about": "Connector 1, CCS2, up to 300 kW",
        "find_url": "#",
        "stop": {"url": "#", "own_url": "#", "effect": "You pay €25.49 for 43.2 kWh. Parking is free for 10 min after that.", "is_here": True, "waits": False, "words": ""},
        "session": {
            "state": State.CHARGING.value,
            "soc": 64 if soc else None,
            "target_soc": 80,
            "target_words": "80% at about 10:02",
            "energy_wh": 43_200,
            "power_w": 142_000,
            "seconds": 1122,
            "fragment_url": reverse("kit:fragment", args=["my-session"]),
            "power_url": reverse("kit:fragment", args=["my-power"]),
            "cost_url": reverse("kit:fragment", args=["my-cost"]),
            "points": points,
            "limit_w": 150_000,
            "started_at": start,
            "end_at": start + dt.timedelta(minutes=30),
            "power_words": "The charger holds back for now",
            "cost": my_cost(),
            "receipt_words": "The receipt goes to l.visser@example.org.",
        },
    }


def my_cost() -> dict[str, Any]:
    return {
        "currency": "EUR",
        "total": Decimal("25.49"),
        "vat": Decimal("4.42"),
        "vat_included": True,
        "summary": "43.2 kWh at €0.59 per kWh, VAT included",
        "lines": cost()["lines"][:1],
        "prices": [{"what": "Energy", "price": "€0.59 per kWh", "when": ""}, {"what": "Idle time after charging", "price": "€0.30 per minute", "when": "after 10 free minutes"}],
        "conditions": [],
        "idle": {"tone": "waiting", "text": "Parking after charging: free for 10 min, then €0.30 per minute."},
    }


def history() -> dict[str, Any]:
    def row(station: str, days: int, wh: int, seconds: int, cost: str, note: str = "") -> dict[str, Any]:
        at = NOW - dt.timedelta(days=days)
        url = reverse("kit:page", args=["driver-receipt"])
        return {"url": url, "station": station, "started_at": at, "energy_wh": wh, "seconds": seconds, "cost": cost, "note": note}

    return {
        "months": [
            {
                "month": dt.date(2026, 11, 1),
                "energy_wh": 214_300,
                "totals": ["€121.07"],
                "statement_url": "#",
                "invoices": [{"number": "I-2026-000117", "url": "#"}],
                "sessions": [
                    row("Harbour Quay 1", 0, 43_200, 1122, "€25.49", "running"),
                    row("Domplatz 2", 6, 18_310, 7230, "€9.10"),
                    row("Ring Plaza West A", 15, 61_020, 1690, "€36.00"),
                ],
            },
            {
                "month": dt.date(2026, 10, 1),
                "energy_wh": 88_700,
                "totals": ["€49.88", "CHF 12.40"],
                "statement_url": "#",
                "sessions": [row("Meir North", 31, 22_400, 10_800, "€9.90")],
            },
        ],
        "older_url": "#",
        "csv_url": "#",
    }


def receipt() -> dict[str, Any]:
    charged = driver_session()["session"]
    lines = {**cost(), "note": "", "vat_lines": [{"rate": "21%", "net": Decimal("22.55"), "vat": Decimal("4.74")}]}
    return {
        "back_url": reverse("kit:page", args=["driver-history"]),
        "heading": "Harbour Quay 1",
        "about": "Connector 1, CCS2, up to 300 kW",
        "receipt": {
            "started_at": charged["started_at"],
            "stopped_at": NOW,
            "ended_word": "Stopped at the charger",
            "energy_wh": 43_200,
            "seconds": 1122,
            "token": "Card ending 8831",
            "number": "R-2026-004711",
            "kind": "Receipt",
            "cost": lines,
            "cost_reason": "",
            "is_waiting": False,
            "payment": "Receipt R-2026-004711",
            "seller": ["Rijnland Laden B.V.", "Waalhaven 12, Rotterdam", "NL001234567B01"],
            "operator": "Rijnland Laden",
            "pdf_url": "#",
        },
        **{name: charged[name] for name in ("points", "limit_w", "started_at")},
        "end_at": NOW,
    }


def find() -> dict[str, Any]:
    price = {"plug": "", "summary": "€0.59 per kWh, VAT included", "idle": "Parking after charging: free for 10 min, then €0.30 per minute.", "example": "€17.70"}

    def place(name: str, states: list[str], *, here: bool = True) -> dict[str, Any]:
        free = states.count(State.AVAILABLE.value)
        connectors = [{"state": state, "name": f"{i}. CCS2"} for i, state in enumerate(states, 1)]
        return {"name": name, "label": "8QQB67ZT", "power": "up to 300 kW", "is_here": here, "free": free, "count": len(states), "connectors": connectors, "prices": [price]}

    quays = [place("Harbour Quay 1", [State.CHARGING.value, State.AVAILABLE.value]), place("Harbour Quay 2", [State.CHARGING.value] * 2)]
    return {
        "filters": [{"name": "plug", "label": "Plug", "value": "", "options": [("CCS2", "CCS2")]}, {"name": "free", "label": "Free now", "value": "", "options": [("1", "Yes")]}],
        "sites": [
            {"name": "Rotterdam, Waalhaven", "address": "Waalhaven Oostzijde 12", "operator": "", "map_url": "#", "places": quays},
            {"name": "Dortmund, Westfalen Park", "address": "An der Buschmühle 3", "operator": "", "map_url": "", "places": [place("Westfalen Park 1", [OFFLINE] * 2, here=False)]},
        ],
        "page": Paginator(quays, 10).page(1),
    }


def _course_of_days() -> dict[str, Any]:
    rows = [
        {"name": str(day), "title": f"{day} November", "amount": Decimal(2100 + 900 * math.sin(day * 0.9) + day * 20).quantize(Decimal("0.01"))}
        for day in range(1, 23)
    ]
    return {"rows": rows, "currency": "EUR", "title": "Revenue per day, VAT included"}


def finance() -> dict[str, Any]:
    return {
        "lead": "November 2026, so far",
        "periods": [
            {"label": "October", "url": "?month=2026-10"},
            {"label": "November", "url": "?month=2026-11", "active": True},
        ],
        "currencies": [
            {
                "code": "EUR",
                "figures": [
                    {"label": "Revenue", "amount": Decimal("48210.44"), "url": "#", "note": "3,611 sessions"},
                    {"label": "Collected", "amount": Decimal("45980.10"), "url": "#"},
                    {"label": "Outstanding", "amount": Decimal("2230.34"), "url": "#", "note": "7 invoices are overdue", "tone": "bad"},
                    {"label": "Refunds", "amount": Decimal("118.20"), "url": "#"},
                    {"label": "Payment fees", "amount": Decimal("912.77"), "url": "#"},
                ],
            },
            {"code": "CHF", "figures": [{"label": "Revenue", "amount": Decimal("1204.10"), "url": "#"}, {"label": "Collected", "amount": Decimal("1204.10"), "url": "#"}]},
        ],
        "exceptions": [
            {"icon": "gauge", "tone": "bad", "title": "Meter jumped", "text": "The bill waits for a decision", "count": 1, "url": "#"},
            {"icon": "tag", "tone": "waiting", "title": "No tariff", "text": "Sessions without a price", "count": 3, "url": "#"},
            {"icon": "credit-card", "tone": "bad", "title": "Capture failed", "text": "The card refused €18.20", "count": 1, "url": "#"},
            {"icon": "hourglass", "tone": "idle", "title": "Unbilled sessions", "text": "Ended, invoice follows on 1 December", "count": 214, "url": "#"},
        ],
        "course": _course_of_days(),
        "documents": [
            {"number": "VY-2026-004711", "url": "#", "title": "Card ending 8831", "at": NOW, "state": {"label": "Paid", "tone": "good"}, "amount": Decimal("27.29"), "currency": "EUR"},
            {"number": "VY-2026-004710", "url": "#", "title": "Bakkerij De Boer B.V.", "at": NOW, "state": {"label": "Open", "tone": "waiting"}, "amount": Decimal("812.40"), "currency": "EUR"},
            {"number": "VY-2026-C0012", "url": "#", "title": "Credit note to VY-2026-004688", "at": NOW, "state": {"label": "Issued", "tone": "idle"}, "amount": Decimal("-12.10"), "currency": "EUR"},
        ],
        "documents_url": "#",
        "revenue_url": reverse("kit:page", args=["finance-revenue"]),
    }


def revenue() -> dict[str, Any]:
    def row(name: str, site: str, sessions: int, kwh: int, net: str, vat: str, gross: str) -> dict[str, Any]:
        return {"name": name, "site": site, "url": "#", "sessions": sessions, "energy_wh": kwh * 1000, "net": Decimal(net), "vat": Decimal(vat), "gross": Decimal(gross), "currency": "EUR"}

    return {
        "lead": "1 to 22 November 2026, Europe/Amsterdam. One total per currency, never converted.",
        "filters": [
            {"name": "from", "label": "From", "value": "2026-11-01", "type": "date"},
            {"name": "to", "label": "To", "value": "2026-11-22", "type": "date"},
            {"name": "site", "label": "Site", "value": "", "options": [("1", "Rotterdam, Waalhaven")]},
        ],
        "keep": {"by": "day"},
        "totals": [{"currency": "EUR", "figures": [{"label": "Gross", "value": "€48,210.44"}, {"label": "Net", "value": "€39,843.34"}, {"label": "Sessions", "value": "3,611"}, {"label": "Energy", "value": "82.1 MWh"}]}],
        "course": _course_of_days(),
        "group_tabs": [{"label": "By day", "url": "?by=day", "active": True}, {"label": "By site", "url": "?by=site"}, {"label": "By tariff", "url": "?by=tariff"}],
        "group_label": "Day",
        "rows": [
            row("22 Nov", "Rotterdam, Waalhaven", 88, 2140, "1043.48", "219.13", "1262.61"),
            row("22 Nov", "Amsterdam, Zuidas", 61, 811, "395.04", "82.96", "478.00"),
            row("21 Nov", "Rotterdam, Waalhaven", 94, 2390, "1165.29", "244.71", "1410.00"),
            row("21 Nov", "Amsterdam, Zuidas", 57, 799, "389.26", "81.74", "471.00"),
        ],
        "sums": [row("", "", 300, 6140, "2993.07", "628.54", "3621.61")],
        "csv_url": "#",
    }


class _KitForm(forms.Form):
    name = forms.CharField(label="Name", help_text="As drivers see it.")
    email = forms.EmailField(label="E-mail", required=False)
    site = forms.ChoiceField(label="Site", choices=[("1", "Rotterdam, Waalhaven"), ("2", "Amsterdam, Zuidas")])
    public = forms.BooleanField(label="Show on the public map", required=False)
    plug = forms.ChoiceField(label="Plug", choices=[("ccs", "CCS2"), ("t2", "Type 2")], widget=forms.RadioSelect)


def components() -> dict[str, Any]:
    return {
        "states": list(CONNECTOR_LOOKS),
        "commands": list(COMMAND_LOOKS),
        "form": _KitForm({"name": "", "email": "lena@", "site": "1", "plug": "ccs"}),
        "steps": ["Site and name", "Identity and security", "Connect", "Test charge", "Label"],
        "mix": stations()["kpis"]["mix"],
        "course": stations()["kpis"]["power_course"],
        "points": driver_session()["session"]["points"],
        "frames": _frames(),
        "actions": _actions(),
        "tabs": _tabs("live"),
        "map": stations()["map"],
        "now": NOW,
    }


def station_sessions() -> dict[str, Any]:
    return {"rows": [{**row, "place": "Connector 1"} for row in session_rows()[:4]], "show_cost": True}


def series() -> dict[str, Any]:
    """An hour of power at the open station, as `static/js/chart.js` reads it."""
    start = NOW - dt.timedelta(minutes=60)
    kilowatts = [w / 1000 for w in course()]
    return {
        "unit": "kW",
        "times": [int(start.timestamp()) + round(i * 3600 / (len(kilowatts) - 1)) for i in range(len(kilowatts))],
        "series": [
            {"name": "Drawn", "style": "area", "values": kilowatts},
            {"name": "Limit 300 kW", "style": "limit", "values": [300] * len(kilowatts)},
        ],
    }


def stations_empty() -> dict[str, Any]:
    return {**stations(), "page": Paginator([], 10).page(1), "map": fleet_map.draw([]), "feed": [], "panel": None}


def command() -> dict[str, Any]:
    return {"command": _command("accepted"), "command_url": "#", "command_words": "Unlock connector 1"}


def driver_idle() -> dict[str, Any]:
    return {"session": None, "find_url": "#"}
