"""What is tidied up by itself, and what is not."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from accounts import members, tasks
from accounts.models import IdempotentCall, Invitation, Membership, Operator
from accounts.roles import Role
from tests.factories import make_api_key

pytestmark = pytest.mark.django_db


def test_invitations_are_forgotten_a_month_after_they_end(owner: Membership) -> None:
    now = timezone.now()
    for number, age in enumerate((0, 30, 36, 38, 400)):
        members.invite_member(
            owner.operator, email=f"{number}@example.com", role=Role.VIEWER, by=owner, at=now - dt.timedelta(days=age)
        )
    assert tasks.forget_invitations() == 2
    assert set(Invitation.objects.values_list("email", flat=True)) == {
        "0@example.com",
        "1@example.com",
        "2@example.com",
    }
    assert tasks.forget_invitations() == 0


def test_answers_are_forgotten_after_a_month(tenant: Operator) -> None:
    key, _secret = make_api_key(tenant)
    for number in range(250):
        IdempotentCall.objects.create(api_key=key, key=str(number), request_digest="", status=200, body="")
    old = timezone.now() - dt.timedelta(days=30, seconds=1)
    IdempotentCall.objects.exclude(key__in=["7", "8"]).update(created_at=old)
    assert tasks.forget_answers() == 248
    assert set(IdempotentCall.objects.values_list("key", flat=True)) == {"7", "8"}
