"""The review in a real browser: by keys alone, blind first, redrawing, two people, without a connection."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.browsers import chromium
from tests.review.given import write_predictions, write_run

from trustseg.review.access import add_user
from trustseg.review.cases import open_cases, read_mask_png
from trustseg.review.chain import Entry
from trustseg.review.serving import Listening, listen
from trustseg.review.state import Settings
from trustseg.review.storage import Store

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("fastapi", reason="the extra 'review' is not installed")
SIZE = (120, 90)
MANY = 2000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "out", count=8, size=SIZE)


@contextmanager
def served(folder: Path, *, readers: int = 1, blind: bool = True, **given: Path) -> Iterator[str]:
    """Yield the address of a review that a thread of this process serves."""
    import uvicorn

    with listen(folder, settings=Settings(readers, blind), listening=Listening(port=0), **given) as server:
        running = uvicorn.Server(uvicorn.Config(server.app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [server.held]})
        thread.start()
        try:
            yield server.address
        finally:
            running.should_exit = True
            thread.join()


class Desk:
    """What a person at the page does and sees."""

    def __init__(self, browser: "Chrome", address: str) -> None:
        self.browser = browser
        browser.set_window_size(1280, 900)
        browser.get("about:blank")
        self.asked(), self.complaints()  # forgotten: those of the test before
        browser.get(address)

    def see(self, name: str) -> "WebElement":
        return self.browser.find_element("css selector", f"[data-testid='{name}']")

    def wait(self, what: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is waited for
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 15, 0.05, (WebDriverException,)).until(lambda _: what())

    def wait_for(self, name: str, words: str) -> None:
        self.wait(lambda: words in self.see(name).text)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def open(self, case: int) -> None:
        self.wait(lambda: self.see("cases").is_displayed())
        self.wait(lambda: self.clicked(f"open-{case}"))
        self.wait_for("case-title", f"Case {case}:")

    def clicked(self, name: str) -> bool:
        self.see(name).click()
        return True

    def leave(self) -> None:
        self.see("log-out").click()
        self.wait(lambda: self.see("name").is_displayed())

    def rate(self, rating: int = 4) -> None:
        self.wait(lambda: self.see("rate").is_displayed())
        self.press(str(rating))
        self.wait(lambda: self.see("accept").is_displayed())

    def asked(self) -> list[str]:
        """Return what the browser has asked for since the last look."""
        entries = self.browser.get_log("performance")  # type: ignore[no-untyped-call]  # selenium left it untyped
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        found = self.browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium left it untyped
        return [entry["message"] for entry in found if entry["level"] in ("SEVERE", "WARNING")]

    def pixel(self, x: float, y: float) -> list[int]:
        """Return the colour of the canvas at shares of its width and height."""
        script = (
            "const c = document.getElementById('canvas');"
            "return [...c.getContext('2d').getImageData(arguments[0] * c.width, arguments[1] * c.height, 1, 1).data]"
        )
        found: list[int] = self.browser.execute_script(script, x, y)
        return found

    def picture(self) -> str:
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        found: str = self.browser.execute_script("return document.getElementById('canvas').toDataURL()")
        return found


def decisions(folder: Path) -> list[Entry]:
    return [entry for entry in Store(folder / "review", create=False).entries() if entry.kind == "decision"]


def test_everything_is_done_by_keys(browser: "Chrome", folder: Path) -> None:
    from selenium.webdriver import Keys

    with served(folder) as address:
        desk = Desk(browser, address)
        desk.wait_for("progress", "0 of 4 flagged cases done")
        assert "token" not in browser.current_url
        desk.see("open-1").send_keys(Keys.ENTER)
        desk.wait_for("case-title", "Case 1:")
        desk.press("a", "r", "e")  # do nothing before the rating
        assert not desk.see("drawing").is_displayed()
        desk.rate(2)
        pictures = [desk.picture()]
        for key in ("m", "u", "+", "-", "0", "m"):
            desk.press(key)
            pictures.append(desk.picture())
        assert pictures[1] != pictures[0] != pictures[2] != pictures[1]
        assert pictures[3] != pictures[2]
        assert [desk.see(name).is_selected() for name in ("contour", "uncertainty")] == [True, True]
        desk.press("5")
        assert desk.see("sure-5").get_attribute("aria-pressed") == "true"
        desk.press("?")
        assert desk.see("help-dialog").is_displayed()
        desk.press(Keys.ESCAPE)
        desk.press("a")
        desk.wait_for("case-title", "Case 2:")
        desk.press("j")
        desk.wait_for("case-title", "Case 3:")
        desk.press("k")
        desk.wait_for("case-title", "Case 2:")
        desk.rate(1)
        desk.press("r")
        desk.wait_for("case-title", "Case 3:")
        desk.press("k")
        desk.wait_for("case-state", "You: rejected")
        desk.press("z")
        desk.wait_for("case-state", "You rated 1")
        desk.press("e")
        desk.wait(lambda: desk.see("drawing").is_displayed())
        desk.press(Keys.ARROW_RIGHT, " ", "x", Keys.ARROW_LEFT, " ", "b", " ")
        desk.press(Keys.ENTER)
        desk.wait_for("case-title", "Case 3:")
        desk.press(Keys.ESCAPE)
        desk.wait_for("progress", "2 of 4 flagged cases done")
        first, second, third = decisions(folder)
        assert (first.case, first.content["decision"], first.content["confidence"]) == (1, "accept", 5)
        assert first.content["layers"] == ["contour", "mask", "uncertainty"]
        assert first.content["seconds"] > 0
        assert (second.content["decision"], third.content["decision"]) == ("reject", "edit")
        assert third.content["mask"]
        assert desk.complaints() == []


def test_the_mask_is_not_even_asked_for_before_the_rating(browser: "Chrome", folder: Path) -> None:
    with served(folder) as address:
        desk = Desk(browser, address)
        desk.open(1)
        desk.wait(lambda: desk.pixel(0.5, 0.5)[3] == 255)
        asked = desk.asked()
        home = address.partition("#")[0]
        assert any(url.endswith("/cases/1/image") for url in asked)
        assert not any(url.endswith(("/mask", "/uncertainty")) for url in asked)
        assert all(url.startswith((home, "about:", "data:", "blob:")) for url in asked)  # no other host
        assert not browser.find_element("id", "layers").is_displayed()
        desk.rate()
        desk.wait(lambda: any(url.endswith("/cases/1/mask") for url in desk.asked()))
        assert desk.complaints() == []


def test_a_mask_is_redrawn_with_the_mouse(browser: "Chrome", folder: Path) -> None:
    from selenium.webdriver import ActionChains

    with served(folder, blind=False) as address:
        desk = Desk(browser, address)
        desk.open(1)
        desk.wait(lambda: desk.see("edit").is_displayed())
        desk.see("edit").click()
        canvas = desk.see("canvas")
        before = desk.picture()

        def draw(x: int, y: int) -> None:
            chain = ActionChains(browser, duration=10)
            chain.move_to_element_with_offset(canvas, x, y).click_and_hold().move_by_offset(60, 0).release().perform()

        draw(60, 60)
        after = desk.picture()
        draw(60, -60)
        desk.see("undo").click()
        desk.wait(lambda: desk.picture() == after != before)
        desk.see("comment").send_keys("right of the heart, arjk")  # keys in a text are a text
        desk.see("save").click()
        desk.wait(lambda: len(decisions(folder)) == 1)
        (entry,) = decisions(folder)
        case = open_cases(folder).case(1)
        drawn = read_mask_png(Store(folder / "review").mask(entry.content["mask"]) or b"", case)
        given = read_mask_png(case.mask.read_bytes(), case)
        added = drawn & ~given
        assert (given & ~drawn).sum() == 0
        rows, columns = np.nonzero(added)
        assert rows.min() > SIZE[1] / 2  # below the middle, where the mouse was
        assert columns.min() > SIZE[0] / 2
        assert added.sum() > 40
        assert entry.content["comment"] == "right of the heart, arjk"


def test_two_people_disagree_and_a_third_settles(browser: "Chrome", folder: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    for name, role in (("ann", "reader"), ("ben", "reader"), ("cleo", "adjudicator")):
        add_user(users, name, role, "long enough")  # type: ignore[arg-type]  # roles
    with served(folder, users=users, readers=2) as address:

        def enter(name: str) -> Desk:
            desk = Desk(browser, address)
            desk.wait(lambda: desk.see("name").is_displayed())
            desk.see("name").send_keys(name)
            desk.see("password").send_keys("long enough")
            desk.see("enter").click()
            desk.wait_for("who", name)
            desk.open(1)
            return desk

        for name, key in (("ann", "a"), ("ben", "r")):
            desk = enter(name)
            desk.rate()
            assert desk.see("others").text == ""
            desk.press(key)
            desk.wait_for("case-title", "Case 2:")
            desk.leave()
        desk = enter("cleo")
        desk.wait_for("others", "ben rejected")
        assert "ann accepted" in desk.see("others").text
        desk.press("r")
        desk.wait_for("case-title", "Case 2:")
        desk.see("to-list").click()
        desk.wait_for("row-1", "done")


def test_a_decision_without_a_connection_arrives_once(browser: "Chrome", folder: Path) -> None:
    def connected(yes: bool) -> None:
        offline = {"offline": not yes, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)

    with served(folder, blind=False) as address:
        desk = Desk(browser, address)
        desk.open(1)
        desk.wait(lambda: desk.see("accept").is_displayed())
        browser.execute_cdp_cmd("Network.enable", {})
        connected(False)
        desk.press("a")
        desk.wait_for("banner", "No connection")
        assert decisions(folder) == []
        connected(True)
        desk.wait_for("case-title", "Case 2:")
        assert len(decisions(folder)) == 1
        assert not desk.see("banner").is_displayed()
        desk.complaints()


def test_the_stop_switch_and_the_slider(browser: "Chrome", folder: Path, tmp_path: Path) -> None:
    with served(folder, records=write_run(tmp_path / "run")) as address:
        desk = Desk(browser, address)
        desk.wait_for("progress", "0 of 4")
        browser.find_element("css selector", "#threshold summary").click()
        desk.wait_for("meaning", "Expected risk")
        desk.asked()
        script = "const s = arguments[0]; s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
        told = []
        for place in (0, 20, 59):
            browser.execute_script(script, desk.see("slider"), place)
            told.append(desk.see("meaning").text)
        assert len(set(told)) == 3
        assert "100.0 %" in told[-1]
        assert not any("/api/" in url for url in desk.asked())  # nothing is asked of the server
        desk.see("stop").click()
        desk.see("stop-reason").send_keys("another scanner")
        desk.see("stop-yes").click()
        desk.wait_for("banner", "every case goes to a human")
        desk.wait_for("progress", "0 of 8")
        assert "Let the policy apply" in desk.see("stop").text


def test_two_thousand_rows_are_sorted_and_found_at_once(browser: "Chrome", tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "many", count=MANY, size=(8, 8))
    with served(folder) as address:
        desk = Desk(browser, address)
        desk.wait_for("shown", f"of {MANY} cases")
        timed = "const start = performance.now(); WORK; document.body.offsetHeight; return performance.now() - start"
        only = "const s = document.getElementById('only'); s.value = 'all'; s.dispatchEvent(new Event('change'))"
        times = {"all": browser.execute_script(timed.replace("WORK", only))}
        for key in ("name", "score", "reason", "status"):
            click = f"document.querySelector('[data-testid=sort-{key}]').click()"
            times[key] = browser.execute_script(timed.replace("WORK", click))
        find = "const f = document.getElementById('find'); f.value = '199'; f.dispatchEvent(new Event('input'))"
        times["find"] = browser.execute_script(timed.replace("WORK", find))
        assert desk.see("shown").text == f"12 of {MANY} cases"
        print({name: round(time) for name, time in times.items()})
        assert max(times.values()) < 1000  # milliseconds; about 100 on a quiet machine
        opening = (
            "const done = arguments[0], start = performance.now(); location.hash = 'case=5';"
            "const look = () => document.getElementById('case-title').textContent.startsWith('Case 5:') ?"
            " done(performance.now() - start) : requestAnimationFrame(look); look()"
        )
        assert browser.execute_async_script(opening) < 1000


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_accessible(browser: "Chrome", folder: Path, tmp_path: Path, width: int) -> None:
    with served(folder, records=write_run(tmp_path / "run")) as address:
        desk = Desk(browser, address)
        screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        try:
            desk.wait_for("progress", "of 4")
            browser.find_element("css selector", "#threshold summary").click()
            _check(desk, width)
            desk.open(1)
            _check(desk, width)
            desk.rate()
            assert _in_view(desk, "accept")
            desk.press("e")
            desk.wait(lambda: desk.see("drawing").is_displayed())
            assert _in_view(desk, "save")
            _check(desk, width)
            desk.press("?")
            _check(desk, width)
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _in_view(desk: Desk, name: str) -> bool:
    """Return whether an element can be seen without scrolling."""
    script = "const box = arguments[0].getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight"
    return bool(desk.browser.execute_script(script, desk.see(name)))


def _check(desk: Desk, width: int) -> None:
    """Check that nothing is too wide, that the use is named, and what axe-core finds where it is at hand."""
    browser = desk.browser
    root = "document.documentElement"
    assert browser.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth]")[0] <= width
    assert desk.see("research-use").is_displayed()
    axe = os.environ.get("TRUSTSEG_AXE")  # the file axe.min.js of the package axe-core
    if axe:
        browser.execute_script(Path(axe).read_text(encoding="utf-8"))
        found = browser.execute_async_script("axe.run().then(arguments[0])")["violations"]
        named = [(each["id"], each["impact"], [node["html"] for node in each["nodes"]]) for each in found]
        assert named == []
