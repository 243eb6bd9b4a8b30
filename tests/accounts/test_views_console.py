"""Console pages about people and access: what each role meets at each door, and what the doors do."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone

from accounts import members, tokens
from accounts.models import ApiKey, AuditEntry, Driver, IdToken, Invitation, Membership, Operator
from accounts.roles import ABILITIES, Ability, Role
from accounts.urls import console_urls
from tests.factories import NOW, make_api_key, make_driver, make_member, make_token

pytestmark = pytest.mark.django_db

DOORS: dict[str, tuple[str, Ability]] = {
    "members": ("get", Ability.MANAGE_MEMBERS),
    "member_invite": ("get", Ability.MANAGE_MEMBERS),
    "member": ("get", Ability.MANAGE_MEMBERS),
    "member_remove": ("post", Ability.MANAGE_MEMBERS),
    "invitation_withdraw": ("post", Ability.EDIT_TOKENS),
    "tokens": ("get", Ability.SEE_PEOPLE),
    "token_new": ("get", Ability.EDIT_TOKENS),
    "token": ("get", Ability.SEE_PEOPLE),
    "token_block": ("post", Ability.EDIT_TOKENS),
    "token_unblock": ("post", Ability.EDIT_TOKENS),
    "token_retire": ("post", Ability.EDIT_TOKENS),
    "drivers": ("get", Ability.SEE_PEOPLE),
    "driver_new": ("get", Ability.EDIT_TOKENS),
    "driver": ("get", Ability.SEE_PEOPLE),
    "driver_edit": ("get", Ability.EDIT_TOKENS),
    "driver_invite": ("post", Ability.EDIT_TOKENS),
    "driver_retire": ("post", Ability.EDIT_TOKENS),
    "api_keys": ("get", Ability.MANAGE_KEYS),
    "api_key_revoke": ("post", Ability.MANAGE_KEYS),
    "audit": ("get", Ability.SEE_AUDIT),
}
OBJECTS = {"member": "member", "invitation": "invitation", "token": "token", "driver": "driver", "api_key": "key"}


@pytest.fixture
def rows(tenant: Operator, owner: Membership) -> dict[str, object]:
    """One object of each kind, as the addresses name them."""
    driver = make_driver(tenant, email="dana@example.com", name="Dana Driver")
    return {
        "member": make_member(tenant, Role.VIEWER),
        "driver": driver,
        "token": make_token(tenant, "04A2B3C4D5", driver=driver),
        "key": make_api_key(tenant)[0],
        "invitation": members.invite_driver(driver, by=owner, at=timezone.now()),
    }


def names_an_object(name: str) -> bool:
    return any("<uuid:id>" in str(pattern.pattern) for pattern in console_urls if pattern.name == name)


def address(name: str, rows: dict[str, object]) -> str:
    if not names_an_object(name):
        return reverse(f"console:{name}")
    kind = next(kind for prefix, kind in OBJECTS.items() if name == prefix or name.startswith(f"{prefix}_"))
    return reverse(f"console:{name}", args=[rows[kind].uuid])  # type: ignore[attr-defined]


def everything() -> list[object]:
    models = (Membership, Driver, IdToken, ApiKey, Invitation, AuditEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


# --- doors -------------------------------------------------------------------------------------------


def test_every_door_is_in_the_table() -> None:
    assert {pattern.name for pattern in console_urls if isinstance(pattern, URLPattern)} == set(DOORS)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", list(DOORS))
def test_the_role_matrix(browser, tenant: Operator, rows, role: Role, name: str) -> None:
    method, ability = DOORS[name]
    person = make_member(tenant, role)
    before = everything()
    answer = getattr(browser(person), method)(address(name, rows))
    if ability in ABILITIES[role]:
        assert answer.status_code in {200, 302}
    else:
        assert answer.status_code == 403
        assert everything() == before


@pytest.mark.parametrize("name", list(DOORS))
def test_a_stranger_finds_nothing(browser, stranger: Membership, rows, name: str) -> None:
    before = everything()
    method, _ability = DOORS[name]
    answer = getattr(browser(stranger), method)(address(name, rows))
    assert answer.status_code == (404 if names_an_object(name) else 200)
    assert "Dana" not in answer.content.decode()
    assert "04A2B3C4D5" not in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("name", list(DOORS))
def test_nobody_logged_in_is_sent_to_log_in(client: Client, rows, name: str) -> None:
    method, _ability = DOORS[name]
    answer = getattr(client, method)(address(name, rows))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/login/?next=/console/")


@pytest.mark.parametrize("name", [name for name, (method, _ability) in DOORS.items() if method == "post"])
def test_what_changes_something_is_never_a_link(browser, owner: Membership, rows, name: str) -> None:
    before = everything()
    assert browser(owner).get(address(name, rows)).status_code == 405
    assert everything() == before


def test_somebody_who_may_only_look_cannot_save(browser, accountant: Membership, rows) -> None:
    client = browser(accountant)
    url = address("token", rows)
    assert client.get(url).status_code == 200
    assert client.post(url, {"label": "changed"}).status_code == 403
    assert IdToken.objects.get().label == ""


# --- members -----------------------------------------------------------------------------------------


def test_inviting_from_the_page(browser, owner: Membership, django_capture_on_commit_callbacks) -> None:
    site = owner.operator.sites.create(name="Pier", time_zone="Europe/Berlin", country="DE")
    client = browser(owner)
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(
            "/console/members/invite/", {"email": "new@example.com", "role": "technician", "sites": [str(site.uuid)]}
        )
    assert answer["Location"] == "/console/members/"
    invitation = Invitation.objects.get()
    assert (invitation.role, invitation.site_ids, invitation.all_sites) == ("technician", [site.pk], False)
    assert mail.outbox[0].to == ["new@example.com"]
    assert "new@example.com" in client.get("/console/members/").content.decode()
    client.post(f"/console/invitations/{invitation.uuid}/withdraw/")
    assert not Invitation.objects.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": "x"}, "email"),
        ({"role": "king"}, "role"),
        ({"sites": ["other"]}, "sites"),
        ({"email": "owner@example.com"}, "email"),
    ],
)
def test_a_wrong_invitation_says_why(browser, owner: Membership, given: dict[str, str], field: str) -> None:
    answer = browser(owner).post("/console/members/invite/", {"email": "new@example.com", "role": "viewer"} | given)
    assert list(answer.context["form"].errors) == [field]
    assert not Invitation.objects.exists()


def test_an_administrator_is_not_offered_ownership(browser, admin: Membership, owner: Membership) -> None:
    client = browser(admin)
    assert 'value="owner"' not in client.get("/console/members/invite/").content.decode()
    assert (
        "role"
        in client.post("/console/members/invite/", {"email": "n@example.com", "role": "owner"}).context["form"].errors
    )
    answer = client.post(f"/console/members/{owner.uuid}/", {"role": "viewer"})
    assert answer.context["form"].errors["role"] == ["Only an owner can do this with owners."]
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_changing_and_removing_a_member(browser, owner: Membership, viewer: Membership) -> None:
    client = browser(owner)
    client.post(f"/console/members/{viewer.uuid}/", {"role": "operator"})
    viewer.refresh_from_db()
    assert (viewer.role, viewer.all_sites) == ("operator", True)
    inside = browser(viewer)
    assert inside.get("/console/tokens/").status_code == 200
    client.post(f"/console/members/{viewer.uuid}/remove/")
    assert inside.get("/console/tokens/").status_code == 404, "whoever was removed is out at once"


def test_a_refusal_is_a_page_or_for_scripts_a_sentence(browser, owner: Membership) -> None:
    url = f"/console/members/{owner.uuid}/remove/"
    page = browser(owner).post(url)
    assert page.status_code == 409
    assert "An operator needs an owner" in page.content.decode()
    assert "<html" in page.content.decode()
    words = browser(owner).post(url, headers={"HX-Request": "true"})
    assert (words.status_code, words["Content-Type"]) == (409, "text/plain; charset=utf-8")
    assert words.content.decode() == "An operator needs an owner. Make somebody else owner first."


# --- tokens ------------------------------------------------------------------------------------------


def test_adding_a_card(browser, operator: Membership) -> None:
    client = browser(operator)
    driver = make_driver(operator.operator)
    answer = client.post(
        "/console/tokens/new/",
        {
            "type": "rfid",
            "value": "04A2B3C4",
            "label": "Van 7",
            "driver": str(driver.uuid),
            "group": "vans",
            "expires_at": "2027-01-01T12:00",
        },
    )
    assert answer.status_code == 200
    assert "04A2B3C4" in answer.content.decode()
    token = IdToken.objects.get()
    assert (token.label, token.driver, token.group) == ("Van 7", driver, "vans")
    assert token.expires_at is not None
    assert token.expires_at.isoformat() == "2027-01-01T11:00:00+00:00", "typed in the operator's zone"


def test_a_pin_is_shown_once(browser, operator: Membership) -> None:
    client = browser(operator)
    answer = client.post("/console/tokens/new/", {"type": "pin", "value": ""})
    found = re.search(r"<code>(\d{6,})</code>", answer.content.decode())
    assert found
    pin = found[1]
    assert "no-store" in answer["Cache-Control"]
    token = tokens.find_token(operator.operator_id, pin)
    assert token is not None
    for url in ("/console/tokens/", f"/console/tokens/{token.uuid}/", "/console/audit/"):
        text = client.get(url).content.decode()
        assert pin not in text
        assert token.value not in text


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"value": ""}, "value"),
        ({"type": "pin", "value": "12"}, "value"),
        ({"value": "04A2"}, "value"),
        ({"stations": "NOWHERE"}, "stations"),
        ({"driver": "0193b1f0-0000-7000-8000-000000000000"}, "driver"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"type": "card"}, "type"),
    ],
)
def test_a_wrong_token_says_why(browser, operator: Membership, given: dict[str, str], field: str) -> None:
    make_token(operator.operator, "04a2")
    answer = browser(operator).post("/console/tokens/new/", {"type": "rfid", "value": "04B2"} | given)
    assert list(answer.context["form"].errors) == [field]
    assert IdToken.objects.count() == 1


def test_stations_of_a_token_are_named_by_identity(browser, operator: Membership) -> None:
    site = operator.operator.sites.create(name="Pier", time_zone="Europe/Berlin", country="DE")
    pier = operator.operator.stations.create(site=site, identity="PIER-1", name="Pier 1")
    token = make_token(operator.operator)
    client = browser(operator)
    client.post(f"/console/tokens/{token.uuid}/", {"stations": "PIER-1,\nPIER-1"})
    token.refresh_from_db()
    assert token.stations == [str(pier.uuid)]
    assert client.get(f"/console/tokens/{token.uuid}/").context["form"]["stations"].value() == "PIER-1"


def test_blocking_takes_one_click(browser, operator: Membership) -> None:
    token = make_token(operator.operator, "04A2B3C4")
    client = browser(operator)
    row = client.post(f"/console/tokens/{token.uuid}/block/", headers={"HX-Request": "true"}).content.decode()
    assert row.strip().startswith("<tr>")
    assert "Blocked" in row
    assert "Unblock" in row
    token.refresh_from_db()
    assert token.status == "blocked"
    assert client.post(f"/console/tokens/{token.uuid}/unblock/")["Location"] == "/console/tokens/"
    token.refresh_from_db()
    assert token.status == "active"
    client.post(f"/console/tokens/{token.uuid}/retire/")
    assert "04A2B3C4" not in client.get("/console/tokens/").content.decode()
    assert client.post(f"/console/tokens/{token.uuid}/block/").status_code == 409


def test_searching_tokens(browser, operator: Membership) -> None:
    tenant = operator.operator
    card = make_token(tenant, "04A2B3C4", driver=make_driver(tenant, name="Dana"), label="Van 7", group="vans")
    pin = make_token(tenant, "998877", type="pin")
    make_token(tenant, "04FFFFFF", status="blocked")
    client = browser(operator)

    def found(query: str) -> list[IdToken]:
        return list(client.get(f"/console/tokens/?{query}").context["page"])

    for query in ("q=04a2", "q=dana", "q=van+7", "q=VANS", "type=rfid&status=active"):
        assert found(query) == [card], query
    assert found("type=pin") == [pin]
    assert found(f"q={pin.value[3:20]}") == []
    assert len(found("status=lost&type=nonsense&q=")) == 3
    for hostile in ("q=%25", "q='%20OR%201=1--", "page=1000000000", "page=x", "page=-1", "q=" + "a" * 5000):
        assert client.get(f"/console/tokens/?{hostile}").status_code == 200


def test_markup_in_names_stays_text(browser, operator: Membership) -> None:
    evil = '<script>alert("x")</script>'
    driver = make_driver(operator.operator, name=evil, email="e@example.com", group=evil)
    token = make_token(operator.operator, "{{7*7}}<b>", label=evil[:60], group=evil[:36], driver=driver)
    client = browser(operator)
    for url in (
        "/console/tokens/",
        f"/console/tokens/{token.uuid}/",
        "/console/drivers/",
        f"/console/drivers/{driver.uuid}/",
        "/console/audit/",
        f"/console/tokens/?q={evil}",
    ):
        text = client.get(url).content.decode()
        assert evil not in text
        assert "{{7*7}}<b>" not in text
        assert "49<b>" not in text


@pytest.mark.parametrize(
    ("url", "make"),
    [
        ("/console/tokens/", "token"),
        ("/console/drivers/", "driver"),
        ("/console/audit/", "token"),
        ("/console/members/", "member"),
        ("/console/api-keys/", "key"),
    ],
)
def test_lists_take_the_same_queries_for_any_number_of_rows(
    browser, owner: Membership, url: str, make: str, django_assert_max_num_queries
) -> None:
    tenant = owner.operator
    makers = {
        "token": lambda: make_token(tenant, driver=make_driver(tenant)),
        "driver": lambda: make_token(tenant, driver=make_driver(tenant)),
        "member": lambda: make_member(tenant, Role.VIEWER),
        "key": lambda: make_api_key(tenant),
    }
    client = browser(owner)
    client.get(url)
    for count in (2, 20):
        for _ in range(count):
            makers[make]()
        with django_assert_max_num_queries(12):
            client.get(url)


# --- drivers -----------------------------------------------------------------------------------------


def test_a_driver_from_form_to_portal(browser, operator: Membership, django_capture_on_commit_callbacks) -> None:
    client = browser(operator)
    answer = client.post("/console/drivers/new/", {"name": "Dana", "email": "dana@example.com", "group": "staff"})
    driver = Driver.objects.get()
    url = f"/console/drivers/{driver.uuid}/"
    assert answer["Location"] == url
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{url}invite/")
    assert mail.outbox[0].to == ["dana@example.com"]
    assert "Invite again" in client.get(url).content.decode()
    client.post(f"{url}edit/", {"name": "Dana D.", "email": "dana@example.com", "group": ""})
    driver.refresh_from_db()
    assert (driver.name, driver.group) == ("Dana D.", "")
    make_token(operator.operator, "04A2B3C4", driver=driver)
    client.post(f"{url}retire/")
    assert tokens.find_token(operator.operator_id, "04A2B3C4") is None
    assert client.post(f"{url}retire/").status_code == 409
    assert client.post(f"{url}edit/", {"name": "X"}).context["form"].errors
    assert "Dana D." not in client.get("/console/drivers/").content.decode()
    assert "Retired" in client.get(url).content.decode()


def test_a_driver_without_address_cannot_be_invited(browser, operator: Membership) -> None:
    driver = make_driver(operator.operator)
    answer = browser(operator).post(f"/console/drivers/{driver.uuid}/invite/")
    assert answer.status_code == 409
    assert not mail.outbox


# --- API keys ----------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_revoked(browser, admin: Membership) -> None:
    client = browser(admin)
    page = client.post("/console/api-keys/", {"name": "Meter import", "role": "viewer"}).content.decode()
    found = re.search(r"<code>(vy_[\w-]{40,})</code>", page)
    assert found
    secret = found[1]
    assert secret not in client.get("/console/api-keys/").content.decode()
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/operators/me/", headers=headers).status_code == 200
    key = ApiKey.objects.get()
    assert (key.role, key.created_by) == ("viewer", admin.user)
    client.post(f"/console/api-keys/{key.uuid}/revoke/")
    assert Client().get("/api/v1/operators/me/", headers=headers).status_code == 401
    assert "Revoked" in client.get("/console/api-keys/").content.decode()


def test_an_administrator_makes_no_owners_key(browser, admin: Membership) -> None:
    answer = browser(admin).post("/console/api-keys/", {"name": "x", "role": "owner"})
    assert "role" in answer.context["form"].errors
    assert not ApiKey.objects.exists()


# --- audit trail -------------------------------------------------------------------------------------


def test_the_audit_trail_pages_and_filters(browser, owner: Membership, stranger: Membership) -> None:
    tenant = owner.operator
    for number in range(60):
        AuditEntry.objects.create(
            operator=tenant,
            actor=f"Person {number}",
            action="thing.done",
            target_type="x",
            target_id=str(number),
            target=f"Thing {number}",
        )
    client = browser(owner)
    first = client.get("/console/audit/")
    entries = first.context["entries"]
    assert [entry.target_id for entry in entries] == [str(n) for n in range(59, 9, -1)]
    assert f"before={first.context['older']}" in first.content.decode()
    rest = client.get(f"/console/audit/?before={first.context['older']}")
    assert [entry.target_id for entry in rest.context["entries"]] == [str(n) for n in range(9, -1, -1)]
    assert rest.context["older"] is None
    assert [e.target_id for e in client.get("/console/audit/?q=person+7").context["entries"]] == ["7"]
    assert [e.target_id for e in client.get("/console/audit/?target=12").context["entries"]] == ["12"]
    today = timezone.localdate().isoformat()
    assert len(client.get(f"/console/audit/?since=2020-01-01&until={today}&q=thing").context["entries"]) == 50
    assert client.get("/console/audit/?since=2999-01-01").context["entries"] == []
    assert client.get("/console/audit/?until=2020-01-01").context["entries"] == []
    assert client.get("/console/audit/?since=x&before=").status_code == 200
    assert browser(stranger).get("/console/audit/").context["entries"] == []
    assert browser(stranger).get(f"/console/audit/?before={first.context['older']}").status_code == 404


def test_days_of_the_audit_trail_are_days_of_the_person(browser, owner: Membership) -> None:
    owner.user.time_zone = "Pacific/Auckland"
    owner.user.save()
    entry = AuditEntry.objects.create(
        operator=owner.operator, actor="A", action="a.b", target_type="x", target_id="1", target="T"
    )
    AuditEntry.objects.filter(pk=entry.pk).update(at=NOW)  # 12:00 UTC is 01:00 of the next day there
    client = browser(owner)
    assert client.get("/console/audit/?since=2026-11-21&until=2026-11-21").context["entries"] == [entry]
    assert client.get("/console/audit/?since=2026-11-20&until=2026-11-20").context["entries"] == []
