"""One row per image and condition, and small histograms that merge by adding: all that statistics and reports read."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.config import EvaluationConfig
from trustseg.data import Pack, open_dataset
from trustseg.data.intensity import IntensityScale
from trustseg.deferral import fit_policy, save_policy
from trustseg.errors import DataError
from trustseg.evaluation.conditions import CLEAN, Condition, Deployed, conditions_of
from trustseg.evaluation.loading import SizedModel, as_belief_model, hash_of_model, measure_of
from trustseg.evaluation.measuring import cohort_of, cost_of, ladders, measure
from trustseg.evaluation.records import TABLES, TABLES_VERSION
from trustseg.evaluation.resuming import fingerprint_of, is_finished
from trustseg.files import write_json
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward
from trustseg.progress import ProgressCallback
from trustseg.shifts import SHIFT_TABLE_VERSION
from trustseg.tables import read_parquet, write_parquet

__all__ = ["evaluate", "population_of"]

_ELSEWHERE: Final = {"gallery", "masking_checks", "surrogate", "minimal", "populations"}  # settings the tables ignore


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
    report: ProgressCallback | None = None,
) -> Path:
    """Measure a model on some images of a pack under every condition of ``config``; return the folder of the tables.

    Writes ``records.parquet`` (a row per image and condition), ``histograms.parquet`` (pixel errors by uncertainty) and
    ``calibration.parquet`` (reliability counts), both by group of patients (``patient_groups``), into ``folder``, then
    ``evaluation.json``, which says what they were made of, so that the same evaluation is not repeated, by which model
    (``hash_of_model``), and what a prediction costs (``cost_of``). With calibration rows, their clean records
    (``validation.parquet``) and the deferral policy fitted on them (``policy.json``) come first. Each finished
    condition is kept in ``folder/parts`` until all are done, so a killed evaluation goes on where it stopped; parts and
    tables of another model, of other images or settings are not taken over.

    Args:
        calibration_rows: images that the deferral policy is fitted on, e.g. the validation split; without them there
            is no policy, and attacks that aim at one are refused.
        labels: columns that say which model and split this is, put before the others.
        report: called after each condition; once if all were done before.

    Raises:
        DataError: if there are no rows.
    """
    if not len(rows):
        raise DataError("no images to evaluate on; choose another split")
    model, labels = as_belief_model(model).eval().to(device), labels or {}
    populations = {name: population_of(path, pack) for name, path in config.populations.items()}
    conditions = conditions_of(config)
    images = [(pack, rows), *([] if calibration_rows is None else [(pack, calibration_rows)]), *populations.values()]
    fingerprint = _fingerprint(model, images, config, labels, seed)
    note, tables = folder / "evaluation.json", {table: folder / f"{table}.parquet" for table in TABLES}
    if is_finished(note, fingerprint, tables.values()):
        shutil.rmtree(folder / "parts", ignore_errors=True)  # left by a process that was killed while it tidied up
        if report is not None:
            report(len(conditions), len(conditions))
        return folder

    parts = folder / "parts" / fingerprint
    cohort = cohort_of(pack, rows, device=device)
    with fast_forward(model) as fast:
        deployed = None
        if calibration_rows is not None:
            calibration_cohort = cohort_of(pack, calibration_rows, device=device, pixels=cohort.pixels)
            clean = measure(fast, calibration_cohort, [CLEAN], config, seed=seed)[CLEAN.slug]["records"]
            clean = _with_labels(clean, {**labels, "split": "validation"})
            deployed = _fit_policy(clean, model, config, folder)
        done = 0
        for ladder in ladders(conditions, room=config.batch_size // len(rows)):
            if not all(_part(parts, condition, table).exists() for condition in ladder for table in TABLES):
                population = populations.get(ladder[0].name)
                measured_cohort = cohort if population is None else cohort_of(*population, device=device)
                tables_of_ladder = measure(fast, measured_cohort, ladder, config, seed=seed, deployed=deployed)
                for condition, table in product(ladder, TABLES):
                    write_parquet(tables_of_ladder[condition.slug][table], _part(parts, condition, table))
            done += len(ladder)
            if report is not None:
                report(done, len(conditions))
        batch, _, _ = next(cohort.batches(config.batch_size))
        cost = cost_of(fast, batch)
    note.unlink(missing_ok=True)  # tables of another evaluation are no longer called finished
    _merge(parts, conditions, tables, labels)
    content = {"fingerprint": fingerprint, "model": hash_of_model(model), "shift_table": SHIFT_TABLE_VERSION}
    write_json(note, content | cost)
    shutil.rmtree(folder / "parts")
    return folder


def _fingerprint(
    model: BeliefModel,
    images: Sequence[tuple[Pack, NDArray[np.int64]]],
    config: EvaluationConfig,
    labels: Mapping[str, str | int],
    seed: int,
) -> str:
    """Return a hash of everything that the tables depend on."""
    return fingerprint_of(
        model,
        TABLES_VERSION,
        asdict(model.spec),
        [(pack.digest, rows.tolist()) for pack, rows in images],
        list(config.populations),
        config.model_dump(mode="json", exclude=_ELSEWHERE),
        {"regime" if name == "selection" else name: value for name, value in labels.items()},  # its former name
        seed,
    )


def _part(parts: Path, condition: Condition, table: str) -> Path:
    return parts / f"{condition.slug}.{table}.parquet"


def _merge(
    parts: Path, conditions: Sequence[Condition], tables: Mapping[str, Path], labels: Mapping[str, str | int]
) -> None:
    """Write each table of all conditions into its file; of shifts alone it is known how much foreground they cover."""
    for table, file in tables.items():
        merged = pl.concat([read_parquet(_part(parts, each, table)) for each in conditions], how="diagonal")
        write_parquet(_with_labels(merged, labels) if table == "records" else merged, file)


def population_of(path: str, pack: Pack) -> tuple[Pack, NDArray[np.int64]]:
    """Return the images of a folder without masks, and their rows; they are read as those of ``pack`` are."""
    scale = None if pack.white is None else IntensityScale(pack.white)
    other = open_dataset(path, size=pack.size, channels=pack.channels, fit=pack.fit, scale=scale)
    return other, np.arange(len(other.index))


def _fit_policy(records: pl.DataFrame, model: BeliefModel, config: EvaluationConfig, folder: Path) -> Deployed:
    """Fit the deferral policy on the clean records of the calibration split, keep both; return what attacks know."""
    write_parquet(records, folder / "validation.parquet")
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


def _with_labels(records: pl.DataFrame, labels: Mapping[str, str | int]) -> pl.DataFrame:
    return records.select(*[pl.lit(value).alias(name) for name, value in labels.items()], pl.all())
