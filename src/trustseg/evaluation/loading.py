"""The model that is measured: any callable, or what a folder holds, calibrated, sampled or in an ensemble."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from trustseg.beliefs import Belief, Mixture, check_belief
from trustseg.calibration import CALIBRATION_FILE, Calibrated, Calibration
from trustseg.config import MeasureConfig
from trustseg.errors import ConfigError
from trustseg.models import BeliefModel, DeepEnsemble, MCDropout, Segmenter
from trustseg.models.spec import SegmenterSpec
from trustseg.uncertainty import MEASURES

__all__ = ["SizedModel", "as_belief_model", "hash_of_model", "load_model", "measure_of", "suffix_of"]


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
    """
    lacks_measure = isinstance(model, MCDropout | DeepEnsemble) and Mixture not in MEASURES[measure.beta].facts.given_by
    return measure.bernoulli if model.spec.head == "bernoulli" or lacks_measure else measure.beta


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


class SizedModel(Protocol):
    """A callable from images to a belief that says which it takes: their side in pixels, 1 or 3 channels."""

    size: int
    channels: int
    name: str

    def __call__(self, images: Tensor) -> Belief:
        """Return the belief about each pixel."""


class _AnyModel(nn.Module):
    """A callable with the interface of a ``BeliefModel``.

    Its ``digest``, if it has one, tells it from others; else its weights do, if it is a module, and its name.
    """

    passes = 1

    def __init__(self, model: SizedModel) -> None:
        super().__init__()
        self.inner = model  # registered as a part if it is a module
        self.spec = SegmenterSpec(model.name, "", "bernoulli", channels=model.channels, size=model.size)
        self.digest = str(getattr(model, "digest", "")) or _digest_of(model)

    def forward(self, images: Tensor) -> Belief:
        """Return what the callable believes."""
        return self.inner(images)

    def belief(self, images: Tensor) -> Belief:
        """Return what the callable believes; a BeliefError if that is no belief, or holds NaN."""
        belief = self.inner(images)
        check_belief(belief)
        return belief

    def weights(self) -> bytes:
        """Return the digest."""
        return self.digest.encode()


def as_belief_model(model: BeliefModel | SizedModel) -> BeliefModel:
    """Return a model as it is, or any other callable wrapped as one."""
    if hasattr(model, "belief"):
        return model  # type: ignore[return-value]  # as the protocol says
    return _AnyModel(model)


def _digest_of(model: SizedModel) -> str:
    digest = hashlib.sha256(model.name.encode())
    if isinstance(model, nn.Module):
        for name, values in model.state_dict().items():
            digest.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
