"""The frame around every page: who is here, where they may go, what waits for them."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Driver, Membership, Operator, User
from accounts.roles import Role
from config.context import Shell
from stations.models import Alert
from tests.factories import make_driver, make_member
from tests.people import Browser

pytestmark = pytest.mark.django_db


def shell_at(client: Client, name: str) -> Shell:
    answer = client.get(reverse(name))
    assert answer.status_code == 200
    shell: Shell = answer.context["shell"]
    return shell


def names(shell: Shell) -> set[str]:
    return {str(entry.label) for entry in shell.entries}


def alert(operator: Operator, key: str, *, resolved: bool = False) -> None:
    now = timezone.now()
    Alert.objects.create(
        operator=operator, kind="x", dedupe_key=key, raised_at=now, last_at=now, resolved_at=now if resolved else None
    )


def test_the_rail_shows_where_one_is(owner: Membership, browser: Browser) -> None:
    shell = shell_at(browser(owner), "console:members")
    assert [str(entry.label) for entry in shell.entries if entry.active] == ["Members"]
    assert (shell.portal, shell.operator, shell.person) == ("console", "Lighthouse Charging", owner.user.display_name)


def test_the_rail_offers_what_the_role_allows(tenant: Operator, browser: Browser) -> None:
    owner = names(shell_at(browser(make_member(tenant, Role.OWNER)), "profile"))
    technician = names(shell_at(browser(make_member(tenant, Role.TECHNICIAN)), "profile"))
    assert {"Members", "API keys", "Audit trail", "Drivers"} <= owner
    assert technician.isdisjoint({"Members", "API keys", "Audit trail", "Drivers", "Finance"})


def test_pages_that_do_not_exist_are_not_offered(owner: Membership, browser: Browser) -> None:
    assert all(entry.url for entry in shell_at(browser(owner), "console:members").entries)


def test_open_alerts_of_ones_own_operator_are_counted(
    owner: Membership, other_tenant: Operator, browser: Browser
) -> None:
    alert(owner.operator, "a")
    alert(owner.operator, "b")
    alert(owner.operator, "c", resolved=True)
    alert(other_tenant, "d")
    found = shell_at(browser(owner), "console:members").alerts
    assert found is not None
    assert found.count == 2


def test_other_operators_and_portals_are_one_click_away(
    owner: Membership, other_tenant: Operator, browser: Browser
) -> None:
    make_member(other_tenant, Role.VIEWER, owner.user)
    make_driver(owner.operator, user=owner.user)
    shell = shell_at(browser(owner), "console:members")
    assert [operator.name for operator in shell.other_operators] == ["Rival Energy"]
    assert "Installation" not in {str(entry.label) for entry in shell.portals}


def test_staff_find_the_installation(staff: User, browser: Browser) -> None:
    assert "Installation" in {str(entry.label) for entry in shell_at(browser(staff), "profile").portals}


def test_a_driver_sees_the_drivers_ways_alone(driver: Driver, browser: Browser) -> None:
    shell = shell_at(browser(driver), "driver:account")
    assert shell.portal == "driver"
    assert shell.role == ""
    assert shell.other_operators == ()
    assert names(shell) <= {"Find", "Session", "History", "Account"}


def test_theme_of_the_browser_goes_before_the_persons(owner: Membership, browser: Browser) -> None:
    owner.user.theme = User.Theme.DARK
    owner.user.save()
    client = browser(owner)
    assert shell_at(client, "console:members").theme == "dark"
    client.cookies["theme"] = "light"
    assert shell_at(client, "console:members").theme == "light"
    client.cookies["theme"] = "neon"
    assert shell_at(client, "console:members").theme == "dark"


def test_shortcuts_can_be_switched_off(owner: Membership, browser: Browser) -> None:
    assert b"data-shortcuts" not in browser(owner).get(reverse("console:members")).content
    owner.user.shortcuts = False
    owner.user.save()
    assert b'data-shortcuts="off"' in browser(owner).get(reverse("console:members")).content


def test_nobody_yet_sees_no_ways(client: Client) -> None:
    shell = shell_at(client, "account_login")
    assert (shell.person, shell.entries, shell.alerts) == ("", [], None)


def test_the_frame_costs_the_same_however_much_there_is(
    owner: Membership, browser: Browser, django_assert_max_num_queries: pytest.FixtureRequest
) -> None:
    client = browser(owner)
    for i in range(20):
        alert(owner.operator, f"a{i}")
        Alert.objects.filter(dedupe_key=f"a{i}").update(raised_at=timezone.now() - dt.timedelta(days=i))
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        client.get(reverse("console:members"))
