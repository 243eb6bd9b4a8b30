"""Console pages that set things up: sites, new stations and their first dial, what was refused at the door."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import time_zones
from accounts.errors import Refused
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from stations import enrolment, overview, station_page, wording
from stations.api import ocpp_url
from stations.forms import AdoptForm, NewStationForm, SiteForm, StationForm, VersionForm
from stations.models import Connector, Frame, RefusedConnection, Site, Station
from stations.views_console import find_station, station_context

LATELY = dt.timedelta(minutes=30)
REFUSED_SHOWN = 100
DECISIONS = {"accepted": enrolment.approve, "rejected": enrolment.reject}


# --- sites -----------------------------------------------------------------------------------------------


@console(Ability.SEE_STATIONS)
def site_list(request: ConsoleRequest) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    free = Q(stations__evses__connectors__status="Available") & _here(now)
    used = Count("stations", filter=Q(stations__retired_at=None), distinct=True)
    rows = (
        Site.objects.visible_to(actor)
        .filter(retired_at=None)
        .annotate(
            station_count=used,
            connector_count=Count("stations__evses__connectors", filter=Q(stations__retired_at=None), distinct=True),
            free_count=Count("stations__evses__connectors", filter=free, distinct=True),
        )
    )
    drawn: dict[int, Any] = {}
    sites = list(rows)
    by_station = dict(overview.stations(actor).values_list("pk", "site_id"))
    for session in overview.running(actor, now):
        if session.is_here and session.power_w is not None:
            site_id = by_station.get(session.station_id, 0)
            drawn[site_id] = drawn.get(site_id, 0) + session.power_w
    shown = [{"site": site, "power_w": drawn.get(site.pk, 0)} for site in sites]
    context = {"rows": shown, "add_url": reverse("console:site_new") if _may_edit(request) else ""}
    return render(request, "console/site_list.html", context)


@console(Ability.SEE_STATIONS)
def site(request: ConsoleRequest, id: UUID) -> HttpResponse:
    actor, now = request.actor, timezone.now()
    found: Site = get_object_or_404(Site.objects.visible_to(actor), uuid=id)
    rows = overview.stations(actor).filter(site=found).select_related("site").annotate(is_here=overview.here(now))
    stations = list(rows.order_by("name", "identity"))
    active = overview.running(actor, now, [station.pk for station in stations])
    shown = overview.rows_of(stations, active, now)
    context = {
        "site": found,
        "rows": [
            {
                "name": str(row.station),
                "identity": row.station.identity,
                "url": reverse("console:station", args=[row.station.uuid]),
                "connectors": [{"state": p.state, "name": station_page.plug_name(p)} for p in row.plugs],
                "power_w": row.power_w,
                "limit_w": row.limit_w,
                "now": wording.now(row, now),
            }
            for row in shown
        ],
        "power_w": sum((row.power_w for row in shown if row.power_w is not None), 0),
        "may_edit": _may_edit(request),
    }
    return render(request, "console/site_detail.html", context)


@console(Ability.EDIT_STATIONS)
def site_new(request: ConsoleRequest) -> HttpResponse:
    operator = request.actor.operator
    form = SiteForm(request.POST or None, initial={"time_zone": operator.time_zone, "country": operator.country})
    if request.method == "POST" and form.is_valid():
        try:
            made = enrolment.create_site(operator, by=request.actor, **form.facts)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, _("The site is there."))
            if request.GET.get("then") == "station":
                return redirect("console:station_new")
            return redirect("console:site", made.uuid)
    return _site_form(request, form, None)


@console(Ability.EDIT_STATIONS)
def site_edit(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found: Site = get_object_or_404(Site.objects.visible_to(request.actor), uuid=id)
    form = SiteForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        try:
            enrolment.edit_site(found, by=request.actor, **form.facts)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, _("Saved."))
            return redirect("console:site", found.uuid)
    return _site_form(request, form, found)


@require_POST
@console(Ability.EDIT_STATIONS)
def site_retire(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found: Site = get_object_or_404(Site.objects.visible_to(request.actor).filter(retired_at=None), uuid=id)
    enrolment.retire_site(found, by=request.actor, at=timezone.now())
    messages.success(request, _("The site is retired."))
    return redirect("console:sites")


def _site_form(request: ConsoleRequest, form: SiteForm, found: Site | None) -> HttpResponse:
    context = {"form": form, "site": found, "time_zones": time_zones.names()}
    return render(request, "console/site_form.html", context)


def _here(now: dt.datetime) -> Q:
    return Q(stations__gateway__in=overview.living_gateways(now), stations__retired_at=None)


# --- a new station -------------------------------------------------------------------------------------------


@console(Ability.EDIT_STATIONS)
def station_new(request: ConsoleRequest) -> HttpResponse:
    """The wizard: what it is, then how it dials and whether it came."""
    if not Site.objects.visible_to(request.actor).filter(retired_at=None).exists():
        messages.info(request, _("A charger stands at a site. Add the site first."))
        return redirect(f"{reverse('console:site_new')}?then=station")
    initial = {"identity": request.GET.get("identity", "")[:48], "site": request.GET.get("site", "")}
    form = NewStationForm(request.POST or None, by=request.actor, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            made = enrolment.create_station(by=request.actor, **form.facts)
        except (Refused, ValidationError) as error:
            _show(form, error)
        else:
            # Shown in the answer itself: the password is readable now and never again.
            return _connection(request, made.station, made.password, step=2)
    return render(request, "console/station_new.html", {"form": form})


@console(Ability.SEE_STATIONS)
def station_connection(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _connection(request, find_station(request, id), "")


@console(Ability.SEE_STATIONS)
def station_waiting(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """The checklist of a first dial; it fetches itself anew."""
    found = find_station(request, id)
    return render(request, "console/fragments/_waiting.html", _checklist(request, found))


@require_POST
@console(Ability.EDIT_STATIONS)
def station_password(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    try:
        password = enrolment.set_password(found, request.POST.get("password", ""), by=request.actor, now=timezone.now())
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("console:station_connection", found.uuid)
    return _connection(request, found, password)


@require_POST
@console(Ability.EDIT_STATIONS)
def station_registration(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """Let a station in that waits, or keep it out."""
    decide = DECISIONS.get(request.POST.get("registration", ""))
    if decide is None:
        raise Http404
    found = decide(find_station(request, id), by=request.actor, now=timezone.now())
    let_in = found.registration == Station.Registration.ACCEPTED
    messages.success(request, _("The charger is let in.") if let_in else _("The charger is kept out."))
    return _to_station(request, found)


@console(Ability.EDIT_STATIONS)
def station_edit(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    form = StationForm(request.POST or None, by=request.actor, initial=StationForm.initial_of(found))
    if request.method == "POST" and form.is_valid():
        try:
            changed = enrolment.change_station(found, by=request.actor, now=timezone.now(), **form.facts)
        except (Refused, ValidationError) as error:
            _show(form, error)
        else:
            messages.success(request, _("Saved."))
            if changed.password:
                return _connection(request, changed.station, changed.password)
            return redirect("console:station", found.uuid)
    running = overview.sessions_of(request.actor).filter(overview.RUNS, station=found).count()
    return render(request, "console/station_form.html", {"form": form, "station": found, "running": running})


@require_POST
@console(Ability.EDIT_STATIONS)
def station_retire(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = find_station(request, id)
    enrolment.retire_station(found, by=request.actor, at=timezone.now())
    messages.success(request, _("%(station)s is retired. Its history stays.") % {"station": found})
    return redirect("console:stations")


def _connection(request: ConsoleRequest, station: Station, password: str, *, step: int = 0) -> HttpResponse:
    """Show how a station dials; ``password`` where one was made just now."""
    station = find_station(request, station.uuid)
    context = station_context(request, station, "station_connection") | {
        "dial": station_page.dial_parts(ocpp_url(station.identity)),
        "password": password,
        "needs_password": station.security_profile in enrolment.WITH_PASSWORD,
        "step": step,
        "may_edit": _may_edit(request),
        **_checklist(request, station),
    }
    response = render(request, "console/station_connection.html", context)
    if password:
        response["Cache-Control"] = "no-store"
    return response


def _checklist(request: ConsoleRequest, station: Station) -> dict[str, Any]:
    """Return how far a station has come in introducing itself, and what was refused of it lately."""
    now = timezone.now()
    plugs = list(Connector.objects.filter(evse__station=station).select_related("evse"))
    reported = [plug for plug in plugs if plug.reported_at is not None]
    is_here = bool(getattr(station, "is_here", False))
    has_booted = station.booted_at is not None
    energy = Frame.objects.filter(station=station, action__in=["MeterValues", "TransactionEvent"])
    refused = list(_refused(request).filter(Q(station=station) | Q(identity__iexact=station.identity)))
    lately = [row for row in refused if row.last_at > (station.connected_at or now - LATELY)]
    dialled = station.connected_at is not None or bool(lately)
    steps = [
        (_("It dials this installation"), dialled, ""),
        (_("Identity and password are right"), station.connected_at is not None, ""),
        (
            _("Connected, version agreed"),
            is_here,
            f"OCPP {station.protocol}" if is_here and station.protocol else "",
        ),
        (_("It introduced itself"), has_booted, wording.about(station) if has_booted else ""),
        (
            _("Its connectors reported"),
            bool(reported),
            ", ".join(station_page.plug_name(_plug(plug)) for plug in reported),
        ),
        (_("First meter value"), energy.exists(), _("comes with the first session")),
    ]
    return {
        "station_id": station.uuid,
        "waiting_url": reverse("console:station_waiting", args=[station.uuid]),
        "steps": [{"label": label, "done": done, "note": note} for label, done, note in steps],
        "attempts": _attempts(request, lately[:5], confirm=False),  # the list is fetched anew under the question
        "is_complete": is_here and has_booted and bool(reported),
        "station_url": reverse("console:station", args=[station.uuid]),
    }


def _plug(plug: Connector) -> overview.Plug:
    return overview.Plug(plug.pk, plug.evse.number, plug.number, plug.type, plug.status, "", "", None)


# --- what was refused ----------------------------------------------------------------------------------------


@console(Ability.SEE_STATIONS)
def refused(request: ConsoleRequest) -> HttpResponse:
    """Chargers nobody knows, and known ones that were not let in."""
    rows = list(_refused(request)[:REFUSED_SHOWN])
    unknown = [row for row in rows if row.station_id is None]
    context = {
        "unknown": _attempts(request, unknown),
        "known": _attempts(request, [row for row in rows if row.station_id is not None]),
        "waiting": overview.stations(request.actor).filter(registration=Station.Registration.PENDING),
        "may_edit": _may_edit(request),
    }
    return render(request, "console/refused_list.html", context)


@require_POST
@console(Ability.EDIT_STATIONS)
def refused_adopt(request: ConsoleRequest) -> HttpResponse:
    """Make a station of an unknown charger."""
    form = AdoptForm(request.POST, by=request.actor)
    if not form.is_valid():
        texts = [str(text) for errors in form.errors.values() for text in errors]
        messages.error(request, " ".join(texts))
        return redirect("console:refused")
    given = form.cleaned_data
    rows = _refused(request).filter(identity=given["identity"], reason="unknown_identity")
    found = rows.exclude(credential="").first() or rows.first()
    if found is None:
        raise Http404
    try:
        made = enrolment.adopt(found, given["site"], name=given["name"], by=request.actor)
    except Refused as no:
        messages.error(request, no.text)
        return redirect("console:refused")
    return _connection(request, made.station, made.password, step=2)


@require_POST
@console(Ability.EDIT_STATIONS)
def station_version(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """Take a charger that names no version for one of this version."""
    found, form = find_station(request, id), VersionForm(request.POST)
    if form.is_valid():
        enrolment.change_station(found, by=request.actor, now=timezone.now(), **form.facts)
        messages.success(request, _("At its next dial it is spoken to in that version."))
    return redirect("console:refused")


def _refused(request: ConsoleRequest) -> Any:
    actor = request.actor
    rows = RefusedConnection.objects.visible_to(actor).select_related("station")
    if actor.site_scope is not None:
        rows = rows.filter(Q(station=None) | Q(station__site_id__in=actor.site_scope))
    return rows


def _attempts(request: ConsoleRequest, rows: list[RefusedConnection], *, confirm: bool = True) -> list[dict[str, Any]]:
    """Return refused connections with the plain reason, what helps, and a button that does it."""
    actor = request.actor
    known = list(overview.stations(actor).values_list("identity", flat=True)) if rows else []
    ids = {row.station_id for row in rows if row.station_id}
    stations = {one.pk: one for one in overview.stations(actor).filter(pk__in=ids)}
    # The sites are read once for all forms, which differ in nothing else.
    sites = list(AdoptForm(by=actor).fields["site"].choices) if any(not row.station_id for row in rows) else []  # type: ignore[attr-defined]
    shown = []
    for row in rows:
        reason, fix = wording.refusal(row)
        station = stations.get(row.station_id or 0)
        action = _fix(request, row, station, sites) if _may_edit(request) else None
        if action is not None and not confirm:
            action.pop("confirm", None)
        shown.append(
            {
                "row": row,
                "reason": reason,
                "fix": fix,
                "nearest": "" if station else enrolment.nearest(row.identity, known),
                "station": station,
                "action": action,
            }
        )
    return shown


def _fix(
    request: ConsoleRequest, row: RefusedConnection, station: Station | None, sites: list[Any]
) -> dict[str, Any] | None:
    if station is None:
        form = AdoptForm(by=request.actor, initial={"identity": row.identity}, auto_id=f"adopt-{row.pk}-%s")
        form.fields["site"].choices = sites  # type: ignore[attr-defined]
        return {
            "label": _("Adopt"),
            "icon": "plus",
            "tone": "primary",
            "url": reverse("console:refused_adopt"),
            "form": form,
        }
    if row.reason == "no_subprotocol":
        return {
            "label": _("Choose version"),
            "icon": "settings",
            "url": reverse("console:station_version", args=[station.uuid]),
            "form": VersionForm(auto_id=f"version-{row.pk}-%s"),
        }
    if row.reason in {"wrong_password", "no_credentials"}:
        return {
            "label": _("New password"),
            "icon": "key-round",
            "url": reverse("console:station_password", args=[station.uuid]),
            "confirm": {
                "effect": _("The old password ends at the next dial. Enter the new one in the charger."),
                "title": _("Make a new password?"),
            },
        }
    return None


def _may_edit(request: ConsoleRequest) -> bool:
    return may(request.actor, Ability.EDIT_STATIONS)


def _to_station(request: ConsoleRequest, station: Station) -> HttpResponse:
    """Load the station's page anew, from htmx too."""
    url = reverse("console:station", args=[station.uuid])
    if request.headers.get("HX-Request"):
        answer = HttpResponse()
        answer["HX-Redirect"] = url
        return answer
    return redirect(url)


def _show(form: forms.Form, error: Refused | ValidationError) -> None:
    """Put a domain's no beside the field it is about."""
    if isinstance(error, Refused):
        form.add_error(error.field if error.field in form.fields else None, error.text)
    elif hasattr(error, "error_dict"):
        for name, errors in error.error_dict.items():
            form.add_error(name if name in form.fields else None, errors)
    else:
        form.add_error(None, error)
