"""A review as a browser sees it: the server in a thread of this process, and what a test does on the page."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trustseg.review.chain import Entry
from trustseg.review.serving import Listening, listen
from trustseg.review.state import Settings
from trustseg.review.storage import Store

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

SIZE = (120, 90)
"""Width and height of the pictures of a review that ``greys`` reads."""


@contextmanager
def served(
    browser: "Chrome", folder: Path, *, readers: int = 1, blind: bool = True, **given: Path
) -> Iterator["ReviewPage"]:
    """Yield the page of a review that a thread of this process serves."""
    import uvicorn

    with listen(folder, settings=Settings(readers, blind), listening=Listening(port=0), **given) as server:
        running = uvicorn.Server(uvicorn.Config(server.app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [server.listening_socket]})
        thread.start()
        try:
            yield ReviewPage(browser, server.address)
        finally:
            running.should_exit = True
            thread.join()


class ReviewPage:
    """What a person at the page does and sees."""

    def __init__(self, browser: "Chrome", address: str) -> None:
        self.browser, self.address = browser, address
        browser.set_window_size(1280, 900)
        self.visit()

    def visit(self) -> None:
        self.browser.get("about:blank")
        self.asked(), self.complaints()  # forgotten: those of before
        self.browser.get(self.address)

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

    def clicked(self, name: str) -> bool:
        self.see(name).click()
        return True

    def wait_until_shown(self, name: str) -> None:
        self.wait(lambda: self.see(name).is_displayed())

    def at(self, case: int) -> None:
        self.wait_for("case-title", f"Case {case}:")

    def open(self, case: int) -> None:
        self.wait_until_shown("cases")
        self.wait(lambda: self.clicked(f"open-{case}"))
        self.at(case)

    def rate(self, rating: int = 4) -> None:
        self.wait_until_shown("rate")
        self.press(str(rating))
        self.wait_until_shown("accept")

    def asked(self) -> list[str]:
        """Return what the browser has asked for since the last look."""
        entries = self.browser.get_log("performance")  # type: ignore[no-untyped-call]  # selenium left it untyped
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        found = self.browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium left it untyped
        return [entry["message"] for entry in found if entry["level"] in ("SEVERE", "WARNING")]

    def drawn(self) -> bool:
        """Return whether there is something in the middle of the canvas."""
        script = (
            "const c = document.getElementById('canvas');"
            "return c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[3] === 255"
        )
        return bool(self.browser.execute_script(script))

    def greys(self) -> NDArray[np.int_]:
        """Return the grey levels of the picture below all layers."""
        script = (
            "const { viewer } = await import('/static/caseview.js'), { width, height } = viewer.shown;"
            "const { data } = viewer.shown.getContext('2d').getImageData(0, 0, width, height);"
            "return [...data].filter((_, i) => i % 4 === 0)"
        )
        found = self.browser.execute_script(script)
        return np.array(found).reshape(SIZE[1], SIZE[0])

    def enter(self, name: str, value: object, event: str = "input") -> None:
        """Give a field a value as if it had been moved or typed there."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event(arguments[2]))"
        self.browser.execute_script(script, self.see(name), value, event)

    def picture(self) -> str:
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        found: str = self.browser.execute_script("return document.getElementById('canvas').toDataURL()")
        return found


def decisions(folder: Path) -> list[Entry]:
    return [entry for entry in Store(folder / "review", create=False).entries() if entry.kind == "decision"]
