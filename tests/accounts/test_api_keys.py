"""Keys of programs: the secret is shown once, kept as a digest, and ends when revoked."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import PermissionDenied

from accounts.api_keys import KeyRoleTooHigh, create_api_key, find_api_key, revoke_api_key
from accounts.models import ApiKey, AuditEntry, Membership, Operator
from accounts.roles import Role
from tests.factories import NOW, make_api_key

pytestmark = pytest.mark.django_db


def test_the_secret_finds_its_key_and_is_stored_nowhere(tenant: Operator, owner: Membership) -> None:
    key, secret = create_api_key(tenant, name="Meter import", role="viewer", by=owner)
    assert find_api_key(secret, at=NOW) == key
    row = ApiKey.objects.values().get()
    assert not any(secret in str(value) for value in row.values())
    assert secret.startswith(row["prefix"])
    assert len(secret) >= 40
    assert secret not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("secret", ["", "vy_", "vy_wrong", "\udc80"])
def test_anything_else_finds_nothing(tenant: Operator, secret: str) -> None:
    make_api_key(tenant)
    assert find_api_key(secret, at=NOW) is None


def test_a_key_is_found_after_a_new_key_writes(tenant: Operator, settings) -> None:
    key, secret = make_api_key(tenant)
    settings.CREDENTIAL_KEYS = {"t2": b"another key of thirty-two bytes!", **settings.CREDENTIAL_KEYS}
    assert find_api_key(secret, at=NOW) == key


def test_a_revoked_key_is_unknown_at_once(tenant: Operator, owner: Membership) -> None:
    key, secret = make_api_key(tenant)
    revoke_api_key(key, by=owner, at=NOW)
    revoke_api_key(key, by=owner, at=NOW + dt.timedelta(days=1))
    assert find_api_key(secret, at=NOW) is None
    assert key.revoked_at == NOW
    assert AuditEntry.objects.filter(action="api_key.revoked").count() == 1


def test_use_is_noted_at_most_once_a_minute(tenant: Operator, django_assert_num_queries) -> None:
    key, secret = make_api_key(tenant)
    find_api_key(secret, at=NOW)
    with django_assert_num_queries(1):
        find_api_key(secret, at=NOW + dt.timedelta(seconds=59))
    key.refresh_from_db()
    assert key.last_used_at == NOW
    find_api_key(secret, at=NOW + dt.timedelta(seconds=60))
    key.refresh_from_db()
    assert key.last_used_at == NOW + dt.timedelta(seconds=60)


def test_nobody_makes_a_key_above_themselves(tenant: Operator, admin: Membership, operator: Membership) -> None:
    with pytest.raises(KeyRoleTooHigh):
        create_api_key(tenant, name="x", role=Role.OWNER, by=admin)
    with pytest.raises(PermissionDenied):
        create_api_key(tenant, name="x", role=Role.VIEWER, by=operator)
    assert not ApiKey.objects.exists()
