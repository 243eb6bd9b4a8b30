"""Keys of programs: made, found, revoked. Only a keyed digest of a key is ever stored."""

from __future__ import annotations

import datetime as dt
import secrets

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts import audit
from accounts.errors import Refused
from accounts.keys import digest, digests
from accounts.models import ApiKey, Membership, Operator
from accounts.roles import Ability, Role, require

PURPOSE = "api key"
USE_NOTED_EVERY = dt.timedelta(minutes=1)


class KeyRoleTooHigh(Refused):
    """Somebody who is not an owner wants a key that may do what only owners may."""

    code = "role_too_high"


def create_api_key(operator: Operator, *, name: str, role: str, by: Membership | None) -> tuple[ApiKey, str]:
    """Return a new key's row and its secret, which cannot be shown again.

    ``by`` is None for the installation's command line. Raises KeyRoleTooHigh, PermissionDenied.
    """
    if by is not None:
        require(by, Ability.MANAGE_KEYS)
        if role == Role.OWNER and by.role != Role.OWNER:
            raise KeyRoleTooHigh(_("Only an owner can make a key with the owner's rights."), field="role")
    secret = f"vy_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            operator=operator,
            name=name,
            role=Role(role),
            prefix=secret[:10],
            digest=digest(secret.encode(), purpose=PURPOSE),
            created_by=by.user if by else None,
        )
        audit.record(by, "api_key.created", key, role=key.role)
    return key, secret


def revoke_api_key(key: ApiKey, *, by: Membership, at: dt.datetime) -> None:
    """End a key; whoever uses it is refused from now on. Revoking twice changes nothing."""
    require(by, Ability.MANAGE_KEYS)
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=at):
            audit.record(by, "api_key.revoked", key)
    key.refresh_from_db()


def find_api_key(secret: str, *, at: dt.datetime) -> ApiKey | None:
    """Return the key of this secret with its operator, None where it is unknown or revoked.

    Notes its use, at most once a minute.
    """
    rows = ApiKey.objects.select_related("operator")
    key: ApiKey | None = rows.filter(
        digest__in=digests(secret.encode("utf-8", "surrogateescape"), purpose=PURPOSE), revoked_at=None
    ).first()
    if key is not None and (key.last_used_at is None or at - key.last_used_at >= USE_NOTED_EVERY):
        unnoted = Q(last_used_at=None) | Q(last_used_at__lte=at - USE_NOTED_EVERY)
        with transaction.atomic():
            ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=at)
    return key
