"""How much of images without foreground is marked by masks whose missed foreground is bounded.

    python scripts/control_masks.py OUT.csv CELL CONTROLS [SETTINGS ...]

CELL is a run or a cell of a study with its model, CONTROLS a folder of images without foreground; settings such as
data.path=FOLDER stand for those of its training. Thresholds are fitted on the validation images, at most .1 missed.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
from adaptive_masks import AT_MOST, images_of

from trustseg.cli.deferring import sides_of
from trustseg.data.batches import as_images, pack_loader
from trustseg.deferral import fit_false_negative_control
from trustseg.evaluation import load_model
from trustseg.evaluation.evaluate import population_of
from trustseg.tables import write_csv


def main(out: Path, cell: Path, controls: str, settings: list[str]) -> None:
    """Write the table."""
    validation, _ = images_of(cell, settings)
    loaded = load_model(cell / "model")
    pack, rows = population_of(controls, sides_of(cell / "model", loaded.spec, settings).pack)
    maps = []
    with torch.no_grad():
        for batch in pack_loader(pack, rows, batch_size=50):
            maps += [*loaded.belief(as_images(batch)[0]).probability.numpy()]
    fitted_on = (validation.p, validation.masks, validation.patients)
    found = {"p > 0.5": [each > 0.5 for each in maps]}
    for words, adaptive in (("one threshold", False), ("expected share", True)):
        control = fit_false_negative_control(*fitted_on, at_most=AT_MOST, adaptive=adaptive)
        found[words] = [control.mask(each) for each in maps]
    rows_of = [
        {
            "method": words,
            "images": len(masks),
            "marked": np.mean(masks),
            "empty": np.mean([not m.any() for m in masks]),
        }
        for words, masks in found.items()
    ]
    table = pl.DataFrame(rows_of).with_columns(pl.col(pl.Float64).round(4))
    write_csv(table, out)
    print(table)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
