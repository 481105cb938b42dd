"""Harm that a deferral policy does not notice: what each model's own policy, fitted before any test, lets pass."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral import load_policy
from trustseg.reporting import checks, image_scores
from trustseg.reporting.condition_means import means_of, values_under
from trustseg.reporting.deployed import SCORE, deployed
from trustseg.reporting.image_scores import UNDEFINED
from trustseg.reporting.labels import CLEAN, describe_condition
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.robustness import compared_attacks
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval

__all__ = ["deploy", "unnoticed_table"]


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
