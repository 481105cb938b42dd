"""What the frozen deferral policy of a run decides on its records."""

from typing import Final

import numpy as np
import polars as pl

from trustseg.deferral import Policy, apply_policy, fit_policy, load_policy
from trustseg.deferral.policy import NEEDED
from trustseg.metrics import undetected_harm
from trustseg.records import read_records
from trustseg.reporting.cells import FinishedCell
from trustseg.tables import floats_of

__all__ = ["SCORE", "has_policy", "policy_reading", "with_decisions"]

SCORE: Final = "u_of_policy"


def has_policy(cell: FinishedCell) -> bool:
    """Return whether a run has a deferral policy."""
    return (cell.folder / "policy.json").is_file()


def policy_reading(cell: FinishedCell, *, measure: str, column: str) -> Policy:
    """Return the frozen policy of a run if it reads the score ``column``, else one with the same aim that does.

    Both are fitted on the run's own validation images alone.
    """
    policy, validation = load_policy(cell.folder / "policy.json"), cell.folder / "validation.parquet"
    if policy.column == column:
        return policy
    return fit_policy(
        read_records(validation, required=NEEDED),
        measure=measure,
        aggregation=column.removeprefix(f"u_{measure}_"),
        target=policy.target,
        at_most=policy.at_most,
        tau=policy.tau,
        delta=policy.delta,
        model=policy.model,
    )


def with_decisions(records: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Return the clean and other records of one run with what a policy decided on them.

    Columns are those of ``apply_policy``, ``u_of_policy`` (the score it reads) and ``undetected_harm`` (null where
    clean).
    """
    records = apply_policy(policy, records)
    clean = records.filter(pl.col("kind") == "clean").select("image", clean_dice="dice")
    frame = records.join(clean, on="image", how="left", maintain_order="left")
    scores, dice, clean_dice = (floats_of(frame, name) for name in (policy.column, "dice", "clean_dice"))
    empty = (frame["mask_px"] == 0).fill_null(False).to_numpy()
    area = (frame["predicted_px"] / frame["pixels"]).to_numpy()
    known = ~np.isnan(scores + np.where(empty, area, clean_dice - dice))  # the others go to a reader
    inputs = (part[known] for part in (clean_dice, dice, scores, empty, area))
    undetected = np.zeros(len(frame), np.bool_)
    undetected[known] = undetected_harm(*inputs, threshold=policy.threshold)
    return frame.drop("clean_dice").with_columns(
        pl.Series(SCORE, scores),
        pl.when(pl.col("kind") != "clean").then(pl.Series(undetected)).alias("undetected_harm"),
    )
