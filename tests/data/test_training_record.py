"""A model knows what it has seen, in whatever dataset it comes back, without naming it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.evaluation.packs import pack_of
from tests.fake import one_pair

from trustseg.data import Pack, split_cases, write_pack
from trustseg.data.patients import patient_groups
from trustseg.data.training_record import (
    Preprocessing,
    read_preprocessing,
    read_training_record,
    require_no_leakage,
    require_training_record,
    validation_rows,
    write_preprocessing,
    write_splits,
)
from trustseg.errors import DataError

SIDES = ("train", "validation", "test")


def rows(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def renamed(pack: Pack, **columns: pl.Expr) -> Pack:
    """Return another dataset with columns of this one changed."""
    return replace(pack, index=pack.index.with_columns(**columns), digest="of another pack")


def test_what_is_written_is_what_it_has_seen(tmp_path: Path) -> None:
    pack = pack_of()
    splits = split_cases(pack.index, fold=1, folds=3, seed=4)
    write_splits(tmp_path, pack, splits)
    seen = require_training_record(tmp_path)
    assert seen == read_training_record(tmp_path)
    assert validation_rows(seen, pack).tolist() == splits.validation.tolist()
    about = json.loads((tmp_path / "splits.json").read_text())
    assert about["unknown_patients"] == 0
    assert about["images"] == {name: len(getattr(splits, name)) for name in SIDES}
    assert len({patient for name in SIDES for patient in about["patients"][name]}) == 5
    require_no_leakage(seen, pack, splits.test)
    require_no_leakage(seen, pack, splits.validation, validated=True)
    for row in (*splits.train.tolist(), *splits.validation.tolist()):
        with pytest.raises(DataError, match=r"patients .*--allow-training-patients"):
            require_no_leakage(seen, pack, rows(*splits.test.tolist(), row))


def test_nobody_is_named_and_equal_names_look_different_in_other_data(tmp_path: Path) -> None:
    pack = renamed(pack_of(), patient="sub-S0" + pl.col("patient"), name="sub-S0" + pl.col("name"))
    texts = []
    for one in (pack, replace(pack, digest="other")):
        write_splits(tmp_path, one, split_cases(one.index))
        texts.append((tmp_path / "splits.json").read_text())
    assert "S0" not in texts[0]
    hashes = [{one for side in SIDES for one in json.loads(text)["patients"][side]} for text in texts]
    assert not hashes[0] & hashes[1]


def test_patients_and_pictures_are_known_in_other_data(tmp_path: Path) -> None:
    pack = pack_of()
    splits = split_cases(pack.index)
    write_splits(tmp_path, pack, splits)
    seen = require_training_record(tmp_path)
    pixels = {"sha256_pixels": "other " + pl.col("sha256_pixels")}
    require_no_leakage(seen, renamed(pack, **pixels), splits.test)
    for patient in (pl.col("patient"), pl.col("patient").str.to_uppercase()):
        with pytest.raises(DataError, match="patients"):
            require_no_leakage(seen, renamed(pack, **pixels, patient=patient), splits.train)
    other = renamed(pack, patient="X" + pl.col("patient"), name="new " + pl.col("name"))
    require_no_leakage(seen, other, splits.test)
    with pytest.raises(DataError, match=r"on 1 of these 1 pictures \(new image0\)"):
        require_no_leakage(seen, other, rows(0))
    with pytest.raises(DataError, match=r"data\.path"):
        validation_rows(seen, other)


def test_files_of_the_older_version_are_read(tmp_path: Path) -> None:
    pack = pack_of()
    sides = {"train": ["a"], "validation": ["b", "f"], "test": []}
    (tmp_path / "splits.json").write_text(json.dumps({"digest": pack.digest, "patients": sides}))
    seen = require_training_record(tmp_path)
    assert validation_rows(seen, pack).tolist() == [2]  # f is a control without a mask
    require_no_leakage(seen, pack, rows(3, 4))
    with pytest.raises(DataError, match=r"on 1 of these 2 patients \(a\)"):
        require_no_leakage(seen, pack, rows(1, 3))


def test_images_of_validation_patients_that_were_left_out_are_no_validation_images(tmp_path: Path) -> None:
    pack = pack_of()
    splits = split_cases(pack.index, validation_fraction=0.5)
    two = [row for row in splits.validation.tolist() if pack.index["patient"][row] == "a"]
    kept = replace(splits, validation=np.setdiff1d(splits.validation, two[:1]))
    write_splits(tmp_path, pack, kept)
    assert validation_rows(require_training_record(tmp_path), pack).tolist() == kept.validation.tolist()


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ("M\u00fcller", "Mu\u0308ller"),
        ("P 01", "P\u00a001"),
        ("P 01", " p  01"),
        ("STRASSE", "stra\u00dfe"),
        ("A1", "\uff211"),
    ],
)
@pytest.mark.parametrize("older", [False, True])
def test_a_patient_is_one_however_the_name_is_written(tmp_path: Path, known: str, found: str, older: bool) -> None:
    pack = pack_of()
    one = pl.when(pl.col("patient") == "a")
    train = renamed(pack, patient=one.then(pl.lit(known)).otherwise("patient"))
    splits = split_cases(train.index)
    write_splits(tmp_path, train, replace(splits, train=np.arange(len(pack)), validation=rows(), test=rows()))
    if older:  # its hashes are of names without case
        file = tmp_path / "splits.json"
        content = json.loads(file.read_text())
        del content["sha256"]
        text = f"{train.digest}\n{known.casefold()}"
        content["patients"]["train"] = [hashlib.sha256(text.encode()).hexdigest()[:16]]
        file.write_text(json.dumps(content))
    other = {"patient": one.then(pl.lit(known if older else found)).otherwise("other" + pl.col("patient"))}
    row = rows(pack.index["patient"].to_list().index("a"))
    with pytest.raises(DataError, match="patients"):
        require_no_leakage(require_training_record(tmp_path), renamed(pack, **other, sha256_pixels=pl.lit("x")), row)
    assert patient_groups(pack.index.head(2).with_columns(patient=pl.Series([known, found]))).n_unique() == 1


@pytest.mark.parametrize("lost", ["splits.json", "data.json"])
def test_what_a_training_wrote_is_to_be_restored(tmp_path: Path, lost: str) -> None:
    read = read_training_record if lost == "splits.json" else read_preprocessing
    assert read(tmp_path) is None  # an older model
    with pytest.raises(DataError, match=r"splits\.json"):
        require_training_record(tmp_path)
    (tmp_path / "epoch.json").write_text("{}")
    with pytest.raises(DataError, match=f"no {lost} .*restore it from the run"):
        read(tmp_path)


EMPTIED = [("patients", "pictures"), ("patients",), ("pictures",)]


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", [*EMPTIED, "one less"])
def test_lists_that_were_changed_are_refused(tmp_path: Path, damage: str | tuple[str, ...], sealed: bool) -> None:
    pack, file = pack_of(), tmp_path / "splits.json"
    write_splits(tmp_path, pack, split_cases(pack.index))
    content = json.loads(file.read_text())
    if not sealed:  # of an older version
        del content["sha256"]
        file.write_text(json.dumps(content))
        assert read_training_record(tmp_path) is not None
    if damage == "one less":
        content["patients"]["train"] = content["patients"]["train"][:-1] if sealed else []
    else:
        content |= {name: {side: [] for side in content[name]} for name in damage}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="restore it from the run"):
        read_training_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *("{}", "[]", "{", '{"digest": "x", "patients": {"train": []}}'),
        '{"format": 2, "digest": "x", "patients": {"train": [], "validation": []}}',
    ],
)
def test_a_damaged_file_is_to_be_restored_not_deleted(tmp_path: Path, content: str) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match=r"splits\.json.*restore it from the run") as refusal:
        read_training_record(tmp_path)
    assert "delete" not in str(refusal.value)


def test_how_images_were_read_is_found_beside_the_model(tmp_path: Path) -> None:
    image = np.array([[0, 4000], [200, 500]], dtype=np.uint16)
    root = one_pair(tmp_path / "data", np.zeros((2, 2), dtype=np.uint8), image=image, end="tif")
    pack = write_pack(root, tmp_path / "pack", size=4, channels=3, fit="pad")
    write_preprocessing(tmp_path / "model", pack)
    assert read_preprocessing(tmp_path / "model") == Preprocessing(4, 3, "pad", 4095)
    file = tmp_path / "model" / "data.json"
    about = json.loads(file.read_text())
    assert about["notes"] == list(pack.notes)
    wrong: list[dict[str, object]] = [{"fit": "crop"}, {"size": 0}]
    wrong += [{"white": white} for white in ("4095", -5, 0, 1, 1e9, True)]
    for damaged in ({"fit": "pad"}, *({**about, **change} for change in wrong)):
        file.write_text(json.dumps(damaged))
        with pytest.raises(DataError, match=r"data\.json"):
            read_preprocessing(tmp_path / "model")
