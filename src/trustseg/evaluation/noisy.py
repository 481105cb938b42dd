"""One noisy draw of each image: what a certified policy is fitted on, and what it decides by.

Noise is added in double precision at the size of the model and is not clipped, in calibration and in deployment alike,
and images are predicted one by one: the proof asks for the same mechanism in both.
"""

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trustseg.beliefs import check_belief
from trustseg.data import Pack
from trustseg.data.batches import as_images, pack_loader
from trustseg.data.splits import Indices
from trustseg.deferral.certified_fitting import NOISE_CONDITION
from trustseg.errors import DataError
from trustseg.evaluation.beliefs import uncertainty_of
from trustseg.evaluation.frames import areas_in, frame_columns, image_scores
from trustseg.metrics import dice, overlap_counts
from trustseg.models import BeliefModel
from trustseg.progress import ProgressCallback
from trustseg.randomness import derive_seed
from trustseg.records import score_column
from trustseg.tables import read_csv

__all__ = ["Draw", "digest_of_pixels", "draw_of", "noisy", "noisy_records", "recorded_draws"]


class Draw(NamedTuple):
    """The seed of the noise that an image was decided by, and ``digest_of_pixels`` of that image."""

    seed: int
    pixels: str


def noisy(images: Tensor, *, noise: float, seed: int) -> Tensor:
    """Return images plus Gaussian noise of a deviation, of the same shape, type and device; not clipped.

    Example:
        >>> images = torch.zeros(1, 1, 64, 64)
        >>> round(float(noisy(images, noise=0.5, seed=0).std()), 1)
        0.5
    """
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(images.shape)))
    return (images.detach().cpu().double() + noise * drawn).to(images)


def noisy_records(
    model: BeliefModel,
    pack: Pack,
    rows: Indices,
    *,
    noise: float,
    seed: int,
    measure: str,
    aggregation: str,
    draws: int = 1,
    device: str = "cpu",
    report: ProgressCallback | None = None,
) -> pl.DataFrame:
    """Return a record of each image and noisy draw of it.

    It has ``image``, ``draw`` (from 0), ``patient``, ``condition`` (``NOISE_CONDITION``), ``eps`` (0), ``dice`` (NaN
    where it is undefined), ``mask_px``, ``predicted_px``, the score, and the ``noise_seed`` of each draw.

    Args:
        rows: which images; each with a reference mask.
        noise: deviation of the noise, pixel units of [0, 1].
        seed: the seed of an image follows from it, the image's name and the number of the draw if there are several.
        draws: of each image, >= 1.
    """
    model = model.eval().to(device)
    cases = pack.index[rows].select("name", "patient").with_columns(*frame_columns(pack, rows).get_columns())
    records: list[dict[str, object]] = []
    score = score_column(measure, aggregation)
    for number, batch in enumerate(pack_loader(pack, rows, batch_size=1)):
        images, masks = as_images(batch)
        case, masks = cases[number], masks.to(device)
        identity = {"image": case["name"].item(), "patient": case["patient"].item()}
        for draw in range(draws):
            seed_of_draw = derive_seed(seed, "certified deferral", identity["image"], *([draw] if draw else []))
            with torch.no_grad():
                belief = model.belief(noisy(images, noise=noise, seed=seed_of_draw).to(device))
            check_belief(belief)
            uncertainty = uncertainty_of(belief, measure, head=model.spec.head)
            predicted = belief.log_odds > 0
            counts = overlap_counts(predicted, masks)
            scored = image_scores(aggregation, uncertainty, belief.probability, areas_in(case))
            measured = {"dice": float(dice(predicted, masks)), score: float(scored), "noise_seed": seed_of_draw}
            areas = {"mask_px": int(counts.reference), "predicted_px": int(counts.predicted)}
            records.append({**identity, "draw": draw, "condition": NOISE_CONDITION, "eps": 0.0, **areas, **measured})
        if report is not None:
            report(number + 1, len(rows))
    return pl.DataFrame(records)


def digest_of_pixels(images: Tensor) -> str:
    """Return a short hash of an image as the model would see it without noise."""
    return hashlib.sha256(images.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def recorded_draws(table: Path, *, noise: float) -> dict[str, Draw]:
    """Return the draws that a ``predictions.csv`` recorded, by the name of the image's file.

    Args:
        table: the file.
        noise: deviation of the noise that they are to be repeated with, as the policy has it.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if it records none, or noise of another deviation.
    """
    try:
        content = read_csv(table, as_text=True)
        rows = content.select("image", "noise_seed", "pixels").iter_rows()
        draws = {image: Draw(int(seed), pixels) for image, seed, pixels in rows}
        others = {text for text in content["noise"].to_list() if float(text) != float(f"{noise:g}")}
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(
            f"'{table}' records no noise (columns image, noise, noise_seed and pixels); give the predictions.csv of a "
            "'trustseg predict' with a certified policy"
        ) from error
    if others:
        raise DataError(
            f"'{table}' records noise of deviation {', '.join(sorted(others))}, and the policy has {noise:g}; give its "
            "own predictions.csv, or leave --noise-seeds out to draw it anew"
        )
    return draws


def draw_of(name: str, images: Tensor, recorded: Mapping[str, Draw] | None) -> Draw:
    """Return the draw of an image: a new, unpredictable one, or the one that was recorded of it.

    Raises:
        DataError: if there are records and none of this image, or the image has changed since: whoever changed it may
            have known the noise.
    """
    pixels = digest_of_pixels(images)
    if recorded is None:
        return Draw(secrets.randbits(63), pixels)
    if name not in recorded:
        raise DataError(f"no noise was recorded for '{name}'; leave --noise-seeds out to draw it")
    if recorded[name].pixels != pixels:
        raise DataError(
            f"'{name}' has changed since its noise was recorded, and a change that could know the noise is not covered "
            "by the policy; leave --noise-seeds out to draw it anew"
        )
    return recorded[name]
