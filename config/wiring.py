"""The map: what a station says → who handles it. Follow-up tasks are named where they are asked for.

``orm=False`` marks handlers that need no savepoint: they hand their rows to the batch. ``flush_first``
writes what earlier messages of the batch handed in, because the handler reads those rows back.
"""

from __future__ import annotations

from billing import admission
from billing import live_pages as session_pages
from sessions import lifecycle
from stations import commands, live_alerts, live_pages, messages, registry
from stations.live import Topic
from stations.ocpp.inbox import Handler

HANDLERS: dict[type, Handler] = {
    messages.Connected: Handler(registry.connect),
    messages.Left: Handler(registry.leave),
    messages.Booted: Handler(registry.boot),
    messages.Beat: Handler(registry.beat, orm=False),
    messages.StatusChanged: Handler(registry.status),
    messages.AuthorizeAsked: Handler(admission.authorize),
    messages.SessionStarted: Handler(admission.start, flush_first=True),
    messages.MeterRead: Handler(lifecycle.record, orm=False),
    messages.TokenPresented: Handler(admission.present),
    messages.SessionEnded: Handler(admission.end, flush_first=True),
    messages.VendorSaid: Handler(registry.vendor, orm=False),
    messages.Noted: Handler(registry.note),
    messages.CommandWanted: Handler(commands.claim),
    messages.CommandAnswered: Handler(commands.finish),
}

LIVE_TOPICS: dict[str, Topic] = {
    "alerts": live_alerts.alerts,
    "driver": session_pages.driver,
    "driver-session": session_pages.driver_session,
    "messages": live_pages.messages,
    "session": session_pages.session,
    "sessions": session_pages.sessions,
    "station": live_pages.station,
    "stations": live_pages.stations,
}
