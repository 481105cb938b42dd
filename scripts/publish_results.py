"""Copy what a study found, and no picture of a patient, into docs/results/NAME.

Usage: python scripts/publish_results.py runs/NAME [--no-figures]     (after `trustseg study` and `trustseg report`)

Writes records.parquet (a row an image and condition, all cells), tables, figures and provenance.json, and puts the
summary table between the marks of docs/results/NAME/README.md.
"""

import json
import shutil
import sys
from pathlib import Path

import polars as pl
from marks import fill

ROOT = Path(__file__).parent.parent
START = "<!-- results: written by scripts/publish_results.py -->"
END = "<!-- end of results -->"


def main(folder: Path, *, figures: bool = True) -> None:
    """Publish the study in ``folder``."""
    target = ROOT / "docs" / "results" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    cells = [folder / "cells" / name for name in json.loads((folder / "plan.json").read_text())["cells"]]
    done = [cell for cell in cells if (cell / "done.json").exists()]
    records = pl.concat([pl.read_parquet(cell / "records.parquet") for cell in done], how="diagonal_relaxed")
    records.write_parquet(target / "records.parquet", compression="zstd", compression_level=19)
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
        "seconds_training": round(sum(entry["seconds_training"] for entry in seconds)),
        "seconds_evaluation": round(sum(entry["seconds_evaluation"] for entry in seconds)),
    }
    (target / "provenance.json").write_text(json.dumps(about, indent=2) + "\n")
    readme = target / "README.md"
    if readme.exists():
        table = (folder / "tables" / "summary.md").read_text(encoding="utf-8").strip()
        fill(readme, START, END, lambda _: table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), figures="--no-figures" not in sys.argv)
