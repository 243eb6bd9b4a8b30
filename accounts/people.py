"""What people choose for themselves."""

from __future__ import annotations

from typing import TypedDict, Unpack

from django.db import transaction

from accounts.models import User


class Choices(TypedDict, total=False):
    """Name, language, zone, theme and keys of a person."""

    name: str
    language: str
    time_zone: str
    theme: str
    shortcuts: bool


def change_person(user: User, **choices: Unpack[Choices]) -> None:
    """Store what a person chose about their own pages."""
    for name, value in choices.items():
        setattr(user, name, value)
    with transaction.atomic():
        user.save(update_fields=list(choices))
