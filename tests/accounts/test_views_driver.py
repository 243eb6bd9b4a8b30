"""The driver's account: own tokens, own choices, nobody else's."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import translation

from accounts import tokens
from accounts.models import AuditEntry, Driver, Membership, Operator
from tests.factories import NOW, make_driver, make_person, make_token

pytestmark = pytest.mark.django_db
ACCOUNT = "/driver/account/"


def test_the_account_shows_tokens_of_all_operators(browser, driver: Driver, other_tenant: Operator) -> None:
    elsewhere = make_driver(other_tenant, user=driver.user)
    make_token(driver.operator, "04A2B3C4", driver=driver)
    make_token(other_tenant, "04FFFFFF", driver=elsewhere)
    make_token(other_tenant, "04EEEEEE", driver=make_driver(other_tenant))
    tokens.retire(make_token(driver.operator, "04DDDDDD", driver=driver, label="Old"), by=None, at=NOW)
    text = browser(driver).get(ACCOUNT).content.decode()
    assert "04A2B3C4" in text
    assert "04FFFFFF" in text
    assert "Rival Energy" in text
    assert "04EEEEEE" not in text
    assert "Old" not in text


def test_a_driver_blocks_a_lost_card_and_cannot_unblock_it(browser, driver: Driver) -> None:
    card = make_token(driver.operator, driver=driver)
    client = browser(driver)
    assert client.post(f"{ACCOUNT}tokens/{card.uuid}/block/")["Location"] == ACCOUNT
    card.refresh_from_db()
    assert card.status == "blocked"
    assert AuditEntry.objects.get(action="token.changed").user == driver.user
    text = client.get(ACCOUNT).content.decode()
    assert "Blocked" in text
    assert f"tokens/{card.uuid}/block/" not in text
    assert client.post(f"/console/tokens/{card.uuid}/unblock/").status_code == 404


def test_nobody_blocks_the_card_of_somebody_else(browser, driver: Driver, owner: Membership) -> None:
    card = make_token(driver.operator, driver=make_driver(driver.operator, user=make_person()))
    assert browser(driver).post(f"{ACCOUNT}tokens/{card.uuid}/block/").status_code == 404
    assert browser(owner).post(f"{ACCOUNT}tokens/{card.uuid}/block/").status_code == 404
    assert Client().post(f"{ACCOUNT}tokens/{card.uuid}/block/").status_code == 302
    card.refresh_from_db()
    assert card.status == "active"


def test_a_drivers_choices(browser, driver: Driver) -> None:
    client = browser(driver)
    answer = client.post(
        ACCOUNT, {"name": "Dana", "language": "de", "time_zone": "", "theme": "light", "shortcuts": "on"}
    )
    assert answer["Location"] == ACCOUNT
    driver.user.refresh_from_db()
    assert (driver.user.name, driver.user.language, driver.user.theme) == ("Dana", "de", "light")
    page = client.get(ACCOUNT)
    assert '<html lang="de"' in page.content.decode()
    wrong = client.post(ACCOUNT, {"name": "Dana", "language": "de", "time_zone": "Nowhere/Land", "theme": "light"})
    with translation.override("de"):
        assert list(wrong.context["form"].errors) == ["time_zone"]


def test_the_way_to_second_factors_and_sessions(browser, driver: Driver) -> None:
    text = browser(driver).get(ACCOUNT).content.decode()
    for url in ("/account/2fa/", "/account/sessions/", "/account/password/change/", "/account/logout/"):
        assert url in text
