"""Conformal intervals for the area of the foreground: between the masks of a higher and of a lower threshold.

Reference:
    Cheung et al., "COMPASS: Robust Feature Conformal Prediction for Medical Segmentation Metrics", arXiv:2509.22240.
    Deviations: thresholds of the output are moved, not features, and the unit is a patient.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from trustseg.deferral.bounds import SLACK, require_share, smallest_calibration
from trustseg.deferral.conformal import checked_maps
from trustseg.errors import DataError, first_problem
from trustseg.files import read_json, write_json

__all__ = ["AreaInterval", "apply_area_interval", "fit_area_interval", "load_area_interval", "save_area_interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaInterval:
    """An interval for the area of the foreground, from the area of {1 - p < threshold} to that of {p >= threshold}.

    Attributes:
        threshold: in [0, 1/2]; at 0 every area is possible, at 1/2 nearly only that of {p > 1/2}.
        at_most: bound on the chance that the area of any image of a new patient lies outside.
        patients: calibration patients.
        images: their images.
        model: hash of the model.
    """

    threshold: Annotated[float, Field(strict=True, ge=0, le=0.5)]
    at_most: Annotated[float, Field(strict=True, gt=0, lt=1)]
    patients: Annotated[int, Field(ge=1)]
    images: Annotated[int, Field(ge=1)]
    model: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def limits(self, probability: ArrayLike) -> tuple[int, int]:
        """Return the smallest and the largest area of one image, in pixels of its probability map."""
        p = np.asarray(probability, np.float64)
        return int((1 - p < self.threshold).sum()), int((p >= self.threshold).sum())

    @property
    def statement(self) -> str:
        """The guarantee, in a sentence."""
        return (
            "The areas with foreground of all images of a new patient lie between those of probability > "
            f"{1 - self.threshold:.6g} and >= {self.threshold:.6g}, with a probability of at least "
            f"{1 - self.at_most:.3g} (over new patients and calibration sets; {self.patients} calibration patients)."
        )


def save_area_interval(interval: AreaInterval, path: Path) -> None:
    """Write an interval as JSON, whole or not at all."""
    write_json(path, asdict(interval))


def load_area_interval(path: Path) -> AreaInterval:
    """Return the interval in a JSON file; a DataError if it holds none."""
    try:
        return TypeAdapter(AreaInterval).validate_python(read_json(path))
    except ValidationError as error:
        key, problem = first_problem(error)
        raise DataError(
            f"'{path}' holds no interval of areas ({key}: {problem}); write it with 'trustseg defer area'"
        ) from error


def fit_area_interval(
    probabilities: Sequence[ArrayLike],
    masks: Sequence[ArrayLike],
    patients: Sequence[object],
    *,
    at_most: float = 0.1,
    model: str = "",
) -> AreaInterval:
    """Return the narrowest interval that holds the areas of all but a share of new patients.

    The score of an image is the largest threshold whose interval holds its area, that of a patient the smallest of its
    images; the threshold leaves floor((n + 1) at_most) - 1 of n patients below it (split conformal prediction).

    Args:
        probabilities: foreground probability of each image, any shape, in [0, 1].
        masks: reference mask of each image, same shape, in {0, 1}, NaN where ignored; such pixels do not count, and an
            image of nothing else is left out.
        patients: patient of each image.
        at_most: the bound, in (0, 1); a DataError if there are fewer than 1 / at_most - 1 patients.
        model: hash of the model.

    Example:
        >>> fit_area_interval([[0.2, 0.6, 0.9]] * 4, [[0, 0, 1]] * 4, "abcd", at_most=0.2).threshold
        0.4
    """
    require_share("at_most", at_most)
    maps, inside, _ = checked_maps(probabilities, masks, patients)
    scores: dict[str, float] = {}
    for name, p, region in zip(map(str, patients), maps, inside, strict=True):
        if len(known := p[~np.isnan(p)]):
            scores[name] = min(scores.get(name, 0.5), _largest_threshold(known, int(region.sum())))
    if len(scores) < (needed := smallest_calibration(at_most)):
        raise DataError(
            f"calibration patients: {len(scores)}, at least {needed} are needed for a bound of {at_most:.3g}; add "
            f"patients or allow more than {1 / (len(scores) + 1):.3g}"
        )
    outside = math.floor((len(scores) + 1) * at_most + SLACK) - 1  # patients of calibration that may lie outside
    threshold = sorted(scores.values())[outside]
    return AreaInterval(threshold=threshold, at_most=at_most, patients=len(scores), images=len(maps), model=model)


def apply_area_interval(
    interval: AreaInterval, probabilities: Sequence[ArrayLike], masks: Sequence[ArrayLike], patients: Sequence[object]
) -> pl.DataFrame:
    """Return the interval of each image beside its reference; arguments as ``fit_area_interval``.

    Columns: ``patient``, ``pixels``, ``mask_px``, ``predicted_px`` (p > 1/2), ``low_px``, ``high_px`` and ``inside``.
    """
    rows = []
    for name, p, region, pixels in zip(patients, *checked_maps(probabilities, masks, patients), strict=True):
        (low, high), area = interval.limits(p), int(region.sum())  # NaN is in no mask
        found = {"low_px": low, "high_px": high, "inside": low <= area <= high}
        rows.append(
            {"patient": str(name), "pixels": pixels, "mask_px": area, "predicted_px": int((p > 0.5).sum()), **found}
        )
    kinds = dict.fromkeys(("pixels", "mask_px", "predicted_px", "low_px", "high_px"), pl.Int64)
    return pl.DataFrame(rows, schema={"patient": pl.String, **kinds, "inside": pl.Boolean})


def _largest_threshold(p: NDArray[np.floating], area: int) -> float:
    """Return the largest threshold whose interval holds an area, in [0, 1/2]."""
    falling = np.sort(p, axis=None)[::-1].astype(np.float64)
    above = 1 - falling[area] if area < len(falling) else 0.5  # so that no more than ``area`` values exceed it
    below = falling[area - 1] if area else 0.5
    return float(min(above, below, 0.5))
