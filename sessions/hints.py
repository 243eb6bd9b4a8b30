"""Tells the open pages of operator and driver that something about a session changed."""

from __future__ import annotations

from sessions.models import ChargingSession
from stations.hints import driver_group, operator_group, stale_after_commit


def tell_after_commit(session: ChargingSession) -> None:
    """Make what open pages show of a session stale, once the running transaction is committed."""
    names = (f"session:{session.uuid}", f"session-state:{session.uuid}", "sessions")
    stale_after_commit(operator_group(session.operator_id), *names, "kpis")
    if session.driver_id is not None:
        stale_after_commit(driver_group(session.driver_id), *names)
