"""The smallest budget that breaks each image, as brackets in a table."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.attacks import minimal_eps
from trustseg.attacks.minimal import Bracket, is_broken
from trustseg.beliefs import Bernoulli
from trustseg.config import EvaluationConfig
from trustseg.data import Pack
from trustseg.data.batches import as_images, pack_loader
from trustseg.errors import AttackError
from trustseg.evaluation.conditions import TOLERANCE, perturbation_size
from trustseg.evaluation.frames import areas_in, frame_columns, region_of
from trustseg.evaluation.loading import SizedModel, as_belief_model
from trustseg.evaluation.resuming import fingerprint_of, is_finished
from trustseg.files import write_json
from trustseg.masks import counted, filled
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward
from trustseg.progress import ProgressCallback
from trustseg.tables import read_parquet, write_parquet

__all__ = ["MINIMAL_OBJECTIVES", "write_minimal"]

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
    report: ProgressCallback | None = None,
) -> None:
    """Write ``minimal.parquet`` into a folder: between which budgets the Dice of each image falls to tau.

    A finished table of the same model, images and settings is kept. Batches lie in ``folder/minimal_parts`` until
    all are done, so a killed run goes on where it stopped. ``minimal.json`` says what the table was made of. A Beta
    model is attacked through its evidence, too.

    Args:
        config: its ``minimal``; with a tau of None nothing is written, and a table of earlier settings is removed, so
            that no report reads it.

    Raises:
        AttackError: if what an attack returns is outside its budget or [0, 1], or does not break the deployed model.
    """
    options = config.minimal
    tau, file, note = options.tau, folder / "minimal.parquet", folder / "minimal.json"
    if tau is None:
        file.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        shutil.rmtree(folder / "minimal_parts", ignore_errors=True)
        return
    model = as_belief_model(model)
    settings = options.model_dump(mode="json")
    fingerprint = fingerprint_of(model, asdict(model.spec), pack.digest, rows.tolist(), settings, config.batch_size)
    if is_finished(note, fingerprint, [file]):
        return
    objectives = (*MINIMAL_OBJECTIVES, "evidence_margin") if model.spec.head == "beta" else MINIMAL_OBJECTIVES
    batches = list(pack_loader(pack, rows, batch_size=config.batch_size))
    parts = [folder / "minimal_parts" / fingerprint / f"{number:05d}.parquet" for number in range(len(batches))]
    with fast_forward(model.eval().to(device)) as fast:
        for number, (batch, part) in enumerate(zip(batches, parts, strict=True)):
            if not part.exists():
                images, masks = (tensor.to(device) for tensor in as_images(batch))
                brackets = minimal_eps(
                    fast,
                    images,
                    masks,
                    tau=tau,
                    ladder=options.eps,
                    halvings=options.halvings,
                    steps=options.steps,
                    objectives=objectives,
                    region=region_of(areas_in(frame_columns(pack, batch["rows"].numpy())), images),
                )
                _check(model, images, masks, brackets, tau=tau)
                cases = pack.index[batch["rows"].tolist()].select(pl.col("name").alias("image"), "patient")
                write_parquet(_rows(masks, cases, brackets, tau=tau), part)
            if report is not None:
                report(number + 1, len(batches))
    note.unlink(missing_ok=True)
    write_parquet(pl.concat([read_parquet(part) for part in parts]), file)
    write_json(note, {"fingerprint": fingerprint, **settings})
    shutil.rmtree(folder / "minimal_parts")


def _check(model: BeliefModel, images: Tensor, masks: Tensor, bracket: Bracket, *, tau: float) -> None:
    """Raise unless the images of a bracket lie within their budget and [0, 1], and break the model that is deployed."""
    budget = bracket.eps_breaks.double().where(~bracket.censored, 0.0)
    excess = float((perturbation_size(bracket.images - images, norm="linf") - budget).max())
    low, high = (float(value) for value in bracket.images.aminmax())
    if not excess <= TOLERANCE or not 0 <= low <= high <= 1:
        raise AttackError(
            f"the search for the smallest budget returned changes {excess:.2e} beyond it (tolerance {TOLERANCE:.0e}), "
            f"pixels from {low:.4g} to {high:.4g}; its results are void"
        )
    with torch.no_grad():
        log_odds = model.belief(bracket.images).log_odds
    # A pixel so near to the decision may fall either way.
    doubtful = Bernoulli(log_odds - MARGIN * (2 * filled(masks) - 1))
    whole = int((~is_broken(doubtful, masks, tau=tau) & ~bracket.censored).sum())
    if whole:
        raise AttackError(
            f"{whole} of {len(masks)} images that the search for the smallest budget reported as broken have a Dice "
            f"above {tau:g}; its results are void"
        )


def _rows(masks: Tensor, cases: pl.DataFrame, bracket: Bracket, *, tau: float) -> pl.DataFrame:
    columns = {
        "pixels": counted(masks).flatten(1).sum(dim=1).tolist(),
        "mask_px": (masks > 0).flatten(1).sum(dim=1).tolist(),
        "eps_holds": bracket.eps_holds.double().tolist(),
        "eps_breaks": bracket.eps_breaks.double().tolist(),
        "already_broken": bracket.already_broken.tolist(),
        "censored": bracket.censored.tolist(),
    }
    return cases.with_columns(pl.lit(tau).alias("tau"), *(pl.Series(*column) for column in columns.items()))
