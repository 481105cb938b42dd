"""The page in a real browser: every figure is drawn, no error is logged, nothing leaves the page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browsers import chromium

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


def _wait(browser: "Chrome", script: str) -> None:
    """Wait until a script returns true."""
    from selenium.webdriver.support.ui import WebDriverWait

    assert WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(f"return {script}"))


def _open(browser: "Chrome", page: Path) -> "Chrome":
    browser.get(page.as_uri())
    _wait(browser, "document.documentElement.classList.contains('drawn')")
    return browser


@pytest.fixture(scope="module")
def opened(browser: "Chrome", page: Path) -> "Chrome":
    return _open(browser, page)


def test_every_figure_is_drawn_and_nothing_is_logged(opened: "Chrome") -> None:
    drawn = "return [...document.querySelectorAll('.panels')].map(e => e.querySelectorAll('.main-svg').length)"
    counts = opened.execute_script(drawn)
    assert len(counts) == opened.execute_script("return document.querySelectorAll('[data-figure]').length") >= 8
    assert all(counts)
    assert opened.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium left it untyped


def test_figures_show_their_series_and_pictures_are_shown(opened: "Chrome") -> None:
    pictures = opened.execute_script("return [...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(pictures) == opened.execute_script("return document.querySelectorAll('[data-figure]').length") + 3
    assert all(pictures)
    script = "return document.querySelectorAll('#figure-robustness_dice .scatterlayer .trace').length"
    assert opened.execute_script(script) == 24  # 2 attacks x 2 heads x 3 selections x (band + line)


def test_nothing_leaves_the_page(opened: "Chrome", page: Path) -> None:
    entries = opened.get_log("performance")  # type: ignore[no-untyped-call]  # selenium left it untyped
    events = [json.loads(entry["message"])["message"] for entry in entries]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [request["request"]["url"] for request in sent if request["documentURL"].startswith(page.as_uri())]
    assert asked[0] == page.as_uri()
    assert all(address.startswith(("data:", "blob:")) for address in asked[1:])


@pytest.mark.parametrize(("width", "abreast"), [(1280, 2), (390, 1)])
def test_nothing_is_wider_than_the_window_and_panels_stack(opened: "Chrome", width: int, abreast: int) -> None:
    window = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 720}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    root = "document.documentElement"
    _wait(opened, f"innerWidth <= {width} && {root}.scrollWidth <= {root}.clientWidth")
    places = "[...document.querySelectorAll('#figure-robustness_dice > div')].map(e => e.offsetLeft)"
    assert opened.execute_script(f"return new Set({places}).size") == abreast
    case = "document.querySelector('.case')"
    assert opened.execute_script(f"return {case}.clientWidth") <= width
    small = f"return {case}.currentSrc === document.querySelector('picture source').srcset"
    assert opened.execute_script(small) == (width < 720)
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_tables_fit_a_common_window(opened: "Chrome") -> None:
    opened.set_window_size(1280, 900)
    script = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert opened.execute_script(script) == 0


def test_a_page_of_attacks_and_shifts_is_drawn_whole(browser: "Chrome", stressed_page: Path) -> None:
    browser.set_window_size(1200, 900)
    _open(browser, stressed_page)
    figures = "[...document.querySelectorAll('.panels')]"
    keys = browser.execute_script(f"return {figures}.filter(e => e.querySelector('.main-svg')).map(e => e.id)")
    wanted = ["robustness_dice", "worst_case", "trade_off", "corruption", "shifts"]
    wanted += ["deferral", "deferral_attacks", "deferral_shifts"]
    assert {f"figure-{key}" for key in wanted} <= set(keys)
    assert len(keys) == browser.execute_script(f"return {figures}.length")
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium left it untyped
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    browser.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    wide = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert browser.execute_script(wide) == 0
