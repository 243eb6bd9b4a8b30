"""Tenants: made once per short name, suspended and resumed."""

from __future__ import annotations

import pytest
from django.core import mail
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry, Invitation, Membership, Operator, User
from accounts.operators import create_operator, resume, suspend
from accounts.roles import Role
from tests.factories import NOW, PASSWORD, make_person

pytestmark = pytest.mark.django_db


def new(**fields):
    given = {"name": "Lighthouse", "slug": "Lighthouse", "email": "boss@example.com", "password": PASSWORD}
    return create_operator(**{**given, "by": None, "at": NOW, **fields})


def test_an_operator_comes_with_its_owner() -> None:
    operator, created = new(currency="NOK", zone="Europe/Oslo", country="NO")
    assert created
    assert (operator.slug, operator.currency, operator.time_zone, operator.country) == (
        "lighthouse",
        "NOK",
        "Europe/Oslo",
        "NO",
    )
    owner = Membership.objects.get(operator=operator)
    assert (owner.role, owner.user.email) == (Role.OWNER, "boss@example.com")
    assert owner.user.check_password(PASSWORD)


def test_a_second_call_changes_nothing() -> None:
    first, _created = new()
    before = (Operator.objects.values().get(), User.objects.count(), AuditEntry.objects.count())
    again, created = new(name="Other", email="other@example.com", currency="USD")
    assert (again.pk, created) == (first.pk, False)
    assert (Operator.objects.values().get(), User.objects.count(), AuditEntry.objects.count()) == before


def test_somebody_known_keeps_their_password() -> None:
    user = make_person("boss@example.com", "their own password")
    operator, _created = new()
    assert Membership.objects.get(operator=operator).user == user
    user.refresh_from_db()
    assert user.check_password("their own password")


def test_without_a_password_the_owner_is_invited(staff: User, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        operator, _created = new(password=None, by=staff)
    assert not Membership.objects.exists()
    invitation = Invitation.objects.get()
    assert (invitation.operator, invitation.role, invitation.email) == (operator, Role.OWNER, "boss@example.com")
    assert mail.outbox[0].to == ["boss@example.com"]


@pytest.mark.parametrize(
    "wrong", [{"zone": "Mars/Base"}, {"currency": "euro"}, {"country": "Germany"}, {"slug": "a b"}, {"slug": ""}]
)
def test_wrong_values_make_nothing(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        new(**wrong)
    assert not Operator.objects.exists()
    assert not User.objects.exists()


def test_suspending_and_resuming_is_told_once_each(tenant: Operator, staff: User) -> None:
    suspend(tenant, by=staff, at=NOW)
    suspend(tenant, by=staff, at=NOW)
    assert tenant.suspended_at == NOW
    resume(tenant, by=staff)
    resume(tenant, by=staff)
    assert not tenant.is_suspended
    told = AuditEntry.objects.filter(operator=tenant, user=staff).order_by("pk").values_list("action", flat=True)
    assert list(told) == ["operator.suspended", "operator.resumed"]
