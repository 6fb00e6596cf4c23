"""The report in a real browser: as it is first seen, by keyboard, on a telephone and on paper."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import answering
import pytest
from hvcost.report import inputs, page
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow

PAPER_PX = 673  # A4 without its margins.


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an experiment of the default's size, with every section."""
    folder = tmp_path_factory.mktemp("results")
    path = folder / "report.html"
    with answering.there():
        answering.results(folder)
        path.write_text(page.render(inputs.read(folder / "experiment.json", folder)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for chatty in ("selenium", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Named, so that selenium looks for no driver in the network.
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
        yield driver


def opened(browser: webdriver.Chrome, report: Path, width: int, height: int, media: str = "") -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
    for kind in ("browser", "performance"):
        logged(browser, kind)
    browser.get(report.as_uri())


def logged(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """What the browser has logged since it was last asked."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def overflow_px(browser: webdriver.Chrome) -> int:
    element = "document.documentElement"
    return int(browser.execute_script(f"return {element}.scrollWidth - {element}.clientWidth"))


def lowest_px(browser: webdriver.Chrome, selector: str) -> float:
    """Where on the screen the lowest of some elements ends."""
    ends = f"[...document.querySelectorAll('{selector}')].map(each => each.getBoundingClientRect().bottom)"
    return float(browser.execute_script(f"return Math.max(...{ends})"))


def test_nothing_is_fetched_but_the_file_and_nothing_complains(
    browser: webdriver.Chrome, report: Path
) -> None:
    opened(browser, report, 1280, 800)
    events = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    requests = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert logged(browser, "browser") == []


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_page_is_never_wider_than_its_window(browser: webdriver.Chrome, report: Path, width: int) -> None:
    opened(browser, report, width, 800)
    browser.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert overflow_px(browser) == 0


def test_the_whole_answer_is_on_the_first_screen(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, 1280, 800)
    assert lowest_px(browser, ".answers li, .limit") < 800


def test_a_telephone_shows_the_first_answers_at_once(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, 360, 740)
    assert lowest_px(browser, ".place:first-child li:nth-child(-n+2)") < 740


@pytest.mark.parametrize(
    ("width", "is_list"), [(320, True), (768, True), (1280, False)], ids=["telephone", "tablet", "desk"]
)
def test_the_overview_is_read_without_scrolling_sideways(
    browser: webdriver.Chrome, report: Path, width: int, is_list: bool
) -> None:
    opened(browser, report, width, 800)
    assert_whole_overview(browser, width)
    seen = browser.execute_script("return document.querySelector('.overview .label').checkVisibility()")
    assert seen == is_list


def test_the_overview_is_whole_on_paper(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, PAPER_PX, 1000, media="print")
    assert_whole_overview(browser, PAPER_PX)


def assert_whole_overview(browser: webdriver.Chrome, width: int) -> None:
    """Every cell is within the page, is seen, and can be told without colours: it has a shape or words."""
    cells = browser.execute_script(
        "return [...document.querySelectorAll('.overview td')].map(each => "
        "[each.getBoundingClientRect().left, each.getBoundingClientRect().right, each.innerText])"
    )
    assert len(cells) == 2 * 5 * 8
    assert [cell for cell in cells if not (0 <= cell[0] < cell[1] <= width and cell[2].strip())] == []
    marked = [text for _left, _right, text in cells if any(shape in text for shape in "▲▼△▽≈=?▮")]
    # All but those of bare metal and of what nobody could measure.
    assert len(marked) == 2 * (4 * 8 - 1)


def test_the_keyboard_reaches_everything_and_the_answer_first(
    browser: webdriver.Chrome, report: Path
) -> None:
    opened(browser, report, 1280, 800)
    browser.execute_script(
        "window.reached = [];"
        "addEventListener('focusin', event => reached.includes(event.target) || reached.push(event.target))"
    )
    everything = "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')]"
    wanted = f"{everything}.filter(each => each.checkVisibility())"
    keys = ActionChains(browser, duration=0)
    for _ in range(browser.execute_script(f"return {wanted}.length")):
        keys.send_keys(Keys.TAB)
    keys.perform()
    assert browser.execute_script("return reached[0].className") == "skip"
    missed = f"return {wanted}.filter(each => !reached.includes(each)).map(each => each.outerHTML)"
    assert browser.execute_script(missed) == []


def test_who_skips_lands_at_the_answer(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, 1280, 800)
    ActionChains(browser).send_keys(Keys.TAB, Keys.ENTER).perform()
    assert browser.execute_script("return document.activeElement.id") == "answer"


def test_paper_shows_what_is_folded_on_the_screen(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, PAPER_PX, 1000, media="print")
    hidden = "[...document.querySelectorAll('details')].filter(each => !each.lastElementChild.offsetHeight)"
    assert browser.execute_script(f"return {hidden}.length") == 0
    assert overflow_px(browser) == 0


def test_the_page_can_be_printed(browser: webdriver.Chrome, report: Path) -> None:
    opened(browser, report, 1280, 800)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
