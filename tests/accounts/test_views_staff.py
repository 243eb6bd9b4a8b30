"""Pages of the installation's staff: tenants are made, suspended, resumed; nobody else finds them."""

from __future__ import annotations

import pytest
from django.core import mail

from accounts.models import Driver, Invitation, Membership, Operator, User
from tests.factories import make_api_key

pytestmark = pytest.mark.django_db
NEW = {
    "name": "Pier Power",
    "slug": "Pier",
    "email": "boss@example.com",
    "currency": "NOK",
    "country": "NO",
    "zone": "Europe/Oslo",
}


def test_making_an_operator(browser, staff: User, django_capture_on_commit_callbacks) -> None:
    client = browser(staff)
    assert client.get("/staff/").status_code == 200
    assert client.get("/staff/operators/new/").status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/staff/operators/new/", NEW)["Location"] == "/staff/"
    operator = Operator.objects.get()
    assert (operator.slug, operator.currency, operator.time_zone, operator.country) == (
        "pier",
        "NOK",
        "Europe/Oslo",
        "NO",
    )
    assert Invitation.objects.get().role == "owner"
    assert mail.outbox[0].to == ["boss@example.com"]
    assert "Pier Power" in client.get("/staff/").content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "lighthouse"},
        {"slug": "a b"},
        {"zone": "Mars/Base"},
        {"currency": "kr"},
        {"country": "Norway"},
        {"email": "x"},
        {"name": ""},
    ],
)
def test_a_wrong_operator_says_why(browser, staff: User, tenant: Operator, wrong: dict[str, str]) -> None:
    answer = browser(staff).post("/staff/operators/new/", NEW | wrong)
    assert list(answer.context["form"].errors) == list(wrong)
    assert Operator.objects.count() == 1


def test_suspending_closes_and_resuming_opens(browser, staff: User, owner: Membership, client) -> None:
    _key, secret = make_api_key(owner.operator)
    headers = {"Authorization": f"Bearer {secret}"}
    url = f"/staff/operators/{owner.operator.uuid}/"
    page, keyhole = browser(owner), "/api/v1/operators/me/"
    browser(staff).post(f"{url}suspend/")
    assert (page.get("/console/members/").status_code, client.get(keyhole, headers=headers).status_code) == (403, 401)
    browser(staff).post(f"{url}resume/")
    assert (page.get("/console/members/").status_code, client.get(keyhole, headers=headers).status_code) == (200, 200)


@pytest.mark.parametrize("who", ["owner", "driver", "stranger"])
def test_nobody_else_finds_these_pages(browser, tenant: Operator, who: str, request) -> None:
    person: Membership | Driver = request.getfixturevalue(who)
    client = browser(person)
    assert client.get("/staff/").status_code == 404
    assert client.post("/staff/operators/new/", NEW).status_code == 404
    assert client.post(f"/staff/operators/{tenant.uuid}/suspend/").status_code == 404
    tenant.refresh_from_db()
    assert not tenant.is_suspended
    assert not Operator.objects.filter(slug="pier").exists()


def test_the_admin_is_for_superusers_and_shows_no_secret(browser, staff: User, owner: Membership) -> None:
    assert browser(owner).get("/admin/").status_code == 302
    client = browser(staff)
    for name in ("user", "operator", "membership", "invitation", "driver", "idtoken", "apikey", "auditentry"):
        assert client.get(f"/admin/accounts/{name}/").status_code == 200, name
        if name != "user":
            assert client.get(f"/admin/accounts/{name}/add/").status_code == 403, name
    make_api_key(owner.operator)
    key = owner.operator.api_keys.get()
    text = client.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()
    assert key.digest not in text
    assert client.post(f"/admin/accounts/apikey/{key.pk}/delete/", {"post": "yes"}).status_code == 403
