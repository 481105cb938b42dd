"""Predictions by an exported file, written as those of a model are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trustseg.beliefs import Bernoulli
from trustseg.data.decode import read_image
from trustseg.data.intensity import IntensityScale, render
from trustseg.data.pack import PackOptions
from trustseg.dicom_output import SegmentMeaning
from trustseg.evaluation.one_image import ImagePrediction, ImageSettings, prediction_of
from trustseg.evaluation.predict import write_predictions
from trustseg.evaluation.scanning import scale_of
from trustseg.export.exported import ExportedModel
from trustseg.models.foreign.conventions import Conventions, log_odds_of

__all__ = ["ExportedBelief", "predict_exported"]


def predict_exported(
    exported: ExportedModel,
    files: Sequence[Path] | Mapping[Path, str],
    folder: Path,
    *,
    scale: IntensityScale | None = None,
    dicom: SegmentMeaning | None = None,
    arrived: Sequence[float] | None = None,
    report: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Write masks, uncertainty maps and tables of images into a folder, and return the table.

    Arguments and errors are those of ``trustseg.evaluation.predict``; measure, aggregation, policy and the usual
    intensity scale are the file's own. Of differential entropy the exponential of the enlarged map is drawn, where
    ``predict`` enlarges the exponential.

    Raises:
        ModelError: if the file returns NaN.
    """
    about = exported.description
    options = PackOptions(about.size, about.channels, about.fit)
    scale = scale_of(list(files), options, scale or about.scale, note, dicom=dicom is not None)
    fitted = exported.policy, None, None, None  # an exported file holds no control, interval or noise
    settings = ImageSettings(about.measure, about.aggregation, *fitted, scale, about.fit, "cpu")
    return write_predictions(
        lambda file, name: _predict_one(exported, file, name, settings),
        files,
        folder,
        settings,
        model=exported.model,
        dicom=dicom,
        arrived=arrived,
        report=report,
        note=note,
    )


def _predict_one(exported: ExportedModel, file: Path, name: str, settings: ImageSettings) -> ImagePrediction:
    picture = read_image(file)
    pixels = render(picture, settings.scale, channels=3 if picture.coloured else 1, path=file)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    found = exported(np.ascontiguousarray(planes[None]))
    mask, probability, uncertainty = (
        torch.from_numpy(np.array(found[name][0, 0])) for name in ("mask", "probability", "uncertainty")
    )
    drawn = uncertainty.exp() if settings.measure == "differential_entropy" else uncertainty
    score = float(found["score"][0])
    return prediction_of(name, picture, mask > 0, probability, (uncertainty, drawn), score, settings, {})


class ExportedBelief:
    """An exported file as a callable from images to a belief, for audits.

    The belief is a Bernoulli of the file's probability, whatever the head of the model: a file returns no evidence.
    """

    gradients = False

    def __init__(self, exported: ExportedModel) -> None:
        self.exported = exported
        self.name = exported.name
        self.digest = exported.digest
        self.size: int = exported.description.size
        self.channels: int = exported.description.channels

    def __call__(self, images: Tensor) -> Bernoulli:
        """Return the belief about images (B, C, H, W) in [0, 1], which are rounded to 8 bits."""
        levels = (images.detach().cpu() * 255).round().clamp(0, 255).byte()
        probability = torch.from_numpy(self.exported(levels.numpy())["probability"])
        return Bernoulli(log_odds_of(probability, Conventions(output="probability")).to(images.device))
