"""Doors of the pages: logging in and out, invitations, portals, operators, languages, the demo's one click."""

from __future__ import annotations

import re

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import members
from accounts.models import Driver, Invitation, Membership, Operator, User
from accounts.roles import Role
from accounts.views_auth import client_address
from tests.factories import NOW, PASSWORD, make_driver, make_member, make_operator, make_person

pytestmark = pytest.mark.django_db
LOG_IN = "/account/login/"
RESET = "/account/password/reset/"


def log_in(client: Client, email: str, password: str = PASSWORD, **extra):
    return client.post(LOG_IN, {"login": email, "password": password}, **extra)


def link_in(letter) -> str:
    found = re.search(r"https?://\S+/(?:password/reset/key|invitation)/\S+", letter.body)
    assert found
    return found[0]


# --- logging in and out ------------------------------------------------------------------------------


def test_logging_in_and_out(client: Client, owner: Membership) -> None:
    assert client.get(LOG_IN).status_code == 200
    answer = log_in(client, "Owner@Example.com")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/")["Location"] == "/console/"
    session = client.cookies["session"].value
    assert client.get("/account/logout/").status_code == 200
    assert client.get("/")["Location"] == "/console/", "following a link does not log out"
    client.post("/account/logout/")
    assert client.get("/")["Location"] == LOG_IN
    client.cookies["session"] = session
    assert client.get("/")["Location"] == LOG_IN, "a session that ended does not come back"


def test_the_session_changes_at_log_in(client: Client, owner: Membership) -> None:
    client.post("/language/", {"language": "de"})
    session = client.session
    session["before"] = 1
    session.save()
    client.cookies["session"] = session.session_key
    log_in(client, "owner@example.com")
    assert client.cookies["session"].value != session.session_key


def test_the_session_cookie_is_closed_to_scripts_and_other_sites(client: Client, owner: Membership) -> None:
    log_in(client, "owner@example.com")
    cookie = client.cookies["session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


class CountingHasher(MD5PasswordHasher):
    """Counts how often a password was worked on: what a person outside could measure as time."""

    algorithm = "counting"
    work = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.work += 1
        return super().encode(password, salt)


def test_a_wrong_password_and_an_unknown_person_look_the_same(client: Client, settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    make_person("owner@example.com")
    seen = []
    for email in ("owner@example.com", "nobody@example.com"):
        CountingHasher.work = 0
        answer = log_in(client, email, "not the password")
        texts = [str(error) for error in answer.context["form"].non_field_errors()]
        seen.append((answer.status_code, texts, CountingHasher.work))
    assert seen[0] == seen[1] == (200, ["The email address and/or password you specified are not correct."], 1)


def test_tries_are_limited(client: Client, owner: Membership, settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/m/ip,2/m/key"}
    cache.clear()
    for _ in range(2):
        log_in(client, "owner@example.com", "wrong")
    answer = log_in(client, "owner@example.com")
    assert answer.status_code == 200
    assert "Too many failed login attempts" in answer.content.decode()
    cache.clear()


def test_an_inactive_person_stays_outside(client: Client, owner: Membership) -> None:
    User.objects.update(is_active=False)
    assert log_in(client, "owner@example.com")["Location"] == "/account/inactive/"
    assert client.get("/")["Location"] == LOG_IN


@pytest.mark.parametrize(
    "next_url", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_logging_in_leads_nowhere_else(client: Client, owner: Membership, next_url: str) -> None:
    answer = client.post(
        f"{LOG_IN}?next={next_url}", {"login": "owner@example.com", "password": PASSWORD, "next": next_url}
    )
    assert answer.status_code == 302
    assert answer["Location"] == "/"


@pytest.mark.parametrize(
    "path", [LOG_IN, RESET, "/language/", "/operator/", "/demo/log-in/operator", "/account/logout/"]
)
def test_forms_need_their_csrf_token(owner: Membership, path: str, settings) -> None:
    settings.DEMO = True
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner.user)
    assert client.post(path, {"login": "owner@example.com", "password": PASSWORD}).status_code == 403


def test_nobody_signs_up(client: Client, db: None) -> None:
    for method in ("get", "post"):
        answer = getattr(client, method)(
            "/account/signup/", {"email": "x@example.com", "password1": PASSWORD, "password2": PASSWORD}
        )
        assert b'name="password2"' not in answer.content
    assert not User.objects.exists()


# --- forgotten passwords -----------------------------------------------------------------------------


def test_a_forgotten_password(client: Client, owner: Membership) -> None:
    assert client.get(RESET).status_code == 200
    client.post(RESET, {"email": "owner@example.com"})
    letter = mail.outbox[0]
    assert letter.to == ["owner@example.com"]
    assert {part.mimetype for part in letter.alternatives} == {"text/html"}
    path = link_in(letter).removeprefix("http://localhost:8000")
    form = client.get(path, follow=True)
    new = "a new and better phrase"
    done = client.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    assert done.status_code == 302
    assert log_in(Client(), "owner@example.com").status_code == 200
    assert log_in(Client(), "owner@example.com", new).status_code == 302
    again = Client().get(path, follow=True)
    assert b"password1" not in again.content, "the link works once"


def test_a_new_password_ends_every_other_session(client: Client, owner: Membership, browser) -> None:
    elsewhere = browser(owner)
    assert elsewhere.get("/console/members/").status_code == 200
    owner.user.set_password("changed from another place")
    owner.user.save()
    assert elsewhere.get("/console/members/").status_code == 302


def test_asking_for_a_password_tells_nobody_who_is_known(client: Client, owner: Membership) -> None:
    known = client.post(RESET, {"email": "owner@example.com"})
    unknown = client.post(RESET, {"email": "nobody@example.com"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert [letter.to for letter in mail.outbox] == [["owner@example.com"], ["nobody@example.com"]]
    assert "/key/" not in mail.outbox[1].body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999"])
def test_links_in_letters_start_at_the_public_address(client: Client, owner: Membership, settings, host: str) -> None:
    settings.PUBLIC_URL = "https://charge.example"
    client.post(RESET, {"email": "owner@example.com"}, headers={"Host": host})
    letter = mail.outbox[0]
    assert link_in(letter).startswith("https://charge.example/account/password/reset/key/")
    for text in (letter.body, letter.alternatives[0].content, letter.subject):
        assert host not in text


def test_a_foreign_host_is_refused(client: Client, owner: Membership) -> None:
    assert client.post(RESET, {"email": "owner@example.com"}, headers={"Host": "evil.example"}).status_code == 400
    assert not mail.outbox


def test_weak_passwords_are_refused(client: Client, owner: Membership) -> None:
    client.post(RESET, {"email": "owner@example.com"})
    form = client.get(link_in(mail.outbox[0]).removeprefix("http://localhost:8000"), follow=True)
    for weak in ("short", "password1234", "owner@example.com"):
        answer = client.post(form.request["PATH_INFO"], {"password1": weak, "password2": weak})
        assert answer.status_code == 200
    assert log_in(Client(), "owner@example.com").status_code == 302


# --- second factors and sessions ---------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "driver", "staff"])
def test_the_pages_about_ones_log_in_open(client: Client, who: str, request) -> None:
    person = request.getfixturevalue(who)
    user = person if isinstance(person, User) else person.user
    log_in(client, user.email)
    assert client.get(reverse("mfa_activate_totp"))["Location"].startswith("/account/reauthenticate/")
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    for name in (
        "mfa_index",
        "mfa_activate_totp",
        "mfa_list_webauthn",
        "mfa_add_webauthn",
        "usersessions_list",
        "account_change_password",
        "account_email",
        "profile",
    ):
        answer = client.get(reverse(name))
        assert answer.status_code == 200, name
    assert client.get(reverse("usersessions_list")).content.decode().count("<tr") == 2


def test_an_authenticator_app_is_asked_for_at_log_in(client: Client, owner: Membership) -> None:
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time

    log_in(client, "owner@example.com")
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    page = client.get(reverse("mfa_activate_totp"))
    secret = page.context["form"].secret
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    assert client.post(reverse("mfa_activate_totp"), {"code": code}).status_code == 302
    fresh = Client()
    answer = log_in(fresh, "owner@example.com")
    assert answer["Location"] == reverse("mfa_authenticate")
    assert fresh.get("/")["Location"] == LOG_IN, "the password alone is not enough"
    assert fresh.get(reverse("mfa_authenticate")).status_code == 200


def test_another_address_must_be_proven_before_it_counts(client: Client, owner: Membership, viewer: Membership) -> None:
    log_in(client, "viewer@example.com")
    client.post(reverse("account_email"), {"action_add": "", "email": "second@example.com"})
    client.post(reverse("account_email"), {"action_primary": "", "email": "second@example.com"})
    viewer.user.refresh_from_db()
    assert viewer.user.email == "viewer@example.com"
    assert not EmailAddress.objects.get(email="second@example.com").verified
    assert "http://localhost:8000/account/confirm-email/" in mail.outbox[0].body


# --- invitations -------------------------------------------------------------------------------------


@pytest.fixture
def invited(owner: Membership, django_capture_on_commit_callbacks):
    def send(email: str = "new@example.com", role: Role = Role.OPERATOR) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            members.invite_member(owner.operator, email=email, role=role, by=owner, at=timezone.now())
        return link_in(mail.outbox[-1]).removeprefix("http://localhost:8000")

    return send


def test_a_new_person_accepts_and_is_inside(client: Client, invited) -> None:
    path = invited()
    assert "Lighthouse Charging" in client.get(path).content.decode()
    assert not User.objects.filter(email="new@example.com").exists(), "opening the link changes nothing"
    answer = client.post(path, {"name": "Nora", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/")["Location"] == "/console/"
    assert Membership.objects.get(user__email="new@example.com").role == Role.OPERATOR
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("name", "password"),
    [("", PASSWORD), ("Nora", "short"), ("Nora", "password1234"), ("Nora", "new@example.com"), ("Nora", "")],
)
def test_a_wrong_acceptance_says_why(client: Client, invited, name: str, password: str) -> None:
    path = invited()
    answer = client.post(path, {"name": name, "password": password})
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert not User.objects.filter(email="new@example.com").exists()
    assert Invitation.objects.get().accepted_at is None


def test_somebody_known_logs_in_and_accepts_with_one_click(client: Client, stranger: Membership, invited) -> None:
    path = invited("stranger@example.com")
    page = client.get(path).content.decode()
    assert 'name="password"' not in page
    assert f"{LOG_IN}?next={path}" in page
    assert client.post(path, {"name": "x", "password": PASSWORD}).status_code == 200
    assert stranger.user.memberships.count() == 1
    log_in(client, "stranger@example.com")
    client.post(path)
    assert stranger.user.memberships.count() == 2
    assert client.get("/console/members/").status_code == 403, "the pages are now about the operator they joined"


def test_an_invitation_does_not_work_for_whoever_else_is_logged_in(
    client: Client, viewer: Membership, stranger: Membership, invited
) -> None:
    path = invited("stranger@example.com", Role.ADMIN)
    log_in(client, "viewer@example.com")
    client.post(path)
    assert list(viewer.user.memberships.values_list("role", flat=True)) == ["viewer"]
    assert "viewer@example.com" in client.get(path).content.decode()


@pytest.mark.parametrize("secret", ["x", "a" * 43, "%00", "..%2f"])
def test_a_made_up_invitation(client: Client, db: None, secret: str) -> None:
    assert client.get(f"/invitation/{secret}/").status_code == 404


# --- portals and operators ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "portal"),
    [
        ("owner", "/console/"),
        ("technician", "/console/"),
        ("viewer", "/console/"),
        ("accountant", "/finance/"),
        ("driver", "/driver/"),
        ("staff", "/staff/"),
    ],
)
def test_each_person_comes_to_their_portal(who: str, portal: str, browser, request) -> None:
    assert browser(request.getfixturevalue(who)).get("/")["Location"] == portal


def test_somebody_without_access_is_told(browser, db: None) -> None:
    answer = browser(make_person()).get("/")
    assert answer.status_code == 200
    assert "You belong to no operator" in answer.content.decode()


def test_strangers_and_drivers_see_no_console(browser, driver: Driver, staff: User) -> None:
    for person in (driver, staff):
        assert browser(person).get("/console/members/").status_code == 404
    assert Client().get("/console/members/")["Location"] == f"{LOG_IN}?next=/console/members/"


def test_members_who_do_not_drive_see_no_driver_portal(browser, owner: Membership) -> None:
    assert browser(owner).get("/driver/account/").status_code == 404


def test_somebody_of_two_operators_chooses(browser, owner: Membership, other_tenant: Operator) -> None:
    make_member(other_tenant, Role.ADMIN, owner.user)
    client = browser(owner)
    assert "Rival Energy" in client.get("/operator/").content.decode()
    assert client.post("/operator/", {"operator": str(other_tenant.uuid)})["Location"] == "/"
    shown = client.get("/console/members/").context["members"]
    assert {member.operator for member in shown} == {other_tenant}
    foreign = make_operator()
    for wrong in (str(foreign.uuid), "", "x"):
        assert client.post("/operator/", {"operator": wrong}).status_code == 404
    assert client.session["operator"] == str(other_tenant.uuid)


def test_a_suspended_operator_says_so(browser, owner: Membership, other_tenant: Operator) -> None:
    make_member(other_tenant, Role.ADMIN, owner.user)
    Operator.objects.filter(pk=owner.operator_id).update(suspended_at=NOW)
    client = browser(owner)
    answer = client.get("/console/members/")
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "Lighthouse Charging is suspended" in page
    assert "Go on to Rival Energy" in page
    assert "Go on to Lighthouse" not in page


def test_pages_of_people_are_kept_by_no_cache(browser, owner: Membership) -> None:
    assert "no-store" in browser(owner).get("/console/members/")["Cache-Control"]


# --- language, zone, theme ---------------------------------------------------------------------------


def test_a_language_is_remembered_with_the_person(browser, owner: Membership) -> None:
    client = browser(owner)
    answer = client.post("/language/", {"language": "de", "next": "/console/members/"})
    assert answer["Location"] == "/console/members/"
    owner.user.refresh_from_db()
    assert owner.user.language == "de"
    assert '<html lang="de"' in client.get("/console/members/").content.decode()
    client.post("/language/", {"language": "tlh"})
    owner.user.refresh_from_db()
    assert owner.user.language == "de"
    assert client.post("/language/", {"language": "de", "next": "https://evil.example/"})["Location"] == "/"


def test_ones_own_choices(browser, owner: Membership) -> None:
    client = browser(owner)
    given = {"name": "Olivia", "language": "nl", "time_zone": "Europe/Amsterdam", "theme": "dark"}
    assert client.post("/account/profile/", given)["Location"] == "/account/profile/"
    owner.user.refresh_from_db()
    assert (owner.user.name, owner.user.language, owner.user.time_zone, owner.user.theme, owner.user.shortcuts) == (
        "Olivia",
        "nl",
        "Europe/Amsterdam",
        "dark",
        False,
    )
    assert client.cookies["django_language"].value == "nl"
    for wrong in ({"time_zone": "Mars/Base"}, {"language": "xx"}, {"theme": "pink"}):
        answer = client.post("/account/profile/", given | wrong)
        assert list(answer.context["form"].errors) == list(wrong)
    client.post("/account/profile/", given | {"is_staff": "on", "email": "x@example.com", "is_superuser": "on"})
    owner.user.refresh_from_db()
    assert (owner.user.is_staff, owner.user.is_superuser, owner.user.email) == (False, False, "owner@example.com")


# --- the demo's one click ----------------------------------------------------------------------------


@pytest.fixture
def demo(settings) -> Operator:
    settings.DEMO = True
    operator = make_operator("demo")
    make_member(operator, Role.OWNER)
    make_member(operator, Role.FINANCE)
    make_driver(operator)
    make_driver(operator, user=make_person())
    return operator


@pytest.mark.parametrize(
    ("who", "portal"), [("operator", "/console/"), ("finance", "/finance/"), ("driver", "/driver/")]
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_one_click_enters_the_demo(client: Client, demo: Operator, who: str, portal: str, host: str) -> None:
    answer = client.post(f"/demo/log-in/{who}", headers={"Host": host})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/", headers={"Host": host})["Location"] == portal


@pytest.mark.parametrize("who", ["staff", "admin", "viewer", "owner"])
def test_the_demo_has_three_doors(client: Client, demo: Operator, who: str) -> None:
    assert client.post(f"/demo/log-in/{who}", headers={"Host": "localhost"}).status_code == 404


@pytest.mark.parametrize(
    ("change", "extra"),
    [
        ({"DEMO": False}, {}),
        ({"PUBLIC_URL": "https://charge.example"}, {}),
        ({"ALLOWED_HOSTS": ["charge.example"]}, {"headers": {"Host": "charge.example"}}),
        ({}, {"REMOTE_ADDR": "192.0.2.7"}),
        ({}, {"headers": {"X-Forwarded-For": "192.0.2.7", "Host": "localhost"}}),
    ],
    ids=["no demo", "public address", "other host", "other machine", "proxy"],
)
def test_the_demo_opens_to_this_machine_only(
    client: Client, demo: Operator, settings, change: dict, extra: dict
) -> None:
    for name, value in change.items():
        setattr(settings, name, value)
    extra = {"headers": {"Host": "localhost"}} | extra
    assert client.post("/demo/log-in/operator", **extra).status_code == 404
    assert client.get("/", headers=extra["headers"])["Location"] == LOG_IN


def test_looking_at_the_demos_door_does_not_open_it(client: Client, demo: Operator) -> None:
    assert client.get("/demo/log-in/operator", headers={"Host": "localhost"}).status_code == 405


# --- whose tries are counted -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "forwarded", "expected"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "10.9.9.9", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "1.1.1.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "rubbish", "rubbish"),
    ],
)
def test_only_our_own_proxies_are_believed(rf, settings, caller: str, forwarded: str, expected: str) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/24"]
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client_address(rf.get("/", REMOTE_ADDR=caller, headers=headers)) == expected
