"""Write lower bounds of the Dice of each image under attack, by randomized smoothing of pixels.

    python scripts/certified_dice.py OUT.csv MODEL NOISE RADIUS [RADIUS ...] [KEY=VALUE ...]

MODEL is a folder of ``trustseg train``. What is certified is the smoothed model: of each pixel, the class that the
model gives it most often under Gaussian noise of deviation NOISE. Where that is the class in a share of the noise above
Phi(RADIUS / NOISE), no change of the image within RADIUS (L2) changes it. Other pixels abstain, and count as wrong. The
bound holds with probability 1 - ALPHA for all pixels of an image together, by Holm's correction.
OUT.csv gets means over the test images of one patient each, each radius in a row.

Reference:
    Fischer et al., "Scalable Certified Segmentation via Randomized Smoothing", ICML 2021, arXiv:2107.00228,
    algorithm 2 (SegCertify, with 10 draws for the class and DRAWS for the test).
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats import binom, norm
from torch import Tensor

from trustseg.cli.deferring import sides_of
from trustseg.data.batches import PackRows, as_images
from trustseg.evaluation import load_model
from trustseg.evaluation.noisy import noisy
from trustseg.metrics import dice
from trustseg.models import BeliefModel
from trustseg.randomness import derive_seed
from trustseg.statistics import bootstrap_mean, holm
from trustseg.tables import write_csv

ALPHA: Final = 0.001
GUESSES, DRAWS, IMAGES = 10, 100, 100

Bools = NDArray[np.bool_]


def votes(model: BeliefModel, image: Tensor, *, noise: float, name: str) -> tuple[Bools, NDArray[np.int64]]:
    """Return the guessed class of each pixel (H W,), and how many of DRAWS other draws agree."""
    repeated = image.expand(GUESSES + DRAWS, -1, -1, -1)
    with torch.no_grad():
        seen = noisy(repeated, noise=noise, seed=derive_seed(0, "certified Dice", name))
        predicted = torch.cat([model.belief(part).log_odds > 0 for part in seen.split(55)]).flatten(1)
    guess = predicted[:GUESSES].float().mean(dim=0) > 0.5
    return guess.numpy(), (predicted[GUESSES:] == guess).sum(dim=0).numpy()


def certified_pixels(agreeing: NDArray[np.int64], *, share: float) -> Bools:
    """Return the pixels whose class has more than a share of the noise, all of them with probability 1 - ALPHA."""
    return np.array(holm(binom.sf(agreeing - 1, DRAWS, share).tolist())) <= ALPHA


def lower_dice(guess: Bools, sure: Bools, mask: Bools) -> float:
    """Return the Dice (H W,) if every pixel that is not certified is wrong."""
    hits, right = int((guess & sure & mask).sum()), int((~guess & sure & ~mask).sum())
    misses = int(mask.sum()) - hits
    return 2 * hits / (2 * hits + misses + int((~mask).sum()) - right)


def main(out: Path, model: Path, noise: float, radii: list[float], settings: list[str]) -> None:
    """Write the table."""
    loaded = load_model(model / "model").eval()
    sides = sides_of(model / "model", loaded.spec, settings)
    cases = sides.pack.index.with_row_index("row")[sides.test].unique("patient", keep="first", maintain_order=True)
    cases = cases[np.linspace(0, len(cases) - 1, min(IMAGES, len(cases))).astype(int)]
    places = cases["row"].to_numpy().astype(np.int64)
    images, masks = as_images(PackRows(sides.pack, places).__getitems__(range(len(places))))
    rows: list[dict[str, object]] = []
    for number, name in enumerate(cases["name"]):
        mask = masks[number].flatten().numpy() > 0.5
        if not mask.any():
            continue
        with torch.no_grad():
            plain = float(dice(loaded.belief(images[number : number + 1]).log_odds > 0, masks[number : number + 1]))
        guess, agreeing = votes(loaded, images[number], noise=noise, name=name)
        smoothed = 2 * (guess & mask).sum() / (guess.sum() + mask.sum())
        about = {"image": name, "plain": plain, "smoothed": float(smoothed)}
        for radius in radii:
            sure = certified_pixels(agreeing, share=float(norm.cdf(radius / noise)))
            low = lower_dice(guess, sure, mask)
            rows.append({**about, "radius": radius, "lower": low, "abstained": float(1 - sure.mean())})
    table = []
    for (radius,), part in pl.DataFrame(rows).group_by("radius", maintain_order=True):
        row: dict[str, object] = {"noise": noise, "radius": radius, "images": len(part)}
        lower = part["lower"].to_numpy()
        shares = {"holding": lower >= 0.5, "failing": part["smoothed"].to_numpy() < 0.5}
        values = {name: part[name].to_numpy() for name in ("plain", "smoothed", "lower", "abstained")}
        for key, value in (values | shares).items():
            found = bootstrap_mean(np.asarray(value, float), part["image"])
            row |= {key: found.value, f"{key}_low": found.low, f"{key}_high": found.high}
        table.append(row)
    write_csv(pl.DataFrame(table).with_columns(pl.col(pl.Float64).round(4)), out)
    for row in table:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    numbers = [each for each in sys.argv[3:] if "=" not in each]
    main(
        *(Path(sys.argv[1]), Path(sys.argv[2]), float(numbers[0]), [float(each) for each in numbers[1:]]),
        [each for each in sys.argv[3:] if "=" in each],
    )
