"""The console in a real browser: what people do on it, what it claims, and what a page owes to everybody."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from small_edition import HOSTILE

from core.local.demo_story import Client
from core.local.simulator import DEMO_VIEWERS
from core.local.stack import Stack

CHECKS = (Path(__file__).parent / "checks.js").read_text()
NAMED_ROLES = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "dialog", "region", "radio"}
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
ACTS = (("like", 1), ("watch", 3), ("stars", 2), ("skip", 1), ("click", 4))  # what to do, and on which row


class Page:
    """The console as its user sees it."""

    def __init__(self, browser: Chrome, stack: Stack) -> None:
        self.browser, self.url = browser, stack.gateway.url
        browser.get("about:blank")
        browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": "all"})
        self.resize(1440, 1000)
        self.prefer("light")
        self.complaints(), self.requests()  # those of the test before
        browser.get(self.url)
        self.until(lambda: self.one("#start").is_displayed())

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))

    def until(self, holds: Any, seconds: float = 15.0) -> Any:
        try:
            return WebDriverWait(self.browser, seconds, 0.02).until(lambda _: holds())
        except TimeoutException as error:
            raise AssertionError(f"in vain; the page says: {self.text('#problem') or 'nothing'}") from error

    def rows(self) -> list[dict[str, str]]:
        """The rows as they are shown: id, title, moved, mark, why and reason."""
        script = """return [...document.querySelectorAll('#rows > li')].map((row) => ({
            id: row.dataset.id, moved: row.dataset.moved, title: row.querySelector('.title').textContent,
            mark: row.querySelector('.move').textContent, why: row.querySelector('.why').textContent,
            reason: row.querySelector('.reason').textContent, bar: row.querySelector('.bar').ariaLabel,
            facts: row.querySelector('.facts-line').textContent }))"""
        return list(self.browser.execute_script(script))

    def enter(self, viewer: str) -> None:
        self.one(f"[data-viewer={viewer}]").click()
        self.until(self.rows)
        self.until(lambda: self.all("#adapter dl"))

    def learned(self) -> int:
        return len(self.all("#log > li"))

    def act(self, act: str, place: int) -> dict[str, str]:
        """Do something with the title in a place and wait for what it changes; returns its row as it was."""
        row, done = self.rows()[place - 1], self.learned()
        at = f"#rows > li:nth-child({place})"
        if act == "stars":
            self.press(f"{at} [data-act=rate]")
            self.press(f"{at} [data-stars='5']")
        else:
            self.press(f"{at} [data-act={act}]")
        self.until(lambda: self.learned() == done + 1)
        if act == "click":
            self.until(lambda: self.one("#details").is_displayed())
            self.one("#details .close").click()
        return row

    def press(self, selector: str) -> None:
        """Click; what just moved may still be on its way, so the element is clicked, not a point of the window."""
        self.browser.execute_script("document.querySelector(arguments[0]).click()", selector)

    def ask(self, words: str) -> None:
        self.one("#words").clear()
        self.one("#words").send_keys(words, Keys.ENTER)
        self.until(lambda: words in self.text("#learned-title"))

    def resize(self, width: int, height: int) -> None:
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def prefer(self, theme: str) -> None:
        preferences = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}  # nothing is half-way there
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def problems(self) -> list[str]:
        """What is wrong with the page for those who cannot see, read or point well."""
        nodes = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        nameless = [
            f"a {node['role']['value']} without a name"
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in NAMED_ROLES and not node.get("name", {}).get("value")
        ]
        return nameless + list(self.browser.execute_script(CHECKS))

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def page(browser: Chrome, console_stack: Stack) -> Iterator[Page]:
    """The console, which must end without an error of its own and without having asked another host."""
    opened = Page(browser, console_stack)
    yield opened
    assert opened.complaints() == []
    addresses = [urlsplit(url) for url in opened.requests()]
    hosts = {address.netloc for address in addresses if address.scheme not in ("data", "blob", "chrome")}
    assert hosts == {urlsplit(opened.url).netloc}


def says_what_moved(before: list[dict[str, str]], after: list[dict[str, str]]) -> None:
    """Every claim about what moved is true, and every move has its reason."""
    places = {row["id"]: place for place, row in enumerate(before, 1)}
    for place, row in enumerate(after, 1):
        was = places.get(row["id"])
        expected = "new" if was is None else "up" if was > place else "down" if was < place else "same"
        assert row["moved"] == expected
        if was is not None and was != place:
            assert row["mark"].endswith(f" {abs(was - place)}")
        assert expected == "same" or row["why"] or row["reason"]


def test_a_new_viewer_teaches_the_console_and_sees_what_moved_and_why(page: Page) -> None:
    page.one("#new-viewer").click()
    page.until(lambda: page.one("#onboarding").is_displayed())
    for genre in ("science fiction", "crime"):
        page.press(f"#genres input[value='{genre}']")
    page.one("#tell .primary").click()
    page.until(lambda: page.learned() == 1)
    first, acted = page.rows(), []
    assert len(first) == 10
    assert any("which you chose" in row["reason"] for row in first)

    for number, (act, place) in enumerate(ACTS, 2):
        before = page.rows()
        row = page.act(act, place)
        after = page.rows()
        says_what_moved(before, after)
        assert row["title"] in page.text("#log > li:first-child")
        assert row["title"] in page.text("#moved-summary")
        assert row["title"] in page.until(lambda: page.text("#announcer"))
        assert 0 < int(page.text("#freshness")) < 10_000
        assert page.learned() == number
        if act != "click":
            acted.append(row["id"])
            assert row["title"] in page.text("#gone")
        assert not set(acted) & {shown["id"] for shown in after}
    assert [row["id"] for row in page.rows()] != [row["id"] for row in first]
    assert any("which you chose" not in row["reason"] for row in page.rows())

    page.until(lambda: "because of what was learned" in page.text("#overlap"))
    plain = [title.text for title in page.all("#plain-rows li > div > b")]
    assert len(plain) == 10
    assert set(plain) != {row["title"] for row in page.rows()}

    everything = page.rows()
    page.ask("something like Star Trek: The Next Generation")
    page.until(lambda: page.one("#route").is_displayed())
    assert "gnn_similarity" in page.text("#route-body")
    assert "Star Trek: The Next Generation" in page.text("#route-body .tags")
    assert [row["id"] for row in page.rows()] != [row["id"] for row in everything]
    assert all("your words" in row["bar"] for row in page.rows()[:3])
    page.one("#clear").click()
    page.until(lambda: page.text("#learned-title") == "Learning on")
    assert not any("your words" in row["bar"] for row in page.rows())


def test_a_known_viewer_shows_the_adapter_and_can_roll_it_back(page: Page, console_stack: Stack) -> None:
    viewers = [Client(page.url, console_stack.secret_path, name) for name in DEMO_VIEWERS]
    page.enter(next(one.user_id for one in viewers if one.post("/api/v1/adapter/stats", {})["versions"] == [2, 1]))
    assert "version 2" in page.text("#adapter")
    assert "other viewers" in page.text("#weights")
    assert page.text("#experiments").startswith("None is running")
    page.press("#roll-back")
    page.until(lambda: page.learned() == 1)
    assert "Roll back to version 1: rolled back" in page.text("#log > li:first-child")
    page.until(lambda: "version 3" in page.text("#adapter"))
    for place in (1, 2):
        page.act("like", place)
    assert page.until(lambda: "applied" in page.text("#adapter"))


def test_the_adapter_is_trained_on_request_and_too_early_a_repetition_is_told_when_to_come_back(page: Page) -> None:
    page.enter("ravi")
    page.act("like", 1)
    page.press("#train")
    page.until(lambda: page.learned() == 2 or page.one("#problem").is_displayed())
    page.press("#train")
    page.until(lambda: page.one("#problem").is_displayed())
    assert "Wait " in page.text("#problem")
    assert [line for line in page.complaints() if "429" not in line] == []


def test_text_of_the_catalogue_is_never_taken_for_markup(page: Page) -> None:
    page.enter("tom")
    page.ask("zeppelin airship dirigible")
    place = [row["title"] for row in page.rows()].index(HOSTILE.title) + 1
    page.act("click", place)
    assert page.text("#details-title") == HOSTILE.title
    assert page.text("#details-overview") == HOSTILE.overview
    page.act("like", [row["title"] for row in page.rows()].index(HOSTILE.title) + 1)
    assert HOSTILE.title in page.text("#gone")
    assert page.browser.title == "SONA console"
    assert page.all("main img, dialog img, main iframe, dialog iframe, body script, #details u") == []


def test_the_page_is_for_everybody_in_both_themes_and_at_every_width(page: Page) -> None:
    for theme in ("light", "dark"):
        page.prefer(theme)
        assert page.problems() == [], theme
    page.one("#new-viewer").click()
    page.until(lambda: page.one("#onboarding").is_displayed())
    assert page.problems() == []
    page.resize(360, 740)
    assert page.problems() == []
    page.one("#switch").click()
    assert page.problems() == []
    page.enter("carlos")
    page.act("watch", 1)
    page.ask("crime series from the seventies")
    page.until(lambda: page.one("#route").is_displayed())
    for width in (360, 900, 1440):
        page.resize(width, 900)
        for theme in ("light", "dark"):
            page.prefer(theme)
            assert page.problems() == [], (width, theme)
    page.press("#rows > li [data-act=click]")
    page.until(lambda: page.one("#details").is_displayed())
    assert page.problems() == []


def test_the_theme_follows_the_system_until_it_is_chosen(page: Page) -> None:
    def ground() -> str:
        return str(page.browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor"))

    page.prefer("light")
    light = ground()
    page.prefer("dark")
    dark = ground()
    assert light != dark
    page.one("#theme").click()
    assert (ground(), page.one("#theme").get_attribute("aria-pressed")) == (light, "false")
    page.browser.refresh()
    assert ground() == light


def test_the_keyboard_reaches_everything_in_reading_order_and_stays_where_it_was(page: Page) -> None:
    page.enter("leo")
    page.until(lambda: len(page.all("#plain-rows li")) == 10)
    page.browser.execute_script("document.querySelector('.skip').focus()")
    focusable = "a[href], button, input, select"
    expected = [node for node in page.all(focusable) if node.is_displayed()]
    reached = [page.browser.switch_to.active_element]
    while len(reached) < len(expected):
        reached[-1].send_keys(Keys.TAB)
        focused = page.browser.switch_to.active_element
        assert focused.value_of_css_property("outline-style") == "solid"
        reached.append(focused)
    assert reached == expected
    place = next(place for place, row in enumerate(page.rows(), 1) if "film" in row["facts"])  # a series may stay
    row, done = page.rows()[place - 1], page.learned()
    page.one(f"#rows > li:nth-child({place}) [data-act=like]").send_keys(Keys.ENTER)
    page.until(lambda: page.learned() == done + 1)
    focused = page.browser.switch_to.active_element
    assert focused.get_attribute("data-act") == "like"
    assert row["title"] not in str(focused.get_attribute("aria-label"))
    page.one("#rows > li [data-act=rate]").send_keys(Keys.ENTER)
    page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert page.browser.switch_to.active_element.get_attribute("data-act") == "rate"
    assert not page.one("#rows > li .stars").is_displayed()


@contextmanager
def without_network(page: Page) -> Iterator[None]:
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", OFFLINE)
    yield
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**OFFLINE, "offline": False})


def test_a_failure_is_told_in_words_and_the_page_goes_on_afterwards(page: Page) -> None:
    page.enter("grace")
    title = page.rows()[0]["title"]
    with without_network(page):
        page.press("#rows > li [data-act=like]")
        page.until(lambda: page.one("#problem").is_displayed())
        assert "does not answer" in page.text("#problem")
        assert "sona up" in page.text("#problem")
    assert all("ERR_INTERNET_DISCONNECTED" in line for line in page.complaints())
    assert page.act("like", 1)["title"] == title
    assert not page.one("#problem").is_displayed()
