"""Write how well models segment the clean images of a test set, with intervals over patients.

Usage: python scripts/clean_table.py TABLE.csv EVALUATION ...     (folders of `trustseg evaluate`, which name the rows)

AURC is that of soft Dice confidence against one minus the Dice of an image.
"""

import sys
from pathlib import Path

import polars as pl

from trustseg.metrics import aurc, dice_terms, iou_terms
from trustseg.records import read_records
from trustseg.statistics import Interval, bootstrap_mean, bootstrap_ratio, bootstrap_statistic


def main(table: Path, folders: list[Path]) -> None:
    """Write a row per evaluation and print it."""
    rows = [_row(folder) for folder in folders]
    found = pl.DataFrame(rows)
    found.write_csv(table, float_precision=6)
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=200):
        print(found)


def _row(folder: Path) -> dict[str, str | int | float]:
    records = read_records(folder / "records.parquet").filter(pl.col("kind") == "clean", pl.col("mask_px") > 0)
    patients = records["patient"].to_list()
    pixels = [records[f"{name}_px"].to_numpy() for name in ("intersection", "predicted", "mask")]
    uncertainty, error = records["u_entropy_soft_dice_confidence"].to_torch(), 1 - records["dice"].to_torch()
    scores = {
        "dice": bootstrap_mean(records["dice"].to_numpy(), patients),
        "dice_native": bootstrap_mean(records["dice_native"].cast(pl.Float64).to_numpy(), patients),
        "iou": bootstrap_mean(records["iou"].to_numpy(), patients),
        "pooled_dice": bootstrap_ratio(*dice_terms(*pixels), patients),
        "pooled_iou": bootstrap_ratio(*iou_terms(*pixels), patients),
        "aurc": bootstrap_statistic(lambda rows: float(aurc(uncertainty[rows], error[rows])), patients),
    }
    about = {"model": folder.name, "images": len(records), "patients": records["patient"].n_unique()}
    return {**about, **{key: value for name, score in scores.items() for key, value in _columns(name, score).items()}}


def _columns(name: str, score: Interval) -> dict[str, float]:
    return {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
