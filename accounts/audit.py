"""Who did what to which object: rows that are only ever added."""

from __future__ import annotations

from typing import Any

from django.db import models

from accounts.models import ApiKey, AuditEntry, Membership, User

By = User | Membership | ApiKey | None


def record(by: By, action: str, target: models.Model, /, *, operator_id: int | None = None, **facts: Any) -> AuditEntry:
    """Write one audit row beside the change it tells of, in the caller's transaction.

    ``by`` is None for Voltyard itself. ``facts`` must be JSON values and free of secrets; what changed is
    told as ``before`` and ``after``.
    """
    if operator_id is None:
        operator_id = getattr(target, "operator_id", None)
    user: User | None = None
    key: ApiKey | None = None
    label = "Voltyard"
    if isinstance(by, Membership):
        user, label = by.user, by.user.display_name
    elif isinstance(by, User):
        user, label = by, by.display_name
    elif isinstance(by, ApiKey):
        key, label = by, f"API key {by.name}"
    return AuditEntry.objects.create(
        operator_id=operator_id,
        user=user,
        api_key=key,
        actor=label,
        action=action,
        target_type=target._meta.label_lower,
        target_id=str(getattr(target, "uuid", None) or target.pk),
        target=str(target)[:200],
        facts=facts,
    )
