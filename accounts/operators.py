"""Tenants: made, suspended and resumed by the installation's staff."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from accounts import audit
from accounts.members import invite_member, person_at
from accounts.models import Membership, Operator, User
from accounts.roles import Role
from accounts.time_zones import validate_time_zone


def create_operator(
    *,
    name: str,
    slug: str,
    email: str,
    password: str | None,
    currency: str = "EUR",
    zone: str = "Europe/Berlin",
    country: str = "DE",
    by: User | None,
    at: dt.datetime,
) -> tuple[Operator, bool]:
    """Return the operator of ``slug`` and whether it was made now; an existing one is left as it is.

    With a password the owner can log in at once (a person who has a log-in keeps their own password);
    without one they get an invitation, which needs ``by``. ``by`` is None for the command line.
    Raises ValidationError for a wrong zone, currency, country or short name.
    """
    validate_time_zone(zone)
    operator = Operator(name=name, slug=slug.lower(), currency=currency, time_zone=zone, country=country)
    with transaction.atomic():
        existing = Operator.objects.filter(slug=operator.slug).first()
        if existing is not None:
            return existing, False
        operator.full_clean()
        operator.save()
        audit.record(by, "operator.created", operator, operator_id=operator.pk)
        if password is None:
            assert by is not None, "an invitation comes from somebody"
            invite_member(operator, email=email, role=Role.OWNER, by=by, at=at)
        else:
            owner = person_at(email) or User.objects.create_user(email, password)
            member = Membership.objects.create(user=owner, operator=operator, role=Role.OWNER)
            audit.record(by, "member.joined", member, role=member.role)
    return operator, True


def suspend(operator: Operator, *, by: User, at: dt.datetime) -> None:
    """Close an operator: its people see a notice, its keys are refused. Nothing is deleted."""
    with transaction.atomic():
        if Operator.objects.filter(pk=operator.pk, suspended_at=None).update(suspended_at=at):
            audit.record(by, "operator.suspended", operator, operator_id=operator.pk)
    operator.refresh_from_db()


def resume(operator: Operator, *, by: User) -> None:
    """Open a suspended operator again."""
    with transaction.atomic():
        if Operator.objects.filter(pk=operator.pk).exclude(suspended_at=None).update(suspended_at=None):
            audit.record(by, "operator.resumed", operator, operator_id=operator.pk)
    operator.refresh_from_db()
