from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trustseg.data import Splits, split_cases
from trustseg.errors import ConfigError, DataError


def index_of(
    patients: Iterable[str],
    *,
    split: Sequence[str] | str = "train",
    empty: Sequence[int] = (),
    known: bool = True,
    alike: Mapping[int, int] | None = None,
    equal: Mapping[int, int] | None = None,
) -> pl.DataFrame:
    """Return the index of a pack; images ``alike`` share their picture, ``equal`` ones their pixels, too."""
    names = list(patients)
    sides = [split] * len(names) if isinstance(split, str) else list(split)
    pixels = [str((equal or {}).get(row, row)) for row in range(len(names))]
    return pl.DataFrame(
        {
            "name": [f"image-{row}" for row in range(len(names))],
            "patient": names,
            "patient_known": [known] * len(names),
            "split": sides,
            "has_mask": [side != "control" for side in sides],
            "foreground": [0 if row in empty else 9 for row in range(len(names))],
            "sha256_pixels": pixels,
            "content_group": [str((alike or {}).get(row, pixels[row])) for row in range(len(names))],
        }
    )


def rows_of(splits: Splits) -> list[list[int]]:
    return [rows.tolist() for rows in (splits.train, splits.validation, splits.test)]


def assert_disjoint(index: pl.DataFrame, splits: Splits) -> None:
    sides = [set(index["patient"].gather(rows)) for rows in rows_of(splits)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides))


people = st.lists(st.sampled_from([f"P{number}" for number in range(9)]), min_size=12, max_size=60).filter(
    lambda patients: len(set(patients)) >= 5
)


@settings(max_examples=60, deadline=None)
@example(patients=["P0"] * 8 + ["P1", "P2", "P3", "P4"], folds=2, seed=0, controls=0)  # one weighs more than all others
@given(patients=people, folds=st.integers(2, 5), seed=st.integers(0, 99), controls=st.integers(0, 3))
def test_folds_are_a_partition_by_patient(patients: list[str], folds: int, seed: int, controls: int) -> None:
    sides = ["train", "test"] * len(patients)
    index = index_of(patients + ["C"] * controls, split=sides[: len(patients)] + ["control"] * controls)
    tested: list[int] = []
    for fold in range(folds):
        splits = split_cases(index, fold=fold, folds=folds, seed=seed)
        assert_disjoint(index, splits)
        assert rows_of(splits) == rows_of(split_cases(index, fold=fold, folds=folds, seed=seed))
        assert rows_of(splits) == [sorted(rows) for rows in rows_of(splits)]
        assert sorted(row for rows in rows_of(splits) for row in rows) == list(range(len(patients)))
        tested += splits.test.tolist()
    assert sorted(tested) == list(range(len(patients)))


def test_folds_are_balanced_in_images_and_in_empty_masks() -> None:
    patients = [f"P{row // 2}" for row in range(100)]
    empty = tuple(range(0, 20, 2))
    index = index_of(patients, empty=empty)
    for fold in range(5):
        splits = split_cases(index, fold=fold)
        assert len(splits.test) == 20
        assert len(set(splits.test.tolist()) & set(empty)) == 2
        assert len(splits.validation) == 16
        assert len(set(splits.validation.tolist()) & set(empty)) in (1, 2)


def test_the_official_split_keeps_its_test_side() -> None:
    sides = ["train"] * 20 + ["test"] * 6 + ["control"] * 4
    index = index_of([f"P{row // 2}" for row in range(30)], split=sides)
    splits = split_cases(index)
    assert splits.test.tolist() == list(range(20, 26))
    assert len(splits.validation) == 4
    assert sorted([*splits.train, *splits.validation]) == list(range(20))
    assert_disjoint(index, splits)
    assert splits.unknown_patients == 0


@pytest.mark.parametrize(
    ("patients", "split", "options", "words"),
    [
        ("abc", "train", {}, r"no test set.* data\.fold=0"),
        ("abc", "test", {}, r"no training set.* data\.fold=0"),
        ("abc", "control", {}, r"(?s)none of the 3 images.*data\.controls"),
        ("abcbd", ["train"] * 3 + ["test"] * 2, {}, r"1 patients .*\(b\).* data.fold=0"),
        ("a", "train", {"fold": 0}, r"has 1 patient .* 5 patient-grouped folds need at"),
        ("abc", "train", {"fold": 0, "folds": 2}, "need at least 4"),
        ("aab", ["train", "train", "test"], {}, r"1 patient .* training and validation need at least 2"),
    ],
)
def test_data_that_cannot_be_split(patients: str, split: list[str] | str, options: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        split_cases(index_of(patients, split=split), **options)  # type: ignore[arg-type]  # whole numbers only


def test_the_smallest_and_the_most_uneven_data_can_be_split() -> None:
    assert_disjoint(index_of("abcd"), split_cases(index_of("abcd"), fold=1, folds=2))
    index = index_of(["big"] * 50 + list("abcdefgh"), known=False)  # a patient with most images stays whole
    splits = [split_cases(index, fold=fold, folds=3) for fold in range(3)]
    assert sorted(len(one.test) for one in splits) == [4, 4, 50]
    assert splits[0].unknown_patients == 58
    many = index_of([f"P{row}" for row in range(50)])
    assert split_cases(many, fold=0, seed=0).test.tolist() != split_cases(many, fold=0, seed=1).test.tolist()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"folds": 1}, "data.folds is 1"),
        ({"fold": 5}, "data.fold is 5.* 0 to 4"),
        ({"fold": -1}, "data.fold is -1"),
        ({"validation_fraction": 0.0}, "data.validation_fraction is 0.0"),
        ({"validation_fraction": 1.0}, "data.validation_fraction is 1.0"),
        ({"validation_fraction": float("nan")}, "data.validation_fraction is nan"),
        ({"seed": -1}, "seed of the split is -1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        split_cases(index_of("abcdef"), **options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("spelling", ["P0", "p0"])
def test_a_patient_is_one_whatever_the_case(spelling: str) -> None:
    patients, sides = ["P0", spelling, "P1", "P2", "P3", "P4"], ["train", "test", "train", "train", "test", "train"]
    for fold in range(3):
        assert any({0, 1} <= set(rows) for rows in rows_of(split_cases(index_of(patients), fold=fold, folds=3)))
    with pytest.raises(DataError, match="P0"):
        split_cases(index_of(patients, split=sides))


def test_pictures_stay_together_in_folds_through_chains_of_patients() -> None:
    index = index_of(["a", "b", "b", "c", *"defghi"], alike={0: 1, 2: 3})
    for seed in range(5):
        for fold in range(3):
            splits = split_cases(index, fold=fold, folds=3, seed=seed)
            assert any({0, 1, 2, 3} <= set(rows) for rows in rows_of(splits))


def test_the_training_copy_of_a_test_image_is_left_out_or_refused() -> None:
    patients, sides = ["a", "a", "b", "c", "d", "e"], ["train"] * 4 + ["test"] * 2
    near, equal = index_of(patients, split=sides, alike={1: 5}), index_of(patients, split=sides, equal={1: 5})
    splits = split_cases(near)
    assert sorted([*splits.train, *splits.validation]) == [0, 2, 3]
    assert splits.test.tolist() == [4, 5]
    (note,) = splits.notes
    assert "image-1 and image-5" in note
    for index, near_copies in ((near, "refuse"), (equal, "drop")):
        with pytest.raises(DataError, match="image-1 and image-5"):
            split_cases(index, near_copies=near_copies)  # type: ignore[arg-type]  # one of the two words
        assert_disjoint(index, in_folds := split_cases(index, fold=0, folds=3))
        assert in_folds.notes == ()
