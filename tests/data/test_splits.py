import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trustseg.data import Splits, split_cases
from trustseg.errors import ConfigError, DataError


def index_of(
    patients: list[str], *, split: list[str] | str = "train", empty: tuple[int, ...] = (), known: bool = True
) -> pl.DataFrame:
    count = len(patients)
    sides = [split] * count if isinstance(split, str) else split
    return pl.DataFrame(
        {
            "name": [f"image-{row}" for row in range(count)],
            "patient": patients,
            "patient_known": [known] * count,
            "split": sides,
            "has_mask": [side != "control" for side in sides],
            "foreground": [0 if row in empty else 9 for row in range(count)],
        }
    )


def patients_of(index: pl.DataFrame, rows: npt.NDArray[np.int64]) -> set[str]:
    return set(index["patient"].gather(rows))


def assert_disjoint(index: pl.DataFrame, splits: Splits) -> None:
    sides = [patients_of(index, rows) for rows in (splits.train, splits.validation, splits.test)]
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
        again = split_cases(index, fold=fold, folds=folds, seed=seed)
        assert_disjoint(index, splits)
        for rows, same in zip(
            (splits.train, splits.validation, splits.test), (again.train, again.validation, again.test), strict=True
        ):
            assert rows.tolist() == same.tolist() == sorted(rows.tolist())
        used = [*splits.train, *splits.validation, *splits.test]
        assert sorted(used) == list(range(len(patients)))
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


def test_a_patient_with_most_images_stays_whole() -> None:
    index = index_of(["big"] * 50 + list("abcdefgh"))
    tests = [split_cases(index, fold=fold, folds=3).test for fold in range(3)]
    assert sorted(map(len, tests)) == [4, 4, 50]


def test_seeds_matter_and_all_rows_are_used() -> None:
    index = index_of([f"P{row}" for row in range(50)])
    assert split_cases(index, fold=0, seed=0).test.tolist() != split_cases(index, fold=0, seed=1).test.tolist()


def test_the_official_split_keeps_its_test_side() -> None:
    sides = ["train"] * 20 + ["test"] * 6 + ["control"] * 4
    index = index_of([f"P{row // 2}" for row in range(30)], split=sides)
    splits = split_cases(index)
    assert splits.test.tolist() == list(range(20, 26))
    assert len(splits.validation) == 4
    assert sorted([*splits.train, *splits.validation]) == list(range(20))
    assert_disjoint(index, splits)
    assert splits.unknown_patients == 0


def test_unknown_patients_are_counted() -> None:
    assert split_cases(index_of(list("abcdef"), known=False), fold=0, folds=3).unknown_patients == 6


def test_the_official_split_is_not_believed_when_it_shares_patients() -> None:
    index = index_of(["a", "b", "c", "b", "d"], split=["train"] * 3 + ["test"] * 2)
    with pytest.raises(DataError, match=r"1 patients stand in train and in test \(b\), expected none; .* data.fold=0"):
        split_cases(index)
    assert_disjoint(index, split_cases(index, fold=0, folds=3))


def test_no_test_side_suggests_folds() -> None:
    with pytest.raises(DataError, match=r"no test cases of its own, expected a test side; .* data\.fold=0"):
        split_cases(index_of(list("abc")))
    with pytest.raises(DataError, match=r"test cases only, expected a training side as well; .* data\.fold=0"):
        split_cases(index_of(list("abc"), split="test"))
    with pytest.raises(DataError, match="no test cases of its own"):
        split_cases(index_of(list("abc"), split="control"))


def test_too_few_patients() -> None:
    one = index_of(["a"])
    with pytest.raises(
        DataError, match=r"has 1 patients \(1 images with masks\) for 5 patient-grouped folds, expected at"
    ):
        split_cases(one, fold=0)
    with pytest.raises(DataError, match="expected at least 4"):
        split_cases(index_of(list("abc")), fold=0, folds=2)
    with pytest.raises(DataError, match=r"1 patients .* for training and validation, expected at least 2"):
        split_cases(index_of(["a", "a", "b"], split=["train", "train", "test"]))
    assert_disjoint(index_of(list("abcd")), split_cases(index_of(list("abcd")), fold=1, folds=2))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"folds": 1}, "data.folds is 1"),
        ({"fold": 5}, "data.fold is 5, expected 0 to 4"),
        ({"fold": -1}, "data.fold is -1"),
        ({"validation_fraction": 0.0}, "data.validation_fraction is 0.0"),
        ({"validation_fraction": 1.0}, "data.validation_fraction is 1.0"),
        ({"validation_fraction": float("nan")}, "data.validation_fraction is nan"),
        ({"seed": -1}, "seed of the split is -1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        split_cases(index_of(list("abcdef")), **options)  # type: ignore[arg-type]  # wrong on purpose
