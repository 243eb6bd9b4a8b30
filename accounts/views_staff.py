"""Pages of the installation's staff: tenants, and nothing of what is theirs."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import operators, time_zones
from accounts.forms import OperatorForm
from accounts.models import Operator
from accounts.views_auth import PersonRequest, staff


@staff
def operator_list(request: PersonRequest) -> HttpResponse:
    rows = Operator.objects.annotate(member_count=Count("memberships"))
    return render(request, "staff/operators.html", {"operators": rows})


@staff
def operator_new(request: PersonRequest) -> HttpResponse:
    form = OperatorForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        created, _is_new = operators.create_operator(
            **form.cleaned_data, password=None, by=request.user, at=timezone.now()
        )
        messages.success(request, _("%(operator)s is made; its owner has got an invitation.") % {"operator": created})
        return redirect("staff:operators")
    return render(request, "staff/operator_form.html", {"form": form, "time_zones": time_zones.names()})


@require_POST
@staff
def operator_suspend(request: PersonRequest, id: UUID) -> HttpResponse:
    operators.suspend(get_object_or_404(Operator, uuid=id), by=request.user, at=timezone.now())
    return redirect("staff:operators")


@require_POST
@staff
def operator_resume(request: PersonRequest, id: UUID) -> HttpResponse:
    operators.resume(get_object_or_404(Operator, uuid=id), by=request.user)
    return redirect("staff:operators")
