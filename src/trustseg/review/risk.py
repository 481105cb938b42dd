"""The effect of a threshold: coverage, risk and failures of kept images, measured on validation images once."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from trustseg.deferral.bounds import clopper_pearson
from trustseg.deferral.certified import CertifiedPolicy
from trustseg.deferral.policy import check_records, scores_of
from trustseg.errors import ConfigError, DataError, MissingFileError
from trustseg.records import model_of, read_records, score_column
from trustseg.review.cases import CaseFolder
from trustseg.review.outcome import tau_of
from trustseg.statistics import Interval, bootstrap_ratio

__all__ = ["RiskPoint", "RiskTable", "Similar", "read_risk", "risk_table"]

Floats = NDArray[np.float64]

_POINTS: Final = 60  # thresholds in the table, at equal steps of coverage
_SIMILAR: Final = 10  # images with a similar score, at least: of fewer no share is told
_PLACES: Final = (
    "validation.parquet",
    "evaluation-test/validation.parquet",
    "evaluation-test-calibrated/validation.parquet",
    "evaluation-validation/records.parquet",
    "evaluation-validation-calibrated/records.parquet",
    "records.parquet",
)


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What keeping the images up to a threshold means.

    Attributes:
        threshold: the largest score that is kept.
        coverage: share of the validation images that are kept.
        risk: mean 1 - Dice of the kept images that define it, with its 95 % interval over patients.
        failures: share of the kept images with a Dice below tau, likewise.
    """

    threshold: float
    coverage: float
    risk: Interval
    failures: Interval


@dataclass(frozen=True, slots=True)
class Similar:
    """How many of the validation images with a similar score failed.

    Attributes:
        failed: of them.
        images: in all, at least ten.
    """

    failed: int
    images: int

    @property
    def chance(self) -> float:
        """The share that failed."""
        return self.failed / self.images

    @property
    def ends(self) -> tuple[float, float]:
        """The exact 95 % interval (Clopper-Pearson) of the chance of failure, as if images were independent."""
        low, high = (
            float(clopper_pearson(k, self.images, delta=0.025)) for k in (self.images - self.failed, self.failed)
        )
        return 1 - low, high


@dataclass(frozen=True, slots=True)
class RiskTable:
    """The threshold's consequences, and how likely an image of each score is a failure.

    Attributes:
        tau: a segmentation with a Dice below it has failed.
        images: validation images.
        patients: their patients.
        points: rising in threshold.
        groups: the images cut by their scores, the share that failed rising; none with too few images.
        tops: the largest score of each group.
    """

    tau: float
    images: int
    patients: int
    points: tuple[RiskPoint, ...]
    groups: tuple[Similar, ...]
    tops: tuple[float, ...]

    def similar(self, score: float) -> Similar | None:
        """Return the images whose scores are nearest to a score; None without a score or with too few images."""
        if not self.groups or math.isnan(score):
            return None
        return self.groups[min(int(np.searchsorted(self.tops, score)), len(self.groups) - 1)]

    def chance(self, scores: ArrayLike) -> Floats:
        """Return the share of images with similar scores (N,) that failed; NaN where there is none."""
        found = (self.similar(float(score)) for score in np.asarray(scores, np.float64))
        return np.array([math.nan if each is None else each.chance for each in found])


def read_risk(path: Path, folder: CaseFolder, *, draws: int = 1000) -> RiskTable:
    """Return the table for the score of a folder's cases, from the validation records of the model that made them.

    Args:
        path: a run, one of its evaluations, or a table of records.
        folder: the cases.
        draws: bootstrap draws over patients.

    Raises:
        MissingFileError: if there are no records of validation images.
        ConfigError: if the policy is certified.
        DataError: if they are of another model, of images that a threshold must not be chosen on, or lack the score.
    """
    if isinstance(folder.policy, CertifiedPolicy):
        raise ConfigError(
            "the scores are of noisy draws, as the policy is certified, and validation records are of images without "
            "noise; leave --records out"
        )
    file = _records_of(path, folder.model)
    column = score_column(folder.measure, folder.aggregation)
    table = read_records(file)
    check_records(table, column)
    splits = set(table.get_column("split", default=pl.Series([], dtype=pl.String)).drop_nulls().to_list())
    if wrong := sorted(splits & {"test", "train"}):
        raise DataError(f"'{file}' holds images of the {wrong[0]} split; a threshold is chosen on validation images")
    return risk_table(table, column, tau=tau_of(folder), draws=draws)


def risk_table(records: pl.DataFrame, column: str, *, tau: float, draws: int = 1000) -> RiskTable:
    """Return the table of a score from records of one model, of which the clean images are used.

    Reference:
        Groups of at least ten images are pooled until their shares of failures rise (isotonic regression): Zadrozny and
        Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002, section 3.2.
    """
    clean = records.filter(pl.col("condition") == "clean", pl.col(column).is_not_null(), pl.col(column).is_not_nan())
    if not len(clean):
        raise DataError("the records hold no clean image with a score; evaluate again")
    scores = scores_of(clean, column)
    dice = clean["dice"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    patients = clean["patient"].cast(pl.String).to_numpy()
    failed = (dice < tau).astype(np.float64)
    groups, tops = _groups(scores, failed)
    points = [
        _point(float(threshold), scores, dice, failed, patients, draws)
        for threshold in np.unique(np.quantile(scores, np.linspace(0, 1, _POINTS), method="inverted_cdf"))
    ]
    return RiskTable(
        tau=tau,
        images=len(clean),
        patients=len(set(patients)),
        points=tuple(points),
        groups=groups,
        tops=tops,
    )


def _groups(scores: Floats, failed: Floats) -> tuple[tuple[Similar, ...], tuple[float, ...]]:
    """Return groups of neighbouring scores with rising shares of failures, and the largest score of each."""
    knots, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    parts: list[tuple[float, int, int]] = []  # largest score, failures, images
    for top, failures, images in zip(knots, np.bincount(place, failed), counts, strict=True):
        parts.append((float(top), int(failures), int(images)))
        if len(parts) > 1 and parts[-2][2] < _SIMILAR:
            _unite(parts)
    if len(parts) > 1 and parts[-1][2] < _SIMILAR:
        _unite(parts)
    pooled: list[tuple[float, int, int]] = []
    for part in parts if parts[0][2] >= _SIMILAR else []:
        pooled.append(part)
        while len(pooled) > 1 and pooled[-2][1] * pooled[-1][2] >= pooled[-1][1] * pooled[-2][2]:
            _unite(pooled)
    return tuple(Similar(failures, images) for _, failures, images in pooled), tuple(top for top, _, _ in pooled)


def _unite(parts: list[tuple[float, int, int]]) -> None:
    """Make one of the last two groups."""
    (_, failures, images), (top, more, others) = parts.pop(-2), parts.pop()
    parts.append((top, failures + more, images + others))


def _point(
    threshold: float, scores: Floats, dice: Floats, failed: Floats, patients: NDArray[np.object_], draws: int
) -> RiskPoint:
    kept = (scores <= threshold).astype(np.float64)
    defined = kept * ~np.isnan(dice)
    return RiskPoint(
        threshold,
        float(kept.mean()),
        bootstrap_ratio(defined * np.nan_to_num(1 - dice), defined, patients, draws=draws),
        bootstrap_ratio(kept * failed, kept, patients, draws=draws),
    )


def _records_of(path: Path, model: str) -> Path:
    """Return the validation records of a model, at a path or below it."""
    if path.is_file():
        return path
    files = [path / place for place in _PLACES if (path / place).is_file()]
    if not files:
        raise MissingFileError(f"no records of validation images in '{path}'; give the run that 'evaluate' was run on")
    models = {file: model_of(file) for file in files}
    if fitting := [file for file in files if models[file] == model]:
        return fitting[0]
    others = ", ".join(sorted({each or "unknown" for each in models.values()}))
    raise DataError(f"the records in '{path}' are of model {others}, the predictions of model {model}")
