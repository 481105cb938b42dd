"""Measure SSIM of every shift of grey levels, and solve for the strengths of equal SSIM.

On phantoms, never patients; SSIM is that of scikit-image with Gaussian weights, as Wang et al. define it. Writes
ssim.csv and the tables of README.md in docs/results/shifts. Needs scikit-image (pip install scikit-image);
`python scripts/ssim_severities.py` takes a few minutes on one core.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from skimage.metrics import structural_similarity

from trustseg.data.phantom import phantom
from trustseg.shifts import SHIFT_TABLE, SHIFTS, severities

SEED, PATIENTS, SIZE = 2, 8, 256
LEVELS: Final = (0.95, 0.9, 0.8, 0.7, 0.6)
COUNTS: Final = ("leads", "text_markers", "tubes")  # of things, 1 to 6: too coarse to solve for
WHOLE: Final = ("dead_columns", "few_grey_levels", "jpeg", "jpeg_chain")  # strengths are whole numbers
TOP: Final = {  # the largest strength that makes sense
    **{"vignette": 1.0, "grid_cutoff": 0.99, "double_exposure": 0.5, "collimation": 0.25, "implant": 0.25},
    **{"jpeg": 100, "jpeg_chain": 100, "dead_pixels": 0.5, "moire": 1.0, "glare": 1.0},
}
FOLDER: Final = Path(__file__).parents[1] / "docs" / "results" / "shifts"
MARKS: Final = "<!-- tables: written by scripts/ssim_severities.py -->", "<!-- end of tables -->"


def strength(name: str, severity: float) -> float:
    """Return the parameter at a severity between or beyond those of the table, which is geometric there.

    Gammas and factors, of which 1 changes nothing, are so in their distance from 1 on a logarithmic scale.
    """
    row = np.array(SHIFT_TABLE[name], dtype=float)
    around_one = name.startswith(("gamma", "contrast", "low_resolution"))
    values = np.log(np.abs(np.log(row)) if around_one else row)
    place = int(np.clip(np.floor(severity), 1, 4))
    value = np.exp(values[place - 1] + (severity - place) * (values[place] - values[place - 1]))
    found = float(np.exp(np.sign(row[0] - 1) * value) if around_one else value)
    return min(max(1 + (name == "few_grey_levels"), round(found)) if name in WHOLE else found, TOP.get(name, np.inf))


def films() -> torch.Tensor:
    """Return phantoms (B, 1, H, W), one of each patient."""
    made = np.stack([phantom(SEED, patient, 1, size=SIZE).image for patient in range(1, PATIENTS + 1)])
    return torch.from_numpy(made)[:, None].float() / 255


def similarity(images: torch.Tensor, name: str, parameter: float) -> NDArray[np.float64]:
    """Return the SSIM (B,) of images and what a shift of a strength makes of them."""
    with severities({name: (parameter,) * 5}):
        shifted = SHIFTS[name](images, 1, torch.Generator().manual_seed(SEED))
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(images[:, 0].double().numpy(), shifted[:, 0].double().numpy(), strict=True)
    return np.array([structural_similarity(one, other, **options) for one, other in pairs])


def solved(name: str, mean: Callable[[float], float], level: float) -> float | None:
    """Return the strength at which the mean SSIM is ``level``, None if no strength that makes sense gets there."""

    def excess(severity: float) -> float:
        return mean(strength(name, severity)) - level

    for low, high in pairwise(range(-3, 9)):  # severities
        if excess(low) >= 0 >= excess(high):
            return strength(name, float(brentq(excess, low, high, xtol=0.01)))
    return None


def rows_of(name: str, images: torch.Tensor) -> list[dict[str, object]]:
    """Return SSIM at the severities of the table, then at the strengths solved for."""

    @cache
    def values(parameter: float) -> NDArray[np.float64]:
        return similarity(images, name, parameter)

    asked: list[tuple[str, float, float | None]] = [
        ("table", severity, value) for severity, value in enumerate(SHIFT_TABLE[name], start=1)
    ]
    for level in LEVELS:
        found = None if name in COUNTS else solved(name, lambda parameter: float(values(parameter).mean()), level)
        asked.append(("ssim", level, found))
    rows: list[dict[str, object]] = []
    for kind, level, parameter in asked:
        got = None if parameter is None else values(parameter)
        about = {"shift": name, "calibrated_by": kind, "level": float(level), "strength": parameter}
        spread = {"ssim": None, "sd": None} if got is None else {"ssim": got.mean(), "sd": got.std(ddof=1)}
        rows.append(about | spread)
    print(name, *(f"{row['strength'] or np.nan:.4g}" for row in rows[len(SHIFT_TABLE[name]) :]), flush=True)
    return rows


def table(found: pl.DataFrame, kind: str, column: str, head: str) -> str:
    """Return a Markdown table with a row for each shift and a column for each level."""
    part = found.filter(calibrated_by=kind)
    levels = sorted(part["level"].unique(), reverse=kind == "ssim")
    lines = [f"| {head} | {' | '.join(f'{level:g}' for level in levels)} |", "|---" * (len(levels) + 1) + "|"]
    for (name,), rows in part.group_by("shift", maintain_order=True):
        cells = ["" if value is None else f"{value:.4g}" for value in rows[column]]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Write the table, and what the page shows of it."""
    images = films()
    found = pl.DataFrame([row for name in SHIFTS for row in rows_of(name, images)], infer_schema_length=None)
    found.write_csv(FOLDER / "ssim.csv", float_precision=5)
    page = FOLDER / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    tables = [
        table(found, "table", "ssim", "SSIM at severity"),
        table(found, "ssim", "strength", "strength at SSIM"),
    ]
    filled = "\n\n".join([before + MARKS[0], *tables, MARKS[1] + rest.partition(MARKS[1])[2]])
    page.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
