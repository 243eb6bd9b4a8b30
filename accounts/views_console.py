"""Console pages about people and access: members, tokens, drivers, API keys, the audit trail."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import api_keys, drivers, members, tokens
from accounts.errors import Refused
from accounts.forms import (
    ApiKeyForm,
    AuditFilter,
    DriverForm,
    InviteForm,
    MemberForm,
    NewTokenForm,
    TokenFilter,
    TokenForm,
)
from accounts.models import ApiKey, AuditEntry, Driver, IdToken, Invitation, Membership
from accounts.roles import Ability, may
from accounts.views_auth import ConsoleRequest, console

PAGE = 50


# --- members -----------------------------------------------------------------------------------------


@console(Ability.MANAGE_MEMBERS)
def member_list(request: ConsoleRequest) -> HttpResponse:
    rows = Membership.objects.visible_to(request.actor).select_related("user").order_by("user__name", "user__email")
    waiting = Invitation.objects.visible_to(request.actor).filter(
        driver=None, accepted_at=None, expires_at__gt=timezone.now()
    )
    return render(request, "console/members.html", {"members": rows, "invitations": waiting})


@console(Ability.MANAGE_MEMBERS)
def member_invite(request: ConsoleRequest) -> HttpResponse:
    form = InviteForm(request.POST or None, by=request.actor)
    if request.method == "POST" and form.is_valid():
        try:
            members.invite_member(
                request.actor.operator,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                sites=form.site_keys,
                by=request.actor,
                at=timezone.now(),
            )
        except Refused as no:
            form.add_error(no.field, no.text)
        else:
            messages.success(request, _("Invitation sent to %(email)s.") % {"email": form.cleaned_data["email"]})
            return redirect("console:members")
    return render(request, "console/member_form.html", {"form": form, "member": None})


@console(Ability.MANAGE_MEMBERS)
def member(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = get_object_or_404(Membership.objects.visible_to(request.actor).select_related("user", "operator"), uuid=id)
    form = MemberForm(request.POST or None, by=request.actor, initial=MemberForm.initial_of(found))
    if request.method == "POST" and form.is_valid():
        try:
            members.change_member(found, role=form.cleaned_data["role"], sites=form.site_keys, by=request.actor)
        except Refused as no:
            form.add_error(no.field, no.text)
        else:
            messages.success(request, _("Saved."))
            return redirect("console:members")
    return render(request, "console/member_form.html", {"form": form, "member": found})


@require_POST
@console(Ability.MANAGE_MEMBERS)
def member_remove(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = get_object_or_404(Membership.objects.visible_to(request.actor), uuid=id)
    members.remove_member(found, by=request.actor)
    messages.success(request, _("%(person)s has no access any more.") % {"person": found.user})
    return redirect("/" if found.pk == request.actor.pk else "console:members")


@require_POST
@console(Ability.EDIT_TOKENS)
def invitation_withdraw(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = get_object_or_404(Invitation.objects.visible_to(request.actor).filter(accepted_at=None), uuid=id)
    members.withdraw(found, by=request.actor)
    messages.success(request, _("The invitation is withdrawn."))
    if found.driver is not None:
        return redirect("console:driver", found.driver.uuid)
    return redirect("console:members")


# --- tokens ------------------------------------------------------------------------------------------


@console(Ability.SEE_PEOPLE)
def token_list(request: ConsoleRequest) -> HttpResponse:
    rows: QuerySet[IdToken] = IdToken.objects.visible_to(request.actor).filter(retired_at=None)
    form = TokenFilter(request.GET)
    if form.is_valid():
        wanted = form.cleaned_data
        if wanted["status"]:
            rows = rows.filter(status=wanted["status"])
        if wanted["type"]:
            rows = rows.filter(type=wanted["type"])
        if wanted["q"]:
            rows = rows.filter(_token_search(wanted["q"]))
    page = Paginator(rows.select_related("driver"), PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "console/tokens.html",
        {"page": page, "filters": _filters(form), "search": request.GET.get("q", ""), "can_edit": _can_edit(request)},
    )


def _filters(form: forms.Form) -> list[dict[str, Any]]:
    """Return the choices of a filter form as the bar above a table shows them."""
    return [
        {
            "name": name,
            "label": field.label,
            "value": form.data.get(name, ""),
            **({"type": "date"} if isinstance(field, forms.DateField) else {"options": _options(field)}),
        }
        for name, field in form.fields.items()
        if isinstance(field, forms.ChoiceField | forms.DateField)
    ]


def _options(field: forms.Field) -> list[Any]:
    return [(value, words) for value, words in getattr(field, "choices", ()) if value]


def _can_edit(request: ConsoleRequest) -> bool:
    return may(request.actor, Ability.EDIT_TOKENS)


def _token_search(text: str) -> Q:
    value = ~Q(type=IdToken.Type.PIN) & Q(value__icontains=text)  # a PIN's stored digest is no search text
    return value | Q(label__icontains=text) | Q(group__icontains=text) | Q(driver__name__icontains=text)


@console(Ability.EDIT_TOKENS)
def token_new(request: ConsoleRequest) -> HttpResponse:
    operator = request.actor.operator
    form = NewTokenForm(
        request.POST or None, operator=operator, initial={"driver": request.GET.get("driver"), "type": "rfid"}
    )
    if request.method == "POST" and form.is_valid():
        try:
            issued = tokens.create_token(
                operator,
                type=form.cleaned_data["type"],
                value=form.cleaned_data["value"],
                by=request.actor,
                **form.facts,
            )
        except (Refused, ValidationError) as error:
            _show(form, error)
        else:
            # Shown in the answer itself: a PIN is readable now and never again.
            return render(request, "console/token_created.html", {"token": issued.token, "presented": issued.presented})
    return render(request, "console/token_form.html", {"form": form, "token": None})


@console(Ability.SEE_PEOPLE, writes=Ability.EDIT_TOKENS)
def token(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _token(request, id)
    form = TokenForm(request.POST or None, operator=request.actor.operator, initial=TokenForm.initial_of(found))
    if request.method == "POST" and form.is_valid():
        try:
            tokens.change_token(found, by=request.actor, **form.facts)
        except (Refused, ValidationError) as error:
            _show(form, error)
        else:
            messages.success(request, _("Saved."))
            return redirect("console:tokens")
    return render(
        request,
        "console/token_form.html",
        {"form": form, "token": found, "can_edit": _can_edit(request)},
    )


@require_POST
@console(Ability.EDIT_TOKENS)
def token_block(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _token_row(request, tokens.block(_token(request, id), by=request.actor))


@require_POST
@console(Ability.EDIT_TOKENS)
def token_unblock(request: ConsoleRequest, id: UUID) -> HttpResponse:
    return _token_row(request, tokens.unblock(_token(request, id), by=request.actor))


@require_POST
@console(Ability.EDIT_TOKENS)
def token_retire(request: ConsoleRequest, id: UUID) -> HttpResponse:
    tokens.retire(_token(request, id), by=request.actor, at=timezone.now())
    messages.success(request, _("The token is retired."))
    return redirect("console:tokens")


def _token(request: ConsoleRequest, id: UUID) -> IdToken:
    rows = IdToken.objects.visible_to(request.actor).select_related("driver", "operator")
    found: IdToken = get_object_or_404(rows, uuid=id)
    return found


def _token_row(request: ConsoleRequest, changed: IdToken) -> HttpResponse:
    """Answer htmx with the one row that changed, a plain form with the list."""
    if request.headers.get("HX-Request"):
        return render(request, "console/tokens.html#row", {"token": changed, "can_edit": True})
    return redirect("console:tokens")


# --- drivers -----------------------------------------------------------------------------------------


@console(Ability.SEE_PEOPLE)
def driver_list(request: ConsoleRequest) -> HttpResponse:
    rows = Driver.objects.visible_to(request.actor).filter(retired_at=None).select_related("user")
    text = request.GET.get("q", "")[:120]
    if text:
        rows = rows.filter(Q(name__icontains=text) | Q(email__icontains=text) | Q(group__icontains=text))
    rows = rows.annotate(token_count=Count("tokens", filter=Q(tokens__retired_at=None))).order_by("name", "pk")
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    return render(request, "console/drivers.html", {"page": page, "search": text, "can_edit": _can_edit(request)})


@console(Ability.EDIT_TOKENS)
def driver_new(request: ConsoleRequest) -> HttpResponse:
    form = DriverForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        created = drivers.create_driver(request.actor.operator, by=request.actor, **form.facts)
        return redirect("console:driver", created.uuid)
    return render(request, "console/driver_form.html", {"form": form, "driver": None})


@console(Ability.SEE_PEOPLE)
def driver(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _driver(request, id)
    return render(
        request,
        "console/driver_detail.html",
        {
            "driver": found,
            "tokens": found.tokens.filter(retired_at=None),
            "invitation": found.invitations.filter(accepted_at=None, expires_at__gt=timezone.now()).first(),
            "can_edit": _can_edit(request),
        },
    )


@console(Ability.EDIT_TOKENS)
def driver_edit(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = _driver(request, id)
    initial = {"name": found.name, "email": found.email, "group": found.group}
    form = DriverForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            drivers.change_driver(found, by=request.actor, **form.facts)
        except Refused as no:
            _show(form, no)
        else:
            messages.success(request, _("Saved."))
            return redirect("console:driver", found.uuid)
    return render(request, "console/driver_form.html", {"form": form, "driver": found})


@require_POST
@console(Ability.EDIT_TOKENS)
def driver_invite(request: ConsoleRequest, id: UUID) -> HttpResponse:
    sent = members.invite_driver(_driver(request, id), by=request.actor, at=timezone.now())
    messages.success(request, _("Invitation sent to %(email)s.") % {"email": sent.email})
    return redirect("console:driver", id)


@require_POST
@console(Ability.EDIT_TOKENS)
def driver_retire(request: ConsoleRequest, id: UUID) -> HttpResponse:
    drivers.retire_driver(_driver(request, id), by=request.actor, at=timezone.now())
    messages.success(request, _("The driver and their tokens are retired."))
    return redirect("console:drivers")


def _driver(request: ConsoleRequest, id: UUID) -> Driver:
    found: Driver = get_object_or_404(
        Driver.objects.visible_to(request.actor).select_related("user", "operator"), uuid=id
    )
    return found


# --- API keys ----------------------------------------------------------------------------------------


@console(Ability.MANAGE_KEYS)
def api_key_list(request: ConsoleRequest) -> HttpResponse:
    form = ApiKeyForm(request.POST or None, by=request.actor)
    secret = ""
    if request.method == "POST" and form.is_valid():
        try:
            _key, secret = api_keys.create_api_key(request.actor.operator, by=request.actor, **form.cleaned_data)
        except Refused as no:
            _show(form, no)
        else:
            form = ApiKeyForm(by=request.actor)
    rows = ApiKey.objects.visible_to(request.actor).select_related("created_by")
    return render(request, "console/api_keys.html", {"keys": rows, "form": form, "secret": secret})


@require_POST
@console(Ability.MANAGE_KEYS)
def api_key_revoke(request: ConsoleRequest, id: UUID) -> HttpResponse:
    found = get_object_or_404(ApiKey.objects.visible_to(request.actor), uuid=id)
    api_keys.revoke_api_key(found, by=request.actor, at=timezone.now())
    messages.success(request, _("The key “%(name)s” is revoked.") % {"name": found.name})
    return redirect("console:api_keys")


# --- audit trail -------------------------------------------------------------------------------------


@console(Ability.SEE_AUDIT)
def audit_trail(request: ConsoleRequest) -> HttpResponse:
    form = AuditFilter(request.GET)
    rows = AuditEntry.objects.visible_to(request.actor)
    if form.is_valid():
        wanted = form.cleaned_data
        if wanted["q"]:
            text = wanted["q"]
            rows = rows.filter(Q(actor__icontains=text) | Q(action__icontains=text) | Q(target__icontains=text))
        if wanted["target"]:
            rows = rows.filter(target_id=wanted["target"])
        if wanted["since"]:
            rows = rows.filter(at__gte=_start_of(wanted["since"]))
        if wanted["until"]:
            rows = rows.filter(at__lt=_start_of(wanted["until"]) + dt.timedelta(days=1))
    last_seen = _uuid(request.GET.get("before"))
    if last_seen is not None:
        before = get_object_or_404(AuditEntry.objects.visible_to(request.actor), uuid=last_seen)
        rows = rows.filter(pk__lt=before.pk)
    entries = list(rows[: PAGE + 1])
    older = entries[PAGE - 1].uuid if len(entries) > PAGE else None
    context = {"entries": entries[:PAGE], "older": older, "filters": _filters(form), "search": request.GET.get("q", "")}
    return render(request, "console/audit.html", context | {"target": request.GET.get("target", "")})


def _start_of(day: dt.date) -> dt.datetime:
    """Return midnight of ``day`` in the zone of the page."""
    return dt.datetime.combine(day, dt.time(), timezone.get_current_timezone())


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _show(form: forms.Form, error: Refused | ValidationError) -> None:
    """Put a domain's no beside the field it is about."""
    if isinstance(error, Refused):
        form.add_error(error.field if error.field in form.fields else None, error.text)
    else:
        form.add_error(None, error)
