"""What attacks do to a reader who only sees the cases that the model is unsure of: harm that goes unnoticed."""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from trustseg.deferral import load_policy
from trustseg.reporting import checks, image_scores
from trustseg.reporting.choices import describe_condition
from trustseg.reporting.harm import SCORE, deployed
from trustseg.reporting.image_scores import UNDEFINED, ConditionKey
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.robustness import compared_attacks
from trustseg.reporting.side_by_side import lay_out, weighted_means
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval

__all__ = ["deploy", "unnoticed_table"]

_CLEAN: Final[ConditionKey] = ("clean", 0.0)


def deploy(results: Results) -> Results:
    """Return the clean and attacked records of the models that have a frozen policy, with what it decided on them.

    Returns:
        The results with the columns ``u_of_policy`` (the score it reads), ``reviewed``, and ``unnoticed`` (harmed and
        not reviewed; null where clean).

    Raises:
        DataError: if a policy cannot be read, or reads what the records do not hold.
    """
    paths = {cell.id: cell.folder / "policy.json" for cell in results.cells}
    seen = results.records.filter(pl.col("kind").is_in(["clean", "attack"]))
    frames = [
        deployed(seen.filter(pl.col("cell") == name), policy)
        for name, path in paths.items()
        if path.is_file() and (policy := load_policy(path))
    ]
    return replace(results, records=pl.concat(frames, how="diagonal_relaxed") if frames else seen.clear())


def unnoticed_table(evidence: ReportData, *, draws: int) -> Table:
    """Return undetected harm, deferral rate, rank correlation and detection under every attack at one budget."""
    seen = deploy(evidence.results)
    rows: list[dict[str, Value]] = []
    for variant in seen.records["variant"].unique(maintain_order=True):
        places = [place for place in compared_attacks(evidence) if (variant, place) in evidence.robustness]
        if not places:
            continue
        held = [_CLEAN, *places]
        harm = lay_out(seen, variant, held, pl.col("unnoticed"))
        reviewed = lay_out(seen, variant, held, pl.col("reviewed"))
        scores = lay_out(seen, variant, held, pl.col(SCORE)).values
        one_each = np.eye(len(held))
        harms, rates = (weighted_means(sheet, one_each, draws=draws) for sheet in (harm, reviewed))
        for column, place in enumerate(held):
            ranked = image_scores.read_scores(seen, variant, place, SCORE)
            rows.append(
                {
                    "variant": variant,
                    "condition": describe_condition(*place),
                    "undetected": harms[column] if column else None,
                    "deferral": rates[column],
                    "correlation": image_scores.rank_correlation(ranked, draws=draws),
                    "detection": _detection(scores[:, 0], scores[:, column], harm.patients, draws) if column else None,
                    "trust": checks.trust(evidence.checks, variant) if column else None,
                }
            )
    columns = (
        Column("variant", "Variant"),
        Column("condition", "Condition"),
        Column("undetected", "Undetected harm ↓"),
        Column("deferral", "Deferral rate"),
        Column("correlation", "Spearman with 1 - Dice", signed=True),
        Column("detection", 'AUROC of "was attacked"'),
        *([Column("trust", "Checks")] if evidence.checks else []),
    )
    title = "What the frozen deferral policy sees of an attack, clean first"
    return Table("unnoticed", title, columns, tuple(rows))


def _detection(before: image_scores.Floats, after: image_scores.Floats, patients: object, draws: int) -> Interval:
    """Return the AUROC of telling attacked from clean images by their score, on images that have both."""
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return UNDEFINED
    return image_scores.told_apart(before[known], after[known], np.asarray(patients)[known], draws=draws)
