"""Write the demo's summary table into README.md, between its two marks, and a case of it to docs/images/case.jpg.

Usage: python scripts/readme_table.py [RUN_FOLDER]     (default: runs/demo, after `make demo`)
"""

import sys
from dataclasses import replace
from pathlib import Path

from marks import fill

from trustseg.reporting import load_results
from trustseg.reporting.gallery import draw_case, load_gallery

ROOT = Path(__file__).parent.parent
START = "<!-- demo table: written by scripts/readme_table.py from runs/demo -->"
END = "<!-- end of demo table -->"


def main(folder: Path) -> None:
    """Replace what stands between the marks by the table of the study in ``folder``, and draw its median case."""
    table = (folder / "tables" / "summary.md").read_text(encoding="utf-8").strip()
    fill(ROOT / "README.md", START, END, lambda _: table)
    case = next(case for case in load_gallery(load_results(folder)) if case.rank == "median")
    shown = tuple(tile for tile in case.tiles if tile.variant.startswith("evidential"))
    (ROOT / "docs" / "images" / "case.jpg").write_bytes(draw_case(replace(case, tiles=shown)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "demo")
