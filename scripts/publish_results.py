"""Copy what a study found, and no picture of a patient, into docs/results/NAME.

Usage: python scripts/publish_results.py runs/NAME [--no-figures]     (after `trustseg study` and `trustseg report`)

Writes the study's folder without weights (cells/ with records, policies and provenance), tables, figures and
provenance.json, and puts the summary table between the marks of docs/results/NAME/README.md. Of the tables of pixels it
keeps the first measure of uncertainty, clean images and the conditions of the hypotheses, and sums the patients into
40 groups: half a megabyte for each cell instead of sixty. What is published is a study folder:
`trustseg report docs/results/NAME -o PAGE` reads it, and cells copied from it into runs/NAME/cells need not be trained
again.
"""

import json
import shutil
import sys
from pathlib import Path
from zlib import crc32

import polars as pl
import yaml
from marks import fill

from trustseg.config.privacy import settings_without_folders

ROOT = Path(__file__).parent.parent
START = "<!-- results: written by scripts/publish_results.py -->"
END = "<!-- end of results -->"
_OF_A_CELL = (
    *("cell.json", "done.json", "config.yaml", "provenance.json", "evaluation.json", "policy.json", "metrics.csv"),
    "masking_checks.json",
)
GROUPS = 40


def main(folder: Path, *, figures: bool = True) -> None:
    """Publish the study in ``folder``."""
    target = ROOT / "docs" / "results" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    cells = [folder / "cells" / name for name in json.loads((folder / "plan.json").read_text())["cells"]]
    done = [cell for cell in cells if (cell / "done.json").exists()]
    asked = yaml.safe_load((folder / "hypotheses.yaml").read_text(encoding="utf-8"))["hypotheses"]
    shutil.rmtree(target / "cells", ignore_errors=True)
    for cell in done:
        _publish_cell(cell, target / "cells" / cell.name)
        _publish_pixels(cell, target / "cells" / cell.name, {"clean", *(each["condition"] for each in asked)})
    for name in ("study.yaml", "plan.json", "hypotheses.yaml"):
        if (folder / name).is_file():
            _copy(folder / name, target / name)
    for kind, endings in (("tables", ("csv", "md", "tex")), ("figures", ("png", "pdf"))):
        shutil.rmtree(target / kind, ignore_errors=True)
        if kind == "figures" and not figures:
            continue
        (target / kind).mkdir()
        for file in sorted((folder / kind).iterdir()):
            if file.suffix[1:] in endings:
                shutil.copy(file, target / kind)
    provenance = [json.loads((cell / "provenance.json").read_text()) for cell in done]
    seconds = [json.loads((cell / "done.json").read_text()) for cell in done]
    about = {
        **provenance[0],
        "commits": sorted({str(entry["commit"]) for entry in provenance}),
        "cells": {"planned": len(cells), "done": len(done)},
        "seconds_training": round(sum(entry.get("seconds_training", 0) for entry in seconds)),
        "seconds_evaluation": round(sum(entry.get("seconds_evaluation", 0) for entry in seconds)),
    }
    (target / "provenance.json").write_text(json.dumps(about, indent=2) + "\n")
    readme = target / "README.md"
    if readme.exists():
        table = (folder / "tables" / "summary.md").read_text(encoding="utf-8").strip()
        fill(readme, START, END, lambda _: table)


def _publish_cell(cell: Path, target: Path) -> None:
    """Copy what a report reads of a finished cell, but for the tables of pixels."""
    target.mkdir(parents=True)
    for name in _OF_A_CELL:
        if (cell / name).is_file():
            _copy(cell / name, target / name)
    for name in ("records.parquet", "validation.parquet"):
        if (cell / name).is_file():
            table = pl.read_parquet(cell / name)
            table.write_parquet(target / name, compression="zstd", compression_level=19)


def _publish_pixels(cell: Path, target: Path, conditions: set[str]) -> None:
    """Write the sums over pixels that the hypotheses and the summary need, patients in groups."""
    measure = yaml.safe_load((cell / "config.yaml").read_text(encoding="utf-8"))["evaluation"]["measures"][0]
    for name in ("histograms.parquet", "calibration.parquet"):
        if not (cell / name).is_file():
            continue
        asked = pl.col("condition").str.strip_chars_end("0123456789")  # overconfidence10 is asked for as overconfidence
        table = pl.read_parquet(cell / name).filter(asked.is_in(conditions))
        if "measure" in table.columns:
            table = table.filter(measure=measure)
        patients = table["patient"].unique().to_list()
        if len(patients) > GROUPS:
            groups = {patient: f"group-{crc32(patient.encode()) % GROUPS:03d}" for patient in patients}
            table = table.with_columns(pl.col("patient").replace_strict(groups))
        sums = [column for column in ("count", "wrong", "brier", "sum_probability", "sum_reference") if column in table]
        kept = [column for column in table.columns if column not in sums]
        table = table.group_by(kept).agg(pl.col(sums).cast(pl.Float64).sum()).sort(kept).cast(table.schema)
        table.write_parquet(target / name, compression="zstd", compression_level=19)


def _copy(file: Path, target: Path) -> None:
    """Copy a file; settings without the folders above the paths in them."""
    if file.name in ("study.yaml", "config.yaml"):
        settings = settings_without_folders(yaml.safe_load(file.read_text(encoding="utf-8")))
        target.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    else:
        shutil.copyfile(file, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), figures="--no-figures" not in sys.argv)
