"""Doors: who comes in, to which portal, in whose name; logging in stays with allauth."""

from __future__ import annotations

import functools
import ipaddress
import zoneinfo
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.views import redirect_to_login
from django.core.mail import EmailMessage
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import SimpleTemplateResponse
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from django.views.i18n import set_language as set_language_cookie

from accounts import mail, members, people, time_zones
from accounts.forms import AcceptForm, AccountForm
from accounts.models import Driver, Membership, User
from accounts.roles import Ability, Role, require

CHOSEN_OPERATOR = "operator"  # in the person's session: which of their operators the pages are about
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
THEME_COOKIE = "theme"
DEMO_OPERATOR = "demo"
DEMO_ROLES = {"operator": (Role.OWNER, Role.ADMIN, Role.OPERATOR), "finance": (Role.FINANCE,)}

P = ParamSpec("P")


class PersonRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: User


class ConsoleRequest(PersonRequest):
    """A request inside an operator: ``actor`` acts."""

    actor: Membership


class DriverRequest(PersonRequest):
    """A request in the driver portal: the person's drivers at all operators, and the first of them."""

    driver_ids: frozenset[int]
    driver: Driver


Answer = HttpResponseBase
Inner = Callable[Concatenate[Any, P], Answer]
Outer = Callable[Concatenate[HttpRequest, P], Answer]


def acting(request: HttpRequest) -> Membership | None:
    """Return the membership this person acts in: the chosen operator's, else their first; None without any."""
    return acting_as(request.user, request.session)


def acting_as(user: Any, session: Any) -> Membership | None:
    """The same where there is no request: ``session`` holds what this browser remembers (`get`)."""
    rows = list(
        Membership.objects.filter(user=user).select_related("operator", "user").order_by("pk")
        if user.is_authenticated
        else ()
    )
    chosen = session.get(CHOSEN_OPERATOR)
    return next((row for row in rows if str(row.operator.uuid) == chosen), rows[0] if rows else None)


def console(ability: Ability, *, writes: Ability | None = None) -> Callable[[Inner[P]], Outer[P]]:
    """Open a page of an operator to its members with ``ability`` (``writes`` for unsafe methods, where it differs).

    The view gets a ConsoleRequest. A stranger sees no such page (404), a colleague without the right 403.
    """

    def decorate(view: Inner[P]) -> Outer[P]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            if not isinstance(request.user, User):
                return redirect_to_login(request.get_full_path())
            actor = acting(request)
            if actor is None:
                raise Http404
            if actor.operator.is_suspended:
                mine = Membership.objects.filter(user=request.user).select_related("operator")
                context = {"operator": actor.operator, "memberships": mine}
                return render(request, "suspended.html", context, status=403)
            is_write = writes is not None and request.method not in {"GET", "HEAD"}
            require(actor, writes if writes is not None and is_write else ability)
            inside = cast(ConsoleRequest, request)
            inside.actor = actor
            return _answer(view, inside, actor.operator.time_zone, *args, **kwargs)

        return guarded

    return decorate


def finance(ability: Ability = Ability.SEE_MONEY, *, writes: Ability | None = None) -> Callable[[Inner[P]], Outer[P]]:
    """Open a page of the finance portal; the same rules as `console`."""
    return console(ability, writes=writes)


def driver(view: Inner[P]) -> Outer[P]:
    """Open a page of the driver portal to people who drive at some operator; the view gets a DriverRequest."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path())
        drivers = list(Driver.objects.filter(user=request.user).select_related("operator").order_by("pk"))
        if not drivers:
            raise Http404
        inside = cast(DriverRequest, request)
        inside.driver_ids = frozenset(row.pk for row in drivers)
        inside.driver = drivers[0]
        return _answer(view, inside, drivers[0].operator.time_zone, *args, **kwargs)

    return guarded


def staff(view: Inner[P]) -> Outer[P]:
    """Open a page to the installation's staff alone; for everybody else it does not exist."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            raise Http404
        return _answer(view, cast(PersonRequest, request), settings.TIME_ZONE, *args, **kwargs)

    return guarded


def person(view: Inner[P]) -> Outer[P]:
    """Open a page to whoever is logged in; the view gets a PersonRequest."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path())
        return _answer(view, cast(PersonRequest, request), settings.TIME_ZONE, *args, **kwargs)

    return guarded


def _answer(view: Inner[P], request: PersonRequest, zone: str, *args: P.args, **kwargs: P.kwargs) -> Answer:
    """Run a view in the person's language and zone (``zone`` where they chose none), kept out of every cache."""
    translation.activate(request.user.language)
    with timezone.override(zoneinfo.ZoneInfo(request.user.time_zone or zone)):
        response = view(request, *args, **kwargs)
        if isinstance(response, SimpleTemplateResponse):
            response.render()
    if not response.has_header("Cache-Control"):
        add_never_cache_headers(response)
    return response


@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """Send each person to their portal."""
    if not isinstance(request.user, User):
        return redirect("account_login")
    actor = acting(request)
    if actor is not None:
        return redirect("/finance/" if actor.role == Role.FINANCE else "/console/")
    if Driver.objects.filter(user=request.user).exists():
        return redirect("/driver/")
    if request.user.is_staff:
        return redirect("/staff/")
    return render(request, "account/nowhere.html")


@person
def profile(request: PersonRequest) -> HttpResponse:
    """What a person chooses about their own pages."""
    form = AccountForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        return save_choices(request, form)
    return render(request, "account/profile.html", {"form": form, "time_zones": time_zones.names()})


def save_choices(request: PersonRequest, form: AccountForm) -> HttpResponse:
    """Store what a person chose and show the page they were on in their language."""
    people.change_person(request.user, **form.choices)
    with translation.override(request.user.language):
        messages.success(request, _("Saved."))
    answer = redirect(request.path)
    _remember_language(answer, request.user)
    answer.delete_cookie(THEME_COOKIE)  # what this browser was told before gives way to what the person chose now
    return answer


def _remember_language(answer: HttpResponse, user: User) -> None:
    answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, user.language, samesite="Lax", secure=settings.SECURE_SITE)


@person
def choose_operator(request: PersonRequest) -> HttpResponse:
    """Make another of the person's operators the one their pages are about."""
    mine = Membership.objects.filter(user=request.user).select_related("operator").order_by("operator__name")
    if request.method != "POST":
        return render(request, "account/operators.html", {"memberships": mine})
    uuid = request.POST.get("operator", "")
    if uuid not in {str(row.operator.uuid) for row in mine}:
        raise Http404
    request.session[CHOSEN_OPERATOR] = uuid
    return redirect("/")


@require_POST
def set_language(request: HttpRequest) -> HttpResponseBase:
    """Remember a language in the browser and, of somebody logged in, with the person."""
    chosen = request.POST.get("language", "")
    if isinstance(request.user, User) and chosen in dict(settings.LANGUAGES):
        people.change_person(request.user, language=chosen)
    return set_language_cookie(request)


@never_cache
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Accept an invitation: name and password of a new person, or one click of somebody known."""
    now = timezone.now()
    found = members.find_invitation(secret, at=now)
    if found is None:
        return render(request, "account/invitation_unusable.html", status=404)
    known = members.person_at(found.email)
    context: dict[str, Any] = {"invitation": found, "known": known, "is_me": request.user == known}
    if known is not None:
        if request.user != known:
            context["login_url"] = f"{reverse('account_login')}?next={request.path}"
        elif request.method == "POST":
            members.accept_as(found, user=known, at=now)
            request.session[CHOSEN_OPERATOR] = str(found.operator.uuid)
            return redirect("/")
        return render(request, "account/invitation.html", context)
    form = AcceptForm(request.POST or None, email=found.email)
    if request.method == "POST" and form.is_valid():
        user = members.accept_as_new(found, language=translation.get_language() or "en", at=now, **form.accepted)
        login(request, user, backend=BACKEND)
        return redirect("/")
    return render(request, "account/invitation.html", context | {"form": form})


@require_POST
def demo_log_in(request: HttpRequest, who: str) -> HttpResponse:
    """Log in as a person of the demo operator: only in the demo, only on this machine itself."""
    if not settings.DEMO or not _is_local(request):
        raise Http404
    user = _demo_person(who)
    if user is None:
        raise Http404
    login(request, user, backend=BACKEND)
    return redirect("/")


def _demo_person(who: str) -> User | None:
    if who == "driver":
        drivers = Driver.objects.filter(operator__slug=DEMO_OPERATOR, user__is_active=True, retired_at=None)
        found = drivers.select_related("user").order_by("pk").first()
        return found.user if found else None
    for role in DEMO_ROLES.get(who, ()):
        rows = Membership.objects.filter(operator__slug=DEMO_OPERATOR, role=role, user__is_active=True)
        member = rows.select_related("user").order_by("pk").first()
        if member is not None:
            return member.user
    return None


def _is_local(request: HttpRequest) -> bool:
    """Whether caller, requested host and public address are all this machine, with no proxy between."""
    here = {"localhost", "127.0.0.1", "::1", "[::1]"}
    host = urlsplit(f"//{request.get_host()}").hostname
    caller = str(request.META.get("REMOTE_ADDR", ""))
    return (
        host in here
        and urlsplit(settings.PUBLIC_URL).hostname in here
        and caller in here
        and "HTTP_X_FORWARDED_FOR" not in request.META
    )


class InvitationOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's questions about this installation: no sign-up, our links, our letters, our proxies."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """People come by invitation."""
        return False

    def format_email_subject(self, subject: str) -> str:
        """No prefix: allauth would put the request's host there."""
        return str(subject)

    def render_mail(
        self, template_prefix: str, email: Any, context: dict[str, Any], headers: dict[str, str] | None = None
    ) -> EmailMessage:
        """Let a letter's links start at PUBLIC_URL, whatever host the request named."""
        context["public_url"] = settings.PUBLIC_URL
        return cast(EmailMessage, super().render_mail(template_prefix, email, context, headers))

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link of a password reset."""
        uid, _dash, secret = key.partition("-")
        return mail.address(reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": secret}))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """The link that proves a further address."""
        return mail.address(reverse("account_confirm_email", args=[emailconfirmation.key]))

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        """Show the pages without a portal in the person's language, too."""
        response = cast(HttpResponse, super().post_login(request, user, **kwargs))
        _remember_language(response, user)
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whose tries are counted: the nearest address that is no proxy of ours."""
        return client_address(request)


def client_address(request: HttpRequest) -> str:
    """Return the caller's address: the last one in X-Forwarded-For that no proxy of TRUSTED_PROXIES put there."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _is_trusted(address):
        address = hops.pop()
    return address


def _is_trusted(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(proxy, strict=False) for proxy in settings.TRUSTED_PROXIES)
