"""Compare how failed segmentations are found: by a map from one pass to Dice, by single scores, by an ensemble.

    python scripts/failure_detection.py OUT.csv --model TEST VALIDATION [--model ...] [--ensemble TEST ...]

Each folder holds records.parquet of ``trustseg evaluate``; VALIDATION has validation images: clean, shifted, attacked,
to which the clean ones of TEST/validation.parquet are added if they are there.
The map is a ridge regression of Dice on the image scores that records hold, the predicted area, and their products,
each replaced by its rank among the validation images. Its penalty is chosen by cross-validation over their patients;
test records are only ranked. OUT.csv gets the AURC of each model, group of conditions and score, with the difference to
soft Dice confidence and, where the ensemble saw the same images, the ratio to it.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral.ranking import AURC, auroc_of_failures
from trustseg.records import read_records
from trustseg.statistics import bootstrap_counts
from trustseg.tables import write_csv

Floats = NDArray[np.float64]

SDC: Final = "u_entropy_soft_dice_confidence"
FOREGROUND: Final = "u_entropy_foreground_mean"
PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1)
FOLDS: Final = 5
GROUPS: Final[Mapping[str, pl.Expr]] = {
    "clean": pl.col("kind") == "clean",
    "shifts": pl.col("kind") == "shift",
    "attacks": pl.col("kind") == "attack",
    "all": pl.col("kind").is_not_null(),
}
COMPARED: Final[Mapping[str, Callable[[Sequence[Floats], Floats], Floats]]] = {
    "aurc": lambda arrays, times: AURC(times, *arrays),
    "less": lambda arrays, times: AURC(times, *arrays[:2]) - AURC(times, *arrays[2:]),
    "ratio": lambda arrays, times: AURC(times, *arrays[:2]) / AURC(times, *arrays[2:]),
}
"""AURC of (risk, uncertainty), and what becomes of two of them."""


def columns_of(*tables: pl.DataFrame) -> list[str]:
    """Return the image scores that every table holds, soft Dice confidence once, and those of the evidence."""
    scores = [name for name in tables[0].columns if name.startswith(("u_", "strength_"))]
    once = [name for name in scores if name == SDC or not name.endswith("soft_dice_confidence")]
    return [name for name in once if all(name in table.columns and table[name].null_count() == 0 for table in tables)]


def features_of(table: pl.DataFrame, columns: list[str]) -> Floats:
    """Return the scores and the predicted share of each image, (N, F)."""
    share = table["predicted_px"] / table["pixels"]
    return np.column_stack([table.select(columns).to_numpy(), share.to_numpy()])


def fitted(features: Floats, dice: Floats, *, penalty: float) -> Callable[[Floats], Floats]:
    """Return the map from features (N, F) to a predicted Dice (N,)."""
    known = np.sort(features, axis=0)

    def products(values: Floats) -> Floats:
        ranks = [np.searchsorted(known[:, k], values[:, k], "left") for k in range(known.shape[1])]
        ranks = [r + np.searchsorted(known[:, k], values[:, k], "right") for k, r in enumerate(ranks)]
        z = np.column_stack(ranks) / len(known) - 1  # in [-1, 1], so that nothing is extrapolated
        first, second = np.triu_indices(z.shape[1])
        return np.column_stack([z, z[:, first] * z[:, second], z**3])

    terms = products(features)
    centre = terms.mean(axis=0)
    terms = terms - centre
    normal = terms.T @ terms + penalty * len(terms) * np.eye(terms.shape[1])
    weights = np.linalg.solve(normal, terms.T @ (dice - dice.mean()))
    return lambda values: (products(values) - centre) @ weights + dice.mean()


def dice_map(table: pl.DataFrame, columns: list[str]) -> Callable[[pl.DataFrame], Floats]:
    """Return the map from records to predicted Dice, with the penalty of least squared error over held-out patients."""
    x, y = features_of(table, columns), table["dice"].to_numpy()
    names, owner = np.unique(table["patient"].to_numpy(), return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(names))[owner] % FOLDS

    def error(penalty: float) -> float:
        held = [(fold == k, fitted(x[fold != k], y[fold != k], penalty=penalty)) for k in range(FOLDS)]
        return float(sum(((found(x[part]) - y[part]) ** 2).sum() for part, found in held))

    best = fitted(x, y, penalty=min(PENALTIES, key=error))
    return lambda records: best(features_of(records, columns))


def scores_of(test: pl.DataFrame, validation: pl.DataFrame) -> dict[str, Floats]:
    """Return every score of the test records (N,), higher for a worse segmentation."""
    columns = columns_of(test, validation)
    print("features:", ", ".join([*columns, "predicted share"]))
    kinds = {kind: dice_map(validation.filter(pl.col("kind") != kind), columns) for kind in ("shift", "attack")}
    own = test["kind"].to_numpy()
    whole = dice_map(validation, columns)(test)
    unseen = np.select([own == kind for kind in kinds], [found(test) for found in kinds.values()], whole)
    return {
        "soft Dice confidence": test[SDC].to_numpy(),
        "foreground mean": test[FOREGROUND].to_numpy(),
        "map, fitted clean": -dice_map(validation.filter(pl.col("kind") == "clean"), columns)(test),
        "map, fitted without the kind": -unseen,
        "map": -whole,
    }


def rows_of(test: pl.DataFrame, scores: Mapping[str, Floats], mixture: pl.DataFrame | None) -> list[dict[str, object]]:
    """Return the rows of one model: groups with intervals, conditions without."""
    key = ["image", "condition", "eps"]
    risk, patients = 1 - test["dice"].to_numpy(), test["patient"].to_numpy()
    every = {name: (values, risk) for name, values in scores.items()}
    if mixture is not None:
        other = test.select(key).join(mixture, key, "left", maintain_order="left").select("dice", SDC).to_numpy()
        every |= {"ensemble": (other[:, 1], 1 - other[:, 0]), "one Dice, ensemble's score": (other[:, 1], risk)}
    groups = {name: test.select(chosen.alias("part"))["part"].to_numpy() for name, chosen in GROUPS.items()}
    names = test["condition"] + pl.Series([f" {eps * 255:.3g}/255" if eps else "" for eps in test["eps"]])
    groups |= {name: (names == name).to_numpy() for name in names.unique(maintain_order=True) if name != "clean"}
    rows: list[dict[str, object]] = []
    for group, part in groups.items():
        known = {name: (score[part], error[part]) for name, (score, error) in every.items()}
        known = {name: pair for name, pair in known.items() if not np.isnan(pair).any()}
        for name, pair in known.items():
            values = {"aurc": pair[::-1], "less": (*pair[::-1], *known["soft Dice confidence"][::-1])}
            if "ensemble" in known:
                values["ratio"] = (*pair[::-1], *known["ensemble"][::-1])
            row: dict[str, object] = {"group": group, "score": name, "images": int(part.sum())}
            for what, arrays in values.items():
                statistic = partial(COMPARED[what], arrays)
                if group in GROUPS:
                    found = bootstrap_counts(statistic, patients[part], draws=500)
                    row |= {what: found.value, f"{what}_low": found.low, f"{what}_high": found.high}
                else:
                    row |= {what: float(statistic(np.ones((1, part.sum())))[0])}
            once = np.ones((1, int(part.sum())))
            row["auroc"] = float(auroc_of_failures(0.5)(once, pair[1], pair[0])[0])
            rows.append(row)
    return rows


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, nargs=2, action="append", required=True, metavar=("TEST", "VALIDATION"))
    parser.add_argument("--ensemble", type=Path, help="records of an ensemble on the same test images")
    options = parser.parse_args()
    mixture = None if options.ensemble is None else table_of(options.ensemble / "records.parquet")
    rows: list[dict[str, object]] = []
    for tested, chosen in options.model:
        test, validation = table_of(tested / "records.parquet"), table_of(chosen / "records.parquet")
        if (tested / "validation.parquet").is_file():
            more = table_of(tested / "validation.parquet").join(validation, ["image", "condition", "eps"], "anti")
            validation = pl.concat([validation, more], how="diagonal")
        if shared := set(test["patient"]) & set(validation["patient"]):
            raise SystemExit(f"{len(shared)} patients are on both sides, such as {min(shared)}")
        found = rows_of(test, scores_of(test, validation), mixture)
        rows += [{"model": tested.name, **row} for row in found]
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col(pl.Float64).round(4))
    write_csv(table, options.out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200):
        print(
            table.filter(pl.col("group").is_in(list(GROUPS))).select("model", "group", "score", "aurc", "auroc", "less")
        )


def table_of(file: Path) -> pl.DataFrame:
    """Return the records of images with foreground."""
    known = read_records(file).filter(pl.col("mask_px") > 0)
    return known.with_columns(pl.col(pl.Float32).cast(pl.Float64))


if __name__ == "__main__":
    main()
