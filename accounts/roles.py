"""What each role may do: one table, asked by views, API and sockets alike."""

from __future__ import annotations

import enum
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """The six presets of a membership or API key."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Administrator")
    OPERATOR = "operator", _("Operator")
    TECHNICIAN = "technician", _("Technician")
    FINANCE = "finance", _("Finance")
    VIEWER = "viewer", _("Viewer")


class Ability(enum.StrEnum):
    """One thing a person or program may do with an operator's rows."""

    SEE_STATIONS = "see_stations"
    EDIT_STATIONS = "edit_stations"
    COMMAND = "command"
    SEE_SESSIONS = "see_sessions"
    REVIEW_SESSIONS = "review_sessions"
    SEE_PEOPLE = "see_people"  # personal data unmasked
    EDIT_TOKENS = "edit_tokens"
    SEE_MONEY = "see_money"
    EDIT_TARIFFS = "edit_tariffs"
    EDIT_MONEY = "edit_money"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_KEYS = "manage_keys"
    SEE_AUDIT = "see_audit"
    OWN = "own"  # ownership, legal entity, payout account


_EVERYTHING_BUT_OWNERSHIP = frozenset(Ability) - {Ability.OWN}

ABILITIES: dict[str, frozenset[Ability]] = {
    Role.OWNER: frozenset(Ability),
    Role.ADMIN: _EVERYTHING_BUT_OWNERSHIP,
    Role.OPERATOR: frozenset(
        {
            Ability.SEE_STATIONS,
            Ability.EDIT_STATIONS,
            Ability.COMMAND,
            Ability.SEE_SESSIONS,
            Ability.REVIEW_SESSIONS,
            Ability.SEE_PEOPLE,
            Ability.EDIT_TOKENS,
            Ability.SEE_MONEY,
            Ability.EDIT_TARIFFS,
            Ability.SEE_AUDIT,
        }
    ),
    Role.TECHNICIAN: frozenset({Ability.SEE_STATIONS, Ability.EDIT_STATIONS, Ability.COMMAND, Ability.SEE_SESSIONS}),
    Role.FINANCE: frozenset(
        {
            Ability.SEE_STATIONS,
            Ability.SEE_SESSIONS,
            Ability.REVIEW_SESSIONS,
            Ability.SEE_PEOPLE,
            Ability.SEE_MONEY,
            Ability.EDIT_TARIFFS,
            Ability.EDIT_MONEY,
            Ability.SEE_AUDIT,
        }
    ),
    Role.VIEWER: frozenset({Ability.SEE_STATIONS, Ability.SEE_SESSIONS, Ability.SEE_MONEY}),
}


def may(actor: Any, ability: Ability) -> bool:
    """Tell whether ``actor`` (a Membership or an ApiKey: anything with a ``role``) has ``ability``."""
    return ability in ABILITIES.get(getattr(actor, "role", ""), frozenset())


def require(actor: Any, ability: Ability) -> None:
    """Raise PermissionDenied (403) where ``actor`` lacks ``ability``."""
    if not may(actor, ability):
        raise PermissionDenied(_("Your role does not allow this."))
