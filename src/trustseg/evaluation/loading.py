"""The model that a folder holds: with its calibration, sampled through dropout, or as the first of an ensemble."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from trustseg.beliefs import Mixture
from trustseg.calibration import CALIBRATION_FILE, Calibrated, Calibration
from trustseg.config import MeasureConfig
from trustseg.errors import ConfigError
from trustseg.models import BeliefModel, DeepEnsemble, MCDropout, Segmenter
from trustseg.uncertainty import MEASURES

__all__ = ["hash_of_model", "load_model", "measure_of", "suffix_of"]


def load_model(
    folder: Path,
    *,
    ensemble: Sequence[Path] = (),
    samples: int | None = None,
    dropout: float | None = None,
    uncalibrated: bool = False,
) -> BeliefModel:
    """Return the model that was saved in a folder, calibrated where ``calibration.json`` lies next to its weights.

    Args:
        folder: written by ``Segmenter.save``.
        ensemble: folders of the other members of a deep ensemble; each brings its own calibration.
        samples: thinned networks of MC dropout, >= 1; ``None`` drops nothing.
        dropout: rate of a dropout layer that is placed for it, in (0, 1); ``None`` samples the layers that are there.
        uncalibrated: whether calibrations are left aside.

    Raises:
        MissingFileError: if a folder holds no model.
        ModelError: if a file is damaged, the members do not fit each other, or there is no dropout layer to sample.
        ConfigError: if the options exclude each other.
    """
    if samples is None and dropout is not None:
        raise ConfigError(f"--dropout {dropout:g} needs --mc-dropout; add it")
    if samples is None:
        members = [_member(path, uncalibrated=uncalibrated) for path in (folder, *ensemble)]
        return DeepEnsemble(members) if ensemble else members[0]
    if ensemble:
        raise ConfigError("--mc-dropout and --ensemble cannot be combined; use one of them")
    if not uncalibrated and (folder / CALIBRATION_FILE).exists():
        raise ConfigError(f"the calibration in '{folder}' was not fitted for MC dropout; add --uncalibrated")
    return MCDropout(Segmenter.load(folder), samples=samples, rate=dropout)


def _member(folder: Path, *, uncalibrated: bool) -> BeliefModel:
    segmenter = Segmenter.load(folder)
    if uncalibrated or not (folder / CALIBRATION_FILE).exists():
        return segmenter
    return Calibrated(segmenter, Calibration.load(folder)).eval()


def hash_of_model(model: BeliefModel) -> str:
    """Return a short hash of a model's weights and calibration, to tell whose scores these are."""
    return hashlib.sha256(model.weights()).hexdigest()[:16]


def measure_of(model: BeliefModel, measure: MeasureConfig) -> str:
    """Return the measure that scores the images of a model: that of its head, if a model of its kind has it.

    A mixture of Betas has no vacuity, say; the measure for a bernoulli head, which every belief has, takes its place.

    Args:
        model: a segmenter, a calibrated one, or a mixture.
        measure: the measures asked for, by head.
    """
    lacks = isinstance(model, MCDropout | DeepEnsemble) and Mixture not in MEASURES[measure.beta].facts.given_by
    return measure.bernoulli if model.spec.head == "bernoulli" or lacks else measure.beta


def suffix_of(model: BeliefModel) -> str:
    """Return what tells a model from the plain segmenter of the same folder, for names of folders and variants.

    Example:
        >>> from trustseg.models import build_segmenter
        >>> suffix_of(MCDropout(build_segmenter(encoder="resnet18"), samples=5, rate=0.2))
        '-mc5-dropout0.2'
    """
    if isinstance(model, MCDropout):
        return f"-mc{model.samples}" + (f"-dropout{model.spec.dropout:g}" if model.spec.dropout else "")
    calibrated = "-calibrated" if any(isinstance(module, Calibrated) for module in model.modules()) else ""
    return (f"-ensemble{model.passes}" if isinstance(model, DeepEnsemble) else "") + calibrated
