"""What is sent to the server and what it answers: strict headers, no path out, odd bodies refused."""

import base64
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from tests.review.given import png, write_predictions

pytest.importorskip("fastapi", reason="the extra 'review' is not installed")

from fastapi.testclient import TestClient
from tests.review.serving import PATHS, READS, Page, enter, serve

import trustseg.review
from trustseg.review.server import HEADERS
from trustseg.review.verify import open_store, verify


def test_every_answer_tells_browsers_to_be_strict(client: TestClient) -> None:
    for path in PATHS:
        for answer in (client.get(f"/{path}"), client.get(f"/{path}", headers={"host": "evil.example"})):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS, path
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_the_page_holds_no_script_or_style_of_its_own_and_names_no_other_host(client: TestClient) -> None:
    files = {"": client.get("/").text}
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", files[""])
    for file in (Path(trustseg.review.__file__).parent / "static").iterdir():
        answer = client.get(f"/static/{file.name}")
        files[file.name] = answer.text
        assert file.suffix != ".js" or answer.headers["content-type"].startswith("text/javascript")
    assert set(re.findall(r"/static/([\w.]+)", files[""])) < files.keys()
    assert all("innerHTML" not in text for text in files.values())
    named = {url for text in files.values() for url in re.findall(r"https?://[\w./]+", text)}
    assert named <= {"http://www.w3.org/2000/svg"}


OUTSIDE = [
    "static/../server.py",
    "static/..%2fserver.py",
    "static/%2e%2e%2f%2e%2e%2freview%2fserver.py",
    "static/%2fetc%2fpasswd",
    "static/..\\server.py",
    "static/main.js%00",
    "static/",
    "../../etc/passwd",
    "api/cases/../../etc/passwd",
    "api/cases/1%2f..%2f2",
    "api/cases/0",
    "api/cases/-1",
    "api/cases/7",
    "api/cases/1e3",
    "api/cases/99999999999999999999999",
    "api/cases/1/image/../../../etc/passwd",
    "api/cases/image0.png",
    "api/cases/1/drawn/1",
    "openapi.json",
    "docs",
]


def test_no_path_leads_out(page: Page) -> None:
    for path in OUTSIDE:
        answer = page.client.get(f"/{path}")
        assert answer.status_code in (404, 409, 422), path
        assert answer.headers["content-type"] == "application/json"


ODD = [
    *(b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 15000, b'{"a":' * 3000),
    b'{"rating": 3}',
    b'{"rating": NaN, "seconds": 1, "key": "x"}',
    b'{"rating": 1e400, "seconds": Infinity}',
    b'{"rating": "\\ud800", "seconds": 1}',
    b'{"key": "\\u0000", "rating": 3, "seconds": 1}',
]


def test_odd_bodies_are_refused(page: Page) -> None:
    headers = {**page.headers, "content-type": "application/json"}
    for path in ("session", "cases/1/rating", "switch"):
        for body in ODD:
            answer = page.client.post(f"/api/{path}", content=body, headers=headers)
            assert answer.status_code in (400, 401, 422, 429), (path, body)
            assert "Traceback" not in answer.text


def test_wrong_decisions_change_nothing(page: Page, predictions: Path) -> None:
    bomb = bytearray(png(np.zeros((16, 20))))
    bomb[16:24] = (30000).to_bytes(4, "big") * 2
    pictures = (b"no png", bytes(bomb), b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    masks: list[dict[str, object]] = [{"mask": base64.b64encode(picture).decode()} for picture in pictures]
    wrong: list[dict[str, object]] = [
        {"decision": "approve"},
        {"seconds": -1},
        {"seconds": "1"},
        {"confidence": 6},
        {"confidence": True},
        {"comment": "x" * 2001},
        {"comment": "\ud800"},
        {"layers": ["secret"]},
        {"mask": "no base64!"},
        *masks,
        {"decision": "accept", "mask": ""},
        {"key": "1"},
        {"reviewer": "somebody else"},
        {"image": "../../etc/passwd"},
    ]
    page.post("cases/1/rating", rating=3, seconds=1)
    headers = {**page.headers, "content-type": "application/json"}
    for change in wrong:
        content = json.dumps({"key": str(uuid4()), "decision": "edit", "seconds": 1, **change})
        answer = page.client.post("/api/cases/1/decision", content=content, headers=headers)
        assert answer.status_code == 422, change
    store = open_store(predictions)
    assert (len(store.entries()), store.mask_names()) == (3, [])


def test_long_bodies_are_cut_off(page: Page) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    for path, content in (("session", b"x" * 20_000), ("cases/1/decision", endless()), ("switch", endless())):
        assert page.client.post(f"/api/{path}", content=content, headers=page.headers).status_code == 413
    lying = {**page.headers, "content-length": "5"}
    assert page.client.post("/api/session", content=b"x" * 20_000, headers=lying).status_code in (413, 422)


def test_no_name_of_an_image_is_in_an_address_or_a_log_and_text_stays_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    name = "MUELLER<img src=x onerror=alert(1)>"
    folder = write_predictions(tmp_path, prefix=name)
    page = enter(serve(folder))
    addresses = [str(page.get(path).url) for path in READS]
    (folder / "images" / f"{name}1.png").write_bytes(b"damaged")
    assert page.get("cases/2/image").status_code == 422
    listed = page.get("cases")
    assert listed.headers["content-type"] == "application/json"
    assert listed.json()["rows"][0]["name"].startswith(name)
    printed = "".join(capsys.readouterr()) + caplog.text + "".join(addresses)
    assert "MUELLER" not in printed
    assert verify(open_store(folder)) == []
