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
from trustseg.deferral.policy import check_records
from trustseg.errors import ConfigError, DataError, MissingFileError
from trustseg.records import model_of, read_records, score_column
from trustseg.review.cases import CaseFolder
from trustseg.review.outcome import tau_of
from trustseg.statistics import Interval, bootstrap_ratio
from trustseg.tables import floats_of

__all__ = ["RiskTable", "Similar", "read_risk", "risk_table"]

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
    """What keeping the validation images with scores up to a threshold means, with 95 % intervals over patients."""

    threshold: float
    coverage: float  # share of the images that are kept
    risk: Interval  # mean 1 - Dice of the kept images that define it
    failures: Interval  # share of the kept images with a Dice below tau


@dataclass(frozen=True, slots=True)
class Similar:
    """How many of the validation images with a similar score failed, of at least ten."""

    failed: int
    images: int

    @property
    def chance(self) -> float:
        """The share that failed."""
        return self.failed / self.images

    @property
    def ends(self) -> tuple[float, float]:
        """The exact 95 % interval (Clopper-Pearson) of the chance of failure, as if images were independent."""
        low = clopper_pearson(self.images - self.failed, self.images, delta=0.025)
        return float(1 - low), float(clopper_pearson(self.failed, self.images, delta=0.025))


@dataclass(frozen=True, slots=True)
class RiskTable:
    """The threshold's consequences, and how likely an image of each score is a failure: its Dice is below ``tau``."""

    tau: float
    images: int  # of validation
    patients: int
    points: tuple[RiskPoint, ...]  # rising in threshold
    groups: tuple[Similar, ...]  # images cut by their scores, the share that failed rising; none of too few images
    tops: tuple[float, ...]  # the largest score of each group

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

    ``path`` is a run, one of its evaluations, or a table of records.

    Raises:
        MissingFileError: if there are no records of validation images.
        ConfigError: if the policy is certified.
        DataError: if they are of another model, of images that a threshold must not be chosen on, or lack the score.
    """
    if isinstance(folder.policy, CertifiedPolicy):
        raise ConfigError("the policy is certified, so its scores are not those of records; leave --records out")
    file = _records_of(path, folder.model)
    column = score_column(folder.measure, folder.aggregation)
    table = read_records(file)
    check_records(table, column)
    splits = table["split"].drop_nulls().to_list() if "split" in table.columns else []
    if wrong := sorted({"test", "train"}.intersection(splits)):
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
    scores = floats_of(clean, column)
    dice = floats_of(clean, "dice")
    patients = clean["patient"].cast(pl.String).to_numpy()
    failed = (dice < tau).astype(np.float64)
    points = []
    for threshold in np.unique(np.quantile(scores, np.linspace(0, 1, _POINTS), method="inverted_cdf")):
        kept = (scores <= threshold).astype(np.float64)
        defined = kept * ~np.isnan(dice)
        risk = bootstrap_ratio(defined * np.nan_to_num(1 - dice), defined, patients, draws=draws)
        failures = bootstrap_ratio(kept * failed, kept, patients, draws=draws)
        points.append(RiskPoint(float(threshold), float(kept.mean()), risk, failures))
    groups, tops = _groups(scores, failed)
    return RiskTable(tau, len(clean), len(set(patients)), tuple(points), groups, tops)


def _groups(scores: Floats, failed: Floats) -> tuple[tuple[Similar, ...], tuple[float, ...]]:
    """Return groups of neighbouring scores with rising shares of failures, and the largest score of each."""
    knots, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    parts: list[tuple[float, int, int]] = []  # largest score, failures, images
    for top, failures, images in zip(knots, np.bincount(place, failed), counts, strict=True):
        parts.append((float(top), int(failures), int(images)))
        if len(parts) > 1 and parts[-2][2] < _SIMILAR:
            _unite_last_two(parts)
    if len(parts) > 1 and parts[-1][2] < _SIMILAR:
        _unite_last_two(parts)
    pooled: list[tuple[float, int, int]] = []
    for part in parts if parts[0][2] >= _SIMILAR else []:
        pooled.append(part)
        while len(pooled) > 1 and pooled[-2][1] * pooled[-1][2] >= pooled[-1][1] * pooled[-2][2]:
            _unite_last_two(pooled)
    return tuple(Similar(failures, images) for _, failures, images in pooled), tuple(top for top, _, _ in pooled)


def _unite_last_two(parts: list[tuple[float, int, int]]) -> None:
    (_, failures, images), (top, more, others) = parts.pop(-2), parts.pop()
    parts.append((top, failures + more, images + others))


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
