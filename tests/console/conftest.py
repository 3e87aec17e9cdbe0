"""A small laptop edition and a real headless Chromium in front of it."""

import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from small_edition import fill, wait_until_words_are_understood

from core.local.stack import Stack

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """The browser and its driver."""
    browser, driver = program("chromium", "chromium-browser", "google-chrome"), program("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with ChromeDriver here; on Debian: apt-get install chromium chromium-driver")
    return browser, driver


@pytest.fixture(scope="session")
def console_stack(chromium: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The laptop edition with a part of the demo's titles and a small audience, the ten demo viewers among it."""
    running = Stack(tmp_path_factory.mktemp("console"), None)
    try:
        running.start(demo=False)
        running.gateway.stop()  # which would remember for half a minute that there was no text encoder
        fill(running.settings())
        running.start(demo=False)
        wait_until_words_are_understood(running)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def browser(chromium: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser with its network and its console on record."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(chromium[1]))
    running.set_script_timeout(20)
    yield running
    running.quit()
