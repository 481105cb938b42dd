"""A certified deferral policy: what it holds, what it promises, and to what it may be applied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.deferral.attacked_weights import MOST_DRAWS
from trustseg.deferral.certified import certified_bound, require_patients
from trustseg.deferral.policy import reviewed
from trustseg.deferral.policy_files import DIGEST, digest_of, parse_fields, sealed, values_of
from trustseg.errors import ConfigError, DataError
from trustseg.files import read_json, write_json
from trustseg.records import score_column

__all__ = [
    "PROOF",
    "CertifiedPolicy",
    "certified_content",
    "check_certified",
    "grey_levels",
    "is_certified",
    "load_certified_policy",
    "parse_certified_policy",
    "save_certified_policy",
]

PROOF: Final = "docs/certified_deferral.md"
"""The page with the proof and the limits, named by every statement."""

_KIND: Final = "certified deferral, version 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedPolicy:
    """A frozen rule: an image goes to a human if the score of one noisy draw of it lies above the threshold.

    Attributes:
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        threshold: the largest score that is kept; infinite if nothing is reviewed, minus infinity if everything is.
        at_most: bound on the undetected failures under attack, a share in (0, 1).
        radius: L2 norm of the largest change of each image, pixel units of [0, 1].
        noise: deviation of the Gaussian noise, same units.
        level: bound on the undetected failures without attack; see ``require_patients``.
        tau: a segmentation with a Dice below it has failed.
        delta: chance, over calibration sets, that the bound is broken; None: the bound is on the mean over them.
        seed: of the noise of the calibration images; that of other images is drawn anew.
        size: side of the images that noise is added to, in pixels.
        channels: of these images.
        images: number of calibration images.
        draws: noisy draws of each of them; other images have one.
        patients: number of their patients.
        kept: share of the calibration images that are kept.
        patient_hashes: ``hash_of`` each of these patients, sorted, to recognise them later.
        model: hash of the model.
        reference_scores: score of one noisy image of each calibration patient, to tell whether new ones look alike.
    """

    measure: str
    aggregation: str
    threshold: float
    at_most: float
    radius: float
    noise: float
    level: float
    tau: float
    delta: float | None
    seed: int
    size: int
    channels: int
    images: int
    draws: int
    patients: int
    kept: float
    patient_hashes: tuple[str, ...]
    model: str = ""
    reference_scores: tuple[float, ...] = ()

    @property
    def column(self) -> str:
        """The column of a record table that holds the score."""
        return score_column(self.measure, self.aggregation)

    @property
    def statement(self) -> str:
        """The guarantee, in words."""
        how = (
            "are expected to be kept"
            if self.delta is None
            else f"are, with confidence {1 - self.delta:.3g}, expected to be kept"
        )
        over = "new patients and calibration sets" if self.delta is None else "new patients"
        return (
            f"Of a new patient's images at most {self.at_most:.3g} {how} with a Dice below {self.tau:.3g} (mean over "
            f"{over}; {self.patients} patients for calibration), even if somebody who knows the model, this policy and "
            f"the reference masks, but not the noise, changes each image by up to {self.radius:.4g} in L2 norm before "
            f"the noise is drawn. Norms are of pixel values in [0, 1] of the {self.size} x {self.size} image that the "
            f"model sees; spread evenly, this is {grey_levels(self.radius, self.size, self.channels):.2g} of 255 grey "
            f"levels in every pixel. Each image is decided once, on one draw of Gaussian noise of deviation "
            f"{self.noise:.4g}. Without such changes the bound is {self.level:.3g}. Proof and limits: {PROOF}"
        )

    def bound(self, radius: float) -> float:
        """Return the bound on the undetected failures under changes of another radius."""
        if self.draws == 1:
            return certified_bound(self.level, radius=radius, noise=self.noise)
        return certified_bound(self.at_most, radius=max(0.0, radius - self.radius), noise=self.noise)

    def review(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Return which images go to a human (N,), from the scores (N,) of noisy draws; a NaN score always does."""
        return reviewed(scores, self.threshold)


def grey_levels(radius: float, size: int, channels: int = 1) -> float:
    """Return how many of 255 grey levels each value of an image changes if a change of L2 norm ``radius`` is spread.

    Example:
        >>> round(grey_levels(1.5, 96), 2)
        3.98
    """
    return radius / (size * math.sqrt(channels)) * 255


def save_certified_policy(policy: CertifiedPolicy, path: Path) -> None:
    """Write a policy as JSON with its statement and digest, whole or not at all."""
    write_json(path, certified_content(policy))


def certified_content(policy: CertifiedPolicy) -> dict[str, object]:
    """Return what ``save_certified_policy`` writes; an infinite threshold becomes text, as JSON has no infinity."""
    return sealed({"kind": _KIND, **values_of(policy), "statement": policy.statement})


def is_certified(content: Mapping[str, object]) -> bool:
    """Return whether a policy's content says that it is certified, in whatever version."""
    return str(content.get("kind", "")).startswith("certified deferral")


def load_certified_policy(path: Path) -> CertifiedPolicy:
    """Return the certified policy in a JSON file; a DataError if it holds none, or one that promises too much."""
    return parse_certified_policy(read_json(path), path)


def parse_certified_policy(content: Mapping[str, object], path: Path) -> CertifiedPolicy:
    """Return the certified policy that a file, or a part of it, holds; errors as ``load_certified_policy``."""
    expected, content = digest_of(content), dict(content)
    kind, statement, digest = (content.pop(name, None) for name in ("kind", "statement", DIGEST))
    if kind != _KIND:
        raise _no_policy(path, f"kind is {kind!r}, expected {_KIND!r}")
    policy = parse_fields(CertifiedPolicy, content, partial(_no_policy, path))
    _check_promise(policy, path)
    if statement != policy.statement:
        raise _no_policy(path, "its statement says something else than its numbers")
    if digest != expected:
        raise _no_policy(path, "its digest is not that of its content: it was edited, or is of an older version")
    return policy


def _check_promise(policy: CertifiedPolicy, path: Path) -> None:
    """Raise a DataError unless the numbers of a policy are in range, carry its bound, and fit each other."""
    if wrong := _out_of_range(policy):
        raise _no_policy(path, f"out of range: {', '.join(f'{name} {getattr(policy, name)}' for name in wrong)}")
    about = {"at_most": policy.at_most, "radius": policy.radius, "noise": policy.noise}
    try:
        level = require_patients(policy.patients, **about, delta=policy.delta, draws=policy.draws)
    except (ConfigError, DataError) as error:
        raise _no_policy(path, str(error)) from error
    if not math.isclose(level, policy.level, rel_tol=1e-6):
        raise _no_policy(path, f"level is {policy.level:g}, its bound, radius and noise give {level:g}")
    if policy.reference_scores and not _keeps_its_share(policy):
        raise _no_policy(
            path,
            f"threshold {policy.threshold:g} and {policy.kept:.3g} of images kept do not go with its reference_scores",
        )


def _keeps_its_share(policy: CertifiedPolicy) -> bool:
    """Return whether threshold, scores of one image of each patient, and share of kept images can be of one set."""
    decided, reference = policy.images * policy.draws, len(policy.reference_scores)
    reviewed = int(policy.review(policy.reference_scores).sum())
    kept = policy.kept * decided
    return reference == policy.patients and reference - reviewed <= kept + 1e-6 and kept <= decided - reviewed + 1e-6


def _out_of_range(policy: CertifiedPolicy) -> list[str]:
    fits = {
        "threshold": not math.isnan(policy.threshold),
        "at_most": 0 < policy.at_most < 1,
        "radius": 0 <= policy.radius < math.inf,
        "noise": 0 < policy.noise < math.inf,
        "level": 0 < policy.level < 1,
        "tau": 0 < policy.tau <= 1,
        "delta": policy.delta is None or 0 < policy.delta < 1,
        "size": policy.size >= 1,
        "draws": 1 <= policy.draws <= MOST_DRAWS,
        "channels": policy.channels in (1, 3),
        "patients": 1 <= policy.patients <= policy.images,
        "kept": 0 <= policy.kept <= 1,
    }
    return [name for name, fit in fits.items() if not fit]


def check_certified(
    policy: CertifiedPolicy, *, model: str, size: int, channels: int, noise: float | None = None
) -> None:
    """Raise a DataError if a certified policy does not fit what it is applied to.

    Args:
        policy: the policy.
        model: hash of the model that predicts; it must be known.
        size: side of the images that it sees.
        channels: of these images.
        noise: deviation of the noise that the images were predicted with; None if it is that of the policy.
    """
    for name, fitted, here in (
        ("model", policy.model, model),
        ("size", policy.size, size),
        ("channels", policy.channels, channels),
        ("noise", policy.noise, policy.noise if noise is None else noise),
    ):
        if fitted != here:
            raise DataError(
                f"the certified policy was fitted for {name} {fitted or 'unknown'}, not for {here or 'unknown'} (a "
                "calibration makes another model); fit it again with 'trustseg defer certify'"
            )


def _no_policy(path: Path, reason: str) -> DataError:
    return DataError(f"'{path}' is no certified policy ({reason}); write it with 'trustseg defer certify'")
