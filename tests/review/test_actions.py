"""What people may do in a review, in which order, and what follows from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.review.given import ANN, BEN, CLEO, KEYS, MODEL, decide, png, rectangle, review_of, write_predictions

from trustseg.errors import DataError, MissingFileError
from trustseg.review.actions import ForbiddenError, OutOfTurnError, Verdict
from trustseg.review.cases import open_cases
from trustseg.review.pictures import image_png, overlap, read_mask_png
from trustseg.review.state import Reader
from trustseg.review.verify import verify


def test_the_mask_stays_hidden_until_the_image_was_rated(predictions: Path) -> None:
    review = review_of(predictions)
    assert not review.state().sees_mask(1, ANN)
    with pytest.raises(OutOfTurnError, match="rate the image first"):
        review.decide(1, ANN, Verdict("accept"), key="early")
    review.rate(1, ANN, key="rating", rating=2, seconds=3.5)
    seen = [review.state().sees_mask(case, reader) for case, reader in ((1, ANN), (1, BEN), (2, ANN))]
    assert seen == [True, False, False]
    with pytest.raises(OutOfTurnError, match="first rating stands"):
        review.rate(1, ANN, key="again", rating=5, seconds=1)
    review.decide(1, ANN, Verdict("accept", confidence=4, seconds=2.0), key="decision")
    assert review.state().status(1) == "done"
    assert verify(review.store, folder=review.folder) == []
    review = review_of(predictions, blind=False)
    assert review.state().sees_mask(2, ANN)
    with pytest.raises(OutOfTurnError, match="nothing is rated"):
        review.rate(2, ANN, key="not blind", rating=2, seconds=1)
    decide(review, 2, ANN, "reject")


def test_a_decision_says_what_it_was_about(predictions: Path) -> None:
    review = review_of(predictions)
    drawn = rectangle(7)
    decide(review, 1, ANN, "edit", drawn)
    entry = review.state().own(1, "ann")
    assert entry is not None
    case = review.folder.case(1)
    about = {"image_sha256": case.image_sha256, "mask_sha256": case.mask_sha256, "model": MODEL}
    assert {name: entry.content[name] for name in about} == about
    assert entry.content["score"] == case.score > entry.content["threshold"]
    kept = read_mask_png(review.store.mask(entry.content["mask"]) or b"", case)
    assert np.array_equal(kept, read_mask_png(drawn, case))
    given = read_mask_png(case.mask.read_bytes(), case)
    assert entry.content["dice_with_model"] == overlap(kept, given)
    assert kept.sum() == 28
    assert overlap(kept, given) == pytest.approx(2 * (kept & given).sum() / (kept.sum() + given.sum()))


def test_undo_brings_back_the_decision_before(predictions: Path) -> None:
    review = review_of(predictions)
    for decision in ("accept", "reject"):
        decide(review, 1, ANN, decision)
    own = [review.state().own(1, "ann")]
    for _ in range(2):
        review.withdraw(1, ANN, key=next(KEYS))
        own.append(review.state().own(1, "ann"))
    assert [entry and entry.content["decision"] for entry in own] == ["reject", "accept", None]
    assert review.state().status(1) == "open"
    with pytest.raises(OutOfTurnError, match="no decision"):
        review.withdraw(1, ANN, key=next(KEYS))
    assert [entry.kind for entry in review.store.entries()][2:] == ["rating", *["decision"] * 2, *["withdrawal"] * 2]


def test_disagreement_is_settled_by_an_adjudicator_who_read_neither(predictions: Path) -> None:
    review = review_of(predictions, readers=2)
    for reader, decision in ((ANN, "accept"), (BEN, "reject"), (ANN, "accept"), (BEN, "reject")):
        assert review.state().status(1) != "done"
        decide(review, 1, reader, decision)
    assert review.state().status(1) == "disagreement"
    assert review.state().sees_mask(1, CLEO)
    for reader in (ANN, Reader("ben", "adjudicator")):
        with pytest.raises(ForbiddenError):
            review.adjudicate(1, reader, Verdict("edit"), key=next(KEYS))
    review.adjudicate(1, CLEO, Verdict("edit", comment="both overlooked the left side"), key=next(KEYS))
    final = review.state().final(1)
    assert final is not None
    assert (review.state().status(1), final.reviewer) == ("done", "cleo")
    with pytest.raises(OutOfTurnError, match="adjudicated"):
        review.withdraw(1, ANN, key=next(KEYS))
    with pytest.raises(OutOfTurnError, match="no disagreement"):
        review.adjudicate(2, CLEO, Verdict("edit"), key=next(KEYS))
    for reader, status in ((ANN, "in progress"), (BEN, "done")):
        decide(review, 2, reader, "accept")
        assert review.state().status(2) == status
    with pytest.raises(OutOfTurnError, match="others have decided"):
        review.rate(2, CLEO, key=next(KEYS), rating=1, seconds=1)


@pytest.mark.parametrize(("columns", "status"), [(10, "done"), (9, "done"), (4, "disagreement")])
def test_drawn_masks_agree_by_their_dice(predictions: Path, columns: int, status: str) -> None:
    review = review_of(predictions, readers=2, agree_dice=0.8)
    decide(review, 1, ANN, "edit", rectangle(20))
    decide(review, 1, BEN, "edit", rectangle(10))
    assert review.state().status(1) == "disagreement"  # 2/3
    decide(review, 1, ANN, "edit", rectangle(columns))
    assert review.state().status(1) == status


def test_anybody_stops_and_an_adjudicator_resumes(predictions: Path) -> None:
    review = review_of(predictions)
    review.switch(ANN, key=next(KEYS), stop=True, reason="the scanner was changed")
    assert review.state().stopped is not None
    for reader, stop, error in ((BEN, True, OutOfTurnError), (ANN, False, ForbiddenError)):
        with pytest.raises(error):
            review.switch(reader, key=next(KEYS), stop=stop, reason="")
    review.switch(CLEO, key=next(KEYS), stop=False, reason="checked")
    assert review.state().stopped is None


def test_a_request_sent_twice_counts_once_even_if_others_came_between(predictions: Path) -> None:
    review = review_of(predictions, readers=2, blind=False)
    verdict = Verdict("edit", mask=rectangle(9))
    first = review.decide(1, ANN, verdict, key="same")
    decide(review, 1, BEN, "edit", rectangle(9))
    assert review.decide(1, ANN, verdict, key="same") == first
    assert len(review.store.entries()) == 4


def test_a_review_goes_on_where_it_was_and_only_about_the_same_predictions(predictions: Path) -> None:
    decide(review_of(predictions), 1, ANN, "accept")
    again = review_of(predictions, readers=2)
    assert again.state().own(1, "ann") is not None
    assert again.state().status(1) == "in progress"  # with the settings of now
    mask = again.folder.case(2).mask
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(mask)
    with pytest.raises(DataError, match="not those that the review"):
        review_of(predictions)
    assert verify(again.store, folder=open_cases(predictions)) != []


@pytest.mark.parametrize("drawn", [png(np.zeros((20, 16))), b"GIF89a", rectangle(3)[:-30]])
def test_bad_masks_are_refused(predictions: Path, drawn: bytes) -> None:
    review = review_of(predictions, blind=False)
    with pytest.raises(DataError, match="mask of case 1"):
        decide(review, 1, ANN, "edit", drawn)
    with pytest.raises(DataError, match="belongs to"):
        decide(review, 1, ANN, "accept", rectangle(3))
    assert review.store.mask_names() == []


def test_without_a_policy_nothing_is_flagged(tmp_path: Path) -> None:
    folder = open_cases(write_predictions(tmp_path, policy=False))
    assert {case.flagged for case in folder.cases} == {None}
    assert folder.policy is None


@pytest.mark.parametrize("place", ["masks", "uncertainty", "images"])
def test_lacking_files_are_named(predictions: Path, place: str) -> None:
    (predictions / place / "image3.png").unlink()
    with pytest.raises(MissingFileError, match=r"1 of 6 .*image3\.png"):
        open_cases(predictions)


def test_images_are_found_wherever_they_are_moved_and_changed_ones_refused(predictions: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "split" / "images"
    moved.parent.mkdir(parents=True)
    (predictions / "images").rename(moved)
    with pytest.raises(MissingFileError, match="--images"):
        open_cases(predictions)
    shutil.copytree(predictions / "masks", moved.with_name("masks"))  # of the same names
    for folder in (moved, tmp_path / "elsewhere"):
        files = [case.file for case in open_cases(predictions, images=folder).cases]
        assert files == [moved / f"image{number}.png" for number in range(6)]
    whole = predictions.rename(tmp_path / "elsewhere" / "out")
    moved.rename(whole / "images")
    case = open_cases(whole).case(1)
    assert image_png(case, white=None).startswith(b"\x89PNG")
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(case.file)
    with pytest.raises(DataError, match="changed"):
        image_png(case, white=None)
