"""Harm that a deferral policy does not notice: what each model's own policy, fitted before any test, lets pass."""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral import Policy, apply_policy, fit_policy, load_policy
from trustseg.deferral.policy import NEEDED
from trustseg.metrics import undetected_harm
from trustseg.records import read_records
from trustseg.reporting import checks, image_scores
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.condition_means import means_of, values_under
from trustseg.reporting.image_scores import UNDEFINED, numbers
from trustseg.reporting.labels import CLEAN, describe_condition
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.robustness import compared_attacks
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval

__all__ = ["SCORE", "deploy", "deployed", "is_deployed", "policy_by", "unnoticed_table"]

SCORE: Final = "u_of_policy"


def is_deployed(cell: FinishedCell) -> bool:
    """Return whether a run has a deferral policy."""
    return (cell.folder / "policy.json").is_file()


def policy_by(cell: FinishedCell, *, measure: str, column: str) -> Policy:
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


def deployed(records: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Return the clean and other records of one run with what a policy decided on them.

    Added are the columns ``u_of_policy`` (the score it reads), ``reviewed``, and ``unnoticed`` (harmed and not
    reviewed, see ``undetected_harm``; null where clean).
    """
    records = apply_policy(policy, records)
    clean = records.filter(pl.col("kind") == "clean").select("image", clean_dice="dice")
    frame = records.join(clean, on="image", how="left", maintain_order="left")
    scores, dice, clean_dice = (numbers(frame, name) for name in (policy.column, "dice", "clean_dice"))
    empty = (frame["mask_px"] == 0).fill_null(False).to_numpy()
    area = (frame["predicted_px"] / frame["pixels"]).to_numpy()
    known = ~np.isnan(scores + np.where(empty, area, clean_dice - dice))  # the others go to a reader
    given = (part[known] for part in (clean_dice, dice, scores, empty, area))
    unnoticed = np.zeros(len(frame), np.bool_)
    unnoticed[known] = undetected_harm(*given, threshold=policy.threshold)
    return frame.drop("clean_dice").with_columns(
        pl.Series(SCORE, scores),
        pl.col("review").alias("reviewed"),
        pl.when(pl.col("kind") != "clean").then(pl.Series(unnoticed)).alias("unnoticed"),
    )


def deploy(results: Results) -> Results:
    """Return the clean and attacked records of the models that have a frozen policy, as ``deployed``."""
    paths = {cell.id: cell.folder / "policy.json" for cell in results.cells}
    seen = results.records.filter(pl.col("kind").is_in(["clean", "attack"]))
    frames = [
        deployed(seen.filter(pl.col("cell") == name), load_policy(path))
        for name, path in paths.items()
        if path.is_file()
    ]
    return replace(results, records=pl.concat(frames, how="diagonal_relaxed") if frames else seen.clear())


def unnoticed_table(data: ReportData, *, draws: int) -> Table:
    """Return undetected harm, deferral rate, rank correlation and detection under every attack at one budget."""
    seen = deploy(data.results)
    rows: list[Row] = []
    for variant in seen.records["variant"].unique(maintain_order=True):
        attacked = data.evaluated(variant, compared_attacks(data))
        if not attacked:
            continue
        held = [CLEAN, *attacked]
        harm, reviewed, scores = (
            values_under(seen, variant, held, pl.col(name)) for name in ("unnoticed", "reviewed", SCORE)
        )
        harms, rates = (means_of(table, draws=draws) for table in (harm, reviewed))
        for column, condition in enumerate(held):
            before, after = scores.values[:, 0], scores.values[:, column]
            ranked = image_scores.read_scores(seen, variant, condition, SCORE)
            rows.append(
                {
                    "variant": variant,
                    "condition": describe_condition(condition),
                    "undetected": harms[column] if column else None,
                    "deferral": rates[column],
                    "correlation": image_scores.rank_correlation(ranked, draws=draws),
                    "detection": _detection(before, after, harm.patients, draws) if column else None,
                    "trust": checks.trust(data.checks, variant) if column else None,
                }
            )
    return data.table("unnoticed", rows)


def _detection(
    before: image_scores.Floats, after: image_scores.Floats, patients: NDArray[np.str_], draws: int
) -> Interval:
    """Return the AUROC of telling attacked from clean images by their score, on images that have both."""
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return UNDEFINED
    return image_scores.told_apart(before[known], after[known], patients[known], draws=draws)
