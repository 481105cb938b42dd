"""Attack a network of examples/published_models.py by FGSM, image by image, as its audit would.

    PYTHONPATH=examples python scripts/audit_fgsm.py MANIFEST WEIGHTS OUT.csv

For retina-unet of docs/results/audits, whose images of 584 px are slow on a busy machine. OUT.csv gets the Dice of each
image; the mean with its interval over patients is printed.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.data import open_dataset
from trustseg.evaluation.conditions import conditions_of
from trustseg.evaluation.measuring import cohort_of, measure
from trustseg.models.foreign import Conventions, ForeignModel, open_model
from trustseg.statistics import bootstrap_mean
from trustseg.tables import write_csv


def main(manifest: Path, weights: Path, out: Path) -> None:
    """Attack every image of the manifest at 2/255."""
    network = open_model("published_models:retina_unet", weights=weights, trust_code=True)
    model = ForeignModel(network, Conventions(output="softmax", class_index=1, order="grey")).eval()
    pack = open_dataset(manifest, size=584, channels=1)
    config = EvaluationConfig(
        attacks=(AttackConfig(name="fgsm", eps=(2 / 255,)),),
        shifts=(),
        measures=("entropy",),
        aggregations=("soft_dice_confidence",),
    )
    conditions = [condition for condition in conditions_of(config) if condition.kind != "clean"]
    rows = []
    for row in range(len(pack)):
        found = measure(model, cohort_of(pack, np.array([row]), device="cpu"), conditions, config, seed=0)
        records = found[conditions[0].slug]["records"]
        rows.append({"patient": pack.index["patient"][row], "dice": float(records["dice"][0])})
    table = pl.DataFrame(rows)
    write_csv(table, out)
    print(bootstrap_mean(table["dice"].to_numpy(), table["patient"].to_list()).text(3))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
