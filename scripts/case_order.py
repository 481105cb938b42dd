"""Ask whether the order of cases depends on the image score: AURC by the mean over the image, and over the prediction.

Usage: python scripts/case_order.py runs/question_xr     (after scripts/publish_results.py)

Writes docs/results/NAME/tables/case_order.csv: differences of AURC between variants, by both scores of the entropy.
"""

import sys
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.reporting import load_results
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.paired_scores import Side, paired_difference

ROOT: Final = Path(__file__).parent.parent
PLACES: Final[tuple[ConditionKey, ...]] = (("clean", 0.0), ("pgd", round(4 / 255, 7)))
PAIRS: Final = (
    ("bernoulli, uncertain", "bernoulli, random"),
    ("beta, uncertain", "beta, random"),
    ("beta, uncertain", "bernoulli, uncertain"),
)
SCORES: Final = {"whole image": "u_entropy_mean", "predicted foreground": "u_entropy_foreground_mean"}


def main(folder: Path) -> None:
    """Write the table of the study in ``folder``."""
    results = load_results(folder)
    rows = []
    for place in PLACES:
        for first, second in PAIRS:
            for words, column in SCORES.items():
                sides = Side(first, "entropy", column), Side(second, "entropy", column)
                found = paired_difference(results, *sides, place, "aurc", draws=2000).interval
                about = {"condition": place[0], "compared": f"{first} minus {second}", "mean_over": words}
                rows.append(about | {"aurc": found.value, "aurc_low": found.low, "aurc_high": found.high})
    pl.DataFrame(rows).write_csv(ROOT / "docs" / "results" / folder.name / "tables" / "case_order.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
