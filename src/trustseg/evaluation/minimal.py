"""The smallest budget that breaks each image, as brackets in a table."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg import __version__
from trustseg.attacks import minimal_eps
from trustseg.attacks.minimal import Bracket, is_broken
from trustseg.beliefs import Bernoulli
from trustseg.config import EvaluationConfig, MinimalConfig
from trustseg.data import Pack
from trustseg.data.module import as_images, pack_loader
from trustseg.errors import AttackError
from trustseg.evaluation.any_model import SizedModel, as_belief_model
from trustseg.evaluation.conditions import TOLERANCE, perturbation_size
from trustseg.evaluation.frames import areas_in, frame_columns, region_of
from trustseg.files import read_json, replacing, write_json
from trustseg.masks import counted, filled
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward
from trustseg.tables import read_parquet

__all__ = ["MINIMAL", "MINIMAL_OBJECTIVES", "write_minimal"]

MINIMAL: Final = "minimal.parquet"
MARGIN: Final = 0.05
"""Log-odds by which the deployed model may differ from the faster one that is attacked: 1 % of probability near 1/2."""

MINIMAL_OBJECTIVES: Final = ("margin", "balanced_masked_cross_entropy", "soft_dice")


def write_minimal(
    model: BeliefModel | SizedModel,
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    folder: Path,
    *,
    device: str = "cpu",
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``minimal.parquet`` into a folder: between which budgets the Dice of each image falls to tau.

    A finished table of the same model, images and settings is kept. Batches lie in ``folder/minimal_parts`` until
    all are done, so a killed run goes on where it stopped. ``minimal.json`` says what the table was made of.

    Args:
        model: a model, as ``evaluate`` takes it.
        pack: the images.
        rows: which of them, at least one.
        config: its ``minimal``; with a tau of None nothing is written, and a table of earlier settings is removed, so
            that no report reads it. A Beta model is attacked through its evidence, too.
        folder: where the table goes.
        device: where to compute.
        report: called after each batch with the number done and the number in all.

    Raises:
        AttackError: if what an attack returns is outside its budget or [0, 1], or does not break the deployed model.
    """
    tau, file, note = config.minimal.tau, folder / MINIMAL, folder / "minimal.json"
    if tau is None:
        file.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        shutil.rmtree(folder / "minimal_parts", ignore_errors=True)
        return
    model = as_belief_model(model)
    about = [__version__, asdict(model.spec), pack.digest, rows.tolist(), config.minimal.model_dump(mode="json")]
    settings = json.dumps([*about, config.batch_size]).encode()
    fingerprint = hashlib.sha256(settings + model.weights()).hexdigest()[:16]
    if file.exists() and note.exists() and read_json(note).get("fingerprint") == fingerprint:
        return
    parts = folder / "minimal_parts" / fingerprint
    batches = list(pack_loader(pack, rows, batch_size=config.batch_size))
    with fast_forward(model.eval().to(device)) as fast:
        for number, batch in enumerate(batches):
            part = parts / f"{number:05d}.parquet"
            if not part.exists():
                images, masks = (tensor.to(device) for tensor in as_images(batch))
                cases = pack.index[batch["rows"].tolist()].select(pl.col("name").alias("image"), "patient")
                region = region_of(areas_in(frame_columns(pack, batch["rows"].numpy())), images)
                found = _search(fast, images, masks, config.minimal, tau=tau, region=region)
                _check(model, images, masks, found, tau=tau)
                with replacing(part) as temporary:
                    _rows(masks, cases, found, tau=tau).write_parquet(temporary)
            if report is not None:
                report(number + 1, len(batches))
    note.unlink(missing_ok=True)
    with replacing(file) as temporary:
        pl.concat([read_parquet(part) for part in sorted(parts.glob("*.parquet"))]).write_parquet(temporary)
    write_json(note, {"fingerprint": fingerprint, **config.minimal.model_dump(mode="json")})
    shutil.rmtree(folder / "minimal_parts")


def _search(
    model: BeliefModel, images: Tensor, masks: Tensor, options: MinimalConfig, *, tau: float, region: Tensor | None
) -> Bracket:
    """Return the brackets of one batch."""
    objectives = (*MINIMAL_OBJECTIVES, "evidence_margin") if model.spec.head == "beta" else MINIMAL_OBJECTIVES
    return minimal_eps(
        model,
        images,
        masks,
        tau=tau,
        ladder=options.eps,
        halvings=options.halvings,
        steps=options.steps,
        objectives=objectives,
        region=region,
    )


def _check(model: BeliefModel, images: Tensor, masks: Tensor, found: Bracket, *, tau: float) -> None:
    """Raise unless the images of a bracket lie within their budget and [0, 1], and break the model that is deployed."""
    budget = found.eps_breaks.double().where(~found.censored, 0.0)
    excess = float((perturbation_size(found.images - images, norm="linf") - budget).max())
    if not excess <= TOLERANCE:
        raise AttackError(
            f"the search for the smallest budget exceeded it by {excess:.2e} (tolerance {TOLERANCE:.0e}); its "
            "results are void"
        )
    low, high = (float(value) for value in found.images.aminmax())
    if not 0 <= low <= high <= 1:
        raise AttackError(
            f"the search for the smallest budget returned pixels from {low:.4g} to {high:.4g}, outside [0, 1]; its "
            "results are void"
        )
    with torch.no_grad():
        log_odds = model.belief(found.images).log_odds
    doubtful = Bernoulli(
        log_odds - MARGIN * (2 * filled(masks) - 1)
    )  # a pixel so near to the decision may fall either way
    whole = int((~is_broken(doubtful, masks, tau=tau) & ~found.censored).sum())
    if whole:
        raise AttackError(
            f"{whole} of {len(masks)} images that the search for the smallest budget reported as broken have a Dice "
            f"above {tau:g}; its results are void"
        )


def _rows(masks: Tensor, cases: pl.DataFrame, found: Bracket, *, tau: float) -> pl.DataFrame:
    """Return the brackets of one batch as rows of the table."""
    columns = {
        "pixels": counted(masks).flatten(1).sum(dim=1).tolist(),
        "mask_px": (masks > 0).flatten(1).sum(dim=1).tolist(),
        "eps_holds": found.eps_holds.double().tolist(),
        "eps_breaks": found.eps_breaks.double().tolist(),
        "already_broken": found.already_broken.tolist(),
        "censored": found.censored.tolist(),
    }
    return cases.with_columns(pl.lit(tau).alias("tau"), *(pl.Series(*column) for column in columns.items()))
