"""Every page that a person can open, found by following links: WCAG 2.2 AA by axe, no error in the console,
no sideways scrolling; both themes, desktop and phone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from django.urls import Resolver404, resolve
from selenium import webdriver

from accounts.models import Operator
from tests.browser.chrome import (
    COLOURS,
    DESKTOP,
    LAYOUT,
    PHONE,
    complaints,
    one,
    screen,
    settle,
    until,
    violations,
)
from tests.everything import Everything
from tests.factories import make_person
from tests.running import Running
from tests.test_tenancy import ALL, PUBLIC, open_browser, text_of

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

START = {"nobody": "/account/login/", "operator": "/console/", "driver": "/driver/", "finance": "/finance/"}
# Opened besides, because nothing links to them: by a mail, by a script, or only in a state the demo is not in.
DIRECT = {
    "nobody": ["/account/password/reset/", "/invitation/unknown/", "/no/such/page/"],
    "operator": ["/operator/", "/console/no/such/page/"],
}
# Pages that this walk does not meet; each with the reason.
NOT_MET = {
    "home": "leads on to a portal",
    "demo_log_in": "a button",
    "set_language": "a button",
    "schema": "for programs",
    "docs": "a tool of its own, which brings its own look",
    "invitation": "met as a link that has run out",
}


def links(text: str) -> Iterator[str]:
    """Return the paths a page links to, without queries: what differs by them is the same page."""
    for found in re.finditer(r'<a\s[^>]*?href="([^"]*)"', text):
        parts = urlsplit(html.unescape(found[1]))
        if not parts.netloc and parts.path.startswith("/") and " download" not in found[0]:
            yield parts.path


def enter(browser: webdriver.Chrome, url: str, who: str) -> None:
    """Log in with one click, or be nobody."""
    screen(browser)
    browser.get(f"{url}/account/login/")
    browser.delete_all_cookies()
    if who != "nobody":
        browser.get(f"{url}/account/login/")
        one(browser, f'form[action="/demo/log-in/{who}"] button').click()
        until(browser, "return location.pathname !== '/account/login/'")


def walk(who: str, url: str) -> Iterator[tuple[str, str]]:
    """Return name and path of one page of every kind that ``who`` can reach, in the order it is met."""
    session = requests.Session()
    session.get(f"{url}/account/login/", timeout=30)
    if who != "nobody":
        form = {"csrfmiddlewaretoken": session.cookies["csrf"]}
        session.post(f"{url}/demo/log-in/{who}", data=form, timeout=30)
    waiting, met = [START[who], *DIRECT.get(who, [])], set()
    while waiting:
        path = waiting.pop(0)
        try:
            name = resolve(path).view_name
        except Resolver404:
            name = path
        if name in met or name.startswith("admin:"):
            continue
        met.add(name)
        answer = session.get(f"{url}{path}", timeout=30)
        if not answer.headers.get("Content-Type", "").startswith("text/html"):
            continue
        assert answer.status_code == 200 or "unknown" in path or "no/such" in path, (path, answer.status_code)
        if answer.text.lstrip().lower().startswith("<!doctype"):
            yield name, urlsplit(answer.url).path
            waiting.extend(links(answer.text))


@pytest.mark.django_db
def test_every_page_is_fit_for_everybody(
    chromium: webdriver.Chrome, demo: Running, tenant: Operator, subtests: pytest.Subtests
) -> None:
    met: set[str] = set()
    for who in START:
        enter(chromium, demo.url, who)
        for name, path in walk(who, demo.url):
            if name not in met:
                met.add(name)
                with subtests.test(path):
                    look_at(chromium, f"{demo.url}{path}")
    with subtests.test("every page was met"):
        missed = pages(tenant) - met - set(NOT_MET)
        assert not missed, "nothing links to these: they need a path in DIRECT or a reason in NOT_MET"


def look_at(browser: webdriver.Chrome, url: str) -> None:
    screen(browser, DESKTOP, "light")
    browser.get_log("browser")
    browser.get(url)
    settle(browser)
    told = [line for line in complaints(browser) if "status of 404" not in line]
    assert not told
    assert not violations(browser), "desktop, light"
    screen(browser, DESKTOP, "dark")
    assert not violations(browser, only=COLOURS), "desktop, dark"
    screen(browser, PHONE, "dark")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE, "scrolls sideways"
    assert not violations(browser, only=COLOURS), "phone, dark"
    screen(browser, PHONE, "light")
    assert not violations(browser, only=LAYOUT), "phone, light"


def pages(tenant: Operator) -> set[str]:
    """Return the names of all addresses that answer their people with a whole page."""
    own = Everything.of(tenant, "OWN")
    found = set()
    for route in ALL:
        if route.portal != "api/v1" and not route.template.startswith("account/") and route.name not in PUBLIC:
            person = {"driver": own.driver.user, "staff": make_person(is_staff=True)}.get(route.portal, own.owner.user)
            answer = open_browser(person).get(route.url(own))
            if answer.status_code == 200 and text_of(answer).lstrip().lower().startswith("<!doctype"):
                found.add(route.name)
    return found
