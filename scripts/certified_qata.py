"""Certified deferral of models of QaTa-COV19: what is kept at which radius.

    python scripts/certified_qata.py DATA OUT.csv RUN [RUN ...]

RUN is a run or a cell of a study, with its model. Policies are fitted on its validation images and tried on the test
images, each predicted once under noise. OUT gets a row for each radius, and one for an ordinary policy without noise.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch

from trustseg.config import load_run
from trustseg.data import open_dataset
from trustseg.deferral import CertifiedPolicy, Policy, fit_certified_policy, fit_policy
from trustseg.evaluation import rows_of_split
from trustseg.evaluation.noisy import noisy_records
from trustseg.models import Segmenter
from trustseg.records import score_column
from trustseg.statistics import bootstrap_mean

NOISE: Final = 0.25
EXACT: Final = 1e-12  # a deviation so small that a noisy pass is one without noise
AT_MOST, TAU, DELTA = 0.1, 0.5, 0.05
RADII: Final = np.arange(0, 0.4001, 0.0125)
SCORE: Final[dict[str, Any]] = {
    "measure": "entropy",
    "aggregation": "soft_dice_confidence",
    "at_most": AT_MOST,
    "tau": TAU,
}


def passes(run: Path, data: str, folder: Path) -> dict[str, pl.DataFrame]:
    """Return records of the validation and test images of a run, without and with noise, kept in a folder."""
    config = load_run(run / "config.yaml", [f"data.path={data}"])
    pack = open_dataset(data, size=config.data.size)
    model = Segmenter.load(run / "model").requires_grad_(False)
    found = {}
    for split, seed in (("validation", 0), ("test", 1)):
        rows = rows_of_split(pack, split, config.data)
        for words, noise in (("clean", EXACT), ("noise", NOISE)):
            file = folder / f"{run.name}-{split}-{words}.parquet"
            if not file.is_file():
                about = {"measure": SCORE["measure"], "aggregation": SCORE["aggregation"]}
                table = noisy_records(model, pack, rows, noise=noise, seed=seed, **about)
                table.with_columns(condition=pl.lit(words)).write_parquet(file)
            found[f"{split} {words}"] = pl.read_parquet(file)
    return found


def row(policy: Policy | CertifiedPolicy, found: pl.DataFrame) -> dict[str, object]:
    """Return what a policy keeps of the test images, the Dice of what it keeps, and undetected failures per patient."""
    kept = ~policy.review(found[score_column(SCORE["measure"], SCORE["aggregation"])].to_numpy())
    values = found["dice"].to_numpy()
    failed = found.with_columns(harm=pl.Series((kept & (values < TAU)).astype(float)))
    harm = bootstrap_mean(*failed.group_by("patient", maintain_order=True).agg(pl.mean("harm"))["harm", "patient"])
    return {
        "dice": values.mean(),
        "failing": (values < TAU).mean(),
        "kept": kept.mean(),
        "dice_of_kept": values[kept].mean() if kept.any() else None,
        "undetected": harm.value,
        "undetected_low": harm.low,
        "undetected_high": harm.high,
    }


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of QaTa-COV19-v2")
    parser.add_argument("output", type=Path, help="table to write, as CSV; passes are kept beside it")
    parser.add_argument("runs", type=Path, nargs="+", help="runs or cells, with their models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for run in options.runs:
        found = passes(run, options.data, options.output.parent)
        ordinary = fit_policy(found["validation clean"], **SCORE, target="missed_lesions", delta=DELTA)
        rows.append(
            {"run": run.name, "policy": "ordinary, no noise", "radius": None, **row(ordinary, found["test clean"])}
        )
        for radius in RADII.tolist():
            policy = fit_certified_policy(found["validation noise"], **SCORE, radius=radius, noise=NOISE, size=96)
            rows.append({"run": run.name, "policy": "certified", "radius": radius, **row(policy, found["test noise"])})
        certified = [each for each in rows if each["run"] == run.name and each["radius"] is not None]
        largest = max((each["radius"] for each in certified if each["kept"] > 0.5), default=None)
        print(f"{run.name}: more than half of the test images are kept up to r = {largest}", flush=True)
    table = pl.DataFrame(rows, infer_schema_length=None)
    table.with_columns(pl.col(pl.Float64).round(4)).write_csv(options.output)


if __name__ == "__main__":
    main()
