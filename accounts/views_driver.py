"""The driver's own pages about themselves."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import time_zones, tokens
from accounts.forms import AccountForm
from accounts.models import IdToken
from accounts.views_auth import DriverRequest, driver, save_choices


@driver
def account(request: DriverRequest) -> HttpResponse:
    form = AccountForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        return save_choices(request, form)
    mine = IdToken.objects.filter(driver_id__in=request.driver_ids, retired_at=None).select_related("operator")
    return render(request, "driver/account.html", {"form": form, "tokens": mine, "time_zones": time_zones.names()})


@require_POST
@driver
def token_block(request: DriverRequest, id: UUID) -> HttpResponse:
    """Block one's own token, lost or stolen; only the operator lets it charge again."""
    mine = IdToken.objects.filter(driver_id__in=request.driver_ids)
    found: IdToken = get_object_or_404(mine.select_related("operator"), uuid=id)
    tokens.block(found, by=request.user)
    messages.success(request, _("The token is blocked. Ask %(operator)s to unblock it.") % {"operator": found.operator})
    return redirect("driver:account")
