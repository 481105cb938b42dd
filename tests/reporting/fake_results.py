"""A synthetic, seeded study folder in the form the study runner writes: what a report is made of, without a model."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from tests.reporting.fake_stress import write_stress

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[2]
CONDITIONS: list[tuple[str, float]] = [("clean", 0.0)] + [
    (attack, step / 255) for attack in ("fgsm", "pgd") for step in (1, 2, 4, 8)
]
_ROBUSTNESS = {"none": 0.6, "random": 0.28, "uncertain": 0.22, "certain": 0.34}
_MEASURES = {"bernoulli": ("entropy", "variance"), "beta": ("entropy", "mutual_information", "vacuity")}
_PIXELS = 64 * 64
_PROVENANCE = {
    "trustseg": "0.1.0",
    "python": "3.13.1",
    "torch": "2.13.0",
    "commit": "0123456789abcdef",
    "dirty": False,
    "device": "cpu",
    "cpu": "an example processor, 2 cores",
    "command": "trustseg study /home/somebody/tiny.yaml -o/home/somebody/runs 'data={path: /home/somebody/xrays}'",
    "data": {"digest": "sha256:" + "ab" * 32, "layout": "qata", "images": 200, "patients": 90, "test_images": 48},
    "started": "2026-11-22T14:58:00",
    "weights_sha256": "cd" * 32,
}


@dataclass(frozen=True)
class _Run:
    """One cell: the model, and the images that it is tested on."""

    head: str
    selection: str
    fold: int
    seed: int
    names: list[str]
    patients: list[str]
    rows: list[int]

    @property
    def labels(self) -> dict[str, object]:
        return {key: getattr(self, key) for key in ("head", "selection", "fold", "seed")}


def write_study(
    folder: Path,
    *,
    heads: Sequence[str] = ("bernoulli", "beta"),
    selections: Sequence[str] = ("none", "random", "uncertain"),
    folds: int = 1,
    seeds: int = 2,
    images: int = 48,
    patients: int = 30,
    unfinished: int = 0,
    failed: int = 0,
    gallery: bool = True,
    hostile: str = "",
    stress: bool = False,
) -> Path:
    """Write a study folder with every finished cell of heads x selections x folds x seeds and return it.

    Each image is tested in one fold. The last cells are left ``unfinished``, those before ``failed``. The first image
    has a ``hostile`` name, to see how text from data is treated. Under ``stress`` there are attacks on the uncertainty,
    an ensemble, shifts, another population, checks and a deferral policy; the checks of the selection "certain" or,
    without one, "random" find something.
    """
    folder.mkdir(parents=True)
    grid = {"model.head": list(heads), "adversarial.selection": list(selections)}
    study = {"name": "synthetic", "grid": grid, "adversarial": {"eps": 4 / 255}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    shutil.copy(ROOT / "experiments" / "hypotheses.yaml", folder)
    cells = list(product(heads, selections, range(folds), range(seeds)))
    for number, (head, selection, fold, seed) in enumerate(cells):
        rows = list(range(fold, images, folds))
        names = [hostile if hostile and row == 0 else f"image_{row:03d}.png" for row in rows]
        run = _Run(head, selection, fold, seed, names, [f"sub-S{row % patients:02d}" for row in rows], rows)
        cell = folder / "cells" / f"{head}-{selection}-fold{fold}-seed{seed}"
        cell.mkdir(parents=True)
        _write_description(cell, run)
        left = len(cells) - number
        if left <= unfinished:
            continue
        if left <= unfinished + failed:
            (cell / "failed.json").write_text(json.dumps({"error": "loss became NaN at step 12 <b>of</b> epoch 3"}))
            continue
        _write_results(cell, run)
        if stress:
            write_stress(cell, suspicious=selection == ("certain" if "certain" in selections else "random"))
        if gallery:
            _write_gallery(cell, run)
        done = {"seconds_training": 61.5, "seconds_evaluation": 8.25, "epochs": 12, "finished": "2026-11-22T15:00:00"}
        (cell / "done.json").write_text(json.dumps(done))
    return folder


def keep_rows(cell: Path, rows: pl.Expr) -> None:
    """Leave only some rows in every table of a cell."""
    for table in ("records", "histograms", "calibration"):
        file = cell / f"{table}.parquet"
        pl.read_parquet(file).filter(rows).write_parquet(file)


def counted(records: pl.DataFrame) -> pl.DataFrame:
    """Return records with the Dice and IoU of the pixels that they count."""
    hit, both = pl.col("intersection_px"), pl.col("mask_px") + pl.col("predicted_px")
    return records.with_columns(dice=2 * hit / both, iou=hit / (both - hit))


def with_dice(records: pl.DataFrame, dice: pl.Expr) -> pl.DataFrame:
    """Return records that predict as many pixels as the reference has, as many of them right as this Dice says."""
    hit = (dice.fill_nan(0) * pl.col("mask_px")).round().cast(pl.Int64)
    return counted(records.with_columns(predicted_px=pl.coalesce("mask_px", "predicted_px"), intersection_px=hit))


def without_foreground(records: pl.DataFrame) -> pl.DataFrame:
    """Return records in which nothing is to be found and nothing was."""
    zero = pl.lit(0, pl.Int64)
    return counted(records.with_columns(mask_px=zero, predicted_px=zero, intersection_px=zero))


def _write_description(cell: Path, run: _Run) -> None:
    values = {"model.head": run.head, "adversarial.selection": run.selection}
    about = {"id": cell.name, "variant": f"{run.head}, {run.selection}", "values": values, **run.labels}
    (cell / "cell.json").write_text(json.dumps(about))
    config: dict[str, dict[str, object]] = {"data": {"path": "/home/somebody/xrays"}, "model": {"head": run.head}}
    config |= {"adversarial": {"selection": run.selection, "attack": "fgsm", "eps": 4 / 255}}
    (cell / "config.yaml").write_text(yaml.safe_dump(config))
    (cell / "provenance.json").write_text(json.dumps(_PROVENANCE))


def _write_results(cell: Path, run: _Run) -> None:
    """Write records, histograms, calibration and training curves that hang together loosely, as real ones do."""
    shared = np.random.default_rng([7, 1])  # the same images are hard for every variant
    hardness = shared.beta(2, 5, 1000)[run.rows]
    area = shared.uniform(0.02, 0.3, 1000)[run.rows]
    noise = np.random.default_rng([run.seed, len(run.head), len(run.selection), run.fold])
    records, histograms, calibrations = [], [], []
    for condition, eps in CONDITIONS:
        pressure = eps * 255 / 8 * (1.0 if condition == "pgd" else 0.7)
        strain = _ROBUSTNESS[run.selection] * pressure**0.6
        loss = np.clip(hardness * 0.9 + strain + noise.normal(0, 0.03, len(run.rows)), 0.02, 1)
        loss -= 0.01 * (run.head == "beta")
        mask = np.round(area * _PIXELS)
        mask[1 if len(run.rows) > 1 else 0] = 0
        predicted = np.round(mask * (1 + noise.normal(0, 0.05, len(run.rows))))
        predicted[mask == 0] = np.round(40 * pressure)  # Dice of an empty mask: undefined clean, 0 under attack
        hit = np.where(mask > 0, np.round((1 - loss) * (mask + predicted) / 2), 0.0)
        hit = np.minimum(hit, np.minimum(mask, predicted))
        where = {"condition": pl.lit(condition), "eps": pl.lit(eps)}
        found = _records(run, mask, predicted, hit, loss, noise, drop=2.0 * eps * (condition == "pgd"))
        records.append(found.with_columns(**where, linf=pl.lit(eps)))
        histograms.append(_histograms(run, mask + predicted - 2 * hit, eps, noise).with_columns(**where))
        overconfidence = 1.4 + 2 * pressure * _ROBUSTNESS[run.selection]
        calibrations.append(_calibration(run, overconfidence, noise).with_columns(**where))
    labels = {"cell": cell.name, "variant": f"{run.head}, {run.selection}", **run.labels}
    table = pl.concat(records).with_columns(**{key: pl.lit(label) for key, label in labels.items()})
    table.write_parquet(cell / "records.parquet")
    pl.concat(histograms).write_parquet(cell / "histograms.parquet")
    pl.concat(calibrations).write_parquet(cell / "calibration.parquet")
    _training_curves(run.selection, noise).write_csv(cell / "metrics.csv")


def _records(
    run: _Run, mask: Floats, predicted: Floats, hit: Floats, loss: Floats, noise: np.random.Generator, *, drop: float
) -> pl.DataFrame:
    """Return a row for each image; an attack drops the scores."""
    score = 0.15 + 0.4 * loss + noise.normal(0, 0.05, len(run.names)) - drop
    harm = np.where(mask > 0, 1 - 2 * hit / np.maximum(mask + predicted, 1), predicted / _PIXELS)
    pixels = {"mask_px": mask, "predicted_px": predicted, "intersection_px": hit}
    scores = {
        f"u_{measure}_{aggregation}": pl.Series(
            np.clip(score * (0.9 - 0.1 * place), 0, None) if measure in _MEASURES[run.head] else [None] * len(score),
            dtype=pl.Float64,
        )
        for place, measure in enumerate(("entropy", "variance", "mutual_information", "vacuity"))
        for aggregation in ("mean", "quantile_mean")
    }
    columns = {"image": run.names, "patient": run.patients, "pixels": _PIXELS}
    columns |= {name: values.astype(np.int64) for name, values in pixels.items()}
    return counted(pl.DataFrame(columns | {"harm": harm, "brier": 0.2 * loss, "nll": 0.5 * loss} | scores))


def _histograms(run: _Run, wrong_px: Floats, eps: float, noise: np.random.Generator) -> pl.DataFrame:
    keys = np.arange(3000, 5400, 40)
    place = np.linspace(0, 1, keys.size)
    density = np.exp(-6 * place)
    sharpness = 3 + 2 * (run.head == "beta") - 20 * eps * _ROBUSTNESS[run.selection]
    names = sorted(set(run.patients))
    owner = np.array([names.index(patient) for patient in run.patients])
    count = noise.multinomial(_PIXELS * np.bincount(owner), density / density.sum())
    share = density * np.exp(sharpness * place)
    wanted = np.bincount(owner, wrong_px)[:, None] * share / share.sum()
    wrong = np.minimum(count, np.round(wanted)).astype(np.int64).ravel()
    bins = {"patient": np.repeat(names, keys.size), "bin": np.tile(keys, len(names)).astype(np.int32)}
    filled = pl.DataFrame(bins | {"count": count.ravel(), "wrong": wrong, "brier": 0.4 * wrong}).filter(
        pl.col("count") > 0
    )
    return pl.concat(filled.with_columns(measure=pl.lit(measure)) for measure in _MEASURES[run.head])


def _calibration(run: _Run, overconfidence: float, noise: np.random.Generator) -> pl.DataFrame:
    middle = (np.arange(15) + 0.5) / 15
    share = np.array([0.6, *np.full(13, 0.02), 0.14])
    odds = (middle / (1 - middle)) ** (1 / overconfidence)
    names = sorted(set(run.patients))
    count = noise.multinomial(_PIXELS * np.array([run.patients.count(patient) for patient in names]), share)
    columns = {
        "patient": np.repeat(names, middle.size),
        "bin": np.tile(np.arange(middle.size, dtype=np.int32), len(names)),
        "count": count.ravel(),
        "sum_probability": (count * middle).ravel(),
        "sum_reference": noise.binomial(count, odds / (1 + odds)).ravel().astype(float),
    }
    return pl.DataFrame(columns)


def _training_curves(selection: str, noise: np.random.Generator) -> pl.DataFrame:
    """Sparse columns as Lightning's CSVLogger leaves them: training and validation values on rows of their own."""
    epochs = np.arange(12)
    rise = 1 - np.exp(-epochs / 3)
    steps = {"epoch": epochs, "step": epochs * 10 + 9}
    dice = 0.7 * rise + noise.normal(0, 0.01, 12)
    robust = (0.8 - _ROBUSTNESS[selection] * 0.8) * rise + noise.normal(0, 0.02, 12)
    train = pl.DataFrame(steps | {"train_loss": 0.9 - 0.6 * rise})
    validation = pl.DataFrame(steps | {"validation_dice": dice, "validation_robust_dice": robust})
    return pl.concat([train, validation], how="diagonal").sort("epoch")


def _write_gallery(cell: Path, run: _Run) -> None:
    """Discs on smooth backgrounds: enough to see every tile of the gallery."""
    names, noise = run.names[:3], np.random.default_rng(run.seed)
    rows, columns = np.mgrid[:64, :64]
    stack: dict[str, list[Floats]] = {}
    dice, attacked_dice = [], []
    for place in range(len(names)):
        radius = 8.0 + 4 * place
        distance = np.hypot(rows - 32, columns - 24 - 4 * place)
        mask = distance < radius
        image = 0.4 + 0.2 * np.cos(columns / 12) + 0.2 * mask
        probability = 1 / (1 + np.exp((distance - radius - 1) / 2))
        attacked = 1 / (1 + np.exp((distance - radius * (1 - _ROBUSTNESS[run.selection])) / 2))
        changed = image + 4 / 255 * np.sign(noise.normal(size=image.shape))
        layers = {"image": image, "mask": mask, "probability": probability, "adversarial": np.clip(changed, 0, 1)}
        layers |= {"uncertainty": probability * (1 - probability), "adversarial_probability": attacked}
        layers |= {"adversarial_uncertainty": attacked * (1 - attacked)}
        for key, value in layers.items():
            stack.setdefault(key, []).append(value)
        dice.append(_dice(mask, probability > 0.5))
        attacked_dice.append(_dice(mask, attacked > 0.5))
    arrays = {key: np.stack(value).astype(np.uint8 if key == "mask" else np.float16) for key, value in stack.items()}
    np.savez(
        cell / "gallery.npz",
        name=np.array(names),
        condition=np.array(["pgd"] * len(names)),
        eps=np.full(len(names), 4 / 255),
        measure=np.array("mutual_information" if run.head == "beta" else "entropy"),
        dice=np.array(dice),
        adversarial_dice=np.array(attacked_dice),
        **arrays,  # type: ignore[arg-type]  # the stub takes the arrays for the option allow_pickle
    )


def _dice(mask: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    return float(2 * (mask & predicted).sum() / max(1, mask.sum() + predicted.sum()))
