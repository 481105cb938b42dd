"""Write the demo's summary table into README.md, between its two marks.

Usage: python scripts/readme_table.py [RUN_FOLDER]     (default: runs/demo, after `make demo`)
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
START = "<!-- demo table: written by scripts/readme_table.py from runs/demo -->\n"
END = "<!-- end of demo table -->\n"


def main(folder: Path) -> None:
    """Replace what stands between the marks by the table of the study in ``folder``."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    _, _, after = rest.partition(END)
    table = (folder / "tables" / "summary.md").read_text().strip()
    readme.write_text(f"{before}{START}\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "demo")
