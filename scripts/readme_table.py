"""Write the demo's summary table into README.md, between its two marks.

Usage: python scripts/readme_table.py [RUN_FOLDER]     (default: runs/demo, after `make demo`)
"""

import sys
from pathlib import Path

from marks import fill

ROOT = Path(__file__).parent.parent
START = "<!-- demo table: written by scripts/readme_table.py from runs/demo -->"
END = "<!-- end of demo table -->"


def main(folder: Path) -> None:
    """Replace what stands between the marks by the table of the study in ``folder``."""
    table = (folder / "tables" / "summary.md").read_text(encoding="utf-8").strip()
    fill(ROOT / "README.md", START, END, lambda _: table)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "demo")
