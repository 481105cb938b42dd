"""Who may come in: nobody without a session, and nobody for another."""

from pathlib import Path
from uuid import uuid4

import pytest

pytest.importorskip("fastapi", reason="the extra 'review' is not installed")

from fastapi.testclient import TestClient
from tests.review.serving import COOKIE, HERE, PASSWORD, PATHS, READS, TOKEN, WRITES, Page, enter, log_in, serve

from trustseg.review.access import Authenticator, DeniedError, LimitedError
from trustseg.review.state import Reader
from trustseg.review.storage import Store


def test_nobody_gets_anything_without_a_session(client: TestClient) -> None:
    for path in READS:
        assert client.get(f"/api/{path}").status_code == 401, path
    for path, content in WRITES:
        answer = client.post(f"/api/{path}", json={"key": str(uuid4()), **content}, headers={"origin": HERE})
        assert answer.status_code == 401, path
    client.cookies.set(COOKIE, "guess")
    assert client.get("/api/cases").status_code == 401
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert log_in(client, token=token).status_code == 401


def test_the_cookie_is_for_this_page_alone(client: TestClient) -> None:
    answer = log_in(client)
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    page = Page(client, answer.json()["csrf"])
    assert page.get("cases").status_code == 200
    assert client.delete("/api/session", headers=page.headers).status_code == 200
    client.cookies.set(COOKIE, cookie.partition("=")[2].partition(";")[0])
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
        assert page.client.post(f"/api/{path}", data=content, headers=page.headers).status_code == 422  # a form
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
    wrong = [log_in(client, name="ann", password=f"guess {number}") for number in range(6)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
    assert wrong[5].headers["retry-after"] == "300"
    assert log_in(client, name="ann", password=PASSWORD).status_code == 429
    enter(client, name="ben", password=PASSWORD)  # others are not locked out


def test_limits_and_sessions_end_with_time() -> None:
    now = [0.0]
    auth = Authenticator(token=TOKEN, single=Reader("reviewer", "admin"), clock=lambda: now[0])
    secret, _ = auth.log_in(token=TOKEN)
    for token, error in (*[("guess", DeniedError)] * 5, (TOKEN, LimitedError)):
        with pytest.raises(error):
            auth.log_in(token=token)
    now[0] = 301.0
    auth.log_in(token=TOKEN)
    for _ in range(11):
        now[0] += 3600
        auth.session(secret)
    now[0] += 3600
    with pytest.raises(DeniedError, match="log in"):
        auth.session(secret)  # twelve hours, however busy
    idle, _ = auth.log_in(token=TOKEN)
    now[0] += 2 * 3600 + 1
    with pytest.raises(DeniedError, match="log in"):
        auth.session(idle)


def test_a_user_who_is_taken_out_is_out_at_once(predictions: Path, users: Path, tmp_path: Path) -> None:
    own = tmp_path / "users.json"
    own.write_bytes(users.read_bytes())
    page = enter(serve(predictions, users=own), name="ann", password=PASSWORD)
    own.write_text(users.read_text().replace('"ann"', '"anna"'))
    assert page.get("cases").status_code == 401
