"""The only way to rows of an operator.

An *actor* is whoever asks inside one operator: a `Membership` (a person in the console) or an `ApiKey`.
Both have ``operator_id`` and ``role``; a membership may also be limited to some sites. Rows of another
operator do not exist for an actor: views turn the empty answer into 404.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from django.db import models

M = TypeVar("M", bound=models.Model, covariant=True)


class Actor(Protocol):
    """Who acts, inside which operator, in which role."""

    operator_id: int
    role: str

    @property
    def site_scope(self) -> frozenset[int] | None:
        """Primary keys of the sites this actor is limited to; None for all."""


class Scoped(models.QuerySet[M]):
    """Rows of a tenant-owned model; the model's `ScopedManager` knows the way to their operator and site."""

    def visible_to(self, actor: Actor) -> Self:
        """Return the rows ``actor`` may know of."""
        manager = self.model._default_manager
        assert isinstance(manager, ScopedManager)
        rows = self.filter(**{manager.operator_path: actor.operator_id})
        scope = actor.site_scope
        if scope is not None and manager.site_path is not None:
            rows = rows.filter(**{f"{manager.site_path}__in": scope})
        return rows


_Manager = models.Manager.from_queryset(Scoped)


class ScopedManager(_Manager[M]):
    """Manager of a tenant-owned model.

    ``operator_path`` leads from the model to ``operator_id``; ``site_path`` to the site's key, where the
    model belongs to a site (a technician limited to sites sees only those).
    """

    def __init__(self, operator_path: str = "operator_id", site_path: str | None = None) -> None:
        super().__init__()
        self.operator_path = operator_path
        self.site_path = site_path


scoped = ScopedManager
