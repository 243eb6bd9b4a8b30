"""The gallery in a real browser: WCAG 2.2 AA by axe, no breach of the content security policy, no sideways scrolling,
and what the scripts promise. Both themes, three widths."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from config.views_kit import PAGES

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = [(1600, "light"), (1200, "dark"), (390, "light"), (390, "dark")]
Open = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        words = "not run: needs chromium and chromedriver (apt install chromium chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def open_page(chromium: webdriver.Chrome, live_server: Any, settings: Settings) -> Open:
    """Return a function that opens a page of the gallery at a width and in a theme."""
    settings.DEBUG = True

    def open_it(name: str, width: int = 1600, theme: str = "light") -> webdriver.Chrome:
        mobile = width < 700
        chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": mobile},
        )
        wishes = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})
        chromium.delete_all_cookies()
        chromium.get("about:blank")
        chromium.get_log("browser")
        chromium.get(f"{live_server.url}/_kit/{name}/")
        until(chromium, "return document.readyState === 'complete' && !document.querySelector('.htmx-request')")
        return chromium

    return open_it


def until(browser: webdriver.Chrome, script: str, within: float = 5) -> Any:
    """Wait until a script returns something true, and return that."""
    deadline = time.monotonic() + within
    while not (found := browser.execute_script(script)):
        assert time.monotonic() < deadline, script
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_keeps_its_frame(open_page: Open, name: str) -> None:
    for width, theme in SCREENS:
        browser = open_page(name, width, theme)
        if browser.find_elements(By.CSS_SELECTOR, "[data-chart]"):
            until(browser, "return document.querySelector('[data-chart] canvas')")
        told = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert [line for line in told if "/live/" not in line] == [], (width, theme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, (width, theme)
        browser.execute_script(AXE)
        found = browser.execute_async_script(
            "const done = arguments[1];"
            "axe.run(document, {runOnly: arguments[0]}).then((r) => done(r.violations.map("
            "(v) => [v.id, ...v.nodes.map((n) => n.target.join(' '))])))",
            RULES,
        )
        assert found == [], (width, theme, json.dumps(found, indent=1))


def test_ticking_rows_brings_the_bulk_bar_with_their_number(open_page: Open) -> None:
    browser = open_page("stations")
    bar = browser.find_element(By.CSS_SELECTOR, ".bulk")
    assert not bar.is_displayed()
    for box in browser.find_elements(By.CSS_SELECTOR, "[data-select]")[:2]:
        box.click()
    assert bar.text.startswith("2 selected")
    browser.find_element(By.CSS_SELECTOR, "[data-select-all]").click()
    assert bar.text.startswith("10 selected")


def test_keys_move_select_search_and_go(open_page: Open) -> None:
    browser = open_page("stations")

    def press(*keys: str) -> None:
        for key in keys:
            browser.switch_to.active_element.send_keys(key)

    press("j", "j", "k")
    assert browser.switch_to.active_element.text == "Harbour Quay 1"
    press("x")
    assert browser.find_element(By.CSS_SELECTOR, "[data-selected-count]").text == "1"
    press("?")
    assert browser.find_element(By.CSS_SELECTOR, "[data-help]").is_displayed()
    press(Keys.ESCAPE, "/")
    assert browser.switch_to.active_element.get_attribute("name") == "q"
    browser.execute_script("document.activeElement.blur()")
    press("g", "e")
    until(browser, "return location.pathname === '/_kit/sessions/'")


def test_palette_finds_a_page(open_page: Open) -> None:
    browser = open_page("components")
    browser.switch_to.active_element.send_keys(Keys.CONTROL, "k")
    browser.switch_to.active_element.send_keys("live st")
    shown = browser.find_elements(By.CSS_SELECTOR, "[data-palette] li:not([hidden])")
    assert [item.text.strip() for item in shown] == ["Live stations"]
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, "return location.pathname === '/_kit/stations/'")


def test_danger_asks_states_the_effect_and_wants_the_name(open_page: Open) -> None:
    browser = open_page("stations")
    browser.find_element(By.CSS_SELECTOR, "#station-panel [data-confirm-typed]").click()
    dialog = browser.find_element(By.CSS_SELECTOR, "[data-confirm-dialog]")
    assert dialog.is_displayed()
    assert "€25.49 and €17.05 are billed" in dialog.text
    go = browser.find_element(By.CSS_SELECTOR, "[data-confirm-part=go]")
    assert not go.is_enabled()
    browser.switch_to.active_element.send_keys("Harbour Quay 1")
    assert go.is_enabled()
    go.click()
    until(browser, "return document.querySelector('#command-result .command')")
    assert "Charger answered Accepted" in browser.find_element(By.ID, "command-result").text


def test_cancelling_sends_nothing(open_page: Open) -> None:
    browser = open_page("stations")
    browser.find_element(By.CSS_SELECTOR, "#station-panel [data-confirm]:not([data-confirm-typed])").click()
    browser.find_element(By.CSS_SELECTOR, "[data-confirm-part=cancel]").click()
    time.sleep(0.3)
    assert browser.find_elements(By.CSS_SELECTOR, "#command-result .command") == []


def test_theme_switch_is_remembered(open_page: Open) -> None:
    browser = open_page("stations", theme="light")
    browser.find_element(By.CSS_SELECTOR, "[data-theme-switch]").click()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    browser.refresh()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"


def test_live_values_and_stale_parts(open_page: Open) -> None:
    """A stand-in for the socket says what the server would: the page needs no more than that."""
    browser = open_page("components")
    stand_in = """
      window.WebSocket = class {
        static OPEN = 1;
        constructor(url) { window.asked = url; window.line = this; this.readyState = 1; setTimeout(() => this.onopen(), 0); }
        close() { this.readyState = 3; this.onclose({ code: 1000 }); }
      };
    """
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": stand_in})
    try:
        browser = open_page("stations")
        assert until(browser, "return window.asked").endswith("/live/?topic=kit")
        until(browser, "return document.querySelector('.live').textContent.startsWith('Live')")
        say = "window.line.onmessage({data: JSON.stringify(arguments[0])})"
        browser.execute_script(say, {"t": "text", "slots": {"kpi:in_use": "<b>77</b>"}})
        assert browser.find_element(By.CSS_SELECTOR, '[data-live="kpi:in_use"]').text == "<b>77</b>"

        mark = "document.querySelector('{0} > :first-child').dataset.old = '1'"
        gone = "return !document.querySelector('{0} > :first-child').dataset.old"
        feed, rows = '[data-fragment="feed"]', '[data-fragment="rows"]'
        browser.execute_script(mark.format(feed))
        browser.execute_script(say, {"t": "stale", "names": ["feed"]})
        until(browser, gone.format(feed))

        browser.execute_script(mark.format(rows))
        browser.execute_script("document.querySelector('[data-row-link]').focus()")
        browser.execute_script(say, {"t": "stale", "names": ["rows"]})
        release = until(browser, "return document.querySelector('[data-release]:not([hidden])')")
        assert not browser.execute_script(gone.format(rows))
        release.click()
        until(browser, gone.format(rows))

        browser.find_element(By.CSS_SELECTOR, ".live").click()
        assert browser.find_element(By.CSS_SELECTOR, ".live").text == "Paused"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
