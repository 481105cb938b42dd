"""What is reported and handed out is what was decided."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.dicom_output.films import errors_of, result
from tests.review.given import ANN, BEN, CLEO, KEYS, decide, make_dicom, png, records, review_of, write_predictions

from trustseg.dicom_output import Code, SegmentMeaning, read_source, write_objects
from trustseg.errors import DataError
from trustseg.review.actions import Review, Verdict
from trustseg.review.chain import Entry, chain_faults
from trustseg.review.export import back_up, export_review
from trustseg.review.outcome import cohen_kappa
from trustseg.review.risk import risk_table
from trustseg.review.summary import likely_range, summarise
from trustseg.review.verify import open_store, verify
from trustseg.tables import read_csv

FIRST = ["accept", "edit", "reject", "accept", "accept", "accept"]
SECOND = ["accept", "edit", "reject", "reject", "accept", "accept"]


@pytest.fixture
def read(predictions: Path) -> Review:
    """Two people have read six cases, ten and five seconds each; a third has settled one."""
    review = review_of(predictions, readers=2)
    pixels = np.zeros((16, 20), np.uint8)
    pixels[4:8, 5:8] = 255  # the mask of image0, which the second case's differs from
    drawn = png(pixels)
    for reader, decisions, seconds in ((ANN, FIRST, 10.0), (BEN, SECOND, 5.1234)):
        for number, decision in enumerate(decisions, start=1):
            mask = drawn if decision == "edit" else None
            decide(review, number, reader, decision, mask, comment="=1+1", seconds=seconds / 2)
    review.adjudicate(4, CLEO, Verdict("reject"), key=next(KEYS))
    review.switch(ANN, key=next(KEYS), stop=True, reason="another scanner")
    return review


def test_kappa_is_that_of_an_independent_library() -> None:
    peer = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = (rng.choice(["accept", "edit", "reject"], 12).tolist() for _ in range(2))
        assert cohen_kappa(first, second) == pytest.approx(peer(first, second))
    assert np.isnan(cohen_kappa(["a", "a"], ["a", "a"]))


def test_the_likely_range_is_that_of_all_outcomes() -> None:
    chances = [0.1, 0.7, 0.4, 0.9, 0.2, 0.5]
    weights = np.zeros(7)
    for outcome in product((0, 1), repeat=6):
        weights[sum(outcome)] += np.prod([p if hit else 1 - p for p, hit in zip(chances, outcome, strict=True)])
    low, high = likely_range(chances)
    assert weights[:low].sum() < 0.025 <= weights[: low + 1].sum()
    assert weights[:high].sum() < 0.975 <= weights[: high + 1].sum()
    assert likely_range([]) == (0, 0)
    assert likely_range([1.0, 0.0]) == (1, 1)


def test_the_report_counts_what_was_decided(read: Review) -> None:
    table = risk_table(records(), "u_entropy_soft_dice_confidence", tau=0.5, draws=2)
    found = summarise(read.folder, read.store, risk=table)
    ann, ben, cleo = found["readers"]
    assert (ann["decided"], ann["accept"], ann["edit"], ann["reject"], ann["overrides"]) == (6, 4, 1, 1, 1 / 3)
    assert ben["overrides"] == 1 / 2
    assert (cleo["decided"], cleo["settled"], cleo["minutes_per_case"]) == (0, 1, None)
    assert ann["minutes"] == pytest.approx(1.0)
    assert ann["minutes_per_case"]["median"] == pytest.approx(10 / 60)
    assert (ann["rated_sure"], ann["rated_as_the_mask"]) == (6, 5)  # the last mask is empty
    (pair,) = found["agreement"]
    assert (pair["cases"], pair["same"], pair["dice"], pair["masks"]) == (6, pytest.approx(5 / 6), 1.0, 3)
    assert pair["kappa"]["value"] == pytest.approx(cohen_kappa(FIRST, SECOND))
    assert found["progress"] == {"open": 0, "in progress": 0, "disagreement": 0, "done": 6}
    assert found["failures"]["flagged"] == {"done": 3, "failed": 1}  # one rejected, one hardly changed
    assert found["failures"]["kept"] == {"done": 3, "failed": 1}
    scores = [case.score for case in read.folder.cases]
    assert found["failures"]["expected"]["failed"] == pytest.approx(table.chance(scores).sum())
    assert found["failures"]["expected"]["low"] is not None
    few = summarise(read.folder, read.store, risk=replace(table, patients=4))["failures"]["expected"]
    assert (few["patients"], few["low"], few["high"]) == (4, None, None)  # chances of four patients are no facts
    assert [stop["reason"] for stop in found["stops"]] == ["another scanner"]
    assert {item["state"] for item in found["article_14"]} == {"partly"}  # 12 decisions
    json.dumps(found, allow_nan=False)


def test_readers_who_hardly_override_are_named(tmp_path: Path) -> None:
    review = review_of(write_predictions(tmp_path, count=21), blind=False)
    for number in range(1, 21):
        assert summarise(review.folder, review.store)["notes"] == []
        decide(review, number, ANN, "accept")
    found = summarise(review.folder, review.store)
    (note,) = found["notes"]
    assert note.startswith("ann overrode 0 of 20 masks")
    states = {item["item"].rpartition(" ")[2]: item["state"] for item in found["article_14"]}
    assert states == {"14(1)-(3)": "filled", "14(4)(b)": "partly", "14(4)(d)": "filled", "14(4)(e)": "partly"}
    review.switch(ANN, key=next(KEYS), stop=True, reason="")
    assert [item["state"] for item in summarise(review.folder, review.store)["article_14"]].count("filled") == 3


def test_nothing_decided_is_undefined_and_not_zero(predictions: Path) -> None:
    review = review_of(predictions)
    found = summarise(review.folder, review.store)
    assert (found["readers"], found["agreement"], found["failures"]["expected"]) == ([], [], None)
    assert "filled" not in {item["state"] for item in found["article_14"]}


def test_the_export_holds_the_log_and_the_masks_that_stand(read: Review, tmp_path: Path) -> None:
    output = export_review(read.folder, read.store, tmp_path / "export")
    cases = read_csv(output / "cases.csv", as_text=True)
    assert cases["decision"].to_list() == ["accept", "edit", "reject", "reject", "accept", "accept"]
    assert cases["settled_by"].to_list() == ["ann", "ann", "ann", "cleo", "ann", "ann"]
    assert sorted(file.stem for file in (output / "masks").iterdir()) == ["image0", "image1", "image4", "image5"]
    original = read.folder.case(1).mask
    assert (output / "masks" / "image0.png").read_bytes() == original.read_bytes()
    with Image.open(output / "masks" / "image1.png") as redrawn, Image.open(original) as other:
        assert np.array_equal(np.asarray(redrawn), np.asarray(other))
    content = json.loads((output / "log.json").read_text())
    assert chain_faults(Entry(**entry) for entry in content["entries"]) == []
    assert content["head"] == str(read.store.head())
    log = pl.read_csv(output / "log.csv")
    assert len(log) == len(content["entries"])
    assert all(seconds == round(seconds, 1) for seconds in log["seconds"].drop_nulls())
    assert "'=1+1" in log["comment"].to_list()  # no formula for a spreadsheet
    assert len(list((output / "drawn").iterdir())) == 2


def test_a_mask_that_is_not_the_accepted_one_is_not_handed_out(read: Review, tmp_path: Path) -> None:
    one, other = read.folder.case(1).mask, read.folder.case(2).mask
    one.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=str(one)):
        export_review(read.folder, read.store, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_redrawn_masks_of_films_are_segmentations_as_well(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    folder = write_predictions(tmp_path / "out", deep=True)
    films = [make_dicom(folder, number) for number in range(4)]
    make_dicom(folder, 4, StudyInstanceUID=None)
    meaning = SegmentMeaning("infection", type=Code("SCT", "233604007", "Pneumonia"))
    found = result((16, 20), mask=np.ones((16, 20), bool))
    write_objects(read_source(folder / "images" / "image0.dcm"), found, meaning, folder / "dicom", "image0")
    review = review_of(folder, blind=False)
    drawn = [np.random.default_rng(number).random((16, 20)) < number / 4 for number in range(5)]
    for number, mask in enumerate(drawn, start=1):
        decide(review, number, ANN, "edit", png(255 * mask))
    decide(review, 4, ANN, "accept")  # after all
    decide(review, 6, ANN, "edit", png(255 * drawn[2]))  # a PNG
    notes: list[str] = []
    output = export_review(review.folder, review.store, tmp_path / "export", note=notes.append)
    assert sorted(file.name for file in (output / "dicom").iterdir()) == [f"image{n}.seg.dcm" for n in range(3)]
    (note,) = notes
    assert "case 5" in note
    assert "StudyInstanceUID" in note
    names: set[str] = set()
    for mask, film in zip(drawn[:3], films, strict=False):
        file = output / "dicom" / f"image{len(names)}.seg.dcm"
        seg = highdicom.seg.segread(file)
        assert seg.SegmentationType == "BINARY"
        assert np.array_equal(seg.pixel_array.reshape(16, 20), mask)
        (series,) = seg.ReferencedSeriesSequence
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
        (segment,) = seg.SegmentSequence
        assert segment.SegmentLabel == ("foreground" if names else "infection")
        assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
        names.add(seg.SOPInstanceUID)
    assert len(names) == 3
    table = read_csv(output / "cases.csv", as_text=True)
    assert table["segmentation"].to_list() == [*(f"dicom/image{n}.seg.dcm" for n in range(3)), *[None] * 3]
    assert [errors_of(file) for file in (output / "dicom").iterdir()] == [[]] * 3  # skips without dciodvfy


def test_a_backup_verifies_and_can_be_used(read: Review, tmp_path: Path) -> None:
    back_up(read.store, tmp_path / "backup")
    entries, head = read.store.entries(), read.store.head()
    decide(read, 1, ANN, "accept")  # later
    copy = open_store(tmp_path / "out", state=tmp_path / "backup", create=False)
    assert copy.entries() == entries
    assert verify(copy, folder=read.folder, head=head) == []
    assert Review(read.folder, copy, read.state().settings).state().status(4) == "done"
