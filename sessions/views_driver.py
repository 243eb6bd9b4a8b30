"""The driver's running session: its figures and its curve as fragments, and the stop button."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.errors import Refused
from accounts.views_auth import DriverRequest, driver
from sessions import my_session
from sessions.models import ChargingSession
from stations import commands


class Over(Refused):
    """The session has ended already."""

    code = "already_ended"


@driver
def session_figures(request: DriverRequest, id: UUID) -> HttpResponse:
    found = find_own(request, id)
    context = {"session": my_session.figures(found, timezone.now()), "live_topic": f"driver-session:{found.uuid}"}
    return render(request, "driver/fragments/_session.html", context)


@driver
def session_power(request: DriverRequest, id: UUID) -> HttpResponse:
    found, now = find_own(request, id), timezone.now()
    shown = {**my_session.figures(found, now), **my_session.curve(found, now)}
    return render(request, "driver/fragments/_power.html", {"session": shown, "running": found.is_open})


@driver
def session_stopping(request: DriverRequest, id: UUID) -> HttpResponse:
    """The stop button and what became of the stop; the page asks until that is settled."""
    stop = my_session.stop_of(find_own(request, id), timezone.now())
    return render(request, "driver/fragments/_stopping.html", {"stop": stop})


@require_POST
@driver
def session_stop(request: DriverRequest, id: UUID) -> HttpResponse:
    """Ask the charger to end one's own session."""
    found = find_own(request, id)
    if not found.is_open:
        raise Over(_("This session has ended already."))
    if not my_session.is_waiting(my_session.stop_asked(found)):  # a second tap asks nothing new
        commands.ask(found.station, "stop", {"session": str(found.uuid)}, by=request.user, now=timezone.now())
    return redirect("driver:finished", found.uuid)


def find_own(request: DriverRequest, id: UUID) -> ChargingSession:
    """Return one of the person's own sessions. Raises Http404."""
    found: ChargingSession = get_object_or_404(my_session.own_sessions(request.driver_ids), uuid=id)
    return found
