"""One row an image and condition, and small histograms that merge by adding: all that statistics and reports read."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg import __version__
from trustseg.config import EvaluationConfig
from trustseg.data import Pack, open_dataset
from trustseg.data.intensity import IntensityScale
from trustseg.deferral import fit_policy, save_policy
from trustseg.errors import DataError
from trustseg.evaluation.any_model import SizedModel, as_belief_model
from trustseg.evaluation.conditions import CLEAN, Condition, Deployed, conditions_of
from trustseg.evaluation.cost import cost_of
from trustseg.evaluation.loading import hash_of_model, measure_of
from trustseg.evaluation.measuring import cohort_of, ladders, measure
from trustseg.evaluation.records import TABLES, TABLES_VERSION, Tables
from trustseg.files import read_json, replacing, write_json
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward
from trustseg.shifts import SHIFT_TABLE_VERSION
from trustseg.tables import read_parquet

__all__ = ["evaluate", "population_of"]

FINISHED: Final = "evaluation.json"


def evaluate(
    model: BeliefModel | SizedModel,
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    folder: Path,
    *,
    calibration_rows: NDArray[np.int64] | None = None,
    labels: Mapping[str, str | int] | None = None,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Measure a model on some images of a pack under every condition of ``config``.

    Writes ``records.parquet`` (a row an image and condition), ``histograms.parquet`` (pixel errors by uncertainty) and
    ``calibration.parquet`` (reliability counts), both by group of patients (``patient_groups``), into ``folder``, then
    ``evaluation.json``, which says what they were made of, so that the same evaluation is not repeated, by which model
    (``hash_of_model``), and what a prediction costs (``cost_of``). With calibration rows, their clean records
    (``validation.parquet``) and the deferral policy fitted on them (``policy.json``) come first. Each finished
    condition is kept in ``folder/parts`` until all are done, so a killed evaluation goes on where it stopped; parts and
    tables of another model, of other images or settings are not taken over.

    Args:
        model: a segmenter, a calibrated one, a mixture, or any other callable from images to a belief that has a
            size, channels and a name (``SizedModel``); measured in eval mode and float32.
        pack: the images.
        rows: which of them, e.g. the test split.
        config: conditions, measures and aggregations.
        folder: where the tables go.
        calibration_rows: images that the deferral policy is fitted on, e.g. the validation split; without them there
            is no policy, and attacks that aim at one are refused.
        labels: columns that say which model and split this is, put before the others.
        seed: seed of random starts.
        device: where to compute.
        report: called after each condition with the number done and the number in all; once if all were done before.

    Returns:
        The folder.

    Raises:
        DataError: if there are no rows.
        BeliefError: if the model can give none of the measures.
        AttackError: if an attack does not keep its promises.
    """
    if not len(rows):
        raise DataError("no images to evaluate on; choose another split")
    model = as_belief_model(model).eval().to(device)
    populations = {name: population_of(path, pack) for name, path in config.populations.items()}
    conditions = conditions_of(config)
    images = [(pack, rows), *([] if calibration_rows is None else [(pack, calibration_rows)]), *populations.values()]
    fingerprint = _fingerprint(model, images, config, labels=labels or {}, seed=seed)
    parts = folder / "parts" / fingerprint
    if _is_finished(folder, fingerprint):
        shutil.rmtree(folder / "parts", ignore_errors=True)  # left by a process that was killed while it tidied up
        if report is not None:
            report(len(conditions), len(conditions))
        return folder
    cohort = cohort_of(pack, rows, device=device)
    with fast_forward(model) as fast:
        deployed = None
        if calibration_rows is not None:
            others = cohort_of(pack, calibration_rows, device=device, pixels=cohort.pixels)
            clean = measure(fast, others, [CLEAN], config, seed=seed)[CLEAN.slug]
            deployed = _deployed(clean["records"], model, config, folder, labels=labels or {})
        done = 0
        for ladder in ladders(conditions, room=config.batch_size // len(rows)):
            if not all(_part(parts, condition, table).exists() for condition in ladder for table in TABLES):
                other = populations.get(ladder[0].name)
                here = cohort if other is None else cohort_of(*other, device=device)
                _keep(parts, ladder, measure(fast, here, ladder, config, seed=seed, deployed=deployed))
            done += len(ladder)
            if report is not None:
                report(done, len(conditions))
        batch, _, _ = next(cohort.batches(config.batch_size))
        cost = cost_of(fast, batch)
    _join(parts, conditions, folder, labels=labels or {})
    about = {"fingerprint": fingerprint, "model": hash_of_model(model), "shift_table": SHIFT_TABLE_VERSION}
    write_json(folder / FINISHED, about | cost)
    shutil.rmtree(folder / "parts")
    return folder


def population_of(path: str, pack: Pack) -> tuple[Pack, NDArray[np.int64]]:
    """Return the images of a folder without masks, and their rows.

    Args:
        path: the folder.
        pack: the images that they are compared with; they are read alike.
    """
    scale = None if pack.white is None else IntensityScale(pack.white)
    other = open_dataset(path, size=pack.size, channels=pack.channels, fit=pack.fit, scale=scale)
    return other, np.arange(len(other.index))


def _deployed(
    clean: pl.DataFrame, model: BeliefModel, config: EvaluationConfig, folder: Path, *, labels: Mapping[str, str | int]
) -> Deployed:
    """Fit the deferral policy on the clean records of the calibration split, keep both; return what attacks know."""
    records = _labelled(clean, {**labels, "split": "validation"})
    with replacing(folder / "validation.parquet") as temporary:
        records.write_parquet(temporary)
    deferral = config.deferral
    chosen = measure_of(model, deferral.measure)
    policy = fit_policy(
        records,
        measure=chosen,
        aggregation=deferral.aggregation,
        target=deferral.target,
        at_most=deferral.at_most,
        tau=deferral.tau,
        model=hash_of_model(model),
    )
    save_policy(policy, folder / "policy.json")
    return Deployed(chosen, deferral.aggregation, policy.threshold, float(np.median(1 - records["harm"].to_numpy())))


def _fingerprint(
    model: BeliefModel,
    images: Sequence[tuple[Pack, NDArray[np.int64]]],
    config: EvaluationConfig,
    *,
    labels: Mapping[str, str | int],
    seed: int,
) -> str:
    """Return a short hash of everything that the tables follow from."""
    settings = config.model_dump(
        mode="json", exclude={"gallery", "masking_checks", "surrogate", "minimal", "populations"}
    )
    which = [(pack.digest, rows.tolist()) for pack, rows in images]
    about = [
        __version__,
        TABLES_VERSION,
        asdict(model.spec),
        which,
        list(config.populations),
        settings,
        {"regime" if name == "selection" else name: value for name, value in labels.items()},  # as it was called first
        seed,
    ]
    return hashlib.sha256(json.dumps(about).encode() + model.weights()).hexdigest()[:16]


def _is_finished(folder: Path, fingerprint: str) -> bool:
    """Return whether the tables in a folder are those of this evaluation."""
    files = [folder / FINISHED, *(folder / f"{table}.parquet" for table in TABLES)]
    return all(file.exists() for file in files) and read_json(files[0]).get("fingerprint") == fingerprint


def _join(parts: Path, conditions: Sequence[Condition], folder: Path, *, labels: Mapping[str, str | int]) -> None:
    """Write the tables of all conditions; tables of another evaluation are no longer called finished."""
    (folder / FINISHED).unlink(missing_ok=True)
    for table in TABLES:
        merged = pl.concat(
            [read_parquet(_part(parts, condition, table)) for condition in conditions], how="diagonal"
        )  # of shifts alone it is known how much of the lesion they cover
        with replacing(folder / f"{table}.parquet") as temporary:
            (_labelled(merged, labels) if table == "records" else merged).write_parquet(temporary)


def _keep(parts: Path, ladder: Sequence[Condition], tables: Mapping[str, Tables]) -> None:
    """Write the tables of finished conditions."""
    for condition in ladder:
        for table in TABLES:
            with replacing(_part(parts, condition, table)) as temporary:
                tables[condition.slug][table].write_parquet(temporary)


def _labelled(records: pl.DataFrame, labels: Mapping[str, str | int]) -> pl.DataFrame:
    return records.select(*[pl.lit(value).alias(name) for name, value in labels.items()], pl.all())


def _part(parts: Path, condition: Condition, table: str) -> Path:
    return parts / f"{condition.slug}.{table}.parquet"
