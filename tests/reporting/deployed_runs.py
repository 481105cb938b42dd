"""Runs with a deferral policy, and records that are easy to count."""

from pathlib import Path

import polars as pl
from tests.policies import policy_with

from trustseg.deferral import save_policy
from trustseg.reporting.cells import FinishedCell

PGD = ("pgd", 4 / 255)


def a_run(folder: Path, variant: str, *, column: str, threshold: float) -> FinishedCell:
    """A run with a policy, and validation records whose u_entropy_mean are 0.1 to 1, u_variance_mean twice that."""
    cell = folder / variant
    cell.mkdir(parents=True)
    images = [f"v{k}" for k in range(10)]
    shared: dict[str, object] = {"image": images, "patient": images, "condition": "clean", "eps": 0.0, "dice": 0.9}
    scores = {"u_entropy_mean": [k / 10 for k in range(1, 11)], "u_variance_mean": [k / 5 for k in range(1, 11)]}
    pl.DataFrame({**shared, "mask_px": 5, "predicted_px": 5, **scores}).write_parquet(cell / "validation.parquet")
    measure = column.split("_")[1]
    save_policy(
        policy_with(measure=measure, threshold=threshold, at_most=0.4, images=10, patients=10),
        cell / "policy.json",
    )
    return FinishedCell(id=variant, variant=variant, head="beta", selection="none", fold=-1, seed=0, folder=cell)


def some_records(variant: str, condition: str, dice: list[float], u: list[float]) -> pl.DataFrame:
    """Ten images of ten patients, the last one without foreground but with a tenth of it predicted as foreground."""
    clean = condition == "clean"
    return pl.DataFrame(
        {
            "cell": variant,
            "variant": variant,
            "kind": "clean" if clean else "attack",
            "condition": condition,
            "eps": 0.0 if clean else 4 / 255,
            "image": [f"i{k}" for k in range(10)],
            "patient": [f"p{k}" for k in range(10)],
            "seed": 0,
            "pixels": 100,
            "mask_px": [5] * 9 + [0],
            "predicted_px": [5] * 9 + [0 if clean else 10],
            "dice": dice,
            "u_entropy_mean": u,
            "u_variance_mean": u,
        }
    )
