"""Who sells at a site."""

from __future__ import annotations

from accounts.models import Operator
from billing.models import LegalEntity, SiteSeller
from stations.models import Site


def ensure_legal_entity(operator: Operator) -> LegalEntity:
    """Return the operator's default seller; the first time it is made from the operator's name, country and zone."""
    entity, _ = LegalEntity.objects.get_or_create(
        operator=operator,
        is_default=True,
        defaults={"name": operator.name, "country": operator.country, "time_zone": operator.time_zone},
    )
    return entity


def seller_of(site: Site) -> LegalEntity:
    """Return the legal entity that sells at a site: its own, else the operator's default."""
    own = SiteSeller.objects.filter(site=site).select_related("entity").first()
    entity = own.entity if own else ensure_legal_entity(site.operator)
    entity.operator = site.operator
    return entity
