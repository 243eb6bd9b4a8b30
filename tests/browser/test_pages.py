"""Every page that a person can open, found by following links: WCAG 2.2 AA by axe, no error in the console,
no sideways scrolling; both themes, desktop and phone."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from django.urls import Resolver404, resolve
from selenium import webdriver

from tests.browser.chrome import DESKTOP, PHONE, complaints, screen, settle, violations
from tests.running import Running
from tests.test_tenancy import ALL

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


@pytest.mark.parametrize("who", START)
def test_pages_are_fit_for_everybody(
    who: str, chromium: webdriver.Chrome, demo: Running, subtests: pytest.Subtests
) -> None:
    chromium.get(f"{demo.url}/livez")
    chromium.delete_all_cookies()
    screen(chromium)
    if who != "nobody":
        chromium.get(f"{demo.url}/account/login/")
        chromium.execute_script(f"document.querySelector('form[action=\"/demo/log-in/{who}\"] button').click()")
        deadline = time.monotonic() + 10
        while "/account/login/" in chromium.current_url:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for name, path in walk(who, demo.url):
        if name in SEEN or name in NOT_MET and name != "invitation":
            continue
        SEEN.add(name)
        with subtests.test(path):
            look_at(chromium, f"{demo.url}{path}")


SEEN: set[str] = set()


def look_at(browser: webdriver.Chrome, url: str) -> None:
    screen(browser, DESKTOP, "light")
    browser.get_log("browser")
    browser.get(url)
    settle(browser)
    told = [line for line in complaints(browser) if "status of 404" not in line]
    assert not told
    assert not violations(browser), "desktop, light"
    screen(browser, DESKTOP, "dark")
    assert not violations(browser, only=["color-contrast"]), "desktop, dark"
    screen(browser, PHONE, "dark")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE, "scrolls sideways"
    assert not violations(browser), "phone, dark"
    screen(browser, PHONE, "light")
    assert not violations(browser, only=["color-contrast"]), "phone, light"


def test_every_page_was_met() -> None:
    """A page that nobody can reach by links needs its path in DIRECT, or its reason in NOT_MET."""
    pages = {route.name for route in ALL if not route.template.startswith("api/v1/")}
    print(sorted(pages - SEEN))
