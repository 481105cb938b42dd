"""The server: what the page does works, and what an attacker tries does not."""

import base64
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from tests.review.given import png, write_predictions

pytest.importorskip("fastapi", reason="the extra 'review' is not installed")

from fastapi.testclient import TestClient
from tests.review.serving import HERE, PASSWORD, TOKEN, Page, another, enter, serve

from trustseg.review.access import Authenticator, LimitedError, add_user
from trustseg.review.guard import HEADERS
from trustseg.review.state import Reader
from trustseg.review.storage import Store
from trustseg.review.verify import open_store, verify

PATHS = [
    "",
    "static/main.js",
    "api/login",
    "api/session",
    "api/cases",
    "api/risk",
    "api/cases/1",
    "api/cases/1/image",
    "nowhere",
]
READS = [
    "session",
    "cases",
    "risk",
    "cases/1",
    "cases/1/image",
    "cases/1/thumbnail",
    "cases/1/mask",
    "cases/1/uncertainty",
    "cases/1/drawn/3",
]
WRITES: list[tuple[str, dict[str, object]]] = [
    ("cases/1/rating", {"rating": 3, "seconds": 1}),
    ("cases/1/decision", {"decision": "accept", "seconds": 1}),
    ("cases/1/adjudication", {"decision": "accept", "seconds": 1}),
    ("cases/1/withdrawal", {}),
    ("switch", {"stop": True}),
]


@pytest.fixture
def client(predictions: Path) -> TestClient:
    return serve(predictions)


@pytest.fixture
def page(client: TestClient) -> Page:
    return enter(client)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "users.json"
    for name, role in (("ann", "reader"), ("ben", "reader"), ("cleo", "adjudicator")):
        add_user(path, name, role, PASSWORD)  # type: ignore[arg-type]  # roles
    return path


# --- what the page does ----------------------------------------------------------------------------------------------


def test_a_case_goes_from_the_list_to_a_decision(page: Page, predictions: Path, tmp_path: Path) -> None:
    rows = page.get("cases").json()["rows"]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["flagged"] for row in rows] == [True] * 3 + [False] * 3
    assert re.fullmatch(r"score 0\.857 above 0\.\d+", "".join(rows[0]["reasons"]))
    assert rows[-1]["reasons"] == ["not flagged"]
    assert page.get("cases/1/image").content.startswith(b"\x89PNG")
    assert page.get("cases/1/thumbnail").headers["content-type"] == "image/png"
    assert (page.get("cases/1/mask").status_code, page.get("cases/1/uncertainty").status_code) == (409, 409)
    rated = page.post("cases/1/rating", rating=2, seconds=3.25).json()
    assert (rated["sees_mask"], rated["rating"], rated["decision"]) == (True, 2, None)
    assert page.get("cases/1/mask").content == (predictions / "masks" / "image0.png").read_bytes()
    drawn = np.zeros((16, 20), np.uint8)
    drawn[3:5] = 255
    mask = base64.b64encode(png(drawn, tmp_path)).decode()
    decided = page.post("cases/1/decision", decision="edit", seconds=4, confidence=4, comment="ä <b>", mask=mask).json()
    assert (decided["status"], decided["decision"]["comment"]) == ("done", "ä <b>")
    own = page.get(f"cases/1/drawn/{decided['decision']['number']}").content
    assert own.startswith(b"\x89PNG")
    assert page.get("cases").json()["rows"][0]["own"] == "edit"
    assert page.post("cases/1/withdrawal").json()["status"] == "open"
    kinds = [entry.kind for entry in open_store(predictions).entries()]
    assert kinds == ["opened", "started", "rating", "decision", "withdrawal"]


def test_what_the_model_made_is_hidden_until_the_rating(page: Page) -> None:
    before = [page.get("cases").json()["rows"][5], page.get("cases/6").json()]
    assert [row["area"] for row in before] == [None, None]
    assert all("predicted" not in reason for row in before for reason in row["reasons"])
    after = page.post("cases/6/rating", rating=1, seconds=1).json()
    assert after["area"] == 0
    assert any("nothing predicted" in reason for reason in after["reasons"])


def test_somebody_who_never_overrides_is_told(tmp_path: Path) -> None:
    page = enter(serve(write_predictions(tmp_path, count=21), blind=False))
    for number in range(1, 21):
        assert page.get("cases").json()["note"] is None
        page.post(f"cases/{number}/decision", decision="accept", seconds=1)
    assert page.get("cases").json()["note"].startswith("you overrode 0 of 20 masks")


def test_a_void_guarantee_is_told(tmp_path: Path) -> None:
    for guarantee in ("void", "no difference found"):
        page = enter(serve(write_predictions(tmp_path / guarantee, guarantee=guarantee)))
        assert page.get("session").json()["policy"]["guarantee"] == guarantee


def test_two_people_read_and_a_third_settles(predictions: Path, users: Path) -> None:
    client = serve(predictions, users=users, readers=2)
    ann, ben, cleo = (enter(another(client), name=name, password=PASSWORD) for name in ("ann", "ben", "cleo"))
    for page, decision in ((ann, "accept"), (ben, "reject")):
        page.post("cases/2/rating", rating=3, seconds=1)
        assert page.get("cases/2").json()["decisions"] == []  # nobody sees what others decided before
        page.post("cases/2/decision", decision=decision, seconds=1, comment=f"by {decision}")
    assert ann.get("cases/2").json()["status"] == "disagreement"
    assert ann.post("cases/2/adjudication", decision="accept", seconds=1).status_code == 403
    seen = cleo.get("cases/2").json()
    assert (seen["settles"], [each["reviewer"] for each in seen["decisions"]]) == (True, ["ann", "ben"])
    assert cleo.post("cases/2/adjudication", decision="reject", seconds=1).json()["status"] == "done"
    assert ann.post("cases/2/withdrawal").status_code == 409


def test_the_stop_switch_flags_every_case(page: Page, users: Path, predictions: Path) -> None:
    assert page.post("switch", stop=True, reason="another scanner").status_code == 200
    found = page.get("cases").json()
    assert all(row["flagged"] and row["reasons"][0].startswith("stop switch") for row in found["rows"])
    assert found["stopped"]["reason"] == "another scanner"
    assert page.post("switch", stop=False).status_code == 200
    client = serve(predictions, users=users)
    ann = enter(client, name="ann", password=PASSWORD)
    assert [ann.post("switch", stop=stop).status_code for stop in (True, False)] == [200, 403]


def test_a_write_sent_twice_at_once_counts_once(page: Page, predictions: Path) -> None:
    page.post("cases/1/rating", rating=3, seconds=1)
    key, codes = str(uuid4()), []

    def send() -> None:
        codes.append(page.post("cases/1/decision", key=key, decision="accept", seconds=1).status_code)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 6
    assert len(Store(predictions / "review").entries()) == 4
    assert page.post("cases/1/decision", key=key, decision="reject", seconds=1).status_code == 409


# --- who may come in -------------------------------------------------------------------------------------------------


def test_nobody_gets_anything_without_a_session(client: TestClient) -> None:
    for path in READS:
        assert client.get(f"/api/{path}").status_code == 401, path
    for path, content in WRITES:
        answer = client.post(f"/api/{path}", json={"key": str(uuid4()), **content}, headers={"origin": HERE})
        assert answer.status_code == 401, path
    client.cookies.set("trustseg_review_8765", "guess")
    assert client.get("/api/cases").status_code == 401


def test_only_the_token_lets_in(client: TestClient) -> None:
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert client.post("/api/session", json={"token": token}, headers={"origin": HERE}).status_code == 401


def test_the_cookie_is_for_this_page_alone(client: TestClient) -> None:
    answer = client.post("/api/session", json={"token": TOKEN}, headers={"origin": HERE})
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    page = Page(client, answer.json()["csrf"])
    assert page.get("cases").status_code == 200
    leave = {"origin": HERE, "x-csrf-token": page.csrf}
    assert client.delete("/api/session", headers=leave).status_code == 200
    client.cookies.set("trustseg_review_8765", cookie.partition("=")[2].partition(";")[0])
    assert page.get("cases").status_code == 401  # the session itself has ended


def test_writes_need_our_page_and_its_secret(page: Page, predictions: Path) -> None:
    before = len(Store(predictions / "review").entries())
    for path, rest in WRITES:
        content = {"key": str(uuid4()), **rest}
        for headers in (
            {"x-csrf-token": page.csrf},  # no origin
            {"origin": "http://evil.example", "x-csrf-token": page.csrf},
            {"origin": "null", "x-csrf-token": page.csrf},
            {"origin": "http://127.0.0.1:9999", "x-csrf-token": page.csrf},
            {"origin": f"{HERE}.evil.example", "x-csrf-token": page.csrf},
            {"origin": HERE},
            {"origin": HERE, "x-csrf-token": "guess"},
            {"origin": HERE, "x-csrf-token": page.csrf + "ü"},
        ):
            sent = [(name.encode(), value.encode()) for name, value in headers.items()]
            assert page.client.post(f"/api/{path}", json=content, headers=sent).status_code == 403
        form = page.client.post(f"/api/{path}", data=content, headers={"origin": HERE, "x-csrf-token": page.csrf})
        assert form.status_code == 422
    assert len(Store(predictions / "review").entries()) == before


def test_other_host_names_are_refused(client: TestClient) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8765", "", "localhost.", "a@b"):
        for path in PATHS:
            assert client.get(f"/{path}", headers={"host": host}).status_code == 400, host


def test_passwords_are_hashed_and_guessing_is_slowed_down(predictions: Path, users: Path) -> None:
    assert PASSWORD not in users.read_text()
    assert users.read_text().count("$argon2id$") == 3
    assert users.stat().st_mode & 0o077 == 0
    client = serve(predictions, users=users)
    wrong = [
        client.post("/api/session", json={"name": "ann", "password": f"guess {number}"}, headers={"origin": HERE})
        for number in range(6)
    ]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
    assert wrong[5].headers["retry-after"] == "300"
    right = {"name": "ann", "password": PASSWORD}
    assert client.post("/api/session", json=right, headers={"origin": HERE}).status_code == 429
    enter(client, name="ben", password=PASSWORD)  # others are not locked out


def test_limits_and_sessions_end_with_time() -> None:
    now = [0.0]
    auth = Authenticator(token=TOKEN, single=Reader("reviewer", "admin"), clock=lambda: now[0])
    secret, _ = auth.log_in(token=TOKEN)
    for _ in range(5):
        with pytest.raises(ValueError, match="wrong"):
            auth.log_in(token="guess")
    with pytest.raises(LimitedError):
        auth.log_in(token=TOKEN)
    now[0] = 301.0
    auth.log_in(token=TOKEN)
    for _ in range(11):
        now[0] += 3600
        auth.session(secret)
    now[0] += 3600
    with pytest.raises(ValueError, match="log in"):
        auth.session(secret)  # twelve hours, however busy
    idle, _ = auth.log_in(token=TOKEN)
    now[0] += 2 * 3600 + 1
    with pytest.raises(ValueError, match="log in"):
        auth.session(idle)


def test_a_user_who_is_taken_out_is_out_at_once(predictions: Path, users: Path, tmp_path: Path) -> None:
    own = tmp_path / "users.json"
    own.write_bytes(users.read_bytes())
    page = enter(serve(predictions, users=own), name="ann", password=PASSWORD)
    own.write_text(users.read_text().replace('"ann"', '"anna"'))
    assert page.get("cases").status_code == 401


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_every_answer_tells_browsers_to_be_strict(client: TestClient) -> None:
    for path in PATHS:
        for answer in (client.get(f"/{path}"), client.get(f"/{path}", headers={"host": "evil.example"})):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS, path
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_the_page_holds_no_script_or_style_of_its_own_and_names_no_other_host(client: TestClient) -> None:
    html = client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    named = re.findall(r"/static/([\w.]+)", html)
    files = [html, *(client.get(f"/static/{name}").text for name in named), *_modules(client)]
    assert all("innerHTML" not in text for text in files)
    assert {url for text in files for url in re.findall(r"https?://[\w./]+", text)} <= {"http://www.w3.org/2000/svg"}


def _modules(client: TestClient) -> Iterator[str]:
    for name in ("api", "caseview", "dom", "list", "main", "pixels", "threshold", "viewer"):
        answer = client.get(f"/static/{name}.js")
        assert answer.headers["content-type"].startswith("text/javascript")
        yield answer.text


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
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"rating": 3}',
    b'{"rating": NaN, "seconds": 1, "key": "x"}',
    b'{"rating": 1e400, "seconds": Infinity}',
    b'{"rating": "\\ud800", "seconds": 1}',
    b'{"key": "\\u0000", "rating": 3, "seconds": 1}',
    b"[" * 15000,
    b'{"a":' * 3000,
]


def test_odd_bodies_are_refused(page: Page) -> None:
    headers = {"origin": HERE, "x-csrf-token": page.csrf, "content-type": "application/json"}
    for path in ("session", "cases/1/rating", "switch"):
        for body in ODD:
            answer = page.client.post(f"/api/{path}", content=body, headers=headers)
            assert answer.status_code in (400, 401, 422, 429), (path, body)
            assert "Traceback" not in answer.text


WRONG: list[dict[str, object]] = [
    {"decision": "approve"},
    {"seconds": -1},
    {"seconds": "1"},
    {"confidence": 6},
    {"confidence": True},
    {"comment": "x" * 2001},
    {"comment": "\ud800"},
    {"layers": ["secret"]},
    {"mask": "no base64!"},
    {"mask": base64.b64encode(b"no png").decode()},
    {"decision": "accept", "mask": ""},
    {"key": "1"},
    {"reviewer": "somebody else"},
    {"image": "../../etc/passwd"},
]


def test_wrong_decisions_change_nothing(page: Page, predictions: Path) -> None:
    page.post("cases/1/rating", rating=3, seconds=1)
    headers = {"origin": HERE, "x-csrf-token": page.csrf, "content-type": "application/json"}
    for change in WRONG:
        content = json.dumps({"key": str(uuid4()), "decision": "edit", "seconds": 1, **change})
        answer = page.client.post("/api/cases/1/decision", content=content, headers=headers)
        assert answer.status_code == 422, change
    assert len(Store(predictions / "review").entries()) == 3


def test_long_bodies_are_cut_off(page: Page) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65536

    headers = {"origin": HERE, "x-csrf-token": page.csrf}
    for path, content in (("session", b"x" * 20_000), ("cases/1/decision", endless()), ("switch", endless())):
        assert page.client.post(f"/api/{path}", content=content, headers=headers).status_code == 413
    lying = {**headers, "content-length": "5"}
    assert page.client.post("/api/session", content=b"x" * 20_000, headers=lying).status_code in (413, 422)


def test_bombs_and_foreign_pictures_are_no_masks(page: Page, predictions: Path, tmp_path: Path) -> None:
    page.post("cases/1/rating", rating=3, seconds=1)
    bomb = bytearray(png(np.zeros((16, 20)), tmp_path))
    bomb[16:24] = (30000).to_bytes(4, "big") * 2
    for data in (bytes(bomb), b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        mask = base64.b64encode(data).decode()
        assert page.post("cases/1/decision", decision="edit", seconds=1, mask=mask).status_code == 422
    assert open_store(predictions).mask_names() == []


def test_no_name_of_an_image_is_in_an_address_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    folder = write_predictions(tmp_path, prefix="MUELLER_ERIKA_")
    page = enter(serve(folder))
    addresses = []
    for path in READS:
        addresses.append(str(page.get(path).url))
    (folder / "images" / "MUELLER_ERIKA_1.png").write_bytes(b"damaged")
    assert page.get("cases/2/image").status_code == 422
    printed = "".join(capsys.readouterr()) + caplog.text + "".join(addresses)
    assert "MUELLER" not in printed
    assert verify(open_store(folder)) == []


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    folder = write_predictions(tmp_path, prefix="<img src=x onerror=alert(1)>")
    answer = enter(serve(folder)).get("cases")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["rows"][0]["name"].startswith("<img src=x")
