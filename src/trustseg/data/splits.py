"""Splits into training, validation and test: whole patients, and never the same picture on two sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from trustseg.data.near_copies import left_out
from trustseg.data.patients import patient_groups
from trustseg.errors import ConfigError, DataError
from trustseg.text import first_of, plural

__all__ = ["Indices", "NearCopies", "Splits", "split_cases"]

Indices = npt.NDArray[np.int64]
NearCopies = Literal["drop", "refuse"]


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Rows of a pack by their use, ascending; controls are in none.

    Attributes:
        train: rows to learn from.
        validation: rows to choose checkpoints and thresholds by.
        test: rows to report on.
        unknown_patients: number of images among them whose patient is unknown; each counts as a patient.
        notes: sentences on images that are in none.
    """

    train: Indices
    validation: Indices
    test: Indices
    unknown_patients: int
    notes: tuple[str, ...] = ()


def split_cases(
    index: pl.DataFrame,
    *,
    fold: int | None = None,
    folds: int = 5,
    validation_fraction: float = 0.2,
    seed: int = 0,
    near_copies: NearCopies = "drop",
) -> Splits:
    """Return train, validation and test rows of which no two share a patient or a picture.

    Parts are balanced in images and in empty masks as far as whole patients allow.

    Args:
        index: index of a pack.
        fold: None takes the dataset's own train and test sides; k in [0, ``folds``) tests on the k-th part of all
            cases with a mask, whatever their side. The parts of one ``seed`` hold every such case once.
        folds: number of parts, >= 2.
        validation_fraction: share of the images that are not tested on, in (0, 1).
        seed: >= 0; equal seeds give equal splits.
        near_copies: of the dataset's own sides: ``drop`` leaves out training images that are near-copies of test
            images, and says so in ``notes``; ``refuse`` raises. In folds near-copies always stay together.

    Refused are too few patients, and of the dataset's own sides those that share patients or images of equal content.
    """
    _check_options(fold=fold, folds=folds, validation_fraction=validation_fraction, seed=seed)
    cases = index.with_row_index("row").filter(pl.col("has_mask") & (pl.col("split") != "control"))
    if cases.is_empty():
        raise DataError(
            f"none of the {len(index)} images has a reference mask; predict them (trustseg predict), or declare those "
            "that lack the target (data.controls=FOLDER, '.' for all) and evaluate --split control"
        )
    cases, notes = _without_copies(cases, near_copies) if fold is None else (cases, ())
    cases = cases.with_columns(patient_groups(cases))
    if fold is None:
        test = _official_test(cases)
    else:
        least = 2 if folds == 2 else 1  # patients of a fold: the other folds leave one to train on, one to validate on
        needed = folds * least
        if cases["group"].n_unique() < needed:
            raise _too_few(cases, f"{folds} patient-grouped folds", needed)
        test = _dealt(cases, [1 / folds] * folds, np.random.default_rng([seed, 0]), least=least) == fold
    rest = cases.filter(~test)
    if rest["group"].n_unique() < 2:
        raise _too_few(rest, "training and validation", 2)
    stream = [seed, 1] if fold is None else [seed, 2 + fold]
    validation = _dealt(rest, [1 - validation_fraction, validation_fraction], np.random.default_rng(stream)) == 1
    return Splits(
        train=_rows(rest.filter(~validation)),
        validation=_rows(rest.filter(validation)),
        test=_rows(cases.filter(test)),
        unknown_patients=int((~cases["patient_known"]).sum()),
        notes=notes,
    )


def _check_options(*, fold: int | None, folds: int, validation_fraction: float, seed: int) -> None:
    for fits, name, value, must in (
        (folds >= 2, "data.folds", folds, "at least 2; set data.folds=5, or data.fold=null for none"),
        (fold is None or 0 <= fold < folds, "data.fold", fold, f"from 0 to {folds - 1}; or raise data.folds"),
        (0 < validation_fraction < 1, "data.validation_fraction", validation_fraction, "between 0 and 1; use 0.2"),
        (seed >= 0, "the seed of the split", seed, "at least 0"),
    ):
        if not fits:
            raise ConfigError(f"{name} is {value}, but must be {must}")


def _without_copies(cases: pl.DataFrame, near_copies: NearCopies) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the cases without training images that are near-copies of test images, and a note that names them."""
    test, advice = cases["split"] == "test", "use cross-validation with data.fold=0 (to data.folds - 1)"
    for column, what in (("sha256_pixels", "equal content"), ("content_group", "near-copies")):
        shared = cases.filter(~test & cases[column].is_in(cases.filter(test)[column].unique().to_list()))
        if shared.is_empty():
            continue
        partners = dict(cases.filter(test).select(column, "name").iter_rows())
        pairs = [f"{name} and {partners[picture]}" for name, picture in shared.select("name", column).iter_rows()]
        shown = first_of(pairs)
        if column == "sha256_pixels" or near_copies == "refuse":
            raise DataError(
                f"{len(pairs)} training images are also in the test set ({what}: {shown}); remove them, or {advice}"
            )
        kept = cases.filter(~cases["row"].is_in(shared["row"].to_list()))
        return kept, (f"{left_out(len(pairs))}: {shown}",)
    return cases, ()


def _official_test(cases: pl.DataFrame) -> pl.Series:
    """Return which cases the dataset itself tests on, after checking that it can be believed."""
    test = cases["split"] == "test"
    folds = "use cross-validation with data.fold=0 (to data.folds - 1)"
    if not test.any():
        raise DataError(f"the dataset has no test set of its own; {folds}")
    if test.all():
        raise DataError(f"the dataset has a test set but no training set; {folds}")
    shared = sorted(set(cases.filter(test)["group"]) & set(cases.filter(~test)["group"]))
    if shared:
        raise DataError(f"{len(shared)} patients are in both train and test ({first_of(shared)}); {folds}")
    return test


def _dealt(cases: pl.DataFrame, shares: Sequence[float], rng: np.random.Generator, *, least: int = 1) -> pl.Series:
    """Return the part of each case: whole patients (groups) dealt to parts of the given shares.

    Patients come in random order, those that weigh most first: share of all images + share of all empty masks. Each
    goes where it adds least to the sum over parts of (share of images^2 + share of empty masks^2) / share of the part,
    whose minimum gives each part its share of both.
    Once only as many patients are left as parts need to have ``least``, those parts get them.
    """
    patients = cases.group_by("group").agg(images=pl.len(), empty=(pl.col("foreground") == 0).sum()).sort("group")
    counts = patients.select("images", "empty").to_numpy().astype(np.float64)
    counts /= np.maximum(counts.sum(axis=0), 1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    share = np.asarray(shares)[:, None]
    held = np.zeros((len(shares), 2))
    part = np.empty(len(counts), dtype=np.int64)
    missing = np.full(len(shares), least)
    for dealt, patient in enumerate(order):
        cost = (((held + counts[patient]) ** 2 - held**2) / share).sum(axis=1)
        if missing.sum() >= len(order) - dealt:
            cost[missing == 0] = np.inf
        part[patient] = int(cost.argmin())
        held[part[patient]] += counts[patient]
        missing[part[patient]] = max(missing[part[patient]] - 1, 0)
    part_of = dict(zip(patients["group"], part.tolist(), strict=True))
    return pl.Series([part_of[patient] for patient in cases["group"]], dtype=pl.Int64)


def _too_few(cases: pl.DataFrame, purpose: str, needed: int) -> DataError:
    got = cases["group"].n_unique()
    return DataError(
        f"the dataset has {plural(got, 'patient')} with masks, but {purpose} need at least {needed}; "
        "add images of other patients, or lower data.folds"
    )


def _rows(cases: pl.DataFrame) -> Indices:
    return cases["row"].to_numpy().astype(np.int64)
