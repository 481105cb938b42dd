"""A model knows whom it has seen, in whatever dataset they come back."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.packs import pack_of

from trustseg.data import split_cases
from trustseg.data.seen import Seen, require_seen, require_unseen, seen_by, validation_rows, write_splits
from trustseg.errors import DataError


def rows(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def test_what_is_written_is_whom_it_has_seen(tmp_path: Path) -> None:
    pack = pack_of()
    splits = split_cases(pack.index, fold=1, folds=3, seed=4)
    write_splits(tmp_path / "model", pack, splits)
    seen = seen_by(tmp_path / "model")
    learnt = [*splits.train.tolist(), *splits.validation.tolist()]
    validation = frozenset(pack.index["patient"].gather(splits.validation.tolist()))
    assert seen == Seen(pack.digest, frozenset(pack.index["patient"].gather(learnt)), validation)
    assert validation_rows(seen, pack).tolist() == splits.validation.tolist()
    about = json.loads((tmp_path / "model" / "splits.json").read_text())
    assert about["unknown_patients"] == 0
    assert about["images"] == {name: len(getattr(splits, name)) for name in ("train", "validation", "test")}
    assert sorted(patient for side in about["patients"].values() for patient in side) == ["a", "b", "c", "d", "e"]
    require_unseen(seen, pack, splits.test)
    for row in learnt:
        with pytest.raises(DataError, match=r"on 1 of these .* patients .*--allow-training-patients"):
            require_unseen(seen, pack, rows(*splits.test.tolist(), row))


def test_another_image_of_a_patient_in_another_pack_counts() -> None:
    seen = Seen("of another pack", frozenset({"a"}), frozenset())
    require_unseen(seen, pack_of(size=64), rows(2, 3, 7))
    with pytest.raises(DataError, match=r"on 1 of these 2 patients \(a\), on none was expected"):
        require_unseen(seen, pack_of(size=64), rows(1, 2))


def test_validation_rows_leave_out_controls_and_images_without_mask() -> None:
    pack = pack_of()
    seen = Seen(pack.digest, frozenset("abef"), frozenset("bef"))
    assert pack.index["patient"].to_list() == ["a", "a", "b", "c", "d", "e", "e", "f"]
    assert validation_rows(seen, pack).tolist() == [2, 5, 6]  # f is a control without a mask


def test_validation_rows_of_other_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"got other images than those the model was trained.*set data\.path"):
        validation_rows(Seen("of another pack", frozenset("a"), frozenset("a")), pack_of())


def test_a_model_that_does_not_say(tmp_path: Path) -> None:
    assert seen_by(tmp_path) is None
    with pytest.raises(
        DataError, match=r"no splits\.json in .*, it was expected, as it says .*; train with this version"
    ):
        require_seen(tmp_path)


def test_a_model_that_says(tmp_path: Path) -> None:
    write_splits(tmp_path, pack_of(), split_cases(pack_of().index))
    assert require_seen(tmp_path) == seen_by(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"digest": "x", "patients": {"train": []}}', "[]", "{"])
def test_a_damaged_file_gets_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match=r"splits\.json"):
        seen_by(tmp_path)
