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
import torch
from numpy.typing import NDArray

from trustseg import __version__
from trustseg.config import DataConfig, EvaluationConfig
from trustseg.data import Pack, split_cases
from trustseg.data.module import as_images, pack_loader
from trustseg.errors import DataError, unknown_name
from trustseg.evaluation.conditions import Condition, conditions_of, perturbed
from trustseg.evaluation.records import TABLES, Tables, tables_of_batch
from trustseg.files import read_json, replacing, write_json
from trustseg.models import Segmenter
from trustseg.randomness import derived_generator

__all__ = ["evaluate", "rows_of_split"]

FINISHED: Final = "evaluation.json"


def evaluate(
    segmenter: Segmenter,
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    folder: Path,
    *,
    labels: Mapping[str, str | int] | None = None,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Measure a segmenter on some images of a pack under every condition of ``config``.

    Writes ``records.parquet`` (a row an image and condition), ``histograms.parquet`` (pixel errors by uncertainty, by
    patient) and ``calibration.parquet`` (reliability counts, by patient) into ``folder``, then ``evaluation.json``,
    which says what they were made of: the same evaluation is not repeated. Each finished condition is kept in
    ``folder/parts`` until all are done, so a killed evaluation goes on where it stopped; parts and tables of another
    model, of other images or settings are not taken over.

    Args:
        segmenter: the model, measured in eval mode and float32.
        pack: the images.
        rows: which of them, e.g. the test split.
        config: conditions, measures and aggregations.
        folder: where the tables go.
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
        raise DataError("there is no image to evaluate on, at least one row was expected; choose another split")
    segmenter = segmenter.eval().to(device)
    conditions = conditions_of(config)
    fingerprint = _fingerprint(segmenter, pack, rows, config, labels=labels or {}, seed=seed)
    parts = folder / "parts" / fingerprint
    if _is_finished(folder, fingerprint):
        shutil.rmtree(folder / "parts", ignore_errors=True)  # left by a process that was killed while it tidied up
        if report is not None:
            report(len(conditions), len(conditions))
        return folder
    for number, condition in enumerate(conditions):
        if not all(_part(parts, condition, table).exists() for table in TABLES):
            tables = _measure(segmenter, pack, rows, condition, config, seed=seed, device=device)
            for table in TABLES:
                with replacing(_part(parts, condition, table)) as temporary:
                    tables[table].write_parquet(temporary)
        if report is not None:
            report(number + 1, len(conditions))
    _join(parts, conditions, folder, labels=labels or {})
    write_json(folder / FINISHED, {"fingerprint": fingerprint})
    shutil.rmtree(folder / "parts")
    return folder


def rows_of_split(pack: Pack, split: str, config: DataConfig) -> NDArray[np.int64]:
    """Return the rows of a pack that a split's name means.

    Args:
        pack: the images.
        split: test, validation, train, control, or all (every image with a mask that is no control).
        config: fold and seed of the split.

    Raises:
        UnknownNameError: if there is no such split.
        DataError: if it is empty.
    """
    known = ("test", "validation", "train", "control", "all")
    if split not in known:
        raise unknown_name("split", split, known)
    if split == "control":
        rows = (pack.index["split"] == "control").arg_true().to_numpy()
    elif split == "all":
        rows = ((pack.index["split"] != "control") & pack.index["has_mask"]).arg_true().to_numpy()
    else:
        splits = split_cases(
            pack.index,
            fold=config.fold,
            folds=config.folds,
            validation_fraction=config.validation_fraction,
            seed=config.split_seed,
        )
        rows = getattr(splits, split)
    if not len(rows):
        raise DataError(
            f"the split '{split}' of this dataset is empty, at least one image was expected; choose another"
        )
    return np.asarray(rows, dtype=np.int64)


def _fingerprint(
    segmenter: Segmenter,
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    *,
    labels: Mapping[str, str | int],
    seed: int,
) -> str:
    """Return a short hash of everything that the tables follow from."""
    settings = config.model_dump(mode="json", exclude={"gallery"})
    about = [__version__, asdict(segmenter.spec), pack.digest, rows.tolist(), settings, dict(labels), seed]
    return hashlib.sha256(json.dumps(about).encode() + segmenter.weights()).hexdigest()[:16]


def _is_finished(folder: Path, fingerprint: str) -> bool:
    """Return whether the tables in a folder are those of this evaluation."""
    files = [folder / FINISHED, *(folder / f"{table}.parquet" for table in TABLES)]
    return all(file.exists() for file in files) and read_json(files[0]).get("fingerprint") == fingerprint


def _join(parts: Path, conditions: Sequence[Condition], folder: Path, *, labels: Mapping[str, str | int]) -> None:
    """Write the tables of all conditions; tables of another evaluation are no longer called finished."""
    (folder / FINISHED).unlink(missing_ok=True)
    for table in TABLES:
        merged = pl.concat([pl.read_parquet(_part(parts, condition, table)) for condition in conditions])
        if table == "records":
            merged = merged.select(*[pl.lit(value).alias(name) for name, value in labels.items()], pl.all())
        with replacing(folder / f"{table}.parquet") as temporary:
            merged.write_parquet(temporary)


def _part(parts: Path, condition: Condition, table: str) -> Path:
    return parts / f"{condition.slug}.{table}.parquet"


def _measure(
    segmenter: Segmenter,
    pack: Pack,
    rows: NDArray[np.int64],
    condition: Condition,
    config: EvaluationConfig,
    *,
    seed: int,
    device: str,
) -> Tables:
    """Return the tables of one condition; each batch has its own generator, so that conditions can be redone alone."""
    batches: list[Tables] = []
    for number, batch in enumerate(pack_loader(pack, rows, batch_size=config.batch_size)):
        images, masks = (part.to(device) for part in as_images(batch))
        generator = derived_generator(seed, "evaluation", condition.name, f"{condition.eps:.6f}", number)
        attacked = perturbed(segmenter, images, masks, condition, generator=generator)
        with torch.no_grad():
            belief = segmenter.belief(attacked)
        cases = pack.index[batch["rows"].tolist()].select("name", "patient")
        batches.append(tables_of_batch(belief, images, attacked, masks, cases, condition=condition, config=config))
    return {table: _merged([tables[table] for tables in batches], table) for table in TABLES}


def _merged(frames: list[pl.DataFrame], table: str) -> pl.DataFrame:
    """Concatenate records; add up histograms of the same patient."""
    whole = pl.concat(frames)
    if table == "records":
        return whole
    keys = [name for name in ("condition", "eps", "measure", "patient", "bin") if name in whole.columns]
    return whole.group_by(keys, maintain_order=True).sum()
