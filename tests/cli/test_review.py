"""``trustseg review`` from the command line."""

import contextlib
import json
import random
import re
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from tests.cli.conftest import Command, one_sentence, refusal
from tests.review.given import write_predictions, write_run
from tests.review.started import start, started

from trustseg.review import serving
from trustseg.review.cases import open_cases
from trustseg.review.state import Settings
from trustseg.review.verify import open_store, verify

pytest.importorskip("fastapi", reason="the extra 'review' is not installed")

from tests.review.serving import enter, serve


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """A folder of predictions with one decision."""
    folder = write_predictions(tmp_path / "out")
    page = enter(serve(folder))
    page.post("cases/1/rating", rating=5, seconds=2)
    page.post("cases/1/decision", decision="reject", seconds=4)
    return folder


def test_a_review_is_checked_reported_handed_out_and_copied(command: Command, reviewed: Path, tmp_path: Path) -> None:
    found = command("review", "verify", reviewed)
    assert found[:2] == (0, found.out)
    noted = re.search(r"4 entries, nothing was changed; head: (4:[0-9a-f]{64})", found.out)
    assert noted
    run = write_run(tmp_path / "run")
    found = command("review", "report", reviewed, "--records", run)
    assert found.code == 0
    assert "1 of 1 flagged" in found.out
    assert "expected by the score" in found.out
    assert "too few decisions to tell (1 of at least 20)" in found.out
    assert json.loads((reviewed / "review" / "report.json").read_text())["readers"][0]["reject"] == 1
    assert command("review", "export", reviewed, "-o", "handed").out == "log.csv, log.json, cases.csv: handed\n"
    assert {file.name for file in Path("handed").iterdir()} == {"log.csv", "log.json", "cases.csv"}
    assert command("review", "backup", reviewed, "-o", "copy").out.strip().endswith(noted[1])
    assert command("review", "verify", reviewed, "--state", "copy", "--head", noted[1]).code == 0
    for verb in ("export", "backup"):
        assert "not empty" in one_sentence(command("review", verb, reviewed, "-o", "copy"))


def edited(statement: str) -> Callable[[Path], object]:
    """Return what changes the log behind the back of the server."""

    def spoil(review: Path) -> None:
        connection = sqlite3.connect(review / "review.sqlite", isolation_level=None)
        for name in ("log_keeps", "log_stays"):
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        connection.close()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "fault", "words"),
    [
        (edited("UPDATE log SET content = replace(content, 'reject', 'accept')"), "entry 4", "not whole"),
        (edited("DELETE FROM log WHERE number = 4"), "entry 4", "not whole"),
        (lambda review: (review / "heads.txt").unlink(), "heads.txt", "heads.txt"),
        (lambda review: (review / "heads.txt").write_text(""), "heads.txt", "heads.txt"),
    ],
    ids=["edited", "shortened", "without heads", "with empty heads"],
)
def test_a_change_is_found_and_the_review_is_not_opened(
    command: Command, reviewed: Path, spoil: Callable[[Path], object], fault: str, words: str
) -> None:
    spoil(reviewed / "review")
    before = sorted((file.name, file.stat().st_size) for file in (reviewed / "review").glob("heads*"))
    found = command("review", "verify", reviewed)
    assert found.code == 1
    assert fault in found.out
    verbs = [[reviewed, "--port", "0"], ["report", reviewed], ["export", reviewed]]
    for arguments in [*verbs, *([["backup", reviewed, "-o", "copy"]] if fault == "heads.txt" else [])]:
        assert words in one_sentence(command("review", *arguments))
    assert sorted((file.name, file.stat().st_size) for file in (reviewed / "review").glob("heads*")) == before


def test_files_that_were_changed_are_named(command: Command, reviewed: Path) -> None:
    table = reviewed / "predictions.csv"
    edits: dict[Path, Callable[[bytes], bytes]] = {
        table: lambda data: data.replace(b"0.857", b"0.858"),
        reviewed / "masks" / "image1.png": lambda data: (reviewed / "masks" / "image2.png").read_bytes(),
        reviewed / "images" / "image4.png": lambda data: data + b" ",
    }
    for path, edit in edits.items():
        whole = path.read_bytes()
        path.write_bytes(edit(whole))
        found = command("review", "verify", reviewed)
        assert (found.code, found.out.count("fault:")) == (1, 1)
        assert str(path) in found.out
        assert path != table or "'image0.png'" in found.out
        if path.parent.name != "images":  # of which a changed one is refused when it is shown
            for arguments in ([reviewed, "--port", "0"], ["report", reviewed], ["export", reviewed]):
                said = one_sentence(command("review", *arguments))
                assert str(path) in said
                assert said.count("that the review is about") <= 1
        path.write_bytes(whole)
    assert not Path("review-export").exists()


def test_the_log_is_checked_without_the_images(command: Command, reviewed: Path) -> None:
    (reviewed / "images" / "image1.png").unlink()
    found = command("review", "verify", reviewed)
    assert found.code == 2
    assert "the log alone: 4 entries, nothing was changed" in found.out
    assert "image1.png" in found.err
    (reviewed / "review" / "heads.txt").unlink()
    found = command("review", "verify", reviewed)
    assert found.code == 1
    assert re.findall("fault: .*(heads.txt|image1.png)", found.out) == ["heads.txt", "image1.png"]


def test_a_review_is_served_once_at_a_time(command: Command, reviewed: Path) -> None:
    with serving.listen(reviewed, settings=Settings(), listening=serving.Listening(port=0)):
        said = one_sentence(command("review", reviewed, "--port", "0", "--no-blind"))
        assert str(reviewed / "review" / serving.LOCK) in said
        assert command("review", "verify", reviewed).code == 0
    with serving.listen(reviewed, settings=Settings(), listening=serving.Listening(port=0)):
        pass


def listed(folder: Path) -> Path:
    """A file of users that holds a list."""
    path = folder / "listed.json"
    path.write_text("[]")
    return path


REFUSED: list[tuple[Callable[[Path], list[str | Path]], str]] = [
    (lambda folder: [folder / "nowhere"], "predict"),
    (lambda folder: ["verify", folder], "no review"),
    (lambda folder: [folder, "--readers", "2"], "--users"),
    (lambda folder: [folder, "--host", "0.0.0.0"], "--public-url"),
    (lambda folder: [folder, "--public-url", "http://review.example"], "https"),
    (lambda folder: [folder, "--public-url", "https://review.example"], "--users"),
    (lambda folder: [folder, "--images", folder / "nowhere"], "nowhere"),
    (lambda folder: [folder, "--records", folder], "validation"),
    (lambda folder: [folder, "--users", folder / "users.json"], "users.json"),
    (lambda folder: [folder, "--users", folder / "prediction.json"], "no file of users"),
    (lambda folder: ["verify", folder, "--head", "3"], "no head"),
    (lambda folder: ["user", folder / "users.json", "ann", "--password", "short"], "at least 10"),
    (lambda folder: ["user", folder / "users.json", "a b"], "1 to 64 letters"),  # and asks for no password
    (lambda folder: ["user", folder / "images", "ann"], "images"),
    (lambda folder: ["user", listed(folder), "ann"], "holds a list"),
]


def test_what_does_not_fit_gets_a_sentence(command: Command, tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "out")
    for arguments, words in REFUSED:
        assert words in refusal(command("review", *arguments(folder)))
    with socket.create_server(("127.0.0.1", 0)) as held:
        outcome = command("review", folder, "--port", str(held.getsockname()[1]))
    assert "--port" in one_sentence(outcome)


def test_without_the_extra_it_is_named(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    assert "trustseg[review]" in refusal(command("review", write_predictions(tmp_path / "out")))


def test_users_are_added_and_changed(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    for role in ("reader", "admin"):
        assert command("review", "user", file, "ann", "--role", role, "--password", "long enough").code == 0
    refused = command("review", "user", file, "ann", "--role", "boss", "--password", "long enough")
    assert (refused.code, "'adjudicator'" in refused.err) == (2, True)
    assert json.loads(file.read_text())["users"]["ann"]["role"] == "admin"


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    folder = write_predictions(tmp_path / "out")
    with started(folder, "--records", write_run(tmp_path / "run")) as address:
        base, _, token = address.partition("#token=")
        with httpx.Client(base_url=base, headers={"origin": base.rstrip("/")}) as client:
            assert client.get("/").status_code == 200
            assert client.get("/api/cases").status_code == 401
            assert client.post("/api/session", json={"token": token}).status_code == 200
            assert len(client.get("/api/cases").json()["rows"]) == 6
            assert len(client.get("/api/risk").json()["points"]) > 10
            assert "server" not in client.get("/").headers
    assert [file.name for file in (folder / "review").iterdir()] != []


@pytest.mark.slow
def test_a_server_that_is_killed_keeps_what_it_confirmed(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    folder = write_predictions(tmp_path / "out")
    rng, confirmed, waiting = random.Random(0), [], str(uuid4())
    for _ in range(5):
        process, address = start(folder, "--no-blind")
        threading.Timer(rng.uniform(0.5, 4), process.kill).start()
        base, _, token = address.partition("/#token=")
        with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=base, headers={"origin": base}) as client:
            entered = client.post("/api/session", json={"token": token})
            client.headers["x-csrf-token"] = entered.json()["csrf"]
            while True:
                body = {"key": waiting, "decision": "accept", "seconds": 1, "comment": waiting}
                assert client.post("/api/cases/1/decision", json=body).status_code == 200
                confirmed.append(waiting)
                waiting = str(uuid4())  # one that was not confirmed is sent to the next server again
        process.communicate()
    store = open_store(folder)
    written = [entry.key for entry in store.entries() if entry.kind == "decision"]
    assert len(written) == len(set(written))
    assert written[: len(confirmed)] == confirmed != []
    assert len(written) <= len(confirmed) + 1
    assert verify(store, folder=open_cases(folder)) == []
