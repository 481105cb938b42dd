"""What evaluation adds to a synthetic cell when it is told to attack harder: shifts, checks, a policy, a population."""

import json
from pathlib import Path

import numpy as np
import polars as pl

SHIFTS = ("gaussian_noise", "jpeg", "rotation")
SEVERITIES = (1, 3, 5)
CHECKS = {"zero_gradients": 0.05, "unbounded_budget": 0.05, "transfer": 0.02}
THRESHOLD = 0.3
_OF_A_MASK = ("mask_px", "intersection_px", "dice", "iou", "harm")


def write_stress(cell: Path, *, suspicious: bool) -> None:
    """Add conditions to the records of a cell, and the files that evaluation leaves beside them.

    An ensemble never above PGD at the same budgets, an attack at 2/255 alone that lowers the score of each image below
    the threshold of the policy, shifts that cost the more the more severe they are, and a population without masks.
    """
    records = pl.read_parquet(cell / "records.parquet").with_columns(
        kind=pl.when(pl.col("condition") == "clean").then(pl.lit("clean")).otherwise(pl.lit("attack")),
        severity=pl.lit(0, pl.Int32),
    )
    clean = records.filter(pl.col("kind") == "clean")
    pgd = records.filter(pl.col("condition") == "pgd")
    single = pgd.filter((pl.col("eps") - 2 / 255).abs() < 1e-9)
    scores = [name for name in records.columns if name.startswith("u_")]
    surer = [pl.col(name) * 0.2 for name in scores]
    unknown = [pl.lit(None).cast(records.schema[name]).alias(name) for name in _OF_A_MASK]
    frames = [
        records,
        _worse(pgd, 0.9).with_columns(condition=pl.lit("ensemble")),
        _worse(single, 0.95).with_columns(*surer, condition=pl.lit("deferral_aware")),
        *(
            _worse(clean, 1 - 0.01 * severity * (place + 1)).with_columns(
                condition=pl.lit(f"{name}_{severity}"),
                kind=pl.lit("shift"),
                severity=pl.lit(severity, pl.Int32),
                linf=pl.lit(0.3),  # a shift has no budget
            )
            for place, name in enumerate(SHIFTS)
            for severity in SEVERITIES
        ),
        clean.with_columns(
            *unknown,
            condition=pl.lit("ct"),
            kind=pl.lit("population"),
            image="ct_" + pl.col("image"),
            patient="other_" + pl.col("patient"),
        ),
    ]
    pl.concat(frames).write_parquet(cell / "records.parquet")
    _write_checks(cell, suspicious=suspicious)
    _write_policy(cell)
    cost = {"passes": 1, "seconds_per_image": 0.004, "timed_batch_size": 16, "timed_on": "cpu", "timed_threads": 1}
    (cell / "evaluation.json").write_text(json.dumps({"fingerprint": "0", "shift_table": 1, **cost}))


def _worse(frame: pl.DataFrame, factor: float) -> pl.DataFrame:
    """Return records with less overlap, consistent in pixels."""
    hit = (pl.col("intersection_px") * factor).floor().cast(pl.Int64)
    both = pl.col("mask_px") + pl.col("predicted_px")
    return frame.with_columns(intersection_px=hit).with_columns(
        dice=2 * pl.col("intersection_px") / both,
        iou=pl.col("intersection_px") / (both - pl.col("intersection_px")),
    )


def _write_checks(cell: Path, *, suspicious: bool) -> None:
    figures = {"zero_gradients": 0.0, "unbounded_budget": 0.17 if suspicious else 0.01, "transfer": None}
    found = [
        {"name": name, "threshold": threshold, "figure": figures[name], "meaning": f"what {name} <means>"}
        | {"status": _status(figures[name], threshold)}
        for name, threshold in CHECKS.items()
    ]
    (cell / "masking_checks.json").write_text(json.dumps({"model": "0", "eps": 2 / 255, "checks": found}))


def _status(figure: float | None, threshold: float) -> str:
    if figure is None:
        return "not_run"
    return "ok" if figure <= threshold else "suspicious"


def _write_policy(cell: Path) -> None:
    policy = {"measure": "entropy", "aggregation": "mean", "threshold": THRESHOLD, "target": "review_rate"}
    policy |= {"at_most": 0.2, "tau": 0.5, "delta": 0.05, "images": 40, "patients": 30, "patients_hash": "0"}
    (cell / "policy.json").write_text(json.dumps(policy | {"statement": "At most 0.2 of the images are reviewed."}))
    records = pl.read_parquet(cell / "records.parquet").filter(pl.col("kind") == "clean")
    noise = np.random.default_rng(0).normal(0, 0.01, len(records))
    records.with_columns(pl.col("u_entropy_mean") + noise).write_parquet(cell / "validation.parquet")
