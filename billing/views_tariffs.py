"""Console pages about tariffs: price lists in words, their versions, publishing and retiring."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from accounts.models import Operator
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from billing import price_words, tariff_object, tariffs
from billing.costs import shown_rating
from billing.forms import TariffForm, TariffObjectForm
from billing.models import ExactEncoder, Tariff, TariffAssignment, VatCategory
from billing.snapshot import FieldError, Tax
from billing.taxes import vat_rate
from sessions.words import joined, plug_of
from stations.models import Connector

Dimension = TariffAssignment.Dimension
STATES = {
    "valid": ("good", "circle-check"),
    "planned": ("waiting", "calendar-clock"),
    "over": ("idle", "history"),
    "retired": ("idle", "ban"),
}


@console(Ability.SEE_MONEY)
def tariff_list(request: ConsoleRequest) -> HttpResponse:
    now = timezone.now()
    versions = _versions(request).order_by("name", "code", "-version")
    newest: dict[str, Tariff] = {}
    counts: dict[str, int] = {}
    for version in versions:
        counts[version.code] = counts.get(version.code, 0) + 1
        known = newest.get(version.code)
        # The version that holds now stands for the tariff; else the latest.
        if known is None or (_state(version, now) == "valid" and _state(known, now) != "valid"):
            newest[version.code] = version
    rates = rates_at(request.actor.operator, now)
    rows: list[dict[str, Any]] = [
        {
            "name": tariff.name,
            "code": tariff.code,
            "url": reverse("console:tariff", args=[tariff.uuid]),
            "summary": price_words.summary(tariffs.snapshot_of(tariff), rates),
            "applies": applies_words(tariff),
            "versions": counts[tariff.code],
            "state": state_badge(tariff, now),
            "is_out": _state(tariff, now) in ("over", "retired"),
        }
        for tariff in newest.values()
    ]
    shows_all = "all" in request.GET
    context = {
        "rows": [row for row in rows if shows_all or not row["is_out"]],
        "hidden": 0 if shows_all else sum(row["is_out"] for row in rows),
        "add_url": reverse("console:tariff_new") if may(request.actor, Ability.EDIT_TARIFFS) else "",
    }
    return render(request, "console/tariff_list.html", context)


@console(Ability.SEE_MONEY)
def tariff(request: ConsoleRequest, id: UUID) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    found: Tariff = get_object_or_404(_versions(request), uuid=id)
    snapshot = tariffs.snapshot_of(found)
    rates = rates_at(actor.operator, now)
    zone = actor.operator.time_zone
    example = price_words.example(snapshot, rates, at=_noon(now, zone), zone=zone)
    edits = may(actor, Ability.EDIT_TARIFFS)
    retire = {
        "label": _("Retire"),
        "icon": "ban",
        "tone": "danger",
        "url": reverse("console:tariff_retire", args=[found.uuid]),
        "confirm": {
            "effect": _(
                "No new session begins with it. Where no other tariff holds, sessions are held back without a price. "
                "Sessions that run keep it."
            ),
            "title": _("Retire this tariff?"),
        },
    }
    context = {
        "tariff": found,
        "state": state_badge(found, now),
        "lines": price_words.price_lines(snapshot, rates),
        "vat": price_words.vat_words(snapshot, rates),
        "conditions": price_words.conditions(snapshot),
        "applies": applies_words(found),
        "example": shown_rating(example.to_json(), gross_first=snapshot.tax is not Tax.EXCLUDED) if example else None,
        "problems": tariff_object.problems(snapshot),
        "versions": [
            {"tariff": version, "state": state_badge(version, now), "is_this": version.pk == found.pk}
            for version in _versions(request).filter(code=found.code).order_by("-version")
        ],
        "sessions_count": found.bills.count(),
        "ocpi": json.dumps({**found.ocpi, "voltyard": found.voltyard}, cls=ExactEncoder, indent=2, ensure_ascii=False),
        "edit_url": f"{reverse('console:tariff_new')}?from={found.uuid}" if edits else "",
        "retire": retire if edits and found.retired_at is None else None,
    }
    return render(request, "console/tariff_detail.html", context)


@console(Ability.EDIT_TARIFFS)
def tariff_new(request: ConsoleRequest) -> HttpResponse:
    """Publish a tariff, or the next version of one: by a form for the usual prices, or as the OCPI object."""
    before = _before(request)
    simple = TariffForm.initial_of(before) if before else {}
    by = "object" if simple is None else request.GET.get("by", "form")
    form: TariffForm | TariffObjectForm
    if by == "object":
        first = TariffObjectForm.initial_of(before) if before else {"ocpi": _sample(request.actor.operator)}
        form = TariffObjectForm(request.POST or None, initial=first)
    else:
        code = before.code if before else ""
        form = TariffForm(request.POST or None, actor=request.actor, code=code, initial=simple or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = tariffs.publish(request.actor, form.body, by=request.actor, at=timezone.now())
        except FieldError as error:
            form.add_error(None, f"{error.field}: {error.text}")
        else:
            messages.success(request, _("%(tariff)s is published.") % {"tariff": made})
            return redirect("console:tariff", made.uuid)
    source = f"from={before.uuid}&" if before else ""
    context = {
        "form": form,
        "before": before,
        "ways": [
            {"label": _("Usual prices"), "url": f"?{source}by=form", "active": by != "object"},
            {"label": _("OCPI object"), "url": f"?{source}by=object", "active": by == "object"},
        ],
        "is_simple": simple is not None,
    }
    return render(request, "console/tariff_form.html", context)


@require_POST
@console(Ability.EDIT_TARIFFS)
def tariff_retire(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found: Tariff = get_object_or_404(_versions(request), uuid=id)
    tariffs.retire(found, by=request.actor, at=timezone.now())
    messages.success(request, _("%(tariff)s is retired.") % {"tariff": found})
    return redirect("console:tariff", found.uuid)


# --- parts -------------------------------------------------------------------------------------------


def rates_at(operator: Operator, now: dt.datetime) -> dict[str, Decimal]:
    """Return the VAT rates in percent by category in the operator's country today."""
    today = now.astimezone(ZoneInfo(operator.time_zone)).date()
    found = {category: vat_rate(operator.country, category, on=today) for category in VatCategory.values}
    return {category: rate for category, rate in found.items() if rate is not None}


def applies_words(tariff: Tariff) -> str:
    """Return where and for whom a tariff holds. Its assignments come prefetched."""
    groups: dict[int, list[str]] = {}
    for row in sorted(tariff.assignments.all(), key=lambda row: (row.dimension, row.pk)):
        target = row.site or row.station or row.driver
        plug = plug_of(Connector(type=row.text)) if row.dimension == Dimension.CONNECTOR_TYPE else row.text
        groups.setdefault(row.dimension, []).append(str(target) if target else plug)
    parts = [f"{Dimension(dimension).label}: {_few(names)}" for dimension, names in groups.items()]
    return joined(parts) or _("Everywhere")


def state_badge(tariff: Tariff, now: dt.datetime) -> dict[str, str]:
    """Return word, tone and icon of a version's state."""
    words = {"valid": _("Valid"), "planned": _("Planned"), "over": _("Over"), "retired": _("Retired")}
    state = _state(tariff, now)
    tone, icon = STATES[state]
    return {"label": words[state], "tone": tone, "icon": icon}


def _state(tariff: Tariff, now: dt.datetime) -> str:
    if tariff.retired_at is not None and tariff.retired_at <= now:
        return "retired"
    if tariff.valid_from > now:
        return "planned"
    return "over" if tariff.valid_to is not None and tariff.valid_to <= now else "valid"


def _versions(request: ConsoleRequest) -> Any:
    rows = Tariff.objects.visible_to(request.actor)
    return rows.prefetch_related("assignments__site", "assignments__station", "assignments__driver")


def _before(request: ConsoleRequest) -> Tariff | None:
    try:
        id = UUID(request.GET.get("from", ""))
    except ValueError:
        return None
    return _versions(request).filter(uuid=id).first()  # type: ignore[no-any-return]


def _few(names: Iterable[str]) -> str:
    every = list(names)
    if len(every) <= 3:
        return ", ".join(every)
    more = len(every) - 2
    rest = ngettext("%(count)s more", "%(count)s more", more) % {"count": more}
    return f"{', '.join(every[:2])} + {rest}"


def _noon(now: dt.datetime, zone: str) -> dt.datetime:
    """Return noon of today: the example must not depend on when the page is opened."""
    return now.astimezone(ZoneInfo(zone)).replace(hour=12, minute=0, second=0, microsecond=0).astimezone(dt.UTC)


def _sample(operator: Operator) -> str:
    body = {
        "country_code": operator.country,
        "party_id": "VLT",
        "currency": operator.currency,
        "tax_included": "YES",
        "tariff_alt_text": [{"language": "en", "text": _("New tariff")}],
        "elements": [
            {
                "price_components": [{"type": "ENERGY", "price": 0.49, "step_size": 1}],
                "restrictions": {"start_time": "22:00", "end_time": "06:00"},
            },
            {"price_components": [{"type": "ENERGY", "price": 0.59, "step_size": 1}]},
        ],
        "voltyard": {"applies_to": {}, "idle_grace_seconds": 600},
    }
    return json.dumps(body, indent=2, ensure_ascii=False)
