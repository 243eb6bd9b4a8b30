"""Console pages about commands: asking, and what became of it."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console
from stations import commands, overview, station_page
from stations.forms import FORMS, RAW, CommandForm
from stations.models import Command, Station
from stations.states import command_look
from stations.views_console import find_station, station_context

PAGE = 30
MOST_AT_ONCE = 200


@console(Ability.SEE_STATIONS)
def station_commands(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _commands_page(request, find_station(request, id))


@require_POST
@console(Ability.COMMAND)
def command_new(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """Ask a station for something: a word with its arguments, or a raw call."""
    station, now = find_station(request, id), timezone.now()
    word = request.POST.get("command", "")
    if word not in FORMS:
        return HttpResponse(_("Unknown command."), status=400, content_type="text/plain; charset=utf-8")
    form = station_page.form_of(station_page.one(request.actor, station, now), word, request.POST)
    if form.is_valid():
        waits = "queue" in request.POST
        try:
            if word == RAW:
                given = form.cleaned_data
                row = commands.ask_raw(
                    station, given["action"], given["payload"], by=request.actor, now=now, queue=waits
                )
            else:
                row = commands.ask(station, word, form.arguments, by=request.actor, now=now, queue=waits)
        except commands.BadCommand as no:
            form.add_error(no.field if no.field in form.fields else None, no.text)
        else:
            return _asked(request, row)
    texts = " ".join(str(text) for errors in form.errors.values() for text in errors)
    if request.headers.get("HX-Request"):
        return HttpResponse(texts, status=400, content_type="text/plain; charset=utf-8")
    if word == "stop":  # its form stands at a session, not on the page that answers
        messages.error(request, texts)
    return _commands_page(request, station, word, form)


@console(Ability.SEE_STATIONS)
def command(request: ConsoleRequest, id: UUID) -> HttpResponse:
    """One command as a fragment; it fetches itself until it is settled."""
    return _fragment(request, _find(request, id))


@require_POST
@console(Ability.COMMAND)
def command_again(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _asked(request, commands.ask_again(_find(request, id), by=request.actor, now=timezone.now()))


@require_POST
@console(Ability.COMMAND)
def stations_bulk(request: ConsoleRequest) -> HttpResponse:
    """Ask the ticked stations for one thing; each gets a command of its own."""
    name = request.POST.get("action", "")
    wanted = [key for key in request.POST.getlist("station")[:MOST_AT_ONCE] if overview.is_uuid(key)]
    found = list(overview.stations(request.actor).filter(uuid__in=wanted))
    if name not in station_page.BULK or not found:
        messages.error(request, _("Choose stations and what to ask of them."))
        return redirect("console:stations")
    word, arguments = station_page.BULK[name]
    now = timezone.now()
    rows = [commands.ask(station, word, arguments, by=request.actor, now=now) for station in found]
    return redirect(f"{reverse('console:command_results')}?c={','.join(str(row.uuid) for row in rows)}")


@console(Ability.SEE_STATIONS)
def command_results(request: ConsoleRequest) -> HttpResponse:
    """What became of commands that were asked together."""
    wanted = [key for key in request.GET.get("c", "").split(",")[:MOST_AT_ONCE] if overview.is_uuid(key)]
    rows = list(Command.objects.visible_to(request.actor).filter(uuid__in=wanted).select_related("station"))
    rows.sort(key=lambda row: row.station.name)
    counts = Counter(row.status for row in rows)
    failed = len(rows) - counts["accepted"] - counts["queued"] - counts["sent"]
    shown = station_page.told(rows, may_command=may(request.actor, Ability.COMMAND))
    for one, row in zip(shown, rows, strict=True):
        one["station"], one["station_url"] = row.station, reverse("console:station", args=[row.station.uuid])
    context = {
        "rows": shown,
        "title": shown[0]["words"] if shown else _("Commands"),
        "total": len(rows),
        "done": sum(row.is_final for row in rows),
        "failed": failed,
        "counts": [(command_look(status), count) for status, count in counts.most_common()],
        "is_settled": all(row.is_final and row.effect_state != Command.Effect.PENDING for row in rows),
    }
    whole = "part" not in request.GET
    template = "console/command_results.html" if whole else "console/fragments/_command_results.html"
    return render(request, template, context)


def _commands_page(
    request: ConsoleRequest, station: Station, word: str = "", bound: CommandForm | None = None
) -> HttpResponse:
    context = station_context(request, station, "station_commands")
    row = context["row"]
    before = request.GET.get("before", "")
    rows = station.commands.select_related("station")
    if overview.is_uuid(before):
        rows = rows.filter(requested_at__lte=get_object_or_404(rows, uuid=before).requested_at).exclude(uuid=before)
    found = list(rows[: PAGE + 1])
    may_command = may(request.actor, Ability.COMMAND)
    words = {
        "start": (_("Start a session"), "play"),
        "unlock": (_("Unlock a connector"), "lock-open"),
        "reset": (_("Reset"), "power"),
        "change_availability": (_("Put into or out of service"), "ban"),
        "trigger": (_("Ask for a message"), "refresh-cw"),
        "get_configuration": (_("Read the configuration"), "book-open"),
        "set_configuration": (_("Change a setting"), "settings"),
        "clear_cache": (_("Clear the card cache"), "eraser"),
        RAW: (_("Raw call"), "braces"),
    }
    offered = [
        {
            "word": name,
            "label": label,
            "icon": icon,
            "form": bound if name == word and bound else station_page.form_of(row, name, auto_id=f"{name}-%s"),
            "open": name == word,
        }
        for name, (label, icon) in words.items()
    ]
    context |= {
        "commands": station_page.told(found[:PAGE], may_command=may_command),
        "older_url": f"?before={found[PAGE - 1].uuid}" if len(found) > PAGE else "",
        "offered": offered if may_command else [],
        "command_url": reverse("console:command_new", args=[station.uuid]),
        "version": station.protocol,
    }
    return render(request, "console/station_commands.html", context, status=400 if bound else 200)


def _find(request: ConsoleRequest, id: UUID) -> Command:
    rows = Command.objects.visible_to(request.actor).select_related("station")
    found: Command = get_object_or_404(rows, uuid=id)
    return found


def _asked(request: ConsoleRequest, row: Command) -> HttpResponse:
    """Answer htmx with the command, a plain form with the list it stands in."""
    if request.headers.get("HX-Request"):
        return _fragment(request, row)
    return redirect("console:station_commands", row.station.uuid)


def _fragment(request: ConsoleRequest, row: Command) -> HttpResponse:
    (shown,) = station_page.told([row], may_command=may(request.actor, Ability.COMMAND))
    context = {
        "command": row,
        "command_url": shown["url"],
        "command_words": shown["words"],
        "command_advice": shown["advice"],
        "command_effect": shown["effect"],
        "retry": shown["retry"],
    }
    return render(request, "console/fragments/_command.html", context)
