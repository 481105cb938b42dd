"""How often the 95 % intervals of trustseg cover the truth, for several laws and numbers of patients.

Patients have 1 to 6 images, unequally many and alike within a patient. Writes coverage.csv to
docs/results/intervals; `python scripts/interval_coverage.py` takes about two minutes on one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.statistics import Interval, bootstrap_difference, bootstrap_mean, compare_images
from trustseg.statistics.drawing import draw_patients

Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Floats]
PATIENTS = (20, 50, 100, 474)
IMAGES = 6
FOLDER = Path(__file__).parent.parent / "docs" / "results" / "intervals"


def normal(rng: np.random.Generator, count: int) -> Floats:
    """Values and patients vary alike."""
    return rng.normal(size=(count, 1)) + rng.normal(size=(count, IMAGES))


def dice_like(rng: np.random.Generator, count: int) -> Floats:
    """Near 0.8, skewed to the left, 4 % exactly 0."""
    logits = 1.6 + rng.normal(size=(count, 1)) + 0.7 * rng.normal(size=(count, IMAGES))
    return np.asarray((rng.random((count, IMAGES)) > 0.04) / (1 + np.exp(-logits)))


def binary(rng: np.random.Generator, count: int) -> Floats:
    """True for nine of ten images, patients differ much."""
    return (rng.random((count, IMAGES)) < rng.beta(1.8, 0.2, (count, 1))).astype(np.float64)


def rare_heavy_tailed(rng: np.random.Generator, count: int) -> Floats:
    """Zero for four of five patients, log-normal for the others."""
    size = np.exp(rng.normal(size=(count, 1)) + 0.3 * rng.normal(size=(count, IMAGES)))
    return np.asarray((rng.random((count, 1)) < 0.2) * size)


def paired_difference(rng: np.random.Generator, count: int) -> Floats:
    """A small gain with heavy tails, and a loss of 0.2 in one of ten images."""
    moved = 0.05 * rng.standard_t(4, (count, 1)) + 0.05 * rng.standard_t(4, (count, IMAGES))
    return np.asarray(0.02 + moved - 0.2 * (rng.random((count, IMAGES)) < 0.1))


LAWS: dict[str, Law] = {law.__name__: law for law in (normal, dice_like, binary, rare_heavy_tailed, paired_difference)}


def sample(law: Law, rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return values of the images of so many patients, and the patient of each."""
    images = np.minimum(rng.geometric(0.55, count), IMAGES)
    return law(rng, count)[np.arange(IMAGES) < images[:, None]], np.repeat(np.arange(count), images)


def coverage_of(name: str, count: int, *, repeats: int, draws: int) -> dict[str, object]:
    """Return how often the interval of a mean, or of a paired difference, covers the mean of the law."""
    rng, law = np.random.default_rng(count), LAWS[name]
    truth = float(np.mean([sample(law, rng, 100_000)[0].mean() for _ in range(20)]))
    found: list[tuple[Interval, bool]] = []
    for _ in range(repeats):
        values, owner = sample(law, rng, count)
        if name == "paired_difference":
            interval = bootstrap_difference(values, np.zeros_like(values), owner, draws=draws)
        else:
            interval = bootstrap_mean(values, owner, draws=draws)
        _, patients, times = draw_patients(owner, draws, 0)
        above, below = np.bincount(patients, values), np.bincount(patients)
        low, high = np.quantile((times @ above) / (times @ below), (0.025, 0.975))
        found.append((interval, bool(low <= truth <= high)))
    widths = [interval.high - interval.low for interval, _ in found]
    return {
        "law": name,
        "patients": count,
        "percentile": np.mean([plain for _, plain in found]),
        "coverage": np.mean([interval.low <= truth <= interval.high for interval, _ in found]),
        "truth_below": np.mean([truth < interval.low for interval, _ in found]),
        "truth_above": np.mean([truth > interval.high for interval, _ in found]),
        "median_width": float(np.median(widths)),
        "warned": np.mean([bool(interval.warning) for interval, _ in found]),
    }


def coverage_of_seeds(seeds: int, count: int, *, repeats: int, draws: int) -> dict[str, object]:
    """Return the coverage of a paired difference over patients and trainings, both of which vary."""
    rng = np.random.default_rng((seeds, count))
    inside, widths, warned = 0, [], 0
    for repeat in range(repeats):
        values, owner = sample(normal, rng, count)
        trained = 0.15 * rng.normal(size=(seeds, 1)) + values + 0.5 * rng.normal(size=(seeds, len(values)))
        interval = compare_images(trained, np.zeros_like(trained), owner, draws=draws, seed=repeat).interval
        inside += interval.low <= 0 <= interval.high
        widths.append(interval.high - interval.low)
        warned += bool(interval.warning)
    return {
        "law": f"normal, {seeds} seeds",
        "patients": count,
        "percentile": None,
        "coverage": inside / repeats,
        "truth_below": None,
        "truth_above": None,
        "median_width": float(np.median(widths)),
        "warned": warned / repeats,
    }


def main() -> None:
    """Simulate all laws, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=FOLDER)
    given = parser.parse_args()
    options = {"repeats": given.repeats, "draws": given.draws}
    rows = [coverage_of(name, count, **options) for name in LAWS for count in PATIENTS]
    rows += [coverage_of_seeds(seeds, count, **options) for seeds in (3, 5) for count in PATIENTS]
    table = pl.DataFrame(rows)
    given.output.mkdir(parents=True, exist_ok=True)
    table.write_csv(given.output / "coverage.csv", float_precision=3)
    lines = ["| law | patients | percentile | corrected | warned |", "|---|---|---|---|---|"]
    for row in table.iter_rows(named=True):
        plain = "" if row["percentile"] is None else f"{row['percentile']:.3f}"
        cells = [row["law"].replace("_", " "), row["patients"], plain, f"{row['coverage']:.3f}", f"{row['warned']:.0%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    text = "\n".join(lines)
    print(text)


if __name__ == "__main__":
    main()
