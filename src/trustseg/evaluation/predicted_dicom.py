"""The predictions of DICOM images as DICOM objects."""

from pathlib import Path
from typing import Final

import numpy as np

from trustseg import __version__
from trustseg.data.intensity import render
from trustseg.dicom_output import OBJECTS, ImageResult, SegmentMeaning, read_source, write_objects
from trustseg.errors import DataError
from trustseg.evaluation.one_image import ImagePrediction, ImageSettings
from trustseg.text import unicode_text
from trustseg.uncertainty import MEASURES

__all__ = ["FOLDER", "remove_objects", "write_prediction"]

FOLDER: Final = "dicom"
"""Name of the folder that the objects are written into."""


def write_prediction(
    found: ImagePrediction,
    file: Path,
    stem: str,
    folder: Path,
    settings: ImageSettings,
    *,
    model: str,
    meaning: SegmentMeaning,
) -> None:
    """Write the objects of the prediction of a DICOM image into ``folder/dicom``, named ``stem.KIND.dcm``.

    Raises:
        DataError: if the objects cannot be made of the image's header, or the score is not finite.
    """
    measure, policy, control = settings.measure, settings.policy, settings.control
    if not np.isfinite(found.score):
        raise DataError(f"{file}: the image score is {found.score}, which DICOM cannot hold; give --no-dicom")
    uncertainty = found.uncertainty.numpy().astype(np.float32)
    low = min(float(uncertainty.min()), 0.0)
    high = max(float(uncertainty.max()), 0.0 if low < 0 else MEASURES[measure].facts.upper_bound)
    rule = "probability > 0.5" if control is None else control.rule
    result = ImageResult(
        mask=found.mask.numpy(),
        uncertainty=uncertainty,
        bounds=(low if low < high else low - 1.0, high),
        shown=render(found.picture, settings.scale, channels=1, path=file),
        score=found.score,
        measure=measure,
        aggregation=settings.aggregation,
        review=None if policy is None else bool(policy.review(found.score)),
        policy=_policy_lines(found, settings),
        mask_rule=rule,
        model=model,
        version=__version__,
    )
    write_objects(read_source(file), result, meaning, folder / FOLDER, stem)


def _policy_lines(found: ImagePrediction, settings: ImageSettings) -> tuple[str, ...]:
    """Return what decided whether the image is reviewed; of a certified policy also on which noisy draw of it."""
    policy = settings.policy
    if policy is None:
        return ()
    draw = found.row.get("noise_seed")
    noise = () if draw is None else (f"decided on the image with noise {found.row['noise']}, seed {draw}",)
    lines = (f"review if the score is above {policy.threshold:.6g}", policy.statement, *noise)
    return tuple(line.encode("ascii", "backslashreplace").decode() for line in lines)  # whatever letters the source has


def remove_objects(folder: Path, stems: set[str]) -> None:
    """Remove the objects of former predictions of images with these stems, nothing else."""
    for file in (folder / FOLDER).glob("*.dcm"):
        stem, _, kind = file.stem.rpartition(".")
        if kind in OBJECTS and unicode_text(stem) in stems:
            file.unlink()
