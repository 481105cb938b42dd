"""What the page does, from the list of cases to a decision."""

import base64
import json
import re
import threading
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from tests.review.given import make_dicom, rectangle, write_predictions, write_run

pytest.importorskip("fastapi", reason="the extra 'review' is not installed")

from fastapi.testclient import TestClient
from tests.review.serving import HERE, PASSWORD, Page, another, enter, serve

from trustseg.review.attacked import AttackedCase
from trustseg.review.serving import Listening, listen
from trustseg.review.state import Settings
from trustseg.review.storage import Store


def test_a_case_goes_from_the_list_to_a_decision(page: Page, predictions: Path) -> None:
    rows = page.get("cases").json()["rows"]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["flagged"] for row in rows] == [True] * 3 + [False] * 3
    assert re.fullmatch(r"score above 0\.\d+", "".join(rows[0]["reasons"]))
    assert rows[-1]["reasons"] == ["not flagged"]
    assert page.get("cases").json()["validation_images"] is None
    assert page.get("cases/1/image").content.startswith(b"\x89PNG")
    assert page.get("cases/1/thumbnail").headers["content-type"] == "image/png"
    assert [page.get(f"cases/1/{name}").status_code for name in ("mask", "uncertainty")] == [409, 409]
    rated = page.post("cases/1/rating", rating=2, seconds=3.25).json()
    assert (rated["sees_mask"], rated["rating"], rated["decision"]) == (True, 2, None)
    assert page.get("cases/1/mask").content == (predictions / "masks" / "image0.png").read_bytes()
    mask = base64.b64encode(rectangle(20)).decode()
    decided = page.post("cases/1/decision", decision="edit", seconds=4, confidence=4, comment="ä <b>", mask=mask).json()
    assert (decided["status"], decided["decision"]["comment"]) == ("done", "ä <b>")
    assert page.get(f"cases/1/drawn/{decided['decision']['number']}").content.startswith(b"\x89PNG")
    assert page.get("cases").json()["rows"][0]["own"] == "edit"
    assert page.post("cases/1/withdrawal").json()["status"] == "open"
    kinds = [entry.kind for entry in Store(predictions / "review").entries()]
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


@pytest.mark.parametrize(
    ("at_most", "guarantee", "flags", "reason"),
    [
        (0.5, "no difference found", {True, False}, "not flagged"),
        (0.01, "void", {False}, "not flagged: the policy promises nothing"),
    ],
)
def test_the_page_says_what_the_policy_promises(
    tmp_path: Path, at_most: float, guarantee: str, flags: set[bool], reason: str
) -> None:
    page = enter(serve(write_predictions(tmp_path, at_most=at_most, guarantee=guarantee)))
    listed, policy = page.get("cases").json(), page.get("session").json()["policy"]
    assert {row["flagged"] for row in listed["rows"]} == flags
    assert {why for row in listed["rows"] if not row["flagged"] for why in row["reasons"]} == {reason}
    too_few = at_most == 0.01
    assert (policy["guarantee"], policy["promises_nothing"]) == (guarantee, too_few)
    assert ("there are 30" in (listed["no_promise"] or "")) == too_few


@pytest.mark.parametrize(
    ("place", "settings", "name"),
    [
        ("", "target: infection", "infection"),
        ("evaluation-test/validation.parquet", "target: infection", "infection"),
        ("", "size: 64", None),
        ("", "colour: blue", None),  # of another program
    ],
)
def test_the_page_names_the_target_of_the_run(
    predictions: Path, tmp_path: Path, place: str, settings: str, name: str | None
) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.yaml").write_text(f"data:\n  {settings}\n")
    with listen(predictions, records=run / place, settings=Settings(), listening=Listening(port=0)) as server:
        page = enter(TestClient(server.app, base_url=HERE), token=server.address.partition("#token=")[2])
        assert page.get("session").json()["target"] == name


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
    assert [ann.post("switch", stop=stop).status_code for stop in (True, False)] == [200, 403]


def test_the_stop_switch_flags_every_case(page: Page) -> None:
    assert page.post("switch", stop=True, reason="another scanner").status_code == 200
    found = page.get("cases").json()
    assert all(row["flagged"] and row["reasons"][0].startswith("stop switch") for row in found["rows"])
    assert found["stopped"]["reason"] == "another scanner"
    assert page.post("switch", stop=False).status_code == 200


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


def test_values_of_deep_images_are_sent_whole(tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "out", deep=True)
    pydicom = pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    make_dicom(folder, 1, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=500.5, WindowWidth=801)
    page = enter(serve(folder))
    with Image.open(folder / "images" / "image0.png") as image:
        stored = np.asarray(image), pydicom.dcmread(folder / "images" / "image1.dcm").pixel_array
    for number, meaning in (
        (1, {"slope": 1, "intercept": 0, "black": 0, "white": 16383}),
        (2, {"slope": 2, "intercept": -1000, "black": 100, "white": 900}),
    ):
        answer = page.get(f"cases/{number}/values")
        assert json.loads(answer.headers["trustseg-values"]) == meaning | {"inverted": False, "channels": 1}
        assert np.array_equal(np.frombuffer(answer.content, "<u2").reshape(16, 20), stored[number - 1])
    changed = folder / "images" / "image0.png"
    changed.write_bytes(changed.read_bytes() + b" ")
    assert page.get("cases/1/values").status_code == 422  # another file than that of the prediction
    assert enter(serve(write_predictions(tmp_path / "shallow"))).get("cases/1/values").status_code == 204


def test_pictures_under_attack_appear_with_the_mask(predictions: Path) -> None:
    attacked = {1: AttackedCase("pgd20, budget 8/255", 16, b"before", b"after", b"mask")}
    page = enter(serve(predictions, attacked=attacked))
    assert page.get("cases/1").json()["attacked"] is None
    assert page.get("cases/1/attacked/after").status_code == 409
    shown = page.post("cases/1/rating", rating=2, seconds=1).json()["attacked"]
    assert shown == {"attack": "pgd20, budget 8/255", "side": 16}
    assert [page.get(f"cases/1/attacked/{layer}").content for layer in ("before", "after")] == [b"before", b"after"]
    assert page.post("cases/2/rating", rating=2, seconds=1).json()["attacked"] is None
    assert (page.get("cases/2/attacked/mask").status_code, page.get("cases/1/attacked/other").status_code) == (404, 422)
