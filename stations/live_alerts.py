"""The live topic of the alerts page."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from typing import Any

from django.utils import timezone, translation

from accounts.models import Membership
from accounts.roles import Ability, may
from accounts.views_auth import acting_as
from stations import display
from stations.hints import operator_group
from stations.live import Page
from stations.models import Alert


def alerts(user: Any, key: str, session: Mapping[str, Any]) -> Page | None:
    """Return what the alerts page listens to; None for who acts at no operator."""
    actor = acting_as(user, session)
    if actor is None or actor.operator.is_suspended or not may(actor, Ability.SEE_STATIONS):
        return None
    return Page(group=operator_group(actor.operator_id), watches={"alerts": "alerts"}, slots=lambda: open_count(actor))


def open_count(actor: Membership) -> Mapping[str, str]:
    """Return the count beside the entry of the rail, for any live page to show."""
    count = Alert.objects.visible_to(actor).filter(resolved_at=None).count()
    zone = zoneinfo.ZoneInfo(actor.user.time_zone or actor.operator.time_zone)
    with translation.override(actor.user.language), timezone.override(zone):
        return {"rail:alerts": display.number(count)}
