from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.chrome import new_browser
from tests.running import Running, copy, seeded, serving


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser = new_browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demonstration as `make run` serves it, with its chargers."""
    template: Path = seeded(tmp_path_factory.getbasetemp().parent, demo=True)
    with serving(copy(template, tmp_path_factory.mktemp("demo") / "data"), DEMO="1") as running:
        yield running
