"""A headless Chromium, how long to wait for it, and what makes a page fit for everybody."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP, PHONE = 1600, 390
# What another width or theme can break; everything else is the same there.
COLOURS = ["color-contrast", "link-in-text-block"]
LAYOUT = [*COLOURS, "target-size", "scrollable-region-focusable", "link-name", "button-name", "label"]


def new_browser(folder: Path) -> webdriver.Chrome:
    """Start Chromium with a profile of its own. The driver is named, so that nothing is looked for elsewhere."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
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
        f"--user-data-dir={folder}",
    ):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))


def screen(browser: webdriver.Chrome, width: int = DESKTOP, theme: str = "light") -> None:
    """Give the page a width in CSS pixels and the theme a device asks for; animation is off."""
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wishes = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(browser: webdriver.Chrome, script: str, *arguments: Any, within: float = 10) -> Any:
    """Wait until a script returns something true, and return that."""
    deadline = time.monotonic() + within
    while not (found := browser.execute_script(script, *arguments)):
        assert time.monotonic() < deadline, f"not within {within} s: {script}"
        time.sleep(0.1)
    return found


def settle(browser: webdriver.Chrome) -> None:
    """Wait until the page and the parts it fetched are there."""
    until(browser, "return document.readyState === 'complete' && !document.querySelector('.htmx-request')")
    if browser.find_elements(By.CSS_SELECTOR, "[data-chart]"):
        until(browser, "return document.querySelector('[data-chart] canvas')")


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Return errors of the console since the last look: scripts, missing files, breaches of the security policy."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def violations(browser: webdriver.Chrome, *, only: list[str] | None = None) -> str:
    """Return what axe finds and still finds a second later, for what is on its way is no state of a page.

    Empty where it finds nothing; ``only`` names single rules.
    """
    if not _violations(browser, only):
        return ""
    time.sleep(1)
    return _violations(browser, only)


def _violations(browser: webdriver.Chrome, only: list[str] | None) -> str:
    if not browser.execute_script("return Boolean(window.axe)"):
        browser.execute_script(AXE)
    wanted = {"type": "rule", "values": only} if only else {"type": "tag", "values": RULES}
    found = browser.execute_async_script(
        "const done = arguments[1];"
        "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']}).then((r) => done(r.violations.map("
        "(v) => [v.id, ...v.nodes.map((n) => n.target.join(' ') + ': ' + n.failureSummary)])))",
        wanted,
    )
    return json.dumps(found, indent=1) if found else ""


def one(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Return the first element a CSS selector finds."""
    return browser.find_element(By.CSS_SELECTOR, selector)
