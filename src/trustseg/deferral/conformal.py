"""Conformal risk control of masks: a threshold at which they miss little of the foreground.

The threshold is one of p, or one of ``expected_share``, which makes it another threshold of p for each image. The bound
holds for any map that is thresholded; the second one comes nearer to it in each image.

Reference:
    Angelopoulos et al., "Conformal Risk Control", ICLR 2024, arXiv:2208.02814: equation 4 and section 4.1.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter, ValidationError

from trustseg.deferral.bounds import SLACK, require_share, smallest_calibration
from trustseg.errors import DataError, ShapeError
from trustseg.files import read_json, write_json

__all__ = [
    "FalseNegativeControl",
    "apply_false_negative_control",
    "checked_maps",
    "expected_share",
    "fit_false_negative_control",
    "load_control",
    "save_control",
]

TEMPERATURE: Final = 1.5  # of expected_share; chosen on validation images of docs/results/adaptive_masks


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseNegativeControl:
    """A probability threshold for masks that miss, on average, at most a share of the foreground.

    Attributes:
        threshold: the predicted set is {p >= threshold}, or {expected_share(p) >= threshold}.
        at_most: bound on the expected false-negative rate of a new patient with foreground.
        patients: calibration patients with foreground.
        images: their images with foreground.
        price: predicted area over reference area on these images, >= 0.
        model: hash of the model.
        adaptive: whether the threshold is one of ``expected_share``.
    """

    threshold: float
    at_most: float
    patients: int
    images: int
    price: float
    model: str = ""
    adaptive: bool = False

    @property
    def rule(self) -> str:
        """What makes a pixel foreground, in words."""
        return f"{'expected share' if self.adaptive else 'probability'} >= {self.threshold:.6g}"

    def mask(self, probability: ArrayLike) -> NDArray[np.bool_]:
        """Return the mask of one image, of the shape of its probabilities."""
        found = np.asarray(probability)
        return np.asarray((expected_share(found) if self.adaptive else found) >= self.threshold)

    @property
    def statement(self) -> str:
        """The guarantee, in a sentence."""
        return (
            f"A mask of {self.rule} is expected to miss at most {self.at_most:.3g} of a new patient's "
            f"foreground (mean over patients, {self.patients} for calibration)."
        )


def save_control(control: FalseNegativeControl, path: Path) -> None:
    """Write a control as JSON, whole or not at all."""
    write_json(path, asdict(control))


def load_control(path: Path) -> FalseNegativeControl:
    """Return the control in a JSON file; a DataError if it holds none."""
    content = read_json(path)
    try:
        control = TypeAdapter(FalseNegativeControl).validate_python(content)
    except ValidationError as error:
        raise DataError(f"'{path}' is not a false-negative control; write it with 'trustseg defer masks'") from error
    if not (0 <= control.threshold <= 1 and 0 < control.at_most < 1):
        raise DataError(
            f"'{path}' has threshold {control.threshold:g} and at_most {control.at_most:g}, expected numbers in [0, 1]"
        )
    return control


def expected_share(probability: ArrayLike, *, temperature: float = TEMPERATURE) -> NDArray[np.float64]:
    """Return for each pixel of one image the share of its expected foreground that lies at lower p, in [0, 1).

    With w = sigmoid(logit(p) / temperature): sum of w where p is lower / sum of w, of the shape of p and rising
    with p; 0 where p is 0 everywhere. If w were the chance of foreground, {share >= t} would miss about a share t of
    it in every image.

    Example:
        >>> expected_share([0.0, 0.1, 0.5, 0.5]).round(2).tolist()
        [0.0, 0.0, 0.16, 0.16]
    """
    p = np.asarray(probability)
    values, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    odds, against = (each.astype(np.float64) ** (1 / temperature) for each in (values, 1 - values))
    upto = np.cumsum(counts * odds / (odds + against))
    lower = np.r_[0.0, upto[:-1]] / (upto[-1] or 1.0)
    return np.asarray(lower[inverse].reshape(p.shape), np.float64)


def fit_false_negative_control(
    probabilities: Sequence[ArrayLike],
    masks: Sequence[ArrayLike],
    patients: Sequence[object],
    *,
    at_most: float = 0.1,
    model: str = "",
    adaptive: bool = False,
) -> FalseNegativeControl:
    """Return the largest threshold t for which {p >= t} misses at most a share of a new patient's foreground.

    The loss of an image is the share of its mask where p < t, that of a patient the mean over its images with
    foreground. The expected loss, over calibration and test together, is bounded; not that of each patient, not that
    of a subgroup, and nothing under attack or shift. Exact over all values that p takes; the masks' pixels are sorted.

    Args:
        probabilities: foreground probability of each image, any shape, in [0, 1].
        masks: reference mask of each image, same shape, in {0, 1}, NaN where ignored; empty ones are left out.
        patients: patient of each image.
        at_most: the bound a, in (0, 1); a DataError if fewer than 1 / a - 1 patients have foreground.
        adaptive: whether ``expected_share`` takes the place of p.

    Example:
        >>> control = fit_false_negative_control([[0.2, 0.6, 0.9]] * 4, [[0, 1, 1]] * 4, "abcd", at_most=0.2)
        >>> control.threshold, control.price
        (0.6, 1.0)
    """
    require_share("at_most", at_most)
    maps, inside, _ = checked_maps(probabilities, masks, patients, adaptive=adaptive)
    rows = [row for row, region in enumerate(inside) if region.any()]
    names, owner = np.unique([str(patients[row]) for row in rows], return_inverse=True)
    needed = smallest_calibration(at_most)
    if len(names) < needed:
        raise DataError(
            f"{len(names)} calibration patients have foreground, at least {needed} are needed for a bound of "
            f"{at_most:.3g}; add patients or allow more than {1 / (len(names) + 1):.3g}"
        )
    found = [maps[row][inside[row]] for row in rows]
    images_of = np.bincount(owner)[owner]
    weights = np.concatenate([np.full(len(p), 1 / (len(p) * count)) for p, count in zip(found, images_of, strict=True)])
    values = np.concatenate(found)
    order = np.argsort(values, kind="stable")
    missed = weights[order].cumsum()  # summed loss of the patients if the threshold lies above the value
    over = missed + 1 > at_most * (len(names) + 1) + SLACK
    threshold = float(values[order][over.argmax()])
    covered = sum(int((maps[row] >= threshold).sum()) for row in rows)  # of NaN none
    return FalseNegativeControl(
        threshold=threshold,
        at_most=at_most,
        patients=len(names),
        images=len(rows),
        price=covered / len(values),
        model=model,
        adaptive=adaptive,
    )


def apply_false_negative_control(
    control: FalseNegativeControl,
    probabilities: Sequence[ArrayLike],
    masks: Sequence[ArrayLike],
    patients: Sequence[object],
) -> pl.DataFrame:
    """Return the misses and the area of {p >= threshold} for each image; arguments as ``fit_false_negative_control``.

    Columns: ``patient``, ``pixels``, ``mask_px``, ``set_px`` and ``false_negative_rate``, NaN where the mask is empty.
    The price is the sum of ``set_px`` over that of ``mask_px``.
    """
    rows = []
    checked = checked_maps(probabilities, masks, patients, adaptive=control.adaptive)
    for name, probability, region, pixels in zip(patients, *checked, strict=True):
        predicted, area = probability >= control.threshold, int(region.sum())
        rows.append(
            {
                "patient": str(name),
                "pixels": pixels,
                "mask_px": area,
                "set_px": int(predicted.sum()),
                "false_negative_rate": int((region & ~predicted).sum()) / area if area else math.nan,
            }
        )
    kinds = {"patient": pl.String, "pixels": pl.Int64, "mask_px": pl.Int64, "set_px": pl.Int64}
    return pl.DataFrame(rows, schema={**kinds, "false_negative_rate": pl.Float64})


def checked_maps(
    probabilities: Sequence[ArrayLike],
    masks: Sequence[ArrayLike],
    patients: Sequence[object],
    *,
    adaptive: bool = False,
) -> tuple[list[NDArray[np.floating]], list[NDArray[np.bool_]], list[int]]:
    """Return what is thresholded (NaN where ignored), foreground and number of pixels of each image, or raise."""
    if not len(probabilities) == len(masks) == len(patients):
        raise ShapeError(
            f"got {len(probabilities)} probability maps, {len(masks)} masks and {len(patients)} patients; give one of "
            "each for every image"
        )
    if any(name is None or name == "" for name in patients):
        raise DataError("an image has no patient; give each image the name of its patient")
    maps = [np.asarray(probability) for probability in probabilities]
    references = [np.asarray(mask) for mask in masks]
    for row, (probability, region) in enumerate(zip(maps, references, strict=True)):
        if probability.shape != region.shape:
            raise ShapeError(
                f"image {row} has probabilities {probability.shape} and a mask {region.shape}; resize the prediction"
            )
        if not bool(((probability >= 0) & (probability <= 1)).all()):
            raise ShapeError(
                f"probabilities of image {row} hold NaN or values outside [0, 1]; pass belief.probability, not logits"
            )
        if not (np.isin(region, (0, 1)) | ~_counted(region)).all():
            raise ShapeError(
                f"the mask of image {row} holds values other than 0 and 1; threshold it first, as in mask > 0.5"
            )
    if adaptive:  # before pixels are left out, as none are of a new image
        maps = [expected_share(probability) for probability in maps]
    counted = [_counted(region) for region in references]
    thresholded = [np.where(counts, probability, np.nan) for probability, counts in zip(maps, counted, strict=True)]
    return thresholded, [region > 0.5 for region in references], [int(counts.sum()) for counts in counted]


def _counted(mask: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.asarray(mask == mask)  # NaN alone differs from itself
