"""Compare evidential losses: a table of every data term and KL weight of a study, as CSV and Markdown.

    trustseg study experiments/losses.yaml
    python scripts/loss_comparison.py runs/losses docs/results/losses

Scores are those of the report: per-image Dice, positive-class ECE and nAUSE over all pixels, with 95 % bootstrap
intervals over patients, averaged over the seeds. Off the training distribution: AUROC of the image score (mean of the
measure) for telling strongly shifted test images from clean ones.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from trustseg.metrics import METRICS
from trustseg.reporting.pixel_scores import estimate, pixel_table
from trustseg.reporting.results import Results, load_results
from trustseg.statistics import Interval, bootstrap_mean

CLEAN = ("clean", 0.0)
MEASURES = ("entropy", "epistemic_variance", "vacuity")


def detection(records: pl.DataFrame, measure: str) -> float:
    """Return the mean AUROC of the mean of a measure, shifted against clean images, over shifts and seeds."""
    column = f"u_{measure}_mean"
    clean = records.filter(kind="clean")
    found = []
    for (_, seed), shifted in records.filter(kind="shift").group_by("condition", "seed"):
        own = clean.filter(seed=seed)
        labels = np.r_[np.zeros(len(own)), np.ones(len(shifted))]
        found.append(roc_auc_score(labels, np.r_[own[column], shifted[column]]))
    return float(np.mean(found))


def row(results: Results, variant: str, *, draws: int) -> dict[str, object]:
    """Return the scores of one variant."""
    records = results.records.filter(variant=variant)
    values = dict(results.cells_of(variant)[0].values)
    clean = records.filter(kind="clean").group_by("image", "patient").agg(pl.col("dice").mean()).drop_nans("dice")
    scores: dict[str, object] = {"data_term": values["loss.beta"], "kl_weight": values["loss.kl_weight"]}
    intervals: dict[str, Interval] = {
        "dice": bootstrap_mean(clean["dice"], clean["patient"], draws=draws),
        "ece": estimate(pixel_table(results, variant, CLEAN, METRICS["ece"]), draws=draws),
    }
    for measure in MEASURES:
        table = pixel_table(results, variant, CLEAN, METRICS["nause"], measure=measure)
        intervals[f"nause_{measure}"] = estimate(table, draws=draws)
    for name, interval in intervals.items():
        scores |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    scores |= {f"auroc_shift_{measure}": detection(records, measure) for measure in MEASURES}
    return scores


def main() -> None:
    """Write comparison.csv, comparison.md and the records they stand on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of the finished study")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws (default: %(default)s)")
    options = parser.parse_args()
    results = load_results(options.study)
    rows = [row(results, variant, draws=options.draws) for variant in results.variants]
    table = pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(4)).sort("data_term", "kl_weight")
    options.output.mkdir(parents=True, exist_ok=True)
    table.write_csv(options.output / "comparison.csv")
    results.records.write_parquet(options.output / "records.parquet", compression="zstd", compression_level=19)
    (options.output / "comparison.md").write_text(markdown(table), encoding="utf-8")


def markdown(table: pl.DataFrame) -> str:
    """Return the table with intervals in brackets."""
    shown = ["dice", "ece", *(f"nause_{measure}" for measure in MEASURES)]
    heads = [
        "data term",
        "KL weight",
        "Dice",
        "ECE",
        *(f"nAUSE {m}" for m in MEASURES),
        *(f"AUROC shift {m}" for m in MEASURES),
    ]
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|---" * len(heads) + "|"]
    for one in table.rows(named=True):
        cells = [str(one["data_term"]).replace("_", " "), f"{one['kl_weight']:g}"]
        cells += [f"{one[name]:.3f} [{one[f'{name}_low']:.3f}, {one[f'{name}_high']:.3f}]" for name in shown]
        cells += [f"{one[f'auroc_shift_{measure}']:.3f}" for measure in MEASURES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
